//! Access reviews.

use http::Method;
use serde_json::{Value, json};

use super::{RBAC, on_both};
use crate::support::TestServer;

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";

fn attributes(namespace: &str, verb: &str, resource: &str) -> Value {
    json!({"namespace": namespace, "verb": verb, "resource": resource})
}

on_both! {
    async fn a_review_says_what_the_authorizers_say(server: TestServer) {
        let bob = server.user("bob");
        server.grant("r", json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}]), &bob.name).await;
        bob.gets(&format!("{}/x", server.maps()), 404).await;
        let review = async |spec: Value| server.post(&format!("{AUTHORIZATION}/subjectaccessreviews"), json!({"spec": spec})).await;
        let spec = json!({"user": bob.name, "resourceAttributes": attributes(&server.namespace, "get", "configmaps")});
        let answer = review(spec.clone()).await;
        assert_eq!(answer.code, 201);
        let answer = answer.ok();
        assert_eq!((answer["kind"].as_str(), &answer["spec"]), (Some("SubjectAccessReview"), &spec));
        let reason = format!(
            "RBAC: allowed by RoleBinding \"r/{}\" of Role \"r\" to User \"{}\"",
            server.namespace, bob.name
        );
        assert_eq!(answer["status"], json!({"allowed": true, "reason": reason}));
        let no = json!({"allowed": false});
        for spec in [
            json!({"user": bob.name, "resourceAttributes": attributes(&server.namespace, "delete", "configmaps")}),
            json!({"user": bob.name, "resourceAttributes": attributes("default", "get", "configmaps")}),
            json!({"groups": [bob.name], "resourceAttributes": attributes(&server.namespace, "get", "configmaps")}),
            json!({"user": bob.name, "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}),
        ] {
            assert_eq!(review(spec.clone()).await.ok()["status"], no, "{spec}");
        }
        let master = json!({"user": "x", "groups": ["system:masters"], "resourceAttributes": attributes("", "*", "*")});
        assert_eq!(review(master).await.ok()["status"], json!({"allowed": true}));
        let public = json!({"groups": ["system:unauthenticated"], "nonResourceAttributes": {"path": "/version", "verb": "get"}});
        let reason = "RBAC: allowed by ClusterRoleBinding \"system:public-info-viewer\" of ClusterRole \"system:public-info-viewer\" \
                      to Group \"system:unauthenticated\"";
        assert_eq!(review(public).await.ok()["status"], json!({"allowed": true, "reason": reason}));
    }

    async fn everybody_may_ask_about_himself(server: TestServer) {
        let bob = server.user("bob");
        let mine = json!({"spec": {"resourceAttributes": attributes(&server.namespace, "get", "configmaps")}});
        let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
        assert_eq!(bob.post(&path, mine.clone()).await.ok()["status"], json!({"allowed": false}));
        server.grant("r", json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}]), &bob.name).await;
        bob.gets(&format!("{}/x", server.maps()), 404).await;
        assert_eq!(bob.post(&path, mine).await.ok()["status"]["allowed"], true);
        for (path, body) in [
            (format!("{AUTHORIZATION}/subjectaccessreviews"), json!({"spec": {"user": "x"}})),
            (format!("{AUTHORIZATION}/namespaces/{}/localsubjectaccessreviews", server.namespace), json!({"spec": {"user": "x"}})),
            ("/apis/authentication.k8s.io/v1/tokenreviews".to_owned(), json!({"spec": {"token": "x"}})),
        ] {
            assert_eq!(bob.post(&path, body).await.refused(), (403, "Forbidden".into()), "{path}");
        }
        let me = bob.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.ok();
        assert_eq!(me["status"], json!({"userInfo": {"username": bob.name, "groups": ["system:authenticated"]}}));
        assert!(me["metadata"]["creationTimestamp"].is_string());
    }

    async fn rules_are_listed(server: TestServer) {
        let bob = server.user("bob");
        let rules = json!([
            {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]},
            {"verbs": ["list", "watch"], "apiGroups": ["", "apps"], "resources": ["*/scale"]},
        ]);
        server.grant("r", rules.clone(), &bob.name).await;
        server.bind("dangling", json!({"kind": "Role", "name": "nope"}), &bob.name).await;
        let path = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
        let list = async || bob.post(&path, json!({"spec": {"namespace": server.namespace}})).await.ok();
        let answer = server.soon(list, |answer| answer["status"]["evaluationError"].is_string()).await;
        let status = &answer["status"];
        assert_eq!(status["evaluationError"], "role.rbac.authorization.k8s.io \"nope\" not found");
        assert_eq!((&status["incomplete"], &answer["spec"]), (&json!(false), &json!({})));
        let listed = status["resourceRules"].as_array().unwrap();
        for rule in rules.as_array().unwrap() {
            assert!(listed.contains(rule), "{status}");
        }
        let reviews = json!({
            "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        });
        assert!(listed.contains(&reviews), "{status}");
        let paths = status["nonResourceRules"].as_array().unwrap();
        let public = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]});
        assert!(paths.contains(&public), "{status}");
        assert_eq!(bob.post(&path, json!({"spec": {}})).await.refused(), (400, "BadRequest".into()));
    }

    async fn wrong_reviews_are_refused(server: TestServer) {
        let resource = attributes(&server.namespace, "get", "pods");
        let path = json!({"path": "/healthz", "verb": "get"});
        let all = format!("{AUTHORIZATION}/subjectaccessreviews");
        let local = format!("{AUTHORIZATION}/namespaces/{}/localsubjectaccessreviews", server.namespace);
        let own = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
        for (at, spec, field) in [
            (&all, json!({"resourceAttributes": resource}), "spec.user"),
            (&all, json!({"user": "x"}), "spec.resourceAttributes"),
            (&own, json!({}), "spec.resourceAttributes"),
            (
                &all,
                json!({"user": "x", "resourceAttributes": resource, "nonResourceAttributes": path}),
                "spec.nonResourceAttributes",
            ),
            (&local, json!({"user": "x", "nonResourceAttributes": path}), "spec.nonResourceAttributes"),
            (
                &local,
                json!({"user": "x", "resourceAttributes": attributes("default", "get", "pods")}),
                "spec.resourceAttributes.namespace",
            ),
        ] {
            let refused = server.post(at, json!({"spec": spec})).await;
            assert_eq!(refused.refused(), (422, "Invalid".into()), "{at} {spec}");
            assert_eq!(refused.json()["details"]["causes"][0]["field"], field, "{spec}");
            assert_eq!(refused.json()["details"]["group"], "authorization.k8s.io");
        }
        let named = json!({"metadata": {"name": "x"}, "spec": {"user": "x", "resourceAttributes": resource}});
        assert_eq!(server.post(&all, named).await.refused(), (422, "Invalid".into()));
        assert_eq!(server.post("/apis/authentication.k8s.io/v1/tokenreviews", json!({"spec": {}})).await.refused().0, 400);
        let elsewhere = json!({"metadata": {"namespace": "default"}, "spec": {"user": "x", "resourceAttributes": resource}});
        assert_eq!(server.post(&local, elsewhere).await.refused().0, 400);
    }

    async fn a_review_is_only_created_and_has_no_table(server: TestServer) {
        let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(server.send(method.clone(), &path, &[], "").await.refused().0, 405, "{method}");
        }
        let body = json!({"spec": {"resourceAttributes": attributes("", "get", "pods")}}).to_string();
        let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"), ("content-type", "application/json")];
        assert_eq!(server.send(Method::POST, &path, &table, body.clone()).await.refused(), (406, "NotAcceptable".into()));
        let yaml = [("accept", "application/yaml"), ("content-type", "application/json")];
        assert_eq!(server.send(Method::POST, &path, &yaml, body).await.headers["content-type"], "application/yaml");
        let resources = server.get(AUTHORIZATION).await.ok();
        let found = resources["resources"].as_array().unwrap().iter().find(|found| found["name"] == "localsubjectaccessreviews");
        let found = found.unwrap();
        assert_eq!((&found["verbs"], &found["namespaced"]), (&json!(["create"]), &json!(true)));
        let core = server.get("/api/v1").await.ok();
        let token = core["resources"].as_array().unwrap().iter().find(|found| found["name"] == "serviceaccounts/token");
        assert_eq!(
            token,
            Some(&json!({
                "name": "serviceaccounts/token", "singularName": "", "namespaced": true, "group": "authentication.k8s.io",
                "version": "v1", "kind": "TokenRequest", "verbs": ["create"],
            }))
        );
        assert_eq!(server.get(&format!("{RBAC}/roles")).await.code, 200);
    }
}
