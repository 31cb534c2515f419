//! Writing JSON.

use std::fmt::Write as _;

use apimachinery::json::plain_length;

use super::Value;

pub(super) fn compact(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                compact(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (position, (key, value)) in members.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                text(key, out);
                out.push(':');
                compact(value, out);
            }
            out.push('}');
        }
        other => scalar(other, out),
    }
}

pub(super) fn pretty(value: &Value<'_>, level: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position > 0 { ",\n" } else { "\n" });
                indent(level + 1, out);
                pretty(item, level + 1, out);
            }
            out.push('\n');
            indent(level, out);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (position, (key, value)) in members.iter().enumerate() {
                out.push_str(if position > 0 { ",\n" } else { "\n" });
                indent(level + 1, out);
                text(key, out);
                out.push_str(": ");
                pretty(value, level + 1, out);
            }
            out.push('\n');
            indent(level, out);
            out.push('}');
        }
        other => compact(other, out),
    }
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("    ", level));
}

fn scalar(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number.as_str()),
        Value::String(string) => text(string, out),
        _ => out.push_str("null"),
    }
}

/// Appends a text in its quotes.
pub(crate) fn text(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    inner(text, out);
    out.push('"');
}

/// Appends what stands between the quotes.
pub(crate) fn inner(mut text: &str, out: &mut String) {
    loop {
        let plain = plain_length(text.as_bytes());
        out.push_str(&text[..plain]);
        let Some(special) = text[plain..].chars().next() else {
            return;
        };
        match special {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            other => write!(out, "\\u{:04x}", u32::from(other)).expect("a String takes everything"),
        }
        text = &text[plain + special.len_utf8()..];
    }
}
