//! `osb check` on a broker that runs, on one that is killed meanwhile, and on what is none.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Place, Verb, osb};

/// Results by requirement.
fn results(report: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let requirements = report["requirements"].as_array().unwrap();
    requirements
        .iter()
        .map(|one| (text(&one["id"]), text(&one["result"])))
        .collect()
}

/// A check of the broker in this place, which has to hold everything that it must.
#[track_caller]
fn check(place: &Place, flags: &[&str]) -> BTreeMap<String, String> {
    let args: Vec<&str> = ["check", "--format", "json"].iter().chain(flags).copied().collect();
    let report = place.verb(&args).json();
    assert_eq!(
        (&report["failed"], &report["leftovers"]),
        (&Value::Bool(false), &serde_json::json!([])),
        "{report:#}"
    );
    results(&report)
}

#[test]
fn the_reference_broker_holds_what_it_must() {
    let place = Place::new();
    let _server = place.start();
    let results = check(&place, &["--failing-parameters", r#"{"fail_at":"provision"}"#]);
    let passed = results.values().filter(|result| *result == "passed").count();
    assert!(passed > 140, "{results:?}");
    for id in [
        "OSB-PROV-15",
        "OSB-BLK-04",
        "OSB-URL-01",
        "OSB-AUTH-03",
        "OSB-DEP-11",
        "OSB-PROV-21",
        "OSB-PROV-11",
    ] {
        assert_eq!(results[id], "passed", "{id}");
    }
    let instances = place.verb(&["instances", "-o", "json"]).json();
    assert_eq!(instances, serde_json::json!([]), "the check leaves nothing");
}

/// OSB-PROV-13, OSB-BLK-02, OSB-DEP-08.
#[test]
fn requests_meet_a_provision_that_runs() {
    const RUNNING: &str =
        "OSB-PROV-13,OSB-BLK-05,OSB-BLK-02,OSB-DEP-07,OSB-DEP-08,OSB-LOI-01,OSB-LOI-13,OSB-ORP-04,OSB-PROV-11";
    let place = Place::new();
    let _server = place.start();
    let slow = ["--plan", "async", "--parameters", r#"{"seconds":1}"#, "--only", RUNNING];
    let results = check(&place, &slow);
    assert!(results.values().all(|result| result == "passed"), "{results:?}");
}

/// The process that the check's command has started, which is not this one's child.
struct Restarted<'a>(&'a Place);

impl Drop for Restarted<'_> {
    fn drop(&mut self) {
        let info = std::fs::read(self.0.data().join("server")).unwrap_or_default();
        let info: Value = serde_json::from_slice(&info).unwrap_or_default();
        if let Some(pid) = info["pid"].as_u64() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

#[test]
fn the_reference_broker_loses_nothing_when_it_is_killed() {
    let place = Place::new();
    let server = place.start();
    let _restarted = Restarted(&place);
    let serve = format!(
        "{} serve reference --listen {} --kube-listen 127.0.0.1:0 --data-dir {}",
        env!("CARGO_BIN_EXE_osb"),
        server.address(),
        place.data().display()
    );
    // A killed process holds port and folder for a moment yet; as this one's child it stays behind as a zombie.
    let pid = server.pid();
    let dead = format!("while ps -o stat= -p {pid} | grep -qv Z; do sleep 0.05; done");
    let command = format!("kill -KILL {pid}; {dead}; {serve} >/dev/null 2>&1 &");
    let crashes = "OSB-CRASH-01,OSB-CRASH-02,OSB-CRASH-03,OSB-CRASH-04";
    let flags = [
        "--only",
        crashes,
        "--parameters",
        r#"{"seconds":1}"#,
        "--restart",
        &command,
    ];
    let results = check(&place, &flags);
    assert!(results.values().all(|result| result == "passed"), "{results:?}");
}

/// Answers everything with an empty object.
fn nonsense() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let answer =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_broken_must_is_an_exit_code() {
    let url = nonsense();
    let args = ["check", &url, "--username", "u", "--password", "canary-password"];
    let verb = Verb::of(&args, &osb().args(args).output().unwrap());
    assert_eq!(verb.code, Some(1), "{verb:?}");
    assert!(verb.stderr.starts_with("error: the broker breaks "), "{verb:?}");
    assert!(verb.stdout.contains("OSB-CAT-01     MUST     FAILED"), "{verb:?}");
    assert!(verb.stdout.contains("GET /v2/catalog -> 200 {}"), "{verb:?}");
    assert!(!verb.stdout.contains("canary-password"), "{verb:?}");
    let args = [
        "check",
        &url,
        "--anonymous",
        "--format",
        "junit",
        "--only",
        "OSB-CAT-01",
    ];
    let verb = Verb::of(&args, &osb().args(args).output().unwrap());
    assert_eq!(verb.code, Some(1), "{verb:?}");
    assert!(
        verb.stdout
            .contains("<testsuite name=\"osb check\" tests=\"1\" failures=\"1\""),
        "{verb:?}"
    );
}

#[test]
fn a_check_that_cannot_begin() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    for (args, code, told) in [
        (&["check", &url, "--anonymous"][..], 1, "cannot be reached"),
        (&["check", &url, "--anonymous", "--only", "OSB-CAT-99"], 2, "OSB-CAT-99"),
        (&["check", "http://example.com", "--anonymous"], 2, "plain http"),
        (&["check", &url, "--anonymous", "--parameters", "7"], 2, "parameters"),
    ] {
        let verb = Verb::of(args, &osb().args(args).output().unwrap());
        assert!(verb.fails(code).contains(told), "{verb:?}");
    }
}
