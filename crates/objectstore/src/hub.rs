//! Hands committed transactions on to those who watch.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::decide::Change;
use crate::keys::{self, KeyHasher};
use crate::{Event, Revision};

/// How many bytes may wait for a watcher; a single transaction may have more.
const MOST_BYTES: usize = 16 * 1024 * 1024;

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
    buffer: Arc<Buffer>,
}

/// The live end of a watch.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// What was dispatched before this subscription; it brings all that follows.
    pub(crate) joined: Revision,
    buffer: Arc<Buffer>,
    hub: Arc<Hub>,
    id: u64,
}

/// Why a subscription brings nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its reader was too slow.
    Lagged,
    /// The store has been closed.
    Closed,
}

impl Subscription {
    /// The next transaction. May be dropped and called again.
    pub(crate) async fn next(&self) -> Result<Arc<[Event]>, End> {
        loop {
            if let Some(next) = self.at_hand() {
                return next;
            }
            self.buffer.news.notified().await;
        }
    }

    /// The next transaction, if it is there.
    pub(crate) fn at_hand(&self) -> Option<Result<Arc<[Event]>, End>> {
        self.buffer.take()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.lock().remove(self.id);
    }
}

/// What a watcher has still to read. One that reads too slowly loses all of it at once, so that it holds no memory.
#[derive(Debug, Default)]
struct Buffer {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    transactions: VecDeque<Arc<[Event]>>,
    bytes: usize,
    end: Option<End>,
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a transaction. Whether the reader keeps up.
    fn add(&self, transaction: Arc<[Event]>, most: usize) -> bool {
        let bytes = weight(&transaction);
        let mut waiting = self.lock();
        let holds_some = !waiting.transactions.is_empty();
        let keeps_up = waiting.transactions.len() < most && !(holds_some && waiting.bytes + bytes > MOST_BYTES);
        if keeps_up {
            waiting.bytes += bytes;
            waiting.transactions.push_back(transaction);
        } else {
            *waiting = Waiting {
                end: Some(End::Lagged),
                ..Waiting::default()
            };
        }
        drop(waiting);
        self.news.notify_one();
        keeps_up
    }

    fn take(&self) -> Option<Result<Arc<[Event]>, End>> {
        let mut waiting = self.lock();
        match waiting.transactions.pop_front() {
            Some(transaction) => {
                waiting.bytes -= weight(&transaction);
                Some(Ok(transaction))
            }
            None => waiting.end.map(Err),
        }
    }

    /// Its reader cannot go on with what follows.
    #[cfg(feature = "etcd")]
    fn cut_off(&self) {
        *self.lock() = Waiting {
            end: Some(End::Lagged),
            ..Waiting::default()
        };
        self.news.notify_one();
    }

    /// Nothing follows on what is there.
    fn close(&self) {
        self.lock().end.get_or_insert(End::Closed);
        self.news.notify_one();
    }
}

/// About how much memory a transaction holds, in bytes.
pub(crate) fn weight(transaction: &[Event]) -> usize {
    let event = |event: &Event| {
        let value = event.value.as_ref().map_or(0, Bytes::len);
        let previous = event.previous.as_ref().map_or(0, |previous| previous.value.len());
        size_of::<Event>() + event.key.len() + value + previous
    };
    transaction.iter().map(event).sum()
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
        let buffer = Arc::new(Buffer::default());
        let prefix = keys::common_prefix(&range);
        let mut watchers = self.lock();
        if watchers.closed {
            return None;
        }
        let id = watchers.add(Watcher {
            keys: range,
            prefix,
            after,
            buffer: buffer.clone(),
        });
        Some(Subscription {
            joined: watchers.dispatched,
            buffer,
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
            watchers.deliver(&events, self.buffer);
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
            watchers.deliver(&events, self.buffer);
        }
    }

    /// What has happened up to a revision cannot be handed on: all watchers are told that they did not keep up.
    #[cfg(feature = "etcd")]
    pub(crate) fn cut_off(&self, upto: Revision) {
        let mut watchers = self.lock();
        watchers.dispatched = upto;
        watchers.all.values().for_each(|watcher| watcher.buffer.cut_off());
        watchers.clear();
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let mut watchers = self.lock();
        watchers.closed = true;
        watchers.all.values().for_each(|watcher| watcher.buffer.close());
        watchers.clear();
    }
}

impl Watchers {
    fn clear(&mut self) {
        self.all.clear();
        self.by_prefix.clear();
        self.lengths.clear();
    }

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

    /// `most` transactions may wait for each watcher.
    fn deliver(&mut self, events: &Arc<[Event]>, most: usize) {
        for id in self.concerned(events) {
            let Some(watcher) = self.all.get(&id) else { continue };
            let Some(part) = within(&watcher.keys, watcher.after, events) else {
                continue;
            };
            if !watcher.buffer.add(part, most) {
                self.remove(id);
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
