//! What the broker refuses, as it goes out.

use osb_api::answer::{Provisioned, State};
use osb_api::error::{BindError, DeprovisionError, Fault, PollError, ProvisionError, UnbindError};
use serde_json::json;

use crate::harness::*;

/// OSB-ERR-01, -02, -03, -04, -05, -06, -09, OSB-ASY-08, OSB-PROV-09, -11, -12, -15.
#[tokio::test]
async fn a_refused_provision_has_its_code() {
    type Outcome = fn() -> Result<Provisioned, ProvisionError>;
    let cases: [(Outcome, u16, Option<&str>, &str); 7] = [
        (
            || Err(ProvisionError::Invalid("`parameters.size` is too large".into())),
            400,
            None,
            "`parameters.size` is too large",
        ),
        (
            || Err(ProvisionError::Conflict("the id is in use".into())),
            409,
            None,
            "the id is in use",
        ),
        (
            || Err(ProvisionError::AsyncRequired),
            422,
            Some("AsyncRequired"),
            "This service plan requires client support for asynchronous service operations.",
        ),
        (
            || Err(ProvisionError::Concurrency),
            422,
            Some("ConcurrencyError"),
            "The Service Broker does not support concurrent requests that mutate the same resource.",
        ),
        (
            || Err(ProvisionError::MaintenanceInfoConflict),
            422,
            Some("MaintenanceInfoConflict"),
            "The maintenance_info.version field provided in the request does not match the maintenance_info.version field provided in the Service Broker's Catalog.",
        ),
        (|| Err(Fault::Failed("no disk".into()).into()), 500, None, "no disk"),
        (
            || Err(Fault::Unavailable("no store".into()).into()),
            503,
            None,
            "no store",
        ),
    ];
    for (provision, status, code, description) in cases {
        let front = Front::new(Script {
            provision,
            ..Script::default()
        });
        let answer = front.json("PUT", INSTANCE, PROVISION).await.refused(status);
        assert_eq!(
            (answer.json()["error"].as_str(), answer.description().as_str()),
            (code, description)
        );
        assert_eq!(answer.json().get("instance_usable"), None, "OSB-ERR-04");
        assert_eq!(answer.json().get("update_repeatable"), None, "OSB-ERR-05");
    }
}

/// OSB-DEP-05, OSB-UNB-05, OSB-ORP-05, OSB-BIND-15, -18, OSB-LOI-06, -07, OSB-LOB-02.
#[tokio::test]
async fn the_other_routes_have_their_codes() {
    let script = Script {
        deprovision: || Err(DeprovisionError::Gone),
        unbind: || Err(UnbindError::Gone),
        bind: || Err(BindError::RequiresApp),
        poll: || Err(PollError::NotFound),
        ..Script::default()
    };
    let front = Front::new(script);
    front.plain("DELETE", &format!("{INSTANCE}?{IDS}")).await.refused(410);
    front.plain("DELETE", &format!("{BINDING}?{IDS}")).await.refused(410);
    let answer = front.json("PUT", BINDING, BIND).await.refused(422);
    assert_eq!(
        answer.json(),
        json!({ "error": "RequiresApp", "description": "This service supports generation of credentials through binding an application only." })
    );
    front
        .plain("GET", &format!("{INSTANCE}/last_operation"))
        .await
        .refused(404);
    front
        .plain("GET", &format!("{BINDING}/last_operation"))
        .await
        .refused(404);
    let front = Front::new(Script {
        bind: || Err(BindError::NoInstance),
        poll: || Err(PollError::Gone),
        ..Script::default()
    });
    front.json("PUT", BINDING, BIND).await.refused(404);
    front
        .plain("GET", &format!("{INSTANCE}/last_operation"))
        .await
        .refused(410);
}

/// OSB-UPD-12, OSB-UPD-13, OSB-UPD-18, OSB-GETI-09, OSB-GETB-02: a broker without updates and fetches.
#[tokio::test]
async fn what_a_broker_does_not_have_is_refused_as_the_specification_says() {
    let front = Front::bare();
    front.json("PATCH", INSTANCE, "{}").await.refused(400);
    let answer = front
        .json("PATCH", INSTANCE, r#"{"service_id":"s","plan_id":"q"}"#)
        .await
        .refused(422);
    assert_eq!(answer.json()["update_repeatable"], false);
    front.plain("GET", INSTANCE).await.refused(404);
    front.plain("GET", BINDING).await.refused(404);
}

#[tokio::test]
async fn a_full_broker_says_when_to_come_back() {
    let provision = || Err(Fault::TooMany { retry_after_secs: 7 }.into());
    let front = Front::new(Script {
        provision,
        ..Script::default()
    });
    assert_eq!(
        front
            .json("PUT", INSTANCE, PROVISION)
            .await
            .refused(429)
            .header("retry-after"),
        Some("7")
    );
}

/// Nothing of a panic reaches the client, and the front goes on.
#[tokio::test]
async fn a_panic_becomes_a_500_without_its_text() {
    let script = Script {
        provision: || panic!("hunter2"),
        poll: || panic!("hunter2"),
        ..Script::default()
    };
    let front = Front::new(script);
    for answer in [
        front.json("PUT", INSTANCE, PROVISION).await,
        front.plain("GET", &format!("{INSTANCE}/last_operation")).await,
    ] {
        assert!(!answer.refused(500).description().contains("hunter2"));
    }
    assert_eq!(front.plain("DELETE", &format!("{INSTANCE}?{IDS}")).await.status, 200);
}

/// OSB-BIND-16, -17, OSB-UNB-06, -07, OSB-UNB-10, OSB-DEP-06, -07, OSB-DEP-10: what stands in the way is said the same
/// way on every route.
#[tokio::test]
async fn refusals_of_binds_and_removals_have_their_codes() {
    let asynchronous = Front::new(Script {
        bind: || Err(BindError::AsyncRequired),
        unbind: || Err(UnbindError::AsyncRequired),
        deprovision: || Err(DeprovisionError::AsyncRequired),
        ..Script::default()
    });
    let busy = Front::new(Script {
        bind: || Err(BindError::Concurrency),
        unbind: || Err(UnbindError::Concurrency),
        deprovision: || Err(DeprovisionError::Concurrency),
        ..Script::default()
    });
    let foreign = Front::new(Script {
        bind: || Err(BindError::Invalid("the plan is another one".into())),
        unbind: || Err(UnbindError::Invalid("the plan is another one".into())),
        deprovision: || Err(DeprovisionError::Invalid("the plan is another one".into())),
        ..Script::default()
    });
    let cases = [
        (&asynchronous, 422, Some("AsyncRequired")),
        (&busy, 422, Some("ConcurrencyError")),
        (&foreign, 400, None),
    ];
    for (front, status, code) in cases {
        for answer in [
            front.json("PUT", BINDING, BIND).await,
            front.plain("DELETE", &format!("{BINDING}?{IDS}")).await,
            front.plain("DELETE", &format!("{INSTANCE}?{IDS}")).await,
        ] {
            assert_eq!(answer.refused(status).json()["error"].as_str(), code);
        }
    }
}

/// OSB-LOB-03, OSB-LOB-07: the poll of a binding has a state, a description and `Retry-After`, nothing of updates.
#[tokio::test]
async fn a_poll_of_a_binding_has_no_more_than_it_may() {
    let poll = || {
        let mut polled = polled(State::Failed, Some(4));
        polled.body.description = Some("no disk".into());
        polled.body.instance_usable = Some(true);
        polled.body.update_repeatable = Some(false);
        Ok(polled)
    };
    let front = Front::new(Script {
        poll,
        ..Script::default()
    });
    let answer = front.plain("GET", &format!("{BINDING}/last_operation")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after"), answer.json()),
        (200, Some("4"), json!({ "state": "failed", "description": "no disk" }))
    );
    // Of an instance all of it may be told (OSB-LOI-09).
    let answer = front.plain("GET", &format!("{INSTANCE}/last_operation")).await;
    assert_eq!(
        answer.json(),
        json!({ "state": "failed", "description": "no disk", "instance_usable": true, "update_repeatable": false })
    );
}

/// OSB-LOI-04, OSB-LOI-10.
#[tokio::test]
async fn a_poll_may_say_when_to_come_back() {
    let front = Front::new(Script {
        poll: || Ok(polled(State::InProgress, Some(3))),
        ..Script::default()
    });
    let answer = front.plain("GET", &format!("{INSTANCE}/last_operation")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after"), answer.json()),
        (200, Some("3"), json!({ "state": "in progress" }))
    );
}
