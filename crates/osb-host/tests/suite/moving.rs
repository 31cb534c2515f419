//! A broker moves house: into an archive while it serves, and out of it in another home, where it goes on.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use osb_api::request::{BindRequest, Incomplete, MissingOrganization, PollQuery, ProvisionRequest, RemovalQuery};
use osb_client::{Client, Options, Reply};
use osb_engine::{Binding, Broker, NoParameters, Operation, Result, Service};
use osb_host::{BareHome, Credentials, HomeKind, Host, HostOptions, manifests_yaml};
use osb_move::archive::crypt::Key;
use osb_move::{Backup, Existing, Made, Restore, RestoreError, Restored, Secrets, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testparts::{Oracle, need};
use tokio::sync::watch;

const OFFERING: &str = "6f2e";
const PLAN: &str = "7a3b";
const LIMIT: Duration = Duration::from_secs(60);

/// What the author's functions have done, in all homes, and whether those that wait may go on.
#[derive(Clone)]
struct Backend {
    done: Arc<Mutex<Vec<String>>>,
    open: watch::Sender<bool>,
}

#[derive(Deserialize, JsonSchema)]
struct Wanted {
    label: String,
    #[serde(default)]
    waits: bool,
}

#[derive(Serialize, Deserialize)]
struct State {
    label: String,
}

#[derive(Serialize, Deserialize)]
struct Login {
    label: String,
    user: String,
}

impl Backend {
    fn new() -> Self {
        Self {
            done: Arc::default(),
            open: watch::Sender::new(false),
        }
    }

    fn did(&self, what: &str, op: &Operation) {
        let id = op
            .binding()
            .map_or_else(|| op.instance().to_string(), ToString::to_string);
        self.done.lock().unwrap().push(format!("{what} {id}"));
    }

    fn count(&self, what: &str) -> usize {
        self.done.lock().unwrap().iter().filter(|done| *done == what).count()
    }
}

impl Service for Backend {
    type Parameters = Wanted;
    type BindParameters = NoParameters;
    type State = State;
    type Credentials = Login;

    async fn provision(&self, op: &Operation, wanted: Wanted) -> Result<State> {
        op.step("made", || async {
            self.did("made", op);
            Ok(op.stable_name("db"))
        })
        .await?;
        if wanted.waits {
            let mut open = self.open.subscribe();
            tokio::select! {
                _ = open.wait_for(|open| *open) => {}
                () = op.cancelled() => {}
            }
        }
        Ok(State { label: wanted.label })
    }

    async fn deprovision(&self, op: &Operation, _: Option<State>) -> Result<()> {
        self.did("removed", op);
        Ok(())
    }

    async fn bind(&self, op: &Operation, state: &State, _: NoParameters) -> Result<Binding<Login>> {
        self.did("bound", op);
        Ok(Binding::new(Login {
            label: state.label.clone(),
            user: op.stable_name("u"),
        }))
    }

    async fn unbind(&self, op: &Operation, _: &State, _: Option<Login>) -> Result<()> {
        self.did("unbound", op);
        Ok(())
    }
}

fn broker(backend: &Backend) -> Broker {
    use osb_api::catalog::{Offering, Plan};
    let offering = Offering::new(OFFERING, "db", "A database").bindable(true);
    Broker::new("nothings").service(offering.plan(Plan::new(PLAN, "free", "For nothing")), backend.clone())
}

struct Platform(Client);

impl Platform {
    fn of(host: &Host) -> Self {
        let login = Credentials::read(host.data_dir()).unwrap().unwrap();
        Self(Client::new(&Options::new(&host.info().url, login.username, login.password)).unwrap())
    }

    async fn provision(&self, id: &str, waits: bool) -> Reply<osb_api::answer::InstanceBody> {
        let body = json!({
            "service_id": OFFERING, "plan_id": PLAN, "organization_guid": "o", "space_guid": "s",
            "parameters": {"label": format!("of {id}"), "waits": waits},
        });
        let request = ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::Refuse).unwrap();
        self.0
            .provision(&instance(id), &request, Incomplete::Accepted)
            .await
            .unwrap()
    }

    /// Whether it was made now, and the credentials.
    async fn bind(&self, id: &str, binding: &str) -> (bool, Value) {
        let body = json!({"service_id": OFFERING, "plan_id": PLAN});
        let request = BindRequest::from_json(body.to_string().as_bytes()).unwrap();
        let (id, binding) = (instance(id), binding_id(binding));
        let reply = self.0.bind(&id, &binding, &request, Incomplete::Refused);
        match reply.await.unwrap() {
            Reply::Created(body) => (true, json!(body.credentials)),
            Reply::Done(body) => (false, json!(body.credentials)),
            Reply::Accepted { .. } => panic!("nobody asked for that"),
        }
    }

    async fn unbind(&self, id: &str, binding: &str) {
        let (id, binding) = (instance(id), binding_id(binding));
        self.0
            .unbind(&id, &binding, &removal(), Incomplete::Refused)
            .await
            .unwrap();
    }

    async fn deprovision(&self, id: &str) {
        let removed = self.0.deprovision(&instance(id), &removal(), Incomplete::Refused).await;
        removed.unwrap();
    }

    /// Polls until the operation ends.
    async fn succeeds(&self, id: &str, operation: Option<&OperationId>) {
        let query = PollQuery {
            operation: operation.cloned(),
            ..PollQuery::default()
        };
        let begin = Instant::now();
        loop {
            let polled = self.0.instance_last_operation(&instance(id), &query).await.unwrap();
            let told = format!("{polled:?}");
            if told.contains("Succeeded") {
                return;
            }
            assert!(told.contains("InProgress"), "{told}");
            assert!(begin.elapsed() < LIMIT, "{told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn removal() -> RemovalQuery {
    RemovalQuery {
        service_id: OfferingId::new(OFFERING).unwrap(),
        plan_id: PlanId::new(PLAN).unwrap(),
    }
}

fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

fn binding_id(id: &str) -> BindingId {
    BindingId::new(id).unwrap()
}

/// Options of a home with the key of this test.
fn with_key(options: HostOptions, key: &Path) -> HostOptions {
    HostOptions {
        key_file: Some(key.to_owned()),
        ..options
    }
}

async fn back_up(home: &BareHome, group: &str, key: Option<&Key>, file: &Path) -> Made {
    let backup = Backup {
        api: home.api(),
        home: &home.name(),
        layout: home.layout(),
        extent: home.extent(Some(group)).unwrap(),
        key,
        secrets: Secrets::Encrypted,
        program: "a test",
    };
    backup.write(file).await.unwrap()
}

async fn restore(
    file: &Path,
    keys: &[Key],
    options: &HostOptions,
    existing: Existing,
) -> std::result::Result<Restored, RestoreError> {
    let restore = Restore::open(file, keys)?;
    let after = restore.summary().header.revision.parse().ok();
    let home = BareHome::open(options, after).await.unwrap();
    let target = Target {
        api: home.api().clone(),
        layout: home.layout().clone(),
        extent: home.extent(Some(&broker(&Backend::new()).group())).unwrap(),
        keys: osb_host::sealing_keys(options).unwrap().unwrap().ids(),
    };
    let restored = restore.into_home(target, existing).await;
    home.close().await;
    restored
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !look() {
        assert!(begin.elapsed() < LIMIT, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// From a folder into `second` and from there into a folder again; everything goes on, and nothing is done twice.
async fn moves_on(root: &Path, key: &Path, second: &HostOptions) {
    let backend = Backend::new();
    let group = broker(&backend).group();
    let first = with_key(HostOptions::on(root.join("first")), key);
    let host = Host::start(broker(&backend), &first).await.unwrap();
    let platform = Platform::of(&host);
    assert!(matches!(platform.provision("shop", false).await, Reply::Created(_)));
    let (made, login) = platform.bind("shop", "one").await;
    assert!(made && login["label"] == "of shop", "{login}");
    platform.provision("gone", false).await;
    platform.deprovision("gone").await;
    let Reply::Accepted { operation, .. } = platform.provision("slow", true).await else {
        panic!("it waits")
    };
    until("the step of the provision", || backend.count("made slow") == 1).await;

    let archive_key = Key::new([3; 32]);
    let (to_second, to_third) = (root.join("to-second"), root.join("to-third"));
    let (home, _) = BareHome::of_running(&first).await.unwrap().unwrap();
    let kept = back_up(&home, &group, Some(&archive_key), &to_second).await;
    home.close().await;
    let of = |made: &Made, plural: &str| made.end.resources.get(&format!("{plural}.{group}")).copied();
    assert_eq!(
        (of(&kept, "serviceinstances"), of(&kept, "tombstones")),
        (Some(2), Some(1))
    );
    assert_eq!((of(&kept, "shardtables"), of(&kept, "replicas")), (None, None));
    platform.provision("later", false).await;
    host.stop().await;

    let restored = restore(
        &to_second,
        std::slice::from_ref(&archive_key),
        second,
        Existing::Refused,
    )
    .await;
    assert_eq!(restored.unwrap().refused, [""; 0]);
    let again = restore(&to_second, &[archive_key], second, Existing::Refused).await;
    assert!(matches!(again, Err(RestoreError::NotEmpty(_))), "{again:?}");

    let host = Host::start(broker(&backend), second).await.unwrap();
    let platform = Platform::of(&host);
    let (made, again) = platform.bind("shop", "one").await;
    assert_eq!(
        (made, &again),
        (false, &login),
        "the binding is the same, with its incarnation"
    );
    backend.open.send_replace(true);
    platform.succeeds("slow", operation.as_ref()).await;
    assert_eq!(backend.count("made slow"), 1, "its step is not run again");
    assert!(matches!(platform.provision("slow", true).await, Reply::Done(_)));
    let (made, _) = platform.bind("slow", "two").await;
    assert!(made);
    platform.unbind("shop", "one").await;

    let home = if second.home.home == HomeKind::Embedded {
        BareHome::of_running(second).await.unwrap().unwrap().0
    } else {
        BareHome::open(second, None).await.unwrap()
    };
    let kept = back_up(&home, &group, None, &to_third).await;
    home.close().await;
    host.stop().await;

    let third = with_key(HostOptions::on(root.join("third")), key);
    restore(&to_third, &[], &third, Existing::Refused).await.unwrap();
    let revision: u64 = kept.header.revision.parse().unwrap();
    let host = Host::start(broker(&backend), &third).await.unwrap();
    let client = crate::kube_client(&host).await;
    let listed: Value = client
        .request(
            http::Request::get(format!("/apis/{group}/v1/serviceinstances"))
                .body(Vec::new())
                .unwrap(),
        )
        .await
        .unwrap();
    for item in listed["items"].as_array().unwrap() {
        let version: u64 = item["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(version > revision, "{version} is not behind {revision}");
    }
    let platform = Platform::of(&host);
    let (made, _) = platform.bind("slow", "two").await;
    assert!(!made);
    platform.unbind("slow", "two").await;
    platform.deprovision("slow").await;
    platform.deprovision("shop").await;
    host.stop().await;

    for once in [
        "made shop",
        "made slow",
        "bound one",
        "bound two",
        "unbound one",
        "unbound two",
        "removed slow",
        "removed shop",
    ] {
        assert_eq!(backend.count(once), 1, "{once}: {:?}", backend.done.lock().unwrap());
    }
}

fn key_in(folder: &Path) -> std::path::PathBuf {
    let key = folder.join("the-key");
    std::fs::write(&key, format!("{}\n", "5e".repeat(32))).unwrap();
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_goes_on_in_another_folder_and_nothing_is_done_twice() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = tempfile::tempdir().unwrap();
    let key = key_in(root.path());
    let second = with_key(HostOptions::on(root.path().join("second")), &key);
    moves_on(root.path(), &key, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_goes_on_in_a_cluster_and_comes_back_from_there() {
    let Some(oracle) = need(tokio::task::spawn_blocking(Oracle::start).await.unwrap()) else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = tempfile::tempdir().unwrap();
    let key = key_in(root.path());
    let second = with_key(crate::cluster::options(&root, oracle.kubeconfig()), &key);
    crate::cluster::apply(&oracle, &manifests_yaml(&broker(&Backend::new()), &second).unwrap());
    moves_on(root.path(), &key, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_or_being_restored_is_not_started() {
    let root = tempfile::tempdir().unwrap();
    let options = HostOptions::on(root.path().join("data"));
    let backend = Backend::new();
    let group = broker(&backend).group();
    let start = async || Host::start(broker(&backend), &options).await;
    start().await.unwrap().stop().await;
    let table = format!("/apis/{group}/v1/namespaces/osb-system/shardtables/shards");
    let label = async |labels: Value| {
        let home = BareHome::open(&options, None).await.unwrap();
        let before: Value = home.api().find(&table).await.unwrap().unwrap();
        let patch = json!({"metadata": {"labels": labels}});
        home.api().patch(&table, &patch).await.unwrap();
        home.close().await;
        before["metadata"]["labels"].clone()
    };
    let before = label(json!({"osb.internal/restoring": "abc"})).await;
    assert_eq!(before, json!({"osb.internal/stored-version": "1"}));
    let refused = start().await.err().unwrap().to_string();
    assert!(refused.contains("being restored"), "{refused}");
    label(json!({"osb.internal/restoring": null, "osb.internal/stored-version": "2"})).await;
    let refused = start().await.err().unwrap().to_string();
    assert!(
        refused.contains("the version 2") && refused.contains("newer"),
        "{refused}"
    );
    label(json!({"osb.internal/stored-version": null})).await;
    start().await.unwrap().stop().await;
}
