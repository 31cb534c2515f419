//! The key layout in the store.
//!
//! | key | value |
//! |---|---|
//! | `/registry/{group}/{resource}/{namespace}/{name}` | an object ([`crate::codec`]); the core group is called `core` |
//! | `/registry/{group}/{resource}/{name}` | an object of a cluster-scoped resource |
//! | `/index/{group}/{resource}/{field}/{namespace}/{value}{name}` | empty: the object's selectable field has that value |
//! | `/indexed/{group}/{resource}/{field}` | how far the index of that field is; absent until a selector asks for it |
//! | `/owned/…`, `/named/…`, `/collect…` | who names which owner, and what follows from it ([`crate::gc::keys`]) |
//! | `/cleanup/{group}/{resource}/{name}` | empty: a namespace or definition under deletion whose content has to be removed |
//!
//! An index entry exists only for a value that is not empty, so the objects "with any value" are one range. It is
//! written in the transaction of its object. An entry may point at an object that has gone on (only while a
//! definition changes); a reader always looks at the object itself.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// The longest value that stands in an index key as it is; longer ones are hashed.
const LONGEST_PLAIN_VALUE: usize = 200;

/// The keys of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    registry: Bytes,
    index: Bytes,
    indexed: Bytes,
    cleanup: Bytes,
    namespaced: bool,
}

impl Keys {
    /// The keys of a resource of a group; the core group is the empty string.
    pub(crate) fn new(group: &str, resource: &str, namespaced: bool) -> Keys {
        let group = if group.is_empty() { "core" } else { group };
        let under = |root: &str| Bytes::from(format!("/{root}/{group}/{resource}/"));
        Keys {
            registry: under("registry"),
            index: under("index"),
            indexed: under("indexed"),
            cleanup: under("cleanup"),
            namespaced,
        }
    }

    /// The key of an object. `namespace` is ignored for a cluster-scoped resource.
    pub(crate) fn object(&self, namespace: &str, name: &str) -> Bytes {
        let mut key = BytesMut::with_capacity(self.registry.len() + namespace.len() + name.len() + 1);
        key.put_slice(&self.registry);
        if self.namespaced {
            key.put_slice(namespace.as_bytes());
            key.put_u8(b'/');
        }
        key.put_slice(name.as_bytes());
        key.freeze()
    }

    /// All objects, or those of one namespace.
    pub(crate) fn objects(&self, namespace: Option<&str>) -> Range<Bytes> {
        objectstore::prefix(&self.objects_prefix(namespace))
    }

    /// What every key of [`Keys::objects`] starts with.
    pub(crate) fn objects_prefix(&self, namespace: Option<&str>) -> Bytes {
        match namespace {
            Some(namespace) if self.namespaced => joined(&[&self.registry, namespace.as_bytes(), b"/"]),
            _ => self.registry.clone(),
        }
    }

    /// The one key of an object as a range.
    pub(crate) fn only(&self, namespace: &str, name: &str) -> Range<Bytes> {
        let key = self.object(namespace, name);
        let end = joined(&[&key, b"\0"]);
        key..end
    }

    /// The namespace (empty for a cluster-scoped resource) and name in an object's key.
    pub(crate) fn parts<'k>(&self, key: &'k [u8]) -> Option<(&'k str, &'k str)> {
        let rest = std::str::from_utf8(key.strip_prefix(self.registry.as_ref())?).ok()?;
        if self.namespaced {
            rest.split_once('/')
        } else {
            Some(("", rest))
        }
    }

    /// The index entry of an object for a field's value, `None` for the empty value, which has no entry.
    pub(crate) fn index_entry(&self, field: &str, namespace: &str, value: &str, name: &str) -> Option<Bytes> {
        if value.is_empty() {
            return None;
        }
        let mut key = self.index_namespace(field, namespace, value.len() + name.len() + 3);
        put_value(&mut key, value);
        key.extend_from_slice(name.as_bytes());
        Some(Bytes::from(key))
    }

    /// The index entries of one value in one namespace.
    pub(crate) fn index_value(&self, field: &str, namespace: &str, value: &str) -> Range<Bytes> {
        let mut key = self.index_namespace(field, namespace, value.len() + 3);
        put_value(&mut key, value);
        objectstore::prefix(&key)
    }

    /// The index entries of all values that are not empty, in one namespace or all.
    pub(crate) fn index_any(&self, field: &str, namespace: Option<&str>) -> Range<Bytes> {
        match namespace {
            Some(namespace) => objectstore::prefix(&self.index_namespace(field, namespace, 0)),
            None => objectstore::prefix(&joined(&[&self.index, field.as_bytes(), b"/"])),
        }
    }

    /// The namespace and name in an index key of `field`.
    pub(crate) fn index_parts<'k>(&self, field: &str, key: &'k [u8]) -> Option<(&'k str, &'k str)> {
        let rest = key
            .strip_prefix(self.index.as_ref())?
            .strip_prefix(field.as_bytes())?
            .strip_prefix(b"/")?;
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let end = rest.windows(2).rposition(|pair| pair == b"\0\0")?;
        Some((
            std::str::from_utf8(&rest[..slash]).ok()?,
            std::str::from_utf8(&rest[end + 2..]).ok()?,
        ))
    }

    /// The key that says whether the index of a field is complete.
    pub(crate) fn indexed(&self, field: &str) -> Bytes {
        joined(&[&self.indexed, field.as_bytes()])
    }

    /// All keys of [`Keys::indexed`].
    pub(crate) fn all_indexed(&self) -> Range<Bytes> {
        objectstore::prefix(&self.indexed)
    }

    /// The field in a key of [`Keys::indexed`].
    pub(crate) fn indexed_field<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        std::str::from_utf8(key.strip_prefix(self.indexed.as_ref())?).ok()
    }

    /// The key that says that an object of this resource is under deletion and has content to be removed.
    pub(crate) fn cleanup(&self, name: &str) -> Bytes {
        joined(&[&self.cleanup, name.as_bytes()])
    }

    /// The start of the index keys of a field in a namespace, with room for so many bytes more.
    fn index_namespace(&self, field: &str, namespace: &str, more: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.index.len() + field.len() + namespace.len() + 2 + more);
        for part in [&self.index, field.as_bytes(), b"/", namespace.as_bytes(), b"/"] {
            key.extend_from_slice(part);
        }
        key
    }
}

/// All keys of [`Keys::cleanup`], of every resource.
pub(crate) fn cleanups() -> Range<Bytes> {
    objectstore::prefix(b"/cleanup/")
}

/// Those of one resource.
pub(crate) fn cleanups_of(group: &str, plural: &str) -> Range<Bytes> {
    objectstore::prefix(&Keys::new(group, plural, false).cleanup(""))
}

/// The resource and name in a key of [`cleanups`].
pub(crate) fn cleanup_parts(key: &[u8]) -> Option<(&str, &str)> {
    let rest = std::str::from_utf8(key.strip_prefix(b"/cleanup/")?).ok()?;
    let (_, rest) = rest.split_once('/')?;
    rest.split_once('/')
}

fn joined(parts: &[&[u8]]) -> Bytes {
    let mut key = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| key.put_slice(part));
    key.freeze()
}

/// Writes a value so that no value's key range contains another value's: NUL is written as `00 FF`, the end is `00 00`.
pub(crate) fn put_value(key: &mut Vec<u8>, value: &str) {
    if value.len() > LONGEST_PLAIN_VALUE {
        key.push(b'#');
        key.extend_from_slice(format!("{:016x}", fnv1a(value.as_bytes())).as_bytes());
    } else {
        key.push(b'=');
        for (position, part) in value.split('\0').enumerate() {
            if position > 0 {
                key.extend_from_slice(&[0, 0xff]);
            }
            key.extend_from_slice(part.as_bytes());
        }
    }
    key.extend_from_slice(&[0, 0]);
}

/// FNV-1a, 64 bits: stable over versions of this program, as what is stored must be.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_key_gives_back_its_parts() {
        let keys = Keys::new("ex.io", "widgets", true);
        let key = keys.object("t2", "a");
        assert_eq!(key.as_ref(), b"/registry/ex.io/widgets/t2/a");
        assert_eq!(keys.parts(&key), Some(("t2", "a")));
        let cluster = Keys::new("", "namespaces", false);
        assert_eq!(
            cluster.object("ignored", "t2").as_ref(),
            b"/registry/core/namespaces/t2"
        );
        assert_eq!(cluster.parts(b"/registry/core/namespaces/t2"), Some(("", "t2")));
    }

    #[test]
    fn index_keys_of_one_value_lie_in_its_range_and_in_no_other() {
        let keys = Keys::new("ex.io", "widgets", true);
        let long = "x".repeat(1000);
        let values = ["a", "a\0", "a\0b", "a/b", "ab", "\0", "\0\u{ff}", long.as_str(), "ü"];
        for value in values {
            let entry = keys.index_entry(".spec.id", "t2", value, "n").expect("not empty");
            assert_eq!(keys.index_parts(".spec.id", &entry), Some(("t2", "n")), "{value:?}");
            assert!(keys.index_any(".spec.id", Some("t2")).contains(&entry));
            assert!(keys.index_any(".spec.id", None).contains(&entry));
            for other in values {
                assert_eq!(
                    keys.index_value(".spec.id", "t2", other).contains(&entry),
                    value == other,
                    "{value:?} {other:?}"
                );
            }
        }
        assert_eq!(keys.index_entry(".spec.id", "t2", "", "n"), None);
    }
}
