use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-11-21T07:43:24Z";

fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.ex.io"},
        "spec": {
            "group": "ex.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1},
                ],
                "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "size": {"type": "integer"}, "color": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}},
                        "map": {"type": "object", "additionalProperties": {"type": "string"}}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
            }],
        },
    })
}

fn parsed(edit: impl FnOnce(&mut Value)) -> Result<CustomResourceDefinition, Vec<String>> {
    let mut object = widgets();
    CustomResourceDefinition::apply_defaults(&mut object);
    edit(&mut object);
    CustomResourceDefinition::parse(&object).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn a_definition_is_completed_and_compiled() {
    let crd = parsed(|_| {}).unwrap();
    assert_eq!(
        (crd.names.singular.as_str(), crd.names.list_kind.as_str()),
        ("widget", "WidgetList")
    );
    assert_eq!(crd.scope, Scope::Namespaced);
    let version = crd.storage_version();
    assert!(version.status_subresource && version.scale.is_some());
    assert_eq!(
        version.columns[0].definition.description,
        "Custom resource definition column (in JSONPath format): .spec.size"
    );
    let object = crate::json!({"spec": {"color": "red", "size": 3}});
    let values: Vec<_> = version
        .selectable_fields
        .iter()
        .map(|f| (f.label.as_str(), f.value(&object)))
        .collect();
    assert_eq!(values, [("spec.color", "red".into()), ("spec.size", "3".into())]);
    assert_eq!(version.selectable_fields[1].value(&crate::json!({})), "");
}

#[test]
fn without_columns_there_is_the_age() {
    let crd = parsed(|o| o["spec"]["versions"][0]["additionalPrinterColumns"] = Value::Null).unwrap();
    assert_eq!(crd.versions[0].columns, [TableColumn::age()]);
}

#[test]
fn broken_rules_are_named() {
    let set =
        |pointer: &'static str, value: Value| move |object: &mut Value| *object.pointer_mut(pointer).unwrap() = value;
    for (pointer, value, expected) in [
        (
            "/metadata/name",
            json!("foo.ex.io"),
            r#"metadata.name: Invalid value: "foo.ex.io": must be spec.names.plural+"."+spec.group"#,
        ),
        (
            "/spec/scope",
            json!("Global"),
            r#"spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced""#,
        ),
        (
            "/spec/versions/0/storage",
            json!(false),
            r#"spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version"#,
        ),
        (
            "/spec/conversion/strategy",
            json!("Webhook"),
            r#"spec.conversion.strategy: Unsupported value: "Webhook": supported values: "None""#,
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/type",
            json!(""),
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns/0/type",
            json!("float"),
            r#"spec.additionalPrinterColumns[0].type: Unsupported value: "float": supported values: "integer", "number", "string", "boolean", "date""#,
        ),
        (
            "/spec/versions/0/subresources/scale/specReplicasPath",
            json!(".status.replicas"),
            r#"spec.subresources.scale.specReplicasPath: Invalid value: ".status.replicas": should be a json path under .spec"#,
        ),
        (
            "/spec/names/kind",
            json!("Wid get"),
            "spec.names.kind: Invalid value: \"Wid get\": may have mixed case, but should otherwise match: a DNS-1035 label must \
             consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric \
             character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        ),
    ] {
        assert_eq!(parsed(set(pointer, value)).unwrap_err(), [expected], "{pointer}");
    }
}

#[test]
fn selectable_fields_are_single_scalars_outside_of_metadata() {
    for (path, detail) in [
        (".spec.list", "must point to a field of type string, boolean or integer"),
        (".spec.list[0]", "array notation is not allowed"),
        (".metadata.name", "does not refer to a valid field"),
        (".spec.missing", "does not refer to a valid field"),
        ("spec.color", "does not refer to a valid field"),
    ] {
        let errors =
            parsed(|o| o["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": path}])).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains(detail), "{path}: {errors:?}");
    }
    assert!(parsed(|o| o["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.map.key"}])).is_ok());
    let nine: Vec<Value> = (0..9).map(|i| json!({"jsonPath": format!(".spec.map.k{i}")})).collect();
    let errors = parsed(|o| o["spec"]["versions"][0]["selectableFields"] = json!(nine)).unwrap_err();
    assert_eq!(
        errors,
        ["spec.selectableFields: Too many: 9: must have at most 8 items"]
    );
}

#[test]
fn a_missing_schema_is_said_as_the_api_says_it() {
    let errors = parsed(|o| {
        o["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
    });
    assert_eq!(
        errors.unwrap_err(),
        [
            "spec.versions[0].schema.openAPIV3Schema: Required value",
            "spec.selectableFields: Invalid value: \"\": may only be set when validations.schema is included",
        ]
    );
}

#[test]
fn versions_that_differ_have_paths_of_their_own() {
    let errors = parsed(|o| {
        let mut second = o["spec"]["versions"][0].clone();
        second["name"] = json!("v2");
        second["storage"] = json!(false);
        second["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = json!("");
        o["spec"]["versions"].as_array_mut().unwrap().push(second);
    });
    assert!(errors.unwrap_err()[0].starts_with("spec.versions[1].schema.openAPIV3Schema.properties[spec].type: "));
}

#[test]
fn status_follows_the_life_of_a_definition() {
    let mut object = widgets();
    CustomResourceDefinition::apply_defaults(&mut object);
    CustomResourceDefinition::establish(&mut object, NOW);
    assert!(CustomResourceDefinition::has_condition(&object, "Established"));
    assert_eq!(object["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(object["status"]["acceptedNames"]["listKind"], "WidgetList");
    let before = object.clone();
    CustomResourceDefinition::establish(&mut object, "2027-01-01T00:00:00Z");
    assert_eq!(object, before);
    CustomResourceDefinition::reject_names(&mut object, "taken", NOW);
    assert!(!CustomResourceDefinition::has_condition(&object, "NamesAccepted"));
    assert!(CustomResourceDefinition::has_condition(&object, "Established"));
    CustomResourceDefinition::terminate(&mut object, NOW);
    assert!(CustomResourceDefinition::has_condition(&object, "Terminating"));
}

#[test]
fn what_names_the_objects_stays() {
    let mut old = widgets();
    CustomResourceDefinition::establish(&mut old, NOW);
    let mut new = old.clone();
    assert!(CustomResourceDefinition::validate_update(&old, &new).is_empty());
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["versions"][0]["name"] = json!("v2");
    let errors = CustomResourceDefinition::validate_update(&old, &new);
    let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["spec.scope", "status.storedVersions[0]"]);
}

#[test]
fn odd_objects_are_errors_and_never_a_panic() {
    for object in [
        json!(null),
        json!([]),
        json!({}),
        json!({"spec": 1}),
        json!({"spec": {"versions": [1, null], "names": []}}),
    ] {
        let mut object = object;
        CustomResourceDefinition::apply_defaults(&mut object);
        assert!(CustomResourceDefinition::parse(&object).is_err());
        CustomResourceDefinition::establish(&mut object, NOW);
    }
}
