//! What roles allow, and the kinds themselves.

use http::Method;
use serde_json::json;

use super::{RBAC, on_both};
use crate::support::TestServer;

on_both! {
    async fn a_role_counts_from_the_moment_it_is_bound_until_it_is_not(server: TestServer) {
        let bob = server.user("bob");
        let refused = bob.get(&server.maps()).await;
        let text = format!(
            "configmaps is forbidden: User \"{}\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"{}\"",
            bob.name, server.namespace
        );
        assert_eq!((refused.refused(), refused.json()["message"].as_str()), ((403, "Forbidden".into()), Some(text.as_str())));
        assert_eq!(refused.json()["details"], json!({"kind": "configmaps"}));
        server.grant("r", json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}]), &bob.name).await;
        bob.gets(&server.maps(), 200).await;
        assert_eq!(bob.get(&format!("{}/none", server.maps())).await.code, 404);
        for (method, path) in [
            (Method::DELETE, server.maps()),
            (Method::DELETE, format!("{}/a", server.maps())),
            (Method::GET, "/api/v1/namespaces/default/configmaps".to_owned()),
            (Method::GET, "/api/v1/configmaps".to_owned()),
            (Method::GET, format!("{}/secrets", server.namespace_path())),
        ] {
            assert_eq!(bob.send(method.clone(), &path, "application/json", String::new()).await.code, 403, "{method} {path}");
        }
        server.put(&format!("{}/r", server.roles()), json!({"metadata": {"name": "r"}, "rules": []})).await.ok();
        bob.gets(&server.maps(), 403).await;
        server
            .merge(&format!("{}/r", server.roles()), json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}))
            .await
            .ok();
        bob.gets(&server.maps(), 200).await;
        server.delete(&format!("{}/r", server.bindings())).await.ok();
        bob.gets(&server.maps(), 403).await;
    }

    async fn groups_and_cluster_roles_are_bound_too(server: TestServer) {
        let (bob, eve) = (server.user("bob").of("devs"), server.user("eve"));
        let group = format!("devs-{}", server.namespace);
        let bob = bob.of(&group);
        let name = format!("reader-{}", server.namespace);
        let role = json!({
            "metadata": {"name": name},
            "rules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["namespaces", "configmaps"]},
                {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
            ],
        });
        server.post(&format!("{RBAC}/clusterroles"), role).await.ok();
        let binding = json!({
            "metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "Group", "name": group}],
        });
        let made = server.post(&format!("{RBAC}/clusterrolebindings"), binding).await.ok();
        assert_eq!(made["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
        assert_eq!(made["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
        bob.gets(&server.namespace_path(), 200).await;
        bob.gets("/api/v1/namespaces/default", 200).await;
        assert_eq!(eve.get(&server.namespace_path()).await.code, 403);
        let refused = eve.get("/metrics").await;
        let text = format!("forbidden: User \"{}\" cannot get path \"/metrics\"", eve.name);
        assert_eq!(refused.json()["message"], text);
        server.delete(&format!("{RBAC}/clusterrolebindings/{name}")).await.ok();
        bob.gets(&server.namespace_path(), 403).await;
        server.bind("local", json!({"kind": "ClusterRole", "name": name}), &eve.name).await;
        eve.gets(&server.namespace_path(), 200).await;
        assert_eq!(eve.get("/api/v1/namespaces/default").await.code, 403);
        server.delete(&format!("{RBAC}/clusterroles/{name}")).await.ok();
    }

    async fn names_limit_a_rule(server: TestServer) {
        let bob = server.user("bob");
        let rules = json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}]);
        server.grant("r", rules, &bob.name).await;
        bob.gets(&format!("{}/a", server.maps()), 404).await;
        assert_eq!(bob.get(&format!("{}/b", server.maps())).await.code, 403);
        assert_eq!(bob.get(&server.maps()).await.code, 403);
        // A list of one name carries that name.
        assert_eq!(bob.get(&format!("{}?fieldSelector=metadata.name%3Da", server.maps())).await.code, 200);
        assert_eq!(bob.get(&format!("{}?fieldSelector=metadata.name%3Db", server.maps())).await.code, 403);
        assert_eq!(bob.post(&server.maps(), json!({"metadata": {"name": "a"}})).await.code, 403);
    }

    async fn a_missing_role_is_named_in_the_refusal(server: TestServer) {
        let bob = server.user("bob");
        server.bind("dangling", json!({"kind": "Role", "name": "nope"}), &bob.name).await;
        let ends = |message: &str| message.ends_with(": RBAC: role.rbac.authorization.k8s.io \"nope\" not found");
        server
            .soon(async || bob.get(&server.maps()).await, |answer| ends(answer.json()["message"].as_str().unwrap_or_default()))
            .await;
    }

    async fn wrong_roles_and_bindings_are_refused(server: TestServer) {
        let rule = |rule: serde_json::Value| json!({"metadata": {"name": "x"}, "rules": [rule]});
        let role = |kind: &str, name: &str| json!({"metadata": {"name": "x"}, "roleRef": {"kind": kind, "name": name}});
        let subject = |subject: serde_json::Value| {
            json!({"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [subject]})
        };
        let (roles, bindings) = (server.roles(), server.bindings());
        let (cluster_roles, cluster_bindings) = (format!("{RBAC}/clusterroles"), format!("{RBAC}/clusterrolebindings"));
        for (path, body, fields) in [
            (&roles, rule(json!({"apiGroups": [""], "resources": ["pods"]})), vec!["rules[0].verbs"]),
            (&roles, rule(json!({"verbs": ["get"]})), vec!["rules[0].apiGroups", "rules[0].resources"]),
            (&roles, rule(json!({"verbs": ["get"], "nonResourceURLs": ["/"]})), vec!["rules[0].nonResourceURLs"]),
            (
                &cluster_roles,
                rule(json!({"verbs": ["get"], "nonResourceURLs": ["/"], "resources": ["pods"]})),
                vec!["rules[0].nonResourceURLs"],
            ),
            (&cluster_roles, json!({"metadata": {"name": "x"}, "aggregationRule": {}}), vec!["aggregationRule.clusterRoleSelectors"]),
            (&bindings, json!({"metadata": {"name": "x"}}), vec!["roleRef.kind", "roleRef.name"]),
            (&bindings, role("Rolle", "x"), vec!["roleRef.kind"]),
            (&cluster_bindings, role("Role", "x"), vec!["roleRef.kind"]),
            (&bindings, role("Role", "a/b"), vec!["roleRef.name"]),
            (&bindings, subject(json!({"kind": "User"})), vec!["subjects[0].name"]),
            (&bindings, subject(json!({"kind": "Robot", "name": "x"})), vec!["subjects[0].kind"]),
            (&bindings, subject(json!({"kind": "User", "name": "x", "apiGroup": "v1"})), vec!["subjects[0].apiGroup"]),
            (&cluster_bindings, subject(json!({"kind": "ServiceAccount", "name": "x"})), vec!["subjects[0].namespace"]),
        ] {
            let refused = server.post(path, body.clone()).await;
            assert_eq!(refused.refused(), (422, "Invalid".into()), "{body}");
            let causes = refused.json()["details"]["causes"].clone();
            let mut found: Vec<&str> = causes.as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap()).collect();
            found.sort_unstable();
            assert_eq!(found, fields, "{body}");
        }
        assert_eq!(server.post(&roles, json!({"metadata": {"name": "a%b"}})).await.refused().0, 422);
        server.post(&roles, json!({"metadata": {"name": "Odd:Name"}})).await.ok();
    }

    async fn the_role_of_a_binding_cannot_be_changed(server: TestServer) {
        let path = format!("{}/b", server.bindings());
        // A PUT makes it.
        let body = |name: &str| json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": name}});
        assert_eq!(server.put(&path, body("one")).await.code, 201);
        assert_eq!(server.put(&path, body("one")).await.code, 200);
        let refused = server.put(&path, body("two")).await;
        assert_eq!(refused.refused(), (422, "Invalid".into()));
        let text = "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"two\"}: cannot change roleRef";
        assert!(refused.json()["message"].as_str().unwrap().ends_with(text), "{refused:?}");
        let role = server.post(&server.roles(), json!({"metadata": {"name": "empty"}})).await.ok();
        assert_eq!(role.get("rules"), Some(&json!(null)));
    }

    async fn tables_show_who_is_bound_to_what(server: TestServer) {
        let subjects = json!([
            {"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
            {"kind": "User", "name": "v"},
        ]);
        let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": subjects});
        server.post(&server.bindings(), binding).await.ok();
        let table = server.get_as(&server.bindings(), "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
        let columns = table["columnDefinitions"].as_array().unwrap().iter();
        let columns: Vec<(&str, i64)> =
            columns.map(|column| (column["name"].as_str().unwrap(), column["priority"].as_i64().unwrap())).collect();
        assert_eq!(
            columns,
            [("Name", 0), ("Role", 0), ("Age", 0), ("Users", 1), ("Groups", 1), ("ServiceAccounts", 1)]
        );
        let mut cells = table["rows"][0]["cells"].as_array().unwrap().clone();
        cells.remove(2);
        assert_eq!(json!(cells), json!(["b", "ClusterRole/view", "u, v", "g", "n/s"]));
    }
}

#[tokio::test]
async fn what_another_process_grants_counts() {
    let server = super::ours().await;
    let other = server.beside_with(super::options()).await;
    let bob = server.user("bob");
    other
        .grant(
            "r",
            json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]),
            &bob.name,
        )
        .await;
    assert_eq!(other.user("bob").get(&server.maps()).await.code, 200);
    server
        .until(
            async || bob.get(&server.maps()).await.code.as_u16(),
            |code| *code == 200,
        )
        .await;
    other.delete(&format!("{}/r", server.bindings())).await.ok();
    server
        .until(
            async || bob.get(&server.maps()).await.code.as_u16(),
            |code| *code == 403,
        )
        .await;
}

#[tokio::test]
async fn what_was_granted_counts_after_a_restart() {
    let server = super::ours().await;
    let bob = server.user("bob");
    server
        .grant(
            "r",
            json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]),
            &bob.name,
        )
        .await;
    server.ours().api.shutdown().await;
    let after = server.beside_with(super::options()).await;
    assert_eq!(after.user("bob").get(&server.maps()).await.code, 200);
}
