//! A template broker in the process of a test, with its API server and the controller of TemplateInstances, and a platform.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::{Authorization, StartObjects};
use http::Method;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use osb_sdk::{OriginatingIdentity, Reply, TestBroker};
use serde_json::{Value, json};
use template_broker::{Allowed, Identities, Ids, Namespaces, Options, Places, Policy, Workloads};
use template_controller::{Admission, Proof};
use testparts::{Controllers, Oracle, OracleOptions};

/// Where templates are.
pub(crate) const TEMPLATES: &str = "openshift";

/// Where instances are.
pub(crate) const SHOP: &str = "shop";

/// A broker, and whatever else its tests look at.
pub(crate) struct Mall {
    pub(crate) broker: TestBroker,
    pub(crate) client: Client,
    /// The real server that it works on, which ends with it.
    _oracle: Option<Oracle>,
}

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// All requests are those of one user, who may edit the shop.
    One,
    /// Those whom the platform names.
    Named,
}

impl Mall {
    /// A broker whose platform acts as a user who may edit the shop.
    pub(crate) async fn open(templates: &[&str]) -> Self {
        Self::with(templates, Users::One, |options| options).await
    }

    pub(crate) async fn with(
        templates: &[&str],
        users: Users,
        change: impl Fn(Options) -> Options + Send + Sync + 'static,
    ) -> Self {
        Self::on(None, templates, users, change).await
    }

    /// As [`open`](Self::open), with the templates and instances in a real cluster of its own; `None` where that is missing and
    /// may be.
    pub(crate) async fn on_kubernetes(templates: &[&str]) -> Option<Self> {
        let (oracle, client) = cluster().await?;
        let at_once = |mut options: Options| {
            if let Some(controller) = &mut options.controller {
                controller.settled = Duration::from_secs(1);
            }
            options
        };
        let mall = Self::on(Some(client), templates, Users::One, at_once).await;
        Some(Self {
            _oracle: Some(oracle),
            ..mall
        })
    }

    async fn on(
        cluster: Option<Client>,
        templates: &[&str],
        users: Users,
        change: impl Fn(Options) -> Options + Send + Sync + 'static,
    ) -> Self {
        let own = cluster.clone();
        let proof = Arc::new(Mutex::new(None));
        let installed = proof.clone();
        let configure = move |api: &mut apiserver::Options| {
            api.authorization = Authorization::Rbac;
            api.start = StartObjects::all();
            let admission = Admission::new(Vec::<String>::new());
            *installed.lock().expect("no test panics here") = Some(admission.install(api));
        };
        let templates: Vec<String> = templates.iter().map(|text| (*text).to_owned()).collect();
        let (templates, change) = (Arc::new(templates), Arc::new(change));
        let make = move |home: Client| {
            let installed = proof.lock().expect("no test panics here").clone();
            let (client, proof) = match cluster.clone() {
                Some(cluster) => (cluster, Proof::policy()),
                None => (home.clone(), installed.expect("installed before")),
            };
            let (templates, change) = (templates.clone(), change.clone());
            async move {
                prepare(&client, &templates).await;
                let options = change(options(users, proof));
                template_broker::broker(home, client, options)
                    .await
                    .expect("a broker of templates")
            }
        };
        let broker = TestBroker::start_with(configure, make).await;
        let client = own.unwrap_or_else(|| broker.client());
        Self {
            broker,
            client,
            _oracle: None,
        }
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.broker.send(method, path, body).await
    }

    /// Writes an object whole.
    pub(crate) async fn put(&self, path: &str, object: &Value) {
        let request = http::Request::put(path)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .expect("a request");
        let written: Result<Value, _> = self.client.request(request).await;
        written.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Waits until an object is so.
    pub(crate) async fn sees(&self, path: &str, what: &str, is_so: impl Fn(Option<&Value>) -> bool) {
        for _ in 0..3000 {
            if is_so(self.get(path).await.as_ref()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:?}", self.get(path).await);
    }

    /// The services of the catalog by their names.
    pub(crate) async fn services(&self) -> BTreeMap<String, Value> {
        let catalog = self.request(Method::GET, "/v2/catalog", None).await.body;
        let services = catalog["services"].as_array().cloned().expect("a list");
        let named = services.into_iter().map(|service| (text(&service["name"]), service));
        named.collect()
    }

    /// Waits until the catalog is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&BTreeMap<String, Value>) -> bool) {
        for _ in 0..3000 {
            if is_so(&self.services().await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:?}", self.services().await.keys());
    }

    /// As user of the platform from now on.
    pub(crate) fn as_user(&mut self, name: &str, groups: &[&str]) {
        let value = json!({"username": name, "uid": format!("uid-of-{name}"), "groups": groups});
        self.broker.set_user(Some(OriginatingIdentity {
            platform: "kubernetes".to_owned(),
            value: value.as_object().cloned().expect("an object"),
        }));
    }

    /// A PUT of an instance of a service's first plan in a namespace.
    pub(crate) async fn provision_in(&self, namespace: &str, id: &str, service: &str, parameters: Value) -> Reply {
        let service = self.services().await[service].clone();
        let context = json!({"platform": "kubernetes", "namespace": namespace, "clusterid": "c", "instance_name": id});
        let body = json!({
            "service_id": service["id"], "plan_id": service["plans"][0]["id"], "organization_guid": "o", "space_guid": "s",
            "context": context, "parameters": parameters,
        });
        let path = format!("/v2/service_instances/{id}?accepts_incomplete=true");
        self.request(Method::PUT, &path, Some(body)).await
    }

    /// The same, until it has ended.
    pub(crate) async fn provisioned(&self, id: &str, service: &str, parameters: Value) -> Reply {
        let reply = self
            .broker
            .provision(id, &format!("{service}/default"), parameters)
            .await;
        self.ended(id, reply).await
    }

    pub(crate) async fn ended(&self, id: &str, reply: Reply) -> Reply {
        if reply.status == 202 {
            self.broker.settled(id).await
        } else {
            reply
        }
    }

    /// Whether a provision of a plan is refused, for what may be made.
    pub(crate) async fn provision_refused(&self, ids: &Value) -> bool {
        let mut body = ids.clone();
        (body["organization_guid"], body["space_guid"]) = ("o".into(), "s".into());
        let path = "/v2/service_instances/looked?accepts_incomplete=true";
        self.request(Method::PUT, path, Some(body)).await.status == 400
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        match self.client.request(request).await {
            Ok(found) => Some(found),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn apply(&self, object: &Value) {
        apply(&self.client, object).await;
    }

    /// Not applied: fields that no template has are passed over so. `false` for one that cannot be stored.
    pub(crate) async fn create_template(&self, template: &Value) -> bool {
        let path = format!("/apis/template.openshift.io/v1/namespaces/{TEMPLATES}/templates");
        let request = http::Request::post(&path)
            .header("content-type", "application/json")
            .body(template.to_string().into_bytes())
            .expect("a request");
        match self.client.request::<Value>(request).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 422 => false,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn delete(&self, path: &str) {
        let request = http::Request::delete(path).body(Vec::new()).expect("a request");
        let deleted: Result<Value, _> = self.client.request(request).await;
        deleted.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// A real server with its controllers, which knows whose instances are whose.
async fn cluster() -> Option<(Oracle, Client)> {
    let start = || {
        let options = OracleOptions {
            controllers: Controllers::All,
            ..OracleOptions::default()
        };
        testparts::need(Oracle::start_with(&options))
    };
    let oracle = tokio::task::spawn_blocking(start)
        .await
        .expect("it starts or is missing")?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(oracle.kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.expect("a usable kubeconfig")).expect("a client");
    template_controller::install(&client)
        .await
        .expect("the kinds are served");
    for policy in template_controller::proof::policy() {
        apply(&client, &policy).await;
    }
    // Longer than the controller wants the policy to be older than an instance.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Some((oracle, client))
}

fn options(users: Users, proof: Proof) -> Options {
    let policy = match users {
        Users::One => Policy::Always("ann".to_owned()),
        Users::Named => Policy::Named,
    };
    Options {
        namespaces: Namespaces::Named([TEMPLATES.to_owned()].into()),
        ids: Ids::Stable,
        identities: Identities {
            policy,
            allowed: BTreeMap::from([("test".to_owned(), Allowed::everybody())]),
            mapped: BTreeMap::new(),
        },
        places: match users {
            Users::One => Places::One(SHOP.to_owned()),
            Users::Named => Places::OfContext(None),
        },
        workloads: Workloads::Stored,
        controller: Some(template_controller::Options {
            proof,
            ..template_controller::Options::default()
        }),
    }
}

/// Namespaces, users and templates.
async fn prepare(client: &Client, templates: &[String]) {
    template_controller::install(client)
        .await
        .expect("the kinds are served");
    for name in [TEMPLATES, SHOP, "office"] {
        apply(
            client,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await;
    }
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let reading = json!([{"apiGroups": ["template.openshift.io"], "resources": ["templates"], "verbs": ["get"]}]);
    for (namespace, name, rules, subject) in [
        (SHOP, "ann", &everything, json!({"kind": "User", "name": "ann"})),
        ("office", "bob", &everything, json!({"kind": "User", "name": "bob"})),
        (
            TEMPLATES,
            "readers",
            &reading,
            json!({"kind": "Group", "name": "system:authenticated"}),
        ),
    ] {
        let rbac = "rbac.authorization.k8s.io";
        let mut subject = subject;
        subject["apiGroup"] = rbac.into();
        let metadata = json!({"name": name, "namespace": namespace});
        let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": rules});
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata, "subjects": [subject],
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        });
        apply(client, &role).await;
        apply(client, &binding).await;
    }
    for text in templates {
        for document in template::document::read(text).expect("templates") {
            let mut object: Value = serde_json::from_str(&document.value.to_string()).expect("JSON");
            object["metadata"]["namespace"] = TEMPLATES.into();
            object["apiVersion"] = "template.openshift.io/v1".into();
            apply(client, &object).await;
        }
    }
}

/// Server-side apply.
async fn apply(client: &Client, object: &Value) {
    let plural = plural(&text(&object["kind"]));
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let place = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/namespaces/{namespace}"),
        None => String::new(),
    };
    let name = text(&object["metadata"]["name"]);
    let path = format!("/{root}/{version}{place}/{plural}/{name}?fieldManager=test&force=true");
    let request = http::Request::patch(&path)
        .header("content-type", "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())
        .expect("a request");
    let applied: Result<Value, _> = client.request(request).await;
    applied.unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// As kinds are mostly called in the plural.
pub(crate) fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
