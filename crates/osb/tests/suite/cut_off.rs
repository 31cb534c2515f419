//! A client that is cut off, at any byte, changes nothing in the outcome.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use serde_json::json;

use crate::harness::{Place, order, poll};

#[test]
fn a_request_cut_off_at_any_byte_is_no_request() {
    let place = Place::new();
    let server = place.start();
    let body = order(&json!({"label": "x"}));
    let length = server
        .request("PUT", "/v2/service_instances/cut-0000", Some(&body))
        .len();
    for cut in 0..length {
        let request = server.request("PUT", &format!("/v2/service_instances/cut-{cut:04}"), Some(&body));
        let mut stream = server.connect();
        stream.write_all(&request[..cut]).unwrap();
        // Half of them wait for an answer, the others are gone at once.
        if cut % 2 == 0 {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    // One whole request after them: whatever they had begun would be there, too.
    let whole = server.call("PUT", "/v2/service_instances/whole", Some(&body));
    assert_eq!(whole.0, 201, "{}", whole.1);
    let all = place.verb(&["instances", "-o", "json"]).json();
    let ids: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["instance_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["whole"]);
}

#[test]
fn an_answer_cut_off_before_any_byte_leaves_the_request_done() {
    let place = Place::new();
    let server = place.start();
    let body = order(&json!({"label": "x"}));
    let (code, answer) = server.call("PUT", "/v2/service_instances/ans-9999", Some(&body));
    assert_eq!(code, 201, "{answer}");
    for cut in 0..answer.len() {
        let mut stream = server.connect();
        stream
            .write_all(&server.request("PUT", &format!("/v2/service_instances/ans-{cut:04}"), Some(&body)))
            .unwrap();
        stream.read_exact(&mut vec![0; cut]).unwrap();
    }
    poll("all are made", || {
        let all = place.verb(&["instances", "-o", "json"]).json();
        let ready = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["state"] == "Ready")
            .count();
        (ready == answer.len() + 1).then_some(())
    });
    for cut in 0..answer.len() {
        let path = format!("/v2/service_instances/ans-{cut:04}");
        let (code, answer) = server.call("PUT", &path, Some(&body));
        assert_eq!(code, 200, "{path}: {answer}");
    }
}
