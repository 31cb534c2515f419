//! Admission hooks in the server's own process.

use std::sync::{Arc, Mutex};

use apiserver::{AdmissionRequest, Mutate, Operation, Options, Refusal, Validate, Warnings};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::{TestServer, TestStore};

/// Labels every config map, and writes down what it was asked.
#[derive(Default)]
struct Labels(Mutex<Vec<String>>);

impl Mutate for Labels {
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        request.kind == "ConfigMap" || request.resource == "widgets"
    }

    fn mutate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        old: Option<&'a Value>,
        new: &'a mut Value,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>> {
        async move {
            self.0.lock().unwrap().push(format!(
                "{:?} {}/{}{} {} old={} dry={}",
                request.operation,
                request.namespace,
                request.name,
                request.subresource,
                request.user.name,
                old.is_some(),
                request.dry_run
            ));
            new["metadata"]["labels"]["hooked"] = json!("yes");
            new["metadata"]["name"] = json!("another");
            new["nonsense"] = json!(1);
            Ok(vec!["a label was added".to_owned()])
        }
        .boxed()
    }
}

/// Refuses what says so.
struct Refuses;

impl Validate for Refuses {
    fn validate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>> {
        async move {
            let says = |object: Option<&Value>, what: &str| {
                object.is_some_and(|object| object["metadata"]["annotations"]["refuse"] == what)
            };
            let refused = match request.operation {
                Operation::Delete => says(old, "delete") && new.is_none(),
                Operation::Create | Operation::Update => says(new, "write"),
            };
            if refused {
                Err(Refusal::forbidden("it says so"))
            } else {
                Ok(Warnings::new())
            }
        }
        .boxed()
    }
}

async fn hooked() -> (TestServer, Arc<Labels>) {
    let labels = Arc::new(Labels::default());
    let options = Options {
        mutating: vec![labels.clone()],
        validating: vec![Arc::new(Refuses)],
        ..Options::default()
    };
    (TestServer::with(TestStore::memory(), options).await, labels)
}

#[tokio::test]
async fn hooks_change_what_is_stored() {
    let (server, labels) = hooked().await;
    let answer = server
        .post(&server.maps(), json!({"metadata": {"name": "a"}, "data": {"k": "v"}}))
        .await;
    assert_eq!(answer.warnings(), ["299 - \"a label was added\""]);
    let made = answer.ok();
    assert_eq!(
        (
            &made["metadata"]["labels"],
            &made["metadata"]["name"],
            made.get("nonsense")
        ),
        (&json!({"hooked": "yes"}), &json!("a"), None)
    );
    let path = format!("{}/a", server.maps());
    let changed = server
        .merge(&path, json!({"metadata": {"labels": null}, "data": {"k": "w"}}))
        .await
        .ok();
    assert_eq!(
        (&changed["metadata"]["labels"]["hooked"], &changed["data"]["k"]),
        (&json!("yes"), &json!("w"))
    );
    server
        .post(
            &format!("{}?dryRun=All", server.maps()),
            json!({"metadata": {"name": "b"}}),
        )
        .await
        .ok();
    server
        .post(
            &format!("{}/secrets", server.namespace_path()),
            json!({"metadata": {"name": "s"}}),
        )
        .await
        .ok();
    let namespace = &server.namespace;
    assert_eq!(
        *labels.0.lock().unwrap(),
        [
            format!("Create {namespace}/a system:admin old=false dry=false"),
            format!("Update {namespace}/a system:admin old=true dry=false"),
            format!("Create {namespace}/b system:admin old=false dry=true"),
        ]
    );
}

#[tokio::test]
async fn hooks_see_custom_resources_and_their_status() {
    let (server, labels) = hooked().await;
    let server = server.with_widgets().await;
    let made = server.post(&server.widgets(), server.widget("w")).await.ok();
    assert_eq!(made["metadata"]["labels"]["hooked"], "yes");
    server
        .merge(&format!("{}/w/status", server.widgets()), json!({"status": {}}))
        .await
        .ok();
    let seen = labels.0.lock().unwrap();
    assert!(
        seen[1].starts_with(&format!("Update {}/wstatus ", server.namespace)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn hooks_refuse_writes_and_deletions() {
    let (server, _) = hooked().await;
    let says = |name: &str, what: &str| json!({"metadata": {"name": name, "annotations": {"refuse": what}}});
    let refused = server.post(&server.maps(), says("a", "write")).await;
    assert_eq!(refused.refused(), (403, "Forbidden".into()));
    assert_eq!(refused.json()["message"], "configmaps \"a\" is forbidden: it says so");
    server.post(&server.maps(), says("a", "delete")).await.ok();
    let path = format!("{}/a", server.maps());
    assert_eq!(server.put(&path, says("a", "write")).await.refused().0, 403);
    assert_eq!(server.delete(&path).await.refused().0, 403);
    assert_eq!(server.delete(&server.maps()).await.refused().0, 403);
    server.put(&path, says("a", "nothing")).await.ok();
    server.delete(&path).await.ok();
    // What the server does itself is not asked about.
    server.post(&server.maps(), says("b", "delete")).await.ok();
    server.delete(&server.namespace_path()).await.ok();
    server.until_missing(&server.namespace_path()).await;
}
