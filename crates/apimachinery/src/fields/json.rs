//! `FieldsV1`: a set of fields as JSON.

use std::borrow::Cow;

use super::{Builder, Element, FieldSet};
use crate::go;
use crate::json::{self, Map, Value};

/// A text that is no set of fields. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// Something else stands where an object should.
    #[error("a set of fields is an object of objects")]
    NotAnObject,
    /// A key that is no step of a path.
    #[error("a key of a set of fields is malformed")]
    Malformed,
}

/// The key that says that the place itself belongs to the set.
const SELF: &str = ".";

pub(super) fn read<'t>(fields: &Value<'t>) -> Result<FieldSet<'t>, FieldsError> {
    Ok(read_below(fields)?.1)
}

/// Whether the place itself is in the set, and what is below it.
fn read_below<'t>(fields: &Value<'t>) -> Result<(bool, FieldSet<'t>), FieldsError> {
    let members = match fields {
        Value::Object(members) => members,
        Value::Null => return Ok((true, FieldSet::new())),
        _ => return Err(FieldsError::NotAnObject),
    };
    let (mut is_member, mut set) = (false, Builder::default());
    for (key, below) in members.cows() {
        if key == SELF {
            is_member = true;
        } else if let Some(element) = read_element(key)? {
            let (is_member, below) = read_below(below)?;
            set.add(element, is_member, below);
        }
    }
    let set = set.finish();
    Ok((is_member || set.is_empty(), set))
}

/// `None` for a kind of step that is not known.
fn read_element<'t>(key: &Cow<'t, str>) -> Result<Option<Element<'t>>, FieldsError> {
    let (kind, rest) = key.split_once(':').ok_or(FieldsError::Malformed)?;
    Ok(Some(match kind {
        "f" => Element::Field(match key {
            Cow::Borrowed(key) => Cow::Borrowed(&key[2..]),
            Cow::Owned(key) => Cow::Owned(key[2..].to_owned()),
        }),
        "v" => Element::Value(value(rest)?),
        "k" => match value(rest)? {
            Value::Object(keys) => Element::Key(keys.into_iter().collect()),
            _ => return Err(FieldsError::Malformed),
        },
        "i" => Element::Index(rest.parse().map_err(|_| FieldsError::Malformed)?),
        other if other.len() == 1 => return Ok(None),
        _ => return Err(FieldsError::Malformed),
    }))
}

fn value(text: &str) -> Result<Value<'static>, FieldsError> {
    let parsed = json::parse_strict(text.as_bytes()).map_err(|_| FieldsError::Malformed)?;
    Ok(parsed.0.into_owned())
}

pub(super) fn write<'t>(set: &FieldSet<'t>) -> Value<'t> {
    Value::Object(members(set).collect())
}

fn members<'t>(set: &FieldSet<'t>) -> impl Iterator<Item = (String, Value<'t>)> {
    set.iter().map(|(element, is_member, below)| {
        let own = (is_member && !below.is_empty()).then(|| (SELF.to_owned(), Value::Object(Map::new())));
        (
            key(element),
            Value::Object(own.into_iter().chain(members(below)).collect()),
        )
    })
}

fn key(element: &Element<'_>) -> String {
    match element {
        Element::Field(name) => format!("f:{name}"),
        Element::Key(keys) => {
            let mut key = String::from("k:{");
            for (i, (name, value)) in keys.iter().enumerate() {
                if i > 0 {
                    key.push(',');
                }
                key.push_str(&Value::from(name.as_ref()).to_string());
                key.push(':');
                key.push_str(&go::json(value));
            }
            key.push('}');
            key
        }
        Element::Value(value) => format!("v:{}", go::json(value)),
        Element::Index(position) => format!("i:{position}"),
    }
}
