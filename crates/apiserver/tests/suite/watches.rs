//! Watch: where it starts, what it tells, how it ends.

use objectstore::Revision;
use serde_json::json;

use crate::support::{Events, TestServer};
use crate::{on_each_engine, on_each_server};

async fn make(server: &TestServer, name: &str) -> String {
    let made = server
        .post(&server.maps(), json!({"metadata": {"name": name}}))
        .await
        .ok();
    made["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

async fn watch(server: &TestServer, query: &str) -> Events {
    server.watch(&server.maps(), query).await
}

on_each_server! {
    async fn a_watch_goes_on_behind_the_revision_that_the_client_has_seen(server: TestServer) {
        let maps = server.maps();
        make(&server, "a").await;
        let seen = make(&server, "b").await;
        let last = make(&server, "c").await;
        let mut events = watch(&server, &format!("resourceVersion={seen}")).await;
        let event = events.next().await.unwrap();
        assert_eq!(
            (
                event["object"]["metadata"]["name"].as_str(),
                event["object"]["metadata"]["resourceVersion"].as_str()
            ),
            (Some("c"), Some(last.as_str()))
        );
        server.delete(&format!("{maps}/a")).await.ok();
        assert_eq!(events.change().await, ("DELETED".into(), "a".into()));
    }
}

on_each_engine! {
    async fn a_revision_that_is_no_longer_kept_is_an_error_event(server: TestServer) {
        for name in ["a", "b", "c"] {
            make(&server, name).await;
        }
        server
            .ours()
            .store
            .compact(server.ours().store.revision())
            .await
            .unwrap();
        let mut events = watch(&server, "resourceVersion=1").await;
        let event = events.next().await.unwrap();
        assert_eq!(
            (
                event["type"].as_str(),
                event["object"]["code"].as_i64(),
                event["object"]["reason"].as_str()
            ),
            (Some("ERROR"), Some(410), Some("Expired"))
        );
        assert!(events.next().await.is_none());
    }

    async fn a_page_of_a_revision_that_is_no_longer_kept_says_how_to_go_on(server: TestServer) {
        let maps = server.maps();
        for name in ["a", "b", "c"] {
            make(&server, name).await;
        }
        let page = server.get(&format!("{maps}?limit=2")).await.ok();
        make(&server, "b2").await;
        let Revision(now) = server.ours().store.revision();
        server.ours().store.compact(Revision(now)).await.unwrap();
        let token = page["metadata"]["continue"].as_str().unwrap();
        let expired = server.get(&format!("{maps}?limit=2&continue={token}")).await;
        assert_eq!(expired.refused(), (410, "Expired".into()));
        let status = expired.json();
        let rest = server
            .get(&format!(
                "{maps}?limit=2&continue={}",
                status["metadata"]["continue"].as_str().unwrap()
            ))
            .await
            .ok();
        let names: Vec<&str> = rest["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["b2", "c"]);
    }
}

on_each_server! {
    async fn a_watch_list_sends_the_state_then_says_so(server: TestServer) {
        let maps = server.maps();
        make(&server, "a").await;
        let seen: u64 = make(&server, "b").await.parse().unwrap();
        let mut events = watch(
            &server,
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        )
        .await;
        assert_eq!(events.change().await, ("ADDED".into(), "a".into()));
        assert_eq!(events.change().await, ("ADDED".into(), "b".into()));
        let mark = events.next().await.unwrap();
        assert_eq!(mark["type"], "BOOKMARK");
        assert_eq!(
            mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
            "true"
        );
        if server.is_ours() {
            let at = mark["object"]["metadata"]["resourceVersion"].as_str().unwrap();
            // Others may write to the same etcd.
            let newest = server.ours().store.revision().0;
            assert!((seen..=newest).contains(&at.parse().unwrap()), "{seen} {at} {newest}");
        }
        make(&server, "c").await;
        assert_eq!(events.change().await, ("ADDED".into(), "c".into()));
        let wrong = server.get(&format!("{maps}?watch=1&sendInitialEvents=true")).await;
        assert_eq!(wrong.refused(), (422, "Invalid".into()));
    }

    async fn a_watch_ends_after_its_time_with_a_bookmark_before(server: TestServer) {
        let seen = make(&server, "a").await;
        let mut events = watch(
            &server,
            &format!("resourceVersion={seen}&timeoutSeconds=4&allowWatchBookmarks=true"),
        )
        .await;
        // A bookmark that tells nothing new is not sent by a real server.
        make(&server, "b").await;
        assert_eq!(events.change().await, ("ADDED".into(), "b".into()));
        let mark = events.next().await.unwrap();
        assert_eq!(
            (mark["type"].as_str(), mark["object"]["kind"].as_str()),
            (Some("BOOKMARK"), Some("ConfigMap"))
        );
        assert!(mark["object"]["metadata"]["resourceVersion"].as_str().unwrap() >= seen.as_str());
        while let Some(event) = events.next().await {
            assert_eq!(event["type"], "BOOKMARK");
        }
    }

    async fn labels_bring_objects_into_and_out_of_a_watch(server: TestServer) {
        let maps = server.maps();
        let mut events = watch(&server, "labelSelector=app%3Dx").await;
        make(&server, "a").await;
        for labels in [json!({"app": "x"}), json!({"other": "1"}), json!({"app": "y"})] {
            server
                .merge(&format!("{maps}/a"), json!({"metadata": {"labels": labels}}))
                .await
                .ok();
        }
        let kinds = [
            events.change().await.0,
            events.change().await.0,
            events.change().await.0,
        ];
        assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
    }
}

on_each_engine! {
    async fn a_shutdown_ends_all_watches(server: TestServer) {
        let mut events = watch(&server, "resourceVersion=1").await;
        let api = server.ours().api.clone();
        let waiting = tokio::spawn(async move { while events.next().await.is_some() {} });
        api.shutdown().await;
        waiting.await.unwrap();
        assert_eq!(server.get("/readyz").await.code.as_u16(), 500);
        assert_eq!(server.get("/livez").await.body.as_ref(), b"ok");
    }
}
