//! Parameters: the JSON schema of the author's types, and the check of requests against it.

use std::collections::BTreeMap;

use osb_api::Object;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform as _, transform_subschemas};
use serde_json::Value;

/// The dialect that every platform can read (OSB-SCH-05).
const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";

/// The most problems that one answer names.
const MAX_PROBLEMS: usize = 10;

/// A schema with its compiled form.
pub(crate) struct ParameterSchema {
    pub(crate) json: Object,
    validator: jsonschema::Validator,
}

/// A schema that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameter schema cannot be used: {0}")]
pub struct SchemaError(String);

impl ParameterSchema {
    /// The schema of a type, as draft 4 without references.
    pub(crate) fn of<T: JsonSchema>() -> Result<Self, SchemaError> {
        let settings = SchemaSettings::draft07().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut schema = settings.into_generator().into_root_schema_for::<T>();
        (&mut to_draft_4 as &mut dyn FnMut(&mut schemars::Schema)).transform(&mut schema);
        schema.remove("title");
        schema.insert("$schema".to_owned(), DRAFT_4.into());
        let Value::Object(json) = schema.to_value() else {
            return Err(SchemaError("it is no object".to_owned()));
        };
        Self::compile(json)
    }

    fn compile(json: Object) -> Result<Self, SchemaError> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .offline()
            .with_pattern_options(jsonschema::PatternOptions::fancy_regex().backtrack_limit(10_000))
            .build(&Value::Object(json.clone()))
            // Its errors quote the schema, which is the author's own and public.
            .map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { json, validator })
    }

    /// What is wrong with the parameters, field by field; values are never quoted.
    pub(crate) fn check(&self, parameters: &Object) -> Result<(), String> {
        let parameters = Value::Object(parameters.clone());
        if self.validator.is_valid(&parameters) {
            return Ok(());
        }
        let mut problems: BTreeMap<String, String> = BTreeMap::new();
        for error in self.validator.iter_errors(&parameters).take(MAX_PROBLEMS) {
            let field = field_name(error.instance_path().as_str());
            problems.entry(field).or_insert_with(|| error.masked().to_string());
        }
        let texts: Vec<String> = problems
            .into_iter()
            .map(|(field, problem)| format!("{field}: {problem}"))
            .collect();
        Err(texts.join("; "))
    }
}

/// `/size/0` as `parameters.size[0]`.
fn field_name(pointer: &str) -> String {
    let mut name = "parameters".to_owned();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            name.push_str(&format!("[{part}]"));
        } else {
            name.push('.');
            name.push_str(&part);
        }
    }
    name
}

/// Turns what schemars writes for draft 7 into draft 4.
fn to_draft_4(schema: &mut schemars::Schema) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if schema.get(exclusive).is_some_and(Value::is_number)
            && let Some(limit) = schema.remove(exclusive)
        {
            schema.insert(bound.to_owned(), limit);
            schema.insert(exclusive.to_owned(), true.into());
        }
    }
    if let Some(constant) = schema.remove("const") {
        schema.insert("enum".to_owned(), Value::Array(vec![constant]));
    }
    transform_subschemas(&mut to_draft_4, schema);
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Sample {
        #[schemars(range(min = 1, max = 100))]
        size_gb: u32,
        #[serde(default)]
        owner: Option<Owner>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Owner {
        #[schemars(length(max = 5))]
        name: String,
    }

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            _ => panic!("an object"),
        }
    }

    /// OSB-SCH-02, OSB-SCH-03, OSB-SCH-05
    #[test]
    fn the_schema_of_a_type_is_draft_4_without_references() {
        let schema = ParameterSchema::of::<Sample>().expect("a schema").json;
        assert_eq!(schema["$schema"], DRAFT_4);
        assert_eq!(schema["properties"]["size_gb"]["minimum"], 1);
        assert!(!Value::Object(schema).to_string().contains("$ref"));
    }

    /// OSB-PROV-06
    #[test]
    fn a_problem_points_at_its_field_and_quotes_no_value() {
        let schema = ParameterSchema::of::<Sample>().expect("a schema");
        assert_eq!(schema.check(&object(json!({"size_gb": 5}))), Ok(()));
        let text = schema
            .check(&object(json!({"size_gb": 777_777})))
            .expect_err("too large");
        assert!(
            text.starts_with("parameters.size_gb: ") && !text.contains("777777"),
            "{text}"
        );
        let text = schema
            .check(&object(json!({"size_gb": 5, "owner": {"name": "hunter2"}})))
            .expect_err("too long");
        assert!(
            text.contains("parameters.owner.name: ") && !text.contains("hunter2"),
            "{text}"
        );
        let text = schema.check(&object(json!({}))).expect_err("required");
        assert!(text.contains("size_gb"), "{text}");
    }
}
