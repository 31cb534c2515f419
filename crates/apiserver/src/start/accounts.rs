//! What every namespace has: the ServiceAccount `default`, and the certificate of the server's authority.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use objectstore::{Delivery, Event, Revision};
use serde_json::json;

use super::{StartObjects, Wish, fulfil};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::server::Server;

const CERTIFICATE: &str = "kube-root-ca.crt";
const PAUSE: Duration = Duration::from_secs(1);

/// What a namespace is to have.
pub(super) fn wishes(start: &StartObjects, namespace: &str) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut wish = |plural, object| {
        wishes.push(Wish {
            group: "",
            plural,
            namespace: namespace.to_owned(),
            object,
        });
    };
    if start.service_accounts {
        wish("serviceaccounts", json!({"metadata": {"name": "default"}}));
    }
    if let Some(certificate) = &start.root_certificate {
        let why = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
                   internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
                   Kubernetes clusters.";
        wish(
            "configmaps",
            json!({
                "metadata": {"name": CERTIFICATE, "annotations": {"kubernetes.io/description": why}},
                "data": {"ca.crt": certificate},
            }),
        );
    }
    wishes
}

/// Gives each namespace what it is to have, until the store closes.
pub(crate) async fn run(server: &Arc<Server>, start: &StartObjects) {
    if !start.service_accounts && start.root_certificate.is_none() {
        return;
    }
    loop {
        match follow(server, start).await {
            Ok(()) => return,
            Err(failure) => {
                tracing::warn!(
                    ?failure,
                    "namespaces do not get their service account and certificate now"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(server: &Arc<Server>, start: &StartObjects) -> Result<(), Failure> {
    let at = server.store.revision();
    let namespaces = Keys::new("", "namespaces", false);
    let accounts = Keys::new("", "serviceaccounts", true);
    let maps = Keys::new("", "configmaps", true);
    let mut watches = vec![server.store.watch(namespaces.objects(None), Some(at)).await?];
    if start.service_accounts {
        watches.push(server.store.watch(accounts.objects(None), Some(at)).await?);
    }
    if start.root_certificate.is_some() {
        watches.push(server.store.watch(maps.objects(None), Some(at)).await?);
    }
    everywhere(server, start, at).await?;
    let mut news = futures::stream::select_all(watches);
    while let Some(delivery) = news.next().await {
        let Delivery::Events(events) = delivery? else { continue };
        for event in events.iter() {
            let namespace = made(&namespaces, event)
                .or_else(|| lost(&accounts, event, "default"))
                .or_else(|| lost(&maps, event, CERTIFICATE));
            if let Some(namespace) = namespace {
                furnish(server, start, &namespace).await?;
            }
        }
    }
    Ok(())
}

async fn everywhere(server: &Server, start: &StartObjects, at: Revision) -> Result<(), Failure> {
    for namespace in server.namespaces.names(&server.store, at).await? {
        furnish(server, start, &namespace).await?;
    }
    Ok(())
}

/// The namespace that an event tells of, when it is new.
fn made(keys: &Keys, event: &Event) -> Option<String> {
    let (_, name) = keys.parts(&event.key)?;
    (event.value.is_some() && event.previous.is_none()).then(|| name.to_owned())
}

/// The namespace that has lost this object, by an event.
fn lost(keys: &Keys, event: &Event, wanted: &str) -> Option<String> {
    let key: &Bytes = &event.key;
    let (namespace, name) = keys.parts(key)?;
    (name == wanted && event.value.is_none()).then(|| namespace.to_owned())
}

async fn furnish(server: &Server, start: &StartObjects, namespace: &str) -> Result<(), Failure> {
    for wish in wishes(start, namespace) {
        match fulfil(server, &wish).await {
            Ok(()) => {}
            // The namespace has gone, or goes.
            Err(Failure::Status(status)) if matches!(status.code(), 403 | 404) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
