//! The shape of `metadata`: known fields, their types, and what counts as absent.

use std::fmt;

use crate::field;
use crate::json::{MAX_REPORTED_FIELDS, Map, Value};
use crate::status::Status;

/// A field of metadata has the wrong type. Names the field and never quotes the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The field, for example `metadata.labels.a`.
    pub path: String,
    /// What should stand there.
    pub expected: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: must be {}", self.path, self.expected)
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Status {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Integer,
    Bool,
    Time,
    TextMap,
    TextList,
    Object,
    List(&'static [(&'static str, Shape)]),
}

const OWNER: &[(&str, Shape)] = &[
    ("apiVersion", Shape::Text),
    ("blockOwnerDeletion", Shape::Bool),
    ("controller", Shape::Bool),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("uid", Shape::Text),
];

const MANAGED_FIELDS: &[(&str, Shape)] = &[
    ("apiVersion", Shape::Text),
    ("fieldsType", Shape::Text),
    ("fieldsV1", Shape::Object),
    ("manager", Shape::Text),
    ("operation", Shape::Text),
    ("subresource", Shape::Text),
    ("time", Shape::Time),
];

const METADATA: &[(&str, Shape)] = &[
    ("annotations", Shape::TextMap),
    ("creationTimestamp", Shape::Time),
    ("deletionGracePeriodSeconds", Shape::Integer),
    ("deletionTimestamp", Shape::Time),
    ("finalizers", Shape::TextList),
    ("generateName", Shape::Text),
    ("generation", Shape::Integer),
    ("labels", Shape::TextMap),
    ("managedFields", Shape::List(MANAGED_FIELDS)),
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("ownerReferences", Shape::List(OWNER)),
    ("resourceVersion", Shape::Text),
    ("selfLink", Shape::Text),
    ("uid", Shape::Text),
];

/// Brings `metadata` into the form that is stored: unknown fields, nulls and empty fields go, the rest has its type. The paths of
/// the unknown fields come back (at most [`MAX_REPORTED_FIELDS`]), `prefix` before them: `metadata` for an object's own.
///
/// # Errors
///
/// The first field of a wrong type.
pub fn decode(meta: &mut Map<'_>, prefix: &str) -> Result<Vec<String>, DecodeError> {
    let mut unknown = Vec::new();
    decode_fields(meta, METADATA, prefix, &mut unknown)?;
    Ok(unknown)
}

fn decode_fields(
    map: &mut Map<'_>,
    fields: &[(&str, Shape)],
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<(), DecodeError> {
    let mut failed = None;
    map.retain(|name, value| {
        if failed.is_some() {
            return true;
        }
        let Ok(found) = fields.binary_search_by(|(field, _)| (*field).cmp(name)) else {
            if unknown.len() < MAX_REPORTED_FIELDS {
                unknown.push(field::child(path, name));
            }
            return false;
        };
        decode_field(value, fields[found].1, || field::child(path, name), unknown).unwrap_or_else(|e| {
            failed = Some(e);
            true
        })
    });
    failed.map_or(Ok(()), Err)
}

/// Checks one field; whether it stays.
fn decode_field(
    value: &mut Value<'_>,
    shape: Shape,
    path: impl Fn() -> String,
    unknown: &mut Vec<String>,
) -> Result<bool, DecodeError> {
    let wrong = |expected| Err(DecodeError { path: path(), expected });
    match (shape, value) {
        (_, Value::Null) => Ok(false),
        (Shape::Text, Value::String(text)) => Ok(!text.is_empty()),
        (Shape::Text, _) => wrong("a string"),
        (Shape::Integer, Value::Number(n)) if n.is_i64() => Ok(true),
        (Shape::Integer, _) => wrong("an integer"),
        (Shape::Bool, Value::Bool(_)) => Ok(true),
        (Shape::Bool, _) => wrong("a boolean"),
        (Shape::Time, Value::String(text)) if super::parse_timestamp(text).is_some() => Ok(true),
        (Shape::Time, _) => wrong("an RFC 3339 time"),
        (Shape::TextMap, Value::Object(map)) => {
            for (key, value) in map.iter_mut() {
                decode_text(value, || field::child(&path(), key))?;
            }
            Ok(!map.is_empty())
        }
        (Shape::TextMap, _) => wrong("an object of strings"),
        (Shape::TextList, Value::Array(items)) => {
            for (i, item) in items.iter_mut().enumerate() {
                decode_text(item, || field::index(&path(), i))?;
            }
            Ok(!items.is_empty())
        }
        (Shape::TextList, _) => wrong("a list of strings"),
        (Shape::Object, Value::Object(_)) => Ok(true),
        (Shape::Object, _) => wrong("an object"),
        (Shape::List(fields), Value::Array(items)) => {
            for (i, item) in items.iter_mut().enumerate() {
                let path = field::index(&path(), i);
                match item {
                    Value::Object(map) => decode_fields(map, fields, &path, unknown)?,
                    _ => {
                        return Err(DecodeError {
                            path,
                            expected: "an object",
                        });
                    }
                }
            }
            Ok(!items.is_empty())
        }
        (Shape::List(_), _) => wrong("a list of objects"),
    }
}

/// A string; null counts as the empty one, as in Go.
fn decode_text(value: &mut Value<'_>, path: impl Fn() -> String) -> Result<(), DecodeError> {
    match value {
        Value::String(_) => Ok(()),
        Value::Null => {
            *value = Value::from("");
            Ok(())
        }
        _ => Err(DecodeError {
            path: path(),
            expected: "a string",
        }),
    }
}
