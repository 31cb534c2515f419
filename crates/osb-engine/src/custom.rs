//! What an author adds to the resources of the broker: fields of his own on each `ServiceInstance`, and kinds of his
//! own beside it.
//!
//! Both are types of Rust. Their JSON schemas become structural schemas ([`structural`]), which stand in the
//! definitions that the home gets when the broker starts ([`definitions`]).

mod column;
mod controller;
pub(crate) mod definitions;
mod fields;
mod follow;
mod kind;
mod resources;
pub(crate) mod structural;
mod work;

pub use column::Column;
pub use controller::{Controller, Next, Reconcile};
pub(crate) use controller::{ErasedController, run};
pub use fields::{Fields, MAX_FIELDS_BYTES};
pub(crate) use fields::{FieldsType, together};
pub use kind::{Custom, CustomKind, NoStatus, ResourceError, Scope};
pub(crate) use kind::{KindType, Kinds};
pub use resources::{Resources, Watched};
