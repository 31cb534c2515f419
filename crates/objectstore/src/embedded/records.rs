//! How the store's data lies in the tree of tables.
//!
//! | key | value | for |
//! |---|---|---|
//! | `c`, last revision | the keys that each transaction of a group changed | a watch that starts in the past |
//! | `h`, escaped key, revision | what stood at the key until that transaction | reads at a revision, previous values |
//! | `m`, oldest revision | the last revision that the tables hold | where the log goes on: [`Checkpoint`] |
//! | `o`, key | created, modified, value | the current entries |
//!
//! Numbers are big-endian, so that they sort. A key is escaped (0 becomes 0 255, its end is 0 1) so that keys followed
//! by a revision sort as the keys do. History is written when an entry is replaced, so that the current entries lie
//! together and reading them costs one look-up; records of `c`, `h` and `m` older than the kept history vanish when
//! tables are merged.

use std::ops::Bound;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::decide::Change;
use crate::{Entry, Revision};

const CHANGES: u8 = b'c';
const HISTORY: u8 = b'h';
const CHECKPOINTS: u8 = b'm';
const OBJECTS: u8 = b'o';

pub(super) fn object_key(key: &[u8]) -> Bytes {
    let mut record = BytesMut::with_capacity(1 + key.len());
    record.put_u8(OBJECTS);
    record.put_slice(key);
    record.freeze()
}

/// The key of an entry, from its key in the tree.
pub(super) fn key_of_object(record: &Bytes) -> Bytes {
    record.slice(1.min(record.len())..)
}

/// The bounds of the current entries of a range.
pub(super) fn objects(start: &[u8], end: &[u8]) -> (Bound<Bytes>, Bound<Bytes>) {
    let end = if end.is_empty() {
        Bytes::from_static(&[OBJECTS + 1])
    } else {
        object_key(end)
    };
    (Bound::Included(object_key(start)), Bound::Excluded(end))
}

fn put_escaped(record: &mut BytesMut, key: &[u8]) {
    for byte in key {
        record.put_u8(*byte);
        if *byte == 0 {
            record.put_u8(255);
        }
    }
}

fn history_prefix(key: &[u8]) -> BytesMut {
    let mut record = BytesMut::with_capacity(key.len() + 16);
    record.put_u8(HISTORY);
    put_escaped(&mut record, key);
    record.put_slice(&[0, 1]);
    record
}

pub(super) fn history_key(key: &[u8], revision: Revision) -> Bytes {
    let mut record = history_prefix(key);
    record.put_u64(revision.0);
    record.freeze()
}

/// The bounds of what stood at one key until a transaction after `revision`.
pub(super) fn history_after(key: &[u8], revision: Revision) -> (Bound<Bytes>, Bound<Bytes>) {
    (
        Bound::Excluded(history_key(key, revision)),
        Bound::Included(history_key(key, Revision(u64::MAX))),
    )
}

/// The bounds of the history of a range of keys.
pub(super) fn history(start: &[u8], end: &[u8]) -> (Bound<Bytes>, Bound<Bytes>) {
    let bound = |key: &[u8]| {
        let mut record = BytesMut::with_capacity(key.len() + 1);
        record.put_u8(HISTORY);
        put_escaped(&mut record, key);
        record.freeze()
    };
    let end = if end.is_empty() {
        Bytes::from_static(&[HISTORY + 1])
    } else {
        bound(end)
    };
    (Bound::Included(bound(start)), Bound::Excluded(end))
}

/// The key and revision of a record of history; `None` when it is none.
pub(super) fn key_of_history(record: &[u8]) -> Option<(Bytes, Revision)> {
    let escaped = record.strip_prefix(&[HISTORY])?;
    let (escaped, revision) = escaped.split_last_chunk::<8>()?;
    let mut rest = escaped.strip_suffix(&[0, 1])?;
    let mut key = BytesMut::with_capacity(rest.len());
    while let Some((byte, tail)) = rest.split_first() {
        key.put_u8(*byte);
        rest = if *byte == 0 { tail.strip_prefix(&[255])? } else { tail };
    }
    Some((key.freeze(), Revision(u64::from_be_bytes(*revision))))
}

/// The key of the changes of a group, whose last revision is given.
pub(super) fn changes_key(last: Revision) -> Bytes {
    let mut record = BytesMut::with_capacity(9);
    record.put_u8(CHANGES);
    record.put_u64(last.0);
    record.freeze()
}

/// The bounds of the groups that reach beyond a revision, up to the one that ends with another.
pub(super) fn changes_between(after: Revision, upto: Revision) -> (Bound<Bytes>, Bound<Bytes>) {
    (Bound::Excluded(changes_key(after)), Bound::Included(changes_key(upto)))
}

/// Start and end of the change records that only serve revisions before `oldest`.
pub(super) fn changes_before(oldest: Revision) -> (Bytes, Bytes) {
    (changes_key(Revision(0)), changes_key(oldest))
}

/// Whether a record only serves revisions before `oldest`.
pub(super) fn is_expired(record: &[u8], oldest: Revision) -> bool {
    let revision = match record.first() {
        Some(&HISTORY) => record.last_chunk::<8>().map(|revision| u64::from_be_bytes(*revision)),
        Some(&(CHANGES | CHECKPOINTS)) => record[1..].try_into().ok().map(u64::from_be_bytes),
        _ => None,
    };
    revision.is_some_and(|revision| revision < oldest.0)
}

const ENTRY_HEADER: usize = 16;

pub(super) fn encode_entry(entry: &Entry) -> Bytes {
    let mut record = BytesMut::with_capacity(ENTRY_HEADER + entry.value.len());
    record.put_u64(entry.created.0);
    record.put_u64(entry.modified.0);
    record.put_slice(&entry.value);
    record.freeze()
}

pub(super) fn decode_entry(key: Bytes, mut record: Bytes) -> Option<Entry> {
    if record.len() < ENTRY_HEADER {
        return None;
    }
    let (created, modified) = (Revision(record.get_u64()), Revision(record.get_u64()));
    Some(Entry {
        key,
        value: record,
        created,
        modified,
    })
}

/// A key that a transaction changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) key: Bytes,
    pub(super) deleted: bool,
}

/// The keys that a group changed; a transaction is its revision, the number of its keys, and they.
pub(super) fn encode_changes(commits: &[(Revision, Vec<Change>)]) -> Bytes {
    let keys = commits.iter().flat_map(|(_, changes)| changes);
    let length = commits.len() * 10 + keys.map(|change| 5 + change.key.len()).sum::<usize>();
    let mut record = BytesMut::with_capacity(length);
    for (revision, changes) in commits {
        record.put_u64(revision.0);
        // Bounded by `MAX_WRITES` and `MAX_KEY_BYTES`.
        record.put_u16(changes.len() as u16);
        for change in changes {
            record.put_u8(u8::from(change.value.is_none()));
            record.put_u32(change.key.len() as u32);
            record.put_slice(&change.key);
        }
    }
    record.freeze()
}

/// The transactions of a group. `None` when the record makes no sense.
pub(super) fn decode_changes(mut record: Bytes) -> Option<Vec<(Revision, Vec<Changed>)>> {
    let mut transactions = Vec::new();
    while record.has_remaining() {
        let revision = Revision(record.try_get_u64().ok()?);
        let mut changes = Vec::new();
        for _ in 0..record.try_get_u16().ok()? {
            let deleted = match record.try_get_u8().ok()? {
                0 => false,
                1 => true,
                _ => return None,
            };
            let length = record.try_get_u32().ok()? as usize;
            if length > record.len() {
                return None;
            }
            changes.push(Changed {
                key: record.split_to(length),
                deleted,
            });
        }
        transactions.push((revision, changes));
    }
    Some(transactions)
}

/// What of the log lies in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The tables hold everything up to here.
    pub(super) applied: Revision,
    /// The oldest revision that could be read then.
    pub(super) oldest: Revision,
}

impl Checkpoint {
    /// The bounds of all checkpoints; the last one counts.
    pub(super) fn all() -> (Bound<Bytes>, Bound<Bytes>) {
        let bound = |byte| Bytes::copy_from_slice(&[byte]);
        (
            Bound::Included(bound(CHECKPOINTS)),
            Bound::Excluded(bound(CHECKPOINTS + 1)),
        )
    }

    /// Key and value. `oldest` is part of the key because it may change without a new revision.
    pub(super) fn encode(self) -> (Bytes, Bytes) {
        let mut key = BytesMut::with_capacity(9);
        key.put_u8(CHECKPOINTS);
        key.put_u64(self.oldest.0);
        (key.freeze(), Bytes::copy_from_slice(&self.applied.0.to_be_bytes()))
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let oldest = u64::from_be_bytes(key.get(1..)?.try_into().ok()?);
        let applied = u64::from_be_bytes(value.try_into().ok()?);
        Some(Self {
            applied: Revision(applied),
            oldest: Revision(oldest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(254), Just(255), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn a_history_record_names_its_key_and_revision(key in key(), revision: u64) {
            let record = history_key(&key, Revision(revision));
            prop_assert_eq!(key_of_history(&record), Some((Bytes::from(key), Revision(revision))));
        }

        #[test]
        fn history_sorts_by_key_then_revision(a in key(), b in key(), x: u64, y: u64) {
            let records = history_key(&a, Revision(x)).cmp(&history_key(&b, Revision(y)));
            prop_assert_eq!(records, (a, x).cmp(&(b, y)));
        }

        #[test]
        fn the_history_of_a_range_holds_its_keys_only(start in key(), end in key(), key in key(), revision: u64) {
            let record = history_key(&key, Revision(revision));
            let (lower, upper) = history(&start, &end);
            let (Bound::Included(lower), Bound::Excluded(upper)) = (lower, upper) else { unreachable!() };
            let inside = key >= start && (end.is_empty() || key < end);
            prop_assert_eq!(record >= lower && record < upper, inside);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            key_of_history(&bytes);
            is_expired(&bytes, Revision(5));
            decode_changes(Bytes::from(bytes.clone()));
            decode_entry(Bytes::new(), Bytes::from(bytes.clone()));
            Checkpoint::decode(&bytes, &bytes);
        }
    }

    #[test]
    fn changes_come_back_as_they_were() {
        let change = |key: &'static str, value: Option<&'static str>| Change {
            key: Bytes::from(key),
            value: value.map(Bytes::from),
            previous: None,
        };
        let group = [
            (Revision(3), vec![change("a", Some("x")), change("bc", None)]),
            (Revision(4), vec![change("a", None)]),
        ];
        let changed = |key: &'static str, deleted| Changed {
            key: Bytes::from(key),
            deleted,
        };
        let expected = [
            (Revision(3), vec![changed("a", false), changed("bc", true)]),
            (Revision(4), vec![changed("a", true)]),
        ];
        assert_eq!(decode_changes(encode_changes(&group)).as_deref(), Some(&expected[..]));
    }
}
