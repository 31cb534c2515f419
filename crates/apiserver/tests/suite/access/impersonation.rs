//! Somebody acts as another user. The one who does is a service account, with a token of its own.

use http::Method;
use serde_json::{Value, json};

use super::{RBAC, on_both, tokens};
use crate::support::{Answer, TestServer};

/// A service account that acts as others.
struct Robot<'s> {
    server: &'s TestServer,
    token: String,
    name: String,
}

impl Robot<'_> {
    async fn list(&self, headers: &[(&str, &str)]) -> Answer {
        self.server
            .with_token(Some(&self.token), Method::GET, &self.server.maps(), headers, "")
            .await
    }

    /// Who the robot is with these headers.
    async fn who(&self, headers: &[(&str, &str)]) -> Answer {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.server
            .with_token(Some(&self.token), Method::POST, path, &all, "{}")
            .await
    }

    /// Gives the robot rights in the whole cluster, and waits until they count.
    async fn may(&self, rules: Value) {
        let name = format!("impersonator-{}", self.server.namespace);
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.server.put(&format!("{RBAC}/clusterroles/{name}"), role).await.ok();
        let subject = json!({"kind": "ServiceAccount", "name": "robot", "namespace": self.server.namespace});
        let binding = json!({
            "metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [subject],
        });
        self.server
            .put(&format!("{RBAC}/clusterrolebindings/{name}"), binding)
            .await
            .ok();
    }

    async fn clean(&self) {
        for plural in ["clusterroles", "clusterrolebindings"] {
            self.server
                .delete(&format!("{RBAC}/{plural}/impersonator-{}", self.server.namespace))
                .await
                .ok();
        }
    }
}

async fn robot(server: &TestServer) -> Robot<'_> {
    let answer = tokens::robot(server, json!({})).await.ok();
    Robot {
        server,
        token: answer["status"]["token"].as_str().unwrap().to_owned(),
        name: format!("system:serviceaccount:{}:robot", server.namespace),
    }
}

on_both! {
    async fn who_may_not_impersonate_is_told_so(server: TestServer) {
        let robot = robot(&server).await;
        let refused = robot.list(&[("impersonate-user", "carol")]).await;
        assert_eq!(refused.refused(), (403, "Forbidden".into()));
        let text = format!(
            "configmaps is forbidden: User \"{}\" cannot impersonate-on:user-info:list resource \"configmaps\" in API group \"\" in \
             the namespace \"{}\"",
            robot.name, server.namespace
        );
        assert_eq!(refused.json()["message"], text);
        assert_eq!(robot.list(&[("impersonate-group", "g")]).await.refused(), (400, "BadRequest".into()));
        assert_eq!(robot.list(&[("impersonate-uid", "g")]).await.refused(), (400, "BadRequest".into()));
        assert_eq!(robot.list(&[("impersonate-extra-scopes", "g")]).await.refused(), (400, "BadRequest".into()));
    }

    async fn each_part_of_an_identity_is_asked_for(server: TestServer) {
        let robot = robot(&server).await;
        let users = json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["carol"]});
        robot.may(json!([users])).await;
        let carol = ("impersonate-user", "carol");
        let me = server.soon(async || robot.who(&[carol]).await, |answer| answer.code == 201).await.ok();
        assert_eq!(
            me["status"]["userInfo"],
            json!({"username": "carol", "groups": ["system:authenticated"]})
        );
        // The refusal of what carol may not do names her.
        let refused = robot.list(&[carol]).await;
        assert!(refused.json()["message"].as_str().unwrap().starts_with("configmaps is forbidden: User \"carol\" cannot list"));
        for headers in [
            vec![("impersonate-user", "dave")],
            vec![carol, ("impersonate-group", "g")],
            vec![carol, ("impersonate-uid", "7")],
            vec![carol, ("impersonate-extra-scopes", "read")],
            vec![("impersonate-user", "system:serviceaccount:default:default")],
        ] {
            assert_eq!(robot.who(&headers).await.refused().0, 403, "{headers:?}");
        }
        let authentication = |resources: &[&str]| json!({"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": resources});
        let groups = json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["g"]});
        robot.may(json!([users, groups, authentication(&["uids", "userextras/scopes"])])).await;
        let all = [
            carol, ("impersonate-group", "g"), ("impersonate-uid", "7"), ("impersonate-extra-scopes", "read"),
            ("impersonate-extra-scopes", "write"),
        ];
        let me = server.soon(async || robot.who(&all).await, |answer| answer.code == 201).await.ok();
        assert_eq!(
            me["status"]["userInfo"],
            json!({
                "username": "carol", "uid": "7", "groups": ["g", "system:authenticated"], "extra": {"scopes": ["read", "write"]},
            })
        );
        assert_eq!(robot.who(&[carol, ("impersonate-group", "system:masters")]).await.refused().0, 403);
        assert_eq!(robot.who(&[carol, ("impersonate-extra-other", "read")]).await.refused().0, 403);
        robot.clean().await;
    }

    async fn a_service_account_comes_with_its_groups(server: TestServer) {
        let robot = robot(&server).await;
        robot.may(json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts", "users"]}])).await;
        let headers = [("impersonate-user", "system:serviceaccount:default:some")];
        let me = server.soon(async || robot.who(&headers).await, |answer| answer.code == 201).await.ok();
        assert_eq!(
            me["status"]["userInfo"],
            json!({
                "username": "system:serviceaccount:default:some",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
            })
        );
        // Nobody who is not signed in may ask who he is.
        let refused = robot.who(&[("impersonate-user", "system:anonymous")]).await;
        assert!(refused.json()["message"].as_str().unwrap().contains("User \"system:anonymous\" cannot create"), "{refused:?}");
        robot.clean().await;
    }

    async fn impersonation_can_be_limited_to_what_is_done(server: TestServer) {
        let robot = robot(&server).await;
        let identity = json!({"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users"]});
        let on = json!({"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["configmaps"]});
        robot.may(json!([identity, on])).await;
        let named = |answer: &Answer| answer.json()["message"].as_str().unwrap_or_default().contains("User \"carol\" cannot list");
        let carol = [("impersonate-user", "carol")];
        server.soon(async || robot.list(&carol).await, named).await;
        assert!(!named(&robot.who(&carol).await));
        assert_eq!(robot.who(&carol).await.refused().0, 403);
        robot.clean().await;
    }
}
