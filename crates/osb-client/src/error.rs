//! What can go wrong with a call.

use std::time::Duration;

use osb_api::error::{ErrorBody, Reserved};

/// Why a call has no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used, or an identifier makes it too long.
    #[error("the URL {0}")]
    Url(&'static str),
    /// User name, password or identity cannot stand in a header.
    #[error("{0} cannot be sent in a header")]
    Header(&'static str),
    /// The trusted certificates cannot be used.
    #[error("the trusted certificates cannot be used: {0}")]
    Trust(String),
    /// The broker was not reached, or the connection broke: what became of the call is not known.
    #[error("the broker cannot be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time: what became of the call is not known.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The broker has refused.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// The answer is none that the route has.
    #[error("the answer (status {status}) is malformed: {what}")]
    Malformed {
        /// The status code.
        status: u16,
        /// What is wrong, without any of the body.
        what: String,
    },
}

impl Error {
    /// What the broker has refused.
    pub fn refused(&self) -> Option<&Refused> {
        if let Self::Refused(refused) = self {
            Some(refused)
        } else {
            None
        }
    }

    /// Whether there was no connection: the broker has seen nothing of the call.
    pub fn is_unreached(&self) -> bool {
        let Self::Transport(error) = self else { return false };
        let error = error.downcast_ref::<hyper_util::client::legacy::Error>();
        error.is_some_and(hyper_util::client::legacy::Error::is_connect)
    }

    /// The status code of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            Self::Malformed { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A refusal of the broker: any status of 400 or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status code.
    pub status: u16,
    /// What the broker says of it; empty if its body is no error object.
    pub body: ErrorBody,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// Whether it is this reserved error: 422 and the code; the text is for people.
    pub fn is(&self, reserved: Reserved) -> bool {
        self.status == 422 && self.body.error.as_deref() == Some(reserved.code())
    }

    /// Whether the same call may succeed a little later: 429, and what servers say when they cannot work now.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the broker answers {}", self.status)?;
        if let Some(error) = &self.body.error {
            write!(f, " {error}")?;
        }
        match &self.body.description {
            Some(description) => write!(f, ": {description}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}
