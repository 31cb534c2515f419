//! Owners and dependents that come and go at the same time, through two servers on one store.

use std::sync::Arc;

use serde_json::json;

use super::{blocking, bookkeeping, collector_came_by, delete, is_there, map, names, owned_by, path};
use crate::on_each_engine;
use crate::support::TestServer;

/// Two servers on one store, as two processes have them.
async fn two(first: TestServer) -> [Arc<TestServer>; 2] {
    let second = first.beside().await;
    [Arc::new(first), Arc::new(second)]
}

on_each_engine! {
    /// The race for which the template service broker slept five seconds.
    async fn a_child_stays_whose_owner_was_made_right_before_it(server: TestServer) {
        let rounds = testparts::long_run::number("OSB_COLLECTOR_ROUNDS", 8);
        let servers = two(server).await;
        let clients = (0..64).map(|client| {
            // What one server has answered, the other one knows.
            let [owners, children] = match client % 3 {
                0 => [&servers[0], &servers[1]].map(Arc::clone),
                1 => [&servers[1], &servers[0]].map(Arc::clone),
                _ => [&servers[0], &servers[0]].map(Arc::clone),
            };
            tokio::spawn(async move {
                for round in 0..rounds {
                    let owner = map(&owners, &format!("owner-{client}-{round}"), json!([])).await;
                    for child in 0..2 {
                        map(&children, &format!("child-{client}-{round}-{child}"), json!([owned_by(&owner)])).await;
                    }
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        for server in &servers {
            collector_came_by(server).await;
        }
        let left = names(&servers[0]).await;
        assert_eq!(left.len() as u64, 64 * rounds * 3);
        testparts::long_run::count("owners with two children", 64 * rounds);
    }

    async fn a_child_that_comes_while_its_owner_goes_is_gone_in_the_end(server: TestServer) {
        let rounds = testparts::long_run::number("OSB_COLLECTOR_ROUNDS", 8) * 8;
        let servers = two(server).await;
        for round in 0..rounds {
            let policy = ["Background", "Foreground"][round as usize % 2];
            let name = format!("owner-{round}");
            let owner = map(&servers[0], &name, json!([])).await;
            let deletion = {
                let (server, name) = (servers[0].clone(), name.clone());
                tokio::spawn(async move { delete(&server, &name, policy).await })
            };
            // A child finds an owner that somebody else has just written.
            let edit = {
                let server = servers[1].clone();
                tokio::spawn(async move { server.merge(&path(&server, &name), json!({"data": {"k": "v"}})).await.code })
            };
            let children = (0..4).map(|number| {
                let (server, owner) = (servers[number % 2].clone(), owner.clone());
                let name = format!("child-{round}-{number}");
                tokio::spawn(async move { map(&server, &name, json!([blocking(&owner)])).await })
            });
            for child in children.collect::<Vec<_>>() {
                child.await.unwrap();
            }
            deletion.await.unwrap();
            edit.await.unwrap();
        }
        let nothing = async || names(&servers[0]).await;
        servers[0].until(nothing, Vec::is_empty).await;
        servers[0].until(async || bookkeeping(&servers[0]).await, Vec::is_empty).await;
        testparts::long_run::count("owners that went while children came", rounds);
    }

    async fn a_child_that_comes_while_its_owner_leaves_it_behind_has_no_owner_or_is_gone(server: TestServer) {
        let servers = two(server).await;
        for round in 0..20 {
            let name = format!("owner-{round}");
            let owner = map(&servers[0], &name, json!([])).await;
            map(&servers[1], &format!("early-{round}"), json!([blocking(&owner)])).await;
            let deletion = {
                let server = servers[0].clone();
                tokio::spawn(async move { delete(&server, &name, "Orphan").await })
            };
            let child = {
                let server = servers[1].clone();
                tokio::spawn(async move { map(&server, &format!("late-{round}"), json!([blocking(&owner)])).await })
            };
            deletion.await.unwrap();
            child.await.unwrap();
        }
        let settled = async || {
            let list = servers[0].get(&servers[0].maps()).await.ok();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let owns = |item: &serde_json::Value| item["metadata"]["name"].as_str().unwrap().starts_with("owner-");
            items.iter().all(|item| item["metadata"]["ownerReferences"].is_null() && !owns(item))
        };
        servers[0].until(settled, |settled| *settled).await;
        let left = names(&servers[0]).await;
        let early = left.iter().filter(|name| name.starts_with("early-")).count();
        let late = left.iter().filter(|name| name.starts_with("late-")).count();
        assert_eq!((early, early + late), (20, left.len()), "{left:?}");
        servers[0].until(async || bookkeeping(&servers[0]).await, Vec::is_empty).await;
    }

    async fn a_child_that_comes_while_its_owner_waits_goes_too(server: TestServer) {
        let servers = two(server).await;
        let owner = map(&servers[0], "owner", json!([])).await;
        let held = json!({"metadata": {"name": "held", "finalizers": ["ex.io/hold"], "ownerReferences": [blocking(&owner)]}});
        servers[0].post(&servers[0].maps(), held).await.ok();
        delete(&servers[0], "owner", "Foreground").await;
        collector_came_by(&servers[0]).await;
        map(&servers[1], "late", json!([blocking(&owner)])).await;
        servers[1].until_missing(&path(&servers[1], "late")).await;
        assert!(is_there(&servers[0], "owner").await);
        servers[0].merge(&path(&servers[0], "held"), json!({"metadata": {"finalizers": null}})).await.ok();
        servers[0].until_missing(&path(&servers[0], "owner")).await;
    }

    /// Names that were taken before: by uid it is another owner.
    async fn an_owner_that_is_made_anew_is_another_one(server: TestServer) {
        let servers = two(server).await;
        for round in 0..20 {
            let first = map(&servers[0], "owner", json!([])).await;
            delete(&servers[0], "owner", "Background").await;
            let second = map(&servers[1], "owner", json!([])).await;
            map(&servers[0], &format!("old-{round}"), json!([owned_by(&first)])).await;
            map(&servers[1], &format!("new-{round}"), json!([owned_by(&second)])).await;
            servers[0].until_missing(&path(&servers[0], &format!("old-{round}"))).await;
            collector_came_by(&servers[1]).await;
            assert!(is_there(&servers[0], &format!("new-{round}")).await);
            delete(&servers[1], "owner", "Background").await;
            servers[0].until_missing(&path(&servers[0], &format!("new-{round}"))).await;
        }
        servers[0].until(async || bookkeeping(&servers[0]).await, Vec::is_empty).await;
    }

    /// A reference by another kind is no claim on the owner's uid.
    async fn a_false_reference_takes_nothing_from_a_true_one(server: TestServer) {
        let servers = two(server).await;
        for round in 0..20 {
            let owner = map(&servers[0], "owner", json!([])).await;
            let mut wrong = owned_by(&owner);
            wrong["kind"] = json!("Secret");
            let (first, second) = (servers[0].clone(), servers[1].clone());
            let (lost, kept) = (format!("lost-{round}"), format!("kept-{round}"));
            let right = json!([owned_by(&owner)]);
            tokio::join!(map(&first, &lost, json!([wrong])), map(&second, &kept, right));
            first.until_missing(&path(&first, &lost)).await;
            collector_came_by(&second).await;
            assert!(is_there(&first, &kept).await);
            delete(&first, "owner", "Background").await;
            first.until_missing(&path(&first, &kept)).await;
        }
        servers[0].until(async || bookkeeping(&servers[0]).await, Vec::is_empty).await;
    }
}
