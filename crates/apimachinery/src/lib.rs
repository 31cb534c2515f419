//! The pure rules of the Kubernetes API: Status, selectors, patches, structural schemas, JSONPath, tables.
//!
//! What an API server must know about the Kubernetes API that needs no socket, no store and no clock: this crate has no async
//! code, no I/O and no HTTP types; time and randomness are arguments. Objects are [`json::Value`]s, because what a typed struct
//! does not know it would drop.
//!
//! Nothing here panics on bytes from outside, and every rule has a bounded cost.
//!
//! ```
//! use apimachinery::json;
//! use apimachinery::label_selector::LabelSelector;
//!
//! let selector = LabelSelector::parse("app=db,tier notin (test)").unwrap();
//! let labels = json!({"app": "db"});
//! assert!(selector.matches(labels.as_object().unwrap()));
//! ```

pub mod crd;
pub mod field;
pub mod field_selector;
pub mod fields;
mod go;
pub mod gvk;
pub mod json;
pub mod jsonpath;
pub mod label_selector;
pub mod list;
pub mod managed;
pub mod meta;
pub mod patch;
pub mod rbac;
pub mod request_info;
pub mod schema;
pub mod status;
pub mod table;
pub mod typed;
