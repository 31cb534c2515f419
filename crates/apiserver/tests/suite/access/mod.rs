//! Who may do what: roles, bindings, what may be granted, impersonation, reviews and tokens, on a server of ours with role based
//! access and on a real one.

mod approval;
mod escalation;
mod hooks;
mod impersonation;
mod operation;
mod reviews;
mod roles;
mod start;
mod tokens;

use apiserver::{Authorization, Options, StartObjects};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestServer, TestStore};

pub(crate) const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A server of ours that works as a cluster's does.
pub(crate) fn options() -> Options {
    Options {
        authorization: Authorization::Rbac,
        start: StartObjects::all(),
        ..Options::default()
    }
}

pub(crate) async fn ours() -> TestServer {
    TestServer::with(TestStore::memory(), options()).await
}

/// Runs each test on a server of ours with role based access, and on a real one.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($server:ident: TestServer) $body:block)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            async fn on($server: TestServer) $body

            #[tokio::test]
            async fn ours() {
                on($crate::access::ours().await).await;
            }

            #[tokio::test]
            async fn kubernetes() {
                if let Some(server) = TestServer::kubernetes().await {
                    on(server).await;
                }
            }
        })*
    };
}
pub(crate) use on_both;

/// Somebody whom the administrator speaks for.
pub(crate) struct Somebody<'s> {
    server: &'s TestServer,
    pub(crate) name: String,
    groups: Vec<String>,
}

impl TestServer {
    /// A user of this name, unique to the test.
    pub(crate) fn user(&self, name: &str) -> Somebody<'_> {
        Somebody {
            server: self,
            name: format!("{name}-{}", self.namespace),
            groups: Vec::new(),
        }
    }

    pub(crate) fn roles(&self) -> String {
        format!("{RBAC}/namespaces/{}/roles", self.namespace)
    }

    pub(crate) fn bindings(&self) -> String {
        format!("{RBAC}/namespaces/{}/rolebindings", self.namespace)
    }

    /// Makes a role of these rules and binds it to a user in the namespace.
    pub(crate) async fn grant(&self, name: &str, rules: Value, user: &str) {
        self.post(&self.roles(), json!({"metadata": {"name": name}, "rules": rules}))
            .await
            .ok();
        self.bind(name, json!({"kind": "Role", "name": name}), user).await;
    }

    pub(crate) async fn bind(&self, name: &str, role: Value, user: &str) {
        let binding =
            json!({"metadata": {"name": name}, "roleRef": role, "subjects": [{"kind": "User", "name": user}]});
        self.post(&self.bindings(), binding).await.ok();
    }
}

impl Somebody<'_> {
    pub(crate) fn of(mut self, group: &str) -> Self {
        self.groups.push(group.to_owned());
        self
    }

    pub(crate) async fn send(&self, method: Method, path: &str, content_type: &str, body: String) -> Answer {
        let mut headers = vec![("impersonate-user", self.name.as_str()), ("content-type", content_type)];
        headers.extend(self.groups.iter().map(|group| ("impersonate-group", group.as_str())));
        self.server.send(method, path, &headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "application/json", String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, "application/json", body.to_string())
            .await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, "application/merge-patch+json", body.to_string())
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, "application/json", String::new()).await
    }

    /// The answer once it has this code: a real server takes its time to see what has been granted.
    pub(crate) async fn gets(&self, path: &str, code: u16) -> Answer {
        self.server
            .soon(async || self.get(path).await, |answer| answer.code.as_u16() == code)
            .await
    }
}
