//! A broker whose state lives in a real cluster, with the rights that its manifests give it and no others.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::request::{BindRequest, Incomplete, MissingOrganization, ProvisionRequest, RemovalQuery};
use osb_client::{Client, Options};
use osb_engine::Broker;
use osb_host::{Credentials, HomeKind, HomeOptions, Host, HostError, HostOptions, manifests_yaml};
use serde_json::json;
use testparts::{Oracle, need};

use crate::Nothings;

const OFFERING: &str = "6f2e";
const PLAN: &str = "7a3b";

fn broker() -> Broker {
    use osb_api::catalog::{Offering, Plan};
    let offering = Offering::new(OFFERING, "nothing", "Nothing at all").bindable(true);
    Broker::new("nothings").service(offering.plan(Plan::new(PLAN, "free", "For nothing")), Nothings)
}

/// Flags for that kubeconfig, with a key of its own.
pub(crate) fn options(folder: &tempfile::TempDir, kubeconfig: PathBuf) -> HostOptions {
    let key = folder.path().join("key");
    fs::write(&key, format!("{}\n", "5e".repeat(32))).unwrap();
    HostOptions {
        home: HomeOptions {
            home: HomeKind::Kubernetes,
            home_kubeconfig: Some(kubeconfig),
            ..HomeOptions::default()
        },
        key_file: Some(key),
        ..crate::options(folder)
    }
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn apply(oracle: &Oracle, manifests: &str) {
    let mut kubectl = oracle.kubectl();
    let mut child = kubectl
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A kubeconfig with a token of the broker's own service account.
fn as_service_account(oracle: &Oracle, folder: &tempfile::TempDir) -> PathBuf {
    let token = text(
        oracle
            .kubectl()
            .args(["create", "token", "nothings", "-n", "osb-system"]),
    );
    let path = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": oracle.url(), "certificate-authority": oracle.ca_file()}}],
        "users": [{"name": "it", "user": {"token": token.trim()}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    });
    fs::write(&path, config.to_string()).unwrap();
    path
}

/// How many requests the cluster has refused for want of rights.
fn denied(oracle: &Oracle) -> f64 {
    let metrics = text(oracle.kubectl().args(["get", "--raw", "/metrics"]));
    let lines = metrics.lines();
    let refused = lines.filter(|line| line.starts_with("apiserver_request_total{") && line.contains("code=\"403\""));
    refused
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

struct Platform(Client);

impl Platform {
    fn of(host: &Host) -> Self {
        let login = Credentials::read(host.data_dir()).unwrap().unwrap();
        Self(Client::new(&Options::new(&host.info().url, login.username, login.password)).unwrap())
    }

    async fn provision(&self, id: &str) -> String {
        let body = json!({"service_id": OFFERING, "plan_id": PLAN, "organization_guid": "o", "space_guid": "s"});
        let request = ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::Refuse).unwrap();
        let reply = self.0.provision(&instance(id), &request, Incomplete::Refused).await;
        format!("{:?}", reply.unwrap())
    }

    async fn bind(&self, id: &str, binding: &str) {
        let body = json!({"service_id": OFFERING, "plan_id": PLAN});
        let request = BindRequest::from_json(body.to_string().as_bytes()).unwrap();
        let (id, binding) = (instance(id), binding_id(binding));
        let reply = self.0.bind(&id, &binding, &request, Incomplete::Refused);
        reply.await.unwrap();
    }

    async fn remove(&self, id: &str, binding: &str) {
        let query = RemovalQuery {
            service_id: OfferingId::new(OFFERING).unwrap(),
            plan_id: PlanId::new(PLAN).unwrap(),
        };
        let (id, binding) = (instance(id), binding_id(binding));
        let unbound = self.0.unbind(&id, &binding, &query, Incomplete::Refused);
        unbound.await.unwrap();
        let removed = self.0.deprovision(&id, &query, Incomplete::Refused);
        removed.await.unwrap();
    }
}

fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

fn binding_id(id: &str) -> BindingId {
    BindingId::new(id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn state_lives_in_a_cluster_with_the_rights_of_the_manifests_and_no_others() {
    let Some(oracle) = need(tokio::task::spawn_blocking(Oracle::start).await.unwrap()) else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let admin = options(&folder, oracle.kubeconfig());
    let refused = Host::start(broker(), &admin).await.err().unwrap().to_string();
    assert!(
        refused.contains("resource") && refused.contains("--manifests"),
        "{refused}"
    );

    let manifests = manifests_yaml(&broker(), &admin).unwrap();
    apply(&oracle, &manifests);
    // What is there already is left as it is.
    apply(&oracle, &manifests);
    let own = options(&folder, as_service_account(&oracle, &folder));
    let before = denied(&oracle);

    let host = Host::start(broker(), &own).await.unwrap();
    let platform = Platform::of(&host);
    assert!(platform.provision("shop").await.starts_with("Created"));
    platform.bind("shop", "one").await;
    let beside = tempfile::tempdir().unwrap();
    let second = options(&beside, own.home.home_kubeconfig.clone().unwrap());
    let second = Host::start(broker(), &second).await.unwrap();
    let other = Platform::of(&second);
    for number in 0..4 {
        let id = format!("shared-{number}");
        assert!(platform.provision(&id).await.starts_with("Created"));
        assert!(other.provision(&id).await.starts_with("Done"));
        other.bind(&id, "one").await;
        platform.remove(&id, "one").await;
    }
    let replicas = || {
        let args = [
            "get",
            "replicas.nothings.osb.internal",
            "-n",
            "osb-system",
            "-o",
            "name",
        ];
        text(oracle.kubectl().args(args)).lines().count()
    };
    assert_eq!(replicas(), 2);
    host.stop().await;
    // The other one goes on at once, with all of it.
    assert!(other.provision("shared").await.starts_with("Created"));
    other.bind("shared", "one").await;
    other.remove("shared", "one").await;
    second.stop().await;
    assert_eq!(replicas(), 0);
    let listed = |kind: &str| {
        let kind = format!("{kind}.{}", broker().group());
        text(
            oracle
                .kubectl()
                .args(["get", &kind, "-n", "osb-system-default", "-o", "name"]),
        )
    };
    assert_eq!(listed("serviceinstances").lines().count(), 1);
    assert_eq!(listed("servicebindings").lines().count(), 1);

    // Nothing of it was in the process or its folder.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = options(&elsewhere, own.home.home_kubeconfig.clone().unwrap());
    let host = Host::start(broker(), &other).await.unwrap();
    let platform = Platform::of(&host);
    assert!(platform.provision("shop").await.starts_with("Done"));
    platform.remove("shop", "one").await;
    host.stop().await;
    assert_eq!(listed("serviceinstances") + &listed("servicebindings"), "");
    assert_eq!(
        denied(&oracle) - before,
        0.0,
        "requests that were refused for want of rights"
    );

    text(oracle.kubectl().args(["delete", "clusterrolebinding", "--all"]));
    let refused = Host::start(broker(), &own).await.err().unwrap().to_string();
    assert!(
        refused.contains("rights") && refused.contains("--manifests"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_or_a_key_it_says_what_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = options(&folder, folder.path().join("none"));
    let refused = Host::start(broker(), &wrong).await.err().unwrap();
    assert!(
        matches!(&refused, HostError::NoCluster { what } if what.contains("none")),
        "{refused}"
    );
    wrong.key_file = None;
    let refused = Host::start(broker(), &wrong).await.err().unwrap();
    assert!(matches!(refused, HostError::NoKeyFile), "{refused}");
}
