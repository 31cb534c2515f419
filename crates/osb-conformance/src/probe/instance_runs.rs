//! While a provision runs: repeats, other requests, and its end by a deprovision.

use serde_json::json;

use super::{Probe, probe};
use crate::answer::Answer;
use crate::call::Call;
use crate::checker::{Checker, End};
use crate::subject::{Ground, Mode, Offer};

pub(crate) const PROBES: &[Probe] = &[
    probe!(repeats, "OSB-PROV-13", "OSB-BLK-05", "OSB-LOI-01", "OSB-LOI-02"),
    probe!(others, "OSB-BLK-02", "OSB-GETI-04"),
    probe!(deprovision, "OSB-DEP-07", "OSB-DEP-08", "OSB-LOI-13", "OSB-ORP-04"),
];

const NO_ASYNC: &str = "no plan is provisioned asynchronously";
const TOO_QUICK: &str = "the provision ended too soon: choose a slower one with --plan and --parameters";

fn slow(ground: &Ground) -> Option<&Offer> {
    ground
        .pick(|subject| subject.provision == Mode::Async)
        .map(|subject| &subject.offer)
}

/// A provision that was answered with 202.
async fn begun(check: &Checker, offer: &Offer, id: &str) -> Option<Answer> {
    let answer = check.send(Call::provision(id, &check.order(offer)).accepting()).await;
    (answer.status == 202).then_some(answer)
}

/// Whether the operation still ran just now.
async fn runs(check: &Checker, id: &str, operation: Option<&str>) -> bool {
    let poll = check.send(Call::poll_instance(id).of_operation(operation)).await;
    poll.state() == Some("in progress")
}

async fn repeats(check: &Checker, ground: &Ground) {
    let covered = ["OSB-PROV-13", "OSB-BLK-05", "OSB-LOI-01", "OSB-LOI-02"];
    let Some(offer) = slow(ground) else {
        return check.skip(&covered, NO_ASYNC);
    };
    let id = check.id("running");
    let Some(first) = begun(check, offer, &id).await else {
        return;
    };
    let again = check.send(Call::provision(&id, &check.order(offer)).accepting()).await;
    let running = runs(check, &id, first.operation()).await;
    let evidence = [&first, &again];
    if running {
        check.answers(
            "OSB-PROV-13",
            "an identical PUT while the provision runs",
            &again,
            &[202],
        );
        let blocked = again.is_reserved("ConcurrencyError");
        check.that(
            "OSB-BLK-05",
            !blocked,
            "an identical PUT gets ConcurrencyError",
            &evidence,
        );
        let same = first.operation() == again.operation();
        check.that(
            "OSB-PROV-13",
            again.status != 202 || same,
            "a repeated PUT has another operation",
            &evidence,
        );
    } else {
        check.skip(&["OSB-PROV-13", "OSB-BLK-05"], TOO_QUICK);
        check.that(
            "OSB-PROV-13",
            again.is(&[200, 202, 409]),
            "an identical PUT is refused",
            &evidence,
        );
    }
    let bare = check
        .send(Call::poll_instance(&id).of_operation(first.operation()))
        .await;
    check.answers("OSB-LOI-01", "a poll without service_id and plan_id", &bare, &[200]);
    encoded_operation(check, &id, first.operation()).await;
    check
        .follow(&Call::poll_instance(&id).of_operation(first.operation()))
        .await;
    check.deprovisioned(offer, &id).await;
}

/// A poll whose operation has every character percent-encoded, which means the same.
async fn encoded_operation(check: &Checker, id: &str, operation: Option<&str>) {
    let Some(operation) = operation else {
        return check.skip(&["OSB-LOI-02"], "the broker issues no operations");
    };
    let encoded: String = operation.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut call = Call::poll_instance(id);
    call.path = format!("{}?operation={encoded}", call.path);
    let answer = check.send(call).await;
    check.answers(
        "OSB-LOI-02",
        "a poll with the operation in percent-encoding",
        &answer,
        &[200],
    );
}

/// Other requests for an instance that is being made.
async fn others(check: &Checker, ground: &Ground) {
    let Some(offer) = slow(ground) else {
        return check.skip(&["OSB-BLK-02", "OSB-GETI-04"], NO_ASYNC);
    };
    let id = check.id("busy");
    let Some(first) = begun(check, offer, &id).await else {
        return;
    };
    let mut other = check.order(offer);
    other["space_guid"] = json!("osb-check-other");
    let conflict = check.send(Call::provision(&id, &other).accepting()).await;
    let mut blocked = vec![(
        "PATCH",
        check.send(Call::update(&id, &check.order(offer)).accepting()).await,
    )];
    if offer.bindable {
        let bind = Call::bind(&id, &check.id("busy"), &check.bind_order(offer)).accepting();
        blocked.push(("bind", check.send(bind).await));
    }
    let fetched = check.send(Call::fetch_instance(&id)).await;
    if runs(check, &id, first.operation()).await {
        // 400 and 404 say that there is no instance yet.
        for (what, answer) in &blocked {
            let holds = answer.succeeded() || answer.is(&[400, 404, 405]) || answer.is_reserved("ConcurrencyError");
            let wrong = format!(
                "{what} while the provision runs is answered {}, not 422 ConcurrencyError",
                answer.told()
            );
            check.that("OSB-BLK-02", holds, wrong, &[&first, answer]);
        }
        let holds = conflict.status == 409;
        let wrong = format!(
            "another PUT while the provision runs is answered {}, not 409",
            conflict.told()
        );
        check.that("OSB-PROV-15", holds, wrong, &[&first, &conflict]);
        check.answers("OSB-GETI-04", "GET of an instance that is being made", &fetched, &[404]);
    } else {
        check.skip(&["OSB-BLK-02", "OSB-GETI-04"], TOO_QUICK);
    }
    check
        .follow(&Call::poll_instance(&id).of_operation(first.operation()))
        .await;
    check.deprovisioned(offer, &id).await;
}

/// A deprovision while the provision runs: accepted or refused for now, it leaves nothing in the end.
async fn deprovision(check: &Checker, ground: &Ground) {
    let covered = ["OSB-DEP-07", "OSB-DEP-08", "OSB-LOI-13", "OSB-ORP-04"];
    let Some(offer) = slow(ground) else {
        return check.skip(&covered, NO_ASYNC);
    };
    let id = check.id("orphan");
    let Some(first) = begun(check, offer, &id).await else {
        return;
    };
    let delete = check.delete(offer, &id).await;
    let holds = delete.is(&[200, 202]) || delete.is_reserved("ConcurrencyError");
    let wrong = format!("DELETE while the provision runs is answered {}", delete.told());
    check.that("OSB-DEP-07", holds, wrong, &[&first, &delete]);
    if delete.status == 202 {
        let bare = check.send(Call::poll_instance(&id)).await;
        // What is reported as done is the deprovision only when the instance is gone then.
        let followed = check
            .follow(&Call::poll_instance(&id).of_operation(delete.operation()))
            .await;
        let gone = check.delete(offer, &id).await;
        let holds = followed.end == End::Gone || followed.end == End::Succeeded && gone.status == 410;
        let wrong = "polls after an accepted deprovision do not report it";
        check.that("OSB-LOI-13", holds, wrong, &[&delete, &bare, &followed.last, &gone]);
    } else {
        check.skip(&["OSB-LOI-13"], "the deprovision was not answered with 202");
        check
            .follow(&Call::poll_instance(&id).of_operation(first.operation()))
            .await;
    }
    let accepted = delete.is(&[200, 202]);
    if accepted {
        let again = check.delete(offer, &id).await;
        let wrong = format!("after an accepted deprovision DELETE is answered {}", again.told());
        check.that("OSB-DEP-08", again.status == 410, wrong, &[&first, &delete, &again]);
    } else {
        check.skip(&["OSB-DEP-08"], "the deprovision was refused while the provision ran");
    }
    check.deprovisioned(offer, &id).await;
    let last = check.delete(offer, &id).await;
    let wrong = format!(
        "an instance that was deleted while it was made cannot be removed: {}",
        last.told()
    );
    check.that("OSB-ORP-04", last.status == 410, wrong, &[&first, &delete, &last]);
}
