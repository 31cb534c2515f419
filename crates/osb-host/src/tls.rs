//! TLS of the listeners.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::auth_file::ClientAuthority;
use crate::error::HostError;
use crate::files;

/// What a listener speaks TLS with; it can be replaced while it is in use.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// Cancelled when connections that were made under this may not go on: they end after what they are doing.
    pub(crate) withdrawn: CancellationToken,
}

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            config,
            withdrawn: CancellationToken::new(),
        }
    }
}

/// The configuration for a certificate chain and its key, both PEM; with authorities of clients, these are asked for a
/// certificate. An error never quotes any of it.
pub(crate) fn server_config(
    chain: &[u8],
    key: &[u8],
    clients: Option<Arc<dyn ClientCertVerifier>>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("there is no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is no private key in PEM form".to_owned())?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key do not fit: {error}"))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The configuration of the files that `--tls-cert` and `--tls-key` name.
pub(crate) fn from_files(
    chain: &Path,
    key: &Path,
    clients: Option<&ClientAuthority>,
) -> Result<Arc<ServerConfig>, HostError> {
    let clients = clients.map(verifier).transpose()?;
    let config = server_config(
        &files::read_named(chain)?,
        &files::read_named(key)?,
        clients,
        &[b"http/1.1"],
    );
    config.map_err(|what| HostError::Tls {
        path: chain.to_owned(),
        what,
    })
}

fn verifier(authority: &ClientAuthority) -> Result<Arc<dyn ClientCertVerifier>, HostError> {
    let wrong = |what: String| HostError::Tls {
        path: authority.path.clone(),
        what,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authority.pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = if authority.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder.build().map_err(|error| {
        wrong(format!(
            "there is no authority in it that can sign for clients: {error}"
        ))
    })
}
