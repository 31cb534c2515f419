//! A home without its broker: for moving what is in it.

use std::path::Path;

use apiserver::{ApiServer, UserInfo};
use objectstore::{Revision, Store, embedded};
use osb_engine::Keys;
use osb_move::{Api, Extent, Layout};

use crate::data_dir::{DataDir, ServerInfo};
use crate::error::HostError;
use crate::files;
use crate::home::cluster::Cluster;
use crate::home::etcd;
use crate::home::{HomeKind, HomeOptions};
use crate::keys;
use crate::options::HostOptions;

/// How far resource versions jump over those of the archive: further than what was written after it.
const JUMP: u64 = 1_000_000_000;

/// A home that no broker of this process works on.
pub struct BareHome {
    api: Api,
    layout: Layout,
    kind: HomeKind,
    own: Option<Own>,
}

/// What this process has opened.
struct Own {
    store: Store,
    server: ApiServer,
}

impl BareHome {
    /// Opens the home of the flags. That of a data folder is opened by this process, so no broker may run on it; what is
    /// made new there counts its resource versions from far behind `after`.
    ///
    /// # Errors
    /// [`HostError`] with what to mend.
    pub async fn open(options: &HostOptions, after: Option<u64>) -> Result<Self, HostError> {
        let folder = options.data_dir.resolve()?;
        let layout = layout(&options.home);
        if options.home.home == HomeKind::Kubernetes {
            let cluster = Cluster::find(&options.home).await?;
            return Ok(Self {
                api: Api::of_client(cluster.client()),
                layout,
                kind: HomeKind::Kubernetes,
                own: None,
            });
        }
        let first_revision = Revision(after.map_or(0, |after| after.saturating_add(JUMP)));
        let store = if options.home.home == HomeKind::Etcd {
            Box::pin(etcd::open_store(&options.home.etcd, None, first_revision)).await?
        } else {
            folder.prepare()?;
            let store = embedded::Options {
                first_revision,
                ..embedded::Options::default()
            };
            embedded::open(folder.store(), store)?
        };
        let server = ApiServer::open(store.clone(), apiserver::Options::default()).await;
        let server = server.map_err(|error| HostError::Api {
            folder: folder.path().to_owned(),
            what: error.to_string(),
        })?;
        Ok(Self {
            api: Api::in_process(server.service_as(UserInfo::admin()).untracked()),
            layout,
            kind: options.home.home,
            own: Some(Own { store, server }),
        })
    }

    /// The home of a broker that runs on the data folder, through its Kubernetes API; `None` when none runs.
    ///
    /// # Errors
    /// [`HostError`] with what to mend.
    pub async fn of_running(options: &HostOptions) -> Result<Option<(Self, ServerInfo)>, HostError> {
        let folder = options.data_dir.resolve()?;
        let Some(info) = ServerInfo::read(&folder)? else {
            return Ok(None);
        };
        if info.home == HomeKind::Kubernetes {
            return Ok(None);
        }
        let config = kube::config::Kubeconfig::read_from(folder.kubeconfig()).map_err(no_cluster)?;
        let chosen = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &chosen).await;
        let client = kube::Client::try_from(config.map_err(no_cluster)?).map_err(no_cluster)?;
        // What a process has left behind that was killed leads nowhere.
        if client.apiserver_version().await.is_err() {
            return Ok(None);
        }
        let home = Self {
            api: Api::of_client(client),
            layout: layout(&options.home),
            kind: info.home,
            own: None,
        };
        Ok(Some((home, info)))
    }

    /// Its Kubernetes API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// How it names namespaces.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its name.
    pub fn name(&self) -> String {
        name(self.kind)
    }

    /// What of it belongs to a broker: of a cluster only the objects of this API group.
    pub fn extent(&self, group: Option<&str>) -> Option<Extent> {
        match self.kind {
            HomeKind::Kubernetes => group.map(|group| Extent::Group(group.to_owned())),
            _ => Some(Extent::Whole),
        }
    }

    /// Writes what is still to be written; a folder is free then.
    pub async fn close(self) {
        let Some(own) = self.own else { return };
        own.server.shutdown().await;
        if let Err(error) = own.store.close().await {
            tracing::error!(%error, "the store was not closed cleanly; the next start takes a little longer");
        }
    }
}

fn layout(options: &HomeOptions) -> Layout {
    Layout {
        system: options.system_namespace().to_owned(),
        tenant_prefix: options.namespace_of(""),
    }
}

fn name(kind: HomeKind) -> String {
    use clap::ValueEnum as _;
    let value = kind.to_possible_value();
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn no_cluster(error: impl std::error::Error) -> HostError {
    HostError::NoCluster {
        what: error.to_string(),
    }
}

/// The keys that seal what is stored, without making any: those of the flags, else those in the data folder; `None` when
/// there are none yet.
///
/// # Errors
/// [`HostError`] when the file cannot be read, or holds no keys.
pub fn sealing_keys(options: &HostOptions) -> Result<Option<Keys>, HostError> {
    let folder = options.data_dir.resolve()?;
    match &options.key_file {
        Some(path) => keys_in(path).map(Some),
        None if folder.key().exists() => keys_in(&folder.key()).map(Some),
        None => Ok(None),
    }
}

/// The keys in a file, one a line.
///
/// # Errors
/// As [`sealing_keys`].
pub fn keys_in(path: &Path) -> Result<Keys, HostError> {
    let mut lines = key_bytes_in(path)?.into_iter();
    let first = lines.next();
    let first = first.ok_or_else(|| HostError::content(path, format!("holds no key. {}", keys::HOW_TO_MAKE)))?;
    Ok(Keys::new(first, lines))
}

/// The bytes of the keys in a file, one a line.
///
/// # Errors
/// As [`sealing_keys`].
pub fn key_bytes_in(path: &Path) -> Result<Vec<[u8; osb_engine::KEY_BYTES]>, HostError> {
    let bytes = files::read_named(path)?;
    keys::parse(&bytes).map_err(|what| HostError::content(path, what))
}

/// Notes in a data folder with which keys the values were sealed that came into it: a start without one of them is
/// refused from then on.
///
/// # Errors
/// [`HostError::File`].
pub fn note_keys(folder: &DataDir, ids: impl IntoIterator<Item = String>) -> Result<(), HostError> {
    keys::note_all(folder, ids)
}
