//! The engine: everything between the front and the author's functions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use osb_server::Platform;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::controller::{self, Orphan, OrphanError};
use crate::definition::{Broker, DefinitionError};
use crate::home::{Home, HomeError};
use crate::lanes::{Job, LaneKey, Lanes, Target, Ticket};
use crate::metrics::Metrics;
use crate::own_writes::OwnWrites;
use crate::resource::Kind;
use crate::seal::Keys;
use crate::services::Services;
use crate::shards::Shards;
use crate::waiters::Waiters;

/// Which platform's resources live in which namespace.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    namespaces: HashMap<Platform, String>,
}

impl Tenants {
    /// Each platform with its namespace. The namespaces exist already.
    pub fn new(tenants: impl IntoIterator<Item = (Platform, String)>) -> Self {
        Self {
            namespaces: tenants.into_iter().collect(),
        }
    }

    fn namespace(&self, platform: &Platform) -> Option<&str> {
        self.namespaces.get(platform).map(String::as_str)
    }

    fn platform(&self, namespace: &str) -> Option<&Platform> {
        self.namespaces
            .iter()
            .find(|(_, other)| *other == namespace)
            .map(|(platform, _)| platform)
    }

    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.values().map(String::as_str)
    }
}

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of the broker's own objects.
    pub system_namespace: String,
    /// The platforms.
    pub tenants: Tenants,
    /// A request that accepts a 202 is answered with one after that time.
    pub budget_incomplete: Duration,
    /// A request that does not accept a 202 is answered with a 5xx after that time.
    pub budget_complete: Duration,
    /// So long a cancelled function of the author may take to stop, before it is dropped.
    pub grace: Duration,
    /// The most operations that may be pending in this process; above that new ones get 429.
    pub max_pending: usize,
    /// So long a removed instance or binding is remembered.
    pub retention: Duration,
    /// The first pause before a function is called again; it doubles with each attempt.
    pub first_retry: Duration,
    /// The longest pause before a function is called again.
    pub longest_retry: Duration,
    /// The clock of what is stored and of deadlines.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            system_namespace: "osb-system".to_owned(),
            tenants: Tenants::default(),
            budget_incomplete: Duration::from_secs(5),
            budget_complete: Duration::from_secs(50),
            grace: Duration::from_secs(5),
            max_pending: 50_000,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            first_retry: Duration::from_millis(200),
            longest_retry: Duration::from_secs(60),
            clock: Clock::System,
        }
    }
}

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The broker as its author declared it cannot be run.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The home does not let the engine work.
    #[error("the home of the broker's state cannot be used, while {doing}: {error}")]
    Home {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        error: HomeError,
    },
}

/// A running broker: implements the calls of the front, and carries operations out.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) home: Home,
    pub(crate) keys: Arc<Keys>,
    pub(crate) config: Config,
    services: RwLock<Arc<Services>>,
    pub(crate) own: Arc<OwnWrites>,
    pub(crate) shards: Shards,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) waiters: Waiters,
    pub(crate) metrics: Metrics,
    /// Operations that wait for their next attempt.
    pub(crate) retrying: AtomicUsize,
    pub(crate) ready: AtomicBool,
    /// Cancelled at shutdown; the tokens of running calls are its children.
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Engine {
    /// Starts a broker on its home: takes its shards, resumes what was interrupted, and follows what others change.
    ///
    /// # Errors
    /// [`StartError`] with what to mend.
    pub async fn start(mut broker: Broker, home: Home, keys: Keys, config: Config) -> Result<Self, StartError> {
        let changes = broker.take_changes();
        let name = broker.name().to_owned();
        let services = broker.check()?;
        let shards = Shards::take(&home, &config.system_namespace)
            .await
            .map_err(|error| StartError::Home {
                doing: "taking the shards",
                error,
            })?;
        let metrics = Metrics::new(config.clock);
        let inner = Arc::new(Inner {
            home,
            keys: Arc::new(keys),
            config,
            services: RwLock::new(Arc::new(services)),
            own: Arc::default(),
            shards,
            lanes: Arc::default(),
            waiters: Waiters::default(),
            metrics,
            retrying: AtomicUsize::new(0),
            ready: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        controller::start(&inner).await.map_err(|error| StartError::Home {
            doing: "looking for work",
            error,
        })?;
        if let Some(changes) = changes {
            inner.tasks.spawn(inner.clone().follow_changes(name, changes));
        }
        inner.ready.store(true, Ordering::Release);
        Ok(Self { inner })
    }

    /// Says on `/readyz` that requests had better go elsewhere; everything is still served.
    pub fn drain(&self) {
        self.inner.ready.store(false, Ordering::Release);
    }

    /// Stops: nothing new is begun, what runs gets the grace period and is resumed at the next start.
    pub async fn stop(&self) {
        self.inner.ready.store(false, Ordering::Release);
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// What the services list in their backends and belongs to no instance and no binding
    /// ([`Service::list_backend`](crate::Service::list_backend)).
    ///
    /// # Errors
    /// [`OrphanError`] when a backend or the home does not answer.
    pub async fn orphans(&self) -> Result<Vec<Orphan>, OrphanError> {
        self.inner.orphans().await
    }

    /// Waits until nothing is pending. Operations that wait for their next attempt count as pending.
    pub async fn idle(&self) {
        while self.inner.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Inner {
    /// What is offered now.
    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Offers what `definitions` bring, one after the other.
    async fn follow_changes(self: Arc<Self>, name: String, mut definitions: BoxStream<'static, Broker>) {
        loop {
            let next = tokio::select! {
                () = self.stopping.cancelled() => return,
                next = definitions.next() => next,
            };
            let Some(broker) = next else { return };
            if broker.name() != name {
                tracing::error!(
                    name,
                    new = broker.name(),
                    "a broker cannot change its name; the catalog stays"
                );
                continue;
            }
            match broker.check() {
                Ok(services) => {
                    let services = services.after(&self.services());
                    *self.services.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(services);
                    tracing::info!("the catalog has changed");
                }
                Err(error) => tracing::error!(%error, "the new catalog is wrong; the one before stays"),
            }
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    /// The namespace of a platform.
    pub(crate) fn namespace(&self, platform: &Platform) -> Option<&str> {
        self.config.tenants.namespace(platform)
    }

    /// The platform of a namespace, if it is one of this broker's.
    pub(crate) fn platform(&self, namespace: &str) -> Option<&Platform> {
        self.config.tenants.platform(namespace)
    }

    /// How much is going on: instances that something is being done for, and operations that wait for their next
    /// attempt.
    pub(crate) fn pending(&self) -> usize {
        self.lanes.len() + self.retrying.load(Ordering::Acquire)
    }

    /// To be taken before an object is written that this process is to work on.
    pub(crate) fn ticket(&self, namespace: &str, instance_name: &str, kind: Kind, name: &str) -> Ticket {
        let key = LaneKey {
            namespace: namespace.into(),
            instance: instance_name.into(),
        };
        self.lanes.ticket(
            &key,
            &Target {
                kind,
                name: name.into(),
            },
        )
    }

    /// Has a job done, if the shard of its instance belongs to this process.
    pub(crate) fn push(self: &Arc<Self>, key: LaneKey, job: Job) {
        if self.stopping.is_cancelled() || self.shards.epoch(&key.instance).is_none() {
            return;
        }
        if self.lanes.push(&key, job) {
            self.tasks.spawn(controller::work_lane(self.clone(), key));
        }
    }
}
