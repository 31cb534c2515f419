//! Version, originating identity, request identity.

use osb_api::base64;
use serde_json::json;

use crate::harness::*;

async fn versioned(front: &Front, method: &str, uri: &str, version: Option<&str>) -> Answer {
    let mut request = request(method, uri);
    request.headers_mut().unwrap().remove("x-broker-api-version");
    if let Some(version) = version {
        request = request.header("x-bRoKeR-aPi-vErSiOn", version);
    }
    front.send(request, PROVISION).await
}

/// OSB-VER-01, -02, -07, -10, -12, OSB-COMPAT-04.
#[tokio::test]
async fn every_later_minor_is_served_on_every_route() {
    let front = Front::new(Script::default());
    for version in ["2.11", "2.17", "2.18", "2.100"] {
        assert_eq!(versioned(&front, "GET", "/v2/catalog", Some(version)).await.status, 200);
        assert_eq!(versioned(&front, "PUT", INSTANCE, Some(version)).await.status, 201);
        assert_eq!(
            versioned(&front, "GET", &format!("{INSTANCE}/last_operation"), Some(version))
                .await
                .status,
            200
        );
    }
}

/// OSB-VER-03, -05, -06, -08, -09, -11, Amb-1; before anything is said about the route.
#[tokio::test]
async fn other_versions_are_refused_and_change_nothing() {
    let front = Front::new(Script::default());
    for uri in ["/v2/catalog", INSTANCE, "/nothing"] {
        for version in ["1.0", "3.0", "2.10", "2.9"] {
            let answer = versioned(&front, "PUT", uri, Some(version)).await.refused(412);
            assert!(answer.description().contains("2.17"), "{answer:?}");
        }
        for version in ["", "abc", "2", "2.1.7", "é"] {
            versioned(&front, "PUT", uri, Some(version)).await.refused(400);
        }
        let answer = versioned(&front, "PUT", uri, None).await.refused(400);
        assert!(answer.description().contains("X-Broker-API-Version"), "{answer:?}");
    }
    assert_eq!(front.seen(), []);
}

fn with_identity(value: &str) -> http::request::Builder {
    request("PUT", INSTANCE).header("X-Broker-API-Originating-Identity", value)
}

/// OSB-OID-01, -02, -03.
#[tokio::test]
async fn the_originating_identity_reaches_the_broker() {
    let front = Front::new(Script::default());
    assert_eq!(front.json("PUT", INSTANCE, PROVISION).await.status, 201);
    assert!(front.caller().identity.is_none());
    let value = format!(
        "acme {}",
        base64::encode(json!({ "user_id": "u1", "more": [1] }).to_string().as_bytes())
    );
    assert_eq!(front.send(with_identity(&value), PROVISION).await.status, 201);
    let identity = front.caller().identity.unwrap();
    assert_eq!((identity.platform.as_str(), identity.user_id()), ("acme", Some("u1")));
}

/// OSB-OID-04, Amb-2.
#[tokio::test]
async fn a_malformed_identity_is_the_clients_mistake() {
    let front = Front::new(Script::default());
    for value in [
        "",
        "cloudfoundry",
        "cloudfoundry e30= x",
        "cloudfoundry W10=",
        "cloudfoundry ####",
        "é e30=",
    ] {
        front.send(with_identity(value), PROVISION).await.refused(400);
    }
    assert_eq!(front.seen(), []);
}

/// OSB-RID-01, OSB-RID-02, OSB-RID-03.
#[tokio::test]
async fn the_request_identity_comes_back_on_every_response() {
    let front = Front::new(Script::default());
    let long = "r".repeat(1000);
    for value in ["e26cee84-6b38-4456-b34e-d1a9f002c956", &long] {
        let tagged = |request: http::request::Builder| request.header("X-Broker-API-Request-Identity", value);
        let requests = [
            (request("GET", "/v2/catalog"), 200),
            (request("GET", "/v2/catalog").header("If-None-Match", "*"), 304),
            (request("PUT", INSTANCE), 201),
            (bare("GET", "/v2/catalog"), 401),
            (
                request("GET", "/v2/catalog").header("X-Broker-API-Originating-Identity", "x"),
                400,
            ),
            (request("GET", "/nothing"), 404),
            (request("POST", "/v2/catalog"), 405),
            (request("DELETE", INSTANCE), 400),
        ];
        for (request, status) in requests {
            let answer = front.send(tagged(request), PROVISION).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("x-broker-api-request-identity")),
                (status, Some(value))
            );
        }
    }
    assert_eq!(front.caller().request_identity.unwrap().len(), 256);
    assert_eq!(
        front
            .plain("GET", "/v2/catalog")
            .await
            .header("x-broker-api-request-identity"),
        None
    );
}

/// OSB-RID-02: bytes that are no UTF-8 come back as they came and reach the broker as text.
#[tokio::test]
async fn any_request_identity_is_taken() {
    let front = Front::new(Script::default());
    let value = http::HeaderValue::from_bytes(&[0xff; 300]).unwrap();
    let answer = front
        .send(
            request("PUT", INSTANCE).header("X-Broker-API-Request-Identity", &value),
            PROVISION,
        )
        .await;
    assert_eq!(answer.headers["x-broker-api-request-identity"], value);
    assert!(front.caller().request_identity.unwrap().len() <= 256);
}
