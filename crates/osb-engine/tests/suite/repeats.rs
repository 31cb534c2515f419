//! What a repeated request gets, and what a different one for the same id gets.

use osb_api::answer::{Bound, Provisioned, State};
use osb_api::error::{BindError, Fault, ProvisionError};
use serde_json::{Value, json};

use crate::author::{ASYNC, Journal};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

on_each_home! {
    /// OSB-PROV-14, OSB-PROV-15, Amb-10, Amb-11
    async fn a_repeat_finds_the_instance_and_other_attributes_conflict(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let wish = json!({"size": 5, "secret": "s"});
        assert!(matches!(platform.provision("a", wish.clone()).await, Ok(Provisioned::Created(_))));
        assert!(matches!(platform.provision("a", wish.clone()).await, Ok(Provisioned::Exists(_))));
        // The order of members and the form of numbers are no difference.
        assert!(matches!(platform.provision("a", json!({"secret": "s", "size": 5.0})).await, Ok(Provisioned::Exists(_))));
        for other in [json!({"size": 6, "secret": "s"}), json!({}), Value::Null, json!({"size": 1000})] {
            assert!(matches!(platform.provision("a", other).await, Err(ProvisionError::Conflict(_))));
        }
        assert!(matches!(platform.on_plan(ASYNC).provision("a", wish).await, Err(ProvisionError::Conflict(_))));
        assert_eq!(journal.keys("provision", "a").len(), 1);
    }

    /// Names and annotations in the context may change: they are no difference (Amb-11).
    async fn a_repeat_with_another_context_is_a_repeat(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let mut request = platform.provision_request(&json!({}));
        request.context = None;
        assert!(matches!(platform.send_provision("a", request).await, Ok(Provisioned::Exists(_))));
    }

    /// OSB-BLK-05, OSB-PROV-13, OSB-PROV-15 while it runs
    async fn a_different_put_conflicts_also_while_the_first_runs(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let operation = accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await);
        journal.started("provision", "a").await;
        let other = platform.provision_if("a", json!({"provision": "block", "size": 2}), ACCEPTS).await;
        assert!(matches!(other, Err(ProvisionError::Conflict(_))));
        assert_eq!(accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await), operation);
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
    }

    /// OSB-BLK-04: of parallel creates one reports 201.
    async fn of_parallel_creates_one_creates(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let calls = (0..16).map(|_| platform.provision("a", json!({"size": 3})));
        let answers = futures::future::join_all(calls).await;
        let created = answers.iter().filter(|answer| matches!(answer, Ok(Provisioned::Created(_)))).count();
        let exists = answers.iter().filter(|answer| matches!(answer, Ok(Provisioned::Exists(_)))).count();
        assert_eq!((created, exists), (1, 15), "{answers:?}");
        assert_eq!(journal.keys("provision", "a").len(), 1);
    }

    /// OSB-BLK-04: of parallel deletes one reports 200.
    async fn of_parallel_deletes_one_deletes(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let answers = futures::future::join_all((0..16).map(|_| platform.deprovision("a"))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert_eq!(journal.keys("deprovision", "a").len(), 1);
    }

    /// A failed provision is started again by the identical request, under a new operation; a different one conflicts.
    async fn an_identical_put_after_a_failure_starts_again(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let wish = json!({"provision": "fail"});
        let first = accepted(platform.provision_if("a", wish.clone(), ACCEPTS).await);
        assert_eq!(platform.wait("a", Some(&first)).await, Ok(State::Failed));
        let other = platform.provision_if("a", json!({}), ACCEPTS).await;
        assert!(matches!(other, Err(ProvisionError::Conflict(_))));
        let second = accepted(platform.provision_if("a", wish, ACCEPTS).await);
        assert_ne!(first, second);
        assert_eq!(platform.wait("a", Some(&second)).await, Ok(State::Failed));
        assert_eq!(platform.wait("a", Some(&first)).await, Ok(State::Failed));
        assert_eq!(journal.keys("provision", "a"), [first.as_str(), second.as_str()]);
    }

    /// OSB-BLK-02, OSB-BIND-17, OSB-DEP-04, Amb-23: during a deprovision a DELETE is a repeat, and a PUT has to wait.
    async fn while_it_is_removed_a_delete_is_a_repeat_and_a_put_is_refused(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let wish = json!({"deprovision": "block"});
        let operation = accepted(platform.provision_if("a", wish.clone(), ACCEPTS).await);
        platform.wait("a", Some(&operation)).await.expect("provisioned");
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        journal.started("deprovision", "a").await;
        assert_eq!(accepted_removal(platform.deprovision_if("a", ACCEPTS).await), removal);
        for put in [wish, json!({"size": 9})] {
            assert_eq!(platform.provision_if("a", put, ACCEPTS).await, Err(ProvisionError::Concurrency));
        }
        assert_eq!(platform.bind("a", "b", json!({})).await, Err(BindError::Concurrency));
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
    }

    /// An id may come back after its deletion, as a new instance.
    async fn an_id_may_come_back(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        for round in 1..=3 {
            assert!(matches!(platform.provision("a", json!({"size": round})).await, Ok(Provisioned::Created(_))));
            assert_eq!(journal.names().len(), 1);
            platform.deprovision("a").await.expect("deprovisioned");
        }
        let mut keys = journal.keys("provision", "a");
        keys.dedup();
        assert_eq!(keys.len(), 3);
    }

    /// Another platform's ids do not exist.
    async fn equal_ids_of_two_platforms_are_two_instances(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let other = platform.other();
        assert!(matches!(platform.provision("a", json!({"size": 1})).await, Ok(Provisioned::Created(_))));
        assert!(matches!(other.provision("a", json!({"size": 2})).await, Ok(Provisioned::Created(_))));
        assert_eq!(journal.names().len(), 2);
        platform.deprovision("a").await.expect("deprovisioned");
        assert!(matches!(other.provision("a", json!({"size": 2})).await, Ok(Provisioned::Exists(_))));
    }

    /// OSB-URL-01, OSB-GEN-05
    async fn ids_are_opaque(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let long = "i".repeat(1000);
        let ids = ["crn:v1:a/b:c::", "A", "a", "%2F", "../../x", "x", "osb-x", "ä \"quote\"", "a,b=c\\d", &long];
        for id in ids {
            assert!(matches!(platform.provision(id, json!({})).await, Ok(Provisioned::Created(_))), "{id}");
            assert!(matches!(platform.bind(id, id, json!({})).await, Ok(Bound::Created(_))), "{id}");
        }
        assert_eq!(journal.names().len(), 2 * ids.len());
        for id in ids {
            assert!(matches!(platform.provision(id, json!({})).await, Ok(Provisioned::Exists(_))), "{id}");
            platform.unbind(id, id).await.expect("unbound");
            platform.deprovision(id).await.expect("deprovisioned");
        }
        assert!(journal.names().is_empty());
    }

    /// OSB-MNT-04, OSB-PROV-12, Amb-4, Amb-9
    async fn another_maintenance_version_conflicts(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let plain = Platform::new(&process.engine);
        let maintained = plain.on_plan(crate::author::NEEDS_APP);
        let with = |platform: &Platform, version: &str| {
            let mut request = platform.provision_request(&json!({}));
            request.maintenance_info = serde_json::from_value(json!({"version": version})).expect("maintenance");
            request
        };
        for (platform, version) in [(&maintained, "1.2.3"), (&maintained, "1.2.3+abd"), (&plain, "1.2.3")] {
            let answer = platform.send_provision("a", with(platform, version)).await;
            assert_eq!(answer, Err(ProvisionError::MaintenanceInfoConflict), "{version}");
        }
        let answer = maintained.send_provision("a", with(&maintained, "1.2.3+abc")).await;
        assert!(matches!(answer, Ok(Provisioned::Created(_))));
    }

    /// OSB-ERR-07, OSB-PROV-01, OSB-PROV-02, OSB-PROV-06, OSB-PROV-20
    async fn an_invalid_request_leaves_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        process.faults.take_writes();
        let mut unknown = platform.provision_request(&json!({}));
        unknown.plan_id = osb_api::id::PlanId::new("other").expect("a valid id");
        assert!(matches!(platform.send_provision("a", unknown).await, Err(ProvisionError::Invalid(_))));
        for wrong in [json!({"size": 0}), json!({"size": "big"}), json!({"provision": "dance"})] {
            let answer = platform.provision("a", wrong).await;
            let Err(ProvisionError::Invalid(text)) = answer else { panic!("{answer:?}") };
            assert!(text.starts_with("parameters."), "{text}");
        }
        let large = "x".repeat(600_000);
        assert!(matches!(platform.provision("a", json!({"secret": large})).await, Err(ProvisionError::Invalid(_))));
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
    }

    /// A plan that is busy does not keep another one waiting.
    async fn one_slow_plan_does_not_starve_the_others(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let narrow = platform.on_plan(crate::author::NARROW);
        let blocked = narrow.provision_if("slow", json!({"provision": "block"}), ACCEPTS);
        let behind = narrow.provision_if("behind", json!({}), ACCEPTS);
        let checks = async {
            journal.started("provision", "slow").await;
            assert!(matches!(platform.provision("fast", json!({})).await, Ok(Provisioned::Created(_))));
            assert!(journal.keys("provision", "behind").is_empty());
            journal.release("slow");
        };
        let (blocked, behind, ()) = futures::join!(blocked, behind, checks);
        assert!(matches!((blocked, behind), (Ok(Provisioned::Created(_)), Ok(Provisioned::Created(_)))));
    }

    /// A home that cannot be reached is 503, not a lost request.
    async fn a_home_that_is_gone_is_a_503(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        process.faults.crash_at(1, crate::faults::Side::Before);
        let answer = platform.provision("a", json!({})).await;
        assert!(matches!(answer, Err(ProvisionError::Fault(Fault::Unavailable(_)))), "{answer:?}");
    }
}
