//! What reads files and certificates, for the fuzz targets of this repository.

use std::path::Path;

use osb_server::ClientCertificate;
use rustls::pki_types::CertificateDer;

use crate::auth_file::AuthFile;
use crate::data_dir::DataDir;
use crate::error::HostError;
use crate::{client_certificate, credentials, keys};

/// Reads the file of `--auth-file`. How many platforms it names, each as often as it does.
///
/// # Errors
/// What is wrong with it.
pub fn auth_file(path: &Path) -> Result<usize, HostError> {
    Ok(AuthFile::read(path, &mut Vec::new())?.platforms().count())
}

/// Reads the logins of a data folder; makes them where there are none.
///
/// # Errors
/// What is wrong with them.
pub fn credentials(folder: &DataDir) -> Result<usize, HostError> {
    Ok(credentials::load(folder, None)?.users().len())
}

/// Reads the keys of a data folder; makes one where there is none. Their ids.
///
/// # Errors
/// What is wrong with them.
pub fn keys(folder: &DataDir) -> Result<Vec<String>, HostError> {
    Ok(keys::load(folder, None)?.keys.ids())
}

/// What a certificate says, in DER.
pub fn certificate(der: &[u8]) -> Option<ClientCertificate> {
    client_certificate::names(&CertificateDer::from(der))
}
