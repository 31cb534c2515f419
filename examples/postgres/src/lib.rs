//! A broker of PostgreSQL databases: an instance is a database, a binding is a login.
//!
//! See the README beside it for how to run it. The parts:
//!
//! - [`Settings`]: where the server is.
//! - [`Databases`]: the service, five functions.
//! - `server`: one session for each call, which alone works on its instance; `sql`: the statements.
//!
//! Every statement can be repeated after a crash: names are stable, and each thing is made only if it is not there. Two
//! processes never work on one instance: each call holds a lock in the server, ends the sessions of whoever held it
//! before, and is refused when a process with a higher epoch has been there.

mod catalog;
mod parameters;
mod server;
mod service;
pub mod settings;
mod sql;

pub use parameters::{ChangeDatabase, Encoding, Extension, NewDatabase, NewLogin};
pub use service::{Database, Databases, Login};
pub use settings::{Settings, SettingsError};

use osb_sdk::{Broker, Policy};

/// The broker's name among the sessions of the server.
pub(crate) const APPLICATION_NAME: &str = "postgres-broker";

/// The most calls of a plan at one time: half of the sessions that the broker may have.
const PARALLELISM: usize = 8;

/// The broker of the databases on the server of the settings.
pub fn broker(settings: &Settings) -> Broker {
    let offering = catalog::offering(&settings.maintenance_version);
    let broker = Broker::new("postgres").updatable(offering, Databases::new(settings));
    catalog::plan_ids().fold(broker, |broker, plan| {
        broker.policy(
            plan,
            Policy {
                parallelism: PARALLELISM,
                ..Policy::default()
            },
        )
    })
}
