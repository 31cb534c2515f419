//! What the catalog promises is what the broker does.

use reference_broker::{ASYNC_BINDINGS, FAST, OFFERING, SHORT};
use serde_json::{Value, json};

use crate::harness::{Place, Server, poll};

/// The catalog as it is served.
fn catalog(place: &Place) -> Value {
    place.verb(&["catalog", "-o", "json"]).json()
}

/// Status and body of a call.
fn call(server: &Server<'_>, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let (code, answer) = server.call(method, path, body);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (code, serde_json::from_str(body).unwrap_or_default())
}

fn instance(plan: &str, parameters: &Value) -> Value {
    json!({
        "service_id": OFFERING, "plan_id": plan, "organization_guid": "o", "space_guid": "s", "parameters": parameters,
    })
}

/// OSB-SCH-07: the published schema and the broker agree on what may be ordered.
#[test]
fn the_published_schema_says_what_is_taken() {
    let place = Place::new();
    let server = place.start();
    let catalog = catalog(&place);
    let plans = catalog["services"][0]["plans"].as_array().unwrap();
    let plan = plans.iter().find(|plan| plan["id"] == FAST).unwrap();
    let schema = jsonschema::draft4::new(&plan["schemas"]["service_instance"]["create"]["parameters"]).unwrap();
    let orders = [
        json!({}),
        json!({ "seconds": 0, "label": "x" }),
        json!({ "label": "x".repeat(1000) }),
        json!({ "label": "x".repeat(1001) }),
        json!({ "seconds": -1 }),
        json!({ "seconds": 3601 }),
        json!({ "seconds": "1" }),
        json!({ "fail_times": 0 }),
        json!({ "fail_at": "lunch" }),
        json!({ "fail_at": null }),
        json!({ "unknown": 1 }),
    ];
    let mut taken = 0;
    for (number, order) in orders.iter().enumerate() {
        let path = format!("/v2/service_instances/i{number}");
        let (code, answer) = call(&server, "PUT", &path, Some(&instance(FAST, order)));
        let expected = if schema.is_valid(order) { 201 } else { 400 };
        assert_eq!(code, expected, "{order} {answer}");
        taken += usize::from(code == 201);
    }
    assert!(
        taken > 2 && taken < orders.len() - 4,
        "the schema takes all or nothing: {taken}"
    );
}

/// OSB-BIND-22, OSB-BIND-23, OSB-BIND-24: what a binding carries is what its offering requires, no more and no less.
#[test]
fn bindings_carry_what_their_offering_requires() {
    let place = Place::new();
    let _server = place.start();
    let catalog = catalog(&place);
    let mut seen = 0;
    for offering in catalog["services"].as_array().unwrap() {
        let required = offering["requires"].as_array().cloned().unwrap_or_default();
        for plan in offering["plans"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|plan| plan["bindable"] == true)
        {
            let (service, plan) = (offering["id"].as_str().unwrap(), plan["id"].as_str().unwrap());
            let choice = ["--service", service, "--plan", plan];
            place.verb(&[&["provision", plan][..], &choice].concat()).ok();
            let bound = place.verb(&[&["bind", plan, "-o", "json"][..], &choice].concat());
            if bound.stderr.contains("application only") {
                continue;
            }
            let body = bound.json();
            for (member, permission) in [
                ("syslog_drain_url", "syslog_drain"),
                ("route_service_url", "route_forwarding"),
                ("volume_mounts", "volume_mount"),
            ] {
                let is_required = required.iter().any(|name| name == permission);
                assert_eq!(
                    body.get(member).is_some(),
                    is_required,
                    "{service} {plan} {member}: {body}"
                );
                seen += usize::from(is_required);
            }
        }
    }
    assert!(seen >= 3, "each permission occurs in the catalog");
}

/// OSB-LOB-06, OSB-LOB-01, OSB-UNB-04: the end of a bind and of an unbind is told as often as it is asked for.
#[test]
fn the_end_of_a_bind_and_an_unbind_is_not_forgotten() {
    let place = Place::new();
    let server = place.start();
    let (path, binding) = ("/v2/service_instances/i", "/v2/service_instances/i/service_bindings/b");
    assert_eq!(
        call(&server, "PUT", path, Some(&instance(ASYNC_BINDINGS, &json!({})))).0,
        201
    );
    let ids = format!("service_id={OFFERING}&plan_id={ASYNC_BINDINGS}&accepts_incomplete=true");
    let bind = json!({ "service_id": OFFERING, "plan_id": ASYNC_BINDINGS });
    let calls = [
        ("PUT", format!("{binding}?accepts_incomplete=true"), Some(&bind)),
        ("DELETE", format!("{binding}?{ids}"), None),
    ];
    for (method, uri, body) in calls {
        let (code, accepted) = call(&server, method, &uri, body);
        assert_eq!(code, 202, "{method} {accepted}");
        let last = format!(
            "{binding}/last_operation?operation={}",
            accepted["operation"].as_str().unwrap()
        );
        let ask = || call(&server, "GET", &last, None);
        poll("the operation ends", || (ask().1["state"] == "succeeded").then_some(()));
        for _ in 0..3 {
            let (code, told) = ask();
            assert_eq!((code, &told["state"]), (200, &json!("succeeded")), "{method}");
        }
    }
}

/// OSB-POLL-02: what would take longer than platforms poll fails before they stop.
#[test]
fn an_operation_ends_before_platforms_stop_polling() {
    let place = Place::new();
    let server = place.start();
    let path = "/v2/service_instances/i";
    let order = instance(SHORT, &json!({ "seconds": 3600 }));
    let (code, accepted) = call(&server, "PUT", &format!("{path}?accepts_incomplete=true"), Some(&order));
    assert_eq!(code, 202, "{accepted}");
    let last = format!(
        "{path}/last_operation?operation={}",
        accepted["operation"].as_str().unwrap()
    );
    poll("the operation fails", || {
        let (code, told) = call(&server, "GET", &last, None);
        assert_eq!(code, 200);
        assert_ne!(told["state"], "succeeded");
        (told["state"] == "failed").then_some(())
    });
}
