//! Why a request is refused, as the answer says it.

use apimachinery::status::{Details, Reason, Status};
use objectstore::Error;

use crate::codec::Damaged;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With a `Status`.
    Status(Box<Status>),
    /// No such path, group or version: 404 with a plain text, which clients take as "this version is not served".
    NoSuchPath,
}

impl Failure {
    /// The reason that an answer gives, such as `Forbidden`; may be empty.
    pub(crate) fn reason(&self) -> String {
        match self {
            Failure::Status(status) if status.reason != Reason::Unknown => format!("{:?}", status.reason),
            Failure::Status(_) | Failure::NoSuchPath => String::new(),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Status(Box::new(status))
    }
}

impl From<Damaged> for Failure {
    fn from(damaged: Damaged) -> Failure {
        tracing::error!("{damaged}");
        Status::internal(&damaged.to_string()).into()
    }
}

/// 503, and when to try again.
fn passing(message: &str) -> Status {
    Status::unavailable(message).with_details(Details {
        retry_after_seconds: 1,
        ..Details::default()
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Compacted { .. } => Status::expired_list(None),
            Error::Future { requested, current } => Status::too_large_resource_version(requested.0, current.0),
            Error::Unavailable(_) => passing("the store does not answer or takes no writes now"),
            // Not 503, which says that nothing was done.
            Error::Unknown(_) => Status::failure(
                Reason::InternalError,
                "the store has not said whether the request was carried out",
            ),
            Error::Closed => Status::unavailable("the server is shutting down"),
            Error::Lagged => Status::unavailable("the watch did not keep up"),
            Error::Invalid(_) | Error::Damaged(_) => {
                tracing::error!("store: {error}");
                Status::failure(Reason::InternalError, "the store could not carry out the request")
            }
        }
        .into()
    }
}
