//! What the platforms really send.

use std::time::Duration;

use osb_api::base64;
use osb_simulate::{InProcess, Options, Platform, Simulation, VirtualClock};
use serde_json::{Value, json};

use crate::broker::{Broker, Pace, Seen, failing};
use crate::right::{WORKING, options};

async fn sent(platform: Platform, pace: Pace, scenario: &str, options: Options) -> Vec<Seen> {
    let broker = Broker::new(pace, None);
    let transport = InProcess::new(broker.clone(), "user", "password");
    let options = Options {
        scenarios: vec![scenario.to_owned()],
        ..options
    };
    let simulation = Simulation::new(transport, VirtualClock::paced(Duration::from_millis(5)), options);
    let report = simulation.run(platform).await;
    assert!(report.passed(), "{report}");
    broker.seen()
}

async fn life(platform: Platform) -> Vec<Seen> {
    sent(platform, Pace::Synchronous, "life", Options::default()).await
}

#[track_caller]
fn first<'a>(seen: &'a [Seen], method: &str, part: &str) -> &'a Seen {
    let fits = |seen: &&Seen| seen.method.as_str() == method && seen.path.contains(part);
    seen.iter().find(fits).unwrap_or_else(|| panic!("no {method} {part}"))
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.get(name).map(|value| value.to_str().unwrap())
}

/// The platform and the user of the originating identity.
fn identity(seen: &Seen) -> Option<(String, Value)> {
    let (platform, encoded) = header(seen, "x-broker-api-originating-identity")?
        .split_once(' ')
        .unwrap();
    let user = base64::decode(encoded.as_bytes()).unwrap();
    Some((platform.to_owned(), serde_json::from_slice(&user).unwrap()))
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// OSB-VER-01: each its own.
#[tokio::test]
async fn versions() {
    let expected = ["2.15", "2.17", "2.14", "2.14", "2.12"];
    for (platform, version) in Platform::ALL.into_iter().zip(expected) {
        for seen in life(platform).await {
            assert_eq!(
                header(&seen, "x-broker-api-version"),
                Some(version),
                "{platform} {seen:?}"
            );
            assert_eq!(
                header(&seen, "authorization"),
                Some("Basic dXNlcjpwYXNzd29yZA=="),
                "{platform}"
            );
        }
    }
}

/// OSB-PROF-02, OSB-PROF-05, OSB-PROF-08.
#[tokio::test]
async fn cloud_foundry() {
    let seen = life(Platform::CloudFoundry).await;
    let put = first(&seen, "PUT", "service_instances");
    assert_eq!(put.query, "accepts_incomplete=true");
    assert_eq!(
        members(&put.body),
        ["context", "organization_guid", "plan_id", "service_id", "space_guid"]
    );
    let context = &put.body["context"];
    assert_eq!(context["platform"], "cloudfoundry");
    assert_eq!(context["organization_guid"], put.body["organization_guid"]);
    for name in ["organization_name", "space_name", "instance_name"] {
        assert!(context[name].is_string(), "{context}");
    }
    for name in ["organization_annotations", "space_annotations", "instance_annotations"] {
        assert!(context[name].is_object(), "{context}");
    }
    let (platform, user) = identity(put).unwrap();
    assert_eq!((platform.as_str(), members(&user)), ("cloudfoundry", vec!["user_id"]));
    for name in [
        "x-broker-api-request-identity",
        "x-vcap-request-id",
        "x-b3-traceid",
        "x-b3-spanid",
        "b3",
    ] {
        assert!(header(put, name).is_some(), "{name}");
    }
    let bind = first(&seen, "PUT", "service_bindings");
    assert_eq!(bind.body["app_guid"], bind.body["bind_resource"]["app_guid"]);
    assert!(bind.body["context"].get("instance_name").is_none());
    assert_eq!(bind.query, "accepts_incomplete=true");
    let delete = first(&seen, "DELETE", "service_bindings");
    assert_eq!(delete.query, "accepts_incomplete=true&plan_id=small&service_id=service");
}

/// OSB-PROF-05.
#[tokio::test]
async fn cloud_foundrys_service_keys_are_for_no_application() {
    let seen = sent(
        Platform::CloudFoundry,
        Pace::Synchronous,
        "service_key",
        Options::default(),
    )
    .await;
    let bind = first(&seen, "PUT", "service_bindings");
    assert!(bind.body.get("app_guid").is_none());
    assert_eq!(members(&bind.body["bind_resource"]), ["credential_client_id"]);
}

/// The plan is always in the body, and `parameters` at least as `{}`.
#[tokio::test]
async fn cloud_foundry_sends_empty_parameters_with_updates() {
    let seen = sent(Platform::CloudFoundry, WORKING, "update", Options::default()).await;
    let patch = first(&seen, "PATCH", "");
    assert_eq!(patch.body["parameters"], json!({}));
    assert_eq!(patch.body["plan_id"], "large");
    assert_eq!(patch.body["previous_values"]["plan_id"], "small");
    assert_eq!(
        patch.body["previous_values"].get("maintenance_info"),
        Some(&Value::Null)
    );
}

/// OSB-OID-01: the clean-up has no user.
#[tokio::test]
async fn cloud_foundry_mitigates_without_a_user() {
    let seen = sent(
        Platform::CloudFoundry,
        WORKING,
        "provision_answer_lost",
        Options::default(),
    )
    .await;
    assert!(identity(first(&seen, "PUT", "")).is_some());
    let delete = first(&seen, "DELETE", "");
    assert_eq!(identity(delete), None);
    assert!(delete.query.starts_with("accepts_incomplete=true&"));
    // And it is not polled: the next call is what the test itself asks.
    let after = seen.iter().position(|seen| seen.method == "DELETE").unwrap() + 1;
    assert_eq!(seen[after].method, "DELETE");
}

#[tokio::test]
async fn korifi() {
    let seen = life(Platform::Korifi).await;
    for seen in &seen {
        for name in [
            "x-broker-api-originating-identity",
            "content-type",
            "accept",
            "x-broker-api-request-identity",
        ] {
            assert_eq!(header(seen, name), None, "{name}");
        }
        assert!(seen.body.get("context").is_none(), "{seen:?}");
    }
    let put = first(&seen, "PUT", "service_instances");
    assert_eq!(put.body.get("parameters"), Some(&Value::Null));
    assert_eq!(
        members(&put.body),
        ["organization_guid", "parameters", "plan_id", "service_id", "space_guid"]
    );
    let bind = first(&seen, "PUT", "service_bindings");
    assert_eq!(bind.body.get("parameters"), Some(&Value::Null));
    let given = sent(Platform::Korifi, WORKING, "failing_provision", options()).await;
    assert_eq!(first(&given, "PUT", "").body["parameters"], Value::Object(failing()));
}

/// As recorded from Service Catalog 0.3.1.
#[tokio::test]
async fn service_catalog() {
    let seen = sent(Platform::ServiceCatalog, WORKING, "update", Options::default()).await;
    assert_eq!(identity(first(&seen, "GET", "catalog")), None);
    let put = first(&seen, "PUT", "service_instances");
    assert_eq!(put.query, "accepts_incomplete=true");
    assert_eq!(
        members(&put.body),
        ["context", "organization_guid", "plan_id", "service_id", "space_guid"]
    );
    assert_eq!(
        members(&put.body["context"]),
        ["clusterid", "instance_name", "namespace", "platform"]
    );
    assert_eq!(put.body["organization_guid"], put.body["context"]["clusterid"]);
    let (platform, user) = identity(put).unwrap();
    assert_eq!(platform, "kubernetes");
    // What should be in `extra` stands beside the rest.
    assert_eq!(members(&user), ["example.com/team", "groups", "uid", "username"]);
    let poll = first(&seen, "GET", "last_operation");
    assert_eq!(poll.query, "operation=operation-1&plan_id=small&service_id=service");
    assert!(identity(poll).is_some());
    let patch = first(&seen, "PATCH", "");
    assert_eq!(
        members(&patch.body),
        ["context", "plan_id", "previous_values", "service_id"]
    );
    assert_eq!(
        patch.body["previous_values"],
        json!({"plan_id": "small", "service_id": "service"})
    );
    let life = life(Platform::ServiceCatalog).await;
    let bind = first(&life, "PUT", "service_bindings");
    assert_eq!(bind.query, "");
    assert_eq!(
        members(&bind.body),
        ["bind_resource", "context", "plan_id", "service_id"]
    );
    let put = first(&life, "PUT", "service_instances");
    assert_eq!(bind.body["bind_resource"]["app_guid"], put.body["space_guid"]);
}

/// The same id comes back after the mitigation.
#[tokio::test]
async fn service_catalog_uses_the_same_id_again() {
    let seen = sent(
        Platform::ServiceCatalog,
        Pace::Synchronous,
        "provision_bad_gateway",
        Options::default(),
    )
    .await;
    let calls: Vec<(&str, &str)> = seen[2..6]
        .iter()
        .map(|seen| (seen.method.as_str(), seen.path.as_str()))
        .collect();
    let methods: Vec<&str> = calls.iter().map(|(method, _)| *method).collect();
    assert_eq!(methods, ["PUT", "DELETE", "PUT", "DELETE"]);
    assert!(calls.iter().all(|(_, path)| *path == calls[0].1), "{calls:?}");
}

#[tokio::test]
async fn service_manager() {
    let seen = life(Platform::ServiceManager).await;
    let put = first(&seen, "PUT", "service_instances");
    assert_eq!(
        (&put.body["organization_guid"], &put.body["space_guid"]),
        (&json!("-"), &json!("-"))
    );
    assert!(put.body["context"]["signature"].is_string());
    assert!(header(put, "x-correlationid").is_some());
    assert!(identity(put).is_some());
}

/// OSB-URL-03.
#[tokio::test]
async fn ibm_cloud() {
    let seen = life(Platform::Ibm).await;
    let put = first(&seen, "PUT", "service_instances");
    let id = put.path.strip_prefix("/v2/service_instances/").unwrap();
    assert!(
        id.starts_with("crn%3Av1%3Abluemix%3A") && id.contains("a%2F") && id.ends_with("%3A%3A"),
        "{id}"
    );
    assert_eq!(members(&put.body), ["context", "plan_id", "service_id"]);
    assert_eq!(put.body["context"]["platform"], "ibmcloud");
    assert_eq!(
        put.body["context"]["crn"]
            .as_str()
            .unwrap()
            .replace(':', "%3A")
            .replace('/', "%2F"),
        id
    );
    let (platform, user) = identity(put).unwrap();
    assert_eq!((platform.as_str(), members(&user)), ("ibmcloud", vec!["iam_id"]));
}

/// Korifi repeats its PUT with the same bytes.
#[tokio::test]
async fn repeats_are_identical() {
    let seen = sent(Platform::Korifi, WORKING, "life", Options::default()).await;
    let puts: Vec<&Seen> = seen
        .iter()
        .filter(|seen| seen.method == "PUT" && !seen.path.contains("bindings"))
        .collect();
    assert!(puts.len() > 2);
    assert!(
        puts.iter()
            .all(|put| put.body == puts[0].body && put.path == puts[0].path)
    );
}
