//! Sockets and bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Ask, Broker, Reply, Route};

pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "canary-password";

pub(crate) fn login() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

/// Serves the broker; its URL.
pub(crate) async fn serve(broker: Arc<Broker>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, broker.clone()));
        }
    });
    url
}

async fn connection(stream: TcpStream, broker: Arc<Broker>) {
    let mut head = vec![0; 2048];
    let length = stream.peek(&mut head).await.unwrap_or_default();
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let service = service_fn(move |request| {
        let (broker, head) = (broker.clone(), head.clone());
        async move {
            let ask = ask(&broker, head, request).await;
            let reply = broker.answer(&ask);
            if reply.hangs {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::convert::Infallible>(response(reply))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn ask(broker: &Broker, head: String, request: Request<Incoming>) -> Ask {
    let (parts, body) = request.into_parts();
    let bytes = body
        .collect()
        .await
        .map(|body| body.to_bytes().to_vec())
        .unwrap_or_default();
    let path = parts.uri.path().strip_prefix("/prefix").unwrap_or_default();
    let decode = |text: &str| {
        if broker.breaks("OSB-URL-03") {
            text.to_owned()
        } else {
            decoded(text)
        }
    };
    let segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (route, instance, binding) = route(&parts.method, &segments);
    let pairs = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    Ask {
        route,
        instance: key(broker, instance),
        binding: binding.to_owned(),
        query: pairs
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect::<HashMap<_, _>>(),
        headers: parts.headers.iter().map(header).collect::<BTreeMap<_, _>>(),
        head,
        body: serde_json::from_slice(&bytes).ok(),
    }
}

/// An id as the broker keeps it: as it is.
fn key(broker: &Broker, id: &str) -> String {
    if broker.breaks("OSB-GEN-05") {
        id.to_lowercase()
    } else {
        id.to_owned()
    }
}

fn route<'a>(method: &Method, segments: &[&'a str]) -> (Route, &'a str, &'a str) {
    let get = *method == Method::GET;
    let of = |route: Option<Route>, instance, binding| (route.unwrap_or(Route::Unknown), instance, binding);
    match segments {
        ["v2", "catalog"] => of(get.then_some(Route::Catalog), "", ""),
        ["v2", "service_instances", id] => {
            let route = match method.as_str() {
                "PUT" => Some(Route::Provision),
                "GET" => Some(Route::FetchInstance),
                "PATCH" => Some(Route::Update),
                "DELETE" => Some(Route::Deprovision),
                _ => None,
            };
            of(route, id, "")
        }
        ["v2", "service_instances", id, "last_operation"] => of(get.then_some(Route::PollInstance), id, ""),
        ["v2", "service_instances", id, "service_bindings", binding] => {
            let route = match method.as_str() {
                "PUT" => Some(Route::Bind),
                "GET" => Some(Route::FetchBinding),
                "DELETE" => Some(Route::Unbind),
                _ => None,
            };
            of(route, id, binding)
        }
        [
            "v2",
            "service_instances",
            id,
            "service_bindings",
            binding,
            "last_operation",
        ] => of(get.then_some(Route::PollBinding), id, binding),
        _ => of(None, "", ""),
    }
}

/// Percent-decoded once; what is no encoding stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let bytes = reply.body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(bytes))).unwrap()
}
