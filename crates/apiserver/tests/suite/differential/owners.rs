//! Scripts in which several managers apply, replace and patch one object: who owns what in the end must be the same.

mod builtins;
mod fixed;
mod random;

use serde_json::{Value, json};

use super::report;
use super::script::{APPLY, JSON, JSON_PATCH, MERGE, STRATEGIC, Template};
use crate::support::TestServer;

/// A definition with every way in which lists and objects can be owned.
pub(crate) fn gadgets(group: &str) -> Value {
    let text = json!({"type": "string"});
    let port = json!({"type": "object", "required": ["port"], "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": text,
        "more": {"type": "object", "properties": {"a": text, "b": text}},
    }});
    let spec = json!({"type": "object", "properties": {
        "size": {"type": "integer"}, "replicas": {"type": "integer"}, "color": {"type": "string", "default": "red"},
        "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "ports": {"type": "array", "items": port, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"]},
        "whole": {"type": "array", "items": {"type": "integer"}},
        "sealed": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text},
        "texts": {"type": "object", "additionalProperties": text},
        "parts": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": text, "b": text}}},
        "either": {"x-kubernetes-int-or-string": true},
        "nul": {"type": "string", "nullable": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "known": {"type": "object", "properties": {"a": text}}}},
        "inner": {"type": "object", "properties": {"a": text, "deep": {"type": "object", "properties": {"b": text, "c": text}}}},
        "child": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }});
    let conditions = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {"type": "object", "required": ["type"], "properties": {"type": text, "status": text}}});
    let status = json!({"type": "object", "properties": {
        "phase": text, "replicas": {"type": "integer"}, "selector": text, "conditions": conditions}});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gadgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [version("v1beta1", false), version("v1", true)],
        },
    })
}

fn at(name: &str, part: &str, query: &str, manager: &str) -> String {
    format!("<{name}>{part}?fieldManager={manager}{query}")
}

fn apply(name: &str, part: &str, manager: &str, query: &str, body: Value) -> Template {
    Template::new("PATCH", at(name, part, query, manager)).body(APPLY, body)
}

fn gadget(spec: Value) -> Value {
    json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec})
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

fn post(path: &str, manager: &str, body: Value) -> Template {
    Template::new("POST", format!("<{path}>?fieldManager={manager}")).body(JSON, body)
}

fn merge(path: &str, part: &str, manager: &str, body: Value) -> Template {
    Template::new("PATCH", at(path, part, "", manager)).body(MERGE, body)
}

fn json_patch(path: &str, part: &str, manager: &str, body: Value) -> Template {
    Template::new("PATCH", at(path, part, "", manager)).body(JSON_PATCH, body)
}

fn strategic(path: &str, part: &str, manager: &str, body: Value) -> Template {
    Template::new("PATCH", at(path, part, "", manager)).body(STRATEGIC, body)
}

fn put(path: &str, part: &str, manager: &str, body: Value) -> Template {
    Template::new("PUT", at(path, part, "", manager)).body(JSON, body)
}

fn get(path: &str) -> Template {
    Template::new("GET", path)
}

#[tokio::test]
async fn fields_are_owned_as_on_a_real_server() {
    let Some(real) = TestServer::kubernetes().await else {
        return;
    };
    let real = real.with_gadgets().await;
    let ours = TestServer::memory().await.with_gadgets().await;
    let scripts: Vec<Vec<Template>> = fixed::scripts()
        .into_iter()
        .chain(builtins::scripts())
        .chain(random::scripts())
        .collect();
    let (report, requests, scripts) = report(&real, &ours, scripts).await;
    assert!(
        report.text.is_empty(),
        "{} kinds of differences in {requests} requests:{}",
        report.kinds,
        report.text
    );
    testparts::long_run::count("requests", requests);
    testparts::long_run::count("scripts", scripts);
}
