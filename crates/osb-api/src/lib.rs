//! The contract of the Open Service Broker API 2.17: wire types, headers, error codes, catalog rules.
//!
//! No I/O, no async, no HTTP library: `osb-server` and `osb-client` are the two edges that carry these types. What the
//! specification does not allow cannot be said with them: an [`answer`] of a route is an enum of exactly the answers
//! that the route has, and knows its status code and its body.
//!
//! ```
//! use osb_api::error::{ProvisionError, Refusal};
//! use osb_api::request::{MissingOrganization, ProvisionRequest};
//!
//! let body = br#"{"service_id": "db", "plan_id": 7}"#;
//! let error = ProvisionRequest::from_json(body, MissingOrganization::Refuse).unwrap_err();
//! assert_eq!(error.to_string(), "`plan_id` has to be a string");
//! assert_eq!(error.status().code(), 400);
//! assert_eq!(ProvisionError::AsyncRequired.body().error.as_deref(), Some("AsyncRequired"));
//! ```

pub mod answer;
pub mod base64;
pub mod catalog;
pub mod context;
pub mod error;
pub mod id;
pub mod identity;
pub mod json;
pub mod request;
pub mod version;

/// A JSON object.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{Object}; }
/// use osb_sdk::Object;
///
/// let labels = Object::from_iter([("team".to_owned(), "blue".into())]);
/// assert_eq!(labels["team"], "blue");
/// ```
pub type Object = serde_json::Map<String, serde_json::Value>;
