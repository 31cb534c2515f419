//! The writer of YAML: block style, as people write it.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::scalar::resolve;
use crate::json::Value;

/// The value as a YAML document, without `---`.
///
/// ```
/// let document = template::json::read(r#"{"a":[{"b":"yes","c":1.10}],"d":"x\ny\n"}"#).unwrap();
/// assert_eq!(template::yaml::to_yaml(&document.value), "a:\n- b: \"yes\"\n  c: 1.10\nd: |\n  x\n  y\n");
/// ```
pub fn to_yaml(value: &Value<'_>) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => block(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut out),
        other => {
            scalar(other, 1, &mut out);
            out.push('\n');
        }
    }
    out
}

/// A list or object that is not empty, from where the line is indented already.
fn block(value: &Value<'_>, level: usize, out: &mut String) {
    let mut is_first = true;
    let mut line = |out: &mut String| {
        if !std::mem::take(&mut is_first) {
            indent(level, out);
        }
    };
    match value {
        Value::Array(items) => {
            for item in items {
                line(out);
                out.push_str("- ");
                if is_block(item) {
                    block(item, level + 1, out);
                } else {
                    scalar(item, level + 1, out);
                    out.push('\n');
                }
            }
        }
        Value::Object(members) => {
            for (key, value) in members.iter() {
                line(out);
                text(key, out);
                out.push(':');
                member(value, level, out);
            }
        }
        _ => {}
    }
}

/// What stands behind the colon.
fn member(value: &Value<'_>, level: usize, out: &mut String) {
    if !is_block(value) {
        out.push(' ');
        scalar(value, level + 1, out);
        out.push('\n');
        return;
    }
    // The dashes of a list stand below the key, as kubectl writes them.
    let level = level + usize::from(matches!(value, Value::Object(_)));
    out.push('\n');
    indent(level, out);
    block(value, level, out);
}

fn is_block(value: &Value<'_>) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    }
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn scalar(value: &Value<'_>, level: usize, out: &mut String) {
    match value {
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(string) if is_literal(string) => literal(string, level, out),
        Value::String(string) => text(string, out),
        other => other.write(out),
    }
}

/// Whether a text is shown with its lines, behind `|`.
fn is_literal(text: &str) -> bool {
    let is_shown = |c: char| c == '\n' || (!c.is_control() && !is_break(c));
    text.contains('\n') && !text.starts_with([' ', '\n']) && text.chars().all(is_shown)
}

fn literal(text: &str, level: usize, out: &mut String) {
    let body = text.strip_suffix('\n');
    out.push_str(match body {
        None => "|-",
        Some(body) if body.ends_with('\n') || body.is_empty() => "|+",
        Some(_) => "|",
    });
    for line in body.unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(level, out);
            out.push_str(line);
        }
    }
}

/// A text on one line: plain where it stays a text, else in double quotes.
fn text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    let mut quoted = String::new();
    crate::json::write::text(text, &mut quoted);
    for c in quoted.chars() {
        if c.is_control() || is_break(c) {
            write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes everything");
        } else {
            out.push(c);
        }
    }
}

/// Characters that YAML takes for the end of a line, or for nothing.
fn is_break(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn is_plain(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '$' | '(' | '+');
    let inside = |c: char| c.is_alphanumeric() || " /_.$()+-:@=,;#{}[]\"'*&!?%<>|~^".contains(c);
    text.starts_with(starts)
        && text.chars().all(inside)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && matches!(resolve(Cow::Borrowed(text)), Some(Value::String(_)))
}
