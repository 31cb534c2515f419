use super::*;
use crate::json;

fn compile(schema: Value<'static>) -> StructuralSchema {
    StructuralSchema::from_openapi(&schema.into(), "s").unwrap()
}

fn spec(schema: Value<'static>) -> StructuralSchema {
    compile(json!({"type": "object", "properties": {"spec": schema}}))
}

fn problems(schema: Value<'static>) -> Vec<String> {
    StructuralSchema::from_openapi(&schema.into(), "s")
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn check(schema: Value<'static>, value: Value<'static>) -> Vec<String> {
    spec(schema)
        .validate(&json!({"spec": value}))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn each_keyword_has_the_message_of_the_api() {
    for (schema, value, expected) in [
        (
            json!({"type": "integer"}),
            json!("3"),
            r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#,
        ),
        (
            json!({"type": "string"}),
            Value::Null,
            r#"spec: Invalid value: "null": spec in body must be of type string: "null""#,
        ),
        (
            json!({"type": "integer", "maximum": 10}),
            json!(11),
            "spec: Invalid value: 11: spec in body should be less than or equal to 10",
        ),
        (
            json!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
            json!(10),
            "spec: Invalid value: 10: spec in body should be less than 10",
        ),
        (
            json!({"type": "number", "minimum": 0.5}),
            json!(0),
            "spec: Invalid value: 0: spec in body should be greater than or equal to 0.5",
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            "spec: Invalid value: 4: spec in body should be a multiple of 3",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("éèà"),
            "spec: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("é"),
            r#"spec: Invalid value: "é": spec in body should be at least 2 chars long"#,
        ),
        (
            json!({"type": "string", "pattern": "^a"}),
            json!("b"),
            r#"spec: Invalid value: "b": spec in body should match '^a'"#,
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("zz"),
            r#"spec: Invalid value: "zz": spec in body must be of type date-time: "zz""#,
        ),
        (
            json!({"type": "string", "enum": ["red", "blue"]}),
            json!("green"),
            r#"spec: Unsupported value: "green": supported values: "red", "blue""#,
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "spec: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "spec: Invalid value: 0: spec in body should have at least 1 items",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 0}),
            json!({"a": "b"}),
            "spec: Too many: 1: must have at most 0 items",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 2}),
            json!({"a": "b"}),
            "spec: Invalid value: 1: spec in body should have at least 2 properties",
        ),
        (
            json!({"type": "object", "required": ["a"]}),
            json!({}),
            "spec.a: Required value",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#,
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"a.b": "x"}),
            r#"spec.a.b: Invalid value: "string": spec.a.b in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "array", "items": {"type": "integer", "format": "int32"}}),
            json!([1, 3_000_000_000_u64]),
            "spec[1]: Invalid value: 3000000000: spec[1] in body must be of type int32",
        ),
    ] {
        assert_eq!(check(schema.clone(), value.clone()), [expected], "{schema} {value}");
    }
}

#[test]
fn what_keeps_the_rules_passes() {
    for (schema, value) in [
        (
            json!({"type": "integer", "minimum": 1, "maximum": 3, "multipleOf": 2}),
            json!(2),
        ),
        (json!({"type": "integer"}), json!(1.0)),
        (json!({"type": "number"}), json!(1)),
        (json!({"type": "string", "maxLength": 2, "minLength": 2}), json!("éè")),
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-int-or-string": true}), json!("5%")),
        (
            json!({"x-kubernetes-preserve-unknown-fields": true}),
            json!([1, {"a": null}]),
        ),
        (json!({"type": "string", "format": "x-own"}), json!("any")),
        (json!({"type": "number", "multipleOf": 0.1}), json!(0.3)),
    ] {
        assert!(check(schema.clone(), value.clone()).is_empty(), "{schema} {value}");
    }
}

#[test]
fn branches_add_conditions() {
    let any = json!({"type": "integer", "anyOf": [{"maximum": 1}, {"minimum": 5}]});
    assert!(check(any.clone(), json!(7)).is_empty());
    assert_eq!(
        check(any, json!(3)),
        [
            r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
            "spec: Invalid value: 3: spec in body should be less than or equal to 1",
        ]
    );
    let one = json!({"type": "integer", "oneOf": [{"maximum": 5}, {"minimum": 3}]});
    assert!(check(one.clone(), json!(1)).is_empty());
    assert_eq!(
        check(one, json!(4)),
        [
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]
    );
    let not = json!({"type": "integer", "not": {"enum": [7]}, "allOf": [{"minimum": 2}]});
    assert!(check(not.clone(), json!(8)).is_empty());
    assert_eq!(
        check(not.clone(), json!(7)),
        [r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#]
    );
    assert_eq!(check(not, json!(1)).len(), 2);
}

#[test]
fn sets_and_maps_have_no_item_twice() {
    let map = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "v": {"type": "string"}}},
    });
    assert_eq!(
        check(map.clone(), json!([{"name": "x"}, {"name": "x", "v": "1"}])),
        [r#"spec[1]: Duplicate value: {"name":"x"}"#]
    );
    let many: Vec<Value> = (0..50).map(|i| json!({"name": format!("n{}", i % 49)})).collect();
    assert_eq!(
        check(map, Value::Array(many)),
        [r#"spec[49]: Duplicate value: {"name":"n0"}"#]
    );
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    assert_eq!(
        check(set.clone(), json!(["a", "b", "a"])),
        [r#"spec[2]: Duplicate value: "a""#]
    );
    let many: Vec<Value> = (0..50).map(|i| json!(format!("{}", i % 49))).collect();
    assert_eq!(check(set, Value::Array(many)), [r#"spec[49]: Duplicate value: "0""#]);
}

#[test]
fn unknown_fields_are_dropped_and_named() {
    let schema = spec(json!({"type": "object", "properties": {
        "known": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"tight": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "closed": {"type": "object"},
    }}));
    let mut object = json!({
        "apiVersion": "v1", "kind": "K", "metadata": {"anything": 1}, "extra": 1,
        "spec": {
            "known": "x", "junk": {"deep": 1},
            "free": {"any": {"thing": 1}, "tight": {"a": 1, "b": 2}},
            "map": {"k": {"a": 1, "b": 2}}, "list": [{"a": 1}, {"b": 2}], "closed": {"c": 1},
        },
    });
    let unknown = schema.prune(&mut object);
    assert_eq!(
        unknown,
        [
            "extra",
            "spec.closed.c",
            "spec.free.tight.b",
            "spec.junk",
            "spec.list[1].b",
            "spec.map.k.b"
        ]
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"anything": 1},
            "spec": {
                "known": "x", "free": {"any": {"thing": 1}, "tight": {"a": 1}},
                "map": {"k": {"a": 1}}, "list": [{"a": 1}, {}], "closed": {},
            },
        })
    );
    assert!(schema.prune(&mut object).is_empty());
}

#[test]
fn defaults_fill_what_is_missing_or_null() {
    let schema = spec(json!({"type": "object", "properties": {
        "color": {"type": "string", "default": "red"}, "nul": {"type": "string", "nullable": true}, "plain": {"type": "string"},
        "deep": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 3}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}},
    }}));
    let mut object =
        json!({"spec": {"color": null, "nul": null, "plain": null, "list": [{}, {"n": 2}]}, "other": null});
    schema.default(&mut object);
    let expected =
        json!({"spec": {"color": "red", "nul": null, "deep": {"n": 3}, "list": [{"n": 1}, {"n": 2}]}, "other": null});
    assert_eq!(object, expected);
    let mut without = json!({"metadata": null});
    schema.default(&mut without);
    assert_eq!(without, json!({"metadata": null}));
}

#[test]
fn embedded_resources_keep_and_check_what_makes_them_resources() {
    let schema = spec(
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}),
    );
    let mut object =
        json!({"spec": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "junk": 1}, "other": 1}});
    assert_eq!(schema.prune(&mut object), ["spec.metadata.junk", "spec.other"]);
    assert!(schema.validate(&object).is_empty());
    let errors = schema.validate(&json!({"spec": {"kind": "", "metadata": {"name": 1}}}));
    let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["spec.apiVersion", "spec.kind", "spec.metadata.name"]);
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    let of = |field: Value| json!({"type": "object", "properties": {"f": field}});
    for (schema, expected) in [
        (
            json!({"type": "string"}),
            r#"s.type: Invalid value: "string": must be object at the root"#,
        ),
        (json!({}), "s.type: Required value: must not be empty at the root"),
        (
            of(json!({})),
            "s.properties[f].type: Required value: must not be empty for specified object fields",
        ),
        (
            of(json!({"type": "array", "items": {}})),
            "s.properties[f].items.type: Required value: must not be empty for specified array items",
        ),
        (
            of(json!({"type": "object", "anyOf": [{"type": "object"}]})),
            "s.properties[f].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            of(json!({"type": "object", "anyOf": [{"properties": {"a": {}}}]})),
            "s.properties[f].properties[a]: Required value: because it is defined in s.properties[f].anyOf[0].properties[a]",
        ),
        (
            of(json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": true})),
            "s.properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            of(json!({"type": "string", "$ref": "#/x"})),
            "s.properties[f].$ref: Forbidden: $ref is not supported",
        ),
        (
            of(json!({"type": "string", "x-kubernetes-validations": [{"rule": "true"}]})),
            "s.properties[f].x-kubernetes-validations: Forbidden: validation rules (CEL) are not supported by this server",
        ),
        (
            of(json!({"type": "integer", "default": "x"})),
            r#"s.properties[f].default: Invalid value: "string":  in body must be of type integer: "string""#,
        ),
        (
            of(json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}})),
            "s.properties[f].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            of(json!({"type": "string", "x-kubernetes-map-type": "atomic"})),
            r#"s.properties[f].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified"#,
        ),
        (
            of(json!({"type": "string", "maxLength": -1})),
            r#"s.properties[f].maxLength: Invalid value: "": must be an integer that is not negative"#,
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "s.properties[metadata].properties[labels]: Forbidden: must not specify anything other than name and generateName, but \
             metadata is implicitly specified",
        ),
    ] {
        assert_eq!(problems(schema.clone()), [expected], "{schema}");
    }
    assert!(problems(of(json!({"type": "string", "pattern": "("})))[0].contains("must be a valid regular expression"));
    assert!(!problems(json!([])).is_empty());
}

#[test]
fn int_or_string_may_spell_its_types_out() {
    let schema = json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^a"});
    assert!(check(schema.clone(), json!(1)).is_empty() && check(schema.clone(), json!("ab")).is_empty());
    assert_eq!(check(schema, json!("b")).len(), 1);
}

#[test]
fn errors_and_what_they_show_are_bounded() {
    let schema = json!({"type": "array", "items": {"type": "string", "enum": ["a"]}});
    let errors = check(schema, Value::Array(vec![json!("b".repeat(100_000)); 1000]));
    assert_eq!(errors.len(), MAX_ERRORS);
    assert!(errors[0].len() < 2000);
}

#[test]
fn fields_tell_their_type() {
    let schema = spec(json!({"type": "object", "properties": {
        "s": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}}, "m": {"type": "object", "additionalProperties": {"type": "boolean"}}}}));
    assert_eq!(schema.field(["spec", "s"]), Some(FieldType::String));
    assert_eq!(schema.field(["spec", "m", "any"]), Some(FieldType::Boolean));
    assert_eq!(schema.field(["spec", "l"]), Some(FieldType::Other));
    assert_eq!(schema.field(["spec", "x"]), None);
}

#[test]
fn long_keys_and_values_do_not_swell_the_errors() {
    let schema =
        spec(json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}));
    let mut map = json::Map::new();
    map.insert("k".repeat(1_000_000), Value::Array(vec![json!("x"); 1000]));
    let errors = schema.validate(&json!({"spec": map}));
    assert!(errors.iter().map(|e| e.to_string().len()).sum::<usize>() < 200_000);
    let error = FieldError::invalid("a", "x".repeat(1_000_000), "");
    assert!(error.body().len() < 2000);
}
