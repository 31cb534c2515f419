//! The life of a binding.

use osb_api::answer::{BindingBody, Bound, Provisioned, Removed, State};
use osb_api::error::{BindError, Fault, FetchError, PollError, UnbindError};
use serde_json::json;

use crate::author::{ASYNC, Journal, NEEDS_APP, UNBINDABLE, eventually};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

fn password(body: &BindingBody) -> String {
    let credentials = body.credentials.as_ref().expect("credentials");
    credentials["password"].as_str().expect("a password").to_owned()
}

on_each_home! {
    /// OSB-LOB-02, OSB-BIND-09, OSB-BIND-12, OSB-BIND-13, OSB-BIND-21, OSB-UNB-02, OSB-UNB-03, OSB-UNB-05, OSB-UNB-11
    async fn a_binding_is_made_repeated_and_removed(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let answer = platform.bind("a", "b", json!({})).await;
        let Ok(Bound::Created(body)) = answer else { panic!("{answer:?}") };
        let answer = platform.bind("a", "b", json!({})).await;
        let Ok(Bound::Exists(again)) = answer else { panic!("{answer:?}") };
        assert_eq!(body, again);
        assert!(matches!(platform.bind("a", "b", json!({"secret": "x"})).await, Err(BindError::Conflict(_))));
        let Ok(Bound::Created(other)) = platform.bind("a", "c", json!({})).await else { panic!("not bound") };
        assert_ne!(password(&body), password(&other));
        assert_eq!(platform.unbind("a", "b").await, Ok(Removed::Done));
        assert_eq!(platform.unbind("a", "b").await, Err(UnbindError::Gone));
        assert_eq!(platform.poll_binding("a", "b", None).await, Err(PollError::Gone));
        assert_eq!(platform.poll_binding("a", "never", None).await, Err(PollError::NotFound));
        assert!(matches!(platform.bind("a", "c", json!({})).await, Ok(Bound::Exists(_))));
        assert_eq!(platform.unbind("never", "b").await, Err(UnbindError::Gone));
    }

    /// Two durable writes for a bind.
    async fn a_bind_costs_two_writes(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        process.engine.idle().await;
        process.faults.take_writes();
        platform.bind("a", "b", json!({"secret": "x"})).await.expect("bound");
        process.engine.idle().await;
        assert_eq!(process.faults.take_writes().len(), 2);
    }

    /// OSB-BIND-06, OSB-BIND-08, OSB-ERR-07, OSB-BIND-01, OSB-BIND-02, OSB-BIND-15, OSB-BIND-18, OSB-BIND-32,
    /// OSB-ROT-08
    async fn what_cannot_be_bound_is_refused_and_leaves_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        assert_eq!(platform.bind("never", "b", json!({})).await, Err(BindError::NoInstance));
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.on_plan(UNBINDABLE).provision("u", json!({})).await.expect("provisioned");
        platform.on_plan(NEEDS_APP).provision("n", json!({})).await.expect("provisioned");
        process.engine.idle().await;
        process.faults.take_writes();
        let invalid = |answer| assert!(matches!(answer, Err(BindError::Invalid(_))), "{answer:?}");
        invalid(platform.on_plan(UNBINDABLE).bind("u", "b", json!({})).await);
        invalid(platform.on_plan(ASYNC).bind("a", "b", json!({})).await);
        invalid(platform.bind("a", "b", json!({"bind": 5})).await);
        let mut rotation = platform.bind_request(&json!({}));
        rotation.predecessor_binding_id = Some(crate::platform::binding_id("old"));
        invalid(platform.send_bind("a", "b", rotation).await);
        let app = platform.on_plan(NEEDS_APP);
        assert_eq!(app.bind("n", "b", json!({})).await, Err(BindError::RequiresApp));
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        let mut request = app.bind_request(&json!({}));
        request.bind_resource = serde_json::from_value(json!({"app_guid": "app"})).expect("a bind resource");
        assert!(matches!(app.send_bind("n", "b", request).await, Ok(Bound::Created(_))));
    }

    /// A failed bind can be removed, and started again by the identical request.
    async fn a_failed_bind_can_be_repeated_and_removed(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        for _ in 0..2 {
            let answer = platform.bind("a", "b", json!({"bind": "fail"})).await;
            assert!(matches!(answer, Err(BindError::Fault(Fault::Failed(_)))), "{answer:?}");
        }
        assert_eq!(platform.unbind("a", "b").await, Ok(Removed::Done));
        assert_eq!(journal.names().len(), 1);
    }

    /// OSB-UNB-08: an unbind supersedes a bind that runs.
    async fn an_unbind_stops_a_running_bind(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let bind = platform.bind("a", "b", json!({"bind": "block"}));
        let unbind = async {
            journal.started("bind", "a").await;
            platform.unbind("a", "b").await
        };
        let (bind, unbind) = futures::join!(bind, unbind);
        assert!(matches!(bind, Err(BindError::Fault(Fault::Failed(_)))), "{bind:?}");
        assert_eq!(unbind, Ok(Removed::Done));
        assert_eq!(journal.names().len(), 1);
        assert_eq!(journal.overlaps(), 0);
    }

    /// OSB-DEP-11, Amb-18: a deprovision removes the bindings along, and each is remembered.
    async fn a_deprovision_removes_its_bindings(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        for binding in ["x", "y", "z"] {
            platform.bind("a", binding, json!({})).await.expect("bound");
        }
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
        assert!(journal.names().is_empty());
        assert_eq!(journal.keys("unbind", "a").len(), 3);
        assert_eq!(platform.unbind("a", "x").await, Err(UnbindError::Gone));
        assert_eq!(platform.poll_binding("a", "x", None).await, Err(PollError::Gone));
        process.engine.idle().await;
        assert!(home.all("servicebindings", &home.namespace("one")).await.is_empty());
    }

    /// A deprovision also stops a bind that runs.
    async fn a_deprovision_stops_a_running_bind(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let bind = platform.bind("a", "b", json!({"bind": "block"}));
        let deprovision = async {
            journal.started("bind", "a").await;
            platform.deprovision("a").await
        };
        let (bind, deprovision) = futures::join!(bind, deprovision);
        assert!(matches!(bind, Err(BindError::Fault(Fault::Failed(_)))), "{bind:?}");
        assert_eq!(deprovision, Ok(Removed::Done));
        assert!(journal.names().is_empty());
    }

    /// Binds race the deprovision of their instance: whatever wins, nothing is left.
    async fn binds_that_race_a_deprovision_leave_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        for round in 0..10 {
            let id = format!("a{round}");
            platform.provision(&id, json!({})).await.expect("provisioned");
            let names: Vec<String> = (0..8).map(|n| format!("b{n}")).collect();
            let binds = futures::future::join_all(names.iter().map(|name| platform.bind(&id, name, json!({}))));
            let (_, deprovision) = futures::join!(binds, platform.deprovision(&id));
            assert_eq!(deprovision, Ok(Removed::Done));
        }
        process.engine.idle().await;
        eventually("the backend is clean", || journal.names().is_empty()).await;
        assert!(home.all("servicebindings", &home.namespace("one")).await.is_empty());
        assert_eq!(journal.overlaps(), 0);
    }

    /// OSB-UNB-04, OSB-UNB-06
    async fn an_asynchronous_unbind_is_polled(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        let operation = accepted(platform.provision_if("a", json!({}), ACCEPTS).await);
        platform.wait("a", Some(&operation)).await.expect("provisioned");
        platform.bind("a", "b", json!({"unbind": "block"})).await.expect("bound");
        assert_eq!(platform.unbind("a", "b").await, Err(UnbindError::AsyncRequired));
        let removal = accepted_removal(platform.unbind_if("a", "b", ACCEPTS).await);
        journal.started("unbind", "a").await;
        assert_eq!(accepted_removal(platform.unbind_if("a", "b", ACCEPTS).await), removal);
        journal.release("a");
        eventually("unbound", || journal.names().len() == 1).await;
        process.engine.idle().await;
        let polled = platform.poll_binding("a", "b", Some(&removal)).await.expect("an answer");
        assert_eq!(polled.body.state, State::Succeeded);
        assert_eq!(platform.poll_binding("a", "b", None).await, Err(PollError::Gone));
    }

    /// OSB-BLK-01: two binds of one instance never run at once, and neither is refused.
    async fn binds_of_one_instance_go_one_after_the_other(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        assert!(matches!(platform.provision("a", json!({})).await, Ok(Provisioned::Created(_))));
        let names: Vec<String> = (0..10).map(|n| format!("b{n}")).collect();
        let binds = names.iter().map(|name| platform.bind("a", name, json!({"bind": "hiccup"})));
        let answers = futures::future::join_all(binds).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Bound::Created(_)))), "{answers:?}");
        assert_eq!(journal.overlaps(), 0);
    }

    /// OSB-ASY-02, OSB-BLK-05, OSB-BIND-10, OSB-BIND-11, OSB-BIND-19, OSB-LOB-01, OSB-LOB-05, OSB-GETB-01, OSB-GETB-02,
    /// OSB-GETB-04
    async fn a_slow_bind_is_accepted_polled_and_fetched(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker_with(&journal, |mut config| {
            config.budget_incomplete = std::time::Duration::from_millis(20);
            config
        }).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let wish = json!({"bind": "block"});
        let answer = platform.bind_if("a", "b", wish.clone(), ACCEPTS).await;
        let Ok(Bound::Accepted(operation)) = answer else { panic!("{answer:?}") };
        assert_eq!(platform.bind_if("a", "b", wish.clone(), ACCEPTS).await, Ok(Bound::Accepted(operation.clone())));
        assert_eq!(platform.fetch_binding("a", "b").await, Err(FetchError::NotFound));
        let polled = platform.poll_binding("a", "b", Some(&operation)).await.expect("an answer");
        assert_eq!(polled.body.state, State::InProgress);
        journal.release("a");
        process.engine.idle().await;
        let polled = platform.poll_binding("a", "b", Some(&operation)).await.expect("an answer");
        assert_eq!(polled.body.state, State::Succeeded);
        let fetched = platform.fetch_binding("a", "b").await.expect("the binding");
        let answer = platform.bind_if("a", "b", wish, ACCEPTS).await;
        assert_eq!(answer, Ok(Bound::Exists(fetched.body)));
        platform.unbind("a", "b").await.expect("unbound");
        assert_eq!(platform.fetch_binding("a", "b").await, Err(FetchError::NotFound));
    }

    /// A deprovision that fails because a binding cannot be removed leaves nothing in progress, and can be repeated.
    async fn a_binding_that_cannot_be_removed_fails_the_deprovision_and_nothing_hangs(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({"unbind": "fail"})).await.expect("bound");
        for _ in 0..2 {
            assert!(platform.deprovision("a").await.is_err());
            let polled = platform.poll("a", None).await.expect("an answer");
            assert_eq!(polled.body.state, State::Failed);
            let polled = platform.poll_binding("a", "b", None).await.expect("an answer");
            assert_eq!(polled.body.state, State::Failed);
        }
    }

    /// A bind that comes while a deprovision runs, which then fails, is carried out.
    async fn a_bind_beside_a_deprovision_that_fails_is_answered(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        for round in 0..5 {
            let id = format!("a{round}");
            platform.provision(&id, json!({})).await.expect("provisioned");
            platform.bind(&id, "stuck", json!({"unbind": "fail"})).await.expect("bound");
            let binds: Vec<String> = (0..4).map(|n| format!("b{n}")).collect();
            let binds = binds.iter().map(|binding| platform.bind(&id, binding, json!({})));
            let (answers, removal) = futures::join!(futures::future::join_all(binds), platform.deprovision(&id));
            assert!(removal.is_err(), "{removal:?}");
            for answer in answers {
                let known = matches!(
                    answer,
                    Ok(Bound::Created(_)) | Err(BindError::Concurrency | BindError::Fault(Fault::Failed(_)))
                );
                assert!(known, "{answer:?}");
            }
            process.engine.idle().await;
            for binding in home.all("servicebindings", &home.namespace("one")).await {
                assert!(binding["record"]["operation"].is_null(), "{binding}");
            }
        }
    }

    /// OSB-BIND-22 to OSB-BIND-24: what the catalog does not announce is never sent.
    async fn a_binding_that_the_offering_does_not_permit_fails_and_is_cleaned_up(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let answer = platform.bind("a", "b", json!({"drain": true})).await;
        let Err(BindError::Fault(Fault::Failed(text))) = answer else { panic!("{answer:?}") };
        assert!(text.contains("syslog_drain_url") && !text.contains("drain.example.com"), "{text}");
        assert_eq!(platform.fetch_binding("a", "b").await.err(), Some(FetchError::NotFound));
        assert_eq!(journal.names().len(), 2, "the author has made it");
        assert_eq!(platform.unbind("a", "b").await, Ok(Removed::Done));
        assert_eq!(journal.names().len(), 1);
    }
}
