//! A Kubernetes API server as a tower service, embedded in a process, on top of an [`objectstore`].
//!
//! It serves discovery, the built-in kinds that a controller needs, and custom resources by their definitions, with
//! the semantics of a real kube-apiserver: what works only here is a defect. It knows nothing of the programs above
//! it. Clients in the same process send requests through [`ApiServer::service_as`] without a socket; a listener puts
//! [`ApiServer::service`] behind TLS.
//!
//! ```
//! use apiserver::{ApiServer, Options, UserInfo};
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::api::{Api, PostParams};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = objectstore::memory::open(Default::default());
//! let server = ApiServer::open(store, Options::default()).await?;
//! let client = kube::Client::new(server.service_as(UserInfo::admin()), "default");
//! let maps: Api<ConfigMap> = Api::default_namespaced(client);
//! let made = maps.create(&PostParams::default(), &serde_json::from_str(r#"{"metadata":{"name":"a"}}"#)?).await?;
//! assert!(made.metadata.uid.is_some());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Left out, each of them whole: OpenAPI documents (`kubectl create` and `apply` need `--validate=false`), role based
//! access (see [`Authorizer`]), garbage collection by owner references, `remainingItemCount`.

mod auth;
mod body;
mod builtin;
mod cleanup;
mod codec;
mod discovery;
mod expiry;
mod failure;
mod filter;
mod health;
mod index;
mod keys;
mod namespaces;
mod negotiate;
mod query;
mod read;
mod registry;
mod render;
mod server;
mod service;
mod table;
mod target;
mod watch;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use objectstore::Store;
use tokio::task::JoinHandle;

pub use auth::{
    ANONYMOUS, AllowMasters, Attributes, Authenticator, Authorizer, BadCredentials, Decision, MASTERS, PeerIdentity,
    Tokens, UserInfo,
};
pub use body::Body;
pub use service::Service;

use failure::Failure;
use server::Server;

/// How a server decides who may do what.
#[derive(Clone)]
pub struct Options {
    /// Tells who sends a request of [`ApiServer::service`]. Default: [`Tokens`] without any, so that only client
    /// certificates make a user.
    pub authenticator: Arc<dyn Authenticator>,
    /// Decides what a user may do. Default: [`AllowMasters`].
    pub authorizer: Arc<dyn Authorizer>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            authenticator: Arc::new(Tokens::default()),
            authorizer: Arc::new(AllowMasters),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// Why a server cannot start: the store does not answer, or holds what this program did not write.
#[derive(Debug, thiserror::Error)]
#[error("the API server cannot start: {0}")]
pub struct OpenError(String);

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> OpenError {
        match failure {
            Failure::Status(status) => OpenError(status.to_string()),
            Failure::NoSuchPath => OpenError("a built-in kind is missing".to_owned()),
        }
    }
}

/// A Kubernetes API server. Clones share it.
#[derive(Clone)]
pub struct ApiServer {
    server: Arc<Server>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Starts a server on a store: makes the first namespaces where they are missing, reads the definitions, and goes
    /// on with deletions that an earlier process has not finished. Must be called inside a tokio runtime, on which
    /// its background tasks then run.
    ///
    /// # Errors
    /// When the store does not answer or cannot be understood.
    pub async fn open(store: Store, options: Options) -> Result<ApiServer, OpenError> {
        let (server, revision) = Server::open(store, options.authenticator, options.authorizer).await?;
        let server = Arc::new(server);
        let follower = server.clone();
        let tasks = vec![
            tokio::spawn(async move {
                let mut closing = follower.closing.subscribe();
                tokio::select! {
                    _ = closing.wait_for(|closing| *closing) => {}
                    () = follower.follow_definitions(revision) => {}
                }
            }),
            tokio::spawn(cleanup::run(server.clone())),
            tokio::spawn(expiry::run(server.clone())),
            tokio::spawn(index::run(server.clone())),
        ];
        Ok(ApiServer {
            server,
            tasks: Arc::new(Mutex::new(tasks)),
        })
    }

    /// A service whose requests are all sent by one user, for clients in this process.
    pub fn service_as(&self, user: UserInfo) -> Service {
        Service::new(self.server.clone(), Some(user))
    }

    /// A service that authenticates each request. A TLS listener hands over the identity of a verified client
    /// certificate as a request extension of type [`PeerIdentity`].
    pub fn service(&self) -> Service {
        Service::new(self.server.clone(), None)
    }

    /// Ends all watches and the background tasks, and waits for these. Other requests are still answered; the store
    /// is left open.
    pub async fn shutdown(&self) {
        self.server.closing.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that panicked has said so itself.
            let _ = task.await;
        }
    }
}
