//! The formats of strings and numbers that are checked; others say nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Number;

/// A known `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Int32,
    Int64,
    Byte,
    Date,
    DateTime,
    Duration,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    Uri,
    Uuid,
}

impl Format {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "byte" => Self::Byte,
            "date" => Self::Date,
            "date-time" | "datetime" => Self::DateTime,
            "duration" => Self::Duration,
            "email" => Self::Email,
            "hostname" => Self::Hostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "cidr" => Self::Cidr,
            "mac" => Self::Mac,
            "uri" => Self::Uri,
            "uuid" | "uuid3" | "uuid4" | "uuid5" => Self::Uuid,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Byte => "byte",
            Self::Date => "date",
            Self::DateTime => "date-time",
            Self::Duration => "duration",
            Self::Email => "email",
            Self::Hostname => "hostname",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Cidr => "cidr",
            Self::Mac => "mac",
            Self::Uri => "uri",
            Self::Uuid => "uuid",
        }
    }

    pub(super) fn accepts_text(self, text: &str) -> bool {
        match self {
            Self::Int32 | Self::Int64 => true,
            Self::Byte => is_base64(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            Self::Duration => is_duration(text),
            Self::Email => is_email(text),
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Cidr => is_cidr(text),
            Self::Mac => is_mac(text),
            Self::Uri => is_uri(text),
            Self::Uuid => is_uuid(text),
        }
    }

    pub(super) fn accepts_number(self, number: &Number) -> bool {
        match (self, number.as_i64()) {
            (Self::Int32, Some(n)) => i32::try_from(n).is_ok(),
            (Self::Int32, None) => number.as_f64().is_some_and(|f| f.abs() <= f64::from(i32::MAX)),
            (Self::Int64, None) => !number.is_u64(),
            _ => true,
        }
    }
}

fn is_base64(text: &str) -> bool {
    let bytes = text.as_bytes();
    let padding = bytes.iter().rev().take(2).take_while(|b| **b == b'=').count();
    let letters = &bytes[..bytes.len() - padding];
    bytes.len().is_multiple_of(4)
        && letters
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// `YYYY-MM-DDThh:mm:ss[.f]` and an offset.
fn is_date_time(text: &str) -> bool {
    let (Some(date), Some(b'T' | b't'), Some(rest)) = (text.get(..10), text.as_bytes().get(10), text.get(11..)) else {
        return false;
    };
    is_date(date) && is_time(rest)
}

fn is_time(text: &str) -> bool {
    let (Some(clock), Some(rest)) = (text.get(..8), text.get(8..)) else {
        return false;
    };
    let two = |i: usize, max: u8| clock.get(i..i + 2).and_then(two_digits).is_some_and(|n| n <= max);
    let colons = clock.as_bytes()[2] == b':' && clock.as_bytes()[5] == b':';
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    colons && two(0, 23) && two(3, 59) && two(6, 59) && is_offset(offset)
}

fn is_offset(text: &str) -> bool {
    if matches!(text, "Z" | "z") {
        return true;
    }
    let Some(rest) = text.strip_prefix(['+', '-']) else {
        return false;
    };
    rest.len() == 5
        && rest.as_bytes()[2] == b':'
        && rest.get(..2).and_then(two_digits).is_some()
        && rest.get(3..).and_then(two_digits).is_some()
}

fn two_digits(text: &str) -> Option<u8> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Go's durations (`1h30m`, `-1.5s`, `0`), and days and weeks.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(number);
        let tail = tail.trim_start_matches(' ');
        let unit = tail
            .find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
            .unwrap_or(tail.len());
        let (name, tail) = tail.split_at(unit);
        let known = matches!(
            name,
            "ns" | "us"
                | "µs"
                | "μs"
                | "ms"
                | "s"
                | "m"
                | "h"
                | "d"
                | "w"
                | "sec"
                | "secs"
                | "second"
                | "seconds"
                | "min"
                | "mins"
                | "minute"
                | "minutes"
                | "hr"
                | "hrs"
                | "hour"
                | "hours"
                | "day"
                | "days"
                | "week"
                | "weeks"
        );
        if !known || !digits.bytes().any(|b| b.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return false;
        }
        rest = tail.trim_start_matches(' ');
    }
    true
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let clean = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    clean(local) && clean(domain) && !local.contains('@')
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(label)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|n| n <= max)
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut parts = 0;
    let pairs = text.split(separator).all(|part| {
        parts += 1;
        part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit())
    });
    pairs && matches!(parts, 6 | 8 | 20)
}

/// An absolute path, or a scheme and something behind it.
fn is_uri(text: &str) -> bool {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && !rest.is_empty()
}

/// 32 hex digits, with or without dashes at their places.
fn is_uuid(text: &str) -> bool {
    let dashes_right = match text.len() {
        36 => [8, 13, 18, 23].iter().all(|&i| text.as_bytes()[i] == b'-'),
        len => len == 32,
    };
    let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
    dashes_right && hex == 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_they_name() {
        for (name, good, bad) in [
            (
                "date",
                &["2026-11-21"][..],
                &["2026-13-21", "2026-1-2", "", "2026-11-21T"][..],
            ),
            (
                "date-time",
                &["2026-11-21T07:40:53Z", "2026-11-21t07:40:53.123+02:00"],
                &[
                    "zz",
                    "2026-11-21",
                    "2026-11-21T07:40:53",
                    "2026-11-21T25:00:00Z",
                    "2026-11-21T07:40:53.Z",
                    "2026-11-2éT07",
                ],
            ),
            ("byte", &["", "aGk=", "aGkh"], &["aGk", "a===", "a\n=="]),
            (
                "duration",
                &["1h30m", "-1.5s", "0", "3 days", "1w"],
                &["", "1", "h", "1x", "1..5s"],
            ),
            ("ipv4", &["10.0.0.1"], &["10.0.0", "::1"]),
            ("ipv6", &["::1"], &["10.0.0.1"]),
            (
                "cidr",
                &["10.0.0.0/8", "::/0"],
                &["10.0.0.0/33", "10.0.0.0", "10.0.0.0/+8"],
            ),
            ("mac", &["01:23:45:67:89:ab"], &["01:23:45:67:89", "01:23:45:67:89:az"]),
            ("uri", &["https://a.b/c", "/x", "urn:x"], &["", "a b", "nothing", "1:x"]),
            (
                "uuid",
                &["d920b9df-6be6-43d0-bd53-fcd4d852decf"],
                &["d920b9df", "d920b9df-6be6-43d0-bd53-fcd4d852decg"],
            ),
            ("email", &["a@b.c"], &["a", "@b", "a b@c"]),
            ("hostname", &["a.b", "A-1."], &["", "-a", "a..b", "é"]),
        ] {
            let format = Format::parse(name).unwrap();
            assert!(good.iter().all(|text| format.accepts_text(text)), "{name} {good:?}");
            for text in bad {
                assert!(!format.accepts_text(text), "{name} {text}");
            }
        }
        assert_eq!(Format::parse("x-own"), None);
    }

    #[test]
    fn integers_have_their_width() {
        assert!(!Format::Int32.accepts_number(&Number::from(1_i64 << 31)));
        assert!(Format::Int32.accepts_number(&Number::from(-(1_i64 << 31))));
        assert!(!Format::Int64.accepts_number(&Number::from(u64::MAX)));
    }
}
