//! Updates of instances.

use serde_json::{Value, json};

use super::{NO_PLAN, Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::subject::{Ground, Offer, Subject};

pub(crate) const PROBES: &[Probe] = &[
    probe!(
        plan_change,
        "OSB-UPD-05",
        "OSB-UPD-07",
        "OSB-UPD-10",
        "OSB-GETI-07",
        "OSB-LOI-03"
    ),
    probe!(context_only, "OSB-UPD-08"),
    probe!(malformed, "OSB-UPD-01", "OSB-UPD-02", "OSB-UPD-03", "OSB-UPD-12"),
    probe!(maintenance, "OSB-UPD-14", "OSB-UPD-19"),
    probe!(not_offered, "OSB-UPD-13", "OSB-UPD-18"),
    probe!(missing, "OSB-UPD-17"),
];

const NO_UPDATES: &str = "no plan is updatable to another one";

/// A plan that can be left, and where to.
pub(crate) fn change(ground: &Ground) -> Option<(&Subject, &Offer)> {
    let subject = ground.pick(|subject| subject.offer.updatable && ground.sibling(&subject.offer).is_some())?;
    Some((subject, ground.sibling(&subject.offer)?))
}

/// An update to another plan.
pub(crate) fn to(from: &Offer, to: &Offer) -> Value {
    json!({"service_id": from.service_id, "plan_id": to.plan_id, "previous_values": {"plan_id": from.plan_id}})
}

async fn plan_change(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UPD-05", "OSB-UPD-07", "OSB-UPD-10", "OSB-GETI-07", "OSB-LOI-03"];
    let Some((subject, target)) = change(ground) else {
        return check.skip(&covered, NO_UPDATES);
    };
    let offer = &subject.offer;
    for previous in [
        json!({"plan_id": offer.plan_id}),
        json!({}),
        json!({"plan_id": offer.plan_id, "service_id": offer.service_id, "organization_id": "o", "space_id": "s", "x": 1}),
    ] {
        let Some(id) = check.instance(offer, "updated").await else {
            return;
        };
        let mut body = to(offer, target);
        body["previous_values"] = previous;
        let updated = check.finished(Call::update(&id, &body).accepting(), offer).await;
        let wrong = format!("an update to {} is answered {}", target.label, updated.answer.told());
        check.that("OSB-UPD-05", updated.is_done(), wrong.clone(), &updated.evidence());
        check.that("OSB-UPD-07", updated.is_done(), wrong, &updated.evidence());
        if updated.followed.is_none() && updated.answer.succeeded() {
            check.answers("OSB-UPD-10", "an update that is done at once", &updated.answer, &[200]);
        }
        let poll = Call::poll_instance(&id)
            .query("service_id", &offer.service_id)
            .query("plan_id", &offer.plan_id);
        let polled = check.send(poll).await;
        check.answers("OSB-LOI-03", "a poll with the plan before the update", &polled, &[200]);
        if offer.instances_retrievable && updated.is_done() {
            let fetched = check.send(Call::fetch_instance(&id)).await;
            let holds = fetched.text("plan_id").is_none_or(|plan| plan == target.plan_id);
            check.that(
                "OSB-GETI-07",
                holds,
                "a fetched instance has the plan before its update",
                &[&fetched],
            );
        }
        check.deprovisioned(target, &id).await;
    }
}

async fn context_only(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.pick(|subject| subject.offer.context_updates) else {
        return check.skip(&["OSB-UPD-08"], "no offering has allow_context_updates");
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "context").await else {
        return;
    };
    let body = json!({"service_id": offer.service_id, "context": {"platform": "cloudfoundry", "instance_name": "n"}});
    let updated = check.finished(Call::update(&id, &body).accepting(), offer).await;
    let wrong = format!("an update of the context is answered {}", updated.answer.told());
    check.that("OSB-UPD-08", updated.is_done(), wrong, &updated.evidence());
    check.deprovisioned(offer, &id).await;
}

async fn malformed(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UPD-01", "OSB-UPD-02", "OSB-UPD-03", "OSB-UPD-12"];
    let Some((subject, target)) = change(ground) else {
        return check.skip(&covered, NO_UPDATES);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "malformed").await else {
        return;
    };
    let service = &offer.service_id;
    for (requirement, what, body) in [
        (
            "OSB-UPD-01",
            "an update without `service_id`",
            json!({"plan_id": target.plan_id}),
        ),
        (
            "OSB-UPD-01",
            "an update with a number as `service_id`",
            json!({"service_id": 7}),
        ),
        (
            "OSB-UPD-01",
            "an update with an unknown `service_id`",
            json!({"service_id": "osb-check-unknown"}),
        ),
        (
            "OSB-UPD-02",
            "an update with a number as `plan_id`",
            json!({"service_id": service, "plan_id": 7}),
        ),
        (
            "OSB-UPD-02",
            "an update to an unknown plan",
            json!({"service_id": service, "plan_id": "osb-check-unknown"}),
        ),
        (
            "OSB-UPD-03",
            "an update with a string as `parameters`",
            json!({"service_id": service, "parameters": "x"}),
        ),
        (
            "OSB-UPD-12",
            "an update with a string as `context`",
            json!({"service_id": service, "context": "x"}),
        ),
    ] {
        let answer = check.send(Call::update(&id, &body).accepting()).await;
        check.answers(requirement, what, &answer, &[400]);
    }
    for body in [&b"{nonsense"[..], b"[]", b""] {
        let call = Call::update(&id, &Value::Null).bytes(body.to_vec()).accepting();
        let answer = check.send(call).await;
        check.answers("OSB-UPD-12", "an update that is no JSON object", &answer, &[400]);
    }
    check.deprovisioned(offer, &id).await;
}

/// Another maintenance version together with a change of plan: refused, and nothing of it is done.
async fn maintenance(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UPD-14", "OSB-UPD-19"];
    let Some((subject, target)) = change(ground) else {
        return check.skip(&covered, NO_UPDATES);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "maintained").await else {
        return;
    };
    let mut body = to(offer, target);
    body["maintenance_info"] = json!({"version": "987.65.4"});
    let answer = check.send(Call::update(&id, &body).accepting()).await;
    let what = "an update with another maintenance version";
    check.reserved("OSB-UPD-14", what, &answer, "MaintenanceInfoConflict");
    if offer.instances_retrievable && answer.refused() {
        let fetched = check.send(Call::fetch_instance(&id)).await;
        let holds = fetched.text("plan_id").is_none_or(|plan| plan == offer.plan_id);
        check.that(
            "OSB-UPD-19",
            holds,
            "a refused update has changed the plan",
            &[&answer, &fetched],
        );
    } else {
        check.skip(&["OSB-UPD-19"], "instances cannot be fetched");
    }
    check.deprovisioned(offer, &id).await;
}

async fn not_offered(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UPD-13", "OSB-UPD-18"];
    let fits = |subject: &Subject| !subject.offer.updatable && ground.sibling(&subject.offer).is_some();
    let Some(subject) = ground.pick(fits) else {
        return check.skip(
            &covered,
            "there is no plan that cannot be changed to another one of its offering",
        );
    };
    let offer = &subject.offer;
    let Some(target) = ground.sibling(offer) else { return };
    let Some(id) = check.instance(offer, "fixed").await else {
        return;
    };
    let answer = check.send(Call::update(&id, &to(offer, target)).accepting()).await;
    check.answers(
        "OSB-UPD-13",
        "a plan change that the catalog does not offer",
        &answer,
        &[422],
    );
    let told = answer.member("description").is_some();
    check.that(
        "OSB-UPD-18",
        told,
        "a refused plan change has no description",
        &[&answer],
    );
    check.deprovisioned(offer, &id).await;
}

async fn missing(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-UPD-17"], NO_PLAN);
    };
    let offer = &subject.offer;
    let id = check.id("never");
    let answer = check
        .send(Call::update(&id, &json!({"service_id": offer.service_id, "parameters": {}})).accepting())
        .await;
    let announced = |offer: &Offer| offer.updatable || offer.context_updates;
    if answer.status >= 500 && !ground.offers.iter().any(announced) {
        check.skip(
            &["OSB-UPD-17"],
            "the catalog offers no updates, and the broker has none",
        );
        return;
    }
    let wrong = format!(
        "an update of an instance that was never there is answered {}",
        answer.told()
    );
    check.that("OSB-UPD-17", answer.refused(), wrong, &[&answer]);
    let delete = check.delete(offer, &id).await;
    let wrong = "an update has made an instance";
    check.that("OSB-UPD-17", delete.is(&[404, 410]), wrong, &[&answer, &delete]);
}
