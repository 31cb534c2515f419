//! The client verbs on a running broker.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::harness::{Place, Verb, osb, poll};

#[test]
fn the_verbs_work_without_options() {
    let place = Place::new();
    let server = place.start();
    // Other processes may find the broker a moment before it says so.
    for part in [
        "The broker `reference` is ready.",
        "credentials",
        "kubeconfig",
        "catalog --data-dir",
        "new key",
    ] {
        poll(part, || place.stdout().contains(part).then_some(()));
    }

    let listed = place.verb(&["catalog"]);
    let lines = listed
        .ok()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert!(
        lines
            .into_iter()
            .any(|cells| cells.starts_with(&["reference", "unbindable", "no", "yes"]))
    );
    assert_eq!(
        place.verb(&["provision", "my-db"]).ok(),
        "Instance my-db is ready: reference fast.\n"
    );
    assert_eq!(
        place.verb(&["provision", "my-db"]).ok(),
        "Instance my-db was there already: reference fast.\n"
    );
    let bound = place.verb(&["bind", "my-db"]);
    let id = bound
        .ok()
        .strip_prefix("Binding ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(bound.ok().contains("\n  uri       reference://user_"), "{bound:?}");
    let listed = place.verb(&["instances"]);
    let cells: Vec<&str> = listed.ok().lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..5], ["my-db", "reference", "fast", "Ready", "1"]);
    assert_eq!(
        place.verb(&["unbind", "my-db"]).ok(),
        format!("Binding {id} of my-db is removed.\n")
    );
    assert_eq!(
        place.verb(&["deprovision", "my-db"]).ok(),
        "Instance my-db is removed.\n"
    );
    assert_eq!(place.verb(&["instances"]).ok().lines().count(), 1);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_instance_is_updated_and_its_binding_rotated() {
    let place = Place::new();
    let server = place.start();
    place.verb(&["provision", "a", "--plan", "rotating"]).ok();
    assert_eq!(
        place.verb(&["update", "a", "-p", r#"{"label": "new"}"#]).ok(),
        "Instance a is up to date: reference rotating.\n"
    );
    let old = place.verb(&["bind", "a", "--id", "old", "-o", "json"]).json();
    assert_eq!(old["credentials"]["label"], "new");
    let new = place
        .verb(&["bind", "a", "--id", "new", "--rotates", "old", "-o", "json"])
        .json();
    assert_ne!(old["credentials"]["username"], new["credentials"]["username"]);
    assert!(new["metadata"]["expires_at"].is_string(), "{new}");
    place.verb(&["unbind", "a", "old"]).ok();

    // The plan `async` is waited for.
    let moved = place.verb(&["update", "a", "--plan", "async", "-o", "json"]).json();
    assert_eq!((&moved["plan"], &moved["instance_id"]), (&json!("async"), &json!("a")));
    assert!(place.verb(&["instances"]).ok().contains("async"));
    let failed = place.verb(&["update", "a", "-p", r#"{"fail_at": "update", "unusable": true}"#]);
    assert!(
        failed
            .fails(1)
            .contains("Fails as ordered. The instance cannot be used any more."),
        "{failed:?}"
    );
    assert!(
        place
            .verb(&["update", "a", "--upgrade"])
            .fails(2)
            .contains("no maintenance version")
    );
    assert!(
        place
            .verb(&["update", "nobody", "-p", "{}"])
            .fails(1)
            .contains("nobody")
    );
    assert!(
        place
            .verb(&["update", "a", "--plan", "golden"])
            .fails(2)
            .contains("fast, async")
    );
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_newer_broker_has_instances_to_upgrade() {
    let place = Place::new();
    let server = place.start();
    place.verb(&["provision", "a", "--plan", "maintained"]).ok();
    assert_eq!(server.stop(), Some(0));
    let server = place.start_with(&["--maintenance-version", "2.1.0"], &[]);
    assert_eq!(
        place.verb(&["update", "a", "--upgrade"]).ok(),
        "Instance a is up to date: reference maintained.\n"
    );
    assert_eq!(server.stop(), Some(0));
    let refused = place.serve(&["--maintenance-version", "two"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("maintenance_info.version"),
        "{refused:?}"
    );
}

#[test]
fn json_is_all_that_is_printed() {
    let place = Place::new();
    let _server = place.start();
    assert_eq!(
        place.verb(&["catalog", "-o", "json"]).json()["services"][0]["name"],
        "reference"
    );
    let made = place
        .verb(&["provision", "-o", "json", "--plan", "async", "-p", r#"{"seconds": 1}"#])
        .json();
    assert_eq!((&made["plan"], &made["created"]), (&json!("async"), &json!(true)));
    let id = made["instance_id"].as_str().unwrap();
    let bound = place.verb(&["bind", id, "-o", "json", "--id", "b/1"]).json();
    assert_eq!(
        (&bound["binding_id"], bound["credentials"]["password"].is_string()),
        (&json!("b/1"), true)
    );
    // The same call again gets the same credentials.
    let again = place.verb(&["bind", id, "-o", "json", "--id", "b/1"]).json();
    assert_eq!(
        (&again["credentials"], &again["created"]),
        (&bound["credentials"], &json!(false))
    );
    assert_eq!(place.verb(&["instances", "-o", "json"]).json()[0]["bindings"], 1);
    assert_eq!(place.verb(&["unbind", id, "b/1", "-o", "json"]).json()["removed"], true);
    assert_eq!(place.verb(&["deprovision", id, "-o", "json"]).json()["removed"], true);
}

/// OSB-GEN-05: identifiers are opaque.
#[test]
fn ids_of_any_characters_are_found_again() {
    let place = Place::new();
    let _server = place.start();
    for id in ["Ä/ö?=1,2\\3&%41 #", "osb-mine", "UPPER", "x", &"long".repeat(200)] {
        place.verb(&["provision", id]).ok();
        place.verb(&["bind", id]).ok();
        place.verb(&["unbind", id]).ok();
        place.verb(&["deprovision", id]).ok();
    }
}

#[test]
fn parameters_come_from_a_file_or_stdin() {
    let place = Place::new();
    let _server = place.start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"label": "from a file"}"#).unwrap();
    place
        .verb(&["provision", "a", "-p", &format!("@{}", file.path().display())])
        .ok();
    assert_eq!(
        place.verb(&["bind", "a", "-o", "json"]).json()["credentials"]["label"],
        "from a file"
    );

    let args = ["provision", "b", "--parameters", "-"];
    let mut child = osb()
        .args(args)
        .arg("--data-dir")
        .arg(place.data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(br#"{"label": "from stdin"}"#)
        .unwrap();
    Verb::of(&args, &child.wait_with_output().unwrap()).ok();
    assert_eq!(
        place.verb(&["bind", "b", "-o", "json"]).json()["credentials"]["label"],
        "from stdin"
    );
}

#[test]
fn what_the_broker_refuses_or_fails_ends_with_one() {
    let place = Place::new();
    let _server = place.start();
    let wrong = place.verb(&["provision", "a", "-p", r#"{"seconds": "many"}"#]);
    assert!(wrong.fails(1).contains("parameters.seconds"), "{wrong:?}");
    let failed = place.verb(&["provision", "a", "--plan", "async", "-p", r#"{"fail_at": "provision"}"#]);
    assert!(
        failed.fails(1).contains("the provision has failed: Fails as ordered."),
        "{failed:?}"
    );
    place.verb(&["deprovision", "a"]).ok();
    place.verb(&["provision", "b", "--plan", "unbindable"]).ok();
    place.verb(&["bind", "b"]).fails(1);
    assert!(place.verb(&["deprovision", "nobody"]).fails(1).contains("nobody"));
    assert!(place.verb(&["unbind", "b"]).fails(1).contains("no bindings"));
}

#[test]
fn what_is_wrong_with_the_command_line_ends_with_two() {
    let place = Place::new();
    let _server = place.start();
    for (args, told) in [
        (&["provision", "a", "--plan", "golden"][..], "fast, async"),
        (&["provision", "a", "--service", "other"], "reference"),
        (&["provision", "a", "-p", "{canary"], "line 1"),
        (&["provision", "a", "-p", "[1]"], "JSON object"),
        (&["provision", ""], "must not be empty"),
        (&["instances", "--url", "http://127.0.0.1:1"], "no login"),
        (&["provision", "--frobnicate"], "--frobnicate"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let verb = place.verb(args);
        assert!(verb.fails(2).contains(told), "{verb:?}");
        assert!(!verb.stderr.contains("{canary"), "{verb:?}");
    }
    place.verb(&["provision", "a"]).ok();
    for _ in 0..2 {
        place.verb(&["bind", "a"]).ok();
    }
    assert!(place.verb(&["unbind", "a"]).fails(2).contains("several bindings"));
}

#[test]
fn another_broker_is_named_by_its_url() {
    let place = Place::new();
    let server = place.start_with(&[], &[("OSB_USERNAME", "me"), ("OSB_PASSWORD", "secret of mine")]);
    assert!(!place.data().join("credentials").exists());
    let url = format!("http://{}", server.address());
    let run = |login: &[(&str, &str)], args: &[&str]| {
        let output = osb()
            .args(args)
            .args(["--url", &url])
            .envs(login.iter().copied())
            .output()
            .unwrap();
        Verb::of(args, &output)
    };
    let good = [("OSB_USERNAME", "me"), ("OSB_PASSWORD", "secret of mine")];
    run(&good, &["provision", "a"]).ok();
    // The broker tells the plan of what can be fetched.
    run(&good, &["bind", "a"]).ok();
    run(&good, &["update", "a", "-p", r#"{"label": "new"}"#]).ok();
    let modest = ["--service", "reference-modest", "--plan", "bindable"];
    run(&good, &[&["provision", "m"], &modest[..]].concat()).ok();
    // Else it has to be named.
    assert!(run(&good, &["bind", "m"]).fails(1).contains("--plan"));
    assert!(run(&good, &["update", "m", "-p", "{}"]).fails(1).contains("--plan"));
    run(&good, &[&["bind", "m"], &modest[..]].concat()).ok();
    let wrong = run(&[("OSB_USERNAME", "me"), ("OSB_PASSWORD", "guessed")], &["catalog"]);
    assert!(
        wrong.fails(1).contains("401") && !wrong.stderr.contains("guessed"),
        "{wrong:?}"
    );
    // The local verbs say where the login is to come from.
    assert!(place.verb(&["catalog"]).fails(2).contains("OSB_PASSWORD"));
}
