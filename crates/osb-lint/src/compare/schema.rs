//! Whether a JSON Schema takes less than the one before it.
//!
//! Told keyword by keyword, for the keywords that parameter schemas are made of. Where a keyword that combines schemas
//! or refers to others has changed, that is said, too, and not judged.

use std::collections::BTreeSet;

use osb_api::Object;
use serde_json::Value;

use crate::place::Place;

/// A keyword with which the new schema may take less.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Narrowing {
    /// Where in the schema, as a pointer.
    pub(super) place: Place,
    pub(super) what: String,
    /// Whether it surely takes less.
    pub(super) judged: bool,
}

/// Keywords whose change cannot be judged by looking at them.
const UNJUDGED: [&str; 12] = [
    "$ref",
    "allOf",
    "anyOf",
    "definitions",
    "$defs",
    "dependencies",
    "else",
    "if",
    "not",
    "oneOf",
    "patternProperties",
    "then",
];

/// Keywords whose number narrows when it grows.
const LOWER_BOUNDS: [&str; 4] = ["minLength", "minItems", "minProperties", "minimum"];
/// Keywords whose number narrows when it falls.
const UPPER_BOUNDS: [&str; 4] = ["maxLength", "maxItems", "maxProperties", "maximum"];
/// Keywords that narrow when they come or change: nobody can tell which of two patterns takes more.
const EXACT: [&str; 4] = ["pattern", "format", "multipleOf", "const"];
/// Keywords that narrow when they become true.
const FLAGS: [&str; 3] = ["uniqueItems", "exclusiveMinimum", "exclusiveMaximum"];

/// Every keyword with which `new` takes less than `old`, or may do so.
pub(super) fn changes(old: &Object, new: &Object) -> Vec<Narrowing> {
    let mut found = Vec::new();
    schema(&mut found, &Place::root(), old, new);
    found
}

fn schema(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    if old == new {
        return;
    }
    types(found, place, old, new);
    values(found, place, old, new);
    bounds(found, place, old, new);
    required(found, place, old, new);
    properties(found, place, old, new);
    items(found, place, old, new);
    for keyword in UNJUDGED
        .iter()
        .filter(|keyword| old.get(**keyword) != new.get(**keyword))
    {
        found.push(Narrowing {
            place: place.member(keyword),
            what: "has changed".to_owned(),
            judged: false,
        });
    }
}

fn narrower(found: &mut Vec<Narrowing>, place: Place, what: impl Into<String>) {
    found.push(Narrowing {
        place,
        what: what.into(),
        judged: true,
    });
}

fn types(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    let Some(after) = new.get("type").map(names) else {
        return;
    };
    let place = place.member("type");
    let Some(before) = old.get("type").map(names) else {
        return narrower(
            found,
            place,
            format!("is {} now, where any type was taken", list(&after)),
        );
    };
    let takes = |kind: &str| after.contains(kind) || (kind == "integer" && after.contains("number"));
    let lost: BTreeSet<&str> = before.into_iter().filter(|kind| !takes(kind)).collect();
    if !lost.is_empty() {
        narrower(found, place, format!("no longer takes {}", list(&lost)));
    }
}

fn names(value: &Value) -> BTreeSet<&str> {
    match value {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

fn values(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    let Some(after) = new.get("enum").and_then(Value::as_array) else {
        return;
    };
    let place = place.member("enum");
    match old.get("enum").and_then(Value::as_array) {
        None => narrower(found, place, "is new: only these values are taken"),
        Some(before) => {
            let lost: Vec<String> = before
                .iter()
                .filter(|value| !after.contains(value))
                .map(Value::to_string)
                .collect();
            if !lost.is_empty() {
                narrower(found, place, format!("no longer has {}", lost.join(", ")));
            }
        }
    }
}

fn bounds(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    let mut bound = |keyword: &str, tighter: fn(f64, f64) -> bool| {
        let Some(after) = new.get(keyword).and_then(Value::as_f64) else {
            return;
        };
        let before = old.get(keyword).and_then(Value::as_f64);
        // A lower bound of nothing is no bound.
        let idle = before.is_none() && after == 0.0 && keyword.starts_with("min") && keyword != "minimum";
        if !idle && before.is_none_or(|before| tighter(before, after)) {
            narrower(
                found,
                place.member(keyword),
                was(before.map(|before| before.to_string()), &after.to_string()),
            );
        }
    };
    for keyword in LOWER_BOUNDS.into_iter().chain(["exclusiveMinimum"]) {
        bound(keyword, |before, after| after > before);
    }
    for keyword in UPPER_BOUNDS.into_iter().chain(["exclusiveMaximum"]) {
        bound(keyword, |before, after| after < before);
    }
    for keyword in EXACT {
        if let Some(after) = new.get(keyword).filter(|after| old.get(keyword) != Some(after)) {
            narrower(
                found,
                place.member(keyword),
                was(old.get(keyword).map(Value::to_string), &after.to_string()),
            );
        }
    }
    for keyword in FLAGS {
        if new.get(keyword) == Some(&Value::Bool(true)) && old.get(keyword) != Some(&Value::Bool(true)) {
            narrower(found, place.member(keyword), "is true now");
        }
    }
}

fn was(before: Option<String>, after: &str) -> String {
    match before {
        Some(before) => format!("was {before} and is {after}"),
        None => format!("is {after}, where there was none"),
    }
}

fn required(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    // In draft 3 it is a flag of the property itself.
    let names = |schema: &Object| -> BTreeSet<String> {
        let list = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let before = names(old);
    for name in names(new).difference(&before) {
        narrower(found, place.member("required"), format!("has {name:?} now"));
    }
}

fn properties(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    let empty = Object::new();
    let of = |schema: &'_ Object| schema.get("properties").and_then(Value::as_object).cloned();
    let (before, after) = (of(old).unwrap_or_default(), of(new).unwrap_or_default());
    let place_of = |name: &str| place.member("properties").member(name);
    let (others_before, others_after) = (Others::of(old), Others::of(new));
    for (name, schema_before) in &before {
        match (after.get(name), &others_after) {
            (Some(schema_after), _) => pair(found, &place_of(name), schema_before, schema_after),
            (None, Others::None) => narrower(found, place.member("properties"), format!("no longer has {name:?}")),
            (None, Others::Any) => {}
            (None, Others::Like(schema_after)) => {
                pair(
                    found,
                    &place.member("additionalProperties"),
                    schema_before,
                    &Value::Object(schema_after.clone()),
                );
            }
        }
    }
    // A property that is new was one of the others before.
    for (name, schema_after) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        match &others_before {
            Others::None => {}
            Others::Any => pair(found, &place_of(name), &Value::Object(empty.clone()), schema_after),
            Others::Like(like) => pair(found, &place_of(name), &Value::Object(like.clone()), schema_after),
        }
    }
    let place = place.member("additionalProperties");
    match (others_before, others_after) {
        (Others::None, _) | (_, Others::Any) => {}
        (_, Others::None) => narrower(found, place, "are no longer taken"),
        (Others::Any, Others::Like(after)) => schema(found, &place, &empty, &after),
        (Others::Like(before), Others::Like(after)) => schema(found, &place, &before, &after),
    }
}

/// What is taken beside the properties that are named.
enum Others {
    Any,
    None,
    Like(Object),
}

impl Others {
    fn of(schema: &Object) -> Self {
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => Self::None,
            Some(Value::Object(like)) => Self::Like(like.clone()),
            _ => Self::Any,
        }
    }
}

fn items(found: &mut Vec<Narrowing>, place: &Place, old: &Object, new: &Object) {
    if let Some(after) = new.get("items") {
        let any = Value::Object(Object::new());
        pair(found, &place.member("items"), old.get("items").unwrap_or(&any), after);
    }
}

/// Two schemas; what is no object is compared as a whole.
fn pair(found: &mut Vec<Narrowing>, place: &Place, old: &Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => schema(found, place, old, new),
        (_, Value::Bool(true)) => {}
        (Value::Bool(true), Value::Object(new)) => schema(found, place, &Object::new(), new),
        (old, new) if old != new => found.push(Narrowing {
            place: place.clone(),
            what: "has changed".to_owned(),
            judged: false,
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Place and judgement of each change.
    fn told(old: Value, new: Value) -> Vec<(String, bool)> {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let changes = changes(&object(old), &object(new)).into_iter();
        changes
            .map(|change| (change.place.to_string(), change.judged))
            .collect()
    }

    #[track_caller]
    fn narrows(place: &str, old: Value, new: Value) {
        assert_eq!(
            told(old.clone(), new.clone()),
            [(place.to_owned(), true)],
            "{old} {new}"
        );
    }

    #[track_caller]
    fn widens(old: Value, new: Value) {
        assert_eq!(told(old.clone(), new.clone()), [], "{old} {new}");
    }

    #[test]
    fn types_and_values() {
        narrows("/type", json!({}), json!({ "type": "string" }));
        narrows(
            "/type",
            json!({ "type": ["string", "null"] }),
            json!({ "type": "string" }),
        );
        narrows("/type", json!({ "type": "number" }), json!({ "type": "integer" }));
        widens(json!({ "type": "integer" }), json!({ "type": "number" }));
        widens(json!({ "type": "string" }), json!({}));
        narrows("/enum", json!({}), json!({ "enum": [1] }));
        narrows("/enum", json!({ "enum": [1, 2] }), json!({ "enum": [2, 3] }));
        widens(json!({ "enum": [1] }), json!({ "enum": [2, 1] }));
    }

    #[test]
    fn bounds_and_patterns() {
        narrows("/minimum", json!({ "minimum": 1 }), json!({ "minimum": 1.5 }));
        narrows("/minimum", json!({}), json!({ "minimum": 0 }));
        widens(json!({}), json!({ "minLength": 0 }));
        widens(json!({ "maxLength": 5 }), json!({ "maxLength": 6 }));
        narrows("/maxLength", json!({ "maxLength": 6 }), json!({ "maxLength": 5 }));
        narrows(
            "/exclusiveMinimum",
            json!({ "minimum": 1 }),
            json!({ "minimum": 1, "exclusiveMinimum": true }),
        );
        narrows("/exclusiveMaximum", json!({}), json!({ "exclusiveMaximum": 7 }));
        narrows("/pattern", json!({ "pattern": "a" }), json!({ "pattern": "b" }));
        narrows("/format", json!({}), json!({ "format": "uri" }));
        widens(json!({ "pattern": "a", "uniqueItems": true }), json!({}));
        narrows("/uniqueItems", json!({}), json!({ "uniqueItems": true }));
    }

    #[test]
    fn members_of_objects() {
        let closed = |properties: Value| json!({ "properties": properties, "additionalProperties": false });
        narrows(
            "/required",
            json!({ "required": ["a"] }),
            json!({ "required": ["b", "a"] }),
        );
        widens(json!({ "required": ["a"] }), json!({}));
        narrows(
            "/properties",
            closed(json!({ "a": {}, "b": {} })),
            closed(json!({ "a": {} })),
        );
        widens(
            closed(json!({ "a": {} })),
            closed(json!({ "a": {}, "b": { "type": "string" } })),
        );
        narrows(
            "/additionalProperties",
            json!({}),
            json!({ "additionalProperties": false }),
        );
        narrows(
            "/additionalProperties/type",
            json!({}),
            json!({ "additionalProperties": { "type": "string" } }),
        );
        narrows(
            "/properties/a/properties/b~1c/maximum",
            json!({ "properties": { "a": { "properties": { "b/c": {} } } } }),
            json!({ "properties": { "a": { "properties": { "b/c": { "maximum": 3 } } } } }),
        );
        // Anything could be said under the name before.
        narrows(
            "/properties/a/type",
            json!({}),
            json!({ "properties": { "a": { "type": "string" } } }),
        );
    }

    #[test]
    fn elements_of_arrays() {
        narrows("/items/type", json!({}), json!({ "items": { "type": "string" } }));
        widens(json!({ "items": { "type": "string" } }), json!({}));
        assert_eq!(
            told(json!({ "items": [{}] }), json!({ "items": [{}, {}] })),
            [("/items".to_owned(), false)]
        );
    }

    #[test]
    fn what_cannot_be_judged_is_said() {
        let old = json!({ "anyOf": [{ "required": ["a"] }], "title": "T" });
        assert_eq!(
            told(old.clone(), json!({ "title": "U" })),
            [("/anyOf".to_owned(), false)]
        );
        assert_eq!(told(json!({ "description": "x" }), json!({})), []);
    }
}
