//! Unbinds and their repeats.

use super::{NOT_BINDABLE, Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::subject::{Ground, Mode, Offer};

pub(crate) const PROBES: &[Probe] = &[
    probe!(removal, "OSB-UNB-01", "OSB-UNB-10", "OSB-UNB-05", "OSB-UNB-11"),
    probe!(running, "OSB-UNB-04"),
    probe!(without_accepting, "OSB-UNB-06"),
];

const NO_ASYNC: &str = "no unbind was answered with 202";

async fn removal(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UNB-01", "OSB-UNB-10", "OSB-UNB-05", "OSB-UNB-11"];
    let Some(subject) = ground.bound() else {
        return check.skip(&covered, NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "unbound").await else {
        return;
    };
    let never = check.delete_binding(offer, &id, &check.id("never")).await;
    check.answers("OSB-UNB-05", "an unbind of what was never there", &never, &[410]);
    let nowhere = check
        .delete_binding(offer, &check.id("never"), &check.id("never"))
        .await;
    check.answers(
        "OSB-UNB-05",
        "an unbind for an instance that was never there",
        &nowhere,
        &[410],
    );
    let (first, second) = (
        check.binding(offer, &id, "first").await,
        check.binding(offer, &id, "second").await,
    );
    if let (Some(first), Some(second)) = (first, second) {
        let unbind = Call::unbind(&id, &first, &offer.service_id, &offer.plan_id).accepting();
        let mut removed = false;
        for name in ["service_id", "plan_id"] {
            let answer = check.send(unbind.clone().without_query(name)).await;
            check.answers("OSB-UNB-01", &format!("an unbind without `{name}`"), &answer, &[400]);
            removed |= answer.succeeded();
        }
        if !removed {
            let strange = unbind
                .clone()
                .without_query("plan_id")
                .query("plan_id", "osb-check-unknown");
            let answer = check.finished(strange, offer).await;
            let what = "an unbind with an unknown plan";
            check.answers("OSB-UNB-10", what, &answer.answer, &[400, 200, 202]);
        }
        check.unbound(offer, &id, &first).await;
        let again = check.delete_binding(offer, &id, &first).await;
        check.answers("OSB-UNB-11", "a second unbind", &again, &[410]);
        if offer.bindings_retrievable {
            let gone = check.send(Call::fetch_binding(&id, &first)).await;
            check.answers("OSB-UNB-11", "GET of what was unbound", &gone, &[404]);
        }
        let other = check.unbound(offer, &id, &second).await;
        let wrong = "an unbind has removed another binding, too";
        check.that("OSB-UNB-11", other.answer.is(&[200, 202]), wrong, &other.evidence());
    }
    check.deprovisioned(offer, &id).await;
}

fn slow(ground: &Ground) -> Option<&Offer> {
    ground
        .pick(|subject| subject.unbind == Some(Mode::Async))
        .map(|subject| &subject.offer)
}

async fn running(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-UNB-04"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "unbinding").await else {
        return;
    };
    if let Some(binding) = check.binding(offer, &id, "running").await {
        let first = check.delete_binding(offer, &id, &binding).await;
        let again = check.delete_binding(offer, &id, &binding).await;
        let poll = Call::poll_binding(&id, &binding).of_operation(first.operation());
        if check.send(poll.clone()).await.state() == Some("in progress") {
            check.answers("OSB-UNB-04", "a second DELETE while the unbind runs", &again, &[202]);
            let same = again.status != 202 || first.operation() == again.operation();
            check.that(
                "OSB-UNB-04",
                same,
                "a repeated unbind has another operation",
                &[&first, &again],
            );
        } else {
            check.skip(&["OSB-UNB-04"], "the unbind ended too soon");
        }
        check.follow(&poll).await;
    }
    check.deprovisioned(offer, &id).await;
}

async fn without_accepting(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-UNB-06"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "sync").await else {
        return;
    };
    if let Some(binding) = check.binding(offer, &id, "sync").await {
        let call = Call::unbind(&id, &binding, &offer.service_id, &offer.plan_id);
        let answer = check.send(call).await;
        if answer.status != 200 {
            check.reserved(
                "OSB-UNB-06",
                "an unbind that only works with 202",
                &answer,
                "AsyncRequired",
            );
        }
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}
