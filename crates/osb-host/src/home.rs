//! Where a broker's state lives, as its flags say: in the data folder, in an etcd cluster, or in a Kubernetes cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apiserver_host::{Limits, Listener, Pki, Serving, Tls, Versions, kubernetes_status, reachable};
use objectstore::{Revision, Store};
use osb_engine::{Broker, Home, ReplicaConfig};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::credentials::DEFAULT_PLATFORM;
use crate::data_dir::DataDir;
use crate::error::HostError;
use crate::host::bind;
use crate::options::HostOptions;

pub(crate) mod cluster;
mod embedded;
pub(crate) mod etcd;

use cluster::Cluster;
use embedded::Embedded;
pub use etcd::EtcdOptions;

/// The namespace of the broker's own objects, unless a flag says otherwise.
pub(crate) const SYSTEM_NAMESPACE: &str = "osb-system";

/// How much longer than the requests the Kubernetes API may take to end: its clients are told to come again.
const KUBE_DRAIN: Duration = Duration::from_secs(2);

/// The flags that say where the state lives.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::{HomeKind, HomeOptions};
///
/// assert_eq!(HomeOptions::default().home, HomeKind::Embedded);
/// ```
#[derive(Clone, Debug, clap::Args)]
pub struct HomeOptions {
    /// Where the state of instances and bindings lives
    #[arg(long, value_enum, default_value_t, env = "OSB_HOME")]
    pub home: HomeKind,

    /// The kubeconfig of the home `kubernetes` [default: the pod's service account, else as kubectl finds one]
    #[arg(long, value_name = "FILE", env = "OSB_HOME_KUBECONFIG")]
    pub home_kubeconfig: Option<PathBuf>,

    /// The context of that kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", env = "OSB_HOME_CONTEXT", requires = "home_kubeconfig")]
    pub home_context: Option<String>,

    /// The namespace of the broker's own objects in the home `kubernetes`; what belongs to a platform lives in
    /// NAMESPACE-PLATFORM
    #[arg(long, value_name = "NAMESPACE", default_value = SYSTEM_NAMESPACE, env = "OSB_HOME_NAMESPACE")]
    pub home_namespace: String,

    /// Where the cluster of the home `etcd` is.
    #[command(flatten)]
    pub etcd: EtcdOptions,

    /// What this replica is called, where several share a home; something random is added at each start
    /// [default: the name of the host]
    #[arg(long, value_name = "NAME", env = "OSB_REPLICA_NAME")]
    pub replica_name: Option<String>,

    /// A replica that does not renew its lease for so long, in seconds, is taken for dead, and others go on with its work;
    /// the same for all replicas on a home
    #[arg(long, value_name = "SECONDS", default_value = "15", env = "OSB_LEASE", value_parser = lease)]
    pub lease: Duration,
}

/// The lease of a replica.
const LEASE: Duration = Duration::from_secs(15);

/// Shorter ones take a busy machine for a dead one; longer ones leave work lying about.
fn lease(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(secs @ 3..=3600) => Ok(Duration::from_secs(secs)),
        _ => Err("expected 3 to 3600 seconds, such as 15".to_owned()),
    }
}

/// Where the state of instances and bindings lives.
///
/// ```
/// # use osb_host as osb_sdk;
/// assert_eq!(osb_sdk::HomeKind::default(), osb_sdk::HomeKind::Embedded);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeKind {
    /// In the data folder, behind the process's own Kubernetes API
    #[default]
    Embedded,
    /// In an etcd cluster, behind the process's own Kubernetes API; it needs --etcd-endpoints and --key-file
    Etcd,
    /// As custom resources in a Kubernetes cluster, which --manifests prepares; it needs --key-file
    Kubernetes,
}

impl HomeKind {
    /// Whether the Kubernetes API is this process's own, which has it to itself.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Embedded | Self::Etcd)
    }
}

impl Default for HomeOptions {
    fn default() -> Self {
        Self {
            home: HomeKind::Embedded,
            home_kubeconfig: None,
            home_context: None,
            home_namespace: SYSTEM_NAMESPACE.to_owned(),
            etcd: EtcdOptions::default(),
            replica_name: None,
            lease: LEASE,
        }
    }
}

impl HomeKind {
    /// Whether several processes of a broker may live there at one time.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::Embedded
    }
}

impl HomeOptions {
    /// What this process, which is reached at `address`, is among others; nothing where it is always alone.
    pub(crate) fn replica(&self, address: &str) -> Option<ReplicaConfig> {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        self.home.is_shared().then(|| ReplicaConfig {
            name: self.replica_name.clone().unwrap_or_else(|| host().trim().to_owned()),
            lease: self.lease,
            address: Some(address.to_owned()),
        })
    }

    /// The namespace of the broker's own objects.
    pub(crate) fn system_namespace(&self) -> &str {
        match self.home {
            HomeKind::Embedded | HomeKind::Etcd => SYSTEM_NAMESPACE,
            HomeKind::Kubernetes => &self.home_namespace,
        }
    }

    /// The namespace of a platform's objects. In a cluster there are others beside it.
    pub(crate) fn namespace_of(&self, platform: &str) -> String {
        match self.home {
            HomeKind::Embedded | HomeKind::Etcd => platform.to_owned(),
            HomeKind::Kubernetes => format!("{}-{platform}", self.home_namespace),
        }
    }
}

/// A home that can be used, of which nothing has been read or written yet.
pub(crate) enum Opened {
    Embedded {
        store: Store,
        socket: TcpListener,
        address: SocketAddr,
    },
    Cluster(Cluster),
}

impl Opened {
    /// Opens the store, which no other process can from then on if it is a folder, or finds the cluster.
    pub(crate) async fn open(options: &HostOptions, folder: &DataDir, broker: &str) -> Result<Self, HostError> {
        if options.home.home != HomeKind::Embedded && options.key_file.is_none() {
            return Err(HostError::NoKeyFile);
        }
        match options.home.home {
            HomeKind::Embedded => {
                let store = Embedded::open_store(folder)?;
                let (socket, address) = bind(options.kube_listen, "--kube-listen").await?;
                Ok(Self::Embedded { store, socket, address })
            }
            HomeKind::Etcd => {
                let store = Box::pin(etcd::open_store(&options.home.etcd, Some(broker), Revision(0))).await?;
                let (socket, address) = bind(options.kube_listen, "--kube-listen").await?;
                Ok(Self::Embedded { store, socket, address })
            }
            HomeKind::Kubernetes => Ok(Self::Cluster(Cluster::find(&options.home).await?)),
        }
    }

    /// The URL of the Kubernetes API.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Embedded { address, .. } => format!("https://{}", reachable(*address)),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// Starts what belongs to the home. Certificates and a kubeconfig lie in the folder then, if the API is our own.
    pub(crate) async fn start(
        self,
        folder: &DataDir,
        name: &str,
        configure: impl FnOnce(&mut apiserver::Options),
    ) -> Result<Running, HostError> {
        let url = self.url();
        let (store, socket, address) = match self {
            Self::Embedded { store, socket, address } => (store, socket, address),
            Self::Cluster(cluster) => return Ok(Running::Cluster(cluster)),
        };
        let pki = Pki::load(&folder.pki(), address)?;
        let tls = pki.server_config()?;
        pki.write_kubeconfig(&folder.kubeconfig(), &url, name, DEFAULT_PLATFORM)?;
        match Embedded::start(store.clone(), folder, pki.token(), configure).await {
            Ok(embedded) => Ok(Running::Embedded(Box::new(Own { embedded, socket, tls }))),
            Err(error) => Err(embedded::or_unwritable(&store, folder, error).await),
        }
    }
}

/// A home at work.
pub(crate) enum Running {
    Embedded(Box<Own>),
    Cluster(Cluster),
}

/// A Kubernetes API of our own, which nobody outside can call yet.
pub(crate) struct Own {
    embedded: Embedded,
    socket: TcpListener,
    tls: Arc<ServerConfig>,
}

impl Running {
    /// For the broker's author: a client with all rights that the broker has.
    pub(crate) fn client(&self) -> kube::Client {
        match self {
            Self::Embedded(own) => own.embedded.client(),
            Self::Cluster(cluster) => cluster.client(),
        }
    }

    /// For the engine.
    pub(crate) fn of(&self, broker: &Broker) -> Home {
        match self {
            Self::Embedded(own) => own.embedded.in_process(&broker.group()),
            Self::Cluster(cluster) => cluster.home(&broker.group()),
        }
    }

    /// Makes the home ready for the broker, or finds that it is.
    pub(crate) async fn prepare(&self, home: &Home, broker: &Broker, namespaces: &[String]) -> Result<(), HostError> {
        match self {
            Self::Embedded(_) => embedded::prepare(home, broker, namespaces).await,
            Self::Cluster(_) => cluster::check(home, broker, namespaces).await,
        }
    }

    /// The error of a start, or what is behind it.
    pub(crate) async fn explain(&self, folder: &DataDir, error: HostError) -> HostError {
        match self {
            Self::Embedded(own) => own.embedded.or_unwritable(folder, error).await,
            Self::Cluster(_) => error,
        }
    }

    /// Ends a home that nobody outside has called.
    pub(crate) async fn close(self) {
        if let Self::Embedded(own) = self {
            own.embedded.shut_down().await;
            own.embedded.close().await;
        }
    }

    /// From here on others can call the Kubernetes API, if it is our own.
    pub(crate) fn listen(self, limits: Limits) -> Served {
        let Self::Embedded(own) = self else {
            return Served(None);
        };
        let Own { embedded, socket, tls } = *own;
        let listener = Listener {
            name: "kubernetes",
            socket,
            tls: Some(watch::channel(Tls::new(tls)).1),
            versions: Versions::OneAndTwo,
            limits,
            explain: kubernetes_status,
        };
        let service = embedded.service();
        let serving = listener.serve(move |_: Option<&CertificateDer<'_>>| service.clone());
        Served(Some((embedded, serving)))
    }
}

/// A home that others can call, if it is our own.
pub(crate) struct Served(Option<(Embedded, Serving)>);

impl Served {
    /// Ends watches, refuses further requests, and closes the store.
    pub(crate) async fn close(self) {
        let Some((embedded, serving)) = self.0 else { return };
        embedded.shut_down().await;
        serving.drain(KUBE_DRAIN).await;
        embedded.close().await;
    }
}
