//! Over TCP.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use osb_simulate::{Http, Lost, Options, Platform, Simulation, Transport, VirtualClock};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tower_service::Service as _;

use crate::broker::{Broker, Pace};

fn transport(address: std::net::SocketAddr) -> Http {
    Http::new(&osb_client::Options::new(
        format!("http://{address}"),
        "user",
        "password",
    ))
    .unwrap()
}

async fn serve(listener: TcpListener, broker: Broker) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let broker = broker.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let mut broker = broker.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let response = broker.call(Request::from_parts(parts, Full::new(body))).await.unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await
        });
    }
}

#[tokio::test]
async fn a_broker_behind_a_socket_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = transport(listener.local_addr().unwrap());
    let broker = Broker::new(Pace::Asynchronous(Duration::from_millis(20)), None);
    let server = tokio::spawn(serve(listener, broker.clone()));
    let options = Options {
        scenarios: ["life", "repeated_provision", "same_millisecond", "bind_bad_gateway"]
            .map(str::to_owned)
            .to_vec(),
        ..Options::default()
    };
    let simulation = Simulation::new(transport, VirtualClock::paced(Duration::from_millis(5)), options);
    for platform in Platform::ALL {
        let report = simulation.run(platform).await;
        assert!(report.passed(), "{report}");
    }
    assert_eq!(broker.left(), 0);
    server.abort();
}

/// Only where nothing was sent a platform may believe that nothing was done.
#[tokio::test]
async fn what_was_not_sent_is_told_from_what_was() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = || Request::builder().uri("/v2/catalog").body(Bytes::new()).unwrap();
    let hangs_up = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Something of the request has arrived before the connection ends.
        assert!(stream.read(&mut [0; 16]).await.unwrap() > 0);
    };
    let transport = transport(address);
    let (answer, ()) = tokio::join!(transport.send(request()), hangs_up);
    assert_eq!(answer.unwrap_err(), Lost::Broken);
    drop(listener);
    assert_eq!(transport.send(request()).await.unwrap_err(), Lost::Refused);
}
