//! The broker is killed and started again, between an answer and the next request.

use std::time::{Duration, Instant};

use super::{NO_PLAN, Probe, probe};
use crate::answer::Answer;
use crate::call::Call;
use crate::checker::{Checker, End};
use crate::life::poll_of;
use crate::subject::{Ground, Mode, Offer, Subject};

pub(crate) const PROBES: &[Probe] = &[probe!(
    crashes,
    "OSB-CRASH-01",
    "OSB-CRASH-02",
    "OSB-CRASH-03",
    "OSB-CRASH-04"
)];

const COVERED: &[&str] = &["OSB-CRASH-01", "OSB-CRASH-02", "OSB-CRASH-03", "OSB-CRASH-04"];

/// How long a broker may take to answer again.
const START: Duration = Duration::from_secs(120);

/// Kills and starts the broker, and waits until it answers.
async fn restart(check: &Checker) -> Result<(), String> {
    let restart = check
        .options
        .restart
        .clone()
        .ok_or("no command restarts the broker: give --restart")?;
    restart().await?;
    let deadline = Instant::now() + START;
    loop {
        let answer = check.send_unjudged(Call::catalog()).await;
        if answer.status == 200 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("after the restart the broker answers {}", answer.told()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn crashes(check: &Checker, ground: &Ground) {
    if check.options.restart.is_none() {
        return check.skip(COVERED, "no command restarts the broker: give --restart");
    }
    let Some(quick) = ground.bound().or_else(|| ground.any()) else {
        return check.skip(COVERED, NO_PLAN);
    };
    let Some(kept) = Kept::make(check, quick).await else {
        return;
    };
    let accepted = accepted(check, ground).await;
    if let Err(error) = restart(check).await {
        for id in COVERED {
            check.that(id, false, error.clone(), &[]);
        }
        return;
    }
    if accepted.is_empty() {
        check.skip(&["OSB-CRASH-01"], "nothing was answered with 202");
    }
    for accepted in accepted {
        accepted.look(check).await;
    }
    kept.look(check, quick).await;
}

/// What was complete before the crash.
struct Kept {
    instance: String,
    binding: Option<String>,
    /// Made and removed.
    removed: Option<String>,
}

impl Kept {
    async fn make(check: &Checker, subject: &Subject) -> Option<Self> {
        let offer = &subject.offer;
        let instance = check.instance(offer, "kept").await?;
        let binding = match subject.bind {
            Some(_) => check.binding(offer, &instance, "kept").await,
            None => None,
        };
        let removed = check.instance(offer, "gone").await;
        if let Some(removed) = &removed {
            check.deprovisioned(offer, removed).await;
        }
        Some(Self {
            instance,
            binding,
            removed,
        })
    }

    async fn look(&self, check: &Checker, subject: &Subject) {
        let offer = &subject.offer;
        let again = Call::provision(&self.instance, &check.order(offer)).accepting();
        let again = check.send(again).await;
        let what = "an identical PUT of an instance from before the crash";
        check.answers("OSB-CRASH-02", what, &again, &[200]);
        if let Some(binding) = &self.binding {
            let unbound = check.unbound(offer, &self.instance, binding).await;
            let wrong = format!(
                "an unbind of a binding from before the crash is answered {}",
                unbound.answer.told()
            );
            let holds = unbound.answer.is(&[200, 202]) && unbound.is_gone();
            check.that("OSB-CRASH-03", holds, wrong, &unbound.evidence());
        } else {
            check.skip(&["OSB-CRASH-03"], super::NOT_BINDABLE);
        }
        check.deprovisioned(offer, &self.instance).await;
        if let Some(removed) = &self.removed {
            let delete = check.delete(offer, removed).await;
            let what = "DELETE of an instance that was removed before the crash";
            check.answers("OSB-CRASH-04", what, &delete, &[410]);
        }
    }
}

/// A request that was answered with 202 before the crash.
struct Accepted<'a> {
    what: &'static str,
    call: Call,
    answer: Answer,
    offer: &'a Offer,
    instance: String,
    removes: bool,
}

impl Accepted<'_> {
    /// It has come to an end, and what it was about can be removed.
    async fn look(&self, check: &Checker) {
        let followed = check.follow(&poll_of(&self.call, self.answer.operation())).await;
        let ends = matches!(followed.end, End::Succeeded | End::Failed) || self.removes && followed.end == End::Gone;
        let wrong = format!("{} that was accepted before a crash has no end after it", self.what);
        check.that("OSB-CRASH-01", ends, wrong, &[&self.answer, &followed.last]);
        check.deprovisioned(self.offer, &self.instance).await;
    }
}

/// A provision, a deprovision and a bind that are accepted and not polled.
async fn accepted<'a>(check: &Checker, ground: &'a Ground) -> Vec<Accepted<'a>> {
    let slow = |mode: fn(&Subject) -> Option<Mode>| {
        ground
            .pick(|subject| mode(subject) == Some(Mode::Async))
            .map(|subject| &subject.offer)
    };
    let mut calls = Vec::new();
    // What takes time to prepare comes first.
    if let Some(offer) = slow(|subject| subject.bind)
        && let Some(id) = check.instance(offer, "binding").await
    {
        let call = Call::bind(&id, &check.id("running"), &check.bind_order(offer));
        calls.push(("a bind", call, offer, id, false));
    }
    if let Some(offer) = slow(|subject| subject.deprovision)
        && let Some(id) = check.instance(offer, "removing").await
    {
        let call = Call::deprovision(&id, &offer.service_id, &offer.plan_id);
        calls.push(("a deprovision", call, offer, id, true));
    }
    if let Some(offer) = slow(|subject| Some(subject.provision)) {
        let id = check.id("running");
        let call = Call::provision(&id, &check.order(offer));
        calls.push(("a provision", call, offer, id, false));
    }
    let mut accepted = Vec::new();
    for (what, call, offer, instance, removes) in calls {
        let answer = check.send(call.clone().accepting()).await;
        if answer.status == 202 {
            accepted.push(Accepted {
                what,
                call,
                answer,
                offer,
                instance,
                removes,
            });
        }
    }
    accepted
}
