//! A transaction as etcd takes it, and what it answers.
//!
//! Its first compare is the *fence*: that nobody has raised it since this process last looked. Whoever does not learn what
//! became of a transaction raises the fence; what is still on its way then is refused, and history says the rest
//! (`settle.rs`).

use bytes::Bytes;

use super::Places;
use super::proto::{
    Comparison, DeleteRangeRequest, Op, PutRequest, RangeRequest, Relation, RequestOp, Subject, Than, TxnRequest,
    TxnResponse, revision,
};
use super::revisions::Epoch;
use crate::{Compare, Error, Outcome, Transaction, Write, keys};

/// What etcd has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The end of it, and etcd's revision of that.
    Settled(Outcome, i64),
    /// Nothing was done: the fence stands at this revision of etcd's by now.
    Fenced(i64),
}

/// The request, under a fence. `most` operations are allowed.
///
/// # Errors
///
/// [`Error::Invalid`] when there are too many.
pub(super) fn request(
    places: &Places,
    epoch: Epoch,
    transaction: &Transaction,
    fence: i64,
    most: usize,
) -> Result<TxnRequest, Error> {
    let operations = transaction.writes.len().max(transaction.compares.len() + 1);
    if operations > most {
        return Err(Error::Invalid(format!(
            "{operations} operations, etcd takes at most {most} in a transaction"
        )));
    }
    let compares = || transaction.compares.iter();
    let fenced = || equal(places.fence.clone(), Than::Modified(fence));
    Ok(TxnRequest {
        compares: std::iter::once(fenced())
            .chain(compares().map(|compare| comparison(places, epoch, compare).unwrap_or_else(fenced)))
            .collect(),
        success: transaction
            .writes
            .iter()
            .map(|write| operation(places, write))
            .collect(),
        failure: std::iter::once(look(places.fence.clone(), Bytes::new()))
            .chain(compares().map(|compare| seen(places, compare)))
            .collect(),
    })
}

/// `None` for what holds always.
fn comparison(places: &Places, epoch: Epoch, compare: &Compare) -> Option<Comparison> {
    Some(match compare {
        Compare::Absent(key) => equal(places.key(key), Than::Created(0)),
        Compare::Exists(key) => Comparison {
            relation: Relation::Greater as i32,
            ..equal(places.key(key), Than::Created(0))
        },
        // No key was ever modified then.
        Compare::Modified(key, at) => equal(places.key(key), Than::Modified(epoch.etcd(*at).unwrap_or(-1))),
        Compare::Empty(range) if keys::is_empty(range) => return None,
        Compare::Empty(range) => {
            let range = places.range(range);
            Comparison {
                range_end: range.end,
                ..equal(range.start, Than::Created(0))
            }
        }
    })
}

fn equal(key: Bytes, than: Than) -> Comparison {
    let subject = match than {
        Than::Created(_) => Subject::Created,
        Than::Modified(_) => Subject::Modified,
    };
    Comparison {
        relation: Relation::Equal as i32,
        subject: subject as i32,
        key,
        than: Some(than),
        range_end: Bytes::new(),
    }
}

fn operation(places: &Places, write: &Write) -> RequestOp {
    let op = match write {
        Write::Put(key, value) => Op::Put(PutRequest {
            key: places.key(key),
            value: value.clone(),
        }),
        Write::Delete(key) => Op::Delete(DeleteRangeRequest { key: places.key(key) }),
    };
    RequestOp { op: Some(op) }
}

/// What a compare has met.
fn seen(places: &Places, compare: &Compare) -> RequestOp {
    match compare {
        Compare::Absent(key) | Compare::Exists(key) | Compare::Modified(key, _) => look(places.key(key), Bytes::new()),
        // Of a range without keys nothing is to be seen; the fence is there in any case.
        Compare::Empty(range) if keys::is_empty(range) => look(places.fence.clone(), Bytes::new()),
        Compare::Empty(range) => {
            let range = places.range(range);
            look(range.start, range.end)
        }
    }
}

fn look(key: Bytes, range_end: Bytes) -> RequestOp {
    let range = RangeRequest {
        key,
        range_end,
        limit: 1,
        ..RangeRequest::default()
    };
    RequestOp {
        op: Some(Op::Range(range)),
    }
}

/// What became of it.
///
/// # Errors
///
/// [`Error::Damaged`] when the answer is not one to the question.
pub(super) fn answer(
    places: &Places,
    epoch: Epoch,
    transaction: &Transaction,
    fence: i64,
    response: TxnResponse,
) -> Result<Answer, Error> {
    let at = revision(response.header.as_ref());
    if response.succeeded {
        return Ok(Answer::Settled(Outcome::Committed(epoch.revision(at)), at));
    }
    let senseless = || Error::Damaged("etcd refuses a transaction without a reason".to_owned());
    let mut seen = response
        .responses
        .into_iter()
        .map(|response| response.range.unwrap_or_default().kvs.into_iter().next());
    let raised = seen.next().ok_or_else(senseless)?.map_or(0, |kv| kv.mod_revision);
    if raised != fence {
        return Ok(Answer::Fenced(raised));
    }
    for (index, (compare, found)) in transaction.compares.iter().zip(seen).enumerate() {
        let holds = match compare {
            Compare::Absent(_) => found.is_none(),
            Compare::Empty(range) => found.is_none() || keys::is_empty(range),
            Compare::Exists(_) => found.is_some(),
            Compare::Modified(_, at) => found
                .as_ref()
                .is_some_and(|found| epoch.etcd(*at) == Some(found.mod_revision)),
        };
        if !holds {
            let refused = Outcome::Refused {
                compare: index,
                current: found.map(|found| epoch.entry(found, places.data.len())),
                revision: epoch.revision(at),
            };
            return Ok(Answer::Settled(refused, at));
        }
    }
    Err(senseless())
}
