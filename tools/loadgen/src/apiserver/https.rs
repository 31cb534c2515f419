//! HTTPS as the bench of API servers needs it: requests and answers as bytes. Nothing of a body is understood, since reading
//! JSON would cost the generator more than the server needs to write it.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use loadgen::http::{Incoming, Target};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::framing::{Drain, events};
use crate::drive::unexpected;

/// What is read at once.
const READ: usize = 64 << 10;

/// Whom to ask and whom to believe.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) target: Target,
    tls: TlsConnector,
}

impl Place {
    /// A server whose certificate one of these authorities (PEM) has signed.
    pub(crate) fn new(target: Target, authorities: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            target,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// A connection of its own, kept open.
    pub(crate) async fn connect(&self) -> Result<Https> {
        let stream = TcpStream::connect(self.target.addr).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.target.addr.ip().into());
        Ok(Https {
            target: self.target.clone(),
            stream: self.tls.connect(name, stream).await.context("no TLS")?,
            incoming: Incoming::default(),
            request: Vec::with_capacity(1024),
        })
    }
}

/// A connection with one request under way at a time.
pub(crate) struct Https {
    target: Target,
    stream: TlsStream<TcpStream>,
    incoming: Incoming,
    request: Vec<u8>,
}

impl Https {
    async fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<()> {
        self.target.request(&mut self.request, method, path, body);
        self.stream.write_all(&self.request).await?;
        Ok(self.stream.flush().await?)
    }

    /// The status and body of an answer of moderate size.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<(u16, Vec<u8>)> {
        let mut found = Vec::new();
        let status = self
            .answered(method, path, body, |answer| found.extend_from_slice(answer))
            .await?;
        Ok((status, found))
    }

    /// A request that has to be answered with this status; the body is dropped.
    pub(crate) async fn expect(&mut self, status: u16, method: &str, path: &str, body: Option<&[u8]>) -> Result<()> {
        self.send(method, path, body).await?;
        loop {
            if let Some(taken) = self.incoming.take()? {
                let answer = self.incoming.response(taken);
                if answer.status != status {
                    bail!(unexpected(method, path, &answer));
                }
                return Ok(());
            }
            let count = self.stream.read(self.incoming.space()).await?;
            self.incoming.advance(count)?;
        }
    }

    async fn answered(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        mut see: impl FnMut(&[u8]),
    ) -> Result<u16> {
        self.send(method, path, body).await?;
        let mut drain = Drain::default();
        let mut buffer = vec![0; READ];
        loop {
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                bail!("{method} {path}: the connection ends before the answer");
            }
            if drain.feed(&buffer[..count], &mut see)? {
                return Ok(drain.status());
            }
        }
    }

    /// Reads a long answer as it comes and gives the number of its bytes.
    pub(crate) async fn read_all(&mut self, path: &str) -> Result<u64> {
        let mut bytes = 0;
        let status = self
            .answered("GET", path, None, |part| bytes += part.len() as u64)
            .await?;
        if status != 200 {
            bail!("GET {path} was answered with {status}");
        }
        Ok(bytes)
    }

    /// Begins a watch; the server has it when this returns.
    pub(crate) async fn watch(mut self, path: &str) -> Result<Watch> {
        self.send("GET", path, None).await?;
        let mut watch = Watch {
            stream: self.stream,
            buffer: vec![0; READ],
            last: 0,
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            watch.stream.read_exact(&mut byte).await?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            bail!("GET {path}: {}", String::from_utf8_lossy(&head));
        }
        Ok(watch)
    }
}

/// The events of a watch, counted.
pub(crate) struct Watch {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    last: u8,
}

impl Watch {
    /// Waits until so many more events have come.
    pub(crate) async fn wait_for(&mut self, count: u64) -> Result<()> {
        let mut seen = 0;
        while seen < count {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                bail!("a watch has ended after {seen} of {count} events");
            }
            seen += events(&self.buffer[..read], &mut self.last);
        }
        Ok(())
    }
}
