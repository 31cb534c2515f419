//! Authentication (section "Platform to Service Broker Authentication").

pub(crate) mod jwt;
pub(crate) mod keys;

use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use osb_api::base64;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::broker::Platform;
use crate::config::ConfigError;
use crate::logins::{ClientCertificate, Issuer, Logins, PlatformOf};
use jwt::{Expected, TokenError};

/// Knows who may call. What is kept of a secret is an HMAC under a key of this process.
pub(crate) struct Authenticator {
    key: hmac::Key,
    logins: Vec<Secret>,
    tokens: Vec<Secret>,
    issuers: Vec<Issuer>,
    certificates: Vec<crate::logins::CertificateRule>,
    challenge: Challenge,
}

struct Secret {
    digest: hmac::Tag,
    name: Arc<str>,
    platform: Platform,
}

/// What a 401 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    BasicOrBearer,
}

/// Whom a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) platform: Platform,
    /// How it was recognised: `basic`, `token`, `oidc` or `certificate`.
    pub(crate) method: &'static str,
    /// The user, the token's name, the subject: for the audit log, no secret.
    pub(crate) name: Arc<str>,
}

/// What the `Authorization` header has.
enum Given {
    /// `user:password`
    Basic(Vec<u8>),
    Bearer(String),
}

impl Authenticator {
    pub(crate) fn new(logins: &Logins) -> Result<Self, ConfigError> {
        logins.check()?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| ConfigError::Random)?;
        let secret = |text: &str, name: &str, platform: &Platform| Secret {
            digest: hmac::sign(&key, text.as_bytes()),
            name: name.into(),
            platform: platform.clone(),
        };
        let users = logins.users.iter();
        let tokens = logins.tokens.iter();
        Ok(Self {
            logins: users
                .map(|user| secret(&format!("{}:{}", user.name, user.password), &user.name, &user.platform))
                .collect(),
            tokens: tokens
                .map(|token| secret(&token.token, &token.name, &token.platform))
                .collect(),
            issuers: logins.issuers.clone(),
            certificates: logins.certificates.clone(),
            challenge: if logins.takes_tokens() {
                Challenge::BasicOrBearer
            } else {
                Challenge::Basic
            },
            key,
        })
    }

    pub(crate) fn challenge(&self) -> Challenge {
        self.challenge
    }

    /// Whom a request comes from; on a prefix, only if it is the prefix's platform (OSB-AUTH-02). Without an
    /// `Authorization` header the certificate of the connection counts.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
        wanted: Option<&Platform>,
    ) -> Option<Login> {
        if !headers.contains_key(AUTHORIZATION) {
            return self.of_certificate(certificate?, wanted);
        }
        match given(headers)? {
            Given::Basic(login) => self.of_secret(&self.logins, "basic", &login, wanted),
            Given::Bearer(token) => match self.of_secret(&self.tokens, "token", token.as_bytes(), wanted) {
                Some(login) => Some(login),
                None => self.of_issuer(&token, wanted).await,
            },
        }
    }

    /// Digests are compared in constant time, all of them each time: neither names nor secrets nor their lengths can be
    /// guessed from the time it takes.
    fn of_secret(
        &self,
        secrets: &[Secret],
        method: &'static str,
        given: &[u8],
        wanted: Option<&Platform>,
    ) -> Option<Login> {
        let digest = hmac::sign(&self.key, given);
        let mut found = None;
        for known in secrets {
            let same: bool = known.digest.as_ref().ct_eq(digest.as_ref()).into();
            if same && found.is_none() && wanted.is_none_or(|wanted| *wanted == known.platform) {
                found = Some(known);
            }
        }
        found.map(|known| Login {
            platform: known.platform.clone(),
            method,
            name: known.name.clone(),
        })
    }

    fn of_certificate(&self, certificate: &ClientCertificate, wanted: Option<&Platform>) -> Option<Login> {
        let mut rules = self.certificates.iter();
        let rule =
            rules.find(|rule| rule.name.fits(certificate) && wanted.is_none_or(|wanted| *wanted == rule.platform))?;
        Some(Login {
            platform: rule.platform.clone(),
            method: "certificate",
            name: certificate.shown().into(),
        })
    }

    async fn of_issuer(&self, text: &str, wanted: Option<&Platform>) -> Option<Login> {
        if self.issuers.is_empty() {
            return None;
        }
        let token = match jwt::Token::read(text) {
            Ok(token) => token,
            Err(reason) => return refused(&reason),
        };
        for issuer in self
            .issuers
            .iter()
            .filter(|issuer| token.issuer() == Some(&issuer.issuer))
        {
            match claims(issuer, &token).await {
                Err(reason) => drop(refused(&reason)),
                Ok(claims) => match platform(&issuer.platform, claims, wanted) {
                    Some(platform) => {
                        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
                        return Some(Login {
                            platform,
                            method: "oidc",
                            name: subject.into(),
                        });
                    }
                    None => tracing::debug!(issuer = issuer.issuer, "a token names no platform that it may use"),
                },
            }
        }
        None
    }
}

/// For whoever sets it up: the client is told nothing.
fn refused(reason: &TokenError) -> Option<Login> {
    tracing::debug!(%reason, "a bearer token is not believed");
    None
}

/// The claims of a token, if it is right. A key that is not known may be a new one.
async fn claims<'a>(issuer: &Issuer, token: &'a jwt::Token<'_>) -> Result<&'a Value, TokenError> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let expected = Expected {
        algorithms: &issuer.algorithms,
        audiences: &issuer.audiences,
        clock_skew: issuer.clock_skew,
        now,
    };
    let keys = issuer.keys.current().await.ok_or(TokenError::UnknownKey)?;
    match token.believed(&keys, &expected) {
        Err(TokenError::UnknownKey) => match issuer.keys.newer(&keys).await {
            Some(newer) => token.believed(&newer, &expected),
            None => Err(TokenError::UnknownKey),
        },
        believed => believed,
    }
}

/// The platform that the claims name; on a prefix, only the prefix's.
fn platform(of: &PlatformOf, claims: &Value, wanted: Option<&Platform>) -> Option<Platform> {
    let fits = |platform: &&Platform| wanted.is_none_or(|wanted| wanted == *platform);
    match of {
        PlatformOf::Always(platform) => Some(platform).filter(fits).cloned(),
        PlatformOf::Claim { name, platforms } => {
            let claim = if name.starts_with('/') {
                claims.pointer(name)
            } else {
                claims.get(name)
            };
            let says = |text: &str| match claim {
                Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(text)),
                one => one.and_then(Value::as_str) == Some(text),
            };
            let named = platforms.iter().filter(|(text, _)| says(text));
            named.map(|(_, platform)| platform).find(fits).cloned()
        }
    }
}

/// What the one `Authorization` header has.
fn given(headers: &HeaderMap) -> Option<Given> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value: &HeaderValue = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let bytes = value.as_bytes();
    let (scheme, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b' ')?);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"basic") {
        base64::decode(rest).ok().map(Given::Basic)
    } else if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(Given::Bearer(std::str::from_utf8(rest).ok()?.to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logins::{CertificateName, CertificateRule, Token, User};

    fn platform(name: &str) -> Platform {
        Platform(name.into())
    }

    fn authenticator() -> Authenticator {
        let user = |name: &str, password: &str, of: &str| User {
            name: name.into(),
            password: password.into(),
            platform: platform(of),
        };
        let rule = |name: &str, of: &str| CertificateRule {
            name: CertificateName::subject(name).unwrap(),
            platform: platform(of),
        };
        let token = Token {
            name: "ci".into(),
            token: "s3cret".into(),
            platform: platform("ci"),
        };
        Authenticator::new(&Logins {
            users: vec![
                user("cf", "p:ss", "cf"),
                user("shared", "é", "one"),
                user("shared", "é", "two"),
            ],
            tokens: vec![token],
            issuers: Vec::new(),
            certificates: vec![rule("CN=cf", "cf"), rule("CN=cf", "two")],
        })
        .unwrap()
    }

    /// Whose platform it is.
    async fn of(headers: &HeaderMap, wanted: Option<&str>) -> Option<Platform> {
        let wanted = wanted.map(platform);
        let login = authenticator().authenticate(headers, None, wanted.as_ref()).await;
        login.map(|login| login.platform)
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
    #[tokio::test]
    async fn a_login_names_its_platform() {
        assert_eq!(of(&basic("cf:p:ss"), None).await, Some(platform("cf")));
        let lower = headers(&[&format!("bASIC  {}", base64::encode(b"cf:p:ss"))]);
        assert_eq!(of(&lower, None).await, Some(platform("cf")));
        assert_eq!(of(&headers(&["bearer s3cret"]), None).await, Some(platform("ci")));
    }

    /// OSB-GEN-04.
    #[tokio::test]
    async fn a_prefix_lets_in_its_own_platform_only() {
        assert_eq!(of(&basic("shared:é"), None).await, Some(platform("one")));
        assert_eq!(of(&basic("shared:é"), Some("two")).await, Some(platform("two")));
        assert_eq!(of(&basic("cf:p:ss"), Some("two")).await, None);
        assert_eq!(of(&headers(&["Bearer s3cret"]), Some("two")).await, None);
    }

    #[tokio::test]
    async fn a_certificate_counts_where_there_is_no_header() {
        let authenticator = authenticator();
        let certificate = |name: &str| ClientCertificate {
            subject: vec![("CN".into(), name.into())],
            ..ClientCertificate::default()
        };
        let (cf, other) = (certificate("cf"), certificate("other"));
        let none = HeaderMap::new();
        let login = authenticator.authenticate(&none, Some(&cf), None).await.unwrap();
        assert_eq!(
            (login.platform, login.method, &*login.name),
            (platform("cf"), "certificate", "CN=cf")
        );
        let login = authenticator
            .authenticate(&none, Some(&cf), Some(&platform("two")))
            .await;
        assert_eq!(login.unwrap().platform, platform("two"));
        assert_eq!(
            authenticator
                .authenticate(&none, Some(&cf), Some(&platform("one")))
                .await,
            None
        );
        assert_eq!(authenticator.authenticate(&none, Some(&other), None).await, None);
        // Who gives a wrong password is not let in by the door beside it.
        assert_eq!(
            authenticator.authenticate(&basic("cf:wrong"), Some(&cf), None).await,
            None
        );
    }

    /// OSB-AUTH-02.
    #[tokio::test]
    async fn everything_else_is_refused() {
        for login in [
            "",
            ":",
            "cf",
            "cf:",
            "cf:p",
            "cf:p:sS",
            "CF:p:ss",
            "cf:p:ss ",
            " cf:p:ss",
            ":p:ss",
            "shared:e",
            "ci:s3cret",
        ] {
            assert_eq!(of(&basic(login), None).await, None, "{login:?}");
        }
        let good = format!("Basic {}", base64::encode(b"cf:p:ss"));
        let bearer = good.replace("Basic", "Bearer");
        for values in [
            &[][..],
            &[""],
            &["Basic"],
            &["Basic "],
            &["Basic %%%"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer s3cre"],
            &["Bearer s3cretx"],
            &["Basic s3cret"],
            &["s3cret"],
            &["Token s3cret"],
            &["Bearer s3cret", "Bearer s3cret"],
            &[&bearer],
            &[&good[6..]],
            &[&good, &good],
        ] {
            assert_eq!(of(&headers(values), None).await, None, "{values:?}");
        }
    }

    #[test]
    fn a_claim_names_the_platform() {
        let claims = serde_json::json!({"azp": "cf", "deep": {"roles": ["x", "k8s", "cf"]}, "a/b": 7});
        let by = |name: &str| PlatformOf::Claim {
            name: name.into(),
            platforms: vec![("cf".into(), platform("one")), ("k8s".into(), platform("two"))],
        };
        for (of, wanted, found) in [
            (by("azp"), None, Some("one")),
            (by("/deep/roles"), None, Some("one")),
            (by("/deep/roles"), Some("two"), Some("two")),
            (by("azp"), Some("two"), None),
            (by("a/b"), None, None),
            (by("none"), None, None),
            (PlatformOf::Always(platform("one")), Some("one"), Some("one")),
            (PlatformOf::Always(platform("one")), Some("two"), None),
        ] {
            let wanted = wanted.map(platform);
            assert_eq!(
                super::platform(&of, &claims, wanted.as_ref()),
                found.map(platform),
                "{of:?}"
            );
        }
    }
}
