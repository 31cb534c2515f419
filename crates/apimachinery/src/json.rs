//! JSON from outside: one pass over the text, bounded depth, duplicate keys reported, and values that borrow from the
//! text instead of copying it.
//!
//! A write reads a body and mostly an object that is stored, and writes one: what stands in them is looked at and copied
//! once. So this [`Value`] is what the rules of this crate work on; `serde_json` reads and writes typed structs, and
//! definitions, which are rare.

use std::fmt;

mod indent;
mod map;
mod read;
mod value;
mod write;

pub use read::plain_length;

pub use indent::indent;
pub use map::Map;
pub use value::Value;
pub use write::member as write_member;

/// How many levels of objects and lists may stand in each other. Serialisers and walkers of this crate recurse at most so deep.
pub const MAX_DEPTH: usize = 100;

/// How many duplicate or unknown fields are named at most; the rest is treated alike but not listed.
pub const MAX_REPORTED_FIELDS: usize = 100;

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
pub fn parse_strict(bytes: &[u8]) -> Result<(Value<'_>, Vec<DuplicateField>), ParseError> {
    read::document(bytes, MAX_DEPTH)
}

/// Reads one JSON document that is known to be sound, as what is stored, and may be nested up to `depth` levels.
/// Everything else is as in [`parse_strict`].
///
/// # Errors
///
/// When the text is not one complete JSON document, or is nested deeper than `depth`.
pub fn parse_to_depth(bytes: &[u8], depth: usize) -> Result<Value<'_>, ParseError> {
    read::document(bytes, depth).map(|(value, _)| value)
}

/// A [`Value`] in the form of JSON, as `serde_json::json!` makes its own.
///
/// ```
/// let value = apimachinery::json!({"size": 1 + 2, "list": [null, true]});
/// assert_eq!(value.to_string(), r#"{"list":[null,true],"size":3}"#);
/// ```
#[macro_export]
macro_rules! json {
    ($($json:tt)+) => {
        $crate::json::Value::from(::serde_json::json!($($json)+))
    };
}

/// How many levels of objects and lists stand in each other; a scalar has none. Stops counting behind `limit`.
pub(crate) fn depth_exceeds(value: &Value<'_>, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|v| depth_exceeds(v, limit - 1)),
        Value::Object(map) => limit == 0 || map.values().any(|v| depth_exceeds(v, limit - 1)),
        _ => false,
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
        let text = nested(MAX_DEPTH);
        let (value, _) = parse_strict(&text).unwrap();
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
