//! Has etcd forget history: by age and by size, once for all processes.
//!
//! There is nothing to agree on: a process that finds that history has been cut since it last looked leaves it at that. So
//! one of them does it for all, also for other stores on the same cluster, and another one goes on when that has gone.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::client::Failure;
use super::proto::{self, CompactionRequest, HeaderResponse, RangeRequest, RangeResponse, WatchAsk, WatchCreate};
use super::wire;
use crate::{Error, Revision};

/// How often the window is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between two cuts because of size lies at least this.
const SOONEST: Duration = Duration::from_secs(10);

/// Cuts history until the store is closed.
pub(super) async fn run(shared: Arc<Shared>, opened: Revision) {
    // Processes that were started together must not look at the same moment again and again.
    let odd = RandomState::new().build_hasher().finish() % 100;
    let every = shared.compact_every.mul_f64(1.0 + odd as f64 / 500.0);
    let soonest = SOONEST.min(every);
    let look = LOOK_EVERY.min(shared.window.age / 8).max(Duration::from_millis(10));
    let mut last = Instant::now();
    let mut bytes_then = 0;
    let mut wanted = None;
    // Where history began, as far as this process knows, when it last looked.
    let mut seen = shared.epoch.etcd(opened).unwrap_or(shared.epoch.etcd);
    loop {
        tokio::time::sleep(look).await;
        let (expired, total) = {
            let mut feed = shared.feed();
            (feed.clock.expire(std::time::Instant::now()), feed.total)
        };
        wanted = expired.or(wanted);
        let heavy = total.saturating_sub(bytes_then) > shared.window.bytes;
        let due = last.elapsed() >= if heavy { soonest } else { every };
        let Some(revision) = wanted.filter(|_| due) else {
            continue;
        };
        (last, bytes_then) = (Instant::now(), total);
        match shared.cut(revision, seen).await {
            Ok(at) => (seen, wanted) = (at, None),
            Err(error) => tracing::warn!(%error, "etcd's history cannot be cut now"),
        }
    }
}

impl Shared {
    /// Has etcd forget what is older, unless somebody else has since it reached back to `seen`. How far it reaches now.
    async fn cut(&self, revision: Revision, seen: i64) -> Result<i64, Error> {
        let probe = RangeRequest {
            key: self.places.mark.clone(),
            revision: seen,
            count_only: true,
            ..RangeRequest::default()
        };
        match self.cluster.ask::<RangeResponse>(proto::RANGE, &probe).await {
            Ok(_) => {}
            Err(Failure::Refused(status)) if status.code == wire::OUT_OF_RANGE => {
                return Ok(self.look_how_far().await?.max(seen));
            }
            Err(failure) => return Err(Error::Unavailable(failure.text().to_owned())),
        }
        self.compact_to(revision).await?;
        Ok(self.epoch.etcd(revision).map_or(seen, |at| at - 1).max(seen))
    }

    /// Has etcd forget what is older than a revision that has been committed.
    pub(super) async fn compact_to(&self, revision: Revision) -> Result<(), Error> {
        let Some(at) = self.epoch.etcd(revision).map(|at| at - 1) else {
            return Ok(());
        };
        if revision <= self.oldest() || at <= 0 {
            return Ok(());
        }
        let request = CompactionRequest { revision: at };
        match self.cluster.ask::<HeaderResponse>(proto::COMPACT, &request).await {
            Ok(_) => {}
            Err(Failure::Refused(status)) if status.code == wire::OUT_OF_RANGE => {
                if status.message.contains("future") {
                    return Err(Error::Future {
                        requested: revision,
                        current: self.known(),
                    });
                }
                // Others were quicker, or the answer to the first attempt was lost.
                self.look_how_far().await?;
            }
            Err(failure) => return Err(Error::Unavailable(failure.text().to_owned())),
        }
        self.compacted(at);
        Ok(())
    }

    /// Finds out how far history reaches back: a watch from the beginning of all is told.
    pub(super) async fn look_how_far(&self) -> Result<i64, Error> {
        let unavailable = |failure: Failure| Error::Unavailable(failure.text().to_owned());
        let asked = async {
            let mut stream = self.cluster.watch().await?;
            let create = WatchCreate {
                key: self.places.mark.clone(),
                start_revision: 1,
                ..WatchCreate::default()
            };
            stream.send(WatchAsk::Create(create)).await?;
            loop {
                let message = stream.next().await?;
                if message.compact_revision > 0 {
                    return Ok(message.compact_revision);
                }
                if !message.created {
                    return Ok(0);
                }
                stream.ask_for_progress();
            }
        };
        let found = tokio::time::timeout(self.attempt, asked).await;
        let found = found.unwrap_or_else(|_| Err(Failure::Unknown("a member is silent".to_owned())));
        let at = found.map_err(unavailable)?;
        self.compacted(at);
        Ok(at)
    }
}
