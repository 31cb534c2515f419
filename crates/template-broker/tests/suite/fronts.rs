//! Requests that the broker in Go refused for their form.

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::life::DATABASE;
use crate::mall::Mall;

/// Status, version header and body of an answer.
async fn answer(mall: &Mall, request: Request<Vec<u8>>) -> (u16, Option<String>, Value) {
    let request = request.map(|body| Full::new(body.into()));
    let answer = mall.broker.service().call(request).await.expect("it is infallible");
    let (head, body) = answer.into_parts();
    let version = head.headers.get("X-Broker-API-Version");
    let version = version.map(|version| version.to_str().expect("a text").to_owned());
    let body = body.collect().await.expect("a body").to_bytes();
    (
        head.status.as_u16(),
        version,
        serde_json::from_slice(&body).expect("JSON"),
    )
}

fn request(method: Method, path: &str, version: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("X-Broker-API-Version", version)
}

/// S18: other methods got plain text and no version.
#[tokio::test]
async fn methods_that_there_are_not_are_answered_with_json() {
    let mall = Mall::open(&[DATABASE]).await;
    for (method, path) in [
        (Method::POST, "/v2/service_instances/a"),
        (Method::PATCH, "/v2/service_instances/a/service_bindings/b"),
        (Method::DELETE, "/v2/catalog"),
    ] {
        let sent = request(method.clone(), path, "2.17")
            .body(Vec::new())
            .expect("a request");
        let (status, version, body) = answer(&mall, sent).await;
        assert_eq!((status, version.as_deref()), (405, Some("2.17")), "{method} {path}");
        assert!(body["description"].is_string(), "{body}");
    }
}

/// S19: only `application/json` to the letter was taken. S20: all answers were those of 2.11.
#[tokio::test]
async fn a_body_may_say_how_it_is_written_and_versions_are_those_of_today() {
    let mall = Mall::open(&[DATABASE]).await;
    let service = mall.services().await["database"].clone();
    let body = json!({
        "service_id": service["id"], "plan_id": service["plans"][0]["id"], "organization_guid": "o", "space_guid": "s",
        "parameters": {"OWNER": "me"},
    });
    for (id, version, kind) in [
        ("a", "2.17", "application/json; charset=utf-8"),
        ("b", "2.13", "Application/JSON"),
    ] {
        let path = format!("/v2/service_instances/{id}?accepts_incomplete=true");
        let sent = request(Method::PUT, &path, version)
            .header(header::CONTENT_TYPE, kind)
            .body(body.to_string().into_bytes())
            .expect("a request");
        let (status, answered, said) = answer(&mall, sent).await;
        assert!(matches!(status, 201 | 202), "{kind}: {said}");
        assert_eq!(answered.as_deref(), Some("2.17"));
    }
}
