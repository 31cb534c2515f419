//! What writes to some kinds do beyond their schema.

use apimachinery::crd::CustomResourceDefinition;
use apimachinery::field::{self, FieldError};
use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use apimachinery::status::Status;
use bytes::Bytes;
use jiff::Timestamp;
use objectstore::{Compare, Write};

use super::{builtins, object, rbac};
use crate::auth::UserInfo;
use crate::builtin::{self, Special};
use crate::codec::Damaged;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::namespaces::PERMANENT;
use crate::registry::{Kept, Resource};
use crate::server::Server;
use crate::target::{Subresource, Target};

/// Most bytes of data in a ConfigMap or Secret.
const LARGEST_DATA: usize = 1024 * 1024;
/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Holds a namespace until its content is gone.
pub(crate) const NAMESPACE_FINALIZER: &str = "kubernetes";

/// The value of [`Keys::indexed`]: every object has its entry.
pub(crate) const INDEX_COMPLETE: &[u8] = b"complete";
/// A selector has asked for it; objects from before may have no entry yet.
pub(crate) const INDEX_PENDING: &[u8] = b"pending";
/// The field is gone; entries may be left.
pub(crate) const INDEX_STALE: &[u8] = b"stale";

/// What a kind adds to a write.
#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) errors: Vec<FieldError>,
    pub(crate) writes: Vec<Write>,
    /// What else must hold; the error answers when it does not, and without one the write is prepared anew.
    pub(crate) claims: Vec<(Compare, Option<FieldError>)>,
}

impl From<Vec<FieldError>> for More {
    fn from(errors: Vec<FieldError>) -> More {
        More {
            errors,
            ..More::default()
        }
    }
}

/// Completes and checks a new object.
pub(crate) fn prepare_create(
    server: &Server,
    target: &Target,
    new: &mut Value<'_>,
    user: &UserInfo,
) -> Result<More, Failure> {
    let mut more = match target.resource.rules.special {
        Special::Namespace => {
            let finalizers = new
                .pointer("/spec/finalizers")
                .and_then(Value::as_array)
                .filter(|list| !list.is_empty())
                .cloned();
            let members = new.as_object_mut().ok_or(Damaged)?;
            members.insert(
                "spec".to_owned(),
                json!({"finalizers": finalizers.unwrap_or_else(|| vec![NAMESPACE_FINALIZER.into()])}),
            );
            members.insert("status", json!({"phase": "Active"}));
            name_label(new)?;
            More::default()
        }
        Special::Secret => secret(new, None)?.into(),
        Special::ConfigMap => config_map(new, None)?.into(),
        Special::Event => event(target, new).into(),
        Special::Role => rbac::role(new, target.resource.namespaced)?.into(),
        Special::Binding => rbac::binding(new, None, target.resource.namespaced)?.into(),
        Special::Definition => edit_definition(new, |new| new_definition(server, new)),
        _ => More::default(),
    };
    builtins::prepare_create(target, new, user, &mut more)?;
    Ok(more)
}

/// Completes and checks a changed object.
pub(crate) fn prepare_update<'t>(
    server: &Server,
    target: &Target,
    old: Option<&Value<'t>>,
    new: &mut Value<'t>,
) -> Result<More, Failure> {
    let Some(old) = old else { return Ok(More::default()) };
    let mut more = match target.resource.rules.special {
        Special::Namespace => {
            if target.subresource == Subresource::None {
                let spec = old.get("spec").cloned().unwrap_or_else(|| json!({}));
                new.as_object_mut().ok_or(Damaged)?.insert("spec", spec);
            }
            name_label(new)?;
            More::default()
        }
        Special::Secret => secret(new, Some(old))?.into(),
        Special::ConfigMap => config_map(new, Some(old))?.into(),
        Special::Event => event(target, new).into(),
        Special::Role => rbac::role(new, target.resource.namespaced)?.into(),
        Special::Binding => rbac::binding(new, Some(old), target.resource.namespaced)?.into(),
        Special::Definition if target.subresource == Subresource::None => {
            let old = old.clone().into();
            edit_definition(new, |new| changed_definition(server, &old, new))
        }
        _ => More::default(),
    };
    builtins::prepare_update(target, old, new, &mut more)?;
    Ok(more)
}

/// Some namespaces stay.
pub(crate) fn may_be_deleted(resource: &Resource, name: &str) -> Result<(), Status> {
    if resource.rules.special == Special::Namespace && PERMANENT.contains(&name) {
        return Err(Status::forbidden(
            &resource.id,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// Whether an object without finalizers in its metadata may go.
pub(crate) fn may_go(resource: &Resource, object: &Value<'_>) -> bool {
    resource.rules.special != Special::Namespace
        || object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
}

/// Changes an object whose deletion begins.
pub(crate) fn prepare_delete(resource: &Resource, object: &mut Value<'_>) -> Result<(), Failure> {
    if meta::is_being_deleted(object::metadata(object)?) {
        return Ok(());
    }
    match resource.rules.special {
        Special::Namespace if !may_go(resource, object) => {
            object::set_path(object, ".status.phase", "Terminating".into());
        }
        Special::Definition => {
            let metadata = object::metadata_mut(object)?;
            let finalizers = metadata.get_or_insert("finalizers", Vec::<Value>::new());
            if let Some(finalizers) = finalizers.as_array_mut()
                && !finalizers.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER)
            {
                finalizers.push(CLEANUP_FINALIZER.into());
            }
            edit_definition(object, |object| CustomResourceDefinition::terminate(object, &now()));
        }
        _ => {}
    }
    Ok(())
}

/// Marks an object that something still holds. What owns content says only when its deletion began.
pub(crate) fn mark_deleted(resource: &Resource, metadata: &mut Map<'_>, now: Timestamp) {
    if !owns_content(resource) {
        meta::mark_deleted(metadata, now);
    } else if !meta::is_being_deleted(metadata) {
        metadata.insert("deletionTimestamp", meta::format_timestamp(now));
    }
}

fn owns_content(resource: &Resource) -> bool {
    matches!(resource.rules.special, Special::Namespace | Special::Definition)
}

/// What is written along when a deletion begins.
pub(crate) fn mark_writes(resource: &Resource, name: &str) -> Vec<Write> {
    owns_content(resource)
        .then(|| Write::Put(resource.keys.cleanup(name), Bytes::new()))
        .into_iter()
        .collect()
}

/// What is written along when an object goes.
pub(crate) fn removal_writes(resource: &Resource, name: &str) -> Vec<Write> {
    owns_content(resource)
        .then(|| Write::Delete(resource.keys.cleanup(name)))
        .into_iter()
        .collect()
}

/// Lets the rest of the server know of a new object.
pub(crate) async fn created(server: &Server, target: &Target, name: &str) -> Result<(), Failure> {
    if target.resource.rules.special == Special::Definition {
        server.refresh_definition(name).await?;
    }
    Ok(())
}

/// Lets the rest of the server know of a change or removal.
pub(crate) async fn modified(server: &Server, target: &Target, removed: bool) -> Result<(), Failure> {
    if target.resource.rules.special == Special::Definition {
        server.refresh_definition(&target.name).await?;
    } else if removed {
        server.removed();
    }
    Ok(())
}

fn now() -> String {
    meta::format_timestamp(Timestamp::now())
}

/// Every namespace carries its name as a label.
fn name_label(namespace: &mut Value<'_>) -> Result<(), Failure> {
    let metadata = object::metadata_mut(namespace)?;
    let name = meta::text(metadata, "name").to_owned();
    let labels = metadata.get_or_insert("labels", Map::new());
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name", name);
    }
    Ok(())
}

fn secret(new: &mut Value<'_>, old: Option<&Value<'_>>) -> Result<Vec<FieldError>, Failure> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (name, value) in entries(new, "data") {
        data_key(&field::key("data", name), name, &mut errors);
        bytes += value.as_str().map_or(0, |text| text.len() / 4 * 3);
    }
    too_much(bytes, "data", &mut errors);
    required_keys(new, &mut errors);
    if let Some(old) = old {
        if old.get("type") != new.get("type") {
            errors.push(FieldError::invalid("type", new["type"].clone(), "field is immutable"));
        }
        immutable(old, new, &["data"], &mut errors);
    }
    // To an immutable Secret it was a change.
    leave_out_empty(new, &["data"])?;
    Ok(errors)
}

/// A map without members is not stored.
fn leave_out_empty(object: &mut Value<'_>, maps: &[&str]) -> Result<(), Damaged> {
    let members = object.as_object_mut().ok_or(Damaged)?;
    for map in maps {
        if members.get(map).and_then(Value::as_object).is_some_and(Map::is_empty) {
            members.remove(map);
        }
    }
    Ok(())
}

/// What a Secret of a well-known type must hold.
fn required_keys(secret: &Value<'_>, errors: &mut Vec<FieldError>) {
    let kind = secret.get("type").and_then(Value::as_str).unwrap_or_default();
    let has = |key: &str| secret.get("data").is_some_and(|data| data.get(key).is_some());
    let required = |key: &str| FieldError::required(field::key("data", key), "");
    match kind {
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.extend(["username", "password"].map(required));
        }
        "kubernetes.io/ssh-auth" if !has("ssh-privatekey") => errors.push(required("ssh-privatekey")),
        "kubernetes.io/tls" => {
            let missing = ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key));
            errors.extend(missing.map(required));
        }
        "kubernetes.io/dockerconfigjson" if !has(".dockerconfigjson") => errors.push(required(".dockerconfigjson")),
        "kubernetes.io/dockercfg" if !has(".dockercfg") => errors.push(required(".dockercfg")),
        _ => {}
    }
}

fn config_map(new: &mut Value<'_>, old: Option<&Value<'_>>) -> Result<Vec<FieldError>, Failure> {
    leave_out_empty(new, &["data"])?;
    let mut errors = Vec::new();
    let mut bytes = 0;
    for map in ["data", "binaryData"] {
        for (name, value) in entries(new, map) {
            data_key(&field::key(map, name), name, &mut errors);
            let text = value.as_str().unwrap_or_default();
            bytes += if map == "data" { text.len() } else { text.len() / 4 * 3 };
        }
    }
    let both =
        entries(new, "binaryData").filter(|(name, _)| new.pointer("/data").and_then(|data| data.get(name)).is_some());
    errors.extend(both.map(|(name, _)| {
        FieldError::invalid(field::key("data", name), name, "duplicate of key present in binaryData")
    }));
    too_much(bytes, "", &mut errors);
    if let Some(old) = old {
        immutable(old, new, &["data", "binaryData"], &mut errors);
    }
    // To an immutable ConfigMap it was a change, other than empty texts.
    leave_out_empty(new, &["binaryData"])?;
    Ok(errors)
}

fn entries<'v, 't>(object: &'v Value<'t>, map: &str) -> impl Iterator<Item = (&'v str, &'v Value<'t>)> {
    object.get(map).and_then(Value::as_object).into_iter().flatten()
}

fn data_key(path: &str, name: &str, errors: &mut Vec<FieldError>) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 253 || matches!(name, "." | "..") || !name.bytes().all(allowed) {
        let rule = "a valid config key must consist of at most 253 alphanumeric characters, '-', '_' or '.'";
        errors.push(FieldError::invalid(path, name, rule));
    }
}

fn too_much(bytes: usize, path: &str, errors: &mut Vec<FieldError>) {
    if bytes > LARGEST_DATA {
        errors.push(FieldError::too_long(path, LARGEST_DATA as u64));
    }
}

fn immutable(old: &Value<'_>, new: &Value<'_>, maps: &[&str], errors: &mut Vec<FieldError>) {
    if old.get("immutable") != Some(&Value::Bool(true)) {
        return;
    }
    let changed = maps
        .iter()
        .chain(&["immutable"])
        .filter(|map| old.get(map) != new.get(map));
    errors.extend(changed.map(|map| FieldError::forbidden(*map, "field is immutable when `immutable` is set")));
}

/// An Event lies in the namespace of what it is about; for a cluster-scoped object that is `default`.
fn event(target: &Target, new: &Value<'_>) -> Vec<FieldError> {
    let text = |at: &str| new.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let about = match target.version().kept {
        Kept::Own => text("/involvedObject/namespace"),
        Kept::CoreEvent => text("/regarding/namespace"),
    };
    let namespace = text("/metadata/namespace");
    if about == namespace || (about.is_empty() && namespace == "default") {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "involvedObject.namespace",
        about,
        "does not match event.namespace",
    )]
}

/// Definitions are rare, and read and changed as what serde_json makes of them.
fn edit_definition<R>(object: &mut Value<'_>, edit: impl FnOnce(&mut serde_json::Value) -> R) -> R {
    let mut definition = object.take().into();
    let result = edit(&mut definition);
    *object = definition.into();
    result
}

fn new_definition(server: &Server, new: &mut serde_json::Value) -> More {
    CustomResourceDefinition::apply_defaults(new);
    let crd = match CustomResourceDefinition::parse(new) {
        Ok(crd) => crd,
        Err(errors) => return errors.into(),
    };
    accept(server, &crd, new);
    // Its fields are indexed once a selector asks for them.
    More::default()
}

fn changed_definition(server: &Server, old: &serde_json::Value, new: &mut serde_json::Value) -> More {
    CustomResourceDefinition::apply_defaults(new);
    let crd = match CustomResourceDefinition::parse(new) {
        Ok(crd) => crd,
        Err(mut errors) => {
            errors.extend(CustomResourceDefinition::validate_update(old, new));
            return errors.into();
        }
    };
    let errors = CustomResourceDefinition::validate_update(old, new);
    if !errors.is_empty() || old.get("spec") == new.get("spec") {
        return errors.into();
    }
    if old["metadata"].get("deletionTimestamp").is_none() {
        accept(server, &crd, new);
    }
    let before = CustomResourceDefinition::parse(old)
        .map(|before| labels(&before))
        .unwrap_or_default();
    let after = labels(&crd);
    let keys = definition_keys(&crd);
    let mark = |label: &String, value: &'static [u8]| Write::Put(keys.indexed(label), Bytes::from_static(value));
    let removed = before
        .iter()
        .filter(|label| !after.contains(label))
        .map(|label| mark(label, INDEX_STALE));
    More {
        errors,
        writes: removed.collect(),
        ..More::default()
    }
}

/// Writes into a definition's status whether its names are accepted and it is served.
fn accept(server: &Server, crd: &CustomResourceDefinition, object: &mut serde_json::Value) {
    match clash(server, crd) {
        Some(message) => CustomResourceDefinition::reject_names(object, &message, &now()),
        None => CustomResourceDefinition::establish(object, &now()),
    }
}

/// Why the names of a definition cannot be served beside what is served already.
fn clash(server: &Server, crd: &CustomResourceDefinition) -> Option<String> {
    let snapshot = server.registry.snapshot();
    let others = snapshot.groups().get(&crd.group)?;
    let names: Vec<&String> = std::iter::once(&crd.names.plural)
        .chain([&crd.names.singular])
        .chain(&crd.names.short_names)
        .collect();
    for other in others
        .values()
        .filter(|other| other.id.plural != crd.names.plural || other.definition.is_none())
    {
        let taken =
            |name: &String| *name == other.id.plural || *name == other.singular || other.short_names.contains(name);
        if let Some(name) = names.iter().find(|name| taken(name)) {
            return Some(format!("\"{name}\" is already in use"));
        }
        if other.kind.kind == crd.names.kind || other.list_kind == crd.names.list_kind {
            return Some(format!("\"{}\" is already in use", crd.names.kind));
        }
    }
    None
}

/// Whether a definition's names are those of a built-in kind.
pub(crate) fn is_builtin(group: &str, plural: &str) -> bool {
    let mut all = builtin::TABLE.iter().map(|builtin| builtin.facts());
    all.any(|facts| facts.group == group && facts.plural == plural)
}

fn definition_keys(crd: &CustomResourceDefinition) -> Keys {
    Keys::new(
        &crd.group,
        &crd.names.plural,
        crd.scope == apimachinery::crd::Scope::Namespaced,
    )
}

/// The selectable fields of all versions.
fn labels(crd: &CustomResourceDefinition) -> Vec<String> {
    let mut labels: Vec<String> = crd
        .versions
        .iter()
        .flat_map(|version| &version.selectable_fields)
        .map(|field| field.label.clone())
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}
