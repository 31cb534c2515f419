//! Requests that are wrong, or that nobody may send.

use apiserver::UserInfo;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use tower::ServiceExt as _;

use super::support::{INSTANCES, TestServer, instance, read};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let server = TestServer::with_instances().await;
    for path in ["/nothing", "/apis/none.io/v1", "/apis/none.io/v1/things", "/apis/reference.osb.internal/v2/serviceinstances", "/api/v2", "/apis/v1", "/livez/none"] {
        let answer = server.get(path).await;
        assert_eq!((answer.code.as_u16(), answer.headers["content-type"].to_str().unwrap()), (404, "text/plain; charset=utf-8"), "{path}");
    }
    for path in ["/api/v1/things", "/api/v1/namespaces/default/configmaps/a/status", "/apis/coordination.k8s.io/v1/things"] {
        assert_eq!(server.get(path).await.refused(), (404, "NotFound".into()), "{path}");
    }
    for (method, path) in [(Method::PUT, MAPS), (Method::POST, "/api/v1/configmaps"), (Method::DELETE, "/api/v1/configmaps"), (Method::POST, "/api/v1/namespaces/default/configmaps/a"), (Method::OPTIONS, MAPS)] {
        assert_eq!(server.send(method, path, &[], "{}").await.refused(), (405, "MethodNotAllowed".into()), "{path}");
    }
}

#[tokio::test]
async fn wrong_bodies_are_refused() {
    let server = TestServer::with_instances().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for body in ["", "{", "[]", "null", "1", "\u{0}", "{\"metadata\":5}", "{\"metadata\":{\"name\":5}}", deep.as_str(), "{\"metadata\":{\"labels\":[1]}}"] {
        for path in [MAPS, INSTANCES] {
            assert_eq!(server.send(Method::POST, path, &[], body.to_owned()).await.refused(), (400, "BadRequest".into()), "{path} {body:.40}");
        }
    }
    let not_text = server.send(Method::POST, MAPS, &[], vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).await;
    assert_eq!(not_text.refused().0, 400);
    let mut wrong = instance("a");
    wrong["spec"]["planId"] = json!(5);
    let refused = server.post(INSTANCES, wrong).await;
    assert_eq!(refused.refused(), (422, "Invalid".into()));
    assert_eq!(refused.json()["details"]["causes"][0]["field"], "spec.planId");
    for media in ["application/vnd.kubernetes.protobuf", "text/plain"] {
        assert_eq!(server.send(Method::POST, MAPS, &[("content-type", media)], "{}").await.refused(), (415, "UnsupportedMediaType".into()));
    }
    for media in ["application/strategic-merge-patch+json", "application/apply-patch+yaml"] {
        server.post(INSTANCES, instance("p")).await;
        assert_eq!(server.send(Method::PATCH, &format!("{INSTANCES}/p"), &[("content-type", media)], "{}").await.refused().0, 415);
    }
    assert_eq!(server.get("/api/v1/namespaces/%zz/configmaps").await.code.as_u16(), 400);
    assert_eq!(server.get("/api/v1/namespaces/a%2Fb/configmaps").await.refused().0, 404);
}

#[tokio::test]
async fn yaml_goes_in_and_comes_out() {
    let server = TestServer::start().await;
    server.yaml(MAPS, "kind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"0644\"\n").await.ok();
    let answer = server.get_as(&format!("{MAPS}/a"), "application/yaml").await;
    assert_eq!(answer.headers["content-type"], "application/yaml");
    assert!(String::from_utf8_lossy(&answer.body).contains("k: \"0644\""), "{:?}", answer.body);
}

#[tokio::test]
async fn only_masters_may_do_anything() {
    let server = TestServer::start().await;
    let send = |user: UserInfo, path: &'static str| {
        let service = server.api.service_as(user);
        async move { read(service.oneshot(Request::get(path).body(Full::<bytes::Bytes>::default()).unwrap()).await.unwrap()).await }
    };
    for path in [MAPS, "/api", "/apis", "/metrics", "/"] {
        assert_eq!(send(UserInfo::new("bob", ["dev"]), path).await.refused(), (403, "Forbidden".into()), "{path}");
    }
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(send(UserInfo::anonymous(), path).await.code.as_u16(), 200, "{path}");
    }
    assert_eq!(send(UserInfo::new("carol", [apiserver::MASTERS]), MAPS).await.code.as_u16(), 200);
}

#[tokio::test]
async fn a_taken_generated_name_is_tried_again() {
    let server = TestServer::start().await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let made = server.post(MAPS, json!({"metadata": {"generateName": "g-"}})).await.ok();
        assert!(names.insert(made["metadata"]["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(server.post(MAPS, json!({"metadata": {}})).await.refused(), (422, "Invalid".into()));
}

#[tokio::test]
async fn health_can_be_looked_at_in_detail() {
    let server = TestServer::start().await;
    let verbose = server.get("/readyz?verbose").await;
    assert_eq!(String::from_utf8_lossy(&verbose.body), "[+]ping ok\n[+]store ok\n[+]shutdown ok\nreadyz check passed\n");
    assert_eq!(server.get("/livez/store").await.body.as_ref(), b"ok");
    server.store.close().await.unwrap();
    assert_eq!(server.get("/livez").await.code.as_u16(), 500);
    assert_eq!(server.get("/livez?exclude=store").await.code.as_u16(), 200);
    assert_eq!(server.get(MAPS).await.refused(), (503, "ServiceUnavailable".into()));
}
