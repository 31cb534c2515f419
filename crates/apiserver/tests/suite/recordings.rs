//! Exchanges recorded on a real kube-apiserver (1.36), played again: `tests/data/recordings.jsonl`.
//!
//! Code, reason, causes, details and the body are compared; what differs by nature (uids, revisions, times, texts for people) is not. A
//! revision or uid that a later request repeats is replaced by the one that stood at its place in our answer.
//! Recordings that touch what is not built are left out of the file:
//!
//! | feature | recordings | numbers |
//! |---|---|---|
//! | looks at what the garbage collector has not come to yet | 20 | 228, 233, 238, 243, 252, 289, 294-295, 300, 305-306, 311, 316, 321, 326-327, 332, 345, 349, 355 |
//! | an owner of another built-in kind | 4 | 339-342 |
//! | what is applied does not fit its type, which a real server calls its own fault | 3 | 146-148 |
//! | access reviews, RBAC, impersonation | 20 | 190-207, 381-382 |
//! | other built-in kinds | 26 | 39, 82-83, 158-165, 213, 222, 360-365, 374-377, 379, 383-384 |
//! | waiting that this server does without | 4 | 104, 182, 351, 378 |
//! | CEL rules (taken out of the definition of the others) | 2 | 112, 126 |
//! | discovery of other groups and versions | 2 | 218-219 |
//! | OpenAPI | 2 | 223-224 |
//! | compaction by etcd | 1 | 173 |

use std::collections::BTreeMap;

use apiserver::{ApiServer, Controller, Options, Tokens, UserInfo};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Answer, read};

#[derive(serde::Deserialize)]
struct Recording {
    n: usize,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
    code: u16,
    answer: Option<Value>,
    text: Option<String>,
    warnings: Option<String>,
    #[serde(rename = "as")]
    user: Option<String>,
    only: Option<String>,
    #[serde(default)]
    until: bool,
}

/// Revisions and uids: the recorded one and ours.
type Replacements = BTreeMap<String, String>;

async fn send(server: &ApiServer, recording: &Recording, known: &Replacements) -> Answer {
    let mut body = recording.body.clone();
    for (recorded, ours) in known {
        body = body.replace(&format!("\"{recorded}\""), &format!("\"{ours}\""));
    }
    let mut request = Request::builder()
        .method(Method::from_bytes(recording.method.as_bytes()).unwrap())
        .uri(&recording.path);
    for (name, value) in &recording.headers {
        request = request.header(name, value);
    }
    let token = match recording.user.as_deref() {
        Some("anonymous") => None,
        Some("bob") => Some("bob"),
        Some(_) => Some("nobody"),
        None => Some("admin"),
    };
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    read(
        server
            .service()
            .oneshot(request.body(Full::from(body)).unwrap())
            .await
            .unwrap(),
    )
    .await
}

fn learn(recorded: &Value, ours: &Value, known: &mut Replacements) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (name, value) in recorded {
                let Some(other) = ours.get(name) else { continue };
                match (name.as_str(), value, other) {
                    ("resourceVersion" | "uid", Value::String(value), Value::String(other)) if value.len() > 2 => {
                        known.insert(value.clone(), other.clone());
                    }
                    _ => learn(value, other, known),
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => recorded
            .iter()
            .zip(ours)
            .for_each(|(recorded, ours)| learn(recorded, ours, known)),
        _ => {}
    }
}

fn without_managed_fields(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("managedFields");
            members.values_mut().for_each(without_managed_fields);
        }
        Value::Array(items) => items.iter_mut().for_each(without_managed_fields),
        _ => {}
    }
}

/// What may differ is made equal.
fn normal(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in ["storageVersionHash", "description", "message", "gitVersion"] {
                members.remove(name);
            }
            // Who owns a reference is kept under the uid of what it names.
            let by_uid = |name: &&String| name.starts_with(r#"k:{"uid":"#);
            for name in members.keys().filter(by_uid).cloned().collect::<Vec<_>>() {
                let owned = members.remove(&name).unwrap();
                members.insert("k:uid".into(), owned);
            }
            if members.contains_key("generateName") && members.contains_key("name") {
                members.insert("name".into(), json!("varies"));
            }
            // A real server says so when a list of custom resources goes no further.
            if members.get("continue").is_some_and(|token| token == "") {
                members.remove("continue");
            }
            for (name, member) in members.iter_mut() {
                let varies = matches!(
                    name.as_str(),
                    "uid"
                        | "resourceVersion"
                        | "creationTimestamp"
                        | "deletionTimestamp"
                        | "lastTransitionTime"
                        | "continue"
                        | "time"
                );
                if varies && member.is_string() {
                    *member = json!("varies");
                } else if name == "cells" {
                    member.as_array_mut().unwrap().iter_mut().for_each(age);
                } else {
                    normal(member);
                }
                if name == "managedFields" {
                    // They are sorted by times.
                    member.as_array_mut().unwrap().sort_by_key(Value::to_string);
                }
                if name == "causes" {
                    // The set of causes counts.
                    let causes = member.as_array_mut().unwrap();
                    causes.sort_by_key(Value::to_string);
                    causes.dedup();
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normal),
        _ => {}
    }
}

fn age(cell: &mut Value) {
    let is_age = cell.as_str().is_some_and(|text| {
        text.ends_with(['s', 'm', 'h', 'd']) && text.starts_with(|first: char| first.is_ascii_digit())
    });
    if is_age {
        *cell = json!("age");
    }
}

fn differences(recording: &Recording, ours: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    if ours.code.as_u16() != recording.code {
        found.push(format!(
            "code {} instead of {}: {}",
            ours.code,
            recording.code,
            String::from_utf8_lossy(&ours.body)
        ));
        return found;
    }
    if let Some(text) = &recording.text
        && ours.body != text.as_bytes()
    {
        found.push(format!("text {:?}", ours.body));
    }
    // Of several warnings the recording holds the last one, and refusals of a real server may carry some.
    let warnings = ours.warnings();
    match &recording.warnings {
        Some(recorded) if recording.code < 400 && !warnings.contains(&recorded.as_str()) => {
            found.push(format!("warnings {warnings:?}"))
        }
        None if !warnings.is_empty() => found.push(format!("warnings {warnings:?}")),
        _ => {}
    }
    let Some(expected) = &recording.answer else {
        return found;
    };
    let (mut expected, mut ours) = (expected.clone(), ours.json());
    if let Some(only) = &recording.only {
        (expected, ours) = (expected[only].clone(), ours[only].clone());
    }
    if recording.method == "POST" && recording.path.ends_with("customresourcedefinitions") && recording.code == 201 {
        // A real server answers before it has accepted the names.
        for object in [&mut expected, &mut ours] {
            object.as_object_mut().unwrap().remove("status");
        }
    }
    // Those of most recordings were not kept.
    if !expected.to_string().contains("managedFields") {
        without_managed_fields(&mut ours);
    }
    normal(&mut expected);
    normal(&mut ours);
    if expected != ours {
        found.push(format!("body\n  recorded {expected}\n  ours     {ours}"));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn recorded_exchanges_are_answered_alike() {
    let admin = UserInfo::admin();
    let tokens = [
        ("admin".to_owned(), admin),
        ("bob".to_owned(), UserInfo::new("bob", ["dev"])),
    ];
    let mut options = Options {
        authenticator: std::sync::Arc::new(Tokens::new(tokens)),
        garbage_collector: Controller::External,
        ..Options::default()
    };
    let store = objectstore::memory::open(objectstore::memory::Options::default());
    let mut server = ApiServer::open(store.clone(), options.clone()).await.unwrap();
    let recordings: Vec<Recording> = include_str!("../data/recordings.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut known = Replacements::new();
    // The recordings start with one object in place, and revisions well above the small ones that they name as stale.
    for filler in 0..20 {
        let body = format!(r#"{{"metadata":{{"name":"filler-{filler}"}}}}"#);
        send(
            &server,
            &setup("/api/v1/namespaces/kube-public/configmaps", body),
            &known,
        )
        .await;
    }
    send(
        &server,
        &setup(
            "/api/v1/namespaces/default/configmaps",
            r#"{"metadata":{"name":"a"}}"#.into(),
        ),
        &known,
    )
    .await;
    let mut failures = Vec::new();
    for recording in &recordings {
        // The collector ran beside some of them only.
        if matches!(recording.n, 225 | 357) {
            options.garbage_collector = match recording.n {
                225 => Controller::Embedded,
                _ => Controller::External,
            };
            server.shutdown().await;
            server = ApiServer::open(store.clone(), options.clone()).await.unwrap();
        }
        let mut answer = send(&server, recording, &known).await;
        for _ in 0..200 {
            if !recording.until || answer.code.as_u16() == recording.code {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            answer = send(&server, recording, &known).await;
        }
        if let (Some(recorded), true) = (&recording.answer, answer.body.starts_with(b"{")) {
            learn(recorded, &answer.json(), &mut known);
        }
        for difference in differences(recording, &answer) {
            failures.push(format!(
                "{} {} {}\n  {} {difference}",
                recording.n, recording.method, recording.path, recording.body
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differences:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A create before the recordings begin.
fn setup(path: &str, body: String) -> Recording {
    Recording {
        n: 0,
        method: "POST".into(),
        path: path.into(),
        headers: BTreeMap::new(),
        body,
        code: 201,
        answer: None,
        text: None,
        warnings: None,
        user: None,
        only: None,
        until: false,
    }
}
