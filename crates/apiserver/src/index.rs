//! Completes the index of a selectable field that a definition gains while it has objects, and clears away that of one it loses.
//!
//! Until an index is complete, selectors on its field scan. Every write after the definition's change keeps it already
//! (its transaction compares the definition), so one pass over the objects that were there before completes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use objectstore::{Compare, Outcome, Transaction, Write};
use serde_json::Value;

use crate::cleanup::remove_range;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::read::after;
use crate::registry::Resource;
use crate::server::Server;
use crate::write::kinds::{INDEX_COMPLETE, INDEX_PENDING, INDEX_STALE};

const CHUNK: usize = 100;
/// How long after a change of the definitions the work starts again when it has failed.
const RETRY: Duration = Duration::from_secs(1);

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
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

async fn pass(server: &Arc<Server>) -> Result<(), Failure> {
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

/// Gives every object its entry. Whether the definition has stayed the same all the while.
async fn build(server: &Server, resource: &Resource, field: &str, unchanged: &Compare) -> Result<bool, Failure> {
    let mut range = resource.keys.objects(None);
    loop {
        let page = server.store.range(range.clone(), CHUNK, None).await?;
        for entry in &page.entries {
            let Some((namespace, name)) = resource.keys.parts(&entry.key) else {
                continue;
            };
            let object = Value::Object(
                Stored::read(entry.value.clone())?.object(&resource.versions[0].opening, entry.modified)?,
            );
            let Some(key) = resource
                .keys
                .index_entry(field, namespace, &resource.field(field, &object), name)
            else {
                continue;
            };
            let compares = vec![Compare::Modified(entry.key.clone(), entry.modified), unchanged.clone()];
            match server
                .store
                .transact(Transaction {
                    compares,
                    writes: vec![Write::Put(key, Bytes::new())],
                })
                .await?
            {
                // Refused at the object: it was written meanwhile, and that write has made the entry.
                Outcome::Committed(_) | Outcome::Refused { compare: 0, .. } => {}
                Outcome::Refused { .. } => return Ok(false),
            }
        }
        match page.entries.last().filter(|_| page.more) {
            Some(last) => range.start = after(&last.key),
            None => return Ok(true),
        }
    }
}
