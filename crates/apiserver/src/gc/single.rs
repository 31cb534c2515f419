//! What is done to single objects. An object is changed only as it was looked at, or not at all.

use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use objectstore::{Compare, Entry, Transaction};

use super::hooks::{FOREGROUND, ORPHAN};
use super::keys::{self, Which};
use crate::codec::{Draft, Stored};
use crate::failure::Failure;
use crate::negotiate::Wanted;
use crate::query::Query;
use crate::registry::Snapshot;
use crate::render;
use crate::server::Server;
use crate::target::Target;
use crate::write::commit::{self, Change, Committed};
use crate::write::create::{Creates, Request};
use crate::write::options::{DeleteOptions, Propagation};
use crate::write::{delete, kinds, object, update};

/// How often an object is looked at again when others write it meanwhile.
pub(super) const ATTEMPTS: usize = 20;

pub(super) fn busy(key: &[u8]) -> Failure {
    tracing::warn!(key = %String::from_utf8_lossy(key), "an object is written all the while");
    apimachinery::status::Status::unavailable("an object is written all the while").into()
}

/// The object at a key, if it is there and its resource is known.
pub(super) async fn find(
    server: &Server,
    snapshot: &Snapshot,
    key: &Bytes,
) -> Result<Option<(Target, Entry)>, Failure> {
    let Some(entry) = server.store.get(key.clone(), None).await? else {
        return Ok(None);
    };
    Ok(target_of(snapshot, key).map(|target| (target, entry)))
}

fn target_of(snapshot: &Snapshot, key: &[u8]) -> Option<Target> {
    let mut parts = std::str::from_utf8(key)
        .ok()?
        .strip_prefix("/registry/")?
        .splitn(3, '/');
    let (group, plural) = (parts.next()?, parts.next()?);
    let resource = snapshot.resource(if group == "core" { "" } else { group }, plural)?;
    let (namespace, name) = resource.keys.parts(key)?;
    Some(Target::internal(resource.clone(), namespace, name))
}

pub(super) async fn forget_named(server: &Server, uid: &str) -> Result<(), Failure> {
    let nobody = Transaction::default()
        .when(Compare::Empty(keys::owned(uid, Which::All)))
        .delete(keys::named(uid));
    server.store.transact(nobody).await?;
    Ok(())
}

/// Deletes an object as it was looked at; without a policy its finalizers say how. Whether it still was so.
pub(super) async fn remove(
    server: &Server,
    target: &Target,
    entry: &Entry,
    metadata: &Map<'_>,
    policy: Option<Propagation>,
) -> Result<bool, Failure> {
    let has = |wanted: &str| meta::finalizers(metadata).any(|finalizer| finalizer == wanted);
    let own = || match (has(ORPHAN), has(FOREGROUND)) {
        (true, _) => Propagation::Orphan,
        (_, true) => Propagation::Foreground,
        _ => Propagation::Background,
    };
    let options = DeleteOptions {
        uid: Some(meta::text(metadata, "uid").to_owned()),
        resource_version: Some(entry.modified.0.to_string()),
        policy: Some(policy.unwrap_or_else(own)),
        ..DeleteOptions::default()
    };
    let request = Request {
        headers: &HeaderMap::new(),
        body: &Bytes::new(),
        query: &Query::default(),
        wanted: Wanted::JSON,
        creates: Creates::Tracked,
        user: &super::user(),
    };
    match delete::one(server, target, &options, Some(request)).await {
        Ok(_) => Ok(true),
        Err(Failure::Status(status)) if status.code() == 404 => Ok(true),
        Err(Failure::Status(status)) if status.code() == 409 => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether references that stay go on to block their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    AsIs,
    No,
}

/// Leaves of an object's references those that are to be kept. Whether the object was as it was looked at.
pub(super) async fn relink(
    server: &Server,
    target: &Target,
    entry: &Entry,
    metadata: &Map<'_>,
    keep: impl Fn(usize, &Value<'_>) -> bool,
    blocks: Blocks,
) -> Result<bool, Failure> {
    let references = metadata.get("ownerReferences").and_then(Value::as_array);
    let references = references.into_iter().flatten().enumerate();
    let mut left: Vec<Value<'_>> = references
        .filter(|(place, reference)| keep(*place, reference))
        .map(|(_, reference)| reference.clone())
        .collect();
    if blocks == Blocks::No {
        let members = left.iter_mut().filter_map(Value::as_object_mut);
        members.for_each(|reference| drop(reference.insert("blockOwnerDeletion", false)));
    }
    let left = if left.is_empty() { Value::Null } else { left.into() };
    let patch = json!({"metadata": {
        "uid": meta::text(metadata, "uid"),
        "resourceVersion": entry.modified.0.to_string(),
        "ownerReferences": left,
    }});
    match patched(server, target, &patch).await {
        Ok(()) => Ok(true),
        Err(Failure::Status(status)) if status.code() == 404 => Ok(true),
        Err(Failure::Status(status)) if status.code() == 409 => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// A merge patch by the server itself.
async fn patched(server: &Server, target: &Target, patch: &Value<'_>) -> Result<(), Failure> {
    let merge = HeaderValue::from_static("application/merge-patch+json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, merge)]);
    let request = Request {
        headers: &headers,
        body: &Bytes::from(patch.to_string()),
        query: &Query::parse(Some("fieldManager=garbage-collector")),
        wanted: Wanted::JSON,
        creates: Creates::Tracked,
        user: &super::user(),
    };
    update::patch(server, target, request).await.map(drop)
}

/// Takes a finalizer off an object under deletion once nobody names it any more, which may be its end. Whether the
/// finalizer is off, or the object gone.
pub(super) async fn release(
    server: &Server,
    uid: &str,
    key: &Bytes,
    finalizer: &str,
    which: Which,
) -> Result<bool, Failure> {
    for _ in 0..ATTEMPTS {
        let range = keys::owned(uid, which);
        if !server.store.range(range.clone(), 1, None).await?.entries.is_empty() {
            return Ok(false);
        }
        let snapshot = server.registry.snapshot();
        let Some((target, entry)) = find(server, &snapshot, key).await? else {
            return Ok(true);
        };
        let Some(mut change) = without_finalizer(&target, &entry, uid, finalizer)? else {
            return Ok(true);
        };
        change.claims = vec![(Compare::Empty(range), None)];
        let removed = change.value.is_none();
        match commit::commit(server, &target, change).await? {
            Committed::At(_) => {
                kinds::modified(server, &target, removed).await?;
                return Ok(true);
            }
            Committed::Object(_) | Committed::Namespace | Committed::Definition | Committed::Claim(_) => {}
        }
    }
    Err(busy(key))
}

/// The change that takes a finalizer off an object, `None` when it has it no more.
fn without_finalizer(target: &Target, entry: &Entry, uid: &str, finalizer: &str) -> Result<Option<Change>, Failure> {
    let resource = &target.resource;
    let version = target.version();
    let stored = render::current(version, &Stored::read(entry.value.clone())?)?.into_owned();
    let text = stored.object(&version.opening, entry.modified);
    let mut value = text.value()?;
    let index = object::index_entries(resource, &target.namespace, &target.name, &value);
    let metadata = object::metadata_mut(&mut value)?;
    let deleting = meta::text(metadata, "uid") == uid && meta::is_being_deleted(metadata);
    if !deleting || !meta::finalizers(metadata).any(|known| known == finalizer) {
        return Ok(None);
    }
    delete::remove_finalizers(metadata, &[finalizer]);
    let gone = meta::finalizers(metadata).next().is_none() && kinds::may_go(resource, &value);
    let draft = Draft::new(object::members(&value)?);
    let after = draft.finish(version.stamp, object::metadata(&value)?);
    Ok(Some(Change {
        key: entry.key.clone(),
        object: Compare::Modified(entry.key.clone(), entry.modified),
        namespace: None,
        claims: Vec::new(),
        index_after: if gone { Vec::new() } else { index.clone() },
        index_before: index,
        value: (!gone).then_some(after),
        removed_uid: gone.then(|| uid.to_owned()),
        more: if gone {
            kinds::removal_writes(resource, &target.name)
        } else {
            Vec::new()
        },
    }))
}
