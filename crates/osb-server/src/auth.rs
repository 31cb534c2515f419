//! Basic authentication (section "Platform to Service Broker Authentication").

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use osb_api::base64;
use ring::hmac;
use ring::rand::SystemRandom;
use subtle::ConstantTimeEq;

use crate::broker::Platform;
use crate::config::{ConfigError, User};

/// Knows the users. What is kept of a login is an HMAC under a key of this process.
pub(crate) struct Authenticator {
    key: hmac::Key,
    logins: Vec<(hmac::Tag, Platform)>,
}

impl Authenticator {
    pub(crate) fn new(users: &[User]) -> Result<Self, ConfigError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| ConfigError::Random)?;
        let login = |user: &User| {
            let text = format!("{}:{}", user.name, user.password);
            (hmac::sign(&key, text.as_bytes()), user.platform.clone())
        };
        let logins = users.iter().map(login).collect();
        Ok(Self { key, logins })
    }

    /// The platform of a request's login; on a prefix, only if it is the prefix's (OSB-AUTH-02).
    ///
    /// Digests of the whole login are compared in constant time, all of them each time: neither names nor passwords nor
    /// their lengths can be guessed from the time it takes.
    pub(crate) fn authenticate(&self, headers: &HeaderMap, wanted: Option<&Platform>) -> Option<Platform> {
        let digest = hmac::sign(&self.key, &login(headers)?);
        let mut found = None;
        for (known, platform) in &self.logins {
            let same: bool = known.as_ref().ct_eq(digest.as_ref()).into();
            if same && found.is_none() && wanted.is_none_or(|wanted| wanted == platform) {
                found = Some(platform);
            }
        }
        found.cloned()
    }
}

/// `user:password` of the one `Authorization` header.
fn login(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value: &HeaderValue = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, encoded) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    base64::decode(encoded.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(name: &str) -> Platform {
        Platform(name.into())
    }

    fn authenticator() -> Authenticator {
        let user = |name: &str, password: &str, of: &str| User {
            name: name.into(),
            password: password.into(),
            platform: platform(of),
        };
        Authenticator::new(&[
            user("cf", "p:ss", "cf"),
            user("shared", "é", "one"),
            user("shared", "é", "two"),
        ])
        .unwrap()
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    fn basic(login: &str) -> HeaderMap {
        headers(&[&format!("Basic {}", base64::encode(login.as_bytes()))])
    }

    /// OSB-AUTH-01.
    #[test]
    fn a_login_names_its_platform() {
        let authenticator = authenticator();
        assert_eq!(
            authenticator.authenticate(&basic("cf:p:ss"), None),
            Some(platform("cf"))
        );
        let lower = headers(&[&format!("bASIC  {}", base64::encode(b"cf:p:ss"))]);
        assert_eq!(authenticator.authenticate(&lower, None), Some(platform("cf")));
    }

    /// OSB-GEN-04.
    #[test]
    fn a_prefix_lets_in_its_own_platform_only() {
        let authenticator = authenticator();
        assert_eq!(
            authenticator.authenticate(&basic("shared:é"), None),
            Some(platform("one"))
        );
        assert_eq!(
            authenticator.authenticate(&basic("shared:é"), Some(&platform("two"))),
            Some(platform("two"))
        );
        assert_eq!(
            authenticator.authenticate(&basic("cf:p:ss"), Some(&platform("two"))),
            None
        );
    }

    /// OSB-AUTH-02.
    #[test]
    fn everything_else_is_refused() {
        let authenticator = authenticator();
        for login in [
            "", ":", "cf", "cf:", "cf:p", "cf:p:sS", "CF:p:ss", "cf:p:ss ", " cf:p:ss", ":p:ss", "shared:e",
        ] {
            assert_eq!(authenticator.authenticate(&basic(login), None), None, "{login:?}");
        }
        let good = format!("Basic {}", base64::encode(b"cf:p:ss"));
        let bearer = good.replace("Basic", "Bearer");
        for values in [
            &[][..],
            &[""],
            &["Basic"],
            &["Basic "],
            &["Basic %%%"],
            &[&bearer],
            &[&good[6..]],
            &[&good, &good],
        ] {
            assert_eq!(authenticator.authenticate(&headers(values), None), None, "{values:?}");
        }
    }
}
