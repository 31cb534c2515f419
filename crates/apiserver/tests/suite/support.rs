//! A server for each test, and one way to talk to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apiserver::{ApiServer, Options, UserInfo};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use testparts::{Etcd, need};
use tower::ServiceExt as _;

use super::kubernetes::{self, Kubernetes};

/// How long something that happens by itself is waited for: a real server deletes a namespace in 5 to 10 seconds.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The path of the definitions of custom resources.
pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A new store, and the folder it lies in, if any.
#[derive(Clone)]
pub(crate) struct TestStore {
    pub(crate) store: objectstore::Store,
    place: Place,
}

/// Where a store lies.
#[derive(Clone)]
enum Place {
    Memory,
    Folder { _folder: Arc<tempfile::TempDir> },
    Etcd(objectstore::etcd::Options),
}

impl std::ops::Deref for TestStore {
    type Target = objectstore::Store;

    fn deref(&self) -> &objectstore::Store {
        &self.store
    }
}

impl TestStore {
    /// A store that ends with its value.
    pub(crate) fn memory() -> TestStore {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        TestStore {
            store,
            place: Place::Memory,
        }
    }

    /// A store in a temporary folder.
    pub(crate) fn embedded() -> TestStore {
        let folder = tempfile::tempdir().unwrap();
        // A test ends by taking the folder away from under the store; any other failure shows in the answers, since the store is closed then.
        let options = objectstore::embedded::Options {
            on_fatal: Arc::new(|_| {}),
            ..Default::default()
        };
        let store = objectstore::embedded::open(folder.path(), options).unwrap();
        TestStore {
            store,
            place: Place::Folder {
                _folder: Arc::new(folder),
            },
        }
    }

    /// A store at a prefix of its own in a real etcd, which the tests of this program share; `None` where that is missing
    /// and may be.
    pub(crate) async fn etcd() -> Option<TestStore> {
        static CLUSTER: OnceLock<Option<Etcd>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| need(Etcd::start())).as_ref()?;
        let options = objectstore::etcd::Options {
            endpoints: cluster.endpoints(),
            prefix: format!("/{}", unique_name()),
            ..Default::default()
        };
        Some(TestStore::at(options).await)
    }

    async fn at(options: objectstore::etcd::Options) -> TestStore {
        TestStore {
            store: objectstore::etcd::open(options.clone()).await.unwrap(),
            place: Place::Etcd(options),
        }
    }

    /// The same store as another process sees it, where another process could.
    async fn elsewhere(&self) -> TestStore {
        match &self.place {
            Place::Etcd(options) => TestStore::at(options.clone()).await,
            _ => self.clone(),
        }
    }
}

/// A server of ours and its store.
pub(crate) struct Ours {
    pub(crate) api: ApiServer,
    pub(crate) store: TestStore,
}

enum Server {
    Ours(Ours),
    Kubernetes { server: Kubernetes, client: kube::Client },
}

/// A server, with a namespace and an API group that the test has for itself.
pub(crate) struct TestServer {
    place: Server,
    /// Unique to the test in this program.
    pub(crate) namespace: String,
    /// The group of the custom resources; tests that only use the definitions share it on a real server.
    pub(crate) group: String,
}

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The object of a successful answer.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!(
            self.code.is_success(),
            "{}: {}",
            self.code,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// Code and reason of a refusal.
    #[track_caller]
    pub(crate) fn refused(&self) -> (u16, String) {
        assert!(
            !self.code.is_success(),
            "{}: {}",
            self.code,
            String::from_utf8_lossy(&self.body)
        );
        (
            self.code.as_u16(),
            self.json()["reason"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }
}

impl TestServer {
    pub(crate) async fn memory() -> TestServer {
        TestServer::on(TestStore::memory()).await
    }

    pub(crate) async fn embedded() -> TestServer {
        TestServer::on(TestStore::embedded()).await
    }

    /// `None` where etcd is missing and may be.
    pub(crate) async fn etcd() -> Option<TestServer> {
        Some(TestServer::on(TestStore::etcd().await?).await)
    }

    /// A server of ours on a store that may hold something already.
    pub(crate) async fn on(store: TestStore) -> TestServer {
        TestServer::with(store, Options::default()).await
    }

    /// A server of ours with options.
    pub(crate) async fn with(store: TestStore, options: Options) -> TestServer {
        let api = ApiServer::open(store.store.clone(), options).await.unwrap();
        TestServer::at(Server::Ours(Ours { api, store }), unique_name()).await
    }

    /// A server of ours with other options.
    pub(crate) async fn of(api: ApiServer, store: TestStore, namespace: &str) -> TestServer {
        TestServer::at(Server::Ours(Ours { api, store }), namespace.to_owned()).await
    }

    /// A second server of ours on the same store, for the same test.
    pub(crate) async fn beside(&self) -> TestServer {
        self.beside_with(Options::default()).await
    }

    /// A second server of ours on the same store, with options.
    pub(crate) async fn beside_with(&self, options: Options) -> TestServer {
        let store = self.ours().store.elsewhere().await;
        let api = ApiServer::open(store.store.clone(), options).await.unwrap();
        TestServer {
            place: Server::Ours(Ours { api, store }),
            namespace: self.namespace.clone(),
            group: self.group.clone(),
        }
    }

    /// The real server, `None` where it is missing and may be.
    pub(crate) async fn kubernetes() -> Option<TestServer> {
        Some(Self::real(Kubernetes::connect().await?).await)
    }

    /// A real server for a test that changes definitions all the time.
    pub(crate) async fn kubernetes_for_changes() -> Option<TestServer> {
        Some(Self::real(Kubernetes::connect_for_changes().await?).await)
    }

    async fn real(server: Kubernetes) -> TestServer {
        let client = server.client();
        TestServer::at(Server::Kubernetes { server, client }, unique_name()).await
    }

    async fn at(place: Server, name: String) -> TestServer {
        let server = TestServer {
            place,
            namespace: name,
            group: "shared.example.com".to_owned(),
        };
        server.create_namespace(&server.namespace).await;
        server
    }

    /// The same server with another namespace, which is made.
    pub(crate) async fn in_namespace(&self, name: &str) -> TestServer {
        let place = match &self.place {
            Server::Ours(ours) => Server::Ours(Ours {
                api: ours.api.clone(),
                store: ours.store.clone(),
            }),
            Server::Kubernetes { server, client } => Server::Kubernetes {
                server: server.clone(),
                client: client.clone(),
            },
        };
        let server = TestServer {
            place,
            namespace: name.to_owned(),
            group: self.group.clone(),
        };
        server.create_namespace(name).await;
        server
    }

    pub(crate) async fn create_namespace(&self, name: &str) {
        self.post("/api/v1/namespaces", json!({"metadata": {"name": name}}))
            .await
            .ok();
    }

    /// The server in this process.
    pub(crate) fn ours(&self) -> &Ours {
        match &self.place {
            Server::Ours(ours) => ours,
            Server::Kubernetes { .. } => panic!("a test of what only our server has"),
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.place, Server::Ours(_))
    }

    pub(crate) fn client(&self) -> kube::Client {
        match &self.place {
            Server::Ours(ours) => kube::Client::new(ours.api.service_as(UserInfo::admin()), &self.namespace),
            Server::Kubernetes { server, .. } => server.client(),
        }
    }
}

/// A name that no other test of this program has.
pub(crate) fn unique_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// What tests create.
impl TestServer {
    /// The path of the namespace.
    pub(crate) fn namespace_path(&self) -> String {
        format!("/api/v1/namespaces/{}", self.namespace)
    }

    pub(crate) fn maps(&self) -> String {
        format!("{}/configmaps", self.namespace_path())
    }

    pub(crate) fn instances(&self) -> String {
        self.custom("v1", "serviceinstances")
    }

    pub(crate) fn widgets(&self) -> String {
        self.custom("v1", "widgets")
    }

    /// The path of the custom resources of a version.
    pub(crate) fn custom(&self, version: &str, plural: &str) -> String {
        format!("/apis/{}/{version}/namespaces/{}/{plural}", self.group, self.namespace)
    }

    /// With definitions that the test may change or delete: its group is its own.
    pub(crate) fn with_own_group(mut self) -> TestServer {
        self.group = format!("{}.example.com", self.namespace);
        self
    }

    /// With the definition of service instances, sent as YAML.
    pub(crate) async fn with_instances(self) -> TestServer {
        let definition = include_str!("../data/serviceinstances.yaml").replace("reference.osb.internal", &self.group);
        let served = [(self.group.clone(), "v1", "serviceinstances")];
        self.define_in("application/yaml", definition, &served).await;
        self
    }

    /// With the definition of widgets.
    pub(crate) async fn with_widgets(self) -> TestServer {
        let served = ["v1beta1", "v1"].map(|version| (self.group.clone(), version, "widgets"));
        self.define_in(
            "application/json",
            super::definitions::widgets(&self.group).to_string(),
            &served,
        )
        .await;
        self
    }

    /// With the definition of gadgets, whose fields can be owned in every way, in a group that shows in no other test.
    pub(crate) async fn with_gadgets(mut self) -> TestServer {
        self.group = "owners.example.com".to_owned();
        let served = ["v1beta1", "v1"].map(|version| (self.group.clone(), version, "gadgets"));
        let definition = super::differential::gadgets(&self.group).to_string();
        self.define_in("application/json", definition, &served).await;
        self
    }

    /// Creates a definition, unless it is there, and waits on a real server until it is served. On ours it is served at once.
    async fn define_in(&self, media_type: &str, definition: String, served: &[(String, &str, &str)]) {
        let sharing = kubernetes::sharing();
        let _sharing = sharing.lock().await;
        let made = self
            .send(Method::POST, DEFINITIONS, &[("content-type", media_type)], definition)
            .await;
        assert!(
            made.code.is_success() || made.refused().1 == "AlreadyExists",
            "{made:?}"
        );
        for (group, version, plural) in served {
            let discovery = format!("/apis/{group}/{version}");
            let path = format!("{discovery}/{plural}");
            let codes = async || {
                (
                    self.get(&path).await.code.as_u16(),
                    self.get(&discovery).await.code.as_u16(),
                )
            };
            self.soon(codes, |codes| *codes == (200, 200)).await;
        }
    }

    /// The path of the definition of the widgets.
    pub(crate) fn widgets_definition(&self) -> String {
        format!("{DEFINITIONS}/widgets.{}", self.group)
    }

    /// A service instance as a broker makes it.
    pub(crate) fn instance(&self, name: &str) -> Value {
        json!({
            "apiVersion": format!("{}/v1", self.group), "kind": "ServiceInstance",
            "metadata": {"name": name, "finalizers": ["osb.internal/deprovision"]},
            "spec": {"instanceId": name, "serviceId": "s", "planId": "p", "incarnation": "i"},
            "record": {"epoch": 1, "counter": 1, "operation": {"id": format!("op-{name}"), "verb": "Provision"}},
        })
    }

    pub(crate) fn widget(&self, name: &str) -> Value {
        json!({"apiVersion": format!("{}/v1", self.group), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3}})
    }
}

/// Requests, as the administrator.
impl TestServer {
    /// Sends a request without waiting for the end of its answer.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<AnswerBody> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        match &self.place {
            Server::Ours(ours) => {
                let answer = ours
                    .api
                    .service_as(UserInfo::admin())
                    .oneshot(request.map(Full::new))
                    .await
                    .unwrap();
                answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
            Server::Kubernetes { client, .. } => {
                let answer = client.send(request.map(kube::client::Body::from)).await.unwrap();
                answer.map(|body| body.map_err(Into::into).boxed_unsync())
            }
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = body.into();
        for _ in 0..100 {
            let answer = read(self.open(method.clone(), path, headers, body.clone()).await).await;
            // A real server that takes over a changed definition; it has done nothing.
            if self.is_ours() || answer.code != StatusCode::TOO_MANY_REQUESTS {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{method} {path}: the server has no time");
    }

    /// Sends a request with a bearer token of its own, or none, to where each request is authenticated.
    pub(crate) async fn with_token(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        match &self.place {
            Server::Ours(ours) => {
                let mut request = request.map(Full::new);
                if let Some(token) = token {
                    let value = format!("Bearer {token}").parse().unwrap();
                    request.headers_mut().insert("authorization", value);
                }
                read(ours.api.service().oneshot(request).await.unwrap()).await
            }
            Server::Kubernetes { server, .. } => {
                let answer = server
                    .client_with(token)
                    .send(request.map(kube::client::Body::from))
                    .await
                    .unwrap();
                read(answer).await
            }
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", accept)], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn yaml(&self, path: &str, body: &'static str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/yaml")], body)
            .await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send(
            Method::PATCH,
            path,
            &[("content-type", "application/merge-patch+json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn json_patch(&self, path: &str, body: Value) -> Answer {
        self.send(
            Method::PATCH,
            path,
            &[("content-type", "application/json-patch+json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: Value) -> Answer {
        self.send(
            Method::DELETE,
            path,
            &[("content-type", "application/json")],
            options.to_string(),
        )
        .await
    }

    pub(crate) async fn watch(&self, path: &str, query: &str) -> Events {
        Events::of(
            self.open(Method::GET, &format!("{path}?watch=1&{query}"), &[], "")
                .await,
        )
    }

    /// Asks until the answer is as it should become.
    pub(crate) async fn until<T: std::fmt::Debug>(&self, ask: impl AsyncFn() -> T, is_right: impl Fn(&T) -> bool) -> T {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = ask().await;
            if is_right(&answer) {
                return answer;
            }
            assert!(std::time::Instant::now() < deadline, "it stays {answer:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What follows from a change of a definition: on ours it holds for the next request, a real server takes its time.
    pub(crate) async fn soon<T: std::fmt::Debug>(&self, ask: impl AsyncFn() -> T, is_right: impl Fn(&T) -> bool) -> T {
        if self.is_ours() {
            let answer = ask().await;
            assert!(is_right(&answer), "{answer:?}");
            return answer;
        }
        self.until(ask, is_right).await
    }

    pub(crate) async fn until_missing(&self, path: &str) {
        self.until(async || self.get(path).await.code.as_u16(), |code| *code == 404)
            .await;
    }
}

pub(crate) async fn read<B>(response: http::Response<B>) -> Answer
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        code: parts.status,
        headers: parts.headers,
        body,
    }
}

/// The events of a watch, line by line.
pub(crate) struct Events {
    body: AnswerBody,
    rest: Vec<u8>,
}

impl Events {
    pub(crate) fn of(response: http::Response<AnswerBody>) -> Events {
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }

    /// The next event, `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame())
                .await
                .expect("an event or the end");
            self.rest.extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    /// Type and name of the next event that is no bookmark.
    pub(crate) async fn change(&mut self) -> (String, String) {
        loop {
            let event = self.next().await.expect("an event");
            let kind = event["type"].as_str().unwrap().to_owned();
            if kind != "BOOKMARK" {
                return (
                    kind,
                    event["object"]["metadata"]["name"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
        }
    }
}
