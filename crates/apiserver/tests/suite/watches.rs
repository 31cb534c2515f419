//! Watch: where it starts, what it tells, how it ends.

use http::Method;
use objectstore::Revision;
use serde_json::json;

use super::support::{Events, TestServer};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn make(server: &TestServer, name: &str) -> String {
    let made = server.post(MAPS, json!({"metadata": {"name": name}})).await.ok();
    made["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

async fn watch(server: &TestServer, query: &str) -> Events {
    Events::of(server.open(Method::GET, &format!("{MAPS}?watch=1&{query}"), &[], "").await)
}

#[tokio::test]
async fn a_watch_goes_on_behind_the_revision_that_the_client_has_seen() {
    let server = TestServer::start().await;
    make(&server, "a").await;
    let seen = make(&server, "b").await;
    let last = make(&server, "c").await;
    let mut events = watch(&server, &format!("resourceVersion={seen}")).await;
    let event = events.next().await.unwrap();
    assert_eq!((event["object"]["metadata"]["name"].as_str(), event["object"]["metadata"]["resourceVersion"].as_str()), (Some("c"), Some(last.as_str())));
    server.delete(&format!("{MAPS}/a")).await.ok();
    assert_eq!(events.change().await, ("DELETED".into(), "a".into()));
}

#[tokio::test]
async fn a_revision_that_is_no_longer_kept_is_an_error_event() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c"] {
        make(&server, name).await;
    }
    server.store.compact(server.store.revision()).await.unwrap();
    let mut events = watch(&server, "resourceVersion=1").await;
    let event = events.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_i64(), event["object"]["reason"].as_str()), (Some("ERROR"), Some(410), Some("Expired")));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_page_of_a_revision_that_is_no_longer_kept_says_how_to_go_on() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c"] {
        make(&server, name).await;
    }
    let page = server.get(&format!("{MAPS}?limit=2")).await.ok();
    make(&server, "b2").await;
    let Revision(now) = server.store.revision();
    server.store.compact(Revision(now)).await.unwrap();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let expired = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(expired.refused(), (410, "Expired".into()));
    let status = expired.json();
    let rest = server.get(&format!("{MAPS}?limit=2&continue={}", status["metadata"]["continue"].as_str().unwrap())).await.ok();
    let names: Vec<&str> = rest["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b2", "c"]);
}

#[tokio::test]
async fn a_watch_list_sends_the_state_then_says_so() {
    let server = TestServer::start().await;
    make(&server, "a").await;
    make(&server, "b").await;
    let mut events = watch(&server, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").await;
    assert_eq!(events.change().await, ("ADDED".into(), "a".into()));
    assert_eq!(events.change().await, ("ADDED".into(), "b".into()));
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], server.store.revision().0.to_string());
    make(&server, "c").await;
    assert_eq!(events.change().await, ("ADDED".into(), "c".into()));
    let wrong = server.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(wrong.refused(), (422, "Invalid".into()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_after_its_time_with_a_bookmark_before() {
    let server = TestServer::start().await;
    let seen = make(&server, "a").await;
    let mut events = watch(&server, &format!("resourceVersion={seen}&timeoutSeconds=5&allowWatchBookmarks=true")).await;
    let mark = events.next().await.unwrap();
    assert_eq!((mark["type"].as_str(), mark["object"]["kind"].as_str()), (Some("BOOKMARK"), Some("ConfigMap")));
    assert!(mark["object"]["metadata"]["resourceVersion"].as_str().unwrap() >= seen.as_str());
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn labels_bring_objects_into_and_out_of_a_watch() {
    let server = TestServer::start().await;
    let mut events = watch(&server, "labelSelector=app%3Dx").await;
    make(&server, "a").await;
    for labels in [json!({"app": "x"}), json!({"other": "1"}), json!({"app": "y"})] {
        server.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": labels}})).await.ok();
    }
    let kinds = [events.change().await.0, events.change().await.0, events.change().await.0];
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
}

#[tokio::test]
async fn a_shutdown_ends_all_watches() {
    let server = TestServer::start().await;
    let mut events = watch(&server, "resourceVersion=1").await;
    let api = server.api.clone();
    let waiting = tokio::spawn(async move { while events.next().await.is_some() {} });
    api.shutdown().await;
    waiting.await.unwrap();
    assert_eq!(server.get("/readyz").await.code.as_u16(), 500);
    assert_eq!(server.get("/livez").await.body.as_ref(), b"ok");
}
