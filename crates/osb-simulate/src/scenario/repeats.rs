//! The same call more than once, and calls at the same time.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use crate::answer::{Answer, Outcome, Progress, summary};
use crate::call::{Call, Order, Verb};
use crate::platform::Purpose;
use crate::play::{Kind, Play, Played, Running, credentials, not_here, wrong};
use crate::wire::Fault;

/// So many workers of a platform poll at the same time.
const WORKERS: usize = 8;

/// A proxy delivers it twice at the same time, and a controller that was restarted sends it once more.
pub(super) async fn repeated_provision(play: &Play<'_>) -> Played {
    let order = play.order();
    play.wire.plan(Fault::Twice, Call::Provision, 1);
    play.succeed(Verb::Provision, &order).await?;
    agree(play)?;
    play.wire.heading("the same once more");
    let outcome = play.send(Call::Provision, &order, None).await;
    is_repeat(&outcome, "provision")?;
    play.remove(&order).await
}

pub(super) async fn repeated_bind(play: &Play<'_>) -> Played {
    if !play.subject.is_bindable() {
        return not_here("the plan cannot be bound");
    }
    let order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    play.wire.plan(Fault::Twice, Call::Bind, 1);
    let end = play.succeed(Verb::Bind, &order).await?;
    agree(play)?;
    play.wire.heading("the same once more");
    let outcome = play.send(Call::Bind, &order, None).await;
    let answer = is_repeat(&outcome, "bind")?;
    let first = end.result.as_ref().ok().and_then(credentials);
    let again = answer.object().and_then(credentials);
    if first.is_some() && again != first {
        return wrong("the repeated bind does not give the same credentials as the first");
    }
    play.succeed(Verb::Unbind, &order).await?;
    play.remove(&order).await
}

/// What a repeat of something that is done is answered with: 200.
fn is_repeat<'o>(outcome: &'o Outcome, what: &str) -> Played<&'o Answer> {
    match outcome {
        Ok(answer) if answer.status == 200 && answer.object().is_some() => Ok(answer),
        other => wrong(format!(
            "an identical {what} of what is there already is answered with {} instead of 200",
            summary(other)
        )),
    }
}

/// Both answers to a request that arrived twice are successes, at most one of them has made something, and both name the
/// same operation.
fn agree(play: &Play<'_>) -> Played {
    for twins in play.wire.twins() {
        let [first, second] = &twins;
        for outcome in &twins {
            let fine = matches!(outcome, Ok(answer) if matches!(answer.status, 200..=202));
            if !fine {
                return wrong(format!(
                    "a request that arrived twice at the same time is answered with {} and {}",
                    summary(first),
                    summary(second)
                ));
            }
        }
        let (Ok(first), Ok(second)) = (first, second) else {
            continue;
        };
        if (first.status, second.status) == (201, 201) {
            return wrong("a request that arrived twice at the same time is answered with 201 twice: two were made");
        }
        let operation = |answer: &Answer| answer.operation().ok().flatten();
        let both = first.status == 202 && second.status == 202;
        if both && operation(first) != operation(second) {
            return wrong("a request that arrived twice at the same time has two different operations");
        }
    }
    Ok(())
}

/// Service Catalog now and then sends a DELETE twice within 50 ms.
pub(super) async fn repeated_removal(play: &Play<'_>) -> Played {
    let order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    if play.subject.is_bindable() {
        play.succeed(Verb::Bind, &order).await?;
        play.wire.plan(Fault::Twice, Call::Unbind, 1);
        play.succeed(Verb::Unbind, &order).await?;
        harmless(play)?;
        play.nothing_left(Kind::Binding, &order, Running::Nothing).await?;
    }
    play.wire.plan(Fault::Twice, Call::Deprovision, 1);
    play.succeed(Verb::Deprovision, &order).await?;
    harmless(play)?;
    play.nothing_left(Kind::Instance, &order, Running::Nothing).await?;
    play.wire.heading("once more, days later");
    play.succeed(Verb::Deprovision, &order).await.map(|_| ())
}

fn harmless(play: &Play<'_>) -> Played {
    for outcome in play.wire.twins().iter().flatten() {
        let fine = match outcome {
            Ok(answer) => matches!(answer.status, 200 | 202 | 410) || answer.error() == Some("ConcurrencyError"),
            Err(_) => false,
        };
        if !fine {
            return wrong(format!(
                "one of two removals at the same time is answered with {}",
                summary(outcome)
            ));
        }
    }
    Ok(())
}

/// Several workers poll in the millisecond in which the 202 arrives, and on. What one has seen to be over, no later
/// poll finds running or missing.
pub(super) async fn same_millisecond(play: &Play<'_>) -> Played {
    let order = play.order();
    let Some(operation) = accepted(play, &order).await? else {
        play.remove(&order).await?;
        return not_here("the plan is provisioned synchronously: there is nothing to poll");
    };
    let mut over = None;
    // One round after the end, too: everybody has to have seen it. A broker that never ends meets the limit of all
    // scenarios.
    loop {
        let polls = (0..WORKERS).map(|_| play.send(Call::PollInstance, &order, operation.as_deref()));
        let was_over = over;
        for outcome in join_all(polls).await {
            let Some(progress) = outcome.as_ref().ok().and_then(Answer::progress) else {
                return wrong(format!(
                    "a poll right after the 202 is answered with {}",
                    summary(&outcome)
                ));
            };
            if let Some(end) = was_over
                && end != progress
            {
                return wrong(format!("a poll says `{progress}` after another one has said `{end}`"));
            }
            if progress != Progress::Ongoing {
                over = Some(progress);
            }
        }
        if was_over.is_some() {
            break;
        }
        if over.is_none() {
            play.wire.clock.pause(Duration::from_millis(100)).await;
        }
    }
    if over == Some(Progress::Failed) {
        return wrong("the operation failed");
    }
    play.remove(&order).await
}

/// Sends a provision and does not poll. `None`: it was synchronous.
async fn accepted(play: &Play<'_>, order: &Order) -> Played<Option<Option<String>>> {
    let exchange = play.wire.send(Call::Provision, order, None, Purpose::User).await;
    match &exchange.outcome {
        Ok(answer) if answer.status == 202 => answer.operation().map(Some).or_else(wrong),
        Ok(answer) if matches!(answer.status, 200 | 201) => Ok(None),
        other => wrong(format!("the provision is answered with {}", summary(other))),
    }
}

/// Cloud Foundry lets its users do that.
pub(super) async fn removal_while_creating(play: &Play<'_>) -> Played {
    let order = play.order();
    if accepted(play, &order).await?.is_none() {
        play.remove(&order).await?;
        return not_here("the plan is provisioned synchronously");
    }
    play.wire
        .heading("the user removes it at once, and again if it is busy");
    let deadline = Instant::now() + play.options.limit / 2;
    while Instant::now() < deadline {
        let end = play.run(Verb::Deprovision, &order).await;
        if end.result.is_ok() {
            return play.nothing_left(Kind::Instance, &order, Running::Nothing).await;
        }
        if end.code.as_deref() != Some("ConcurrencyError") {
            let why = end.result.err().unwrap_or_default();
            return wrong(format!("an instance that is being made cannot be removed: {why}"));
        }
        play.wire.clock.pause(Duration::from_secs(60)).await;
    }
    wrong("an instance that is being made is busy each time that the user removes it")
}
