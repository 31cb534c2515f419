//! Requests that the broker in Go refused for their form.

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::life::DATABASE;
use crate::mall::Mall;

/// Status and body of an answer.
async fn answer(mall: &Mall, request: Request<Vec<u8>>) -> (u16, Value) {
    let (status, body) = raw(mall, request).await;
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn raw(mall: &Mall, request: Request<Vec<u8>>) -> (u16, Vec<u8>) {
    let request = request.map(|body| Full::new(body.into()));
    let answer = mall.broker.service().call(request).await.expect("it is infallible");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (head.status.as_u16(), body.to_vec())
}

fn request(method: Method, path: &str, version: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("X-Broker-API-Version", version)
}

/// S18: other methods got plain text.
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
        let (status, body) = answer(&mall, sent).await;
        assert_eq!(status, 405, "{method} {path}");
        assert!(body["description"].is_string(), "{body}");
    }
}

/// S19: only `application/json` to the letter was taken.
#[tokio::test]
async fn a_body_may_say_how_it_is_written() {
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
        let (status, said) = answer(&mall, sent).await;
        assert!(matches!(status, 201 | 202), "{kind}: {said}");
    }
}

#[tokio::test]
async fn what_became_of_instances_is_counted() {
    let mall = Mall::open(&[DATABASE]).await;
    let made = mall.provisioned("a", "database", json!({"OWNER": "me"})).await;
    assert!(made.status < 300, "{made:?}");
    let removed = mall.broker.deprovision("a").await;
    mall.ended("a", removed).await;
    for line in [
        r#"template_instances_completed_total{operation="instantiate",outcome="ready"} 1"#,
        r#"template_instances_completed_total{operation="delete",outcome="removed"} 1"#,
        "template_instances_unfinished 0",
    ] {
        let mut text = String::new();
        // It is counted right after it can be seen.
        for _ in 0..1000 {
            let sent = request(Method::GET, "/metrics", "2.17")
                .body(Vec::new())
                .expect("a request");
            let (status, body) = raw(&mall, sent).await;
            assert_eq!(status, 200);
            text = String::from_utf8(body).expect("a text");
            if text.contains(line) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(text.contains(line), "{line}: {text}");
    }
}
