//! The logins of the platforms.

use std::env;

use osb_server::{Platform, User};
use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDir, Login};
use crate::error::HostError;
use crate::files;

/// The platform that a login belongs to when nothing else is said; its resources are in the namespace of that name.
pub const DEFAULT_PLATFORM: &str = "default";

/// A login of the file `credentials`.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::{Credentials, DataDir};
///
/// let folder = tempfile::tempdir()?;
/// let file = DataDir::new(folder.path());
/// assert_eq!(Credentials::read(&file)?, None, "made at the first start of the broker");
/// std::fs::write(file.credentials(), r#"{"users": [{"username": "osb", "password": "…"}]}"#)?;
/// assert_eq!(Credentials::read(&file)?.map(|login| login.username).as_deref(), Some("osb"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// The platform: a DNS label, which is also the namespace of its resources.
    #[serde(default = "default_platform", skip_serializing_if = "is_default_platform")]
    pub platform: String,
}

fn default_platform() -> String {
    DEFAULT_PLATFORM.to_owned()
}

fn is_default_platform(name: &String) -> bool {
    name == DEFAULT_PLATFORM
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    users: Vec<Credentials>,
}

/// All logins, and what the clients of this machine need to know of them.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) users: Vec<Credentials>,
    pub(crate) login: Login,
}

impl Logins {
    pub(crate) fn users(&self) -> Vec<User> {
        let user = |login: &Credentials| User {
            name: login.username.clone(),
            password: login.password.clone(),
            platform: Platform(login.platform.as_str().into()),
        };
        self.users.iter().map(user).collect()
    }

    /// Each platform once, in the order of the file.
    pub(crate) fn platforms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for user in &self.users {
            if !names.contains(&user.platform.as_str()) {
                names.push(&user.platform);
            }
        }
        names
    }
}

impl Credentials {
    /// The login of the default platform in a data folder: what clients of this machine use.
    ///
    /// # Errors
    /// [`HostError::File`], [`HostError::Content`].
    pub fn read(folder: &DataDir) -> Result<Option<Self>, HostError> {
        let users = read(folder)?.unwrap_or_default();
        Ok(users.into_iter().find(|user| user.platform == DEFAULT_PLATFORM))
    }

    /// `OSB_USERNAME` and `OSB_PASSWORD`, when both are set and not empty.
    pub fn from_environment() -> Option<Self> {
        let variable = |name| env::var(name).ok().filter(|text| !text.is_empty());
        let (username, password) = (variable("OSB_USERNAME")?, variable("OSB_PASSWORD")?);
        Some(Self {
            username,
            password,
            platform: default_platform(),
        })
    }
}

/// The logins of the file; of the default platform that of the environment instead, if it has one. Makes a login for
/// the default platform when there is none.
pub(crate) fn load(folder: &DataDir, environment: Option<Credentials>) -> Result<Logins, HostError> {
    let mut users = read(folder)?.unwrap_or_default();
    if let Some(own) = environment {
        users.retain(|user| user.platform != DEFAULT_PLATFORM);
        users.insert(0, own);
        return Ok(Logins {
            users,
            login: Login::Environment,
        });
    }
    if users.is_empty() {
        users.push(Credentials {
            username: "osb".to_owned(),
            password: apiserver_host::secret().ok_or(HostError::NoRandomness)?,
            platform: default_platform(),
        });
        let path = folder.credentials();
        let file = File { users: users.clone() };
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        files::write(&path, &bytes).map_err(|source| HostError::file("write", path, source))?;
    }
    Ok(Logins {
        users,
        login: Login::File,
    })
}

fn read(folder: &DataDir) -> Result<Option<Vec<Credentials>>, HostError> {
    let path = folder.credentials();
    let bytes = match files::read(&path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(source) => return Err(HostError::file("read", path, source)),
    };
    // What serde says may quote a password: only the place is passed on.
    let file: File = serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!(
            "is not what it should be at line {}: {{\"users\": [{{\"username\": …, \"password\": …, \"platform\": \"default\"}}]}}; \
             without the file the broker makes a new login",
            error.line()
        );
        HostError::content(&path, what)
    })?;
    if let Some(user) = file.users.iter().find(|user| !is_namespace(&user.platform)) {
        let what = format!(
            "names the platform {:?}: use lower-case letters, digits and '-', at most 63",
            user.platform
        );
        return Err(HostError::content(path, what));
    }
    Ok(Some(file.users))
}

/// A DNS label that is nobody else's namespace.
pub(crate) fn is_namespace(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b == b'-')
        && [name.bytes().next(), name.bytes().last()]
            .into_iter()
            .flatten()
            .all(plain)
        && !name.starts_with("kube-")
        && name != crate::home::SYSTEM_NAMESPACE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataDir::new(temporary.path());
        (temporary, folder)
    }

    #[test]
    fn a_login_is_made_once_and_clients_find_it() {
        let (_temporary, folder) = folder();
        assert_eq!(Credentials::read(&folder).unwrap(), None);
        let first = load(&folder, None).unwrap();
        assert_eq!(
            (first.users.len(), first.users[0].password.len(), first.login),
            (1, 32, Login::File)
        );
        assert_eq!(load(&folder, None).unwrap().users, first.users);
        assert_eq!(Credentials::read(&folder).unwrap().as_ref(), Some(&first.users[0]));
    }

    #[test]
    fn the_environment_goes_before_the_file_and_into_no_file() {
        let (_temporary, folder) = folder();
        let own = Credentials {
            username: "me".into(),
            password: "mine".into(),
            platform: default_platform(),
        };
        let logins = load(&folder, Some(own.clone())).unwrap();
        assert_eq!((logins.users, logins.login), (vec![own.clone()], Login::Environment));
        assert!(!folder.credentials().exists());
        std::fs::write(
            folder.credentials(),
            r#"{"users": [{"username": "a", "password": "b"}, {"username": "c", "password": "d", "platform": "cf"}]}"#,
        )
        .unwrap();
        let logins = load(&folder, Some(own)).unwrap();
        assert_eq!(logins.platforms(), ["default", "cf"]);
        assert_eq!(logins.users[0].username, "me");
    }

    #[test]
    fn a_wrong_file_is_explained_without_its_passwords() {
        let (_temporary, folder) = folder();
        for bad in [
            "secret-canary",
            r#"{"users": "secret-canary"}"#,
            r#"{"users": [{"username": "u", "password": "secret-canary", "platfrom": "x"}]}"#,
            r#"{"users": [{"username": "u", "password": "secret-canary", "platform": "Not A Label"}]}"#,
            r#"{"users": [{"username": "u", "password": "secret-canary", "platform": "osb-system"}]}"#,
        ] {
            std::fs::write(folder.credentials(), bad).unwrap();
            let error = load(&folder, None).unwrap_err().to_string();
            assert!(
                error.contains("credentials") && !error.contains("secret-canary"),
                "{error}"
            );
        }
    }
}
