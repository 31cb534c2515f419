//! Requests at the same time.

use futures::future::join_all;
use serde_json::json;

use super::{NO_PLAN, Probe, probe};
use crate::answer::Answer;
use crate::call::Call;
use crate::checker::Checker;
use crate::subject::{Ground, Offer, Subject};

pub(crate) const PROBES: &[Probe] = &[
    probe!(provisions, "OSB-BLK-04", "OSB-BLK-02"),
    probe!(different, "OSB-BLK-04"),
    probe!(binds, "OSB-BLK-04"),
];

/// How many requests are sent at once.
const AT_ONCE: usize = 8;
/// How often each race is run: one meeting proves little.
const ROUNDS: usize = 3;

async fn at_once(check: &Checker, calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
    join_all(calls.into_iter().map(|call| check.send(call))).await
}

/// At most one may say that it was the one.
fn at_most_one(check: &Checker, what: &str, answers: &[Answer], status: u16) {
    let winners: Vec<&Answer> = answers.iter().filter(|answer| answer.status == status).collect();
    let wrong = format!(
        "of {} {what} at the same time {} are answered {status}",
        answers.len(),
        winners.len()
    );
    check.that("OSB-BLK-04", winners.len() <= 1, wrong, &winners);
}

/// None may be lost, or be a fault; what is refused is refused with 422 ConcurrencyError, or with `allowed`.
fn no_fault(check: &Checker, what: &str, answers: &[Answer], allowed: &[u16]) {
    for answer in answers {
        let sound = answer.was_answered() && answer.status < 500;
        check.that(
            "OSB-BLK-04",
            sound,
            format!("one of {what} is answered {}", answer.told()),
            &[answer],
        );
        let holds = !sound || answer.succeeded() || answer.is(allowed) || answer.is_reserved("ConcurrencyError");
        check.that(
            "OSB-BLK-02",
            holds,
            format!("one of {what} is answered {}", answer.told()),
            &[answer],
        );
    }
}

/// The quickest plan, and the quickest that is made asynchronously.
fn racers(ground: &Ground) -> Vec<&Subject> {
    let slow = ground.pick(|subject| subject.provision == crate::subject::Mode::Async);
    let any = ground.any();
    let slow = slow.filter(|slow| any.is_some_and(|any| any.offer.plan_id != slow.offer.plan_id));
    any.into_iter().chain(slow).collect()
}

async fn settle(check: &Checker, id: &str, answers: &[Answer]) {
    if let Some(accepted) = answers.iter().find(|answer| answer.status == 202) {
        check
            .follow(&Call::poll_instance(id).of_operation(accepted.operation()))
            .await;
    }
}

async fn provisions(check: &Checker, ground: &Ground) {
    if ground.subjects.is_empty() {
        return check.skip(&["OSB-BLK-04", "OSB-BLK-02"], NO_PLAN);
    }
    for subject in racers(ground) {
        let offer = &subject.offer;
        for _ in 0..ROUNDS {
            let id = check.id("race");
            let put = Call::provision(&id, &check.order(offer)).accepting();
            let answers = at_once(check, std::iter::repeat_n(put, AT_ONCE)).await;
            at_most_one(check, "identical provisions", &answers, 201);
            no_fault(check, "identical provisions", &answers, &[409]);
            let operations: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
            let same = operations
                .windows(2)
                .all(|pair| pair[0].operation() == pair[1].operation());
            check.that(
                "OSB-BLK-04",
                same,
                "identical provisions at the same time have several operations",
                &operations,
            );
            settle(check, &id, &answers).await;
            let delete = Call::deprovision(&id, &offer.service_id, &offer.plan_id).accepting();
            let answers = at_once(check, std::iter::repeat_n(delete, AT_ONCE)).await;
            at_most_one(check, "deprovisions", &answers, 200);
            no_fault(check, "deprovisions", &answers, &[410]);
            settle(check, &id, &answers).await;
            gone(check, subject, &id).await;
        }
    }
}

async fn gone(check: &Checker, subject: &Subject, id: &str) {
    check.deprovisioned(&subject.offer, id).await;
    let last = check.delete(&subject.offer, id).await;
    let wrong = format!("after many deprovisions at once one more is answered {}", last.told());
    check.that("OSB-BLK-04", last.status == 410, wrong, &[&last]);
}

/// Several orders for one id at once: only one may win.
async fn different(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-BLK-04"], NO_PLAN);
    };
    let offer = &subject.offer;
    if !tells_apart(check, offer).await {
        return check.skip(
            &["OSB-BLK-04"],
            "the broker takes another order for the same one (OSB-PROV-15)",
        );
    }
    for _ in 0..ROUNDS {
        let id = check.id("race");
        let order = |number: usize| {
            let mut order = check.order(offer);
            order["space_guid"] = json!(format!("osb-check-{number}"));
            Call::provision(&id, &order).accepting()
        };
        let answers = at_once(check, (0..AT_ONCE).map(order)).await;
        no_fault(check, "different provisions of one id", &answers, &[409]);
        let winners: Vec<&Answer> = answers.iter().filter(|answer| answer.succeeded()).collect();
        let wrong = format!("of different provisions of one id {} succeed", winners.len());
        check.that("OSB-BLK-04", winners.len() == 1, wrong, &winners);
        settle(check, &id, &answers).await;
        check.deprovisioned(offer, &id).await;
    }
}

/// Whether another order for an id is refused when there is time.
async fn tells_apart(check: &Checker, offer: &Offer) -> bool {
    let Some(id) = check.instance(offer, "race").await else {
        return false;
    };
    let mut other = check.order(offer);
    other["space_guid"] = json!("osb-check-other");
    let answer = check.send(Call::provision(&id, &other).accepting()).await;
    check.deprovisioned(offer, &id).await;
    answer.status == 409
}

async fn binds(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.bound() else {
        return check.skip(&["OSB-BLK-04"], super::NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "race").await else {
        return;
    };
    for _ in 0..ROUNDS {
        let binding = check.id("race");
        let bind = Call::bind(&id, &binding, &check.bind_order(offer)).accepting();
        let answers = at_once(check, std::iter::repeat_n(bind, AT_ONCE)).await;
        at_most_one(check, "identical binds", &answers, 201);
        no_fault(check, "identical binds", &answers, &[409]);
        if let Some(accepted) = answers.iter().find(|answer| answer.status == 202) {
            check
                .follow(&Call::poll_binding(&id, &binding).of_operation(accepted.operation()))
                .await;
        }
        let unbind = Call::unbind(&id, &binding, &offer.service_id, &offer.plan_id).accepting();
        let answers = at_once(check, std::iter::repeat_n(unbind, AT_ONCE)).await;
        at_most_one(check, "unbinds", &answers, 200);
        no_fault(check, "unbinds", &answers, &[410]);
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}
