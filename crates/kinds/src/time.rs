//! Times in the forms that Kubernetes writes.

use apimachinery::meta;
use jiff::Timestamp;

/// How many digits `MicroTime` has behind the point.
const DIGITS: usize = 6;

/// A `Time` as it is written: UTC, whole seconds. `None` when it is none.
pub(crate) fn seconds(text: &str) -> Option<String> {
    meta::parse_timestamp(text).map(meta::format_timestamp)
}

/// A `MicroTime` as it is written: UTC, six digits behind the point, which the text must have.
pub(crate) fn micros(text: &str) -> Option<String> {
    let (_, fraction) = text.split_once('.')?;
    if fraction.bytes().take_while(u8::is_ascii_digit).count() != DIGITS {
        return None;
    }
    meta::parse_timestamp(text).and_then(format_micros)
}

/// The `Time` that is so many seconds after 1970.
pub(crate) fn of_seconds(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(meta::format_timestamp)
}

/// The `MicroTime` that is so many seconds and nanoseconds after 1970.
pub(crate) fn of_nanos(seconds: i64, nanos: i32) -> Option<String> {
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Timestamp::from_nanosecond(nanos).ok().and_then(format_micros)
}

fn format_micros(time: Timestamp) -> Option<String> {
    let time = Timestamp::from_microsecond(time.as_nanosecond().div_euclid(1000).try_into().ok()?).ok()?;
    Some(format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(
            seconds("2026-11-21T08:40:53.9+01:00").as_deref(),
            Some("2026-11-21T07:40:53Z")
        );
        assert_eq!(seconds("2026-11-21"), None);
        assert_eq!(
            micros("2026-11-21T08:40:53.000001+01:00").as_deref(),
            Some("2026-11-21T07:40:53.000001Z")
        );
        assert_eq!(micros("2026-11-21T07:40:53Z"), None);
        assert_eq!(micros("2026-11-21T07:40:53.1Z"), None);
        assert_eq!(of_seconds(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(of_nanos(1, 1_500).as_deref(), Some("1970-01-01T00:00:01.000001Z"));
        assert_eq!((of_seconds(i64::MAX), of_nanos(i64::MIN, -1)), (None, None));
    }
}
