//! Says what the garbage collector did, and why.

use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

use super::hooks::references;
use super::judge::Standing;
use super::keys::Reference;
use crate::negotiate::Wanted;
use crate::query::Query;
use crate::server::Server;
use crate::target::Target;
use crate::write::create::{self, Creates, Request};

/// Where the Events of objects without a namespace lie.
const DEFAULT: &str = "default";

/// An object is about to be deleted.
pub(super) fn collected(target: &Target, metadata: &Map<'_>) {
    let owners: Vec<String> = references(metadata).map(|reference| shown(&reference)).collect();
    tracing::info!(
        resource = %target.resource.id, namespace = target.namespace, name = target.name,
        uid = meta::text(metadata, "uid"), owners = owners.join(", "),
        "garbage collected: none of its owners is there to stay"
    );
}

/// References are about to be taken out of an object.
pub(super) fn unlinked(target: &Target, metadata: &Map<'_>, places: &[usize]) {
    let lost = references(metadata)
        .enumerate()
        .filter(|(place, _)| places.contains(place));
    let owners: Vec<String> = lost.map(|(_, reference)| shown(&reference)).collect();
    tracing::info!(
        resource = %target.resource.id, namespace = target.namespace, name = target.name,
        owners = owners.join(", "), "owner references taken out: these owners are gone, another one is there"
    );
}

fn shown(reference: &Reference<'_>) -> String {
    let Reference {
        api_version,
        kind,
        name,
        uid,
        ..
    } = reference;
    format!("{api_version} {kind} {name} ({uid})")
}

/// An object without a namespace names an owner that lies in one: it stays, and an Event says why.
pub(super) async fn misplaced(server: &Server, target: &Target, metadata: &Map<'_>, standings: &[Standing]) {
    let place = standings.iter().position(|standing| *standing == Standing::Misplaced);
    let Some(reference) = place.and_then(|place| references(metadata).nth(place)) else {
        return;
    };
    let Reference {
        api_version,
        kind,
        name,
        uid,
        ..
    } = reference;
    let owner = format!(
        "[{api_version}/{kind}, namespace: {}, name: {name}, uid: {uid}]",
        target.namespace
    );
    let message = format!("ownerRef {owner} does not exist in namespace {:?}", target.namespace);
    tracing::warn!(resource = %target.resource.id, name = target.name, message, "not garbage collected");
    if let Err(failure) = event(server, target, metadata, &message).await {
        tracing::warn!(
            ?failure,
            "the event of an owner in a wrong namespace could not be written"
        );
    }
}

async fn event(
    server: &Server,
    target: &Target,
    metadata: &Map<'_>,
    message: &str,
) -> Result<(), crate::failure::Failure> {
    let snapshot = server.registry.snapshot();
    let Some(events) = snapshot.resource("", "events") else {
        return Ok(());
    };
    let now = meta::format_timestamp(Timestamp::now());
    let version = target.version();
    let body: Value<'_> = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{}.{:x}", target.name, Timestamp::now().as_nanosecond()), "namespace": DEFAULT},
        "involvedObject": {
            "apiVersion": version.api_version.as_str(), "kind": target.resource.kind.kind.as_str(),
            "name": target.name.as_str(), "uid": meta::text(metadata, "uid"),
        },
        "reason": "OwnerRefInvalidNamespace", "message": message, "type": "Warning",
        "source": {"component": "garbage-collector-controller"},
        "reportingComponent": "garbage-collector-controller",
        "firstTimestamp": now.as_str(), "lastTimestamp": now.as_str(), "count": 1,
    });
    let request = Request {
        headers: &HeaderMap::new(),
        body: &Bytes::from(body.to_string()),
        query: &Query::default(),
        wanted: Wanted::JSON,
        creates: Creates::Tracked,
        user: &super::user(),
    };
    create::create(server, &Target::internal(events.clone(), DEFAULT, ""), request)
        .await
        .map(drop)
}
