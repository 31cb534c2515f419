//! Indexes of selectable fields, which are made when a selector first asks for them.

use serde_json::{Value, json};

use super::on_each_engine;
use super::support::TestServer;

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

/// How many keys lie under a prefix.
async fn count(server: &TestServer, prefix: &str) -> u64 {
    let keys = objectstore::prefix(prefix.as_bytes());
    server.ours().store.count(keys, usize::MAX, None).await.unwrap()
}

/// Waits until the index of `spec.planId` is complete.
async fn until_complete(server: &TestServer) {
    let marker = bytes::Bytes::from(format!("/indexed/{}/serviceinstances/spec.planId", server.group));
    let state = async || {
        let entry = server.ours().store.get(marker.clone(), None).await.unwrap();
        entry.map(|entry| entry.value)
    };
    server
        .until(state, |state| state.as_ref().is_some_and(|value| value == "complete"))
        .await;
}

on_each_engine! {
    async fn a_field_costs_nothing_until_a_selector_asks_for_it(server: TestServer) {
        let server = server.with_own_group().with_instances().await;
        let instances = server.instances();
        for name in ["a", "b"] {
            server.post(&instances, server.instance(name)).await.ok();
        }
        assert_eq!(
            (count(&server, "/index/").await, count(&server, "/indexed/").await),
            (0, 0)
        );

        let plan = format!("{instances}?fieldSelector=spec.planId%3Dp");
        assert_eq!(
            names(&server.get(&plan).await.ok()),
            ["a", "b"],
            "while there is no index"
        );
        until_complete(&server).await;
        assert_eq!(count(&server, "/indexed/").await, 1, "of this field alone");
        assert_eq!(count(&server, "/index/").await, 2, "objects from before");

        server.post(&instances, server.instance("c")).await.ok();
        assert_eq!(count(&server, "/index/").await, 3);
        assert_eq!(names(&server.get(&plan).await.ok()), ["a", "b", "c"], "from the index");
    }

    async fn an_index_is_not_asked_about_the_time_before_it_was_complete(server: TestServer) {
        let server = server.with_own_group().with_instances().await;
        let instances = server.instances();
        for name in ["a", "b"] {
            server.post(&instances, server.instance(name)).await.ok();
        }
        let plan = format!("{instances}?fieldSelector=spec.planId%3Dp&limit=1");
        let first = server.get(&plan).await.ok();
        assert_eq!(names(&first), ["a"]);
        until_complete(&server).await;
        let changed = json!({"spec": {"planId": "other"}});
        server.merge(&format!("{instances}/b"), changed).await.ok();
        // The page shows the state that the first one showed.
        let token = first["metadata"]["continue"].as_str().unwrap();
        let second = server.get(&format!("{plan}&continue={token}")).await.ok();
        assert_eq!(names(&second), ["b"]);
        assert_eq!(second["items"][0]["spec"]["planId"], "p");
        assert_eq!(names(&server.get(&plan).await.ok()), ["a"]);
    }

    async fn what_is_written_while_an_index_grows_is_in_it(server: TestServer) {
        const OBJECTS: usize = 200;
        let server = server.with_own_group().with_instances().await;
        let instances = server.instances();
        let all: Vec<String> = (0..OBJECTS).map(|number| format!("a{number:03}")).collect();
        for name in &all {
            server.post(&instances, server.instance(name)).await.ok();
        }
        let plan = format!("{instances}?fieldSelector=spec.planId%3Dp");
        let done = std::cell::Cell::new(false);
        // Everything but the field that is selected by changes all the time.
        let write = async |name: &String| {
            let mut round = 0;
            while !done.get() {
                let changed = json!({"metadata": {"annotations": {"round": round.to_string()}}});
                server.merge(&format!("{instances}/{name}"), changed).await.ok();
                tokio::task::yield_now().await;
                round += 1;
            }
        };
        let select = async {
            assert_eq!(names(&server.get(&plan).await.ok()).len(), OBJECTS);
            until_complete(&server).await;
            done.set(true);
        };
        futures::join!(futures::future::join_all(all.iter().map(write)), select);
        assert_eq!(names(&server.get(&plan).await.ok()), all, "from the index");
    }
}
