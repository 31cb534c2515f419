use serde_json::json;
use template::document;

use super::*;

const TEMPLATE: &str = r#"
kind: Template
apiVersion: template.openshift.io/v1
metadata: {name: t}
parameters:
- {name: NAME, displayName: Name, description: What it is called, required: true}
- {name: SIZE, value: 1Gi, required: true}
- {name: PASSWORD, generate: expression, from: "[a-z]{8}", required: true}
- {name: REPLICAS, value: "3"}
- {name: DEBUG, value: "false"}
- {name: LEVEL, value: "1"}
- {name: EXTRA}
- {name: DEFAULT_TOKEN, value: hunter2, required: true}
objects:
- {kind: ConfigMap, apiVersion: v1, data: {a: "${{REPLICAS}}", b: ["${{DEBUG}}", "${LEVEL}", "${{EXTRA}}"]}}
"#;

fn parameters(rules: &str) -> Parameters {
    let rules: Rules = serde_saphyr::from_str(rules).unwrap();
    Parameters::of(&document::templates(TEMPLATE).unwrap()[0], &rules)
}

fn given(parameters: &Parameters, request: Value, purpose: Purpose) -> Result<Given, String> {
    let Value::Object(request) = request else {
        panic!("an object")
    };
    parameters
        .given(&request, &Fixed::default(), purpose)
        .map_err(|wrong| wrong.to_string())
}

fn created(parameters: &Parameters, mut request: Value) -> Result<Given, String> {
    request["NAME"] = "db".into();
    given(parameters, request, Purpose::Create)
}

/// S6: what has a default or a generator need not be given, neither by the schema nor by the broker.
#[test]
fn only_what_has_no_value_otherwise_is_required() {
    let parameters = parameters("{}");
    let schema = Value::Object(parameters.schema(&Fixed::default(), Purpose::Create));
    assert_eq!(schema["required"], json!(["NAME"]));
    assert_eq!(
        given(&parameters, json!({}), Purpose::Create),
        Err("parameters.NAME: is required".to_owned())
    );
    assert_eq!(
        given(&parameters, json!({"NAME": ""}), Purpose::Create),
        Err("parameters.NAME: is required".to_owned())
    );
    assert_eq!(
        given(&parameters, json!({"NAME": "a"}), Purpose::Create).unwrap()["NAME"],
        "a"
    );
    assert_eq!(given(&parameters, json!({}), Purpose::Update), Ok(Given::new()));
    let schema = Value::Object(parameters.schema(&Fixed::default(), Purpose::Update));
    assert!(schema.get("required").is_none());
}

#[test]
fn the_schema_is_that_of_a_form() {
    let schema = Value::Object(parameters("{}").schema(&Fixed::default(), Purpose::Create));
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(
        schema["properties"]["NAME"],
        json!({"type": "string", "title": "Name", "description": "What it is called"})
    );
    assert_eq!(
        schema["properties"]["SIZE"],
        json!({"type": "string", "default": "1Gi"})
    );
}

/// S7
#[test]
fn unknown_parameters_are_refused() {
    assert_eq!(
        created(&parameters("{}"), json!({"SIZZE": "1"})),
        Err("parameters.SIZZE: the template has no such parameter".to_owned())
    );
}

/// S5
#[test]
fn numbers_and_booleans_are_taken_where_they_are_inserted_as_such() {
    let parameters = parameters("{}");
    let schema = Value::Object(parameters.schema(&Fixed::default(), Purpose::Create));
    let of = |name: &str| &schema["properties"][name];
    assert_eq!(*of("REPLICAS"), json!({"type": "integer", "default": 3}));
    assert_eq!(*of("DEBUG"), json!({"type": "boolean", "default": false}));
    assert_eq!(
        (&of("LEVEL")["type"], &of("EXTRA")["type"]),
        (&json!("string"), &json!("string"))
    );
    let texts = created(&parameters, json!({"REPLICAS": 5, "DEBUG": true})).unwrap();
    assert_eq!((texts["REPLICAS"].as_str(), texts["DEBUG"].as_str()), ("5", "true"));
    // As it had to be sent before.
    assert_eq!(created(&parameters, json!({"REPLICAS": "5"})).unwrap()["REPLICAS"], "5");
    let wrong = created(&parameters, json!({"REPLICAS": true, "SIZE": 1})).unwrap_err();
    assert_eq!(
        wrong,
        "parameters.REPLICAS: is not an integer; parameters.SIZE: is not a text"
    );
}

#[test]
fn annotated_types_are_published_and_checked() {
    let rules = "{SIZE: {enum: [1Gi, 5Gi]}, LEVEL: {type: number, minimum: 1, maximum: 10}, \
                  NAME: {minLength: 2, maxLength: 5, pattern: '^[a-z]+$'}, EXTRA: {type: object}}";
    let parameters = parameters(rules);
    let schema = Value::Object(parameters.schema(&Fixed::default(), Purpose::Create));
    assert_eq!(schema["properties"]["SIZE"]["enum"], json!(["1Gi", "5Gi"]));
    assert_eq!(
        schema["properties"]["LEVEL"],
        json!({"type": "number", "default": 1, "minimum": 1, "maximum": 10})
    );
    assert_eq!(schema["properties"]["NAME"]["pattern"], "^[a-z]+$");
    let texts = created(&parameters, json!({"SIZE": "5Gi", "LEVEL": 2.5, "EXTRA": {"a": [1]}})).unwrap();
    assert_eq!(
        (texts["LEVEL"].as_str(), texts["EXTRA"].as_str()),
        ("2.5", r#"{"a":[1]}"#)
    );
    for (request, what) in [
        (json!({"SIZE": "2Gi"}), r#"parameters.SIZE: is none of "1Gi", "5Gi""#),
        (json!({"LEVEL": 0}), "parameters.LEVEL: is less than 1"),
        (json!({"LEVEL": 11}), "parameters.LEVEL: is more than 10"),
        (json!({"EXTRA": []}), "parameters.EXTRA: is not an object"),
    ] {
        assert_eq!(created(&parameters, request), Err(what.to_owned()));
    }
    let long = given(&parameters, json!({"NAME": "abcdef"}), Purpose::Create);
    assert_eq!(long, Err("parameters.NAME: is too long".to_owned()));
}

#[test]
fn a_unique_parameter_has_another_value_in_each_instance() {
    let parameters = parameters("{NAME: {unique: true}, SIZE: {unique: true}}");
    let schema = Value::Object(parameters.schema(&Fixed::default(), Purpose::Create));
    assert!(schema.get("required").is_none() && schema["properties"]["SIZE"].get("default").is_none());
    assert!(given(&parameters, json!({}), Purpose::Create).is_ok());
    let unique = parameters.unique("k7x2");
    assert_eq!(
        (unique["NAME"].as_str(), unique["SIZE"].as_str(), unique.len()),
        ("k7x2", "1Gi-k7x2", 2)
    );
}

/// P20
#[test]
fn an_empty_text_leaves_a_generator_at_work() {
    let parameters = parameters("{PASSWORD: {minLength: 8}}");
    let texts = created(&parameters, json!({"PASSWORD": "", "EXTRA": "", "SIZE": null})).unwrap();
    assert!(!texts.contains_key("PASSWORD") && !texts.contains_key("SIZE"));
    assert_eq!(texts["EXTRA"], "");
}

#[test]
fn secrets_are_marked_and_their_defaults_not_published() {
    let parameters = parameters("{EXTRA: {sensitive: true}}");
    let schema = Value::Object(parameters.schema(&Fixed::default(), Purpose::Create));
    let secret = json!({"type": "string", "format": "password", "writeOnly": true});
    for name in ["PASSWORD", "EXTRA", "DEFAULT_TOKEN"] {
        assert_eq!(schema["properties"][name], secret, "{name}");
        assert!(parameters.get(name).unwrap().is_sensitive());
    }
    assert!(!schema.to_string().contains("hunter2"));
}

#[test]
fn no_message_quotes_a_value() {
    let parameters = parameters("{REPLICAS: {minimum: 1}, NAME: {maxLength: 2}, SIZE: {enum: [a]}}");
    let request = json!({"REPLICAS": "hunter2", "NAME": "hunter2", "SIZE": "hunter2", "PASSWORD": ["hunter2"]});
    let text = given(&parameters, request, Purpose::Create).unwrap_err();
    assert!(
        text.matches("parameters.").count() == 4 && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn what_the_plan_fixes_cannot_be_given() {
    let parameters = parameters("{}");
    let fixed = Fixed {
        values: Given::from([
            ("SIZE".to_owned(), "9Gi".to_owned()),
            ("NAME".to_owned(), "db".to_owned()),
        ]),
        defaults: Given::new(),
    };
    let schema = Value::Object(parameters.schema(&fixed, Purpose::Create));
    assert!(schema["properties"].get("SIZE").is_none() && schema.get("required").is_none());
    assert_eq!(parameters.form(&fixed)[0], "PASSWORD");
    assert_eq!(
        parameters.given(&Object::new(), &fixed, Purpose::Create),
        Ok(Given::new())
    );
    let request = json!({"SIZE": "1Gi"}).as_object().cloned().unwrap();
    let wrong = parameters.given(&request, &fixed, Purpose::Create).unwrap_err();
    assert_eq!(wrong.to_string(), "parameters.SIZE: is fixed by the plan");
}

#[test]
fn values_together_fit_into_a_secret() {
    let large = "x".repeat(MAX_VALUES_BYTES);
    assert!(
        created(&parameters("{}"), json!({"EXTRA": large}))
            .unwrap_err()
            .contains("1 MiB")
    );
}

#[test]
fn a_pattern_is_checked_as_json_schema_has_it() {
    let anchored = parameters("{EXTRA: {pattern: '^[a-z]+$'}, PASSWORD: {pattern: '[0-9]'}}");
    assert!(created(&anchored, json!({"EXTRA": "abc"})).is_ok());
    assert_eq!(
        created(&anchored, json!({"EXTRA": "abc1"})),
        Err("parameters.EXTRA: does not match the pattern ^[a-z]+$".to_owned())
    );
    assert!(created(&anchored, json!({"PASSWORD": "a1b"})).is_ok(), "anywhere");
    assert!(created(&anchored, json!({"PASSWORD": "abc"})).is_err());
    // It is generated then.
    assert!(created(&anchored, json!({"PASSWORD": ""})).is_ok());
    // What cannot be checked here is left to platforms, and nothing takes long or much.
    for pattern in ["(?=x)", "(a)\\\\1", "((((a{100}){100}){100}){100})"] {
        let unchecked = parameters(&format!("{{EXTRA: {{pattern: \"{pattern}\"}}}}"));
        assert!(created(&unchecked, json!({"EXTRA": "aaaa"})).is_ok(), "{pattern}");
    }
}
