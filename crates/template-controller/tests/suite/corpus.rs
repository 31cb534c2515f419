//! Public templates, beside the checkout, become objects of a cluster.
//!
//! Where they are not, these tests say so and pass; in CI they fail.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use template_controller::resources::Outcome;

use crate::places::on_each_place;

/// Of so many templates the instances have to become ready.
const AT_LEAST: usize = 10;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/templates");
    if folder.join("expected").is_dir() {
        return Some(folder);
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "the corpus is missing: {}", folder.display());
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the harness, which would hide it.
    drop(std::io::stderr().write_all(format!("skipped: {name}: no corpus in {}\n", folder.display()).as_bytes()));
    None
}

/// Names, templates and values of the corpus that need nothing of OpenShift.
fn templates(folder: &Path) -> Vec<(String, Value, Value)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.is_file() && !path.ends_with("INDEX.md"))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let expected = fs::read_to_string(folder.join("expected").join(format!("{name}.expected.json"))).unwrap();
        let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        for (at, document) in template::document::read(&text).unwrap().into_iter().enumerate() {
            if document.value.get("kind").and_then(template::json::Value::as_str) != Some("Template") {
                continue;
            }
            let template: Value = serde_json::from_str(&document.value.to_string()).unwrap();
            let values = expected
                .get(at)
                .map_or_else(|| json!({}), |expected| expected["parameters"].clone());
            if needs_nothing_else(&template) {
                found.push((format!("{name} {at}"), template, values));
            }
        }
    }
    found
}

/// Whether the objects are kinds of Kubernetes, in versions of today, and of the namespace.
fn needs_nothing_else(template: &Value) -> bool {
    const KINDS: &[(&str, &str)] = &[
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("v1", "ServiceAccount"),
        ("v1", "Pod"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "ReplicationController"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "Ingress"),
        ("policy/v1", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("authorization.openshift.io/v1", "RoleBinding"),
        ("v1", "RoleBinding"),
        ("v1", "Namespace"),
    ];
    let objects = template["objects"].as_array().cloned().unwrap_or_default();
    let is_known = |object: &Value| {
        KINDS.contains(&(
            object["apiVersion"].as_str().unwrap_or_default(),
            object["kind"].as_str().unwrap_or_default(),
        ))
    };
    !objects.is_empty() && objects.iter().any(is_known)
}

/// Without what needs pods or kinds that the cluster lacks: nothing runs here.
fn made_small(mut template: Value) -> Value {
    let is_there = |object: &Value| {
        let one = json!({"objects": [object]});
        needs_nothing_else(&one)
    };
    if let Some(objects) = template["objects"].as_array_mut() {
        objects.retain(is_there);
        for object in objects {
            if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
                annotations.remove("template.alpha.openshift.io/wait-for-ready");
            }
        }
    }
    template["metadata"] = json!({"name": template["metadata"]["name"]});
    template
}

on_each_place! {
    async fn templates_of_others_become_objects_and_leave_nothing(place: Place) {
        let Some(folder) = folder() else { return };
        let user = format!("root-{}", place.name);
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        place.put("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
        let _controller = place.start();
        let mut ready = Vec::new();
        let mut failed = Vec::new();
        for (at, (name, template, values)) in templates(&folder).into_iter().enumerate() {
            let instance = format!("i{at}");
            if let Err(refused) = place.try_make(&user, &instance, made_small(template), values).await {
                failed.push(format!("{name}: {refused:?}"));
                continue;
            }
            match place.outcome(&instance).await {
                Outcome::Ready => ready.push(name),
                outcome => failed.push(format!("{name}: {outcome:?}")),
            }
            place.delete(&place.instance(&instance)).await;
            place.gone(&place.instance(&instance)).await;
        }
        assert!(ready.len() >= AT_LEAST, "{ready:#?}\n{failed:#?}");
        assert_eq!(place.owned("configmaps").await.len() + place.owned("secrets").await.len(), 0);
        println!("{} became ready\n{failed:#?}", ready.len());
    }
}
