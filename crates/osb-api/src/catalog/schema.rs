//! The rules on a published parameter schema that need no validator (OSB-SCH-02 to -04).

use serde_json::Value;

use super::MAX_SCHEMA_BYTES;
use crate::Object;

/// Keywords whose value is data, not a schema.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// Keywords whose value maps names to schemas: a name in it is no keyword.
const NAMED: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// Keywords that refer to another schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What is wrong with a schema, and how to mend it.
pub(super) struct Problem {
    pub(super) requirement: &'static str,
    /// `.$schema`, or nothing for the schema as a whole.
    pub(super) member: &'static str,
    pub(super) what: String,
    pub(super) mend: &'static str,
}

/// Everything that is wrong with a schema.
pub(super) fn problems(schema: &Object) -> Vec<Problem> {
    let mut problems = Vec::new();
    let dialect = schema.get("$schema").and_then(Value::as_str);
    if dialect.is_none_or(str::is_empty) {
        problems.push(Problem {
            requirement: "OSB-SCH-02",
            member: ".$schema",
            what: "is missing".to_owned(),
            mend: "name the dialect, for instance http://json-schema.org/draft-04/schema#",
        });
    }
    if let Some(reference) = external_reference(schema) {
        let reference: String = reference.chars().take(100).collect();
        problems.push(Problem {
            requirement: "OSB-SCH-03",
            member: "",
            what: format!("has the external reference {reference:?}"),
            mend: "move what it refers to into the schema, `#/definitions/...`",
        });
    }
    let size = serde_json::to_vec(schema).map_or(0, |json| json.len());
    if size > MAX_SCHEMA_BYTES {
        problems.push(Problem {
            requirement: "OSB-SCH-04",
            member: "",
            what: format!("has {size} bytes"),
            mend: "64000 bytes are the most that platforms take: shorten descriptions and enumerations",
        });
    }
    problems
}

fn external_reference(schema: &Object) -> Option<&str> {
    schema.iter().find_map(|(keyword, value)| match value {
        Value::String(target) if REFERENCES.contains(&keyword.as_str()) => {
            (!target.starts_with('#')).then_some(target.as_str())
        }
        _ if DATA.contains(&keyword.as_str()) => None,
        Value::Object(named) if NAMED.contains(&keyword.as_str()) => named.values().find_map(in_value),
        value => in_value(value),
    })
}

fn in_value(value: &Value) -> Option<&str> {
    match value {
        Value::Object(schema) => external_reference(schema),
        Value::Array(schemas) => schemas.iter().find_map(in_value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: Value) -> usize {
        let Value::Object(schema) = schema else {
            panic!("no object")
        };
        problems(&schema).len()
    }

    /// OSB-SCH-02, OSB-SCH-03.
    #[test]
    fn references_have_to_stay_inside() {
        let dialect = "http://json-schema.org/draft-04/schema#";
        assert_eq!(found(json!({})), 1);
        assert_eq!(found(json!({ "$schema": "" })), 1);
        assert_eq!(
            found(json!({ "$schema": dialect, "properties": { "a": { "$ref": "#/definitions/a" } } })),
            0
        );
        assert_eq!(
            found(
                json!({ "$schema": dialect, "properties": { "a": { "anyOf": [{ "$ref": "https://example.com/s.json" }] } } })
            ),
            1
        );
        assert_eq!(
            found(json!({ "$schema": dialect, "definitions": { "a": { "$ref": "other.json#/x" } } })),
            1
        );
        assert_eq!(
            found(
                json!({ "$schema": dialect, "properties": { "$ref": { "type": "string" }, "enum": { "$ref": "x" } } })
            ),
            1
        );
        assert_eq!(
            found(
                json!({ "$schema": dialect, "properties": { "a": { "enum": [{ "$ref": "data" }], "default": { "$ref": "data" } } } })
            ),
            0
        );
    }

    /// OSB-SCH-04.
    #[test]
    fn a_schema_has_at_most_64000_bytes() {
        let with = |length: usize| json!({ "$schema": "x", "description": "d".repeat(length) });
        let overhead = with(0).to_string().len();
        assert_eq!(found(with(MAX_SCHEMA_BYTES - overhead)), 0);
        assert_eq!(found(with(MAX_SCHEMA_BYTES - overhead + 1)), 1);
    }
}
