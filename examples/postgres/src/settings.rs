//! What the operator sets: where the database server is, and how the broker logs in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};

/// The environment variable with the server and the broker's login:
/// `postgres://admin:password@host:5432/osb?sslmode=require`.
pub const URL: &str = "POSTGRES_URL";
/// The environment variable with the path of a file that holds the password, for a URL without one.
pub const PASSWORD_FILE: &str = "POSTGRES_PASSWORD_FILE";
/// The environment variable with the path of a PEM file: the authorities whose certificate the server may show.
/// Without it those of the system count.
pub const CA_FILE: &str = "POSTGRES_CA_FILE";
/// The environment variable with `host:port` as applications reach the server, where that differs from the URL.
pub const PUBLIC_ADDRESS: &str = "POSTGRES_PUBLIC_ADDRESS";

/// The environment variable with the maintenance version of all plans, a semantic version. Raise it when the server has
/// got newer extensions: platforms then offer an upgrade, which brings the extensions of a database to them.
pub const MAINTENANCE_VERSION: &str = "POSTGRES_MAINTENANCE_VERSION";

const DEFAULT_MAINTENANCE_VERSION: &str = "1.0.0";
const DEFAULT_PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that does not acknowledge what was sent for that long is lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Where the server is and how the broker logs in.
#[derive(Clone)]
pub struct Settings {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) tls: ClientConfig,
    pub(crate) public: PublicAddress,
    pub(crate) maintenance_version: String,
}

/// The server as applications reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether logins have to use TLS.
    pub(crate) tls: bool,
}

/// A setting that cannot be used. The texts never quote the URL, which holds a password.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no URL.
    #[error(
        "{URL} is not set: set it to postgres://user:password@host:port/database, a login that may create databases and roles"
    )]
    Missing,
    /// The URL cannot be read.
    #[error(
        "{URL} cannot be read: write postgres://user:password@host:port/database, with %-escapes for special characters of the password"
    )]
    Url,
    /// No user, no host, or several hosts.
    #[error("{URL} has to name {0}")]
    Incomplete(&'static str),
    /// Applications cannot use the Unix socket of this machine.
    #[error("{URL} names a Unix socket: set {PUBLIC_ADDRESS} to host:port as applications reach the server")]
    NotPublic,
    /// Not `host:port`.
    #[error("{PUBLIC_ADDRESS} is not host:port")]
    PublicAddress,
    /// A file cannot be read.
    #[error("the file {path} of {variable} cannot be used")]
    File {
        /// The variable that names it.
        variable: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Settings {
    /// Reads the environment: [`URL`], [`PASSWORD_FILE`], [`CA_FILE`], [`PUBLIC_ADDRESS`],
    /// [`MAINTENANCE_VERSION`]. Nothing is connected yet.
    ///
    /// # Errors
    /// [`SettingsError`] with what to mend.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// As [`from_env`](Self::from_env), with the variables from elsewhere.
    ///
    /// # Errors
    /// [`SettingsError`] with what to mend.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let url = variable(URL).ok_or(SettingsError::Missing)?;
        // Its error may quote a part of the password.
        let mut postgres: tokio_postgres::Config = url.parse().map_err(|_| SettingsError::Url)?;
        if postgres.get_user().is_none_or(str::is_empty) {
            return Err(SettingsError::Incomplete("a user"));
        }
        if let Some(path) = variable(PASSWORD_FILE) {
            postgres.password(password(Path::new(&path))?);
        }
        let public = public_address(&postgres, variable(PUBLIC_ADDRESS).as_deref())?;
        let tls = tls(postgres.get_ssl_mode(), variable(CA_FILE).as_deref().map(Path::new))?;
        postgres
            .application_name(crate::APPLICATION_NAME)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(UNACKNOWLEDGED);
        Ok(Self {
            postgres,
            tls,
            public,
            maintenance_version: variable(MAINTENANCE_VERSION)
                .unwrap_or_else(|| DEFAULT_MAINTENANCE_VERSION.to_owned()),
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

fn password(path: &Path) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| file(PASSWORD_FILE, path, source))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn file(
    variable: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> SettingsError {
    SettingsError::File {
        variable,
        path: path.to_owned(),
        source: source.into(),
    }
}

fn public_address(postgres: &tokio_postgres::Config, public: Option<&str>) -> Result<PublicAddress, SettingsError> {
    let tls = postgres.get_ssl_mode() == SslMode::Require;
    let [host] = postgres.get_hosts() else {
        return Err(SettingsError::Incomplete("one host"));
    };
    if let Some(public) = public {
        let (host, port) = host_and_port(public).ok_or(SettingsError::PublicAddress)?;
        return Ok(PublicAddress { host, port, tls });
    }
    match host {
        Host::Tcp(host) => {
            let port = postgres.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
            Ok(PublicAddress {
                host: host.clone(),
                port,
                tls,
            })
        }
        Host::Unix(_) => Err(SettingsError::NotPublic),
    }
}

/// `host:port` or `[IPv6 address]:port`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let usable = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    };
    usable.then_some(())?;
    Some((
        inner.unwrap_or(host).to_owned(),
        port.parse().ok().filter(|port| *port > 0)?,
    ))
}

/// With TLS the server's certificate is always verified, its name included.
fn tls(mode: SslMode, ca_file: Option<&Path>) -> Result<ClientConfig, SettingsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(|source| file(CA_FILE, path, source))? {
                let certificate = certificate.map_err(|source| file(CA_FILE, path, source))?;
                roots.add(certificate).map_err(|source| file(CA_FILE, path, source))?;
            }
            if roots.is_empty() {
                return Err(file(CA_FILE, path, "it has no certificate"));
            }
        }
        None if mode == SslMode::Disable => {}
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn public(variables: &[(&str, &str)]) -> (String, u16, bool) {
        let public = read(variables).expect("usable").public;
        (public.host, public.port, public.tls)
    }

    #[test]
    fn applications_get_the_address_of_the_url_unless_another_is_set() {
        let url = (URL, "postgres://admin:pw@db.example.com/osb?sslmode=require");
        assert_eq!(public(&[url]), ("db.example.com".to_owned(), 5432, true));
        assert_eq!(
            public(&[url, (PUBLIC_ADDRESS, "pg.apps:6000")]),
            ("pg.apps".to_owned(), 6000, true)
        );
        assert_eq!(
            public(&[url, (PUBLIC_ADDRESS, "[::1]:6000")]),
            ("::1".to_owned(), 6000, true)
        );
        let plain = (URL, "postgres://admin@127.0.0.1:7000/osb?sslmode=disable");
        assert_eq!(public(&[plain]), ("127.0.0.1".to_owned(), 7000, false));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_password() {
        let url = "postgres://admin:hunter2@127.0.0.1:1/osb?sslmode=disable";
        let cases: [(&[(&str, &str)], &str); 8] = [
            (&[], "is not set"),
            (&[(URL, "postgres://admin:hunter2/@host:none/osb")], "cannot be read"),
            (&[(URL, "postgres://host/osb?password=hunter2")], "a user"),
            (&[(URL, "postgres://admin:hunter2@one,two/osb")], "one host"),
            (
                &[(URL, "postgres://admin:hunter2@%2Frun/osb?sslmode=disable")],
                "Unix socket",
            ),
            (&[(URL, url), (PUBLIC_ADDRESS, "host")], "host:port"),
            (&[(URL, url), (PASSWORD_FILE, "/nowhere/at/all")], "/nowhere/at/all"),
            (&[(URL, url), (CA_FILE, "/nowhere/at/all")], "/nowhere/at/all"),
        ];
        for (variables, part) in cases {
            let text = read(variables).expect_err(part).to_string();
            assert!(text.contains(part) && !text.contains("hunter2"), "{text}");
        }
        assert!(!format!("{:?}", read(&[(URL, url)])).contains("hunter2"));
    }

    #[test]
    fn the_password_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "from the file\n").expect("written");
        let path = file.path().to_str().expect("a path of text");
        let url = "postgres://admin@127.0.0.1/osb?sslmode=disable";
        let settings = read(&[(URL, url), (PASSWORD_FILE, path)]).expect("usable");
        assert_eq!(settings.postgres.get_password(), Some(&b"from the file"[..]));
    }
}
