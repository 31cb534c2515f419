//! What goes by itself: Events after an hour, and addresses and ports of Services that are gone.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::json::Value;
use apimachinery::meta;
use jiff::Timestamp;
use objectstore::{Compare, Entry, Transaction, Write};

use crate::codec::{Opening, Stored};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::read::after;
use crate::registry::Resource;
use crate::render;
use crate::server::Server;
use crate::target::Target;
use crate::write::addresses::{self, MANAGED_BY};
use crate::write::commit::{self, Change};
use crate::write::object;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(60);
/// How long an Event is kept after it was last seen.
const EVENT_LIFETIME: i64 = 3600;
const CHUNK: usize = 500;

/// Looks again and again until the server closes.
pub(crate) async fn run(server: Arc<Server>) {
    let mut closing = server.closing.subscribe();
    loop {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if let Err(failure) = sweep(&server, Timestamp::now()).await {
            tracing::warn!(?failure, "what has expired cannot be removed now");
        }
    }
}

/// What may be over.
#[derive(Clone, Copy, Debug)]
enum Sweep {
    Events,
    Addresses,
    Ports,
}

/// Removes what is over at a time.
async fn sweep(server: &Server, now: Timestamp) -> Result<(), Failure> {
    for what in [Sweep::Events, Sweep::Addresses, Sweep::Ports] {
        what.sweep(server, now).await?;
    }
    Ok(())
}

impl Sweep {
    fn keys(self) -> Keys {
        match self {
            Sweep::Events => Keys::new("", "events", true),
            Sweep::Addresses => addresses::address_keys(),
            Sweep::Ports => addresses::port_keys(),
        }
    }

    /// The resource of what it removes, where that is one of the API.
    fn resource(self, server: &Server) -> Option<Arc<Resource>> {
        let (group, plural) = match self {
            Sweep::Events => ("", "events"),
            Sweep::Addresses => ("networking.k8s.io", "ipaddresses"),
            Sweep::Ports => return None,
        };
        server.registry.snapshot().resource(group, plural).cloned()
    }

    async fn sweep(self, server: &Server, now: Timestamp) -> Result<(), Failure> {
        let mut range = self.keys().objects(None);
        let resource = self.resource(server);
        loop {
            let page = server.store.range(range.clone(), CHUNK, None).await?;
            for entry in &page.entries {
                let Some(mut compares) = self.is_over(server, entry, now).await? else {
                    continue;
                };
                // What has changed meanwhile is looked at the next time.
                let unchanged = Compare::Modified(entry.key.clone(), entry.modified);
                match &resource {
                    Some(resource) => remove_object(server, resource, entry, unchanged, compares).await?,
                    None => {
                        compares.push(unchanged);
                        let writes = vec![Write::Delete(entry.key.clone())];
                        server.store.transact(Transaction { compares, writes }).await?;
                    }
                }
            }
            match page.entries.last().filter(|_| page.more) {
                Some(last) => range.start = after(&last.key),
                None => return Ok(()),
            }
        }
    }

    /// `None`: it stays. Else what must hold besides, for it to be removed.
    async fn is_over(self, server: &Server, entry: &Entry, now: Timestamp) -> Result<Option<Vec<Compare>>, Failure> {
        let service = match self {
            Sweep::Events => return Ok(is_over(entry, now).then(Vec::new)),
            Sweep::Addresses => address_owner(entry)?,
            Sweep::Ports => std::str::from_utf8(&entry.value).ok().map(str::to_owned),
        };
        let Some((namespace, name)) = service.as_deref().and_then(|service| service.split_once('/')) else {
            return Ok(None);
        };
        let given = self
            .keys()
            .parts(&entry.key)
            .map(|(_, name)| name.to_owned())
            .unwrap_or_default();
        let key = Keys::new("", "services", true).object(namespace, name);
        let Some(service) = server.store.get(key.clone(), None).await? else {
            return Ok(Some(vec![Compare::Absent(key)]));
        };
        let text = Stored::read(service.value)?.object(&Opening::anonymous(), service.modified);
        let has_it = self.has(&text.value()?, &given);
        Ok((!has_it).then(|| vec![Compare::Modified(key, service.modified)]))
    }

    /// Whether a Service has this address or port.
    fn has(self, service: &Value<'_>, given: &str) -> bool {
        let ports = || {
            service
                .pointer("/spec/ports")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        match self {
            Sweep::Ports => {
                let given = given.parse::<i64>().ok();
                given.is_some() && ports().any(|port| port.get("nodePort").and_then(Value::as_i64) == given)
            }
            _ => service
                .pointer("/spec/clusterIP")
                .is_some_and(|address| *address == *given),
        }
    }
}

/// Removes an object as a request does: with its entries in indexes, and so that its dependents are looked at. Finalizers do
/// not hold it.
async fn remove_object(
    server: &Server,
    resource: &Arc<Resource>,
    entry: &Entry,
    unchanged: Compare,
    compares: Vec<Compare>,
) -> Result<(), Failure> {
    let Some((namespace, name)) = resource.keys.parts(&entry.key) else {
        return Ok(());
    };
    let target = Target::internal(resource.clone(), namespace, name);
    let stored = render::current(target.version(), &Stored::read(entry.value.clone())?)?.into_owned();
    let text = stored.object(&target.version().opening, entry.modified);
    let object = text.value()?;
    let change = Change {
        key: entry.key.clone(),
        object: unchanged,
        namespace: None,
        value: None,
        index_before: object::index_entries(resource, &target.namespace, &target.name, &object),
        index_after: Vec::new(),
        more: Vec::new(),
        removed_uid: Some(meta::text(object::metadata(&object)?, "uid").to_owned()),
        claims: compares.into_iter().map(|compare| (compare, None)).collect(),
    };
    commit::commit(server, &target, change).await.map(drop)
}

/// The Service that an address was given to by a server, as `namespace/name`.
fn address_owner(entry: &Entry) -> Result<Option<String>, Failure> {
    let text = Stored::read(entry.value.clone())?.object(&Opening::anonymous(), entry.modified);
    let address = text.value()?;
    let labels = address.pointer("/metadata/labels");
    if labels.and_then(|labels| labels.get(MANAGED_BY.0)).is_none() {
        return Ok(None);
    }
    let part = |name: &str| {
        address
            .pointer("/spec/parentRef")
            .and_then(|owner| owner.get(name)?.as_str())
    };
    Ok(part("namespace")
        .zip(part("name"))
        .map(|(namespace, name)| format!("{namespace}/{name}")))
}

/// Whether an Event was last seen too long ago. One that cannot be read stays: others tell of it.
fn is_over(entry: &Entry, now: Timestamp) -> bool {
    let Ok(stored) = Stored::read(entry.value.clone()) else {
        return false;
    };
    let text = stored.object(&Opening::anonymous(), entry.modified);
    let Ok(event) = text.value() else { return false };
    let times = [
        "/metadata/creationTimestamp",
        "/lastTimestamp",
        "/eventTime",
        "/series/lastObservedTime",
    ];
    let times = times
        .iter()
        .filter_map(|at| meta::parse_timestamp(event.pointer(at)?.as_str()?));
    times
        .max()
        .is_some_and(|seen| now.as_second() - seen.as_second() > EVENT_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;
    use crate::{Body, UserInfo};
    use apimachinery::json;
    use http::{Method, Request, StatusCode};
    use http_body_util::Full;
    use tower::ServiceExt as _;

    async fn server() -> Arc<Server> {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let opened = Server::open(store, &crate::Options::default()).await;
        Arc::new(opened.expect("opens").0)
    }

    async fn send(server: &Arc<Server>, method: Method, path: &str, body: &'static str) -> http::Response<Body> {
        let service = Service::new(server.clone(), Some(UserInfo::admin()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::from(body))
            .expect("a request");
        service.oneshot(request).await.expect("never fails")
    }

    async fn code(server: &Arc<Server>, method: Method, path: &str, body: &'static str) -> StatusCode {
        send(server, method, path, body).await.status()
    }

    #[tokio::test]
    async fn events_go_an_hour_after_they_were_seen() {
        let server = server().await;
        let events = "/api/v1/namespaces/default/events";
        let body = r#"{"metadata":{"name":"e"},"involvedObject":{"namespace":"default"}}"#;
        assert_eq!(code(&server, Method::POST, events, body).await, StatusCode::CREATED);
        let event = format!("{events}/e");
        sweep(&server, Timestamp::now()).await.expect("sweeps");
        assert_eq!(code(&server, Method::GET, &event, "").await, StatusCode::OK);
        let later = Timestamp::now() + jiff::SignedDuration::from_secs(EVENT_LIFETIME + 2);
        sweep(&server, later).await.expect("sweeps");
        assert_eq!(code(&server, Method::GET, &event, "").await, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn an_event_that_goes_leaves_no_trace_among_the_owners() {
        let server = server().await;
        let events = "/api/v1/namespaces/default/events";
        let owner = r#"{"metadata":{"name":"m","uid":"u"}}"#;
        let maps = "/api/v1/namespaces/default/configmaps";
        let made = send(&server, Method::POST, maps, owner).await;
        let made = http_body_util::BodyExt::collect(made.into_body())
            .await
            .expect("whole")
            .to_bytes();
        let made = json::parse_to_depth(&made, 64).expect("json");
        let uid = made.pointer("/metadata/uid").and_then(Value::as_str).expect("a uid");
        let body = format!(
            r#"{{"metadata":{{"name":"e","ownerReferences":[{{"apiVersion":"v1","kind":"ConfigMap","name":"m","uid":"{uid}"}}]}},"involvedObject":{{"namespace":"default"}}}}"#
        );
        let body: &'static str = body.leak();
        assert_eq!(code(&server, Method::POST, events, body).await, StatusCode::CREATED);
        let owned = || server.store.count(objectstore::prefix(b"/owned/"), 10, None);
        assert_eq!(owned().await.expect("counts"), 1);
        let later = Timestamp::now() + jiff::SignedDuration::from_secs(EVENT_LIFETIME + 2);
        sweep(&server, later).await.expect("sweeps");
        assert_eq!(owned().await.expect("counts"), 0);
    }

    #[tokio::test]
    async fn what_a_service_had_is_free_again_when_it_is_gone() {
        let server = server().await;
        let services = "/api/v1/namespaces/default/services";
        let body = r#"{"metadata":{"name":"s"},"spec":{"clusterIP":"10.96.0.7","type":"NodePort","ports":[{"port":80,"nodePort":30007}]}}"#;
        let other = r#"{"metadata":{"name":"t"},"spec":{"clusterIP":"10.96.0.7","type":"NodePort","ports":[{"port":80,"nodePort":30007}]}}"#;
        assert_eq!(code(&server, Method::POST, services, body).await, StatusCode::CREATED);
        assert_eq!(
            code(&server, Method::POST, services, other).await,
            StatusCode::UNPROCESSABLE_ENTITY
        );
        sweep(&server, Timestamp::now()).await.expect("sweeps");
        assert_eq!(
            code(&server, Method::POST, services, other).await,
            StatusCode::UNPROCESSABLE_ENTITY
        );
        assert_eq!(
            code(&server, Method::DELETE, &format!("{services}/s"), "").await,
            StatusCode::OK
        );
        sweep(&server, Timestamp::now()).await.expect("sweeps");
        assert_eq!(code(&server, Method::POST, services, other).await, StatusCode::CREATED);
    }
}
