//! The template service broker: each OpenShift Template of chosen namespaces is a service.
//!
//! A template's parameters are those of the service; what an instance is made of are the template's objects; and what a
//! binding gives is what they expose.
//!
//! [`broker`] makes a broker of the templates in a cluster. A provision writes a `TemplateInstance` with the user in whose name it
//! is made, and a Secret with the parameters; the controller of the crate `template-controller`, or the cluster's own on
//! OpenShift, makes the objects. [`offering`] makes the service of a template, and [`naming`] gives all of them names and ids of
//! their own; [`identity`] decides whom a platform may name. These are pure.

pub mod annotation;
pub mod binding;
mod cluster;
pub mod config;
mod credentials;
pub mod folder;
mod gate;
pub mod identity;
pub mod ids;
pub mod local;
mod manifests;
pub mod naming;
pub mod offering;
pub mod parameters;
pub mod place;
pub mod plans;
mod projection;
mod registry;
mod review;
mod service;
mod shared;
mod start;
mod watching;

pub use identity::{Allowed, Identities, Policy};
pub use manifests::manifests;
pub use offering::{Ids, Key, Mapped};
pub use place::Places;
pub use start::{NAME, Options, StartError, Workloads, broker};
pub use watching::Namespaces;
