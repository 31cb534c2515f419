//! What a real server refuses in objects of the built-in kinds, beyond their types: the rules that clients and people run
//! into. What only a kubelet or a controller would mind is left to them.

use apimachinery::field::{self, FieldError};
use apimachinery::json::Value;

use crate::facts::Kind;

mod certificates;
mod cluster;
mod network;
mod pods;
mod storage;
mod workloads;

/// What is wrong with a new object that has been brought into form and completed.
///
/// ```
/// let deployment = kinds::kind("apps", "v1", "Deployment").unwrap();
/// let object = apimachinery::json!({"spec": {"replicas": -1, "selector": {}, "template": {"spec": {}}}});
/// let errors = kinds::rules::check_new(deployment, &object);
/// assert!(errors.iter().any(|error| error.path == "spec.replicas"));
/// ```
pub fn check_new(kind: &Kind, object: &Value<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(kind, object, &mut errors);
    errors
}

/// What is wrong with a changed object; a change of the status alone is not looked at.
pub fn check_change(kind: &Kind, old: &Value<'_>, new: &Value<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(kind, new, &mut errors);
    workloads::check_change(kind, old, new, &mut errors);
    network::check_change(kind, old, new, &mut errors);
    storage::check_change(kind, old, new, &mut errors);
    cluster::check_change(kind, old, new, &mut errors);
    errors
}

/// What is wrong with an object that was changed through the path of a part of it: `approval` of a request for a
/// certificate, `ephemeralcontainers` of a pod. Of other parts nothing is said.
pub fn check_part(kind: &Kind, part: &str, old: &Value<'_>, new: &Value<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match part {
        "approval" => certificates::check_approval(old, new, &mut errors),
        "ephemeralcontainers" => {
            check(kind, new, &mut errors);
            pods::check_ephemeral(old, new, &mut errors);
        }
        _ => {}
    }
    errors
}

fn check(kind: &Kind, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    match kind.group {
        "apps" | "batch" | "autoscaling" | "policy" => workloads::check(kind.kind, object, errors),
        "networking.k8s.io" | "discovery.k8s.io" => network::check(kind.kind, object, errors),
        "storage.k8s.io" => storage::check(kind.kind, object, errors),
        "" => {
            workloads::check(kind.kind, object, errors);
            network::check(kind.kind, object, errors);
            storage::check(kind.kind, object, errors);
        }
        _ => cluster::check(kind.kind, object, errors),
    }
}

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const IMMUTABLE: &str = "field is immutable";

/// The JSON pointer of a path of plain names: `spec.ports` is `/spec/ports`.
fn at<'v, 't>(object: &'v Value<'t>, path: &str) -> Option<&'v Value<'t>> {
    path.split('.')
        .try_fold(object, |value, name| value.get(name))
        .filter(|value| !value.is_null())
}

fn text<'v>(object: &'v Value<'_>, path: &str) -> &'v str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value<'_>, path: &str) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

fn items<'v, 't>(object: &'v Value<'t>, path: &str) -> &'v [Value<'t>] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether nothing stands there: no value, or an empty text, list or object.
fn is_empty(object: &Value<'_>, path: &str) -> bool {
    match at(object, path) {
        None => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(_) => false,
    }
}

/// Something must stand at each of these paths; `base` stands before them in errors.
fn require(object: &Value<'_>, base: &str, paths: &[&str], errors: &mut Vec<FieldError>) {
    let missing = paths.iter().filter(|path| is_empty(object, path));
    errors.extend(missing.map(|path| FieldError::required(joined(base, path), "")));
}

fn joined(base: &str, path: &str) -> String {
    field::child(base, path)
}

/// What stands at a path, if anything, must be one of these.
fn one_of(object: &Value<'_>, base: &str, path: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    let given = text(object, path);
    if !given.is_empty() && !allowed.contains(&given) {
        errors.push(FieldError::not_supported(joined(base, path), given.to_owned(), allowed));
    }
}

/// One of these must stand there.
fn require_one_of(object: &Value<'_>, base: &str, path: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    if is_empty(object, path) {
        errors.push(FieldError::required(joined(base, path), ""));
    } else {
        one_of(object, base, path, allowed, errors);
    }
}

/// Numbers that are given must not be negative.
fn not_negative(object: &Value<'_>, base: &str, paths: &[&str], errors: &mut Vec<FieldError>) {
    for path in paths {
        if let Some(given) = number(object, path).filter(|given| *given < 0) {
            errors.push(FieldError::invalid(joined(base, path), given, NOT_NEGATIVE));
        }
    }
}

/// What stands at these paths must not change.
fn immutable(old: &Value<'_>, new: &Value<'_>, paths: &[&str], errors: &mut Vec<FieldError>) {
    for path in paths {
        let (before, after) = (at(old, path), at(new, path));
        if before != after {
            let shown = after.cloned().unwrap_or_default().into_owned();
            errors.push(FieldError::invalid(*path, shown, IMMUTABLE));
        }
    }
}

#[cfg(test)]
mod tests;
