//! The homes that the tests run on, and a broker started on one.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{Config as KubeConfig, KubeConfigOptions, Kubeconfig};
use osb_engine::{Broker, Config, Engine, Home, Keys, Tenants};
use osb_server::Platform;
use testparts::Oracle;

use crate::author::{self, Journal};
use crate::faults::{FaultLayer, Faults};

/// All tests share one API group, so that a real API server has to learn it once; each has namespaces of its own.
pub(crate) const GROUP: &str = "probe.osb.internal";

pub(crate) const KEY: [u8; 32] = [7; 32];

static ORACLE: OnceLock<Option<Oracle>> = OnceLock::new();

enum Where {
    Embedded(apiserver::ApiServer),
    Kubernetes(Box<KubeConfig>),
}

pub(crate) struct TestHome {
    place: Where,
    /// Unique to the test.
    pub(crate) name: String,
    pub(crate) group: String,
}

impl TestHome {
    pub(crate) async fn embedded() -> Self {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let server = apiserver::ApiServer::open(store, apiserver::Options::default())
            .await
            .expect("an API server");
        Self::made(Where::Embedded(server)).await
    }

    pub(crate) async fn kubernetes() -> Option<Self> {
        let oracle = tokio::task::spawn_blocking(|| ORACLE.get_or_init(|| testparts::need(Oracle::start())).as_ref())
            .await
            .expect("the oracle starts or is missing")?;
        // Two users of TLS in one process may each bring a provider; the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(oracle.kubeconfig()).expect("a kubeconfig");
        let config = KubeConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Some(Self::made(Where::Kubernetes(Box::new(config.expect("a usable kubeconfig")))).await)
    }

    async fn made(place: Where) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let home = Self {
            place,
            name: format!("t{}-{number}", std::process::id()),
            group: GROUP.to_owned(),
        };
        let access = home.access(Arc::default());
        access.install().await.expect("our kinds");
        for namespace in [home.system(), home.namespace("one"), home.namespace("two")] {
            access.ensure_namespace(&namespace).await.expect("a namespace");
        }
        home
    }

    /// The same home with an API group of the test's own, in which nothing is installed yet.
    pub(crate) fn with_own_group(self) -> Self {
        let group = format!("{}.osb.internal", self.name);
        Self { group, ..self }
    }

    pub(crate) fn system(&self) -> String {
        format!("{}-system", self.name)
    }

    pub(crate) fn namespace(&self, platform: &str) -> String {
        format!("{}-{platform}", self.name)
    }

    pub(crate) fn client(&self, faults: Arc<Faults>) -> kube::Client {
        let layer = FaultLayer(faults);
        match &self.place {
            Where::Embedded(server) => {
                let service = server.service_as(apiserver::UserInfo::admin());
                kube::Client::new(tower::Layer::layer(&layer, service), "default")
            }
            Where::Kubernetes(config) => ClientBuilder::try_from((**config).clone())
                .expect("a client")
                .with_layer(&layer)
                .build(),
        }
    }

    /// What `kubectl delete` does.
    pub(crate) async fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let path = format!("/apis/{}/v1/namespaces/{namespace}/{plural}/{name}", self.group);
        let request = http::Request::delete(path).body(Vec::new()).expect("a request");
        let answer: Result<serde_json::Value, _> = self.client(Arc::default()).request(request).await;
        answer.expect("deleted");
    }

    /// As [`merge`](Self::merge), where it may be refused: the status of the refusal.
    pub(crate) async fn try_merge(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        patch: &serde_json::Value,
    ) -> Option<u16> {
        let path = format!("/apis/{}/v1/namespaces/{namespace}/{plural}/{name}", self.group);
        let body = serde_json::to_vec(patch).expect("JSON");
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(body).expect("a request");
        match self.client(Arc::default()).request::<serde_json::Value>(request).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(error) => panic!("{error}"),
        }
    }

    /// What `kubectl get -o wide` shows: the names of the columns, then a line for each object.
    pub(crate) async fn table(&self, plural: &str, namespace: &str) -> Vec<Vec<String>> {
        let path = format!("/apis/{}/v1/namespaces/{namespace}/{plural}", self.group);
        let request = http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let request = request.body(Vec::new()).expect("a request");
        let table: serde_json::Value = self.client(Arc::default()).request(request).await.expect("a table");
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
        let names = list(&table["columnDefinitions"])
            .iter()
            .map(|column| text(&column["name"]))
            .collect();
        let rows = list(&table["rows"]);
        let rows = rows.iter().map(|row| list(&row["cells"]).iter().map(text).collect());
        std::iter::once(names).chain(rows).collect()
    }

    /// What `kubectl` itself prints, on a home that it can reach.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Option<String> {
        let Where::Kubernetes(_) = &self.place else { return None };
        let mut command = ORACLE.get()?.as_ref()?.kubectl();
        command.args(args);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("no panic");
        let output = output.expect("kubectl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `kubectl patch --type=merge` does.
    pub(crate) async fn merge(&self, plural: &str, namespace: &str, name: &str, patch: &serde_json::Value) {
        let path = format!("/apis/{}/v1/namespaces/{namespace}/{plural}/{name}", self.group);
        let body = serde_json::to_vec(patch).expect("JSON");
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(body).expect("a request");
        let answer: Result<serde_json::Value, _> = self.client(Arc::default()).request(request).await;
        answer.expect("patched");
    }

    /// An instance that somebody else wrote.
    pub(crate) async fn create_foreign(&self, name: &str) {
        let object = serde_json::json!({
            "apiVersion": format!("{}/v1", self.group), "kind": "ServiceInstance", "metadata": {"name": name},
            "spec": {"instanceId": name, "incarnation": "x", "serviceId": "s", "planId": "p"},
        });
        let path = format!(
            "/apis/{}/v1/namespaces/{}/serviceinstances",
            self.group,
            self.namespace("one")
        );
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(body)
            .expect("a request");
        let answer: Result<serde_json::Value, _> = self.client(Arc::default()).request(request).await;
        answer.expect("created");
    }

    /// All objects of a kind, as the API answers them.
    pub(crate) async fn all(&self, plural: &str, namespace: &str) -> Vec<serde_json::Value> {
        let path = format!("/apis/{}/v1/namespaces/{namespace}/{plural}", self.group);
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        let list: serde_json::Value = self.client(Arc::default()).request(request).await.expect("a list");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn access(&self, faults: Arc<Faults>) -> Home {
        match &self.place {
            Where::Embedded(server) => {
                let service = server.service_as(apiserver::UserInfo::admin());
                Home::in_process(tower::Layer::layer(&FaultLayer(faults), service), &self.group)
            }
            Where::Kubernetes(_) => Home::new(self.client(faults), &self.group),
        }
    }

    /// A broker process: what it journals outlives it.
    pub(crate) async fn broker(&self, journal: &Journal) -> Process {
        self.broker_with(journal, |config| config).await
    }

    pub(crate) async fn broker_with(&self, journal: &Journal, change: impl FnOnce(Config) -> Config) -> Process {
        self.start(author::broker(journal), change).await
    }

    pub(crate) async fn start(&self, broker: Broker, change: impl FnOnce(Config) -> Config) -> Process {
        let faults = Arc::<Faults>::default();
        let tenants = ["one", "two"].map(|name| (Platform(name.into()), self.namespace(name)));
        let config = change(Config {
            system_namespace: self.system(),
            tenants: Tenants::new(tenants),
            grace: Duration::from_millis(200),
            first_retry: Duration::from_millis(20),
            ..Config::default()
        });
        let engine = Engine::start(broker, self.access(faults.clone()), Keys::new(KEY, []), config).await;
        Process {
            engine: engine.expect("the engine starts"),
            faults,
        }
    }
}

/// A running engine with its connection to the home.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) faults: Arc<Faults>,
}
