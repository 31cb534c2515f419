//! The HTTP front of a broker: Open Service Broker requests in, calls on the [`Broker`] trait out.

mod broker;

pub use broker::{Broker, Caller, Platform, ServedCatalog};
