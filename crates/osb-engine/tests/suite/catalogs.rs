//! What becomes of instances when the next version of a broker has another catalog.

use osb_api::answer::{Removed, State};
use osb_api::catalog::{Offering, Plan};
use osb_api::error::ProvisionError;
use osb_engine::Broker;
use serde_json::json;

use crate::author::{AUTO, Journal, NARROW, SERVICE, offering, service};
use crate::homes::TestHome;
use crate::on_each_home;
use crate::platform::Platform;

fn with(offering: Offering, plans: &[&str]) -> Offering {
    plans
        .iter()
        .fold(offering, |offering, id| offering.plan(Plan::new(*id, *id, "A plan")))
}

/// A broker with one offering.
fn broker(journal: &Journal, offering: Offering) -> Broker {
    Broker::new("probe").updatable(offering, service(journal))
}

async fn record_version(home: &TestHome) -> String {
    let records = home.all("catalogrecords", &home.system()).await;
    assert_eq!(records.len(), 1);
    records[0]["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What there is of the instance `a` with its binding `b` is served, and nothing new is made.
async fn is_served(platform: &Platform) {
    let refused = platform.provision("new", json!({})).await;
    assert!(matches!(refused, Err(ProvisionError::Invalid(_))), "{refused:?}");
    assert_eq!(
        platform.poll("a", None).await.expect("an answer").body.state,
        State::Succeeded
    );
    assert!(platform.fetch("a").await.is_ok());
    assert!(platform.fetch_binding("a", "b").await.is_ok());
}

async fn can_be_removed(platform: &Platform, journal: &Journal) {
    assert_eq!(platform.unbind("a", "b").await, Ok(Removed::Done));
    assert_eq!(platform.deprovision("a").await, Ok(Removed::Done));
    assert!(journal.names().is_empty());
}

/// A process of the first version, in which `a` and `b` are made.
async fn first(home: &TestHome, journal: &Journal) {
    let first = home
        .start(
            broker(journal, with(offering(SERVICE, "probe"), &[AUTO, NARROW])),
            |config| config,
        )
        .await;
    assert!(first.engine.catalog_change().is_none());
    let platform = Platform::new(&first.engine).on_plan(NARROW);
    platform.provision("a", json!({})).await.expect("provisioned");
    platform.bind("a", "b", json!({})).await.expect("bound");
    first.engine.stop().await;
}

on_each_home! {
    /// OSB-CAT-02
    async fn a_plan_that_the_next_version_leaves_out_is_served_on(home: TestHome) {
        let journal = Journal::default();
        first(&home, &journal).await;
        // Twice: the second start knows it from the first.
        for start in 1..=2 {
            let next = home.start(broker(&journal, with(offering(SERVICE, "probe"), &[AUTO])), |config| config).await;
            assert_eq!(next.engine.catalog_change().is_some(), start == 1);
            assert!(next.engine.catalog_change().is_none(), "it is told once");
            is_served(&Platform::new(&next.engine).on_plan(NARROW)).await;
            next.engine.stop().await;
        }
        let last = home.start(broker(&journal, with(offering(SERVICE, "probe"), &[AUTO])), |config| config).await;
        can_be_removed(&Platform::new(&last.engine).on_plan(NARROW), &journal).await;
    }

    async fn a_plan_that_comes_back_is_offered_again(home: TestHome) {
        let journal = Journal::default();
        first(&home, &journal).await;
        for plans in [&[AUTO][..], &[AUTO, NARROW]] {
            let next = home.start(broker(&journal, with(offering(SERVICE, "probe"), plans)), |config| config).await;
            next.engine.stop().await;
        }
        let last = home.start(broker(&journal, with(offering(SERVICE, "probe"), &[AUTO, NARROW])), |config| config).await;
        let platform = Platform::new(&last.engine).on_plan(NARROW);
        assert!(platform.provision("new", json!({})).await.is_ok());
    }

    async fn an_offering_that_got_another_id_serves_what_there_is_under_the_old_one(home: TestHome) {
        let journal = Journal::default();
        first(&home, &journal).await;
        let next = home.start(broker(&journal, with(offering("other", "probe"), &["p"])), |config| config).await;
        let platform = Platform::new(&next.engine).on_plan(NARROW);
        is_served(&platform).await;
        can_be_removed(&platform, &journal).await;
    }

    async fn an_offering_that_was_withdrawn_keeps_its_service(home: TestHome) {
        let journal = Journal::default();
        first(&home, &journal).await;
        let next = broker(&journal, with(offering("other", "another"), &["p"])).withdrawn(SERVICE, service(&journal));
        let next = home.start(next, |config| config).await;
        let change = next.engine.catalog_change().expect("a change");
        assert_eq!((&*change.previous.services[0].id, &*change.current.services[0].id), (SERVICE, "other"));
        let platform = Platform::new(&next.engine).on_plan(NARROW);
        is_served(&platform).await;
        can_be_removed(&platform, &journal).await;
    }

    /// Without its service an instance can only be told of; the broker starts all the same, and so does a later one
    /// that has it again.
    async fn an_offering_without_its_service_is_polled_and_waits(home: TestHome) {
        let journal = Journal::default();
        first(&home, &journal).await;
        let next = home.start(broker(&journal, with(offering("other", "another"), &["p"])), |config| config).await;
        let platform = Platform::new(&next.engine).on_plan(NARROW);
        assert_eq!(platform.poll("a", None).await.expect("an answer").body.state, State::Succeeded);
        next.engine.stop().await;
        let last = home.start(broker(&journal, with(offering(SERVICE, "probe"), &[AUTO])), |config| config).await;
        can_be_removed(&Platform::new(&last.engine).on_plan(NARROW), &journal).await;
    }

    /// One object, sealed, and written only when there is something new.
    async fn the_catalog_is_remembered_once_and_says_nothing(home: TestHome) {
        let journal = Journal::default();
        first(&home, &journal).await;
        let version = record_version(&home).await;
        let record = format!("{:?}", home.all("catalogrecords", &home.system()).await);
        assert!(!record.contains("narrow") && !record.contains("A plan"), "{record}");
        let same = home.start(broker(&journal, with(offering(SERVICE, "probe"), &[AUTO, NARROW])), |config| config).await;
        assert!(same.engine.catalog_change().is_none());
        same.engine.stop().await;
        assert_eq!(record_version(&home).await, version);
        let other = home.start(broker(&journal, with(offering(SERVICE, "probe"), &[AUTO])), |config| config).await;
        other.engine.stop().await;
        assert_ne!(record_version(&home).await, version);
    }
}
