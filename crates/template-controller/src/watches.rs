//! The objects that instances wait for are watched, by kind and namespace, from the first time that one is waited for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use kube::api::ObjectMeta;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::discovery::Resource;
use crate::follow::{Scope, Seen, follow};
use crate::names::OWNER_LABEL;
use crate::queue::{Key, Queue};

/// How many kinds and namespaces are watched at most; others are looked at from time to time.
const MAX_WATCHES: usize = 200;

pub(crate) struct Watches {
    client: Client,
    queue: Arc<Queue>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// Only the namespace of an object, or all at once.
    by_namespace: bool,
    /// Who waits, by the uid of the instance.
    waiting: Arc<Mutex<HashMap<String, Key>>>,
    running: Mutex<HashSet<String>>,
}

impl Watches {
    pub(crate) fn new(
        client: Client,
        queue: Arc<Queue>,
        stopping: CancellationToken,
        tasks: TaskTracker,
        by_namespace: bool,
    ) -> Self {
        Self {
            client,
            queue,
            stopping,
            tasks,
            by_namespace,
            waiting: Arc::default(),
            running: Mutex::default(),
        }
    }

    /// Has an instance looked at when one of its objects of this kind changes.
    pub(crate) fn wait(&self, uid: &str, key: &Key, resource: &Resource, namespace: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(uid.to_owned(), key.clone());
        drop(waiting);
        let path = resource.all(Some(namespace).filter(|_| self.by_namespace));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.len() >= MAX_WATCHES || !running.insert(path.clone()) {
            return;
        }
        drop(running);
        let (client, stopping) = (self.client.clone(), self.stopping.clone());
        let (queue, waiting) = (self.queue.clone(), self.waiting.clone());
        self.tasks.spawn(async move {
            let scope = Scope {
                path,
                label: Some(OWNER_LABEL),
            };
            let tell = move |_: Seen, metadata: &ObjectMeta| {
                let owner = metadata.labels.as_ref().and_then(|labels| labels.get(OWNER_LABEL));
                let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(key) = owner.and_then(|owner| waiting.get(owner)) {
                    queue.add(key.clone());
                }
            };
            tokio::select! {
                () = stopping.cancelled() => {}
                () = follow(&client, &scope, &tell) => {}
            }
        });
    }

    /// Nothing is waited for any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
