//! An API server in memory on a loopback port, without TLS: everybody who reaches it may do everything.
//!
//! `cargo run -p apiserver --example serve -- [address]`, then `kubectl --server http://127.0.0.1:8001 get namespaces`.

use apiserver::{ApiServer, Options, UserInfo};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    let store = objectstore::memory::open(objectstore::memory::Options::default());
    let server = ApiServer::open(store, Options::default()).await?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let service = TowerToHyperService::new(server.service_as(UserInfo::admin()));
        tokio::spawn(async move {
            // A client that breaks its connection off is no matter of ours.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}
