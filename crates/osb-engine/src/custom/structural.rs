//! From the JSON schema of a Rust type to the structural schema that a definition of resources takes.
//!
//! A Kubernetes API takes less than JSON schema: each place says its one type, branches only add conditions, and what
//! is not named is dropped. What cannot be said there is refused when the broker starts, with the place and the
//! reason; a real API server would refuse the whole definition, or drop values without a word.

use osb_api::Object;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The dialect whose `exclusiveMinimum` is a boolean, as in structural schemas.
const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// Said of a place for people or for other tools; defaults are serde's, when the value is read.
const DROPPED: &[&str] = &[
    "$schema",
    "title",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
    // Where a type that contains itself lies; what leads there is refused.
    "components",
    // Absent and `null` are one here: no null is ever written.
    "nullable",
    // A set of Rust has no duplicates anyway, and an API server does not check them.
    "uniqueItems",
];

/// Taken as they are.
const KEPT: &[&str] = &[
    "type",
    "description",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    PRESERVE,
    INT_OR_STRING,
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

/// Formats that all API servers and this crate understand alike; others are dropped.
const FORMATS: &[&str] = &["int32", "int64", "float", "double", "date-time", "uuid", "ipv4", "ipv6"];

/// Why a type cannot be shown in a resource, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", if .path.is_empty() { "the type itself" } else { .path })]
pub(crate) struct Unfit {
    /// `.size.unit`, `.disks[]`
    pub(crate) path: String,
    pub(crate) what: String,
}

fn unfit<T>(path: &str, what: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit {
        path: path.to_owned(),
        what: what.into(),
    })
}

/// The structural schema of a type, which is an object with named fields.
pub(crate) fn of<T: JsonSchema>() -> Result<Object, Unfit> {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let schema = node(&schema, "")?;
    let named = schema.get("type") == Some(&"object".into()) && schema.get("additionalProperties").is_none();
    if !named {
        return unfit("", "it is not a struct with named fields");
    }
    validator(&schema)?;
    Ok(schema)
}

/// What checks values against a structural schema. Patterns are read as an API server reads them: no look-around.
pub(crate) fn validator(schema: &Object) -> Result<jsonschema::Validator, Unfit> {
    let mut schema = schema.clone();
    schema.insert("$schema".to_owned(), DRAFT_4.into());
    jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&Value::Object(schema))
        .or_else(|error| unfit("", error.to_string()))
}

/// The schema of a type with what checks values against it.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) schema: Object,
    validator: jsonschema::Validator,
}

impl Checked {
    pub(crate) fn of<T: JsonSchema>() -> Result<Self, Unfit> {
        let schema = of::<T>()?;
        let validator = validator(&schema)?;
        Ok(Self { schema, validator })
    }

    /// A value as it is stored, if a server takes it; what is wrong quotes no value.
    pub(crate) fn checked(&self, value: &impl Serialize) -> Result<Object, String> {
        let Ok(value @ Value::Object(_)) = serde_json::to_value(value).map(without_nulls) else {
            return Err("it cannot be written as a JSON object".to_owned());
        };
        if let Some(path) = unnamed(&self.schema, &value, "") {
            return Err(format!("it has no {path}"));
        }
        if let Err(error) = self.validator.validate(&value) {
            let path = error.instance_path().as_str().replace('/', ".");
            return Err(format!("{path}: {}", error.masked()));
        }
        match value {
            Value::Object(members) => Ok(members),
            _ => Ok(Map::new()),
        }
    }
}

/// The same schema with its types only: a value that an older version of the author's type has left never stands in
/// the way of a write.
pub(crate) fn types_only(schema: &Object) -> Object {
    let mut loose = Map::new();
    for name in ["type", "description", PRESERVE, INT_OR_STRING] {
        if let Some(value) = schema.get(name) {
            loose.insert(name.to_owned(), value.clone());
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(Value::Object(child)) = schema.get(name) {
            loose.insert(name.to_owned(), types_only(child).into());
        }
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let properties: Object = properties
            .iter()
            .filter_map(|(name, child)| Some((name.clone(), types_only(child.as_object()?).into())))
            .collect();
        loose.insert("properties".to_owned(), properties.into());
    }
    loose
}

/// The first place of a value that the schema does not name: an API server would drop or refuse it.
pub(crate) fn unnamed(schema: &Object, value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Array(items) => {
            let schema = schema.get("items")?.as_object()?;
            items
                .iter()
                .find_map(|item| unnamed(schema, item, &format!("{path}[]")))
        }
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            let named = schema.get("properties").and_then(|properties| properties.get(name));
            match named
                .or_else(|| schema.get("additionalProperties"))
                .and_then(Value::as_object)
            {
                Some(schema) => unnamed(schema, value, &path),
                None => (!is_true(schema, PRESERVE)).then_some(path),
            }
        }),
        _ => None,
    }
}

/// What of a schema has changed so that values from before may not fit any more: a place with another type, or one
/// that is required now.
pub(crate) fn not_additive(before: &Value, after: &Value, path: &str) -> Option<String> {
    let kind = |schema: &Value| (schema["type"].clone(), schema[INT_OR_STRING].clone());
    if kind(before) != kind(after) && after[PRESERVE] != true {
        return Some(format!("{path}: it had another type"));
    }
    let has = |list: &Value, name: &Value| list.as_array().is_some_and(|list| list.contains(name));
    let required = after["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(name) = required.iter().find(|name| !has(&before["required"], name)) {
        return Some(format!(
            "{path}.{}: it was not required",
            name.as_str().unwrap_or_default()
        ));
    }
    for name in ["items", "additionalProperties"] {
        if before[name].is_object()
            && after[name].is_object()
            && let Some(found) = not_additive(&before[name], &after[name], &format!("{path}[]"))
        {
            return Some(found);
        }
    }
    let properties = after["properties"].as_object()?;
    properties.iter().find_map(|(name, after)| {
        let before = before["properties"].get(name)?;
        not_additive(before, after, &format!("{path}.{name}"))
    })
}

/// The value without the members that are `null`, at any depth.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

fn is_true(schema: &Object, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn anything() -> Object {
    Map::from_iter([(PRESERVE.to_owned(), true.into())])
}

fn node(schema: &Value, path: &str) -> Result<Object, Unfit> {
    let mut map = match schema {
        Value::Bool(true) => return Ok(anything()),
        Value::Object(map) => map.clone(),
        _ => return unfit(path, "it can have no value"),
    };
    map.retain(|name, _| !DROPPED.contains(&name.as_str()));
    if let Some(Value::Array(branches)) = map.remove("allOf") {
        let [branch] = branches.as_slice() else {
            return unfit(path, "it is several types at once");
        };
        map = merged(map, node(branch, path)?, path)?;
    }
    for name in ["oneOf", "anyOf"] {
        if let Some(Value::Array(branches)) = map.get(name)
            && !is_condition(branches)
        {
            let branches = branches.clone();
            map.remove(name);
            let chosen = union(name, &branches, path)?;
            map = merged(map, chosen, path)?;
        }
    }
    typed(map, path)
}

/// Branches that are conditions already, because a branch of ours was converted before.
fn is_condition(branches: &[Value]) -> bool {
    branches
        .iter()
        .all(|branch| branch.get("type").is_none() && branch.get("required").is_some())
}

/// A place whose alternatives have been settled.
fn typed(map: Object, path: &str) -> Result<Object, Unfit> {
    let mut out = Map::new();
    for (name, value) in &map {
        match name.as_str() {
            "format" => {
                if value.as_str().is_some_and(|format| FORMATS.contains(&format)) {
                    out.insert(name.clone(), value.clone());
                }
            }
            "properties" | "additionalProperties" | "items" | "oneOf" | "anyOf" => {}
            "$ref" => return unfit(path, "the type contains itself"),
            kept if KEPT.contains(&kept) => {
                out.insert(name.clone(), value.clone());
            }
            other => return unfit(path, format!("`{other}` cannot be said in a resource")),
        }
    }
    bounds(&mut out);
    choices(&mut out, path)?;
    name_type(&mut out, &map, path)?;
    children(&mut out, &map, path)?;
    for name in ["oneOf", "anyOf"] {
        if let Some(conditions) = map.get(name) {
            out.insert(name.to_owned(), conditions.clone());
        }
    }
    Ok(out)
}

/// Exclusive bounds are flags beside the bound.
fn bounds(out: &mut Object) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if out.get(exclusive).is_some_and(Value::is_number)
            && let Some(limit) = out.remove(exclusive)
        {
            out.insert(bound.to_owned(), limit);
            out.insert(exclusive.to_owned(), true.into());
        }
    }
}

/// The values of an enum, without the `null` of an `Option`.
fn choices(out: &mut Object, path: &str) -> Result<(), Unfit> {
    let Some(Value::Array(values)) = out.get_mut("enum") else {
        return Ok(());
    };
    values.retain(|value| !value.is_null());
    if values.is_empty() {
        return unfit(path, "it can have no value");
    }
    Ok(())
}

/// Each place has one type, or says that it takes anything.
fn name_type(out: &mut Object, map: &Object, path: &str) -> Result<(), Unfit> {
    if is_true(out, INT_OR_STRING) {
        out.remove("type");
        return Ok(());
    }
    match out.get("type") {
        Some(Value::String(_)) => return Ok(()),
        Some(Value::Array(types)) => {
            if types.len() == 2 && types.contains(&"integer".into()) && types.contains(&"string".into()) {
                out.remove("type");
                out.insert(INT_OR_STRING.to_owned(), true.into());
                return Ok(());
            }
            return unfit(path, "its values have different types");
        }
        _ => {}
    }
    let of_values = out.get("enum").and_then(Value::as_array).map(|values| {
        let all = |is: fn(&Value) -> bool| values.iter().all(is);
        match () {
            () if all(Value::is_string) => Some("string"),
            () if all(Value::is_i64) => Some("integer"),
            () if all(Value::is_boolean) => Some("boolean"),
            () => None,
        }
    });
    let inferred = match of_values {
        Some(Some(inferred)) => inferred,
        Some(None) => return unfit(path, "its values have different types"),
        None if map.contains_key("properties") => "object",
        None => {
            out.insert(PRESERVE.to_owned(), true.into());
            return Ok(());
        }
    };
    out.insert("type".to_owned(), inferred.into());
    Ok(())
}

fn children(out: &mut Object, map: &Object, path: &str) -> Result<(), Unfit> {
    let mut named = Map::new();
    if let Some(Value::Object(properties)) = map.get("properties") {
        for (name, schema) in properties {
            named.insert(name.clone(), node(schema, &format!("{path}.{name}"))?.into());
        }
    }
    match map.get("additionalProperties") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => {
            out.insert(PRESERVE.to_owned(), true.into());
        }
        Some(_) if !named.is_empty() => return unfit(path, "it has named fields and a flattened map"),
        Some(schema) => {
            no_nulls_in(schema, path)?;
            let schema = node(schema, &format!("{path}[]"))?;
            out.insert("additionalProperties".to_owned(), schema.into());
        }
    }
    if !named.is_empty() {
        out.insert("properties".to_owned(), named.into());
    }
    if out.get("type") == Some(&"array".into()) {
        let items = match map.get("items") {
            Some(Value::Array(_)) => return unfit(path, "it is a tuple: make it a list or a struct"),
            Some(items) => items.clone(),
            None => json!({}),
        };
        no_nulls_in(&items, path)?;
        out.insert("items".to_owned(), node(&items, &format!("{path}[]"))?.into());
    }
    Ok(())
}

/// No null is written, so a list or a map cannot hold one.
fn no_nulls_in(schema: &Value, path: &str) -> Result<(), Unfit> {
    let branches = ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|name| schema[name].as_array());
    let null_branch = branches.flatten().any(is_null);
    if schema["nullable"] == true || null_branch {
        return unfit(&format!("{path}[]"), "a list or map of optional values");
    }
    Ok(())
}

fn is_null(branch: &Value) -> bool {
    branch["type"] == "null" || branch.get("const").is_some_and(Value::is_null) || branch["enum"] == json!([null])
}

/// One schema for a place that may have one of several; `name` is `oneOf` or `anyOf`.
fn union(name: &str, branches: &[Value], path: &str) -> Result<Object, Unfit> {
    let branches: Vec<Object> = branches
        .iter()
        .filter(|branch| !is_null(branch))
        .map(|branch| node(branch, path))
        .collect::<Result<_, _>>()?;
    let Some((first, others)) = branches.split_first() else {
        return unfit(path, "it can have no value");
    };
    if others.iter().all(|other| same(other, first)) {
        return Ok(first.clone());
    }
    if let Some(values) = texts(&branches) {
        return Ok(Map::from_iter([
            ("type".to_owned(), "string".into()),
            ("enum".to_owned(), values.into()),
        ]));
    }
    let is = |branch: &Object, wanted: &str| branch.get("type") == Some(&wanted.into());
    if let [one, other] = branches.as_slice()
        && (is(one, "integer") && is(other, "string") || is(one, "string") && is(other, "integer"))
    {
        return Ok(Map::from_iter([(INT_OR_STRING.to_owned(), true.into())]));
    }
    if branches.iter().all(|branch| is(branch, "object")) {
        return variants(name, &branches, path);
    }
    unfit(
        path,
        "its values have different types; an enum with data and without in one is written with #[serde(tag = \"…\")]",
    )
}

fn same(one: &Object, other: &Object) -> bool {
    let plain = |schema: &Object| {
        let mut schema = schema.clone();
        schema.remove("description");
        schema
    };
    plain(one) == plain(other)
}

/// The values of branches that are choices of texts.
fn texts(branches: &[Object]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    for branch in branches {
        if branch.get("type") != Some(&"string".into()) {
            return None;
        }
        for value in branch.get("enum")?.as_array()? {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
    }
    Some(values)
}

/// An object that is one of several: all their fields, and a condition for each.
fn variants(name: &str, branches: &[Object], path: &str) -> Result<Object, Unfit> {
    let empty = Map::new();
    let fields = |branch: &Object| branch.get("properties").and_then(Value::as_object).cloned();
    let mut together: Object = Map::new();
    for branch in branches {
        if branch.contains_key("additionalProperties") || branch.contains_key("oneOf") || branch.contains_key("anyOf") {
            return unfit(
                path,
                "a variant is a map, or has variants of its own without a name of its own",
            );
        }
        for (field, schema) in fields(branch).unwrap_or_default() {
            let schema = schema.as_object().unwrap_or(&empty);
            let place = format!("{path}.{field}");
            let joined = match together.get(&field).and_then(Value::as_object) {
                None => schema.clone(),
                Some(before) => joined(before, schema, &place)?,
            };
            together.insert(field, joined.into());
        }
    }
    let conditions: Vec<Value> = branches.iter().map(|branch| condition(branch, &together)).collect();
    let mut out = Map::new();
    out.insert("type".to_owned(), "object".into());
    out.insert("properties".to_owned(), together.into());
    if branches.iter().any(|branch| is_true(branch, PRESERVE)) {
        out.insert(PRESERVE.to_owned(), true.into());
    }
    // Without a condition of its own a variant accepts everything, and `oneOf` would be none.
    if conditions.iter().all(|condition| condition.get("required").is_some()) {
        out.insert(name.to_owned(), conditions.into());
    }
    Ok(out)
}

/// A field that several variants have.
fn joined(one: &Object, other: &Object, path: &str) -> Result<Object, Unfit> {
    if same(one, other) {
        return Ok(one.clone());
    }
    match texts(&[one.clone(), other.clone()]) {
        Some(values) => {
            let mut out = one.clone();
            out.insert("enum".to_owned(), values.into());
            Ok(out)
        }
        None => unfit(path, "variants have this field with different types"),
    }
}

/// What holds of one variant only: the fields that it must have, and the values of its tag.
fn condition(branch: &Object, together: &Object) -> Value {
    let mut condition = Map::new();
    let tags: Object = branch
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(name, schema)| schema.get("enum") != together.get(*name).and_then(|all| all.get("enum")))
        .filter_map(|(name, schema)| Some((name.clone(), json!({"enum": schema.get("enum")?}))))
        .collect();
    if !tags.is_empty() {
        condition.insert("properties".to_owned(), tags.into());
    }
    if let Some(required) = branch.get("required") {
        condition.insert("required".to_owned(), required.clone());
    }
    condition.into()
}

/// What was said beside the alternatives, and what they came to.
fn merged(beside: Object, mut chosen: Object, path: &str) -> Result<Object, Unfit> {
    for (name, value) in beside {
        match (name.as_str(), chosen.get_mut(&name)) {
            (_, None) | ("description", Some(_)) => {
                chosen.insert(name, value);
            }
            ("properties", Some(Value::Object(fields))) => {
                for (field, schema) in value.as_object().cloned().unwrap_or_default() {
                    if fields.contains_key(&field) {
                        return unfit(&format!("{path}.{field}"), "it is named twice");
                    }
                    fields.insert(field, schema);
                }
            }
            ("required", Some(Value::Array(names))) => {
                for required in value.as_array().cloned().unwrap_or_default() {
                    if !names.contains(&required) {
                        names.push(required);
                    }
                }
            }
            (_, Some(found)) if *found == value => {}
            ("additionalProperties", Some(_)) => {}
            _ => return unfit(path, format!("`{name}` is said twice")),
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests;
