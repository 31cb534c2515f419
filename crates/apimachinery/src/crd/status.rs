//! `status` of a definition.

use serde_json::{Map, Value, json};

pub(super) fn establish(object: &mut Value, now: &str) {
    let names = object.pointer("/spec/names").cloned().unwrap_or_else(|| json!({}));
    let storage = storage_version(object).unwrap_or_default();
    let status = status(object);
    status.insert("acceptedNames".to_owned(), names);
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if !stored.is_array() {
        *stored = json!([]);
    }
    match stored {
        Value::Array(versions) if !versions.iter().any(|v| v == &storage) => versions.push(Value::String(storage)),
        _ => {}
    }
    set_condition(status, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
    set_condition(
        status,
        "Established",
        true,
        "InitialNamesAccepted",
        "the initial names have been accepted",
        now,
    );
}

pub(super) fn reject_names(object: &mut Value, message: &str, now: &str) {
    let status = status(object);
    status
        .entry("acceptedNames")
        .or_insert_with(|| json!({"plural": "", "kind": ""}));
    status.entry("storedVersions").or_insert_with(|| json!([]));
    set_condition(status, "NamesAccepted", false, "NamesConflict", message, now);
    if !is_true(status, "Established") {
        set_condition(
            status,
            "Established",
            false,
            "NotAccepted",
            "not all names are accepted",
            now,
        );
    }
}

pub(super) fn terminate(object: &mut Value, now: &str) {
    let status = status(object);
    let message = "CustomResource deletion is in progress";
    set_condition(status, "Terminating", true, "InstanceDeletionInProgress", message, now);
}

pub(super) fn has_condition(object: &Value, name: &str) -> bool {
    object
        .get("status")
        .and_then(Value::as_object)
        .is_some_and(|status| is_true(status, name))
}

fn storage_version(object: &Value) -> Option<String> {
    let versions = object.pointer("/spec/versions")?.as_array()?;
    let storage = versions.iter().find(|v| v.get("storage") == Some(&Value::Bool(true)))?;
    storage.get("name")?.as_str().map(str::to_owned)
}

/// `status`, made if it is missing. An `object` that is none becomes one: callers hold parsed definitions.
fn status(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    object["status"]
        .as_object_mut()
        .expect("the lines above made it an object")
}

fn conditions(status: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    status.get("conditions").and_then(Value::as_array).into_iter().flatten()
}

fn is_true(status: &Map<String, Value>, name: &str) -> bool {
    conditions(status).any(|c| c["type"] == name && c["status"] == "True")
}

/// Sets one condition; the time of the last transition moves only with its status.
fn set_condition(status: &mut Map<String, Value>, name: &str, holds: bool, reason: &str, message: &str, now: &str) {
    let value = if holds { "True" } else { "False" };
    let before = conditions(status).find(|c| c["type"] == name && c["status"] == value);
    let since = before
        .and_then(|c| c["lastTransitionTime"].as_str())
        .unwrap_or(now)
        .to_owned();
    let condition =
        json!({"type": name, "status": value, "reason": reason, "message": message, "lastTransitionTime": since});
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        match list.iter_mut().find(|c| c["type"] == name) {
            Some(found) => *found = condition,
            None => list.push(condition),
        }
    }
}
