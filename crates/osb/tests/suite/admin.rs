//! `osb admin`, as an operator calls it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, Server, order, poll};

const WHY: [&str; 2] = ["--reason", "the ticket 4711"];

fn admin(place: &Place, args: &[&str]) -> crate::harness::Verb {
    let all: Vec<&str> = ["admin"].iter().chain(args).chain(&WHY).copied().collect();
    place.verb(&all)
}

/// What `osb admin export` shows.
fn exported(place: &Place, id: &str) -> Value {
    place.verb(&["admin", "export", id, "-o", "json"]).json()
}

fn begin(place: &Place, server: &Server<'_>, id: &str, parameters: &Value) {
    let path = format!("/v2/service_instances/{id}?accepts_incomplete=true");
    let mut body = order(parameters);
    body["plan_id"] = place.verb(&["catalog", "-o", "json"]).json()["services"][0]["plans"]
        .as_array()
        .unwrap()
        .iter()
        .find(|plan| plan["name"] == "async")
        .unwrap()["id"]
        .clone();
    let (code, answer) = server.call("PUT", &path, Some(&body));
    assert_eq!(code, 202, "{answer}");
}

fn audit(place: &Place, verb: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.data().with_file_name("audit")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line.to_string().contains(&format!("\"{verb}\"")))
        .collect()
}

fn start(place: &Place) -> Server<'_> {
    let audit = place.data().with_file_name("audit");
    place.start_with(&["--audit-log", audit.to_str().unwrap()], &[("USER", "somebody")])
}

#[test]
fn what_hangs_is_marked_and_what_has_failed_is_begun_again() {
    let place = Place::new();
    let server = start(&place);
    begin(&place, &server, "hangs", &json!({"seconds": 3000}));
    assert!(
        place
            .verb(&["admin", "mark", "failed", "hangs"])
            .fails(2)
            .contains("--reason")
    );
    assert!(
        admin(&place, &["mark", "succeeded", "hangs"])
            .fails(1)
            .contains("the broker refuses")
    );
    admin(&place, &["mark", "failed", "hangs"]).ok();
    let shown = exported(&place, "hangs");
    let last = &shown["record"]["history"][0];
    assert_eq!(
        (&last["outcome"], &last["verb"]),
        (&json!("Failed"), &json!("Provision")),
        "{shown}"
    );
    assert_eq!(shown["record"]["operation"], Value::Null);
    assert_eq!(shown["metadata"]["annotations"], Value::Null);
    let lines = audit(&place, "mark failed");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines[0].to_string();
    assert!(line.contains("the ticket 4711") && line.contains("hangs"), "{line}");
    // The lane is free: the platform cleans up at once.
    place.verb(&["deprovision", "hangs"]).ok();

    begin(&place, &server, "fails", &json!({"fail_at": "provision"}));
    poll("it has failed", || {
        (exported(&place, "fails")["record"]["operation"].is_null()).then_some(())
    });
    admin(&place, &["retry", "fails"]).ok();
    let again = poll("it has failed again", || {
        let shown = exported(&place, "fails");
        shown["record"]["operation"].is_null().then_some(shown)
    });
    assert_eq!(again["record"]["counter"], 2, "{again}");
    place.verb(&["provision", "fine"]).ok();
    assert!(
        admin(&place, &["retry", "fine"])
            .fails(1)
            .contains("nothing of it has failed")
    );
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_cannot_be_removed_is_forgotten_with_its_bindings() {
    let place = Place::new();
    let server = start(&place);
    place
        .verb(&["provision", "stuck", "-p", r#"{"fail_at": "deprovision"}"#])
        .ok();
    place.verb(&["bind", "stuck", "--id", "b"]).ok();
    place.verb(&["bind", "stuck", "--id", "c"]).ok();
    admin(&place, &["forget", "stuck", "--binding", "c"]).ok();
    assert_eq!(place.verb(&["instances", "-o", "json"]).json()[0]["bindings"], 1);
    assert_eq!(place.verb(&["deprovision", "stuck"]).code, Some(1));
    admin(&place, &["forget", "stuck"]).ok();
    assert_eq!(place.verb(&["instances", "-o", "json"]).json(), json!([]));
    assert!(
        place
            .verb(&["admin", "export", "stuck"])
            .fails(1)
            .contains("no such instance")
    );
    assert_eq!(audit(&place, "forget").len(), 2);
    place.verb(&["provision", "stuck"]).ok();
    assert!(admin(&place, &["orphans"]).ok().contains("There are none"));
    assert_eq!(audit(&place, "orphans").len(), 1);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_instance_is_exported_with_its_secrets_only_on_the_record_and_adopted_elsewhere() {
    let (place, other) = (Place::new(), Place::new());
    let server = start(&place);
    place.verb(&["provision", "moved", "-p", r#"{"label": "hush"}"#]).ok();
    let shown = exported(&place, "moved");
    assert!(!shown.to_string().contains("hush"), "{shown}");
    assert!(shown["record"]["data"]["sealed"].is_number(), "{shown}");
    assert!(
        place
            .verb(&["admin", "export", "moved", "--secrets"])
            .fails(2)
            .contains("--reason")
    );
    let shown = admin(&place, &["export", "moved", "--secrets", "-o", "json"]).json();
    assert_eq!(shown["spec"]["parameters"]["parameters"]["label"], "hush", "{shown}");
    assert_eq!(audit(&place, "export").len(), 1);
    assert_eq!(server.stop(), Some(0));
    assert!(admin(&place, &["forget", "moved"]).fails(1).contains("no broker runs"));

    let server = start(&other);
    let state = shown["record"]["data"].to_string();
    let incarnation = shown["spec"]["incarnation"].as_str().unwrap();
    let args = [
        "adopt",
        "moved",
        "--service",
        "reference",
        "--plan",
        "fast",
        "--state",
        &state,
        "--incarnation",
        incarnation,
    ];
    admin(&other, &args).ok();
    assert!(admin(&other, &args).fails(1).contains("there already"));
    assert_eq!(audit(&other, "adopt").len(), 1);
    let bound = other.verb(&["bind", "moved", "-o", "json"]).json();
    assert_eq!(bound["credentials"]["label"], "hush", "{bound}");
    other.verb(&["unbind", "moved"]).ok();
    other.verb(&["deprovision", "moved"]).ok();
    assert_eq!(server.stop(), Some(0));
}
