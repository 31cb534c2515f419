//! The entries in the parts of the tables that are still in memory, by their keys.
//!
//! Most of what a commit looks up is either new, so that it stands nowhere, or was written a moment ago. A search
//! through the sorted parts in memory costs more than all else of the look-up; here it costs one look at a map, which
//! shares its bytes with those parts.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::Revision;
use crate::keys::KeyHasher;

/// What was written since the tables on the disk; one map for each part in memory.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    active: Records,
    /// With the last revision of the part, oldest first.
    sealed: VecDeque<(Revision, Records)>,
}

/// The newest records of entries by their keys in the tree; `None` for what was removed.
type Records = HashMap<Bytes, Option<Bytes>, KeyHasher>;

impl Fresh {
    /// Notes what is written to the current part.
    pub(super) fn add(&mut self, key: Bytes, record: Option<Bytes>) {
        self.active.insert(key, record);
    }

    /// The newest record in memory: `None` when there is none, so that the tables on the disk decide, `Some(None)`
    /// when the entry was removed.
    pub(super) fn record(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let sealed = self.sealed.iter().rev().map(|(_, records)| records);
        std::iter::once(&self.active)
            .chain(sealed)
            .find_map(|records| records.get(key))
            .cloned()
    }

    /// Begins a new part; the one that ends holds nothing after this revision.
    pub(super) fn seal(&mut self, last: Revision) {
        self.sealed.push_back((last, std::mem::take(&mut self.active)));
    }

    /// Forgets the parts that lie on the disk up to this revision.
    pub(super) fn forget(&mut self, written: Revision) {
        while self.sealed.front().is_some_and(|(last, _)| *last <= written) {
            self.sealed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_record_counts_until_its_part_is_on_the_disk() {
        let (one, two) = (Bytes::from("1"), Bytes::from("2"));
        let mut fresh = Fresh::default();
        fresh.add("a".into(), Some(one.clone()));
        fresh.add("b".into(), Some(one.clone()));
        fresh.seal(Revision(5));
        fresh.add("a".into(), Some(two.clone()));
        fresh.add("c".into(), None);
        fresh.forget(Revision(4));
        let found = [b"a", b"b", b"c", b"d"].map(|key| fresh.record(key));
        assert_eq!(found, [Some(Some(two.clone())), Some(Some(one)), Some(None), None]);
        fresh.forget(Revision(5));
        let found = [b"a", b"b"].map(|key| fresh.record(key));
        assert_eq!(found, [Some(Some(two)), None]);
    }
}
