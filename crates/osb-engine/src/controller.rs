//! The controller: carries operations out.
//!
//! An operation comes here from the request that accepted it, from the watch when somebody else wrote, and from the
//! look for work at the start. Each is done in the lane of its instance.

mod admin;
mod bindings;
mod call;
mod instances;
mod orphans;
mod outcome;
mod ready;
mod run;
mod updates;
mod watch;

pub use orphans::{Orphan, OrphanError};
pub(crate) use run::work_lane;
pub(crate) use watch::{look_in, start};
