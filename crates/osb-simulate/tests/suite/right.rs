//! A broker that is right passes with all platforms.

use std::time::Duration;

use osb_simulate::{InProcess, Options, Platform, Report, Simulation, Verdict, VirtualClock};

use crate::broker::{Broker, Pace, failing};

pub(crate) const WORKING: Pace = Pace::Asynchronous(Duration::from_millis(40));

pub(crate) fn options() -> Options {
    Options {
        failing_parameters: Some(failing()),
        ..Options::default()
    }
}

async fn passes(platform: Platform, pace: Pace) -> Report {
    let broker = Broker::new(pace, None);
    let transport = InProcess::new(broker.clone(), "user", "password");
    let simulation = Simulation::new(transport, VirtualClock::paced(Duration::from_millis(5)), options());
    let report = simulation.run(platform).await;
    assert!(report.passed(), "{report}");
    assert_eq!(broker.left(), 0, "{report}");
    report
}

fn skipped(report: &Report) -> Vec<&'static str> {
    let skipped = |scenario: &&osb_simulate::ScenarioReport| matches!(scenario.verdict, Verdict::Skipped(_));
    report
        .scenarios
        .iter()
        .filter(skipped)
        .map(|scenario| scenario.scenario)
        .collect()
}

/// What makes no sense is skipped, and nothing else: a scenario that nobody plays finds nothing.
#[tokio::test]
async fn an_asynchronous_broker_passes_with_all() {
    for platform in Platform::ALL {
        let report = passes(platform, WORKING).await;
        let expected: &[&str] = match platform {
            Platform::CloudFoundry => &["enablement"],
            Platform::Korifi => &[
                "service_key",
                "update",
                "enablement",
                "update_answer_lost",
                "polling_limit",
            ],
            // The small broker has not the two routes of IBM Cloud.
            Platform::ServiceCatalog | Platform::ServiceManager | Platform::Ibm => &["service_key", "enablement"],
        };
        assert_eq!(skipped(&report), expected, "{platform}");
    }
}

#[tokio::test]
async fn a_synchronous_broker_passes_with_all() {
    for platform in Platform::ALL {
        let report = passes(platform, Pace::Synchronous).await;
        for name in [
            "same_millisecond",
            "removal_while_creating",
            "polls_lost",
            "polling_limit",
        ] {
            let verdict = &report.scenario(name).unwrap().verdict;
            assert!(matches!(verdict, Verdict::Skipped(_)), "{platform} {name}: {verdict:?}");
        }
    }
}
