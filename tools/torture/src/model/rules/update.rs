//! The rules for an update.

use super::{Change, Fate, Last, Terms, Thing, is};
use crate::journal::Got;

/// What an update without an answer may have begun.
pub(super) fn unseen(thing: &Thing, note: Option<u8>, terms: Terms) -> Vec<Thing> {
    match begins(thing, note, terms) {
        Some(change) if !terms.refuses(change.plan) => vec![updating(thing, change, None, Fate::Open)],
        _ => Vec::new(),
    }
}

/// What an update with this answer can make of an instance; nothing when the answer is not legal.
pub(super) fn patch(thing: &Thing, note: Option<u8>, terms: Terms, got: &Got) -> Vec<Thing> {
    if got.status >= 500 || got.status == 429 {
        return failed(thing, note, terms);
    }
    let when = |legal: bool| if legal { vec![thing.clone()] } else { Vec::new() };
    let concurrency = (422, Some("ConcurrencyError"));
    let async_required = (422, Some("AsyncRequired"));
    match thing {
        Thing::Absent { .. } => when(got.status == 404),
        Thing::Making { .. } | Thing::Removing { .. } => when(is(got, concurrency)),
        Thing::Broken { .. } => when(got.status == 400),
        Thing::Updating {
            change,
            operation,
            fate,
            ..
        } => {
            if Some(*change) != asked(thing, note, terms) {
                return when(is(got, concurrency));
            }
            match got.status {
                _ if terms.refuses(change.plan) => when(is(got, async_required)),
                202 if operation.is_none() || *operation == got.operation => {
                    vec![updating(thing, *change, got.operation.clone(), fate.clone())]
                }
                // It has failed already, and is being taken back.
                422 if is(got, concurrency) && !matches!(fate, Fate::Succeeds(_)) => {
                    vec![updating(thing, *change, operation.clone(), Fate::WillFail)]
                }
                200 if !matches!(fate, Fate::Fails | Fate::WillFail) => {
                    vec![updating(thing, *change, operation.clone(), Fate::Succeeds(None))]
                }
                _ => Vec::new(),
            }
        }
        Thing::Ready { .. } => match (begins(thing, note, terms), got.status) {
            // There is nothing to do, or it has been done.
            (None, status) => when(status == 200),
            (Some(change), _) if terms.refuses(change.plan) => when(is(got, async_required)),
            (Some(change), 200) => vec![updating(thing, change, None, Fate::Succeeds(None))],
            (Some(change), 202) => vec![updating(thing, change, got.operation.clone(), Fate::Open)],
            (Some(_), _) => Vec::new(),
        },
    }
}

/// A 5xx: nothing was done, or what was begun has failed or will: nothing of it may hold (OSB-UPD-19).
fn failed(thing: &Thing, note: Option<u8>, terms: Terms) -> Vec<Thing> {
    let mut after = vec![thing.clone()];
    match thing {
        Thing::Updating { change, operation, .. } if Some(*change) == asked(thing, note, terms) => {
            for fate in [Fate::Fails, Fate::WillFail] {
                after.push(updating(thing, *change, operation.clone(), fate));
            }
        }
        _ => {
            for begun in unseen(thing, note, terms) {
                let Thing::Updating { change, .. } = begun else {
                    continue;
                };
                for fate in [Fate::Fails, Fate::WillFail] {
                    after.push(updating(thing, change, None, fate));
                }
            }
        }
    }
    after
}

/// What an update asks of this instance.
fn asked(thing: &Thing, note: Option<u8>, terms: Terms) -> Option<Change> {
    let plan = terms.plan.or_else(|| thing.attributes().map(|made| made.plan))?;
    Some(Change { plan, note })
}

/// The change that an update begins, if it begins one.
fn begins(thing: &Thing, note: Option<u8>, terms: Terms) -> Option<Change> {
    let Thing::Ready { attributes, last, .. } = thing else {
        return None;
    };
    let change = asked(thing, note, terms)?;
    let nothing = change.plan == attributes.plan && change.note.is_none();
    let done = *last == Last::Changed(change);
    (!nothing && !done).then_some(change)
}

fn updating(thing: &Thing, change: Change, operation: Option<String>, fate: Fate) -> Thing {
    match thing {
        Thing::Ready { attributes, body, .. } | Thing::Updating { attributes, body, .. } => Thing::Updating {
            attributes: *attributes,
            body: body.clone(),
            change,
            operation,
            fate,
        },
        other => other.clone(),
    }
}
