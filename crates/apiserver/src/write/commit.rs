//! The one transaction of a write.

use apimachinery::field::FieldError;
use apimachinery::status::Status;
use bytes::Bytes;
use objectstore::{Compare, Entry, Outcome, Revision, Transaction, Write};

use super::object::{self, LARGEST_OBJECT};
use crate::auth::rbac::From;
use crate::builtin::Special;
use crate::codec::{Damaged, Draft, Stored};
use crate::failure::Failure;
use crate::gc::{self, hooks::Along};
use crate::registry::{Index, Kept};
use crate::server::Server;
use crate::target::Target;

/// What a write does to one object.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    /// What must hold of the object's key.
    pub(crate) object: Compare,
    /// What must hold of its namespace, for a create.
    pub(crate) namespace: Option<Compare>,
    /// `None` removes the object.
    pub(crate) value: Option<Stored>,
    /// The index entries before and after.
    pub(crate) index_before: Vec<Bytes>,
    pub(crate) index_after: Vec<Bytes>,
    /// Bookkeeping of the kind: cleanup and index state.
    pub(crate) more: Vec<Write>,
    /// The uid of the object, when it is removed.
    pub(crate) removed_uid: Option<String>,
    /// What else must hold, with the error that answers when it does not.
    pub(crate) claims: Vec<(Compare, Option<FieldError>)>,
}

/// What became of a [`Change`].
#[derive(Debug)]
pub(crate) enum Committed {
    /// Durable.
    At(Revision),
    /// The object is not what it was compared with.
    Object(Option<Entry>),
    /// The namespace is not what it was compared with; what is known of it has been brought up to date.
    Namespace,
    /// The definition is not what it was compared with; it has been read again.
    Definition,
    /// Something else does not hold. Without an error the write may be prepared anew.
    Claim(Option<FieldError>),
}

/// Carries out a change.
pub(crate) async fn commit(server: &Server, target: &Target, change: Change) -> Result<Committed, Failure> {
    if change.value.as_ref().is_some_and(|value| value.len() > LARGEST_OBJECT) {
        return Err(Status::too_large(LARGEST_OBJECT as u64).into());
    }
    let along = gc::hooks::along(server, target, &change).await?;
    let has_namespace = change.namespace.is_some();
    let grants = matches!(target.resource.rules.special, Special::Role | Special::Binding);
    let granted = server.access.rbac.as_ref().filter(|_| grants).map(|rbac| {
        let value = change.value.as_ref().map(|value| value.bytes().clone());
        (rbac, change.key.clone(), value)
    });
    let definition = target.resource.definition.as_ref();
    let mut compares = Vec::with_capacity(3);
    compares.push(change.object);
    compares.extend(change.namespace);
    compares.extend(definition.map(|definition| Compare::Modified(definition.key.clone(), definition.revision)));
    let first_claim = compares.len();
    let (claimed, mut refusals): (Vec<Compare>, Vec<Option<FieldError>>) = change.claims.into_iter().unzip();
    compares.extend(claimed);
    // While an index grows, the entry that the object had may not be there yet, and who makes it leaves alone what is
    // written meanwhile.
    let grows = target
        .resource
        .fields
        .iter()
        .any(|indexed| indexed.index == Index::Growing);
    let mut writes = Vec::with_capacity(1 + change.index_before.len() + change.index_after.len() + change.more.len());
    writes.push(match change.value {
        Some(value) => Write::Put(change.key, kept(target, value)?.bytes().clone()),
        None => Write::Delete(change.key),
    });
    writes.extend(
        change
            .index_before
            .iter()
            .filter(|entry| !change.index_after.contains(entry))
            .cloned()
            .map(Write::Delete),
    );
    writes.extend(
        change
            .index_after
            .iter()
            .filter(|entry| grows || !change.index_before.contains(entry))
            .cloned()
            .map(|entry| Write::Put(entry, Bytes::new())),
    );
    writes.extend(change.more);
    match transact(server, Transaction { compares, writes }, along).await? {
        Outcome::Committed(revision) => {
            if let Some((rbac, key, value)) = granted {
                rbac.apply(&key, revision, value.as_ref(), From::Commit);
            }
            Ok(Committed::At(revision))
        }
        Outcome::Refused {
            compare: 0, current, ..
        } => Ok(Committed::Object(current)),
        Outcome::Refused {
            compare: 1, current, ..
        } if has_namespace => {
            server.namespaces.refused(&target.namespace, current.as_ref())?;
            Ok(Committed::Namespace)
        }
        Outcome::Refused { compare, .. } if compare >= first_claim => {
            let refusal = refusals.get_mut(compare - first_claim);
            Ok(Committed::Claim(refusal.and_then(Option::take)))
        }
        Outcome::Refused { .. } => {
            server.refresh_definition(&target.resource.id.to_string()).await?;
            Ok(Committed::Definition)
        }
    }
}

/// An object in the form in which it is stored.
fn kept(target: &Target, value: Stored) -> Result<Stored, Failure> {
    let version = target.version();
    match version.kept {
        Kept::Own => Ok(value),
        Kept::CoreEvent => {
            let text = value.object(&version.opening, Revision(0));
            let mut object = text.value()?;
            ::kinds::events::to_core(&mut object);
            let members = object.as_object().ok_or(Damaged)?;
            Ok(Draft::new(members).finish(version.stamp, object::metadata(&object)?))
        }
    }
}

/// Carries out a transaction, and with it the first of `along` that can be. See [`gc::hooks::along`].
async fn transact(server: &Server, transaction: Transaction, along: Vec<Along>) -> Result<Outcome, Failure> {
    let own = transaction.compares.len();
    for Along { compares, writes } in along {
        let mut whole = transaction.clone();
        whole.compares.extend(compares);
        whole.writes.extend(writes);
        match server.store.transact(whole).await? {
            Outcome::Refused { compare, .. } if compare >= own => {}
            outcome => return Ok(outcome),
        }
    }
    Ok(server.store.transact(transaction).await?)
}

/// The same request on the resource as it is served now, after its definition has changed.
pub(crate) fn again(server: &Server, target: &Target) -> Result<Target, Failure> {
    let snapshot = server.registry.snapshot();
    let resource = snapshot
        .resource(&target.resource.id.group, &target.resource.id.plural)
        .cloned();
    resource
        .and_then(|resource| target.on(resource))
        .ok_or(Failure::NoSuchPath)
}
