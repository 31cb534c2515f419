//! The home `etcd`: a broker whose state is in a cluster outlives its process, its folder, and members of the cluster.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testparts::{Etcd, EtcdOptions, need};

use crate::harness::{Place, Server, order, poll};

/// A cluster, and the key that all processes of the broker share.
struct Home {
    cluster: Etcd,
    folder: tempfile::TempDir,
}

impl Home {
    fn start(members: usize) -> Option<Home> {
        let cluster = need(Etcd::start_with(members, &EtcdOptions::default()))?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "5e".repeat(32)).unwrap();
        Some(Home { cluster, folder })
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn flags(&self) -> Vec<String> {
        let key = self.key().display().to_string();
        let endpoints = self.cluster.endpoints().join(",");
        ["--home", "etcd", "--etcd-endpoints", &endpoints, "--key-file", &key]
            .map(str::to_owned)
            .to_vec()
    }

    fn serve<'p>(&self, place: &'p Place) -> Server<'p> {
        let flags = self.flags();
        place.start_with(&flags.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    }

    fn signal(&self, member: usize, name: &str) {
        let number = self.cluster.process(member).unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &number])
                .status()
                .unwrap()
                .success()
        );
    }
}

fn path(id: &str) -> String {
    format!("/v2/service_instances/{id}?accepts_incomplete=true")
}

fn is_stored(place: &Place, id: &str) -> bool {
    let all = place.verb(&["instances", "-o", "json"]).json();
    all.as_array()
        .unwrap()
        .iter()
        .any(|instance| instance["instance_id"] == id)
}

#[test]
fn a_broker_on_etcd_goes_on_after_the_death_of_its_process_on_another_machine() {
    let Some(home) = Home::start(1) else { return };
    let place = Place::new();
    let server = home.serve(&place);
    place
        .verb(&["provision", "kept", "-p", r#"{"label": "for ever"}"#])
        .ok();
    let before = place.verb(&["bind", "kept", "--id", "b", "-o", "json"]).json();
    let slow = json!({"seconds": 3, "label": "alive"});
    let mut waiting = server.connect();
    waiting
        .write_all(&server.request("PUT", &path("slow"), Some(&order(&slow))))
        .unwrap();
    poll("the provision is stored", || is_stored(&place, "slow").then_some(()));
    server.kill();
    assert!(!place.data().join("store").exists(), "nothing of it was in the folder");

    let elsewhere = Place::new();
    let server = home.serve(&elsewhere);
    let again = elsewhere.verb(&["provision", "slow", "-p", &slow.to_string()]);
    assert!(again.ok().contains("slow"));
    let label = elsewhere.verb(&["bind", "slow", "-o", "json"]).json();
    assert_eq!(label["credentials"]["label"], "alive");
    let after = elsewhere.verb(&["bind", "kept", "--id", "b", "-o", "json"]).json();
    assert_eq!(
        (&after["credentials"], &after["created"]),
        (&before["credentials"], &json!(false))
    );
    // Values are sealed there, too.
    let all = r#"{"key": "AA==", "range_end": "AA=="}"#;
    let stored = home.cluster.call(0, "/v3/kv/range", all).unwrap();
    let secret = osb_api::base64::encode(b"for ever");
    assert!(stored.len() > 1000 && !stored.contains(secret.trim_end_matches('=')));
    elsewhere.verb(&["deprovision", "slow"]).ok();
    assert_eq!(server.stop(), Some(0));
}

/// What became of requests under load.
#[derive(Default)]
struct Load {
    accepted: Mutex<Vec<String>>,
    failed: Mutex<Vec<(String, u16, String)>>,
    over: AtomicBool,
}

fn provisions(server: &Server<'_>, load: &Load, lane: usize) {
    for number in 0.. {
        if load.over.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("i{lane}-{number}");
        let (code, answer) = server.call("PUT", &path(&id), Some(&order(&json!({}))));
        match code {
            201 | 202 => load.accepted.lock().unwrap().push(id),
            code => load.failed.lock().unwrap().push((id, code, answer)),
        }
    }
}

fn every_one_is_there(server: &Server<'_>, accepted: &[String]) {
    for id in accepted {
        poll("the provision has succeeded", || {
            let path = format!("/v2/service_instances/{id}/last_operation");
            let (code, answer) = server.call("GET", &path, None);
            assert_eq!(code, 200, "{id}: {answer}");
            answer.contains("succeeded").then_some(())
        });
    }
}

#[test]
fn with_one_of_three_members_killed_no_request_fails() {
    let Some(home) = Home::start(3) else { return };
    let place = Place::new();
    let server = home.serve(&place);
    let load = Arc::new(Load::default());
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (server, load) = (&server, &load);
            scope.spawn(move || provisions(server, load, lane));
        }
        let goes_on = |load: &Load| {
            let now = load.accepted.lock().unwrap().len();
            poll("provisions go on", || {
                (load.accepted.lock().unwrap().len() > now + 20).then_some(())
            });
        };
        goes_on(&load);
        home.signal(0, "KILL");
        goes_on(&load);
        load.over.store(true, Ordering::Relaxed);
    });
    let failed = std::mem::take(&mut *load.failed.lock().unwrap());
    assert!(failed.is_empty(), "{failed:?}\n{}", place.log());
    every_one_is_there(&server, &load.accepted.lock().unwrap());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn without_a_quorum_it_says_503_and_when_to_come_again_and_then_goes_on() {
    let Some(home) = Home::start(3) else { return };
    let place = Place::new();
    let server = home.serve(&place);
    let before = ["a", "b", "c"].map(str::to_owned);
    for id in &before {
        let (code, answer) = server.call("PUT", &path(id), Some(&order(&json!({}))));
        assert!(matches!(code, 201 | 202), "{answer}");
    }
    home.signal(1, "STOP");
    home.signal(2, "STOP");
    let begun = Instant::now();
    for (method, path, body) in [
        ("PUT", path("d"), Some(order(&json!({})))),
        ("GET", "/v2/service_instances/a/last_operation".to_owned(), None),
    ] {
        let (code, answer) = server.call(method, &path, body.as_ref());
        assert_eq!(code, 503, "{method} {path}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(body["description"].is_string(), "{body}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "a platform gives up then");
    assert_eq!(server.call("GET", "/v2/catalog", None).0, 200);

    home.signal(1, "CONT");
    home.signal(2, "CONT");
    poll("it goes on", || {
        let (code, _) = server.call("PUT", &path("d"), Some(&order(&json!({}))));
        matches!(code, 200..=202).then_some(())
    });
    every_one_is_there(&server, &before);
    every_one_is_there(&server, &["d".to_owned()]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn without_a_cluster_or_a_key_it_says_what_to_give() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "5e".repeat(32)).unwrap();
    let key = key.to_str().unwrap();
    let home = ["--home", "etcd"];
    let refused = |more: &[&str]| place.refusal(&[&home, more].concat()).stderr;
    assert!(refused(&["--etcd-endpoints", "http://127.0.0.1:1"]).contains("--key-file"));
    assert!(refused(&["--key-file", key]).contains("--etcd-endpoints"));
    let wrong = refused(&["--key-file", key, "--etcd-endpoints", "ftp://127.0.0.1:1"]);
    assert!(wrong.contains("https://10.0.0.5:2379"), "{wrong}");
    let nobody = refused(&["--key-file", key, "--etcd-endpoints", "http://127.0.0.1:1"]);
    assert!(nobody.contains("no member of the etcd cluster answers"), "{nobody}");
    let login = [
        "--key-file",
        key,
        "--etcd-endpoints",
        "127.0.0.1:1",
        "--etcd-username",
        "u",
    ];
    assert!(refused(&login).contains("OSB_ETCD_PASSWORD"));
}
