//! `X-Broker-API-Version`: which versions are served (section "API Version Header").

use std::fmt;

/// The name of the header; matched in any case (OSB-VER-10).
pub const VERSION_HEADER: &str = "x-broker-api-version";

/// A version of the API; compared as two integers (OSB-VER-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Only 2 is served.
    pub major: u32,
    /// Any from 11 on is served.
    pub minor: u32,
}

/// Why a request is refused for its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// 400: the header is missing (OSB-VER-06, Amb-1).
    #[error(
        "the header X-Broker-API-Version is required; this broker serves {} and later 2.x, for instance {}",
        ApiVersion::OLDEST,
        ApiVersion::CURRENT
    )]
    Missing,
    /// 400: the value is not `MAJOR.MINOR` (OSB-VER-09).
    #[error(
        "the header X-Broker-API-Version has to be MAJOR.MINOR, for instance {}",
        ApiVersion::CURRENT
    )]
    Malformed,
    /// 412: another major version, or a minor from before the oldest one served (OSB-VER-03, -04, -08).
    #[error(
        "this version of the API is not supported; use {} or a later 2.x, for instance {}",
        ApiVersion::OLDEST,
        ApiVersion::CURRENT
    )]
    Unsupported,
}

impl ApiVersion {
    /// The version that this crate implements.
    pub const CURRENT: Self = Self { major: 2, minor: 17 };
    /// The oldest version that is served.
    pub const OLDEST: Self = Self { major: 2, minor: 11 };
    /// The first version that has asynchronous bindings: before it no platform polls one (OSB-COMPAT-03).
    pub const ASYNCHRONOUS_BINDINGS: Self = Self { major: 2, minor: 14 };

    /// Reads `MAJOR.MINOR`: decimal digits on both sides of one point, spaces around them ignored. A number that does
    /// not fit counts as the largest one that does: it is later than all that are known.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }

    /// The version of a request, from the value of its header.
    ///
    /// # Errors
    /// [`VersionError`] as its variants say. A higher minor is served: minor versions only ever add (OSB-VER-02, -12).
    pub fn of_request(header: Option<&str>) -> Result<Self, VersionError> {
        let version = Self::parse(header.ok_or(VersionError::Missing)?).ok_or(VersionError::Malformed)?;
        if version.major == Self::CURRENT.major && version >= Self::OLDEST {
            Ok(version)
        } else {
            Err(VersionError::Unsupported)
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn number(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// OSB-VER-01, OSB-VER-02, OSB-VER-04, OSB-VER-07, OSB-VER-12.
    #[test]
    fn every_minor_from_the_oldest_on_is_served() {
        for (text, minor) in [
            ("2.11", 11),
            ("2.13", 13),
            ("2.17", 17),
            ("2.18", 18),
            ("2.100", 100),
            (" 2.17 ", 17),
            ("2.99999999999", u32::MAX),
        ] {
            assert_eq!(
                ApiVersion::of_request(Some(text)),
                Ok(ApiVersion { major: 2, minor }),
                "{text}"
            );
        }
    }

    /// OSB-VER-03, OSB-VER-07 (2.9 is older than 2.11), OSB-VER-08.
    #[test]
    fn other_majors_and_older_minors_are_unsupported() {
        for text in [
            "2.10",
            "2.9",
            "2.2",
            "2.0",
            "1.0",
            "1.17",
            "3.0",
            "3.17",
            "0.0",
            "99999999999.17",
        ] {
            assert_eq!(
                ApiVersion::of_request(Some(text)),
                Err(VersionError::Unsupported),
                "{text}"
            );
        }
    }

    /// OSB-VER-06, OSB-VER-09.
    #[test]
    fn a_missing_or_malformed_version_is_told_apart() {
        assert_eq!(ApiVersion::of_request(None), Err(VersionError::Missing));
        for text in [
            "", " ", "abc", "2", "2.", ".17", "2.17.1", "2.x", "-2.17", "2.-17", "+2.17", "2,17", "v2.17", "2. 17",
            "٢.١٧",
        ] {
            assert_eq!(
                ApiVersion::of_request(Some(text)),
                Err(VersionError::Malformed),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(major: u32, minor: u32) {
            let version = ApiVersion { major, minor };
            prop_assert_eq!(ApiVersion::parse(&version.to_string()), Some(version));
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = ApiVersion::of_request(Some(&text));
        }
    }
}
