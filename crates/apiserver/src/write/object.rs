//! An object on its way in: decoded, pruned, defaulted, validated, all in place.

use apimachinery::field::{FieldError, FieldErrorKind};
use apimachinery::gvk;
use apimachinery::meta::{self, MetadataRules, NameRule};
use apimachinery::status::Status;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::options::Validation;
use crate::builtin::{Names, Special};
use crate::codec::Damaged;
use crate::failure::Failure;
use crate::registry::Resource;
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
}

/// Checks that the body is of the kind that the path asks for. A built-in kind need not be named.
pub(crate) fn check_type(target: &Target, object: &mut Value) -> Result<(), Failure> {
    let (resource, version) = (&target.resource, target.version());
    let members = object
        .as_object_mut()
        .ok_or_else(|| Status::bad_request("the object provided is unrecognized: it is not an object"))?;
    let custom = resource.rules.special == Special::Custom;
    for (name, expected) in [("apiVersion", &version.api_version), ("kind", &resource.kind.kind)] {
        let given = match members.get(name) {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text,
            Some(_) => return Err(Status::bad_request(format!("the {name} of the object is no string")).into()),
        };
        if given == expected {
            continue;
        }
        if given.is_empty() && !custom {
            members.insert(name.to_owned(), expected.as_str().into());
            continue;
        }
        return Err(wrong_type(target, name, given, members).into());
    }
    Ok(())
}

fn wrong_type(target: &Target, member: &str, given: &str, object: &Map<String, Value>) -> Status {
    let (resource, version) = (&target.resource, target.version());
    let kind = &resource.kind.kind;
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
    if resource.rules.special == Special::Custom {
        let name = object
            .get("metadata")
            .and_then(|metadata| metadata.get("name"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let error = FieldError::invalid("kind", given, format!("must be {kind}"));
        return Status::invalid(&gvk::Kind::new(&resource.id.group, given), name, vec![error]);
    }
    Status::bad_request(format!(
        "{given} in version {:?} cannot be handled as a {kind}",
        version.name
    ))
}

/// Brings an object into the form of its schema: metadata decoded, unknown fields removed, defaults filled in.
/// Returns the warnings about unknown and duplicate fields.
pub(crate) fn shape(
    target: &Target,
    object: &mut Value,
    duplicates: &[String],
    validation: Validation,
    came: Came,
) -> Result<Vec<String>, Failure> {
    let metadata = meta::of_mut(object).ok_or_else(|| undecodable(target, "metadata is not an object", came))?;
    let mut unknown =
        meta::decode(metadata, "metadata").map_err(|error| undecodable(target, &error.to_string(), came))?;
    // Field ownership is not tracked, so none is kept.
    metadata.remove("managedFields");
    unknown.extend(target.version().schema.prune(object));
    target.version().schema.default(object);
    if validation == Validation::Ignore || (unknown.is_empty() && duplicates.is_empty()) {
        return Ok(Vec::new());
    }
    let problems: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .chain(duplicates.iter().cloned())
        .collect();
    match validation {
        Validation::Strict => {
            Err(undecodable(target, &format!("strict decoding error: {}", problems.join(", ")), came).into())
        }
        _ => Ok(problems),
    }
}

fn undecodable(target: &Target, why: &str, came: Came) -> Status {
    let kind = &target.resource.kind.kind;
    match came {
        Came::Whole => Status::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {why}",
            target.version().name
        )),
        // The patched object is not repeated in the answer: it may hold what the client may not read.
        Came::Patched => Status::invalid(&gvk::Kind::new("", ""), "", vec![FieldError::invalid("patch", "", why)]),
    }
}

/// Checks an object against its schema and the rules of metadata. `more` are the errors of the kind's own rules.
pub(crate) fn validate(
    target: &Target,
    object: &Value,
    more: Vec<FieldError>,
    old: Option<&Map<String, Value>>,
    came: Came,
) -> Result<(), Failure> {
    let resource = &target.resource;
    let mut errors = target.version().schema.validate(object);
    if resource.rules.special != Special::Custom
        && let Some(error) = errors.iter().find(|error| error.kind == FieldErrorKind::TypeInvalid)
    {
        return Err(undecodable(target, &format!("{} has the wrong type", error.path), came).into());
    }
    errors.extend(more);
    let metadata = meta::of(object).ok_or(Damaged)?;
    if errors.is_empty() {
        errors = meta::validate_metadata(metadata, rules(resource));
        if let Some(old) = old {
            errors.extend(meta::validate_metadata_update(old, metadata));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(&resource.kind, meta::text(metadata, "name"), errors).into())
    }
}

/// What a resource asks of its metadata.
pub(crate) fn rules(resource: &Resource) -> MetadataRules {
    let name = match resource.rules.names {
        Names::Subdomain => NameRule::Subdomain,
        Names::Label => NameRule::Label,
    };
    MetadataRules {
        name,
        namespaced: resource.namespaced,
        strict_finalizers: resource.rules.special != Special::Custom,
    }
}

/// Everything the API warns about in metadata, for a custom resource.
pub(crate) fn metadata_warnings(resource: &Resource, object: &Value) -> Vec<String> {
    let custom = resource.rules.special == Special::Custom;
    meta::of(object)
        .filter(|_| custom)
        .map(meta::metadata_warnings)
        .unwrap_or_default()
}

/// The index entries of an object.
pub(crate) fn index_entries(resource: &Resource, namespace: &str, name: &str, object: &Value) -> Vec<Bytes> {
    resource
        .fields
        .iter()
        .filter_map(|indexed| {
            resource
                .keys
                .index_entry(&indexed.field.label, namespace, &indexed.field.value(object), name)
        })
        .collect()
}

/// The metadata of an object that has been shaped.
pub(crate) fn metadata(object: &Value) -> Result<&Map<String, Value>, Damaged> {
    meta::of(object).ok_or(Damaged)
}

/// The same, to be changed.
pub(crate) fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Damaged> {
    meta::of_mut(object).ok_or(Damaged)
}

/// The members of an object.
pub(crate) fn members(object: &Value) -> Result<&Map<String, Value>, Damaged> {
    object.as_object().ok_or(Damaged)
}
