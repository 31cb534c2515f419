//! A call of the author, made ready.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use super::call::Called;
use crate::engine::Inner;
use crate::lanes::LaneKey;
use crate::objects::{self, Known};
use crate::operation::Operation;
use crate::recorder::{Author, Recorder};
use crate::resource::{Bound, Stored};
use crate::service;
use crate::services::Found;
use crate::shards::Pass;

/// So much time an operation gets at least when it is resumed after its deadline.
const LAST_CHANCE: Duration = Duration::from_secs(60);

/// A turn of a lane.
pub(super) struct Turn<'a> {
    pub(super) key: &'a LaneKey,
    pub(super) found: Found,
    pub(super) attempt: u32,
    pub(super) cancelled: CancellationToken,
    /// The right to write.
    pub(super) pass: Pass,
}

/// A call of the author, made ready.
pub(super) struct Ready {
    pub(super) stored: Stored,
    pub(super) found: Found,
    pub(super) known: Known,
    pub(super) operation: Operation,
    pub(super) recorder: Arc<Recorder>,
    /// Of the turn: cancelled when something else takes over or the process ends.
    pub(super) stopped: CancellationToken,
    /// Of the call: also cancelled when its time is over.
    pub(super) cancelled: CancellationToken,
    pub(super) deadline: Instant,
    /// Of an update that has to end while its request waits.
    pub(super) bound: Option<Bound>,
    pub(super) attempt: u32,
}

impl Inner {
    /// Everything that a call needs, of an operation on an instance or on a binding of `instance`; `None` when the object cannot be read, and then the operation has failed.
    pub(super) fn make_ready(
        &self,
        turn: Turn<'_>,
        stored: Stored,
        known: Option<Known>,
        instance: Option<&Stored>,
    ) -> Option<Ready> {
        let Turn {
            found,
            attempt,
            cancelled,
            pass,
            ..
        } = turn;
        let platform = self.platform(&stored.metadata.namespace)?;
        let running = stored.running()?;
        let known = match known.map_or_else(|| Known::open(&self.keys, &stored, running), Ok) {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, object = %stored.metadata.name, "the request of an operation cannot be read");
                return None;
            }
        };
        let facts = objects::facts(
            platform,
            &found.plan.plan,
            instance.unwrap_or(&stored),
            &stored,
            running,
            &known,
        );
        let age = running.accepted_at.map(|accepted| self.now().duration_since(accepted));
        let age = Duration::try_from(age.unwrap_or_default()).unwrap_or_default();
        let limit = if running.verb.removes() {
            found.plan.removal_deadline
        } else {
            found.plan.deadline
        };
        let deadline = match running.bound {
            None => deadline(age, limit),
            Some(Bound::Sync) => Instant::now() + self.config.bounded_time().min(limit).saturating_sub(age),
            Some(Bound::GivenUp) => Instant::now(),
        };
        let bound = running.bound;
        let stopped = cancelled;
        let cancelled = stopped.child_token();
        let recorder = Arc::new(Recorder::new(
            self.home.clone(),
            self.keys.clone(),
            self.own.clone(),
            &stored,
            Author {
                fields: found.registration.fields.clone(),
                kinds: self.kinds.clone(),
            },
            stopped.clone(),
            pass,
        )?);
        let operation = Operation {
            facts: Arc::new(facts),
            attempt,
            cancelled: cancelled.clone(),
            undoes: false,
            recorder: Some(recorder.clone()),
        };
        Some(Ready {
            stored,
            found,
            known,
            operation,
            recorder,
            stopped,
            cancelled,
            deadline,
            bound,
            attempt,
        })
    }

    /// Calls a function of the author within the limits of its operation.
    pub(super) async fn call_author<T>(&self, ready: &Ready, function: BoxFuture<'_, service::Result<T>>) -> Called<T> {
        let verb = ready.operation.verb();
        let recorder = Some(&ready.recorder);
        self.call(verb, recorder, &ready.cancelled, ready.deadline, function)
            .await
    }
}

impl Ready {
    /// One of the places that the plan has for running functions.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        tokio::select! {
            slot = self.found.plan.slots.acquire() => slot.ok(),
            () = self.stopped.cancelled() => None,
        }
    }

    /// As [`slot`](Self::slot), for an update.
    ///
    /// # Errors
    /// [`Elapsed`] when it has to be over before there is one.
    pub(super) async fn slot_in_time(&self) -> Result<Option<SemaphorePermit<'_>>, Elapsed> {
        match self.bound {
            None => Ok(self.slot().await),
            Some(_) => tokio::time::timeout_at(self.deadline, self.slot()).await,
        }
    }

    /// Whether the time of an update is over, for which a request waits or has waited.
    pub(super) fn is_over(&self) -> bool {
        self.bound.is_some() && Instant::now() >= self.deadline
    }

    /// The operation, to be taken back.
    pub(super) fn undoing(&self, attempt: u32, cancelled: CancellationToken) -> Operation {
        Operation {
            facts: self.operation.facts.clone(),
            attempt,
            cancelled,
            undoes: true,
            recorder: Some(self.recorder.clone()),
        }
    }

    /// The object with the version of the last write.
    pub(super) async fn into_stored(self) -> Stored {
        let metadata = self.recorder.meta().await;
        Stored {
            metadata,
            ..self.stored
        }
    }
}

/// When an operation that was accepted so long ago has to end.
fn deadline(age: Duration, limit: Duration) -> Instant {
    let left = limit.saturating_sub(age);
    // A limit below the last chance is the author's will; an age beyond the limit is a long time without us.
    Instant::now() + if left.is_zero() { LAST_CHANCE.min(limit) } else { left }
}
