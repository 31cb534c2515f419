//! Who owns which fields of an object: `metadata.managedFields` of every write.
//!
//! An object whose creation was not tracked ([`crate::Service::untracked`]) stays so until somebody applies to it, and then a
//! write costs nothing here but a look.

use std::borrow::Cow;
use std::sync::LazyLock;

use apimachinery::fields::FieldSet;
use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::managed::{
    self, ApplyError, Conflict, Managed, Manager, Operation, ScaleFields, State, Versions, Writing,
};
use apimachinery::meta;
use apimachinery::schema::{StructuralSchema, Type};
use apimachinery::status::Status;
use jiff::Timestamp;

use super::create::{Creates, Request};
use super::object;
use crate::builtin::Special;
use crate::codec::Damaged;
use crate::failure::Failure;
use crate::registry::Resource;
use crate::target::{Subresource, Target};

const MANAGED_FIELDS: &str = "managedFields";

/// Most bytes of a manager's name.
const LONGEST_MANAGER: usize = 128;

/// Who sends a request: what it says, or else the program's name of the User-Agent.
fn manager(request: Request<'_>) -> String {
    if let Some(manager) = request
        .query
        .first("fieldManager")
        .filter(|manager| !manager.is_empty())
    {
        return manager.to_owned();
    }
    let agent = request.headers.get(http::header::USER_AGENT);
    let agent = agent.map_or(Cow::Borrowed(""), |agent| String::from_utf8_lossy(agent.as_bytes()));
    let mut name = String::new();
    let program = agent.split('/').next().unwrap_or_default();
    for c in program.chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > LONGEST_MANAGER {
            break;
        }
        name.push(c);
    }
    name
}

/// Whether a character may stand in a manager's name.
pub(crate) fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace())
}

/// The versions of a resource, as far as field ownership cares.
struct OfResource<'r>(&'r Resource);

impl Versions for OfResource<'_> {
    fn type_in(&self, api_version: &str) -> Option<Type<'_>> {
        let mut versions = self.0.versions.iter();
        match versions.find(|version| version.api_version == api_version) {
            Some(version) => Some(version.schema.type_of_root()),
            None if self.is_of_events() => event_type(api_version),
            None => None,
        }
    }

    fn convert<'t>(&self, object: &Value<'t>, api_version: &str) -> Value<'t> {
        let mut object = object.clone();
        if self.is_of_events() {
            match api_version {
                CORE_EVENTS => ::kinds::events::to_core(&mut object),
                _ => ::kinds::events::from_core(&mut object),
            }
            return object;
        }
        let mut versions = self.0.versions.iter();
        if let Some(version) = versions.find(|version| version.api_version == api_version) {
            version.schema.prune(&mut object);
            if let Some(members) = object.as_object_mut() {
                members.insert("apiVersion", api_version.to_owned());
            }
        }
        object
    }
}

impl OfResource<'_> {
    /// Whether the objects are Events, which two groups show.
    fn is_of_events(&self) -> bool {
        self.0.rules.special == Special::Event
    }
}

const CORE_EVENTS: &str = "v1";

/// The type of Events in one of their two groups.
fn event_type(api_version: &str) -> Option<Type<'static>> {
    static TYPES: LazyLock<Vec<(&str, StructuralSchema)>> = LazyLock::new(|| {
        let groups = [("", CORE_EVENTS), ("events.k8s.io", "events.k8s.io/v1")].into_iter();
        groups
            .filter_map(|(group, api_version)| {
                let event = ::kinds::kind(group, "v1", "Event")?;
                Some((api_version, event.object_type().schema()))
            })
            .collect()
    });
    let (_, schema) = TYPES.iter().find(|(known, _)| *known == api_version)?;
    Some(schema.type_of_root())
}

/// The one version of `Scale`.
struct OfScale;

const SCALE: &str = "autoscaling/v1";

static SCALE_SCHEMA: LazyLock<StructuralSchema> = LazyLock::new(|| {
    let openapi = serde_json::json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }});
    StructuralSchema::from_openapi(&openapi, "").expect("the schema of Scale is structural")
});

impl Versions for OfScale {
    fn type_in(&self, api_version: &str) -> Option<Type<'_>> {
        (api_version == SCALE).then(|| SCALE_SCHEMA.type_of_root())
    }

    fn convert<'t>(&self, object: &Value<'t>, _: &str) -> Value<'t> {
        object.clone()
    }
}

/// What of an object's metadata a write to a part of it leaves as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// Everything.
    All,
    /// These members.
    Members(&'static [&'static str]),
}

/// What a write through the path of a part leaves of the metadata.
pub(crate) fn restored_metadata(target: &Target) -> Restored {
    let id = &target.resource.id;
    match (target.subresource, id.group.as_str(), id.plural.as_str()) {
        _ if target.resource.rules.special == Special::Custom => Restored::All,
        (Subresource::Status, "apps", "deployments") => Restored::Members(&["labels"]),
        (Subresource::EphemeralContainers, ..) => Restored::All,
        (Subresource::Status, "", "pods") => Restored::Members(&["deletionTimestamp", "ownerReferences"]),
        (Subresource::Status, "flowcontrol.apiserver.k8s.io" | "resource.k8s.io", _)
        | (Subresource::Status, "storage.k8s.io", "volumeattachments")
        | (Subresource::Status, "networking.k8s.io", "servicecidrs")
        | (Subresource::Status, "admissionregistration.k8s.io", "validatingadmissionpolicies") => Restored::All,
        _ => Restored::Members(&[]),
    }
}

/// What a path does not write, whatever a body says of it.
fn reset(target: &Target) -> &'static FieldSet<'static> {
    type Set = LazyLock<FieldSet<'static>>;
    static STATUS: Set = LazyLock::new(|| FieldSet::of_names(&[&["status"]]));
    static SPEC: Set = LazyLock::new(|| FieldSet::of_names(&[&["spec"]]));
    static ALL_BUT_STATUS: Set = LazyLock::new(|| FieldSet::of_names(&[&["metadata"], &["spec"]]));
    static SPEC_AND_LABELS: Set = LazyLock::new(|| FieldSet::of_names(&[&["spec"], &["metadata", "labels"]]));
    static SPEC_AND_OWNERS: Set = LazyLock::new(|| {
        FieldSet::of_names(&[
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"],
        ])
    });
    static SPEC_AND_CERTIFICATE: Set = LazyLock::new(|| FieldSet::of_names(&[&["spec"], &["status", "certificate"]]));
    static NOTHING: FieldSet<'static> = FieldSet::new();
    match target.subresource {
        Subresource::Status => match restored_metadata(target) {
            Restored::All => &ALL_BUT_STATUS,
            Restored::Members([]) => &SPEC,
            Restored::Members(["labels"]) => &SPEC_AND_LABELS,
            Restored::Members(_) => &SPEC_AND_OWNERS,
        },
        Subresource::Approval => &SPEC_AND_CERTIFICATE,
        Subresource::None | Subresource::Finalize | Subresource::EphemeralContainers if target.version().status => {
            &STATUS
        }
        _ => &NOTHING,
    }
}

/// Takes the managed fields out of an object.
fn take<'t>(object: &mut Value<'t>) -> Result<Option<Value<'t>>, Damaged> {
    Ok(object::metadata_mut(object)?.remove(MANAGED_FIELDS))
}

fn put<'t>(object: &mut Value<'t>, managed: &Managed<'t>) -> Result<(), Damaged> {
    if let Some(list) = managed.to_value() {
        object::metadata_mut(object)?.insert(MANAGED_FIELDS, list);
    }
    Ok(())
}

/// What an object of this kind is before anybody has said anything: a built-in kind has some members in any case.
pub(crate) fn empty(target: &Target) -> Value<'static> {
    let (resource, version) = (&target.resource, target.version());
    let mut object = json!({});
    if let Some(facts) = version.facts {
        // What Go writes of an object of which nothing is said.
        object = json!({"metadata": {}});
        drop(facts.object_type().shape(&mut object));
    }
    if let Some(members) = object.as_object_mut() {
        members.insert("apiVersion", version.api_version.clone());
        members.insert("kind", resource.kind.kind.clone());
    }
    object
}

fn now() -> String {
    meta::format_timestamp(Timestamp::now())
}

/// Makes the sender the owner of all that a new object says. Must come before the server fills it in.
pub(crate) fn created<'t>(target: &Target, request: Request<'_>, object: &mut Value<'t>) -> Result<(), Failure> {
    let given = take(object)?;
    if request.creates == Creates::Untracked {
        return Ok(());
    }
    // How long it may take to be deleted is not for its creator to say, and nobody's.
    object::metadata_mut(object)?.remove("deletionGracePeriodSeconds");
    let base = given.filter(|given| !managed::is_reset(given));
    let base = Managed::parse(base.as_ref()).unwrap_or_default();
    let managed = change(target, request, &empty(target), &seen(target, object), base, true);
    Ok(put(object, &managed)?)
}

/// Makes the sender the owner of what an update changes. `live` reads the object as it is; `new` is what it becomes, as it
/// was sent or patched.
pub(crate) fn updated<'t>(
    target: &Target,
    request: Request<'_>,
    live_managed: Option<&Value<'t>>,
    live: impl FnOnce() -> Result<Value<'t>, Damaged>,
    new: &mut Value<'t>,
) -> Result<(), Failure> {
    let given = take(new)?;
    if new.get("kind").and_then(Value::as_str) != Some(&target.resource.kind.kind) {
        // Of an object of another kind nothing can be said, also where only a part of it is taken.
        return Ok(());
    }
    // Through a part of an object nobody changes who owns what.
    let given = given.filter(|_| target.subresource == Subresource::None);
    if given.is_none() && live_managed.is_none() {
        return Ok(());
    }
    let base = match &given {
        Some(given) if managed::is_reset(given) => return Ok(()),
        given => Managed::parse(given.as_ref())
            .ok()
            .filter(|managed| !managed.is_empty()),
    };
    let base = base.unwrap_or_else(|| Managed::parse(live_managed).unwrap_or_default());
    if base.is_empty() {
        return Ok(());
    }
    let mut live = live()?;
    take(&mut live)?;
    let mut read = seen(target, new);
    let is_part = matches!(
        target.subresource,
        Subresource::Status | Subresource::EphemeralContainers
    );
    if is_part
        && restored_metadata(target) == Restored::All
        && let Some(metadata) = live.get("metadata").cloned()
        && let Some(members) = read.to_mut().as_object_mut()
    {
        // It is put back, so that it may be wrong in what was sent.
        members.insert("metadata", metadata);
    }
    let managed = change(target, request, &live, &read, base, false);
    Ok(put(new, &managed)?)
}

/// An object without the empty maps of data that it keeps only until the rules of its kind have been looked at.
fn seen<'o, 't>(target: &Target, object: &'o Value<'t>) -> Cow<'o, Value<'t>> {
    let is_of_data = matches!(target.resource.rules.special, Special::ConfigMap | Special::Secret);
    let is_empty = |name: &&str| object.get(name).and_then(Value::as_object).is_some_and(Map::is_empty);
    let empty = ["data", "binaryData"]
        .into_iter()
        .filter(|name| is_of_data && is_empty(name));
    empty.fold(Cow::Borrowed(object), |object, name| {
        let mut object = object.into_owned();
        object.as_object_mut().and_then(|members| members.remove(name));
        Cow::Owned(object)
    })
}

fn change<'t>(
    target: &Target,
    request: Request<'_>,
    live: &Value<'t>,
    new: &Value<'t>,
    base: Managed<'t>,
    starts: bool,
) -> Managed<'t> {
    let api_version = &target.version().api_version;
    let sender = Manager::new(
        manager(request),
        Operation::Update,
        api_version.clone(),
        target.subresource.as_str(),
    );
    let writing = Writing {
        versions: &OfResource(&target.resource),
        api_version,
        reset: reset(target),
        now: &now(),
    };
    managed::update(&writing, live, new, base, sender, starts)
}

/// The object with what is applied to it, and with its managed fields; not defaulted yet.
pub(crate) fn applied<'t>(
    target: &Target,
    request: Request<'_>,
    mut live: Value<'t>,
    config: &Value<'t>,
    force: bool,
) -> Result<Value<'t>, Failure> {
    let api_version = &target.version().api_version;
    check_config(config, api_version, &target.resource.kind.kind)?;
    let managed = match meta::of_mut(&mut live).and_then(|metadata| metadata.remove(MANAGED_FIELDS)) {
        None => Managed::new(),
        Some(list) => Managed::parse(Some(&list)).unwrap_or_default(),
    };
    let sender = Manager::new(manager(request), Operation::Apply, "", target.subresource.as_str());
    let writing = Writing {
        versions: &OfResource(&target.resource),
        api_version,
        reset: reset(target),
        now: &now(),
    };
    let state = State {
        empty: &empty(target),
        live: &live,
        managed,
    };
    finish(managed::apply(&writing, state, config, sender, force), target)
}

fn finish<'t>(applied: Result<managed::Applied<'t>, ApplyError<'t>>, target: &Target) -> Result<Value<'t>, Failure> {
    let managed::Applied { mut object, managed } = applied.map_err(|error| refusal(error, target))?;
    if meta::of(&object).is_none()
        && let Some(members) = object.as_object_mut()
    {
        members.insert("metadata", Map::new());
    }
    put(&mut object, &managed)?;
    Ok(object)
}

fn check_config(config: &Value<'_>, api_version: &str, kind: &str) -> Result<(), Status> {
    let is = |name: &str, expected: &str| config.get(name).is_some_and(|given| given == expected);
    if !is("apiVersion", api_version) || !is("kind", kind) {
        return Err(Status::bad_request(format!(
            "invalid object type: the applied configuration must be of {api_version}, kind {kind}"
        )));
    }
    let given = config.pointer("/metadata/managedFields");
    if given.is_some_and(|given| !given.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// What does not fit the type is the client's fault; a real server answers 500.
fn refusal(error: ApplyError<'_>, target: &Target) -> Status {
    let (what, errors) = match &error {
        ApplyError::Conflicts(conflicts) => return Conflict::status(conflicts),
        ApplyError::Config(errors) => ("patch", errors),
        ApplyError::Live(errors) => ("live", errors),
    };
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let name = match target.namespace() {
        Some(namespace) => format!("{namespace}/{}", target.name),
        None => format!("/{}", target.name),
    };
    let (version, kind) = (&target.version().api_version, &target.resource.kind.kind);
    Status::bad_request(format!(
        "failed to create typed {what} object ({name}; {version}, Kind={kind}): {}",
        errors.join(", ")
    ))
}

/// How a `Scale` is changed.
#[derive(Debug)]
pub(crate) enum ScaleEdit<'e, 't> {
    /// It was replaced or patched: the new one.
    Made(Value<'t>),
    /// Something is applied to it.
    Apply(&'e Value<'t>),
}

/// The `Scale` after an edit, and the managed fields of its object then: `None` when it is not tracked.
pub(crate) fn scaled<'t>(
    target: &Target,
    request: Request<'_>,
    object: &Value<'t>,
    scale: Value<'t>,
    edit: ScaleEdit<'_, 't>,
    force: bool,
) -> Result<(Value<'t>, Option<Value<'t>>), Failure> {
    let whole = Managed::parse(object::metadata(object)?.get(MANAGED_FIELDS)).unwrap_or_default();
    let versions = target.resource.versions.iter();
    let fields = ScaleFields {
        api_version: &target.version().api_version,
        paths: versions
            .map(|version| {
                let path = version.scale.as_ref().map(|scale| scale.spec_replicas_path.as_str());
                (version.api_version.as_str(), path)
            })
            .collect(),
    };
    let writing = Writing {
        versions: &OfScale,
        api_version: SCALE,
        reset: &FieldSet::new(),
        now: &now(),
    };
    let base = fields.of_scale(&whole);
    let (after, managed) = match edit {
        ScaleEdit::Made(mut after) => {
            if let Some(metadata) = meta::of_mut(&mut after) {
                metadata.remove(MANAGED_FIELDS);
            }
            SCALE_SCHEMA.prune(&mut after);
            let sender = Manager::new(manager(request), Operation::Update, SCALE, target.subresource.as_str());
            let managed = managed::update(&writing, &scale, &after, base, sender, false);
            (after, managed)
        }
        ScaleEdit::Apply(config) => {
            check_config(config, SCALE, "Scale")?;
            let sender = Manager::new(manager(request), Operation::Apply, "", target.subresource.as_str());
            let empty = json!({"apiVersion": SCALE, "kind": "Scale", "metadata": {}, "spec": {}, "status": {}});
            let state = State {
                empty: &empty,
                live: &scale,
                managed: base,
            };
            let applied = managed::apply(&writing, state, config, sender, force).map_err(|e| refusal(e, target))?;
            (applied.object, applied.managed)
        }
    };
    Ok((after, fields.of_object(&whole, managed).to_value()))
}

/// Takes the times of the old managed fields where nothing else differs, in them and in the rest of the metadata: a time alone
/// is no change.
pub(crate) fn keep_times<'t>(old: &Map<'t>, new: &mut Map<'t>) {
    let (Some(before), Some(after)) = (old.get(MANAGED_FIELDS), new.get(MANAGED_FIELDS)) else {
        return;
    };
    let counts = |name: &str| !matches!(name, MANAGED_FIELDS | "resourceVersion");
    let rest = |metadata: &Map<'_>| metadata.keys().filter(|name| counts(name)).count();
    if before == after
        || !managed::same_but_times(before, after)
        || rest(old) != rest(new)
        || old
            .iter()
            .any(|(name, value)| counts(name) && new.get(name) != Some(value))
    {
        return;
    }
    let before = before.clone();
    new.insert(MANAGED_FIELDS, before);
}
