//! The real API server that the tests compare with: one for the whole program, and one for the test that keeps it busy.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use testparts::{Controllers, Oracle, OracleOptions};
use tokio::sync::Mutex;

static ORACLE: OnceLock<Option<Oracle>> = OnceLock::new();

/// Each change of a definition has a real server describe everything anew; what others wait for comes minutes late then.
static CHANGING: OnceLock<Option<Oracle>> = OnceLock::new();

/// How to reach the real server. Clones share what has been defined on it.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    config: Arc<Config>,
    kubeconfig: PathBuf,
}

impl Kubernetes {
    /// Starts the server at the first call; `None` where it is missing and may be.
    pub(crate) async fn connect() -> Option<Kubernetes> {
        Self::connect_to(&ORACLE).await
    }

    /// The same, for a test that changes definitions all the time.
    pub(crate) async fn connect_for_changes() -> Option<Kubernetes> {
        Self::connect_to(&CHANGING).await
    }

    async fn connect_to(oracle: &'static OnceLock<Option<Oracle>>) -> Option<Kubernetes> {
        let start = move || {
            // The controllers finish the deletion of namespaces.
            let options = OracleOptions {
                controllers: Controllers::Core,
                ..OracleOptions::default()
            };
            oracle
                .get_or_init(|| testparts::need(Oracle::start_with(&options)))
                .as_ref()
        };
        let oracle = tokio::task::spawn_blocking(start)
            .await
            .expect("the oracle starts or is missing")?;
        let kubeconfig = Kubeconfig::read_from(oracle.kubeconfig()).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.expect("a usable kubeconfig");
        // Refusals are what the tests look at.
        config.default_retry = false;
        Some(Kubernetes {
            config: Arc::new(config),
            kubeconfig: oracle.kubeconfig(),
        })
    }

    /// A client with this bearer token, or without credentials.
    pub(crate) fn client_with(&self, token: Option<&str>) -> kube::Client {
        let mut config = (*self.config).clone();
        config.auth_info = kube::config::AuthInfo {
            token: token.map(|token| token.to_owned().into()),
            ..kube::config::AuthInfo::default()
        };
        kube::Client::try_from(config).expect("a client")
    }

    /// The file by which programs reach the server.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// A client whose connections belong to the runtime of the caller.
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::try_from((*self.config).clone()).expect("a client")
    }
}

/// Held while a definition that tests share is made: the second test finds it served.
pub(crate) fn sharing() -> Arc<Mutex<()>> {
    static SHARING: OnceLock<Arc<Mutex<()>>> = OnceLock::new();
    SHARING.get_or_init(Arc::default).clone()
}
