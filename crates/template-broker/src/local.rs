//! A home of the broker's own as the cluster: the namespaces and rights that it needs are made.

use http::{Method, Request, header};
use kube::Client;
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The role of the user in the namespace of the instances, beside the ClusterRole `admin`.
const ROLE: &str = "template-user";

/// Makes namespaces for templates and for instances, and lets a user do in them what an administrator of a namespace may:
/// the ClusterRole `admin`, and to read templates and to have instances of them.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn prepare(client: &Client, templates: &[String], instances: &str, user: &str) -> Result<(), kube::Error> {
    for namespace in templates.iter().map(String::as_str).chain([instances]) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        apply(client, &format!("/api/v1/namespaces/{namespace}"), &object).await?;
    }
    let all = json!([{"apiGroups": ["template.openshift.io"], "resources": ["*"], "verbs": ["*"]}]);
    let read = json!([{"apiGroups": ["template.openshift.io"], "resources": ["templates"],
        "verbs": ["get", "list", "watch"]}]);
    role(client, instances, &all).await?;
    bind(client, instances, "Role", ROLE, user).await?;
    bind(client, instances, "ClusterRole", "admin", user).await?;
    for namespace in templates.iter().filter(|namespace| *namespace != instances) {
        role(client, namespace, &read).await?;
        bind(client, namespace, "Role", ROLE, user).await?;
    }
    Ok(())
}

async fn role(client: &Client, namespace: &str, rules: &Value) -> Result<(), kube::Error> {
    let role = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": ROLE, "namespace": namespace},
        "rules": rules,
    });
    apply(client, &path(namespace, "roles", ROLE), &role).await
}

async fn bind(client: &Client, namespace: &str, kind: &str, role: &str, user: &str) -> Result<(), kube::Error> {
    let name = format!("{ROLE}-{role}");
    let binding = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "subjects": [{"kind": "User", "name": user, "apiGroup": RBAC}],
        "roleRef": {"kind": kind, "name": role, "apiGroup": RBAC},
    });
    apply(client, &path(namespace, "rolebindings", &name), &binding).await
}

fn path(namespace: &str, resource: &str, name: &str) -> String {
    format!("/apis/{RBAC}/v1/namespaces/{namespace}/{resource}/{name}")
}

async fn apply(client: &Client, path: &str, object: &Value) -> Result<(), kube::Error> {
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{path}?fieldManager=osb-templates&force=true"))
        .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(|_| ())
}
