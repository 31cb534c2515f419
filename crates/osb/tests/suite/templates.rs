//! `osb serve templates`: a folder of templates becomes services, without a cluster.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Place, Server};

const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");

fn serve<'p>(place: &'p Place, folder: &Path, flags: &[&str]) -> Server<'p> {
    let folder = folder.to_str().unwrap();
    place.start_broker("templates", &[&["--templates", folder], flags].concat(), &[])
}

fn services(place: &Place) -> Vec<String> {
    let catalog = place.verb(&["catalog", "-o", "json"]).json();
    let services = catalog["services"].as_array().unwrap().iter();
    services
        .map(|service| service["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_templates_of_the_repository_are_sold_bound_changed_and_removed() {
    let place = Place::new();
    let server = serve(&place, Path::new(OWN), &[]);
    assert_eq!(
        services(&place),
        ["configuration", "postgresql", "redis", "web-application"]
    );
    let ordered = [
        ("postgresql", "{}"),
        ("redis", "{}"),
        ("configuration", r#"{"ENDPOINT": "https://events"}"#),
    ];
    for (service, parameters) in ordered {
        place
            .verb(&["provision", service, "--service", service, "-p", parameters])
            .ok();
        let bound = place.verb(&["bind", service, "-o", "json"]).json();
        assert!(
            bound["credentials"]
                .as_object()
                .is_some_and(|members| members.len() >= 3),
            "{service}: {bound}"
        );
        if let Some(password) = bound["credentials"]["password"].as_str() {
            assert!(!place.log().contains(password) && !place.stdout().contains(password));
        }
    }
    let before = place.verb(&["bind", "postgresql", "-o", "json"]).json()["credentials"].clone();
    place
        .verb(&[
            "update",
            "postgresql",
            "-p",
            r#"{"DATABASE": "other", "MEMORY": "1Gi"}"#,
        ])
        .ok();
    let after = place.verb(&["bind", "postgresql", "-o", "json"]).json()["credentials"].clone();
    assert_eq!(
        (&after["database"], &after["password"]),
        (&json!("other"), &before["password"])
    );
    for (service, _) in ordered {
        place.verb(&["deprovision", service]).ok();
    }
    assert_eq!(place.verb(&["instances", "-o", "json"]).json(), json!([]));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_folder_is_what_is_sold_after_each_start() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(format!("{name}.yaml")) };
    let write = |name: &str| {
        let text = format!(
            "kind: Template\napiVersion: v1\nmetadata: {{name: {name}}}\nobjects:\n- {{kind: ConfigMap, \
            apiVersion: v1, metadata: {{name: m}}}}\n"
        );
        std::fs::write(file(name), text).unwrap();
    };
    write("one");
    write("two");
    let server = serve(&place, folder.path(), &[]);
    assert_eq!(services(&place), ["one", "two"]);
    place.verb(&["provision", "mine", "--service", "one"]).ok();
    assert_eq!(server.stop(), Some(0));
    std::fs::remove_file(file("one")).unwrap();
    write("three");
    let server = serve(&place, folder.path(), &[]);
    assert_eq!(services(&place), ["three", "two"]);
    // What there is of a template that is gone is served.
    place.verb(&["deprovision", "mine"]).ok();
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn wrong_templates_and_flags_say_what_to_write() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "kind: Template\n").unwrap();
    let path = folder.path().to_str().unwrap();
    for (flags, what) in [
        (&["--templates", path][..], "metadata.name"),
        (&["--kubeconfig", "/nowhere"], "--namespace"),
        (&["--namespace-selector", "a=b", "--templates", path], "--namespace"),
        (&["--map", "cloudfoundry"], "PLATFORM=PREFIX"),
    ] {
        let said = place.refusal_of("templates", flags);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains(what), "{said:?}");
    }
}

/// What must hold of every broker holds of this one.
#[test]
fn it_holds_what_a_broker_must() {
    let place = Place::new();
    let server = serve(&place, Path::new(OWN), &[]);
    let check = ["check", "--format", "json", "--service", "configuration"];
    let report = place.verb(&check).json();
    let summary = (&report["failed"], &report["leftovers"]);
    assert_eq!(summary, (&Value::Bool(false), &json!([])), "{report:#}");
    assert_eq!(place.verb(&["instances", "-o", "json"]).json(), json!([]));
    assert_eq!(server.stop(), Some(0));
}
