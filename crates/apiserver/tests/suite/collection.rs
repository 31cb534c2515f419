//! Garbage collection: what becomes of those who name an owner.

mod races;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use apiserver::{ApiServer, Options};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use objectstore::{Entry, Error, Outcome, Page, Revision, Transaction, Watch};
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::{on_each_engine, on_each_server};

/// The reference by which a ConfigMap owns something.
fn owned_by(owner: &Value) -> Value {
    let metadata = &owner["metadata"];
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"]})
}

fn blocking(owner: &Value) -> Value {
    let mut reference = owned_by(owner);
    reference["blockOwnerDeletion"] = json!(true);
    reference
}

async fn map(server: &TestServer, name: &str, owners: Value) -> Value {
    let body = json!({"metadata": {"name": name, "ownerReferences": owners}});
    server.post(&server.maps(), body).await.ok()
}

fn path(server: &TestServer, name: &str) -> String {
    format!("{}/{name}", server.maps())
}

async fn is_there(server: &TestServer, name: &str) -> bool {
    server.get(&path(server, name)).await.code.as_u16() == 200
}

/// Waits until the collector has come by: it takes an object that was made after all that the test has done.
async fn collector_came_by(server: &TestServer) {
    let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-0000-0000-00000000000a"});
    for round in 0..2 {
        let name = format!("zz-doomed-{round}");
        map(server, &name, json!([nobody])).await;
        server.until_missing(&path(server, &name)).await;
    }
}

async fn delete(server: &TestServer, name: &str, policy: &str) -> Value {
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    server.delete_with(&path(server, name), options).await.ok()
}

on_each_server! {
    async fn dependents_go_after_their_owner(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        map(&server, "child", json!([owned_by(&owner)])).await;
        let child = server.get(&path(&server, "child")).await.ok();
        map(&server, "grandchild", json!([owned_by(&child)])).await;
        collector_came_by(&server).await;
        assert!(is_there(&server, "child").await && is_there(&server, "grandchild").await);
        let gone = delete(&server, "owner", "Background").await;
        assert_eq!(gone["status"], "Success");
        server.until_missing(&path(&server, "child")).await;
        server.until_missing(&path(&server, "grandchild")).await;
    }

    async fn a_reference_to_what_is_not_there_is_followed_by_collection(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        let other_kind = {
            let mut reference = owned_by(&owner);
            reference["kind"] = json!("Secret");
            reference
        };
        let other_uid = {
            let mut reference = owned_by(&owner);
            reference["uid"] = json!("00000000-0000-0000-0000-000000000001");
            reference
        };
        map(&server, "kind", json!([other_kind])).await;
        map(&server, "uid", json!([other_uid.clone()])).await;
        let elsewhere = server.in_namespace(&format!("{}-b", server.namespace)).await;
        map(&elsewhere, "namespace", json!([owned_by(&owner)])).await;
        // Named later on, by an update.
        map(&server, "later", json!([])).await;
        let later = json!({"metadata": {"ownerReferences": [other_uid]}});
        server.merge(&path(&server, "later"), later).await.ok();
        for name in ["kind", "uid", "later"] {
            server.until_missing(&path(&server, name)).await;
        }
        server.until_missing(&path(&elsewhere, "namespace")).await;
        assert!(is_there(&server, "owner").await);
    }

    async fn an_owner_of_an_unknown_kind_keeps_its_dependents(server: TestServer) {
        let unknown = json!({"apiVersion": "no.such/v1", "kind": "Foo", "name": "x", "uid": "00000000-0000-0000-0000-000000000002"});
        let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-0000-0000-00000000000b"});
        map(&server, "a-unknown", json!([unknown.clone()])).await;
        map(&server, "a-both", json!([nobody, unknown])).await;
        collector_came_by(&server).await;
        assert!(is_there(&server, "a-unknown").await && is_there(&server, "a-both").await);
    }

    async fn a_lost_reference_beside_a_solid_one_is_taken_out(server: TestServer) {
        let (first, second) = (map(&server, "first", json!([])).await, map(&server, "second", json!([])).await);
        map(&server, "child", json!([owned_by(&first), owned_by(&second)])).await;
        delete(&server, "first", "Background").await;
        let child = async || server.get(&path(&server, "child")).await.ok();
        let left = server
            .until(child, |child| child["metadata"]["ownerReferences"].as_array().is_some_and(|left| left.len() == 1))
            .await;
        assert_eq!(left["metadata"]["ownerReferences"][0]["name"], "second");
        delete(&server, "second", "Background").await;
        server.until_missing(&path(&server, "child")).await;
    }

    async fn a_namespace_owns_objects_and_a_map_owns_no_namespace(server: TestServer) {
        let namespace = server.get(&server.namespace_path()).await.ok();
        let by_namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "name": server.namespace, "uid": namespace["metadata"]["uid"],
        });
        map(&server, "a-cluster", json!([by_namespace])).await;
        let owner = map(&server, "owner", json!([])).await;
        let name = format!("{}-owned", server.namespace);
        let wrong = json!({"metadata": {"name": name, "ownerReferences": [owned_by(&owner)]}});
        server.post("/api/v1/namespaces", wrong).await.ok();
        delete(&server, "owner", "Background").await;
        let events = format!(
            "/api/v1/namespaces/default/events?fieldSelector=reason%3DOwnerRefInvalidNamespace,involvedObject.name%3D{name}"
        );
        let event = server
            .until(async || server.get(&events).await.ok(), |list| list["items"] != json!([]))
            .await;
        assert_eq!(event["items"][0]["involvedObject"]["kind"], "Namespace");
        collector_came_by(&server).await;
        assert!(is_there(&server, "a-cluster").await);
        let kept = server.get(&format!("/api/v1/namespaces/{name}")).await.ok();
        assert_eq!(kept["metadata"]["ownerReferences"][0]["name"], "owner");
        server.delete(&format!("/api/v1/namespaces/{name}")).await.ok();
    }

    async fn in_the_foreground_an_owner_goes_after_those_who_block_it(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        let held = json!({"metadata": {"name": "held", "finalizers": ["ex.io/hold"], "ownerReferences": [blocking(&owner)]}});
        server.post(&server.maps(), held).await.ok();
        map(&server, "free", json!([owned_by(&owner)])).await;
        let answer = delete(&server, "owner", "Foreground").await;
        assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
        assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 0);
        // Both are deleted, and the owner waits for the one that blocks.
        server.until_missing(&path(&server, "free")).await;
        let held = async || server.get(&path(&server, "held")).await.ok();
        server.until(held, |held| held["metadata"]["deletionTimestamp"].is_string()).await;
        collector_came_by(&server).await;
        assert!(is_there(&server, "owner").await);
        server.merge(&path(&server, "held"), json!({"metadata": {"finalizers": null}})).await.ok();
        server.until_missing(&path(&server, "owner")).await;
    }

    async fn a_foreground_deletion_goes_down_the_tree_and_comes_up_again(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        let child = map(&server, "child", json!([blocking(&owner)])).await;
        let body = json!({"metadata": {
            "name": "leaf", "finalizers": ["ex.io/hold"], "ownerReferences": [blocking(&child)],
        }});
        server.post(&server.maps(), body).await.ok();
        delete(&server, "owner", "Foreground").await;
        let child = async || server.get(&path(&server, "child")).await.ok();
        let waits = server.until(child, |child| child["metadata"]["deletionTimestamp"].is_string()).await;
        assert_eq!(waits["metadata"]["finalizers"], json!(["foregroundDeletion"]));
        let leaf = async || server.get(&path(&server, "leaf")).await.ok();
        server.until(leaf, |leaf| leaf["metadata"]["deletionTimestamp"].is_string()).await;
        server.merge(&path(&server, "leaf"), json!({"metadata": {"finalizers": null}})).await.ok();
        for name in ["leaf", "child", "owner"] {
            server.until_missing(&path(&server, name)).await;
        }
    }

    async fn those_who_own_each_other_go_in_the_foreground(server: TestServer) {
        let first = map(&server, "first", json!([])).await;
        let second = map(&server, "second", json!([blocking(&first)])).await;
        let back = json!({"metadata": {"ownerReferences": [blocking(&second)]}});
        server.merge(&path(&server, "first"), back).await.ok();
        delete(&server, "first", "Foreground").await;
        server.until_missing(&path(&server, "first")).await;
        server.until_missing(&path(&server, "second")).await;
    }

    async fn orphans_stay_without_their_owner(server: TestServer) {
        let (owner, other) = (map(&server, "owner", json!([])).await, map(&server, "other", json!([])).await);
        map(&server, "only", json!([blocking(&owner)])).await;
        map(&server, "both", json!([owned_by(&owner), owned_by(&other)])).await;
        let answer = delete(&server, "owner", "Orphan").await;
        assert_eq!(answer["metadata"]["finalizers"], json!(["orphan"]));
        server.until_missing(&path(&server, "owner")).await;
        collector_came_by(&server).await;
        let only = server.get(&path(&server, "only")).await.ok();
        assert!(only["metadata"].get("ownerReferences").is_none(), "{only}");
        let both = server.get(&path(&server, "both")).await.ok();
        assert_eq!(both["metadata"]["ownerReferences"], json!([owned_by(&other)]));
    }

    async fn a_second_delete_may_change_what_becomes_of_dependents(server: TestServer) {
        let body = json!({"metadata": {"name": "held", "finalizers": ["ex.io/hold"]}});
        server.post(&server.maps(), body).await.ok();
        let finalizers = async |policy: &str| delete(&server, "held", policy).await["metadata"]["finalizers"].clone();
        assert_eq!(finalizers("Background").await, json!(["ex.io/hold"]));
        assert_eq!(finalizers("Foreground").await, json!(["ex.io/hold", "foregroundDeletion"]));
        // The collector takes it off again, since nobody blocks.
        let held = async || server.get(&path(&server, "held")).await.ok()["metadata"]["finalizers"].clone();
        server.until(held, |left| *left == json!(["ex.io/hold"])).await;
        let by_query = format!("{}?orphanDependents=true", path(&server, "held"));
        assert_eq!(server.delete(&by_query).await.ok()["metadata"]["finalizers"], json!(["ex.io/hold", "orphan"]));
        server.until(held, |left| *left == json!(["ex.io/hold"])).await;
        server.merge(&path(&server, "held"), json!({"metadata": {"finalizers": null}})).await.ok();
        server.until_missing(&path(&server, "held")).await;
    }
}

on_each_engine! {
    async fn a_thousand_dependents_go_before_their_owner(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        let many = testparts::long_run::number("OSB_COLLECTOR_DEPENDENTS", 1000) as usize;
        let children = (0..many).map(|number| map_of(&server, number, &owner));
        futures::stream::iter(children).buffer_unordered(100).collect::<Vec<_>>().await;
        delete(&server, "owner", "Foreground").await;
        server.until_missing(&path(&server, "owner")).await;
        let left = server.get(&server.maps()).await.ok();
        assert_eq!(left["items"], json!([]));
        testparts::long_run::count("dependents before their owner", many as u64);
    }

    async fn what_one_process_has_left_another_one_collects(server: TestServer) {
        let first = server;
        let owner = map(&first, "owner", json!([])).await;
        let waiting = map(&first, "waiting", json!([])).await;
        let kept = map(&first, "kept", json!([])).await;
        // The background tasks end, as when the process dies at any moment from here on.
        first.ours().api.shutdown().await;
        map(&first, "child", json!([owned_by(&owner)])).await;
        map(&first, "blocks", json!([blocking(&waiting)])).await;
        map(&first, "stays", json!([owned_by(&kept)])).await;
        delete(&first, "owner", "Background").await;
        delete(&first, "waiting", "Foreground").await;
        delete(&first, "kept", "Orphan").await;
        assert!(is_there(&first, "child").await && is_there(&first, "waiting").await);
        let second = first.beside().await;
        for name in ["child", "blocks", "waiting", "kept"] {
            second.until_missing(&path(&second, name)).await;
        }
        assert!(is_there(&second, "stays").await);
    }

    async fn an_owner_that_waits_is_found_again_after_a_restart(server: TestServer) {
        let first = server;
        let owner = map(&first, "owner", json!([])).await;
        let held = json!({"metadata": {"name": "held", "finalizers": ["ex.io/hold"], "ownerReferences": [blocking(&owner)]}});
        first.post(&first.maps(), held).await.ok();
        delete(&first, "owner", "Foreground").await;
        let held = async || first.get(&path(&first, "held")).await.ok();
        first.until(held, |held| held["metadata"]["deletionTimestamp"].is_string()).await;
        first.ours().api.shutdown().await;
        first.merge(&path(&first, "held"), json!({"metadata": {"finalizers": null}})).await.ok();
        assert!(is_there(&first, "owner").await);
        let second = first.beside().await;
        second.until_missing(&path(&second, "owner")).await;
    }

    async fn two_servers_on_one_store_collect_together(server: TestServer) {
        let second = server.beside().await;
        let owner = map(&server, "owner", json!([])).await;
        let children = (0..100).map(|number| map_of(&second, number, &owner));
        futures::future::join_all(children).await;
        collector_came_by(&server).await;
        assert_eq!(second.get(&second.maps()).await.ok()["items"].as_array().map(Vec::len), Some(101));
        delete(&second, "owner", "Background").await;
        let left = async || server.get(&server.maps()).await.ok()["items"].clone();
        server.until(left, |left| *left == json!([])).await;
    }

    async fn a_kind_that_becomes_known_has_its_dependents_looked_at(server: TestServer) {
        let server = server.with_own_group();
        let group = server.group.clone();
        let of = |uid: &str| json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "name": "w", "uid": uid});
        map(&server, "lost", json!([of("00000000-0000-0000-0000-000000000003")])).await;
        collector_came_by(&server).await;
        assert!(is_there(&server, "lost").await);
        let server = server.with_widgets().await;
        server.until_missing(&path(&server, "lost")).await;
        let owner = server.post(&server.widgets(), server.widget("w")).await.ok();
        map(&server, "kept", json!([of(owner["metadata"]["uid"].as_str().unwrap())])).await;
        collector_came_by(&server).await;
        assert!(is_there(&server, "kept").await);
        // With its definition the owner goes, and its kind is unknown again.
        server.delete(&server.widgets_definition()).await.ok();
        server.until_missing(&path(&server, "kept")).await;
    }

    async fn nothing_is_left_in_the_store_of_what_is_gone(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        let child = map(&server, "child", json!([blocking(&owner)])).await;
        map(&server, "leaf", json!([owned_by(&child)])).await;
        delete(&server, "owner", "Foreground").await;
        // Its owner was never there.
        let nobody = json!({"metadata": {"name": "nobody", "uid": "00000000-0000-0000-0000-00000000000c"}});
        map(&server, "foundling", json!([owned_by(&nobody)])).await;
        for name in ["leaf", "child", "owner", "foundling"] {
            server.until_missing(&path(&server, name)).await;
        }
        server.until(async || bookkeeping(&server).await, Vec::is_empty).await;
    }

    async fn work_is_counted_as_a_controller_manager_counts_it(server: TestServer) {
        let first = server;
        // All work is for the second one.
        first.ours().api.shutdown().await;
        let server = first.beside_with(Options { metrics: true, ..Options::default() }).await;
        server.create_namespace("doomed").await;
        server.delete("/api/v1/namespaces/doomed").await.ok();
        server.until_missing("/api/v1/namespaces/doomed").await;
        let owner = map(&server, "owner", json!([])).await;
        map(&server, "child", json!([owned_by(&owner)])).await;
        delete(&server, "owner", "Orphan").await;
        server.until_missing(&path(&server, "owner")).await;
        collector_came_by(&server).await;
        let text = String::from_utf8(server.get("/metrics").await.body.to_vec()).unwrap();
        for queue in ["garbage_collector_attempt_to_delete", "garbage_collector_attempt_to_orphan", "namespace"] {
            let value = |name: &str| {
                let series = format!("workqueue_{name}{{name=\"{queue}\"}} ");
                let line = text.lines().find_map(|line| line.strip_prefix(&series));
                line.unwrap_or_else(|| panic!("{series}\n{text}")).parse::<f64>().unwrap()
            };
            assert!(value("adds_total") > 0.0 && value("work_duration_seconds_count") > 0.0, "{queue}\n{text}");
            for name in ["depth", "retries_total", "unfinished_work_seconds", "longest_running_processor_seconds"] {
                value(name);
            }
        }
    }

    async fn what_has_its_owner_makes_no_work(server: TestServer) {
        let owner = map(&server, "owner", json!([])).await;
        // Nobody takes away now what is queued.
        server.ours().api.shutdown().await;
        for name in ["a", "b"] {
            map(&server, name, json!([owned_by(&owner)])).await;
        }
        let kept = bookkeeping(&server).await;
        assert_eq!(kept.iter().filter(|key| key.starts_with("/owned/")).count(), 2, "{kept:?}");
        assert_eq!(kept.len(), 3, "{kept:?}");
        for name in ["a", "b", "owner"] {
            delete(&server, name, "Background").await;
        }
        assert_eq!(bookkeeping(&server).await, [""; 0]);
    }
}

/// The keys that the collector has in the store.
async fn bookkeeping(server: &TestServer) -> Vec<String> {
    let mut keys = Vec::new();
    for prefix in ["/owned/", "/named/", "/collect/", "/collect-"] {
        let range = objectstore::prefix(prefix.as_bytes());
        let page = server.ours().store.range(range, 10, None).await.unwrap();
        let entries = page.entries.into_iter();
        keys.extend(entries.map(|entry| String::from_utf8_lossy(&entry.key).into_owned()));
    }
    keys
}

async fn map_of(server: &TestServer, number: usize, owner: &Value) -> Value {
    map(server, &format!("child-{number}"), json!([blocking(owner)])).await
}

/// A store that takes so many writes and then no more, as for a process that dies.
struct Dies {
    store: objectstore::Store,
    writes: std::sync::atomic::AtomicI64,
}

impl objectstore::Engine for Dies {
    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.store.get(key, at)
    }

    fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<Page, Error>> {
        self.store.range(keys, limit, at)
    }

    fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<u64, Error>> {
        self.store.count(keys, limit, at)
    }

    fn transact(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, Error>> {
        if self.writes.fetch_sub(1, Ordering::SeqCst) > 0 {
            return self.store.transact(transaction);
        }
        async { Err(Error::Unavailable("the process has died".into())) }.boxed()
    }

    fn watch(&self, keys: Range<Bytes>, after: Option<Revision>) -> BoxFuture<'_, Result<Watch, Error>> {
        self.store.watch(keys, after)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.store.compact(revision)
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.store.latest()
    }

    fn oldest(&self) -> Revision {
        self.store.oldest()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.store.close()
    }
}

/// Dies at each write of the collector's, one after the other; the next process ends what was begun, every time alike.
#[tokio::test]
async fn a_crash_at_any_write_changes_nothing_of_the_end() {
    for writes in 0..200 {
        let first = TestServer::memory().await;
        // What follows is left to another process.
        first.ours().api.shutdown().await;
        let tops = ["background", "foreground", "orphan"].map(|top| (top, top[..1].to_uppercase() + &top[1..]));
        for (top, _) in &tops {
            let owner = map(&first, &format!("{top}-owner"), json!([])).await;
            let child = map(&first, &format!("{top}-child"), json!([blocking(&owner)])).await;
            map(&first, &format!("{top}-leaf"), json!([blocking(&child)])).await;
        }
        for (top, policy) in &tops {
            delete(&first, &format!("{top}-owner"), policy).await;
        }
        let dies = Arc::new(Dies {
            store: first.ours().store.store.clone(),
            writes: (writes + 4).into(),
        });
        let second = ApiServer::open(dies.clone(), Options::default()).await.unwrap();
        let over =
            async || dies.writes.load(Ordering::SeqCst) < 0 || names(&first).await == ["orphan-child", "orphan-leaf"];
        first.until(over, |over| *over).await;
        second.shutdown().await;
        let survived = dies.writes.load(Ordering::SeqCst) >= 0;
        let third = first.beside().await;
        third
            .until(
                async || names(&third).await,
                |names| names == &["orphan-child", "orphan-leaf"],
            )
            .await;
        let child = third.get(&path(&third, "orphan-child")).await.ok();
        assert!(child["metadata"].get("ownerReferences").is_none(), "{child}");
        let leaf = third.get(&path(&third, "orphan-leaf")).await.ok();
        assert_eq!(leaf["metadata"]["ownerReferences"][0]["name"], "orphan-child");
        if survived {
            assert!(writes > 10, "the collector has written less than this test thinks");
            return;
        }
    }
    panic!("the collector writes more than this test thinks");
}

/// The names of all maps, in order.
async fn names(server: &TestServer) -> Vec<String> {
    let list = server.get(&server.maps()).await.ok();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
