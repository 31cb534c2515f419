//! Offerings that come and go while the broker runs.

use std::sync::{Arc, Mutex};

use osb_api::answer::{Bound, Provisioned, Removed, Updated};
use osb_api::catalog::Plan;
use osb_api::error::{BindError, Fault, ProvisionError, UnbindError};
use osb_engine::{Action, Broker, Draft, DraftRequest, LiveOffering, LiveOfferings, Refused};
use osb_server::Broker as _;
use serde_json::{Value, json};

use crate::author::{ASYNC, AUTO, Journal, SERVICE, offering, service};
use crate::on_each_home;
use crate::platform::Platform;

fn broker(journal: &Journal, offerings: &LiveOfferings) -> Broker {
    Broker::new("probe").live(offerings, service(journal))
}

/// An offering with two plans.
fn probe() -> LiveOffering {
    let plans = [AUTO, ASYNC].map(|id| Plan::new(id, id, "A plan"));
    LiveOffering::new(
        plans
            .into_iter()
            .fold(offering(SERVICE, "probe"), osb_api::catalog::Offering::plan),
    )
}

fn names(platform_of: &osb_engine::Engine) -> Vec<String> {
    let body: Value = serde_json::from_slice(&platform_of.catalog().body).expect("a catalog");
    let services = body["services"].as_array().cloned().unwrap_or_default();
    services
        .iter()
        .map(|service| service["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

on_each_home! {
    /// OSB-CAT-02
    async fn an_offering_is_sold_while_it_is_offered_and_served_for_ever(home: TestHome) {
        let (journal, offerings) = (Journal::default(), LiveOfferings::new());
        let process = home.start(broker(&journal, &offerings), |config| config).await;
        let platform = Platform::new(&process.engine);
        assert!(names(&process.engine).is_empty());
        let refused = platform.provision("a", json!({})).await;
        assert!(matches!(refused, Err(ProvisionError::Invalid(_))), "{refused:?}");

        offerings.offer(probe()).expect("offered");
        assert_eq!(names(&process.engine), ["probe"]);
        assert!(matches!(platform.provision("a", json!({})).await, Ok(Provisioned::Created(_))));
        let moved = platform.update("a", json!({"plan_id": ASYNC})).await;
        assert!(matches!(moved, Ok(Updated::Done(_))), "{moved:?}");
        platform.update("a", json!({"plan_id": AUTO})).await.expect("moved back");

        offerings.withdraw(SERVICE);
        assert!(names(&process.engine).is_empty());
        let refused = platform.provision("b", json!({})).await;
        assert!(matches!(refused, Err(ProvisionError::Invalid(_))), "{refused:?}");
        assert!(matches!(platform.bind("a", "b", json!({})).await, Ok(Bound::Created(_))));
        process.engine.stop().await;

        // Nobody has told the next process of it.
        let next = home.start(broker(&journal, &LiveOfferings::new()), |config| config).await;
        let platform = Platform::new(&next.engine);
        assert!(platform.fetch("a").await.is_ok() && platform.fetch_binding("a", "b").await.is_ok());
        assert_eq!(platform.unbind("a", "b").await, Ok(Removed::Done));
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
        assert!(journal.names().is_empty());
    }

    async fn a_plan_is_known_by_its_other_ids_and_they_are_not_in_the_catalog(home: TestHome) {
        let (journal, offerings) = (Journal::default(), LiveOfferings::new());
        let live = LiveOffering::new(offering("new", "probe").plan(Plan::new("new-plan", "p", "A plan")));
        offerings.offer(live.also_known_as(SERVICE, AUTO, 0)).expect("offered");
        let process = home.start(broker(&journal, &offerings), |config| config).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({})).await.expect("bound");
        let body: Value = serde_json::from_slice(&process.engine.catalog().body).expect("a catalog");
        assert_eq!((&body["services"][0]["id"], body["services"].as_array().map(Vec::len)), (&json!("new"), Some(1)));
        assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
    }

    /// OSB-ERR-07
    async fn what_is_not_ready_for_a_request_is_a_422_and_nothing_is_written(home: TestHome) {
        let (journal, offerings) = (Journal::default(), LiveOfferings::new());
        offerings.offer(probe()).expect("offered");
        let not_ready = |draft: &Draft<'_>| match draft.request {
            DraftRequest::Bind(_) => Err(Refused::unready("Come back later.")),
            _ => Ok(()),
        };
        let process = home.start(broker(&journal, &offerings).validate(not_ready), |config| config).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let refused = platform.bind("a", "b", json!({})).await;
        assert_eq!(refused, Err(BindError::Fault(Fault::Unready("Come back later.".to_owned()))));
        assert_eq!(platform.unbind("a", "b").await, Err(UnbindError::Gone));
    }

    /// Who decides by the context of a request would be led astray by whoever sends another one.
    async fn hooks_see_where_an_instance_is_whatever_the_request_says(home: TestHome) {
        let (journal, offerings) = (Journal::default(), LiveOfferings::new());
        offerings.offer(probe()).expect("offered");
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = seen.clone();
        let hook = move |action: &Action<'_>| {
            let of = |context: Option<&osb_api::context::Context>| {
                context.and_then(|context| context.instance_name().map(str::to_owned)).unwrap_or_default()
            };
            let line = format!("{:?} {} {}", action.verb, of(action.context), of(action.instance_context));
            notes.lock().expect("no test panics here").push(line);
            Ok(())
        };
        let process = home.start(broker(&journal, &offerings).authorize(hook), |config| config).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({})).await.expect("bound");
        platform.unbind("a", "b").await.expect("unbound");
        let elsewhere = json!({"platform": "kubernetes", "instance_name": "elsewhere"});
        let _ = platform.update("a", json!({"context": elsewhere, "parameters": {"size": 2}})).await;
        let seen = seen.lock().expect("no test panics here").clone();
        let name = seen[0].split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(!name.is_empty());
        let expected = [
            format!("Provision {name} "),
            format!("Bind {name} {name}"),
            format!("Unbind  {name}"),
            format!("Update elsewhere {name}"),
        ];
        assert_eq!(seen, expected);
    }
}
