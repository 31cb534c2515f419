//! One step of a path into an object.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::Number;

use crate::go;
use crate::json::Value;

/// One step into an object. Numbers that are equal make equal steps, however they are written.
#[derive(Debug, Clone)]
pub enum Element<'t> {
    /// A member of an object.
    Field(Cow<'t, str>),
    /// The item of a list whose keys have these values; sorted by the names of the keys.
    Key(Vec<(Cow<'t, str>, Value<'t>)>),
    /// The item of a list that is this value.
    Value(Value<'t>),
    /// The item at a position.
    Index(i64),
}

impl Element<'_> {
    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Value(_) => 2,
            Element::Index(_) => 3,
        }
    }

    /// The same without anything borrowed.
    pub fn into_owned(self) -> Element<'static> {
        match self {
            Element::Field(name) => Element::Field(Cow::Owned(name.into_owned())),
            Element::Key(keys) => Element::Key(
                keys.into_iter()
                    .map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned()))
                    .collect(),
            ),
            Element::Value(value) => Element::Value(value.into_owned()),
            Element::Index(position) => Element::Index(position),
        }
    }
}

impl Ord for Element<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) => {
                let pairs = a.iter().zip(b).map(|((a_name, a), (b_name, b))| {
                    let names = a_name.cmp(b_name);
                    names.then_with(|| compare(a, b))
                });
                let first = pairs.into_iter().find(|ordering| ordering.is_ne());
                first.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Element::Value(a), Element::Value(b)) => compare(a, b),
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Element<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element<'_> {}

/// An order of all values in which numbers come by their size, whether they are whole or not.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    fn rank(value: &Value<'_>) -> u8 {
        match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => compare_numbers(x, y),
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            let first = x.iter().zip(y).map(|(x, y)| compare(x, y)).find(|o| o.is_ne());
            first.unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (Value::Object(x), Value::Object(y)) => {
            let pairs = x.iter().zip(y.iter());
            let first = pairs
                .map(|((x_key, x), (y_key, y))| x_key.cmp(y_key).then_with(|| compare(x, y)))
                .find(|o| o.is_ne());
            first.unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Exact also where whole numbers and floats meet, so that it is an order.
fn compare_numbers(x: &Number, y: &Number) -> Ordering {
    fn parts(number: &Number) -> (i128, f64, f64) {
        match number.as_i128() {
            Some(whole) => (whole, 0.0, whole as f64),
            None => {
                let float = number.as_f64().unwrap_or(0.0) + 0.0;
                (float.floor() as i128, float - float.floor(), float)
            }
        }
    }
    let ((x_whole, x_rest, x), (y_whole, y_rest, y)) = (parts(x), parts(y));
    let rests = || x_rest.total_cmp(&y_rest).then(x.total_cmp(&y));
    x_whole.cmp(&y_whole).then_with(rests)
}

/// As messages show it: `.name`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(keys) => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={}", shown(value)))
                    .collect();
                write!(f, "[{}]", keys.join(","))
            }
            Element::Value(value) => write!(f, "[={}]", shown(value)),
            Element::Index(position) => write!(f, "[{position}]"),
        }
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => go::quote(text),
        other => other.to_string(),
    }
}
