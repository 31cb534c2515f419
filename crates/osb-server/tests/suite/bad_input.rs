//! Bodies that cannot be used: a 4xx with a reason, at bounded cost.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::harness::*;

/// A body of given frames, then the end, an error, or nothing more for ever.
struct Frames(Vec<&'static str>, End);

#[derive(Clone, Copy, PartialEq)]
enum End {
    Good,
    Broken,
    Never,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if !self.0.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.0.remove(0).into()))));
        }
        match self.1 {
            End::Good => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err("reset"))),
            End::Never => Poll::Pending,
        }
    }
}

/// OSB-PROV-09, OSB-BIND-14, OSB-CT-03.
#[tokio::test]
async fn malformed_bodies_are_refused_with_a_reason() {
    let front = Front::new(Script::default());
    let deep = "[".repeat(100_000);
    let deep_member = format!(r#"{{"x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for (body, reason) in [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("null", "a JSON object"),
        ("[]", "a JSON object"),
        ("\"hunter2\"", "a JSON object"),
        ("{} {}", "not valid JSON"),
        (r#"{"service_id":"s","service_id":"s"}"#, "`service_id` stands twice"),
        (r#"{"x":{"y":[{"z":1,"z":2}]}}"#, "`x.y[0].z` stands twice"),
        (r#"{"service_id":7}"#, "`service_id` has to be a string"),
        (r#"{"service_id":""}"#, "`service_id` must not be empty"),
        (r#"{"plan_id":"p"}"#, "`service_id` is required"),
        (
            r#"{"service_id":"s","plan_id":"p","parameters":[]}"#,
            "`parameters` has to be an object",
        ),
        (&deep, "64 levels"),
        (&deep_member, "64 levels"),
    ] {
        for uri in [INSTANCE, BINDING] {
            let answer = front.json("PUT", uri, body).await.refused(400);
            if uri == BINDING || !reason.contains("parameters") {
                assert!(answer.description().contains(reason), "{body:.40}: {answer:?}");
            }
        }
    }
    let answer = front
        .send(request("PUT", INSTANCE), &b"{\"service_id\":\"\xff\"}"[..])
        .await
        .refused(400);
    assert!(answer.description().contains("not valid JSON"));
    assert_eq!(front.seen(), []);
}

/// OSB-PROV-01 to -04, Amb-8.
#[tokio::test]
async fn each_required_member_is_asked_for() {
    let front = Front::new(Script::default());
    for name in ["service_id", "plan_id", "organization_guid", "space_guid"] {
        let mut body: serde_json::Value = serde_json::from_str(PROVISION).unwrap();
        body.as_object_mut().unwrap().remove(name);
        let answer = front.json("PUT", INSTANCE, &body.to_string()).await.refused(400);
        assert_eq!(answer.description(), format!("`{name}` is required"));
    }
    let missing_organization = osb_api::request::MissingOrganization::FromContext;
    let lenient = Front::with(
        Script::default(),
        &osb_server::Config {
            missing_organization,
            ..config()
        },
    );
    assert_eq!(lenient.json("PUT", INSTANCE, BIND).await.status, 201);
}

/// OSB-CT-02, OSB-CT-03, OSB-CT-04.
#[tokio::test]
async fn the_content_type_may_be_missing_but_not_another() {
    let front = Front::new(Script::default());
    assert_eq!(front.send(request("PUT", INSTANCE), PROVISION).await.status, 201);
    for good in ["application/json", "APPLICATION/json; charset=UTF-8"] {
        assert_eq!(
            front
                .send(request("PUT", INSTANCE).header("Content-Type", good), PROVISION)
                .await
                .status,
            201
        );
    }
    for bad in ["text/plain", "application/x-www-form-urlencoded", ""] {
        front
            .send(request("PUT", INSTANCE).header("Content-Type", bad), PROVISION)
            .await
            .refused(400);
    }
}

#[tokio::test]
async fn a_large_body_is_refused_announced_or_not() {
    let front = Front::with(
        Script::default(),
        &osb_server::Config {
            max_body_bytes: 100,
            ..config()
        },
    );
    assert_eq!(front.json("PUT", INSTANCE, PROVISION).await.status, 201);
    front.json("PUT", INSTANCE, &" ".repeat(101)).await.refused(413);
    let chunks = Frames(vec!["0123456789"; 11], End::Good);
    front.send_body(request("PUT", INSTANCE), chunks).await.refused(413);
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    let front = Front::new(Script::default());
    let (first, second) = PROVISION.split_at(20);
    assert_eq!(
        front
            .send_body(request("PUT", INSTANCE), Frames(vec!["", first, "", second], End::Good))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_body_that_breaks_or_never_ends_is_given_up() {
    let body_timeout = Duration::from_millis(20);
    let front = Front::with(
        Script::default(),
        &osb_server::Config {
            body_timeout,
            ..config()
        },
    );
    front
        .send_body(request("PUT", INSTANCE), Frames(vec![PROVISION], End::Broken))
        .await
        .refused(400);
    front
        .send_body(request("PUT", INSTANCE), Frames(vec![PROVISION], End::Never))
        .await
        .refused(408);
    assert_eq!(front.seen(), []);
}

/// Bodies share a bounded memory, until their calls are done: one that finds no room in time is refused.
#[tokio::test]
async fn memory_for_bodies_is_bounded_and_comes_back() {
    let config = osb_server::Config {
        body_timeout: Duration::from_millis(20),
        max_body_bytes: 120,
        max_buffered_bytes: 120,
        ..config()
    };
    let front = Arc::new(Front::with(Script::default(), &config));
    let closed = front.broker.gate.acquire().await.unwrap();
    let first = tokio::spawn({
        let front = front.clone();
        // Without a length: the most that it can be is reserved, and given back once it is known.
        async move {
            front
                .send_body(request("PUT", INSTANCE), Frames(vec![PROVISION], End::Good))
                .await
        }
    });
    while front.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    front
        .json("PUT", "/v2/service_instances/j", PROVISION)
        .await
        .refused(408);
    assert_eq!(
        front.json("PUT", BINDING, BIND).await.status,
        202,
        "a small one still fits"
    );
    drop(closed);
    assert_eq!(first.await.unwrap().status, 201);
    assert_eq!(
        front.json("PUT", "/v2/service_instances/j", PROVISION).await.status,
        201
    );
}

/// OSB-GEN-01, OSB-GEN-03, OSB-COMPAT-01, Amb-29.
#[tokio::test]
async fn unknown_members_are_ignored_at_every_level() {
    let front = Front::new(Script::default());
    let body = r#"{"service_id":"s","plan_id":"p","x":{"y":[null]},"context":{"platform":"acme","x":1},"bind_resource":{"x":[1]},
        "parameters":null,"app_guid":null,"predecessor_binding_id":null}"#;
    assert_eq!(front.json("PUT", BINDING, body).await.status, 202);
    let Some(Seen::Bind(_, _, request, _)) = front.seen().pop() else {
        panic!("no call")
    };
    assert_eq!(
        (
            request.parameters.clone(),
            request.app_guid.clone(),
            request.predecessor_binding_id.clone()
        ),
        (None, None, None)
    );
    assert_eq!(request.context.unwrap().platform(), Some("acme"));
}

/// OSB-ROT-03, Amb-16.
#[tokio::test]
async fn a_rotation_may_leave_out_offering_and_plan() {
    let front = Front::new(Script::default());
    assert_eq!(
        front
            .json("PUT", BINDING, r#"{"predecessor_binding_id":"a"}"#)
            .await
            .status,
        202
    );
    front.json("PUT", BINDING, "{}").await.refused(400);
}

#[tokio::test]
async fn an_empty_body_is_not_json() {
    let front = Front::new(Script::default());
    front
        .send_body(request("PUT", INSTANCE), http_body_util::Empty::<Bytes>::new())
        .await
        .refused(400);
}
