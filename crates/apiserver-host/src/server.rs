//! A whole API server: store, port and kubeconfig.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, Authorization, MASTERS, StartObjects, Tokens, UserInfo};
use objectstore::{Store, embedded, memory};

use crate::error::Error;
use crate::pki::Pki;
use crate::port::{Port, Socket};

/// What the server calls itself in the kubeconfig.
const CLUSTER: &str = "apiserver";
const NAMESPACE: &str = "default";
/// How long what was begun may take when the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// All names in a data folder, for telling ours from somebody else's.
const NAMES: [&str; 3] = ["store", "pki", "kubeconfig"];

/// Where the objects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// In the data folder: what was answered is there after a crash, too.
    #[default]
    OnDisk,
    /// In memory: they end with the server.
    InMemory,
}

/// How a [`Server`] is started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of the kubeconfig, the certificates and, if they are kept on disk, the objects. It is made if it is
    /// missing, for its owner alone.
    pub data_dir: PathBuf,
    /// Where the objects are kept.
    pub keep: Keep,
}

/// An API server on a port, with a kubeconfig in its data folder. What users may do, roles and bindings say; the
/// ClusterRoles and ServiceAccounts are there that every cluster has.
///
/// ```
/// use apiserver_host::{Keep, Server, ServerOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let options = ServerOptions {
///     listen: ([127, 0, 0, 1], 0).into(),
///     data_dir: folder.path().to_owned(),
///     keep: Keep::InMemory,
/// };
/// let server = Server::start(&options).await?;
/// assert!(server.url().starts_with("https://127.0.0.1:"));
/// assert!(server.kubeconfig().exists());
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    url: String,
    kubeconfig: PathBuf,
    store: Store,
    api: ApiServer,
    port: Port,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts it: it answers when this returns. Has to run in a tokio runtime, and runs there until it is stopped.
    ///
    /// # Errors
    /// [`Error`] with what to mend.
    pub async fn start(options: &ServerOptions) -> Result<Self, Error> {
        let folder = &options.data_dir;
        prepare(folder)?;
        let store = match options.keep {
            Keep::OnDisk => embedded::open(folder.join("store"), embedded::Options::default())?,
            Keep::InMemory => memory::open(memory::Options::default()),
        };
        let socket = Socket::bind(options.listen).await?;
        let pki = Pki::load(&folder.join("pki"), socket.address)?;
        let url = socket.url();
        let kubeconfig = folder.join("kubeconfig");
        pki.write_kubeconfig(&kubeconfig, &url, CLUSTER, NAMESPACE)?;
        let admin = UserInfo::new("admin", [MASTERS]);
        let api = apiserver::Options {
            authenticator: Arc::new(Tokens::new([(pki.token().to_owned(), admin)])),
            authorization: Authorization::Rbac,
            metrics: true,
            start: StartObjects {
                root_certificate: Some(pki.authority().to_owned()),
                ..StartObjects::all()
            },
            ..apiserver::Options::default()
        };
        let api = ApiServer::open(store.clone(), api).await?;
        let port = Port::open(socket, &api, &pki)?;
        Ok(Self {
            url,
            kubeconfig,
            store,
            api,
            port,
        })
    }

    /// The URL for clients on this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// For `kubectl --kubeconfig`: its user may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The server itself, for clients in this process.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Ends watches, answers what was begun, and closes the store.
    pub async fn stop(self) {
        self.api.shutdown().await;
        self.port.close(DRAIN).await;
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store was not closed cleanly; the next start takes a little longer");
        }
    }
}

/// Makes the folder, for its owner alone. One that holds something else is not taken.
fn prepare(folder: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| Error::file("make the folder", folder, source))?;
    let reading = |source| Error::file("read the folder", folder, source);
    for entry in fs::read_dir(folder).map_err(reading)? {
        let name = entry.map_err(reading)?.file_name();
        let text = name.to_string_lossy();
        let text = text.strip_suffix(".new").unwrap_or(&text);
        if !NAMES.contains(&text) {
            return Err(Error::Foreign {
                folder: folder.to_owned(),
                found: text.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn somebody_elses_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "text").unwrap();
        let options = ServerOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.path().to_owned(),
            keep: Keep::OnDisk,
        };
        let error = Server::start(&options).await.err().unwrap();
        assert!(
            matches!(&error, Error::Foreign { found, .. } if found == "thesis.txt"),
            "{error}"
        );
    }
}
