//! The servers that a controller manager works on, and one way to talk to them.

use std::time::Duration;

use apiserver::{Controller, Options};
use apiserver_test::{TestPort, TestServer};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use testparts::{ControllerManager, Oracle};

/// How long something that a controller does is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What this server does itself, as kube-controller-manager names it.
pub(super) const COLLECTORS: [&str; 2] = ["garbage-collector-controller", "namespace-controller"];
/// What else there is to be done.
pub(super) const OTHERS: [&str; 4] = [
    "serviceaccount-controller",
    "deployment-controller",
    "replicaset-controller",
    "job-controller",
];

enum Server {
    Ours(#[expect(dead_code, reason = "it ends with its value")] TestPort),
    Kubernetes(#[expect(dead_code, reason = "it ends with its value")] Oracle),
}

/// A server with the controllers that it needs.
pub(super) struct World {
    pub(super) name: &'static str,
    client: kube::Client,
    // Before the server that it works on.
    manager: ControllerManager,
    _server: Server,
}

impl World {
    /// Ours: who collects is this server itself, or kube-controller-manager. `None` where that is missing and may be.
    pub(super) async fn ours(name: &'static str, collects: Controller) -> Option<World> {
        let options = Options {
            garbage_collector: collects,
            namespace_controller: collects,
            ..Options::default()
        };
        let port = TestServer::start_with(options).await.unwrap().listen().await.unwrap();
        let kubeconfig = port.kubeconfig().to_owned();
        let names = match collects {
            Controller::Embedded => OTHERS.to_vec(),
            Controller::External => [&OTHERS[..], &COLLECTORS].concat(),
        };
        World::at(name, Server::Ours(port), kubeconfig, &names).await
    }

    pub(super) async fn kubernetes() -> Option<World> {
        let start = || testparts::need(Oracle::start());
        let oracle = tokio::task::spawn_blocking(start).await.unwrap()?;
        let kubeconfig = oracle.kubeconfig();
        let names = [&OTHERS[..], &COLLECTORS].concat();
        World::at("a real one", Server::Kubernetes(oracle), kubeconfig, &names).await
    }

    async fn at(
        name: &'static str,
        server: Server,
        kubeconfig: std::path::PathBuf,
        controllers: &[&str],
    ) -> Option<World> {
        let (file, names) = (kubeconfig.clone(), controllers.join(","));
        let start = move || testparts::need(ControllerManager::start(&file, &names, &[]));
        let manager = tokio::task::spawn_blocking(start).await.unwrap()?;
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Some(World {
            name,
            client: kube::Client::try_from(config.unwrap()).unwrap(),
            manager,
            _server: server,
        })
    }

    /// What the controller manager complains of, without what has a reason.
    pub(super) fn complaints(&self, known: &[(&str, &str)]) -> Vec<String> {
        let is_complaint = |line: &&str| {
            let mut start = line.chars();
            matches!(start.next(), Some('E' | 'F')) && start.next().is_some_and(|digit| digit.is_ascii_digit())
        };
        let log = self.manager.log();
        let unknown = |line: &&str| !known.iter().any(|(part, _reason)| line.contains(part));
        let lines = log.lines().filter(is_complaint).filter(unknown);
        lines.map(str::to_owned).collect()
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Value) -> Result<Value, u16> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        match self.client.request::<Value>(request.body(body).unwrap()).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err(status.code),
            Err(error) => panic!("{path} on {}: {error}", self.name),
        }
    }

    #[track_caller]
    fn expect(&self, path: &str, answer: Result<Value, u16>) -> Value {
        answer.unwrap_or_else(|code| panic!("{path} on {}: {code}", self.name))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, u16> {
        self.send(Method::GET, path, "application/json", Value::Null).await
    }

    /// All objects of a list.
    pub(super) async fn list(&self, path: &str) -> Vec<Value> {
        let list = self.expect(path, self.get(path).await);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub(super) async fn post(&self, path: &str, object: Value) -> Value {
        let answer = self.send(Method::POST, path, "application/json", object).await;
        self.expect(path, answer)
    }

    /// `false` where somebody else has written it meanwhile, or it has gone.
    pub(super) async fn merge(&self, path: &str, patch: Value) -> bool {
        let answer = self
            .send(Method::PATCH, path, "application/merge-patch+json", patch)
            .await;
        match answer {
            Ok(_) => true,
            Err(404 | 409) => false,
            Err(code) => panic!("{path} on {}: {code}", self.name),
        }
    }

    pub(super) async fn delete(&self, path: &str, policy: &str) {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let answer = self.send(Method::DELETE, path, "application/json", options).await;
        self.expect(path, answer);
    }

    /// The object, once it is as it has to be.
    pub(super) async fn until(&self, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let polls = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..polls {
            last = self.get(path).await.unwrap_or_default();
            if is_right(&last) {
                return last;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!(
            "{path} on {} does not become as it has to be: {last:#}\n{}",
            self.name,
            self.manager.log()
        );
    }

    pub(super) async fn until_missing(&self, path: &str) {
        self.until(path, Value::is_null).await;
    }
}
