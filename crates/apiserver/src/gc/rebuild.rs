//! Makes the index of owners complete in a store that has been without one: an older version of this program wrote it,
//! or the garbage collector was left to another program.

use std::sync::Arc;

use apimachinery::meta;
use bytes::Bytes;
use objectstore::{Compare, Entry, Outcome, Transaction, Write};

use super::hooks;
use super::keys::{COMPLETE, OFF, STATE};
use super::{hooks::add_owned, keys};
use crate::codec::{Damaged, Stored};
use crate::failure::Failure;
use crate::read::after;
use crate::server::Server;

/// How many objects are read at once.
const PAGE: usize = 500;

/// Notes that the queue is not kept.
pub(crate) async fn switched_off(server: &Server) -> Result<(), Failure> {
    let state = Bytes::from_static(STATE);
    if server
        .store
        .get(state.clone(), None)
        .await?
        .is_none_or(|entry| entry.value != OFF)
    {
        server.store.transact(Transaction::default().put(state, OFF)).await?;
    }
    Ok(())
}

/// Goes through all objects unless that has been done. Constant memory; new writes keep the index by themselves.
pub(super) async fn complete(server: &Arc<Server>) -> Result<(), Failure> {
    let state = Bytes::from_static(STATE);
    if server
        .store
        .get(state.clone(), None)
        .await?
        .is_some_and(|entry| entry.value == COMPLETE)
    {
        return Ok(());
    }
    let mut range = objectstore::prefix(b"/registry/");
    loop {
        let page = server.store.range(range.clone(), PAGE, None).await?;
        let Some(last) = page.entries.last().map(|entry| entry.key.clone()) else {
            break;
        };
        for entry in page.entries {
            // One that is written meanwhile has been told of by that write.
            match note(server, &entry).await {
                Err(Failure::Status(status)) if status.code() == 500 => {
                    tracing::error!(key = %String::from_utf8_lossy(&entry.key), "an object cannot be read");
                }
                other => other?,
            }
        }
        range.start = after(&last);
    }
    server
        .store
        .transact(Transaction::default().put(state, COMPLETE))
        .await?;
    Ok(())
}

async fn note(server: &Server, entry: &Entry) -> Result<(), Failure> {
    let stored = Stored::read(entry.value.clone())?;
    let text = stored.metadata();
    // Most objects have neither; a text that only looks like one of them does no harm.
    if !text.mentions("\"ownerReferences\"") && !text.mentions("\"deletionTimestamp\"") {
        return Ok(());
    }
    let metadata = text.members().map_err(|Damaged| Damaged)?;
    let mut entries = Vec::new();
    add_owned(&entry.key, &metadata, &mut entries);
    let mut writes: Vec<Write> = Vec::new();
    hooks::announce(entries.iter(), &mut writes);
    if !entries.is_empty() {
        writes.push(Write::Put(keys::queued_object(&entry.key), Bytes::new()));
    }
    writes.extend(entries.into_iter().map(|entry| Write::Put(entry, Bytes::new())));
    if meta::is_being_deleted(&metadata) {
        writes.extend(hooks::deleting(server, &entry.key, &metadata));
    }
    if writes.is_empty() {
        return Ok(());
    }
    let compares = vec![Compare::Modified(entry.key.clone(), entry.modified)];
    match server.store.transact(Transaction { compares, writes }).await? {
        Outcome::Committed(_) | Outcome::Refused { .. } => Ok(()),
    }
}
