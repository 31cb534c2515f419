//! The tables: an LSM tree whose sequence numbers are revisions.
//!
//! The tree keeps old versions of a record only in memory, until it writes them to a table: what must be readable at
//! an older revision is a record of its own ([`super::records`]). A read therefore looks at the newest revision, and is
//! repeated in the rare case that younger data was being written out at that moment.

use std::io;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use lsm_tree::compaction::{CompactionFilter, Factory, ItemAccessor, Leveled, Verdict, filter};
use lsm_tree::config::{BlockSizePolicy, PinningPolicy};
use lsm_tree::table::filter::standard_bloom::Builder as Filter;
use lsm_tree::{
    AbstractTree as _, AnyTree, Cache, Config, DescriptorTable, Guard as _, InternalValue, SequenceNumberCounter,
    Table, UserKey, ValueType,
};

use super::fresh::Fresh;
use super::intact;
use super::records::{self, Checkpoint};
use crate::decide::Change;
use crate::{Entry, Error, Revision};

/// The tree numbers its own changes (tables written and merged) from 0 on and lets a read see those below its sequence
/// number. Revisions start above, so that a read always sees the newest tables.
const BASE: u64 = 1 << 40;

/// How many files the tree keeps open.
const OPEN_FILES: usize = 64;

/// How many tables that overlap are merged at once: fewer means that the same entries are written more often, more means
/// that a look-up asks more filters.
const MERGE_RUNS: u8 = 8;

/// Of how many tables that overlap a read may have to look before writers wait.
pub(super) const MAX_RUNS: usize = 20;

pub(super) type Pairs = Box<dyn Iterator<Item = Result<(Bytes, Bytes), Error>> + Send>;

/// The open tables.
pub(super) struct Tables {
    tree: AnyTree,
    path: PathBuf,
    /// Held while the list of tables is copied.
    keeping: Mutex<()>,
    /// All that is in tables, or may be on its way there, is at or before this revision.
    sealed: AtomicU64,
    /// The oldest revision that can be read, according to the last checkpoint.
    oldest: AtomicU64,
    /// The same of the last checkpoint that lies in the tables: what is only needed before may vanish from them.
    expired: Arc<AtomicU64>,
    /// The current entries that the parts in memory hold. Only the thread that commits changes it.
    fresh: RwLock<Fresh>,
    /// Every part that ends with this revision or before has been sealed, or has been written.
    rotated: AtomicU64,
    written: AtomicU64,
}

/// The newest entries, as the thread that commits looks at them between two groups.
pub(super) struct Newest<'t> {
    tables: &'t Tables,
    at: Revision,
    /// Looks for a record by its key among the tables on the disk.
    on_disk: Box<OnDisk>,
}

type OnDisk = dyn Fn(&[u8]) -> Result<Option<Bytes>, Error>;

impl Newest<'_> {
    /// The current entry of a key.
    pub(super) fn entry(&self, key: &Bytes) -> Result<Option<Entry>, Error> {
        let record = records::object_key(key);
        let found = match self.tables.fresh().record(&record) {
            Some(found) => found,
            None => (self.on_disk)(&record)?,
        };
        found.map(|record| decoded(key.clone(), record)).transpose()
    }

    /// The current entries of a range.
    pub(super) fn entries(&self, keys: &Range<Bytes>) -> impl Iterator<Item = Result<Entry, Error>> + use<> {
        self.tables.entries(keys, self.at)
    }
}

impl Tables {
    /// Opens or makes the tables.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> lsm_tree::Result<Self> {
        let expired = Arc::new(AtomicU64::new(0));
        let counter = SequenceNumberCounter::default();
        let tree = Config::new(path, counter, SequenceNumberCounter::default())
            .use_cache(Arc::new(Cache::with_capacity_bytes(cache_bytes)))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(OPEN_FILES))))
            .data_block_size_policy(BlockSizePolicy::all(4096))
            // Most of what is looked up stands nowhere, which the filters tell: about 10 bits for each record.
            .filter_block_pinning_policy(PinningPolicy::all(true))
            .filter_block_partitioning_policy(PinningPolicy::all(false))
            .index_block_pinning_policy(PinningPolicy::new([true, true, false]))
            // An index is a fortieth of its table: below the newest tables only the parts that are needed are read,
            // and the list of the parts stays in memory.
            .index_block_partitioning_policy(PinningPolicy::new([false, true]))
            .with_compaction_filter_factory(Some(Arc::new(Expiry {
                oldest: expired.clone(),
            })))
            .open()?;
        Ok(Self {
            tree,
            path: path.to_owned(),
            keeping: Mutex::default(),
            sealed: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            expired,
            fresh: RwLock::default(),
            rotated: AtomicU64::new(0),
            written: AtomicU64::new(0),
        })
    }

    /// What of the log lies in the tables; nothing in new ones.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let newest = Revision(u64::MAX >> 2);
        let mut checkpoint = Checkpoint::default();
        // Not `last`: on a damaged table the iterator gives errors without an end.
        for pair in self.range(Checkpoint::all(), newest) {
            let (key, value) = pair?;
            let decoded = Checkpoint::decode(&key, &value);
            checkpoint = decoded.ok_or_else(|| Error::Damaged("the checkpoint of the tables makes no sense".into()))?;
        }
        Ok(checkpoint)
    }

    /// Whether a read at this revision has seen all of it; otherwise it is to be repeated at the newest one.
    pub(super) fn is_complete_at(&self, revision: Revision) -> bool {
        self.sealed.load(Ordering::Acquire) <= revision.0
    }

    /// The record as of a revision.
    pub(super) fn get(&self, record: &[u8], at: Revision) -> Result<Option<Bytes>, Error> {
        let found = self.tree.get(record, visible(at));
        let found = found.map_err(|error| {
            let record = Bytes::copy_from_slice(record);
            let bounds = (Bound::Included(record.clone()), Bound::Included(record));
            damaged(self.tree.current_version().iter_tables(), &bounds, &error)
        })?;
        Ok(found.map(Bytes::from))
    }

    /// The records between two bounds as of a revision, in order.
    pub(super) fn range(&self, bounds: (Bound<Bytes>, Bound<Bytes>), at: Revision) -> Pairs {
        // Before the iterator: what it reads may be merged away meanwhile.
        let version = self.tree.current_version();
        let pairs = self.tree.range(bounds.clone(), visible(at), None);
        let mut left = bounds;
        Box::new(pairs.map(move |pair| match pair.into_inner() {
            Ok((key, value)) => {
                let key = Bytes::from(key);
                left.0 = Bound::Excluded(key.clone());
                Ok((key, Bytes::from(value)))
            }
            Err(error) => Err(damaged(version.iter_tables(), &left, &error)),
        }))
    }

    /// The current entry of a key as of a revision that is the newest one.
    pub(super) fn entry(&self, key: &Bytes, at: Revision) -> Result<Option<Entry>, Error> {
        let record_key = records::object_key(key);
        let fresh = self.fresh().record(&record_key);
        if let Some(Some(record)) = fresh {
            let entry = decoded(key.clone(), record)?;
            // A younger one is about to be published: the one before it counts, and a removal may be young, too.
            if entry.modified <= at {
                return Ok(Some(entry));
            }
        }
        let Some(record) = self.get(&record_key, at)? else {
            return Ok(None);
        };
        decoded(key.clone(), record).map(Some)
    }

    /// The current entries of a range as of a revision that is the newest one.
    pub(super) fn entries(
        &self,
        keys: &Range<Bytes>,
        at: Revision,
    ) -> impl Iterator<Item = Result<Entry, Error>> + use<> {
        let pairs = self.range(records::objects(&keys.start, &keys.end), at);
        pairs.map(|pair| {
            let (key, record) = pair?;
            decoded(records::key_of_object(&key), record)
        })
    }

    fn fresh(&self) -> RwLockReadGuard<'_, Fresh> {
        self.fresh.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_mut(&self) -> RwLockWriteGuard<'_, Fresh> {
        self.fresh.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets in memory what lies on the disk; only the thread that commits does so.
    pub(super) fn forget_written(&self) {
        self.fresh_mut().forget(Revision(self.written.load(Ordering::Acquire)));
    }

    /// The entries at a revision that is the newest one, for the thread that commits, until its next [`Self::apply`].
    pub(super) fn newest(&self, at: Revision) -> Newest<'_> {
        // In this order: what is forgotten in memory is found in these tables.
        self.forget_written();
        let version = self.tree.current_version();
        let seqno = visible(at);
        let on_disk = move |record: &[u8]| {
            let hash = Filter::get_hash(record);
            // From the newest table to the oldest: the first to know the key decides.
            for run in version.iter_levels().flat_map(|level| level.iter()) {
                let Some(table) = run.get_for_key(record) else { continue };
                let found = table.get(record, seqno, hash);
                if let Some(found) = found.map_err(|error| damaged_table(Some(table), &error))? {
                    return Ok((!found.is_tombstone()).then(|| Bytes::from(found.value)));
                }
            }
            Ok(None)
        };
        Newest {
            tables: self,
            at,
            on_disk: Box::new(on_disk),
        }
    }

    /// Takes a group in, not yet durably; nobody sees a transaction before reading at its revision. Only the thread that
    /// commits does so.
    pub(super) fn apply(&self, commits: &[(Revision, Vec<Change>)]) {
        let Some((last, _)) = commits.last() else { return };
        let count = commits.iter().map(|(_, changes)| 2 * changes.len()).sum::<usize>() + 1;
        let mut records = Vec::with_capacity(count);
        let mut fresh = self.fresh_mut();
        for (revision, changes) in commits {
            for change in changes {
                push_change(*revision, change, &mut fresh, &mut records);
            }
        }
        drop(fresh);
        records.push(record(
            records::changes_key(*last),
            records::encode_changes(commits),
            BASE + last.0,
        ));
        // Neighbours one after the other: each search goes where the one before has been.
        records.sort_unstable_by(|a, b| a.key.user_key.cmp(&b.key.user_key));
        let part = self.tree.active_memtable();
        for record in records {
            part.insert(record);
        }
    }

    /// How many bytes wait in memory to be written to a table.
    pub(super) fn active_bytes(&self) -> u64 {
        self.tree.active_memtable().size()
    }

    /// Ends the current part in memory, which holds everything up to the checkpoint; [`Self::flush`] writes it.
    pub(super) fn seal(&self, checkpoint: Checkpoint) {
        let (key, value) = checkpoint.encode();
        self.tree.insert(key, value, BASE + checkpoint.applied.0);
        self.oldest.store(checkpoint.oldest.0, Ordering::Release);
        // Before anything is written out: a reader that sees the result sees this, too.
        self.sealed.store(checkpoint.applied.0, Ordering::Release);
        self.tree.rotate_memtable();
        self.fresh_mut().seal(checkpoint.applied);
        self.rotated.store(checkpoint.applied.0, Ordering::Release);
    }

    /// How many sealed parts wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.tree.sealed_memtable_count()
    }

    /// How many tables overlap at the top of the tree.
    pub(super) fn runs(&self) -> usize {
        self.tree.l0_run_count()
    }

    /// How many bytes all tables have together.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }

    /// Writes the sealed parts to tables, durably.
    pub(super) fn flush(&self) -> lsm_tree::Result<()> {
        let oldest = self.oldest.load(Ordering::Acquire);
        let rotated = self.rotated.load(Ordering::Acquire);
        let lock = self.tree.get_flush_lock();
        self.tree.flush(&lock, self.watermark())?;
        self.written.fetch_max(rotated, Ordering::AcqRel);
        self.expired.fetch_max(oldest, Ordering::AcqRel);
        drop(lock);
        self.keep()
    }

    /// Copies the list of tables, which has changed.
    fn keep(&self) -> lsm_tree::Result<()> {
        let _one = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(intact::keep(&self.path)?)
    }

    /// Merges tables where there is need; gives whether something was done.
    pub(super) fn merge(&self) -> lsm_tree::Result<bool> {
        let before = self.tree.current_version().id();
        let strategy = Leveled::default().with_l0_threshold(MERGE_RUNS);
        self.tree.compact(Arc::new(strategy), self.watermark())?;
        if self.tree.current_version().id() == before {
            return Ok(false);
        }
        self.keep()?;
        Ok(true)
    }

    /// Drops the tables that hold nothing but expired change records: these grow at one end only, so that merging need
    /// never come by them again.
    pub(super) fn drop_expired(&self) -> lsm_tree::Result<()> {
        let expired = Revision(self.expired.load(Ordering::Acquire));
        let (start, end) = records::changes_before(expired);
        let holds_one = self.tree.current_version().iter_tables().any(|table| {
            let keys = &table.metadata.key_range;
            keys.min()[..] >= start[..] && keys.max()[..] < end[..]
        });
        if holds_one {
            self.tree.drop_range(start..end)?;
            self.keep()?;
        }
        Ok(())
    }

    /// Only the newest version of a record counts, below this sequence number.
    fn watermark(&self) -> u64 {
        visible(Revision(self.sealed.load(Ordering::Acquire)))
    }
}

/// The records of a change; that of its entry is noted.
fn push_change(revision: Revision, change: &Change, fresh: &mut Fresh, records: &mut Vec<InternalValue>) {
    let seqno = BASE + revision.0;
    let key = records::object_key(&change.key);
    let value = change.entry(revision).map(|entry| records::encode_entry(&entry));
    fresh.add(key.clone(), value.clone());
    records.push(match value {
        Some(value) => record(key, value, seqno),
        None => InternalValue::new_tombstone(key, seqno),
    });
    if let Some(previous) = &change.previous {
        let key = records::history_key(&change.key, revision);
        records.push(record(key, records::encode_entry(previous), seqno));
    }
}

fn record(key: Bytes, value: Bytes, seqno: u64) -> InternalValue {
    InternalValue::from_components(key, value, seqno, ValueType::Value)
}

fn visible(revision: Revision) -> u64 {
    BASE + revision.0 + 1
}

fn decoded(key: Bytes, record: Bytes) -> Result<Entry, Error> {
    records::decode_entry(key, record).ok_or_else(|| Error::Damaged("a record is too short".into()))
}

/// How many records of each table are read again to find the one that could not be read.
const LOOK: usize = 10_000;

/// Says what is wrong with a read between two bounds. The library does not say in which table, so they are asked one
/// after the other.
fn damaged<'t>(
    mut tables: impl Iterator<Item = &'t Table>,
    bounds: &(Bound<Bytes>, Bound<Bytes>),
    error: &lsm_tree::Error,
) -> Error {
    let owned = |bound: &Bound<Bytes>| bound.as_ref().map(|key| UserKey::from(key.clone()));
    let bounds = (owned(&bounds.0), owned(&bounds.1));
    let table = tables.find(|table| {
        let mut records = table.range(bounds.clone()).take(LOOK);
        records.any(|record| record.is_err())
    });
    damaged_table(table, error)
}

/// The library's message holds no stored data.
fn damaged_table(table: Option<&Table>, error: &lsm_tree::Error) -> Error {
    let Some(table) = table else {
        return Error::Damaged(format!("the tables cannot be read: {error:?}"));
    };
    tracing::error!(table = %table.path.display(), ?error, "a table cannot be read");
    let name = table.path.file_name().unwrap_or_default().display().to_string();
    let advice = match error {
        lsm_tree::Error::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => "look after the disk",
        _ => "keep a copy of the folder, and restore it from a backup",
    };
    Error::Damaged(format!(
        "the file `tree/tables/{name}` cannot be read ({error:?}): {advice}"
    ))
}

/// Drops history that is older than what is kept.
struct Expiry {
    oldest: Arc<AtomicU64>,
}

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expiry"
    }

    fn make_filter(&self, _context: &filter::Context) -> Box<dyn CompactionFilter> {
        Box::new(ExpiryFilter {
            oldest: Revision(self.oldest.load(Ordering::Acquire)),
        })
    }
}

struct ExpiryFilter {
    oldest: Revision,
}

impl CompactionFilter for ExpiryFilter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _context: &filter::Context) -> lsm_tree::Result<Verdict> {
        let expired = records::is_expired(item.key(), self.oldest);
        // These records are written once, under a key of their own: nothing older can come to light.
        Ok(if expired { Verdict::Destroy } else { Verdict::Keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(previous: Option<Entry>) -> Vec<Change> {
        vec![Change {
            key: Bytes::from("a"),
            value: Some(Bytes::from("value")),
            previous,
        }]
    }

    #[test]
    fn a_read_that_was_overtaken_by_a_flush_knows_it() {
        let folder = tempfile::tempdir().unwrap();
        let tables = Tables::open(folder.path(), 1 << 20).unwrap();
        let key = Bytes::from("a");
        tables.apply(&[(Revision(1), put(None))]);
        let first = tables.entry(&key, Revision(1)).unwrap();
        assert_eq!(first.as_ref().map(|entry| entry.modified), Some(Revision(1)));
        assert!(tables.is_complete_at(Revision(1)));

        tables.apply(&[(Revision(2), put(first.clone()))]);
        assert_eq!(tables.entry(&key, Revision(1)).unwrap(), first, "not yet published");
        tables.seal(Checkpoint {
            applied: Revision(2),
            oldest: Revision(0),
        });
        tables.flush().unwrap();
        assert_eq!(
            tables.entry(&key, Revision(1)).unwrap(),
            None,
            "the table has only the newest version"
        );
        assert!(!tables.is_complete_at(Revision(1)) && tables.is_complete_at(Revision(2)));
        assert_eq!(tables.checkpoint().unwrap().applied, Revision(2));
    }

    /// What is in memory, on its way to the disk, and there; put, removed, and put again.
    #[test]
    fn the_newest_entries_are_found_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let tables = Tables::open(folder.path(), 1 << 20).unwrap();
        let (a, b) = (Bytes::from("a"), Bytes::from("b"));
        let found = |key: &Bytes, at| {
            let entry = tables.newest(Revision(at)).entry(key).unwrap();
            entry.map(|entry| entry.modified.0)
        };
        let seal = |at| {
            tables.seal(Checkpoint {
                applied: Revision(at),
                oldest: Revision(0),
            });
        };
        tables.apply(&[(Revision(1), put(None))]);
        assert_eq!((found(&a, 1), found(&b, 1)), (Some(1), None));
        seal(1);
        assert_eq!(found(&a, 1), Some(1));
        tables.flush().unwrap();
        assert_eq!((found(&a, 1), found(&b, 1)), (Some(1), None));
        let previous = tables.newest(Revision(1)).entry(&a).unwrap();
        let remove = Change {
            key: a.clone(),
            value: None,
            previous,
        };
        tables.apply(&[(Revision(2), vec![remove])]);
        assert_eq!(found(&a, 2), None);
        seal(2);
        tables.flush().unwrap();
        assert_eq!(found(&a, 2), None);
        tables.apply(&[(Revision(3), put(None))]);
        seal(3);
        tables.apply(&[(Revision(4), put(None))]);
        assert_eq!(found(&a, 4), Some(4));
        tables.flush().unwrap();
        assert_eq!(found(&a, 4), Some(4));
    }

    #[test]
    fn tables_of_nothing_but_expired_changes_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let tables = Tables::open(folder.path(), 1 << 20).unwrap();
        let key = |revision| records::changes_key(Revision(revision));
        for revision in 1..=2 {
            tables.tree.insert(key(revision), "changes", BASE + revision);
            tables.tree.rotate_memtable();
            tables.flush().unwrap();
        }
        tables.expired.store(2, Ordering::Release);
        tables.drop_expired().unwrap();
        let left: Vec<_> = tables
            .range(records::changes_between(Revision(0), Revision(9)), Revision(9))
            .collect();
        let left: Vec<_> = left.into_iter().map(|pair| pair.unwrap().0).collect();
        assert_eq!(left, [records::changes_key(Revision(2))]);
    }
}
