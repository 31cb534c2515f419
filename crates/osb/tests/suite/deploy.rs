//! `deploy/`: what is installed in a cluster is what the program needs there, and the pod's own command line serves.

mod pod;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use testparts::{Oracle, need};

use crate::harness::{Verb, osb};
use pod::Pod;

const NAMESPACE: &str = "osb-system";

/// Values of the chart for what lies beside it as plain files: what is secret is made by the scripts.
const PLAIN: &str = "login.secret=reference-broker-login,sealingSecret=reference-broker-keys";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The chart with those values, without a cluster.
fn rendered(helm: &Path, values: &str, only: Option<&str>) -> String {
    let mut command = Command::new(helm);
    command.args(["template", "broker"]).arg(deploy().join("chart")).args([
        "--namespace",
        NAMESPACE,
        "--kube-version",
        "1.36.3",
        "--set",
        values,
    ]);
    if let Some(only) = only {
        command.arg("--show-only").arg(format!("templates/{only}.yaml"));
    }
    text(&command.output().unwrap())
}

fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

fn find<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// What the program says that it needs.
fn manifests() -> Vec<Value> {
    let args = ["serve", "reference", "--manifests"];
    let printed = Verb::of(&args, &osb().args(args).output().unwrap());
    objects(printed.ok())
}

/// Compares a file of the repository; `OSB_BLESS=1` writes it.
fn is_file(name: &str, expected: &str) {
    let path = deploy().join(name);
    if std::env::var_os("OSB_BLESS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "deploy/{name} is not what it is made of; write it anew with OSB_BLESS=1 cargo xtask test -p osb deploy"
    );
}

const MADE: &str = "# Made of the chart beside it; a test holds them together.\n";

#[test]
fn definitions_are_those_of_the_program() {
    let args = ["serve", "reference", "--manifests"];
    let printed = Verb::of(&args, &osb().args(args).output().unwrap()).ok().to_owned();
    let documents = printed
        .split("---\n")
        .filter(|text| text.contains("kind: CustomResourceDefinition"));
    let definitions: String = documents.map(|text| format!("---\n{text}")).collect();
    is_file("chart/files/definitions.yaml", &definitions);
    is_file("kubernetes/definitions.yaml", &definitions);
}

/// Without the definitions, and without what only Helm reads.
fn plain(rendered: &str) -> String {
    const KEPT: &str =
        "  annotations:\n    # The instances of the platform are in it.\n    helm.sh/resource-policy: keep\n";
    let for_helm = ["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: "];
    let rendered = rendered.replace(KEPT, "");
    let documents = rendered.split("---\n").filter(|text| !text.trim().is_empty());
    let kept = documents.filter(|text| !text.contains("kind: CustomResourceDefinition"));
    let mut plain = String::new();
    for document in kept {
        plain.push_str("---\n");
        let lines = document
            .lines()
            .filter(|line| !for_helm.iter().any(|mark| line.trim_start().starts_with(mark)));
        plain.extend(lines.flat_map(|line| [line, "\n"]));
    }
    plain
}

#[test]
fn plain_files_are_the_chart_without_its_secrets() {
    let Some(helm) = need(testparts::helm()) else { return };
    let kubernetes = rendered(&helm, &format!("{PLAIN},tls.secret=reference-broker-tls"), None);
    let kubernetes = plain(&kubernetes);
    is_file("kubernetes/broker.yaml", &format!("{MADE}{kubernetes}"));
    let openshift = format!("{PLAIN},openshift.enabled=true,openshift.route=true");
    let all = plain(&rendered(&helm, &openshift, None));
    is_file("openshift/broker.yaml", &format!("{MADE}{all}"));
    let catalog = rendered(
        &helm,
        &format!("{openshift},serviceCatalog.enabled=true"),
        Some("service-catalog"),
    );
    is_file("openshift/service-catalog.yaml", &format!("{MADE}{}", plain(&catalog)));
}

#[test]
fn the_chart_gives_the_rights_that_the_program_asks_for_and_no_others() {
    let Some(helm) = need(testparts::helm()) else { return };
    let (chart, program) = (objects(&rendered(&helm, "replicas=1", None)), manifests());
    let rules = |objects: &[Value]| find(objects, "ClusterRole")["rules"].clone();
    assert_eq!(rules(&chart), rules(&program));
    for home in ["etcd", "embedded"] {
        let chart = objects(&rendered(&helm, &format!("home={home}"), None));
        let has_rights = chart
            .iter()
            .any(|object| object["kind"].as_str().is_some_and(|kind| kind.contains("Role")));
        assert!(!has_rights, "the home {home} needs no rights in the cluster");
    }
}

#[test]
fn wrong_values_are_refused() {
    let Some(helm) = need(testparts::helm()) else { return };
    let refusal = |values: &str| {
        let mut command = Command::new(&helm);
        let chart = deploy().join("chart");
        let output = command
            .args(["template", "b"])
            .arg(chart)
            .args(["--kube-version", "1.36.3", "--set", values])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{values}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal("home=disk").contains("home"));
    assert!(
        refusal("replica=2").contains("replica"),
        "a member that is written wrong"
    );
    assert!(refusal("home=embedded,replicas=2").contains("one at a time"));
    assert!(refusal("broker.name=My Broker").contains("name"));
}

/// Starts the pod of the installed workload as its service account, and has a whole life played on it.
fn serves(oracle: &Oracle, name: &str) {
    let get = |kind: &str, name: &str| -> Value {
        let mut kubectl = oracle.kubectl();
        let output = kubectl
            .args(["-n", NAMESPACE, "get", kind, name, "-o", "json"])
            .output()
            .unwrap();
        serde_json::from_str(&text(&output)).unwrap()
    };
    let secret = |name: &str| get("secret", name);
    let workload = get("deployment", name);
    let pod = Pod::of(&workload["spec"]["template"]["spec"], &secret);
    let mut tokens = oracle.kubectl();
    let token = tokens
        .args(["-n", NAMESPACE, "create", "token", name])
        .output()
        .unwrap();
    let broker = pod.start_in(oracle, text(&token).trim());
    lives(&broker, name);
}

/// Plays a whole life on a broker.
fn lives(broker: &pod::Running, name: &str) {
    // At once, and with operations that are polled.
    for plan in ["fast", "async-bindings"] {
        let printed = broker.smoke(name, NAMESPACE, plan);
        assert!(printed.contains("binding smoke-binding is there: "), "{printed}");
        assert!(printed.ends_with("instance smoke is gone\n"), "{printed}");
    }
}

#[test]
fn the_pods_of_the_other_homes_serve() {
    let (Some(helm), Some(etcd)) = (need(testparts::helm()), need(testparts::Etcd::start())) else {
        return;
    };
    let endpoint = etcd.endpoints().remove(0);
    let values = [
        ("home=embedded".to_owned(), "StatefulSet"),
        (format!("home=etcd,etcd.endpoints={{{endpoint}}}"), "Deployment"),
    ];
    for (values, kind) in values {
        let all = objects(&rendered(&helm, &values, None));
        let secret = |name: &str| {
            let is_it = |object: &&Value| object["kind"] == "Secret" && object["metadata"]["name"] == name;
            all.iter()
                .find(is_it)
                .unwrap_or_else(|| panic!("no Secret {name}"))
                .clone()
        };
        let pod = Pod::of(&find(&all, kind)["spec"]["template"]["spec"], &secret);
        lives(&pod.start(), "reference-broker");
    }
}

#[test]
fn helm_installs_it_and_what_is_secret_or_state_outlives_upgrades_and_removal() {
    let (Some(helm), Some(oracle)) = (need(testparts::helm()), need(Oracle::start())) else {
        return;
    };
    let helm = |args: &[&str]| {
        let mut command = Command::new(&helm);
        command
            .args(args)
            .args(["--namespace", NAMESPACE])
            .arg("--kubeconfig")
            .arg(oracle.kubeconfig());
        text(&command.output().unwrap())
    };
    let chart = deploy().join("chart");
    let chart = chart.to_str().unwrap();
    let notes = helm(&["install", "broker", chart, "--create-namespace"]);
    assert!(
        notes.contains("Keep a copy of the Secret reference-broker-keys"),
        "{notes}"
    );
    serves(&oracle, "reference-broker");
    let secrets = || {
        let mut kubectl = oracle.kubectl();
        let names = [
            "reference-broker-keys",
            "reference-broker-login",
            "reference-broker-tls",
        ];
        let output = kubectl
            .args(["-n", NAMESPACE, "get", "secret"])
            .args(names)
            .args(["-o", "json"])
            .output();
        let found: Value = serde_json::from_str(&text(&output.unwrap())).unwrap();
        let data = |item: &Value| item["data"].clone();
        found["items"].as_array().unwrap().iter().map(data).collect::<Vec<_>>()
    };
    let before = secrets();
    helm(&["upgrade", "broker", chart, "--set", "podLabels.more=yes"]);
    assert_eq!(secrets(), before, "an upgrade makes new secrets");
    helm(&["uninstall", "broker"]);
    let mut kubectl = oracle.kubectl();
    let left = kubectl
        .args(["-n", NAMESPACE, "get", "secret/reference-broker-keys"])
        .output()
        .unwrap();
    text(&left);
    let mut kubectl = oracle.kubectl();
    text(
        &kubectl
            .args(["get", "serviceinstances.reference.osb.internal", "-A"])
            .output()
            .unwrap(),
    );
}

fn script(oracle: &Oracle, name: &str) -> String {
    let kubectl = testparts::kubectl().unwrap();
    let mut command = Command::new(deploy().join(name));
    let words = format!("{} --kubeconfig {}", kubectl.display(), oracle.kubeconfig().display());
    text(&command.env("KUBECTL", words).env("WAIT", "0").output().unwrap())
}

#[test]
fn one_command_installs_it_on_kubernetes_again_and_again() {
    let Some(oracle) = need(Oracle::start()) else { return };
    let said = script(&oracle, "kubernetes/install.sh");
    assert!(said.contains("Keep a copy of the Secret"), "{said}");
    serves(&oracle, "reference-broker");
    let said = script(&oracle, "kubernetes/install.sh");
    assert!(!said.contains("Keep a copy"), "a new key: {said}");
    serves(&oracle, "reference-broker");
    script(&oracle, "kubernetes/uninstall.sh");
    let mut kubectl = oracle.kubectl();
    text(
        &kubectl
            .args(["-n", NAMESPACE, "get", "secret/reference-broker-keys"])
            .output()
            .unwrap(),
    );
}

/// A kind of OpenShift or of Service Catalog as a custom resource: it stores what it is given, and nothing acts on it.
fn stand_in(group: &str, version: &str, kind: &str, plural: &str, scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
        },
        "spec": {
            "group": group, "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

#[test]
fn one_command_installs_it_on_openshift_and_tells_service_catalog() {
    let Some(oracle) = need(Oracle::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let kinds = [
        stand_in("route.openshift.io", "v1", "Route", "routes", "Namespaced"),
        stand_in(
            "servicecatalog.k8s.io",
            "v1beta1",
            "ClusterServiceBroker",
            "clusterservicebrokers",
            "Cluster",
        ),
    ];
    for (number, kind) in kinds.iter().enumerate() {
        let file = folder.path().join(format!("{number}.json"));
        fs::write(&file, kind.to_string()).unwrap();
        text(&oracle.kubectl().arg("create").arg("-f").arg(&file).output().unwrap());
        let mut kubectl = oracle.kubectl();
        text(
            &kubectl
                .args(["wait", "--for=condition=Established", "-f"])
                .arg(&file)
                .output()
                .unwrap(),
        );
    }
    // OpenShift's own signer fills this Secret.
    script(&oracle, "openshift/install.sh");
    let mut kubectl = oracle.kubectl();
    let path = "jsonpath={.metadata.annotations.service\\.beta\\.openshift\\.io/serving-cert-secret-name}";
    let service = kubectl
        .args(["-n", NAMESPACE, "get", "service", "reference-broker", "-o", path])
        .output()
        .unwrap();
    let signed = text(&service);
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    pod::certificate("reference-broker.osb-system.svc", &certificate, &key);
    let mut kubectl = oracle.kubectl();
    kubectl.args(["-n", NAMESPACE, "create", "secret", "tls", &signed]);
    text(
        &kubectl
            .arg("--cert")
            .arg(&certificate)
            .arg("--key")
            .arg(&key)
            .output()
            .unwrap(),
    );
    serves(&oracle, "reference-broker");

    let mut kubectl = oracle.kubectl();
    let broker = kubectl
        .args(["get", "clusterservicebroker", "reference-broker", "-o", "json"])
        .output()
        .unwrap();
    let broker: Value = serde_json::from_str(&text(&broker)).unwrap();
    assert_eq!(broker["spec"]["url"], "https://reference-broker.osb-system.svc:443");
    assert_eq!(
        broker["spec"]["authInfo"]["basic"]["secretRef"]["name"],
        "reference-broker-login"
    );
    let mut kubectl = oracle.kubectl();
    let pod = ["-n", NAMESPACE, "get", "deployment", "reference-broker", "-o"];
    let user = "jsonpath={.spec.template.spec.securityContext.runAsUser}";
    assert_eq!(
        text(&kubectl.args(pod).arg(user).output().unwrap()),
        "",
        "OpenShift chooses the user"
    );
}
