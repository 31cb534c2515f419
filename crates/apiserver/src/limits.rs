//! How many requests are worked on at once, and for how long.
//!
//! Reads, writes and watches are counted apart. A read or write beyond its limit waits for its turn in a queue that is bounded in
//! length and time, and is answered with 429 behind it. What a program sends to its own server in process is not limited, nor are
//! reads and writes of `system:masters`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apimachinery::request_info::Verb;
use apimachinery::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How many requests a server works on at once, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Reads at once. Default: 400.
    pub reads: usize,
    /// Writes at once. Default: 200.
    pub writes: usize,
    /// Watches at once. Default: 5,000.
    pub watches: usize,
    /// How many reads, and how many writes, wait for their turn. Default: 1,000.
    pub queue: usize,
    /// How long a read or write waits for its turn. Default: 5 seconds.
    pub patience: Duration,
    /// How long a request other than a watch may take; `?timeout=` may only shorten it. Default: 60 seconds.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            reads: 400,
            writes: 200,
            watches: 5000,
            queue: 1000,
            patience: Duration::from_secs(5),
            deadline: Duration::from_secs(60),
        }
    }
}

/// After how many seconds somebody who is turned away should come back.
const RETRY_AFTER_SECS: u32 = 1;

#[derive(Debug)]
struct Line {
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Line {
    fn new(places: usize) -> Line {
        Line {
            places: Semaphore::new(places.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
        }
    }

    async fn enter(&self, limits: &Limits) -> Result<SemaphorePermit<'_>, Status> {
        if let Ok(permit) = self.places.try_acquire() {
            return Ok(permit);
        }
        let Some(_waiting) = Waiting::begin(&self.waiting, limits.queue) else {
            return Err(Status::too_many_requests(RETRY_AFTER_SECS));
        };
        match tokio::time::timeout(limits.patience, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Status::too_many_requests(RETRY_AFTER_SECS)),
        }
    }
}

/// Somebody in the queue; also when he gives up he is counted out.
struct Waiting<'w>(&'w AtomicUsize);

impl Waiting<'_> {
    fn begin(waiting: &AtomicUsize, most: usize) -> Option<Waiting<'_>> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let counted = Waiting(waiting);
        (before < most).then_some(counted)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The places of a server.
#[derive(Debug)]
pub(crate) struct Places {
    limits: Limits,
    reads: Line,
    writes: Line,
    watches: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Places {
        Places {
            reads: Line::new(limits.reads),
            writes: Line::new(limits.writes),
            watches: Arc::new(Semaphore::new(limits.watches.min(Semaphore::MAX_PERMITS))),
            limits,
        }
    }

    /// A place for a read or write.
    ///
    /// # Errors
    /// 429 when the queue is full, or did not move.
    pub(crate) async fn enter(&self, verb: Verb) -> Result<SemaphorePermit<'_>, Status> {
        let line = if verb.is_read() { &self.reads } else { &self.writes };
        line.enter(&self.limits).await
    }

    /// A place for a watch, for as long as it lasts.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(crate) fn watch(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.watches
            .clone()
            .try_acquire_owned()
            .map_err(|_| Status::too_many_requests(RETRY_AFTER_SECS))
    }

    /// How many reads, writes and watches there are now.
    pub(crate) fn taken(&self) -> (usize, usize, usize) {
        let taken = |all: usize, free: usize| all.saturating_sub(free);
        (
            taken(self.limits.reads, self.reads.places.available_permits()),
            taken(self.limits.writes, self.writes.places.available_permits()),
            taken(self.limits.watches, self.watches.available_permits()),
        )
    }

    /// How long a request may take that names this time, or none.
    ///
    /// # Errors
    /// 400 when it is no time.
    pub(crate) fn deadline(&self, timeout: Option<&str>) -> Result<Duration, Status> {
        let Some(text) = timeout.filter(|text| !text.is_empty()) else {
            return Ok(self.limits.deadline);
        };
        let asked = duration(text).ok_or_else(|| {
            Status::bad_request(format!(
                "invalid timeout specified in the request URL - time: invalid duration {text:?}"
            ))
        })?;
        if asked.is_zero() {
            return Ok(self.limits.deadline);
        }
        Ok(asked.min(self.limits.deadline))
    }
}

/// A time as Go writes it: `1m30.5s`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, seconds) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total += number * seconds;
    }
    Duration::try_from_secs_f64(total).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(limits: Limits) -> Places {
        Places::new(limits)
    }

    fn few() -> Limits {
        Limits {
            reads: 1,
            writes: 1,
            watches: 1,
            queue: 1,
            patience: Duration::from_secs(5),
            ..Limits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_the_queue_full_is_turned_away_at_once() {
        let places = places(few());
        let first = places.enter(Verb::List).await.expect("a place");
        // Writes have places of their own.
        let write = places.enter(Verb::Create).await.expect("a place");
        let second = places.enter(Verb::Get);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        let refused = places.enter(Verb::Get).await.expect_err("the queue is full");
        assert_eq!((refused.code(), refused.retry_after_seconds()), (429, Some(1)));
        drop(first);
        drop(second.await.expect("a place"));
        drop(write);
        assert_eq!(places.taken(), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_turned_away() {
        let places = places(few());
        let _first = places.enter(Verb::Get).await.expect("a place");
        let begun = tokio::time::Instant::now();
        assert_eq!(places.enter(Verb::Get).await.expect_err("it does not move").code(), 429);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        // He does not stand in the way of others.
        assert_eq!(places.reads.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn watches_have_places_for_as_long_as_they_last() {
        let places = places(few());
        let first = places.watch().expect("a place");
        assert_eq!(places.watch().expect_err("there is none").code(), 429);
        drop(first);
        assert!(places.watch().is_ok());
    }

    #[test]
    fn a_client_can_only_shorten_the_deadline() {
        let places = places(Limits::default());
        let secs = |text| {
            places
                .deadline(Some(text))
                .map(|time| time.as_secs_f64())
                .map_err(|status| status.code())
        };
        for (text, expected) in [
            ("", Ok(60.0)),
            ("0", Ok(60.0)),
            ("0s", Ok(60.0)),
            ("30s", Ok(30.0)),
            ("1m30s", Ok(60.0)),
            ("1.5s", Ok(1.5)),
            ("100ms", Ok(0.1)),
            ("1h", Ok(60.0)),
            ("30", Err(400)),
            ("-1s", Err(400)),
            ("s", Err(400)),
            ("1x", Err(400)),
            ("9e9s", Err(400)),
            ("99999999999999999999999h", Err(400)),
        ] {
            assert_eq!(secs(text), expected, "{text}");
        }
        assert_eq!(places.deadline(None).map(|time| time.as_secs()), Ok(60));
    }
}
