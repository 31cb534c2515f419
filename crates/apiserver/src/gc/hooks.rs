//! What writes tell the garbage collector, in their own transactions.

use apimachinery::json::{Map, Value};
use apimachinery::meta;
use apimachinery::status::Status;
use bytes::Bytes;
use objectstore::{Compare, Write};

use super::judge;
use super::keys::{self, Owner, Reference, Which};
use crate::failure::Failure;
use crate::registry::Resource;
use crate::server::{Controller, Server};
use crate::target::Target;
use crate::write::commit::Change;

/// Keeps an object until those who name it as their owner do so no more.
pub(crate) const ORPHAN: &str = "orphan";
/// Keeps an object until those who block its deletion have gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// More owners than this are refused: each one is a key or two in the transaction of its object.
const MOST_OWNERS: usize = 256;
/// So many writes of a transaction are for all else.
const KEPT_FREE: usize = 8;
/// Of an object with more owners than this the collector looks for them.
const MOST_SPARED: usize = 4;

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

/// A way to carry out a change so that the collector misses nothing: what must hold, and what is written along.
#[derive(Debug, Default)]
pub(crate) struct Along {
    pub(crate) compares: Vec<Compare>,
    pub(crate) writes: Vec<Write>,
}

/// The ways for a change, the one that leaves the collector the least work first. The next one is for when a compare of
/// one does not hold; the last one has none. A change that has nothing to do with owners has none of them.
///
/// # Errors
/// 400 when there are too many owners.
pub(crate) async fn along(server: &Server, target: &Target, change: &Change) -> Result<Vec<Along>, Failure> {
    if let Some(uid) = &change.removed_uid {
        return Ok(removal(server, uid));
    }
    let owned = || change.index_after.iter().filter(|entry| keys::is_owned_entry(entry));
    let new: Vec<&Bytes> = owned().filter(|entry| !change.index_before.contains(entry)).collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let all = owned().count();
    let most = MOST_OWNERS.min((server.store.most_writes() / 2).saturating_sub(KEPT_FREE));
    if all > most {
        let message = format!("metadata.ownerReferences: {all} owners, at most {most} are supported");
        return Err(Status::bad_request(message).into());
    }
    let mut looked_at = Along::default();
    announce(new.iter().copied(), &mut looked_at.writes);
    if server.garbage_collector == Controller::External {
        return Ok(vec![looked_at]);
    }
    let spared = match all <= MOST_SPARED {
        true => owners_are_there(server, target, change, &looked_at.writes).await,
        false => None,
    };
    looked_at
        .writes
        .push(Write::Put(keys::queued_object(&change.key), Bytes::new()));
    Ok(spared.into_iter().chain([looked_at]).collect())
}

/// While its owners are as they are now, nobody has to look at an object after its commit. `None` where one of them is not
/// there to stay.
async fn owners_are_there(server: &Server, target: &Target, change: &Change, named: &[Write]) -> Option<Along> {
    let text = change.value.as_ref()?.metadata();
    let metadata = text.members().ok()?;
    let snapshot = server.registry.snapshot();
    let mut along = Along::default();
    for reference in references(&metadata) {
        // An owner that cannot be read is left to the collector, which says so.
        let owner = judge::solid(&server.store, &snapshot, &target.namespace, &reference).await;
        let owner = owner.ok().flatten()?;
        if !along.compares.contains(&owner) {
            along.compares.push(owner);
        }
    }
    for write in named {
        let Write::Put(key, _) = write else { continue };
        match server.store.get(key.clone(), None).await.ok()? {
            Some(known) => along.compares.push(Compare::Exists(known.key)),
            None => along.writes.push(write.clone()),
        }
    }
    Some(along)
}

/// Says of the owners in index entries that somebody names them.
pub(super) fn announce<'e>(entries: impl Iterator<Item = &'e Bytes>, writes: &mut Vec<Write>) {
    let mut named: Vec<Bytes> = entries.filter_map(|entry| keys::named_by(entry)).collect();
    named.sort_unstable();
    named.dedup();
    writes.extend(named.into_iter().map(|key| Write::Put(key, Bytes::new())));
}

/// The ways to remove an object: nobody has named it as an owner; or nobody does any more; or somebody does.
fn removal(server: &Server, uid: &str) -> Vec<Along> {
    if server.garbage_collector == Controller::External || uid.is_empty() {
        return Vec::new();
    }
    let named = keys::named(uid);
    let never = Along {
        compares: vec![Compare::Absent(named.clone())],
        writes: Vec::new(),
    };
    let no_more = Along {
        compares: vec![Compare::Empty(keys::owned(uid, Which::All))],
        writes: vec![Write::Delete(named)],
    };
    let queued = Along {
        compares: Vec::new(),
        writes: vec![Write::Put(keys::queued_owner(uid), Owner::encode(uid, None))],
    };
    vec![never, no_more, queued]
}

/// Written along when the deletion of an object begins that its dependents have a part in.
pub(crate) fn deleting(server: &Server, key: &[u8], metadata: &Map<'_>) -> Option<Write> {
    if server.garbage_collector == Controller::External {
        return None;
    }
    let uid = meta::text(metadata, "uid");
    let queued = meta::finalizers(metadata).find_map(|finalizer| match finalizer {
        ORPHAN => Some(keys::queued_orphans(uid)),
        FOREGROUND => Some(keys::queued_owner(uid)),
        _ => None,
    });
    queued.map(|queued| Write::Put(queued, Owner::encode(uid, Some(key))))
}
