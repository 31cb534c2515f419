//! What writes of roles and bindings do beyond their schema.

use apimachinery::field::{self, FieldError};
use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::label_selector::LabelSelector;
use apimachinery::meta::{NameRule, path_segment_problems};
use apimachinery::rbac::GROUP;

use crate::codec::Damaged;

/// Completes and checks a role.
pub(super) fn role(new: &mut Value<'_>, namespaced: bool) -> Result<Vec<FieldError>, Damaged> {
    let members = new.as_object_mut().ok_or(Damaged)?;
    let none = |rules: &Value<'_>| rules.as_array().is_none_or(Vec::is_empty);
    if members.get("rules").is_none_or(none) {
        members.insert("rules", Value::Null);
    }
    let mut errors = Vec::new();
    let rules = new.get("rules").and_then(Value::as_array);
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        rule_errors(rule, namespaced, &field::index("rules", i), &mut errors);
    }
    if let Some(aggregation) = new.get("aggregationRule").filter(|_| !namespaced) {
        let path = "aggregationRule.clusterRoleSelectors";
        let selectors = aggregation.get("clusterRoleSelectors").and_then(Value::as_array);
        if selectors.is_none_or(Vec::is_empty) {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required(path, why));
        }
        for (i, selector) in selectors.into_iter().flatten().enumerate() {
            errors.extend(
                LabelSelector::from_object(selector, &field::index(path, i))
                    .err()
                    .into_iter()
                    .flatten(),
            );
        }
    }
    Ok(errors)
}

fn rule_errors(rule: &Value<'_>, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let has = |name: &str| {
        rule.get(name)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    let child = |name: &str| field::child(path, name);
    if !has("verbs") {
        errors.push(FieldError::required(
            child("verbs"),
            "verbs must contain at least one value",
        ));
    }
    if has("nonResourceURLs") {
        let mut wrong = |why: &str| {
            errors.push(FieldError::invalid(
                child("nonResourceURLs"),
                rule["nonResourceURLs"].clone(),
                why,
            ));
        };
        if namespaced {
            wrong("namespaced rules cannot apply to non-resource URLs");
        }
        if has("apiGroups") || has("resources") || has("resourceNames") {
            wrong("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    for (name, why) in [
        ("apiGroups", "resource rules must supply at least one api group"),
        ("resources", "resource rules must supply at least one resource"),
    ] {
        if !has(name) {
            errors.push(FieldError::required(child(name), why));
        }
    }
}

/// Completes and checks a binding.
pub(super) fn binding<'t>(
    new: &mut Value<'t>,
    old: Option<&Value<'t>>,
    namespaced: bool,
) -> Result<Vec<FieldError>, Damaged> {
    fill(new)?;
    let mut errors = Vec::new();
    role_ref_errors(new, namespaced, &mut errors);
    let subjects = new.get("subjects").and_then(Value::as_array);
    for (i, subject) in subjects.into_iter().flatten().enumerate() {
        subject_errors(subject, namespaced, &field::index("subjects", i), &mut errors);
    }
    if let Some(old) = old
        && ["apiGroup", "kind", "name"]
            .iter()
            .any(|name| old["roleRef"].get(name) != new["roleRef"].get(name))
    {
        let shown = json!({
            "APIGroup": new["roleRef"]["apiGroup"].clone(), "Kind": new["roleRef"]["kind"].clone(),
            "Name": new["roleRef"]["name"].clone(),
        });
        errors.push(FieldError::invalid("roleRef", shown, "cannot change roleRef"));
    }
    Ok(errors)
}

/// The group of the role and of users and groups, where it is not given.
fn fill(binding: &mut Value<'_>) -> Result<(), Damaged> {
    let members = binding.as_object_mut().ok_or(Damaged)?;
    let role = members.get_or_insert("roleRef", Map::new());
    let role = role.as_object_mut().ok_or(Damaged)?;
    let is_missing =
        |members: &Map<'_>, name: &str| members.get(name).and_then(Value::as_str).is_none_or(str::is_empty);
    if is_missing(role, "apiGroup") {
        role.insert("apiGroup", GROUP);
    }
    for name in ["kind", "name"] {
        role.get_or_insert(name, "");
    }
    if members
        .get("subjects")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        members.remove("subjects");
    }
    let Some(Value::Array(subjects)) = members.get_mut("subjects") else {
        return Ok(());
    };
    for subject in subjects {
        let Some(subject) = subject.as_object_mut() else {
            continue;
        };
        let kind = subject.get("kind").and_then(Value::as_str).unwrap_or_default();
        if matches!(kind, "User" | "Group") && is_missing(subject, "apiGroup") {
            subject.insert("apiGroup", GROUP);
        }
        for name in ["kind", "name"] {
            subject.get_or_insert(name, "");
        }
    }
    Ok(())
}

fn role_ref_errors(binding: &Value<'_>, namespaced: bool, errors: &mut Vec<FieldError>) {
    let text = |name: &str| binding["roleRef"].get(name).and_then(Value::as_str).unwrap_or_default();
    if text("apiGroup") != GROUP {
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            text("apiGroup"),
            &[GROUP],
        ));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&text("kind")) {
        errors.push(FieldError::not_supported("roleRef.kind", text("kind"), kinds));
    }
    if text("name").is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
        return;
    }
    let problems = path_segment_problems(text("name")).into_iter();
    errors.extend(problems.map(|problem| FieldError::invalid("roleRef.name", text("name"), problem)));
}

fn subject_errors(subject: &Value<'_>, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let text = |name: &str| subject.get(name).and_then(Value::as_str).unwrap_or_default();
    let child = |name: &str| field::child(path, name);
    if text("name").is_empty() {
        errors.push(FieldError::required(child("name"), ""));
    }
    match text("kind") {
        "ServiceAccount" => {
            if !text("name").is_empty() {
                let problems = NameRule::Subdomain.problems(text("name")).into_iter();
                errors.extend(problems.map(|problem| FieldError::invalid(child("name"), text("name"), problem)));
            }
            if !text("apiGroup").is_empty() {
                errors.push(FieldError::not_supported(child("apiGroup"), text("apiGroup"), &[""]));
            }
            if !namespaced && text("namespace").is_empty() {
                errors.push(FieldError::required(child("namespace"), ""));
            }
        }
        "User" | "Group" if text("apiGroup") != GROUP => {
            errors.push(FieldError::not_supported(child("apiGroup"), text("apiGroup"), &[GROUP]));
        }
        "User" | "Group" => {}
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(child("kind"), other, &kinds));
        }
    }
}
