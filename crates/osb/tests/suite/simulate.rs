//! `osb simulate`: the platforms against a broker that really runs.

use serde_json::Value;

use crate::harness::{Place, Verb, osb};

/// The default plan is synchronous, the other one is not.
const PLANS: [&str; 4] = ["--plan", "fast", "--plan", "async"];
const FAILING: [&str; 2] = ["--failing-parameters", r#"{"fail_at":"provision"}"#];

fn simulate(place: &Place, args: &[&str]) -> Verb {
    place.verb(&[&["simulate"], args].concat())
}

fn scenarios(report: &Value) -> &Vec<Value> {
    report["scenarios"].as_array().unwrap()
}

/// All five, the reference broker being right: nothing fails, and what is played is most of what there is.
#[test]
fn the_reference_broker_passes_with_all_platforms() {
    let place = Place::new();
    let server = place.start_with(&["--organization-optional"], &[]);
    let verb = simulate(&place, &[&PLANS[..], &FAILING, &["--format", "json"]].concat());
    assert_eq!(verb.code, Some(0), "{verb:?}");
    let reports = verb.json();
    let names: Vec<&str> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|report| report["platform"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cf", "korifi", "servicecatalog", "sm", "ibm"]);
    for report in reports.as_array().unwrap() {
        assert_eq!(report["passed"], true);
        let passed = scenarios(report)
            .iter()
            .filter(|scenario| scenario["verdict"] == "passed")
            .count();
        assert!(passed >= 30, "{report}");
    }
    // Nothing is left behind.
    assert_eq!(place.verb(&["instances"]).ok().lines().count(), 1);
    assert_eq!(server.stop(), Some(0));
}

/// The specification demands an organization, and IBM Cloud sends none: without the flag that is found and told.
#[test]
fn what_fails_is_told_as_a_story_without_secrets() {
    let place = Place::new();
    let server = place.start();
    let verb = simulate(&place, &["--platform", "ibm", "--only", "life"]);
    assert_eq!(verb.code, Some(1), "{verb:?}");
    assert_eq!(verb.stderr, "error: 1 of 2 scenarios failed\n");
    let lines: Vec<&str> = verb.stdout.lines().collect();
    assert!(
        lines[0].starts_with("ibm ") && lines[0].contains("catalog") && lines[0].contains("passed"),
        "{verb:?}"
    );
    assert!(
        lines[1].contains("life") && lines[1].contains("`organization_guid` is required"),
        "{verb:?}"
    );
    assert!(verb.stdout.contains("   1   0:00:"), "{verb:?}");
    assert!(
        verb.stdout.contains("PUT /v2/service_instances/crn%3Av1%3A"),
        "{verb:?}"
    );
    assert!(!verb.stdout.contains(&server.password), "{verb:?}");
}

#[test]
fn a_broker_is_named_by_its_url() {
    let place = Place::new();
    let server = place.start();
    let url = format!("http://{}", server.address());
    let verb = simulate(&place, &["--platform", "cf", "--only", "life", &url]);
    assert!(verb.ok().contains("life"), "{verb:?}");
    // The login of this broker is not for another one.
    let elsewhere = simulate(&place, &["--platform", "cf", "http://127.0.0.1:1"]);
    assert!(elsewhere.fails(2).contains("no login"), "{elsewhere:?}");
    let unreachable = osb()
        .args(["simulate", "--platform", "cf", "http://127.0.0.1:1"])
        .envs([("OSB_USERNAME", "u"), ("OSB_PASSWORD", "hunter2")])
        .output()
        .unwrap();
    let unreachable = Verb::of(&["simulate"], &unreachable);
    assert_eq!(unreachable.code, Some(1));
    assert!(
        unreachable
            .stdout
            .contains("the catalog cannot be fetched: no connection"),
        "{unreachable:?}"
    );
    assert!(!unreachable.stdout.contains("hunter2"));
}

#[test]
fn a_wrong_command_line_is_refused() {
    let place = Place::new();
    let _server = place.start();
    assert!(
        simulate(&place, &["--only", "nonsense"])
            .fails(2)
            .contains("there are catalog, life")
    );
    let plan = simulate(&place, &["--platform", "sm", "--plan", "nonsense"]);
    assert_eq!(plan.code, Some(1));
    assert!(plan.stdout.contains("the catalog has no plan nonsense"), "{plan:?}");
}
