//! Where the broker is and how to talk to it.

use std::fmt;
use std::time::Duration;

use osb_api::identity::OriginatingIdentity;
use osb_api::version::ApiVersion;

/// The settings of a [`Client`](crate::Client).
#[derive(Clone)]
pub struct Options {
    /// `http://` or `https://`, host, port, and the prefix of the broker's paths, if it has one.
    pub url: String,
    /// The user of basic authentication.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Whose certificates count.
    pub trust: Trust,
    /// Where plain HTTP is allowed: the password goes over the wire as it is.
    pub plain_http: PlainHttp,
    /// What to send as `X-Broker-API-Version`. Default 2.17.
    pub version: ApiVersion,
    /// On whose behalf the calls are made.
    pub identity: Option<OriginatingIdentity>,
    /// How long one call may take, connecting included. Default 60 s.
    pub timeout: Duration,
}

/// Whose certificates count.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those of the system's authorities.
    #[default]
    System,
    /// Only those of the authorities in this PEM text.
    Authorities(Vec<u8>),
}

/// Where plain HTTP is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// To this machine only: `localhost`, `127.0.0.0/8`, `[::1]`.
    #[default]
    Loopback,
    /// Everywhere.
    Everywhere,
}

impl Options {
    /// The defaults, for a broker at this URL.
    pub fn new(url: impl Into<String>, username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            username: username.into(),
            password: password.into(),
            trust: Trust::default(),
            plain_http: PlainHttp::default(),
            version: ApiVersion::CURRENT,
            identity: None,
            timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
