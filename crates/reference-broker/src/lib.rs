//! A broker to test platforms with: it does on purpose what brokers do, and fails on demand.
//!
//! It has no backend. What it sells is the behaviour itself: the plan says how it answers and what its bindings carry,
//! the parameters how long each thing takes and what fails. The README beside it lists plans and parameters.
//!
//! Each optional member of a catalog of Open Service Broker 2.17 occurs in its catalog; with [`Options::combinations`]
//! there is also a plan for each combination of what a plan can be.
//!
//! ```
//! let broker = reference_broker::broker();
//! assert_eq!(broker.name(), "reference");
//! ```

mod catalog;
mod combinations;
mod order;
mod service;
mod sized;
mod work;

pub use catalog::{
    APP_ONLY, ASYNC, ASYNC_BINDINGS, ASYNC_ROTATING, DASHBOARD, DASHBOARD_OTHER, DASHBOARD_PLAN, FAST, FIXED, LOGS,
    LOGS_PLAN, MAINTAINED, MODEST, MODEST_BINDABLE, MODEST_PLAIN, NARROW, OFFERING, PAID, ROTATING, ROUTES,
    ROUTES_PLAN, SHORT, UNBINDABLE, VOLUMES, VOLUMES_PLAN,
};
pub use order::{BindingOrder, Changes, FailAt, Order};
pub use service::{Gives, Instance, Login, Reference};
pub use sized::SIZED;

use osb_sdk::Broker;

/// What can be chosen when the broker is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The version in the `maintenance_info` of the plans that have one, a semantic version. Started again with a
    /// newer one, the broker has instances to upgrade. Default `2.0.0`.
    pub maintenance_version: String,
    /// Whether there are two more offerings, with a plan for each combination of what a plan can be. Default no: the
    /// catalog is ten times as large with them.
    pub combinations: bool,
    /// So many plans in one offering instead of all others, at most [`u16::MAX`]: to see how a platform takes a catalog
    /// of that size. Each plan has all schemas, which are about 4 kB. Default: the others.
    pub plans: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            maintenance_version: "2.0.0".to_owned(),
            combinations: false,
            plans: None,
        }
    }
}

impl Options {
    /// The broker, ready to be run. A version that is none is told when it starts.
    pub fn broker(&self) -> Broker {
        if let Some(plans) = self.plans {
            return sized::add_to(Broker::new("reference"), plans);
        }
        let broker = catalog::add_to(Broker::new("reference"), &self.maintenance_version);
        if self.combinations {
            combinations::add_to(broker, &self.maintenance_version)
        } else {
            broker
        }
    }
}

/// The broker with the default [`Options`].
pub fn broker() -> Broker {
    Options::default().broker()
}
