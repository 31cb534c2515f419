//! Calls on the broker: answers, tasks, limits.

use std::sync::Arc;

use osb_api::answer::{InstanceBody, Provisioned, Removed};
use serde_json::json;

use crate::harness::*;

/// OSB-PROV-10, -13, -17, OSB-BIND-10, -11, OSB-DEP-03, -04, OSB-UNB-03, -04, OSB-CT-01.
#[tokio::test]
async fn successes_go_out_with_their_codes_and_objects() {
    let front = Front::new(Script {
        unbind: || Ok(Removed::Accepted(operation("rm"))),
        ..Script::default()
    });
    let created = front.json("PUT", INSTANCE, PROVISION).await;
    assert_eq!(
        (created.status.as_u16(), created.json(), created.header("content-type")),
        (201, json!({}), Some("application/json"))
    );
    let bound = front.json("PUT", BINDING, BIND).await;
    assert_eq!(
        (bound.status.as_u16(), bound.json()),
        (202, json!({ "operation": "op" }))
    );
    let removed = front.plain("DELETE", &format!("{INSTANCE}?{IDS}")).await;
    assert_eq!((removed.status.as_u16(), removed.json()), (200, json!({})));
    let unbound = front.plain("DELETE", &format!("{BINDING}?{IDS}")).await;
    assert_eq!(
        (unbound.status.as_u16(), unbound.json()),
        (202, json!({ "operation": "rm" }))
    );
    let provision = || {
        Ok(Provisioned::Accepted(
            operation("mk"),
            InstanceBody {
                dashboard_url: Some("https://d/i".into()),
                metadata: None,
            },
        ))
    };
    let accepted = Front::new(Script {
        provision,
        ..Script::default()
    })
    .json("PUT", INSTANCE, PROVISION)
    .await;
    assert_eq!(
        (accepted.status.as_u16(), accepted.json()),
        (202, json!({ "operation": "mk", "dashboard_url": "https://d/i" }))
    );
}

/// A client that hangs up only stops waiting: the call is driven to its end.
#[tokio::test]
async fn a_call_outlives_its_client() {
    let front = Arc::new(Front::new(Script::default()));
    let closed = front.broker.gate.acquire().await.unwrap();
    let client = tokio::spawn({
        let front = front.clone();
        async move { front.json("PUT", INSTANCE, PROVISION).await }
    });
    while front.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    drop(closed);
    front.broker.finished.acquire().await.unwrap().forget();
}

/// Over the limit of calls that change something: 429, before the broker is called.
#[tokio::test]
async fn too_many_calls_are_refused_and_the_rest_goes_on() {
    let front = Arc::new(Front::with(
        Script::default(),
        &osb_server::Config {
            max_mutations: 1,
            ..config()
        },
    ));
    let closed = front.broker.gate.acquire().await.unwrap();
    let first = tokio::spawn({
        let front = front.clone();
        async move { front.json("PUT", INSTANCE, PROVISION).await }
    });
    while front.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = front.json("PUT", BINDING, BIND).await.refused(429);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        front.plain("GET", &format!("{INSTANCE}/last_operation")).await.status,
        200,
        "polls are not counted"
    );
    drop(closed);
    assert_eq!(first.await.unwrap().status, 201);
    assert_eq!(
        front.json("PUT", BINDING, BIND).await.status,
        202,
        "the place is free again"
    );
}
