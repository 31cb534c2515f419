//! Certificates of a small authority, and requests on real sockets, with and without a certificate.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Signs certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// For a common name, which also is an alternative one where it can be, and this machine's address.
    pub(crate) fn sign(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        let key = KeyPair::generate().unwrap();
        Pair {
            chain: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// How to connect.
pub(crate) struct Caller {
    address: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection that can take several requests.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    /// Of the server, if it speaks TLS.
    pub(crate) certificate: Option<Vec<u8>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Caller {
    pub(crate) fn plain(url: &str) -> Self {
        Self {
            address: url.split("://").nth(1).unwrap().to_owned(),
            tls: None,
        }
    }

    /// With an authority to trust, and a certificate to show.
    pub(crate) fn secure(url: &str, authority: &Authority, own: Option<&Pair>) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self {
            tls: Some(Arc::new(config)),
            ..Self::plain(url)
        }
    }

    pub(crate) fn connect(&self) -> io::Result<Line> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let Some(tls) = &self.tls else {
            return Ok(Line {
                stream: Box::new(stream),
                certificate: None,
            });
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = ClientConnection::new(tls.clone(), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let certificate = connection.peer_certificates().map(|chain| chain[0].to_vec());
        Ok(Line {
            stream: Box::new(StreamOwned::new(connection, stream)),
            certificate,
        })
    }

    /// The status of one request on a connection of its own; `None` when there is no answer.
    pub(crate) fn status(&self, path: &str, authorization: Option<&str>) -> Option<u16> {
        self.connect()
            .and_then(|mut line| line.get(path, authorization))
            .ok()
            .map(|(status, _)| status)
    }
}

impl Line {
    /// Status and head of an answer.
    pub(crate) fn get(&mut self, path: &str, authorization: Option<&str>) -> io::Result<(u16, String)> {
        let authorization = authorization
            .map(|value| format!("Authorization: {value}\r\n"))
            .unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Broker-API-Version: 2.17\r\n{authorization}\r\n");
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body)?;
        Ok((head[9..12].parse().unwrap(), head))
    }

    /// Whether the other end closes it within the time that reading may take.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
            || matches!(self.stream.read(&mut [0]), Err(error) if error.kind() != io::ErrorKind::WouldBlock)
    }
}
