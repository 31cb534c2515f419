//! Makes the index of a selectable field when a selector first asks for it, and clears away that of a field that a
//! definition loses. A field that nobody selects by costs no write anything.
//!
//! Until an index is complete, selectors on its field scan. The mark that it is to be kept is written together with the
//! definition, whose revision every write compares: each write behind it keeps the index already, so one pass over the
//! objects that were there before completes it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apimachinery::gvk;
use bytes::Bytes;
use futures::future::try_join_all;
use objectstore::{Compare, Entry, Outcome, Transaction, Write};
use tokio::sync::Notify;

use crate::cleanup::remove_range;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::read::after;
use crate::registry::{Definition, Index, IndexedField, Resource};
use crate::server::Server;
use crate::write::kinds::{INDEX_COMPLETE, INDEX_PENDING, INDEX_STALE};

const CHUNK: usize = 100;
/// How long after a change of the definitions the work starts again when it has failed.
const RETRY: Duration = Duration::from_secs(1);

/// The indexes that selectors have asked for and that are not kept yet: resources with the labels of fields.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    fields: Mutex<HashSet<(gvk::Resource, String)>>,
    asked: Notify,
}

impl Wanted {
    /// Asks for the index of a field; it is made in the background.
    pub(crate) fn ask(&self, resource: &gvk::Resource, field: &str) {
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        if fields.insert((resource.clone(), field.to_owned())) {
            self.asked.notify_one();
        }
    }

    fn take(&self) -> HashSet<(gvk::Resource, String)> {
        std::mem::take(&mut *self.fields.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Does the work until the server closes.
pub(crate) async fn run(server: Arc<Server>) {
    let mut closing = server.closing.subscribe();
    let mut changes = server.registry.changes();
    loop {
        changes.mark_unchanged();
        let failed = tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            done = pass(&server) => match done {
                Ok(()) => false,
                Err(failure) => {
                    tracing::warn!(?failure, "the index of a selectable field is not complete yet");
                    true
                }
            },
        };
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = server.wanted.asked.notified() => {}
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

async fn pass(server: &Arc<Server>) -> Result<(), Failure> {
    for (resource, field) in server.wanted.take() {
        // A selector that finds no index asks again.
        begin(server, &resource, &field).await?;
    }
    let snapshot = server.registry.snapshot();
    for resource in snapshot.resources() {
        let Some(definition) = resource
            .definition
            .as_ref()
            .filter(|definition| !definition.terminating)
        else {
            continue;
        };
        let states = server
            .store
            .range(resource.keys.all_indexed(), usize::MAX, None)
            .await?;
        let mut changed = false;
        for state in states.entries {
            let Some(field) = resource.keys.indexed_field(&state.key) else {
                continue;
            };
            let unchanged = Compare::Modified(definition.key.clone(), definition.revision);
            let selectable = resource.fields.iter().any(|indexed| indexed.field.label == field);
            let write = if selectable && (state.value == INDEX_PENDING || state.value == INDEX_STALE) {
                if !build(server, resource, field, &unchanged).await? {
                    // The definition has changed meanwhile: that change starts this again.
                    return Ok(());
                }
                Write::Put(state.key.clone(), Bytes::from_static(INDEX_COMPLETE))
            } else if !selectable {
                remove_range(server, resource.keys.index_any(field, None), Some(&unchanged)).await?;
                Write::Delete(state.key.clone())
            } else {
                continue;
            };
            let compares = vec![unchanged, Compare::Modified(state.key, state.modified)];
            changed |= matches!(
                server
                    .store
                    .transact(Transaction {
                        compares,
                        writes: vec![write]
                    })
                    .await?,
                Outcome::Committed(_)
            );
        }
        if changed {
            server.refresh_definition(&resource.id.to_string()).await?;
        }
    }
    Ok(())
}

/// From now on every write keeps the index of a field.
async fn begin(server: &Server, id: &gvk::Resource, field: &str) -> Result<(), Failure> {
    let snapshot = server.registry.snapshot();
    let Some(resource) = snapshot.resource(&id.group, &id.plural) else {
        return Ok(());
    };
    let absent = |known: &&IndexedField| known.field.label == field && known.index == Index::Absent;
    let Some(Definition { key, revision, .. }) = resource.definition.as_ref().filter(|known| !known.terminating) else {
        return Ok(());
    };
    let Some(definition) = server.store.get(key.clone(), None).await? else {
        return Ok(());
    };
    if resource.fields.iter().any(|known| absent(&known)) && definition.modified == *revision {
        let mark = resource.keys.indexed(field);
        let begun = Transaction::default()
            .when(Compare::Modified(key.clone(), *revision))
            .when(Compare::Absent(mark.clone()))
            // The same again: writes that know nothing of the index are refused from here on.
            .put(key.clone(), definition.value)
            .put(mark, Bytes::from_static(INDEX_PENDING));
        server.store.transact(begun).await?;
    }
    server.refresh_definition(&id.to_string()).await
}

/// Gives every object its entry. Whether the definition has stayed the same all the while.
async fn build(server: &Server, resource: &Resource, field: &str, unchanged: &Compare) -> Result<bool, Failure> {
    let mut range = resource.keys.objects(None);
    loop {
        let page = server.store.range(range.clone(), CHUNK, None).await?;
        // All at once, so that they share the store's syncs.
        let entries = page.entries.iter();
        let kept = entries.map(|entry| keep(server, resource, field, unchanged, entry));
        if !try_join_all(kept).await?.into_iter().all(|kept| kept) {
            return Ok(false);
        }
        match page.entries.last().filter(|_| page.more) {
            Some(last) => range.start = after(&last.key),
            None => return Ok(true),
        }
    }
}

/// Gives an object its entry. Whether the definition was still the same.
async fn keep(
    server: &Server,
    resource: &Resource,
    field: &str,
    unchanged: &Compare,
    entry: &Entry,
) -> Result<bool, Failure> {
    let Some((namespace, name)) = resource.keys.parts(&entry.key) else {
        return Ok(true);
    };
    let stored = Stored::read(entry.value.clone())?;
    let text = stored.object(&resource.versions[0].opening, entry.modified);
    let object = text.value()?;
    let value = resource.field(field, &object);
    let Some(key) = resource.keys.index_entry(field, namespace, &value, name) else {
        return Ok(true);
    };
    let kept = Transaction::default()
        .when(Compare::Modified(entry.key.clone(), entry.modified))
        .when(unchanged.clone())
        .put(key, Bytes::new());
    // Refused at the object: it was written meanwhile, and that write has made the entry.
    Ok(match server.store.transact(kept).await? {
        Outcome::Committed(_) | Outcome::Refused { compare: 0, .. } => true,
        Outcome::Refused { .. } => false,
    })
}
