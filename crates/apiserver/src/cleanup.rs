//! Removes the content of namespaces and definitions under deletion, and keeps indexes complete.
//!
//! The deletion's own transaction leaves a key under `/cleanup/` and the last one takes it away, so that what has to be
//! done is one short range: after a crash another process, or the same one later, goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apimachinery::json;
use apimachinery::json::Value;
use apimachinery::meta;
use jiff::Timestamp;
use objectstore::{Compare, Outcome, Transaction, Write};

use crate::builtin::Special;
use crate::codec::{Draft, Stored};
use crate::failure::Failure;
use crate::filter::Filter;
use crate::keys::{cleanup_parts, cleanups};
use crate::read::{Start, collect};
use crate::registry::{Change, Resource, Snapshot};
use crate::server::{Controller, DEFINITIONS, Server};
use crate::target::Target;
use crate::workqueues::{self, Item, Queue};
use crate::write::commit::{self, Committed};
use crate::write::delete::{self, Deleted};
use crate::write::kinds::{CLEANUP_FINALIZER, NAMESPACE_FINALIZER, may_go, removal_writes};
use crate::write::object;
use crate::write::options::{DeleteOptions, Propagation};

/// How many objects are deleted before the rest is looked at again.
const BATCH: usize = 500;
/// How often work that waits for others (finalizers, other processes) is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// Does the work until the server closes.
pub(crate) async fn run(server: Arc<Server>) {
    let mut closing = server.closing.subscribe();
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = work(&server) => {}
    }
}

async fn work(server: &Arc<Server>) {
    loop {
        // Opened before the look at the work, so that nothing is missed in between.
        let mut news = match server.store.watch(cleanups(), None).await {
            Ok(news) => news,
            Err(objectstore::Error::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "the list of deletions cannot be watched");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        loop {
            let removed = server.removals.notified();
            tokio::pin!(removed);
            removed.as_mut().enable();
            let waits = match pass(server, Instant::now()).await {
                Ok(left) => left > 0,
                Err(failure) => {
                    tracing::warn!(?failure, "content of a deleted namespace or definition is still there");
                    true
                }
            };
            tokio::select! {
                delivery = next_change(&mut news) => if delivery.is_none() { break },
                () = removed, if waits => {}
                () = tokio::time::sleep(RETRY), if waits => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The next change below `/cleanup/`, `None` when the watch is over.
async fn next_change(news: &mut objectstore::Watch) -> Option<()> {
    loop {
        match futures::StreamExt::next(news).await? {
            Ok(objectstore::Delivery::Events(_)) => return Some(()),
            Ok(objectstore::Delivery::Progress(_)) => {}
            Err(_) => return None,
        }
    }
}

/// Goes through all the work once. How much of it is left.
async fn pass(server: &Arc<Server>, heard: Instant) -> Result<usize, Failure> {
    let page = server.store.range(cleanups(), BATCH, None).await?;
    let mut left = usize::from(page.more);
    for entry in page.entries {
        let done = match cleanup_parts(&entry.key) {
            Some(("namespaces", _)) if server.namespace_controller == Controller::External => Ok(true),
            Some(("namespaces", name)) => {
                let item = Item::begin(server, Queue::Namespaces, heard);
                left_over(item, namespace(server, name).await)
            }
            Some(("customresourcedefinitions", name)) => {
                let item = Item::begin(server, Queue::Definitions, heard);
                left_over(item, definition(server, name).await)
            }
            _ => Ok(true),
        };
        match done {
            Ok(true) => {}
            Ok(false) => left += 1,
            Err(failure) => {
                tracing::warn!(key = %String::from_utf8_lossy(&entry.key), ?failure, "a deletion makes no progress");
                left += 1;
            }
        }
    }
    Ok(left)
}

/// Counts an item; what is not done is to be done again.
fn left_over(item: Option<Item>, done: Result<bool, Failure>) -> Result<bool, Failure> {
    if let (Some(item), Ok(false)) = (&item, &done) {
        item.again();
    }
    workqueues::end(item, done)
}

/// What stands in the way of a deletion.
#[derive(Debug, Default)]
struct Content {
    /// How many objects of each resource are left.
    resources: BTreeMap<String, usize>,
    /// How many objects each finalizer holds.
    finalizers: BTreeMap<String, usize>,
    /// Why objects could not be deleted.
    failures: Vec<String>,
}

impl Content {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.failures.is_empty()
    }

    fn hold(&mut self, resource: &Resource, held: &[Stored]) -> Result<(), Failure> {
        if held.is_empty() {
            return Ok(());
        }
        // With the dot also behind the name of a core resource.
        let name = format!("{}.{}", resource.id.plural, resource.id.group);
        self.resources.insert(name, held.len());
        for stored in held {
            for finalizer in meta::finalizers(&stored.metadata().members()?) {
                *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn failed(&self) -> Option<String> {
        let mut failures = self.failures.clone();
        failures.sort_unstable();
        let count = failures.len();
        (count > 0).then(|| {
            format!(
                "Failed to delete all resource types, {count} remaining: {}",
                failures.join(", ")
            )
        })
    }

    fn remaining(&self) -> Option<String> {
        let list = counted(&self.resources, "has");
        (!list.is_empty()).then(|| format!("Some resources are remaining: {list}"))
    }

    fn held(&self) -> Option<String> {
        let list = counted(&self.finalizers, "in");
        (!list.is_empty()).then(|| format!("Some content in the namespace has finalizers remaining: {list}"))
    }
}

fn counted(counts: &BTreeMap<String, usize>, word: &str) -> String {
    let list = counts
        .iter()
        .map(|(name, count)| format!("{name} {word} {count} resource instances"));
    list.collect::<Vec<_>>().join(", ")
}

/// Deletes what a namespace holds, then the namespace. Whether it is gone, or needs nothing more from here.
async fn namespace(server: &Arc<Server>, name: &str) -> Result<bool, Failure> {
    server.reload().await?;
    let snapshot = server.registry.snapshot();
    let own = snapshot.resource("", "namespaces").ok_or(Failure::NoSuchPath)?;
    if !is_deleting(server, own, name).await? {
        return Ok(true);
    }
    let content = remove_content(server, &snapshot, name).await?;
    finish(server, own, name, |object| {
        if content.is_empty() {
            remove_text(object, "/spec/finalizers", NAMESPACE_FINALIZER);
        }
        namespace_conditions(object, &content);
    })
    .await
}

/// Deletes what a namespace holds: its pods, and when they are gone all else.
async fn remove_content(server: &Arc<Server>, snapshot: &Snapshot, name: &str) -> Result<Content, Failure> {
    let is_pods = |resource: &&Arc<Resource>| resource.id.group.is_empty() && resource.id.plural == "pods";
    let mut content = Content::default();
    for pods in [true, false] {
        let stored = snapshot.resources().filter(|resource| resource.is_stored());
        let resources = stored.filter(|resource| resource.namespaced && is_pods(resource) == pods);
        for resource in resources {
            match empty(server, resource, Some(name)).await {
                Ok(held) => content.hold(resource, &held)?,
                Err(Failure::Status(status)) => content.failures.push(status.to_string()),
                Err(failure) => return Err(failure),
            }
        }
        if !content.is_empty() {
            break;
        }
    }
    Ok(content)
}

/// Deletes all objects of a definition, then the definition.
async fn definition(server: &Arc<Server>, name: &str) -> Result<bool, Failure> {
    server.refresh_definition(name).await?;
    let snapshot = server.registry.snapshot();
    let own = snapshot
        .resource(DEFINITIONS.0, DEFINITIONS.1)
        .ok_or(Failure::NoSuchPath)?;
    if !is_deleting(server, own, name).await? {
        return Ok(true);
    }
    // A definition that was never served has no objects.
    let defined = name
        .split_once('.')
        .and_then(|(plural, group)| snapshot.resource(group, plural))
        .filter(|defined| defined.definition.is_some());
    if let Some(defined) = defined {
        if !empty(server, defined, None).await?.is_empty() {
            return Ok(false);
        }
        remove_range(server, defined.keys.all_indexed(), None).await?;
        // Its paths go first, so that nobody who sees the definition gone still finds them.
        if let Some(definition) = &defined.definition {
            server.registry.apply(name, definition.revision, Change::Gone);
        }
    }
    let gone = finish(server, own, name, |object| {
        remove_text(object, "/metadata/finalizers", CLEANUP_FINALIZER)
    })
    .await?;
    server.refresh_definition(name).await?;
    Ok(gone)
}

async fn is_deleting(server: &Server, resource: &Arc<Resource>, name: &str) -> Result<bool, Failure> {
    let deleting = match server.store.get(resource.keys.object("", name), None).await? {
        Some(entry) => meta::is_being_deleted(&Stored::read(entry.value)?.metadata().members()?),
        None => false,
    };
    if !deleting {
        // Left behind by nothing that this program does; taken away so that it is not looked at for ever.
        let transaction = Transaction {
            compares: Vec::new(),
            writes: removal_writes(resource, name),
        };
        server.store.transact(transaction).await?;
    }
    Ok(deleting)
}

/// Deletes all objects of a resource in a namespace or everywhere; returns those that finalizers hold. New ones cannot
/// come: their creates compare the namespace or the definition, which says since before that it is being deleted.
async fn empty(
    server: &Arc<Server>,
    resource: &Arc<Resource>,
    namespace: Option<&str>,
) -> Result<Vec<Stored>, Failure> {
    let target = Target::internal(resource.clone(), namespace.unwrap_or_default(), "");
    let everything = Filter::new(resource, Default::default(), Default::default())?;
    let options = DeleteOptions {
        policy: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    let mut start = Start::default();
    let mut held = Vec::new();
    loop {
        let page = collect(server, &target, &everything, &start, Some(BATCH)).await?;
        let parts = page.items.iter().filter_map(|(key, ..)| resource.keys.parts(key));
        let targets = parts
            .map(|(namespace, name)| Target::internal(resource.clone(), namespace, name))
            .collect();
        for deleted in delete::many(server, targets, &options, None).await {
            if let Some(Deleted::Marked { stored, .. }) = deleted? {
                held.push(stored);
            }
        }
        match page.next {
            Some(next) => start = Start::at_key(next),
            None => return Ok(held),
        }
    }
}

/// Changes the owner of the content, or removes it when nothing holds it any more. Whether it is gone.
async fn finish(
    server: &Server,
    resource: &Arc<Resource>,
    name: &str,
    edit: impl Fn(&mut Value<'_>),
) -> Result<bool, Failure> {
    let version = &resource.versions[0];
    let target = Target::internal(resource.clone(), "", name);
    loop {
        let Some(entry) = server.store.get(target.key(), None).await? else {
            return Ok(true);
        };
        let before = Stored::read(entry.value)?;
        let text = before.object(&version.opening, entry.modified);
        let mut object = text.value()?;
        let index = object::index_entries(resource, "", name, &object);
        edit(&mut object);
        let metadata = object::metadata(&object)?;
        let gone = meta::finalizers(metadata).next().is_none() && may_go(resource, &object);
        let uid = meta::text(metadata, "uid").to_owned();
        let after = Draft::new(object::members(&object)?).finish(version.stamp, metadata);
        if !gone && after.same_object(&before) {
            return Ok(false);
        }
        let change = commit::Change {
            key: entry.key.clone(),
            object: Compare::Modified(entry.key, entry.modified),
            namespace: None,
            value: (!gone).then_some(after),
            index_after: if gone { Vec::new() } else { index.clone() },
            index_before: index,
            more: if gone {
                removal_writes(resource, name)
            } else {
                Vec::new()
            },
            removed_uid: gone.then_some(uid),
            claims: Vec::new(),
        };
        if let Committed::At(_) = commit::commit(server, &target, change).await? {
            if resource.rules.special == Special::Namespace && gone {
                server.namespaces.refused(name, None)?;
            }
            return Ok(gone);
        }
    }
}

/// Removes all keys of a range, while `condition` holds.
pub(crate) async fn remove_range(
    server: &Server,
    range: std::ops::Range<bytes::Bytes>,
    condition: Option<&Compare>,
) -> Result<(), Failure> {
    loop {
        let page = server
            .store
            .range(range.clone(), server.store.most_writes(), None)
            .await?;
        if page.entries.is_empty() {
            return Ok(());
        }
        let writes = page.entries.into_iter().map(|entry| Write::Delete(entry.key)).collect();
        let compares = condition.into_iter().cloned().collect();
        if let Outcome::Refused { .. } = server.store.transact(Transaction { compares, writes }).await? {
            return Ok(());
        }
    }
}

fn remove_text(object: &mut Value<'_>, list: &str, text: &str) {
    if let Some(list) = object.pointer_mut(list).and_then(Value::as_array_mut) {
        list.retain(|item| item != text);
    }
}

/// The conditions of a namespace by which people see what its deletion waits for, as the real controller writes them.
fn namespace_conditions(namespace: &mut Value<'_>, content: &Content) {
    let now = meta::format_timestamp(Timestamp::now());
    let before = namespace.pointer("/status/conditions").cloned().unwrap_or_default();
    let condition = |(kind, problem, fine, reason, message): (&str, Option<String>, &str, &str, &str)| {
        let status = if problem.is_some() { "True" } else { "False" };
        let mut known = before.as_array().into_iter().flatten();
        let same = known.find(|known| known["type"] == kind && known["status"] == status);
        let since = same.and_then(|same| same.get("lastTransitionTime")).cloned();
        json!({
            "type": kind,
            "status": status,
            "lastTransitionTime": since.unwrap_or_else(|| now.as_str().into()),
            "reason": if problem.is_some() { reason } else { fine },
            "message": problem.unwrap_or_else(|| message.to_owned()),
        })
    };
    let conditions = [
        (
            "NamespaceDeletionDiscoveryFailure",
            None,
            "ResourcesDiscovered",
            "",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            content.failed(),
            "ContentDeleted",
            "ContentDeletionFailed",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            content.remaining(),
            "ContentRemoved",
            "SomeResourcesRemain",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            content.held(),
            "ContentHasNoFinalizers",
            "SomeFinalizersRemain",
            "All content-preserving finalizers finished",
        ),
    ];
    let list: Vec<Value<'_>> = conditions.into_iter().map(condition).collect();
    object::set_path(namespace, ".status.conditions", list.into());
}
