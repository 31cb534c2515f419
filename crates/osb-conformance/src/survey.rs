//! The first look: the catalog, and one life of each plan.

use serde_json::Value;

use crate::answer::Answer;
use crate::call::Call;
use crate::checker::Checker;
use crate::rules;
use crate::subject::{Ground, Offer, Subject};

/// The most plans that are tried.
const MAX_PLANS: usize = 12;

/// What the survey looks at.
pub(crate) const COVERED: &[&str] = &["OSB-VER-01", "OSB-CAT-01", "OSB-PROV-08", "OSB-BIND-08", "OSB-POLL-02"];

/// Fetches the catalog and tries the plans.
pub(crate) async fn survey(check: &Checker) -> Ground {
    let current = check.send(Call::catalog().version("2.17")).await;
    check.answers("OSB-VER-01", "version 2.17", &current, &[200]);
    let answer = check.send(Call::catalog()).await;
    let usable = answer.status == 200 && answer.member("services").is_some_and(Value::is_array);
    check.that(
        "OSB-CAT-01",
        usable,
        "the catalog is no 200 with an array `services`",
        &[&answer],
    );
    let Some(catalog) = answer.json.as_ref().filter(|_| usable) else {
        return Ground::default();
    };
    check.announce(catalog);
    check.findings(rules::catalog::look(catalog), &[]);
    let offers = Offer::all(catalog);
    let mut subjects = Vec::new();
    let (service, plan) = (check.options.service.as_deref(), check.options.plan.as_deref());
    let chosen: Vec<_> = offers.iter().filter(|offer| offer.is(service, plan)).collect();
    if chosen.is_empty() {
        check.skip(COVERED, "the catalog has no such plan");
    }
    let mut refused: Vec<Answer> = Vec::new();
    for offer in chosen.into_iter().take(MAX_PLANS) {
        match life(check, offer).await {
            Ok(subject) => subjects.push(subject),
            Err(answer) => refused.push(answer),
        }
    }
    // A plan may want parameters that are not known here; a broker of which no plan works is another matter.
    if subjects.is_empty() {
        for answer in &refused {
            check.that("OSB-PROV-08", false, "no plan can be provisioned", &[answer]);
        }
    }
    Ground { offers, subjects }
}

/// One life of a plan.
async fn life(check: &Checker, offer: &Offer) -> Result<Subject, Answer> {
    let id = check.id("survey");
    let made = check.provisioned(offer, &id).await;
    if !made.is_done() {
        return Err(made.answer);
    }
    check.that("OSB-PROV-08", true, "", &[]);
    let mut subject = Subject {
        offer: offer.clone(),
        provision: made.mode(),
        deprovision: None,
        bind: None,
        unbind: None,
    };
    if offer.bindable {
        bind(check, offer, &id, &mut subject).await;
    }
    let removed = check.deprovisioned(offer, &id).await;
    if removed.is_gone() && removed.answer.succeeded() {
        subject.deprovision = Some(removed.mode());
    }
    Ok(subject)
}

async fn bind(check: &Checker, offer: &Offer, id: &str, subject: &mut Subject) {
    let binding = check.id("survey");
    let bound = check.bound(offer, id, &binding).await;
    // The broker may want parameters that are not known here.
    let wrong = format!(
        "{} is bindable and cannot be bound: {}",
        offer.label,
        bound.answer.told()
    );
    let holds = bound.is_done() || bound.answer.is(&[400, 422]);
    check.that("OSB-BIND-08", holds, wrong, &bound.evidence());
    if !bound.is_done() {
        return;
    }
    subject.bind = Some(bound.mode());
    let unbound = check.unbound(offer, id, &binding).await;
    if unbound.is_gone() && unbound.answer.succeeded() {
        subject.unbind = Some(unbound.mode());
    }
}
