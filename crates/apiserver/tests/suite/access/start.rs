//! What a server makes when it starts.

use serde_json::{Value, json};

use super::{RBAC, on_both};
use crate::support::{TestServer, TestStore};

const ROLES: [&str; 13] = [
    "cluster-admin",
    "system:discovery",
    "system:public-info-viewer",
    "system:monitoring",
    "system:basic-user",
    "system:auth-delegator",
    "system:service-account-issuer-discovery",
    "system:aggregate-to-admin",
    "system:aggregate-to-edit",
    "system:aggregate-to-view",
    "admin",
    "edit",
    "view",
];
const BINDINGS: [&str; 6] = [
    "cluster-admin",
    "system:discovery",
    "system:public-info-viewer",
    "system:monitoring",
    "system:basic-user",
    "system:service-account-issuer-discovery",
];

/// An object without what differs by server.
fn plain(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for name in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(name);
    }
    object
}

async fn roles(server: &TestServer) -> Vec<Value> {
    let mut found = Vec::new();
    for name in ROLES {
        let mut role = plain(server.get(&format!("{RBAC}/clusterroles/{name}")).await.ok());
        if role.get("aggregationRule").is_some() {
            // A real server needs a controller for these rules.
            role.as_object_mut().unwrap().remove("rules");
        }
        found.push(role);
    }
    for name in BINDINGS {
        found.push(plain(
            server.get(&format!("{RBAC}/clusterrolebindings/{name}")).await.ok(),
        ));
    }
    found
}

#[tokio::test]
async fn the_first_roles_are_those_of_a_real_server() {
    let Some(kubernetes) = TestServer::kubernetes().await else {
        return;
    };
    let (ours, theirs) = (roles(&super::ours().await).await, roles(&kubernetes).await);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
}

on_both! {
    async fn every_namespace_has_an_account(server: TestServer) {
        let path = format!("{}/serviceaccounts/default", server.namespace_path());
        server.until(async || server.get(&path).await.code.as_u16(), |code| *code == 200).await;
        server.delete(&path).await.ok();
        server.until(async || server.get(&path).await.code.as_u16(), |code| *code == 200).await;
        assert_eq!(server.get("/api/v1/namespaces/kube-system/serviceaccounts/default").await.code, 200);
    }
}

#[tokio::test]
async fn roles_gather_rules_from_others() {
    let server = super::ours().await;
    let verbs = |role: &Value| role["rules"].as_array().map_or(0, Vec::len);
    let view = async || server.get(&format!("{RBAC}/clusterroles/view")).await.ok();
    let admin = async || server.get(&format!("{RBAC}/clusterroles/admin")).await.ok();
    let first = server.until(view, |role| verbs(role) > 5).await;
    assert!(verbs(&server.until(admin, |role| verbs(role) > 20).await) > verbs(&first));
    let bob = server.user("bob");
    server
        .bind("view", json!({"kind": "ClusterRole", "name": "view"}), &bob.name)
        .await;
    assert_eq!(bob.get(&server.maps()).await.code, 200);
    let path = server.custom("v1", "widgets");
    let server = server.with_widgets().await;
    let bob = server.user("bob");
    assert_eq!(bob.get(&path).await.code, 403);
    let more = json!({
        "metadata": {"name": "widgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["list"], "apiGroups": [server.group], "resources": ["widgets"]}],
    });
    server.post(&format!("{RBAC}/clusterroles"), more).await.ok();
    // It counts at once, and shows in the object soon.
    assert_eq!(bob.get(&path).await.code, 200);
    let count = verbs(&first);
    server
        .until(
            async || server.get(&format!("{RBAC}/clusterroles/view")).await.ok(),
            |role| verbs(role) == count + 1,
        )
        .await;
}

#[tokio::test]
async fn a_start_adds_what_is_missing_and_keeps_what_was_added() {
    let server = super::ours().await;
    let path = |name: &str| format!("{RBAC}/clusterroles/{name}");
    let own = json!([{"verbs": ["get"], "nonResourceURLs": ["/own"]}]);
    server
        .merge(&path("system:discovery"), json!({"rules": own}))
        .await
        .ok();
    let left =
        json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": own});
    server.merge(&path("system:basic-user"), left).await.ok();
    server.delete(&path("cluster-admin")).await.ok();
    let after = server.beside_with(super::options()).await;
    let urls = |role: &Value| -> Vec<String> {
        let rules = role["rules"].as_array().unwrap().iter();
        let urls = rules.flat_map(|rule| rule["nonResourceURLs"].as_array().into_iter().flatten());
        urls.map(|url| url.as_str().unwrap().to_owned()).collect()
    };
    let discovery = urls(&after.get(&path("system:discovery")).await.ok());
    assert!(
        discovery.contains(&"/own".to_owned()) && discovery.contains(&"/api/*".to_owned()),
        "{discovery:?}"
    );
    assert_eq!(urls(&after.get(&path("system:basic-user")).await.ok()), ["/own"]);
    assert_eq!(after.get(&path("cluster-admin")).await.code, 200);
}

#[tokio::test]
async fn a_server_makes_nothing_that_it_is_not_asked_for() {
    let server = TestServer::memory().await;
    for path in [
        format!("{RBAC}/clusterroles"),
        format!("{RBAC}/clusterrolebindings"),
        "/api/v1/serviceaccounts".to_owned(),
    ] {
        assert_eq!(server.get(&path).await.ok()["items"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn every_namespace_has_the_certificate() {
    let mut options = super::options();
    options.start.root_certificate = Some("PEM".to_owned());
    let server = TestServer::with(TestStore::memory(), options).await;
    let path = format!("{}/kube-root-ca.crt", server.maps());
    let found = server
        .until(async || server.get(&path).await, |answer| answer.code == 200)
        .await
        .ok();
    assert_eq!(found["data"], json!({"ca.crt": "PEM"}));
}
