//! What a plain text means.

use std::borrow::Cow;

use crate::json::{Number, Value};

/// What a text without quotes is; `None` for a number that JSON does not have.
pub(super) fn resolve(text: Cow<'_, str>) -> Option<Value<'_>> {
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => {
            return None;
        }
        _ => {}
    }
    if !matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'+' | b'-' | b'.')) {
        return Some(Value::String(text));
    }
    // The usual number is one of JSON, too.
    match text {
        Cow::Borrowed(text) => Some(match Number::new(text) {
            Some(number) => Value::Number(number),
            None => number(text).map_or(Value::String(Cow::Borrowed(text)), Value::Number),
        }),
        Cow::Owned(text) => Some(match number(&text) {
            Some(number) => Value::Number(number),
            None => Value::String(Cow::Owned(text)),
        }),
    }
}

/// A number in one of the forms that only YAML has, as JSON writes it.
fn number(text: &str) -> Option<Number<'static>> {
    let (sign, digits) = match text.as_bytes()[0] {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let digits = digits.replace('_', "");
    let of_base = |digits: &str, base| {
        let is_plain = !digits.starts_with(['+', '-']);
        let value = is_plain.then(|| u64::from_str_radix(digits, base).ok()).flatten()?;
        Number::new(format!("{sign}{value}"))
    };
    let prefix = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    match prefix.as_str() {
        "0x" => return of_base(&digits[2..], 16),
        "0o" => return of_base(&digits[2..], 8),
        "0b" => return of_base(&digits[2..], 2),
        _ => {}
    }
    if digits.len() > 1
        && digits.starts_with('0')
        && let Some(octal) = of_base(&digits, 8)
    {
        return Some(octal);
    }
    decimal(sign, &digits)
}

/// `.5`, `5.`, `08` and `1_000` as JSON writes them.
fn decimal(sign: &str, text: &str) -> Option<Number<'static>> {
    let mantissa_end = text.find(['e', 'E']).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(mantissa_end);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let kept = whole.trim_start_matches('0');
    let whole = match kept {
        "" => "0",
        _ if whole.bytes().all(|byte| byte.is_ascii_digit()) => kept,
        _ => return None,
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Number::new(format!("{sign}{whole}{dot}{fraction}{exponent}"))
}
