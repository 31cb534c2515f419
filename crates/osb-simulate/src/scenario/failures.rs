//! Things that do not work, and brokers that are away.

use uuid::Uuid;

use crate::call::{Call, Verb};
use crate::job::Mitigation;
use crate::play::{Kind, Play, Played, Running, not_here, wrong};
use crate::wire::Fault;

/// So often the broker cannot be reached in an outage: Cloud Foundry's last try is the one after these.
const OUTAGE: u32 = 10;

/// A plan that the broker does not have: the platform's copy of the catalog is old. No DELETE follows, not even when
/// the user of some platforms removes the instance, so nothing may be there.
pub(super) async fn refused_provision(play: &Play<'_>) -> Played {
    let mut order = play.order();
    order.plan = Uuid::new_v4().to_string();
    order.maintenance = None;
    let end = play.run_with(Verb::Provision, &order, 1).await;
    if end.result.is_ok() {
        return wrong("a plan that is not in the catalog was provisioned");
    }
    if end.mitigation != Mitigation::None {
        return wrong("a plan that is not in the catalog is refused in such a way that the platform mitigates");
    }
    if !play.rules().trusts_refusals() {
        play.wire.heading("the user removes the failed instance");
        play.succeed(Verb::Deprovision, &order).await?;
    }
    play.nothing_left(Kind::Instance, &order, Running::Nothing).await
}

/// Fails in the end, is mitigated or removed by the user, and leaves nothing.
pub(super) async fn failing_provision(play: &Play<'_>) -> Played {
    let Some(parameters) = &play.options.failing_parameters else {
        return not_here("no parameters are given with which a provision fails");
    };
    let mut order = play.order();
    order.parameters = parameters.clone();
    let end = play.run_with(Verb::Provision, &order, 1).await;
    if end.result.is_ok() {
        return wrong("the provision should have failed with these parameters");
    }
    if end.mitigation == Mitigation::None && !play.rules().trusts_refusals() {
        play.wire.heading("the user removes the failed instance");
        play.succeed(Verb::Deprovision, &order).await?;
    }
    if end.mitigation == Mitigation::GivenUp {
        return wrong("the orphan mitigation did not succeed, however often the platform tried");
    }
    play.nothing_left(Kind::Instance, &order, Running::after(&end.mitigation))
        .await
}

/// The answer of a provision is lost, and then the broker is away until the last try of the platform's mitigation: 34
/// hours with Cloud Foundry. A platform without mitigation repeats its request for so long.
pub(super) async fn outage(play: &Play<'_>) -> Played {
    if !play.wire.clock.jumps() {
        return not_here("it takes a day and more: only in virtual time");
    }
    let order = play.order();
    if play.rules().mitigates() {
        play.wire.plan(Fault::AnswerLate, Call::Provision, 1);
        play.wire.plan(Fault::Refused, Call::Deprovision, OUTAGE);
    } else {
        play.wire.plan(Fault::Refused, Call::Provision, OUTAGE);
    }
    let end = play.run_with(Verb::Provision, &order, OUTAGE).await;
    play.conclude(Verb::Provision, &order, &end).await
}

/// No poll is answered, so the platform's patience ends; then the broker is there again.
pub(super) async fn polling_limit(play: &Play<'_>) -> Played {
    if !play.wire.clock.jumps() {
        return not_here("it takes a week: only in virtual time");
    }
    let order = play.order();
    if play.rules().polling_limit(order.terms.maximum_polling).is_none() {
        return not_here("the platform polls without end");
    }
    play.wire
        .plan_until(Fault::Swallowed, Call::PollInstance, Call::Deprovision);
    let end = play.run_with(Verb::Provision, &order, 0).await;
    play.wire.mend();
    play.conclude(Verb::Provision, &order, &end).await?;
    if !end.asynchronous {
        return not_here("the plan is provisioned synchronously: there is nothing to poll");
    }
    Ok(())
}
