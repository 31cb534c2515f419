//! What writes tell the garbage collector, in their own transactions.

use apimachinery::json::{Map, Value};
use apimachinery::meta;
use apimachinery::status::Status;
use bytes::Bytes;
use objectstore::{Compare, Write};

use super::keys::{self, Owner, Reference};
use crate::registry::Resource;
use crate::server::{Controller, Server};
use crate::write::commit::Change;

/// Keeps an object until those who name it as their owner do so no more.
pub(crate) const ORPHAN: &str = "orphan";
/// Keeps an object until those who block its deletion have gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// More owners than this are refused: each one is a key or two in the transaction of its object.
const MOST_OWNERS: usize = 256;

/// The owner references of an object.
pub(crate) fn references<'m>(metadata: &'m Map<'_>) -> impl Iterator<Item = Reference<'m>> {
    let list = metadata.get("ownerReferences").and_then(Value::as_array);
    list.into_iter().flatten().map(|reference| {
        let text = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or_default();
        Reference {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            blocks: reference.get("blockOwnerDeletion").and_then(Value::as_bool) == Some(true),
        }
    })
}

/// Adds the entries of an object in the index of owners.
pub(crate) fn add_entries(resource: &Resource, namespace: &str, name: &str, object: &Value<'_>, out: &mut Vec<Bytes>) {
    let Some(metadata) = meta::of(object).filter(|metadata| metadata.contains_key("ownerReferences")) else {
        return;
    };
    let key = resource.keys.object(namespace, name);
    add_owned(&key, metadata, out);
}

/// The same, by the key of the object.
pub(super) fn add_owned(key: &[u8], metadata: &Map<'_>, out: &mut Vec<Bytes>) {
    for reference in references(metadata) {
        let entry = keys::owned_entry(&reference, key);
        // One and the same owner may be named twice.
        if !out.contains(&entry) {
            out.push(entry);
        }
    }
}

/// What is written along with a change that names owners anew.
///
/// # Errors
/// 422 when there are too many.
pub(crate) fn news(server: &Server, change: &Change) -> Result<Vec<Write>, Status> {
    let new = |entry: &&Bytes| keys::is_owned_entry(entry) && !change.index_before.contains(entry);
    let mut writes = Vec::new();
    if !change.index_after.iter().any(|entry| new(&entry)) {
        return Ok(writes);
    }
    let all = change
        .index_after
        .iter()
        .filter(|entry| keys::is_owned_entry(entry))
        .count();
    if all > MOST_OWNERS {
        return Err(Status::bad_request(format!(
            "metadata.ownerReferences: {all} owners, at most {MOST_OWNERS} are supported"
        )));
    }
    announce(change.index_after.iter().filter(new), &mut writes);
    if server.garbage_collector == Controller::Embedded {
        writes.push(Write::Put(keys::queued_object(&change.key), Bytes::new()));
    }
    Ok(writes)
}

/// Says of the owners in index entries that somebody names them.
pub(super) fn announce<'e>(entries: impl Iterator<Item = &'e Bytes>, writes: &mut Vec<Write>) {
    let mut named: Vec<Bytes> = entries.filter_map(|entry| keys::named_by(entry)).collect();
    named.sort_unstable();
    named.dedup();
    writes.extend(named.into_iter().map(|key| Write::Put(key, Bytes::new())));
}

/// What must hold so that the removal of an object concerns nobody; `None` when nobody here wants to know.
pub(crate) fn unnamed(server: &Server, uid: &str) -> Option<Compare> {
    (server.garbage_collector == Controller::Embedded && !uid.is_empty()).then(|| Compare::Absent(keys::named(uid)))
}

/// Written along with the removal of an object that somebody names.
pub(crate) fn removed(uid: &str) -> Write {
    Write::Put(keys::queued_owner(uid), Owner::encode(uid, None))
}

/// Written along when the deletion of an object begins that its dependents have a part in.
pub(crate) fn deleting(server: &Server, key: &[u8], metadata: &Map<'_>) -> Option<Write> {
    let uid = meta::text(metadata, "uid");
    let concerns = server.garbage_collector == Controller::Embedded
        && meta::finalizers(metadata).any(|finalizer| matches!(finalizer, ORPHAN | FOREGROUND));
    concerns.then(|| Write::Put(keys::queued_owner(uid), Owner::encode(uid, Some(key))))
}
