//! Public templates as services, with the values that they were processed with elsewhere: each is provisioned, bound where it can
//! be, and removed. The corpus lies beside the checkout; where it is not, that is said, and in CI it is an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::mall::{Mall, SHOP, plural, text};

/// Templates of which all that they make can be made in one namespace, by whoever may do everything there.
const LEAST: usize = 10;

/// Groups that every cluster serves.
const BUILT_IN: [&str; 10] = [
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "admissionregistration.k8s.io",
];

/// A template, and what it is processed with.
struct Sample {
    name: String,
    template: Value,
    parameters: Value,
    /// What it makes.
    objects: Vec<Value>,
}

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/templates");
    if folder.join("expected").is_dir() {
        return Some(folder);
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "the corpus is missing: {}", folder.display());
    eprintln!("skipped: no corpus in {}", folder.display());
    None
}

fn samples(folder: &Path) -> Vec<Sample> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("expected"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut samples = Vec::new();
    for file in files {
        let stem = file
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace(".expected.json", "");
        let source = fs::read_to_string(folder.join(&stem)).unwrap();
        let results: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let documents = template::document::read(&source).unwrap();
        let templates = documents.into_iter().filter_map(|document| {
            let value: Value = serde_json::from_str(&document.value.to_string()).ok()?;
            (value["kind"] == "Template").then_some(value)
        });
        for (position, (mut template, result)) in templates.zip(results).enumerate() {
            let name: String = stem
                .to_lowercase()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect();
            let name = format!("{}-{position}", name.get(..40).unwrap_or(&name).trim_matches('-'));
            template["metadata"]["name"] = name.as_str().into();
            let objects = ["objects", "items"]
                .iter()
                .find_map(|member| result[*member].as_array().cloned());
            samples.push(Sample {
                name,
                template,
                parameters: result["parameters"].clone(),
                objects: objects.unwrap_or_default(),
            });
        }
    }
    samples
}

/// Definitions of the kinds that only OpenShift or an operator serves: any object of them is taken.
fn definitions(samples: &[Sample]) -> Vec<Value> {
    let mut kinds: BTreeMap<(String, String), String> = BTreeMap::new();
    for object in samples.iter().flat_map(|sample| &sample.objects) {
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        if let Some((group, version)) = version.split_once('/')
            && !BUILT_IN.contains(&group)
            && group.contains('.')
            && !group.ends_with(".k8s.io")
            && group != "template.openshift.io"
        {
            kinds.insert((group.to_owned(), kind), version.to_owned());
        }
    }
    let definition = |((group, kind), version): ((String, String), String)| {
        let name = plural(&kind);
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{name}.{group}"), "annotations": {
                "api-approved.kubernetes.io": "unapproved, for a test",
            }},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": name, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
                "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
    };
    kinds.into_iter().map(definition).collect()
}

/// The whole life of an instance; what is wrong with it otherwise.
async fn life(mall: &Mall, sample: &Sample) -> Result<(), String> {
    let id = &sample.name;
    let made = mall
        .broker
        .provision(id, &format!("{id}/default"), sample.parameters.clone())
        .await;
    let made = mall.ended(id, made).await;
    if made.status >= 400 || made.body["state"] == "failed" {
        let removed = mall.broker.deprovision(id).await;
        let removed = mall.ended(id, removed).await;
        assert!(
            matches!(removed.status, 200 | 410),
            "{id} cannot be removed: {removed:?}"
        );
        return Err(format!("{made:?}"));
    }
    let objects = mall
        .get(&format!(
            "/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/{id}"
        ))
        .await
        .ok_or("no instance")?["status"]["objects"]
        .as_array()
        .map_or(0, Vec::len);
    let service = mall.services().await[id].clone();
    if service["bindable"] == true {
        let bound = mall.broker.bind(id, "b", json!({})).await;
        if bound.status != 201 && bound.status != 422 {
            return Err(format!("bind: {bound:?}"));
        }
    }
    let removed = mall.broker.deprovision(id).await;
    let removed = mall.ended(id, removed).await;
    assert!(
        matches!(removed.status, 200 | 410),
        "{id} cannot be removed: {removed:?}"
    );
    let left = mall.get(&format!("/api/v1/namespaces/{SHOP}/secrets/{id}")).await;
    assert!(left.is_none(), "{id} leaves its Secret");
    if objects == 0 {
        Err("it has made nothing".to_owned())
    } else {
        Ok(())
    }
}

async fn all(mall: &Mall, samples: &[Sample]) {
    let offered = mall.services().await;
    let mut whole = Vec::new();
    for sample in samples {
        if !offered.contains_key(&sample.name) {
            eprintln!("{}: cannot be stored", sample.name);
            continue;
        }
        match life(mall, sample).await {
            Ok(()) => whole.push(sample.name.as_str()),
            Err(why) => eprintln!("{}: {}", sample.name, why.chars().take(300).collect::<String>()),
        }
    }
    eprintln!("{} of {}: {whole:?}", whole.len(), samples.len());
    assert!(whole.len() >= LEAST, "{whole:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_templates_live_and_go_embedded() {
    let Some(folder) = folder() else { return };
    let samples = samples(&folder);
    let mut mall = Mall::open(&[]).await;
    serve(&mut mall, &samples).await;
    all(&mall, &samples).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_templates_live_and_go_kubernetes() {
    let Some(folder) = folder() else { return };
    let samples = samples(&folder);
    let Some(mut mall) = Mall::on_kubernetes(&[]).await else {
        return;
    };
    serve(&mut mall, &samples).await;
    all(&mall, &samples).await;
}

/// Kinds first, then the templates that make objects of them.
async fn serve(mall: &mut Mall, samples: &[Sample]) {
    for definition in definitions(samples) {
        mall.apply(&definition).await;
    }
    let mut offered = 0;
    for sample in samples {
        let mut template = sample.template.clone();
        template["apiVersion"] = "template.openshift.io/v1".into();
        template["metadata"]["namespace"] = crate::mall::TEMPLATES.into();
        // Two of them name a parameter twice.
        offered += usize::from(mall.create_template(&template).await);
    }
    mall.until("all are offered", |services| services.len() == offered)
        .await;
    mall.broker.reload_catalog().await;
}
