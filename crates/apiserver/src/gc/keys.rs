//! The keys of the garbage collector in the store.
//!
//! | key | value |
//! |---|---|
//! | `/owned/{uid}{b or n}{hash}{key}` | empty: the object at the key names that owner; `b` blocks its deletion |
//! | `/named/{uid}` | empty: somebody names that owner, or did |
//! | `/collect/object{key}` | empty: the object at the key is to be looked at |
//! | `/collect/orphan/{uid}` | [`Owner`]: it is to be taken out of those who name it |
//! | `/collect/owner/{uid}` | [`Owner`]: those who name that owner are to be looked at |
//! | `/collect-waiting/{uid}` | [`Owner`]: it waits for those who block its deletion |
//! | `/collect-unknown{key}` | empty: the object at the key names an owner of a kind that is not known |
//! | `/collector` | `on` when all of this is complete |
//!
//! The hash stands for the rest of a reference, so that one that changes is a new entry. A uid is written as the values
//! of [`crate::keys`] are, with an end that no other one contains.

use std::ops::Range;

use bytes::Bytes;

use crate::keys::{fnv1a, put_value};

const OWNED: &[u8] = b"/owned/";
const NAMED: &[u8] = b"/named/";
const QUEUE: &[u8] = b"/collect/";
const QUEUED_OBJECT: &[u8] = b"/collect/object";
const QUEUED_ORPHANS: &[u8] = b"/collect/orphan/";
const QUEUED_OWNER: &[u8] = b"/collect/owner/";
const WAITING: &[u8] = b"/collect-waiting/";
const UNKNOWN: &[u8] = b"/collect-unknown";
/// Blocking or not, and the hash.
const OWNED_MIDDLE: usize = 17;

/// Says how complete everything else here is.
pub(super) const STATE: &[u8] = b"/collector";
pub(super) const COMPLETE: &[u8] = b"on";
pub(super) const OFF: &[u8] = b"off";

/// Which of those who name an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those for whom its deletion in the foreground waits.
    Blocking,
}

/// An owner reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'m> {
    pub(crate) api_version: &'m str,
    pub(crate) kind: &'m str,
    pub(crate) name: &'m str,
    pub(crate) uid: &'m str,
    pub(crate) blocks: bool,
}

/// The entry of the object at a key for one of its references.
pub(super) fn owned_entry(reference: &Reference<'_>, object: &[u8]) -> Bytes {
    let mut key = under(OWNED, reference.uid);
    key.push(if reference.blocks { b'b' } else { b'n' });
    let identity = [reference.api_version, reference.kind, reference.name].join("\0");
    key.extend_from_slice(format!("{:016x}", fnv1a(identity.as_bytes())).as_bytes());
    key.extend_from_slice(object);
    Bytes::from(key)
}

/// Whether a key is one of [`owned_entry`].
pub(super) fn is_owned_entry(key: &[u8]) -> bool {
    key.starts_with(OWNED)
}

/// The entries of those who name an owner.
pub(super) fn owned(uid: &str, which: Which) -> Range<Bytes> {
    let mut key = under(OWNED, uid);
    if which == Which::Blocking {
        key.push(b'b');
    }
    objectstore::prefix(&key)
}

/// All entries.
pub(super) fn all_owned() -> Range<Bytes> {
    objectstore::prefix(OWNED)
}

/// The part of an entry's key that is its owner's.
pub(super) fn owner_part(entry: &[u8]) -> Option<Bytes> {
    let rest = entry.strip_prefix(OWNED)?;
    let end = rest.windows(2).position(|pair| pair == b"\0\0")?;
    Some(Bytes::copy_from_slice(&rest[..end + 2]))
}

/// The key of the object in an entry's key.
pub(super) fn object_of(entry: &Bytes) -> Option<Bytes> {
    let start = OWNED.len() + owner_part(entry)?.len() + OWNED_MIDDLE;
    (start < entry.len()).then(|| entry.slice(start..))
}

/// Says that somebody names the owner of an entry.
pub(super) fn named_by(entry: &[u8]) -> Option<Bytes> {
    Some(Bytes::from([NAMED, &owner_part(entry)?].concat()))
}

/// Says that somebody names an owner.
pub(super) fn named(uid: &str) -> Bytes {
    under(NAMED, uid).into()
}

/// Everything that is to be looked at.
pub(super) fn queue() -> Range<Bytes> {
    objectstore::prefix(QUEUE)
}

/// The queue, and what is noted of those who wait for something.
pub(super) fn notes() -> Range<Bytes> {
    objectstore::prefix(b"/collect")
}

/// The parts of the queue: what is to be looked at to be collected, and who is to be taken out of those who name him.
pub(crate) fn parts_of_queue() -> ([Range<Bytes>; 2], Range<Bytes>) {
    let collected = [QUEUED_OBJECT, QUEUED_OWNER].map(objectstore::prefix);
    (collected, objectstore::prefix(QUEUED_ORPHANS))
}

/// Asks for a look at an object.
pub(super) fn queued_object(object: &[u8]) -> Bytes {
    Bytes::from([QUEUED_OBJECT, object].concat())
}

/// The object's key in a key of [`queued_object`] or [`unknown`].
pub(super) fn queued(key: &Bytes) -> Option<Bytes> {
    let prefix = [QUEUED_OBJECT, UNKNOWN]
        .into_iter()
        .find(|prefix| key.starts_with(prefix))?;
    Some(key.slice(prefix.len()..))
}

/// Asks for a look at those who name an owner.
pub(super) fn queued_owner(uid: &str) -> Bytes {
    under(QUEUED_OWNER, uid).into()
}

/// Asks for an owner to be taken out of those who name it.
pub(super) fn queued_orphans(uid: &str) -> Bytes {
    under(QUEUED_ORPHANS, uid).into()
}

/// Whether a key is one of [`queued_owner`] or [`queued_orphans`].
pub(super) fn is_queued_owner(key: &[u8]) -> bool {
    key.starts_with(QUEUED_OWNER) || is_queued_orphans(key)
}

/// Whether a key is one of [`queued_orphans`].
pub(super) fn is_queued_orphans(key: &[u8]) -> bool {
    key.starts_with(QUEUED_ORPHANS)
}

/// Says that an owner waits for those who block its deletion.
pub(super) fn waiting(uid: &str) -> Bytes {
    under(WAITING, uid).into()
}

/// The same, by the part of a key that is the owner's.
pub(super) fn waiting_part(part: &[u8]) -> Bytes {
    Bytes::from([WAITING, part].concat())
}

/// All owners that wait.
pub(super) fn all_waiting() -> Range<Bytes> {
    objectstore::prefix(WAITING)
}

/// Says that an object names an owner of an unknown kind.
pub(super) fn unknown(object: &[u8]) -> Bytes {
    Bytes::from([UNKNOWN, object].concat())
}

/// All of [`unknown`].
pub(super) fn all_unknown() -> Range<Bytes> {
    objectstore::prefix(UNKNOWN)
}

fn under(root: &[u8], uid: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(root.len() + uid.len() + 128);
    key.extend_from_slice(root);
    put_value(&mut key, uid);
    key
}

/// An owner whose dependents are to be looked at: its uid, and its key while it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: String,
    /// `None`: it has gone.
    pub(super) key: Option<Bytes>,
}

impl Owner {
    /// As it is stored: the uid, a line feed, the key if there is one.
    pub(super) fn encode(uid: &str, key: Option<&[u8]>) -> Bytes {
        Bytes::from([uid.as_bytes(), b"\n", key.unwrap_or_default()].concat())
    }

    pub(super) fn decode(value: &Bytes) -> Option<Owner> {
        let end = value.iter().position(|byte| *byte == b'\n')?;
        let key = value.slice(end + 1..);
        Some(Owner {
            uid: std::str::from_utf8(&value[..end]).ok()?.to_owned(),
            key: (!key.is_empty()).then_some(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(uid: &str, blocks: bool) -> Reference<'_> {
        Reference {
            api_version: "v1",
            kind: "ConfigMap",
            name: "a",
            uid,
            blocks,
        }
    }

    #[test]
    fn an_entry_gives_back_its_object_and_lies_in_the_range_of_its_owner_alone() {
        let object = b"/registry/core/configmaps/t/a";
        for uid in ["u", "u1", "\0", "é", "8a3c6-2e6f"] {
            let entry = owned_entry(&reference(uid, true), object);
            assert_eq!(object_of(&entry).as_deref(), Some(&object[..]), "{uid:?}");
            assert_eq!(named_by(&entry), Some(named(uid)));
            let part = owner_part(&entry).expect("an entry has an owner");
            assert_eq!(waiting_part(&part), waiting(uid));
            for other in ["u", "u1", "\0", "é"] {
                assert_eq!(
                    owned(other, Which::All).contains(&entry),
                    uid == other,
                    "{uid:?} {other:?}"
                );
            }
            assert!(owned(uid, Which::Blocking).contains(&entry));
            let free = owned_entry(&reference(uid, false), object);
            assert!(!owned(uid, Which::Blocking).contains(&free));
        }
    }

    #[test]
    fn what_is_queued_is_read_back() {
        let object = b"/registry/core/configmaps/t/a";
        for key in [queued_object(object), unknown(object)] {
            assert_eq!(queued(&key).as_deref(), Some(&object[..]));
        }
        assert!(queue().contains(&queued_object(object)) && !queue().contains(&unknown(object)));
        assert!(is_queued_owner(&queued_owner("u")) && !is_queued_owner(&queued_object(object)));
        assert!(is_queued_orphans(&queued_orphans("u")) && !is_queued_orphans(&queued_owner("u")));
        let (collected, orphaned) = parts_of_queue();
        assert!(collected[0].contains(&queued_object(object)) && collected[1].contains(&queued_owner("u")));
        assert!(orphaned.contains(&queued_orphans("u")) && !orphaned.contains(&queued_owner("u")));
        for key in [None, Some(&object[..])] {
            let owner = Owner::decode(&Owner::encode("u", key)).expect("readable");
            assert_eq!((owner.uid.as_str(), owner.key.as_deref()), ("u", key));
        }
        assert_eq!(Owner::decode(&Bytes::from_static(b"u")), None);
    }
}
