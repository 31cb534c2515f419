//! Quantities such as `1500m` and `2Gi`: a number with a suffix, in the one form in which Kubernetes writes it.
//!
//! A value is exact to a billionth; what is finer is rounded away from zero, and what is larger than 2^63-1 becomes that.

use std::fmt;

/// A billion of these is one.
const ONE: i128 = 1_000_000_000;
const LARGEST: i128 = i64::MAX as i128 * ONE;
/// So many digits are read; a longer number is larger than [`LARGEST`] or finer than a billionth anyway.
const MOST_DIGITS: usize = 200;

/// An amount, and the family of suffixes in which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    /// In billionths.
    nanos: i128,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `m`, `k`, `M`, ...
    Decimal,
    /// `e3`, `E6`, ...
    Exponent,
    /// `Ki`, `Mi`, ...
    Binary,
}

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Reads a quantity. `None` when the text is none.
    pub fn parse(text: &str) -> Option<Quantity> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = unsigned.split_at(digits(unsigned));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (format, factor) = suffix_of(suffix)?;
        let nanos = scaled(whole, fraction, factor);
        Some(Quantity {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }

    /// Rounded away from zero to thousandths, as the resources of containers are.
    pub fn round_to_millis(self) -> Quantity {
        let (millis, rest) = (self.nanos / 1_000_000, self.nanos % 1_000_000);
        Quantity {
            nanos: (millis + rest.signum()) * 1_000_000,
            format: self.format,
        }
    }

    /// The amount in billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }
}

/// What a suffix multiplies with.
enum Factor {
    /// A power of ten.
    Ten(i32),
    /// A power of 1024.
    Kibi(u32),
}

fn suffix_of(suffix: &str) -> Option<(Format, Factor)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((Format::Decimal, Factor::Ten(*exponent)));
    }
    if let Some(power) = BINARY.iter().position(|known| *known == suffix) {
        return Some((Format::Binary, Factor::Kibi(power as u32 + 1)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    if exponent.len() > 10 {
        return None;
    }
    Some((Format::Exponent, Factor::Ten(exponent.parse().ok()?)))
}

/// The number in billionths, never negative.
fn scaled(whole: &str, fraction: &str, factor: Factor) -> i128 {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let is_zero = whole.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    if is_zero {
        return 0;
    }
    let (ten, kibi) = match factor {
        Factor::Ten(exponent) => (i64::from(exponent), 0),
        Factor::Kibi(power) => (0, power),
    };
    // One digit after the other at its place, from the largest one on.
    let mut sum: i128 = 0;
    let mut is_finer = false;
    let digits = whole.bytes().chain(fraction.bytes()).take(MOST_DIGITS);
    for (at, digit) in digits.enumerate() {
        let digit = i128::from(digit - b'0');
        let place = whole.len() as i64 - 1 - at as i64 + ten + 9;
        if digit == 0 {
            continue;
        }
        let Ok(place) = u32::try_from(place) else {
            is_finer |= kibi == 0;
            if kibi > 0 {
                sum += kibi_part(digit, place, kibi, &mut is_finer);
            }
            continue;
        };
        let value = 10_i128.checked_pow(place).and_then(|place| place.checked_mul(digit));
        let value = value.and_then(|value| value.checked_mul(1024_i128.pow(kibi)));
        match value.and_then(|value| sum.checked_add(value)) {
            Some(next) if next <= LARGEST => sum = next,
            _ => return LARGEST,
        }
    }
    (sum + i128::from(is_finer)).min(LARGEST)
}

/// A digit so far behind the point that it is a billionth or more only because of a binary suffix.
fn kibi_part(digit: i128, place: i64, kibi: u32, is_finer: &mut bool) -> i128 {
    let divisor = u32::try_from(-place).ok().and_then(|place| 10_i128.checked_pow(place));
    let value = digit * 1024_i128.pow(kibi);
    let Some(divisor) = divisor else {
        *is_finer = true;
        return 0;
    };
    *is_finer |= value % divisor != 0;
    value / divisor
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let mut format = self.format;
        if format == Format::Binary && self.nanos.abs() < 1024 * ONE {
            format = Format::Decimal;
        }
        if format == Format::Binary {
            let mut amount = (self.nanos + self.nanos.signum() * (ONE - 1)) / ONE;
            let mut power = 0;
            while amount % 1024 == 0 && power < BINARY.len() {
                amount /= 1024;
                power += 1;
            }
            let suffix = power.checked_sub(1).map_or("", |power| BINARY[power]);
            return write!(f, "{amount}{suffix}");
        }
        let (mut amount, mut step) = (self.nanos, 0);
        while amount % 1000 == 0 && step + 1 < DECIMAL.len() {
            amount /= 1000;
            step += 1;
        }
        let (suffix, exponent) = DECIMAL[step];
        match format {
            Format::Exponent if exponent != 0 => write!(f, "{amount}e{exponent}"),
            _ => write!(f, "{amount}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_one_form() {
        for (text, expected) in [
            ("1", "1"),
            ("0", "0"),
            ("0m", "0"),
            ("00.0Gi", "0"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("+2", "2"),
            ("-3", "-3"),
            ("1000", "1k"),
            ("1000000", "1M"),
            ("1024", "1024"),
            ("0.5Gi", "512Mi"),
            ("2048Mi", "2Gi"),
            ("1500Mi", "1500Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("100Ki", "100Ki"),
            ("1e3", "1e3"),
            ("100e3", "100e3"),
            ("1000e3", "1e6"),
            ("1E6", "1e6"),
            ("5E", "5E"),
            ("1e-3", "1e-3"),
            ("0.0000000001", "1n"),
            ("-0.0000000001", "-1n"),
            ("0.0001", "100u"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999", "9223372036854775807"),
            ("1e1000", "9223372036854775807e0"),
            ("123456789.123456789", "123456789123456789n"),
        ] {
            let quantity = Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(quantity.to_string(), expected.trim_end_matches("e0"), "{text}");
        }
        for wrong in [
            "",
            "-",
            ".",
            "m",
            "1x",
            "1 ",
            " 1",
            "1KI",
            "1ki",
            "1e",
            "1e3m",
            "1.2.3",
            "1e99999999999",
        ] {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn container_resources_are_rounded_up() {
        let rounded = |text| Quantity::parse(text).unwrap().round_to_millis().to_string();
        assert_eq!(
            (rounded("1n"), rounded("1.0001"), rounded("2m")),
            ("1m".into(), "1001m".into(), "2m".into())
        );
    }
}
