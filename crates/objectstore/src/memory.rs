//! The engine that keeps everything in memory: for tests, and for what may be forgotten with the process.
//!
//! It keeps all promises of [`Engine`] but one: "durable" means as long as the process lives.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::decide::{self, Change, Decision, View};
use crate::hub::{Hub, within};
use crate::watch::{self, Changes, Source};
use crate::window::{Clock, Window};
use crate::{Engine, Entry, Error, Event, Outcome, Page, Revision, Store, Transaction, Watch, keys};

/// How a store in memory behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much history is kept; default 5 minutes and 64 MiB.
    pub window: Window,
    /// How many transactions a watcher may lag behind before it gets [`Error::Lagged`]; default 4,096. It gets that also
    /// when they hold more than 16 MiB.
    pub watch_buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        let window = Window {
            age: Duration::from_secs(300),
            bytes: 64 * 1024 * 1024,
        };
        Self {
            window,
            watch_buffer: 4096,
        }
    }
}

/// Opens an empty store.
pub fn open(options: Options) -> Store {
    let state = State {
        keys: BTreeMap::new(),
        history: VecDeque::new(),
        revision: Revision(0),
        oldest: Revision(0),
        clock: Clock::new(options.window, Instant::now(), Revision(0)),
        closed: false,
    };
    let hub = Hub::new(Revision(0), options.watch_buffer);
    Arc::new(Memory {
        shared: Arc::new(Shared {
            state: Mutex::new(state),
            hub,
        }),
    })
}

struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    hub: Arc<Hub>,
}

struct State {
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// What each kept transaction changed; without a gap up to `revision`.
    history: VecDeque<Arc<[Event]>>,
    revision: Revision,
    oldest: Revision,
    clock: Clock,
    closed: bool,
}

/// What a transaction made of a key; a key's versions are in the order of revisions, the last is the current one.
struct Version {
    revision: Revision,
    entry: Option<Entry>,
}

impl State {
    fn entry_at(&self, key: &[u8], at: Revision) -> Option<Entry> {
        self.keys.get(key).and_then(|versions| version_at(versions, at))
    }

    fn entries_at<'a>(&'a self, keys: &'a Range<Bytes>, at: Revision) -> Box<dyn Iterator<Item = Entry> + 'a> {
        if keys::is_empty(keys) {
            return Box::new(std::iter::empty());
        }
        let range = self.keys.range::<[u8], _>(keys::bounds(keys));
        Box::new(range.filter_map(move |(_, versions)| version_at(versions, at)))
    }

    /// The revision to read at.
    fn readable(&self, at: Option<Revision>) -> Result<Revision, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let revision = at.unwrap_or(self.revision);
        decide::check_readable(revision, self.oldest, self.revision)?;
        Ok(revision)
    }

    /// Carries out a transaction; its events go to `dispatch`.
    fn transact(
        &mut self,
        transaction: Transaction,
        dispatch: impl FnOnce(Revision, Arc<[Event]>),
    ) -> Result<Outcome, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        match decide::decide(self, transaction)? {
            Decision::Refused { compare, current } => Ok(Outcome::Refused {
                compare,
                current,
                revision: self.revision,
            }),
            Decision::Changes(changes) => {
                if !changes.is_empty() {
                    let events = self.apply(&changes);
                    dispatch(self.revision, events);
                }
                Ok(Outcome::Committed(self.revision))
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) -> Arc<[Event]> {
        self.revision.0 += 1;
        let revision = self.revision;
        for change in changes {
            let version = Version {
                revision,
                entry: change.entry(revision),
            };
            self.keys.entry(change.key.clone()).or_default().push(version);
        }
        let events: Arc<[Event]> = changes.iter().map(|change| change.event(revision)).collect();
        self.history.push_back(events.clone());
        let now = Instant::now();
        self.clock
            .record(now, revision, changes.iter().map(Change::weight).sum());
        if let Some(oldest) = self.clock.expire(now) {
            self.forget(oldest);
        }
        events
    }

    /// Drops what only revisions older than this one need.
    fn forget(&mut self, oldest: Revision) {
        if oldest <= self.oldest {
            return;
        }
        self.oldest = oldest;
        while let Some(events) = self.history.front()
            && events.first().is_none_or(|event| event.revision < oldest)
        {
            for event in events.iter() {
                trim(&mut self.keys, &event.key, oldest);
            }
            self.history.pop_front();
        }
        // The transaction `oldest` itself stays watchable, but the versions that it replaced cannot be read any more.
        if let Some(events) = self.history.front() {
            for event in events.iter() {
                trim(&mut self.keys, &event.key, oldest);
            }
        }
    }
}

fn version_at(versions: &[Version], at: Revision) -> Option<Entry> {
    let newer = versions.partition_point(|version| version.revision <= at);
    versions[..newer].last().and_then(|version| version.entry.clone())
}

/// Drops the versions of a key that nobody can read at or after `oldest`.
fn trim(keys: &mut BTreeMap<Bytes, Vec<Version>>, key: &Bytes, oldest: Revision) {
    let Some(versions) = keys.get_mut(key) else { return };
    let newer = versions.partition_point(|version| version.revision <= oldest);
    versions.drain(..newer.saturating_sub(1));
    if versions
        .first()
        .is_some_and(|version| version.entry.is_none() && version.revision <= oldest)
    {
        versions.remove(0);
    }
    if versions.is_empty() {
        keys.remove(key);
    }
}

impl View for State {
    fn entry(&mut self, key: &Bytes) -> Result<Option<Entry>, Error> {
        Ok(self.entry_at(key, self.revision))
    }

    fn first(&mut self, keys: &Range<Bytes>) -> Result<Option<Entry>, Error> {
        let at = self.revision;
        Ok(self.entries_at(keys, at).next())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Shared {
    fn revision(&self) -> Revision {
        self.lock().revision
    }

    fn changes(&self, keys: &Range<Bytes>, after: Revision, limit: usize) -> Result<Changes, Error> {
        let state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        decide::check_watchable(after, state.oldest)?;
        let newer = state
            .history
            .partition_point(|events| events.first().is_none_or(|e| e.revision <= after));
        let part: Vec<_> = state.history.range(newer..).take(limit).collect();
        let upto = match part.last().and_then(|events| events.first()) {
            Some(event) if part.len() == limit => event.revision,
            _ => state.revision,
        };
        Ok(Changes {
            transactions: part
                .into_iter()
                .filter_map(|events| within(keys, after, events))
                .collect(),
            upto,
        })
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Engine for Memory {
    fn revision(&self) -> Revision {
        self.shared.lock().revision
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        async move {
            let state = self.shared.lock();
            let at = state.readable(at)?;
            Ok(state.entry_at(&key, at))
        }
        .boxed()
    }

    fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<Page, Error>> {
        async move {
            let state = self.shared.lock();
            let revision = state.readable(at)?;
            let mut rest = state.entries_at(&keys, revision);
            let entries: Vec<_> = rest.by_ref().take(limit).collect();
            let more = rest.next().is_some();
            Ok(Page {
                entries,
                revision,
                more,
            })
        }
        .boxed()
    }

    fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<u64, Error>> {
        async move {
            let state = self.shared.lock();
            let at = state.readable(at)?;
            Ok(state.entries_at(&keys, at).take(limit).count() as u64)
        }
        .boxed()
    }

    fn transact(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, Error>> {
        async move {
            decide::check(&transaction)?;
            // Under the lock: watchers get transactions in the order of their revisions.
            let dispatch = |revision, events| self.shared.hub.dispatch(revision, std::iter::once(events));
            self.shared.lock().transact(transaction, dispatch)
        }
        .boxed()
    }

    fn watch(&self, keys: Range<Bytes>, after: Option<Revision>) -> BoxFuture<'_, Result<Watch, Error>> {
        async move { watch::start(self.shared.clone(), keys, after) }.boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(Error::Closed);
            }
            if revision > state.revision {
                return Err(Error::Future {
                    requested: revision,
                    current: state.revision,
                });
            }
            state.forget(revision);
            Ok(())
        }
        .boxed()
    }

    fn oldest(&self) -> Revision {
        self.shared.lock().oldest
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.shared.lock().closed = true;
            self.shared.hub.close();
            Ok(())
        }
        .boxed()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.hub.close();
    }
}
