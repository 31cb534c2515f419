//! The scale subresource of custom resources: `autoscaling/v1 Scale` over paths that the definition names.

use apimachinery::meta;
use apimachinery::status::Status;
use objectstore::Revision;
use serde_json::{Map, Value, json};

use super::object;
use super::update::Edit;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::render::write_json;
use crate::table::at_path;
use crate::target::Target;

/// Appends the `Scale` of an object.
pub(crate) fn write(target: &Target, stored: &Stored, revision: Revision, out: &mut Vec<u8>) -> Result<(), Failure> {
    let object = Value::Object(stored.object(&target.version().opening, revision)?);
    write_json(&view(target, &object, true)?, out);
    Ok(())
}

/// Checks that a body is a `Scale`, or does not say what it is.
pub(crate) fn check_type(body: &Value) -> Result<(), Failure> {
    let is = |name: &str, expected: &str| body.get(name).is_none_or(|given| given == expected || given.is_null());
    if is("kind", "Scale") && is("apiVersion", "autoscaling/v1") {
        return Ok(());
    }
    Err(Status::bad_request("the object provided is no Scale of autoscaling/v1").into())
}

/// The object with the replicas that an edit of its `Scale` asks for.
pub(crate) fn edit(target: &Target, mut object: Value, revision: Revision, edit: Edit) -> Result<Value, Failure> {
    let scale = target.version().scale.as_ref().ok_or(Failure::NoSuchPath)?;
    if let Edit::Replace(decoded) = &edit {
        check_type(&decoded.value)?;
    }
    let before = view(target, &object, false)?;
    let had_replicas = at_path(&scale.spec_replicas_path, &object).is_some();
    let (is_patch, came) = (matches!(edit, Edit::Patch(_)), edit.came());
    let after = edit.apply(before)?;
    if is_patch {
        check_type(&after)
            .map_err(|_| object::undecodable(target, "it is no Scale of autoscaling/v1 any more", came))?;
    }
    let metadata = meta::of(&after).ok_or_else(|| Status::bad_request("the scale has no metadata"))?;
    meta::decode(&mut metadata.clone(), "metadata")
        .map_err(|error| object::undecodable(target, &error.to_string(), came))?;
    meta::check_name(metadata, &target.name)?;
    let replicas = match after.pointer("/spec/replicas") {
        None | Some(Value::Null) if is_patch && !had_replicas => {
            let path = &scale.spec_replicas_path;
            return Err(Status::bad_request(format!("the spec replicas field {path:?} cannot be empty")).into());
        }
        None | Some(Value::Null) => 0,
        // Whether there may be so many is a rule of the object.
        Some(replicas) => replicas
            .as_i64()
            .and_then(|replicas| i32::try_from(replicas).ok())
            .ok_or_else(|| object::undecodable(target, "spec.replicas is no number of 32 bits", came))?,
    };
    set_path(&mut object, &scale.spec_replicas_path, json!(replicas));
    let given = after
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .filter(|given| !given.is_empty());
    if let Some(metadata) = meta::of_mut(&mut object) {
        metadata.insert(
            "resourceVersion".to_owned(),
            given.map_or_else(|| revision.0.to_string(), str::to_owned).into(),
        );
    }
    Ok(object)
}

/// The `Scale` of an object. `strict`: 500 when the object says nothing about its replicas, as on a real server.
fn view(target: &Target, object: &Value, strict: bool) -> Result<Value, Failure> {
    let scale = target.version().scale.as_ref().ok_or(Failure::NoSuchPath)?;
    let replicas = at_path(&scale.spec_replicas_path, object).and_then(Value::as_i64);
    if strict && replicas.is_none() {
        return Err(Status::internal(&format!(
            "the spec replicas field \"{}\" does not exist",
            scale.spec_replicas_path
        ))
        .into());
    }
    let metadata = meta::of(object).ok_or(crate::codec::Damaged)?;
    let kept: Map<String, Value> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), metadata.get(name)?.clone())))
        .collect();
    let mut status =
        json!({"replicas": at_path(&scale.status_replicas_path, object).and_then(Value::as_i64).unwrap_or(0)});
    let selector = scale
        .label_selector_path
        .as_ref()
        .and_then(|path| at_path(path, object))
        .and_then(Value::as_str);
    if let Some(selector) = selector {
        status["selector"] = selector.into();
    }
    let mut spec = Map::new();
    if let Some(replicas) = replicas.filter(|replicas| *replicas != 0) {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    Ok(json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": status}))
}

/// Sets the value at a simple path (`.spec.replicas`); what stands in the way and is no object is replaced.
fn set_path(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(name).or_insert(Value::Null);
    }
    *place = value;
}
