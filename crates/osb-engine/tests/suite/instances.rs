//! The life of an instance.

use osb_api::answer::{Provisioned, Removed, State};
use osb_api::error::{DeprovisionError, Fault, FetchError, PollError, ProvisionError};
use serde_json::{Value, json};

use crate::author::{ASYNC, Journal, eventually};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

on_each_home! {
    /// OSB-ASY-01, OSB-LOI-12, OSB-PROV-08, OSB-PROV-10, OSB-DEP-02, OSB-DEP-03, OSB-DEP-05, OSB-DEP-13
    async fn an_instance_is_made_and_removed(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        assert!(matches!(platform.provision("a", json!({"size": 5})).await, Ok(Provisioned::Created(_))));
        assert_eq!(platform.wait("a", None).await, Ok(State::Succeeded));
        assert_eq!(journal.names().len(), 1);
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
        assert_eq!(platform.deprovision("a").await, Err(DeprovisionError::Gone));
        assert_eq!(platform.poll("a", None).await, Err(PollError::Gone));
        assert!(journal.names().is_empty());
    }

    /// Two durable writes for a provision; three and the finalizer for a removal.
    async fn a_provision_costs_two_writes_and_a_removal_four(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        process.faults.take_writes();
        platform.provision("a", json!({"size": 5, "secret": "x"})).await.expect("provisioned");
        process.engine.idle().await;
        let writes = process.faults.take_writes();
        assert_eq!(writes.iter().map(|write| write.split(' ').next().unwrap_or_default()).collect::<Vec<_>>(), ["POST", "PATCH"], "{writes:?}");
        platform.deprovision("a").await.expect("deprovisioned");
        process.engine.idle().await;
        let writes = process.faults.take_writes();
        assert_eq!(writes.iter().map(|write| write.split(' ').next().unwrap_or_default()).collect::<Vec<_>>(), ["PATCH", "POST", "DELETE", "PATCH"], "{writes:?}");
    }

    /// One write more for each stored step and each stored progress.
    async fn a_step_costs_one_write(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        journal.release("a");
        process.faults.take_writes();
        platform.provision("a", json!({"provision": "steps"})).await.expect("provisioned");
        process.engine.idle().await;
        let writes = process.faults.take_writes();
        // The progress between the steps is written alone or along with the second step.
        assert!((4..=5).contains(&writes.len()), "{writes:?}");
        assert_eq!((journal.steps("first"), journal.steps("second")), (1, 1));
    }

    /// OSB-DEP-12, OSB-LOI-09
    async fn a_failed_deprovision_says_whether_the_instance_can_be_used(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"deprovision": "ruin"})).await.expect("provisioned");
        assert!(platform.deprovision("a").await.is_err());
        let polled = platform.poll("a", None).await.expect("an answer").body;
        assert_eq!((polled.state, polled.instance_usable, polled.update_repeatable), (State::Failed, Some(false), None));
    }

    /// OSB-ASY-02, OSB-BLK-05, OSB-PROV-13, OSB-PROV-17, OSB-ASY-05, OSB-LOI-04, OSB-LOI-11
    async fn an_asynchronous_instance_is_polled(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let wish = json!({"provision": "steps"});
        let answer = platform.provision_if("a", wish.clone(), ACCEPTS).await;
        let Ok(Provisioned::Accepted(operation, body)) = answer else { panic!("{answer:?}") };
        let dashboard = body.dashboard_url.expect("a dashboard");
        assert!(dashboard.starts_with("https://dashboard.example.com/db_"));
        journal.started("provision", "a").await;
        let polled = platform.poll("a", Some(&operation)).await.expect("an answer");
        assert_eq!(polled.body.state, State::InProgress);
        assert_eq!(accepted(platform.provision_if("a", wish.clone(), ACCEPTS).await), operation);
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        let answer = platform.provision_if("a", wish, ACCEPTS).await;
        let Ok(Provisioned::Exists(body)) = answer else { panic!("{answer:?}") };
        assert_eq!(body.dashboard_url, Some(dashboard));
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
        // Amb-6: the removal is remembered, what was before it too.
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        assert_eq!(platform.poll("a", None).await, Err(PollError::Gone));
    }

    /// Progress that the author tells is what a poll shows (OSB-ASY-09).
    async fn progress_is_shown_while_it_runs(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let operation = accepted(platform.provision_if("a", json!({"provision": "steps"}), ACCEPTS).await);
        let mut seen = false;
        for _ in 0..500 {
            let polled = platform.poll("a", Some(&operation)).await.expect("an answer");
            seen = polled.body.description.as_deref() == Some("halfway");
            if seen {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(seen);
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
    }

    /// OSB-ASY-03, OSB-ERR-07, OSB-ASY-04, OSB-PROV-11, OSB-PROV-20
    async fn an_asynchronous_plan_is_refused_without_accepts_incomplete(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        process.faults.take_writes();
        assert_eq!(platform.provision("a", json!({})).await, Err(ProvisionError::AsyncRequired));
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        assert_eq!(platform.poll("a", None).await, Err(PollError::NotFound));
        assert_eq!(platform.deprovision("a").await, Err(DeprovisionError::Gone));
    }

    /// OSB-ORP-05, OSB-LOI-06
    async fn an_id_never_seen_is_gone_for_a_delete_and_not_found_for_a_poll(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        assert_eq!(platform.deprovision("never").await, Err(DeprovisionError::Gone));
        assert_eq!(platform.poll("never", None).await, Err(PollError::NotFound));
    }

    /// OSB-ORP-04, OSB-DEP-08, OSB-LOI-13, OSB-LOI-14: DELETE supersedes what runs.
    async fn a_delete_stops_a_running_provision(home: TestHome) {
        for behaviour in ["block", "hang"] {
            let journal = Journal::default();
            let process = home.broker(&journal).await;
            let platform = Platform::new(&process.engine).on_plan(ASYNC);
            let id = format!("a-{behaviour}");
            let operation = accepted(platform.provision_if(&id, json!({"provision": behaviour}), ACCEPTS).await);
            journal.started("provision", &id).await;
            let removal = accepted_removal(platform.deprovision_if(&id, ACCEPTS).await);
            assert_ne!(operation, removal);
            assert_eq!(platform.wait(&id, Some(&removal)).await, Ok(State::Succeeded));
            assert_eq!(platform.wait(&id, Some(&operation)).await, Ok(State::Failed));
            assert!(journal.names().is_empty());
            assert_eq!(journal.overlaps(), 0);
            process.engine.stop().await;
        }
    }

    /// What the interrupted provision stored is there for who cleans up.
    async fn a_removal_sees_the_steps_of_what_it_superseded(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        accepted(platform.provision_if("a", json!({"provision": "steps"}), ACCEPTS).await);
        let stored = || journal.steps("first") == 1;
        eventually("the first step", stored).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
        assert!(journal.lines().iter().any(|line| line.what == "saw result of first"), "{:?}", journal.lines());
    }

    /// OSB-PROV-21: a failed provision can be removed; the removal has no state.
    async fn a_failed_instance_can_be_removed(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let failed = Err(ProvisionError::Fault(Fault::Failed("This was asked for.".to_owned())));
        assert_eq!(platform.provision("a", json!({"provision": "fail"})).await, failed);
        assert_eq!(platform.wait("a", None).await, Ok(State::Failed));
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
        assert!(journal.names().is_empty());
    }

    /// A failed deprovision leaves an instance that can be removed again (OSB-ORP-01).
    async fn a_failed_removal_can_be_repeated(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"deprovision": "fail"})).await.expect("provisioned");
        for _ in 0..2 {
            assert!(matches!(platform.deprovision("a").await, Err(DeprovisionError::Fault(Fault::Failed(_)))));
            assert_eq!(platform.wait("a", None).await, Ok(State::Failed));
        }
        let keys = journal.keys("deprovision", "a");
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1]);
    }

    /// A passing error is tried again, under the same key.
    async fn a_passing_error_is_tried_again(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let wish = json!({"provision": "hiccup", "deprovision": "hiccup"});
        assert!(matches!(platform.provision("a", wish).await, Ok(Provisioned::Created(_))));
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
        for verb in ["provision", "deprovision"] {
            let keys = journal.keys(verb, "a");
            assert_eq!(keys.len(), 2, "{verb}");
            assert_eq!(keys[0], keys[1], "{verb}");
        }
    }

    /// A panic of the author's is the failure of one operation, and nothing else.
    async fn a_panic_fails_its_operation_only(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        assert!(matches!(
            platform.provision("a", json!({"provision": "panic"})).await,
            Err(ProvisionError::Fault(Fault::Failed(_)))
        ));
        assert!(matches!(platform.provision("b", json!({})).await, Ok(Provisioned::Created(_))));
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
    }

    /// A `kubectl delete` means deprovision, whatever is going on.
    async fn kubectl_delete_means_deprovision(home: TestHome) {
        for behaviour in ["succeed", "block"] {
            let journal = Journal::default();
            let process = home.broker(&journal).await;
            let platform = Platform::new(&process.engine).on_plan(ASYNC);
            let id = format!("k-{behaviour}");
            let operation = accepted(platform.provision_if(&id, json!({"provision": behaviour}), ACCEPTS).await);
            journal.started("provision", &id).await;
            if behaviour == "succeed" {
                platform.wait(&id, Some(&operation)).await.expect("provisioned");
            }
            home.delete("serviceinstances", &home.namespace("one"), &id).await;
            let journal_names = || journal.names().is_empty();
            eventually("the backend is clean", journal_names).await;
            process.engine.idle().await;
            assert_eq!(platform.poll(&id, None).await, Err(PollError::Gone));
            process.engine.stop().await;
        }
    }

    /// An object that somebody else made is reported, and never provisioned.
    async fn a_foreign_object_is_left_alone(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        home.create_foreign("a").await;
        assert!(matches!(platform.provision("a", json!({})).await, Err(ProvisionError::Conflict(_))));
        assert_eq!(platform.deprovision("a").await, Err(DeprovisionError::Gone));
        assert_eq!(platform.poll("a", None).await, Err(PollError::NotFound));
        assert!(journal.lines().is_empty());
    }

    /// Over the limit a new operation is refused before anything is written.
    async fn too_many_pending_operations_are_refused(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker_with(&journal, |mut config| {
            config.max_pending = 1;
            config
        }).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await);
        journal.started("provision", "a").await;
        process.faults.take_writes();
        let refused = platform.provision_if("b", json!({}), ACCEPTS).await;
        assert!(matches!(refused, Err(ProvisionError::Fault(Fault::TooMany { .. }))), "{refused:?}");
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        journal.release("a");
    }

    /// OSB-GEN-07, OSB-ASY-03, OSB-ORP-02: a request that cannot wait is answered with an error, and what it began is
    /// cleaned up.
    async fn a_synchronous_request_that_takes_too_long_is_undone(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker_with(&journal, |mut config| {
            config.budget_complete = std::time::Duration::from_millis(50);
            config
        }).await;
        let platform = Platform::new(&process.engine);
        let answer = platform.provision("a", json!({"provision": "block"})).await;
        assert!(matches!(answer, Err(ProvisionError::Fault(Fault::Failed(_)))), "{answer:?}");
        process.engine.idle().await;
        assert_eq!(platform.poll("a", None).await, Err(PollError::Gone));
        assert!(journal.names().is_empty());
    }

    /// OSB-GETI-01, OSB-GETI-03, OSB-GETI-04, OSB-GETI-07, OSB-DEP-13
    async fn an_instance_can_be_fetched_once_it_is_complete(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        assert_eq!(platform.fetch("a").await, Err(FetchError::NotFound));
        let operation = accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await);
        assert_eq!(platform.fetch("a").await, Err(FetchError::NotFound));
        journal.release("a");
        platform.wait("a", Some(&operation)).await.expect("provisioned");
        let fetched = platform.fetch("a").await.expect("the instance");
        assert_eq!(fetched.plan_id.as_ref().map(AsRef::as_ref), Some(ASYNC));
        assert!(fetched.dashboard_url.is_some());
        assert_eq!(fetched.parameters.map(Value::Object), Some(json!({"provision": "block"})));
        assert_eq!(platform.other().fetch("a").await, Err(FetchError::NotFound));
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        platform.wait("a", Some(&removal)).await.expect("removed");
        assert_eq!(platform.fetch("a").await, Err(FetchError::NotFound));
    }
}
