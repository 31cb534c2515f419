//! Garbage collection: dependents go when their owners have gone.
//!
//! There is no graph in memory. Who names an owner stands in an index in the store, written in the transaction of the
//! object that names it, and what has to be looked at stands in a queue in the store ([`keys`]):
//!
//! - A write that names an owner anew compares that the owner is still as it was seen, there to stay: then there is
//!   nothing to look at. Where it is not, the write puts the object into the queue. It is looked at after its commit, so
//!   that an owner that was there before it is found, whichever process wrote it.
//! - A removal compares that nobody has ever named the object as an owner, or that nobody does any more. Where somebody
//!   does, the removal puts the owner into the queue. Either the dependent was there first and the removal sees it, or it
//!   comes later and finds its owner gone: nothing falls in between.
//! - A deletion that waits for dependents, or that leaves them behind, puts its owner into the queue.
//!
//! Whether an owner is there is read in the store at that moment, by all that the reference says of it; what is decided
//! is carried out only on the object as it was looked at. After a crash the queue is still there.
//!
//! A write that names no owner costs nothing, a removal one look at a key that does not exist. An object with an owner
//! costs one key more in its own transaction, and the collector nothing while its owner is there.

pub(crate) mod hooks;
mod judge;
pub(crate) mod keys;
mod rebuild;
mod report;
mod single;
mod work;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use objectstore::{Delivery, Error, Event, Watch};

pub(crate) use rebuild::switched_off;

use crate::auth::UserInfo;
use crate::failure::Failure;
use crate::server::Server;

/// How long after a failure the work is tried again, the first time and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Does the work until the server closes.
pub(crate) async fn run(server: Arc<Server>) {
    let mut closing = server.closing.subscribe();
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = follow(&server) => {}
    }
}

/// Who the collector is to admission hooks: as on a real server.
fn user() -> UserInfo {
    const GROUPS: [&str; 3] = [
        "system:serviceaccounts",
        "system:serviceaccounts:kube-system",
        "system:authenticated",
    ];
    UserInfo::new("system:serviceaccount:kube-system:generic-garbage-collector", GROUPS)
}

/// What has to be looked at beside the queue.
enum Look {
    /// Everything that waits for something: what happened meanwhile is not known.
    All,
    /// Only the queue.
    Queue,
    /// Owners that wait for dependents, by the part of the keys that is theirs.
    Waiting(HashSet<Bytes>),
    /// All owners that wait for dependents.
    AllWaiting,
    /// Objects whose owners are of a kind that was unknown.
    Unknown,
}

async fn follow(server: &Arc<Server>) {
    loop {
        // Opened before the first look, so that nothing is missed in between.
        match server.store.watch(keys::notes(), None).await {
            Ok(notes) => follow_notes(server, notes).await,
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(%error, "the queue of the garbage collector cannot be watched"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn follow_notes(server: &Arc<Server>, mut notes: Watch) {
    let mut kinds = server.registry.changes();
    let mut owned = None;
    let (mut look, mut retry) = (Look::All, FIRST_RETRY);
    loop {
        let worked = match pass(server, &look, Instant::now()).await {
            Ok(()) => listen_while_owners_wait(server, &mut owned).await,
            Err(failure) => Err(failure),
        };
        let failed = match worked {
            Ok(true) => {
                look = Look::AllWaiting;
                continue;
            }
            Ok(false) => {
                retry = FIRST_RETRY;
                false
            }
            Err(failure) => {
                tracing::warn!(?failure, "garbage collection makes no progress");
                retry = (2 * retry).min(LAST_RETRY);
                true
            }
        };
        look = tokio::select! {
            put = changed(&mut notes, |event| event.value.is_some()) => match put {
                Some(_) => Look::Queue,
                None => return,
            },
            gone = dependents_gone(&mut owned) => match gone {
                Some(gone) => Look::Waiting(gone.iter().filter_map(|key| keys::owner_part(key)).collect()),
                None => return,
            },
            known = kinds.changed() => match known {
                Ok(()) => Look::Unknown,
                Err(_) => return,
            },
            () = tokio::time::sleep(retry / 2), if failed => Look::All,
        };
        if failed {
            look = Look::All;
        }
    }
}

/// Watches the index of owners while an owner waits for dependents; else nobody needs to be woken by each of them. Whether
/// it begins to: then all who wait have to be looked at again, since nobody has heard who went until now.
async fn listen_while_owners_wait(server: &Server, owned: &mut Option<Watch>) -> Result<bool, Failure> {
    let waiting = server.store.range(keys::all_waiting(), 1, None).await?;
    if waiting.entries.is_empty() {
        *owned = None;
        return Ok(false);
    }
    if owned.is_some() {
        return Ok(false);
    }
    *owned = Some(server.store.watch(keys::all_owned(), None).await?);
    Ok(true)
}

/// The entries of the index of owners that go next; `None` when the watch is over.
async fn dependents_gone(owned: &mut Option<Watch>) -> Option<Vec<Bytes>> {
    match owned {
        Some(owned) => changed(owned, |event| event.value.is_none()).await,
        None => std::future::pending().await,
    }
}

/// The keys of the next changes of a kind, as many as are at hand; `None` when the watch is over.
async fn changed(watch: &mut Watch, counts: impl Fn(&Event) -> bool) -> Option<Vec<Bytes>> {
    let mut found = Vec::new();
    let mut take = |delivery: Option<Result<Delivery, Error>>| match delivery {
        Some(Ok(Delivery::Events(events))) => {
            let events = events.iter().filter(|event| counts(event));
            found.extend(events.map(|event| event.key.clone()));
            Some(!found.is_empty())
        }
        Some(Ok(Delivery::Progress(_))) => Some(!found.is_empty()),
        Some(Err(_)) | None => None,
    };
    while !take(watch.next().await)? {}
    while let Some(delivery) = watch.next().now_or_never() {
        take(delivery)?;
    }
    Some(found)
}

async fn pass(server: &Arc<Server>, look: &Look, heard: Instant) -> Result<(), Failure> {
    if matches!(look, Look::All) {
        rebuild::complete(server).await?;
    }
    work::queue(server, heard).await?;
    match look {
        Look::Queue => Ok(()),
        Look::Waiting(owners) => work::waiting(server, owners).await,
        Look::AllWaiting => work::all_waiting(server).await,
        Look::Unknown => work::unknown(server, heard).await,
        Look::All => {
            work::all_waiting(server).await?;
            work::unknown(server, heard).await
        }
    }
}
