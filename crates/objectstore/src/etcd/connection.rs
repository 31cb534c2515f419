//! Connections to the members of a cluster.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What is sent with a call.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Sends calls on one connection; to be cloned for each.
pub(super) type Sender = SendRequest<Body>;

/// What a connection is for: how much a member may send ahead of what has been read, of one answer and of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Answers that are waited for.
    Calls,
    /// Watches, each of which may be read slowly: then it must not stand in the way of others.
    Watches,
}

impl Use {
    fn windows(self) -> (u32, u32) {
        match self {
            Use::Calls => (4 << 20, 16 << 20),
            Use::Watches => (256 << 10, (1 << 31) - 1),
        }
    }
}

/// A silent connection is asked whether it lives; etcd bears no more than one such question in five seconds.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// Where a member listens for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
    secure: bool,
}

impl Address {
    /// `https://host:port`, `http://host:port`, or `host:port`, which is the first with TLS and else the second.
    pub(super) fn parse(text: &str, tls: bool) -> Result<Address, String> {
        let wrong = || format!("{text:?} is no endpoint: expected one such as https://10.0.0.5:2379");
        let (secure, rest) = match text.split_once("://") {
            None => (tls, text),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(wrong()),
        };
        if secure && !tls {
            return Err(format!("{text:?} is to be reached with TLS, which has not been set up"));
        }
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().map_err(|_| wrong())?;
        let usable = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
        if !usable || ServerName::try_from(host).is_err() {
            return Err(wrong());
        }
        Ok(Address {
            host: host.to_owned(),
            port,
            secure,
        })
    }

    /// The URL of a call.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let host = &self.host;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{}{path}", self.port)
        } else {
            format!("{scheme}://{host}:{}{path}", self.port)
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Why there is none, for people.
    pub(super) async fn connect(
        &self,
        purpose: Use,
        tls: Option<&Arc<ClientConfig>>,
        within: Duration,
    ) -> Result<Sender, String> {
        let connected = tokio::time::timeout(within, self.open(purpose, tls)).await;
        connected.unwrap_or_else(|_| Err(format!("{} does not answer", self.url(""))))
    }

    async fn open(&self, purpose: Use, tls: Option<&Arc<ClientConfig>>) -> Result<Sender, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{} cannot be reached: {error}", self.url(""));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let Some(config) = tls.filter(|_| self.secure) else {
            return handshake(purpose, stream).await.map_err(|error| failed(&error));
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(&error))?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
        handshake(purpose, stream.map_err(|error| failed(&error))?)
            .await
            .map_err(|error| failed(&error))
    }
}

async fn handshake(
    purpose: Use,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Sender, hyper::Error> {
    let (of_one, of_all) = purpose.windows();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(of_one)
        .initial_connection_window_size(of_all)
        .max_frame_size(1 << 20)
        .keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        .handshake(TokioIo::new(stream))
        .await?;
    // It ends with the last sender, and when the member is gone: then its calls fail, which say so.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_with_and_without_a_scheme() {
        let url = |text: &str, tls| Address::parse(text, tls).map(|address| address.url("/x"));
        assert_eq!(url("10.0.0.5:2379", false).unwrap(), "http://10.0.0.5:2379/x");
        assert_eq!(url("etcd-0.etcd:2379", true).unwrap(), "https://etcd-0.etcd:2379/x");
        assert_eq!(url("http://[::1]:1/", true).unwrap(), "http://[::1]:1/x");
        assert!(url("https://a:1", false).unwrap_err().contains("TLS"));
        for wrong in [
            "",
            "a",
            "a:b",
            "ftp://a:1",
            "http://:1",
            "http://a:1/path",
            "http://u@a:1",
            "a:99999",
        ] {
            assert!(url(wrong, true).unwrap_err().contains("no endpoint"), "{wrong}");
        }
    }
}
