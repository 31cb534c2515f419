//! How work is found that no request of this process brought: the look at the start, and the watch.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use crate::admin::{self, ADMIN_ANNOTATION};
use crate::engine::Inner;
use crate::home::{HomeError, Selection, WatchKind};
use crate::lanes::{Job, LaneKey, Target};
use crate::resource::{EXPIRES_LABEL, FINALIZER, INSTANCE_LABEL, Kind, Meta, Stored};

/// An event often comes before the answer to the write that caused it: only after that time an event that is not
/// known as our own is a stranger's.
const PATIENCE: Duration = Duration::from_millis(200);

const PAGE: u32 = 500;

const PAUSE: Duration = Duration::from_secs(1);

/// When after the start Tombstones that have expired are removed for the first time.
const FIRST_EXPIRY: Duration = Duration::from_secs(60);

/// How often they are removed then.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// So long a home that is starting is waited for.
const PATIENCE_AT_START: Duration = Duration::from_secs(60);

/// Looks for interrupted operations and begins to follow changes. Returns when the interrupted ones are in their
/// lanes.
pub(crate) async fn start(inner: &Arc<Inner>) -> Result<(), HomeError> {
    for kind in [Kind::Instance, Kind::Binding] {
        let deadline = Instant::now() + PATIENCE_AT_START;
        let version = loop {
            match inner.resume(kind).await {
                Err(HomeError::Busy) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                resumed => break resumed?,
            }
        };
        inner.tasks.spawn(follow(inner.clone(), kind, version));
    }
    inner.tasks.spawn(expire(inner.clone()));
    inner.tasks.spawn(super::orphans::look_for_orphans(inner.clone()));
    inner.tasks.spawn(super::admin::follow_orders(inner.clone()));
    Ok(())
}

/// Follows the changes of a kind until the process ends. What is too old to be followed is looked for anew.
async fn follow(inner: Arc<Inner>, kind: Kind, mut version: String) {
    let mut swept = false;
    loop {
        let watching = inner.clone().watch_kind(kind, &mut version, &mut swept);
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            ended = watching => if ended == Err(HomeError::Expired) {
                swept = false;
                match inner.resume(kind).await {
                    Ok(new) => version = new,
                    Err(error) => tracing::warn!(%error, "looking for work failed; trying again"),
                }
            },
        }
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Inner {
    /// Brings the busy objects of a kind into their lanes; the answer is the version from which to watch.
    async fn resume(self: &Arc<Self>, kind: Kind) -> Result<String, HomeError> {
        let first = self
            .home
            .list_metadata(
                kind,
                Selection {
                    limit: Some(1),
                    ..Selection::default()
                },
            )
            .await?;
        let version = first.metadata.resource_version;
        let mut next: Option<String> = None;
        loop {
            let selection = Selection {
                fields: Some("record.operation.id!="),
                limit: Some(PAGE),
                next: next.as_deref(),
                resource_version: next.is_none().then_some(version.as_str()),
                ..Selection::default()
            };
            // The list is at least as new as the version that the watch starts from.
            let page = self.home.list::<Stored>(kind, selection).await?;
            for stored in page.items.unwrap_or_default() {
                self.found_busy(kind, stored);
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(version);
            }
        }
    }

    fn found_busy(self: &Arc<Self>, kind: Kind, stored: Stored) {
        if self.platform(&stored.metadata.namespace).is_none() {
            return;
        }
        let key = LaneKey {
            namespace: stored.metadata.namespace.as_str().into(),
            instance: stored.instance_name().into(),
        };
        let target = Target {
            kind,
            name: stored.metadata.name.as_str().into(),
        };
        self.push(key, Job::look_at(target, 1));
    }

    async fn watch_kind(self: Arc<Self>, kind: Kind, version: &mut String, swept: &mut bool) -> Result<(), HomeError> {
        let mut lines = pin!(self.home.watch(kind, version).await?);
        if !*swept {
            self.tasks.spawn(sweep(self.clone(), kind));
            *swept = true;
        }
        let mut strange: VecDeque<(Instant, Meta)> = VecDeque::new();
        loop {
            let due = strange.front().map(|(due, _)| *due);
            let line = tokio::select! {
                line = lines.next() => line,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, meta)) = strange.pop_front() && !self.own.take(&meta.resource_version) {
                        self.look_at(kind, &meta);
                    }
                    continue;
                }
            };
            let Some(line) = line else { return Ok(()) };
            let line = line?;
            match line.kind {
                WatchKind::Error if line.object.code == 410 => return Err(HomeError::Expired),
                WatchKind::Error => return Err(HomeError::Unknown),
                WatchKind::Bookmark => *version = line.object.metadata.resource_version,
                WatchKind::Deleted => {
                    *version = line.object.metadata.resource_version;
                    self.own.take(version);
                }
                WatchKind::Added | WatchKind::Modified => {
                    version.clone_from(&line.object.metadata.resource_version);
                    if !self.own.take(version) {
                        strange.push_back((Instant::now() + PATIENCE, line.object.metadata));
                    }
                }
            }
        }
    }

    /// Has an object looked at that somebody else has written.
    fn look_at(self: &Arc<Self>, kind: Kind, meta: &Meta) {
        if self.platform(&meta.namespace).is_none() {
            return;
        }
        let instance = match kind {
            Kind::Binding => match meta.labels.get(INSTANCE_LABEL) {
                Some(instance) => instance.as_str(),
                None => return,
            },
            _ => meta.name.as_str(),
        };
        let key = LaneKey {
            namespace: meta.namespace.as_str().into(),
            instance: instance.into(),
        };
        let target = Target {
            kind,
            name: meta.name.as_str().into(),
        };
        let stop = meta.deletion_timestamp.is_some() || admin::stops(&meta.annotations);
        self.push(
            key,
            if stop {
                Job::look_at_deleted(target)
            } else {
                Job::look_at(target, 1)
            },
        );
    }
}

/// Looks once at the metadata of all objects for what no watch told us: deletions while nobody watched, and finalizers
/// that a restore lost.
async fn sweep(inner: Arc<Inner>, kind: Kind) {
    let mut next: Option<String> = None;
    loop {
        let selection = Selection {
            limit: Some(PAGE),
            next: next.as_deref(),
            ..Selection::default()
        };
        let listed = tokio::select! {
            () = inner.stopping.cancelled() => return,
            listed = inner.home.list_metadata(kind, selection) => listed,
        };
        match listed {
            Ok(page) => {
                for object in page.items.unwrap_or_default() {
                    let meta = object.metadata;
                    let ordered = meta.annotations.contains_key(ADMIN_ANNOTATION);
                    let bare = !meta.finalizers.iter().any(|name| name == FINALIZER);
                    if meta.deletion_timestamp.is_some() || ordered || bare {
                        inner.look_at(kind, &meta);
                    }
                }
                next = page.metadata.next.filter(|next| !next.is_empty());
                if next.is_none() {
                    return;
                }
            }
            Err(HomeError::Expired) => next = None,
            Err(error) => {
                tracing::warn!(%error, "the sweep was interrupted; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Removes expired Tombstones, once an hour.
async fn expire(inner: Arc<Inner>) {
    let mut pause = FIRST_EXPIRY;
    loop {
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = EXPIRY_INTERVAL,
        }
        let hour = inner.now().as_second() / 3600;
        let labels = format!("{EXPIRES_LABEL}<{hour}");
        for namespace in inner.config.tenants.namespaces() {
            if let Err(error) = inner.home.delete_selected(Kind::Tombstone, namespace, &labels).await {
                tracing::warn!(%error, namespace, "expired Tombstones could not be removed");
            }
        }
    }
}
