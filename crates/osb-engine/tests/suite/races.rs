//! Meetings of calls that the model has found to matter, each in its smallest form.

use osb_api::answer::{Provisioned, Removed, State};
use osb_api::error::{BindError, DeprovisionError, Fault};
use serde_json::json;

use crate::author::{ASYNC, Journal, eventually};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

on_each_home! {
    /// OSB-DEP-02, OSB-DEP-08: the answer to the create of a PUT comes late, and a DELETE is done before it.
    async fn a_put_that_hears_of_its_create_after_a_delete_is_done_makes_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let held = process.faults.hold_answer_to_create();
        let late = platform.clone();
        let put = tokio::spawn(async move { late.provision("a", json!({})).await });
        while home.all("serviceinstances", &home.namespace("one")).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
        process.engine.idle().await;
        held.add_permits(1);
        let answer = put.await.expect("no panic");
        assert!(!matches!(answer, Ok(Provisioned::Created(_) | Provisioned::Exists(_))), "{answer:?}");
        process.engine.idle().await;
        assert!(journal.names().is_empty(), "an orphan: {:?}", journal.lines());
    }

    /// OSB-UNB-02: a bind waits in the lane, its binding is removed along with the instance, whose removal fails.
    async fn a_bind_that_waited_while_its_binding_was_removed_makes_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"deprovision": "fail"})).await.expect("provisioned");
        let runs = platform.bind("a", "x", json!({"bind": "block"}));
        let waits = async {
            journal.started("bind", "a").await;
            platform.bind("a", "y", json!({})).await
        };
        let removal = async {
            while home.all("servicebindings", &home.namespace("one")).await.len() < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            platform.deprovision("a").await
        };
        let (runs, waits, removal) = futures::join!(runs, waits, removal);
        assert!(matches!(runs, Err(BindError::Fault(Fault::Failed(_)))), "{runs:?}");
        assert!(matches!(waits, Err(BindError::Fault(Fault::Failed(_)))), "{waits:?}");
        assert!(matches!(removal, Err(DeprovisionError::Fault(Fault::Failed(_)))), "{removal:?}");
        process.engine.idle().await;
        assert_eq!(journal.names().len(), 1, "an orphan: {:?}", journal.lines());
    }

    /// A binding that cannot be removed fails the deprovision, and neither of them stays in progress.
    async fn a_binding_that_fails_a_deprovision_is_not_busy_afterwards(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({"unbind": "fail"})).await.expect("bound");
        let answer = platform.deprovision("a").await;
        assert!(matches!(answer, Err(DeprovisionError::Fault(Fault::Failed(_)))), "{answer:?}");
        process.engine.idle().await;
        let polled = platform.poll_binding("a", "b", None).await.expect("an answer");
        assert_eq!(polled.body.state, State::Failed);
        for object in home.all("servicebindings", &home.namespace("one")).await {
            assert!(object["record"]["operation"].is_null(), "busy: {object}");
        }
    }

    /// OSB-UNB-04: an unbind that the platform polls keeps its operation when a deprovision comes and the broker
    /// restarts.
    async fn an_unbind_keeps_its_operation_through_a_deprovision_and_a_restart(home: TestHome) {
        let journal = Journal::default();
        let first = home.broker(&journal).await;
        let platform = Platform::new(&first.engine).on_plan(ASYNC);
        let operation = accepted(platform.provision_if("a", json!({}), ACCEPTS).await);
        platform.wait("a", Some(&operation)).await.expect("provisioned");
        platform.bind("a", "b", json!({"unbind": "block"})).await.expect("bound");
        let unbind = accepted_removal(platform.unbind_if("a", "b", ACCEPTS).await);
        journal.started("unbind", "a").await;
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        first.engine.stop().await;

        let second = home.broker(&journal).await;
        let platform = Platform::new(&second.engine).on_plan(ASYNC);
        eventually("the unbind runs again", || journal.keys("unbind", "a").iter().any(|key| key == unbind.as_str())).await;
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
        let polled = platform.poll_binding("a", "b", Some(&unbind)).await.expect("an answer");
        assert_eq!(polled.body.state, State::Succeeded);
    }
}
