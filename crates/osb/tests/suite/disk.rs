//! Disks that are full or read-only: 503 while it lasts, or a message and no start; nothing acknowledged is lost.

use serde_json::{Value, json};
use testparts::SmallDisk;

use crate::harness::{Place, Server, order, poll};

/// The reserve that the store keeps free and room for its files, with some to spare.
const DISK_BYTES: u64 = 160 << 20;

/// Less than the reserve.
const SOME_ROOM_BYTES: u64 = 30 << 20;

fn place() -> Option<Place> {
    testparts::need(SmallDisk::start(DISK_BYTES)).map(Place::on)
}

fn provision(server: &Server<'_>, id: &str, parameters: &Value) -> (u16, String) {
    let path = format!("/v2/service_instances/{id}?accepts_incomplete=true");
    server.call("PUT", &path, Some(&order(parameters)))
}

fn state(server: &Server<'_>, id: &str) -> (u16, String) {
    server.call("GET", &format!("/v2/service_instances/{id}/last_operation"), None)
}

/// Provisions until the broker says that it cannot. What it acknowledged is given back.
fn acknowledged_until_refused(server: &Server<'_>, prefix: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    poll("a provision is refused", || {
        let id = format!("{prefix}-{number}");
        number += 1;
        match provision(server, &id, &json!({})) {
            (201 | 202, _) => acknowledged.push(id),
            refused => {
                is_unavailable(&refused);
                let (code, answer) = state(server, &id);
                assert_eq!(code, 404, "refused, and yet: {answer}");
                return Some(());
            }
        }
        None
    });
    acknowledged
}

#[track_caller]
fn is_unavailable((code, answer): &(u16, String)) {
    assert_eq!(*code, 503, "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("\r\nretry-after: ") && head.contains("\r\ncontent-type: application/json"),
        "{answer}"
    );
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(
        body["description"].as_str().is_some_and(|text| text.contains("state")),
        "{body}"
    );
}

/// What changes nothing is answered as ever; what changes something is refused.
fn reads_go_on_and_writes_do_not(place: &Place, server: &Server<'_>, instance: &str) {
    for path in ["/healthz", "/v2/catalog"] {
        assert_eq!(server.call("GET", path, None).0, 200, "{path}");
    }
    let (code, answer) = state(server, instance);
    assert!(code == 200 && answer.contains("succeeded"), "{answer}");
    assert!(place.verb(&["instances"]).ok().contains(instance));
    let plan = format!(
        "service_id={}&plan_id={}",
        reference_broker::OFFERING,
        reference_broker::FAST
    );
    let body = json!({"service_id": reference_broker::OFFERING, "plan_id": reference_broker::FAST});
    let path = format!("/v2/service_instances/{instance}");
    is_unavailable(&server.call("PUT", &format!("{path}/service_bindings/b"), Some(&body)));
    is_unavailable(&server.call("DELETE", &format!("{path}?{plan}"), None));
    is_unavailable(&provision(server, "refused", &json!({})));
}

/// The same process serves on when the disk takes writes again.
fn everything_is_there(place: &Place, server: &Server<'_>, acknowledged: &[String]) {
    poll("a provision is accepted", || {
        (provision(server, "after", &json!({})).0 == 201).then_some(())
    });
    let listed = place.verb(&["instances"]);
    for id in acknowledged {
        assert!(listed.ok().contains(id), "{id} is lost: {}", listed.stdout);
    }
    assert!(!listed.ok().contains("refused"), "{}", listed.stdout);
    assert!(!place.log().contains("panicked"), "{}", place.log());
}

#[test]
fn a_full_disk_is_a_503_while_it_lasts() {
    let Some(place) = place() else { return };
    let server = place.start();
    assert_eq!(provision(&server, "early", &json!({})).0, 201);
    // Its outcome comes when the disk is full, and has to wait until it can be stored.
    let running = json!({"seconds": 5});
    let path = "/v2/service_instances/running?accepts_incomplete=true";
    let mut body = order(&running);
    body["plan_id"] = reference_broker::ASYNC.into();
    assert_eq!(server.call("PUT", path, Some(&body)).0, 202);

    place.disk().fill().unwrap();
    let mut acknowledged = acknowledged_until_refused(&server, "late");
    acknowledged.extend(["early", "running"].map(str::to_owned));
    reads_go_on_and_writes_do_not(&place, &server, "early");
    poll("the operation does not get on", || {
        place.log().contains("A step could not be stored").then_some(())
    });
    assert!(state(&server, "running").1.contains("in progress"));

    place.disk().make_room(0).unwrap();
    everything_is_there(&place, &server, &acknowledged);
    poll("the operation ends well", || {
        state(&server, "running").1.contains("succeeded").then_some(())
    });
    assert_eq!(server.stop(), Some(0));
    // An operator is told once, whatever comes in meanwhile.
    let log = place.log();
    for told in ["until there is room again: the disk is full", "writes are taken again"] {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
}

#[test]
fn a_disk_that_becomes_read_only_is_a_503_while_it_lasts() {
    let Some(place) = place() else { return };
    let server = place.start();
    assert_eq!(provision(&server, "early", &json!({})).0, 201);
    place.disk().make_read_only().unwrap();
    let mut acknowledged = acknowledged_until_refused(&server, "late");
    acknowledged.push("early".to_owned());
    reads_go_on_and_writes_do_not(&place, &server, "early");
    place.disk().make_writable().unwrap();
    everything_is_there(&place, &server, &acknowledged);
    assert_eq!(server.stop(), Some(0));
}

/// Starts a server that must refuse, and say that the disk is the reason.
#[track_caller]
fn start_is_refused(place: &Place, told: &str) {
    let verb = place.refusal(&[]);
    let text = verb.refuses(1);
    let folder = place.served_data().display().to_string();
    assert!(text.contains(&folder) && text.contains(told), "{text}");
}

#[test]
fn a_server_that_ends_on_a_full_disk_starts_again_when_there_is_room() {
    let Some(place) = place() else { return };
    for (name, signal, code) in [("killed", "KILL", None), ("stopped", "TERM", Some(0))] {
        let mut server = place.start();
        place.disk().fill().unwrap();
        let mut acknowledged = acknowledged_until_refused(&server, name);
        server.signal(signal);
        assert_eq!(server.wait().code(), code, "{}", place.log());

        start_is_refused(&place, "full");
        // Enough for all small files, but not for what the store holds in reserve.
        place.disk().make_room(DISK_BYTES - SOME_ROOM_BYTES).unwrap();
        start_is_refused(&place, "full");
        place.disk().make_room(0).unwrap();
        let server = place.start();
        acknowledged.push("after".to_owned());
        everything_is_there(&place, &server, &acknowledged);
        let (code, answer) = server.call(
            "DELETE",
            &format!(
                "/v2/service_instances/after?service_id={}&plan_id={}",
                reference_broker::OFFERING,
                reference_broker::FAST
            ),
            None,
        );
        assert_eq!(code, 200, "{answer}");
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn a_read_only_folder_is_named_and_not_served() {
    let Some(place) = place() else { return };
    place.disk().make_read_only().unwrap();
    start_is_refused(&place, "read-only");
    place.disk().make_writable().unwrap();
    let server = place.start();
    assert_eq!(provision(&server, "kept", &json!({})).0, 201);
    assert_eq!(server.stop(), Some(0));

    place.disk().make_read_only().unwrap();
    start_is_refused(&place, "read-only");
    place.disk().make_writable().unwrap();
    let _server = place.start();
    assert!(place.verb(&["instances"]).ok().contains("kept"));
}
