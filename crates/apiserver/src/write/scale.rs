//! The scale subresource of custom resources: `autoscaling/v1 Scale` over paths that the definition names.

use apimachinery::json::{Map, Value};
use apimachinery::meta;
use apimachinery::schema::Type;
use apimachinery::status::Status;
use objectstore::Revision;

use super::create::Request;
use super::object;
use super::options::{Patch, WriteOptions};
use super::tracking::{self, ScaleEdit};
use super::update::Edit;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::table::at_path;
use crate::target::Target;

/// Appends the `Scale` of an object.
pub(crate) fn write(target: &Target, stored: &Stored, revision: Revision, out: &mut Vec<u8>) -> Result<(), Failure> {
    let text = stored.object(&target.version().opening, revision);
    view(target, &text.value()?, true)?.write(out);
    Ok(())
}

/// Checks that a body is a `Scale`, or does not say what it is.
pub(crate) fn check_type(body: &Value<'_>) -> Result<(), Failure> {
    let is = |name: &str, expected: &str| body.get(name).is_none_or(|given| given == expected || given.is_null());
    if is("kind", "Scale") && is("apiVersion", "autoscaling/v1") {
        return Ok(());
    }
    Err(Status::bad_request("the object provided is no Scale of autoscaling/v1").into())
}

/// The object with the replicas that an edit of its `Scale` asks for.
pub(crate) fn edit<'t>(
    target: &Target,
    mut object: Value<'t>,
    revision: Revision,
    edit: Edit<'t>,
    write: WriteOptions,
    request: Request<'_>,
) -> Result<Value<'t>, Failure> {
    let scale = target.version().scale.as_ref().ok_or(Failure::NoSuchPath)?;
    if let Edit::Replace(decoded) = &edit {
        check_type(&decoded.value)?;
    }
    let before = view(target, &object, false)?;
    let had_replicas = at_path(&scale.spec_replicas_path, &object).is_some();
    let (is_patch, came) = (matches!(edit, Edit::Patch(_)), edit.came());
    let scaled = |before, edit| tracking::scaled(target, request, &object, before, edit, write.force);
    let (after, managed) = match edit {
        Edit::Patch(Patch::Apply(config)) => scaled(before, ScaleEdit::Apply(&config.value))?,
        edit => {
            let after = edit.apply(before.clone(), Type::anything())?;
            scaled(before, ScaleEdit::Made(after))?
        }
    };
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
    object::set_path(&mut object, &scale.spec_replicas_path, replicas.into());
    let given = after
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .filter(|given| !given.is_empty());
    if let Some(metadata) = meta::of_mut(&mut object) {
        match managed {
            Some(managed) => metadata.insert("managedFields", managed),
            None => metadata.remove("managedFields"),
        };
        metadata.insert(
            "resourceVersion",
            given.map_or_else(|| revision.0.to_string(), str::to_owned),
        );
    }
    Ok(object)
}

/// The `Scale` of an object. `strict`: 500 when the object says nothing about its replicas, as on a real server.
fn view<'t>(target: &Target, object: &Value<'t>, strict: bool) -> Result<Value<'t>, Failure> {
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
    let kept: Map<'t> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|name| Some((name, metadata.get(name)?.clone())))
        .collect();
    let mut status = Map::new();
    let shown = at_path(&scale.status_replicas_path, object).and_then(Value::as_i64);
    status.insert("replicas", shown.unwrap_or(0));
    let selector = scale
        .label_selector_path
        .as_ref()
        .and_then(|path| at_path(path, object));
    match selector {
        Some(text @ Value::String(_)) => {
            status.insert("selector", text.clone());
        }
        // A built-in kind has the selector itself.
        Some(selector @ Value::Object(_)) if target.version().facts.is_some() => {
            status.insert("selector", apimachinery::label_selector::format(selector));
        }
        _ => {}
    }
    let mut spec = Map::new();
    if let Some(replicas) = replicas.filter(|replicas| *replicas != 0) {
        spec.insert("replicas", replicas);
    }
    let members = [
        ("apiVersion", "autoscaling/v1".into()),
        ("kind", "Scale".into()),
        ("metadata", kept.into()),
        ("spec", spec.into()),
        ("status", status.into()),
    ];
    Ok(Value::Object(members.into_iter().collect()))
}
