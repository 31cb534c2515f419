//! Who asks: originating identity, request identity, context.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{NO_PLAN, NOT_BINDABLE, Probe, probe};
use crate::answer::Answer;
use crate::call::{Call, Usual};
use crate::checker::Checker;
use crate::subject::{Ground, Offer};
use crate::wire::ORIGINATING_IDENTITY;

pub(crate) const PROBES: &[Probe] = &[
    probe!(originating, "OSB-OID-01", "OSB-OID-03", "OSB-OID-04", "OSB-PROF-08"),
    probe!(request_identity, "OSB-RID-03"),
    probe!(contexts, "OSB-PROF-01", "OSB-PROF-02", "OSB-PROF-03", "OSB-PROF-04"),
    probe!(bind_resources, "OSB-PROF-05"),
];

fn identity(platform: &str, user: &Value) -> String {
    format!("{platform} {}", STANDARD.encode(user.to_string()))
}

async fn originating(check: &Checker, ground: &Ground) {
    let ids = &["OSB-OID-01", "OSB-OID-03", "OSB-OID-04", "OSB-PROF-08"];
    let Some(subject) = ground.any() else {
        return check.skip(ids, NO_PLAN);
    };
    let offer = &subject.offer;
    let kubernetes = json!({"username": "duke", "uid": "c2dde242", "groups": ["admin"], "extra": {"key": ["a", "b"]}});
    let good = [
        ("OSB-OID-01", None),
        (
            "OSB-OID-01",
            Some(identity("cloudfoundry", &json!({"user_id": "683ea748"}))),
        ),
        ("OSB-PROF-08", Some(identity("kubernetes", &kubernetes))),
        (
            "OSB-OID-03",
            Some(identity("osb-check", &json!({"anything": [1, null]}))),
        ),
        (
            "OSB-OID-03",
            Some(identity(
                "cloudfoundry",
                &json!({"user_id": "683ea748", "more": {"x": true}}),
            )),
        ),
    ];
    for (id, identity) in good {
        let what = if identity.is_some() {
            "with an originating identity"
        } else {
            "without originating identity"
        };
        let answer = provision_with(check, offer, identity).await;
        check.that(
            id,
            answer.succeeded(),
            format!("a provision {what} is answered {}", answer.told()),
            &[&answer],
        );
    }
    for value in [
        "cloudfoundry",
        "cloudfoundry !!!",
        "cloudfoundry bm8ganNvbg==",
        "",
        "a b c",
        " eyJ4IjoxfQ==",
    ] {
        let id = check.id("identity");
        let call = Call::provision(&id, &check.order(offer))
            .accepting()
            .header(ORIGINATING_IDENTITY, value);
        let made = check.finished(call, offer).await;
        let holds = made.answer.succeeded() || made.answer.status == 400;
        let wrong = format!("the identity {value:?} is answered {}, not 400", made.answer.told());
        check.that("OSB-OID-04", holds, wrong, &[&made.answer]);
        check.deprovisioned(offer, &id).await;
    }
}

async fn provision_with(check: &Checker, offer: &Offer, identity: Option<String>) -> Answer {
    let id = check.id("identity");
    let mut call = Call::provision(&id, &check.order(offer)).accepting();
    if let Some(identity) = identity {
        call = call.header(ORIGINATING_IDENTITY, identity);
    }
    let made = check.finished(call, offer).await;
    check.deprovisioned(offer, &id).await;
    made.answer
}

async fn request_identity(check: &Checker, _: &Ground) {
    let answer = check
        .send(Call {
            request_identity: Usual::Absent,
            ..Call::catalog()
        })
        .await;
    check.answers("OSB-RID-03", "a request without request identity", &answer, &[200]);
}

async fn contexts(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-PROF-01", "OSB-PROF-02", "OSB-PROF-03", "OSB-PROF-04"], NO_PLAN);
    };
    let offer = &subject.offer;
    let contexts = [
        (
            "OSB-PROF-01",
            json!({"platform": "osb-check", "anything": {"deep": [1, null]}}),
        ),
        (
            "OSB-PROF-02",
            json!({
                "platform": "cloudfoundry", "organization_guid": "osb-check-organization", "organization_name": "o",
                "space_guid": "osb-check-space", "space_name": "s", "instance_name": "i",
                "organization_annotations": {"a/b": "c"}, "space_annotations": {}, "instance_annotations": {},
            }),
        ),
        (
            "OSB-PROF-03",
            json!({
                "platform": "kubernetes", "namespace": "n", "clusterid": "c", "instance_name": "i",
                "namespace_annotations": {"a/b": "c"}, "instance_annotations": {},
            }),
        ),
        // Of a platform that is older than most of the members.
        ("OSB-PROF-04", json!({"platform": "kubernetes", "namespace": "n"})),
    ];
    for (requirement, context) in contexts {
        let id = check.id("context");
        let mut order = check.order(offer);
        let what = format!("a provision from {}", context["platform"]);
        order["context"] = context;
        let made = check.finished(Call::provision(&id, &order).accepting(), offer).await;
        let wrong = format!("{what} is answered {}", made.answer.told());
        check.that(requirement, made.is_done(), wrong, &made.evidence());
        check.deprovisioned(offer, &id).await;
    }
}

async fn bind_resources(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.bound() else {
        return check.skip(&["OSB-PROF-05"], NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "resource").await else {
        return;
    };
    for resource in [
        json!({"app_guid": "a", "space_guid": "s", "app_annotations": {"a/b": "c"}}),
        json!({"app_guid": "a", "osb_check_unknown": 1}),
        json!({"credential_client_id": "c"}),
    ] {
        let binding = check.id("resource");
        let mut order = check.bind_order(offer);
        let service_key = resource.get("app_guid").is_none();
        order["bind_resource"] = resource;
        let made = check
            .finished(Call::bind(&id, &binding, &order).accepting(), offer)
            .await;
        let holds = made.is_done() || service_key && made.answer.is_reserved("RequiresApp");
        let wrong = format!("a bind resource of Cloud Foundry is answered {}", made.answer.told());
        check.that("OSB-PROF-05", holds, wrong, &made.evidence());
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}
