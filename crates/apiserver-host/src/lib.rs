//! Puts the API server of the crate [`apiserver`] on a port: listener, TLS, certificates, kubeconfig.
//!
//! [`Server`] is the whole: a folder or memory below, HTTPS above, and a kubeconfig for `kubectl`. A program that has
//! its own order of things takes the parts: [`Socket`], [`Pki`], [`Port`], and below them [`Listener`], which serves
//! any HTTP service.
//!
//! ```
//! use apiserver_host::{Keep, Server, ServerOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let server = Server::start(&ServerOptions {
//!     listen: ([127, 0, 0, 1], 0).into(),
//!     data_dir: folder.path().join("data"),
//!     keep: Keep::OnDisk,
//! })
//! .await?;
//! println!("kubectl --kubeconfig {} api-resources", server.kubeconfig().display());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! It knows nothing of Open Service Broker, and no client of the API.

mod connections;
mod error;
pub mod files;
mod listener;
mod pki;
mod port;
mod refusals;
mod server;
mod tls;

pub use error::{Error, listen_hint};
pub use listener::{Limits, Listener, Serving, Versions, bind, most_connections};
pub use pki::{Pki, secret};
pub use port::{Port, Socket, kubernetes_status, reachable};
pub use refusals::Explain;
pub use server::{Keep, Server, ServerOptions};
pub use tls::{Tls, server_config};
