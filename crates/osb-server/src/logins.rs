//! Who may call, in every way that a request can say it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::jwt::{Algorithm, KeySet};
use crate::auth::keys::IssuerKeys;
use crate::broker::Platform;
use crate::config::ConfigError;

/// Everybody who may call. Without any, every request is refused.
///
/// A request with an `Authorization` header is judged by that header alone; the certificate of its connection counts
/// only where there is none.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// By basic authentication.
    pub users: Vec<User>,
    /// By a bearer token that is known beforehand.
    pub tokens: Vec<Token>,
    /// By a bearer token that somebody signs: a JWT, as OpenID Connect has it.
    pub issuers: Vec<Issuer>,
    /// By the certificate that a client shows when it connects.
    pub certificates: Vec<CertificateRule>,
}

/// A login, and the platform that it belongs to. The same login may stand for several platforms; requests without a
/// prefix are then the first one's.
#[derive(Clone)]
pub struct User {
    /// The name: no colon, no control characters.
    pub name: String,
    /// The password.
    pub password: String,
    /// Whose login it is.
    pub platform: Platform,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// A bearer token that is a shared secret.
#[derive(Clone)]
pub struct Token {
    /// What it is called in the audit log; no secret.
    pub name: String,
    /// The secret.
    pub token: String,
    /// Whose token it is.
    pub platform: Platform,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// Somebody who signs tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss` of its tokens, letter by letter.
    pub issuer: String,
    /// `aud` of a token has to be or to hold one of these.
    pub audiences: Vec<String>,
    /// Which signatures are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The keys that it signs with.
    pub keys: Arc<IssuerKeys>,
    /// How far the clocks may differ.
    pub clock_skew: Duration,
    /// Whose token it is.
    pub platform: PlatformOf,
}

/// How a token says which platform it belongs to.
#[derive(Clone, Debug)]
pub enum PlatformOf {
    /// All tokens of the issuer are one platform's.
    Always(Platform),
    /// A claim says it: a text, or a list of texts one of which is known.
    Claim {
        /// The name of the claim; with a leading slash a JSON pointer to a deeper one (RFC 6901).
        name: String,
        /// What the claim says, and the platform that it means. The first one that fits counts.
        platforms: Vec<(String, Platform)>,
    },
}

/// A certificate, and the platform that it belongs to.
#[derive(Clone, Debug)]
pub struct CertificateRule {
    /// What the certificate has to say.
    pub name: CertificateName,
    /// Whose certificate it is.
    pub platform: Platform,
}

/// What a certificate is recognised by. That it is signed by the right authority was found out when it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// Attributes of the subject, such as `("CN", "cf")`: all of them have to be there, others may be.
    Subject(Vec<(String, String)>),
    /// A DNS name among the alternative names; no wildcards.
    Dns(String),
    /// A URI among the alternative names, letter by letter.
    Uri(String),
}

/// What the certificate of a connection says. Its signature and its time have been checked already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The attributes of its subject, such as `("CN", "cf")`, in the order of the certificate.
    pub subject: Vec<(String, String)>,
    /// The DNS names among its alternative names.
    pub dns_names: Vec<String>,
    /// The URIs among its alternative names.
    pub uris: Vec<String>,
}

impl CertificateName {
    /// Reads `CN=cf,O=Example`; a comma or backslash in a value has a backslash before it.
    ///
    /// # Errors
    /// [`ConfigError::Subject`] for a text that has another form.
    pub fn subject(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Subject(text.to_owned());
        let mut attributes = Vec::new();
        for part in unescaped_parts(text).ok_or_else(wrong)? {
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || value.is_empty() {
                return Err(wrong());
            }
            attributes.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self::Subject(attributes))
    }

    pub(crate) fn fits(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::Subject(wanted) => wanted.iter().all(|(name, value)| {
                let mut there = certificate.subject.iter();
                there.any(|(has, of)| has.eq_ignore_ascii_case(name) && of == value)
            }),
            Self::Dns(name) => certificate.dns_names.iter().any(|has| has.eq_ignore_ascii_case(name)),
            Self::Uri(uri) => certificate.uris.contains(uri),
        }
    }
}

/// The parts between commas; `None` when the text ends within an escape.
fn unescaped_parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        let letter = match letter {
            '\\' => Some(rest.next()?),
            ',' => None,
            letter => Some(letter),
        };
        match (letter, parts.last_mut()) {
            (Some(letter), Some(part)) => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    Some(parts)
}

impl ClientCertificate {
    /// For log lines: the subject, else the first alternative name.
    pub(crate) fn shown(&self) -> String {
        if self.subject.is_empty() {
            let other = self.uris.first().or_else(|| self.dns_names.first());
            return other.cloned().unwrap_or_default();
        }
        let pairs: Vec<String> = self
            .subject
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join(",")
    }
}

impl Logins {
    /// Looks for what cannot work.
    ///
    /// # Errors
    /// [`ConfigError`] as its variants say.
    pub fn check(&self) -> Result<(), ConfigError> {
        for user in &self.users {
            if user.name.contains(':') || user.name.chars().any(char::is_control) {
                return Err(ConfigError::UserName(user.name.clone()));
            }
            if user.name.is_empty() || user.password.is_empty() {
                return Err(ConfigError::EmptyCredentials);
            }
        }
        for token in &self.tokens {
            // What a header can carry (RFC 6750 section 2.1).
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            if token.token.is_empty() || !token.token.bytes().all(plain) {
                return Err(ConfigError::Token(token.name.clone()));
            }
        }
        for issuer in &self.issuers {
            if issuer.issuer.is_empty() || issuer.audiences.is_empty() || issuer.algorithms.is_empty() {
                return Err(ConfigError::Issuer(issuer.issuer.clone()));
            }
        }
        Ok(())
    }

    /// Whether bearer tokens are of any use.
    pub(crate) fn takes_tokens(&self) -> bool {
        !self.tokens.is_empty() || !self.issuers.is_empty()
    }
}

/// Reads the keys of an issuer: a JSON Web Key Set (RFC 7517).
///
/// # Errors
/// [`ConfigError::Keys`] when it is none, or holds no key that can be used.
pub fn key_set(json: &[u8]) -> Result<KeySet, ConfigError> {
    KeySet::from_json(json).ok_or(ConfigError::Keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn a_subject_is_read_with_its_escapes() {
        for (text, pairs) in [
            ("CN=cf", &[("CN", "cf")][..]),
            ("CN=cf, O=Example", &[("CN", "cf"), ("O", "Example")]),
            (r"O=Example\, Inc.,CN=a=b\\", &[("O", "Example, Inc."), ("CN", r"a=b\")]),
        ] {
            assert_eq!(CertificateName::subject(text), Ok(CertificateName::Subject(of(pairs))));
        }
        for text in ["", "cf", "CN=", "=cf", "CN=cf,", r"CN=cf\"] {
            assert_eq!(
                CertificateName::subject(text),
                Err(ConfigError::Subject(text.to_owned()))
            );
        }
    }

    #[test]
    fn every_attribute_of_a_rule_has_to_be_in_the_certificate() {
        let certificate = ClientCertificate {
            subject: of(&[("C", "DE"), ("O", "Example"), ("CN", "cf")]),
            dns_names: vec!["cc.example.com".into()],
            uris: vec!["spiffe://example.com/cf".into()],
        };
        for (name, fits) in [
            (CertificateName::subject("CN=cf").unwrap(), true),
            (CertificateName::subject("cn=cf,O=Example").unwrap(), true),
            (CertificateName::subject("CN=CF").unwrap(), false),
            (CertificateName::subject("CN=cf,O=Other").unwrap(), false),
            (CertificateName::Dns("CC.example.com".into()), true),
            (CertificateName::Dns("example.com".into()), false),
            (CertificateName::Uri("spiffe://example.com/cf".into()), true),
            (CertificateName::Uri("spiffe://example.com".into()), false),
        ] {
            assert_eq!(name.fits(&certificate), fits, "{name:?}");
        }
    }
}
