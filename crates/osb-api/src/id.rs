//! The identifiers of the API: opaque, case-sensitive strings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest identifier that is served, in bytes; a longer one is refused with 400 (OSB-URL-04).
pub const MAX_ID_BYTES: usize = 1024;

/// The longest `operation`, in characters (OSB-PROV-18).
pub const MAX_OPERATION_CHARS: usize = 10_000;

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Identifiers are non-empty strings.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_ID_BYTES`].
    #[error("must not be longer than {MAX_ID_BYTES} bytes")]
    TooLong,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes the text as it is: identifiers are opaque, any character is allowed (OSB-GEN-05, OSB-URL-01).
            ///
            /// # Errors
            /// [`IdError`] when it is empty or too long.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                match text.len() {
                    0 => Err(IdError::Empty),
                    n if n > MAX_ID_BYTES => Err(IdError::TooLong),
                    _ => Ok(Self(text.into_boxed_str())),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into_string()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// `instance_id`: chosen by the platform, globally unique.
    InstanceId
}
id! {
    /// `binding_id`: chosen by the platform, globally unique.
    BindingId
}
id! {
    /// `service_id`: the id of a service offering in the catalog.
    OfferingId
}
id! {
    /// `plan_id`: the id of a plan in the catalog.
    PlanId
}
id! {
    /// `operation`: given out with a 202 and sent back with each poll.
    OperationId
}
