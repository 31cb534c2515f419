//! Starting, stopping, being killed, starting again.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;

use crate::harness::{Place, order, poll, read_answer};

#[test]
fn a_restart_keeps_everything() {
    let place = Place::new();
    let server = place.start();
    place
        .verb(&["provision", "kept", "-p", r#"{"label": "for ever"}"#])
        .ok();
    let before = place.verb(&["bind", "kept", "--id", "b", "-o", "json"]).json();
    let kubeconfig = std::fs::read_to_string(place.data().join("kubeconfig")).unwrap();
    assert_eq!(server.stop(), Some(0));
    assert!(place.verb(&["instances"]).fails(1).contains("no broker runs"));

    let server = place.start();
    let after = place.verb(&["bind", "kept", "--id", "b", "-o", "json"]).json();
    assert_eq!(
        (&after["credentials"], &after["created"]),
        (&before["credentials"], &json!(false))
    );
    assert_eq!(place.verb(&["instances", "-o", "json"]).json()[0]["bindings"], 1);
    // Authority and token are the same: a copy of the kubeconfig still works, but for the port.
    let again = std::fs::read_to_string(place.data().join("kubeconfig")).unwrap();
    let without_port = |text: &str| {
        text.lines()
            .filter(|line| !line.contains("server:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(without_port(&again), without_port(&kubeconfig));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_provision_survives_the_death_of_the_process() {
    let place = Place::new();
    let server = place.start();
    let body = order(&json!({"seconds": 3, "label": "alive"}));
    let path = "/v2/service_instances/slow?accepts_incomplete=true";
    let mut waiting = server.connect();
    waiting.write_all(&server.request("PUT", path, Some(&body))).unwrap();
    poll("the provision is stored", || {
        place
            .verb(&["instances", "-o", "json"])
            .json()
            .as_array()
            .is_some_and(|all| !all.is_empty())
            .then_some(())
    });
    server.kill();

    let _server = place.start();
    assert!(
        place
            .verb(&["provision", "slow", "-p", r#"{"seconds": 3, "label": "alive"}"#])
            .ok()
            .contains("slow")
    );
    assert_eq!(
        place.verb(&["bind", "slow", "-o", "json"]).json()["credentials"]["label"],
        "alive"
    );
}

#[test]
fn what_was_begun_is_answered_before_the_end() {
    let place = Place::new();
    let mut server = place.start();
    let idle = server.connect();
    let mut waiting = server.connect();
    let body = order(&json!({"seconds": 2}));
    waiting
        .write_all(&server.request("PUT", "/v2/service_instances/last", Some(&body)))
        .unwrap();
    poll("the provision has begun", || {
        place
            .verb(&["instances", "-o", "json"])
            .json()
            .as_array()
            .is_some_and(|all| !all.is_empty())
            .then_some(())
    });
    server.signal("TERM");
    let (code, answer) = read_answer(&mut waiting);
    assert_eq!(code, 201, "{answer}");
    assert_eq!(server.wait().code(), Some(0));
    assert!(TcpStream::connect(server.address()).is_err());
    drop(idle);
    assert!(!place.data().join("server").exists());
}

#[test]
fn a_second_signal_ends_at_once_and_nothing_is_lost() {
    let place = Place::new();
    let mut server = place.start();
    let mut waiting = server.connect();
    let body = order(&json!({"seconds": 3000}));
    waiting
        .write_all(&server.request("PUT", "/v2/service_instances/endless", Some(&body)))
        .unwrap();
    poll("the provision has begun", || {
        place
            .verb(&["instances", "-o", "json"])
            .json()
            .as_array()
            .is_some_and(|all| !all.is_empty())
            .then_some(())
    });
    server.signal("INT");
    poll("the first signal is heard", || {
        place.log().contains("SIGINT").then_some(())
    });
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(130));

    let server = place.start();
    assert_eq!(
        place.verb(&["instances", "-o", "json"]).json()[0]["instance_id"],
        "endless"
    );
    place.verb(&["deprovision", "endless"]).ok();
    assert_eq!(server.stop(), Some(0));
}
