//! The life of a namespace.

use serde_json::json;

use super::support::{INSTANCES, TestServer, instance};

#[tokio::test]
async fn nothing_new_comes_into_a_namespace_that_is_missing_or_goes() {
    let server = TestServer::with_instances().await;
    let elsewhere = INSTANCES.replace("/n/", "/none/");
    let missing = server.post(&elsewhere, instance("a")).await;
    assert_eq!(missing.refused(), (404, "NotFound".into()));
    assert_eq!(missing.json()["details"], json!({"name": "none", "kind": "namespaces"}));
    server.post(INSTANCES, instance("a")).await.ok();
    let terminating = server.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(terminating["status"]["phase"], "Terminating");
    let refused = server.post(INSTANCES, instance("b")).await;
    assert_eq!(refused.refused(), (403, "Forbidden".into()));
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    server.merge(&format!("{INSTANCES}/a"), json!({"record": {"counter": 2}})).await.ok();
}

#[tokio::test]
async fn a_deleted_namespace_goes_when_its_content_is_gone() {
    let server = TestServer::with_instances().await;
    server.post(INSTANCES, instance("a")).await.ok();
    server.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "m"}})).await.ok();
    server.delete("/api/v1/namespaces/n").await.ok();
    server.until_missing("/api/v1/namespaces/n/configmaps/m").await;
    let remaining = |namespace: &serde_json::Value| {
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "NamespaceFinalizersRemaining" && condition["status"] == "True")
    };
    server.until(async || server.get("/api/v1/namespaces/n").await.json(), |namespace| remaining(namespace)).await;
    server.merge(&format!("{INSTANCES}/a"), json!({"metadata": {"finalizers": null}})).await.ok();
    server.until_missing("/api/v1/namespaces/n").await;
    let again = server.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    assert_eq!(again["status"]["phase"], "Active");
    server.post(INSTANCES, instance("a")).await.ok();
}

#[tokio::test]
async fn a_deletion_goes_on_in_the_next_process() {
    let store = super::support::open_store();
    let first = TestServer::on(store.clone()).await;
    first.define_instances().await;
    first.post(INSTANCES, instance("a")).await.ok();
    // The background tasks end, as when the process dies right after the answer.
    first.api.shutdown().await;
    first.delete("/api/v1/namespaces/n").await.ok();
    first.merge(&format!("{INSTANCES}/a"), json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(first.get("/api/v1/namespaces/n").await.ok()["status"]["phase"], "Terminating");
    let second = TestServer::on(store).await;
    second.until_missing("/api/v1/namespaces/n").await;
    assert_eq!(second.get(&format!("{INSTANCES}/a")).await.code.as_u16(), 404);
}

#[tokio::test]
async fn two_servers_on_one_store_see_each_others_namespaces_and_definitions() {
    let store = super::support::open_store();
    let (first, second) = (TestServer::on(store.clone()).await, TestServer::on(store).await);
    first.define_instances().await;
    second.until(async || second.get("/apis/reference.osb.internal/v1").await.code.as_u16(), |code| *code == 200).await;
    second.post(INSTANCES, instance("a")).await.ok();
    first.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(second.post(INSTANCES, instance("b")).await.refused(), (403, "Forbidden".into()), "known at once, by the transaction itself");
}

#[tokio::test]
async fn some_namespaces_stay() {
    let server = TestServer::start().await;
    assert_eq!(server.delete("/api/v1/namespaces/default").await.refused(), (403, "Forbidden".into()));
    assert_eq!(server.delete("/api/v1/namespaces").await.refused(), (405, "MethodNotAllowed".into()));
    assert_eq!(server.get("/api/v1/namespaces?fieldSelector=status.phase%3DActive").await.ok()["items"].as_array().unwrap().len(), 4);
}
