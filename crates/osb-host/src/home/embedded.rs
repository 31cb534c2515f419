//! The home `embedded`: store and API server in this process.

use apiserver::{ApiServer, MASTERS, Tokens, UserInfo};
use objectstore::{Store, embedded};
use osb_engine::{Broker, Home};

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

    /// Starts the API server, with what `configure` makes of its options. Whoever has the token may do everything.
    pub(crate) async fn start(
        store: Store,
        folder: &DataDir,
        token: &str,
        configure: impl FnOnce(&mut apiserver::Options),
    ) -> Result<Self, HostError> {
        let admin = UserInfo::new("admin", [MASTERS]);
        let tokens = Tokens::new([(token.to_owned(), admin)]);
        let mut options = apiserver::Options {
            authenticator: std::sync::Arc::new(tokens),
            ..apiserver::Options::default()
        };
        configure(&mut options);
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

    /// For the broker's author: all rights, no listener between.
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.api.service_as(UserInfo::admin()), "default")
    }

    /// What the listener serves: each request says who sends it.
    pub(crate) fn service(&self) -> apiserver::Service {
        self.api.service()
    }

    /// The error of a start, or what is behind it: that the store takes no writes.
    pub(crate) async fn or_unwritable(&self, folder: &DataDir, error: HostError) -> HostError {
        or_unwritable(&self.store, folder, error).await
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

/// The error of a start, or what is behind it: that the store takes no writes. Its words do not come through the
/// Kubernetes API.
pub(crate) async fn or_unwritable(store: &Store, folder: &DataDir, error: HostError) -> HostError {
    match store.compact(store.oldest()).await {
        Err(objectstore::Error::Unavailable(why)) => HostError::Unwritable {
            folder: folder.path().to_owned(),
            why,
        },
        _ => error,
    }
}

/// Makes the broker's kinds and namespaces.
pub(crate) async fn prepare(home: &Home, broker: &Broker, namespaces: &[String]) -> Result<(), HostError> {
    home.install_for(broker).await?;
    for namespace in namespaces {
        home.ensure_namespace(namespace)
            .await
            .map_err(|error| HostError::Home {
                doing: "making its namespaces",
                error,
            })?;
    }
    Ok(())
}
