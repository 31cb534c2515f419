//! The JSON tree that templates are processed on: numbers as they are written, members in the order of the document, and
//! texts that borrow from what they were read from.
//!
//! It is not [`mod@apimachinery::json`], because a template must come out as it went in: there a number is 64 bits, so that
//! `1.10`, `1e3` or a number of thirty digits would be written differently, and members are sorted, so that what a person reads
//! would not look like what a person wrote. It is also quicker here, since nothing is sorted and no number is computed
//! (`cargo xtask bench templates` shows both).

use std::borrow::Cow;
use std::fmt;

pub(crate) mod read;
pub(crate) mod write;

pub use read::{read, read_all};

use read::is_number;

/// How many levels of objects and lists may stand in each other.
pub const MAX_DEPTH: usize = 100;

/// How many values one document may have: what bounds the memory that a few bytes of text can take.
pub const MAX_VALUES: usize = 4_000_000;

/// How many members that stand twice are reported.
pub const MAX_REPORTED: usize = 100;

/// A JSON value.
#[derive(Clone, Debug, Default)]
pub enum Value<'t> {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number<'t>),
    /// A text.
    String(Cow<'t, str>),
    /// A list.
    Array(Vec<Value<'t>>),
    /// An object.
    Object(Object<'t>),
}

/// A number, as the text that stands in the document; always one that JSON allows.
///
/// ```
/// use template::json::Number;
///
/// assert_eq!(Number::new("1.10").unwrap().as_str(), "1.10");
/// assert!(Number::new("007").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number<'t>(Cow<'t, str>);

impl<'t> Number<'t> {
    /// A number, if the text is one of JSON.
    pub fn new(text: impl Into<Cow<'t, str>>) -> Option<Self> {
        let text = text.into();
        is_number(text.as_bytes()).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The members of an object, in the order of the document. No key stands twice.
#[derive(Clone, Debug, Default)]
pub struct Object<'t> {
    members: Vec<(Cow<'t, str>, Value<'t>)>,
}

impl<'t> Object<'t> {
    /// No members, and room for so many.
    pub fn with_capacity(members: usize) -> Self {
        Self {
            members: Vec::with_capacity(members),
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The value of a key. Looks at one member after the other.
    pub fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.members
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value<'t>> {
        let found = self.members.iter_mut().find(|(known, _)| known == key);
        found.map(|(_, value)| value)
    }

    /// Sets a member: where it stood, or at the end.
    pub fn set(&mut self, key: impl Into<Cow<'t, str>>, value: impl Into<Value<'t>>) {
        let key = key.into();
        match self.get_mut(&key) {
            Some(there) => *there = value.into(),
            None => self.members.push((key, value.into())),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value<'t>> {
        let at = self.members.iter().position(|(known, _)| known == key)?;
        Some(self.members.remove(at).1)
    }

    /// The members.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value<'t>)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// Keeps the members for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value<'t>) -> bool) {
        self.members.retain_mut(|(key, value)| keep(key, value));
    }

    /// A key that stands twice, if there is one.
    pub(crate) fn twice(&self) -> Option<&str> {
        let at = read::first_twice(&self.members)?;
        Some(&self.members[at].0)
    }

    /// Appends a member whose key is not there yet, or is looked for afterwards with [`Object::twice`].
    pub(crate) fn push(&mut self, key: Cow<'t, str>, value: Value<'t>) {
        self.members.push((key, value));
    }

    /// An object of members whose keys all differ.
    pub(crate) fn of(members: Vec<(Cow<'t, str>, Value<'t>)>) -> Self {
        Self { members }
    }

    /// The members, with what they borrow.
    pub(crate) fn members(&self) -> &[(Cow<'t, str>, Value<'t>)] {
        &self.members
    }
}

impl<'t> IntoIterator for Object<'t> {
    type Item = (Cow<'t, str>, Value<'t>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl<'t, K: Into<Cow<'t, str>>, V: Into<Value<'t>>> FromIterator<(K, V)> for Object<'t> {
    /// Of a key that comes twice the last value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        let members = members.into_iter().map(|(key, value)| (key.into(), value.into()));
        let mut members: Vec<_> = members.collect();
        read::drop_twice(&mut members, |_| {});
        Self { members }
    }
}

static NULL: Value<'static> = Value::Null;

impl<'t> Value<'t> {
    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.as_object()?.get(key)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&Object<'t>> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn as_object_mut(&mut self) -> Option<&mut Object<'t>> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_array(&self) -> Option<&[Value<'t>]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// What kind of value it is, for messages: `a number`.
    pub fn what(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// The same without anything borrowed.
    pub fn into_owned(self) -> Value<'static> {
        let own = |text: Cow<'t, str>| Cow::Owned(text.into_owned());
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Number(Number(text)) => Value::Number(Number(own(text))),
            Value::String(text) => Value::String(own(text)),
            Value::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
            Value::Object(object) => {
                let members = object.members.into_iter();
                let members = members.map(|(key, value)| (own(key), value.into_owned())).collect();
                Value::Object(Object { members })
            }
        }
    }

    /// The same value, borrowing all texts from this one.
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(*value),
            Value::Number(Number(text)) => Value::Number(Number(Cow::Borrowed(text))),
            Value::String(text) => Value::String(Cow::Borrowed(text)),
            Value::Array(items) => Value::Array(items.iter().map(Value::borrowed).collect()),
            Value::Object(object) => {
                let members = object.iter().map(|(key, value)| (Cow::Borrowed(key), value.borrowed()));
                Value::Object(Object {
                    members: members.collect(),
                })
            }
        }
    }

    /// Appends the value as JSON without spaces.
    pub fn write(&self, out: &mut String) {
        write::compact(self, out);
    }

    /// The value as JSON for people: each member on a line, four spaces for each level.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        write::pretty(self, 0, &mut out);
        out
    }
}

/// The member of an object; null when there is none, or it is no object.
impl<'t> std::ops::Index<&str> for Value<'t> {
    type Output = Value<'t>;

    fn index(&self, key: &str) -> &Value<'t> {
        self.get(key).unwrap_or(&NULL)
    }
}

/// As JSON, without spaces.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

impl<'t> From<&'t str> for Value<'t> {
    fn from(text: &'t str) -> Self {
        Value::String(Cow::Borrowed(text))
    }
}

impl<'t> From<Cow<'t, str>> for Value<'t> {
    fn from(text: Cow<'t, str>) -> Self {
        Value::String(text)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Cow::Owned(text))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl<'t> From<Object<'t>> for Value<'t> {
    fn from(members: Object<'t>) -> Self {
        Value::Object(members)
    }
}

impl<'t, T: Into<Value<'t>>> From<Vec<T>> for Value<'t> {
    fn from(items: Vec<T>) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

/// A text that cannot be read. Never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ReadError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// One document that was read.
#[derive(Clone, Debug, Default)]
pub struct Document<'t> {
    /// What it says.
    pub value: Value<'t>,
    /// Places of members that stand twice, of which the last one counts: `objects[2].spec.replicas`. At most
    /// [`MAX_REPORTED`].
    pub twice: Vec<String>,
}

#[cfg(test)]
mod tests;
