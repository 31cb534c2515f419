//! The controller: what is to be looked at, and who looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::api::ObjectMeta;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::discovery::Discovery;
use crate::follow::{Scope, Seen, follow};
use crate::install::{InstallError, Served, served};
use crate::metrics::Metrics;
use crate::names::{ABANDON, API_VERSION, FINALIZER, TIMEOUT};
use crate::plan::CrossNamespace;
use crate::proof::{Proof, SETTLED};
use crate::queue::{Key, Next, Pauses, Queue};
use crate::requester::ServiceAccounts;
use crate::run;
use crate::watches::Watches;

/// How long workers that are in the middle of something are waited for at the end.
const GRACE: Duration = Duration::from_secs(5);

/// What a controller may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces whose instances are looked after; all when empty. Default: all.
    pub namespaces: Vec<String>,
    /// How it is known that requesters have asked. Default: by the policy of the cluster.
    pub proof: Proof,
    /// How long an operation may take, from its start, where the instance and its template say nothing. Default: one hour.
    pub timeout: Duration,
    /// How many instances are worked on at once. Default: 8.
    pub workers: usize,
    /// Whether objects may lie in other namespaces than their instance. Default: where the requester may make them.
    pub cross_namespace: CrossNamespace,
    /// Whether service accounts may be requesters. Default: no.
    pub service_accounts: ServiceAccounts,
    /// The first pause before something is tried again; it doubles each time. Default: half a second.
    pub first_retry: Duration,
    /// The longest pause. Default: a minute.
    pub longest_retry: Duration,
    /// How often objects that are waited for are looked at, beside being watched. Default: ten seconds.
    pub poll: Duration,
    /// What is counted. Default: counted, and shown to nobody.
    pub metrics: Metrics,
    /// How much younger than the policy that proves requesters an instance has to be. Default: 30 seconds.
    pub settled: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            proof: Proof::default(),
            timeout: Duration::from_secs(3600),
            workers: 8,
            cross_namespace: CrossNamespace::default(),
            service_accounts: ServiceAccounts::default(),
            first_retry: Duration::from_millis(500),
            longest_retry: Duration::from_secs(60),
            poll: Duration::from_secs(10),
            metrics: Metrics::default(),
            settled: SETTLED,
        }
    }
}

/// Why a controller does not run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// Nobody serves the kinds.
    #[error("the cluster does not know TemplateInstances; install them first")]
    NotServed,
    /// It cannot be found out who does.
    #[error(transparent)]
    Unknown(#[from] InstallError),
}

/// What all workers share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) discovery: Discovery,
    pub(crate) watches: Watches,
}

/// Looks after the TemplateInstances of a cluster.
///
/// One process at a time looks after a namespace. It may end at any moment, also without being asked to: the next one goes on
/// where it was.
#[derive(Clone)]
pub struct Controller {
    client: Client,
    options: Options,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Controller {
    /// A controller. The client's user needs the rights on TemplateInstances, Secrets and what templates make, and to
    /// impersonate requesters.
    pub fn new(client: Client, options: Options) -> Self {
        Self { client, options }
    }

    /// Runs until `shutdown` is there. Where the cluster has an API of its own for TemplateInstances, and so a controller of its
    /// own, nothing is done.
    ///
    /// # Errors
    /// [`RunError`], at the start only.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        match served(&self.client).await? {
            None => return Err(RunError::NotServed),
            Some(Served::ByCluster) => {
                tracing::info!("the cluster looks after TemplateInstances by itself; they are left to it");
                shutdown.await;
                return Ok(());
            }
            Some(Served::AsCustomResources) => {}
        }
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        // Also when this future is dropped.
        let guard = stopping.clone().drop_guard();
        self.spawn(&stopping, &tasks);
        shutdown.await;
        drop(guard);
        tasks.close();
        let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
        Ok(())
    }

    fn spawn(self, stopping: &CancellationToken, tasks: &TaskTracker) {
        let options = self.options;
        let queue = Arc::new(Queue::new(Pauses {
            first: options.first_retry,
            longest: options.longest_retry,
        }));
        let paths: Vec<String> = match options.namespaces.as_slice() {
            [] => vec![format!("/apis/{API_VERSION}/templateinstances")],
            some => some.iter().map(|name| all(name)).collect(),
        };
        let by_namespace = !options.namespaces.is_empty();
        let context = Arc::new(Context {
            watches: Watches::new(
                self.client.clone(),
                queue.clone(),
                stopping.clone(),
                tasks.clone(),
                by_namespace,
            ),
            client: self.client.clone(),
            discovery: Discovery::default(),
            options,
        });
        for _ in 0..context.options.workers.max(1) {
            tasks.spawn(work(context.clone(), queue.clone(), stopping.clone()));
        }
        for path in paths {
            let (client, queue, stopping) = (self.client.clone(), queue.clone(), stopping.clone());
            tasks.spawn(async move {
                let noticed = Noticed::default();
                let tell = move |seen, metadata: &ObjectMeta| noticed.tell(&queue, seen, metadata);
                let scope = Scope { path, label: None };
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = follow(&client, &scope, &tell) => {}
                }
            });
        }
    }
}

fn all(namespace: &str) -> String {
    format!(
        "/apis/{API_VERSION}/namespaces/{}/templateinstances",
        crate::api::segment(namespace)
    )
}

async fn work(context: Arc<Context>, queue: Arc<Queue>, stopping: CancellationToken) {
    loop {
        let key = tokio::select! {
            () = stopping.cancelled() => return,
            key = queue.next() => key,
        };
        let next = tokio::select! {
            // What is dropped here goes on with the next process, as after a crash.
            () = stopping.cancelled() => return,
            next = Box::pin(run::look_at(&context, &key)) => next,
        };
        if next == Next::Done {
            tracing::trace!(namespace = %key.namespace, name = %key.name, "nothing more to do");
        }
        queue.done(&key, next);
    }
}

/// What of an instance matters to the controller: its own writes of status are no reason to look again.
#[derive(Clone, PartialEq, Eq)]
struct Notice {
    uid: Option<String>,
    generation: Option<i64>,
    is_deleted: bool,
    has_finalizer: bool,
    annotations: [Option<String>; 2],
}

#[derive(Default)]
struct Noticed(Mutex<HashMap<Key, Notice>>);

impl Noticed {
    fn tell(&self, queue: &Queue, seen: Seen, metadata: &ObjectMeta) {
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
            return;
        };
        let key = Key {
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
        };
        let mut noticed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen == Seen::Gone {
            noticed.remove(&key);
            return;
        }
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
        let notice = Notice {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            is_deleted: metadata.deletion_timestamp.is_some(),
            has_finalizer: metadata.finalizers.iter().flatten().any(|name| name == FINALIZER),
            annotations: [annotation(TIMEOUT), annotation(ABANDON)],
        };
        let before = noticed.insert(key.clone(), notice.clone());
        // The finalizer is put on by the controller; only its loss is news.
        let is_news = before.is_none_or(|before| {
            Notice {
                has_finalizer: notice.has_finalizer || before.has_finalizer,
                ..before.clone()
            } != notice
        });
        if is_news {
            queue.add(key);
        }
    }
}
