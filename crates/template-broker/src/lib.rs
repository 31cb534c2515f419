//! The template service broker: each OpenShift Template of chosen namespaces is a service.
//!
//! A template's parameters are those of the service; what an instance is made of are the template's objects; and what a
//! binding gives is what they expose.
//!
//! [`offering`] makes the service of a template, and [`naming`] gives all of them names and ids of their own. Both are pure.

pub mod annotation;
pub mod ids;
pub mod naming;
pub mod offering;
pub mod parameters;
pub mod plans;

pub use offering::{Ids, Key, Mapped};
