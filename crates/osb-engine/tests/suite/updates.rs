//! Changes of an instance: its plan, its parameters, its context, its maintenance version.

use osb_api::answer::{InstanceMetadata, Provisioned, State, Updated};
use osb_api::error::{BindError, ProvisionError, UpdateError};
use osb_api::id::OperationId;
use serde_json::json;

use crate::author::{ASYNC, AUTO, Journal, MAINTENANCE, NARROW, NEEDS_APP, broker_with_maintenance, eventually};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

fn accepted_update(answer: Result<Updated, UpdateError>) -> OperationId {
    match answer {
        Ok(Updated::Accepted(operation, _)) => operation,
        other => panic!("not a 202: {other:?}"),
    }
}

fn unsupported(answer: &Result<Updated, UpdateError>) -> bool {
    matches!(answer, Err(UpdateError::NotSupported { update_repeatable: Some(false), description }) if !description.is_empty())
}

on_each_home! {
    /// OSB-UPD-02, OSB-UPD-03, OSB-UPD-10, OSB-UPD-20, OSB-GETI-07
    async fn plan_and_parameters_are_changed(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"size": 5})).await.expect("provisioned");
        assert!(matches!(platform.update("a", json!({"parameters": {"size": 7}})).await, Ok(Updated::Done(_))));
        assert!(journal.lines().iter().any(|line| line.what == "end with size 7"));
        let answer = platform.update_if("a", json!({"plan_id": ASYNC}), ACCEPTS).await;
        let operation = match answer {
            Ok(Updated::Accepted(operation, body)) => {
                assert!(body.dashboard_url.is_some(), "the dashboard of the new plan is told at once");
                operation
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        assert!(journal.lines().iter().any(|line| line.what == "from auto to async"));
        assert!(journal.lines().iter().any(|line| line.what == "end with size 7"), "the size is kept");
        let fetched = platform.fetch("a").await.expect("fetched");
        assert_eq!(fetched.plan_id.expect("a plan").as_str(), ASYNC);
        assert!(fetched.dashboard_url.is_some());
        // It is removed as what it is now.
        let removal = accepted_removal(platform.on_plan(ASYNC).deprovision_if("a", ACCEPTS).await);
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
        assert!(journal.names().is_empty());
    }

    /// OSB-META-01, OSB-META-03, OSB-UPD-20
    async fn labels_are_told_with_what_they_belong_to(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let size = |metadata: Option<InstanceMetadata>| metadata.and_then(|metadata| metadata.labels.get("size").cloned());
        let answer = platform.provision("a", json!({"size": 5})).await;
        let Ok(Provisioned::Created(body)) = answer else { panic!("{answer:?}") };
        assert_eq!(size(body.metadata), Some(json!(5)));
        let answer = platform.update("a", json!({"parameters": {"size": 7}})).await;
        let Ok(Updated::Done(body)) = answer else { panic!("{answer:?}") };
        assert_eq!(size(body.metadata), Some(json!(7)));
        assert_eq!(size(platform.fetch("a").await.expect("fetched").metadata), Some(json!(7)));
    }

    /// OSB-LOI-03
    async fn a_poll_may_name_the_plan_from_before_the_update(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.update("a", json!({"plan_id": NARROW})).await.expect("updated");
        for plan in [AUTO, NARROW] {
            let polled = platform.on_plan(plan).poll_with_hints("a").await.expect("an answer");
            assert_eq!(polled.body.state, State::Succeeded);
        }
    }

    /// Two durable writes for an update.
    async fn an_update_costs_two_writes(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        process.engine.idle().await;
        process.faults.take_writes();
        platform.update("a", json!({"parameters": {"size": 2}, "context": {"platform": "x"}})).await.expect("updated");
        process.engine.idle().await;
        assert_eq!(process.faults.take_writes().len(), 2);
    }

    /// OSB-UPD-11, OSB-UPD-16, OSB-BLK-05
    async fn an_identical_patch_joins_and_another_one_waits_for_its_turn(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let made = accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await);
        let change = json!({"parameters": {"size": 3, "update": "block"}});
        assert_eq!(platform.update_if("a", change.clone(), ACCEPTS).await, Err(UpdateError::Concurrency));
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&made)).await, Ok(State::Succeeded));
        journal.close("a");
        let operation = accepted_update(platform.update_if("a", change.clone(), ACCEPTS).await);
        journal.started("update", "a").await;
        assert_eq!(accepted_update(platform.update_if("a", change.clone(), ACCEPTS).await), operation);
        let other = json!({"parameters": {"size": 4}});
        assert_eq!(platform.update_if("a", other, ACCEPTS).await, Err(UpdateError::Concurrency));
        assert_eq!(platform.bind("a", "b", json!({})).await, Err(BindError::Concurrency));
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        // The answer was lost, and the platform asks again: nothing is done twice.
        assert!(matches!(platform.update_if("a", change, ACCEPTS).await, Ok(Updated::Done(_))));
        assert_eq!(journal.keys("update", "a").len(), 1);
    }

    /// OSB-UPD-10, OSB-UPD-05
    async fn a_patch_that_changes_nothing_is_answered_without_the_author(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        process.engine.idle().await;
        process.faults.take_writes();
        for change in [json!({}), json!({"plan_id": AUTO}), json!({"parameters": {}, "previous_values": {"plan_id": ASYNC}})] {
            assert!(matches!(platform.update("a", change).await, Ok(Updated::Done(_))));
        }
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        assert!(journal.keys("update", "a").is_empty());
    }

    /// OSB-UPD-01, OSB-UPD-07, OSB-UPD-09, OSB-UPD-12, OSB-UPD-13, OSB-UPD-15, OSB-UPD-17, OSB-UPD-18, OSB-UPD-19, Amb-13, Amb-25
    async fn what_cannot_be_changed_is_refused_and_leaves_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        assert_eq!(platform.update("never", json!({"plan_id": ASYNC})).await, Err(UpdateError::NoInstance));
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.on_plan(NARROW).provision("n", json!({})).await.expect("provisioned");
        let failed = platform.provision("f", json!({"provision": "fail"})).await;
        assert!(matches!(failed, Err(ProvisionError::Fault(_))), "{failed:?}");
        process.engine.idle().await;
        process.faults.take_writes();
        let invalid = |answer| assert!(matches!(answer, Err(UpdateError::Invalid(_))), "{answer:?}");
        invalid(platform.update("a", json!({"service_id": "other"})).await);
        invalid(platform.update("a", json!({"plan_id": "unknown"})).await);
        invalid(platform.update("a", json!({"parameters": {"size": 1000}})).await);
        invalid(platform.update("f", json!({"parameters": {"size": 10}})).await);
        assert!(unsupported(&platform.update("n", json!({"plan_id": AUTO})).await));
        assert_eq!(platform.update("a", json!({"plan_id": ASYNC})).await, Err(UpdateError::AsyncRequired));
        let large = "x".repeat(600_000);
        invalid(platform.update("a", json!({"parameters": {"secret": large}})).await);
        let maintenance = json!({"maintenance_info": {"version": "9.9.9"}});
        assert_eq!(platform.update("a", maintenance).await, Err(UpdateError::MaintenanceInfoConflict));
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        // OSB-UPD-09: parameters may change on every plan.
        assert!(matches!(platform.update("n", json!({"parameters": {"size": 2}})).await, Ok(Updated::Done(_))));
        assert!(platform.other().update("a", json!({"plan_id": NARROW})).await == Err(UpdateError::NoInstance));
    }

    /// OSB-ERR-08, OSB-UPD-19, OSB-UPD-21, OSB-UPD-22, OSB-LOI-09
    async fn a_failed_update_changes_nothing_and_says_what_is_left(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"size": 5})).await.expect("provisioned");
        let ruin = json!({"plan_id": NARROW, "parameters": {"update": "ruin", "size": 9}});
        let failed = platform.update("a", ruin.clone()).await;
        let expected = UpdateError::Failed {
            description: "It fell to pieces.".to_owned(),
            instance_usable: Some(false),
            update_repeatable: Some(false),
        };
        assert_eq!(failed, Err(expected));
        let polled = platform.poll("a", None).await.expect("an answer").body;
        assert_eq!((polled.state, polled.instance_usable, polled.update_repeatable), (State::Failed, Some(false), Some(false)));
        assert_eq!(platform.fetch("a").await.expect("fetched").plan_id.expect("a plan").as_str(), AUTO);
        let failed = platform.update("a", json!({"parameters": {"update": "fail"}})).await;
        let Err(UpdateError::Failed { instance_usable: None, update_repeatable: None, .. }) = failed else { panic!("{failed:?}") };
        // The same request may be sent again, and another one may repair the instance.
        assert!(platform.update("a", ruin).await.is_err());
        assert_eq!(journal.keys("update", "a").len(), 3);
        assert!(matches!(platform.update("a", json!({"parameters": {"size": 6}})).await, Ok(Updated::Done(_))));
        assert!(platform.bind("a", "b", json!({})).await.is_ok());
    }

    /// OSB-UPD-04, OSB-UPD-08
    async fn a_new_context_takes_the_place_of_the_old_one(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let context = json!({"platform": "cloudfoundry", "space_name": "new"});
        assert!(matches!(platform.update("a", json!({"context": context})).await, Ok(Updated::Done(_))));
        let stored = home.all("serviceinstances", &home.namespace("one")).await;
        assert_eq!(stored[0]["spec"]["context"], context, "the old instance_name is gone");
    }

    /// OSB-UPD-06, OSB-UPD-14, OSB-GETI-08
    async fn an_instance_is_upgraded_to_the_maintenance_version_of_its_plan(home: TestHome) {
        let journal = Journal::default();
        let old = home.broker(&journal).await;
        Platform::new(&old.engine).on_plan(NEEDS_APP).provision("a", json!({})).await.expect("provisioned");
        old.engine.stop().await;
        let new = home.start(broker_with_maintenance(&journal, "2.0.0"), |config| config).await;
        let platform = Platform::new(&new.engine);
        let running = |fetched: osb_api::answer::InstanceDetails| fetched.maintenance_info.map(|info| info.version);
        assert_eq!(running(platform.fetch("a").await.expect("fetched")).as_deref(), Some(MAINTENANCE));
        let to = |version: &str| json!({"maintenance_info": {"version": version}});
        assert_eq!(platform.update("a", to(MAINTENANCE)).await, Err(UpdateError::MaintenanceInfoConflict));
        assert!(matches!(platform.update("a", to("2.0.0")).await, Ok(Updated::Done(_))));
        assert_eq!(running(platform.fetch("a").await.expect("fetched")).as_deref(), Some("2.0.0"));
        assert!(matches!(platform.update("a", to("2.0.0")).await, Ok(Updated::Done(_))));
        let upgrades = journal.lines().iter().filter(|line| line.what == "maintenance 2.0.0").count();
        assert_eq!(upgrades, 1);
    }

    /// What a PUT is compared with are the attributes that the instance has now (OSB-PROV-14, OSB-PROV-15).
    async fn after_an_update_a_repeated_put_means_the_instance_as_it_is(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"size": 5, "secret": "s"})).await.expect("provisioned");
        platform.update("a", json!({"plan_id": NARROW, "parameters": {"size": 6}})).await.expect("updated");
        let old = platform.provision("a", json!({"size": 5, "secret": "s"})).await;
        assert!(matches!(old, Err(ProvisionError::Conflict(_))), "{old:?}");
        let new = platform.on_plan(NARROW).provision("a", json!({"size": 6, "secret": "s"})).await;
        assert!(matches!(new, Ok(Provisioned::Exists(_))), "{new:?}");
    }

    /// OSB-DEP-08: a deletion does not wait for an update.
    async fn a_deprovision_stops_a_running_update(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let updating = {
            let platform = platform.clone();
            tokio::spawn(async move { platform.update("a", json!({"parameters": {"update": "block"}})).await })
        };
        journal.started("update", "a").await;
        platform.deprovision("a").await.expect("deprovisioned");
        assert!(updating.await.expect("no panic").is_err());
        eventually("the backend is clean", || journal.names().is_empty()).await;
        assert_eq!(journal.overlaps(), 0);
    }

    /// What an update was given in confidence is readable nowhere.
    async fn an_update_gives_nothing_away(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let answer = platform.update("a", json!({"parameters": {"update": "blab", "secret": "canary-41"}})).await;
        let Err(UpdateError::Failed { description, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(description, "not with ***");
        let change = json!({"parameters": {"update": "block", "secret": "canary-41"}});
        let operation = accepted_update(platform.update_if("a", change, ACCEPTS).await);
        let seen = format!("{:?}", home.all("serviceinstances", &home.namespace("one")).await);
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        let seen = format!("{seen}{:?}", home.all("serviceinstances", &home.namespace("one")).await);
        assert!(seen.contains("Update") && !seen.contains("canary-41"), "{seen}");
    }
}
