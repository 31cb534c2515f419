//! Delete and deletecollection.

use apimachinery::json::{Map, Value};
use apimachinery::list::ListOptions;
use apimachinery::meta;
use apimachinery::status::{FailedPrecondition, ListMeta, Status};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http::{Response, StatusCode};
use jiff::Timestamp;
use objectstore::{Compare, Entry, Revision};

use super::admit::Admission;
use super::commit::{self, Change, Committed};
use super::create::Request;
use super::kinds;
use super::object;
use super::options::{DeleteOptions, Propagation};
use crate::admission::Operation;
use crate::body::Body;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::gc::{
    self,
    hooks::{FOREGROUND, ORPHAN},
};
use crate::read::{self, Start, include};
use crate::registry::Resource;
use crate::render::{self, Include, View, write_json};
use crate::server::Server;
use crate::target::Target;

/// How often a delete is tried when another write comes between.
const ATTEMPTS: usize = 10;
/// How many objects of a collection are deleted at once, so that they share the store's syncs.
const PARALLEL: usize = 32;

/// What became of the object.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It is gone.
    Gone { uid: String },
    /// It is marked; finalizers hold it.
    Marked { stored: Stored, revision: Revision },
}

/// DELETE on an object.
pub(crate) async fn delete(server: &Server, target: &Target, request: Request<'_>) -> Result<Response<Body>, Failure> {
    let options = DeleteOptions::parse(request.headers, request.body, request.query)?;
    kinds::may_be_deleted(&target.resource, &target.name)?;
    let mut out = Vec::with_capacity(512);
    match one(server, target, &options, Some(request)).await? {
        Deleted::Gone { uid } => write_json(&Status::deleted(&target.resource.id, &target.name, &uid), &mut out),
        Deleted::Marked { stored, revision } => {
            let view = View {
                resource: &target.resource,
                version: target.version(),
                form: request.wanted.form,
                include: include(request.query)?,
            };
            view.object(&stored, Some(revision), true, &mut out)?;
        }
    }
    render::answer(
        StatusCode::OK,
        out,
        request.wanted.encoding,
        &warnings(target, &options),
    )
}

/// DELETE on a collection: every selected object, each on its own. The answer lists them as they were.
pub(crate) async fn delete_collection(
    server: &Server,
    target: &Target,
    request: Request<'_>,
) -> Result<Response<Body>, Failure> {
    let list = ListOptions::parse(request.query.pairs())?;
    let filter = Filter::new(&target.resource, list.label_selector, list.field_selector)?;
    let options = DeleteOptions::parse(request.headers, request.body, request.query)?;
    let limit = list.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let page = read::collect(server, target, &filter, &Start::default(), limit).await?;
    let parts = page
        .items
        .iter()
        .filter_map(|(key, ..)| target.resource.keys.parts(key));
    let targets = parts.map(|(namespace, name)| target.named(namespace, name)).collect();
    for deleted in many(server, targets, &options, Some(request)).await {
        deleted?;
    }
    let metadata = ListMeta {
        resource_version: page.revision.0.to_string(),
        continue_token: page.continue_token(),
        ..ListMeta::default()
    };
    let items: Vec<(Stored, Revision)> = page
        .items
        .into_iter()
        .map(|(_, stored, revision)| (stored, revision))
        .collect();
    let view = View {
        resource: &target.resource,
        version: target.version(),
        form: request.wanted.form,
        include: Include::Metadata,
    };
    let mut out = Vec::new();
    view.list(&items, &metadata, &mut out)?;
    render::answer(
        StatusCode::OK,
        out,
        request.wanted.encoding,
        &warnings(target, &options),
    )
}

/// Deletes several objects; `None` for one that has gone already.
pub(crate) async fn many(
    server: &Server,
    targets: Vec<Target>,
    options: &DeleteOptions,
    request: Option<Request<'_>>,
) -> Vec<Result<Option<Deleted>, Failure>> {
    let deletions: Vec<BoxFuture<'_, _>> = targets
        .into_iter()
        .map(|target| {
            let deletion = async move {
                match one(server, &target, options, request).await {
                    Err(Failure::Status(status)) if status.code() == 404 => Ok(None),
                    other => other.map(Some),
                }
            };
            deletion.boxed()
        })
        .collect();
    futures::stream::iter(deletions)
        .buffer_unordered(PARALLEL)
        .collect()
        .await
}

/// Deletes one object, or marks it while finalizers hold it. Admission hooks are asked about what came as a request.
pub(crate) async fn one(
    server: &Server,
    target: &Target,
    options: &DeleteOptions,
    request: Option<Request<'_>>,
) -> Result<Deleted, Failure> {
    let mut target = target.clone();
    for _ in 0..ATTEMPTS {
        let entry = server.store.get(target.key(), None).await?;
        let entry = entry.ok_or_else(|| Status::not_found(&target.resource.id, &target.name))?;
        if let Some(request) = request {
            admit(server, &target, options, request, &entry).await?;
        }
        let (deleted, change) = next(server, &target, &entry, options)?;
        let Some(change) = change.filter(|_| !options.dry_run) else {
            return Ok(deleted);
        };
        let removed = change.value.is_none();
        match commit::commit(server, &target, change).await? {
            Committed::At(at) => {
                kinds::modified(server, &target, removed).await?;
                return Ok(match deleted {
                    Deleted::Marked { stored, .. } => Deleted::Marked { stored, revision: at },
                    gone => gone,
                });
            }
            Committed::Object(_) | Committed::Namespace | Committed::Claim(_) => {}
            Committed::Definition => target = commit::again(server, &target)?,
        }
    }
    Err(Status::conflict(&target.resource.id, &target.name).into())
}

async fn admit(
    server: &Server,
    target: &Target,
    options: &DeleteOptions,
    request: Request<'_>,
    entry: &Entry,
) -> Result<(), Failure> {
    let admission = Admission {
        server,
        target,
        request,
        operation: Operation::Delete,
        dry_run: options.dry_run,
    };
    admission.delete(entry).await.map(drop)
}

fn next(
    server: &Server,
    target: &Target,
    entry: &Entry,
    options: &DeleteOptions,
) -> Result<(Deleted, Option<Change>), Failure> {
    let resource = &target.resource;
    let before = Stored::read(entry.value.clone())?;
    let stored = render::current(target.version(), &before)?;
    let text = stored.object(&target.version().opening, entry.modified);
    let mut object = text.value()?;
    let index = object::index_entries(resource, &target.namespace, &target.name, &object);
    check_preconditions(target, &object, entry.modified, options)?;
    propagate(resource, &mut object, options.policy)?;
    kinds::prepare_delete(resource, &mut object)?;
    let metadata = object::metadata_mut(&mut object)?;
    let uid = meta::text(metadata, "uid").to_owned();
    let held = meta::finalizers(metadata).next().is_some();
    let change = |value: Option<Stored>, more| Change {
        removed_uid: value.is_none().then(|| uid.clone()),
        key: entry.key.clone(),
        object: Compare::Modified(entry.key.clone(), entry.modified),
        namespace: None,
        index_before: index.clone(),
        index_after: if value.is_some() { index.clone() } else { Vec::new() },
        value,
        more,
        claims: Vec::new(),
    };
    if !held && kinds::may_go(resource, &object) {
        let more = kinds::removal_writes(resource, &target.name);
        let gone = change(None, more);
        return Ok((Deleted::Gone { uid }, Some(gone)));
    }
    kinds::mark_deleted(resource, object::metadata_mut(&mut object)?, Timestamp::now());
    let marked = object::to_store(target, &object)?;
    let changed = !marked.same_object(&before);
    let deleted = Deleted::Marked {
        stored: marked.clone(),
        revision: entry.modified,
    };
    let mut more = kinds::mark_writes(resource, &target.name);
    more.extend(gc::hooks::deleting(server, &entry.key, object::metadata(&object)?));
    Ok((deleted, changed.then(|| change(Some(marked), more))))
}

fn check_preconditions(
    target: &Target,
    object: &Value<'_>,
    modified: Revision,
    options: &DeleteOptions,
) -> Result<(), Failure> {
    let uid = meta::text(object::metadata(object)?, "uid");
    let revision = modified.0.to_string();
    let failed = |precondition: FailedPrecondition<'_>| {
        Failure::from(Status::precondition_failed(
            &target.resource.kind,
            &target.name,
            &precondition,
        ))
    };
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        return Err(failed(FailedPrecondition::Uid { wanted, found: uid }));
    }
    match options.resource_version.as_deref().filter(|wanted| *wanted != revision) {
        Some(wanted) => Err(failed(FailedPrecondition::ResourceVersion {
            wanted,
            found: &revision,
        })),
        None => Ok(()),
    }
}

/// Brings the finalizers of garbage collection to what the deletion asks for: what the request says counts, then what the
/// object has already, then what its kind has by default.
fn propagate(resource: &Resource, object: &mut Value<'_>, asked: Option<Propagation>) -> Result<(), Failure> {
    let content_is_left = !kinds::may_go(resource, object);
    let metadata = object::metadata_mut(object)?;
    let deleting = meta::is_being_deleted(metadata);
    let by_kind = match (resource.id.group.as_str(), resource.id.plural.as_str()) {
        // What owns content goes through stages of its own.
        ("", "namespaces") if deleting && content_is_left => return Ok(()),
        ("apiextensions.k8s.io", "customresourcedefinitions") if !deleting => return Ok(()),
        _ => default_propagation(resource),
    };
    let has = |wanted: &str| meta::finalizers(metadata).any(|finalizer| finalizer == wanted);
    let (orphan, foreground) = (has(ORPHAN), has(FOREGROUND));
    let policy = match (by_kind, asked) {
        // Nobody is owned by these.
        (None, _) => Propagation::Background,
        (_, Some(asked)) => asked,
        _ if orphan => Propagation::Orphan,
        _ if foreground => Propagation::Foreground,
        (Some(by_kind), None) => by_kind,
    };
    let wanted = match policy {
        Propagation::Background => (false, false),
        Propagation::Orphan => (true, false),
        Propagation::Foreground => (false, true),
    };
    if wanted == (orphan, foreground) {
        return Ok(());
    }
    remove_finalizers(metadata, &[ORPHAN, FOREGROUND]);
    let finalizer = match wanted {
        (true, _) => ORPHAN,
        (_, true) => FOREGROUND,
        _ => return Ok(()),
    };
    if let Value::Array(finalizers) = metadata.get_or_insert("finalizers", Vec::<Value>::new()) {
        finalizers.push(finalizer.into());
    }
    Ok(())
}

/// What becomes of dependents when a request does not say it; `None` for kinds that nothing depends on.
fn default_propagation(resource: &Resource) -> Option<Propagation> {
    match (resource.id.group.as_str(), resource.id.plural.as_str()) {
        ("" | "events.k8s.io", "events") => None,
        _ if resource.rules.orphans_dependents => Some(Propagation::Orphan),
        _ => Some(Propagation::Background),
    }
}

/// Says what a deletion without a word about dependents does to those of some kinds.
fn warnings(target: &Target, options: &DeleteOptions) -> Vec<String> {
    let mut warnings = read::deprecation(target);
    let id = &target.resource.id;
    if options.policy.is_none() && (id.group.as_str(), id.plural.as_str()) == ("batch", "jobs") {
        warnings.push(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them \
             or set propagationPolicy=Orphan to suppress this warning"
                .to_owned(),
        );
    }
    warnings
}

/// Takes finalizers out of an object's list.
pub(crate) fn remove_finalizers(metadata: &mut Map<'_>, names: &[&str]) {
    let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") else {
        return;
    };
    finalizers.retain(|finalizer| !finalizer.as_str().is_some_and(|finalizer| names.contains(&finalizer)));
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    }
}
