//! `osb serve templates` in a cluster: with the rights that its manifests give, and no others.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testparts::{Controllers, Oracle, OracleOptions, need};

use crate::harness::{Place, Verb, osb};

/// How old the policy has to be that proves requesters.
const SETTLED: Duration = Duration::from_secs(31);

const TEMPLATE: &str = r#"
kind: Template
apiVersion: template.openshift.io/v1
metadata: {name: login, namespace: catalog}
objects:
- kind: Secret
  apiVersion: v1
  metadata:
    name: login
    annotations: {template.openshift.io/expose-password: "{.data.password}"}
  stringData: {password: "${PASSWORD}"}
- kind: ConfigMap
  apiVersion: v1
  metadata: {name: settings}
  data: {size: "${SIZE}"}
parameters:
- {name: PASSWORD, generate: expression, from: "[a-z0-9]{16}"}
- {name: SIZE, value: small}
"#;

/// Somebody who may edit the namespace of the instances and read the templates.
const USER: &str = r#"
kind: Namespace
apiVersion: v1
metadata: {name: catalog}
---
kind: Namespace
apiVersion: v1
metadata: {name: shop}
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: ann, namespace: catalog}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "template.openshift.io:view"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: everything}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: ann, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
"#;

fn kubectl(oracle: &Oracle, args: &[&str]) -> String {
    let output = oracle.kubectl().args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn apply(oracle: &Oracle, objects: &str) {
    let mut command = oracle.kubectl();
    let command = command
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(objects.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The requests that the cluster has refused for want of rights, as it counts them.
fn denied(oracle: &Oracle) -> Vec<String> {
    let metrics = kubectl(oracle, &["get", "--raw", "/metrics"]);
    let refused = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{") && line.contains("code=\"403\""));
    refused.map(str::to_owned).collect()
}

/// A kubeconfig with a token of the broker's own service account.
fn as_service_account(oracle: &Oracle, place: &tempfile::TempDir) -> String {
    let token = kubectl(oracle, &["create", "token", "templates", "-n", "osb-system"]);
    let path = place.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": oracle.url(), "certificate-authority": oracle.ca_file()}}],
        "users": [{"name": "it", "user": {"token": token.trim()}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    });
    fs::write(&path, config.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn manifests(more: &[&str]) -> String {
    let args = [&["serve", "templates", "--manifests"], more].concat();
    Verb::of(&args, &osb().args(&args).output().unwrap()).ok().to_owned()
}

#[test]
fn it_works_with_the_rights_of_its_manifests_and_no_others() {
    // Objects are removed in the foreground, which somebody has to carry out.
    let with_collector = OracleOptions {
        controllers: Controllers::Core,
        ..OracleOptions::default()
    };
    let Some(oracle) = need(Oracle::start_with(&with_collector)) else {
        return;
    };
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    apply(&oracle, &manifests(&[]));
    let applied = Instant::now();
    kubectl(
        &oracle,
        &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"],
    );
    apply(&oracle, USER);
    apply(&oracle, TEMPLATE);
    let key = folder.path().join("key");
    fs::write(&key, format!("{}\n", "5e".repeat(32))).unwrap();
    let kubeconfig = as_service_account(&oracle, &folder);
    let before = denied(&oracle);
    let server = place.start_broker(
        "templates",
        &[
            "--home=kubernetes",
            "--home-kubeconfig",
            &kubeconfig,
            "--key-file",
            key.to_str().unwrap(),
            "--namespace=catalog",
            "--instances-in=shop",
            "--act-as=ann",
        ],
        &[],
    );
    let catalog = place.verb(&["catalog", "-o", "json"]).json();
    assert_eq!(catalog["services"][0]["name"], "login");
    // An instance that is not younger than the policy is refused.
    // It finds instances in the cluster.
    let verb = |args: &[&str]| {
        let mut command = osb();
        command
            .args(args)
            .arg("--data-dir")
            .arg(place.data())
            .env("KUBECONFIG", oracle.kubeconfig());
        Verb::of(args, &command.output().unwrap())
    };
    std::thread::sleep(SETTLED.saturating_sub(applied.elapsed()));
    verb(&["provision", "mine", "--service", "login"]).ok();
    let bound = verb(&["bind", "mine", "--id", "app", "-o", "json"]).json();
    let password = bound["credentials"]["password"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 16);
    let size = || {
        let path = "jsonpath={.data.size} {.metadata.managedFields[*].manager}";
        kubectl(&oracle, &["-n", "shop", "get", "configmap", "settings", "-o", path])
    };
    assert!(size().starts_with("small "), "{}", size());
    verb(&["update", "mine", "-p", r#"{"SIZE": "large"}"#]).ok();
    assert!(size().starts_with("large "), "{}", size());
    let shown = kubectl(&oracle, &["get", "brokertemplateinstances", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["items"].as_array().map(Vec::len), Some(1), "{shown}");
    verb(&["unbind", "mine", "app"]).ok();
    verb(&["deprovision", "mine"]).ok();
    let left = kubectl(
        &oracle,
        &["-n", "shop", "get", "secret,configmap,templateinstance", "-o", "name"],
    );
    // What the cluster puts into each namespace is not the broker's.
    let left: Vec<&str> = left.lines().filter(|name| !name.contains("kube-root-ca")).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(kubectl(&oracle, &["get", "brokertemplateinstances", "-o", "name"]), "");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(denied(&oracle), before, "requests were refused: {}", place.log());
    assert!(!place.log().contains(&password) && !place.log().contains("cannot be listed"));
}

#[test]
fn what_openshift_has_is_left_out_for_it() {
    let all = manifests(&[]);
    assert!(all.contains("name: templateinstances.template.openshift.io"));
    let without = manifests(&["--on-openshift"]);
    assert!(!without.contains("name: templateinstances.template.openshift.io"));
    assert!(without.contains("kind: ValidatingAdmissionPolicyBinding") && without.contains("impersonate"));
}
