//! The servers that the tests run on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use apiserver::{ApiServer, Authorization, StartObjects, UserInfo};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use testparts::{Controllers, Oracle, OracleOptions};

static ORACLE: OnceLock<Option<Oracle>> = OnceLock::new();

enum Where {
    Embedded(ApiServer),
    Kubernetes(Box<Config>),
}

/// A server, with a name that no other test has.
pub(crate) struct Place {
    place: Where,
    pub(crate) name: String,
}

fn unique() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("t{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst))
}

impl Place {
    pub(crate) async fn embedded() -> Self {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let options = apiserver::Options {
            authorization: Authorization::Rbac,
            start: StartObjects::all(),
            ..apiserver::Options::default()
        };
        let server = ApiServer::open(store, options).await.expect("an API server");
        Self {
            place: Where::Embedded(server),
            name: unique(),
        }
    }

    /// The real server, `None` where it is missing and may be.
    pub(crate) async fn kubernetes() -> Option<Self> {
        let start = || {
            let options = OracleOptions {
                controllers: Controllers::All,
                ..OracleOptions::default()
            };
            ORACLE
                .get_or_init(|| testparts::need(Oracle::start_with(&options)))
                .as_ref()
        };
        let oracle = tokio::task::spawn_blocking(start)
            .await
            .expect("the oracle starts or is missing")?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(oracle.kubeconfig()).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.expect("a usable kubeconfig");
        config.default_retry = false;
        Some(Self {
            place: Where::Kubernetes(Box::new(config)),
            name: unique(),
        })
    }

    /// A client that may do everything.
    pub(crate) fn client(&self) -> kube::Client {
        match &self.place {
            Where::Embedded(server) => kube::Client::new(server.service_as(UserInfo::admin()), "default"),
            Where::Kubernetes(config) => kube::Client::try_from((**config).clone()).expect("a client"),
        }
    }
}

/// Runs each test on every server.
macro_rules! on_each_place {
    ($($(#[$doc:meta])* async fn $name:ident($place:ident: Place) $body:block)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            async fn on($place: crate::places::Place) $body

            #[tokio::test]
            async fn embedded() {
                on(crate::places::Place::embedded().await).await;
            }

            #[tokio::test]
            async fn kubernetes() {
                if let Some(place) = crate::places::Place::kubernetes().await {
                    on(place).await;
                }
            }
        })*
    };
}
pub(crate) use on_each_place;
