//! The service under hyper, over real sockets.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::*;

/// Serves a front on a port of its own.
async fn serve(front: &Front) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(front.server.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .is_ok()
            });
        }
    });
    address
}

fn put(body: &str) -> String {
    let login = osb_api::base64::encode(b"user:pass");
    format!(
        "PUT {INSTANCE} HTTP/1.1\r\nHost: b\r\nAuthorization: Basic {login}\r\nX-Broker-Api-Version: 2.17\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_is_served_over_a_socket() {
    let front = Front::new(Script::default());
    let address = serve(&front).await;
    let answer = exchange(address, put(PROVISION).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(
        answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\n{}"),
        "{answer}"
    );
    assert_eq!(answer.matches("content-length").count(), 1, "{answer}");
}

/// A client cut off after each byte of its request either reaches the broker with the whole request or not at all.
#[tokio::test]
async fn half_a_request_is_no_request() {
    let front = Front::new(Script::default());
    let address = serve(&front).await;
    let whole = put(PROVISION);
    for length in 0..whole.len() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&whole.as_bytes()[..length]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            !String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2"),
            "after {length} bytes"
        );
    }
    assert_eq!(front.seen(), []);
}

#[tokio::test]
async fn garbage_and_header_bombs_are_refused_by_the_connection() {
    let front = Front::new(Script::default());
    let address = serve(&front).await;
    let bomb = format!(
        "GET /v2/catalog HTTP/1.1\r\nHost: b\r\n{}\r\n",
        "X-A: b\r\n".repeat(10_000)
    );
    let long = format!("GET /{} HTTP/1.1\r\nHost: b\r\n\r\n", "x".repeat(70_000));
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        bomb.as_bytes(),
        long.as_bytes(),
    ] {
        let answer = exchange(address, request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(
        exchange(address, put(PROVISION).as_bytes())
            .await
            .starts_with("HTTP/1.1 201"),
        "the server goes on"
    );
}
