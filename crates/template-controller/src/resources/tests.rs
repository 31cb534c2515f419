use super::*;
use crate::names::condition::{INSTANTIATE_FAILURE, READY};

fn instance(conditions: &str) -> TemplateInstance {
    let text = format!(
        r#"{{"apiVersion":"template.openshift.io/v1","kind":"TemplateInstance",
        "metadata":{{"name":"a","generation":2}},"spec":{{"template":{{"objects":[{{"n":1.0}}]}}}},
        "status":{{"conditions":[{conditions}]}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn condition(type_: &str, status: &str, generation: Option<i64>) -> String {
    let mut condition = serde_json::json!({"type": type_, "status": status, "reason": "r", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    if let Some(generation) = generation {
        condition["observedGeneration"] = generation.into();
    }
    condition.to_string()
}

#[test]
fn what_is_said_of_an_older_generation_does_not_count() {
    let outcome = |type_: &str, status: &str, generation| instance(&condition(type_, status, generation)).outcome();
    assert_eq!(outcome(READY, "True", Some(2)), Outcome::Ready);
    assert_eq!(outcome(READY, "True", None), Outcome::Ready);
    assert_eq!(outcome(READY, "True", Some(1)), Outcome::InProgress);
    assert_eq!(outcome(READY, "False", Some(2)), Outcome::InProgress);
    assert_eq!(outcome(INSTANTIATE_FAILURE, "True", Some(1)), Outcome::InProgress);
    assert_eq!(
        outcome(INSTANTIATE_FAILURE, "True", Some(2)),
        Outcome::Failed("m".to_owned())
    );
}

#[test]
fn a_template_goes_through_without_a_change() {
    let text = serde_json::to_string(&instance("")).unwrap();
    assert!(text.contains(r#""template":{"objects":[{"n":1.0}]}"#), "{text}");
    assert!(
        text.starts_with(r#"{"apiVersion":"template.openshift.io/v1","kind":"TemplateInstance""#),
        "{text}"
    );
}

#[test]
fn the_copy_of_a_template_has_its_objects_as_they_are_written() {
    let stored: Template = serde_json::from_str(
        r#"{"kind":"Template","metadata":{"name":"t","managedFields":[]},
        "parameters":[{"name":"A","value":3}],"objects":[{"b":1.50,"a":9007199254740993}, null]}"#,
    )
    .unwrap();
    let body = stored.body().unwrap();
    assert!(
        body.as_str().contains(r#"[{"b":1.50,"a":9007199254740993},null]"#),
        "{}",
        body.as_str()
    );
    assert!(!body.as_str().contains("managedFields"));
    let read = body.read().unwrap();
    assert_eq!((read.name(), &*read.parameters[0].value), ("t", "3"));
    assert!(!format!("{body:?}").contains("9007"));
}

#[test]
fn what_is_no_template_is_told() {
    let body = Body::from_text(r#"{"objects": 3}"#.to_owned()).unwrap();
    assert!(body.read().unwrap_err().to_string().contains("objects"));
    assert!(Body::from_text("{".to_owned()).is_err());
}
