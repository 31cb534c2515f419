//! A port of an API server: HTTPS with a certificate of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use apiserver::ApiServer;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::Error;
use crate::listener::{Limits, Listener, Serving, Versions, bind, most_connections};
use crate::pki::Pki;
use crate::tls::Tls;

const CONNECTIONS: usize = 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A socket that listens, before anything is served on it: its address is known.
#[derive(Debug)]
pub struct Socket {
    listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Socket {
    /// Opens it; port 0 takes a free one.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let bound = bind(address).await;
        let (listener, address) = bound.map_err(|source| Error::Listen { address, source })?;
        Ok(Self { listener, address })
    }

    /// The URL for clients on this machine.
    pub fn url(&self) -> String {
        format!("https://{}", reachable(self.address))
    }
}

/// A port where an API server answers.
#[derive(Debug)]
pub struct Port {
    serving: Serving,
}

impl Port {
    /// Begins to answer, with the certificate of `pki`. Each request says who sends it.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn open(socket: Socket, api: &ApiServer, pki: &Pki) -> Result<Self, Error> {
        let listener = Listener {
            name: "kubernetes",
            socket: socket.listener,
            tls: Some(watch::channel(Tls::new(pki.server_config()?)).1),
            versions: Versions::OneAndTwo,
            limits: Limits {
                connections: most_connections(CONNECTIONS),
                head_timeout: HEAD_TIMEOUT,
            },
            explain: kubernetes_status,
        };
        let service = api.service();
        let serving = listener.serve(move |_: Option<&CertificateDer<'_>>| service.clone());
        Ok(Self { serving })
    }

    /// Accepts nothing more and ends all connections, now.
    pub fn cut_off(&self) {
        self.serving.cut_off();
    }

    /// Accepts nothing more, and answers what was begun; what takes longer than `limit` is cut off. Watches end with
    /// [`ApiServer::shutdown`], which goes before this.
    pub async fn close(self, limit: Duration) {
        self.serving.drain(limit).await;
    }
}

/// The body of what is refused before it is a request, as the Kubernetes API has it.
pub fn kubernetes_status(status: u16, reason: &str) -> serde_json::Value {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "code": status,
    })
}

/// An address that clients on this machine can use.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_on_this_machine_are_told_an_address_that_they_can_use() {
        for (address, told) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("192.0.2.1:1", "192.0.2.1:1"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), told);
        }
    }
}
