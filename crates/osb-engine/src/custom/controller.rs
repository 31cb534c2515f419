//! Controllers of the author's own: functions that look after the objects of a kind.

use std::any::TypeId;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use osb_server::Platform;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follow::{Key, Seen, follow};
use super::kind::{Custom, CustomKind, KindType, Raw, ResourceError, Scope};
use super::resources::{Resources, collection, finalizers_patch};
use super::work::{Ended, Work};
use crate::engine::Inner;
use crate::home::HomeError;
use crate::service::{Error, Kind, Result};
use crate::shards::Tenure;

/// On objects whose controller wants to clean up after them.
const FINALIZER: &str = "osb.internal/controller";

/// So many objects of a kind are looked after at one time.
const PARALLEL: usize = 8;

/// The pause after the home did not do as it was asked.
const HOME_PAUSE: Duration = Duration::from_millis(500);

/// When an object is to be looked at again.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use std::time::Duration;
/// use osb_sdk::Next;
///
/// fn next(hours_left: u64) -> Next {
///     match hours_left {
///         0 => Next::WhenChanged,
///         hours => Next::After(Duration::from_secs(60 * 60 * hours)),
///     }
/// }
/// assert_eq!(next(0), Next::WhenChanged);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When it changes, and when the broker starts.
    WhenChanged,
    /// After that time, or when it changes before.
    After(Duration),
}

/// Looks after the objects of a kind of the author's own. Registered with
/// [`Broker::controller`](crate::Broker::controller).
///
/// - [`reconcile`](Self::reconcile) is called for each object when the broker starts and whenever somebody has changed
///   it, also the author's own code. It compares what is with what is to be, so it does not matter how often it is
///   called; several changes may come to one call.
/// - For one object at most one call runs at a time. Of several replicas of a broker one runs the controller of a kind;
///   another goes on when that one stops or dies, with a look at all objects.
/// - After an error that may be retried it is called again, with growing pauses and without an end. An
///   [`Error::failed`] waits for the next change or start.
/// - Nothing that it must remember may lie in memory: after a restart it begins with the objects as they are. Objects
///   that it creates get names that follow from the object, so that they are not made twice.
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// # struct BackupPlan { every_hours: u64 }
/// # impl osb_sdk::CustomKind for BackupPlan {
/// #     const KIND: &'static str = "BackupPlan";
/// #     const PLURAL: &'static str = "backupplans";
/// #     type Status = osb_sdk::NoStatus;
/// # }
/// use std::time::Duration;
/// use osb_sdk::{Controller, Custom, Next, Reconcile, Result};
///
/// struct Backups;
///
/// impl Controller for Backups {
///     type Kind = BackupPlan;
///
///     async fn reconcile(&self, _: &Reconcile, plan: Custom<BackupPlan>) -> Result<Next> {
///         // … make a backup, if the last one is older than that …
///         Ok(Next::After(Duration::from_secs(60 * 60 * plan.spec.every_hours)))
///     }
/// }
/// ```
pub trait Controller: Send + Sync + 'static {
    /// What it looks after.
    type Kind: CustomKind;

    /// Whether [`finalize`](Self::finalize) is to be called before an object goes. It puts a finalizer on each object.
    const FINALIZES: bool = false;

    /// Makes what is of what is to be.
    ///
    /// # Errors
    /// See [`Error`].
    fn reconcile(&self, call: &Reconcile, object: Custom<Self::Kind>) -> impl Future<Output = Result<Next>> + Send;

    /// Removes what was made for an object that somebody has deleted. It goes when this has succeeded.
    ///
    /// # Errors
    /// See [`Error`].
    fn finalize(&self, call: &Reconcile, object: Custom<Self::Kind>) -> impl Future<Output = Result<()>> + Send {
        let _ = (call, object);
        ready(Ok(()))
    }
}

/// One call of a [`Controller`].
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// # struct BackupPlan { every_hours: u64 }
/// # impl osb_sdk::CustomKind for BackupPlan {
/// #     const KIND: &'static str = "BackupPlan";
/// #     const PLURAL: &'static str = "backupplans";
/// #     type Status = osb_sdk::NoStatus;
/// # }
/// use osb_sdk::{Custom, Error, Reconcile, Result};
///
/// async fn check(call: &Reconcile, plan: &Custom<BackupPlan>) -> Result<()> {
///     let all = call.resources::<BackupPlan>()?.list().await?;
///     if all.len() > 10 {
///         return Err(Error::failed(format!("{} is one plan too many.", plan.name())));
///     }
///     Ok(())
/// }
/// # let _ = check;
/// ```
pub struct Reconcile {
    inner: Arc<Inner>,
    namespace: String,
    attempt: u32,
    cancelled: CancellationToken,
}

impl Reconcile {
    /// The attempt, from 1 on; counted anew after each success.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time by the broker's clock: in a test with `TestBroker` it follows tokio's.
    pub fn now(&self) -> SystemTime {
        self.inner.now().into()
    }

    /// The platform that the object belongs to; none for kinds that platforms share.
    pub fn platform(&self) -> Option<&Platform> {
        self.inner.platform(&self.namespace)
    }

    /// The objects of a kind, in the namespace of the object.
    ///
    /// # Errors
    /// [`ResourceError::NotDeclared`]; also for kinds with a namespace where the object has none.
    pub fn resources<K: CustomKind>(&self) -> Result<Resources<K>, ResourceError> {
        if K::SCOPE == Scope::Namespaced && self.namespace.is_empty() {
            return Err(ResourceError::NotDeclared(K::KIND));
        }
        Resources::new(&self.inner.home, &self.inner.kinds, &self.namespace)
    }

    /// Ends when the broker shuts down, or another replica takes over. What does not stop within the grace period is dropped at its next await.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

/// A [`Controller`] with its types erased.
pub(crate) trait ErasedController: Send + Sync {
    fn kind(&self) -> TypeId;
    fn finalizes(&self) -> bool;
    fn reconcile<'a>(&'a self, call: &'a Reconcile, object: Raw) -> BoxFuture<'a, Result<Next>>;
    fn finalize<'a>(&'a self, call: &'a Reconcile, object: Raw) -> BoxFuture<'a, Result<()>>;
}

impl<C: Controller> ErasedController for C {
    fn kind(&self) -> TypeId {
        TypeId::of::<C::Kind>()
    }

    fn finalizes(&self) -> bool {
        C::FINALIZES
    }

    fn reconcile<'a>(&'a self, call: &'a Reconcile, object: Raw) -> BoxFuture<'a, Result<Next>> {
        async move { Controller::reconcile(self, call, readable(object)?).await }.boxed()
    }

    fn finalize<'a>(&'a self, call: &'a Reconcile, object: Raw) -> BoxFuture<'a, Result<()>> {
        async move { Controller::finalize(self, call, readable(object)?).await }.boxed()
    }
}

/// What does not fit the author's type waits until somebody changes it.
fn readable<K: CustomKind>(object: Raw) -> Result<Custom<K>> {
    object
        .typed()
        .map_err(|error| Error::failed("The object cannot be read.").caused_by(error))
}

/// Has a controller look after its objects until the engine stops, in the replica that owns the shard of its kind.
pub(crate) async fn run(inner: Arc<Inner>, kind: Arc<KindType>, controller: Arc<dyn ErasedController>) {
    while let Some(tenure) = inner.shards.enter_when_mine(kind.plural).await {
        run_while_mine(&inner, &kind, &controller, &tenure).await;
        // The shard is handed over after what ran has ended.
        drop(tenure);
        if inner.stopping.is_cancelled() {
            return;
        }
    }
}

async fn run_while_mine(
    inner: &Arc<Inner>,
    kind: &Arc<KindType>,
    controller: &Arc<dyn ErasedController>,
    tenure: &Tenure,
) {
    let cancelled = tenure.token().child_token();
    let _ends = cancelled.clone().drop_guard();
    let mut seen = pin!(follow(inner.home.clone(), collection(&inner.home, kind, None)));
    let mut work = Work::default();
    let mut running: JoinSet<(Key, Ended)> = JoinSet::new();
    loop {
        while running.len() < PARALLEL
            && let Some((key, attempt)) = work.next(Instant::now())
        {
            let visit = Visit {
                inner: inner.clone(),
                kind: kind.clone(),
                controller: controller.clone(),
                key,
                cancelled: cancelled.child_token(),
            };
            running.spawn(visit.run(attempt));
        }
        let due = work.next_due().filter(|_| running.len() < PARALLEL);
        tokio::select! {
            () = inner.stopping.cancelled() => break,
            () = tenure.ended() => break,
            seen = seen.next() => {
                let Some(seen) = seen else { break };
                let key = match &seen {
                    Seen::There(raw) => Key::of(raw),
                    Seen::Gone(key) => key.clone(),
                };
                if kind.scope == Scope::Cluster || inner.platform(&key.namespace).is_some() {
                    work.changed(key, Instant::now());
                }
            }
            Some(ended) = running.join_next() => {
                if let Ok((key, ended)) = ended {
                    work.ended(key, ended, Instant::now());
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
    // What runs is told to stop; the rest is dropped with the set.
    cancelled.cancel();
    let all = async { while running.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(inner.config.grace, all).await;
}

/// One look at one object.
struct Visit {
    inner: Arc<Inner>,
    kind: Arc<KindType>,
    controller: Arc<dyn ErasedController>,
    key: Key,
    cancelled: CancellationToken,
}

impl Visit {
    async fn run(self, attempt: u32) -> (Key, Ended) {
        let ended = AssertUnwindSafe(self.look(attempt)).catch_unwind().await;
        let ended = match ended {
            Ok(Ok(ended)) => ended,
            // Somebody else wrote meanwhile: it is read again at once, but not for ever beside one who always writes.
            Ok(Err(HomeError::Conflict | HomeError::NotFound)) if attempt < 3 => Ended::Again(Duration::ZERO),
            Ok(Err(HomeError::Conflict | HomeError::NotFound)) => Ended::Again(self.inner.pause_after(attempt)),
            Ok(Err(error)) => {
                tracing::warn!(%error, kind = self.kind.name, object = %self.key.name,
                    "the home did not let a controller go on; trying again");
                Ended::Again(HOME_PAUSE)
            }
            Err(_) => {
                // The panic hook has reported where.
                tracing::error!(kind = self.kind.name, object = %self.key.name, "a controller broke down");
                Ended::Again(self.inner.pause_after(attempt))
            }
        };
        (self.key, ended)
    }

    async fn look(&self, attempt: u32) -> Result<Ended, HomeError> {
        let path = self.path();
        let Some(raw) = self.inner.home.get_at::<Raw>(&path).await? else {
            return Ok(Ended::Done);
        };
        let finalizers = raw.metadata.finalizers.clone();
        let held = finalizers.iter().any(|name| name == FINALIZER);
        let deleted = raw.metadata.deletion_timestamp.is_some();
        let call = Reconcile {
            inner: self.inner.clone(),
            namespace: self.key.namespace.clone(),
            attempt,
            cancelled: self.cancelled.clone(),
        };
        if deleted && held {
            // A finalizer of an earlier version of the broker is in nobody's way.
            if self.controller.finalizes()
                && let Err(error) = self.controller.finalize(&call, raw.clone()).await
            {
                return Ok(self.failed(&error, attempt));
            }
            let others: Vec<&str> = finalizers
                .iter()
                .map(String::as_str)
                .filter(|name| *name != FINALIZER)
                .collect();
            self.inner
                .home
                .patch_at::<Raw>(&path, &finalizers_patch(&raw, &others))
                .await?;
            return Ok(Ended::Done);
        }
        if deleted {
            return Ok(Ended::Done);
        }
        let object = if self.controller.finalizes() && !held {
            let mut all: Vec<&str> = finalizers.iter().map(String::as_str).collect();
            all.push(FINALIZER);
            // Before anything is made for it.
            self.inner
                .home
                .patch_at::<Raw>(&path, &finalizers_patch(&raw, &all))
                .await?
        } else {
            raw
        };
        Ok(match self.controller.reconcile(&call, object).await {
            Ok(Next::WhenChanged) => Ended::Done,
            Ok(Next::After(pause)) => Ended::After(pause),
            Err(error) => self.failed(&error, attempt),
        })
    }

    fn failed(&self, error: &Error, attempt: u32) -> Ended {
        let again = match error.kind {
            Kind::Failed => None,
            Kind::Retry(after) => Some(after.unwrap_or_else(|| self.inner.pause_after(attempt))),
        };
        tracing::warn!(kind = self.kind.name, object = %self.key.name, attempt, again = again.is_some(), %error,
            source = error.source.as_deref().map(tracing::field::display), "a controller did not succeed");
        again.map_or(Ended::Done, Ended::Again)
    }

    fn path(&self) -> String {
        let Key { namespace, name } = &self.key;
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        format!("{}/{name}", collection(&self.inner.home, &self.kind, namespace))
    }
}
