//! Update, carried out; and taken back, when it does not succeed any more.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use osb_api::Object;
use osb_api::answer::InstanceBody;
use tokio::time::Instant;

use super::call::Called;
use super::outcome::{SERVICE_FAILED, late, lost, unreadable};
use super::ready::{Ready, Turn};
use crate::engine::Inner;
use crate::erased::{Made, StoredState};
use crate::home::HomeError;
use crate::lanes::LaneKey;
use crate::objects;
use crate::recorder::{OutcomeWrite, RecordError};
use crate::resource::{Stored, Verb};
use crate::seal::SealError;
use crate::service::{self, Change, Error, Undone};
use crate::waiters::{Output, Settled};

const NOT_IN_TIME: &str = "The update did not end in time for a synchronous answer and was stopped.";

impl Inner {
    pub(super) async fn update_now(self: &Arc<Self>, turn: Turn<'_>, stored: Stored) -> Result<(), HomeError> {
        let before = objects::data(&self.keys, &stored);
        let key = turn.key;
        let Some(ready) = self.make_ready(turn, stored, None, None) else {
            return Ok(());
        };
        let before = match before {
            Ok(state) => state.unwrap_or_default(),
            Err(error) => return self.failed(key, &ready, unreadable(error)).await,
        };
        let change = change_of(&ready);
        if ready.is_over() {
            let Some(_slot) = ready.slot().await else { return Ok(()) };
            return self.update_failed(key, &ready, (before, change), Why::Stopped).await;
        }
        let (slot, called) = match ready.slot_in_time().await {
            Ok(None) => return Ok(()),
            Ok(slot) => (slot, self.call_update(&ready, before.clone(), change.clone()).await),
            Err(_) => (ready.slot().await, Called::Late),
        };
        let why = match called {
            Called::Returned(made) => match self.store_update(&ready, made).await {
                Ok(()) => return Ok(()),
                Err(RecordError::TooLarge) => Why::Said(Error::failed(RecordError::TooLarge.to_string())),
                Err(RecordError::Seal(error)) => return self.failed(key, &ready, unreadable(error)).await,
                Err(error) => return lost(error),
            },
            Called::Cancelled => return Ok(()),
            Called::Late => Why::Stopped,
            Called::Failed(error) if self.pause_before_next(&ready, &error).is_some() => {
                return self.failed(key, &ready, error).await;
            }
            Called::Failed(error) => Why::Said(error),
        };
        let done = self.update_failed(key, &ready, (before, change), why).await;
        drop(slot);
        done
    }

    async fn call_update(&self, ready: &Ready, before: StoredState, change: Change<Object>) -> Called<Made> {
        let author = ready.found.registration.update.as_ref();
        let function: BoxFuture<'_, service::Result<Made>> = match author {
            Some(author) => author.service.update(&ready.operation, before, change),
            // Only the context changes, and nobody wants to know.
            None => Box::pin(std::future::ready(Ok(Made {
                state: before,
                metadata: None,
            }))),
        };
        self.call_author(ready, function).await
    }

    async fn store_update(&self, ready: &Ready, made: Made) -> Result<(), RecordError> {
        let (write, body) = self.updated(ready, made)?;
        let output = Output::Instance(Arc::new(body));
        self.store_success(ready, write, Settled::Succeeded(Some(output))).await
    }

    /// What a successful update writes: everything that it changes, at once.
    fn updated(&self, ready: &Ready, made: Made) -> Result<(OutcomeWrite, InstanceBody), SealError> {
        let stored = &ready.stored;
        let before: Option<InstanceBody> = objects::outputs(&self.keys, stored)?;
        let before = before.unwrap_or_default();
        let dashboard_url = ready.found.registration.service.dashboard_url(&ready.operation);
        let body = InstanceBody {
            dashboard_url: dashboard_url.or(before.dashboard_url),
            metadata: made.metadata.or(before.metadata),
        };
        let plan_id = stored.running().and_then(|running| running.plan_id.as_ref());
        let plan_id = plan_id.unwrap_or(&stored.spec.plan_id);
        let write = OutcomeWrite {
            data: Some(made.state),
            outputs: Some(objects::to_vec(&body)),
            drop_steps: true,
            spec: Some(objects::updated_spec(&self.keys, stored, plan_id, &ready.known)?),
        };
        Ok((write, body))
    }

    /// Ends an update that does not succeed any more: what it may have done is taken back first, so that nothing of it
    /// is applied when the platform hears of the failure (OSB-UPD-19).
    async fn update_failed(
        self: &Arc<Self>,
        key: &LaneKey,
        ready: &Ready,
        undo: (StoredState, Change<Object>),
        why: Why,
    ) -> Result<(), HomeError> {
        let (before, change) = undo;
        let Some(undone) = self.undo_update(ready, &before, &change).await else {
            return Ok(());
        };
        let (mut error, told) = match why {
            Why::Said(error) => (error, true),
            Why::Stopped => (Error::failed(stopped(ready)), false),
        };
        let more = match undone {
            // The author has said what there is to say.
            Ok(_) if told => "",
            Ok(Undone::Everything) => " Nothing was changed.",
            Ok(Undone::Nothing) => " Parts of it may be in effect; the same update may be sent again.",
            Err(cause) => {
                tracing::error!(instance = ?ready.operation.instance().as_str(), %cause,
                    "an update that failed could not be taken back");
                error.instance_usable = Some(false);
                " It could not be taken back."
            }
        };
        let text = error.description.unwrap_or_else(|| SERVICE_FAILED.to_owned());
        error.description = Some(text + more);
        self.failed(key, ready, error).await
    }

    /// Has the author take back an update; `None` when something else takes over or the process ends.
    async fn undo_update(
        &self,
        ready: &Ready,
        before: &StoredState,
        change: &Change<Object>,
    ) -> Option<service::Result<Undone>> {
        let Some(author) = &ready.found.registration.update else {
            return Some(Ok(Undone::Everything));
        };
        let deadline = Instant::now() + ready.found.plan.deadline;
        for attempt in 1.. {
            let cancelled = ready.stopped.child_token();
            let operation = ready.undoing(attempt, cancelled.clone());
            let function = author.service.undo(&operation, before.clone(), change.clone());
            let called = self.call(Verb::Update, Some(&ready.recorder), &cancelled, deadline, function);
            let error = match called.await {
                Called::Returned(undone) => return Some(Ok(undone)),
                Called::Cancelled => return None,
                Called::Late => return Some(Err(Error::failed(late()))),
                Called::Failed(error) => error,
            };
            let Some(pause) = self.pause_until(deadline, attempt, &error) else {
                return Some(Err(error));
            };
            if !sleep(ready, pause).await {
                return None;
            }
        }
        None
    }
}

/// Whether nothing came between.
async fn sleep(ready: &Ready, pause: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = ready.stopped.cancelled() => false,
    }
}

fn change_of(ready: &Ready) -> Change<Object> {
    let update = ready.known.update.clone().unwrap_or_default();
    let (from, to) = (&ready.stored.spec.plan_id, &ready.operation.facts.plan.id);
    Change {
        parameters: (!update.parameters.is_empty()).then_some(update.parameters),
        previous_plan: (from.as_str() != to).then(|| from.clone()),
        maintenance: update.maintenance,
    }
}

/// What is told of an update whose time is over.
fn stopped(ready: &Ready) -> String {
    match ready.bound {
        Some(_) => NOT_IN_TIME.to_owned(),
        None => late(),
    }
}

/// Why an update does not succeed.
enum Why {
    /// Its time is over.
    Stopped,
    /// The author says that, or the engine.
    Said(Error),
}
