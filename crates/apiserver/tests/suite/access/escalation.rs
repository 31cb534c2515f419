//! Nobody grants what he does not hold.

use serde_json::{Value, json};

use super::{RBAC, Somebody, on_both};
use crate::support::TestServer;

fn rule(verbs: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [""], "resources": resources})
}

/// Somebody who may write roles and bindings, and read config maps.
async fn granter(server: &TestServer) -> Somebody<'_> {
    let bob = server.user("bob");
    let rules = json!([
        {"verbs": ["get", "list", "create", "update", "patch", "delete"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
        rule(&["get", "list"], &["configmaps"]),
    ]);
    server.grant("granter", rules, &bob.name).await;
    bob.gets(&server.maps(), 200).await;
    bob
}

on_both! {
    async fn a_role_of_more_than_one_holds_is_refused(server: TestServer) {
        let bob = granter(&server).await;
        let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
        assert_eq!(bob.post(&server.roles(), role("less", json!([rule(&["get"], &["configmaps"])]))).await.code, 201);
        let rules = json!([rule(&["get", "delete", "watch"], &["configmaps", "secrets"]), rule(&["get"], &["configmaps"])]);
        let refused = bob.post(&server.roles(), role("more", rules)).await;
        assert_eq!(refused.refused(), (403, "Forbidden".into()));
        let text = format!(
            "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"{}\" (groups=[\"system:authenticated\"]) is attempting to \
             grant RBAC permissions not currently held:\n\
             {{APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"delete\" \"watch\"]}}\n\
             {{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\" \"watch\"]}}",
            bob.name
        );
        assert_eq!(refused.json()["message"], text);
        assert_eq!(refused.json()["details"], json!({"name": "more", "group": "rbac.authorization.k8s.io", "kind": "roles"}));
        let less = format!("{}/less", server.roles());
        for answer in [
            bob.merge(&less, json!({"rules": [rule(&["*"], &["configmaps"])]})).await,
            bob.put(&less, role("less", json!([rule(&["get"], &["secrets"])]))).await,
            bob.put(&format!("{}/new", server.roles()), role("new", json!([rule(&["get"], &["secrets"])]))).await,
        ] {
            assert_eq!(answer.refused(), (403, "Forbidden".into()));
        }
        assert_eq!(bob.merge(&less, json!({"metadata": {"labels": {"a": "b"}}})).await.code, 200);
        assert_eq!(bob.delete(&less).await.code, 200);
    }

    async fn a_binding_gives_only_what_one_holds(server: TestServer) {
        let bob = granter(&server).await;
        for (name, resource) in [("maps", "configmaps"), ("secrets", "secrets")] {
            let role = json!({"metadata": {"name": name}, "rules": [rule(&["get"], &[resource])]});
            server.post(&server.roles(), role).await.ok();
        }
        let binding = |name: &str, kind: &str, role: &str| json!({
            "metadata": {"name": name}, "roleRef": {"kind": kind, "name": role}, "subjects": [{"kind": "User", "name": "eve"}],
        });
        let post = async |name: &str, kind: &str, role: &str| bob.post(&server.bindings(), binding(name, kind, role)).await;
        // A real server looks into its store for the role, but into its memory for what is held.
        assert_eq!(post("a", "Role", "maps").await.code, 201);
        let refused = post("b", "Role", "secrets").await;
        assert_eq!(refused.refused(), (403, "Forbidden".into()));
        let message = refused.json()["message"].clone();
        let message = message.as_str().unwrap();
        assert!(message.starts_with("rolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user "), "{message}");
        assert!(message.ends_with("{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"), "{message}");
        assert_eq!(post("c", "ClusterRole", "cluster-admin").await.refused().0, 403);
        let missing = post("d", "Role", "nope").await;
        assert_eq!(missing.refused(), (404, "NotFound".into()));
        assert_eq!(missing.json()["message"], "rolebindings.rbac.authorization.k8s.io \"nope\" not found");
        let other = server.post(&server.bindings(), binding("e", "Role", "secrets")).await.ok();
        let path = format!("{}/e", server.bindings());
        // Who owns it may be changed by who may not give it.
        assert_eq!(bob.merge(&path, json!({"metadata": {"finalizers": ["ex.io/x"]}})).await.code, 200);
        assert_eq!(bob.merge(&path, json!({"metadata": {"finalizers": null}})).await.code, 200);
        assert_eq!(bob.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await.refused().0, 403);
        assert_eq!(other["subjects"][0]["name"], "eve");
    }

    async fn escalate_and_bind_are_verbs(server: TestServer) {
        let bob = granter(&server).await;
        let secrets = json!({"metadata": {"name": "secrets"}, "rules": [rule(&["get"], &["secrets"])]});
        server.post(&server.roles(), secrets.clone()).await.ok();
        let rules = json!([{"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "resourceNames": ["secrets"]}]);
        server.grant("binder", rules, &bob.name).await;
        let binding = |name: &str, role: &str| json!({"metadata": {"name": name}, "roleRef": {"kind": "Role", "name": role}});
        server
            .soon(
                async || bob.post(&server.bindings(), binding("b", "secrets")).await.code.as_u16(),
                |code| *code == 201,
            )
            .await;
        let rules = json!([{"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}]);
        let other = json!({"metadata": {"name": "other"}, "rules": [rule(&["get"], &["secrets"])]});
        assert_eq!(bob.post(&server.roles(), other.clone()).await.refused().0, 403);
        server.grant("escalator", rules, &bob.name).await;
        server
            .soon(async || bob.post(&server.roles(), other.clone()).await.code.as_u16(), |code| *code == 201)
            .await;
        assert_eq!(bob.post(&server.bindings(), binding("c", "other")).await.refused().0, 403);
    }

    async fn only_an_administrator_gathers_rules(server: TestServer) {
        let bob = server.user("bob");
        let name = format!("gatherer-{}", server.namespace);
        let rules = json!([
            {"verbs": ["create", "get", "update"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]},
        ]);
        server.post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": name}, "rules": rules})).await.ok();
        let binding = json!({
            "metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [{"kind": "User", "name": bob.name}],
        });
        server.post(&format!("{RBAC}/clusterrolebindings"), binding).await.ok();
        bob.gets(&format!("{RBAC}/clusterroles/{name}"), 200).await;
        let role = json!({
            "metadata": {"name": format!("all-{name}")},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
        });
        let refused = bob.post(&format!("{RBAC}/clusterroles"), role).await;
        assert_eq!(refused.refused().0, 403);
        let message = refused.json()["message"].clone();
        assert!(message.as_str().unwrap().ends_with(": must have cluster-admin privileges to use the aggregationRule"), "{message}");
        for plural in ["clusterrolebindings", "clusterroles"] {
            server.delete(&format!("{RBAC}/{plural}/{name}")).await.ok();
        }
    }
}
