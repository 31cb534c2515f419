//! `kubectl` with the kubeconfig of the data folder.

use std::process::Command;

use crate::harness::{Place, Verb};

fn run(command: &mut Command, args: &[&str]) -> Verb {
    Verb::of(args, &command.args(args).output().unwrap())
}

#[test]
fn kubectl_shows_instances_and_bindings_in_columns() {
    let Some(kubectl) = testparts::need(testparts::kubectl()) else {
        return;
    };
    let place = Place::new();
    let _server = place.start();
    place.verb(&["provision", "my-db"]).ok();
    place.verb(&["bind", "my-db"]).ok();
    let shown = run(
        &mut place.kubectl(&kubectl),
        &["get", "serviceinstances,servicebindings"],
    );
    let lines: Vec<Vec<&str>> = shown
        .ok()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "PLAN", "READY", "REASON", "OPERATION", "AGE"]);
    assert_eq!(lines[1][0], "serviceinstance.reference.osb.internal/my-db");
    assert_eq!(lines[1][2..4], ["True", "Provisioned"]);
    assert_eq!(lines[3], ["NAME", "INSTANCE", "READY", "REASON", "OPERATION", "AGE"]);
    assert_eq!(lines[4][1..4], ["my-db", "True", "Bound"]);
    run(&mut place.kubectl(&kubectl), &["get", "osb"]).ok();
}

#[test]
fn deleting_with_kubectl_deprovisions() {
    let Some(kubectl) = testparts::need(testparts::kubectl()) else {
        return;
    };
    let place = Place::new();
    let _server = place.start();
    place.verb(&["provision", "my-db"]).ok();
    // kubectl waits until the finalizer, and with it the object, is gone.
    run(
        &mut place.kubectl(&kubectl),
        &["delete", "serviceinstance", "my-db", "--timeout=60s"],
    )
    .ok();
    assert_eq!(
        place.verb(&["instances", "-o", "json"]).json().as_array().map(Vec::len),
        Some(0)
    );
}

#[test]
fn without_the_token_nothing_is_shown() {
    let Some(kubectl) = testparts::need(testparts::kubectl()) else {
        return;
    };
    let place = Place::new();
    let _server = place.start();
    place.verb(&["provision", "my-db"]).ok();
    let path = place.data().join("kubeconfig");
    let good = std::fs::read_to_string(&path).unwrap();
    let token = good.lines().find(|line| line.contains("token:")).unwrap();
    for (user, told) in [
        ("    token: guessed", "logged in"),
        ("    username: admin\n    password: guessed", "logged in"),
    ] {
        std::fs::write(&path, good.replace(token, user)).unwrap();
        let refused = run(&mut place.kubectl(&kubectl), &["get", "serviceinstances"]);
        assert!(refused.code == Some(1) && refused.stdout.is_empty(), "{refused:?}");
        assert!(
            refused.stderr.contains(told) && !refused.stderr.contains("my-db"),
            "{refused:?}"
        );
    }
}
