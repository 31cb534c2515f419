//! What is counted, as `/metrics` shows it.

use osb_api::answer::State;
use osb_server::Broker as _;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::author::{ASYNC, Journal};
use crate::homes::Process;
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted, accepted_removal};

fn page(process: &Process) -> String {
    let mut registry = Registry::default();
    process.engine.register_metrics(&mut registry);
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("text");
    page
}

/// The value behind a name with its labels.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

on_each_home! {
    async fn operations_are_counted_by_verb_service_plan_and_outcome(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("canary-a", json!({"secret": "canary"})).await.expect("provisioned");
        platform.provision("canary-a", json!({"secret": "canary"})).await.expect("provisioned");
        platform.bind("canary-a", "canary-b", json!({})).await.expect("bound");
        platform.update("canary-a", json!({"parameters": {"size": 3}})).await.expect("updated");
        let failed = platform.provision("canary-f", json!({"provision": "fail"})).await;
        assert!(failed.is_err());
        platform.deprovision("canary-f").await.expect("cleaned up");
        platform.deprovision("canary-a").await.expect("deprovisioned");
        process.engine.idle().await;
        let page = page(&process);
        let on = |verb: &str, more: &str| format!("{{verb=\"{verb}\",service=\"service\",plan=\"auto\"{more}}}");
        for (name, wanted) in [
            (format!("osb_operations_total{}", on("provision", ",outcome=\"succeeded\"")), 1.0),
            (format!("osb_operations_total{}", on("provision", ",outcome=\"failed\"")), 1.0),
            (format!("osb_operations_total{}", on("update", ",outcome=\"succeeded\"")), 1.0),
            (format!("osb_operations_total{}", on("bind", ",outcome=\"succeeded\"")), 1.0),
            (format!("osb_operations_total{}", on("unbind", ",outcome=\"succeeded\"")), 1.0),
            (format!("osb_operations_total{}", on("deprovision", ",outcome=\"succeeded\"")), 2.0),
            (format!("osb_operation_duration_seconds_count{}", on("provision", "")), 2.0),
            (format!("osb_operation_duration_seconds_count{}", on("deprovision", "")), 2.0),
            (format!("osb_repeats_total{}", on("provision", "")), 1.0),
            (format!("osb_mitigations_total{}", on("deprovision", ",found=\"failed\"")), 1.0),
            ("osb_oldest_operation_seconds".to_owned(), 0.0),
            ("osb_calls_running".to_owned(), 0.0),
        ] {
            let found = value(&page, &name);
            assert_eq!(found, Some(wanted), "{name} in {page}");
        }
        assert!(!page.contains("canary"), "{page}");
    }

    /// The age goes on while an operation waits for its next attempt, and across a restart.
    async fn the_oldest_operation_has_an_age_until_it_ends(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        accepted(platform.provision_if("a", json!({"provision": "block"}), ACCEPTS).await);
        journal.started("provision", "a").await;
        let age = |process: &Process| value(&page(process), "osb_oldest_operation_seconds").expect("an age");
        let first = age(&process);
        assert!(first > 0.0);
        process.engine.stop().await;
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).on_plan(ASYNC);
        crate::author::eventually("it goes on", || journal.keys("provision", "a").len() == 2).await;
        assert!(age(&process) > first, "since its acceptance, not since the start");
        // A removal takes its place: the platform does not wait any longer.
        let removal = accepted_removal(platform.deprovision_if("a", ACCEPTS).await);
        assert_eq!(platform.wait("a", Some(&removal)).await, Ok(State::Succeeded));
        process.engine.idle().await;
        let page = page(&process);
        assert_eq!(age(&process), 0.0, "{page}");
        let mitigated = "osb_mitigations_total{verb=\"deprovision\",service=\"service\",plan=\"async\",found=\"running\"}";
        assert_eq!(value(&page, mitigated), Some(1.0), "{page}");
        let superseded = "osb_operations_total{verb=\"provision\",service=\"service\",plan=\"async\",outcome=\"superseded\"}";
        assert_eq!(value(&page, superseded), Some(1.0), "{page}");
    }
}
