//! Nothing secret is readable where it does not belong.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Place, order};

/// The secrets of a test, and every place where one shows.
struct Canaries(Vec<String>);

impl Canaries {
    #[track_caller]
    fn absent_in(&self, place: &str, bytes: &[u8]) {
        for canary in &self.0 {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} can be read in {place}");
        }
    }

    fn absent_below(&self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.absent_below(&path);
            } else {
                self.absent_in(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }
}

#[test]
fn no_parameter_and_no_credential_is_readable_where_it_does_not_belong() {
    let place = Place::new();
    let server = place.start_with(&[], &[("OSB_LOG", "trace")]);
    let mut canaries = Canaries(vec!["canary-of-the-label".to_owned(), "canary-of-a-refusal".to_owned()]);
    let label = r#"{"label": "canary-of-the-label"}"#;
    place.verb(&["provision", "a", "-p", label]).ok();
    place.verb(&["provision", "b", "--plan", "async", "-p", label]).ok();
    for instance in ["a", "b"] {
        let bound = place.verb(&["bind", instance, "-o", "json"]).json();
        let credentials = bound["credentials"].as_object().unwrap();
        canaries.0.push(credentials["password"].as_str().unwrap().to_owned());
        canaries.0.push(credentials["uri"].as_str().unwrap().to_owned());
    }
    // What is refused is not quoted: wrong types, unknown names, other parameters for the same id, no JSON.
    for parameters in [
        json!({"seconds": "canary-of-a-refusal"}),
        json!({"fail_at": "canary-of-a-refusal"}),
    ] {
        let (code, answer) = server.call("PUT", "/v2/service_instances/c", Some(&order(&parameters)));
        assert_eq!(code, 400, "{answer}");
        canaries.absent_in("a refusal", answer.as_bytes());
    }
    let other = order(&json!({"label": "canary-of-a-refusal"}));
    let (code, answer) = server.call("PUT", "/v2/service_instances/a", Some(&other));
    assert_eq!(code, 409, "{answer}");
    canaries.absent_in("a conflict", answer.as_bytes());

    canaries.absent_in("the metrics", server.call("GET", "/metrics", None).1.as_bytes());
    if let Some(kubectl) = testparts::need(testparts::kubectl()) {
        for kinds in ["serviceinstances,servicebindings", "namespaces", "events"] {
            let shown = place
                .kubectl(&kubectl)
                .args(["get", kinds, "-A", "-o", "yaml", "--show-managed-fields"])
                .output();
            canaries.absent_in("kubectl -o yaml", &shown.unwrap().stdout);
        }
    }
    canaries.absent_below(&place.data());
    place.verb(&["unbind", "a"]).ok();
    place.verb(&["deprovision", "a"]).ok();
    assert_eq!(server.stop(), Some(0));
    canaries.absent_below(&place.data());
    canaries.absent_in("the log", place.log().as_bytes());
    canaries.absent_in("the server's stdout", place.stdout().as_bytes());
}

#[test]
fn the_login_stays_in_its_file() {
    let place = Place::new();
    let server = place.start_with(&[], &[("OSB_LOG", "trace")]);
    place.verb(&["catalog"]).ok();
    let canaries = Canaries(vec![server.password.clone()]);
    let encoded = osb_api::base64::encode(format!("osb:{}", server.password).as_bytes());
    let canaries = Canaries(canaries.0.into_iter().chain([encoded]).collect());
    assert_eq!(server.stop(), Some(0));
    canaries.absent_in("the log", place.log().as_bytes());
    canaries.absent_in("the server's stdout", place.stdout().as_bytes());
    canaries.absent_below(&place.data().join("store"));
}
