//! TLS of the listeners.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::HostError;
use crate::files;

/// The configuration for a certificate chain and its key, both PEM. An error never quotes either.
pub(crate) fn server_config(chain: &[u8], key: &[u8], protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("there is no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is no private key in PEM form".to_owned())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key do not fit: {error}"))?;
    let mut config = config;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The configuration of the files that `--tls-cert` and `--tls-key` name.
pub(crate) fn from_files(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, HostError> {
    let read = |path: &Path| {
        let missing = || HostError::content(path, "does not exist");
        files::read(path)
            .map_err(|source| HostError::file("read", path, source))?
            .ok_or_else(missing)
    };
    let config = server_config(&read(chain)?, &read(key)?, &[b"http/1.1"]);
    config.map_err(|what| HostError::Tls {
        path: chain.to_owned(),
        what,
    })
}
