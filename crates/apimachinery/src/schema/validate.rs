//! Validation, with the messages of the Kubernetes API.

use std::cmp::Ordering;

use serde_json::Number;

use super::path::Path;
use super::{Additional, Bound, JsonType, Node, Resource, Rules, lists};
use crate::field::{FieldError, FieldErrorKind, MAX_SHOWN_BYTES};
use crate::go;
use crate::json::{Map, Value};
use crate::meta;

pub(super) fn validate(root: &Node, object: &Value<'_>) -> Vec<FieldError> {
    let mut errors = Errors::new(super::MAX_ERRORS);
    check(root, object, &Path::Root, &mut errors);
    lists::check(root, object, &Path::Root, &mut errors);
    errors.list
}

/// Errors up to a limit.
pub(super) struct Errors {
    list: Vec<FieldError>,
    limit: usize,
}

impl Errors {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            list: Vec::new(),
            limit,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= self.limit
    }

    pub(super) fn push(&mut self, error: impl FnOnce() -> FieldError) {
        if !self.is_full() {
            self.list.push(error());
        }
    }

    fn append(&mut self, other: Vec<FieldError>) {
        self.list
            .extend(other.into_iter().take(self.limit.saturating_sub(self.list.len())));
    }

    /// An `Invalid` error whose detail is the path and a phrase: `spec.size in body should be …`.
    fn invalid(&mut self, path: &Path<'_>, value: impl FnOnce() -> Value<'static>, phrase: impl FnOnce() -> String) {
        self.push(|| {
            let path = path.render();
            let detail = format!("{path} in body {}", phrase());
            FieldError::invalid(named(path), value(), detail)
        });
    }
}

/// Errors about the object itself carry the path that Go prints for none.
fn named(path: String) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path }
}

fn check(node: &Node, value: &Value<'_>, path: &Path<'_>, errors: &mut Errors) {
    if errors.is_full() || (value.is_null() && node.nullable) {
        return;
    }
    if !has_type(node, value) {
        type_error(node, value, path, errors);
        return check_allowed(node, value, path, errors);
    }
    check_branches(node, value, path, errors);
    match value {
        Value::String(text) => check_text(&node.rules, text, path, errors),
        Value::Number(number) => check_number(&node.rules, number, path, errors),
        Value::Array(items) => check_items(node, items, path, errors),
        _ => {}
    }
    check_allowed(node, value, path, errors);
    if let Value::Object(map) = value {
        check_object(node, map, path, errors);
    }
}

fn check_allowed(node: &Node, value: &Value<'_>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(allowed) = node
        .rules
        .allowed
        .as_ref()
        .filter(|allowed| !allowed.iter().any(|one| one == value))
    {
        errors.push(|| not_allowed(path, value, allowed));
    }
}

fn has_type(node: &Node, value: &Value<'_>) -> bool {
    if node.int_or_string {
        return value.is_string() || is_integer(value);
    }
    match node.json_type {
        None => true,
        Some(JsonType::Object) => value.is_object(),
        Some(JsonType::Array) => value.is_array(),
        Some(JsonType::String) => value.is_string(),
        Some(JsonType::Integer) => is_integer(value),
        Some(JsonType::Number) => value.is_number(),
        Some(JsonType::Boolean) => value.is_boolean(),
    }
}

/// A whole number, whether it was written as one (`1`) or not (`1.0`), as far as a float is exact.
fn is_integer(value: &Value<'_>) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() <= EXACT)
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn type_error(node: &Node, value: &Value<'_>, path: &Path<'_>, errors: &mut Errors) {
    let expected = if node.int_or_string {
        "integer,string"
    } else {
        node.json_type.map_or("", JsonType::name)
    };
    let found = type_name(value);
    errors.push(|| {
        let path = path.render();
        let detail = format!("{path} in body must be of type {expected}: \"{found}\"");
        FieldError::type_invalid(named(path), found, detail)
    });
}

fn not_allowed(path: &Path<'_>, value: &Value<'_>, allowed: &[Value<'_>]) -> FieldError {
    let texts: Vec<String> = allowed
        .iter()
        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    FieldError::not_supported(named(path.render()), shown(value), &texts)
}

/// A value as an error shows it: a long one is cut, or only its type is named.
fn shown(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::String(text) => Value::from(go::cut(text, MAX_SHOWN_BYTES).into_owned()),
        Value::Array(_) | Value::Object(_) if value.to_string().len() > MAX_SHOWN_BYTES => {
            Value::from(type_name(value))
        }
        other => other.clone().into_owned(),
    }
}

/// The first of length, pattern and format that does not hold.
fn check_text(rules: &Rules, text: &str, path: &Path<'_>, errors: &mut Errors) {
    let cut = || go::cut(text, MAX_SHOWN_BYTES);
    let value = || Value::from(cut().into_owned());
    if let Some(max) = rules.max_length.filter(|max| longer_than(text, *max)) {
        return errors.push(|| FieldError::too_long(named(path.render()), max));
    }
    if let Some(min) = rules.min_length.filter(|min| *min > 0 && !longer_than(text, min - 1)) {
        return errors.invalid(path, value, || format!("should be at least {min} chars long"));
    }
    if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        return errors.invalid(path, value, || format!("should match '{}'", pattern.text));
    }
    if let Some(format) = rules.format.filter(|format| !format.accepts_text(text)) {
        errors.push(|| {
            let path = path.render();
            let detail = format!(
                "{path} in body must be of type {}: {}",
                format.name(),
                go::quote(&cut())
            );
            FieldError::type_invalid(named(path), value(), detail)
        });
    }
}

/// Whether a text has more than so many characters. Counts only when its bytes do not tell.
fn longer_than(text: &str, chars: u64) -> bool {
    let bytes = text.len() as u64;
    if bytes <= chars {
        return false;
    }
    bytes / 4 > chars || text.chars().count() as u64 > chars
}

fn check_number(rules: &Rules, number: &Number, path: &Path<'_>, errors: &mut Errors) {
    let value = || Value::Number(number.clone());
    let print = go::number;
    if let Some(format) = rules.format.filter(|format| !format.accepts_number(number)) {
        errors.invalid(path, value, || format!("must be of type {}", format.name()));
    }
    if let Some(factor) = rules.multiple_of.as_ref().filter(|factor| !is_multiple(number, factor)) {
        errors.invalid(path, value, || format!("should be a multiple of {}", print(factor)));
    }
    if let Some(Bound { limit, exclusive }) = rules.maximum.as_ref().filter(|b| outside(number, b, Ordering::Greater)) {
        let or_equal = if *exclusive { "" } else { " or equal to" };
        errors.invalid(path, value, || {
            format!("should be less than{or_equal} {}", print(limit))
        });
    }
    if let Some(Bound { limit, exclusive }) = rules.minimum.as_ref().filter(|b| outside(number, b, Ordering::Less)) {
        let or_equal = if *exclusive { "" } else { " or equal to" };
        errors.invalid(path, value, || {
            format!("should be greater than{or_equal} {}", print(limit))
        });
    }
}

fn outside(number: &Number, bound: &Bound, wrong: Ordering) -> bool {
    let ordering = compare(number, &bound.limit);
    ordering == wrong || (bound.exclusive && ordering == Ordering::Equal)
}

fn whole(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

fn compare(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match (whole(number), whole(factor)) {
        (Some(number), Some(factor)) => factor == 0 || number % factor == 0,
        _ => {
            let quotient = number.as_f64().unwrap_or(0.0) / factor.as_f64().unwrap_or(1.0);
            (quotient - quotient.round()).abs() <= f64::EPSILON * quotient.abs().max(1.0)
        }
    }
}

fn check_items(node: &Node, items: &[Value<'_>], path: &Path<'_>, errors: &mut Errors) {
    let count = items.len() as u64;
    if let Some(child) = &node.items {
        for (i, item) in items.iter().enumerate() {
            check(child, item, &path.index(i), errors);
        }
    }
    if let Some(min) = node.rules.min_items.filter(|min| count < *min) {
        errors.invalid(path, || count.into(), || format!("should have at least {min} items"));
    }
    if let Some(max) = node.rules.max_items.filter(|max| count > *max) {
        errors.push(|| FieldError::too_many(named(path.render()), count, max));
    }
}

fn check_object(node: &Node, map: &Map<'_>, path: &Path<'_>, errors: &mut Errors) {
    let count = map.len() as u64;
    if let Some(min) = node.rules.min_properties.filter(|min| count < *min) {
        errors.invalid(
            path,
            || count.into(),
            || format!("should have at least {min} properties"),
        );
    }
    if let Some(max) = node.rules.max_properties.filter(|max| count > *max) {
        errors.push(|| FieldError::too_many(named(path.render()), count, max));
    }
    for name in node.rules.required.iter().filter(|name| !map.contains_key(name)) {
        errors.push(|| FieldError::required(path.key(name).render(), ""));
    }
    if node.resource == Some(Resource::Embedded) {
        check_embedded(map, path, errors);
    }
    if node.properties.is_empty() && !matches!(node.additional, Additional::Schema(_)) {
        return;
    }
    for (key, value) in map {
        if let Some(child) = node.child(key) {
            check(child, value, &path.key(key), errors);
        }
    }
}

/// An embedded resource names its kind and has sound metadata.
fn check_embedded(map: &Map<'_>, path: &Path<'_>, errors: &mut Errors) {
    for name in ["apiVersion", "kind"] {
        if map.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
            errors.push(|| FieldError::required(path.key(name).render(), "must not be empty"));
        }
    }
    let Some(metadata) = map.get("metadata") else { return };
    let at = path.key("metadata");
    let Value::Object(metadata) = metadata else {
        return errors.push(|| FieldError::type_invalid(at.render(), type_name(metadata), "must be of type object"));
    };
    if let Err(e) = meta::decode(&mut metadata.clone(), &at.render()) {
        let detail = format!("must be {}", e.expected);
        errors.push(|| FieldError {
            kind: FieldErrorKind::TypeInvalid,
            path: e.path,
            value: None,
            detail,
        });
    }
    let mut found = Vec::new();
    meta::validate_labels(metadata.get("labels"), &at.key("labels").render(), &mut found);
    errors.append(found);
}

fn check_branches(node: &Node, value: &Value<'_>, path: &Path<'_>, errors: &mut Errors) {
    let Some(branches) = &node.branches else { return };
    let say = |errors: &mut Errors, text: &str| {
        errors.push(|| FieldError::invalid("<nil>", "", format!("\"{}\" {text}", path.render())));
    };
    if !branches.any_of.is_empty() && !branches.any_of.iter().any(|branch| is_valid(branch, value, path)) {
        say(errors, "must validate at least one schema (anyOf)");
        errors.append(failures(&branches.any_of[0], value, path, errors.limit));
    }
    if !branches.one_of.is_empty() {
        match branches
            .one_of
            .iter()
            .filter(|branch| is_valid(branch, value, path))
            .count()
        {
            1 => {}
            0 => {
                say(
                    errors,
                    "must validate one and only one schema (oneOf). Found none valid",
                );
                errors.append(failures(&branches.one_of[0], value, path, errors.limit));
            }
            n => say(
                errors,
                &format!("must validate one and only one schema (oneOf). Found {n} valid alternatives"),
            ),
        }
    }
    let failed = branches.all_of.iter().filter(|branch| {
        let found = failures(branch, value, path, errors.limit);
        let failed = !found.is_empty();
        errors.append(found);
        failed
    });
    match failed.count() {
        0 => {}
        n if n == branches.all_of.len() => say(errors, "must validate all the schemas (allOf). None validated"),
        _ => say(errors, "must validate all the schemas (allOf)"),
    }
    if branches
        .not
        .as_ref()
        .is_some_and(|branch| is_valid(branch, value, path))
    {
        say(errors, "must not validate the schema (not)");
    }
}

fn is_valid(node: &Node, value: &Value<'_>, path: &Path<'_>) -> bool {
    failures(node, value, path, 1).is_empty()
}

fn failures(node: &Node, value: &Value<'_>, path: &Path<'_>, limit: usize) -> Vec<FieldError> {
    let mut errors = Errors::new(limit);
    check(node, value, path, &mut errors);
    errors.list
}
