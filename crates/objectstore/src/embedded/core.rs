//! What readers, watchers and the threads of a store share.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::Options;
use super::folder::Folder;
use super::records;
use super::tree::Tables;
use crate::decide::{check_readable, check_watchable};
use crate::hub::Hub;
use crate::watch::{Changes, Source};
use crate::{Entry, Error, Event, Page, Revision, keys};

pub(super) struct Core {
    pub(super) options: Options,
    pub(super) folder: Folder,
    pub(super) hub: Arc<Hub>,
    /// `None` once the store is closed.
    tables: RwLock<Option<Arc<Tables>>>,
    /// The newest revision that is durable and applied.
    published: AtomicU64,
    /// The oldest revision that can be read.
    oldest: AtomicU64,
    failed: AtomicBool,
}

impl Core {
    pub(super) fn new(options: Options, folder: Folder, tables: Tables, at: Revision, oldest: Revision) -> Self {
        let hub = Hub::new(at, options.watch_buffer);
        Self {
            options,
            folder,
            hub,
            tables: RwLock::new(Some(Arc::new(tables))),
            published: AtomicU64::new(at.0),
            oldest: AtomicU64::new(oldest.0),
            failed: AtomicBool::new(false),
        }
    }

    pub(super) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    pub(super) fn publish(&self, revision: Revision) {
        self.published.store(revision.0, Ordering::Release);
    }

    pub(super) fn oldest(&self) -> Revision {
        Revision(self.oldest.load(Ordering::Acquire))
    }

    /// Nothing before this revision can be read from now on.
    pub(super) fn forget(&self, oldest: Revision) {
        self.oldest.fetch_max(oldest.0, Ordering::AcqRel);
    }

    /// The store must not go on: what is on the disk is unknown.
    pub(super) fn fail(&self, what: &str) {
        if self.failed.swap(true, Ordering::AcqRel) {
            return;
        }
        let message = format!(
            "the store in {} has failed and stops: {what}",
            self.folder.path.display()
        );
        tracing::error!("{message}");
        (self.options.on_fatal)(&message);
    }

    /// Why the disk takes nothing at the moment, if so many bytes and the reserve do not fit on it.
    pub(super) fn lack_of_space(&self, bytes: u64) -> Option<String> {
        let reserve = self.options.reserve_bytes;
        match self.options.disk.free_bytes(&self.folder.path) {
            Ok(free) if free >= reserve.saturating_add(bytes) => None,
            Ok(free) => Some(format!(
                "the disk is full: {free} bytes are free, {reserve} are held in reserve"
            )),
            Err(error) => Some(format!("the disk takes no writes: {error}")),
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The tables for a thread of the store.
    pub(super) fn tables(&self) -> Option<Arc<Tables>> {
        self.lock().clone()
    }

    fn lock(&self) -> RwLockReadGuard<'_, Option<Arc<Tables>>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all reads and watches and gives the folder free. The threads have ended before.
    pub(super) fn shut(&self) {
        self.hub.close();
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.folder.unlock();
    }

    /// Reads at the newest revision, again when what it looked at was being written out meanwhile. The lock keeps the
    /// tables open, not the store: a writer waits for it only to close.
    fn read<T>(&self, mut look: impl FnMut(&Tables, Revision) -> Result<T, Error>) -> Result<T, Error> {
        let tables = self.lock();
        let tables = tables.as_ref().ok_or(Error::Closed)?;
        loop {
            let newest = self.published();
            let found = look(tables, newest);
            if tables.is_complete_at(newest) {
                return found;
            }
        }
    }

    /// That the revision could be read all the time until now.
    fn check_kept(&self, revision: Revision) -> Result<(), Error> {
        check_readable(revision, self.oldest(), revision)
    }

    pub(super) fn get(&self, key: &Bytes, at: Option<Revision>) -> Result<Option<Entry>, Error> {
        let Some(at) = at else {
            return self.read(|tables, newest| tables.entry(key, newest));
        };
        self.read(|tables, newest| {
            check_readable(at, self.oldest(), newest)?;
            let current = tables.entry(key, newest)?;
            let entry = match current {
                Some(entry) if entry.modified <= at => Some(entry),
                _ => replaced_after(tables, key, at, newest)?.filter(|entry| entry.modified <= at),
            };
            self.check_kept(at)?;
            Ok(entry)
        })
    }

    pub(super) fn range(&self, keys: &Range<Bytes>, limit: usize, at: Option<Revision>) -> Result<Page, Error> {
        let mut page = Page {
            entries: Vec::new(),
            revision: Revision(0),
            more: false,
        };
        self.scan(keys, at, |revision, entry| {
            page.revision = revision;
            let Some(entry) = entry else { return true };
            page.more = page.entries.len() == limit;
            if !page.more {
                page.entries.push(entry);
            }
            !page.more
        })?;
        Ok(page)
    }

    pub(super) fn count(&self, keys: &Range<Bytes>, limit: usize, at: Option<Revision>) -> Result<u64, Error> {
        let mut count = 0;
        self.scan(keys, at, |_, entry| {
            count += usize::from(entry.is_some());
            count < limit
        })?;
        Ok(count.min(limit) as u64)
    }

    /// Gives the revision, then the entries of a range, until `take` has enough.
    fn scan(
        &self,
        keys: &Range<Bytes>,
        at: Option<Revision>,
        mut take: impl FnMut(Revision, Option<Entry>) -> bool,
    ) -> Result<(), Error> {
        let (revision, mut entries) = self.read(|tables, newest| {
            let revision = at.unwrap_or(newest);
            check_readable(revision, self.oldest(), newest)?;
            Ok((revision, entries_at(tables, keys, at, newest)))
        })?;
        // The iterators hold on to all that they were opened on; only until then could it have been forgotten.
        if at.is_some() {
            self.check_kept(revision)?;
        }
        if take(revision, None) {
            while let Some(entry) = entries.next().transpose()? {
                if !take(revision, Some(entry)) {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Source for Core {
    fn revision(&self) -> Revision {
        self.published()
    }

    fn changes(&self, keys: &Range<Bytes>, after: Revision, limit: usize) -> Result<Changes, Error> {
        self.read(|tables, newest| {
            check_watchable(after, self.oldest())?;
            let changes = changes_after(tables, keys, after, newest, limit)?;
            check_watchable(after, self.oldest())?;
            Ok(changes)
        })
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("{what} makes no sense"))
}

/// What was first replaced at the key after a revision.
fn replaced_after(tables: &Tables, key: &Bytes, at: Revision, newest: Revision) -> Result<Option<Entry>, Error> {
    let first = tables
        .range(records::history_after(key, at), newest)
        .next()
        .transpose()?;
    first.map(|(_, record)| entry(key.clone(), record)).transpose()
}

fn entry(key: Bytes, record: Bytes) -> Result<Entry, Error> {
    records::decode_entry(key, record).ok_or_else(|| damaged("an entry"))
}

fn changes_after(
    tables: &Tables,
    keys: &Range<Bytes>,
    after: Revision,
    newest: Revision,
    limit: usize,
) -> Result<Changes, Error> {
    let mut changes = Changes {
        transactions: Vec::new(),
        upto: newest,
    };
    let mut left = limit;
    for group in tables.range(records::changes_between(after, newest), newest) {
        let group = records::decode_changes(group?.1).ok_or_else(|| damaged("a change record"))?;
        for (revision, changed) in group.into_iter().filter(|(revision, _)| *revision > after) {
            let inside = changed.into_iter().filter(|change| keys::contains(keys, &change.key));
            let events = inside.map(|change| event_of(tables, change, revision, newest));
            let events = events.collect::<Result<Arc<[Event]>, Error>>()?;
            if !events.is_empty() {
                changes.transactions.push(events);
            }
            left -= 1;
            if left == 0 {
                changes.upto = revision;
                return Ok(changes);
            }
        }
    }
    Ok(changes)
}

fn event_of(tables: &Tables, change: records::Changed, revision: Revision, newest: Revision) -> Result<Event, Error> {
    let key = change.key;
    let previous = tables.get(&records::history_key(&key, revision), newest)?;
    let previous = previous.map(|record| entry(key.clone(), record)).transpose()?;
    if change.deleted {
        return Ok(Event {
            revision,
            key,
            value: None,
            previous,
        });
    }
    let written = match replaced_after(tables, &key, revision, newest)? {
        Some(entry) => Some(entry),
        None => tables.entry(&key, newest)?,
    };
    match written.filter(|entry| entry.modified == revision) {
        Some(entry) => Ok(Event {
            revision,
            key,
            value: Some(entry.value),
            previous,
        }),
        None => Err(Error::Damaged(format!(
            "a value written by revision {} is missing",
            revision.0
        ))),
    }
}

type Entries = Box<dyn Iterator<Item = Result<Entry, Error>> + Send>;

fn entries_at(tables: &Tables, keys: &Range<Bytes>, at: Option<Revision>, newest: Revision) -> Entries {
    if keys::is_empty(keys) {
        return Box::new(std::iter::empty());
    }
    let current = tables.entries(keys, newest);
    match at {
        Some(at) if at < newest => Box::new(Past {
            at,
            current: Box::new(current),
            history: Box::new(tables.range(records::history(&keys.start, &keys.end), newest)),
            next_current: None,
            next_record: None,
            found: None,
        }),
        _ => Box::new(current),
    }
}

/// The entries of a range as they were: of each key, what was first replaced after the revision, else what stands
/// there now; in both cases only if it had been written by then.
///
/// History is read no further than to the key that stands next: the first entries of a long range cost no more than they
/// are.
struct Past {
    at: Revision,
    current: Entries,
    history: super::tree::Pairs,
    next_current: Option<Entry>,
    next_record: Option<Replaced>,
    /// The key whose entry was found in history: the rest of its records is passed over.
    found: Option<Bytes>,
}

/// A record of history.
struct Replaced {
    key: Bytes,
    at: Revision,
    record: Bytes,
}

impl Past {
    /// Of the keys up to this one, all without one, the next that was replaced after the revision.
    fn replaced_up_to(&mut self, last: Option<&Bytes>) -> Result<Option<Entry>, Error> {
        loop {
            if self.next_record.is_none() {
                self.next_record = self.history.next().transpose()?.map(Replaced::of).transpose()?;
            }
            let up_to_last = |next: &mut Replaced| last.is_none_or(|last| next.key <= *last);
            let Some(next) = self.next_record.take_if(up_to_last) else {
                return Ok(None);
            };
            if next.at > self.at && self.found.as_ref() != Some(&next.key) {
                self.found = Some(next.key.clone());
                return entry(next.key, next.record).map(Some);
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if self.next_current.is_none() {
                self.next_current = self.current.next().transpose()?;
            }
            let last = self.next_current.as_ref().map(|current| current.key.clone());
            let candidate = match self.replaced_up_to(last.as_ref())? {
                Some(replaced) => {
                    self.next_current.take_if(|current| current.key == replaced.key);
                    Some(replaced)
                }
                None => self.next_current.take(),
            };
            let Some(candidate) = candidate else {
                return Ok(None);
            };
            if candidate.modified <= self.at {
                return Ok(Some(candidate));
            }
        }
    }
}

impl Replaced {
    fn of((record_key, record): (Bytes, Bytes)) -> Result<Self, Error> {
        let (key, at) = records::key_of_history(&record_key).ok_or_else(|| damaged("a record of history"))?;
        Ok(Self { key, at, record })
    }
}

impl Iterator for Past {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
