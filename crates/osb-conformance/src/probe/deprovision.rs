//! Deprovisions and their repeats.

use serde_json::json;

use super::{NO_PLAN, NOT_BINDABLE, Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::subject::{Ground, Mode, Offer};

pub(crate) const PROBES: &[Probe] = &[
    probe!(removal, "OSB-DEP-01", "OSB-ERR-07", "OSB-DEP-10", "OSB-DEP-13"),
    probe!(repeats, "OSB-DEP-05", "OSB-ORP-01", "OSB-ORP-05"),
    probe!(with_bindings, "OSB-DEP-11"),
    probe!(running, "OSB-DEP-04"),
    probe!(without_accepting, "OSB-DEP-06"),
];

const NO_ASYNC: &str = "no deprovision was answered with 202";

async fn removal(check: &Checker, ground: &Ground) {
    let covered = ["OSB-DEP-01", "OSB-ERR-07", "OSB-DEP-10", "OSB-DEP-13"];
    let Some(subject) = ground.any() else {
        return check.skip(&covered, NO_PLAN);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "removed").await else {
        return;
    };
    let delete = Call::deprovision(&id, &offer.service_id, &offer.plan_id).accepting();
    let mut evidence = Vec::new();
    for name in ["service_id", "plan_id"] {
        let answer = check.send(delete.clone().without_query(name)).await;
        check.answers(
            "OSB-DEP-01",
            &format!("a deprovision without `{name}`"),
            &answer,
            &[400],
        );
        evidence.push(answer);
    }
    let refused = evidence.iter().all(crate::answer::Answer::refused);
    let strange = delete
        .clone()
        .without_query("plan_id")
        .query("plan_id", "osb-check-unknown");
    let strange = check.finished(strange, offer).await;
    if refused {
        let what = "a deprovision with an unknown plan";
        check.answers("OSB-DEP-10", what, &strange.answer, &[400, 200, 202]);
    }
    let removed = check.deprovisioned(offer, &id).await;
    if refused && strange.answer.refused() {
        let wrong = "a deprovision that was refused with 400 has removed the instance";
        let last = evidence
            .last()
            .into_iter()
            .chain([&strange.answer, &removed.answer])
            .collect::<Vec<_>>();
        check.that("OSB-ERR-07", removed.answer.succeeded(), wrong, &last);
    } else {
        check.skip(&["OSB-ERR-07"], "no deprovision was refused");
    }
    gone(check, offer, &id).await;
}

/// For every request it is as if it had never been there.
async fn gone(check: &Checker, offer: &Offer, id: &str) {
    let again = check.delete(offer, id).await;
    check.answers("OSB-DEP-13", "a second deprovision", &again, &[410]);
    if offer.instances_retrievable {
        let fetched = check.send(Call::fetch_instance(id)).await;
        check.answers("OSB-DEP-13", "GET of what was removed", &fetched, &[404]);
    }
    let update = json!({"service_id": offer.service_id, "parameters": {}});
    let updated = check.send(Call::update(id, &update).accepting()).await;
    check.that(
        "OSB-DEP-13",
        !updated.succeeded(),
        "what was removed can be updated",
        &[&updated],
    );
    if offer.bindable {
        let bound = check
            .send(Call::bind(id, &check.id("gone"), &check.bind_order(offer)).accepting())
            .await;
        check.that(
            "OSB-DEP-13",
            !bound.succeeded(),
            "what was removed can be bound",
            &[&bound],
        );
    }
}

async fn repeats(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-DEP-05", "OSB-ORP-01", "OSB-ORP-05"], NO_PLAN);
    };
    let offer = &subject.offer;
    let never = check.delete(offer, &check.id("never")).await;
    check.answers("OSB-ORP-05", "DELETE of an id that was never seen", &never, &[410]);
    check.answers(
        "OSB-DEP-05",
        "DELETE of an instance that was never there",
        &never,
        &[410],
    );
    let Some(id) = check.instance(offer, "again").await else {
        return;
    };
    for _ in 0..3 {
        let removed = check.deprovisioned(offer, &id).await;
        let wrong = format!("a repeated removal is answered {}", removed.answer.told());
        check.that("OSB-ORP-01", removed.is_gone(), wrong, &removed.evidence());
    }
    let last = check.delete(offer, &id).await;
    check.answers("OSB-DEP-05", "DELETE of an instance that was removed", &last, &[410]);
}

async fn with_bindings(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.bound() else {
        return check.skip(&["OSB-DEP-11"], NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "with-binding").await else {
        return;
    };
    let Some(binding) = check.binding(offer, &id, "left").await else {
        return;
    };
    let removed = check.deprovisioned(offer, &id).await;
    if removed.is_gone() {
        let unbound = check.delete_binding(offer, &id, &binding).await;
        check.answers(
            "OSB-DEP-11",
            "an unbind after the deprovision that took it along",
            &unbound,
            &[410],
        );
        return;
    }
    let holds = removed.answer.refused();
    let wrong = format!(
        "a deprovision with a binding left is answered {}",
        removed.answer.told()
    );
    check.that("OSB-DEP-11", holds, wrong, &removed.evidence());
    let unbound = check.unbound(offer, &id, &binding).await;
    let wrong = "a deprovision that was refused has removed the binding";
    check.that(
        "OSB-DEP-11",
        unbound.answer.succeeded(),
        wrong,
        &[&removed.answer, &unbound.answer],
    );
    check.deprovisioned(offer, &id).await;
}

fn slow(ground: &Ground) -> Option<&Offer> {
    ground
        .pick(|subject| subject.deprovision == Some(Mode::Async))
        .map(|subject| &subject.offer)
}

async fn running(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-DEP-04"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "removing").await else {
        return;
    };
    let first = check.delete(offer, &id).await;
    let again = check.delete(offer, &id).await;
    let poll = Call::poll_instance(&id).of_operation(first.operation());
    if check.send(poll.clone()).await.state() == Some("in progress") {
        check.answers(
            "OSB-DEP-04",
            "a second DELETE while the deprovision runs",
            &again,
            &[202],
        );
        let same = again.status != 202 || first.operation() == again.operation();
        check.that(
            "OSB-DEP-04",
            same,
            "a repeated deprovision has another operation",
            &[&first, &again],
        );
    } else {
        check.skip(&["OSB-DEP-04"], "the deprovision ended too soon");
    }
    check.follow(&poll).await;
}

async fn without_accepting(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-DEP-06"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "sync").await else {
        return;
    };
    let answer = check
        .send(Call::deprovision(&id, &offer.service_id, &offer.plan_id))
        .await;
    if answer.status != 200 {
        check.reserved(
            "OSB-DEP-06",
            "a deprovision that only works with 202",
            &answer,
            "AsyncRequired",
        );
    }
    check.deprovisioned(offer, &id).await;
}
