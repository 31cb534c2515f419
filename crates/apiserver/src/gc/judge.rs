//! What follows for an object from how its owners stand.

use apimachinery::gvk::GroupVersion;
use apimachinery::json::Map;
use apimachinery::meta;
use objectstore::{Compare, Entry, Store};

use super::hooks::FOREGROUND;
use super::keys::Reference;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::registry::{Resource, Snapshot};

/// A longer name than this is no object's.
const LONGEST_NAME: usize = 1024;

/// How an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is there.
    Solid,
    /// It is not there, or under another uid.
    Absent,
    /// It is there until its dependents have gone.
    Waits,
    /// Its kind or version is not served.
    Unknown,
    /// It is in a namespace and its dependent is in none.
    Misplaced,
}

/// What is to be done with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// Nothing before the kind of an owner is known.
    KeepUntilKnown,
    /// Nothing ever: it names an owner that it cannot have.
    KeepMisplaced,
    /// The references at these places are taken out of it.
    Unlink(Vec<usize>),
    /// It is deleted as its own finalizers say.
    Delete,
    /// An owner waits for it: it is deleted, and its own dependents before it if it has any.
    DeleteForOwner,
}

/// Decides. Of the references of an object, `standings` has how each one's owner stands.
pub(super) fn judge(standings: &[Standing]) -> Verdict {
    // The first reference that cannot be looked up ends it, as on a real server.
    match standings
        .iter()
        .find(|standing| matches!(standing, Standing::Unknown | Standing::Misplaced))
    {
        Some(Standing::Misplaced) => return Verdict::KeepMisplaced,
        Some(_) => return Verdict::KeepUntilKnown,
        None if standings.is_empty() => return Verdict::Keep,
        None => {}
    }
    let is = |wanted: Standing| standings.contains(&wanted);
    if is(Standing::Solid) {
        let places = 0..standings.len();
        let loose: Vec<usize> = places.filter(|place| standings[*place] != Standing::Solid).collect();
        return if loose.is_empty() {
            Verdict::Keep
        } else {
            Verdict::Unlink(loose)
        };
    }
    if is(Standing::Waits) {
        Verdict::DeleteForOwner
    } else {
        Verdict::Delete
    }
}

/// The resource of a kind, as references name it.
pub(super) fn resource_of<'s>(snapshot: &'s Snapshot, api_version: &str, kind: &str) -> Option<&'s Resource> {
    let GroupVersion { group, version } = GroupVersion::parse(api_version)?;
    let mut resources = snapshot.groups().get(&group)?.values();
    let found = resources.find(|resource| {
        let mut versions = resource.versions.iter();
        resource.kind.kind == kind && versions.any(|known| known.served && known.name == version)
    });
    found.map(AsRef::as_ref)
}

/// How the owner in a reference stands now. `namespace` is that of the dependent, and `gone` the uid of an object that is
/// known to be no more.
pub(super) async fn standing(
    store: &Store,
    snapshot: &Snapshot,
    namespace: &str,
    reference: &Reference<'_>,
    gone: Option<&str>,
) -> Result<Standing, Failure> {
    Ok(match look(store, snapshot, namespace, reference, gone).await? {
        Looked::Solid(_) => Standing::Solid,
        Looked::Other(standing) => standing,
    })
}

/// What must hold so that the owner in a reference stands there to stay, `None` when it does not.
pub(super) async fn solid(
    store: &Store,
    snapshot: &Snapshot,
    namespace: &str,
    reference: &Reference<'_>,
) -> Result<Option<Compare>, Failure> {
    Ok(match look(store, snapshot, namespace, reference, None).await? {
        Looked::Solid(owner) => Some(Compare::Modified(owner.key, owner.modified)),
        Looked::Other(_) => None,
    })
}

enum Looked {
    Solid(Entry),
    Other(Standing),
}

async fn look(
    store: &Store,
    snapshot: &Snapshot,
    namespace: &str,
    reference: &Reference<'_>,
    gone: Option<&str>,
) -> Result<Looked, Failure> {
    let resource = resource_of(snapshot, reference.api_version, reference.kind);
    if namespace.is_empty() && resource.is_some_and(|resource| resource.namespaced) {
        return Ok(Looked::Other(Standing::Misplaced));
    }
    if gone == Some(reference.uid) && (resource.is_some() || !namespace.is_empty()) {
        return Ok(Looked::Other(Standing::Absent));
    }
    let Some(resource) = resource else {
        return Ok(Looked::Other(Standing::Unknown));
    };
    if reference.name.len() > LONGEST_NAME {
        return Ok(Looked::Other(Standing::Absent));
    }
    let Some(entry) = store.get(resource.keys.object(namespace, reference.name), None).await? else {
        return Ok(Looked::Other(Standing::Absent));
    };
    let text = Stored::read(entry.value.clone())?.metadata();
    let owner = text.members()?;
    Ok(match meta::text(&owner, "uid") == reference.uid {
        false => Looked::Other(Standing::Absent),
        true if waits(&owner) => Looked::Other(Standing::Waits),
        true => Looked::Solid(entry),
    })
}

/// Whether an object is there only until its dependents have gone.
pub(super) fn waits(metadata: &Map<'_>) -> bool {
    meta::is_being_deleted(metadata) && meta::finalizers(metadata).any(|finalizer| finalizer == FOREGROUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Absent, Misplaced, Solid, Unknown, Waits};

    #[test]
    fn an_object_goes_only_when_no_owner_is_left() {
        let table = [
            (vec![], Verdict::Keep),
            (vec![Solid], Verdict::Keep),
            (vec![Absent], Verdict::Delete),
            (vec![Absent, Absent], Verdict::Delete),
            (vec![Waits], Verdict::DeleteForOwner),
            (vec![Absent, Waits], Verdict::DeleteForOwner),
            (vec![Solid, Solid], Verdict::Keep),
            (vec![Absent, Solid, Waits], Verdict::Unlink(vec![0, 2])),
            (vec![Unknown], Verdict::KeepUntilKnown),
            (vec![Absent, Unknown], Verdict::KeepUntilKnown),
            (vec![Solid, Absent, Unknown], Verdict::KeepUntilKnown),
            (vec![Misplaced], Verdict::KeepMisplaced),
            (vec![Absent, Misplaced, Unknown], Verdict::KeepMisplaced),
        ];
        for (standings, verdict) in table {
            assert_eq!(judge(&standings), verdict, "{standings:?}");
        }
    }
}
