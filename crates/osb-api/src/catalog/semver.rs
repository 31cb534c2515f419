//! Semantic Versioning 2.0.0 (OSB-MNT-01).

use std::cmp::Ordering;

/// A semantic version, `MAJOR.MINOR.PATCH` with optional pre-release and build parts (OSB-MNT-01).
///
/// ```
/// use std::cmp::Ordering;
/// use osb_api::catalog::SemanticVersion;
///
/// let (old, new) = (SemanticVersion::parse("2.0.0-rc.1").unwrap(), SemanticVersion::parse("2.0.0+build").unwrap());
/// assert_eq!(old.precedence(&new), Ordering::Less);
/// assert!(SemanticVersion::parse("v2").is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemanticVersion<'a> {
    core: [&'a str; 3],
    pre_release: Option<&'a str>,
}

impl<'a> SemanticVersion<'a> {
    /// Reads a version; the build part has to be right, and does not count.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (text, build) = cut(text, '+');
        let (core, pre_release) = cut(text, '-');
        let mut numbers = core.split('.');
        let core = [numbers.next()?, numbers.next()?, numbers.next()?];
        let right = core.iter().all(|number| is_number(number))
            && numbers.next().is_none()
            && pre_release.is_none_or(|part| part.split('.').all(is_pre_release))
            && build.is_none_or(|part| part.split('.').all(is_identifier));
        right.then_some(Self { core, pre_release })
    }

    /// Which of two is the later one (section 11 of Semantic Versioning). Brokers compare texts instead when they look
    /// for a conflict (OSB-MNT-04).
    pub fn precedence(&self, other: &Self) -> Ordering {
        let numbers = self.core.iter().zip(other.core);
        let core = numbers.fold(Ordering::Equal, |order, (one, two)| {
            order.then_with(|| by_number(one, two))
        });
        core.then_with(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(two)) => by_identifiers(one, two),
        })
    }
}

/// Digits without a leading zero; of any length.
fn by_number(one: &str, two: &str) -> Ordering {
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

fn by_identifiers(one: &str, two: &str) -> Ordering {
    let (mut ones, mut twos) = (one.split('.'), two.split('.'));
    loop {
        let order = match (ones.next(), twos.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(two)) => match (is_number(one), is_number(two)) {
                (true, true) => by_number(one, two),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => one.cmp(two),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_pre_release(text: &str) -> bool {
    is_identifier(text) && (!text.bytes().all(|byte| byte.is_ascii_digit()) || is_number(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OSB-MNT-01.
    #[test]
    fn semantic_versions_are_recognised() {
        for text in [
            "0.0.0",
            "1.2.3",
            "10.20.30",
            "2.1.1+abcdef",
            "1.0.0-alpha.1",
            "1.0.0--.-",
            "1.0.0-0a",
            "1.0.0-a+b.001",
            "1.0.0+1-2",
        ] {
            assert!(SemanticVersion::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.02.3",
            "1.2.03",
            "v1.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+a+b",
            "1.2.3 ",
            "1.2.x",
            "-1.2.3",
            "1.2.3-é",
        ] {
            assert!(SemanticVersion::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_later_version_is_known() {
        let rising = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.9",
            "1.0.10",
            "1.2.0",
            "10.0.0",
            "99999999999999999999999.0.0",
        ];
        let versions = rising.map(|text| SemanticVersion::parse(text).unwrap());
        for (index, one) in versions.iter().enumerate() {
            for (other_index, other) in versions.iter().enumerate() {
                assert_eq!(one.precedence(other), index.cmp(&other_index), "{one:?} {other:?}");
            }
        }
        let build = SemanticVersion::parse("1.0.0+2").unwrap();
        assert_eq!(
            build.precedence(&SemanticVersion::parse("1.0.0+1").unwrap()),
            Ordering::Equal
        );
    }
}
