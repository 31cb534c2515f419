//! Requests that wait for their own operation, woken by its outcome in this process, or by a write of another one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use osb_api::answer::{BindingBody, InstanceBody};
use osb_api::id::OperationId;
use tokio::sync::{Notify, oneshot};

use crate::resource::Kind;

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
    /// By object, what another replica does is waited for.
    watched: Mutex<HashMap<Object, Vec<Arc<Notify>>>>,
    /// How many they are, so that an event costs nothing where nobody waits.
    watching: AtomicUsize,
}

/// Kind, namespace and name.
type Object = (Kind, Box<str>, Box<str>);

/// A request that waits for what another replica writes.
pub(crate) struct Watched<'a> {
    waiters: &'a Waiters,
    object: Object,
    written: Arc<Notify>,
}

impl Watched<'_> {
    /// Ends when the object was written since the last call.
    pub(crate) async fn changed(&self) {
        self.written.notified().await;
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.waiters.watching.fetch_sub(1, Ordering::AcqRel);
        let mut watched = self.waiters.watched();
        if let Some(all) = watched.get_mut(&self.object) {
            all.retain(|written| !Arc::ptr_eq(written, &self.written));
            if all.is_empty() {
                watched.remove(&self.object);
            }
        }
    }
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

    /// To be followed by a look at the stored state: what was written before is not told.
    pub(crate) fn watch(&self, kind: Kind, namespace: &str, name: &str) -> Watched<'_> {
        let object = (kind, Box::from(namespace), Box::from(name));
        let written = Arc::new(Notify::new());
        self.watched().entry(object.clone()).or_default().push(written.clone());
        self.watching.fetch_add(1, Ordering::AcqRel);
        Watched {
            waiters: self,
            object,
            written,
        }
    }

    /// Somebody else has written or deleted an object.
    pub(crate) fn written(&self, kind: Kind, namespace: &str, name: &str) {
        if self.watching.load(Ordering::Acquire) == 0 {
            return;
        }
        let object = (kind, Box::from(namespace), Box::from(name));
        for written in self.watched().get(&object).into_iter().flatten() {
            written.notify_one();
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<Object, Vec<Arc<Notify>>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
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
