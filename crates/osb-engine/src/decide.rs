//! What a request means, given what is stored: pure functions, no I/O, no clock.
//!
//! ```text
//!                        nothing there   being made        complete       failed         being removed
//! identical PUT          create          202 same op       200            start again    422 ConcurrencyError
//! other PUT              create          409               409            409            422 ConcurrencyError
//! PATCH                  404             422 Concurrency   accept         422            422 ConcurrencyError
//! DELETE                 410             supersede         accept         accept         202 same op
//! ```
//!
//! While an update runs, an identical PATCH gets 202 with the same operation and another one 422 ConcurrencyError; when it
//! has succeeded and nothing came after it, an identical PATCH gets 200 and nothing is done again.
//!
//! A DELETE is legal in every state; a PUT never answers for a removal that has its Tombstone already: that one is
//! brought to its end and the PUT starts over.

use osb_api::answer::{LastOperation, State};
use osb_api::id::OperationId;

use crate::resource::{Bound, Ended, Outcome, Running, Stored, Verb};

/// What a PUT finds when its create met an object of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnExisting {
    /// It is the operation of an identical request: wait with it.
    Join(OperationId),
    /// It is complete, and the request is identical.
    Exists,
    /// It failed, and the request is identical: start again under a new operation.
    Restart,
    /// Other attributes.
    Conflict,
    /// It is being removed, or something else is being done to it.
    Busy,
    /// An object that this engine did not make, or one for another id.
    Foreign,
}

/// What a PUT (provision or bind) does with the object that stands under its name. `same_ids` says whether the full
/// ids are equal, `same_request` whether the digest is.
pub(crate) fn put(existing: &Stored, same_ids: bool, same_request: bool) -> OnExisting {
    let Some(record) = &existing.record else {
        return OnExisting::Foreign;
    };
    if !same_ids {
        return OnExisting::Foreign;
    }
    let removing = existing.metadata.deletion_timestamp.is_some();
    match &record.operation {
        Some(running) if running.verb.removes() => OnExisting::Busy,
        _ if removing => OnExisting::Busy,
        _ if !same_request => OnExisting::Conflict,
        Some(running) if running.verb == Verb::Update => OnExisting::Exists,
        Some(running) => OnExisting::Join(running.id.clone()),
        None if record.outputs.is_some() => OnExisting::Exists,
        None => OnExisting::Restart,
    }
}

/// What a PATCH finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnUpdate {
    /// It is the operation of an identical request: wait with it.
    Join(OperationId),
    /// An identical request was the last that was done: there is nothing to do.
    Done,
    /// Begin it, if the request changes anything.
    Accept,
    /// Something else is being done to it (OSB-UPD-16).
    Busy,
    /// Its provision has failed: there is nothing to change.
    Failed,
    /// Not there, as far as the caller is concerned.
    Absent,
}

/// What a PATCH does with the instance. `is_same` says whether a stored digest is that of the request.
pub(crate) fn update(existing: &Stored, same_ids: bool, is_same: impl Fn(&str) -> bool) -> OnUpdate {
    let Some(record) = existing.record.as_ref().filter(|_| same_ids) else {
        return OnUpdate::Absent;
    };
    let is_same = |digest: Option<&String>| digest.is_some_and(|digest| is_same(digest));
    let deleted = existing.metadata.deletion_timestamp.is_some();
    match &record.operation {
        Some(running) if is_going_on(running) && !deleted && is_same(running.digest.as_ref()) => {
            OnUpdate::Join(running.id.clone())
        }
        Some(_) => OnUpdate::Busy,
        None if deleted => OnUpdate::Busy,
        None if record.outputs.is_none() => OnUpdate::Failed,
        None => match record.history.last() {
            Some(last) if last.outcome == Outcome::Succeeded && is_same(last.digest.as_ref()) => OnUpdate::Done,
            _ => OnUpdate::Accept,
        },
    }
}

/// Whether it is an update that may still succeed; one that was given up is only being undone.
fn is_going_on(running: &Running) -> bool {
    running.verb == Verb::Update && running.bound != Some(Bound::GivenUp)
}

/// What a DELETE finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnRemoval {
    /// It is being removed already.
    Join(OperationId),
    /// Start the removal; what runs is superseded.
    Accept,
    /// Not made by this engine, or another id under this name: for the caller it does not exist.
    Absent,
}

/// What a DELETE (deprovision or unbind) does with the object.
pub(crate) fn removal(existing: &Stored, same_ids: bool) -> OnRemoval {
    match &existing.record {
        Some(record) if same_ids => match &record.operation {
            Some(running) if running.verb.removes() => OnRemoval::Join(running.id.clone()),
            _ => OnRemoval::Accept,
        },
        _ => OnRemoval::Absent,
    }
}

/// Whether a bind may use the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usable {
    /// It is complete and nothing is in the way.
    Yes,
    /// It is being made, changed or removed.
    Busy,
    /// Its provision failed.
    Failed,
    /// Not there, as far as the caller is concerned.
    Absent,
}

/// Whether an instance can be bound now (Amb-24).
pub(crate) fn usable(instance: &Stored, same_ids: bool) -> Usable {
    match &instance.record {
        Some(record) if same_ids => {
            if record.operation.is_some() || instance.metadata.deletion_timestamp.is_some() {
                Usable::Busy
            } else if record.outputs.is_some() {
                Usable::Yes
            } else {
                Usable::Failed
            }
        }
        _ => Usable::Absent,
    }
}

/// What a poll answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnPoll {
    /// 200.
    State(LastOperation),
    /// 410.
    Gone,
    /// 404.
    NotFound,
    /// 400: an operation that was never given out.
    UnknownOperation,
}

/// The answer to a poll of an object that is there: about the operation that is named, or the newest one.
pub(crate) fn poll(existing: &Stored, same_ids: bool, operation: Option<&OperationId>) -> OnPoll {
    let Some(record) = existing.record.as_ref().filter(|_| same_ids) else {
        return OnPoll::NotFound;
    };
    let running = record
        .operation
        .as_ref()
        .filter(|running| operation.is_none_or(|asked| *asked == running.id));
    if let Some(running) = running {
        return told(State::InProgress, running.progress.clone());
    }
    match (operation, find(&record.history, operation)) {
        (_, Some(ended)) => state_of(ended),
        (Some(asked), None) if was_given_out(existing, record.counter, asked) => told(State::Failed, None),
        (Some(_), None) => OnPoll::UnknownOperation,
        // An object without operations was made complete by something else, e.g. a restore.
        (None, None) => told(State::Succeeded, None),
    }
}

/// The answer to a poll of what has been removed: 200 for the operation that is named, else 410 (Amb-6).
pub(crate) fn poll_removed(history: &[Ended], same_ids: bool, operation: Option<&OperationId>) -> OnPoll {
    if !same_ids {
        return OnPoll::NotFound;
    }
    match operation.and_then(|_| find(history, operation)) {
        Some(ended) => state_of(ended),
        None => OnPoll::Gone,
    }
}

fn find<'a>(history: &'a [Ended], operation: Option<&OperationId>) -> Option<&'a Ended> {
    match operation {
        Some(asked) => history.iter().rev().find(|ended| ended.id == *asked),
        None => history.last(),
    }
}

fn state_of(ended: &Ended) -> OnPoll {
    match ended.outcome {
        Outcome::Succeeded => told(State::Succeeded, ended.description.clone()),
        Outcome::Failed => OnPoll::State(LastOperation {
            state: State::Failed,
            description: ended.description.clone(),
            instance_usable: ended.instance_usable,
            update_repeatable: ended.update_repeatable,
        }),
        Outcome::Superseded => {
            let text = "The operation was stopped, because the deletion of its object was requested.";
            told(State::Failed, Some(text.to_owned()))
        }
    }
}

fn told(state: State, description: Option<String>) -> OnPoll {
    OnPoll::State(LastOperation {
        state,
        description,
        instance_usable: None,
        update_repeatable: None,
    })
}

/// Whether an operation that the history has forgotten is one of this object's.
fn was_given_out(existing: &Stored, counter: u64, asked: &OperationId) -> bool {
    asked
        .as_str()
        .strip_prefix(existing.spec.incarnation.as_str())
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|number| number.parse::<u64>().ok())
        .is_some_and(|number| (1..=counter).contains(&number))
}

/// What the owner of an object's shard has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    Nothing,
    /// An object without a record: report it, never touch it.
    NotOurs,
    /// A newer process owns it.
    NotMine,
    /// An operation was accepted in an older epoch: claim it first.
    Claim,
    /// Carry the operation out.
    Run,
    /// Somebody deleted the object with `kubectl delete`: that means deprovision or unbind.
    Remove,
    /// The finalizer is missing, for instance after a restore.
    AddFinalizer,
}

/// What is to be done with an object, for the process of this epoch.
pub(crate) fn work(stored: &Stored, epoch: u64, finalizer: &str) -> Work {
    let Some(record) = &stored.record else {
        return Work::NotOurs;
    };
    if record.epoch > epoch {
        return Work::NotMine;
    }
    let deleted = stored.metadata.deletion_timestamp.is_some();
    match &record.operation {
        Some(running) if deleted && !running.verb.removes() => Work::Remove,
        Some(_) if record.epoch < epoch => Work::Claim,
        Some(_) => Work::Run,
        None if deleted => Work::Remove,
        None if !stored.metadata.finalizers.iter().any(|name| name == finalizer) => Work::AddFinalizer,
        None => Work::Nothing,
    }
}

#[cfg(test)]
mod tests;
