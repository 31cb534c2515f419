//! Scripts of requests to a Kubernetes API in memory.

use std::cell::RefCell;
use std::time::Duration;

use apiserver::{ApiServer, Options, Service, UserInfo};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower_service::Service as _;

use crate::front::paused_runtime;
use crate::{bytes_of, http_text};

/// The most requests of a script.
const LONGEST: usize = 6;
/// How long a watch is listened to; it takes no time.
const LISTENED: Duration = Duration::from_secs(60);
/// The most frames of a watch that are read.
const FRAMES: usize = 16;

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Every request gets an answer that a Kubernetes API may give, and what was created can be read. Parts of the input:
/// requests, which are sent one after the other to a new server.
pub(crate) fn api(data: &[u8]) {
    RUNTIME.with_borrow_mut(|runtime| runtime.get_or_insert_with(paused_runtime).block_on(play(data)));
}

async fn play(data: &[u8]) {
    let store = objectstore::memory::open(objectstore::memory::Options::default());
    let api = ApiServer::open(store, Options::default())
        .await
        .expect("a server in memory starts");
    let mut service = api.service_as(UserInfo::admin());
    let usual = [(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    for part in bytes_of::parts(data, LONGEST) {
        if let Some(request) = http_text::request(part, &usual) {
            exchange(&mut service, request).await;
        }
    }
    api.shutdown().await;
}

async fn exchange(service: &mut Service, request: Request<Full<Bytes>>) {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let accept = request.headers().contains_key(http::header::ACCEPT);
    let response = read(service, request).await;
    look(&method, uri.path(), &response);
    let plain = uri.query().is_none() && !accept;
    if plain && method == Method::POST && response.status() == 201 {
        created(service, uri.path(), &response).await;
    }
}

async fn read(service: &mut Service, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let answered = match service.call(request).await {
        Ok(answered) => answered,
        Err(never) => match never {},
    };
    let (parts, mut body) = answered.into_parts();
    let mut bytes = Vec::new();
    for _ in 0..FRAMES {
        match tokio::time::timeout(LISTENED, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            _ => break,
        }
    }
    Response::from_parts(parts, Bytes::from(bytes))
}

const STATUSES: &[u16] = &[
    200, 201, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 503, 504,
];

fn look(method: &Method, path: &str, response: &Response<Bytes>) {
    let status = response.status().as_u16();
    // A Scale without replicas is a 500, as on a real server.
    let fits = STATUSES.contains(&status) || (status == 500 && path.contains("/scale"));
    let text = String::from_utf8_lossy(response.body());
    assert!(fits, "{method} {path} is answered {status} {text:.300}");
    assert!(
        !text.contains("the request could not be handled"),
        "{method} {path}: a handler panicked"
    );
    let content_type = response.headers().get(http::header::CONTENT_TYPE);
    let json = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !json {
        return;
    }
    let mut values = serde_json::Deserializer::from_slice(response.body()).into_iter::<Value>();
    let Some(first) = values.next() else {
        // Nothing happened in a watch, or only the head was asked for.
        assert!(status == 200 || *method == Method::HEAD, "a refusal says nothing");
        return;
    };
    let first = first.expect("a body of JSON is JSON");
    assert!(values.all(|value| value.is_ok()), "each event is JSON");
    if status >= 400 {
        assert_eq!(
            (&first["kind"], &first["code"]),
            (&Value::from("Status"), &Value::from(status)),
            "{text:.300}"
        );
    }
}

/// What a create has answered is what a read answers, as long as nothing has changed it.
async fn created(service: &mut Service, path: &str, response: &Response<Bytes>) {
    let Ok(object) = serde_json::from_slice::<Value>(response.body()) else {
        return;
    };
    let Some(name) = object["metadata"]["name"].as_str() else {
        return;
    };
    let mut request = Request::new(Full::new(Bytes::new()));
    let Ok(uri) = format!("{path}/{name}").parse() else {
        return;
    };
    *request.uri_mut() = uri;
    let read = read(service, request).await;
    assert_eq!(read.status(), 200, "what was created is not there");
    let read: Value = serde_json::from_slice(read.body()).expect("an object is JSON");
    if read["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"] {
        assert_eq!(read, object, "what was created is read otherwise");
    }
}
