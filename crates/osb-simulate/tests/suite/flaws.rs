//! Each flaw of a broker is found by the platforms that suffer from it, in the scenario that is about it.

use std::time::Duration;

use osb_simulate::{InProcess, Options, Platform, RealClock, Report, Simulation, Verdict, VirtualClock};

use crate::broker::{Broker, Flaw, Pace};
use crate::right::{WORKING, options};

async fn report(platform: Platform, pace: Pace, flaw: Flaw, scenario: &str) -> Report {
    let transport = InProcess::new(Broker::new(pace, Some(flaw)), "user", "password");
    let options = Options {
        scenarios: vec![scenario.to_owned()],
        settle: Duration::from_millis(300),
        limit: Duration::from_secs(20),
        ..options()
    };
    let simulation = Simulation::new(transport, VirtualClock::paced(Duration::from_millis(5)), options);
    simulation.run(platform).await
}

/// The scenario fails for this reason, and the report tells its story.
#[track_caller]
fn fails(report: &Report, scenario: &str, reason: &str) {
    let verdict = &report.scenario(scenario).unwrap().verdict;
    let Verdict::Failed(found) = verdict else {
        panic!(
            "{} {scenario}: {verdict:?} instead of {reason}\n{report}",
            report.platform
        );
    };
    assert!(
        found.contains(reason),
        "{} {scenario}: {found} instead of {reason}\n{report}",
        report.platform
    );
    let text = report.to_string();
    assert!(text.contains("FAILED: ") && text.contains("   1   0:00:"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("Basic "), "{text}");
}

async fn found(flaw: Flaw, platforms: &[Platform], scenario: &str, reason: &str) {
    found_at(WORKING, flaw, platforms, scenario, reason).await;
}

async fn found_at(pace: Pace, flaw: Flaw, platforms: &[Platform], scenario: &str, reason: &str) {
    for platform in platforms {
        fails(&report(*platform, pace, flaw, scenario).await, scenario, reason);
    }
}

/// The platform does not suffer from it.
async fn unharmed(flaw: Flaw, platforms: &[Platform], scenario: &str) {
    for platform in platforms {
        let report = report(*platform, WORKING, flaw, scenario).await;
        assert!(report.passed(), "{report}");
    }
}

use Platform::{CloudFoundry as Cf, Ibm, Korifi, ServiceCatalog as K8s, ServiceManager as Sm};

/// OSB-PROV-13, OSB-PROV-14.
#[tokio::test]
async fn a_conflict_for_an_identical_repeat() {
    found(Flaw::RepeatConflicts, &Platform::ALL, "repeated_provision", "409").await;
    found_at(
        Pace::Synchronous,
        Flaw::RepeatConflicts,
        &Platform::ALL,
        "repeated_bind",
        "409",
    )
    .await;
    found(Flaw::RepeatConflicts, &[Korifi], "life", "409").await;
    // These send a provision whose connection broke once more.
    found(
        Flaw::RepeatConflicts,
        &[Korifi, K8s],
        "provision_connection_broken",
        "409",
    )
    .await;
    unharmed(Flaw::RepeatConflicts, &[Cf, Sm, Ibm], "life").await;
}

/// OSB-PROV-14: never 201 for what was there.
#[tokio::test]
async fn a_second_201() {
    found_at(
        Pace::Synchronous,
        Flaw::RepeatCreates,
        &Platform::ALL,
        "repeated_provision",
        "201",
    )
    .await;
    found(Flaw::RepeatCreates, &Platform::ALL, "repeated_provision", "201").await;
}

/// OSB-PROV-13: the same operation each time.
#[tokio::test]
async fn another_operation_for_a_repeat() {
    found(
        Flaw::RepeatHasItsOwnOperation,
        &Platform::ALL,
        "repeated_provision",
        "two different operations",
    )
    .await;
}

/// OSB-BIND-12.
#[tokio::test]
async fn other_credentials_for_a_repeat() {
    found(
        Flaw::RepeatChangesCredentials,
        &Platform::ALL,
        "repeated_bind",
        "the same credentials",
    )
    .await;
}

#[tokio::test]
async fn parameters_that_are_null() {
    found(
        Flaw::NullParameters,
        &[Korifi],
        "life",
        "still trying after 4 requests; last: 500",
    )
    .await;
    unharmed(Flaw::NullParameters, &[Cf, K8s, Sm, Ibm], "life").await;
}

/// OSB-ORP-01.
#[tokio::test]
async fn an_orphan_after_a_lost_answer() {
    for scenario in ["provision_answer_lost", "provision_bad_gateway"] {
        for pace in [Pace::Synchronous, WORKING] {
            found_at(pace, Flaw::RemovalDoesNothing, &[Cf, Sm, Ibm], scenario, "an orphan").await;
        }
    }
    found(Flaw::RemovalDoesNothing, &[Cf], "outage", "an orphan").await;
    found(Flaw::RemovalDoesNothing, &[Korifi, K8s], "life", "").await;
    found(Flaw::RemovalDoesNothing, &[Cf], "bind_answer_lost", "an orphan").await;
}

#[tokio::test]
async fn one_instance_at_a_time() {
    found(
        Flaw::OneAtATime,
        &Platform::ALL,
        "many_at_once",
        "busy with another instance",
    )
    .await;
    unharmed(Flaw::OneAtATime, &[Cf, Sm], "life").await;
}

/// A DELETE that comes hours after the provision has ended, and says that there is nothing.
#[tokio::test]
async fn an_orphan_that_was_finished_long_before() {
    found(
        Flaw::GoneWhenDone,
        &[Cf, Sm, Ibm],
        "outage",
        "it is gone, but fetching it",
    )
    .await;
    unharmed(Flaw::GoneWhenDone, &[Cf], "provision_answer_lost").await;
}

/// Cloud Foundry never asks what became of its mitigation: the broker has to finish it alone.
#[tokio::test]
async fn a_removal_that_needs_polls() {
    found(Flaw::RemovalNeedsPolls, &[Cf], "provision_answer_lost", "an orphan").await;
    unharmed(Flaw::RemovalNeedsPolls, &[K8s, Sm, Ibm], "provision_answer_lost").await;
}

/// OSB-DEP-05: Cloud Foundry takes a 404 for a failure, for ever.
#[tokio::test]
async fn a_404_for_what_is_gone() {
    found(Flaw::GoneIsNotFound, &Platform::ALL, "repeated_removal", "404").await;
    found(Flaw::GoneIsNotFound, &[Cf, K8s, Sm, Ibm], "provision_swallowed", "").await;
}

/// OSB-DEP-03: `{}`.
#[tokio::test]
async fn a_removal_without_a_body() {
    found_at(
        Pace::Synchronous,
        Flaw::RemovalHasNoBody,
        &[Cf, Ibm],
        "life",
        "no JSON object",
    )
    .await;
    found_at(
        Pace::Synchronous,
        Flaw::RemovalHasNoBody,
        &[Sm],
        "repeated_removal",
        "JSON object",
    )
    .await;
}

/// OSB-DEP-08.
#[tokio::test]
async fn a_removal_of_what_is_being_made() {
    found(Flaw::RemovalWhileCreating, &[Cf, Ibm], "removal_while_creating", "500").await;
}

/// Service Catalog takes the same id again after its mitigation.
#[tokio::test]
async fn an_id_that_cannot_come_back() {
    found_at(
        Pace::Synchronous,
        Flaw::IdsAreUsedUp,
        &[K8s],
        "provision_bad_gateway",
        "409",
    )
    .await;
    unharmed(Flaw::IdsAreUsedUp, &[Cf, Sm], "provision_bad_gateway").await;
}

/// OSB-LOI-06, OSB-LOI-11.
#[tokio::test]
async fn polls_that_do_not_agree() {
    found(
        Flaw::PollsDisagree,
        &Platform::ALL,
        "same_millisecond",
        "right after the 202",
    )
    .await;
    found(
        Flaw::PollsGoBack,
        &Platform::ALL,
        "same_millisecond",
        "after another one has said",
    )
    .await;
}

/// OSB-OID-01: neither Korifi nor Cloud Foundry's mitigation sends one.
#[tokio::test]
async fn a_broker_that_needs_an_identity() {
    found(Flaw::NeedsIdentity, &[Korifi], "life", "an identity is needed").await;
    found(
        Flaw::NeedsIdentity,
        &[Cf],
        "provision_answer_lost",
        "mitigation did not succeed",
    )
    .await;
    found(
        Flaw::NeedsIdentity,
        &[Sm],
        "provision_answer_lost",
        "mitigation did not succeed",
    )
    .await;
}

/// OSB-CT-02.
#[tokio::test]
async fn a_broker_that_needs_a_content_type() {
    found(Flaw::NeedsContentType, &[Korifi], "life", "a content type is needed").await;
    unharmed(Flaw::NeedsContentType, &[Cf, K8s, Sm, Ibm], "life").await;
}

#[tokio::test]
async fn a_broker_that_knows_only_cloud_foundry() {
    found(
        Flaw::NeedsOrganization,
        &[Ibm],
        "life",
        "`organization_guid` is missing",
    )
    .await;
    found(Flaw::NeedsGuids, &[Ibm], "life", "has to be a GUID").await;
    unharmed(Flaw::NeedsOrganization, &[Cf, Korifi, K8s, Sm], "life").await;
    unharmed(Flaw::NeedsGuids, &[Cf, Korifi, K8s, Sm], "life").await;
}

/// OSB-PROV-20.
#[tokio::test]
async fn something_made_in_spite_of_a_refusal() {
    found_at(
        Pace::Synchronous,
        Flaw::RefusalCreates,
        &[K8s],
        "refused_provision",
        "an orphan",
    )
    .await;
}

#[tokio::test]
async fn credentials_that_cannot_be_keys_of_a_secret() {
    found_at(Pace::Synchronous, Flaw::OddCredentials, &[K8s], "life", "`user name`").await;
    unharmed(Flaw::OddCredentials, &[Cf, Korifi, Sm, Ibm], "life").await;
}

/// OSB-CAT-02.
#[tokio::test]
async fn a_catalog_that_changes() {
    found(Flaw::RandomIds, &Platform::ALL, "catalog", "are others").await;
}

#[tokio::test]
async fn a_catalog_that_stops_korifi() {
    found(Flaw::OddMetadata, &[Korifi], "catalog", "documentationUrl").await;
    unharmed(Flaw::OddMetadata, &[Cf, K8s, Sm, Ibm], "catalog").await;
}

/// OSB-UPD-10, OSB-UPD-11.
#[tokio::test]
async fn an_update_that_cannot_be_repeated() {
    found_at(
        Pace::Synchronous,
        Flaw::UpdateOnlyOnce,
        &[Cf, K8s, Sm],
        "update_answer_lost",
        "409",
    )
    .await;
    unharmed(Flaw::UpdateOnlyOnce, &[Cf], "update").await;
}

/// OSB-PROV-21.
#[tokio::test]
async fn a_failed_instance_that_stays() {
    found(Flaw::FailedStays, &Platform::ALL, "failing_provision", "").await;
}

/// OSB-PROV-18.
#[tokio::test]
async fn an_operation_that_is_too_long() {
    found(
        Flaw::LongOperation,
        &Platform::ALL,
        "life",
        "more than 10000 characters",
    )
    .await;
}

/// Service Manager waits ten seconds, the others a minute and more. The time of the whole test is tokio's own.
#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_twelve_seconds() {
    for platform in Platform::ALL {
        let transport = InProcess::new(Broker::new(Pace::Synchronous, Some(Flaw::Slow)), "user", "password");
        let options = Options {
            scenarios: vec!["life".to_owned()],
            limit: Duration::from_secs(3600),
            ..options()
        };
        let report = Simulation::new(transport, RealClock::new(), options)
            .run(platform)
            .await;
        match platform {
            Sm => fails(&report, "life", "no answer in time"),
            _ => assert!(report.passed(), "{report}"),
        }
    }
}
