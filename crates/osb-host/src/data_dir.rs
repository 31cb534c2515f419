//! The folder where a broker keeps everything, and where its clients find it.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::files;
use crate::home::HomeKind;

/// The data folder of a broker.
///
/// | name | holds |
/// |---|---|
/// | `store/` | the state: the broker's Kubernetes resources |
/// | `key` | the keys that seal secrets in the state; whoever has both can read them |
/// | `sealed-with` | the public ids of the keys that have sealed something |
/// | `credentials` | the logins of the platforms |
/// | `pki` | authority, certificate and token of the Kubernetes API |
/// | `kubeconfig` | for `kubectl --kubeconfig` |
/// | `server` | where the running broker listens |
///
/// The folder is its owner's alone (mode 0700), and so is each file (0600).
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::DataDir;
///
/// let folder = DataDir::new("/var/lib/databases");
/// assert_eq!(folder.kubeconfig().to_str(), Some("/var/lib/databases/kubeconfig"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// All names above, for telling our folder from somebody else's.
const NAMES: [&str; 7] = [
    "store",
    "key",
    "sealed-with",
    "credentials",
    "pki",
    "kubeconfig",
    "server",
];

/// The flag that server and client verbs share.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::DataDirOption;
///
/// let option = DataDirOption { data_dir: Some("/var/lib/databases".into()) };
/// assert_eq!(option.resolve()?.path().to_str(), Some("/var/lib/databases"));
/// # Ok::<(), osb_host::HostError>(())
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DataDirOption {
    /// The folder of the broker's data [default: $XDG_DATA_HOME/osb, else ~/.local/share/osb]
    #[arg(long, value_name = "FOLDER", env = "OSB_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
}

impl DataDirOption {
    /// The folder that is meant.
    ///
    /// # Errors
    /// [`HostError::NoDataDir`].
    pub fn resolve(&self) -> Result<DataDir, HostError> {
        let given = self.data_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let path = given.or_else(default_path).ok_or(HostError::NoDataDir)?;
        Ok(DataDir::new(std::path::absolute(&path).unwrap_or(path)))
    }

    /// Whether the folder is the one that is used without the flag.
    pub fn is_default(&self) -> bool {
        self.data_dir
            .as_ref()
            .is_none_or(|path| Some(path) == default_path().as_ref())
    }
}

/// The XDG specification ignores relative paths.
fn default_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("osb"))
}

impl DataDir {
    /// The folder at this path, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For `kubectl --kubeconfig`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The logins.
    pub fn credentials(&self) -> PathBuf {
        self.path.join("credentials")
    }

    /// The sealing keys, unless they are kept elsewhere.
    pub fn key(&self) -> PathBuf {
        self.path.join("key")
    }

    /// Whether a broker has kept its state here.
    pub fn has_state(&self) -> bool {
        self.store().exists()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    pub(crate) fn sealed_with(&self) -> PathBuf {
        self.path.join("sealed-with")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    fn server(&self) -> PathBuf {
        self.path.join("server")
    }

    /// Makes the folder, or checks that it is a broker's.
    pub(crate) fn prepare(&self) -> Result<(), HostError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|source| HostError::file("make the folder", &self.path, source))?;
        self.check()?;
        let reading = |source| HostError::file("restrict the folder", &self.path, source);
        let mode = fs::metadata(&self.path).map_err(reading)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.path, Permissions::from_mode(0o700)).map_err(reading)?;
        }
        Ok(())
    }

    /// A folder that holds something else, and none of our store, is not taken.
    fn check(&self) -> Result<(), HostError> {
        if self.store().exists() {
            return Ok(());
        }
        let reading = |source| HostError::file("read the folder", &self.path, source);
        for entry in fs::read_dir(&self.path).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let text = name.to_string_lossy();
            let known = NAMES
                .iter()
                .any(|known| text.strip_suffix(".new").unwrap_or(&text) == *known);
            if !known {
                return Err(HostError::Foreign {
                    folder: self.path.clone(),
                    found: text.into_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Where a running broker listens, for the client verbs.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::{DataDir, ServerInfo};
///
/// let folder = tempfile::tempdir()?;
/// // What a client on the same machine asks first: is there a broker on this folder, and where?
/// match ServerInfo::read(&DataDir::new(folder.path()))? {
///     Some(info) => println!("{} listens at {}", info.broker, info.url),
///     None => println!("no broker runs here"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// The process.
    pub pid: u32,
    /// The broker's name.
    pub broker: String,
    /// The base URL of the broker.
    pub url: String,
    /// Where its state lives.
    #[serde(default)]
    pub home: HomeKind,
    /// The URL of the Kubernetes API.
    pub kubernetes_url: String,
    /// The API group of the broker's resources.
    pub group: String,
    /// The namespace of the default platform's resources.
    pub namespace: String,
    /// Where the login of the default platform is.
    pub login: Login,
}

/// Where a login is kept.
///
/// ```
/// use osb_host::Login;
///
/// let where_it_stands = |login| match login {
///     Login::File => "in the file `credentials`",
///     Login::Environment => "in OSB_USERNAME and OSB_PASSWORD",
/// };
/// assert_eq!(where_it_stands(Login::File), "in the file `credentials`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// In the file `credentials`.
    File,
    /// In `OSB_USERNAME` and `OSB_PASSWORD` of the server's environment, and in no file.
    Environment,
}

impl ServerInfo {
    /// What the broker on this folder has left there; `None` when none runs, unless one was killed.
    ///
    /// # Errors
    /// [`HostError::File`], [`HostError::Content`].
    pub fn read(folder: &DataDir) -> Result<Option<Self>, HostError> {
        let path = folder.server();
        let bytes = match files::read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(source) => return Err(HostError::file("read", path, source)),
        };
        let info = serde_json::from_slice(&bytes);
        info.map(Some)
            .map_err(|_| HostError::content(path, "is damaged: start the broker again, which writes it anew"))
    }

    pub(crate) fn write(&self, folder: &DataDir) -> Result<(), HostError> {
        let path = folder.server();
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        files::write(&path, &bytes).map_err(|source| HostError::file("write", path, source))
    }

    /// The broker is about to stop.
    pub(crate) fn remove(folder: &DataDir) {
        let path = folder.server();
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_private_and_an_open_one_becomes_so() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = DataDir::new(parent.path().join("a/b"));
        folder.prepare().unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        folder.prepare().unwrap();
        assert_eq!(mode(folder.path()), 0o700);
    }

    #[test]
    fn somebody_elses_folder_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "text").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let error = DataDir::new(folder.path()).prepare().unwrap_err();
        assert!(
            matches!(&error, HostError::Foreign { found, .. } if found == "thesis.txt"),
            "{error}"
        );
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o755);
        // With a store in it the folder is ours, whatever else a person has put there.
        fs::create_dir(folder.path().join("store")).unwrap();
        DataDir::new(folder.path()).prepare().unwrap();
    }

    #[test]
    fn clients_read_what_the_server_has_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataDir::new(folder.path());
        assert_eq!(ServerInfo::read(&folder).unwrap(), None);
        let info = ServerInfo {
            pid: 7,
            broker: "reference".into(),
            url: "http://127.0.0.1:1".into(),
            home: HomeKind::Embedded,
            kubernetes_url: "https://127.0.0.1:2".into(),
            group: "reference.osb.internal".into(),
            namespace: "default".into(),
            login: Login::File,
        };
        info.write(&folder).unwrap();
        assert_eq!(ServerInfo::read(&folder).unwrap(), Some(info));
        ServerInfo::remove(&folder);
        assert_eq!(ServerInfo::read(&folder).unwrap(), None);
    }
}
