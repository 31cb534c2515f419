//! Which broker is checked, and how.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

/// Kills the broker and starts it again; done when the command is. The check waits by itself until the broker answers.
pub type Restart = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The settings of a check.
#[derive(Clone)]
pub struct Options {
    /// `http://` or `https://`, host, port, and the prefix of the broker's paths, if it has one.
    pub url: String,
    /// What was agreed for authentication.
    pub login: Login,
    /// The authorities whose certificates count, PEM; `None` for the system's.
    pub authorities: Option<Vec<u8>>,
    /// Sends the login to other machines also without TLS.
    pub insecure_plaintext: bool,
    /// What is sent as `X-Broker-API-Version`. Default `2.17`.
    pub api_version: String,
    /// The offering to use, by name or id. Default: all.
    pub service: Option<String>,
    /// The plan to use, by name or id. Default: all.
    pub plan: Option<String>,
    /// Parameters of each provision.
    pub parameters: Option<Map<String, Value>>,
    /// Parameters with which a provision fails; without them failures are not checked.
    pub failing_parameters: Option<Map<String, Value>>,
    /// Parameters of each bind.
    pub bind_parameters: Option<Map<String, Value>>,
    /// Only these requirements. Empty: all. The check ends when all of them have been seen broken.
    pub only: BTreeSet<String>,
    /// Not these requirements.
    pub skip: BTreeSet<String>,
    /// How long one request may take. Default 60 s, as platforms have it.
    pub timeout: Duration,
    /// How long an operation may take, polls included. Default 5 minutes.
    pub operation_timeout: Duration,
    /// How to crash the broker; without it crashes are not checked.
    pub restart: Option<Restart>,
}

/// How requests are authenticated.
#[derive(Clone)]
pub enum Login {
    /// Not at all: what concerns authentication is skipped.
    None,
    /// HTTP Basic.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl Options {
    /// The defaults, for the broker at this URL.
    pub fn new(url: impl Into<String>, login: Login) -> Self {
        Self {
            url: url.into(),
            login,
            authorities: None,
            insecure_plaintext: false,
            api_version: "2.17".to_owned(),
            service: None,
            plan: None,
            parameters: None,
            failing_parameters: None,
            bind_parameters: None,
            only: BTreeSet::new(),
            skip: BTreeSet::new(),
            timeout: Duration::from_secs(60),
            operation_timeout: Duration::from_secs(300),
            restart: None,
        }
    }

    /// Whether a requirement is asked for.
    pub(crate) fn wants(&self, id: &str) -> bool {
        (self.only.is_empty() || self.only.contains(id)) && !self.skip.contains(id)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// Why a check cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL cannot be used.
    #[error("the URL {0}")]
    Url(&'static str),
    /// The login or the version cannot stand in a header.
    #[error("{0} cannot be sent in a header")]
    Header(&'static str),
    /// The trusted certificates cannot be used.
    #[error("the trusted certificates cannot be used: {0}")]
    Trust(String),
    /// Nothing answers at the URL.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// There is no such requirement.
    #[error("there is no requirement {0:?}")]
    Requirement(String),
}
