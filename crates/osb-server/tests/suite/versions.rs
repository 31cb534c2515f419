//! Platforms that declare an older version.

use osb_api::request::Incomplete::{self, Accepted, Refused};
use serde_json::{Value, json};

use crate::harness::*;

async fn speaking(front: &Front, version: &str, method: &str, uri: &str, body: &str) -> Answer {
    let mut request = request(method, uri);
    let headers = request.headers_mut().unwrap();
    headers.insert("X-Broker-API-Version", version.parse().unwrap());
    front.send(request, body.to_owned()).await
}

fn incomplete(front: &Front) -> Incomplete {
    match front.seen().pop() {
        Some(
            Seen::Provision(_, _, incomplete)
            | Seen::Deprovision(_, _, incomplete)
            | Seen::Bind(_, _, _, incomplete)
            | Seen::Unbind(_, _, _, incomplete),
        ) => incomplete,
        other => panic!("{other:?}"),
    }
}

/// OSB-COMPAT-03, OSB-ASY-03: before 2.14 nobody polls a binding, whatever the query says; instances always were.
#[tokio::test]
async fn a_platform_that_cannot_poll_bindings_gets_no_202_for_one() {
    let front = Front::new(Script::default());
    for (version, expected) in [
        ("2.11", Refused),
        ("2.13", Refused),
        ("2.14", Accepted),
        ("2.17", Accepted),
    ] {
        let calls = [
            ("PUT", format!("{BINDING}?accepts_incomplete=true"), BIND, expected),
            (
                "DELETE",
                format!("{BINDING}?{IDS}&accepts_incomplete=true"),
                "",
                expected,
            ),
            (
                "PUT",
                format!("{INSTANCE}?accepts_incomplete=true"),
                PROVISION,
                Accepted,
            ),
            (
                "DELETE",
                format!("{INSTANCE}?{IDS}&accepts_incomplete=true"),
                "",
                Accepted,
            ),
        ];
        for (method, uri, body, expected) in calls {
            speaking(&front, version, method, &uri, body).await;
            assert_eq!(incomplete(&front), expected, "{version} {method} {uri}");
        }
    }
}

/// OSB-COMPAT-01, OSB-GEN-03, OSB-PROF-04: each version's requests, with none of what came later.
#[tokio::test]
async fn what_a_platform_of_its_version_sends_is_enough() {
    let front = Front::new(Script::default());
    let contexts = [
        ("2.11", None),
        (
            "2.12",
            Some(json!({ "platform": "cloudfoundry", "organization_guid": "o", "space_guid": "g" })),
        ),
        ("2.12", Some(json!({ "platform": "kubernetes", "namespace": "n" }))),
        (
            "2.14",
            Some(json!({ "platform": "kubernetes", "namespace": "n", "clusterid": "c" })),
        ),
        (
            "2.15",
            Some(json!({
                "platform": "kubernetes", "namespace": "n", "clusterid": "c", "instance_name": "i",
            })),
        ),
    ];
    for (version, context) in contexts {
        let mut body: Value = serde_json::from_str(PROVISION).unwrap();
        if let Some(context) = context {
            body["context"] = context;
        }
        let answer = speaking(&front, version, "PUT", INSTANCE, &body.to_string()).await;
        assert_eq!(answer.status, 201, "{version}: {answer:?}");
        assert_eq!(speaking(&front, version, "PUT", BINDING, BIND).await.status, 202);
        let update = speaking(&front, version, "PATCH", INSTANCE, r#"{"service_id":"s"}"#).await;
        assert_eq!(update.status, 200, "{version}: {update:?}");
    }
}

/// OSB-COMPAT-02, OSB-COMPAT-05: the bodies are the same, and objects, for every version.
#[tokio::test]
async fn an_older_platform_gets_the_same_bodies() {
    let front = Front::new(Script::default());
    let removal = format!("{INSTANCE}?{IDS}");
    for (method, uri, body) in [
        ("GET", "/v2/catalog", ""),
        ("PUT", INSTANCE, PROVISION),
        ("PUT", BINDING, BIND),
        ("DELETE", removal.as_str(), ""),
        ("GET", "/v2/service_instances/i/last_operation", ""),
        ("PUT", INSTANCE, "no JSON"),
        ("GET", "/nothing", ""),
    ] {
        let new = speaking(&front, "2.17", method, uri, body).await;
        let old = speaking(&front, "2.11", method, uri, body).await;
        assert!(new.json().is_object());
        assert_eq!((old.status, old.body), (new.status, new.body), "{method} {uri}");
    }
}
