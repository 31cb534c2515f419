//! A definition as brokers have it: state in `record`, atomic maps, selectable fields, sealed strings of hundreds of kilobytes.

use apimachinery::crd::CustomResourceDefinition;
use apimachinery::field_selector::FieldSelector;
use apimachinery::json::Value;
use apimachinery::table::{IncludeObject, Row};
use serde_json::json;

fn definition() -> CustomResourceDefinition {
    let mut object: serde_json::Value = serde_json::from_str(include_str!("serviceinstances.json")).unwrap();
    CustomResourceDefinition::apply_defaults(&mut object);
    CustomResourceDefinition::parse(&object).unwrap()
}

fn instance() -> serde_json::Value {
    json!({
        "apiVersion": "reference.osb.internal/v1", "kind": "ServiceInstance",
        "metadata": {"name": "a", "namespace": "n", "creationTimestamp": "2026-11-21T07:40:47Z"},
        "spec": {
            "instanceId": "i", "incarnation": "x", "serviceId": "s", "planId": "small",
            "context": {"platform": "cloudfoundry", "deep": [{"er": null}]}, "parameters": "c2VhbGVk",
        },
        "record": {
            "epoch": 7, "counter": 1, "data": "A".repeat(1000),
            "operation": {"id": "op1", "verb": "Provision", "acceptedAt": "2026-11-21T07:40:47Z", "steps": {"one": {"at": 1, "result": "r"}}},
        },
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Pending"}]},
        "ext": {"anything": [1, {"b": null}]},
    })
}

#[test]
fn a_sound_instance_passes_unchanged() {
    let crd = definition();
    let schema = &crd.storage_version().schema;
    let mut object = Value::from(instance());
    assert!(schema.prune(&mut object).is_empty());
    schema.default(&mut object);
    assert_eq!(object, Value::from(instance()));
    assert!(schema.validate(&object).is_empty());
    assert!(!crd.storage_version().status_subresource);
}

#[test]
fn unknown_fields_are_named_where_the_schema_is_closed() {
    let mut object = instance();
    object["record"]["operation"]["newer"] = json!(1);
    object["record"]["operation"]["steps"]["one"]["newer"] = json!(1);
    object["spec"]["context"]["newer"] = json!(1);
    object["ext"]["newer"] = json!({"x": 1});
    let mut object = Value::from(object);
    let unknown = definition().storage_version().schema.prune(&mut object);
    assert_eq!(unknown, ["record.operation.newer", "record.operation.steps.one.newer"]);
    assert_eq!(object["spec"]["context"]["newer"], 1);
}

#[test]
fn broken_instances_are_told_which_field_it_is() {
    let crd = definition();
    let mut object = instance();
    object["spec"]["instanceId"] = json!("");
    object["record"]["operation"]["verb"] = json!("Explode");
    object["record"]["epoch"] = json!("7");
    object["record"]["operation"]["acceptedAt"] = json!("now");
    object["spec"].as_object_mut().unwrap().remove("planId");
    let errors = crd.storage_version().schema.validate(&object.into());
    let mut paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "record.epoch",
            "record.operation.acceptedAt",
            "record.operation.verb",
            "spec.instanceId",
            "spec.planId"
        ]
    );
}

#[test]
fn the_busy_ones_can_be_selected() {
    let crd = definition();
    let fields = &crd.storage_version().selectable_fields;
    let labels: Vec<&str> = fields.iter().map(|f| f.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "record.operation.id",
            "spec.instanceId",
            "spec.serviceId",
            "spec.planId"
        ]
    );
    let selects = |selector: &str, object: &Value<'_>| {
        let selector = FieldSelector::parse(selector).unwrap();
        selector.require_supported(|path| labels.contains(&path)).unwrap();
        selector.matches(|path| fields.iter().find(|f| f.label == path).map(|f| f.value(object)))
    };
    let busy = Value::from(instance());
    let mut idle = busy.clone();
    idle.pointer_mut("/record")
        .and_then(Value::as_object_mut)
        .unwrap()
        .remove("operation");
    assert!(selects("record.operation.id!=", &busy) && !selects("record.operation.id!=", &idle));
    assert!(selects("record.operation.id=", &idle) && selects("spec.planId=small,record.operation.id=op1", &busy));
}

#[test]
fn kubectl_shows_the_columns() {
    let crd = definition();
    let columns = &crd.storage_version().columns;
    let now = "2026-11-21T07:45:59Z".parse().unwrap();
    let row = Row::of(&instance().into(), columns, IncludeObject::None, "meta.k8s.io/v1", now);
    assert_eq!(
        Value::Array(row.cells),
        apimachinery::json!(["a", "small", "False", "Provision", "5m12s", null])
    );
    let wide: Vec<&str> = columns
        .iter()
        .filter(|c| c.definition.priority > 0)
        .map(|c| c.definition.name.as_str())
        .collect();
    assert_eq!(wide, ["Progress"]);
}
