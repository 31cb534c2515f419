//! The home `embedded`: store and API server in this process.

use apiserver::{ApiServer, MASTERS, Tokens, UserInfo};
use objectstore::{Store, embedded};
use osb_engine::Home;

use crate::data_dir::DataDir;
use crate::error::HostError;

/// The Kubernetes API on the data folder.
pub(crate) struct Embedded {
    store: Store,
    api: ApiServer,
}

impl Embedded {
    /// Opens the store; from then on no other process can.
    pub(crate) fn open_store(folder: &DataDir) -> Result<Store, HostError> {
        Ok(embedded::open(folder.store(), embedded::Options::default())?)
    }

    /// Starts the API server. Whoever has the token may do everything.
    pub(crate) async fn start(store: Store, folder: &DataDir, token: &str) -> Result<Self, HostError> {
        let admin = UserInfo::new("admin", [MASTERS]);
        let tokens = Tokens::new([(token.to_owned(), admin)]);
        let options = apiserver::Options {
            authenticator: std::sync::Arc::new(tokens),
            ..apiserver::Options::default()
        };
        let api = ApiServer::open(store.clone(), options).await;
        let api = api.map_err(|error| HostError::Api {
            folder: folder.path().to_owned(),
            what: error.to_string(),
        })?;
        Ok(Self { store, api })
    }

    /// For the engine: all rights, no listener between, and nobody who would ask which fields are the engine's.
    pub(crate) fn in_process(&self, group: &str) -> Home {
        Home::in_process(self.api.service_as(UserInfo::admin()).untracked(), group)
    }

    /// What the listener serves: each request says who sends it.
    pub(crate) fn service(&self) -> apiserver::Service {
        self.api.service()
    }

    /// Ends watches and refuses further requests.
    pub(crate) async fn shut_down(&self) {
        self.api.shutdown().await;
    }

    /// Writes what is still to be written; the folder is free then.
    pub(crate) async fn close(self) {
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store was not closed cleanly; the next start takes a little longer");
        }
    }
}
