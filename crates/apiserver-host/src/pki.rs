//! What a Kubernetes listener needs: an authority of its own, a certificate, a token, and the kubeconfig with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::{files, tls};

const AUTHORITY_DAYS: i64 = 3650;
const CERTIFICATE_DAYS: i64 = 365;
/// A certificate that ends sooner is made anew at the start.
const RENEW_DAYS: i64 = 60;

/// All that belongs together, in one file so that it is replaced together: an authority, a certificate for the server,
/// and the administrator's token.
#[derive(Serialize, Deserialize)]
pub struct Pki {
    authority: Pair,
    server: Pair,
    /// The names and addresses that the server's certificate is for.
    names: Vec<String>,
    /// Of the administrator in the kubeconfig.
    token: String,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    certificate: String,
    key: String,
    last_day: Date,
}

impl Pki {
    /// Makes everything, for a server on this address and without a file.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn new(address: SocketAddr) -> Result<Self, Error> {
        match Self::renewed(None, names(address), today()) {
            Ok((Some(pki), _)) => Ok(pki),
            _ => Err(Error::NoRandomness),
        }
    }

    /// As [`new`](Self::new), for an administrator who has a token already.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn with_token(address: SocketAddr, token: String) -> Result<Self, Error> {
        Self::new(address).map(|pki| Self { token, ..pki })
    }

    /// Reads the file; makes what is missing, ends soon, or is for other names.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Content`], [`Error::NoRandomness`].
    pub fn load(path: &Path, address: SocketAddr) -> Result<Self, Error> {
        let found = files::read(path).map_err(|source| Error::file("read", path, source))?;
        // What serde says may quote the key.
        let found: Option<Self> = found
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()
            .map_err(|_| {
                Error::content(
                    path,
                    "is damaged: remove it, and a new one and a new kubeconfig are made",
                )
            })?;
        let (pki, changed) = Self::renewed(found, names(address), today()).map_err(|error| {
            Error::content(
                path,
                format!("holds an authority that cannot sign ({error}): remove it, and a new one is made"),
            )
        })?;
        let pki = pki.map_or_else(|| Err(Error::NoRandomness), Ok)?;
        if changed {
            let bytes = serde_json::to_vec(&pki).unwrap_or_default();
            files::write(path, &bytes).map_err(|source| Error::file("write", path, source))?;
        }
        Ok(pki)
    }

    /// What was found if it is still good, and whether anything had to be made; `None` without randomness for a token.
    fn renewed(found: Option<Self>, names: Vec<String>, today: Date) -> Result<(Option<Self>, bool), rcgen::Error> {
        let good = |pair: &Pair| pair.last_day > today.saturating_add(RENEW_DAYS.days());
        let found = found.filter(|pki| good(&pki.authority));
        let (authority, token) = match found {
            Some(pki) if good(&pki.server) && names.iter().all(|name| pki.names.contains(name)) => {
                return Ok((Some(pki), false));
            }
            Some(pki) => (pki.authority, pki.token),
            None => {
                let Some(token) = secret() else {
                    return Ok((None, false));
                };
                (authority(today)?, token)
            }
        };
        let server = server(&authority, &names, today)?;
        Ok((
            Some(Self {
                authority,
                server,
                names,
                token,
            }),
            true,
        ))
    }

    /// The token of the administrator in the kubeconfig.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate of the authority that has signed the server's, PEM.
    pub fn authority(&self) -> &str {
        &self.authority.certificate
    }

    /// For the listener: HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        let pem = |text: &str| text.as_bytes().to_vec();
        let config = tls::server_config(
            &pem(&self.server.certificate),
            &pem(&self.server.key),
            None,
            &[b"h2", b"http/1.1"],
        );
        config.map_err(Error::Tls)
    }

    /// A kubeconfig for the server at this URL: `cluster` names it, `namespace` is where commands without one go.
    pub fn kubeconfig(&self, url: &str, cluster: &str, namespace: &str) -> String {
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.authority.certificate);
        let token = &self.token;
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: {cluster}\n\
             \x20 cluster:\n\
             \x20   server: {url}\n\
             \x20   certificate-authority-data: {authority}\n\
             users:\n\
             - name: admin\n\
             \x20 user:\n\
             \x20   token: {token}\n\
             contexts:\n\
             - name: {cluster}\n\
             \x20 context:\n\
             \x20   cluster: {cluster}\n\
             \x20   namespace: {namespace}\n\
             \x20   user: admin\n\
             current-context: {cluster}\n"
        )
    }

    /// Writes the [`kubeconfig`](Self::kubeconfig), unless the file says the same already.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_kubeconfig(&self, path: &Path, url: &str, cluster: &str, namespace: &str) -> Result<(), Error> {
        let text = self.kubeconfig(url, cluster, namespace);
        if files::read(path).is_ok_and(|found| found.is_some_and(|found| found == text.as_bytes())) {
            return Ok(());
        }
        files::write(path, text.as_bytes()).map_err(|source| Error::file("write", path, source))
    }
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

fn today() -> Date {
    TimeZone::UTC.to_datetime(Timestamp::now()).date()
}

/// 192 random bits in 32 characters that need no quoting anywhere; `None` when the system gives none.
pub fn secret() -> Option<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// What clients may call a server on this address.
fn names(address: SocketAddr) -> Vec<String> {
    let mut names: Vec<String> = vec!["localhost".to_owned(), "kubernetes.default.svc".to_owned()];
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    names.extend(loopback.iter().map(IpAddr::to_string));
    if !address.ip().is_unspecified() && !loopback.contains(&address.ip()) {
        names.push(address.ip().to_string());
    }
    names
}

/// The same each time, also in later versions: a certificate is signed with these and the stored key.
fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "osb");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn authority(today: Date) -> Result<Pair, rcgen::Error> {
    let mut params = authority_params()?;
    let last_day = validity(&mut params, today, AUTHORITY_DAYS);
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
        last_day,
    })
}

fn server(authority: &Pair, names: &[String], today: Date) -> Result<Pair, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    // Not that of its authority: a certificate whose subject is its issuer is taken for a self-signed one by OpenSSL.
    params.distinguished_name.push(DnType::CommonName, "apiserver");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let last_day = validity(&mut params, today, CERTIFICATE_DAYS).min(authority.last_day);
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&authority.key)?);
    Ok(Pair {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
        last_day,
    })
}

/// From yesterday on, for clocks that differ.
fn validity(params: &mut CertificateParams, today: Date, days: i64) -> Date {
    let (first, last) = (today.saturating_sub(1.day()), today.saturating_add(days.days()));
    let at = |date: Date| {
        rcgen::date_time_ymd(
            date.year().into(),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = at(first);
    params.not_after = at(last);
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = jiff::civil::date(2026, 11, 21);

    fn renewed(found: Option<Pki>, names: &[&str], today: Date) -> (Pki, bool) {
        let (pki, changed) = Pki::renewed(found, names.iter().map(|name| (*name).to_owned()).collect(), today).unwrap();
        (pki.unwrap(), changed)
    }

    #[test]
    fn nothing_is_made_while_all_is_good() {
        let (pki, changed) = renewed(None, &["localhost"], TODAY);
        assert!(changed);
        let (token, certificate) = (pki.token.clone(), pki.server.certificate.clone());
        let (pki, changed) = renewed(Some(pki), &["localhost"], TODAY.saturating_add(300.days()));
        assert!(!changed);
        assert_eq!((pki.token, pki.server.certificate), (token, certificate));
    }

    #[test]
    fn a_certificate_that_ends_soon_or_lacks_a_name_is_renewed_under_the_same_authority_and_token() {
        let (pki, _) = renewed(None, &["localhost"], TODAY);
        let (authority, token) = (pki.authority.certificate.clone(), pki.token.clone());
        let (pki, changed) = renewed(Some(pki), &["localhost"], TODAY.saturating_add(310.days()));
        assert!(changed);
        let (pki, changed) = renewed(Some(pki), &["localhost", "10.0.0.1"], TODAY.saturating_add(311.days()));
        assert!(changed);
        assert_eq!((&pki.authority.certificate, &pki.token), (&authority, &token));
        let (pki, _) = renewed(Some(pki), &["localhost"], TODAY.saturating_add(3640.days()));
        assert_ne!((&pki.authority.certificate, &pki.token), (&authority, &token));
    }

    #[test]
    fn the_file_is_private_and_damage_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("pki");
        let address = "127.0.0.1:8443".parse().unwrap();
        let pki = Pki::load(&path, address).unwrap();
        pki.server_config().unwrap();
        assert_eq!(Pki::load(&path, address).unwrap().token, pki.token);
        std::fs::write(&path, "{").unwrap();
        let error = Pki::load(&path, address).err().unwrap().to_string();
        assert!(error.contains("remove it"), "{error}");
    }
}
