//! The stored form of an object: the JSON that is served, with a small header.
//!
//! ```text
//! format 1 byte | schema stamp 8 bytes | end of the metadata 4 bytes | metadata 1 byte ... | rest ...
//! ```
//!
//! `metadata` is what stands between `"metadata":{` and the closing brace (both left out) without resourceVersion;
//! `rest` is everything behind that brace, from the comma or the object's last brace on. What stands before the metadata is
//! the same for all objects of a kind and version and is added when served. So the metadata alone is a known slice,
//! and a read copies bytes and splices the resourceVersion in.
//!
//! Numbers are big endian. The stamp names the schema by which the object was pruned, defaulted and validated: while
//! it is the current one, nothing has to be parsed to be served.

use std::sync::LazyLock;

use apimachinery::json::{self, Map, Value};
use bytes::Bytes;
use objectstore::Revision;

const FORMAT: u8 = 1;
const HEADER: usize = 13;
/// How many levels a stored object has at most: one that came as YAML may have more than one that came as JSON.
const DEEPEST: usize = 128;

/// Names a schema; equal schemas have equal stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) u64);

/// A stored value that cannot be read: the store holds what this program did not write.
#[derive(Debug, thiserror::Error)]
#[error("a stored object cannot be read")]
pub(crate) struct Damaged;

/// An object as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    value: Bytes,
    metadata_end: usize,
}

/// The JSON of an object, which its members are read from and borrow from.
#[derive(Debug)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// The members of the object.
    pub(crate) fn members(&self) -> Result<Map<'_>, Damaged> {
        match json::parse_to_depth(&self.0, DEEPEST) {
            Ok(Value::Object(members)) => Ok(members),
            _ => Err(Damaged),
        }
    }

    /// Whether a text occurs in it, anywhere.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        memchr::memmem::find(&self.0, text.as_bytes()).is_some()
    }

    /// The object as a value.
    pub(crate) fn value(&self) -> Result<Value<'_>, Damaged> {
        self.members().map(Value::Object)
    }
}

/// What stands before the metadata of all objects of a kind and version when they are served, up to the value of the
/// resourceVersion.
#[derive(Clone, Debug)]
pub(crate) struct Opening(Bytes);

impl Opening {
    /// The opening of an object that names its kind.
    pub(crate) fn of(api_version: &str, kind: &str) -> Opening {
        let quoted = |text: &str| Value::from(text).to_string();
        Opening(Bytes::from(format!(
            r#"{{"apiVersion":{},"kind":{},"metadata":{{"resourceVersion":""#,
            quoted(api_version),
            quoted(kind)
        )))
    }

    /// The opening of an object of a built-in kind: there are clients who look at the place of an error in the text, and a real server
    /// begins with the kind.
    pub(crate) fn of_builtin(api_version: &str, kind: &str) -> Opening {
        let quoted = |text: &str| Value::from(text).to_string();
        Opening(Bytes::from(format!(
            r#"{{"kind":{},"apiVersion":{},"metadata":{{"resourceVersion":""#,
            quoted(kind),
            quoted(api_version)
        )))
    }

    /// The opening of metadata alone, in a version of `meta.k8s.io`.
    pub(crate) fn partial(api_version: &str) -> Opening {
        const KIND: &str = "PartialObjectMetadata";
        /// The usual one, which stands before each event of a watch.
        static V1: LazyLock<Opening> = LazyLock::new(|| Opening::of_builtin("meta.k8s.io/v1", KIND));
        match api_version {
            "meta.k8s.io/v1" => V1.clone(),
            other => Opening::of_builtin(other, KIND),
        }
    }

    /// The opening of an item of a built-in kind's list, which does not repeat the kind.
    pub(crate) fn anonymous() -> Opening {
        Opening(Bytes::from_static(br#"{"metadata":{"resourceVersion":""#))
    }
}

impl Stored {
    /// Reads a stored value.
    pub(crate) fn read(value: Bytes) -> Result<Stored, Damaged> {
        let header = value.first_chunk::<HEADER>().ok_or(Damaged)?;
        let end = u32::from_be_bytes([header[9], header[10], header[11], header[12]]) as usize;
        if header[0] != FORMAT || end < HEADER || value.get(end) != Some(&b'}') {
            return Err(Damaged);
        }
        Ok(Stored {
            metadata_end: end,
            value,
        })
    }

    /// The bytes for the store.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.value
    }

    /// The schema by which the object was checked.
    pub(crate) fn stamp(&self) -> Stamp {
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&self.value[1..9]);
        Stamp(u64::from_be_bytes(stamp))
    }

    /// The number of bytes of the object as JSON.
    pub(crate) fn len(&self) -> usize {
        self.value.len()
    }

    fn metadata_slice(&self) -> &[u8] {
        &self.value[HEADER..self.metadata_end]
    }

    /// Everything behind the metadata's closing brace: compares equal when nothing outside of the metadata differs.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.value[self.metadata_end + 1..]
    }

    /// Whether both hold the same object. The stamp does not count.
    pub(crate) fn same_object(&self, other: &Stored) -> bool {
        self.value[HEADER..] == other.value[HEADER..]
    }

    /// The text of the metadata without resourceVersion.
    pub(crate) fn metadata(&self) -> Text {
        let mut text = Vec::with_capacity(self.metadata_end - HEADER + 2);
        text.push(b'{');
        text.extend_from_slice(self.metadata_slice());
        text.push(b'}');
        Text(text)
    }

    /// The text of the whole object, with kind and resourceVersion.
    pub(crate) fn object(&self, opening: &Opening, revision: Revision) -> Text {
        let mut text = Vec::with_capacity(self.len() + opening.0.len() + 24);
        self.write(opening, Some(revision), &mut text);
        Text(text)
    }

    /// Appends the object as it is served. Without a revision it carries no resourceVersion, as the answer to a
    /// create that was only tried.
    pub(crate) fn write(&self, opening: &Opening, revision: Option<Revision>, out: &mut Vec<u8>) {
        self.write_metadata(opening, revision, out);
        out.extend_from_slice(self.rest());
    }

    /// Appends the object's metadata alone, behind an opening of its own, and ends the object.
    pub(crate) fn write_partial(&self, opening: &Opening, revision: Option<Revision>, out: &mut Vec<u8>) {
        self.write_metadata(opening, revision, out);
        out.push(b'}');
    }

    fn write_metadata(&self, opening: &Opening, revision: Option<Revision>, out: &mut Vec<u8>) {
        const FIELD: usize = r#""resourceVersion":""#.len();
        match revision {
            Some(revision) => {
                out.extend_from_slice(&opening.0);
                push_number(out, revision.0);
                out.extend_from_slice(b"\",");
            }
            None => out.extend_from_slice(&opening.0[..opening.0.len() - FIELD]),
        }
        out.extend_from_slice(self.metadata_slice());
        out.push(b'}');
    }
}

/// Appends a number in decimal digits.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write as _;
    write!(out, "{number}").expect("writing to a vector does not fail");
}

/// An object on its way into the store: the part behind the metadata is written first, so that it can be compared
/// with the stored one before the metadata (the generation) is settled.
pub(crate) struct Draft {
    rest: Vec<u8>,
}

impl Draft {
    /// Writes what stands outside of the metadata.
    pub(crate) fn new(object: &Map<'_>) -> Draft {
        let mut rest = Vec::with_capacity(2048);
        for (name, value) in object {
            if matches!(name, "apiVersion" | "kind" | "metadata") {
                continue;
            }
            rest.push(b',');
            json::write_member(name, value, &mut rest);
        }
        rest.push(b'}');
        Draft { rest }
    }

    /// Whether the stored object has the same content outside of its metadata.
    pub(crate) fn same_rest(&self, stored: &Stored) -> bool {
        self.rest == stored.rest()
    }

    /// Adds the metadata, which must hold at least one member beside resourceVersion.
    pub(crate) fn finish(self, stamp: Stamp, metadata: &Map<'_>) -> Stored {
        let mut value = Vec::with_capacity(HEADER + 1024 + self.rest.len());
        value.push(FORMAT);
        value.extend_from_slice(&stamp.0.to_be_bytes());
        value.extend_from_slice(&[0; 4]);
        for (name, member) in metadata {
            if name == "resourceVersion" {
                continue;
            }
            if value.len() > HEADER {
                value.push(b',');
            }
            json::write_member(name, member, &mut value);
        }
        let metadata_end = value.len();
        value[9..HEADER].copy_from_slice(&u32::try_from(metadata_end).unwrap_or(u32::MAX).to_be_bytes());
        value.push(b'}');
        value.extend_from_slice(&self.rest);
        Stored {
            value: Bytes::from(value),
            metadata_end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::json;

    fn stored(object: &Value) -> Stored {
        let object = object.as_object().expect("an object");
        let metadata = object.get("metadata").and_then(Value::as_object).expect("metadata");
        Draft::new(object).finish(Stamp(7), metadata)
    }

    #[test]
    fn an_object_comes_back_with_its_resource_version() {
        let object = json!({"apiVersion": "ex.io/v1", "kind": "Widget", "data": {"a": [1, "}"]}, "metadata": {"name": "a\"}", "resourceVersion": "4"}, "spec": {}});
        let stored = Stored::read(stored(&object).bytes().clone()).expect("readable");
        assert_eq!(stored.stamp(), Stamp(7));
        let opening = Opening::of("ex.io/v1", "Widget");
        let mut expected = object.clone();
        let metadata = expected.pointer_mut("/metadata").expect("metadata");
        *metadata = json!({"name": "a\"}", "resourceVersion": "12"});
        let text = stored.object(&opening, Revision(12));
        assert_eq!(text.value().expect("an object"), expected);
        let mut dry = Vec::new();
        stored.write(&opening, None, &mut dry);
        *expected.pointer_mut("/metadata").expect("metadata") = json!({"name": "a\"}"});
        assert_eq!(json::parse_strict(&dry).expect("json").0, expected);
    }

    #[test]
    fn the_metadata_alone_is_a_slice() {
        let stored = stored(&json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"big": true}}));
        let mut out = Vec::new();
        stored.write_partial(
            &Opening::of("meta.k8s.io/v1", "PartialObjectMetadata"),
            Some(Revision(3)),
            &mut out,
        );
        let (partial, _) = json::parse_strict(&out).expect("json");
        assert_eq!(
            partial,
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a", "labels": {"x": "y"}, "resourceVersion": "3"}})
        );
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"{\"a\":1}",
            &[2; 40],
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, b'}'],
        ] {
            assert!(Stored::read(Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
