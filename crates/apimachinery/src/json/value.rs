//! A JSON value that borrows from the text that it was read from.

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeSeq as _;
use serde_json::Number;

use super::Map;

/// A JSON value. Texts without escapes, and keys, stay where they stand in what was read: reading allocates one piece
/// of memory for each list and object, and nothing for what is in them.
///
/// It is used like `serde_json::Value`, from and into which it can be made where a library asks for that.
///
/// ```
/// use apimachinery::json::{self, Value};
///
/// let (value, _) = json::parse_strict(br#"{"spec":{"size":3}}"#).unwrap();
/// assert_eq!(value.pointer("/spec/size").and_then(Value::as_i64), Some(3));
/// assert_eq!(value.to_string(), r#"{"spec":{"size":3}}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Value<'t> {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number: 64 bits, signed, unsigned or float.
    Number(Number),
    /// A text.
    String(Cow<'t, str>),
    /// A list.
    Array(Vec<Value<'t>>),
    /// An object.
    Object(Map<'t>),
}

static NULL: Value<'static> = Value::Null;

impl<'t> Value<'t> {
    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.as_object()?.get(key)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value<'t>> {
        self.as_object_mut()?.get_mut(key)
    }

    /// The value at a path of keys and positions with a slash before each (`/spec/list/0`). No key in it has a slash
    /// or tilde: for paths from outside see [`crate::patch`].
    pub fn pointer(&self, path: &str) -> Option<&Value<'t>> {
        path.split('/').skip(1).try_fold(self, |value, name| match value {
            Value::Object(map) => map.get(name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The same, to be changed.
    pub fn pointer_mut(&mut self, path: &str) -> Option<&mut Value<'t>> {
        path.split('/').skip(1).try_fold(self, |value, name| match value {
            Value::Object(map) => map.get_mut(name),
            Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The number, if it is a whole one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// The number, if it is a whole one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// The number as a float, which may round it.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    /// The items, if it is a list.
    pub fn as_array(&self) -> Option<&Vec<Value<'t>>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Value<'t>>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&Map<'t>> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn as_object_mut(&mut self) -> Option<&mut Map<'t>> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether it is a boolean.
    pub fn is_boolean(&self) -> bool {
        matches!(self, Value::Bool(_))
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Value::Number(_))
    }

    /// Whether it is a whole number that fits into 64 bits with a sign.
    pub fn is_i64(&self) -> bool {
        self.as_number().is_some_and(Number::is_i64)
    }

    /// Whether it is a whole number that fits into 64 bits without a sign.
    pub fn is_u64(&self) -> bool {
        self.as_number().is_some_and(Number::is_u64)
    }

    /// Whether it is a text.
    pub fn is_string(&self) -> bool {
        matches!(self, Value::String(_))
    }

    /// Whether it is a list.
    pub fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Value::Object(_))
    }

    /// The value, and null in its place.
    pub fn take(&mut self) -> Value<'t> {
        std::mem::take(self)
    }

    /// The same without anything borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Number(number) => Value::Number(number),
            Value::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Value::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
            Value::Object(members) => Value::Object(members.into_owned()),
        }
    }

    /// Appends the value as JSON without spaces, byte for byte as serde_json writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        super::write::value(self, out);
    }
}

/// As JSON, without spaces.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// The member of an object; null when there is none, or it is no object.
impl<'t> std::ops::Index<&str> for Value<'t> {
    type Output = Value<'t>;

    fn index(&self, key: &str) -> &Value<'t> {
        self.get(key).unwrap_or(&NULL)
    }
}

impl serde::Serialize for Value<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Value::Object(members) => members.serialize(serializer),
        }
    }
}

impl From<serde_json::Value> for Value<'static> {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => Value::String(Cow::Owned(text)),
            serde_json::Value::Array(items) => Value::Array(items.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(members) => {
                Value::Object(members.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl From<Value<'_>> for serde_json::Value {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text.into_owned()),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                let members = members.into_iter();
                Self::Object(members.map(|(key, value)| (key.into_owned(), value.into())).collect())
            }
        }
    }
}

impl<'t> From<&'t str> for Value<'t> {
    fn from(text: &'t str) -> Self {
        Value::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Cow::Owned(text))
    }
}

impl<'t> From<Map<'t>> for Value<'t> {
    fn from(members: Map<'t>) -> Self {
        Value::Object(members)
    }
}

impl<'t, T: Into<Value<'t>>> From<Vec<T>> for Value<'t> {
    fn from(items: Vec<T>) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        Value::Number(number)
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Value<'_> {
            fn from(number: $number) -> Self {
                Value::Number(number.into())
            }
        }

        impl PartialEq<$number> for Value<'_> {
            fn eq(&self, other: &$number) -> bool {
                self.as_number().is_some_and(|number| *number == Number::from(*other))
            }
        }
    )*};
}

whole_numbers!(i32, i64, u32, u64);

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}
