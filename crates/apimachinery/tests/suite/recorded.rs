//! Answers that a real kube-apiserver (1.36) gave, to be given here, too. `recorded.json` holds its answers by name, the requests
//! where they matter, and the definition of the widgets; what concerns rules in CEL was taken out.

use apimachinery::crd::CustomResourceDefinition;
use apimachinery::field::FieldError;
use apimachinery::field_selector::FieldSelector;
use apimachinery::json::Value;
use apimachinery::label_selector::LabelSelector;
use apimachinery::list::ListOptions;
use apimachinery::meta::{self, MetadataRules, NameRule};
use apimachinery::status::{FailedPrecondition, Kind, Resource, Status};
use serde_json::json;

fn recorded() -> serde_json::Value {
    serde_json::from_str(include_str!("recorded.json")).unwrap()
}

fn request(name: &str) -> serde_json::Value {
    recorded()["requests"][name].clone()
}

#[track_caller]
fn same(name: &str, status: &Status) {
    assert_eq!(
        serde_json::to_value(status).unwrap(),
        recorded()["statuses"][name],
        "{name}"
    );
}

fn configmaps() -> Resource {
    Resource::new("", "configmaps")
}

fn widgets() -> Resource {
    Resource::new("ex.io", "widgets")
}

fn config_map(name: &str, errors: Vec<FieldError>) -> Status {
    Status::invalid(&Kind::new("", "ConfigMap"), name, errors)
}

fn meta_errors(object: &serde_json::Value, name: NameRule, strict_finalizers: bool) -> Vec<FieldError> {
    let object = Value::from(object.clone());
    let mut meta = meta::of(&object).unwrap().clone();
    meta::decode(&mut meta, "metadata").unwrap();
    let namespaced = meta.contains_key("namespace");
    meta::validate_metadata(
        &meta,
        MetadataRules {
            name,
            namespaced,
            strict_finalizers,
        },
    )
}

#[test]
fn answers_about_one_object() {
    same("not_found", &Status::not_found(&configmaps(), "nope"));
    same("conflict", &Status::conflict(&configmaps(), "a"));
    same(
        "deleted",
        &Status::deleted(&configmaps(), "c4", "ac7942f8-b312-4fcc-a066-3060243aaccb"),
    );
    same(
        "deleted_grouped",
        &Status::deleted(&widgets(), "a", "b2aa2234-c630-412e-90b3-61d5ae50f27f"),
    );
    let kind = Kind::new("", "ConfigMap");
    let uid = FailedPrecondition::Uid {
        wanted: "x",
        found: "d920b9df-6be6-43d0-bd53-fcd4d852decf",
    };
    same("precondition_uid", &Status::precondition_failed(&kind, "a", &uid));
    let revision = FailedPrecondition::ResourceVersion {
        wanted: "1",
        found: "234",
    };
    same(
        "precondition_revision",
        &Status::precondition_failed(&kind, "a", &revision),
    );
    let error = meta::resource_version_required();
    same(
        "revision_required",
        &Status::invalid_resource(&widgets(), "a", vec![error]),
    );
    let error = FieldError::invalid("kind", "Gadget", "must be Widget");
    same(
        "wrong_kind",
        &Status::invalid(&Kind::new("ex.io", "Gadget"), "x", vec![error]),
    );
}

#[test]
fn answers_about_rights() {
    let why = |user: &str, verb: &str| {
        format!("User \"{user}\" cannot {verb} resource \"configmaps\" in API group \"\" in the namespace \"default\"")
    };
    same("unauthorized", &Status::unauthorized());
    same(
        "forbidden",
        &Status::forbidden(&configmaps(), "a", &why("system:anonymous", "get")),
    );
    same(
        "forbidden_collection",
        &Status::forbidden(&configmaps(), "", &why("bob", "create")),
    );
    same(
        "forbidden_path",
        &Status::forbidden_path("User \"bob\" cannot get path \"/metrics\""),
    );
    same(
        "namespace_terminating",
        &Status::namespace_terminating(&configmaps(), "new", "nl"),
    );
}

#[test]
fn answers_about_the_request_itself() {
    same("unknown_resource", &Status::unknown_resource());
    same("method_not_allowed", &Status::method_not_allowed());
    same("rejected", &Status::rejected());
    same("expired_list", &Status::expired_list(None));
    same(
        "too_large_revision",
        &Status::too_large_resource_version(99_999_999, 267),
    );
    same(
        "internal",
        &Status::internal("the spec replicas field \".spec.replicas\" does not exist"),
    );
    let json = [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    ];
    same("not_acceptable", &Status::not_acceptable(&json));
    let patches = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ];
    same("unsupported_media_type", &Status::unsupported_media_type(&patches));
}

#[test]
fn answers_about_options() {
    let error = FieldError::not_supported("fieldValidation", "Bogus", &["", "Ignore", "Strict", "Warn"]);
    same(
        "field_validation",
        &Status::invalid_options("CreateOptions", vec![error]),
    );
    let error = FieldError::not_supported("dryRun", json!(["Some"]), &["All"]);
    same("dry_run", &Status::invalid_options("CreateOptions", vec![error]));
    let error = FieldError::not_supported(
        "propagationPolicy",
        "Bogus",
        &["Foreground", "Background", "Orphan", "nil"],
    );
    same(
        "propagation_policy",
        &Status::invalid_options("DeleteOptions", vec![error]),
    );
}

#[test]
fn answers_about_list_parameters() {
    for (name, query) in [
        ("list_match_alone", &[("resourceVersionMatch", "Exact")][..]),
        (
            "list_exact_zero",
            &[("resourceVersion", "0"), ("resourceVersionMatch", "Exact")],
        ),
        (
            "list_match_bogus",
            &[("resourceVersion", "0"), ("resourceVersionMatch", "Bogus")],
        ),
        ("list_revision_word", &[("resourceVersion", "abc")]),
        ("list_limit_word", &[("limit", "abc")]),
        ("label_no_operator", &[("labelSelector", "a b")]),
        ("label_bad_value", &[("labelSelector", "app=x;y")]),
        ("label_open_list", &[("labelSelector", "app in (x")]),
        ("label_no_key", &[("labelSelector", "=x")]),
        ("field_no_operator", &[("fieldSelector", "metadata.name")]),
    ] {
        same(name, &ListOptions::parse(query.iter().copied()).unwrap_err());
    }
    assert!(LabelSelector::parse("app in ()").is_ok() && LabelSelector::parse("app=").is_ok());
    let selector = FieldSelector::parse("spec.foo=Running").unwrap();
    same("field_unsupported", &selector.require_supported(|_| false).unwrap_err());
}

#[test]
fn answers_about_metadata() {
    for (name, namespace) in [("namespace_name", "BAD.x"), ("namespace_dots", "a.b")] {
        let errors = meta_errors(&json!({"metadata": {"name": namespace}}), NameRule::Label, true);
        same(name, &Status::invalid(&Kind::new("", "Namespace"), namespace, errors));
    }
    for (name, object) in [("labels", "lab"), ("owner_uid", "own")] {
        same(
            name,
            &config_map(object, meta_errors(&request(name), NameRule::Subdomain, true)),
        );
    }
    let deployment = json!({"metadata": {"name": "d", "namespace": "n", "finalizers": ["bad"]}});
    let errors = meta_errors(&deployment, NameRule::Subdomain, true);
    same(
        "bare_finalizer",
        &Status::invalid(&Kind::new("apps", "Deployment"), "d", errors),
    );
    // The real server says it twice among the causes.
    let old = apimachinery::json!({"name": "fz", "deletionTimestamp": "2026-11-21T07:40:53Z", "finalizers": ["a.b/c"]});
    let new = apimachinery::json!({"name": "fz", "deletionTimestamp": "2026-11-21T07:40:53Z", "finalizers": ["a.b/c", "d.e/f"]});
    let errors = meta::validate_metadata_update(old.as_object().unwrap(), new.as_object().unwrap());
    same("new_finalizer", &config_map("fz", [errors.clone(), errors].concat()));
}

/// The real server prints the references in the order of their fields in Go, this one by name: compare the rest.
#[test]
fn answers_about_owners() {
    for (name, object, detail) in [
        (
            "two_controllers",
            "own2",
            "Only one reference can have Controller set to true",
        ),
        (
            "event_owner",
            "own3",
            "/v1, Kind=Event is disallowed from being an owner",
        ),
    ] {
        let status = config_map(object, meta_errors(&request(name), NameRule::Subdomain, true));
        let expected: Status = serde_json::from_value(recorded()["statuses"][name].clone()).unwrap();
        let (ours, theirs) = (status.details.unwrap(), expected.details.unwrap());
        assert_eq!(
            (ours.causes.len(), &ours.causes[0].field),
            (theirs.causes.len(), &theirs.causes[0].field)
        );
        let tail = |text: &str| text[text.find(detail).unwrap()..].to_owned();
        assert_eq!(tail(&status.message), tail(&expected.message));
    }
}

#[test]
fn answers_about_definitions() {
    let kind = Kind::new("apiextensions.k8s.io", "CustomResourceDefinition");
    for name in ["crd_name", "crd_no_type", "crd_no_schema"] {
        let mut object = request(name);
        CustomResourceDefinition::apply_defaults(&mut object);
        let errors = CustomResourceDefinition::parse(&object).unwrap_err();
        same(
            name,
            &Status::invalid(&kind, object["metadata"]["name"].as_str().unwrap(), errors),
        );
    }
}

fn definition() -> CustomResourceDefinition {
    let mut object = recorded()["widgets"].clone();
    CustomResourceDefinition::apply_defaults(&mut object);
    CustomResourceDefinition::parse(&object).unwrap()
}

#[test]
fn answers_about_widgets() {
    let schema = definition().storage_version().schema.clone();
    for name in ["widget_many", "widget_type", "widget_required", "widget_no_spec"] {
        let mut object = Value::from(request(name));
        assert!(schema.prune(&mut object).is_empty());
        schema.default(&mut object);
        let errors = schema.validate(&object);
        same(
            name,
            &Status::invalid(
                &Kind::new("ex.io", "Widget"),
                object["metadata"]["name"].as_str().unwrap(),
                errors,
            ),
        );
    }
}

#[test]
fn widgets_are_stored_as_recorded() {
    let schema = definition().storage_version().schema.clone();
    let mut junk = apimachinery::json!({"metadata": {"name": "a"}, "spec": {"size": 3, "junk": 1}, "status": {"phase": "X"}, "extra": 1});
    assert_eq!(schema.prune(&mut junk), ["extra", "spec.junk"]);
    let mut nulls = apimachinery::json!({"metadata": {"name": "nul"}, "spec": {"size": 1, "color": null, "nul": null}});
    schema.default(&mut nulls);
    assert_eq!(
        nulls["spec"],
        apimachinery::json!({"color": "red", "nul": null, "size": 1})
    );
    assert!(schema.validate(&nulls).is_empty());
}
