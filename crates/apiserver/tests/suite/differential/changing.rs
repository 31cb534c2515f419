//! Scripts in which the definition of a kind changes while there are objects of it: what was stored before, what may be written
//! after, and how it is shown must be the same.
//!
//! Each definition has a column of its own name. A real server takes its time to serve what has changed; the column says when it does.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::generate::{create, delete, delete_collection, get, json_patch, merge, right_create, update};
use super::kinds::Kind;
use super::script::{JSON, MERGE, Template, collection_path};
use super::{SEED, cases, number, report};
use crate::support::TestServer;

/// Of a hundred random scripts with definitions that stay, so many have one that changes.
const SHARE: u64 = 6;
const LONGEST: usize = 22;

const THING: Kind = Kind {
    collection: "things",
    letter: 't',
    api_version: "<own>/v1",
    kind: "Thing",
    content: || {
        vec![
            json!({"spec": {"size": 7, "color": "blue"}}),
            json!({"spec": {"size": 3}}),
            json!({"spec": {"size": 1, "more": {"a": 1, "b": [null]}}}),
            json!({"spec": {"color": "green", "tags": ["a", "b"]}}),
            json!({"spec": {"size": 3, "replicas": 2}, "status": {"phase": "P", "replicas": 1}}),
        ]
    },
    odd_content: || {
        vec![
            json!({}),
            json!({"spec": {"size": 99, "tags": ["a", "a"]}}),
            json!({"spec": {"size": "3", "color": 5}}),
            json!({"spec": {"size": null, "tags": null}}),
            json!({"spec": {"more": 5}, "junk": {"a": 1}}),
        ]
    },
    fields: &["spec.color%3Dblue"],
    subresources: &["", "", "/status", "/scale"],
};

const OLD_THING: Kind = Kind {
    collection: "oldthings",
    api_version: "<own>/v1beta1",
    ..THING
};

/// The schema of a version.
fn schema() -> impl Strategy<Value = Value> {
    let size = select(vec![
        json!({"type": "integer"}),
        json!({"type": "integer", "maximum": 5}),
        json!({"type": "integer", "default": 2}),
        json!({"type": "number"}),
    ]);
    let color = select(vec![
        json!(null),
        json!({"type": "string"}),
        json!({"type": "string", "enum": ["red", "blue"], "default": "red"}),
        json!({"type": "string", "nullable": true}),
    ]);
    let tags = select(vec![
        json!({"type": "array", "items": {"type": "string"}}),
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
    ]);
    let more = select(vec![
        json!(null),
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        json!({"type": "object", "properties": {"a": {"type": "integer", "default": 4}}}),
    ]);
    let required = select(vec![json!([]), json!([]), json!(["size"])]);
    (size, color, tags, more, required).prop_map(|(size, color, tags, more, required)| {
        let mut properties = json!({"replicas": {"type": "integer"}});
        for (name, schema) in [("size", size), ("color", color), ("tags", tags), ("more", more)] {
            if !schema.is_null() {
                properties[name] = schema;
            }
        }
        let mut spec = json!({"type": "object", "properties": properties});
        if required != json!([]) {
            spec["required"] = required;
        }
        let status =
            json!({"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}}});
        json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}})
    })
}

/// One version of the kind.
fn version(name: &'static str) -> impl Strategy<Value = Value> {
    let subresources = select(vec![
        json!(null),
        json!({"status": {}}),
        json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}),
    ]);
    (schema(), subresources, any::<bool>()).prop_map(move |(schema, subresources, deprecated)| {
        let mut version = json!({"name": name, "served": true, "storage": false, "schema": schema});
        if !subresources.is_null() {
            version["subresources"] = subresources;
        }
        if deprecated && name == "v1beta1" {
            version["deprecated"] = true.into();
            version["deprecationWarning"] = "things of old".into();
        }
        version
    })
}

/// What the definition says; its columns are added later. The version in which objects are stored stays the same: a real server
/// writes an object anew that nobody changes when it is stored in another one, and ours has nothing to write.
fn spec(stored: &'static str) -> impl Strategy<Value = Value> {
    let which = select(vec![
        "new",
        "both",
        "both",
        "both",
        "old is not served",
        "new is not served",
    ]);
    (version("v1"), version("v1beta1"), which).prop_map(move |(mut new, mut old, which)| {
        // Without the old one there is only the new one to be stored, which is refused where the old one was.
        let is_new = stored == "v1" || which == "new";
        let storage = if is_new { &mut new } else { &mut old };
        storage["storage"] = true.into();
        match which {
            "old is not served" => old["served"] = false.into(),
            "new is not served" => new["served"] = false.into(),
            _ => {}
        }
        let versions = if which == "new" { vec![new] } else { vec![new, old] };
        json!({"versions": versions})
    })
}

/// Something that no definition may say.
fn wrong_spec() -> impl Strategy<Value = Value> {
    let schema = select(vec![
        json!({"type": "object", "properties": {"a": {}}}),
        json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}}}),
        json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
        json!({"type": "string"}),
    ]);
    let right = json!({"name": "v1", "served": true, "storage": true});
    prop_oneof![
        3 => schema.prop_map(move |schema| {
            let mut version = right.clone();
            version["schema"] = json!({"openAPIV3Schema": schema});
            json!({"versions": [version]})
        }),
        1 => select(vec![json!({"versions": []}), json!({"scope": "Cluster"}), json!({"names": {"kind": "Other"}})]),
    ]
}

fn object_step() -> impl Strategy<Value = Template> {
    (select(vec![THING, THING, OLD_THING]), select(vec!["t0", "t0", "t1"])).prop_flat_map(|(kind, name)| {
        prop_oneof![
            5 => create(kind, name),
            3 => update(kind, name),
            4 => merge(kind, name),
            2 => json_patch(kind, name),
            4 => get(kind, name),
            // By revisions nothing is asked: a real server forgets them when a definition changes.
            3 => Just(Template::new("GET", format!("<{}>", kind.collection))),
            2 => delete(kind, name),
            1 => delete_collection(kind),
        ]
    })
}

/// A step whose definition gets the name of its column later.
fn step(stored: &'static str) -> impl Strategy<Value = Template> {
    let change = |spec: Value| Template::new("PATCH", "<definition>").body(MERGE, json!({"spec": spec}));
    prop_oneof![
        2 => spec(stored).prop_map(change),
        1 => wrong_spec().prop_map(change),
        10 => object_step(),
    ]
}

fn script() -> impl Strategy<Value = Vec<Template>> {
    select(vec!["v1", "v1", "v1beta1"]).prop_flat_map(script_with)
}

fn script_with(stored: &'static str) -> impl Strategy<Value = Vec<Template>> {
    let stores = move |spec: &Value| {
        let versions = spec["versions"].as_array().into_iter().flatten();
        versions.into_iter().any(|version| version["name"] == stored)
    };
    let first = spec(stored)
        .prop_filter("the version that stores is there", stores)
        .prop_map(|spec| {
            let mut whole =
                json!({"group": "<own>", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}});
            whole["versions"] = spec["versions"].clone();
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "things.<own>"}, "spec": whole,
            });
            Template::new("POST", "<definitions>").body(JSON, definition)
        });
    let rest = prop::collection::vec(step(stored), 4..=LONGEST);
    (first, right_create(THING), rest).prop_map(|(first, created, rest)| {
        let steps = [vec![first, created], rest].concat();
        steps
            .into_iter()
            .enumerate()
            .map(|(number, step)| marked(step, number))
            .collect()
    })
}

/// Gives each version that a step defines a column with the number of the step.
fn marked(step: Template, number: usize) -> Template {
    if !step.collection().starts_with("definition") {
        return step;
    }
    let mut body: Value = serde_json::from_str(&step.body).expect("a definition is JSON");
    for version in body["spec"]["versions"].as_array_mut().into_iter().flatten() {
        version["additionalPrinterColumns"] =
            json!([{"name": format!("step {number}"), "type": "string", "jsonPath": ".spec.color"}]);
    }
    Template {
        body: body.to_string(),
        ..step
    }
}

/// Takes the definition of a script away again: many of them would slow a real server down.
pub(super) async fn clean_up(server: &TestServer, script: &[Template]) {
    if script.iter().any(|step| step.collection() == "definitions")
        && let Some(path) = collection_path(server, "definition")
    {
        server.delete(&path).await;
    }
}

fn scripts() -> Vec<Vec<Template>> {
    let config = Config {
        rng_seed: RngSeed::Fixed(number("OSB_DIFFERENTIAL_SEED", SEED)),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let script = script();
    (0..(cases() * SHARE / 100).max(1))
        .map(|_| script.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[tokio::test]
async fn a_definition_changes_under_its_objects_as_on_a_real_server() {
    let Some(real) = TestServer::kubernetes_for_changes().await else {
        return;
    };
    let ours = TestServer::memory().await;
    let (report, requests, scripts) = report(&real, &ours, scripts()).await;
    assert!(
        report.text.is_empty(),
        "{} kinds of differences in {requests} requests:{}",
        report.kinds,
        report.text
    );
    testparts::long_run::count("requests", requests);
    testparts::long_run::count("scripts", scripts);
}
