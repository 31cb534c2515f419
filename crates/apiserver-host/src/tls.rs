//! TLS of the listeners.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use tokio_util::sync::CancellationToken;

/// What a listener speaks TLS with; it can be replaced while it is in use.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate, key and protocols.
    pub config: Arc<ServerConfig>,
    /// Cancelled when connections that were made under this may not go on: they end after what they are doing.
    pub withdrawn: CancellationToken,
}

impl Tls {
    /// Under which connections go on until they end.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            config,
            withdrawn: CancellationToken::new(),
        }
    }
}

/// The configuration for a certificate chain and its key, both PEM; with authorities of clients, these are asked for a
/// certificate.
///
/// # Errors
/// What is wrong with them, without quoting any of it.
pub fn server_config(
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
