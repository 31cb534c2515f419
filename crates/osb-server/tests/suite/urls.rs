//! Paths, methods, queries.

use osb_api::id::{BindingId, InstanceId};

use crate::harness::*;

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// OSB-URL-01, OSB-URL-03, OSB-GEN-05: opaque ids reach the broker as they are.
#[tokio::test]
async fn any_id_reaches_the_broker_decoded_once() {
    let front = Front::new(Script::default());
    let long = "x".repeat(1000);
    for id in [
        "/",
        ":",
        "%",
        "%2F",
        "a/last_operation",
        "..",
        ".",
        "A",
        "é🦀",
        " ",
        "\0",
        "?",
        "#",
        "crn:v1:bluemix:public:db:us:a/4b:x::",
        &long,
    ] {
        let uri = format!("/v2/service_instances/{}/service_bindings/{}", encoded(id), encoded(id));
        assert_eq!(front.json("PUT", &uri, BIND).await.status, 202, "{id:?}");
        let Some(Seen::Bind(instance, binding, ..)) = front.seen().pop() else {
            panic!("{id:?}")
        };
        assert_eq!(
            (instance, binding),
            (InstanceId::new(id).unwrap(), BindingId::new(id).unwrap())
        );
    }
    front.plain("DELETE", &format!("/v2/service_instances/a:b?{IDS}")).await;
    front
        .plain("DELETE", &format!("/v2/service_instances/a%3Ab?{IDS}"))
        .await;
    let seen = front.seen();
    assert_eq!(seen[seen.len() - 1], seen[seen.len() - 2]);
}

/// OSB-URL-04.
#[tokio::test]
async fn ids_that_cannot_be_handled_are_refused() {
    let front = Front::new(Script::default());
    let long = "x".repeat(1025);
    for segment in ["", "%", "%4", "%zz", "%FF", "%C0%AF", "%ED%A0%80", &long] {
        front
            .json("PUT", &format!("/v2/service_instances/{segment}"), PROVISION)
            .await
            .refused(400);
        front
            .json("PUT", &format!("{INSTANCE}/service_bindings/{segment}"), BIND)
            .await
            .refused(400);
        front
            .plain("GET", &format!("/v2/service_instances/{segment}/last_operation"))
            .await
            .refused(400);
    }
    assert_eq!(front.seen(), []);
}

/// OSB-ERR-01, OSB-ERR-09.
#[tokio::test]
async fn unknown_paths_and_methods_have_json_answers() {
    let front = Front::new(Script::default());
    for uri in [
        "/",
        "/v2",
        "/v1/catalog",
        "/v2/catalog/",
        "/v2/service_instances",
        "/v2/catalog/x",
        "//v2/catalog",
    ] {
        front.plain("GET", uri).await.refused(404);
    }
    for (method, uri, allow) in [
        ("POST", "/v2/catalog", "GET"),
        ("HEAD", "/v2/catalog", "GET"),
        ("POST", INSTANCE, "GET, PUT, PATCH, DELETE"),
        ("PATCH", BINDING, "GET, PUT, DELETE"),
        ("PUT", "/v2/service_instances/i/last_operation", "GET"),
        (
            "BREW",
            "/v2/service_instances/i/service_bindings/b/last_operation",
            "GET",
        ),
    ] {
        assert_eq!(front.plain(method, uri).await.refused(405).header("allow"), Some(allow));
    }
    assert_eq!(front.seen(), []);
}

/// OSB-DEP-01, OSB-UNB-01, Amb-17: the parameters are looked at first.
#[tokio::test]
async fn a_removal_needs_both_ids() {
    let front = Front::new(Script::default());
    for uri in [INSTANCE, BINDING] {
        for query in [
            "",
            "?service_id=s",
            "?plan_id=p",
            "?service_id=&plan_id=p",
            "?service_id=s&plan_id=p&plan_id=q",
            "?service_id=s&plan_id=%zz",
        ] {
            front.plain("DELETE", &format!("{uri}{query}")).await.refused(400);
        }
    }
    let answer = front.plain("DELETE", &format!("{INSTANCE}?service_id=s")).await;
    assert!(answer.description().contains("`plan_id`"), "{answer:?}");
    assert_eq!(front.seen(), []);
}

/// OSB-GEN-08, OSB-ASY-06, OSB-ASY-10, OSB-URL-03.
#[tokio::test]
async fn queries_are_read_and_unknown_parameters_ignored() {
    use osb_api::request::Incomplete::{Accepted, Refused};
    let front = Front::new(Script::default());
    for (query, expected) in [
        ("accepts_incomplete=true&x=y", Accepted),
        ("accepts_incomplete=True", Refused),
        ("accepts_incomplete=false", Refused),
        ("x", Refused),
    ] {
        front
            .plain("DELETE", &format!("{INSTANCE}?service_id=a%2Fb&plan_id=%2B&{query}"))
            .await;
        let Some(Seen::Deprovision(_, ids, incomplete)) = front.seen().pop() else {
            panic!("{query}")
        };
        assert_eq!(
            (ids.service_id.as_str(), ids.plan_id.as_str(), incomplete),
            ("a/b", "+", expected)
        );
        front.json("PUT", &format!("{INSTANCE}?{query}"), PROVISION).await;
        assert!(matches!(front.seen().pop(), Some(Seen::Provision(_, _, incomplete)) if incomplete == expected));
    }
}

/// OSB-LOI-01, OSB-LOI-02, OSB-LOB-01: `operation` comes back decoded, all three may be missing.
#[tokio::test]
async fn polls_carry_their_hints() {
    let front = Front::new(Script::default());
    for uri in [INSTANCE, BINDING] {
        assert_eq!(front.plain("GET", &format!("{uri}/last_operation")).await.status, 200);
        assert_eq!(
            front
                .plain("GET", &format!("{uri}/last_operation?operation=a%20b%26&service_id=s"))
                .await
                .status,
            200
        );
        let (Some(Seen::PollInstance(_, query)) | Some(Seen::PollBinding(_, _, query))) = front.seen().pop() else {
            panic!("{uri}")
        };
        assert_eq!(
            (
                query.operation.unwrap().as_str(),
                query.service_id.unwrap().as_str(),
                query.plan_id
            ),
            ("a b&", "s", None)
        );
        front
            .plain("GET", &format!("{uri}/last_operation?operation={}", "x".repeat(10_001)))
            .await
            .refused(400);
    }
}
