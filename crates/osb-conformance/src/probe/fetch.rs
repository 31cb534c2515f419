//! Fetching instances and bindings.

use super::{NO_PLAN, Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::subject::Ground;

pub(crate) const PROBES: &[Probe] = &[
    probe!(instances, "OSB-GETI-01", "OSB-GETI-04", "OSB-GETI-07"),
    probe!(not_offered, "OSB-GETI-09"),
    probe!(bindings, "OSB-GETB-01", "OSB-GETB-02"),
];

async fn instances(check: &Checker, ground: &Ground) {
    let covered = ["OSB-GETI-01", "OSB-GETI-04", "OSB-GETI-07"];
    let Some(subject) = ground.pick(|subject| subject.offer.instances_retrievable) else {
        return check.skip(&covered, "no offering has instances_retrievable");
    };
    let offer = &subject.offer;
    let never = check.send(Call::fetch_instance(&check.id("never"))).await;
    check.answers("OSB-GETI-04", "GET of an instance that was never there", &never, &[404]);
    let Some(id) = check.instance(offer, "fetched").await else {
        return;
    };
    let bare = check.send(Call::fetch_instance(&id)).await;
    check.answers("OSB-GETI-01", "GET of an instance", &bare, &[200]);
    let hinted = Call::fetch_instance(&id)
        .query("service_id", &offer.service_id)
        .query("plan_id", &offer.plan_id);
    let hinted = check.send(hinted).await;
    check.answers(
        "OSB-GETI-01",
        "GET of an instance with service_id and plan_id",
        &hinted,
        &[200],
    );
    for (name, expected) in [("service_id", &offer.service_id), ("plan_id", &offer.plan_id)] {
        let holds = bare.text(name).is_none_or(|text| text == expected);
        check.that(
            "OSB-GETI-07",
            holds,
            format!("a fetched instance has another `{name}`"),
            &[&bare],
        );
    }
    check.deprovisioned(offer, &id).await;
    let gone = check.send(Call::fetch_instance(&id)).await;
    check.answers("OSB-GETI-04", "GET of an instance that is removed", &gone, &[404]);
}

async fn not_offered(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.pick(|subject| !subject.offer.instances_retrievable) else {
        let reason = if ground.subjects.is_empty() {
            NO_PLAN
        } else {
            "every offering has instances_retrievable"
        };
        return check.skip(&["OSB-GETI-09"], reason);
    };
    let Some(id) = check.instance(&subject.offer, "unfetched").await else {
        return;
    };
    let answer = check.send(Call::fetch_instance(&id)).await;
    check.answers(
        "OSB-GETI-09",
        "GET of an instance that is not retrievable",
        &answer,
        &[404, 200],
    );
    check.deprovisioned(&subject.offer, &id).await;
}

async fn bindings(check: &Checker, ground: &Ground) {
    let fits = |subject: &crate::subject::Subject| subject.offer.bindings_retrievable && subject.bind.is_some();
    let Some(subject) = ground.pick(fits) else {
        return check.skip(
            &["OSB-GETB-01", "OSB-GETB-02"],
            "no bindable plan has bindings_retrievable",
        );
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "fetched").await else {
        return;
    };
    let never = check.send(Call::fetch_binding(&id, &check.id("never"))).await;
    check.answers("OSB-GETB-02", "GET of a binding that was never there", &never, &[404]);
    if let Some(binding) = check.binding(offer, &id, "fetched").await {
        let bare = check.send(Call::fetch_binding(&id, &binding)).await;
        check.answers("OSB-GETB-01", "GET of a binding", &bare, &[200]);
        if let Some(other) = check.instance(offer, "other").await {
            let foreign = check.send(Call::fetch_binding(&other, &binding)).await;
            check.answers("OSB-GETB-02", "GET of a binding of another instance", &foreign, &[404]);
            check.deprovisioned(offer, &other).await;
        }
        check.unbound(offer, &id, &binding).await;
        let gone = check.send(Call::fetch_binding(&id, &binding)).await;
        check.answers("OSB-GETB-02", "GET of a binding that is removed", &gone, &[404]);
    }
    check.deprovisioned(offer, &id).await;
}
