//! The engine: everything between the front and the author's functions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use osb_api::id::InstanceId;
use osb_server::Platform;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::controller::{self, Orphan, OrphanError};
use crate::custom::definitions::Additions;
use crate::custom::{self, CustomKind, Fields, Kinds, ResourceError, Resources};
use crate::definition::{Broker, DefinitionError};
use crate::home::{Home, HomeError};
use crate::lanes::{Job, LaneKey, Lanes, Target, Ticket};
use crate::metrics::Metrics;
use crate::names;
use crate::own_writes::OwnWrites;
use crate::replicas::{Joining, Member, ReplicaConfig};
use crate::resource::{Kind, Stored};
use crate::seal::Keys;
use crate::served::{self, Before, CatalogChange};
use crate::services::Services;
use crate::shards::Shards;
use crate::stored_version::{self, STORED_VERSION};
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
    /// A request that does not accept a 202 is answered with a 5xx after that time. An update is stopped, and taken
    /// back, twice the grace period before (at half of the time at the earliest).
    pub budget_complete: Duration,
    /// So long a cancelled function of the author may take to stop, before it is dropped; among several replicas at most
    /// a third of the lease.
    pub grace: Duration,
    /// The most operations that may be pending in this process; above that new ones get 429.
    pub max_pending: usize,
    /// So long a removed instance or binding is remembered.
    pub retention: Duration,
    /// The first pause before a function is called again; it doubles with each attempt.
    pub first_retry: Duration,
    /// The longest pause before a function is called again.
    pub longest_retry: Duration,
    /// What this process is called among several on the same home; `None` where there is never more than one, which then
    /// takes over at its start.
    pub replica: Option<ReplicaConfig>,
    /// The clock of what is stored and of deadlines.
    pub clock: Clock,
}

impl Config {
    /// So long an update may take whose platform takes no 202, so that there is time to take it back and to say so.
    pub(crate) fn bounded_time(&self) -> Duration {
        let whole = self.budget_complete;
        whole.saturating_sub(2 * self.grace).max(whole / 2)
    }
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
            replica: None,
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
    /// The author has changed the type of a field in a resource, and stored objects might not fit any more.
    #[error(
        "the resource {0}, and what is stored may have it so: keep that field as it was, and give the new one another name"
    )]
    NotAdditive(String),
    /// What is stored is newer than this program.
    #[error(
        "what is stored has the version {0}, and this program knows none newer than {STORED_VERSION}: start the version that wrote it, or a newer one"
    )]
    Newer(String),
    /// An archive is being restored.
    #[error(
        "an archive is being restored into the broker's home: wait for its end, or restore the same archive again if that was interrupted"
    )]
    Restoring,
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
    /// Of the start, until somebody wants to know.
    catalog_change: Mutex<Option<CatalogChange>>,
    pub(crate) own: Arc<OwnWrites>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) waiters: Waiters,
    pub(crate) metrics: Metrics,
    /// The author's own.
    pub(crate) kinds: Arc<Kinds>,
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
    pub async fn start(mut broker: Broker, home: Home, keys: Keys, mut config: Config) -> Result<Self, StartError> {
        if let Some(replica) = &config.replica {
            // What a replica stops by itself has ended before others take over.
            config.grace = config.grace.min(replica.lease / 3);
        }
        let changes = broker.take_changes();
        let controllers = broker.take_controllers();
        let collectors = broker.take_collectors();
        let additions = broker.additions()?;
        let name = broker.name().to_owned();
        let mut services = broker.check()?;
        let noted = stored_version::check(&home, &config.system_namespace).await?;
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        // What has begun ends with a start that fails.
        let unless_started = stopping.clone().drop_guard();
        let (shards, member) =
            take_shards(&home, &config, &stopping, &tasks)
                .await
                .map_err(|error| StartError::Home {
                    doing: "taking the shards",
                    error,
                })?;
        stored_version::note(&home, &config.system_namespace, noted).await;
        let metrics = Metrics::new(config.clock, collectors);
        let kinds = additions.kinds.clone();
        let before = served::read(&home, &keys, &config.system_namespace).await;
        let before = before.map_err(|error| StartError::Home {
            doing: "reading the catalog served last",
            error,
        })?;
        let mut change = None;
        if let Before::Found(served) = &before {
            let withdrawn = served::forget_unused(&home, served.withdrawn(&services.catalog)).await;
            change = served.change(&services.catalog);
            services = services.retiring(withdrawn);
        }
        let inner = Arc::new(Inner {
            home,
            keys: Arc::new(keys),
            config,
            services: RwLock::new(Arc::new(services)),
            catalog_change: Mutex::new(change),
            own: Arc::default(),
            shards,
            lanes: Arc::default(),
            waiters: Waiters::default(),
            metrics,
            kinds,
            retrying: AtomicUsize::new(0),
            ready: AtomicBool::new(false),
            stopping,
            tasks,
        });
        controller::start(&inner).await.map_err(|error| StartError::Home {
            doing: "looking for work",
            error,
        })?;
        if let Some(member) = member {
            inner.tasks.spawn(member.run(inner.clone()));
        }
        if let Before::Unreadable = before {
            tracing::error!("the catalog served last cannot be read: plans that are not offered any more are unknown");
        } else {
            inner.remember_catalog().await;
        }
        for controller in controllers {
            if let Some(kind) = inner.kinds.by_id(controller.kind()) {
                inner.tasks.spawn(custom::run(inner.clone(), kind, controller));
            }
        }
        if let Some(changes) = changes {
            inner
                .tasks
                .spawn(inner.clone().follow_changes(name, additions, changes));
        }
        inner.ready.store(true, Ordering::Release);
        unless_started.disarm();
        Ok(Self { inner })
    }

    /// What has changed in the catalog since the last start; told once.
    pub fn catalog_change(&self) -> Option<CatalogChange> {
        let mut change = self.inner.catalog_change.lock().unwrap_or_else(PoisonError::into_inner);
        change.take()
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

    /// Looks now for what the services list in their backends and belongs to no instance and no binding
    /// ([`Service::list_backend`](crate::Service::list_backend)), and reports it as the look of each hour does.
    ///
    /// # Errors
    /// [`OrphanError`] when a backend or the home does not answer.
    pub async fn orphans(&self) -> Result<Vec<Orphan>, OrphanError> {
        self.inner.look_for_orphans().await
    }

    /// The author's fields of an instance, as they stand in its resource; `None` when there is no such instance, or
    /// nothing was told of it, or it has another form.
    ///
    /// # Errors
    /// [`HomeError`] when the home does not say.
    pub async fn fields<F: Fields>(&self, platform: &Platform, instance: &InstanceId) -> Result<Option<F>, HomeError> {
        let Some(namespace) = self.inner.namespace(platform) else {
            return Ok(None);
        };
        let name = names::instance(instance);
        let found: Option<Stored> = self.inner.home.get(Kind::Instance, namespace, &name).await?;
        let found = found.filter(|found| found.spec.instance_id == *instance);
        let fields = found.and_then(|found| found.ext);
        Ok(fields.and_then(|fields| F::deserialize(serde_json::Value::Object(fields)).ok()))
    }

    /// The objects of a kind of the author's own, in the namespace of a platform.
    ///
    /// # Errors
    /// [`ResourceError::NotDeclared`] when the broker has no such kind or no such platform.
    pub fn resources<K: CustomKind>(&self, platform: &Platform) -> Result<Resources<K>, ResourceError> {
        let namespace = self
            .inner
            .namespace(platform)
            .ok_or(ResourceError::NotDeclared(K::KIND))?;
        Resources::new(&self.inner.home, &self.inner.kinds, namespace)
    }

    /// Waits until nothing is pending. Operations that wait for their next attempt count as pending.
    pub async fn idle(&self) {
        while self.inner.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// All shards for a process that runs alone; for one of several, what is free, and the membership that brings the rest.
async fn take_shards(
    home: &Home,
    config: &Config,
    stopping: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(Arc<Shards>, Option<Member>), HomeError> {
    let Some(replica) = &config.replica else {
        let shards = Shards::take_all(home, &config.system_namespace, stopping).await?;
        return Ok((Arc::new(shards), None));
    };
    let shards = Arc::new(Shards::none(stopping));
    let joining = Joining {
        home,
        namespace: &config.system_namespace,
        config: replica,
        grace: config.grace,
        shards: &shards,
        tasks,
    };
    let member = Box::pin(joining.join()).await?;
    Ok((shards, Some(member)))
}

impl Inner {
    /// What is offered now.
    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Offers what `definitions` bring, one after the other.
    async fn follow_changes(
        self: Arc<Self>,
        name: String,
        additions: Additions,
        mut definitions: BoxStream<'static, Broker>,
    ) {
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
            let known = broker.additions().map(|new| additions.cover(&new));
            if known.is_ok_and(|known| !known) {
                tracing::error!("fields and kinds are made known at the start of a broker; the catalog before stays");
                continue;
            }
            match broker.check() {
                Ok(services) => {
                    let services = services.after(&self.services());
                    *self.services.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(services);
                    tracing::info!("the catalog has changed");
                    self.remember_catalog().await;
                }
                Err(error) => tracing::error!(%error, "the new catalog is wrong; the one before stays"),
            }
        }
    }

    /// Remembers for the next start what is served.
    async fn remember_catalog(&self) {
        let namespace = &self.config.system_namespace;
        served::remember(&self.home, &self.keys, namespace, &self.services()).await;
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
        if self.stopping.is_cancelled() || !self.shards.is_mine(&key.instance) {
            // Who owns it looks for it.
            self.metrics
                .ages
                .idle(&key.namespace, job.target.kind, &job.target.name);
            return;
        }
        if self.lanes.push(&key, job) {
            self.tasks.spawn(controller::work_lane(self.clone(), key));
        }
    }
}
