//! Requests and answers that get lost on the way.

use crate::call::{Call, Verb};
use crate::play::{Kind, Play, Played, Running, not_here, wrong};
use crate::wire::Fault;

use super::lifecycle::updateable;

pub(super) async fn provision_answer_lost(play: &Play<'_>) -> Played {
    provision_with(play, Fault::AnswerLost).await
}

pub(super) async fn provision_connection_broken(play: &Play<'_>) -> Played {
    provision_with(play, Fault::Broken).await
}

pub(super) async fn provision_bad_gateway(play: &Play<'_>) -> Played {
    provision_with(play, Fault::BadGateway).await
}

pub(super) async fn provision_swallowed(play: &Play<'_>) -> Played {
    provision_with(play, Fault::Swallowed).await
}

pub(super) async fn provision_refused(play: &Play<'_>) -> Played {
    provision_with(play, Fault::Refused).await
}

/// A platform that repeats has its instance at the end; the user of another one is told that it has failed. In no case
/// anything is left when all have done their part.
async fn provision_with(play: &Play<'_>, fault: Fault) -> Played {
    let order = play.order();
    play.wire.plan(fault, Call::Provision, 1);
    let end = play.run(Verb::Provision, &order).await;
    if let Err(why) = &end.result
        && end.retries > 0
    {
        return wrong(format!("the platform sends the provision again, in vain: {why}"));
    }
    play.conclude(Verb::Provision, &order, &end).await
}

pub(super) async fn bind_answer_lost(play: &Play<'_>) -> Played {
    bind_with(play, Fault::AnswerLost).await
}

pub(super) async fn bind_bad_gateway(play: &Play<'_>) -> Played {
    bind_with(play, Fault::BadGateway).await
}

async fn bind_with(play: &Play<'_>, fault: Fault) -> Played {
    if !play.subject.is_bindable() {
        return not_here("the plan cannot be bound");
    }
    let order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    play.wire.plan(fault, Call::Bind, 1);
    let end = play.run(Verb::Bind, &order).await;
    if let Err(why) = &end.result
        && end.retries > 0
    {
        return wrong(format!("the platform sends the bind again, in vain: {why}"));
    }
    play.conclude(Verb::Bind, &order, &end).await?;
    play.remove(&order).await
}

pub(super) async fn update_answer_lost(play: &Play<'_>) -> Played {
    let mut order = updateable(play)?;
    play.succeed(Verb::Provision, &order).await?;
    play.wire.plan(Fault::AnswerLost, Call::Update, 1);
    let end = play.run(Verb::Update, &order).await;
    if end.result.is_err() {
        play.wire.heading("the user tries it again");
        play.succeed(Verb::Update, &order).await?;
    }
    if let Some(plan) = order.new_plan.take() {
        order.plan = plan;
    }
    play.remove(&order).await
}

pub(super) async fn unbind_answer_lost(play: &Play<'_>) -> Played {
    if !play.subject.is_bindable() {
        return not_here("the plan cannot be bound");
    }
    let order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    play.succeed(Verb::Bind, &order).await?;
    play.wire.plan(Fault::AnswerLost, Call::Unbind, 1);
    if play.run(Verb::Unbind, &order).await.result.is_err() {
        play.wire.heading("the user tries it again");
        play.succeed(Verb::Unbind, &order).await?;
    }
    play.nothing_left(Kind::Binding, &order, Running::Nothing).await?;
    play.remove(&order).await
}

pub(super) async fn deprovision_answer_lost(play: &Play<'_>) -> Played {
    let order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    play.wire.plan(Fault::AnswerLost, Call::Deprovision, 1);
    if play.run(Verb::Deprovision, &order).await.result.is_err() {
        play.wire.heading("the user tries it again");
        play.succeed(Verb::Deprovision, &order).await?;
    }
    play.nothing_left(Kind::Instance, &order, Running::Nothing).await
}

/// All platforms poll again after a poll that timed out; where the plan is synchronous there is none to lose.
pub(super) async fn polls_lost(play: &Play<'_>) -> Played {
    let order = play.order();
    play.wire.plan(Fault::AnswerLost, Call::PollInstance, 2);
    let end = play.succeed(Verb::Provision, &order).await?;
    play.wire.mend();
    play.remove(&order).await?;
    if !end.asynchronous {
        return not_here("the plan is provisioned synchronously: there is nothing to poll");
    }
    Ok(())
}
