//! Create.

use apimachinery::field::FieldError;
use apimachinery::json::Value;
use apimachinery::meta::{self, Create};
use apimachinery::status::Status;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use objectstore::Compare;

use super::admit::Admission;
use super::commit::{self, Change, Committed};
use super::object::{self, Came};
use super::options::{self, Patch, Validation, WriteOptions};
use super::update::applied_warnings;
use super::{kinds, tracking};
use crate::admission::Operation;
use crate::auth::{UserInfo, escalation};
use crate::body::Body;
use crate::builtin::Special;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::negotiate::Wanted;
use crate::query::Query;
use crate::read::{deprecation, include};
use crate::render::{self, View};
use crate::server::Server;
use crate::target::Target;

/// How often a create is tried when a generated name is taken or its surroundings have changed.
const ATTEMPTS: usize = 8;

/// A request to create, with everything that it came with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'r> {
    pub(crate) headers: &'r HeaderMap,
    pub(crate) body: &'r Bytes,
    pub(crate) query: &'r Query<'r>,
    pub(crate) wanted: Wanted,
    pub(crate) creates: Creates,
    /// Who sends it.
    pub(crate) user: &'r UserInfo,
}

/// Whether it is kept who owns which fields of new objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creates {
    Tracked,
    /// From the first apply on.
    Untracked,
}

/// Where a new object comes from.
#[derive(Clone, Copy)]
enum Source<'n> {
    /// The body of a POST.
    Posted,
    /// That of a PUT; the name of the path must be its.
    Put(&'n str),
    /// What is applied to nothing.
    Applied(&'n str),
}

impl<'n> Source<'n> {
    /// The name that the object must have.
    fn name(self) -> Option<&'n str> {
        match self {
            Source::Posted => None,
            Source::Put(name) | Source::Applied(name) => Some(name),
        }
    }
}

/// POST on a collection.
pub(crate) async fn create(server: &Server, target: &Target, request: Request<'_>) -> Result<Response<Body>, Failure> {
    let write = WriteOptions::parse("CreateOptions", request.query)?;
    make(server, target, request, write, Source::Posted).await
}

/// Creates what is applied to a name that nothing has.
pub(crate) async fn create_applied(
    server: &Server,
    target: &Target,
    request: Request<'_>,
    write: WriteOptions,
) -> Result<Response<Body>, Failure> {
    make(server, target, request, write, Source::Applied(&target.name)).await
}

/// Creates the object of the body; by a PUT its name must be the one of the path.
pub(crate) async fn create_named(
    server: &Server,
    target: &Target,
    request: Request<'_>,
    write: WriteOptions,
    name: Option<&str>,
) -> Result<Response<Body>, Failure> {
    make(server, target, request, write, name.map_or(Source::Posted, Source::Put)).await
}

async fn make(
    server: &Server,
    target: &Target,
    request: Request<'_>,
    write: WriteOptions,
    source: Source<'_>,
) -> Result<Response<Body>, Failure> {
    let mut target = target.clone();
    for attempt in 1..=ATTEMPTS {
        let (new, change) = prepare(server, &target, request, write, source).await?;
        if write.dry_run {
            if let Some(entry) = server.store.get(change.key, None).await? {
                return Err(taken(&target, &new.name, &Stored::read(entry.value)?)?.into());
            }
            return answer(&target, &new, None, request);
        }
        match commit::commit(server, &target, change).await? {
            Committed::At(revision) => {
                kinds::created(server, &target, &new.name).await?;
                return answer(&target, &new, Some(revision), request);
            }
            Committed::Object(Some(_)) if new.generated && attempt < ATTEMPTS => {}
            Committed::Object(Some(_)) if new.generated => {
                return Err(Status::generate_name_exhausted(&target.resource.id, &new.name).into());
            }
            Committed::Object(Some(entry)) => {
                return Err(taken(&target, &new.name, &Stored::read(entry.value)?)?.into());
            }
            Committed::Object(None) | Committed::Namespace | Committed::Claim(None) => {}
            Committed::Claim(Some(error)) => return Err(invalid(&target, &new.name, error).into()),
            Committed::Definition => target = commit::again(server, &target)?,
        }
    }
    Err(Status::unavailable("the namespace or the definition of the resource keeps changing").into())
}

fn invalid(target: &Target, name: &str, error: FieldError) -> Status {
    Status::invalid(&target.resource.kind, name, vec![error])
}

/// A new object, ready to be stored.
struct New {
    name: String,
    generated: bool,
    stored: Stored,
    warnings: Vec<String>,
}

async fn prepare(
    server: &Server,
    target: &Target,
    request: Request<'_>,
    write: WriteOptions,
    source: Source<'_>,
) -> Result<(New, Change), Failure> {
    let resource = &target.resource;
    options::check_object_type(request.headers, resource.definition.is_some())?;
    let name = source.name();
    let (mut object, duplicates) = decoded(target, request, write, source)?;
    if resource
        .definition
        .as_ref()
        .is_some_and(|definition| definition.terminating)
    {
        let name = given_name(&object);
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::forbidden(&resource.id, name, why).into());
    }
    let namespace = if resource.namespaced {
        let name = given_name(&object);
        let admitted = server
            .namespaces
            .admit(&server.store, &target.namespace, &resource.id, name)
            .await?;
        Some(admitted)
    } else {
        None
    };
    object::check_type(target, &mut object, Came::Whole)?;
    let mut warnings = if let Source::Applied(_) = source {
        object::shape(target, &mut object, &[], Validation::Ignore, Came::Applied)?;
        applied_warnings(duplicates, write)?
    } else {
        object::shape(target, &mut object, &duplicates, write.validation, Came::Whole)?
    };
    let admission = Admission {
        server,
        target,
        request,
        operation: Operation::Create,
        dry_run: write.dry_run,
    };
    warnings.extend(admission.mutate(None, &mut object).await?.0);
    escalation::check(server, request.user, target, &object, None).await?;
    let seen = meta::text(object::metadata(&object)?, "resourceVersion");
    if name.is_some() && !seen.is_empty() && seen.parse::<u64>().is_err() {
        return Err(Status::bad_request("metadata.resourceVersion is not a number").into());
    }
    let seen = seen.parse::<u64>();
    if !matches!(source, Source::Applied(_)) {
        tracking::created(target, request, &mut object)?;
    }
    let generated = fill_in(target, &mut object, name)?;
    let more = kinds::prepare_create(server, target, &mut object, request.user)?;
    object::validate(target, &object, more.errors, None)?;
    warnings.extend(admission.validate(None, Some(&object)).await?);
    // In a PUT it says nothing, since there is no object.
    if name.is_none() && !write.dry_run && seen.is_ok_and(|revision| revision > 0) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created").into());
    }
    warnings.extend(object::metadata_warnings(resource, &object, None));
    let metadata = object::metadata(&object)?;
    let name = meta::text(metadata, "name").to_owned();
    let stored = object::to_store(target, &object)?;
    let key = target.key_of(&name);
    let change = Change {
        object: Compare::Absent(key.clone()),
        key,
        namespace,
        value: Some(stored.clone()),
        index_before: Vec::new(),
        index_after: object::index_entries(resource, &target.namespace, &name, &object::as_read(target, &object)),
        more: more.writes,
        claims: more.claims,
        removed_uid: None,
    };
    Ok((
        New {
            name,
            generated,
            stored,
            warnings,
        },
        change,
    ))
}

/// What the request says, and the keys that stand twice in it.
fn decoded<'r>(
    target: &Target,
    request: Request<'r>,
    write: WriteOptions,
    source: Source<'_>,
) -> Result<(Value<'r>, Vec<String>), Failure> {
    if !matches!(source, Source::Applied(_)) {
        let decoded = options::decode(request.headers, request.body)?;
        return Ok((decoded.value, decoded.duplicates));
    }
    let Patch::Apply(config) = options::decode_patch(request.headers, request.body)? else {
        return Err(Status::bad_request("nothing is applied").into());
    };
    let object = tracking::applied(target, request, tracking::empty(target), &config.value, write.force)?;
    Ok((object, config.duplicates))
}

/// The name that a body gives, before anything is known of its form.
fn given_name<'v>(object: &'v Value<'_>) -> &'v str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What the server puts into a new object. Whether its name was generated.
fn fill_in(target: &Target, object: &mut Value<'_>, name: Option<&str>) -> Result<bool, Failure> {
    if target.version().status
        && !matches!(target.resource.rules.special, Special::Namespace | Special::Node)
        && let Some(members) = object.as_object_mut()
    {
        members.remove("status");
    }
    let metadata = object::metadata_mut(object)?;
    if let Some(name) = name {
        meta::check_name(metadata, name)?;
        let uid = meta::text(metadata, "uid");
        if !uid.is_empty() {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: ");
            return Err(Status::conflict_because(&target.resource.id, name, &why).into());
        }
    }
    let generated = meta::text(metadata, "name").is_empty() && !meta::text(metadata, "generateName").is_empty();
    let mut random = random_numbers();
    meta::prepare_create(
        metadata,
        &mut Create {
            namespace: target.namespace().filter(|_| target.resource.namespaced),
            uid: &uuid::Uuid::new_v4().to_string(),
            now: Timestamp::now(),
            has_generation: target.resource.rules.generation,
            random: &mut random,
        },
    )?;
    Ok(generated)
}

/// Random numbers, as good as those of a random uuid.
fn random_numbers() -> impl FnMut() -> u32 {
    || (uuid::Uuid::new_v4().as_u128() & u128::from(u32::MAX)) as u32
}

fn taken(target: &Target, name: &str, existing: &Stored) -> Result<Status, Failure> {
    let deleting = meta::is_being_deleted(&existing.metadata().members()?);
    let id = &target.resource.id;
    Ok(if deleting {
        Status::being_deleted(id, name)
    } else {
        Status::already_exists(id, name)
    })
}

fn answer(
    target: &Target,
    new: &New,
    revision: Option<objectstore::Revision>,
    request: Request<'_>,
) -> Result<Response<Body>, Failure> {
    let view = View {
        resource: &target.resource,
        version: target.version(),
        form: request.wanted.form,
        include: include(request.query)?,
    };
    let mut out = Vec::with_capacity(new.stored.len() + 128);
    view.object(&new.stored, revision, true, &mut out)?;
    let mut warnings = deprecation(target);
    warnings.extend(new.warnings.iter().cloned());
    render::answer(StatusCode::CREATED, out, request.wanted.encoding, &warnings)
}
