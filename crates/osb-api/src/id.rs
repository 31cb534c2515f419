//! The identifiers of the API: opaque, case-sensitive strings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest identifier that is served, in bytes; a longer one is refused with 400 (OSB-URL-04).
pub const MAX_ID_BYTES: usize = 1024;

/// The longest `operation`, in characters (OSB-PROV-18).
pub const MAX_OPERATION_CHARS: usize = 10_000;

/// Why a text is no identifier.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{id::*}; }
/// use osb_sdk::{IdError, InstanceId};
///
/// assert_eq!(InstanceId::new(""), Err(IdError::Empty));
/// assert_eq!(InstanceId::new("x".repeat(2_000)), Err(IdError::TooLong));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Identifiers are non-empty strings.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_ID_BYTES`].
    #[error("must not be longer than {MAX_ID_BYTES} bytes")]
    TooLong,
    /// An `operation` of more than [`MAX_OPERATION_CHARS`].
    #[error("must not be longer than {MAX_OPERATION_CHARS} characters")]
    OperationTooLong,
}

/// Identifiers of resources and of the catalog (OSB-URL-04).
fn check_id(text: &str) -> Result<(), IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        1..=MAX_ID_BYTES => Ok(()),
        _ => Err(IdError::TooLong),
    }
}

/// `operation` has a limit of its own, in characters (OSB-PROV-18).
fn check_operation(text: &str) -> Result<(), IdError> {
    match text.chars().take(MAX_OPERATION_CHARS + 1).count() {
        0 => Err(IdError::Empty),
        1..=MAX_OPERATION_CHARS => Ok(()),
        _ => Err(IdError::OperationTooLong),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
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
                $check(&text)?;
                Ok(Self(text.into_boxed_str()))
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

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
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
    ///
    /// ```
    /// # mod osb_sdk { pub use osb_api::{id::*}; }
    /// use osb_sdk::InstanceId;
    ///
    /// let id = InstanceId::new("crn:v1:bluemix:a/4b::")?;
    /// assert_eq!(id.as_str(), "crn:v1:bluemix:a/4b::");
    /// assert!(InstanceId::new("").is_err());
    /// # Ok::<(), osb_sdk::IdError>(())
    /// ```
    InstanceId, check_id
}
id! {
    /// `binding_id`: chosen by the platform, globally unique.
    ///
    /// ```
    /// # mod osb_sdk { pub use osb_api::{id::*}; }
    /// assert_eq!(osb_sdk::BindingId::new("app-1")?.to_string(), "app-1");
    /// # Ok::<(), osb_sdk::IdError>(())
    /// ```
    BindingId, check_id
}
id! {
    /// `service_id`: the id of a service offering in the catalog.
    ///
    /// ```
    /// # mod osb_sdk { pub use osb_api::{id::*}; }
    /// let id: osb_sdk::OfferingId = "1f7ddf0e-6d7c-4b3c-9c0e-2f0b1a5d3b11".parse()?;
    /// assert!(id.as_str().starts_with("1f7d"));
    /// # Ok::<(), osb_sdk::IdError>(())
    /// ```
    OfferingId, check_id
}
id! {
    /// `plan_id`: the id of a plan in the catalog.
    ///
    /// ```
    /// # mod osb_sdk { pub use osb_api::{id::*}; }
    /// use osb_sdk::PlanId;
    ///
    /// const LARGE: &str = "5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a02";
    /// let id = PlanId::new(LARGE)?;
    /// assert_eq!(id.as_str(), LARGE);
    /// # Ok::<(), osb_sdk::IdError>(())
    /// ```
    PlanId, check_id
}
id! {
    /// `operation`: given out with a 202 and sent back with each poll.
    OperationId, check_operation
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OSB-GEN-05, OSB-URL-01.
    #[test]
    fn any_character_is_allowed() {
        for text in [
            "a",
            "/",
            ":",
            "%2F",
            "..",
            " ",
            "\0",
            "\u{1F980}",
            "crn:v1:bluemix:public:x:us-south:a/4b/::",
        ] {
            assert_eq!(InstanceId::new(text).unwrap().as_str(), text);
        }
    }

    /// OSB-URL-04, OSB-PROV-18, OSB-BIND-20, OSB-UNB-09, OSB-DEP-09: bytes for identifiers, characters for operations.
    #[test]
    fn lengths_are_bounded() {
        assert_eq!(PlanId::new(""), Err(IdError::Empty));
        assert!(PlanId::new("x".repeat(MAX_ID_BYTES)).is_ok());
        assert_eq!(PlanId::new("x".repeat(MAX_ID_BYTES + 1)), Err(IdError::TooLong));
        assert!(OperationId::new("é".repeat(MAX_OPERATION_CHARS)).is_ok());
        assert_eq!(
            OperationId::new("é".repeat(MAX_OPERATION_CHARS + 1)),
            Err(IdError::OperationTooLong)
        );
        assert_eq!(OperationId::new(""), Err(IdError::Empty));
    }

    #[test]
    fn serde_keeps_the_limits() {
        assert_eq!(
            serde_json::from_str::<PlanId>("\"p\"").unwrap(),
            PlanId::new("p").unwrap()
        );
        assert!(serde_json::from_str::<PlanId>("\"\"").is_err());
        assert_eq!(
            serde_json::to_string(&PlanId::new("p\"").unwrap()).unwrap(),
            "\"p\\\"\""
        );
    }
}
