//! Ids of any characters.

use super::{NO_PLAN, Probe, probe};
use crate::call::{Call, Op};
use crate::checker::Checker;
use crate::subject::{Ground, Offer};

pub(crate) const PROBES: &[Probe] = &[
    probe!(characters, "OSB-URL-01", "OSB-URL-04"),
    probe!(separators, "OSB-URL-01"),
    probe!(encodings, "OSB-URL-03"),
    probe!(apart, "OSB-GEN-05", "OSB-URL-04"),
];

/// One life under an id that the broker may refuse.
async fn life(check: &Checker, offer: &Offer, id: &str) {
    let put = check.provisioned(offer, id).await;
    let what = crate::answer::short(id, 40);
    let holds = put.is_done() || put.answer.refused();
    check.that(
        "OSB-URL-01",
        holds,
        format!("the id {what:?} is answered {}", put.answer.told()),
        &put.evidence(),
    );
    if put.answer.refused() {
        check.answers("OSB-URL-04", &format!("the id {what:?}"), &put.answer, &[400]);
    }
    let removed = check.deprovisioned(offer, id).await;
    if put.is_done() {
        let wrong = format!("the instance {what:?} cannot be removed: {}", removed.answer.told());
        check.that(
            "OSB-URL-01",
            removed.is_gone() && removed.answer.succeeded(),
            wrong,
            &removed.evidence(),
        );
    }
}

async fn characters(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-URL-01", "OSB-URL-04"], NO_PLAN);
    };
    let unique = check.id("c");
    let ids = [
        format!("{unique}:%?#[]@!$&'()*+,;= \"<>\\^`{{|}}"),
        format!("{unique} äöü 日本 🦀"),
        format!("{unique}'; DROP TABLE instances; --"),
        format!("{unique}{}", "x".repeat(1000)),
        format!("{unique}\n\r\t\u{0}\u{7f}"),
        format!("../../{unique}"),
    ];
    for id in &ids {
        life(check, &subject.offer, id).await;
    }
}

/// Ids that look like other routes must not lead there.
async fn separators(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-URL-01"], NO_PLAN);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "slash").await else {
        return;
    };
    for rest in ["/last_operation", "/service_bindings/b", "/../x"] {
        life(check, offer, &format!("{id}{rest}")).await;
    }
    let again = check.send(Call::poll_instance(&id)).await;
    let removed = check.deprovisioned(offer, &id).await;
    let wrong = "an id that begins like another one and goes on with a slash has removed that one";
    check.that(
        "OSB-URL-01",
        removed.answer.succeeded(),
        wrong,
        &[&again, &removed.answer],
    );
}

/// The same id, encoded differently; and two that only differ when they are decoded once.
async fn encodings(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-URL-03"], NO_PLAN);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "encoded").await else {
        return;
    };
    let mut call = Call::deprovision(&id, &offer.service_id, &offer.plan_id).accepting();
    call.path = call.path.replace('-', "%2D");
    let removed = check.finished(call, offer).await;
    let wrong = format!(
        "DELETE of the same id with %2D for - is answered {}",
        removed.answer.told()
    );
    check.that("OSB-URL-03", removed.answer.succeeded(), wrong, &[&removed.answer]);
    check.deprovisioned(offer, &id).await;
    let plain = check.id("a/b");
    if !check.provisioned(offer, &plain).await.is_done() {
        return;
    }
    // `%252F` is the text `%2F`, not a slash.
    let mut call = Call::new(Op::Deprovision, http::Method::DELETE, String::new());
    call.path = format!(
        "/v2/service_instances/{}",
        crate::call::encode(&plain.replace('/', "%2F"))
    );
    let call = call
        .query("service_id", &offer.service_id)
        .query("plan_id", &offer.plan_id)
        .accepting();
    let other = check.send(call).await;
    check.that(
        "OSB-URL-03",
        !other.succeeded(),
        "ids are not decoded once: %252F leads to what was made as %2F",
        &[&other],
    );
    check.deprovisioned(offer, &plain).await;
}

/// Ids that are nearly the same.
async fn apart(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-GEN-05", "OSB-URL-04"], NO_PLAN);
    };
    let offer = &subject.offer;
    let base = check.id("apart");
    let long = format!("{base}{}", "y".repeat(400));
    for (requirement, first, second) in [
        ("OSB-GEN-05", format!("{base}-a"), format!("{base}-A")),
        ("OSB-URL-04", format!("{long}1"), format!("{long}2")),
    ] {
        if !check.provisioned(offer, &first).await.is_done() {
            check.skip(&[requirement], "the id is refused");
            continue;
        }
        let other = check.delete(offer, &second).await;
        let wrong = "two ids that differ in one letter lead to the same instance";
        check.that(
            requirement,
            other.status == 410 || other.status == 400,
            wrong,
            &[&other],
        );
        let removed = check.deprovisioned(offer, &first).await;
        check.that(
            requirement,
            removed.answer.succeeded(),
            wrong,
            &[&other, &removed.answer],
        );
    }
}
