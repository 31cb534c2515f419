//! Writing JSON.

use super::{Map, Value};

/// Appends a value without spaces.
pub(super) fn value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => foreign(number, out),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                self::value(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => object(members, out),
    }
}

fn object(members: &Map<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (position, (key, value)) in members.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        member(key, value, out);
    }
    out.push(b'}');
}

/// Appends a member of an object: `"key":value`.
pub fn member(key: &str, value: &Value<'_>, out: &mut Vec<u8>) {
    string(key, out);
    out.push(b':');
    self::value(value, out);
}

/// Appends a text in its quotes.
fn string(text: &str, out: &mut Vec<u8>) {
    if super::plain_length(text.as_bytes()) < text.len() {
        return foreign(text, out);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn foreign<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts and numbers can always be written to memory");
}
