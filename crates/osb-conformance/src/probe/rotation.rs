//! Rotation: a new binding that takes over from another one.

use serde_json::{Value, json};

use super::{Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::life::Outcome;
use crate::subject::{Ground, Offer, Subject};

pub(crate) const PROBES: &[Probe] = &[
    probe!(rotate, "OSB-ROT-02", "OSB-ROT-03", "OSB-ROT-05", "OSB-ROT-07"),
    probe!(parameters, "OSB-ROT-06"),
    probe!(predecessors, "OSB-ROT-04"),
    probe!(not_offered, "OSB-ROT-08"),
];

const NOT_ROTATABLE: &str = "no plan has binding_rotatable";

fn rotatable(ground: &Ground) -> Option<&Offer> {
    let fits = |subject: &Subject| subject.offer.rotatable && subject.bind.is_some();
    ground.pick(fits).map(|subject| &subject.offer)
}

async fn rotated(check: &Checker, offer: &Offer, id: &str, binding: &str, body: &Value) -> Outcome {
    check.finished(Call::bind(id, binding, body).accepting(), offer).await
}

/// Whether a binding is there: an identical or other PUT of its id does not make it anew.
async fn is_there(check: &Checker, offer: &Offer, id: &str, binding: &str) -> (bool, crate::answer::Answer) {
    if offer.bindings_retrievable {
        let fetched = check.send(Call::fetch_binding(id, binding)).await;
        return (fetched.status == 200, fetched);
    }
    let again = check
        .send(Call::bind(id, binding, &check.bind_order(offer)).accepting())
        .await;
    (again.is(&[200, 409]), again)
}

async fn rotate(check: &Checker, ground: &Ground) {
    let covered = ["OSB-ROT-02", "OSB-ROT-03", "OSB-ROT-05", "OSB-ROT-07"];
    let Some(offer) = rotatable(ground) else {
        return check.skip(&covered, NOT_ROTATABLE);
    };
    let Some(id) = check.instance(offer, "rotated").await else {
        return;
    };
    for named in [true, false] {
        let Some(old) = check.binding(offer, &id, "old").await else {
            continue;
        };
        let mut body = json!({"predecessor_binding_id": old});
        if named {
            body["service_id"] = json!(offer.service_id);
            body["plan_id"] = json!(offer.plan_id);
        }
        let new = check.id("new");
        let made = rotated(check, offer, &id, &new, &body).await;
        let requirement = if named { "OSB-ROT-02" } else { "OSB-ROT-03" };
        let wrong = format!("a rotation is answered {}", made.answer.told());
        check.that(
            requirement,
            made.is_done() && made.answer.is(&[201, 202]),
            wrong,
            &made.evidence(),
        );
        let (there, answer) = is_there(check, offer, &id, &old).await;
        check.that(
            "OSB-ROT-05",
            there,
            "after a rotation the predecessor is gone",
            &[&made.answer, &answer],
        );
        // Once the old one goes first, once the new one.
        let (first, second) = if named { (&old, &new) } else { (&new, &old) };
        check.unbound(offer, &id, first).await;
        if made.is_done() {
            let (there, answer) = is_there(check, offer, &id, second).await;
            check.that(
                "OSB-ROT-07",
                there,
                "unbinding one of the two has removed the other",
                &[&answer],
            );
        }
        check.unbound(offer, &id, second).await;
    }
    check.deprovisioned(offer, &id).await;
}

async fn parameters(check: &Checker, ground: &Ground) {
    let Some(offer) = rotatable(ground).filter(|offer| offer.bindings_retrievable) else {
        return check.skip(&["OSB-ROT-06"], "no rotatable plan has retrievable bindings");
    };
    let Some(id) = check.instance(offer, "rotated").await else {
        return;
    };
    let Some(old) = check.binding(offer, &id, "old").await else {
        return;
    };
    let new = check.id("new");
    let made = rotated(check, offer, &id, &new, &json!({"predecessor_binding_id": old})).await;
    let before = check.send(Call::fetch_binding(&id, &old)).await;
    let after = check.send(Call::fetch_binding(&id, &new)).await;
    if before.member("parameters").is_some() && made.is_done() {
        let same = before.member("parameters") == after.member("parameters");
        check.that(
            "OSB-ROT-06",
            same,
            "the successor has other parameters than its predecessor",
            &[&before, &after],
        );
    } else {
        check.skip(
            &["OSB-ROT-06"],
            "bindings have no parameters, or do not tell them: give --bind-parameters",
        );
    }
    check.unbound(offer, &id, &new).await;
    check.unbound(offer, &id, &old).await;
    check.deprovisioned(offer, &id).await;
}

async fn predecessors(check: &Checker, ground: &Ground) {
    let Some(offer) = rotatable(ground) else {
        return check.skip(&["OSB-ROT-04"], NOT_ROTATABLE);
    };
    let Some(id) = check.instance(offer, "rotated").await else {
        return;
    };
    let Some(other) = check.instance(offer, "other").await else {
        return;
    };
    let foreign = check.binding(offer, &other, "foreign").await.unwrap_or_default();
    for (what, predecessor) in [
        ("that was never there", check.id("never")),
        ("of another instance", foreign),
    ] {
        let new = check.id("new");
        let body = json!({
            "predecessor_binding_id": predecessor, "service_id": offer.service_id, "plan_id": offer.plan_id,
        });
        let made = rotated(check, offer, &id, &new, &body).await;
        check.answers(
            "OSB-ROT-04",
            &format!("a rotation of a binding {what}"),
            &made.answer,
            &[400],
        );
        check.unbound(offer, &id, &new).await;
    }
    check.deprovisioned(offer, &other).await;
    check.deprovisioned(offer, &id).await;
}

async fn not_offered(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.pick(|subject| !subject.offer.rotatable && subject.bind.is_some()) else {
        return check.skip(&["OSB-ROT-08"], "no bindable plan is without rotation");
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "fixed").await else {
        return;
    };
    if let Some(old) = check.binding(offer, &id, "old").await {
        let new = check.id("new");
        let mut body = check.bind_order(offer);
        body["predecessor_binding_id"] = json!(old);
        let made = rotated(check, offer, &id, &new, &body).await;
        check.answers(
            "OSB-ROT-08",
            "a rotation that the catalog does not offer",
            &made.answer,
            &[400, 422],
        );
        check.unbound(offer, &id, &new).await;
        check.unbound(offer, &id, &old).await;
    }
    check.deprovisioned(offer, &id).await;
}
