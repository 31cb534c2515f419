//! Requests that wait for their own operation, woken by its outcome in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use osb_api::answer::{BindingBody, InstanceBody};
use osb_api::id::OperationId;
use tokio::sync::oneshot;

/// What the platform gets of something that is complete.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    Instance(Arc<InstanceBody>),
    Binding(Arc<BindingBody>),
}

/// How an operation ended, as far as a waiting request is concerned.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    /// Done; what was made or changed brings its body, if it is at hand.
    Succeeded(Option<Output>),
    /// Given up; the text is for the user.
    Failed(Option<String>),
    /// A removal took its place.
    Superseded,
}

#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Mutex<HashMap<OperationId, Vec<oneshot::Sender<Settled>>>>,
}

impl Waiters {
    /// To be called before the operation can run, or followed by a look at the stored state.
    pub(crate) fn register(&self, operation: &OperationId) -> oneshot::Receiver<Settled> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = waiting.entry(operation.clone()).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        receiver
    }

    pub(crate) fn settle(&self, operation: &OperationId, settled: &Settled) {
        let senders = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(operation);
        for sender in senders.into_iter().flatten() {
            // A receiver that is gone is a request whose budget has ended.
            let _ = sender.send(settled.clone());
        }
    }

    /// Forgets the waiters of an operation whose requests have all gone.
    pub(crate) fn forget(&self, operation: &OperationId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting
            .get(operation)
            .is_some_and(|senders| senders.iter().all(oneshot::Sender::is_closed))
        {
            waiting.remove(operation);
        }
    }
}
