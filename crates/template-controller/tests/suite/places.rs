//! The servers that the tests run on, and what tests do on them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apiserver::{ApiServer, Authorization, StartObjects, UserInfo};
use http::{Method, Request};
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use template_controller::resources::{Outcome, TemplateInstance};
use template_controller::{Admission, Controller, Options, Proof, install, proof};
use testparts::{Controllers, Oracle, OracleOptions};
use tokio::sync::{OnceCell, oneshot};
use tower::Layer as _;

use crate::faults::{FaultLayer, Faults};

static ORACLE: OnceLock<Option<Oracle>> = OnceLock::new();
static POLICY: OnceCell<()> = OnceCell::const_new();

/// How long something that happens by itself is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(20);

enum Where {
    Embedded { server: ApiServer, proof: Proof },
    Kubernetes(Box<Config>),
}

/// A server, with a namespace that no other test has, in which `eve` has the role `edit`.
pub(crate) struct Place {
    place: Where,
    /// The namespace.
    pub(crate) name: String,
}

fn unique() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("t{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst))
}

impl Place {
    pub(crate) async fn embedded() -> Self {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let mut options = apiserver::Options {
            authorization: Authorization::Rbac,
            start: StartObjects::all(),
            ..apiserver::Options::default()
        };
        let proof = Admission::new(["broker"]).install(&mut options);
        let server = ApiServer::open(store, options).await.expect("an API server");
        Self::made(Where::Embedded { server, proof }).await
    }

    /// The real server, `None` where it is missing and may be.
    pub(crate) async fn kubernetes() -> Option<Self> {
        let start = || {
            let options = OracleOptions {
                controllers: Controllers::All,
                ..OracleOptions::default()
            };
            ORACLE
                .get_or_init(|| testparts::need(Oracle::start_with(&options)))
                .as_ref()
        };
        let oracle = tokio::task::spawn_blocking(start)
            .await
            .expect("the oracle starts or is missing")?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(oracle.kubeconfig()).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.expect("a usable kubeconfig");
        config.default_retry = false;
        Some(Self::made(Where::Kubernetes(Box::new(config))).await)
    }

    async fn made(place: Where) -> Self {
        let place = Self { place, name: unique() };
        install(&place.client()).await.expect("the kinds");
        place
            .put("/api/v1/namespaces", json!({"metadata": {"name": place.name}}))
            .await;
        place.grant("edit", "eve").await;
        if !place.is_embedded() {
            POLICY.get_or_init(|| place.apply_policy()).await;
        }
        place
    }

    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.place, Where::Embedded { .. })
    }

    /// Gives a user a ClusterRole in the namespace.
    pub(crate) async fn grant(&self, role: &str, user: &str) {
        let path = format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
            self.name
        );
        let binding = json!({
            "metadata": {"name": format!("{role}-{user}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.put(&path, binding).await;
    }

    /// The policies that prove requesters, and a wait until they are in effect.
    async fn apply_policy(&self) {
        let api = "/apis/admissionregistration.k8s.io/v1";
        let plurals = [
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
        ];
        for (plural, object) in plurals
            .into_iter()
            .zip(proof::policy().into_iter().chain(proof::stamping()))
        {
            self.put(&format!("{api}/{plural}"), object).await;
        }
        let stolen = json!({"metadata": {"name": "probe"}, "spec": {"template": {"objects": []},
            "requester": {"username": "somebody"}}});
        let path = format!("{}?dryRun=All", self.instances());
        self.until("the policy is in effect", async || {
            let refused = send(&self.client_as("eve", &[]), Method::POST, &path, Some(&stolen)).await;
            refused
                .is_err_and(|(code, message)| code == 403 && message.contains("spec.requester is not you"))
                .then_some(())
        })
        .await;
        let unsigned = json!({"metadata": {"name": "probe"}, "spec": {"template": {"objects": []}}});
        self.until("requesters are stamped", async || {
            let made = send(&self.client_as("eve", &[]), Method::POST, &path, Some(&unsigned)).await;
            made.is_ok_and(|made| made["spec"]["requester"]["username"] == "eve")
                .then_some(())
        })
        .await;
        // Instances have to be younger than the policy, in whole seconds.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    /// A client that may do everything.
    pub(crate) fn client(&self) -> Client {
        match &self.place {
            Where::Embedded { server, .. } => Client::new(server.service_as(UserInfo::admin()), "default"),
            Where::Kubernetes(config) => Client::try_from((**config).clone()).expect("a client"),
        }
    }

    /// A client of a user.
    pub(crate) fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        match &self.place {
            Where::Embedded { server, .. } => Client::new(
                server.service_as(UserInfo::new(user, groups.iter().copied())),
                "default",
            ),
            Where::Kubernetes(config) => {
                let mut config = (**config).clone();
                config.auth_info.impersonate = Some(user.to_owned());
                let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
                config.auth_info.impersonate_groups = Some(groups).filter(|groups| !groups.is_empty());
                Client::try_from(config).expect("a client")
            }
        }
    }

    fn faulty(&self, faults: &Arc<Faults>) -> Client {
        let layer = FaultLayer(faults.clone());
        match &self.place {
            Where::Embedded { server, .. } => Client::new(layer.layer(server.service_as(UserInfo::admin())), "default"),
            Where::Kubernetes(config) => ClientBuilder::try_from((**config).clone())
                .expect("a client")
                .with_layer(&layer)
                .build(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            namespaces: vec![self.name.clone()],
            proof: match &self.place {
                Where::Embedded { proof, .. } => proof.clone(),
                Where::Kubernetes(_) => Proof::policy(),
            },
            first_retry: Duration::from_millis(20),
            longest_retry: Duration::from_millis(500),
            poll: Duration::from_millis(200),
            settled: Duration::from_secs(1),
            ..Options::default()
        }
    }

    /// Starts a controller.
    pub(crate) fn start(&self) -> Running {
        self.start_with(self.options())
    }

    pub(crate) fn start_with(&self, options: Options) -> Running {
        let faults = Arc::<Faults>::default();
        self.start_faulty(options, faults)
    }

    pub(crate) fn start_faulty(&self, options: Options, faults: Arc<Faults>) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let controller = Controller::new(self.faulty(&faults), options);
        let task = tokio::spawn(async move {
            // A controller that cannot even start is as good as crashed.
            let _ = controller
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
        Running {
            faults,
            stop: Some(stop),
            task,
        }
    }

    /// The path of the instances.
    pub(crate) fn instances(&self) -> String {
        format!(
            "/apis/template.openshift.io/v1/namespaces/{}/templateinstances",
            self.name
        )
    }

    pub(crate) fn instance(&self, name: &str) -> String {
        format!("{}/{name}", self.instances())
    }

    /// The path of objects of the core group in the namespace.
    pub(crate) fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.name)
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        match send(&self.client(), Method::GET, path, None).await {
            Ok(found) => Some(found),
            Err((404, _)) => None,
            Err(error) => panic!("{path}: {error:?}"),
        }
    }

    /// Creates something, unless it is there.
    pub(crate) async fn put(&self, path: &str, object: Value) {
        let made = send(&self.client(), Method::POST, path, Some(&object)).await;
        assert!(
            made.is_ok() || made.as_ref().is_err_and(|error| error.0 == 409),
            "{path}: {made:?}"
        );
    }

    pub(crate) async fn merge(&self, path: &str, patch: Value) {
        send(&self.client(), Method::PATCH, path, Some(&patch))
            .await
            .expect("patched");
    }

    pub(crate) async fn delete(&self, path: &str) {
        send(&self.client(), Method::DELETE, path, None).await.expect("deleted");
    }

    /// Creates an instance as `eve`, who is then its requester, with values of parameters in a Secret.
    pub(crate) async fn make(&self, name: &str, template: Value, values: Value) {
        let made = self.try_make("eve", name, template, values).await;
        made.expect("an instance");
    }

    pub(crate) async fn try_make(
        &self,
        user: &str,
        name: &str,
        template: Value,
        values: Value,
    ) -> Result<Value, (u16, String)> {
        let secret = format!("{name}-parameters");
        self.put(
            &self.core("secrets"),
            json!({"metadata": {"name": secret}, "stringData": values}),
        )
        .await;
        let instance = json!({"metadata": {"name": name}, "spec": {"template": template, "secret": {"name": secret}}});
        send(
            &self.client_as(user, &["dev"]),
            Method::POST,
            &self.instances(),
            Some(&instance),
        )
        .await
    }

    /// An instance as it stands now.
    pub(crate) async fn read(&self, name: &str) -> TemplateInstance {
        let found = self.get(&self.instance(name)).await.expect("the instance");
        serde_json::from_value(found).expect("an instance")
    }

    /// Waits until something is there.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "it never came true that {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the end of what is done to an instance.
    pub(crate) async fn outcome(&self, name: &str) -> Outcome {
        self.until(&format!("{name} has an outcome"), async || {
            let outcome = self.read(name).await.outcome();
            (outcome != Outcome::InProgress).then_some(outcome)
        })
        .await
    }

    #[track_caller]
    pub(crate) fn failure(outcome: Outcome) -> String {
        match outcome {
            Outcome::Failed(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until an instance is ready.
    pub(crate) async fn ready(&self, name: &str) -> TemplateInstance {
        assert_eq!(self.outcome(name).await, Outcome::Ready, "{name}");
        self.read(name).await
    }

    pub(crate) async fn gone(&self, path: &str) {
        self.until(&format!("{path} is gone"), async || {
            self.get(path).await.is_none().then_some(())
        })
        .await;
    }

    /// The objects of a kind in the namespace that belong to instances.
    pub(crate) async fn owned(&self, plural: &str) -> Vec<Value> {
        let path = format!(
            "{}?labelSelector=template.openshift.io%2Ftemplate-instance-owner",
            self.core(plural)
        );
        let list = self.get(&path).await.expect("a list");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

/// A controller that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) faults: Arc<Faults>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Ends it, and waits for that.
    pub(crate) async fn end(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        (&mut self.task).await.expect("no panic");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request; a refusal is its code and message.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, (u16, String)> {
    let content_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let mut body = body.cloned().unwrap_or_default();
    if method == Method::POST && path.contains("/templateinstances") {
        body["apiVersion"] = json!("template.openshift.io/v1");
        body["kind"] = json!("TemplateInstance");
    }
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(body);
    match client.request(request.expect("a request")).await {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(error) => panic!("{error}"),
    }
}

/// Runs each test on every server.
macro_rules! on_each_place {
    ($($(#[$doc:meta])* async fn $name:ident($place:ident: Place) $body:block)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            async fn on($place: crate::places::Place) $body

            #[tokio::test]
            async fn embedded() {
                on(crate::places::Place::embedded().await).await;
            }

            #[tokio::test]
            async fn kubernetes() {
                if let Some(place) = crate::places::Place::kubernetes().await {
                    on(place).await;
                }
            }
        })*
    };
}
pub(crate) use on_each_place;
