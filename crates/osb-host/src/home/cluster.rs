//! The home `kubernetes`: custom resources in a cluster. The broker makes nothing there but its own objects; what they
//! need has been applied before, by somebody with more rights ([`manifests`](crate::manifests)).

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use osb_engine::{Broker, Home, HomeError};

use super::HomeOptions;
use crate::error::HostError;

/// A cluster that can be called.
pub(crate) struct Cluster {
    client: kube::Client,
    url: String,
}

impl Cluster {
    /// The cluster of the flags. Nothing is sent to it.
    pub(crate) async fn find(options: &HomeOptions) -> Result<Self, HostError> {
        let config = match &options.home_kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(no_cluster)?;
                let chosen = KubeConfigOptions {
                    context: options.home_context.clone(),
                    ..KubeConfigOptions::default()
                };
                Config::from_custom_kubeconfig(kubeconfig, &chosen)
                    .await
                    .map_err(no_cluster)?
            }
            None => Config::infer().await.map_err(no_cluster)?,
        };
        let url = config.cluster_url.to_string();
        let client = kube::Client::try_from(config).map_err(no_cluster)?;
        Ok(Self { client, url })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// For the broker's author.
    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// For the engine.
    pub(crate) fn home(&self, group: &str) -> Home {
        Home::new(self.client.clone(), group)
    }
}

/// The error says which file or context it is about, and quotes no secret.
fn no_cluster(error: impl std::error::Error) -> HostError {
    HostError::NoCluster {
        what: error.to_string(),
    }
}

/// Finds out whether everything is there that the broker needs.
pub(crate) async fn check(home: &Home, broker: &Broker, namespaces: &[String]) -> Result<(), HostError> {
    let asking = |error: HomeError| match error {
        HomeError::Refused(403) => HostError::NotPrepared {
            missing: "rights for this identity".to_owned(),
        },
        error => HostError::Home {
            doing: "looking whether the cluster is prepared",
            error,
        },
    };
    if let Some(plural) = home.not_served(broker).await.map_err(|error| match error {
        osb_engine::StartError::Home { error, .. } => asking(error),
        error => error.into(),
    })? {
        return Err(HostError::NotPrepared {
            missing: format!("resource {plural}.{}", home.group()),
        });
    }
    for namespace in namespaces {
        if !home.has_namespace(namespace).await.map_err(asking)? {
            return Err(HostError::NotPrepared {
                missing: format!("namespace {namespace}"),
            });
        }
    }
    Ok(())
}
