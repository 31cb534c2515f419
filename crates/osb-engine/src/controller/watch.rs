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
use crate::names;
use crate::resource::{EXPIRES_LABEL, FINALIZER, INSTANCE_LABEL, Kind, Meta, Stored};
use crate::shards::SHARDS;

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
            match inner.resume(kind, None).await {
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

/// Looks for what there is to do in shards that have come to this process.
pub(crate) async fn look_in(inner: Arc<Inner>, shards: Vec<usize>) {
    let mut only = [false; SHARDS];
    shards.iter().for_each(|shard| only[*shard] = true);
    let (mut instances, mut bindings) = (false, false);
    while !(instances && bindings) {
        for (kind, found) in [(Kind::Instance, &mut instances), (Kind::Binding, &mut bindings)] {
            match inner.resume(kind, Some(&only)).await {
                _ if *found => {}
                Ok(_) => *found = true,
                Err(error) => tracing::warn!(%error, "looking for work in new shards failed; trying again"),
            }
        }
        if !(instances && bindings) {
            tokio::select! {
                () = inner.stopping.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
    for kind in [Kind::Instance, Kind::Binding] {
        sweep(inner.clone(), kind, Some(only)).await;
    }
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
                match inner.resume(kind, None).await {
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
    /// Brings the busy objects of a kind into their lanes, those of some shards only where they are given; the answer is
    /// the version from which to watch.
    async fn resume(self: &Arc<Self>, kind: Kind, only: Option<&[bool; SHARDS]>) -> Result<String, HomeError> {
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
                if is_in(only, &stored.instance_name()) {
                    self.found_busy(kind, stored);
                }
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
            self.tasks.spawn(sweep(self.clone(), kind, None));
            *swept = true;
        }
        let mut strange: VecDeque<(Instant, Meta)> = VecDeque::new();
        loop {
            let due = strange.front().map(|(due, _)| *due);
            let line = tokio::select! {
                line = lines.next() => line,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, meta)) = strange.pop_front() && !self.own.take(&meta.resource_version) {
                        self.look_at_strange(kind, &meta);
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
                    let meta = line.object.metadata;
                    self.waiters.written(kind, &meta.namespace, &meta.name);
                    *version = meta.resource_version;
                    self.own.take(version);
                }
                WatchKind::Added | WatchKind::Modified => {
                    version.clone_from(&line.object.metadata.resource_version);
                    if !self.own.take(version)
                        && let Some(meta) = self.strange(kind, line.object.metadata)
                    {
                        strange.push_back((Instant::now() + PATIENCE, meta));
                    }
                }
            }
        }
    }

    /// Something that seems to be written by somebody else; given back when it may turn out to be our own, because
    /// something is being written for its instance.
    fn strange(self: &Arc<Self>, kind: Kind, meta: Meta) -> Option<Meta> {
        self.waiters.written(kind, &meta.namespace, &meta.name);
        let key = self.lane_of(kind, &meta)?;
        if !self.shards.is_mine(&key.instance) {
            return None;
        }
        if self.lanes.has(&key) {
            return Some(meta);
        }
        self.look_at(kind, &meta);
        None
    }

    /// Has an object looked at that somebody else has written, perhaps while something runs for it: a removal that
    /// another replica has accepted stops that.
    fn look_at_strange(self: &Arc<Self>, kind: Kind, meta: &Meta) {
        let Some(key) = self.lane_of(kind, meta) else { return };
        if stops(meta) || !self.lanes.runs(&key) {
            return self.look_at(kind, meta);
        }
        let (inner, meta) = (self.clone(), meta.clone());
        self.tasks.spawn(async move {
            let found = inner.home.get::<Stored>(kind, &meta.namespace, &meta.name).await;
            let superseded = found.ok().flatten().is_some_and(|found| inner.is_superseded(&found));
            inner.push(key, job_for(kind, &meta, superseded));
        });
    }

    /// Whether an object shows a removal that is not the operation that this process works on.
    fn is_superseded(&self, found: &Stored) -> bool {
        let removal = found.running().filter(|running| running.verb.removes());
        removal.is_some_and(|removal| self.metrics.ages.current(found).as_ref() != Some(&removal.id))
    }

    /// Has an object looked at that somebody else has written.
    fn look_at(self: &Arc<Self>, kind: Kind, meta: &Meta) {
        if let Some(key) = self.lane_of(kind, meta) {
            self.push(key, job_for(kind, meta, stops(meta)));
        }
    }

    /// The lane of an object of one of our platforms.
    fn lane_of(&self, kind: Kind, meta: &Meta) -> Option<LaneKey> {
        self.platform(&meta.namespace)?;
        let instance = match kind {
            Kind::Binding => meta.labels.get(INSTANCE_LABEL)?.as_str(),
            _ => meta.name.as_str(),
        };
        Some(LaneKey {
            namespace: meta.namespace.as_str().into(),
            instance: instance.into(),
        })
    }
}

/// Whether what is written on an object stops what runs for it.
fn stops(meta: &Meta) -> bool {
    meta.deletion_timestamp.is_some() || admin::stops(&meta.annotations)
}

/// A look at an object; `stops` says whether what runs for it has to stop.
fn job_for(kind: Kind, meta: &Meta, stops: bool) -> Job {
    let target = Target {
        kind,
        name: meta.name.as_str().into(),
    };
    if stops {
        Job::look_at_deleted(target)
    } else {
        Job::look_at(target, 1)
    }
}

/// Whether an instance is in one of some shards.
fn is_in(only: Option<&[bool; SHARDS]>, instance_name: &str) -> bool {
    only.is_none_or(|only| only[names::shard(instance_name, SHARDS)])
}

/// Looks once at the metadata of all objects for what no watch told us: deletions while nobody watched, and finalizers
/// that a restore lost.
async fn sweep(inner: Arc<Inner>, kind: Kind, only: Option<[bool; SHARDS]>) {
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
                    let key = inner.lane_of(kind, &meta);
                    let ours = key.is_some_and(|key| is_in(only.as_ref(), &key.instance));
                    if ours && (meta.deletion_timestamp.is_some() || ordered || bare) {
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
        if !inner.shards.leads() {
            continue;
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
