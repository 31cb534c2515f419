//! Why a server does not start. Each text says what is wrong, where, and how to mend it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder belongs to something else.
    #[error(
        "the folder {folder} holds `{found}`, which is no part of an API server's data: name an empty or new folder",
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
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// Certificate and key cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}; choose another address", listen_hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The store in the data folder does not open.
    #[error(transparent)]
    Store(#[from] objectstore::embedded::OpenError),
    /// The API server does not start on its store.
    #[error(transparent)]
    Api(#[from] apiserver::OpenError),
}

impl Error {
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

/// Why an address cannot be listened on, in words.
pub fn listen_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "another program listens there, perhaps another server of this kind",
        io::ErrorKind::PermissionDenied => "ports below 1024 need special rights",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "the system refuses",
    }
}
