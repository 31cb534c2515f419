//! While an update runs.

use serde_json::json;

use super::update::to;
use super::{Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::subject::{Ground, Mode, Offer, Subject};

pub(crate) const PROBES: &[Probe] = &[
    probe!(
        running,
        "OSB-UPD-11",
        "OSB-UPD-16",
        "OSB-GETI-05",
        "OSB-LOI-03",
        "OSB-BLK-02"
    ),
    probe!(without_accepting, "OSB-UPD-15"),
];

const NO_ASYNC: &str = "no update was answered with 202";

/// A plan whose updates may well be asynchronous, and where to.
fn slow(ground: &Ground) -> Option<(&Offer, &Offer)> {
    let fits = |subject: &Subject| {
        subject.provision == Mode::Async && subject.offer.updatable && ground.sibling(&subject.offer).is_some()
    };
    let offer = &ground.pick(fits)?.offer;
    Some((offer, ground.sibling(offer)?))
}

async fn running(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UPD-11", "OSB-UPD-16", "OSB-GETI-05", "OSB-LOI-03", "OSB-BLK-02"];
    let Some((offer, target)) = slow(ground) else {
        return check.skip(&covered, NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "updating").await else {
        return;
    };
    let update = Call::update(&id, &to(offer, target)).accepting();
    let first = check.send(update.clone()).await;
    if first.status != 202 {
        check.skip(&covered, NO_ASYNC);
        check.deprovisioned(target, &id).await;
        return;
    }
    let again = check.send(update.clone()).await;
    let other = json!({"service_id": offer.service_id, "parameters": {"osb_check_other": 1}});
    let other = check.send(Call::update(&id, &other).accepting()).await;
    let fetched = check.send(Call::fetch_instance(&id)).await;
    let poll = Call::poll_instance(&id).of_operation(first.operation());
    let hinted = poll
        .clone()
        .query("service_id", &offer.service_id)
        .query("plan_id", &offer.plan_id);
    let polled = check.send(hinted).await;
    check.answers("OSB-LOI-03", "a poll with the plan before the update", &polled, &[200]);
    if polled.state() == Some("in progress") {
        check.answers("OSB-UPD-11", "an identical PATCH while the update runs", &again, &[202]);
        let same = again.status != 202 || first.operation() == again.operation();
        check.that(
            "OSB-UPD-11",
            same,
            "a repeated PATCH has another operation",
            &[&first, &again],
        );
        let holds = other.succeeded() || other.status == 400 || other.is_reserved("ConcurrencyError");
        let wrong = format!(
            "another PATCH while the update runs is answered {}, not 422 ConcurrencyError",
            other.told()
        );
        check.that("OSB-UPD-16", holds, wrong, &[&first, &other]);
        if offer.instances_retrievable {
            let holds = fetched.status == 200 || fetched.is_reserved("ConcurrencyError");
            let wrong = format!("GET while the update runs is answered {}", fetched.told());
            check.that("OSB-GETI-05", holds, wrong, &[&first, &fetched]);
        }
    } else {
        check.skip(
            &covered,
            "the update ended too soon: choose a slower plan with --plan and --parameters",
        );
    }
    check.follow(&poll).await;
    check.deprovisioned(target, &id).await;
}

async fn without_accepting(check: &Checker, ground: &Ground) {
    let Some((offer, target)) = slow(ground) else {
        return check.skip(&["OSB-UPD-15"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "sync").await else {
        return;
    };
    let answer = check.send(Call::update(&id, &to(offer, target))).await;
    if answer.status != 200 {
        check.reserved(
            "OSB-UPD-15",
            "an update that only works with 202",
            &answer,
            "AsyncRequired",
        );
    }
    check.deprovisioned(offer, &id).await;
}
