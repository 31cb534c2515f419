//! What an operator can choose.

use std::time::Duration;

use osb_api::request::MissingOrganization;

use crate::broker::Platform;
use crate::logins::{Logins, User};

/// The settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call. Without any, every request is refused.
    pub logins: Logins,
    /// Prefixes of the path that belong to a platform (OSB-GEN-04).
    pub prefixes: Vec<Prefix>,
    /// `/healthz` and `/readyz`.
    pub probes: Access,
    /// `/metrics`.
    pub metrics: Access,
    /// The largest body, in bytes; a larger one is refused with 413. Default 1 MiB.
    pub max_body_bytes: usize,
    /// How long a client may take for a whole body, waiting for memory included; then 408. Default 10 s.
    pub body_timeout: Duration,
    /// How many bytes of bodies are held at once, until their calls are done. Bodies wait for room. A decoded body can
    /// take some 25 times its bytes, so this bounds memory, not to these bytes. Default 16 MiB, at least
    /// `max_body_bytes`.
    pub max_buffered_bytes: usize,
    /// How many calls that change something run at once; more are refused with 429. Default 4096.
    pub max_mutations: usize,
    /// What to do with a provision that names no organization or space.
    pub missing_organization: MissingOrganization,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            logins: Logins::default(),
            prefixes: Vec::new(),
            probes: Access::Open,
            metrics: Access::Open,
            max_body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(10),
            max_buffered_bytes: 16 << 20,
            max_mutations: 4096,
            missing_organization: MissingOrganization::Refuse,
        }
    }
}

impl Config {
    /// Adds a user of a platform.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>, platform: Platform) -> Self {
        self.logins.users.push(User {
            name: name.into(),
            password: password.into(),
            platform,
        });
        self
    }

    /// Adds a prefix of a platform: `/{segment}/v2/…`.
    #[must_use]
    pub fn prefix(mut self, segment: impl Into<String>, platform: Platform) -> Self {
        self.prefixes.push(Prefix {
            segment: segment.into(),
            platform,
        });
        self
    }

    /// Looks for settings that cannot work.
    ///
    /// # Errors
    /// [`ConfigError`] as its variants say.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.logins.check()?;
        for (position, prefix) in self.prefixes.iter().enumerate() {
            prefix.check()?;
            if self.prefixes[..position]
                .iter()
                .any(|other| other.segment == prefix.segment)
            {
                return Err(ConfigError::RepeatedPrefix(prefix.segment.clone()));
            }
        }
        Ok(())
    }
}

/// The first segment of a path, and the platform that it belongs to. Only logins of that platform are let in there.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Letters, digits, `-`, `.`, `_` and `~`.
    pub segment: String,
    /// Whose prefix it is.
    pub platform: Platform,
}

impl Prefix {
    fn check(&self) -> Result<(), ConfigError> {
        let plain = self
            .segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        let taken = ["", ".", "..", "v2", "healthz", "readyz", "metrics"].contains(&self.segment.as_str());
        if plain && !taken {
            Ok(())
        } else {
            Err(ConfigError::Prefix(self.segment.clone()))
        }
    }
}

/// Who may see a page beside the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Users only.
    Authenticated,
    /// Nobody: there is no such page.
    Off,
}

/// Why a [`Config`] cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Basic authentication cannot carry such a name.
    #[error("the user name {0:?} has a colon or a control character")]
    UserName(String),
    /// Nobody is let in with nothing.
    #[error("user names and passwords must not be empty")]
    EmptyCredentials,
    /// No header can carry such a token.
    #[error("the token {0:?} is empty or has characters that no bearer token can have")]
    Token(String),
    /// Whose tokens cannot be told apart from others'.
    #[error("the issuer {0:?} needs a name, an audience and an algorithm")]
    Issuer(String),
    /// Not the form of a subject.
    #[error("the subject {0:?} is not of the form CN=name,O=organization")]
    Subject(String),
    /// Not the keys of an issuer.
    #[error("there is no JSON Web Key Set with a key for RS256, ES256 or EdDSA")]
    Keys,
    /// Not usable as the first segment of a path.
    #[error("the prefix {0:?} has to be one path segment of letters, digits, - . _ ~ that is not in use")]
    Prefix(String),
    /// Two platforms with one prefix.
    #[error("the prefix {0:?} is given twice")]
    RepeatedPrefix(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}
