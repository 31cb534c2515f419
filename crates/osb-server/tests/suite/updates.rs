//! Updates and fetches, through the front.

use osb_api::answer::{BindingBody, BindingDetails, InstanceBody, InstanceDetails, Updated};
use osb_api::error::{Fault, FetchError, UpdateError};
use osb_api::request::Incomplete;
use serde_json::{Value, json};

use crate::harness::*;

const UPDATE: &str = r#"{"service_id":"s","plan_id":"q"}"#;

/// OSB-UPD-10, -11, -20, Amb-14.
#[tokio::test]
async fn an_update_is_answered_with_its_code_and_object() {
    let front = Front::new(Script::default());
    let done = front
        .json("PATCH", &format!("{INSTANCE}?accepts_incomplete=true"), UPDATE)
        .await;
    assert_eq!((done.status.as_u16(), done.json()), (200, json!({})));
    assert!(
        matches!(front.seen().pop(), Some(Seen::Update(_, request, Incomplete::Accepted)) if request.plan_id.is_some())
    );
    let update = || {
        let body = InstanceBody {
            dashboard_url: Some("https://d/2".into()),
            metadata: None,
        };
        Ok(Updated::Accepted(operation("up"), body))
    };
    let front = Front::new(Script {
        update,
        ..Script::default()
    });
    let accepted = front.json("PATCH", INSTANCE, UPDATE).await;
    assert_eq!(
        (accepted.status.as_u16(), accepted.json()),
        (202, json!({ "operation": "up", "dashboard_url": "https://d/2" }))
    );
}

/// OSB-UPD-13, -14, -15, -16, -17, -21, OSB-ERR-04, OSB-ERR-05, OSB-ERR-06.
#[tokio::test]
async fn a_refused_update_has_its_code() {
    type Outcome = fn() -> Result<Updated, UpdateError>;
    let cases: [(Outcome, u16, Value); 8] = [
        (|| Err(UpdateError::Invalid("no such plan".into())), 400, json!({})),
        (|| Err(UpdateError::NoInstance), 404, json!({})),
        (
            || {
                Err(UpdateError::NotSupported {
                    description: "it cannot shrink".into(),
                    update_repeatable: Some(false),
                })
            },
            422,
            json!({ "description": "it cannot shrink", "update_repeatable": false }),
        ),
        (
            || Err(UpdateError::AsyncRequired),
            422,
            json!({ "error": "AsyncRequired" }),
        ),
        (
            || Err(UpdateError::Concurrency),
            422,
            json!({ "error": "ConcurrencyError" }),
        ),
        (
            || Err(UpdateError::MaintenanceInfoConflict),
            422,
            json!({ "error": "MaintenanceInfoConflict" }),
        ),
        (
            || {
                Err(UpdateError::Failed {
                    description: "no disk".into(),
                    instance_usable: Some(false),
                    update_repeatable: Some(true),
                })
            },
            500,
            json!({ "description": "no disk", "instance_usable": false, "update_repeatable": true }),
        ),
        (|| Err(Fault::Unavailable("no store".into()).into()), 503, json!({})),
    ];
    for (update, status, expected) in cases {
        let front = Front::new(Script {
            update,
            ..Script::default()
        });
        let told = front.json("PATCH", INSTANCE, UPDATE).await.refused(status).json();
        for name in ["error", "instance_usable", "update_repeatable"] {
            assert_eq!(told.get(name), expected.get(name), "{name} {told}");
        }
        if let Some(description) = expected.get("description") {
            assert_eq!(told["description"], *description);
        }
    }
}

/// OSB-GETI-02, OSB-GETI-03, OSB-GETI-05, OSB-GETB-03, OSB-GETB-05: with the hints, without them, and what is refused.
#[tokio::test]
async fn what_is_fetched_goes_out_whole() {
    let front = Front::new(Script {
        fetch_instance: || {
            Ok(InstanceDetails {
                dashboard_url: Some("https://d".into()),
                ..InstanceDetails::default()
            })
        },
        fetch_binding: || {
            Ok(BindingDetails {
                body: BindingBody {
                    credentials: json!({ "uri": "u" }).as_object().cloned(),
                    ..BindingBody::default()
                },
                parameters: json!({ "role": "r" }).as_object().cloned(),
            })
        },
        ..Script::default()
    });
    for query in ["", "?service_id=s&plan_id=p", "?plan_id=p"] {
        let instance = front.plain("GET", &format!("{INSTANCE}{query}")).await;
        assert_eq!(
            (instance.status.as_u16(), instance.json()),
            (200, json!({ "dashboard_url": "https://d" }))
        );
        let binding = front.plain("GET", &format!("{BINDING}{query}")).await;
        let whole = json!({ "credentials": { "uri": "u" }, "parameters": { "role": "r" } });
        assert_eq!((binding.status.as_u16(), binding.json()), (200, whole));
    }
    let Some(Seen::FetchBinding(_, _, query)) = front.seen().pop() else {
        panic!("no fetch")
    };
    assert_eq!((query.service_id, query.plan_id.unwrap().as_str()), (None, "p"));
    let busy = Front::new(Script {
        fetch_instance: || Err(FetchError::Concurrency),
        ..Script::default()
    });
    assert_eq!(
        busy.plain("GET", INSTANCE).await.refused(422).json()["error"],
        "ConcurrencyError"
    );
}
