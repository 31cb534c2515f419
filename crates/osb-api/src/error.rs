//! What a broker refuses, route by route: each enum holds exactly the failures that the route has.
//!
//! A 4xx says that nothing was created or changed (OSB-ERR-07); a 5xx makes the platform clean up (orphan mitigation).
//! [`Refusal`] turns each of them into a status code and a body, by one exhaustive `match` per enum.

use serde::{Deserialize, Serialize};

use crate::json::BodyError;
use crate::version::VersionError;

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

impl ErrorBody {
    /// A body with a description only. An empty text becomes a general one: descriptions are never empty (OSB-ERR-03).
    pub fn described(description: impl Into<String>) -> Self {
        let description = description.into();
        let description = if description.is_empty() {
            "the request failed".to_owned()
        } else {
            description
        };
        Self {
            description: Some(description),
            ..Self::default()
        }
    }
}

/// The status of a refusal: a type that has no success in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorStatus {
    /// Malformed or invalid.
    BadRequest = 400,
    /// Not for this user.
    Forbidden = 403,
    /// Not there.
    NotFound = 404,
    /// There, with other attributes.
    Conflict = 409,
    /// Not there any more.
    Gone = 410,
    /// A version of the API that is not served.
    PreconditionFailed = 412,
    /// One of the reserved codes, or not supported.
    Unprocessable = 422,
    /// Too much is going on.
    TooMany = 429,
    /// Tried and failed.
    Internal = 500,
    /// Cannot be tried now.
    Unavailable = 503,
}

impl ErrorStatus {
    /// The number.
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// A failure that can be answered.
pub trait Refusal {
    /// The status code.
    fn status(&self) -> ErrorStatus;
    /// The body: a JSON object with a description (OSB-ERR-09).
    fn body(&self) -> ErrorBody;
    /// `Retry-After`, in seconds.
    fn retry_after_secs(&self) -> Option<u32> {
        None
    }
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
    ///
    /// The client library of Kubernetes' Service Catalog recognises the first three only by code *and* text, compared
    /// byte by byte (constants `AsyncErrorDescription`, `ConcurrencyErrorDescription`,
    /// `AppGUIDRequiredErrorDescription` of go-open-service-broker-client v2). Its `service plan` and `service` are in
    /// lower case where today's specification writes `Service Plan`; the specification offers its text as an example
    /// only, so the constants win. The last one is the specification's table of error codes.
    pub fn description(self) -> &'static str {
        match self {
            Self::AsyncRequired => "This service plan requires client support for asynchronous service operations.",
            Self::ConcurrencyError => {
                "The Service Broker does not support concurrent requests that mutate the same resource."
            }
            Self::RequiresApp => "This service supports generation of credentials through binding an application only.",
            Self::MaintenanceInfoConflict => {
                "The maintenance_info.version field provided in the request does not match the \
                 maintenance_info.version field provided in the Service Broker's Catalog."
            }
        }
    }

    fn body(self) -> ErrorBody {
        ErrorBody {
            error: Some(self.code().to_owned()),
            description: Some(self.description().to_owned()),
            ..ErrorBody::default()
        }
    }
}

/// After how many seconds a platform may try again when the broker cannot work: a full disk and another replica's
/// take-over last that long at least.
const UNAVAILABLE_RETRY_SECS: u32 = 5;

/// What any request may be told: the broker cannot answer as it should, which is its own fault or a passing state; or
/// it is not to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// 500: the operation was tried and failed; the platform is to clean up. The text is for the user.
    #[error("{0}")]
    Failed(String),
    /// 503 with `Retry-After`: the broker cannot work now, for instance because its store takes no writes; nothing was
    /// changed by this request as far as is known.
    #[error("{0}")]
    Unavailable(String),
    /// 403: whoever asks may not do that; nothing was changed. The text is for the user.
    #[error("{0}")]
    Forbidden(String),
    /// 422 without a code: what there is does not allow it now; nothing was changed. The text is for the user.
    #[error("{0}")]
    Unready(String),
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

/// Why an update was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// 400 (OSB-UPD-12).
    #[error("{0}")]
    Invalid(String),
    /// 404: no such instance (OSB-UPD-17, Amb-13).
    #[error("the instance does not exist")]
    NoInstance,
    /// 422: the change is not offered, or the instance's state does not allow it (OSB-UPD-13, -18, Amb-25).
    #[error("{description}")]
    NotSupported {
        /// What cannot be done, for the user.
        description: String,
        /// Whether the same update may succeed later; `None` leaves it unsaid (OSB-UPD-21).
        update_repeatable: Option<bool>,
    },
    /// 500: it was tried and failed; the instance is as it was before.
    #[error("{description}")]
    Failed {
        /// For the user.
        description: String,
        /// Whether the instance can still be used; `None` leaves it unsaid (OSB-UPD-21).
        instance_usable: Option<bool>,
        /// Whether the same update may succeed later; `None` leaves it unsaid (OSB-UPD-21).
        update_repeatable: Option<bool>,
    },
    /// 422 (OSB-UPD-15).
    #[error("only asynchronous updating is possible")]
    AsyncRequired,
    /// 422 (OSB-UPD-16).
    #[error("another operation is in progress")]
    Concurrency,
    /// 422 (OSB-UPD-14).
    #[error("the maintenance version differs from the catalog's")]
    MaintenanceInfoConflict,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an instance or a binding was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// 400: a hint that contradicts what is stored (Amb-28).
    #[error("{0}")]
    Invalid(String),
    /// 404: not there, still being created, or not retrievable (OSB-GETI-04, -09, OSB-GETB-02).
    #[error("it does not exist or cannot be fetched")]
    NotFound,
    /// 422: an update is running and stands in the way (OSB-GETI-05).
    #[error("another operation is in progress")]
    Concurrency,
    /// 5xx or 429.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn described(error: &impl std::fmt::Display) -> ErrorBody {
    ErrorBody::described(error.to_string())
}

impl Refusal for Fault {
    fn status(&self) -> ErrorStatus {
        match self {
            Self::Failed(_) => ErrorStatus::Internal,
            Self::Unavailable(_) => ErrorStatus::Unavailable,
            Self::Forbidden(_) => ErrorStatus::Forbidden,
            Self::Unready(_) => ErrorStatus::Unprocessable,
            Self::TooMany { .. } => ErrorStatus::TooMany,
        }
    }

    fn body(&self) -> ErrorBody {
        described(self)
    }

    fn retry_after_secs(&self) -> Option<u32> {
        match self {
            Self::TooMany { retry_after_secs } => Some(*retry_after_secs),
            Self::Unavailable(_) => Some(UNAVAILABLE_RETRY_SECS),
            Self::Failed(_) | Self::Forbidden(_) | Self::Unready(_) => None,
        }
    }
}

impl Refusal for BodyError {
    fn status(&self) -> ErrorStatus {
        ErrorStatus::BadRequest
    }

    fn body(&self) -> ErrorBody {
        described(self)
    }
}

impl Refusal for VersionError {
    fn status(&self) -> ErrorStatus {
        match self {
            Self::Missing | Self::Malformed => ErrorStatus::BadRequest,
            Self::Unsupported => ErrorStatus::PreconditionFailed,
        }
    }

    fn body(&self) -> ErrorBody {
        described(self)
    }
}

/// Each variant of an error with its status, or with the reserved code that brings both status and body. Without a
/// catch-all arm: a new variant does not compile until it has its line.
macro_rules! refusal {
    ($type:ident { $($variant:pat => $kind:ident $value:ident),+ $(,)? }) => {
        impl Refusal for $type {
            fn status(&self) -> ErrorStatus {
                match self {
                    Self::Fault(fault) => fault.status(),
                    $($variant => refusal!(@status $kind $value),)+
                }
            }

            fn body(&self) -> ErrorBody {
                match self {
                    Self::Fault(fault) => fault.body(),
                    $($variant => refusal!(@body self $kind $value),)+
                }
            }

            fn retry_after_secs(&self) -> Option<u32> {
                if let Self::Fault(fault) = self { fault.retry_after_secs() } else { None }
            }
        }
    };
    (@status status $status:ident) => { ErrorStatus::$status };
    (@status reserved $reserved:ident) => { ErrorStatus::Unprocessable };
    (@body $self:ident status $status:ident) => { described($self) };
    (@body $self:ident reserved $reserved:ident) => { Reserved::$reserved.body() };
}

refusal!(ProvisionError {
    Self::Invalid(_) => status BadRequest,
    Self::Conflict(_) => status Conflict,
    Self::AsyncRequired => reserved AsyncRequired,
    Self::Concurrency => reserved ConcurrencyError,
    Self::MaintenanceInfoConflict => reserved MaintenanceInfoConflict,
});

refusal!(DeprovisionError {
    Self::Invalid(_) => status BadRequest,
    Self::Gone => status Gone,
    Self::AsyncRequired => reserved AsyncRequired,
    Self::Concurrency => reserved ConcurrencyError,
});

refusal!(BindError {
    Self::Invalid(_) => status BadRequest,
    Self::NoInstance => status NotFound,
    Self::Conflict(_) => status Conflict,
    Self::AsyncRequired => reserved AsyncRequired,
    Self::Concurrency => reserved ConcurrencyError,
    Self::RequiresApp => reserved RequiresApp,
});

refusal!(UnbindError {
    Self::Invalid(_) => status BadRequest,
    Self::Gone => status Gone,
    Self::AsyncRequired => reserved AsyncRequired,
    Self::Concurrency => reserved ConcurrencyError,
});

refusal!(PollError {
    Self::Invalid(_) => status BadRequest,
    Self::NotFound => status NotFound,
    Self::Gone => status Gone,
});

refusal!(FetchError {
    Self::Invalid(_) => status BadRequest,
    Self::NotFound => status NotFound,
    Self::Concurrency => reserved ConcurrencyError,
});

impl Refusal for UpdateError {
    fn status(&self) -> ErrorStatus {
        match self {
            Self::Invalid(_) => ErrorStatus::BadRequest,
            Self::NoInstance => ErrorStatus::NotFound,
            Self::NotSupported { .. } | Self::AsyncRequired | Self::Concurrency | Self::MaintenanceInfoConflict => {
                ErrorStatus::Unprocessable
            }
            Self::Failed { .. } => ErrorStatus::Internal,
            Self::Fault(fault) => fault.status(),
        }
    }

    fn body(&self) -> ErrorBody {
        match self {
            Self::Invalid(_) | Self::NoInstance => described(self),
            Self::Failed {
                instance_usable,
                update_repeatable,
                ..
            } => ErrorBody {
                instance_usable: *instance_usable,
                update_repeatable: *update_repeatable,
                ..described(self)
            },
            Self::NotSupported { update_repeatable, .. } => ErrorBody {
                update_repeatable: *update_repeatable,
                ..described(self)
            },
            Self::AsyncRequired => Reserved::AsyncRequired.body(),
            Self::Concurrency => Reserved::ConcurrencyError.body(),
            Self::MaintenanceInfoConflict => Reserved::MaintenanceInfoConflict.body(),
            Self::Fault(fault) => fault.body(),
        }
    }

    fn retry_after_secs(&self) -> Option<u32> {
        if let Self::Fault(fault) = self {
            fault.retry_after_secs()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(refusal: &dyn Refusal, status: u16, error: Option<&str>) {
        let body = refusal.body();
        assert_eq!((refusal.status().code(), body.error.as_deref()), (status, error));
        assert!(
            body.description.is_some_and(|text| !text.is_empty()),
            "OSB-ERR-03, OSB-ERR-09"
        );
        assert_eq!(body.instance_usable, None, "OSB-ERR-04");
    }

    /// OSB-ERR-01, OSB-ERR-04, OSB-ORP-03, OSB-UPD-17 and the status tables of the routes.
    #[test]
    fn each_failure_has_the_code_of_the_specification() {
        let text = String::new;
        check(&ProvisionError::Invalid(text()), 400, None);
        check(&ProvisionError::Conflict(text()), 409, None);
        check(&ProvisionError::AsyncRequired, 422, Some("AsyncRequired"));
        check(&ProvisionError::Concurrency, 422, Some("ConcurrencyError"));
        check(
            &ProvisionError::MaintenanceInfoConflict,
            422,
            Some("MaintenanceInfoConflict"),
        );
        check(&ProvisionError::Fault(Fault::Failed(text())), 500, None);
        check(&DeprovisionError::Gone, 410, None);
        check(&DeprovisionError::Fault(Fault::Unavailable(text())), 503, None);
        check(&BindError::Fault(Fault::Unready(text())), 422, None);
        check(&BindError::NoInstance, 404, None);
        check(&BindError::RequiresApp, 422, Some("RequiresApp"));
        check(&UnbindError::Gone, 410, None);
        check(&PollError::NotFound, 404, None);
        check(&PollError::Gone, 410, None);
        check(&FetchError::NotFound, 404, None);
        check(&UpdateError::NoInstance, 404, None);
        check(
            &UpdateError::NotSupported {
                description: text(),
                update_repeatable: Some(false),
            },
            422,
            None,
        );
        check(&VersionError::Missing, 400, None);
        check(&VersionError::Malformed, 400, None);
        check(&VersionError::Unsupported, 412, None);
        check(&BodyError::NoObject, 400, None);
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        let too_many = BindError::from(Fault::TooMany { retry_after_secs: 3 });
        assert_eq!((too_many.status().code(), too_many.retry_after_secs()), (429, Some(3)));
        let unavailable = PollError::from(Fault::Unavailable(String::new()));
        assert_eq!(
            (unavailable.status().code(), unavailable.retry_after_secs()),
            (503, Some(UNAVAILABLE_RETRY_SECS))
        );
        assert_eq!(BindError::Concurrency.retry_after_secs(), None);
        assert_eq!(Fault::Failed(String::new()).retry_after_secs(), None);
    }

    /// OSB-ERR-06: the texts that Service Catalog's client compares.
    #[test]
    fn the_reserved_texts_are_those_that_clients_compare() {
        let texts = [
            Reserved::AsyncRequired,
            Reserved::RequiresApp,
            Reserved::ConcurrencyError,
        ]
        .map(Reserved::description);
        assert_eq!(
            texts,
            [
                "This service plan requires client support for asynchronous service operations.",
                "This service supports generation of credentials through binding an application only.",
                "The Service Broker does not support concurrent requests that mutate the same resource.",
            ]
        );
    }

    /// OSB-UPD-21.
    #[test]
    fn a_refused_update_says_whether_it_may_be_repeated() {
        let error = UpdateError::NotSupported {
            description: "no".to_owned(),
            update_repeatable: Some(false),
        };
        assert_eq!(
            serde_json::to_string(&error.body()).unwrap(),
            r#"{"description":"no","update_repeatable":false}"#
        );
    }
}
