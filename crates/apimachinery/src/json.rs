//! Reading JSON from outside: one pass, bounded depth, duplicate keys reported.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::go;

/// How many levels of objects and lists may stand in each other. Serialisers and walkers of this crate recurse at most so deep.
pub const MAX_DEPTH: usize = 100;

/// How many duplicate or unknown fields are named at most; the rest is treated alike but not listed.
pub const MAX_REPORTED_FIELDS: usize = 100;

/// How long a reported path grows at most, in bytes, before its outer part is left out.
const MAX_PATH_BYTES: usize = 1024;

/// A key that stands twice in one object. The last value counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateField {
    /// Where, for example `data.a` or `spec.list[2].name`.
    pub path: String,
}

impl fmt::Display for DuplicateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "duplicate field \"{}\"", self.path)
    }
}

/// Why a text is not JSON, or not JSON that is taken here. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at line {line} column {column}: {problem}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1; 0 right after a line break.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text ends too early.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// Not JSON (a stray character, a bad escape, a number out of range, bytes that are not UTF-8).
    #[error("syntax error")]
    Syntax,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
}

/// Reads one JSON document.
///
/// Integers beyond 64 bits become floats, as in serde_json. Of duplicate keys the last value counts, and up to
/// [`MAX_REPORTED_FIELDS`] of them are reported, in document order.
///
/// # Errors
///
/// When the text is not one complete JSON document, or is nested deeper than [`MAX_DEPTH`].
///
/// ```
/// let (value, duplicates) = apimachinery::json::parse_strict(br#"{"data":{"a":"1","a":"2"}}"#).unwrap();
/// assert_eq!(value["data"]["a"], "2");
/// assert_eq!(duplicates[0].path, "data.a");
/// ```
pub fn parse_strict(bytes: &[u8]) -> Result<(Value, Vec<DuplicateField>), ParseError> {
    let reader = Reader::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        reader: &reader,
        depth: 0,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|e| reader.error(&e))?;
    Ok((value, reader.duplicates.into_inner()))
}

/// How many levels of objects and lists stand in each other; a scalar has none. Stops counting behind `limit`.
pub(crate) fn depth_exceeds(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|v| depth_exceeds(v, limit - 1)),
        Value::Object(map) => limit == 0 || map.values().any(|v| depth_exceeds(v, limit - 1)),
        _ => false,
    }
}

#[derive(Default)]
struct Reader {
    duplicates: RefCell<Vec<DuplicateField>>,
    too_deep: Cell<bool>,
}

impl Reader {
    fn error(&self, e: &serde_json::Error) -> ParseError {
        let problem = match e.classify() {
            _ if self.too_deep.get() => Problem::TooDeep,
            serde_json::error::Category::Eof => Problem::UnexpectedEnd,
            _ => Problem::Syntax,
        };
        ParseError {
            line: e.line(),
            column: e.column(),
            problem,
        }
    }

    fn duplicate(&self, key: &str) {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.len() < MAX_REPORTED_FIELDS {
            duplicates.push(DuplicateField { path: key.to_owned() });
        }
    }

    fn count(&self) -> usize {
        self.duplicates.borrow().len()
    }

    /// Puts the name of the parent before the paths that were reported inside it.
    fn prefix(&self, from: usize, name: impl Fn(&str) -> String) {
        for duplicate in self.duplicates.borrow_mut().iter_mut().skip(from) {
            if duplicate.path.len() < MAX_PATH_BYTES {
                duplicate.path = name(&duplicate.path);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'r> {
    reader: &'r Reader,
    depth: usize,
}

impl Seed<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            self.reader.too_deep.set(true);
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let seed = self.inner()?;
        let mut items = Vec::new();
        let mut reported = self.reader.count();
        while let Some(item) = seq.next_element_seed(seed)? {
            if self.reader.count() != reported {
                let position = items.len();
                self.reader
                    .prefix(reported, |inner| join(&format!("[{position}]"), inner));
                reported = self.reader.count();
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let reported = self.reader.count();
            let value = access.next_value_seed(seed)?;
            if self.reader.count() != reported {
                self.reader
                    .prefix(reported, |inner| join(&go::cut(&key, MAX_PATH_BYTES), inner));
            }
            match map.entry(key) {
                serde_json::map::Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                serde_json::map::Entry::Occupied(mut entry) => {
                    self.reader.duplicate(entry.key());
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

fn join(parent: &str, inner: &str) -> String {
    if inner.starts_with('[') {
        format!("{parent}{inner}")
    } else {
        format!("{parent}.{inner}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named_by_their_path_and_the_last_value_counts() {
        let text = br#"{"a":{"b":1,"b":2},"l":[0,{"x":{"y":1,"y":2}}],"a":3}"#;
        let (value, duplicates) = parse_strict(text).unwrap();
        let paths: Vec<&str> = duplicates.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["a.b", "l[1].x.y", "a"]);
        assert_eq!(value["a"], 3);
        assert_eq!(duplicates[0].to_string(), "duplicate field \"a.b\"");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        let (value, _) = parse_strict(&nested(MAX_DEPTH)).unwrap();
        assert!(!depth_exceeds(&value, MAX_DEPTH) && depth_exceeds(&value, MAX_DEPTH - 1));
        assert_eq!(
            parse_strict(&nested(MAX_DEPTH + 1)).unwrap_err().problem,
            Problem::TooDeep
        );
        assert_eq!(
            parse_strict(&vec![b'['; 1_000_000]).unwrap_err().problem,
            Problem::TooDeep
        );
    }

    #[test]
    fn errors_name_the_place_and_never_the_text() {
        for (text, problem) in [
            (&b"{\"secret\": hunter2}"[..], Problem::Syntax),
            (b"{\"secret\": \"hunter2", Problem::UnexpectedEnd),
            (b"{} hunter2", Problem::Syntax),
            (b"", Problem::UnexpectedEnd),
            (b"\"\xff\"", Problem::Syntax),
            (b"1e999", Problem::Syntax),
            (b"\"\\ud800\"", Problem::Syntax),
        ] {
            let error = parse_strict(text).unwrap_err();
            assert_eq!(error.problem, problem, "{}", String::from_utf8_lossy(text));
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_flood_of_duplicates_is_reported_up_to_a_bound() {
        let text = format!("{{{}\"k\":1}}", "\"k\":{},".repeat(10_000));
        let (_, duplicates) = parse_strict(text.as_bytes()).unwrap();
        assert_eq!(duplicates.len(), MAX_REPORTED_FIELDS);
    }

    #[test]
    fn keys_that_mean_something_inside_serde_json_are_plain_keys() {
        let (value, _) = parse_strict(br#"{"$serde_json::private::RawValue":"[1]"}"#).unwrap();
        assert!(value.is_object());
    }
}
