//! The HTTP front of a broker: Open Service Broker requests in, calls on the [`Broker`] trait out.
//!
//! [`Server`] is a service over any HTTP body, for hyper, tower or a test that calls it directly. It knows HTTP,
//! authentication, versions and the shape of requests; what a request means is the broker's.
//!
//! In this order, each step answering with a JSON body when it refuses:
//!
//! 1. authentication (401), before anything is said about versions or resources;
//! 2. the version of the API (400, 412);
//! 3. route and method (404, 405), identifiers (400);
//! 4. originating identity, content type, body (400, 408, 413);
//! 5. the broker, in a task of its own for everything that changes something: a client that hangs up only stops waiting.
//!
//! `/healthz`, `/readyz` and `/metrics` are served beside the API, by default without authentication: they name no
//! resource and hold no secret. [`Config`] can close or remove them.
//!
//! Under hyper, a connection is served like this:
//!
//! ```
//! # use std::sync::Arc;
//! # use hyper_util::rt::{TokioExecutor, TokioIo};
//! # use hyper_util::server::conn::auto::Builder;
//! # use hyper_util::service::TowerToHyperService;
//! # use osb_server::{Broker, Config, ConfigError, Platform, Server};
//! fn front<B: Broker>(broker: B) -> Result<Server<B>, ConfigError> {
//!     let config = Config::default().user("cf", "a long password", Platform("cloudfoundry".into()));
//!     Server::new(Arc::new(broker), &config)
//! }
//!
//! async fn connection<B: Broker>(stream: tokio::net::TcpStream, front: Server<B>) {
//!     let service = TowerToHyperService::new(front);
//!     let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
//! }
//! ```

mod auth;
mod body;
mod broker;
mod config;
mod log;
mod logins;
mod metrics;
mod percent;
mod query;
mod respond;
mod route;
mod server;
mod trace;
mod unstoppable;

pub use auth::jwt::{Algorithm, KeySet};
pub use auth::keys::{Fetch, IssuerKeys, Refresh};
pub use broker::{Broker, Caller, Platform, ServedCatalog, Trail};
pub use config::{Access, Config, ConfigError, Prefix};
pub use log::AUDIT;
pub use logins::{
    CertificateName, CertificateRule, ClientCertificate, Issuer, Logins, PlatformOf, Token, User, key_set,
};
pub use respond::ResponseBody;
pub use server::Server;
pub use trace::Trace;
