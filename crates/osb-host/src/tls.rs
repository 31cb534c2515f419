//! TLS of the broker's listener.

use std::path::Path;
use std::sync::Arc;

use apiserver_host::server_config;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::auth_file::ClientAuthority;
use crate::error::HostError;
use crate::files;

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
