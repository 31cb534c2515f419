//! Waiting for the outcome of an operation, and undoing what cannot be waited for.

use std::sync::Arc;
use std::time::Duration;

use osb_api::answer::{InstanceBody, State};
use osb_api::error::Fault;
use osb_api::id::OperationId;
use osb_api::request::Incomplete;
use serde_json::json;
use tokio::time::Instant;

use super::{TRIES, fault};
use crate::decide::{self, OnPoll};
use crate::engine::Inner;
use crate::home::HomeError;
use crate::lanes::{Accepted, Job, LaneKey, Ticket};
use crate::objects::Order;
use crate::removal::AcceptError;
use crate::resource::{Bound, Kind, Stored, Verb};
use crate::waiters::{Output, Settled, Watched};

/// How often a request that waits for an operation of another request, or of another process, looks at it.
const LOOK: Duration = Duration::from_millis(250);

/// How often a request that waits for its own operation looks at it, should another process carry it out.
const OWN_LOOK: Duration = Duration::from_secs(2);

/// When a request looks first that waits for what another replica does: that may have ended before the request was known
/// to the watch. The pauses double then, since the watch wakes it.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// The operation that a request waits for, and where it stands.
pub(super) struct Pending {
    pub(super) operation: OperationId,
    kind: Kind,
    pub(super) key: LaneKey,
    pub(super) name: String,
}

impl Pending {
    /// The running operation of an object.
    pub(super) fn of(stored: &Stored) -> Result<Self, Fault> {
        let unreadable = || Fault::Unavailable("The state of the object cannot be read.".to_owned());
        let running = stored.running().ok_or_else(unreadable)?;
        let key = LaneKey {
            namespace: stored.metadata.namespace.as_str().into(),
            instance: stored.instance_name().into(),
        };
        let name = stored.metadata.name.clone();
        Ok(Self {
            operation: running.id.clone(),
            kind: stored.which(),
            key,
            name,
        })
    }
}

/// Ends when somebody else has written the object.
async fn changed(written: Option<&Watched<'_>>) {
    match written {
        Some(written) => written.changed().await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Has a just accepted operation carried out, and waits for its outcome as long as the request may. An operation
    /// that another request began (`begun` is none) is only waited for.
    pub(super) async fn run_and_wait(
        self: &Arc<Self>,
        pending: &Pending,
        begun: Option<(Box<Accepted>, Ticket)>,
        at_once: bool,
        incomplete: Incomplete,
    ) -> Result<Option<Settled>, Fault> {
        let budget = match incomplete {
            Incomplete::Accepted => self.config.budget_incomplete,
            Incomplete::Refused => self.config.budget_complete,
        };
        // The owner of a joined operation may be another process, or have finished before we registered.
        let mut look = if begun.is_some() { OWN_LOOK } else { LOOK };
        let receiver = (!at_once).then(|| self.waiters.register(&pending.operation));
        let elsewhere = receiver.is_some() && !self.shards.is_mine(&pending.key.instance);
        let written = elsewhere.then(|| {
            look = FIRST_LOOK;
            let (namespace, name) = (&pending.key.namespace, &pending.name);
            self.waiters.watch(pending.kind, namespace, name)
        });
        if let Some((accepted, ticket)) = begun {
            self.push(pending.key.clone(), Job::accepted_under(&ticket, accepted));
        }
        let Some(mut receiver) = receiver else { return Ok(None) };
        let deadline = Instant::now() + budget;
        loop {
            let told = tokio::select! {
                told = tokio::time::timeout_at(deadline.min(Instant::now() + look), &mut receiver) => told.ok(),
                () = changed(written.as_ref()) => None,
            };
            match told {
                Some(Ok(settled)) => return Ok(Some(settled)),
                _ if Instant::now() >= deadline => break,
                Some(Err(_)) => receiver = self.waiters.register(&pending.operation),
                None => {}
            }
            if elsewhere {
                look = (look * 2).min(OWN_LOOK);
            }
            if let Some(settled) = Box::pin(self.settled_meanwhile(pending)).await? {
                return Ok(Some(settled));
            }
        }
        drop(receiver);
        self.waiters.forget(&pending.operation);
        Ok(None)
    }

    async fn settled_meanwhile(&self, pending: &Pending) -> Result<Option<Settled>, Fault> {
        let (namespace, name, operation) = (&pending.key.namespace, &pending.name, Some(&pending.operation));
        let polled = match self
            .home
            .get::<Stored>(pending.kind, namespace, name)
            .await
            .map_err(fault)?
        {
            Some(found) => decide::poll(&found, true, operation),
            None => match self.tombstone(namespace, name).await.map_err(fault)? {
                Some(tombstone) => decide::poll_removed(&tombstone.spec.history, true, operation),
                None => OnPoll::Gone,
            },
        };
        Ok(match polled {
            OnPoll::State(told) => match told.state {
                State::InProgress => None,
                State::Succeeded => Some(Settled::Succeeded(None)),
                State::Failed => Some(Settled::Failed(told.description)),
            },
            OnPoll::Gone | OnPoll::NotFound | OnPoll::UnknownOperation => Some(Settled::Superseded),
        })
    }

    /// What the platform gets of an instance whose operation has succeeded.
    pub(super) async fn output_of(&self, pending: &Pending, output: Option<Output>) -> Result<InstanceBody, Fault> {
        if let Some(Output::Instance(body)) = output {
            return Ok(Arc::unwrap_or_clone(body));
        }
        let (namespace, name) = (&pending.key.namespace, &pending.name);
        let found: Option<Stored> = self.home.get(Kind::Instance, namespace, name).await.map_err(fault)?;
        found.map_or_else(|| Ok(InstanceBody::default()), |found| self.instance_body(&found))
    }

    /// Sees to it that an update does not succeed any more whose request is about to be answered with an error
    /// (OSB-UPD-19). When it has ended meanwhile, that is the answer.
    pub(super) async fn give_up(&self, pending: &Pending) -> Result<Option<Settled>, Fault> {
        let namespace = &pending.key.namespace;
        for _ in 0..TRIES {
            let found = self.home.get::<Stored>(pending.kind, namespace, &pending.name).await;
            let found = found.map_err(fault)?;
            let running = found.as_ref().and_then(Stored::running);
            let running = running.filter(|running| running.id == pending.operation);
            let (Some(found), Some(running)) = (&found, running) else {
                return Box::pin(self.settled_meanwhile(pending)).await;
            };
            if running.bound == Some(Bound::GivenUp) {
                return Ok(None);
            }
            let patch = json!({"record": {"operation": {"bound": Bound::GivenUp}}});
            match self.home.patch(pending.kind, &found.metadata, &patch).await {
                Ok(meta) => {
                    self.own.add(&meta.resource_version);
                    return Ok(None);
                }
                Err(HomeError::Conflict | HomeError::NotFound | HomeError::Unknown) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Err(fault(HomeError::Conflict))
    }

    /// Undoes what a request began that cannot wait any longer.
    pub(super) async fn clean_up(self: &Arc<Self>, pending: &Pending, verb: Verb) {
        for _ in 0..TRIES {
            let ticket = self.ticket(
                &pending.key.namespace,
                &pending.key.instance,
                pending.kind,
                &pending.name,
            );
            let found = self
                .home
                .get::<Stored>(pending.kind, &pending.key.namespace, &pending.name)
                .await;
            let Ok(Some(found)) = found else { return };
            let still_runs = found.running().is_some_and(|running| running.id == pending.operation);
            if !still_runs {
                return;
            }
            let epoch = self.shards.stamp(&pending.key.instance);
            match self.accept(&found, Order::own(verb, epoch)).await {
                Ok(stored) => return self.push(pending.key.clone(), Job::accepted_under(&ticket, stored)),
                Err(AcceptError::Changed) => {}
                // The platform's own clean-up comes: a 5xx is answered.
                Err(_) => return,
            }
        }
    }
}
