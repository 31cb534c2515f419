//! What judges answers, for the fuzz targets of this repository.

use bytes::Bytes;
use http::Method;
use http::response::Parts;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::rules::{self, Findings};

/// Judges an answer as one to each kind of call: how many rules it broke, and how it is shown.
pub fn answer(parts: &Parts, body: &Bytes) -> (usize, Vec<String>) {
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
    let (mut broken, mut shown) = (0, Vec::new());
    for call in calls {
        let answer = Answer::of(&call, parts, body.clone());
        for requires in [None, Some(&requires[..])] {
            broken += breaches(&rules::answers::look(&answer, Some("identity"), requires));
        }
        shown.push(format!("{} {}", answer.told(), answer.transcript()));
    }
    (broken, shown)
}

/// How many rules a catalog breaks.
pub fn catalog(catalog: &Value) -> usize {
    breaches(&rules::catalog::look(catalog))
}

fn breaches(findings: &Findings) -> usize {
    findings.found.iter().filter(|(_, wrong)| wrong.is_some()).count()
}
