use std::fmt;

/// Why there is no part.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The programs of the part are not on this machine: a test may skip.
    Missing {
        /// Name of the part.
        part: &'static str,
        /// What was looked for.
        why: String,
        /// What to type to get it.
        hint: &'static str,
    },
    /// The part is there but does not work: a failure everywhere.
    Start {
        /// Name of the part.
        part: &'static str,
        /// What happened, with the end of the part's log where there is one.
        detail: String,
    },
}

impl Error {
    pub(crate) fn missing(part: &'static str, why: impl Into<String>, hint: &'static str) -> Self {
        Self::Missing {
            part,
            why: why.into(),
            hint,
        }
    }

    pub(crate) fn start(part: &'static str, detail: impl fmt::Display) -> Self {
        Self::Start {
            part,
            detail: detail.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { part, why, hint } => write!(f, "{part} is missing: {why}; {hint}"),
            Self::Start { part, detail } => write!(f, "{part} did not start: {detail}"),
        }
    }
}

impl std::error::Error for Error {}
