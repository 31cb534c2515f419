//! A real kube-controller-manager on this server, with its own collectors off; then this server alone. The same is left.

use apiserver::{ApiServer, Controller, Options};
use serde_json::{Value, json};

use crate::clients::Listening;
use crate::on_each_engine;
use crate::support::{TestServer, TestStore};

/// Those whose work this server does itself.
const NAMES: &str = "garbage-collector-controller,namespace-controller";

fn owned_by(owner: &Value, blocks: bool) -> Value {
    let metadata = &owner["metadata"];
    json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"], "blockOwnerDeletion": blocks}])
}

/// Owners, dependents and namespaces come and go. What is left, without what differs by nature.
async fn script(server: &TestServer) -> Value {
    let maps = server.maps();
    let make = async |name: &str, owners: Value| {
        let body = json!({"metadata": {"name": name, "ownerReferences": owners}});
        server.post(&maps, body).await.ok()
    };
    let policies = ["Background", "Foreground", "Orphan"];
    for policy in policies {
        let policy = policy.to_lowercase();
        let owner = make(&format!("{policy}-owner"), json!([])).await;
        let child = make(&format!("{policy}-child"), owned_by(&owner, true)).await;
        make(&format!("{policy}-leaf"), owned_by(&child, false)).await;
    }
    let solid = make("solid", json!([])).await;
    let both = [
        owned_by(&solid, false)[0].clone(),
        owned_by(&make("lost", json!([])).await, false)[0].clone(),
    ];
    make("both", json!(both)).await;
    for name in ["background-owner", "foreground-owner", "orphan-owner", "lost"] {
        let policy = policies
            .iter()
            .find(|policy| name.starts_with(&policy.to_lowercase()))
            .unwrap_or(&"Background");
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        server.delete_with(&format!("{maps}/{name}"), options).await.ok();
    }
    for name in ["background-leaf", "foreground-owner", "foreground-leaf", "orphan-owner"] {
        server.until_missing(&format!("{maps}/{name}")).await;
    }
    let both = async || server.get(&format!("{maps}/both")).await.ok();
    server
        .until(both, |both| {
            both["metadata"]["ownerReferences"]
                .as_array()
                .is_some_and(|left| left.len() == 1)
        })
        .await;
    namespaces(server).await;
    left(server).await
}

async fn namespaces(server: &TestServer) {
    for name in ["empty", "full", "held"] {
        server.create_namespace(name).await;
    }
    let held = json!({"metadata": {"name": "a", "finalizers": ["ex.io/hold"]}});
    server
        .post("/api/v1/namespaces/full/configmaps", json!({"metadata": {"name": "a"}}))
        .await
        .ok();
    server.post("/api/v1/namespaces/held/configmaps", held).await.ok();
    for name in ["empty", "full", "held"] {
        server.delete(&format!("/api/v1/namespaces/{name}")).await.ok();
    }
    for name in ["empty", "full"] {
        server.until_missing(&format!("/api/v1/namespaces/{name}")).await;
    }
    let waits = |namespace: &Value| {
        let conditions = namespace["status"]["conditions"].as_array();
        conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition["reason"] == "SomeFinalizersRemain")
        })
    };
    server
        .until(
            async || server.get("/api/v1/namespaces/held").await.ok(),
            |namespace| waits(namespace),
        )
        .await;
}

async fn left(server: &TestServer) -> Value {
    let mut all = Vec::new();
    for path in ["/api/v1/configmaps".to_owned(), "/api/v1/namespaces".to_owned()] {
        let list = server.get(&path).await.ok();
        all.extend(list["items"].as_array().cloned().unwrap_or_default());
    }
    let mut all = json!(all);
    forget(&mut all);
    all
}

fn forget(value: &mut Value) {
    const VARY: [&str; 7] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "lastTransitionTime",
        "managedFields",
        "generation",
    ];
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !VARY.contains(&name.as_str()));
            members.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

on_each_engine! {
    async fn the_same_is_left_with_a_real_controller_manager_and_without(server: TestServer) {
        let alone = script(&server).await;
        let options = Options {
            garbage_collector: Controller::External,
            namespace_controller: Controller::External,
            ..Options::default()
        };
        let store = TestStore::memory();
        let api = ApiServer::open(store.store.clone(), options).await.unwrap();
        let listening = Listening::on(api.clone()).await;
        let kubeconfig = listening.kubeconfig();
        let start = move || testparts::ControllerManager::start(&kubeconfig, NAMES, &["--kube-api-content-type=application/json"]);
        let started = tokio::task::spawn_blocking(move || testparts::need(start())).await.unwrap();
        let Some(_manager) = started else { return };
        let managed = TestServer::of(api, store, &server.namespace).await;
        assert_eq!(script(&managed).await, alone);
    }
}
