//! How the revisions of a store and those of its etcd go together.
//!
//! An etcd counts the transactions of all who use it, from one. A store begins with the transaction that writes its mark:
//! that is its first revision, which is zero unless it takes over from another store. Both grow by the same from there.

use crate::{Entry, Revision};

use super::proto::KeyValue;

/// The difference between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// etcd's revision of the transaction that wrote the mark.
    pub(super) etcd: i64,
    /// The store's revision of the same.
    pub(super) first: Revision,
}

impl Epoch {
    /// The store's revision. What is older than the store is its first one.
    pub(super) fn revision(self, etcd: i64) -> Revision {
        let since = u64::try_from(etcd.saturating_sub(self.etcd)).unwrap_or(0);
        Revision(self.first.0.saturating_add(since))
    }

    /// etcd's revision; `None` for what is older than the store.
    pub(super) fn etcd(self, revision: Revision) -> Option<i64> {
        let since = i64::try_from(revision.0.checked_sub(self.first.0)?).unwrap_or(i64::MAX);
        Some(self.etcd.saturating_add(since))
    }

    /// What stands at a key, without the first `skip` bytes of the key.
    pub(super) fn entry(self, kv: KeyValue, skip: usize) -> Entry {
        Entry {
            key: kv.key.slice(skip.min(kv.key.len())..),
            value: kv.value,
            created: self.revision(kv.create_revision),
            modified: self.revision(kv.mod_revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_count_alike_from_the_mark_on() {
        let epoch = Epoch {
            etcd: 700,
            first: Revision(20),
        };
        assert_eq!(
            (epoch.revision(700), epoch.etcd(Revision(20))),
            (Revision(20), Some(700))
        );
        assert_eq!(
            (epoch.revision(705), epoch.etcd(Revision(25))),
            (Revision(25), Some(705))
        );
        assert_eq!((epoch.revision(3), epoch.etcd(Revision(19))), (Revision(20), None));
        assert_eq!(epoch.etcd(Revision(u64::MAX)), Some(i64::MAX));
    }
}
