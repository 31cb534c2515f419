use serde_json::{Value, json};

use super::*;

fn parts(answer: &impl Answer) -> (u16, Value) {
    (answer.status(), serde_json::from_slice(&answer.body()).unwrap())
}

fn operation() -> OperationId {
    OperationId::new("op").unwrap()
}

/// OSB-PROV-10, -13, -14, -16, -17, -18; OSB-UPD-10, -11, -20; OSB-DEP-03, -04; OSB-COMPAT-05.
#[test]
fn every_answer_is_an_object_with_the_code_of_its_case() {
    let empty = InstanceBody::default;
    let full = InstanceBody {
        dashboard_url: Some("https://d".to_owned()),
        metadata: None,
    };
    assert_eq!(parts(&Provisioned::Created(empty())), (201, json!({})));
    assert_eq!(
        parts(&Provisioned::Exists(full.clone())),
        (200, json!({ "dashboard_url": "https://d" }))
    );
    assert_eq!(
        parts(&Provisioned::Accepted(operation(), full)),
        (202, json!({ "operation": "op", "dashboard_url": "https://d" }))
    );
    assert_eq!(parts(&Updated::Done(empty())), (200, json!({})));
    assert_eq!(
        parts(&Updated::Accepted(operation(), empty())),
        (202, json!({ "operation": "op" }))
    );
    assert_eq!(parts(&Removed::Done), (200, json!({})));
    assert_eq!(
        parts(&Removed::Accepted(operation())),
        (202, json!({ "operation": "op" }))
    );
    assert_eq!(parts(&InstanceDetails::default()), (200, json!({})));
    assert_eq!(parts(&BindingDetails::default()), (200, json!({})));
}

/// OSB-BIND-09 to -12, -21, -25, -26, -28.
#[test]
fn a_binding_has_the_shape_of_the_specification() {
    let text = json!({
        "metadata": { "expires_at": "2031-05-04T03:02:01.0Z" },
        "credentials": { "uri": "mysql://u:p@h" },
        "syslog_drain_url": "syslog://l",
        "route_service_url": "https://r",
        "volume_mounts": [{ "driver": "d", "container_dir": "/c", "mode": "rw", "device_type": "shared", "device": { "volume_id": "v", "mount_config": {} } }],
        "endpoints": [{ "host": "h", "ports": ["443", "9000-9010"], "protocol": "tcp" }, { "host": "g", "ports": ["1"] }],
    });
    let body: BindingBody = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(parts(&Bound::Created(body.clone())), (201, text.clone()));
    assert_eq!(parts(&Bound::Exists(body.clone())), (200, text));
    assert_eq!(
        parts(&Bound::Accepted(operation())),
        (202, json!({ "operation": "op" }))
    );
    assert!(!format!("{body:?}").contains("mysql"), "credentials are not printed");
}

/// OSB-LOI-04, OSB-LOI-10.
#[test]
fn a_poll_spells_its_state_as_the_specification_does() {
    for (state, text) in [
        (State::InProgress, "in progress"),
        (State::Succeeded, "succeeded"),
        (State::Failed, "failed"),
    ] {
        let body = LastOperation {
            state,
            description: None,
            instance_usable: None,
            update_repeatable: None,
        };
        let polled = Polled {
            body,
            retry_after_secs: Some(7),
        };
        assert_eq!(parts(&polled), (200, json!({ "state": text })));
        assert_eq!(polled.retry_after_secs(), Some(7));
    }
}

/// OSB-LOI-08, OSB-LOI-09, OSB-LOB-03.
#[test]
fn a_poll_has_only_what_its_state_allows() {
    let polled = |state, description: &str| Polled {
        body: LastOperation {
            state,
            description: Some(description.to_owned()),
            instance_usable: Some(false),
            update_repeatable: Some(true),
        },
        retry_after_secs: None,
    };
    for (state, text) in [(State::InProgress, "in progress"), (State::Succeeded, "succeeded")] {
        assert_eq!(parts(&polled(state, "")), (200, json!({ "state": text })));
    }
    let failed = json!({
        "state": "failed", "description": "no", "instance_usable": false, "update_repeatable": true,
    });
    assert_eq!(parts(&polled(State::Failed, "no")), (200, failed));
    assert_eq!(
        parts(&polled(State::Failed, "no").of_binding()),
        (200, json!({ "state": "failed", "description": "no" }))
    );
}

/// OSB-PROV-19, OSB-META-01, OSB-META-02, OSB-UPD-20.
#[test]
fn metadata_are_two_objects() {
    let object = |value: Value| value.as_object().cloned().unwrap();
    let body = InstanceBody {
        dashboard_url: None,
        metadata: Some(InstanceMetadata {
            labels: object(json!({ "team": "a" })),
            attributes: object(json!({ "zone": ["x", 1] })),
        }),
    };
    let told = json!({ "metadata": { "labels": { "team": "a" }, "attributes": { "zone": ["x", 1] } } });
    assert_eq!(parts(&Provisioned::Created(body.clone())), (201, told.clone()));
    assert_eq!(parts(&Updated::Done(body)), (200, told));
}

/// OSB-GETI-03, OSB-GETI-06, OSB-GETI-08, OSB-GETB-03, OSB-GETB-05: what is left out is absent, never null.
#[test]
fn what_is_fetched_has_the_shape_of_the_specification() {
    let whole = json!({
        "service_id": "s", "plan_id": "p", "dashboard_url": "https://d", "parameters": { "size": 1 },
        "maintenance_info": { "version": "1.0.0" }, "metadata": { "labels": { "team": "a" } },
    });
    let details: InstanceDetails = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(parts(&details), (200, whole));
    let hidden = InstanceDetails {
        parameters: None,
        ..details
    };
    assert_eq!(parts(&hidden).1.get("parameters"), None);
    let whole = json!({ "credentials": { "uri": "u" }, "parameters": { "role": "r" } });
    let details: BindingDetails = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(parts(&details), (200, whole));
    let hidden = BindingDetails {
        parameters: None,
        ..details
    };
    assert_eq!(parts(&hidden), (200, json!({ "credentials": { "uri": "u" } })));
}

#[test]
fn null_members_of_foreign_brokers_are_read_as_absent() {
    let body: InstanceBody =
        serde_json::from_value(json!({ "dashboard_url": null, "metadata": { "labels": null } })).unwrap();
    assert_eq!(
        body,
        InstanceBody {
            dashboard_url: None,
            metadata: Some(InstanceMetadata::default())
        }
    );
}
