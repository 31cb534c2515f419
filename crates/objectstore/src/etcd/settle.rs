//! What has become of a transaction of which nobody has said it: it was on its way when the connection broke or the time
//! was over.
//!
//! First the fence is raised, so that it cannot be carried out any more if it has not been; then history is read. It has
//! been carried out if there is a transaction that has made exactly its changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Shared;
use super::client::{Attempts, Failure};
use super::past::{Past, Step};
use super::proto::{
    self, Comparison, Op, PutRequest, RangeRequest, Relation, RequestOp, Subject, Than, TxnRequest, TxnResponse,
};
use crate::{Error, Revision, Transaction, Write};

impl Shared {
    /// Whether a transaction that was sent under `fence`, when the store was at `since`, has been carried out; if not, it
    /// never will be.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] when that cannot be found out in time.
    pub(super) async fn settle(
        self: &Arc<Self>,
        attempts: &mut Attempts,
        transaction: &Transaction,
        since: Revision,
        fence: i64,
    ) -> Result<Option<Revision>, Error> {
        let unknown = |what: &str| Error::Unknown(what.to_owned());
        let raised = self.raise_fence(attempts, fence).await;
        let raised = raised.map_err(|failure| unknown(failure.text()))?;
        let upto = self.epoch.revision(raised);
        // A deletion of what is not there leaves no trace, and has no effect either: the next one is asked.
        for write in traces(transaction) {
            let found = tokio::time::timeout(attempts.left(), self.when_written(write, since, upto)).await;
            let found = found.unwrap_or_else(|_| Err(unknown("history was not to be had in time")));
            for at in found.map_err(|error| unknown(&error.to_string()))? {
                if self.wrote_all(attempts, transaction, at).await? {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }

    /// Makes sure that nothing which was sent under `fence` is carried out from now on. etcd's revision of that, or a later
    /// one.
    async fn raise_fence(&self, attempts: &mut Attempts, fence: i64) -> Result<i64, Failure> {
        let alone = tokio::time::timeout(attempts.left(), self.raising.lock()).await;
        let _alone = alone.map_err(|_| Failure::Unknown("others wait for the same".to_owned()))?;
        let known = self.fence.load(Ordering::Acquire);
        if known != fence {
            // Somebody else's trouble has raised it since.
            return Ok(known);
        }
        let key = self.places.fence.clone();
        let operation = |op| RequestOp { op: Some(op) };
        let request = TxnRequest {
            compares: vec![Comparison {
                relation: Relation::Equal as i32,
                subject: Subject::Modified as i32,
                key: key.clone(),
                than: Some(Than::Modified(fence)),
                range_end: Bytes::new(),
            }],
            success: vec![operation(Op::Put(PutRequest {
                key: key.clone(),
                value: Bytes::new(),
            }))],
            failure: vec![operation(Op::Range(RangeRequest {
                key,
                ..RangeRequest::default()
            }))],
        };
        // Carried out twice it is as good as once.
        let answer: TxnResponse = self.cluster.ask_within(attempts, proto::TXN, &request).await?;
        let at = proto::revision(answer.header.as_ref());
        let raised = match answer.succeeded {
            true => at,
            false => {
                let mut seen = answer.responses.into_iter().filter_map(|response| response.range);
                seen.next()
                    .and_then(|range| range.kvs.into_iter().next())
                    .map_or(0, |kv| kv.mod_revision)
            }
        };
        self.fence.store(raised, Ordering::Release);
        self.saw(at);
        Ok(raised)
    }

    /// When a key was written so, after a revision and up to another one.
    async fn when_written(
        self: &Arc<Self>,
        write: &Write,
        since: Revision,
        upto: Revision,
    ) -> Result<Vec<Revision>, Error> {
        let (key, wanted) = match write {
            Write::Put(key, value) => (key, Some(value)),
            Write::Delete(key) => (key, None),
        };
        let mut end = key.to_vec();
        end.push(0);
        let mut past = Past::new(self.clone(), key.clone()..Bytes::from(end), since);
        let mut found = Vec::new();
        while past.cursor < upto {
            if let Step::Transactions(part) = past.step().await? {
                let events = part.iter().flat_map(|events| events.iter());
                let so = events.filter(|event| event.value.as_ref() == wanted && event.revision <= upto);
                found.extend(so.map(|event| event.revision));
            }
        }
        Ok(found)
    }

    /// Whether a transaction of history has made all changes of this one.
    async fn wrote_all(&self, attempts: &mut Attempts, transaction: &Transaction, at: Revision) -> Result<bool, Error> {
        for write in &transaction.writes {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            let request = RangeRequest {
                key: self.places.key(key),
                revision: self.epoch.etcd(at).unwrap_or_default(),
                ..RangeRequest::default()
            };
            let answer: proto::RangeResponse = self
                .cluster
                .ask_within(attempts, proto::RANGE, &request)
                .await
                .map_err(|failure| Error::Unknown(failure.text().to_owned()))?;
            let found = answer.kvs.into_iter().next();
            let so = match (write, &found) {
                (Write::Put(_, value), Some(found)) => {
                    found.value == *value && self.epoch.revision(found.mod_revision) == at
                }
                (Write::Delete(_), None) => true,
                _ => false,
            };
            if !so {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The writes by which a transaction is looked for: one that leaves a trace in any case, else all.
fn traces(transaction: &Transaction) -> impl Iterator<Item = &Write> {
    let put = transaction.writes.iter().find(|write| matches!(write, Write::Put(..)));
    let others = transaction.writes.iter().filter(move |_| put.is_none());
    put.into_iter().chain(others)
}
