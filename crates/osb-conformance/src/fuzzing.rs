//! What judges answers, for the fuzz targets of this repository.

use bytes::Bytes;
use http::Method;
use http::response::Parts;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::rules;

/// Judges an answer as one to each kind of call: how it is shown.
pub fn answer(parts: &Parts, body: &Bytes) -> Vec<String> {
    let nothing = json!({});
    let calls = [
        Call::catalog(),
        Call::provision("i", &nothing).accepting(),
        Call::update("i", &nothing),
        Call::fetch_instance("i"),
        Call::deprovision("i", "s", "p").accepting(),
        Call::poll_instance("i"),
        Call::bind("i", "b", &nothing).accepting(),
        Call::fetch_binding("i", "b"),
        Call::unbind("i", "b", "s", "p"),
        Call::poll_binding("i", "b"),
        Call::new(crate::call::Op::Other, Method::GET, "/".to_owned()),
    ];
    let requires = ["syslog_drain".to_owned()];
    let judged = calls.into_iter().map(|call| {
        let answer = Answer::of(&call, parts, body.clone());
        for requires in [None, Some(&requires[..])] {
            let _ = rules::answers::look(&answer, Some("identity"), requires);
        }
        format!("{} {}", answer.told(), answer.transcript())
    });
    judged.collect()
}

/// Judges a catalog.
pub fn catalog(catalog: &Value) {
    let _ = rules::catalog::look(catalog);
}
