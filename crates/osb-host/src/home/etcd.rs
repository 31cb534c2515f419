//! The home `etcd`: the API server of this process on a store that lies in an etcd cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use objectstore::etcd::{self, Login};
use objectstore::{Revision, Store};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::HostError;
use crate::files;

/// The flags of the home `etcd`.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::{EtcdOptions, HomeKind, HomeOptions};
///
/// let home = HomeOptions {
///     home: HomeKind::Etcd,
///     etcd: EtcdOptions {
///         etcd_endpoints: vec!["https://10.0.0.5:2379".to_owned(), "https://10.0.0.6:2379".to_owned()],
///         etcd_ca: Some("/etc/etcd/ca.pem".into()),
///         ..EtcdOptions::default()
///     },
///     ..HomeOptions::default()
/// };
/// assert!(home.etcd.etcd_prefix.is_none(), "by default /osb/BROKER");
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EtcdOptions {
    /// The members of the cluster of the home `etcd`, with commas between them: https://HOST:PORT, or http:// where
    /// nobody else is on the network
    #[arg(long, value_name = "URL,...", value_delimiter = ',', env = "OSB_ETCD_ENDPOINTS")]
    pub etcd_endpoints: Vec<String>,

    /// What the keys there start with; brokers with different ones can share a cluster [default: /osb/BROKER]
    #[arg(long, value_name = "PREFIX", env = "OSB_ETCD_PREFIX")]
    pub etcd_prefix: Option<String>,

    /// The authority that signs for the members, PEM [default: the system's]
    #[arg(long, value_name = "FILE", env = "OSB_ETCD_CA")]
    pub etcd_ca: Option<PathBuf>,

    /// The certificate chain by which the members know this broker, PEM
    #[arg(long, value_name = "FILE", env = "OSB_ETCD_CERTIFICATE", requires = "etcd_key")]
    pub etcd_certificate: Option<PathBuf>,

    /// The private key of that certificate, PEM
    #[arg(long, value_name = "FILE", env = "OSB_ETCD_KEY", requires = "etcd_certificate")]
    pub etcd_key: Option<PathBuf>,

    /// The user of the cluster; the password is OSB_ETCD_PASSWORD, or in the file that --etcd-password-file names
    #[arg(long, value_name = "NAME", env = "OSB_ETCD_USERNAME")]
    pub etcd_username: Option<String>,

    /// A file with the password of that user
    #[arg(
        long,
        value_name = "FILE",
        env = "OSB_ETCD_PASSWORD_FILE",
        requires = "etcd_username"
    )]
    pub etcd_password_file: Option<PathBuf>,
}

/// Opens the store of a broker, which has to be named where no prefix is. A new one begins at a revision.
pub(crate) async fn open_store(
    options: &EtcdOptions,
    broker: Option<&str>,
    first_revision: Revision,
) -> Result<Store, HostError> {
    let endpoints = options.etcd_endpoints.iter().map(|endpoint| endpoint.trim());
    let endpoints: Vec<String> = endpoints
        .filter(|endpoint| !endpoint.is_empty())
        .map(str::to_owned)
        .collect();
    if endpoints.is_empty() {
        return Err(HostError::NoEtcd);
    }
    let prefix = options.etcd_prefix.clone();
    let prefix = prefix.or_else(|| broker.map(|broker| format!("/osb/{broker}")));
    let secure = options.etcd_ca.is_some()
        || options.etcd_certificate.is_some()
        || endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    let options = etcd::Options {
        prefix: prefix.ok_or(HostError::NoEtcdPrefix)?,
        first_revision,
        tls: if secure { Some(tls(options)?) } else { None },
        login: login(options)?,
        endpoints,
        ..etcd::Options::default()
    };
    Ok(etcd::open(options).await?)
}

fn login(options: &EtcdOptions) -> Result<Option<Login>, HostError> {
    let Some(name) = options.etcd_username.clone().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let password = match &options.etcd_password_file {
        Some(path) => {
            let bytes = files::read_named(path)?;
            let text = String::from_utf8(bytes).map_err(|_| HostError::content(path, "is not text"))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        // Not of a flag: arguments can be seen by everybody on the machine.
        None => std::env::var("OSB_ETCD_PASSWORD").map_err(|_| HostError::NoEtcdPassword)?,
    };
    Ok(Some(Login { name, password }))
}

fn tls(options: &EtcdOptions) -> Result<Arc<ClientConfig>, HostError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HostError::Etcd(etcd::OpenError::Endpoint(error.to_string())))?
        .with_root_certificates(authorities(options.etcd_ca.as_deref())?);
    let config = match (&options.etcd_certificate, &options.etcd_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let wrong = |path: &Path, what: String| HostError::Tls {
                path: path.to_owned(),
                what,
            };
            let secret = PrivateKeyDer::from_pem_slice(&files::read_named(key)?)
                .map_err(|_| wrong(key, "the key is no private key in PEM form".to_owned()))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| wrong(certificate, format!("certificate and key do not fit: {error}")))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn authorities(path: Option<&Path>) -> Result<RootCertStore, HostError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = path else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| HostError::Tls {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HostError> {
    let wrong = |what: String| HostError::Tls {
        path: path.to_owned(),
        what,
    };
    let pem = files::read_named(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong(
            "there is no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)".to_owned(),
        ));
    }
    Ok(found)
}
