//! While a bind runs.

use super::{Probe, probe};
use crate::answer::Answer;
use crate::call::Call;
use crate::checker::{Checker, End};
use crate::subject::{Ground, Mode, Offer};

pub(crate) const PROBES: &[Probe] = &[
    probe!(
        running,
        "OSB-BIND-10",
        "OSB-BIND-17",
        "OSB-BIND-11",
        "OSB-GETB-02",
        "OSB-LOB-01"
    ),
    probe!(fetched, "OSB-LOB-05", "OSB-GETB-04"),
    probe!(without_accepting, "OSB-BIND-16"),
    probe!(unbind, "OSB-UNB-07", "OSB-UNB-08", "OSB-LOB-08"),
];

const NO_ASYNC: &str = "no bind was answered with 202";
const TOO_QUICK: &str = "the bind ended too soon: choose a slower one with --plan and --bind-parameters";

fn slow(ground: &Ground) -> Option<&Offer> {
    ground
        .pick(|subject| subject.bind == Some(Mode::Async))
        .map(|subject| &subject.offer)
}

/// A bind that was answered with 202.
async fn begun(check: &Checker, offer: &Offer, id: &str, binding: &str) -> Option<Answer> {
    let answer = check
        .send(Call::bind(id, binding, &check.bind_order(offer)).accepting())
        .await;
    (answer.status == 202).then_some(answer)
}

async fn running(check: &Checker, ground: &Ground) {
    let covered = ["OSB-BIND-10", "OSB-BIND-17", "OSB-GETB-02", "OSB-LOB-01"];
    let Some(offer) = slow(ground) else {
        return check.skip(&covered, NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "binding").await else {
        return;
    };
    let (binding, second) = (check.id("running"), check.id("second"));
    if let Some(first) = begun(check, offer, &id, &binding).await {
        let again = check
            .send(Call::bind(&id, &binding, &check.bind_order(offer)).accepting())
            .await;
        let other = check
            .send(Call::bind(&id, &second, &check.bind_order(offer)).accepting())
            .await;
        let fetched = check.send(Call::fetch_binding(&id, &binding)).await;
        let poll = Call::poll_binding(&id, &binding).of_operation(first.operation());
        let polled = check.send(poll.clone()).await;
        check.answers("OSB-LOB-01", "a poll without service_id and plan_id", &polled, &[200]);
        if polled.state() == Some("in progress") {
            check.answers("OSB-BIND-10", "an identical PUT while the bind runs", &again, &[202]);
            let same = again.status != 202 || first.operation() == again.operation();
            check.that(
                "OSB-BIND-10",
                same,
                "a repeated bind has another operation",
                &[&first, &again],
            );
            let holds = other.succeeded() || other.is_reserved("ConcurrencyError");
            let wrong = format!(
                "another bind while one runs is answered {}, not 422 ConcurrencyError",
                other.told()
            );
            check.that("OSB-BIND-17", holds, wrong, &[&first, &other]);
            check.answers("OSB-GETB-02", "GET of a binding that is being made", &fetched, &[404]);
        } else {
            check.skip(&covered, TOO_QUICK);
        }
        check.follow(&poll).await;
        if other.status == 202 {
            check
                .follow(&Call::poll_binding(&id, &second).of_operation(other.operation()))
                .await;
        }
        if other.succeeded() {
            check.unbound(offer, &id, &second).await;
        }
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}

async fn fetched(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-LOB-05", "OSB-GETB-04"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "binding").await else {
        return;
    };
    if let Some(binding) = check.binding(offer, &id, "fetched").await {
        let fetched = check.send(Call::fetch_binding(&id, &binding)).await;
        check.answers(
            "OSB-LOB-05",
            "GET of a binding right after `succeeded`",
            &fetched,
            &[200],
        );
        let names = ["credentials", "syslog_drain_url", "route_service_url", "volume_mounts"];
        let holds = names.iter().any(|name| fetched.member(name).is_some());
        check.that(
            "OSB-GETB-04",
            holds,
            "a binding that was made asynchronously has no credentials",
            &[&fetched],
        );
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}

async fn without_accepting(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-BIND-16"], NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "sync").await else {
        return;
    };
    let binding = check.id("sync");
    let call = Call::bind(&id, &binding, &check.bind_order(offer));
    let answer = check.send(call.clone()).await;
    if answer.status != 201 {
        check.reserved(
            "OSB-BIND-16",
            "a bind that only works with 202",
            &answer,
            "AsyncRequired",
        );
    }
    if answer.status == 202 {
        check.follow(&crate::life::poll_of(&call, answer.operation())).await;
    }
    check.unbound(offer, &id, &binding).await;
    check.deprovisioned(offer, &id).await;
}

/// An unbind while the bind runs.
async fn unbind(check: &Checker, ground: &Ground) {
    let covered = ["OSB-UNB-07", "OSB-UNB-08", "OSB-LOB-08"];
    let Some(offer) = slow(ground) else {
        return check.skip(&covered, NO_ASYNC);
    };
    let Some(id) = check.instance(offer, "orphan").await else {
        return;
    };
    let binding = check.id("orphan");
    if let Some(first) = begun(check, offer, &id, &binding).await {
        let delete = check.delete_binding(offer, &id, &binding).await;
        let holds = delete.is(&[200, 202]) || delete.is_reserved("ConcurrencyError");
        let wrong = format!("DELETE while the bind runs is answered {}", delete.told());
        check.that("OSB-UNB-07", holds, wrong, &[&first, &delete]);
        if delete.status == 202 {
            let poll = Call::poll_binding(&id, &binding).of_operation(delete.operation());
            let followed = check.follow(&poll).await;
            let gone = check.delete_binding(offer, &id, &binding).await;
            let holds = followed.end == End::Gone || followed.end == End::Succeeded && gone.status == 410;
            let wrong = "polls after an accepted unbind do not report it";
            check.that("OSB-LOB-08", holds, wrong, &[&delete, &followed.last, &gone]);
        } else {
            check.skip(&["OSB-LOB-08"], "the unbind was not answered with 202");
            check
                .follow(&Call::poll_binding(&id, &binding).of_operation(first.operation()))
                .await;
        }
        if delete.is(&[200, 202]) {
            let again = check.delete_binding(offer, &id, &binding).await;
            let wrong = format!("after an accepted unbind DELETE is answered {}", again.told());
            check.that("OSB-UNB-08", again.status == 410, wrong, &[&first, &delete, &again]);
        } else {
            check.skip(&["OSB-UNB-08"], "the unbind was refused while the bind ran");
        }
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}
