//! The `Replica` object of this process, renewed three times in each lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::home::{Home, HomeError};
use crate::resource::{Kind, Meta, Replica};
use crate::shards::Shards;

/// Ends with its value.
pub(super) struct Heartbeat {
    beat: Arc<Beat>,
    _quit: DropGuard,
}

struct Beat {
    name: String,
    lease: Duration,
    shards: Arc<Shards>,
    /// As it was written last.
    meta: Mutex<Meta>,
    quit: CancellationToken,
    /// Somebody has deleted the object.
    dead: CancellationToken,
    /// The lease had run out for a while, and what came then was left alone.
    lapsed: AtomicBool,
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Done,
    /// The newest version is known now.
    AtOnce,
    Later,
    Dead,
}

impl Heartbeat {
    /// Renews an object that was made by a request sent at that time.
    pub(super) fn start(
        home: &Home,
        meta: Meta,
        lease: Duration,
        shards: &Arc<Shards>,
        sent: Instant,
        tasks: &TaskTracker,
    ) -> Self {
        let beat = Arc::new(Beat {
            name: meta.name.clone(),
            lease,
            shards: shards.clone(),
            meta: Mutex::new(meta),
            quit: CancellationToken::new(),
            dead: CancellationToken::new(),
            lapsed: AtomicBool::new(false),
        });
        shards.renewed(sent, valid(lease));
        let (renewing, home) = (beat.clone(), home.clone());
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = renewing.quit.cancelled() => {}
                () = renewing.renew_until_dead(&home) => {}
            }
        });
        let watching = beat.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = watching.quit.cancelled() => {}
                () = watching.suspend_in_time() => {}
            }
        });
        Self {
            _quit: beat.quit.clone().drop_guard(),
            beat,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.beat.name
    }

    /// Renews no more.
    pub(super) fn quit(&self) {
        self.beat.quit.cancel();
    }

    /// Ends when somebody has deleted the object.
    pub(super) async fn died(&self) {
        self.beat.dead.cancelled().await;
    }

    /// Somebody has deleted the object.
    pub(super) fn is_dead(&self) {
        self.beat.dead.cancel();
    }

    /// Whether the lease had run out since the last call, and is valid again.
    pub(super) fn take_lapsed(&self) -> bool {
        self.beat.lapsed.swap(false, Ordering::AcqRel)
    }

    /// Deletes the object, of which nothing depends any more.
    pub(super) async fn end(&self, home: &Home) -> Result<(), HomeError> {
        self.beat.quit.cancel();
        let meta = self.beat.meta.lock().await.clone();
        match home.delete(Kind::Replica, &meta).await {
            Ok(_) | Err(HomeError::NotFound) => Ok(()),
            Err(HomeError::Conflict) => {
                let found: Option<Replica> = home.get(Kind::Replica, &meta.namespace, &meta.name).await?;
                match found.filter(|found| found.metadata.uid == meta.uid) {
                    Some(found) => home.delete(Kind::Replica, &found.metadata).await.map(|_| ()),
                    None => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// So long after a renewal the author may be called.
fn valid(lease: Duration) -> Duration {
    lease * 2 / 3
}

impl Beat {
    async fn renew_until_dead(&self, home: &Home) {
        let mut pause = self.lease / 3;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.renew(home).await {
                Renewal::Done => self.lease / 3,
                Renewal::AtOnce => Duration::ZERO,
                Renewal::Later => self.lease / 15,
                Renewal::Dead => {
                    self.shards.lose_all();
                    self.dead.cancel();
                    return;
                }
            };
        }
    }

    async fn renew(&self, home: &Home) -> Renewal {
        let mut meta = self.meta.lock().await;
        // A name that does not exist any more must not be valid again, whatever a late answer says.
        if self.dead.is_cancelled() {
            return Renewal::Dead;
        }
        let patch = json!({"spec": {"renewTime": jiff::Timestamp::now()}});
        let sent = Instant::now();
        let answer = self.timed(home.patch(Kind::Replica, &meta, &patch)).await;
        match answer {
            Ok(new) => {
                *meta = new;
                if self.shards.renewed(sent, valid(self.lease)) {
                    self.lapsed.store(true, Ordering::Release);
                    self.shards.poke.notify_one();
                }
                return Renewal::Done;
            }
            Err(HomeError::NotFound) => return Renewal::Dead,
            Err(HomeError::Conflict | HomeError::Unknown) => {}
            Err(error) => {
                tracing::warn!(%error, replica = self.name, "the lease of this replica could not be renewed; trying again");
                return Renewal::Later;
            }
        }
        // An answer may have been lost, or somebody has annotated the object: as long as it is there, nobody has taken
        // this replica for dead.
        let found = home.get::<Replica>(Kind::Replica, &meta.namespace, &meta.name);
        match self.timed(found).await {
            Ok(Some(found)) if found.metadata.uid == meta.uid => {
                let changed = found.metadata.resource_version != meta.resource_version;
                *meta = found.metadata;
                if changed { Renewal::AtOnce } else { Renewal::Later }
            }
            Ok(_) => Renewal::Dead,
            Err(error) => {
                tracing::warn!(%error, replica = self.name, "the lease of this replica could not be renewed; trying again");
                Renewal::Later
            }
        }
    }

    async fn timed<T>(&self, request: impl Future<Output = Result<T, HomeError>>) -> Result<T, HomeError> {
        let answer = tokio::time::timeout(self.lease / 3, request).await;
        answer.unwrap_or(Err(HomeError::Unknown))
    }

    /// Cancels what runs when the lease was not renewed for two thirds of its time.
    async fn suspend_in_time(&self) {
        loop {
            tokio::time::sleep_until(self.shards.valid_until()).await;
            if self.shards.suspend() {
                tracing::error!(
                    replica = self.name,
                    "the lease of this replica was not renewed in time: what runs is stopped, others may take over"
                );
                self.shards.valid_again().await;
            }
        }
    }
}
