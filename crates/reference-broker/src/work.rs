//! The work that is not there: it takes as long as was ordered, and fails when that was ordered.

use std::time::Duration;

use osb_sdk::{Error, Operation, Result};

use crate::order::{FailAt, Order};

/// The most parts that work is done in.
const MAX_PARTS: u32 = 20;

/// The step by which a later removal knows that an earlier one has failed already.
const REFUSED: &str = "refused";

/// Works for so many seconds, in parts that are not done again after an interruption, and fails at the first part at or
/// after the moment that was ordered.
pub(crate) async fn work(op: &Operation, what: FailAt, seconds: u32, order: &Order) -> Result<()> {
    let fails_after = order.fail_after.unwrap_or(seconds).min(seconds);
    let fails = |done: u32| order.fail_at == Some(what) && done >= fails_after;
    let parts = seconds.min(MAX_PARTS);
    let mut done = 0;
    for part in 1..=parts {
        if fails(done) {
            fail(op, what, order).await?;
        }
        let until = seconds * part / parts;
        let length = Duration::from_secs((until - done).into());
        op.step(&format!("part-{part}"), || wait(op, length)).await?;
        op.progress(format!("{until} of {seconds} seconds"));
        done = until;
    }
    if fails(done) {
        fail(op, what, order).await
    } else {
        Ok(())
    }
}

async fn wait(op: &Operation, time: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = op.cancelled() => Err(Error::retry("The work was interrupted.")),
    }
}

async fn fail(op: &Operation, what: FailAt, order: &Order) -> Result<()> {
    match order.fail_times {
        Some(times) if op.attempt() > times => Ok(()),
        Some(times) => {
            let text = format!("Fails as ordered, the {}. of {times} times.", op.attempt());
            Err(Error::retry(text).after(Duration::from_millis(100)))
        }
        None if matches!(what, FailAt::Deprovision | FailAt::Unbind) => fail_once(op, what, order).await,
        None => Err(failure("Fails as ordered.", what, order)),
    }
}

/// Removals fail only once, so that nothing is left behind.
async fn fail_once(op: &Operation, what: FailAt, order: &Order) -> Result<()> {
    if op.earlier_step::<bool>(REFUSED).is_some() {
        return Ok(());
    }
    op.step(REFUSED, async || Ok(true)).await?;
    Err(failure("Fails as ordered, this once.", what, order))
}

/// The failure with what else was ordered to be said of it.
fn failure(text: &str, what: FailAt, order: &Order) -> Error {
    let mut error = Error::failed(text);
    if order.unusable && matches!(what, FailAt::Update | FailAt::Deprovision) {
        error = error.instance_unusable();
    }
    if order.not_repeatable && what == FailAt::Update {
        error = error.not_repeatable();
    }
    error
}
