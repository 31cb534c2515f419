//! Several replicas of one broker on one home: who does what, and what becomes of it when one of them stops, dies or is cut
//! off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use osb_api::answer::{Bound, Provisioned, Removed, State, Updated};
use osb_engine::ReplicaConfig;
use serde_json::json;

use crate::author::{ASYNC, Journal, eventually};
use crate::homes::{Process, TestHome};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted};

/// Short enough to wait for, long enough for a busy machine.
const LEASE: Duration = Duration::from_secs(4);

/// Nobody waits for it in a test that passes.
const LONG: Duration = Duration::from_secs(600);

async fn replica(home: &TestHome, journal: &Journal, name: &str, lease: Duration) -> Process {
    let config = ReplicaConfig {
        name: name.to_owned(),
        lease,
        address: None,
    };
    home.broker_with(journal, |defaults| osb_engine::Config {
        replica: Some(config),
        ..defaults
    })
    .await
}

/// How many shards each replica owns, by what people call it.
async fn owned(home: &TestHome) -> BTreeMap<String, usize> {
    let mut owned = BTreeMap::new();
    for table in home.all("shardtables", &home.system()).await {
        for shard in table["spec"]["shards"].as_array().expect("shards") {
            let owner = shard["owner"].as_str().expect("an owner");
            let name = owner.rsplit_once('-').map_or("", |(name, _)| name);
            *owned.entry(name.to_owned()).or_default() += 1;
        }
    }
    owned
}

async fn eventually_owned(home: &TestHome, expected: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> = expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect();
    let mut found = BTreeMap::new();
    for _ in 0..1_500 {
        found = owned(home).await;
        if found == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{found:?} and never {expected:?}");
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// What each call came with that grows with each change of hands: as many as there are replicas that called.
fn fences(journal: &Journal) -> BTreeSet<u64> {
    journal.lines().iter().map(|line| line.fence).collect()
}

/// Whose fences the calls came with.
async fn callers(home: &TestHome, journal: &Journal) -> BTreeSet<String> {
    let fences = fences(journal);
    let tables = home.all("shardtables", &home.system()).await;
    let shards = tables[0]["spec"]["shards"].as_array().expect("shards");
    let called = shards
        .iter()
        .filter(|shard| fences.contains(&shard["epoch"].as_u64().expect("an epoch")));
    called.map(|shard| shard["owner"].to_string()).collect()
}

on_each_home! {
    async fn each_replica_takes_an_even_share_of_the_work(home: TestHome) {
        let journal = Journal::default();
        let first = replica(&home, &journal, "a", LONG).await;
        eventually_owned(&home, &[("a", 64)]).await;
        let second = replica(&home, &journal, "b", LONG).await;
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        let third = replica(&home, &journal, "c", LONG).await;
        eventually_owned(&home, &[("a", 22), ("b", 21), ("c", 21)]).await;

        let platforms = [&first, &second, &third].map(|process| Platform::new(&process.engine));
        for (number, id) in ids("i", 24).iter().enumerate() {
            let answer = platforms[number % 3].provision(id, json!({})).await;
            assert!(matches!(answer, Ok(Provisioned::Created(_))), "{answer:?}");
            assert_eq!(journal.keys("provision", id).len(), 1);
        }
        assert_eq!(callers(&home, &journal).await.len(), 3, "each has called");
        for process in [first, second, third] {
            process.engine.stop().await;
        }
        assert!(home.all("replicas", &home.system()).await.is_empty());
    }

    /// A load balancer sends each request anywhere; the owner of the shard does the work.
    async fn every_request_is_answered_by_whichever_replica_it_reaches(home: TestHome) {
        let journal = Journal::default();
        let first = replica(&home, &journal, "a", LONG).await;
        let second = replica(&home, &journal, "b", LONG).await;
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        let (here, there) = (Platform::new(&first.engine), Platform::new(&second.engine));
        for id in ids("i", 8) {
            let answer = here.provision(&id, json!({})).await;
            assert!(matches!(answer, Ok(Provisioned::Created(_))), "{answer:?}");
            let answer = there.provision(&id, json!({})).await;
            assert!(matches!(answer, Ok(Provisioned::Exists(_))), "{answer:?}");
            let answer = there.update(&id, json!({"parameters": {"size": 7}})).await;
            assert!(matches!(answer, Ok(Updated::Done(_))), "{answer:?}");
            let answer = here.bind(&id, "b", json!({})).await;
            assert!(matches!(answer, Ok(Bound::Created(_))), "{answer:?}");
            let answer = there.bind(&id, "c", json!({})).await;
            assert!(matches!(answer, Ok(Bound::Created(_))), "{answer:?}");
            let answer = there.unbind(&id, "b").await;
            assert!(matches!(answer, Ok(Removed::Done)), "{answer:?}");
            let answer = here.deprovision(&id).await;
            assert!(matches!(answer, Ok(Removed::Done)), "{answer:?}");
            assert!(there.deprovision(&id).await.is_err());
            for (verb, calls) in [("provision", 1), ("update", 1), ("bind", 2), ("unbind", 2), ("deprovision", 1)] {
                assert_eq!(journal.keys(verb, &id).len(), calls, "{verb} {id}");
            }
        }
        assert!(journal.names().is_empty() && journal.overlaps() == 0);
        assert_eq!(fences(&journal).len(), 2, "both have called");
        for process in [first, second] {
            process.engine.stop().await;
        }
    }

    async fn identical_requests_at_two_replicas_are_one_operation(home: TestHome) {
        let journal = Journal::default();
        let first = replica(&home, &journal, "a", LONG).await;
        let second = replica(&home, &journal, "b", LONG).await;
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        let (here, there) = (Platform::new(&first.engine), Platform::new(&second.engine));
        for id in ids("i", 6) {
            let (one, two) = tokio::join!(here.provision(&id, json!({})), there.provision(&id, json!({})));
            assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
            assert_eq!(journal.keys("provision", &id).len(), 1);
            let (one, two) = tokio::join!(here.deprovision(&id), there.deprovision(&id));
            assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
            assert_eq!(journal.keys("deprovision", &id).len(), 1);
        }
        for process in [first, second] {
            process.engine.stop().await;
        }
    }

    async fn a_deletion_at_another_replica_stops_what_runs(home: TestHome) {
        let journal = Journal::default();
        let first = replica(&home, &journal, "a", LONG).await;
        let second = replica(&home, &journal, "b", LONG).await;
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        let here = Platform::new(&first.engine).on_plan(ASYNC);
        let there = Platform::new(&second.engine).on_plan(ASYNC);
        for id in ids("i", 4) {
            let begun = accepted(here.provision_if(&id, json!({"provision": "block"}), ACCEPTS).await);
            journal.started("provision", &id).await;
            let removal = match there.deprovision_if(&id, ACCEPTS).await {
                Ok(Removed::Accepted(removal)) => removal,
                other => panic!("{other:?}"),
            };
            journal.started("deprovision", &id).await;
            assert_eq!(here.wait(&id, Some(&removal)).await.expect("known"), State::Succeeded);
            assert_eq!(there.wait(&id, Some(&begun)).await.ok(), Some(State::Failed));
        }
        assert!(journal.names().is_empty() && journal.overlaps() == 0);
        for process in [first, second] {
            process.engine.stop().await;
        }
    }

    /// The one that is cut off stops by itself, before the other begins; steps that are done are not done again.
    async fn what_a_lost_replica_did_is_taken_over_and_goes_on(home: TestHome) {
        let journal = Journal::default();
        let first = replica(&home, &journal, "a", LEASE).await;
        let second = replica(&home, &journal, "b", LEASE).await;
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        let survivor = Platform::new(&second.engine).on_plan(ASYNC);
        let all = ids("i", 12);
        let mut operations = Vec::new();
        for id in &all {
            operations.push(accepted(survivor.provision_if(id, json!({"provision": "steps"}), ACCEPTS).await));
        }
        eventually("all are halfway", || journal.steps("first") == all.len()).await;
        // The results of the steps are stored then, or about to be.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = fences(&journal);
        assert_eq!(before.len(), 2, "both have called");

        first.faults.cut(true);
        eventually_owned(&home, &[("b", 64)]).await;
        for id in &all {
            journal.release(id);
        }
        for (id, operation) in all.iter().zip(&operations) {
            assert_eq!(survivor.wait(id, Some(operation)).await.expect("known"), State::Succeeded, "{id}");
        }
        assert_eq!(journal.steps("first"), all.len(), "a step that is done is not done again");
        assert_eq!(journal.overlaps(), 0, "nobody began while another one ran");
        let after = journal.lines().len();

        // It finds out that it is dead, and comes back as another one.
        first.faults.cut(false);
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        assert_eq!(journal.lines().len(), after, "it has called nobody");
        let back = Platform::new(&first.engine);
        for id in ids("j", 8) {
            let answer = back.provision(&id, json!({})).await;
            assert!(matches!(answer, Ok(Provisioned::Created(_))), "{answer:?}");
        }
        for process in [first, second] {
            process.engine.stop().await;
        }
    }

    /// Short enough that nobody took it for dead: it goes on under its name.
    async fn a_replica_that_could_not_renew_for_a_while_goes_on(home: TestHome) {
        let journal = Journal::default();
        let only = replica(&home, &journal, "a", LEASE).await;
        let platform = Platform::new(&only.engine).on_plan(ASYNC);
        let operation = accepted(platform.provision_if("i", json!({"provision": "block"}), ACCEPTS).await);
        journal.started("provision", "i").await;
        only.faults.cut(true);
        tokio::time::sleep(LEASE).await;
        let calls = journal.keys("provision", "i");
        only.faults.cut(false);
        // It was stopped, and is called again with the same key.
        eventually("it is called again", || journal.keys("provision", "i").len() > calls.len()).await;
        journal.release("i");
        assert_eq!(platform.wait("i", Some(&operation)).await.expect("known"), State::Succeeded);
        let keys: BTreeSet<String> = journal.keys("provision", "i").into_iter().collect();
        assert_eq!((keys.len(), journal.overlaps()), (1, 0));
        assert_eq!(owned(&home).await.len(), 1);
        only.engine.stop().await;
    }

    /// Under load, and with a lease that nobody waits for.
    async fn a_rolling_restart_loses_nothing_and_costs_no_lease(home: TestHome) {
        let home = Arc::new(home);
        let journal = Journal::default();
        let mut running = vec![
            replica(&home, &journal, "a0", LONG).await,
            replica(&home, &journal, "b0", LONG).await,
        ];
        eventually_owned(&home, &[("a0", 32), ("b0", 32)]).await;
        let engines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let publish = |running: &[Process]| {
            *engines.lock().expect("no test panics here") = running.iter().map(|process| process.engine.clone()).collect();
        };
        publish(&running);
        let (ends, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let load = tokio::spawn({
            let (engines, ends, made) = (engines.clone(), ends.clone(), made.clone());
            async move {
                while !ends.load(Ordering::SeqCst) {
                    let number = made.fetch_add(1, Ordering::SeqCst);
                    let engine = {
                        let engines = engines.lock().expect("no test panics here");
                        engines[number % engines.len()].clone()
                    };
                    let answer = Platform::new(&engine).provision(&format!("i{number}"), json!({})).await;
                    assert!(matches!(answer, Ok(Provisioned::Created(_))), "{answer:?}");
                }
            }
        });
        for round in 1..3 {
            for name in ["a", "b"] {
                let old = running.remove(0);
                // The load balancer hears first that it is not ready.
                publish(&running);
                tokio::time::sleep(Duration::from_millis(100)).await;
                old.engine.stop().await;
                running.push(replica(&home, &journal, &format!("{name}{round}"), LONG).await);
                publish(&running);
            }
            let expected = [(format!("a{round}"), 32), (format!("b{round}"), 32)];
            let expected = [0, 1].map(|index: usize| (expected[index].0.as_str(), expected[index].1));
            eventually_owned(&home, &expected).await;
        }
        ends.store(true, Ordering::SeqCst);
        load.await.expect("every request succeeded");
        let made = made.load(Ordering::SeqCst);
        assert!(made > 4, "{made}");
        let last = Platform::new(&running[0].engine);
        for number in 0..made {
            let answer = last.provision(&format!("i{number}"), json!({})).await;
            assert!(matches!(answer, Ok(Provisioned::Exists(_))), "{answer:?}");
        }
        assert_eq!((journal.names().len(), journal.overlaps()), (made, 0));
        for process in running {
            process.engine.stop().await;
        }
    }

    /// What runs is stopped after the grace period, and goes on elsewhere.
    async fn what_runs_in_a_shard_that_changes_hands_goes_on_in_the_other_replica(home: TestHome) {
        let journal = Journal::default();
        let first = replica(&home, &journal, "a", LONG).await;
        let platform = Platform::new(&first.engine).on_plan(ASYNC);
        let all = ids("i", 8);
        let mut operations = Vec::new();
        for id in &all {
            operations.push(accepted(platform.provision_if(id, json!({"provision": "steps"}), ACCEPTS).await));
        }
        eventually("all are halfway", || journal.steps("first") == all.len()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = replica(&home, &journal, "b", LONG).await;
        eventually_owned(&home, &[("a", 32), ("b", 32)]).await;
        eventually("the other goes on with some", || fences(&journal).len() > 1).await;
        for id in &all {
            journal.release(id);
        }
        for (id, operation) in all.iter().zip(&operations) {
            assert_eq!(platform.wait(id, Some(operation)).await.expect("known"), State::Succeeded, "{id}");
        }
        assert_eq!((journal.steps("first"), journal.steps("second")), (all.len(), all.len()));
        assert_eq!(journal.overlaps(), 0);
        for process in [first, second] {
            process.engine.stop().await;
        }
    }
}
