//! Keeps the roles and bindings in memory up to date, and those that gather their rules from others.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::json;
use apimachinery::json::Value;
use apimachinery::rbac::{GROUP, Rule};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, header};
use objectstore::{Delivery, Revision};

use super::UserInfo;
use super::rbac::{From, Rbac};
use crate::failure::Failure;
use crate::negotiate::Wanted;
use crate::query::Query;
use crate::read::after;
use crate::server::Server;
use crate::target::Target;
use crate::write::create::{Creates, Request};
use crate::write::update;

const CHUNK: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

fn range() -> std::ops::Range<Bytes> {
    objectstore::prefix(format!("/registry/{GROUP}/").as_bytes())
}

/// Reads all roles and bindings.
pub(crate) async fn load(server: &Server, rbac: &Rbac) -> Result<Revision, Failure> {
    let mut range = range();
    let mut entries = Vec::new();
    let mut at = None;
    loop {
        let page = server.store.range(range.clone(), CHUNK, at).await?;
        at = Some(page.revision);
        let last = page.entries.last().map(|entry| entry.key.clone());
        entries.extend(
            page.entries
                .into_iter()
                .map(|entry| (entry.key, entry.modified, entry.value)),
        );
        match last.filter(|_| page.more) {
            Some(last) => range.start = after(&last),
            None => {
                rbac.load(page.revision, &entries);
                return Ok(page.revision);
            }
        }
    }
}

/// Follows what other processes write, until the store closes.
pub(crate) async fn follow(server: &Server, rbac: &Rbac, mut seen: Revision) {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = tokio::time::Instant::now();
        match follow_once(server, rbac, seen).await {
            Ok(()) => return,
            Err(failure) => tracing::warn!(?failure, "the watch of roles and bindings was cut off"),
        }
        rbac.follows(false);
        {}
        if begun.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        loop {
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            match load(server, rbac).await {
                Ok(revision) => {
                    seen = revision;
                    rbac.follows(true);
                    break;
                }
                Err(failure) => tracing::warn!(?failure, "roles and bindings cannot be read"),
            }
        }
    }
}

async fn follow_once(server: &Server, rbac: &Rbac, seen: Revision) -> Result<(), Failure> {
    let mut deliveries = server.store.watch(range(), Some(seen)).await?;
    while let Some(delivery) = deliveries.next().await {
        if let Delivery::Events(events) = delivery? {
            for event in events.iter() {
                rbac.apply(&event.key, event.revision, event.value.as_ref(), From::Watch);
            }
        }
    }
    // The stream ends without an error when the store is closed.
    Ok(())
}

/// Writes the rules of ClusterRoles that gather them from others, whenever one has changed.
pub(crate) async fn aggregate(server: &Arc<Server>, rbac: &Rbac) {
    let mut pause = FIRST_PAUSE;
    loop {
        let changed = rbac.changed.notified();
        let stale = rbac.stale_aggregates();
        let mut left = false;
        for (name, rules) in stale {
            match write_rules(server, &name, &rules).await {
                Ok(()) => {}
                Err(Failure::Status(status)) if status.code() == 404 => {}
                Err(failure) => {
                    left = true;
                    tracing::warn!(
                        role = name,
                        ?failure,
                        "the gathered rules of a ClusterRole cannot be written"
                    );
                }
            }
        }
        if left {
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        } else {
            pause = FIRST_PAUSE;
            changed.await;
        }
    }
}

async fn write_rules(server: &Server, name: &str, rules: &[Rule]) -> Result<(), Failure> {
    let snapshot = server.registry.snapshot();
    let resource = snapshot.resource(GROUP, "clusterroles").ok_or(Failure::NoSuchPath)?;
    let target = Target::internal(resource.clone(), "", name);
    let rules: Vec<Value<'_>> = rules.iter().map(Rule::to_value).collect();
    let body = Bytes::from(json!({"rules": rules}).to_string());
    let headers = HeaderMap::from_iter([(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/merge-patch+json"),
    )]);
    let query = Query::parse(Some("fieldManager=clusterrole-aggregation-controller"));
    let request = Request {
        headers: &headers,
        body: &body,
        query: &query,
        wanted: Wanted::JSON,
        creates: Creates::Tracked,
        user: &UserInfo::admin(),
    };
    update::patch(server, &target, request).await.map(drop)
}
