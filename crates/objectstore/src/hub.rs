//! Hands committed transactions on to those who watch.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::decide::Change;
use crate::keys::{self, KeyHasher};
use crate::{Event, Revision};

/// The watchers of a store.
///
/// A watcher is found by the prefix that all keys of its range share, so that a change costs one look-up for each
/// distinct length of such prefixes, however many watchers there are.
#[derive(Debug)]
pub(crate) struct Hub {
    watchers: Mutex<Watchers>,
    buffer: usize,
}

#[derive(Debug, Default)]
struct Watchers {
    dispatched: Revision,
    closed: bool,
    next: u64,
    all: HashMap<u64, Watcher>,
    by_prefix: HashMap<Bytes, Vec<u64>, KeyHasher>,
    /// How many watchers have a prefix of that length.
    lengths: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct Watcher {
    keys: Range<Bytes>,
    prefix: Bytes,
    after: Revision,
    sender: mpsc::Sender<Arc<[Event]>>,
    lagged: Arc<AtomicBool>,
}

/// The live end of a watch.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// What was dispatched before this subscription; it brings all that follows.
    pub(crate) joined: Revision,
    pub(crate) receiver: mpsc::Receiver<Arc<[Event]>>,
    lagged: Arc<AtomicBool>,
    hub: Arc<Hub>,
    id: u64,
}

impl Subscription {
    /// Whether the stream ended because its reader was too slow.
    pub(crate) fn lagged(&self) -> bool {
        self.lagged.load(Ordering::Acquire)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.lock().remove(self.id);
    }
}

impl Hub {
    /// A hub at a revision; `buffer` is the number of transactions that a watcher may lag behind.
    pub(crate) fn new(revision: Revision, buffer: usize) -> Arc<Self> {
        let watchers = Watchers {
            dispatched: revision,
            ..Watchers::default()
        };
        Arc::new(Self {
            watchers: Mutex::new(watchers),
            buffer: buffer.max(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to here has been given to the watchers that it concerns.
    pub(crate) fn dispatched(&self) -> Revision {
        self.lock().dispatched
    }

    /// Subscribes to what is dispatched from now on and is newer than `after`. `None` once the store is closed.
    pub(crate) fn subscribe(self: &Arc<Self>, range: Range<Bytes>, after: Revision) -> Option<Subscription> {
        let (sender, receiver) = mpsc::channel(self.buffer);
        let lagged = Arc::new(AtomicBool::new(false));
        let prefix = keys::common_prefix(&range);
        let mut watchers = self.lock();
        if watchers.closed {
            return None;
        }
        let id = watchers.add(Watcher {
            keys: range,
            prefix,
            after,
            sender,
            lagged: lagged.clone(),
        });
        Some(Subscription {
            joined: watchers.dispatched,
            receiver,
            lagged,
            hub: self.clone(),
            id,
        })
    }

    /// Hands on transactions, oldest first, and notes that the store is at `upto`. The transactions are asked for only
    /// when somebody watches.
    pub(crate) fn dispatch(&self, upto: Revision, transactions: impl Iterator<Item = Arc<[Event]>>) {
        let mut watchers = self.lock();
        watchers.dispatched = upto;
        if watchers.all.is_empty() {
            return;
        }
        for events in transactions {
            watchers.deliver(&events);
        }
    }

    /// The same, of what has not been made events yet: it is only for what somebody watches.
    pub(crate) fn dispatch_changes(&self, upto: Revision, commits: &[(Revision, Vec<Change>)]) {
        let mut watchers = self.lock();
        watchers.dispatched = upto;
        if watchers.all.is_empty() {
            return;
        }
        for (revision, changes) in commits {
            let watched = changes.iter().filter(|change| watchers.is_watched(&change.key));
            let events: Arc<[Event]> = watched.map(|change| change.event(*revision)).collect();
            watchers.deliver(&events);
        }
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let mut watchers = self.lock();
        watchers.closed = true;
        watchers.all.clear();
        watchers.by_prefix.clear();
        watchers.lengths.clear();
    }
}

impl Watchers {
    fn add(&mut self, watcher: Watcher) -> u64 {
        let id = self.next;
        self.next += 1;
        self.by_prefix.entry(watcher.prefix.clone()).or_default().push(id);
        *self.lengths.entry(watcher.prefix.len()).or_default() += 1;
        self.all.insert(id, watcher);
        id
    }

    fn remove(&mut self, id: u64) {
        let Some(watcher) = self.all.remove(&id) else { return };
        if let Some(ids) = self.by_prefix.get_mut(&watcher.prefix) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_prefix.remove(&watcher.prefix);
            }
        }
        if let Some(count) = self.lengths.get_mut(&watcher.prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&watcher.prefix.len());
            }
        }
    }

    fn deliver(&mut self, events: &Arc<[Event]>) {
        for id in self.concerned(events) {
            let Some(watcher) = self.all.get(&id) else { continue };
            let Some(part) = within(&watcher.keys, watcher.after, events) else {
                continue;
            };
            match watcher.sender.try_send(part) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    watcher.lagged.store(true, Ordering::Release);
                    self.remove(id);
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.remove(id),
            }
        }
    }

    /// Whether a key may lie in the range of anybody.
    fn is_watched(&self, key: &[u8]) -> bool {
        self.found_by(key).next().is_some()
    }

    /// Those that are found by a prefix of a key.
    fn found_by(&self, key: &[u8]) -> impl Iterator<Item = &Vec<u64>> {
        let lengths = self.lengths.keys().take_while(move |length| **length <= key.len());
        lengths.filter_map(move |length| self.by_prefix.get(&key[..*length]))
    }

    /// Those whose range may hold one of the keys, each once.
    fn concerned(&self, events: &[Event]) -> Vec<u64> {
        let mut ids = Vec::new();
        for event in events {
            self.found_by(&event.key).for_each(|found| ids.extend_from_slice(found));
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// The part of a transaction that lies in a range: the transaction itself when that is all of it, `None` when it is
/// nothing.
pub(crate) fn within(range: &Range<Bytes>, after: Revision, events: &Arc<[Event]>) -> Option<Arc<[Event]>> {
    if events.first().is_none_or(|event| event.revision <= after) {
        return None;
    }
    let inside = events.iter().filter(|event| keys::contains(range, &event.key)).count();
    match inside {
        0 => None,
        all if all == events.len() => Some(events.clone()),
        _ => Some(
            events
                .iter()
                .filter(|event| keys::contains(range, &event.key))
                .cloned()
                .collect(),
        ),
    }
}
