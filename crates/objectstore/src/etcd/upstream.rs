//! The one watch of a process, from which all its watchers are served.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Shared;
use super::client::Failure;
use super::events::{Transactions, progress};
use super::past::{Trouble, check};
use crate::hub::{Subscription, weight, within};
use crate::window::{Clock, Window};
use crate::{Error, Event, Revision};

/// How many transactions, and how many bytes of them, are remembered for those who begin to watch a little late: what is
/// older is read from etcd.
const MOST_TRANSACTIONS: usize = 256;
const MOST_BYTES: usize = 1 << 20;

/// A silent watch is asked this often how far it is, and given up when it does not answer.
const ASK_EVERY: Duration = Duration::from_secs(1);
const SILENT_FOR: u32 = 4;

/// After a failure: how long until the watch is opened anew, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The newest changes, and how much history there is.
pub(super) struct Feed {
    recent: VecDeque<Arc<[Event]>>,
    bytes: usize,
    /// All changes after this one are in `recent`.
    floor: Revision,
    pub(super) clock: Clock,
    /// All bytes of history so far.
    pub(super) total: u64,
}

impl Feed {
    pub(super) fn new(now: Revision, window: Window) -> Feed {
        Feed {
            recent: VecDeque::new(),
            bytes: 0,
            floor: now,
            clock: Clock::new(window, Instant::now(), now),
            total: 0,
        }
    }

    fn add(&mut self, events: Arc<[Event]>) {
        let bytes = weight(&events);
        if let Some(event) = events.first() {
            self.total += bytes as u64;
            self.clock.record(Instant::now(), event.revision, bytes as u64);
        }
        self.bytes += bytes;
        self.recent.push_back(events);
        while self.recent.len() > MOST_TRANSACTIONS || self.bytes > MOST_BYTES {
            let Some(oldest) = self.recent.pop_front() else { return };
            self.bytes -= weight(&oldest);
            self.floor = oldest.first().map_or(self.floor, |event| event.revision);
        }
    }

    fn clear(&mut self, floor: Revision) {
        self.recent.clear();
        self.bytes = 0;
        self.floor = floor;
    }
}

/// Where a watcher that starts behind a revision joins.
pub(super) enum Joined {
    /// Here: with what has happened meanwhile.
    Live(Vec<Arc<[Event]>>, Subscription),
    /// It has to read the past first.
    Behind,
    Closed,
}

impl Shared {
    pub(super) fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the live stream, if it goes back so far.
    pub(super) fn join(&self, keys: &Range<Bytes>, after: Revision) -> Joined {
        // Nothing is handed on meanwhile.
        let feed = self.feed();
        if after < feed.floor {
            return Joined::Behind;
        }
        let Some(live) = self.hub.subscribe(keys.clone(), after) else {
            return Joined::Closed;
        };
        let newer = feed.recent.iter().filter_map(|events| within(keys, after, events));
        Joined::Live(newer.collect(), live)
    }

    /// Hands on what has come: transactions, and that there is nothing else up to a revision.
    fn hand_on(&self, whole: Vec<Arc<[Event]>>, upto: Revision) {
        let mut feed = self.feed();
        for events in &whole {
            feed.add(events.clone());
        }
        self.known.fetch_max(upto.0, std::sync::atomic::Ordering::AcqRel);
        self.hub.dispatch(upto, whole.into_iter());
    }

    /// There is a gap: whoever watches has to look at history himself.
    fn skip_to(&self, now: Revision) {
        let mut feed = self.feed();
        feed.clear(now);
        self.hub.cut_off(now);
    }
}

/// Follows etcd from a revision on.
pub(super) async fn run(shared: Arc<Shared>, mut cursor: Revision) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let before = cursor;
        let failure = match follow(&shared, &mut cursor).await {
            Trouble::Final(Error::Compacted { .. }) => match shared.latest().await {
                Ok(now) => {
                    tracing::warn!("history was cut before it could be followed; watchers start anew");
                    shared.skip_to(now);
                    cursor = now;
                    continue;
                }
                Err(error) => Failure::Unknown(error.to_string()),
            },
            Trouble::Final(error) => Failure::Unknown(error.to_string()),
            Trouble::Passing(failure) => failure,
        };
        shared.cluster.watch_failed(&failure);
        if cursor > before {
            (pause, told) = (FIRST_PAUSE, false);
        }
        if pause == LONGEST_PAUSE && !told {
            told = true;
            tracing::warn!(error = failure.text(), "etcd cannot be watched now");
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Follows one watch to its end.
async fn follow(shared: &Shared, cursor: &mut Revision) -> Trouble {
    let all = crate::prefix(b"");
    let mut stream = match shared.open_watch(&all, *cursor).await {
        Ok(stream) => stream,
        Err(trouble) => return trouble,
    };
    let mut transactions = Transactions::default();
    let mut silent = 0;
    loop {
        let Ok(message) = tokio::time::timeout(ASK_EVERY, stream.next()).await else {
            silent += 1;
            if silent > SILENT_FOR {
                return Trouble::Passing(Failure::Unknown("a member is silent".to_owned()));
            }
            stream.ask_for_progress();
            continue;
        };
        silent = 0;
        let message = match message {
            Ok(message) => message,
            Err(failure) => return Trouble::of(failure),
        };
        if let Err(trouble) = check(shared, *cursor, &message) {
            return trouble;
        }
        if let Some(upto) = progress(shared.epoch, &message) {
            *cursor = upto.max(*cursor);
            shared.hand_on(Vec::new(), *cursor);
            continue;
        }
        match transactions.add(&shared.places, shared.epoch, message) {
            Ok(mut whole) => {
                whole.retain(|events| events.first().is_some_and(|event| event.revision > *cursor));
                if let Some(last) = whole.last().and_then(|events| events.first()) {
                    *cursor = last.revision;
                    shared.hand_on(whole, *cursor);
                }
            }
            Err(_) => return Trouble::Final(shared.forgotten(*cursor)),
        }
    }
}
