//! A provision and its repeats, once it is complete.

use serde_json::{Value, json};

use super::{NO_PLAN, Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::life::Outcome;
use crate::subject::{Ground, Mode, Subject};

pub(crate) const PROBES: &[Probe] = &[
    probe!(
        repeats,
        "OSB-PROV-10",
        "OSB-PROV-14",
        "OSB-LOI-11",
        "OSB-LOI-12",
        "OSB-ASY-02"
    ),
    probe!(failures, "OSB-PROV-21"),
    probe!(conflicts, "OSB-PROV-15"),
    probe!(polls, "OSB-LOI-05", "OSB-LOI-06", "OSB-LOI-07"),
    probe!(without_accepting, "OSB-PROV-11", "OSB-ASY-04", "OSB-ASY-10"),
];

/// One subject of each mode, the quick one first.
fn modes(ground: &Ground) -> Vec<&Subject> {
    let of = |mode: Mode| ground.pick(|subject| subject.provision == mode);
    [of(Mode::Sync), of(Mode::Async)].into_iter().flatten().collect()
}

async fn repeats(check: &Checker, ground: &Ground) {
    let covered = ["OSB-PROV-10", "OSB-PROV-14", "OSB-LOI-11", "OSB-LOI-12", "OSB-ASY-02"];
    if ground.subjects.is_empty() {
        return check.skip(&covered, NO_PLAN);
    }
    for subject in modes(ground) {
        let offer = &subject.offer;
        let id = check.id("repeat");
        let first = check.provisioned(offer, &id).await;
        if !first.is_done() {
            continue;
        }
        if first.followed.is_none() {
            check.answers("OSB-PROV-10", "a new instance, made at once,", &first.answer, &[201]);
        }
        let again = check.send(Call::provision(&id, &check.order(offer)).accepting()).await;
        check.answers("OSB-PROV-14", "an identical PUT of a complete instance", &again, &[200]);
        let evidence = [&first.answer, &again];
        check.that(
            "OSB-PROV-10",
            again.status != 201,
            "a repeated PUT is answered 201 again",
            &evidence,
        );
        if first.followed.is_none() && again.status == 200 {
            let same = first.answer.json == again.json;
            check.that(
                "OSB-PROV-14",
                same,
                "a repeated PUT has another body than the first one",
                &evidence,
            );
        }
        polled(check, &id, &first).await;
        check.deprovisioned(offer, &id).await;
    }
}

/// What polls say of a complete instance.
async fn polled(check: &Checker, id: &str, first: &Outcome) {
    let poll = check.send(Call::poll_instance(id)).await;
    let wrong = format!(
        "a poll of a complete instance is answered {} {:?}",
        poll.told(),
        poll.state()
    );
    let at_once = first.followed.is_none();
    let requirement = if at_once { "OSB-LOI-12" } else { "OSB-LOI-11" };
    check.that(requirement, poll.state() == Some("succeeded"), wrong, &[&poll]);
    if at_once {
        let runs = poll.state() == Some("in progress");
        let wrong = "a provision was answered as complete and is in progress";
        check.that("OSB-ASY-02", !runs, wrong, &[&first.answer, &poll]);
    }
    if let Some(operation) = first.answer.operation() {
        let poll = check.send(Call::poll_instance(id).of_operation(Some(operation))).await;
        let wrong = format!("a second poll of the finished operation is answered {}", poll.told());
        check.that("OSB-LOI-11", poll.state() == Some("succeeded"), wrong, &[&poll]);
    }
}

/// What was ordered to fail has to be removable, and stays removed.
async fn failures(check: &Checker, ground: &Ground) {
    let Some(parameters) = check.options.failing_parameters.clone() else {
        let reason = "no parameters are known with which a provision fails: give --failing-parameters";
        return check.skip(&["OSB-PROV-21"], reason);
    };
    for subject in modes(ground) {
        let offer = &subject.offer;
        let id = check.id("failing");
        let mut order = check.order(offer);
        order["parameters"] = Value::Object(parameters.clone());
        let made = check.finished(Call::provision(&id, &order).accepting(), offer).await;
        if made.is_done() || made.answer.refused() {
            check.skip(&["OSB-PROV-21"], "the provision with --failing-parameters did not fail");
        } else {
            for _ in 0..2 {
                let removed = check.deprovisioned(offer, &id).await;
                let wrong = format!("the removal of what has failed is answered {}", removed.answer.told());
                check.that("OSB-PROV-21", removed.is_gone(), wrong, &removed.evidence());
            }
        }
        check.deprovisioned(offer, &id).await;
    }
}

/// Another order under an id that is taken.
async fn conflicts(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-PROV-15"], NO_PLAN);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "conflict").await else {
        return;
    };
    let mut other = check.order(offer);
    other["space_guid"] = json!("osb-check-other");
    let mut others = vec![("another space", other)];
    if let Some(plan) = ground.sibling(offer) {
        let mut other = check.order(offer);
        other["plan_id"] = json!(plan.plan_id);
        others.push(("another plan", other));
    }
    for (what, order) in others {
        let answer = check.send(Call::provision(&id, &order).accepting()).await;
        check.answers(
            "OSB-PROV-15",
            &format!("a PUT of the same id with {what}"),
            &answer,
            &[409],
        );
        let again = check.send(Call::provision(&id, &check.order(offer)).accepting()).await;
        let changed = again.status == 409 || again.status == 201;
        let wrong = format!(
            "a PUT with {what} has changed the instance: the first order is now {}",
            again.told()
        );
        check.that("OSB-PROV-15", !changed, wrong, &[&answer, &again]);
    }
    check.deprovisioned(offer, &id).await;
}

async fn polls(check: &Checker, ground: &Ground) {
    let covered = ["OSB-LOI-05", "OSB-LOI-06", "OSB-LOI-07"];
    let Some(subject) = ground.any() else {
        return check.skip(&covered, NO_PLAN);
    };
    let never = check.send(Call::poll_instance(&check.id("never"))).await;
    check.answers(
        "OSB-LOI-06",
        "a poll of an instance that was never there",
        &never,
        &[404],
    );
    check.that(
        "OSB-LOI-07",
        never.status != 410,
        "a poll of what was never there is answered 410",
        &[&never],
    );
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "polled").await else {
        return;
    };
    let strange = check
        .send(Call::poll_instance(&id).of_operation(Some("osb check/none?")))
        .await;
    let holds = strange.was_answered() && strange.status < 500;
    let wrong = format!(
        "a poll of an operation that was never issued is answered {}",
        strange.told()
    );
    check.that("OSB-LOI-05", holds, wrong, &[&strange]);
    let poll = check.send(Call::poll_instance(&id)).await;
    check.that(
        "OSB-LOI-07",
        poll.status != 410,
        "a poll of an instance that is there is answered 410",
        &[&poll],
    );
    check.deprovisioned(offer, &id).await;
}

/// Without leave to answer 202.
async fn without_accepting(check: &Checker, ground: &Ground) {
    let covered = ["OSB-PROV-11", "OSB-ASY-04", "OSB-ASY-10"];
    let Some(subject) = ground.pick(|subject| subject.provision == Mode::Async) else {
        return check.skip(&covered, "no plan is provisioned asynchronously");
    };
    let offer = &subject.offer;
    for value in [None, Some("false"), Some("TRUE"), Some("1")] {
        let id = check.id("sync");
        let mut call = Call::provision(&id, &check.order(offer));
        if let Some(value) = value {
            call = call.query("accepts_incomplete", value);
        }
        let answer = check.send(call.clone()).await;
        let other = matches!(value, Some("TRUE" | "1"));
        if other {
            let wrong = format!("accepts_incomplete={} is taken for true", value.unwrap_or_default());
            check.that("OSB-ASY-10", answer.status != 202, wrong, &[&answer]);
        } else if answer.status != 201 {
            check.reserved(
                "OSB-PROV-11",
                "a provision that only works with 202",
                &answer,
                "AsyncRequired",
            );
        } else {
            check.that("OSB-PROV-11", true, "", &[]);
        }
        if answer.refused() {
            let delete = check.delete(offer, &id).await;
            let wrong = "a provision was refused with AsyncRequired, and yet there is something under the id";
            check.that("OSB-ASY-04", delete.is(&[404, 410]), wrong, &[&answer, &delete]);
        } else {
            check.skip(&["OSB-ASY-04"], "the plan also works without accepts_incomplete");
            if answer.status == 202 {
                check.follow(&crate::life::poll_of(&call, answer.operation())).await;
            }
        }
        check.deprovisioned(offer, &id).await;
    }
}
