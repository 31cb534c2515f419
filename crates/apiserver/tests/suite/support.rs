//! A server for each test, and one way to talk to it.

use apiserver::{ApiServer, Body, Options, UserInfo};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A new store of the engine that these tests run on, and the folder it lies in, if any.
#[derive(Clone)]
pub(crate) struct TestStore {
    pub(crate) store: objectstore::Store,
    _folder: Option<std::sync::Arc<tempfile::TempDir>>,
}

impl std::ops::Deref for TestStore {
    type Target = objectstore::Store;

    fn deref(&self) -> &objectstore::Store {
        &self.store
    }
}

/// A new, empty store.
pub(crate) fn open_store() -> TestStore {
    if super::DURABLE {
        let folder = tempfile::tempdir().unwrap();
        // A test ends by taking the folder away from under the store; any other failure shows in the answers, since the store is closed then.
        let options = objectstore::embedded::Options { on_fatal: std::sync::Arc::new(|_| {}), ..Default::default() };
        let store = objectstore::embedded::open(folder.path(), options).unwrap();
        TestStore { store, _folder: Some(std::sync::Arc::new(folder)) }
    } else {
        TestStore { store: objectstore::memory::open(objectstore::memory::Options::default()), _folder: None }
    }
}

/// A server on a store of its own.
pub(crate) struct TestServer {
    pub(crate) api: ApiServer,
    pub(crate) store: TestStore,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The object of a successful answer.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!(self.code.is_success(), "{}: {}", self.code, String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Code and reason of a refusal.
    #[track_caller]
    pub(crate) fn refused(&self) -> (u16, String) {
        assert!(!self.code.is_success(), "{}: {}", self.code, String::from_utf8_lossy(&self.body));
        (self.code.as_u16(), self.json()["reason"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

impl TestServer {
    pub(crate) async fn start() -> TestServer {
        TestServer::on(open_store()).await
    }

    pub(crate) async fn on(store: TestStore) -> TestServer {
        let api = ApiServer::open(store.store.clone(), Options::default()).await.unwrap();
        TestServer { api, store }
    }

    /// With the definition of service instances and a namespace `n`.
    pub(crate) async fn with_instances() -> TestServer {
        let server = TestServer::start().await;
        server.define_instances().await;
        server
    }

    pub(crate) async fn define_instances(&self) {
        self.yaml("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", include_str!("../data/serviceinstances.yaml")).await.ok();
        self.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.api.service_as(UserInfo::admin()), "default")
    }

    /// Sends a request without waiting for the end of its answer.
    pub(crate) async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.api.service_as(UserInfo::admin()).oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        read(self.open(method, path, headers, body).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", accept)], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(crate) async fn yaml(&self, path: &str, body: &'static str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/yaml")], body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[("content-type", "application/merge-patch+json")], body.to_string()).await
    }

    pub(crate) async fn json_patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[("content-type", "application/json-patch+json")], body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: Value) -> Answer {
        self.send(Method::DELETE, path, &[("content-type", "application/json")], options.to_string()).await
    }
}

impl TestServer {
    /// Asks until the answer is as it should become.
    pub(crate) async fn until<T: std::fmt::Debug>(&self, ask: impl AsyncFn() -> T, is_right: impl Fn(&T) -> bool) -> T {
        let mut last = None;
        for _ in 0..1000 {
            let answer = ask().await;
            if is_right(&answer) {
                return answer;
            }
            last = Some(answer);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it stays {last:?}");
    }

    pub(crate) async fn until_missing(&self, path: &str) {
        self.until(async || self.get(path).await.code.as_u16(), |code| *code == 404).await;
    }
}

pub(crate) async fn read(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { code: parts.status, headers: parts.headers, body }
}

/// The path of the service instances of namespace `n`.
pub(crate) const INSTANCES: &str = "/apis/reference.osb.internal/v1/namespaces/n/serviceinstances";

/// A service instance as a broker makes it.
pub(crate) fn instance(name: &str) -> Value {
    json!({
        "apiVersion": "reference.osb.internal/v1", "kind": "ServiceInstance",
        "metadata": {"name": name, "finalizers": ["osb.internal/deprovision"]},
        "spec": {"instanceId": name, "serviceId": "s", "planId": "p", "incarnation": "i"},
        "record": {"epoch": 1, "counter": 1, "operation": {"id": format!("op-{name}"), "verb": "Provision"}},
    })
}

/// The events of a watch, line by line.
pub(crate) struct Events {
    body: Body,
    rest: Vec<u8>,
}

impl Events {
    pub(crate) fn of(response: http::Response<Body>) -> Events {
        assert_eq!(response.status(), StatusCode::OK);
        Events { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event, `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(20), self.body.frame()).await.expect("an event or the end");
            self.rest.extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    /// Type and name of the next event that is no bookmark.
    pub(crate) async fn change(&mut self) -> (String, String) {
        loop {
            let event = self.next().await.expect("an event");
            let kind = event["type"].as_str().unwrap().to_owned();
            if kind != "BOOKMARK" {
                return (kind, event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
}
