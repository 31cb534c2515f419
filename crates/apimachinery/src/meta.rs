//! `metadata` of objects: what may stand in it, what the server puts there, what may change.
//!
//! The functions work on the JSON object `metadata`. A write passes them in this order: [`decode`], then [`prepare_create`] or
//! [`prepare_update`], then [`validate_metadata`], and for an update [`validate_metadata_update`].

use jiff::Timestamp;

use crate::field::{self, FieldError};
use crate::go;
use crate::gvk::{GroupVersion, GroupVersionKind, Resource};
use crate::json::{Map, Value};
use crate::status::Status;

mod decode;
mod names;

pub use decode::{DecodeError, decode};
pub use names::{
    NameRule, dns_1035_label_problems, dns_label_problems, dns_subdomain_problems, generate_name, label_value_problems,
    path_segment_problems, qualified_name_problems,
};

/// Most bytes that all annotations of an object may have, keys and values.
pub const MAX_ANNOTATIONS_BYTES: usize = 262_144;

/// From so many errors on, labels and annotations are not looked at any more.
const MAX_ERRORS: usize = 100;

/// A point in time as metadata has it: RFC 3339, UTC, whole seconds (`2026-11-21T07:40:53Z`).
pub fn format_timestamp(time: Timestamp) -> String {
    let seconds = Timestamp::from_second(time.as_second()).unwrap_or(time);
    format!("{seconds:.0}")
}

/// Reads an RFC 3339 time.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let offset_given = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|time| time.contains(['+', '-']));
    if !offset_given || text.contains('[') {
        return None;
    }
    text.parse().ok()
}

/// A field of `metadata` that is a string; absent is the empty text.
pub fn text<'m>(meta: &'m Map<'_>, name: &str) -> &'m str {
    meta.get(name).and_then(Value::as_str).unwrap_or("")
}

/// `metadata` of an object, if it is one.
pub fn of<'m, 't>(object: &'m Value<'t>) -> Option<&'m Map<'t>> {
    object.get("metadata")?.as_object()
}

/// `metadata` of an object, put there if it is missing or null. `None` when the object, or its metadata, is something else.
pub fn of_mut<'m, 't>(object: &'m mut Value<'t>) -> Option<&'m mut Map<'t>> {
    let meta = object.as_object_mut()?.get_or_insert("metadata", Value::Null);
    if meta.is_null() {
        *meta = Value::Object(Map::new());
    }
    meta.as_object_mut()
}

/// Whether deletion has begun.
pub fn is_being_deleted(meta: &Map<'_>) -> bool {
    !text(meta, "deletionTimestamp").is_empty()
}

/// The finalizers; what is no string counts as none.
pub fn finalizers<'m, 't>(meta: &'m Map<'t>) -> impl Iterator<Item = &'m str> + use<'m, 't> {
    strings(meta.get("finalizers"))
}

fn strings<'m, 't>(list: Option<&'m Value<'t>>) -> impl Iterator<Item = &'m str> + use<'m, 't> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// What the server gives a new object.
pub struct Create<'a> {
    /// The namespace of the URL; `None` for cluster-scoped objects.
    pub namespace: Option<&'a str>,
    /// The new uid.
    pub uid: &'a str,
    /// The time of creation.
    pub now: Timestamp,
    /// Whether the kind has a `generation`; else a client's value stays.
    pub has_generation: bool,
    /// A source of random numbers for `generateName`.
    pub random: &'a mut dyn FnMut() -> u32,
}

/// Fills in what the server decides at creation, and takes away what a client may not set.
///
/// # Errors
///
/// 400 when the object is for another namespace than the URL.
pub fn prepare_create(meta: &mut Map<'_>, create: &mut Create<'_>) -> Result<(), Status> {
    fill_namespace(meta, create.namespace)?;
    for name in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        meta.remove(name);
    }
    let base = text(meta, "generateName");
    if text(meta, "name").is_empty() && !base.is_empty() {
        let name = generate_name(base, &mut *create.random);
        meta.insert("name", name);
    }
    meta.insert("uid", create.uid.to_owned());
    meta.insert("creationTimestamp", format_timestamp(create.now));
    if create.has_generation {
        meta.insert("generation", 1);
    }
    Ok(())
}

/// Puts the namespace of the URL into the metadata.
///
/// # Errors
///
/// 400 when another one stands there.
pub fn fill_namespace(meta: &mut Map<'_>, namespace: Option<&str>) -> Result<(), Status> {
    let given = text(meta, "namespace");
    match namespace {
        Some(namespace) if given.is_empty() => {
            meta.insert("namespace", namespace.to_owned());
        }
        Some(namespace) if given == namespace => {}
        None if given.is_empty() => {}
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// Whether the object is the one that the URL names.
///
/// # Errors
///
/// 400 when it has another name, or none.
pub fn check_name(meta: &Map<'_>, url_name: &str) -> Result<(), Status> {
    let name = text(meta, "name");
    if name == url_name {
        return Ok(());
    }
    if name.is_empty() {
        return Err(Status::bad_request(
            "the name of the object (based on URL) was undeterminable: name must be provided",
        ));
    }
    Err(Status::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({url_name})"
    )))
}

/// Fields that only the server changes; an update keeps the old ones, whatever the client sent.
const SYSTEM_FIELDS: [&str; 3] = ["creationTimestamp", "generation", "uid"];

/// Fields that only a deletion sets. An update may leave them out; another value breaks a rule.
const DELETION_FIELDS: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

/// Restores what an update may not change. Where the server counts generations, see [`bump_generation`].
///
/// # Errors
///
/// 400 when name or namespace are not those of the old object; 409 when the client's uid is another.
pub fn prepare_update<'t>(resource: &Resource, old: &Map<'t>, new: &mut Map<'t>) -> Result<(), Status> {
    let name = text(old, "name");
    check_name(new, name)?;
    fill_namespace(new, Some(text(old, "namespace")).filter(|ns| !ns.is_empty()))?;
    let (uid, old_uid) = (text(new, "uid"), text(old, "uid"));
    if !uid.is_empty() && uid != old_uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}");
        return Err(Status::conflict_because(resource, name, &why));
    }
    for field in SYSTEM_FIELDS {
        restore(old, new, field);
    }
    for field in DELETION_FIELDS {
        if new.get(field).is_none_or(Value::is_null) {
            restore(old, new, field);
        }
    }
    new.remove("selfLink");
    Ok(())
}

fn restore<'t>(old: &Map<'t>, new: &mut Map<'t>, field: &'static str) {
    match old.get(field) {
        Some(value) if new.get(field) == Some(value) => {}
        Some(value) => {
            new.insert(field, value.clone());
        }
        None => {
            new.remove(field);
        }
    }
}

/// Whether two states of an object differ in more than their metadata: then a generation goes up.
pub fn content_changed(old: &Value<'_>, new: &Value<'_>) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old != new;
    };
    let content = |object: &'_ Map<'_>| {
        object
            .iter()
            .filter(|(k, _)| !matches!(*k, "metadata" | "apiVersion" | "kind"))
            .count()
    };
    content(old) != content(new)
        || old
            .iter()
            .filter(|(k, _)| !matches!(*k, "metadata" | "apiVersion" | "kind"))
            .any(|(k, v)| new.get(k) != Some(v))
}

/// Adds one to the generation, if there is one.
pub fn bump_generation(meta: &mut Map<'_>) {
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64).filter(|g| *g > 0) {
        meta.insert("generation", generation.saturating_add(1));
    }
}

/// Marks an object that finalizers still hold as being deleted. Whether that changed anything: a second time it does not.
pub fn mark_deleted(meta: &mut Map<'_>, now: Timestamp) -> bool {
    if is_being_deleted(meta) {
        return false;
    }
    meta.insert("deletionTimestamp", format_timestamp(now));
    meta.insert("deletionGracePeriodSeconds", 0);
    bump_generation(meta);
    true
}

/// What a kind asks of its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataRules {
    /// Its names.
    pub name: NameRule,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether finalizers without a slash must be standard ones, as for the kinds of the core group; custom resources only draw a
    /// warning.
    pub strict_finalizers: bool,
}

/// Everything that is wrong with prepared metadata.
pub fn validate_metadata(meta: &Map<'_>, rules: MetadataRules) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_names(meta, rules, &mut errors);
    validate_labels(meta.get("labels"), "metadata.labels", &mut errors);
    validate_annotations(meta.get("annotations"), "metadata.annotations", &mut errors);
    validate_finalizers(meta, rules.strict_finalizers, &mut errors);
    if let Some(owners) = meta.get("ownerReferences").and_then(Value::as_array) {
        validate_owners(owners, &mut errors);
    }
    errors
}

/// What an update changes that must stay, or adds that must not come.
pub fn validate_metadata_update(old: &Map<'_>, new: &Map<'_>) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = ["name", "namespace", "uid", "creationTimestamp"]
        .into_iter()
        .filter(|field| text(old, field) != text(new, field))
        .map(|field| FieldError::invalid(field::child("metadata", field), text(new, field), "field is immutable"))
        .collect();
    let changed = DELETION_FIELDS.iter().filter(|field| old.get(field) != new.get(field));
    errors.extend(changed.map(|field| {
        let value = new.get(field).cloned().unwrap_or_default();
        FieldError::invalid(field::child("metadata", field), value, "field is immutable")
    }));
    if is_being_deleted(old) {
        let added: Vec<String> = finalizers(new)
            .filter(|f| !finalizers(old).any(|o| o == *f))
            .map(go::quote)
            .collect();
        if !added.is_empty() {
            let list = added.join(", ");
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
                ),
            ));
        }
    }
    errors
}

/// The error of a write that must name the revision it replaces and does not.
pub fn resource_version_required() -> FieldError {
    FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update")
}

fn validate_names(meta: &Map<'_>, rules: MetadataRules, errors: &mut Vec<FieldError>) {
    let (name, base, namespace) = (text(meta, "name"), text(meta, "generateName"), text(meta, "namespace"));
    for problem in rules.name.prefix_problems(base) {
        errors.push(FieldError::invalid("metadata.generateName", base, problem));
    }
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    }
    for problem in rules.name.problems(name).into_iter().filter(|_| !name.is_empty()) {
        errors.push(FieldError::invalid("metadata.name", name, problem));
    }
    match (rules.namespaced, namespace) {
        (true, "") => errors.push(FieldError::required("metadata.namespace", "")),
        (true, namespace) => errors.extend(
            dns_label_problems(namespace)
                .into_iter()
                .map(|p| FieldError::invalid("metadata.namespace", namespace, p)),
        ),
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
    }
}

/// Everything that is wrong with a map of labels; what is no map of strings is left to the decoder.
pub fn validate_labels(labels: Option<&Value<'_>>, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        if errors.len() >= MAX_ERRORS {
            return;
        }
        errors.extend(
            qualified_name_problems(key)
                .into_iter()
                .map(|p| FieldError::invalid(path, key, p)),
        );
        let value = value.as_str().unwrap_or("");
        errors.extend(
            label_value_problems(value)
                .into_iter()
                .map(|p| FieldError::invalid(path, value, p)),
        );
    }
}

fn validate_annotations(annotations: Option<&Value<'_>>, path: &str, errors: &mut Vec<FieldError>) {
    let mut bytes = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        let problems = if errors.len() < MAX_ERRORS {
            qualified_name_problems(&key.to_lowercase())
        } else {
            Vec::new()
        };
        errors.extend(problems.into_iter().map(|p| FieldError::invalid(path, key, p)));
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        errors.push(FieldError::too_long(path, MAX_ANNOTATIONS_BYTES as u64));
    }
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Finalizers without a domain that the API knows.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", ORPHAN, FOREGROUND];

fn is_bare(finalizer: &str) -> bool {
    !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer)
}

fn validate_finalizers(meta: &Map<'_>, strict: bool, errors: &mut Vec<FieldError>) {
    let path = "metadata.finalizers";
    for (i, finalizer) in finalizers(meta).enumerate() {
        let problems = qualified_name_problems(finalizer);
        if strict && is_bare(finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(field::index(path, i), finalizer, detail));
        }
        errors.extend(problems.into_iter().map(|p| FieldError::invalid(path, finalizer, p)));
    }
    if finalizers(meta).any(|f| f == ORPHAN) && finalizers(meta).any(|f| f == FOREGROUND) {
        let all: Vec<&str> = finalizers(meta).collect();
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.push(FieldError::invalid(path, Value::from(all), detail));
    }
}

/// What deserves a warning though it is accepted: finalizers without a domain, one owner named twice.
pub fn metadata_warnings(meta: &Map<'_>) -> Vec<String> {
    let bare = |with_domain: bool, path: &'static str| {
        let bare = finalizers(meta).filter(move |f| is_bare(f) && f.contains('.') == with_domain);
        bare.map(move |f| {
            format!(
                "metadata.finalizers: \"{f}\": prefer a domain-qualified finalizer name{path} to avoid accidental conflicts \
                 with other finalizer writers"
            )
        })
    };
    let mut warnings: Vec<String> = bare(true, " including a path (/)").chain(bare(false, "")).collect();
    let owners = meta
        .get("ownerReferences")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut seen = std::collections::BTreeMap::new();
    for (i, uid) in owners
        .iter()
        .enumerate()
        .filter_map(|(i, o)| Some((i, o.get("uid")?.as_str()?)))
    {
        if let Some(first) = seen.insert(uid, i) {
            warnings.push(format!(
                ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
                 reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uid} at {first}, {i}"
            ));
        }
    }
    warnings
}

/// Kinds that come and go too fast to own anything.
const NO_OWNERS: [(&str, &str); 2] = [("", "Event"), ("events.k8s.io", "Event")];

fn validate_owners(owners: &[Value<'_>], errors: &mut Vec<FieldError>) {
    let path = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in owners {
        let part = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or("");
        validate_owner(owner, part, path, errors);
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        let this = format!("{}/{}", part("kind"), part("name"));
        if let Some(other) = &controller {
            let detail = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {other} and {this}"
            );
            errors.push(FieldError::invalid(path, Value::from(owners.to_vec()), detail));
            return;
        }
        controller = Some(this);
    }
}

fn validate_owner<'v>(owner: &Value<'_>, part: impl Fn(&str) -> &'v str, path: &str, errors: &mut Vec<FieldError>) {
    let api_version = part("apiVersion");
    let gvk = match GroupVersion::parse(api_version) {
        Some(gv) => Some(GroupVersionKind::new(gv.group, gv.version, part("kind"))),
        None => {
            let detail = if api_version.is_empty() {
                "version must not be empty"
            } else {
                "unexpected GroupVersion string"
            };
            errors.push(FieldError::invalid(
                field::child(path, "apiVersion"),
                api_version,
                detail,
            ));
            None
        }
    };
    for name in ["kind", "name", "uid"] {
        if part(name).is_empty() {
            errors.push(FieldError::invalid(field::child(path, name), "", "must not be empty"));
        }
    }
    if let Some(gvk) = gvk.filter(|gvk| NO_OWNERS.contains(&(gvk.group.as_str(), gvk.kind.as_str()))) {
        errors.push(FieldError::invalid(
            path,
            owner.clone(),
            format!("{gvk} is disallowed from being an owner"),
        ));
    }
}

#[cfg(test)]
mod tests;
