//! Carries out what the queue asks for. Every step can be repeated: an object is changed only as it was looked at.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use apimachinery::json::{Map, Value};
use apimachinery::meta;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use objectstore::{Compare, Entry, Outcome, Transaction, Write};

use super::hooks::{FOREGROUND, ORPHAN, references};
use super::judge::{self, Standing, Verdict, judge};
use super::keys::{self, Owner, Which};
use super::report;
use super::single::{ATTEMPTS, Blocks, busy, find, forget_named, release, relink, remove};
use crate::codec::Stored;
use crate::failure::Failure;
use crate::read::after;
use crate::server::Server;
use crate::target::Target;
use crate::workqueues::{self, Item, Queue};
use crate::write::options::Propagation;

/// How many keys are read at once.
const PAGE: usize = 500;
/// How many objects are looked at, and owners, at the same time, so that they share the store's syncs.
const PARALLEL: usize = 128;
const PARALLEL_OWNERS: usize = 16;

/// What a look at an object came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// There is nothing more to do.
    Settled,
    /// It has to be looked at again when more kinds are known.
    Unknown,
}

/// Goes through the queue, of which this process has heard at a time. What fails stays in it, and the first failure is told
/// when everything else is done.
pub(super) async fn queue(server: &Arc<Server>, heard: Instant) -> Result<(), Failure> {
    pages(server, keys::queue(), |entries| async move {
        let (owners, objects): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| keys::is_queued_owner(&entry.key));
        let looked = queued_objects(server, objects, heard).await;
        let owners = each(owners, PARALLEL_OWNERS, |entry| queued_owner(server, entry, heard)).await;
        let owners = all(owners).map(drop);
        looked.and(owners)
    })
    .await
}

/// Looks again at the owners that wait for dependents; they are named by their parts of keys.
pub(super) async fn waiting(server: &Arc<Server>, owners: &HashSet<Bytes>) -> Result<(), Failure> {
    for part in owners {
        if let Some(entry) = server.store.get(keys::waiting_part(part), None).await? {
            still_waits(server, entry).await?;
        }
    }
    Ok(())
}

/// Looks again at all owners that wait for dependents, and at these.
pub(super) async fn all_waiting(server: &Arc<Server>) -> Result<(), Failure> {
    pages(server, keys::all_waiting(), |entries| async move {
        for entry in entries {
            if let Some(Owner { uid, key: Some(key) }) = Owner::decode(&entry.value) {
                deleting_owner(server, &uid, &key, &entry.value).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Looks again at all objects that name owners of unknown kinds.
pub(super) async fn unknown(server: &Arc<Server>, heard: Instant) -> Result<(), Failure> {
    pages(server, keys::all_unknown(), |entries| async move {
        let (looked, failure) = looked_at(server, entries, heard).await;
        let settled = looked.into_iter().filter(|(_, seen)| *seen == Seen::Settled);
        done(server, settled.map(|(entry, _)| entry).collect(), Vec::new()).await?;
        failure.map_or(Ok(()), Err)
    })
    .await
}

/// Goes through a range page by page, to its end also when a page fails; tells the first failure.
async fn pages<F>(server: &Server, mut range: Range<Bytes>, work: impl Fn(Vec<Entry>) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let mut result = Ok(());
    loop {
        let page = server.store.range(range.clone(), PAGE, None).await?;
        let Some(last) = page.entries.last().map(|entry| entry.key.clone()) else {
            return result;
        };
        let worked = work(page.entries).await;
        result = result.and(worked);
        range.start = after(&last);
    }
}

/// Does the same with many, some at a time.
async fn each<'a, T, R: Send>(
    all: Vec<T>,
    parallel: usize,
    work: impl Fn(T) -> BoxFuture<'a, Result<R, Failure>>,
) -> Vec<Result<R, Failure>> {
    let futures: Vec<_> = all.into_iter().map(work).collect();
    futures::stream::iter(futures)
        .buffer_unordered(parallel)
        .collect()
        .await
}

/// All results, or the first failure.
fn all<R>(results: Vec<Result<R, Failure>>) -> Result<Vec<R>, Failure> {
    results.into_iter().collect()
}

async fn queued_objects(server: &Arc<Server>, entries: Vec<Entry>, heard: Instant) -> Result<(), Failure> {
    let (looked, failure) = looked_at(server, entries, heard).await;
    let parked = looked
        .iter()
        .filter(|(_, seen)| *seen == Seen::Unknown)
        .filter_map(|(entry, _)| keys::queued(&entry.key))
        .map(|object| Write::Put(keys::unknown(&object), Bytes::new()))
        .collect();
    done(server, looked.into_iter().map(|(entry, _)| entry).collect(), parked).await?;
    failure.map_or(Ok(()), Err)
}

/// Looks at the objects that keys of the queue name. Those of which it failed are left out.
async fn looked_at(server: &Arc<Server>, entries: Vec<Entry>, heard: Instant) -> (Vec<(Entry, Seen)>, Option<Failure>) {
    let looked = each(entries, PARALLEL, |entry| {
        async move {
            let item = Item::begin(server, Queue::Collect, heard);
            let seen = match keys::queued(&entry.key) {
                Some(object) => workqueues::end(item, dependent(server, object, None).await)?,
                None => Seen::Settled,
            };
            Ok((entry, seen))
        }
        .boxed()
    });
    let (mut seen, mut failure) = (Vec::new(), None);
    for looked in looked.await {
        match looked {
            Ok(looked) => seen.push(looked),
            Err(failed) => failure = Some(failed),
        }
    }
    (seen, failure)
}

/// Writes something and then takes entries of the queue away, if nothing has asked for another look meanwhile.
async fn done(server: &Server, entries: Vec<Entry>, first: Vec<Write>) -> Result<(), Failure> {
    for writes in first.chunks(server.store.most_writes()) {
        let writes = writes.to_vec();
        server
            .store
            .transact(Transaction {
                compares: Vec::new(),
                writes,
            })
            .await?;
    }
    for chunk in entries.chunks(server.store.most_writes()) {
        let mut chunk = chunk.to_vec();
        while !chunk.is_empty() {
            let compares = chunk
                .iter()
                .map(|entry| Compare::Modified(entry.key.clone(), entry.modified));
            let writes = chunk.iter().map(|entry| Write::Delete(entry.key.clone()));
            let transaction = Transaction {
                compares: compares.collect(),
                writes: writes.collect(),
            };
            match server.store.transact(transaction).await? {
                Outcome::Committed(_) => break,
                // Somebody else has done it, or asks again.
                Outcome::Refused { compare, .. } => drop(chunk.remove(compare)),
            }
        }
    }
    Ok(())
}

fn queued_owner<'s>(server: &'s Arc<Server>, entry: Entry, heard: Instant) -> BoxFuture<'s, Result<(), Failure>> {
    async move {
        let queue = match keys::is_queued_orphans(&entry.key) {
            true => Queue::Orphan,
            false => Queue::Collect,
        };
        let item = Item::begin(server, queue, heard);
        let looked = match Owner::decode(&entry.value) {
            Some(Owner { uid, key: Some(key) }) => deleting_owner(server, &uid, &key, &entry.value).await,
            Some(Owner { uid, key: None }) => gone_owner(server, &uid).await,
            None => Ok(()),
        };
        workqueues::end(item, looked)?;
        done(server, vec![entry], Vec::new()).await
    }
    .boxed()
}

/// Looks at those who name an owner that has gone.
async fn gone_owner(server: &Arc<Server>, uid: &str) -> Result<(), Failure> {
    dependents(server, uid, Some(uid)).await?;
    // When nobody is left, nothing else is either.
    forget_named(server, uid).await?;
    gone_waiting(server, uid).await
}

/// Looks at all that name an owner.
async fn dependents(server: &Arc<Server>, uid: &str, gone: Option<&str>) -> Result<(), Failure> {
    pages(server, keys::owned(uid, Which::All), |entries| async move {
        let objects = entries.iter().filter_map(|entry| keys::object_of(&entry.key)).collect();
        let looked = each(objects, PARALLEL, |object: Bytes| {
            async move { Ok((object.clone(), dependent(server, object, gone).await?)) }.boxed()
        });
        let looked = all(looked.await)?;
        let unknown = looked.into_iter().filter(|(_, seen)| *seen == Seen::Unknown);
        let parked = unknown.map(|(object, _)| Write::Put(keys::unknown(&object), Bytes::new()));
        done(server, Vec::new(), parked.collect()).await
    })
    .await
}

/// An owner whose deletion has begun: in the foreground, or so that its dependents stay.
async fn deleting_owner(server: &Arc<Server>, uid: &str, key: &Bytes, note: &Bytes) -> Result<(), Failure> {
    let Some(finalizer) = finalizer_of(server, uid, key).await? else {
        return gone_waiting(server, uid).await;
    };
    if finalizer == ORPHAN {
        for _ in 0..ATTEMPTS {
            orphan(server, uid).await?;
            if release(server, uid, key, ORPHAN, Which::All).await? {
                // Another process may have let the owner go while a child that came after that was taken from it here.
                forget_named(server, uid).await?;
                return gone_waiting(server, uid).await;
            }
        }
        return Err(apimachinery::status::Status::unavailable("an owner gets dependents all the while").into());
    }
    dependents(server, uid, None).await?;
    if release(server, uid, key, FOREGROUND, Which::Blocking).await? {
        return gone_waiting(server, uid).await;
    }
    // Noted before the last look: who goes after it finds the note.
    let waits = Transaction::default().put(keys::waiting(uid), note.clone());
    server.store.transact(waits).await?;
    if release(server, uid, key, FOREGROUND, Which::Blocking).await? {
        return gone_waiting(server, uid).await;
    }
    Ok(())
}

async fn gone_waiting(server: &Server, uid: &str) -> Result<(), Failure> {
    let waits_no_more = Transaction::default().delete(keys::waiting(uid));
    server.store.transact(waits_no_more).await?;
    Ok(())
}

/// An owner that waits, after one of its dependents has gone.
async fn still_waits(server: &Arc<Server>, entry: Entry) -> Result<(), Failure> {
    let Some(Owner { uid, key: Some(key) }) = Owner::decode(&entry.value) else {
        return Ok(());
    };
    if release(server, &uid, &key, FOREGROUND, Which::Blocking).await? {
        gone_waiting(server, &uid).await?;
    }
    Ok(())
}

/// The finalizer by which an owner's deletion has to do with its dependents, `None` when it has not or is over.
async fn finalizer_of(server: &Server, uid: &str, key: &Bytes) -> Result<Option<&'static str>, Failure> {
    let Some(entry) = server.store.get(key.clone(), None).await? else {
        return Ok(None);
    };
    let text = Stored::read(entry.value)?.metadata();
    let metadata = text.members()?;
    if meta::text(&metadata, "uid") != uid || !meta::is_being_deleted(&metadata) {
        return Ok(None);
    }
    let has = |wanted: &&str| meta::finalizers(&metadata).any(|finalizer| finalizer == *wanted);
    Ok([ORPHAN, FOREGROUND].into_iter().find(has))
}

/// Takes an owner out of all objects that name it.
async fn orphan(server: &Arc<Server>, uid: &str) -> Result<(), Failure> {
    pages(server, keys::owned(uid, Which::All), |entries| async move {
        let objects = entries.iter().filter_map(|entry| keys::object_of(&entry.key)).collect();
        all(each(objects, PARALLEL, |object: Bytes| {
            unlink_owner(server, object, uid.to_owned()).boxed()
        })
        .await)
        .map(drop)
    })
    .await
}

async fn unlink_owner(server: &Server, key: Bytes, uid: String) -> Result<(), Failure> {
    for _ in 0..ATTEMPTS {
        let snapshot = server.registry.snapshot();
        let Some((target, entry)) = find(server, &snapshot, &key).await? else {
            return Ok(());
        };
        let text = Stored::read(entry.value.clone())?.metadata();
        let metadata = text.members()?;
        if !references(&metadata).any(|reference| reference.uid == uid) {
            return Ok(());
        }
        let keep = |_: usize, reference: &Value<'_>| reference.get("uid").and_then(Value::as_str) != Some(&uid);
        if relink(server, &target, &entry, &metadata, keep, Blocks::AsIs).await? {
            return Ok(());
        }
    }
    Err(busy(&key))
}

/// Looks at an object: are its owners there? `gone` is the uid of one that is known not to be.
async fn dependent(server: &Arc<Server>, key: Bytes, gone: Option<&str>) -> Result<Seen, Failure> {
    for _ in 0..ATTEMPTS {
        let snapshot = server.registry.snapshot();
        let Some((target, entry)) = find(server, &snapshot, &key).await? else {
            // Of a kind that has gone, or that this process has still to hear of.
            let there = server.store.get(key, None).await?.is_some();
            return Ok(if there { Seen::Unknown } else { Seen::Settled });
        };
        let text = Stored::read(entry.value.clone())?.metadata();
        let metadata = text.members()?;
        if meta::is_being_deleted(&metadata) {
            // It is on its way. One that waits itself may wait for the very one that led here.
            if judge::waits(&metadata) {
                release(server, meta::text(&metadata, "uid"), &key, FOREGROUND, Which::Blocking).await?;
            }
            return Ok(Seen::Settled);
        }
        let mut standings = Vec::new();
        for reference in references(&metadata) {
            standings.push(judge::standing(&server.store, &snapshot, &target.namespace, &reference, gone).await?);
        }
        let finished = match judge(&standings) {
            Verdict::Keep => true,
            Verdict::KeepUntilKnown => return Ok(Seen::Unknown),
            Verdict::KeepMisplaced => {
                report::misplaced(server, &target, &metadata, &standings).await;
                true
            }
            Verdict::Unlink(places) => {
                report::unlinked(&target, &metadata, &places);
                relink(
                    server,
                    &target,
                    &entry,
                    &metadata,
                    |place, _| !places.contains(&place),
                    Blocks::AsIs,
                )
                .await?
            }
            Verdict::Delete => {
                report::collected(&target, &metadata);
                remove(server, &target, &entry, &metadata, None).await?
            }
            Verdict::DeleteForOwner => remove_for_owner(server, &target, &entry, &metadata).await?,
        };
        if finished {
            if gone.is_none() {
                forget_absent(server, &metadata, &standings).await?;
            }
            return Ok(Seen::Settled);
        }
    }
    Err(busy(&key))
}

/// Forgets that somebody has named owners that are not there, where nobody does any more.
async fn forget_absent(server: &Server, metadata: &Map<'_>, standings: &[Standing]) -> Result<(), Failure> {
    let absent = references(metadata)
        .zip(standings)
        .filter(|(_, standing)| **standing == Standing::Absent);
    for (reference, _) in absent {
        forget_named(server, reference.uid).await?;
    }
    Ok(())
}

/// Deletes an object for which its owner waits. Whether it was as it was looked at.
async fn remove_for_owner(
    server: &Arc<Server>,
    target: &Target,
    entry: &Entry,
    metadata: &Map<'_>,
) -> Result<bool, Failure> {
    let uid = meta::text(metadata, "uid");
    if server
        .store
        .range(keys::owned(uid, Which::All), 1, None)
        .await?
        .entries
        .is_empty()
    {
        report::collected(target, metadata);
        return remove(server, target, entry, metadata, None).await;
    }
    // Two that wait for each other would do so for ever: this one lets its owners go.
    if references(metadata).any(|reference| reference.blocks) && has_waiting_dependent(server, uid).await? {
        relink(server, target, entry, metadata, |_, _| true, Blocks::No).await?;
        return Ok(false);
    }
    report::collected(target, metadata);
    remove(server, target, entry, metadata, Some(Propagation::Foreground)).await
}

async fn has_waiting_dependent(server: &Server, uid: &str) -> Result<bool, Failure> {
    let mut range = keys::owned(uid, Which::All);
    loop {
        let page = server.store.range(range.clone(), PAGE, None).await?;
        for key in page.entries.iter().filter_map(|entry| keys::object_of(&entry.key)) {
            if let Some(found) = server.store.get(key, None).await?
                && judge::waits(&Stored::read(found.value)?.metadata().members()?)
            {
                return Ok(true);
            }
        }
        match page.entries.last() {
            Some(last) => range.start = after(&last.key),
            None => return Ok(false),
        }
    }
}
