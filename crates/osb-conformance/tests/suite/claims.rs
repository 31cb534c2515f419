//! What the check says of the broker, right and wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use osb_conformance::{Login, Options, REQUIREMENTS, Report, Verdict};
use serde_json::json;

use crate::broker::{Broker, PASSWORD, USER, serve};
use crate::faults::FAULTS;

async fn options(broker: &Arc<Broker>) -> Options {
    let login = Login::Basic {
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let crashing = broker.clone();
    Options {
        failing_parameters: json!({"label": "fail"}).as_object().cloned(),
        bind_parameters: json!({"role": "canary-parameter"}).as_object().cloned(),
        operation_timeout: Duration::from_secs(5),
        restart: Some(Arc::new(move || {
            crashing.crash();
            Box::pin(async { Ok(()) })
        })),
        ..Options::new(serve(broker.clone()).await, login)
    }
}

fn failed(report: &Report) -> BTreeMap<&'static str, String> {
    let failed = report.findings.iter().filter_map(|finding| match &finding.verdict {
        Verdict::Failed(breaches) => Some((finding.requirement.id, format!("{breaches:#?}"))),
        _ => None,
    });
    failed.collect()
}

#[tokio::test]
async fn a_correct_broker_passes_whole_and_nothing_is_left_of_the_check() {
    let broker = Broker::new("");
    let report = osb_conformance::run(&options(&broker).await).await.unwrap();
    assert_eq!(failed(&report), BTreeMap::new());
    let skipped = report
        .findings
        .iter()
        .filter(|finding| matches!(finding.verdict, Verdict::Skipped(_)));
    let skipped: Vec<_> = skipped
        .map(|finding| (finding.requirement.id, &finding.verdict))
        .collect();
    assert_eq!(skipped, [], "the broker offers everything");
    assert_eq!((broker.left(), &report.leftovers), ((0, 0), &Vec::new()));
}

#[test]
fn every_requirement_has_a_fault() {
    let checks: BTreeSet<&str> = REQUIREMENTS.iter().map(|requirement| requirement.id).collect();
    let faults: BTreeSet<&str> = FAULTS.iter().map(|(id, _)| *id).collect();
    assert_eq!(checks, faults);
    assert_eq!(faults.len(), FAULTS.len(), "none stands twice");
}

/// A broker with this fault, checked for the requirement that it breaks.
async fn is_found(id: &'static str) -> Result<(), String> {
    let broker = Broker::new(id);
    let mut options = options(&broker).await;
    options.only.insert(id.to_owned());
    if id == "OSB-GEN-07" {
        options.timeout = Duration::from_millis(500);
    }
    let report = osb_conformance::run(&options)
        .await
        .map_err(|error| format!("{id}: {error}"))?;
    if report
        .findings
        .iter()
        .any(|finding| finding.requirement.id == id && finding.verdict.is_failed())
    {
        return Ok(());
    }
    Err(format!(
        "{id}: {:?}",
        report.findings.first().map(|finding| &finding.verdict)
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_found() {
    let mut missed = Vec::new();
    for some in FAULTS.chunks(4) {
        let played = some.iter().map(|(id, _)| tokio::spawn(is_found(id)));
        for outcome in futures::future::join_all(played).await {
            missed.extend(outcome.unwrap().err());
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
}

/// What is shown of the exchanges has no credentials, parameters or secrets of the catalog in it.
#[tokio::test]
async fn reports_show_no_secret() {
    for fault in ["OSB-BIND-12", "OSB-ROT-06", "OSB-CAT-02", "OSB-LOB-05", "OSB-AUTH-01"] {
        let broker = Broker::new(fault);
        let report = osb_conformance::run(&options(&broker).await).await.unwrap();
        let forms = [report.table(), report.json().to_string(), report.junit()];
        for form in forms {
            assert!(form.contains(fault) && !form.contains("canary"), "{fault}: {form}");
        }
    }
}

#[tokio::test]
async fn a_broken_must_fails_and_a_broken_should_does_not() {
    for (fault, fails) in [("OSB-PROV-09", true), ("OSB-CT-01", false), ("OSB-LOI-10", false)] {
        let broker = Broker::new(fault);
        let mut options = options(&broker).await;
        options.only.insert(fault.to_owned());
        let report = osb_conformance::run(&options).await.unwrap();
        assert_eq!((report.is_failed(), report.findings.len()), (fails, 1), "{fault}");
        assert_eq!(report.json()["failed"], fails);
        assert_eq!(report.junit().contains("<failure"), fails);
        assert_eq!(report.table().contains(" FAILED "), fails);
    }
}

#[tokio::test]
async fn plans_are_chosen_by_name_and_requirements_left_out() {
    let broker = Broker::new("");
    let mut options = options(&broker).await;
    (options.service, options.plan) = (Some("plain".to_owned()), Some("plan-closed".to_owned()));
    options.skip.insert("OSB-PROV-09".to_owned());
    let report = osb_conformance::run(&options).await.unwrap();
    assert_eq!(report.plans, ["plain/closed"]);
    assert_eq!(report.findings.len(), REQUIREMENTS.len() - 1);
    assert!(!report.is_failed(), "{}", report.table());
    let bind = report
        .findings
        .iter()
        .find(|finding| finding.requirement.id == "OSB-BIND-09")
        .unwrap();
    assert_eq!(bind.verdict, Verdict::Skipped("no plan can be bound".to_owned()));
}

#[tokio::test]
async fn options_that_cannot_be_used() {
    let broker = Broker::new("");
    let mut unknown = options(&broker).await;
    unknown.only.insert("OSB-NONE-01".to_owned());
    assert!(matches!(
        osb_conformance::run(&unknown).await,
        Err(osb_conformance::SetupError::Requirement(_))
    ));
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Options::new(format!("http://{closed}"), Login::None);
    assert!(matches!(
        osb_conformance::run(&nobody).await,
        Err(osb_conformance::SetupError::Unreachable(_))
    ));
}
