//! What a broker refuses, route by route: each enum holds exactly the failures that the route has.
//!
//! A 4xx says that nothing was created or changed (OSB-ERR-07); a 5xx makes the platform clean up (orphan mitigation).

use serde::{Deserialize, Serialize};

/// The body of an error (OSB-ERR-02 to -05). Always a JSON object with a description.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One camel-case word; the four reserved ones only for their situations (OSB-ERR-06).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// For the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only on failed updates and deprovisions (OSB-ERR-04).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_usable: Option<bool>,
    /// Only on failed updates (OSB-ERR-05).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_repeatable: Option<bool>,
}

/// The reserved error codes and their texts, as the specification has them: clients compare both (OSB-ERR-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Only asynchronous execution is possible and the platform does not accept it.
    AsyncRequired,
    /// Another operation on the same resource is in the way.
    ConcurrencyError,
    /// The bind needs an application.
    RequiresApp,
    /// `maintenance_info.version` is not the one of the catalog.
    MaintenanceInfoConflict,
}

impl Reserved {
    /// `error`.
    pub fn code(self) -> &'static str {
        match self {
            Self::AsyncRequired => "AsyncRequired",
            Self::ConcurrencyError => "ConcurrencyError",
            Self::RequiresApp => "RequiresApp",
            Self::MaintenanceInfoConflict => "MaintenanceInfoConflict",
        }
    }

    /// `description`, word for word.
    pub fn description(self) -> &'static str {
        match self {
            Self::AsyncRequired => "This Service Plan requires client support for asynchronous service operations.",
            Self::ConcurrencyError => "The Service Broker does not support concurrent requests that mutate the same resource.",
            Self::RequiresApp => "This Service supports generation of credentials through binding an application only.",
            Self::MaintenanceInfoConflict => "The maintenance information for the requested Service Plan has changed.",
        }
    }
}

/// The broker cannot answer as it should: it is the broker's fault or a passing state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// 500: the operation was tried and failed; the platform is to clean up. The text is for the user.
    #[error("{0}")]
    Failed(String),
    /// 503: the broker cannot work now, for instance because its store takes no writes; nothing was changed by this
    /// request as far as is known.
    #[error("{0}")]
    Unavailable(String),
    /// 429: too much is going on; nothing was changed.
    #[error("too many operations are pending")]
    TooMany {
        /// `Retry-After`, in seconds.
        retry_after_secs: u32,
    },
}

/// Why a provision was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// 400 (OSB-PROV-09).
    #[error("{0}")]
    Invalid(String),
    /// 409: the id exists with other attributes (OSB-PROV-15).
    #[error("{0}")]
    Conflict(String),
    /// 422 (OSB-PROV-11).
    #[error("only asynchronous provisioning is possible")]
    AsyncRequired,
    /// 422: the instance is being deprovisioned (Amb-23).
    #[error("another operation is in progress")]
    Concurrency,
    /// 422 (OSB-PROV-12).
    #[error("the maintenance version differs from the catalog's")]
    MaintenanceInfoConflict,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a deprovision was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeprovisionError {
    /// 400 (OSB-DEP-10).
    #[error("{0}")]
    Invalid(String),
    /// 410 (OSB-DEP-05).
    #[error("the instance does not exist")]
    Gone,
    /// 422 (OSB-DEP-06).
    #[error("only asynchronous deprovisioning is possible")]
    AsyncRequired,
    /// 422 (OSB-DEP-07).
    #[error("another operation is in progress")]
    Concurrency,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a bind was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// 400 (OSB-BIND-14).
    #[error("{0}")]
    Invalid(String),
    /// 404: no such instance (Amb-13).
    #[error("the instance does not exist")]
    NoInstance,
    /// 409 (OSB-BIND-13).
    #[error("{0}")]
    Conflict(String),
    /// 422 (OSB-BIND-16).
    #[error("only asynchronous binding is possible")]
    AsyncRequired,
    /// 422 (OSB-BIND-17).
    #[error("another operation is in progress")]
    Concurrency,
    /// 422 (OSB-BIND-15).
    #[error("an application is needed")]
    RequiresApp,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an unbind was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnbindError {
    /// 400 (OSB-UNB-10).
    #[error("{0}")]
    Invalid(String),
    /// 410 (OSB-UNB-05).
    #[error("the binding does not exist")]
    Gone,
    /// 422 (OSB-UNB-06).
    #[error("only asynchronous unbinding is possible")]
    AsyncRequired,
    /// 422 (OSB-UNB-07).
    #[error("another operation is in progress")]
    Concurrency,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a poll has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// 400: an operation that was never given out (OSB-LOI-05).
    #[error("{0}")]
    Invalid(String),
    /// 404: never there (OSB-LOI-06).
    #[error("it does not exist")]
    NotFound,
    /// 410: it was there and is gone; only after a removal (OSB-LOI-07).
    #[error("it is gone")]
    Gone,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}
