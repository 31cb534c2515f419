//! Why a broker does not start. Each text says what is wrong, where, and how to mend it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use apiserver_host::listen_hint;

/// Why a broker does not start, or cannot be found.
///
/// ```
/// # use osb_engine::Broker;
/// # use osb_host as osb_sdk;
/// use osb_sdk::{Host, HostError, HostOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("holiday.jpg"), "…")?;
/// let refused = Host::start(Broker::new("databases"), &HostOptions::on(folder.path())).await;
/// let Err(HostError::Foreign { found, .. }) = refused else { panic!("that folder is somebody else's") };
/// assert_eq!(found, "holiday.jpg");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Neither a flag nor the environment says where data shall be kept.
    #[error(
        "there is no folder for data: neither OSB_DATA_DIR, XDG_DATA_HOME nor HOME is set; name one with --data-dir"
    )]
    NoDataDir,
    /// The author's function that makes the broker has failed.
    #[error("the broker cannot be made")]
    Make(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The data folder belongs to something else.
    #[error(
        "the folder {folder} holds `{found}`, which is no part of a broker's data: name an empty or new folder with --data-dir",
        folder = .folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The first foreign name.
        found: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} {path}: check its owner and permissions, and whether the disk is full or read-only", path = .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what it should be. The text never quotes it.
    #[error("the file {path} {what}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and how to mend it.
        what: String,
    },
    /// There is data, but not the key that it was sealed with.
    #[error(
        "the file {path} is missing, but the data beside it was sealed with that key: bring the file back, or name its copy with OSB_KEY_FILE",
        path = .path.display()
    )]
    KeyMissing {
        /// Where the key should be.
        path: PathBuf,
    },
    /// The data was sealed with another key.
    #[error(
        "the data in {folder} was sealed with the key {wanted}, which is not in {path}: add that key to the file as a further line, or name the right file with OSB_KEY_FILE",
        folder = .folder.display(), path = .path.display()
    )]
    WrongKey {
        /// The data folder.
        folder: PathBuf,
        /// The file with the keys.
        path: PathBuf,
        /// The public id of the key that is missing.
        wanted: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The store below the data folder does not open.
    #[error(transparent)]
    Store(#[from] objectstore::embedded::OpenError),
    /// The store opens, but takes no writes; a broker begins with one.
    #[error(
        "the data in {folder} cannot be written: {why}. Nothing is lost: make room, or make the disk writable, and start again",
        folder = .folder.display()
    )]
    Unwritable {
        /// The data folder.
        folder: PathBuf,
        /// What the store says.
        why: String,
    },
    /// What the listener of the Kubernetes API needs cannot be made.
    #[error(transparent)]
    Kubernetes(#[from] apiserver_host::Error),
    /// The API server does not start.
    #[error("the Kubernetes API on the data in {folder} does not start: {what}", folder = .folder.display())]
    Api {
        /// The data folder.
        folder: PathBuf,
        /// What its error says.
        what: String,
    },
    /// No cluster is found for the home `kubernetes`.
    #[error(
        "there is no usable cluster for --home kubernetes: {what}; outside of a cluster, name a kubeconfig with --home-kubeconfig"
    )]
    NoCluster {
        /// What is wrong.
        what: String,
    },
    /// The store in etcd cannot be opened.
    #[error(transparent)]
    Etcd(#[from] objectstore::etcd::OpenError),
    /// The home `etcd` without a cluster.
    #[error(
        "--home etcd needs --etcd-endpoints (OSB_ETCD_ENDPOINTS): where the members of the cluster are, such as https://10.0.0.5:2379"
    )]
    NoEtcd,
    /// A store in etcd whose broker is not known.
    #[error(
        "name the keys of the broker with --etcd-prefix (OSB_ETCD_PREFIX): /osb/BROKER, unless it was given another one"
    )]
    NoEtcdPrefix,
    /// A user of etcd without a password.
    #[error(
        "there is no password for --etcd-username: set OSB_ETCD_PASSWORD, or name a file with --etcd-password-file"
    )]
    NoEtcdPassword,
    /// A home that is shared, without keys of its own.
    #[error(
        "a home outside of the data folder needs --key-file (OSB_KEY_FILE): the key that seals secrets must outlive this process and is never kept with what it seals. `openssl rand -hex 32` makes one"
    )]
    NoKeyFile,
    /// Something that the broker needs is not in the cluster.
    #[error(
        "the cluster has no {missing}: apply what --manifests prints, with the rights of an administrator, and start again"
    )]
    NotPrepared {
        /// What is missing.
        missing: String,
    },
    /// What a cluster needs cannot be written down.
    #[error("the manifests cannot be written: {what}")]
    NoManifests {
        /// Why.
        what: String,
    },
    /// The broker's resources cannot be prepared.
    #[error("the broker's state cannot be prepared, while {doing}: {error}")]
    Home {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        error: osb_engine::HomeError,
    },
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] osb_engine::StartError),
    /// A platform that was not there at the start, in a file that was changed meanwhile.
    #[error("the platform {name:?} is new: start the broker again, which makes its namespace")]
    NewPlatform {
        /// Its name.
        name: String,
    },
    /// The front refuses.
    #[error("the logins cannot be used: {0}")]
    Front(#[from] osb_server::ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}; choose another address with {flag}", listen_hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that names it.
        flag: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Plain HTTP would leave this machine.
    #[error(
        "{address} can be reached from other machines, and passwords would go over the wire in the clear: \
         give --tls-cert and --tls-key, or --insecure-plaintext if something in front of the broker does TLS"
    )]
    Plaintext {
        /// The address.
        address: SocketAddr,
    },
    /// Certificate and key cannot be used.
    #[error("TLS cannot be set up with {path}: {what}", path = .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The environment variable for a log filter cannot be read.
    #[error("OSB_LOG is not a log filter such as `info` or `osb_engine=debug,info`: {0}")]
    LogFilter(String),
    /// The system gives no threads.
    #[error("the program cannot start its threads")]
    Runtime(#[source] io::Error),
}

impl HostError {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File {
            doing,
            path: path.into(),
            source,
        }
    }

    pub(crate) fn content(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Content {
            path: path.into(),
            what: what.into(),
        }
    }
}

/// The text of an error with all its causes.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent layers repeat their cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_names_every_cause_once() {
        let error = HostError::file("read", "/d/key", io::Error::other("the disk is gone"));
        let text = explain(&error);
        assert!(
            text.starts_with("cannot read /d/key: ") && text.ends_with(": the disk is gone"),
            "{text}"
        );
    }
}
