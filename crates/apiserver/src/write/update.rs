//! Update and patch.

use apimachinery::field::FieldError;
use apimachinery::gvk;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use apimachinery::schema::Type;
use apimachinery::status::Status;
use bytes::Bytes;
use http::{Response, StatusCode};
use objectstore::{Compare, Entry, Revision};

use super::admit::Admission;
use super::commit::{self, Change, Committed};
use super::create::{self, Request};
use super::kinds::More;
use super::object::{self, Came};
use super::options::{self, Decoded, Patch, Validation, WriteOptions};
use super::tracking::Restored;
use super::{kinds, scale, tracking};
use crate::admission::Operation;
use crate::auth::escalation;
use crate::body::Body;
use crate::builtin::Special;
use crate::codec::{Draft, Stored};
use crate::failure::Failure;
use crate::negotiate::{self, BodyType};
use crate::read::{deprecation, include};
use crate::registry::Kept;
use crate::render::{self, View};
use crate::server::Server;
use crate::target::{Subresource, Target};

/// How often a write that names no resourceVersion is repeated when another one comes between.
const ATTEMPTS: usize = 5;

/// How the new object comes out of the old one.
#[derive(Debug)]
pub(crate) enum Edit<'b> {
    /// PUT.
    Replace(Decoded<'b>),
    /// PATCH.
    Patch(Patch<'b>),
}

impl<'b> Edit<'b> {
    pub(crate) fn came(&self) -> Came {
        match self {
            Edit::Replace(_) => Came::Whole,
            Edit::Patch(Patch::Apply(_)) => Came::Applied,
            Edit::Patch(_) => Came::Patched,
        }
    }

    fn take_duplicates(&mut self) -> Vec<String> {
        match self {
            Edit::Replace(decoded)
            | Edit::Patch(Patch::Merge(decoded) | Patch::Strategic(decoded) | Patch::Apply(decoded)) => {
                std::mem::take(&mut decoded.duplicates)
            }
            Edit::Patch(Patch::Json(_)) => Vec::new(),
        }
    }

    /// The new object, of this type. The old one is given up for it.
    pub(crate) fn apply(self, mut old: Value<'b>, object_type: Type<'_>) -> Result<Value<'b>, Failure> {
        match self {
            Edit::Replace(decoded) => Ok(decoded.value),
            Edit::Patch(Patch::Merge(decoded)) => {
                apimachinery::patch::merge_patch(&mut old, decoded.value);
                Ok(old)
            }
            Edit::Patch(Patch::Json(patch)) => patch.apply(old).map_err(|error| error.status().into()),
            Edit::Patch(Patch::Strategic(decoded)) => match (old, decoded.value) {
                (Value::Object(old), Value::Object(patch)) => {
                    let new = apimachinery::patch::strategic_merge(object_type, old, patch);
                    Ok(new.map_err(|error| error.status())?.into())
                }
                _ => Err(crate::codec::Damaged.into()),
            },
            // Who it is that applies, and what others own, is looked at by who asks for it.
            Edit::Patch(Patch::Apply(decoded)) => Ok(decoded.value),
        }
    }
}

/// PUT on an object or one of its subresources.
pub(crate) async fn update(server: &Server, target: &Target, request: Request<'_>) -> Result<Response<Body>, Failure> {
    let write = WriteOptions::parse("UpdateOptions", request.query)?;
    options::check_object_type(request.headers, target.resource.definition.is_some())?;
    let edit = replacement(request)?;
    modify(server, target, request, write, edit, replacement).await
}

fn replacement(request: Request<'_>) -> Result<Edit<'_>, Failure> {
    options::decode(request.headers, request.body).map(Edit::Replace)
}

/// PATCH on an object or one of its subresources.
pub(crate) async fn patch(server: &Server, target: &Target, request: Request<'_>) -> Result<Response<Body>, Failure> {
    options::check_patch_type(request.headers, target.resource.rules.special == Special::Custom)?;
    let write = match negotiate::body_type(request.headers) {
        BodyType::Apply => WriteOptions::of_apply(request.query)?,
        _ => WriteOptions::parse("PatchOptions", request.query)?,
    };
    let edit = match patch_of(request) {
        Ok(edit) => edit,
        // That there is no such object comes first.
        Err(failure) => {
            let creates = negotiate::body_type(request.headers) == BodyType::Apply;
            let exists = creates || server.store.get(target.key(), None).await?.is_some();
            let missing = || Status::not_found(&target.resource.id, &target.name).into();
            return Err(if exists { failure } else { missing() });
        }
    };
    modify(server, target, request, write, edit, patch_of).await
}

fn patch_of(request: Request<'_>) -> Result<Edit<'_>, Failure> {
    options::decode_patch(request.headers, request.body).map(Edit::Patch)
}

/// `edit` is used up by the first attempt; `again` reads it once more from the request for a further one, which is rare.
async fn modify<'r>(
    server: &Server,
    target: &Target,
    request: Request<'r>,
    write: WriteOptions,
    edit: Edit<'r>,
    again: fn(Request<'r>) -> Result<Edit<'r>, Failure>,
) -> Result<Response<Body>, Failure> {
    let mut target = target.clone();
    let mut first = Some(edit);
    for _ in 0..ATTEMPTS {
        let edit = first.take().map_or_else(|| again(request), Ok)?;
        let Some(entry) = server.store.get(target.key(), None).await? else {
            if matches!(edit, Edit::Replace(_))
                && target.resource.rules.create_on_update
                && target.subresource == Subresource::None
            {
                return create::create_named(server, &target, request, write, Some(&target.name)).await;
            }
            if matches!(edit, Edit::Patch(Patch::Apply(_))) && target.subresource == Subresource::None {
                return create::create_applied(server, &target, request, write).await;
            }
            check_body(&target, &edit, write)?;
            return Err(Status::not_found(&target.resource.id, &target.name).into());
        };
        let next = next(server, &target, &entry, edit, write, request).await?;
        let Some(change) = next.change.filter(|_| !write.dry_run) else {
            return answer(&target, &next.shown, entry.modified, next.warnings, request);
        };
        let removed = change.value.is_none();
        match commit::commit(server, &target, change).await? {
            Committed::At(revision) => {
                kinds::modified(server, &target, removed).await?;
                // The answer to the update that lets an object go shows it as it last was.
                let revision = if removed { entry.modified } else { revision };
                return answer(&target, &next.shown, revision, next.warnings, request);
            }
            Committed::Object(_) | Committed::Namespace | Committed::Claim(None) => {}
            Committed::Claim(Some(error)) => {
                return Err(Status::invalid(&target.resource.kind, &target.name, vec![error]).into());
            }
            Committed::Definition => target = commit::again(server, &target)?,
        }
    }
    Err(Status::conflict(&target.resource.id, &target.name).into())
}

/// A body that is no object of its kind is told before it is looked for what it would replace.
fn check_body(target: &Target, edit: &Edit<'_>, write: WriteOptions) -> Result<(), Failure> {
    let Edit::Replace(decoded) = edit else { return Ok(()) };
    if target.subresource == Subresource::Scale {
        return scale::check_type(&decoded.value);
    }
    let mut object = decoded.value.clone();
    object::check_type(target, &mut object, Came::Whole)?;
    object::shape(target, &mut object, &decoded.duplicates, write.validation, Came::Whole)?;
    let metadata = object::metadata_mut(&mut object)?;
    meta::check_name(metadata, &target.name)?;
    Ok(meta::fill_namespace(metadata, target.namespace())?)
}

/// What an update makes of an object.
struct Next {
    shown: Stored,
    /// `None` when nothing changes.
    change: Option<Change>,
    warnings: Vec<String>,
}

/// The state that an update starts from.
struct Old<'t> {
    /// As this version of the kind shows it.
    stored: Stored,
    /// As it lies in the store.
    before: Stored,
    metadata: Map<'t>,
    index: Vec<Bytes>,
    /// Kept whole only where a rule looks at it, or a path changes only a part.
    object: Option<Value<'t>>,
    status: Option<Value<'t>>,
}

impl<'t> Old<'t> {
    fn of(
        server: &Server,
        target: &Target,
        object: &Value<'t>,
        stored: &Stored,
        before: Stored,
    ) -> Result<Self, Failure> {
        let (resource, version) = (&target.resource, target.version());
        let custom = resource.rules.special == Special::Custom;
        let whole = matches!(target.subresource, Subresource::None | Subresource::Scale);
        Ok(Old {
            stored: stored.clone(),
            before,
            metadata: object::metadata(object)?.clone(),
            index: object::index_entries(resource, &target.namespace, &target.name, object),
            status: object.get("status").filter(|_| version.status && whole).cloned(),
            object: (!custom || !whole || !server.hooks.is_empty()).then(|| object.clone()),
        })
    }
}

async fn next(
    server: &Server,
    target: &Target,
    entry: &Entry,
    mut edit: Edit<'_>,
    write: WriteOptions,
    request: Request<'_>,
) -> Result<Next, Failure> {
    let version = target.version();
    let before = Stored::read(entry.value.clone())?;
    let shown = render::current(version, &before)?.into_owned();
    let text = shown.object(&version.opening, entry.modified);
    let object = text.value()?;
    let old = Old::of(server, target, &object, &shown, before)?;
    let came = edit.came();
    let duplicates = edit.take_duplicates();
    let (mut new, tracking) = edited(target, object, entry.modified, edit, write, request)?;
    object::check_type(target, &mut new, came)?;
    let mut warnings = shaped(target, &mut new, tracking, duplicates, write, came)?;
    if tracking == Tracking::ToDo {
        let managed = old.metadata.get("managedFields");
        tracking::updated(target, request, managed, || text.value(), &mut new)?;
    }
    let requested = requested_revision(&new)?;
    let other_uid = settle(target, &old, &mut new, came)?;
    let admission = Admission {
        server,
        target,
        request,
        operation: Operation::Update,
        dry_run: write.dry_run,
    };
    let (more, mutated) = admission.mutate(old.object.as_ref(), &mut new).await?;
    warnings.extend(more);
    if mutated {
        // Nor may a hook change what this path may not.
        settle(target, &old, &mut new, came)?;
    }
    escalation::check(server, request.user, target, &new, old.object.as_ref()).await?;
    check_revision(target, requested, entry.modified)?;
    let mut prepared = kinds::prepare_update(server, target, old.object.as_ref(), &mut new)?;
    let mut errors = std::mem::take(&mut prepared.errors);
    errors.extend(other_uid);
    object::validate(target, &new, errors, Some(&old.metadata))?;
    warnings.extend(admission.validate(old.object.as_ref(), Some(&new)).await?);
    warnings.extend(object::metadata_warnings(&target.resource, &new, Some(&old.metadata)));
    let (shown, change) = outcome(target, entry, old, new, prepared)?;
    Ok(Next {
        shown,
        change,
        warnings,
    })
}

/// What is shown of an object that every rule lets pass, and what is to be written.
fn outcome<'t>(
    target: &Target,
    entry: &Entry,
    old: Old<'t>,
    mut new: Value<'t>,
    prepared: More,
) -> Result<(Stored, Option<Change>), Failure> {
    let (resource, version) = (&target.resource, target.version());
    let draft = Draft::new(object::members(&new)?);
    if draft.same_rest(&old.stored) {
        tracking::keep_times(&old.metadata, object::metadata_mut(&mut new)?);
    } else if resource.rules.generation && target.subresource != Subresource::Status {
        meta::bump_generation(object::metadata_mut(&mut new)?);
    }
    let metadata = object::metadata(&new)?;
    let stored = if version.stamp == version.stored_stamp {
        draft.finish(version.stamp, metadata)
    } else {
        object::to_store(target, &new)?
    };
    // That the schema is another one by now is no change, unless it brings the object into another form.
    let unchanged = match version.kept {
        Kept::Own => stored.same_object(&old.before),
        Kept::CoreEvent => stored.same_object(&old.stored) && old.before.stamp() == version.stamp,
    };
    let gone = meta::is_being_deleted(metadata)
        && meta::finalizers(metadata).next().is_none()
        && kinds::may_go(resource, &new);
    if unchanged && !gone {
        return Ok((old.stored, None));
    }
    let mut change = Change {
        removed_uid: None,
        key: entry.key.clone(),
        object: Compare::Modified(entry.key.clone(), entry.modified),
        namespace: None,
        value: None,
        index_before: old.index,
        index_after: Vec::new(),
        more: Vec::new(),
        claims: Vec::new(),
    };
    if gone {
        change.removed_uid = Some(meta::text(metadata, "uid").to_owned());
        change.more = kinds::removal_writes(resource, &target.name);
    } else {
        change.value = Some(stored.clone());
        let read = object::as_read(target, &new);
        change.index_after = object::index_entries(resource, &target.namespace, &target.name, &read);
        change.more = prepared.writes;
        change.claims = prepared.claims;
    }
    Ok((stored, Some(change)))
}

/// Drops or refuses what the kind does not have, and completes the rest; the warnings of that.
fn shaped(
    target: &Target,
    new: &mut Value<'_>,
    tracking: Tracking,
    duplicates: Vec<String>,
    write: WriteOptions,
    came: Came,
) -> Result<Vec<String>, Failure> {
    if tracking == Tracking::Applied {
        object::shape(target, new, &[], Validation::Ignore, came)?;
        return applied_warnings(duplicates, write);
    }
    object::shape(target, new, &duplicates, write.validation, came)
}

/// Whether it is settled who owns what after an edit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracking {
    ToDo,
    /// Through a `Scale`.
    Done,
    /// By an apply.
    Applied,
}

/// What an edit makes of an object, before the rules of the kind are looked at.
fn edited<'t>(
    target: &Target,
    object: Value<'t>,
    revision: Revision,
    edit: Edit<'t>,
    write: WriteOptions,
    request: Request<'_>,
) -> Result<(Value<'t>, Tracking), Failure> {
    if target.subresource == Subresource::Scale {
        let new = scale::edit(target, object, revision, edit, write, request)?;
        return Ok((new, Tracking::Done));
    }
    if let Edit::Patch(Patch::Apply(config)) = &edit {
        let new = tracking::applied(target, request, object, &config.value, write.force)?;
        return Ok((new, Tracking::Applied));
    }
    let new = edit.apply(object, target.version().schema.type_of_root())?;
    Ok((new, Tracking::ToDo))
}

/// What is said of keys that stand twice in what is applied.
pub(crate) fn applied_warnings(duplicates: Vec<String>, write: WriteOptions) -> Result<Vec<String>, Failure> {
    match write.validation {
        _ if duplicates.is_empty() => Ok(duplicates),
        Validation::Ignore => Ok(Vec::new()),
        Validation::Warn => Ok(duplicates),
        Validation::Strict => {
            let why = format!("error strict decoding YAML: {}", duplicates.join(", "));
            Err(Status::bad_request(why).into())
        }
    }
}

/// Restores what this path may not change. In a patch another uid is one more error of the object; in a body it is a
/// precondition that fails.
fn settle<'t>(target: &Target, old: &Old<'t>, new: &mut Value<'t>, came: Came) -> Result<Option<FieldError>, Failure> {
    let resource = &target.resource;
    if let Some(place) = target.subresource.place() {
        let part = place.iter().try_fold(&*new, |value, name| value.get(name)).cloned();
        meta::check_name(object::metadata(new)?, &target.name)?;
        let sent = std::mem::take(object::metadata_mut(new)?);
        let mut object = old.object.clone().ok_or(crate::codec::Damaged)?;
        object::replace_at(&mut object, place, part);
        let metadata = object::metadata_mut(&mut object)?;
        *metadata = metadata_through_part(target, std::mem::take(metadata), sent);
        *new = object;
    } else if target.version().status {
        let members = new.as_object_mut().ok_or(crate::codec::Damaged)?;
        match &old.status {
            Some(status) => members.insert("status", status.clone()),
            None => members.remove("status"),
        };
    }
    let metadata = object::metadata_mut(new)?;
    let uid = meta::text(metadata, "uid");
    let other_uid = (came != Came::Whole && !uid.is_empty() && uid != meta::text(&old.metadata, "uid"))
        .then(|| FieldError::invalid("metadata.uid", uid, "field is immutable"));
    if other_uid.is_some() {
        metadata.remove("uid");
    }
    meta::prepare_update(&resource.id, &old.metadata, metadata)?;
    Ok(other_uid)
}

/// The metadata after a write to a part of an object. Of custom resources and a few kinds nothing in it can be changed so, but
/// who owns what; of most built-in kinds all but a few members can.
fn metadata_through_part<'t>(target: &Target, old: Map<'t>, mut sent: Map<'t>) -> Map<'t> {
    let restored = match tracking::restored_metadata(target) {
        Restored::Members(names) => names,
        Restored::All => {
            let mut kept = old;
            match sent.remove("managedFields") {
                Some(managed) => kept.insert("managedFields", managed),
                None => kept.remove("managedFields"),
            };
            return kept;
        }
    };
    for name in restored {
        match old.get(name) {
            Some(value) => sent.insert(*name, value.clone()),
            None => sent.remove(name),
        };
    }
    sent
}

/// The revision that the client says it has seen; none for the empty one and "0".
fn requested_revision(new: &Value<'_>) -> Result<Option<Revision>, Failure> {
    let text = meta::text(object::metadata(new)?, "resourceVersion");
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let revision = text
        .parse()
        .map_err(|_| Status::bad_request("metadata.resourceVersion is not a number"))?;
    Ok(Some(Revision(revision)))
}

fn check_revision(target: &Target, requested: Option<Revision>, current: Revision) -> Result<(), Failure> {
    let id: &gvk::Resource = &target.resource.id;
    match requested {
        Some(requested) if requested == current => Ok(()),
        Some(_) => Err(Status::conflict(id, &target.name).into()),
        None if target.resource.rules.unconditional_update => Ok(()),
        None => Err(Status::invalid_resource(id, &target.name, vec![meta::resource_version_required()]).into()),
    }
}

fn answer(
    target: &Target,
    shown: &Stored,
    revision: Revision,
    warnings: Vec<String>,
    request: Request<'_>,
) -> Result<Response<Body>, Failure> {
    let mut out = Vec::with_capacity(shown.len() + 128);
    if target.subresource == Subresource::Scale {
        scale::write(target, shown, revision, &mut out)?;
    } else {
        let view = View {
            resource: &target.resource,
            version: target.version(),
            form: request.wanted.form,
            include: include(request.query)?,
        };
        view.object(shown, Some(revision), true, &mut out)?;
    }
    let mut all = deprecation(target);
    all.extend(warnings);
    render::answer(StatusCode::OK, out, request.wanted.encoding, &all)
}
