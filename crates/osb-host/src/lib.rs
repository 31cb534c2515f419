//! Makes a process of a broker: flags, the home of its state, listeners, TLS, drain.
//!
//! [`run`] is the whole `main` of a broker; [`Host`] is the same inside a larger program or a test. A broker keeps
//! everything in one [`DataDir`], where clients on the same machine also find its address and their login.
//!
//! The home is `embedded`: the Kubernetes API that the engine talks to is served by this process itself, from the data
//! folder, and over HTTPS for `kubectl`.

mod access;
mod auth_file;
mod bare;
mod catalog;
mod client_certificate;
mod credentials;
mod data_dir;
mod error;
mod fetch;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod home;
mod host;
mod keys;
mod log;
mod manifests;
mod options;
mod run;
mod test_broker;
mod tls;

pub use bare::{BareHome, key_bytes_in, keys_in, note_keys, sealing_keys};
pub use credentials::{Credentials, DEFAULT_PLATFORM};
pub use data_dir::{DataDir, DataDirOption, Login, ServerInfo};
pub use error::{HostError, explain};
pub use home::{EtcdOptions, HomeKind, HomeOptions};
pub use host::Host;
pub use log::start_log;
pub use manifests::{manifests, manifests_yaml};
pub use options::{HostOptions, LogFormat};
pub use run::{run, serve, serve_with};
pub use test_broker::{Reply, TestBroker, TestService};
