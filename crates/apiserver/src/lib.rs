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
//! Left out, each of them whole: OpenAPI v2 (404; v3 is served), rules in CEL (a definition with them is refused) and
//! calls of webhooks (stored with a Warning).

mod admission;
mod audit;
mod auth;
mod body;
mod builtin;
mod cleanup;
mod codec;
mod discovery;
mod expiry;
mod failure;
mod filter;
mod finish;
mod gc;
mod health;
mod index;
mod keys;
mod limits;
mod measured;
mod metrics;
mod namespaces;
mod negotiate;
mod observe;
mod openapi;
mod query;
mod read;
mod registry;
mod render;
mod reviews;
mod server;
mod service;
mod shared;
mod start;
mod table;
mod target;
mod watch;
mod workqueues;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use objectstore::Store;
use tokio::task::JoinHandle;

pub use admission::{AdmissionRequest, Mutate, Operation, Refusal, Validate, Warnings};
pub use apimachinery::rbac::Rule;
pub use apimachinery::status::Status;
pub use audit::{AuditEvent, AuditFile, AuditSink, AuditUser, ObjectReference, PeerAddress, ResponseStatus, Stage};
pub use auth::tokens::ServiceAccounts;
pub use auth::{
    ANONYMOUS, AllowMasters, AlwaysAllow, Attributes, Authenticator, Authorization, Authorizer, BadCredentials,
    Decision, HeldRules, MASTERS, PeerIdentity, Tokens, UserInfo,
};
pub use body::Body;
pub use limits::Limits;
pub use service::Service;
pub use start::StartObjects;

use failure::Failure;
pub use server::Controller;
use server::{Seen, Server};

/// How a server decides who may do what.
#[derive(Clone)]
pub struct Options {
    /// Tells who sends a request of [`ApiServer::service`]. Default: [`Tokens`] without any, so that only client
    /// certificates make a user.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether requests without credentials are let in, as `system:anonymous`; else they are answered with 401. Default: yes.
    pub anonymous: bool,
    /// How tokens of service accounts are issued.
    pub service_accounts: ServiceAccounts,
    /// Decides what a user may do. Default: [`Authorization::Masters`].
    pub authorization: Authorization,
    /// How many requests are worked on at once, and for how long.
    pub limits: Limits,
    /// Takes an event for each request. Default: nobody.
    pub audit: Option<Arc<dyn AuditSink>>,
    /// Whether requests are counted, and `/metrics` is served. Default: no.
    pub metrics: bool,
    /// What the server makes by itself when it starts. Default: nothing but the first namespaces.
    pub start: StartObjects,
    /// Hooks that may change what is written, in the order in which they are called. Default: none.
    pub mutating: Vec<Arc<dyn Mutate>>,
    /// Hooks that may refuse a write, called after those that change it. Default: none.
    pub validating: Vec<Arc<dyn Validate>>,
    /// Who deletes what has lost its owners. Default: this server. All servers on one store must have the same.
    pub garbage_collector: Controller,
    /// Who deletes the content of namespaces under deletion. Default: this server. All servers on one store must have
    /// the same.
    pub namespace_controller: Controller,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            authenticator: Arc::new(Tokens::default()),
            anonymous: true,
            service_accounts: ServiceAccounts::default(),
            authorization: Authorization::default(),
            limits: Limits::default(),
            audit: None,
            metrics: false,
            start: StartObjects::default(),
            mutating: Vec::new(),
            validating: Vec::new(),
            garbage_collector: Controller::Embedded,
            namespace_controller: Controller::Embedded,
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
        let (server, seen) = Server::open(store, &options).await?;
        let server = Arc::new(server);
        if server.garbage_collector == Controller::External {
            gc::switched_off(&server).await?;
        }
        let tasks = background(&server, seen, options.start);
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

    /// As [`shutdown`](Self::shutdown), without waiting: for where nothing can be awaited.
    pub fn close(&self) {
        self.server.closing.send_replace(true);
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

/// What a server does beside its requests.
fn background(server: &Arc<Server>, seen: Seen, start: StartObjects) -> Vec<JoinHandle<()>> {
    let follower = server.clone();
    let mut tasks = vec![
        until_closed(
            server,
            async move { follower.follow_definitions(seen.definitions).await },
        ),
        tokio::spawn(cleanup::run(server.clone())),
        tokio::spawn(expiry::run(server.clone())),
        tokio::spawn(index::run(server.clone())),
    ];
    if server.garbage_collector == Controller::Embedded {
        tasks.push(tokio::spawn(gc::run(server.clone())));
    }
    let keeper = server.clone();
    tasks.push(until_closed(server, async move {
        start::keep_accounts(&keeper, &start).await
    }));
    if let Some(rbac) = server.access.rbac.clone() {
        let (follower, followed) = (server.clone(), rbac.clone());
        tasks.push(until_closed(server, async move {
            auth::follow::follow(&follower, &followed, seen.roles).await;
        }));
        let gatherer = server.clone();
        tasks.push(until_closed(server, async move {
            auth::follow::aggregate(&gatherer, &rbac).await
        }));
    }
    tasks
}

/// Runs a task until it ends or the server closes.
fn until_closed(server: &Arc<Server>, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let mut closing = server.closing.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = task => {}
        }
    })
}
