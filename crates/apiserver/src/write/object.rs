//! An object on its way in: decoded, pruned, defaulted, validated, all in place.

use std::borrow::Cow;

use apimachinery::field::FieldError;
use apimachinery::gvk;
use apimachinery::json::{Map, Value};
use apimachinery::meta::{self, MetadataRules, NameRule};
use apimachinery::status::Status;
use bytes::Bytes;

use super::decoded;
use super::options::Validation;
use crate::builtin::{Names, Special};
use crate::codec::{Damaged, Draft, Stored};
use crate::failure::Failure;
use crate::gc;
use crate::registry::{Index, Resource};
use crate::target::Target;

/// The largest object that is stored, in bytes of JSON.
pub(crate) const LARGEST_OBJECT: usize = 1_572_864;

/// How the object came, which decides how a field of a wrong type or an unknown one is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// As a body: 400.
    Whole,
    /// Out of a patch: 422.
    Patched,
    /// Out of what was applied: like a patch, but a null that may not stand there is refused.
    Applied,
}

/// Checks that the body is of the kind that the path asks for. A built-in kind need not be named.
pub(crate) fn check_type(target: &Target, object: &mut Value<'_>, came: Came) -> Result<(), Failure> {
    let (resource, version) = (&target.resource, target.version());
    let members = object
        .as_object_mut()
        .ok_or_else(|| undecodable(target, "the object provided is unrecognized: it is not an object", came))?;
    let custom = resource.rules.special == Special::Custom;
    for (name, expected) in [("apiVersion", &version.api_version), ("kind", &resource.kind.kind)] {
        let given = match members.get(name) {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text.as_ref(),
            Some(_) => return Err(Status::bad_request(format!("the {name} of the object is no string")).into()),
        };
        // The kind of a custom resource is a rule like others, which are looked at later.
        if given == expected || (custom && name == "kind" && !given.is_empty()) {
            continue;
        }
        if given.is_empty() && !custom {
            members.insert(name, expected.clone());
            continue;
        }
        if came != Came::Whole && (given.is_empty() || !custom) {
            return Err(undecodable(target, &format!("{given:?} is not the {name} of the object"), came).into());
        }
        return Err(wrong_type(target, name, given).into());
    }
    Ok(())
}

fn wrong_type(target: &Target, member: &str, given: &str) -> Status {
    let (kind, version) = (&target.resource.kind.kind, target.version());
    if given.is_empty() {
        return Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): its {member} is missing"
        ));
    }
    if member == "apiVersion" {
        return Status::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({})",
            version.api_version
        ));
    }
    Status::bad_request(format!(
        "{given} in version {:?} cannot be handled as a {kind}",
        version.name
    ))
}

/// Brings an object into the form of its schema: metadata decoded, unknown fields removed, defaults filled in.
/// Returns the warnings about duplicate and unknown fields.
pub(crate) fn shape(
    target: &Target,
    object: &mut Value<'_>,
    duplicates: &[String],
    validation: Validation,
    came: Came,
) -> Result<Vec<String>, Failure> {
    if let Some(members) = object.as_object_mut()
        && members.get("metadata").is_none_or(Value::is_null)
    {
        members.insert("metadata", Map::new());
    }
    meta::of(object).ok_or_else(|| undecodable(target, "metadata is not an object", came))?;
    let custom = target.resource.rules.special == Special::Custom;
    let metadata = meta::of_mut(object).ok_or(Damaged)?;
    if !custom
        && metadata
            .get("managedFields")
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
    {
        // For a built-in kind that is a list, and means as much as one empty entry does for any.
        metadata.insert("managedFields", vec![Value::from(Map::new())]);
    }
    let mut unknown =
        meta::decode(metadata, "metadata").map_err(|error| undecodable(target, &error.to_string(), came))?;
    match target.version().facts {
        Some(facts) => {
            let found = facts.object_type().shape(object);
            unknown.extend(found.map_err(|error| undecodable(target, &error.to_string(), came))?);
            facts.object_type().default(object);
            decoded::complete(target.resource.rules.special, object);
        }
        None => {
            unknown.extend(target.version().schema.prune(object));
            match came {
                Came::Applied => target.version().schema.default_applied(object),
                _ => target.version().schema.default(object),
            }
        }
    }
    if validation == Validation::Ignore || (unknown.is_empty() && duplicates.is_empty()) {
        return Ok(Vec::new());
    }
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let problems: Vec<String> = duplicates.iter().cloned().chain(unknown).collect();
    match validation {
        Validation::Strict => {
            Err(undecodable(target, &format!("strict decoding error: {}", problems.join(", ")), came).into())
        }
        _ => Ok(problems),
    }
}

/// The refusal of what is no object of its kind.
pub(crate) fn undecodable(target: &Target, why: &str, came: Came) -> Status {
    let kind = &target.resource.kind.kind;
    match came {
        Came::Whole => Status::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {why}",
            target.version().name
        )),
        // The patched object is not repeated in the answer: it may hold what the client may not read.
        Came::Patched | Came::Applied => {
            Status::invalid(&gvk::Kind::new("", ""), "", vec![FieldError::invalid("patch", "", why)])
        }
    }
}

/// Checks an object against its schema and the rules of metadata. `more` are the errors of the kind's own rules.
pub(crate) fn validate(
    target: &Target,
    object: &Value<'_>,
    more: Vec<FieldError>,
    old: Option<&Map<'_>>,
) -> Result<(), Failure> {
    let resource = &target.resource;
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind != resource.kind.kind {
        let metadata = meta::of(object).ok_or(Damaged)?;
        // The rules of the kind are not looked at then, those for a change of any object are.
        let mut errors = more;
        errors.extend(old.map_or_else(Vec::new, |old| meta::validate_metadata_update(old, metadata)));
        errors.push(FieldError::invalid(
            "kind",
            kind,
            format!("must be {}", resource.kind.kind),
        ));
        let name = meta::text(metadata, "name");
        return Err(Status::invalid(&gvk::Kind::new(&resource.id.group, kind), name, errors).into());
    }
    // What the types of a built-in kind ask for has been looked at; its rules are among `more`.
    let mut errors = match target.version().facts {
        Some(_) => Vec::new(),
        None => target.version().schema.validate(object),
    };
    errors.extend(more);
    let metadata = meta::of(object).ok_or(Damaged)?;
    errors.extend(scale_errors(target, object));
    errors.extend(meta::validate_metadata(metadata, rules(resource)));
    if let Some(old) = old {
        errors.extend(meta::validate_metadata_update(old, metadata));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(&resource.kind, meta::text(metadata, "name"), errors).into())
    }
}

/// The numbers that a Scale shows must be such that it can.
fn scale_errors(target: &Target, object: &Value<'_>) -> Vec<FieldError> {
    // Built-in kinds have rules of their own for it.
    let Some(scale) = target
        .version()
        .scale
        .as_ref()
        .filter(|_| target.version().facts.is_none())
    else {
        return Vec::new();
    };
    let paths = [&scale.spec_replicas_path, &scale.status_replicas_path];
    let wrong = paths.into_iter().filter_map(|path| {
        let replicas = crate::table::at_path(path, object).and_then(Value::as_i64)?;
        let why = match i32::try_from(replicas) {
            Ok(0..) => return None,
            Ok(_) => "should be a non-negative integer",
            Err(_) if replicas < 0 => "should be a non-negative integer",
            Err(_) => "should be less than or equal to 2147483647",
        };
        Some(FieldError::invalid(path.as_str(), replicas, why))
    });
    wrong.collect()
}

/// What a resource asks of its metadata.
pub(crate) fn rules(resource: &Resource) -> MetadataRules {
    let name = match resource.rules.names {
        Names::Subdomain => NameRule::Subdomain,
        Names::Label => NameRule::Label,
        Names::PathSegment => NameRule::PathSegment,
    };
    MetadataRules {
        name,
        namespaced: resource.namespaced,
        strict_finalizers: resource.id.group.is_empty(),
    }
}

/// Everything the API warns about in metadata, for a custom resource; not of what was there already.
pub(crate) fn metadata_warnings(resource: &Resource, object: &Value<'_>, old: Option<&Map<'_>>) -> Vec<String> {
    match resource.rules.special {
        Special::Custom => {}
        Special::Unused(why) => return vec![why.to_owned()],
        _ => return Vec::new(),
    }
    let mut warnings = meta::of(object).map(meta::metadata_warnings).unwrap_or_default();
    if !warnings.is_empty() {
        let known = old.map(meta::metadata_warnings).unwrap_or_default();
        warnings.retain(|warning| !known.contains(warning));
    }
    warnings
}

/// What is stored of an object that was brought into the form of its version: what the version in which it is stored knows of it.
pub(crate) fn to_store(target: &Target, object: &Value<'_>) -> Result<Stored, Damaged> {
    let version = target.version();
    let mut object = Cow::Borrowed(object);
    if version.stamp != version.stored_stamp {
        version.stored_schema.prune(object.to_mut());
    }
    Ok(Draft::new(members(&object)?).finish(version.stamp, metadata(&object)?))
}

/// The same as it will be read in that version.
pub(crate) fn as_read<'o, 't>(target: &Target, object: &'o Value<'t>) -> Cow<'o, Value<'t>> {
    let version = target.version();
    let mut object = Cow::Borrowed(object);
    if version.stamp != version.stored_stamp {
        version.stored_schema.prune(object.to_mut());
        version.stored_schema.default(object.to_mut());
    }
    object
}

/// The entries of an object in the indexes that are kept, and in that of owners.
pub(crate) fn index_entries(resource: &Resource, namespace: &str, name: &str, object: &Value<'_>) -> Vec<Bytes> {
    let mut entries: Vec<Bytes> = resource
        .fields
        .iter()
        .filter(|indexed| indexed.index != Index::Absent)
        .filter_map(|indexed| {
            resource
                .keys
                .index_entry(&indexed.field.label, namespace, &indexed.field.value(object), name)
        })
        .collect();
    gc::hooks::add_entries(resource, namespace, name, object, &mut entries);
    entries
}

/// The metadata of an object that has been shaped.
pub(crate) fn metadata<'v, 't>(object: &'v Value<'t>) -> Result<&'v Map<'t>, Damaged> {
    meta::of(object).ok_or(Damaged)
}

/// The same, to be changed.
pub(crate) fn metadata_mut<'v, 't>(object: &'v mut Value<'t>) -> Result<&'v mut Map<'t>, Damaged> {
    meta::of_mut(object).ok_or(Damaged)
}

/// The members of an object.
pub(crate) fn members<'v, 't>(object: &'v Value<'t>) -> Result<&'v Map<'t>, Damaged> {
    object.as_object().ok_or(Damaged)
}

/// Puts a value at a place of member names, or takes away what stands there.
pub(crate) fn replace_at<'t>(object: &mut Value<'t>, place: &[&'static str], value: Option<Value<'t>>) {
    if let Some(value) = value {
        return set_path(object, &place.join("."), value);
    }
    let Some((last, parents)) = place.split_last() else {
        return;
    };
    let parent = parents.iter().try_fold(object, |value, name| value.get_mut(name));
    if let Some(members) = parent.and_then(Value::as_object_mut) {
        members.remove(last);
    }
}

/// Sets the value at a simple path (`.spec.replicas`); what stands in the way and is no object is replaced.
pub(crate) fn set_path<'t>(object: &mut Value<'t>, path: &str, value: Value<'t>) {
    let mut place = object;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        if !place.is_object() {
            *place = Map::new().into();
        }
        let Value::Object(members) = place else { return };
        place = members.get_or_insert(name.to_owned(), Value::Null);
    }
    *place = value;
}
