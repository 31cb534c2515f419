//! A crash before and after each write of each operation, and a new process that carries on.

use std::time::Duration;

use osb_api::answer::{Bound, Provisioned, State};
use osb_api::error::PollError;
use serde_json::{Value, json};

use crate::author::{ASYNC, Journal, NARROW, eventually};
use crate::faults::Side;
use crate::homes::{Process, TestHome};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

/// The most writes of a scenario; a scenario without a crash ends the play.
const MAX_WRITES: u64 = 30;

/// What a platform does in a play, and what it may find afterwards.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    Provision,
    ProvisionInSteps,
    Update,
    /// It does not end in time for a platform that takes no 202, and is taken back.
    LateUpdate,
    Bind,
    Rotate,
    Unbind,
    Deprovision,
    DeprovisionWithBindings,
    PutAgainAfterDeprovision,
    KubectlDelete,
}

impl Scenario {
    /// What is there before the crash can come.
    async fn prepare(self, platform: &Platform) {
        let bindings: &[&str] = match self {
            Self::Unbind | Self::Rotate => &["b"],
            Self::DeprovisionWithBindings => &["b", "c"],
            _ => &[],
        };
        if !matches!(self, Self::Provision | Self::ProvisionInSteps) {
            platform.provision("a", json!({})).await.expect("provisioned");
        }
        for binding in bindings {
            platform.bind("a", binding, json!({})).await.expect("bound");
        }
    }

    /// The requests during which the process crashes; whether they were acknowledged as done.
    async fn run(self, home: &TestHome, platform: &Platform) -> bool {
        match self {
            Self::Provision => platform.provision("a", json!({})).await.is_ok(),
            Self::ProvisionInSteps => platform.provision("a", json!({"provision": "steps"})).await.is_ok(),
            Self::Update => platform.update("a", change()).await.is_ok(),
            Self::LateUpdate => platform.update("a", stuck()).await.is_ok(),
            Self::Bind => platform.bind("a", "b", json!({})).await.is_ok(),
            Self::Rotate => platform.rotate("a", "c", "b").await.is_ok(),
            Self::Unbind => platform.unbind("a", "b").await.is_ok(),
            Self::Deprovision | Self::DeprovisionWithBindings => platform.deprovision("a").await.is_ok(),
            Self::PutAgainAfterDeprovision => {
                platform.deprovision("a").await.is_ok() && platform.provision("a", json!({"size": 2})).await.is_ok()
            }
            Self::KubectlDelete => {
                home.delete("serviceinstances", &home.namespace("one"), "a").await;
                true
            }
        }
    }

    /// The platform repeats what it was not told the end of, and finds it done exactly once.
    async fn check(self, platform: &Platform, journal: &Journal, acknowledged: bool) {
        match self {
            Self::Provision | Self::ProvisionInSteps => {
                let wish: Value = if matches!(self, Self::Provision) {
                    json!({})
                } else {
                    json!({"provision": "steps"})
                };
                let answer = platform.provision("a", wish).await;
                if acknowledged {
                    assert!(matches!(answer, Ok(Provisioned::Exists(_))), "{answer:?}");
                }
                assert!(answer.is_ok(), "{answer:?}");
                assert_eq!(journal.names().len(), 1);
                assert!(journal.steps("first") <= 2 && journal.steps("second") <= 2);
            }
            Self::Bind => {
                let answer = platform.bind("a", "b", json!({})).await;
                assert!(matches!(answer, Ok(Bound::Created(_) | Bound::Exists(_))), "{answer:?}");
                assert_eq!(journal.names().len(), 2);
            }
            Self::Update => {
                let answer = platform.update("a", change()).await;
                assert!(answer.is_ok(), "{answer:?}");
                let keys = journal.keys("update", "a");
                // One operation when the first was acknowledged; else the repeat may be a second one.
                let operations: std::collections::BTreeSet<_> = keys.iter().collect();
                assert!(operations.len() <= if acknowledged { 1 } else { 2 }, "{keys:?}");
                let now = platform.on_plan(NARROW).provision("a", json!({"size": 7})).await;
                assert!(matches!(now, Ok(Provisioned::Exists(_))), "{now:?}");
            }
            Self::LateUpdate => {
                assert!(!acknowledged, "it never succeeds");
                assert_eq!(journal.size(), 1, "nothing of it is applied");
                let same = platform.provision("a", json!({})).await;
                assert!(matches!(same, Ok(Provisioned::Exists(_))), "{same:?}");
                assert!(platform.update("a", change()).await.is_ok());
                assert_eq!(journal.size(), 7);
            }
            Self::Rotate => {
                let answer = platform.rotate("a", "c", "b").await;
                assert!(matches!(answer, Ok(Bound::Created(_) | Bound::Exists(_))), "{answer:?}");
                assert_eq!(journal.names().len(), 3);
            }
            Self::Unbind => {
                let answer = platform.unbind("a", "b").await;
                assert!(!acknowledged || answer.is_err(), "{answer:?}");
                assert_eq!(platform.poll_binding("a", "b", None).await, Err(PollError::Gone));
                assert_eq!(journal.names().len(), 1);
            }
            Self::Deprovision | Self::DeprovisionWithBindings => {
                let answer = platform.deprovision("a").await;
                assert!(!acknowledged || answer.is_err(), "{answer:?}");
                assert_eq!(platform.poll("a", None).await, Err(PollError::Gone));
                assert!(journal.names().is_empty(), "{:?}", journal.names());
            }
            Self::PutAgainAfterDeprovision => {
                if platform.provision("a", json!({"size": 2})).await.is_err() {
                    // The deprovision was never accepted: the old instance is there.
                    let _ = platform.deprovision("a").await;
                    platform.provision("a", json!({"size": 2})).await.expect("provisioned");
                }
                assert_eq!(platform.wait("a", None).await, Ok(State::Succeeded));
                assert_eq!(journal.names().len(), 1);
            }
            Self::KubectlDelete => {
                eventually("the backend is clean", || journal.names().is_empty()).await;
            }
        }
    }
}

/// A change that never ends, and the budgets of a process that does not wait long for it.
fn stuck() -> Value {
    json!({"plan_id": NARROW, "parameters": {"size": 9, "update": "stuck"}})
}

impl Scenario {
    async fn start(self, home: &TestHome, journal: &Journal) -> Process {
        home.broker_with(journal, |config| match self {
            Self::LateUpdate => crate::late_updates::hasty(config),
            _ => config,
        })
        .await
    }
}

fn change() -> Value {
    json!({"plan_id": NARROW, "parameters": {"size": 7}})
}

/// Plays a scenario with a crash at each write, before and after, and has a new process recover each time.
async fn play(home: &TestHome, scenario: Scenario) {
    for number in 1..=MAX_WRITES {
        let mut crashed = false;
        for side in [Side::Before, Side::After] {
            crashed |= crash_once(home, scenario, number, side).await;
        }
        if !crashed {
            assert!(number > 2, "{scenario:?} writes too little to be true");
            return;
        }
    }
    panic!("{scenario:?} writes too much");
}

async fn crash_once(home: &TestHome, scenario: Scenario, number: u64, side: Side) -> bool {
    let journal = Journal::default();
    journal.release("a");
    let first = scenario.start(home, &journal).await;
    let platform = Platform::new(&first.engine);
    scenario.prepare(&platform).await;
    first.engine.idle().await;
    first.faults.crash_at(number, side);
    let acknowledged = tokio::select! {
        acknowledged = scenario.run(home, &platform) => acknowledged,
        () = until_crashed(&first) => false,
    };
    settle(&first).await;
    let crashed = first.faults.has_crashed();
    first.engine.stop().await;

    let second = scenario.start(home, &journal).await;
    let platform = Platform::new(&second.engine);
    second.engine.idle().await;
    scenario.check(&platform, &journal, acknowledged).await;
    second.engine.idle().await;
    assert_eq!(journal.overlaps(), 0, "{scenario:?} {number} {side:?}");
    nothing_is_busy(home).await;
    // The next round starts from nothing.
    let _ = platform.deprovision("a").await;
    let _ = platform.on_plan(NARROW).deprovision("a").await;
    second.engine.idle().await;
    eventually("the backend is clean", || journal.names().is_empty()).await;
    assert!(home.all("serviceinstances", &home.namespace("one")).await.is_empty());
    assert!(home.all("servicebindings", &home.namespace("one")).await.is_empty());
    second.engine.stop().await;
    for tombstone in home.all("tombstones", &home.namespace("one")).await {
        let name = tombstone["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        home.delete("tombstones", &home.namespace("one"), &name).await;
    }
    testparts::long_run::count(if crashed { "crashes" } else { "plays without a crash" }, 1);
    crashed
}

async fn until_crashed(process: &Process) {
    while !process.faults.has_crashed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Until the crash has come or nothing more can come.
async fn settle(process: &Process) {
    for _ in 0..200 {
        if process.faults.has_crashed() {
            return;
        }
        tokio::select! {
            () = process.engine.idle() => {
                // What a watch is about to tell comes within that time.
                tokio::time::sleep(Duration::from_millis(400)).await;
                if process.faults.has_crashed() {
                    return;
                }
                process.engine.idle().await;
                return;
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

async fn nothing_is_busy(home: &TestHome) {
    for plural in ["serviceinstances", "servicebindings"] {
        for object in home.all(plural, &home.namespace("one")).await {
            assert!(object["record"]["operation"].is_null(), "{object}");
            assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object}");
        }
    }
}

on_each_home! {
    async fn a_provision_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::Provision).await;
    }

    async fn a_provision_in_steps_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::ProvisionInSteps).await;
    }

    async fn an_update_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::Update).await;
    }

    /// OSB-UPD-19
    async fn an_update_that_is_taken_back_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::LateUpdate).await;
    }

    async fn a_rotation_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::Rotate).await;
    }

    async fn a_bind_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::Bind).await;
    }

    async fn an_unbind_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::Unbind).await;
    }

    async fn a_deprovision_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::Deprovision).await;
    }

    async fn a_deprovision_with_bindings_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::DeprovisionWithBindings).await;
    }

    async fn a_put_after_a_deprovision_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::PutAgainAfterDeprovision).await;
    }

    async fn a_kubectl_delete_survives_a_crash_at_each_write(home: TestHome) {
        play(&home, Scenario::KubectlDelete).await;
    }

    /// A new process goes on where the old one was: same key, stored steps are not run again, the fence is higher.
    async fn a_new_process_resumes_behind_the_last_stored_step(home: TestHome) {
        let journal = Journal::default();
        let first = home.broker(&journal).await;
        let platform = Platform::new(&first.engine).on_plan(ASYNC);
        let wish = json!({"provision": "steps", "secret": "s"});
        let operation = accepted(platform.provision_if("a", wish.clone(), ACCEPTS).await);
        eventually("the first step", || journal.steps("first") == 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        first.engine.stop().await;

        let second = home.broker(&journal).await;
        let platform = Platform::new(&second.engine).on_plan(ASYNC);
        let polled = platform.poll("a", Some(&operation)).await.expect("an answer");
        assert_eq!(polled.body.state, State::InProgress);
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        assert_eq!((journal.steps("first"), journal.steps("second")), (1, 1));
        let keys = journal.keys("provision", "a");
        assert_eq!(keys, [operation.as_str(), operation.as_str()]);
        let fences: Vec<u64> = journal.lines().iter().filter(|l| l.what == "start").map(|line| line.fence).collect();
        assert!(fences[0] < fences[1], "{fences:?}");
    }

    /// A process that was replaced but still runs cannot write an outcome over its successor.
    async fn a_replaced_process_cannot_write_its_outcome(home: TestHome) {
        let journal = Journal::default();
        let zombie = home.broker(&journal).await;
        let platform = Platform::new(&zombie.engine).on_plan(ASYNC);
        let operation = accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await);
        journal.started("provision", "a").await;
        let second = home.broker(&journal).await;
        eventually("the successor has claimed it", || journal.keys("provision", "a").len() == 2).await;
        zombie.faults.take_writes();
        journal.release("a");
        let platform = Platform::new(&second.engine).on_plan(ASYNC);
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
        zombie.engine.stop().await;
    }

    /// While nobody ran, somebody deleted an object or a restore lost a finalizer: the sweep finds it.
    async fn the_sweep_finds_what_no_watch_told(home: TestHome) {
        let journal = Journal::default();
        let first = home.broker(&journal).await;
        let platform = Platform::new(&first.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.provision("b", json!({})).await.expect("provisioned");
        first.engine.stop().await;
        home.delete("serviceinstances", &home.namespace("one"), "a").await;
        home.merge("serviceinstances", &home.namespace("one"), "b", &json!({"metadata": {"finalizers": null}})).await;

        let _second = home.broker(&journal).await;
        eventually("one is left", || journal.names().len() == 1).await;
        let mut finalizers = Value::Null;
        for _ in 0..500 {
            let left = home.all("serviceinstances", &home.namespace("one")).await;
            finalizers = left.iter().find(|o| o["metadata"]["name"] == "b").map(|o| o["metadata"]["finalizers"].clone()).unwrap_or_default();
            if !finalizers.is_null() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(finalizers, json!(["osb.internal/operations"]));
    }
}
