//! What single platforms add to the specification, a file for each.

pub(crate) mod cloud_foundry;
pub(crate) mod korifi;
pub(crate) mod service_catalog;
pub(crate) mod service_manager;
