//! The controller of OpenShift's TemplateInstances.
//!
//! A `TemplateInstance` carries a whole template, the name of a Secret with values of its parameters, and whoever asked for it.
//! The controller makes the objects of the template with that user's rights, says in conditions when they are ready, and removes
//! them with the instance.
//!
//! [`resources`] has the types of the group `template.openshift.io/v1`, [`install()`] makes them known to a cluster that does not
//! serve them. There is nothing of Open Service Broker here: whoever offers templates as services writes `TemplateInstance`s and
//! Secrets, and watches conditions.

mod access;
mod api;
mod blot;
mod controller;
mod discovery;
mod events;
pub mod follow;
pub mod install;
mod metrics;
pub mod names;
mod objects;
mod plan;
pub mod preview;
pub mod proof;
pub mod queue;
mod ready;
mod requester;
pub mod resources;
mod run;
mod status;
mod values;
mod watches;

pub use api::segment;
pub use controller::{Controller, Options, RunError};
pub use install::{InstallError, Served, definitions, install, roles};
pub use metrics::Metrics;
pub use plan::CrossNamespace;
pub use proof::{Admission, Proof, policy};
pub use requester::ServiceAccounts;
