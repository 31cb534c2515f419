//! Fetches the keys of an issuer over HTTPS: one GET, bounded in time and size, without redirects.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use osb_server::Fetch;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For everything together.
const LIMIT: Duration = Duration::from_secs(5);

/// No set of keys is larger.
const MAX_BYTES: usize = 1 << 20;

/// Where keys are fetched from.
pub(crate) struct Source {
    url: Uri,
    host: String,
    port: u16,
    /// Absent on this machine's own addresses, if the URL says so.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Source {
    /// A URL, with authorities to trust (PEM) in place of the system's.
    pub(crate) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, String> {
        let url: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        let host = url.host().ok_or("it has no host")?.trim_matches(['[', ']']).to_owned();
        let is_local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let (tls, port) = match url.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| "its host has no usable name")?;
                (Some((connector(authorities)?, name)), 443)
            }
            Some("http") if is_local => (None, 80),
            _ => return Err("use https, else anybody on the way could send keys of their own".to_owned()),
        };
        Ok(Self {
            port: url.port_u16().unwrap_or(port),
            url,
            host,
            tls,
        })
    }

    /// For [`osb_server::IssuerKeys`].
    pub(crate) fn into_fetch(self) -> Fetch {
        let source = Arc::new(self);
        Box::new(move || {
            let source = source.clone();
            Box::pin(async move {
                let failed = |what: String| format!("{}: {what}", source.url);
                match tokio::time::timeout(LIMIT, source.get()).await {
                    Ok(answer) => answer.map_err(failed),
                    Err(_) => Err(failed(format!("no answer within {} s", LIMIT.as_secs()))),
                }
            })
        })
    }

    async fn get(&self) -> Result<Vec<u8>, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("no connection: {error}"))?;
        match &self.tls {
            None => self.ask(stream).await,
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await;
                self.ask(stream.map_err(|error| format!("no TLS: {error}"))?).await
            }
        }
    }

    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Vec<u8>, String> {
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let path = self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let host = self.url.authority().map_or("", http::uri::Authority::as_str);
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|_| "the URL cannot be asked for".to_owned())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            if answer.status() != StatusCode::OK {
                return Err(format!("it answers with {}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
            let body = body.map_err(|_| format!("the answer breaks off or has more than {MAX_BYTES} bytes"))?;
            Ok(body.to_bytes().to_vec())
        };
        // Dropping the sender at the end ends the connection.
        tokio::pin!(connection, answer);
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            _ = &mut connection => {}
        }
        // It was closed right behind the answer, which is on its way, or without one.
        answer.await
    }
}

fn connector(authorities: Option<&[u8]>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("its ca_file cannot be read: {error}"))?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("its ca_file cannot be used: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("there is no authority to trust: name one with ca_file".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
