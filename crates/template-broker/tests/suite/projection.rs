//! BrokerTemplateInstances show which bindings there are, and nothing depends on them.

use serde_json::{Value, json};

use crate::life::DATABASE;
use crate::mall::{Mall, SHOP};

const MADE_FOR: &str = "template.osb.internal/made-for";

fn shown(name: &str) -> String {
    format!("/apis/template.openshift.io/v1/brokertemplateinstances/{name}")
}

fn has(ids: &'static [&'static str]) -> impl Fn(Option<&Value>) -> bool {
    move |found| found.is_some_and(|found| ids_of(found) == ids && found["spec"]["templateInstance"]["name"] == "a")
}

fn ids_of(shown: &Value) -> Vec<&str> {
    let ids = shown["spec"]["bindingIDs"].as_array();
    ids.into_iter().flatten().filter_map(Value::as_str).collect()
}

async fn sell(mall: &Mall) {
    let made = mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    assert!(made.status < 300, "{made:?}");
}

async fn bindings_are_shown_as_they_come_and_go(mall: &Mall) {
    sell(mall).await;
    mall.sees(&shown("a"), "an instance is shown", has(&[])).await;
    for (id, ids) in [("b", &["b"] as &[_]), ("c", &["b", "c"])] {
        assert_eq!(mall.broker.bind("a", id, json!({})).await.status, 201);
        mall.sees(&shown("a"), "a bind is shown", has(ids)).await;
    }
    let instance = format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/a");
    let instance = mall.get(&instance).await.expect("a TemplateInstance");
    let secret = mall
        .get(&format!("/api/v1/namespaces/{SHOP}/secrets/a"))
        .await
        .expect("a Secret");
    let reference = |kind: &str, object: &Value| json!({"kind": kind, "namespace": SHOP, "name": "a", "uid": object["metadata"]["uid"]});
    let found = mall.get(&shown("a")).await.expect("it is shown");
    assert_eq!(
        found["spec"]["templateInstance"],
        reference("TemplateInstance", &instance)
    );
    assert_eq!(found["spec"]["secret"], reference("Secret", &secret));
    for object in [&instance, &secret, &found] {
        assert_eq!(
            object["metadata"]["ownerReferences"],
            Value::Null,
            "it owns nothing, and nobody owns it"
        );
    }

    // What nobody reads as truth can be lost and forged.
    mall.delete(&shown("a")).await;
    mall.sees(&shown("a"), "what was deleted is made anew", has(&["b", "c"]))
        .await;
    let mut forged = mall.get(&shown("a")).await.expect("it is shown");
    forged["spec"]["bindingIDs"] = json!(["invented"]);
    forged["spec"]["templateInstance"]["name"] = "other".into();
    forged["metadata"]["annotations"] = json!({});
    mall.put(&shown("a"), &forged).await;
    mall.sees(&shown("a"), "what was forged is mended", has(&["b", "c"]))
        .await;
    assert_eq!(mall.broker.bind("a", "b", json!({})).await.status, 200);

    assert_eq!(mall.broker.unbind("a", "b").await.status, 200);
    mall.sees(&shown("a"), "an unbind is shown", has(&["c"])).await;
    let removed = mall.broker.deprovision("a").await;
    assert!(matches!(mall.ended("a", removed).await.status, 200 | 410));
    mall.sees(&shown("a"), "what is gone is not shown", |found| found.is_none())
        .await;
}

/// A3: the references of a record could be pointed elsewhere, and the broker believed them.
#[tokio::test]
async fn bindings_are_shown() {
    bindings_are_shown_as_they_come_and_go(&Mall::open(&[DATABASE]).await).await;
}

#[tokio::test]
async fn bindings_are_shown_kubernetes() {
    let Some(mall) = Mall::on_kubernetes(&[DATABASE]).await else {
        return;
    };
    bindings_are_shown_as_they_come_and_go(&mall).await;
}

#[tokio::test]
async fn a_start_makes_good_what_was_lost_and_removes_what_is_left_over() {
    let mut mall = Mall::open(&[DATABASE]).await;
    sell(&mall).await;
    assert_eq!(mall.broker.bind("a", "b", json!({})).await.status, 201);
    mall.sees(&shown("a"), "a bind is shown", has(&["b"])).await;
    let named = |name: &str, life: Option<&str>| {
        let annotations = life.map(|life| json!({MADE_FOR: life}));
        let reference = |kind: &str| json!({"kind": kind, "namespace": SHOP, "name": name});
        json!({
            "apiVersion": "template.openshift.io/v1", "kind": "BrokerTemplateInstance",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"templateInstance": reference("TemplateInstance"), "secret": reference("Secret")},
        })
    };
    // What a process leaves that is killed at a bad moment, and what is somebody else's.
    mall.broker.restart().await;
    mall.delete(&shown("a")).await;
    mall.apply(&named("gone", Some("instance_gone"))).await;
    mall.apply(&named("foreign", None)).await;
    mall.broker.restart().await;
    mall.sees(&shown("a"), "what was lost is made anew", has(&["b"])).await;
    mall.sees(&shown("gone"), "what is left over goes", |found| found.is_none())
        .await;
    assert!(mall.get(&shown("foreign")).await.is_some());
}

/// The broker in Go has its records own what it made: a record that goes must not take the instance along.
#[tokio::test]
async fn what_is_taken_over_is_owned_by_no_record_any_more() {
    let mall = Mall::open(&[DATABASE]).await;
    let record = json!({
        "apiVersion": "template.openshift.io/v1", "kind": "BrokerTemplateInstance", "metadata": {"name": "a"},
        "spec": {
            "templateInstance": {"kind": "TemplateInstance", "namespace": SHOP, "name": "a"},
            "secret": {"kind": "Secret", "namespace": SHOP, "name": "a"},
            "bindingIDs": ["5d9a1c1e-70a5-4f0e-9a3b-1b6a2f9a7c11"],
        },
    });
    mall.apply(&record).await;
    let record = mall.get(&shown("a")).await.expect("a record");
    let owners = json!([{
        "apiVersion": "template.openshift.io/v1", "kind": "BrokerTemplateInstance", "name": "a",
        "uid": record["metadata"]["uid"], "blockOwnerDeletion": true,
    }]);
    mall.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": SHOP, "ownerReferences": owners},
        "stringData": {"OWNER": "me"},
    }))
    .await;
    let template = mall
        .get("/apis/template.openshift.io/v1/namespaces/openshift/templates/database")
        .await
        .expect("a template");
    mall.apply(&json!({
        "apiVersion": "template.openshift.io/v1", "kind": "TemplateInstance",
        "metadata": {"name": "a", "namespace": SHOP, "ownerReferences": owners,
            "annotations": {"openservicebroker.openshift.io/instance-external-id": "a"}},
        "spec": {
            "template": {"metadata": {"name": "database"}, "parameters": template["parameters"], "objects": template["objects"]},
            "secret": {"name": "a"}, "requester": {"username": "ann"},
        },
    }))
    .await;
    sell(&mall).await;
    // There are no bindings that this broker has made.
    mall.sees(&shown("a"), "the record is taken over", has(&[])).await;
    for path in [
        format!("/apis/template.openshift.io/v1/namespaces/{SHOP}/templateinstances/a"),
        format!("/api/v1/namespaces/{SHOP}/secrets/a"),
    ] {
        let owners = mall.get(&path).await.expect("it is there")["metadata"]["ownerReferences"].clone();
        assert!(owners.is_null() || owners == json!([]), "{owners}");
    }
}
