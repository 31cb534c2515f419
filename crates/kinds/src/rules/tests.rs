use apimachinery::json;
use apimachinery::json::Value;

use super::{check_change, check_new};
use crate::Kind;

fn kind(group: &str, name: &str) -> &'static Kind {
    let mut all = crate::kinds().iter();
    all.find(|kind| kind.group == group && kind.kind == name).unwrap()
}

/// Shapes and completes an object as a write does, and tells what is wrong with it.
fn paths(group: &str, name: &str, object: Value<'static>) -> Vec<String> {
    let kind = kind(group, name);
    let errors = check_new(kind, &complete(kind, object));
    errors
        .into_iter()
        .map(|error| format!("{} {}", error.path, error.kind.reason()))
        .collect()
}

fn complete(kind: &'static Kind, mut object: Value<'static>) -> Value<'static> {
    kind.object_type().shape(&mut object).unwrap();
    kind.object_type().default(&mut object);
    object
}

fn deployment(selector: Value<'static>, labels: Value<'static>) -> Value<'static> {
    let (selector, labels): (serde_json::Value, serde_json::Value) = (selector.into(), labels.into());
    json!({"spec": {"selector": selector, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[test]
fn a_selector_must_find_its_own_template() {
    let right = deployment(json!({"matchLabels": {"a": "b"}}), json!({"a": "b", "c": "d"}));
    assert_eq!(paths("apps", "Deployment", right), Vec::<String>::new());
    for (selector, expected) in [
        (
            json!({"matchLabels": {"a": "x"}}),
            "spec.template.metadata.labels FieldValueInvalid",
        ),
        (json!({}), "spec.selector FieldValueInvalid"),
    ] {
        assert_eq!(
            paths("apps", "Deployment", deployment(selector, json!({"a": "b"}))),
            [expected]
        );
    }
}

#[test]
fn what_is_missing_is_named() {
    for (group, name, object, expected) in [
        (
            "",
            "Pod",
            json!({"spec": {}}),
            &["spec.containers FieldValueRequired"][..],
        ),
        (
            "",
            "Pod",
            json!({"spec": {"containers": [{"name": "A_b"}, {"image": "i", "name": "c", "volumeMounts": [{"name": "v", "mountPath": "/"}]}]}}),
            &[
                "spec.containers[0].name FieldValueInvalid",
                "spec.containers[0].image FieldValueRequired",
                "spec.containers[1].volumeMounts[0].name FieldValueNotFound",
            ],
        ),
        (
            "apps",
            "StatefulSet",
            json!({"spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{
                    "image": "i", "name": "c",
                    "volumeMounts": [{"name": "data", "mountPath": "/"}, {"name": "v", "mountPath": "/v"}],
                }]}},
            }}),
            &["spec.template.spec.containers[0].volumeMounts[1].name FieldValueNotFound"],
        ),
        ("", "Service", json!({"spec": {}}), &["spec.ports FieldValueRequired"]),
        ("", "Service", json!({"spec": {"clusterIP": "None"}}), &[]),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"port": 1}, {"port": 0, "name": "b"}]}}),
            &[
                "spec.ports[0].name FieldValueRequired",
                "spec.ports[1].port FieldValueInvalid",
                "spec.ports[1].targetPort FieldValueInvalid",
            ],
        ),
        (
            "",
            "PersistentVolumeClaim",
            json!({"spec": {}}),
            &[
                "spec.accessModes FieldValueRequired",
                "spec.resources[storage] FieldValueRequired",
            ],
        ),
        (
            "networking.k8s.io",
            "Ingress",
            json!({"spec": {}}),
            &["spec FieldValueInvalid"],
        ),
        (
            "coordination.k8s.io",
            "Lease",
            json!({"spec": {"leaseDurationSeconds": 0}}),
            &["spec.leaseDurationSeconds FieldValueInvalid"],
        ),
    ] {
        assert_eq!(paths(group, name, object), expected, "{name}");
    }
}

#[test]
fn what_is_fixed_stays() {
    for (group, name, old, new, expected) in [
        (
            "apps",
            "Deployment",
            deployment(json!({"matchLabels": {"a": "b"}}), json!({"a": "b", "c": "d"})),
            deployment(json!({"matchLabels": {"c": "d"}}), json!({"a": "b", "c": "d"})),
            &["spec.selector"][..],
        ),
        (
            "",
            "Pod",
            json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
            json!({"spec": {"containers": [{"name": "c", "image": "j"}], "activeDeadlineSeconds": 5}}),
            &[],
        ),
        (
            "",
            "Pod",
            json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
            json!({"spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}}),
            &["spec"],
        ),
    ] {
        let kind = kind(group, name);
        let errors = check_change(kind, &complete(kind, old), &complete(kind, new));
        let paths: Vec<String> = errors.into_iter().map(|error| error.path).collect();
        assert_eq!(paths, expected, "{name}");
    }
}
