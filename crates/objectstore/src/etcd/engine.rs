//! The verbs of the store.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::client::Failure;
use super::proto::{self, RangeRequest, RangeResponse, TxnResponse};
use super::txn::{self, Answer};
use super::wire::{self, Status};
use super::{Shared, watcher};
use crate::{Engine, Entry, Error, Outcome, Page, Revision, Transaction, Watch, decide, keys};

/// How many entries are asked for at a time, so that no answer is too large.
const CHUNK: usize = 500;

/// A store on etcd.
pub(super) struct Etcd {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.send_replace(true);
        self.hub.close();
    }

    /// A revision that is not older than anything that has been acknowledged until now, by whichever process.
    pub(super) async fn latest(&self) -> Result<Revision, Error> {
        let request = RangeRequest {
            key: self.places.mark.clone(),
            count_only: true,
            ..RangeRequest::default()
        };
        let answer = self.cluster.ask::<RangeResponse>(proto::RANGE, &request).await;
        let answer = answer.map_err(unavailable)?;
        Ok(self.saw(proto::revision(answer.header.as_ref())))
    }

    /// etcd's revision to read at; zero is now.
    fn readable(&self, at: Option<Revision>) -> Result<i64, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let Some(requested) = at else { return Ok(0) };
        match self.epoch.etcd(requested).filter(|_| requested >= self.oldest()) {
            Some(etcd) => Ok(etcd),
            None => Err(self.compacted_at(requested)),
        }
    }

    fn compacted_at(&self, requested: Revision) -> Error {
        Error::Compacted {
            requested,
            oldest: self.oldest(),
        }
    }

    async fn read(&self, request: &RangeRequest, at: Option<Revision>) -> Result<RangeResponse, Error> {
        match self.cluster.ask::<RangeResponse>(proto::RANGE, request).await {
            Ok(answer) => {
                self.saw(proto::revision(answer.header.as_ref()));
                Ok(answer)
            }
            Err(Failure::Refused(Status { code, message })) if code == wire::OUT_OF_RANGE => {
                let requested = at.unwrap_or_default();
                if message.contains("future") {
                    let current = self.latest().await?;
                    return Err(Error::Future { requested, current });
                }
                self.look_how_far().await?;
                Err(self.compacted_at(requested))
            }
            Err(failure) => Err(unavailable(failure)),
        }
    }

    async fn get(&self, key: Bytes, at: Option<Revision>) -> Result<Option<Entry>, Error> {
        let request = RangeRequest {
            key: self.places.key(&key),
            revision: self.readable(at)?,
            ..RangeRequest::default()
        };
        let found = self.read(&request, at).await?.kvs.into_iter().next();
        Ok(found.map(|kv| self.epoch.entry(kv, self.places.data.len())))
    }

    async fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> Result<Page, Error> {
        let mut revision = self.readable(at)?;
        let empty = keys::is_empty(&keys);
        let range = self.places.range(&keys);
        let mut next = if empty { self.places.mark.clone() } else { range.start };
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let chunk = (limit - entries.len()).clamp(1, CHUNK);
            let request = RangeRequest {
                key: next.clone(),
                range_end: if empty { Bytes::new() } else { range.end.clone() },
                limit: i64::try_from(chunk).unwrap_or(i64::MAX),
                revision,
                ..RangeRequest::default()
            };
            let answer = self.read(&request, at).await?;
            if revision == 0 {
                // The further parts show the same state.
                revision = proto::revision(answer.header.as_ref());
            }
            let page = |entries, more| Page {
                entries,
                revision: self.epoch.revision(revision),
                more,
            };
            if empty || limit == 0 {
                return Ok(page(Vec::new(), !empty && !answer.kvs.is_empty()));
            }
            if let Some(last) = answer.kvs.last() {
                next = [&last.key[..], b"\0"].concat().into();
            }
            let read = answer.kvs.into_iter();
            entries.extend(read.map(|kv| self.epoch.entry(kv, self.places.data.len())));
            if !answer.more || entries.len() >= limit {
                return Ok(page(entries, answer.more));
            }
        }
    }

    async fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> Result<u64, Error> {
        let revision = self.readable(at)?;
        if keys::is_empty(&keys) {
            return Ok(0);
        }
        let range = self.places.range(&keys);
        let request = RangeRequest {
            key: range.start,
            range_end: range.end,
            revision,
            count_only: true,
            ..RangeRequest::default()
        };
        let found = u64::try_from(self.read(&request, at).await?.count).unwrap_or(0);
        Ok(found.min(limit as u64))
    }

    async fn transact(self: &Arc<Self>, transaction: Transaction) -> Result<Outcome, Error> {
        decide::check(&transaction)?;
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let since = self.known();
        let mut attempts = self.cluster.attempts();
        loop {
            let fence = self.fence.load(Ordering::Acquire);
            let request = txn::request(&self.places, self.epoch, &transaction, fence, self.most_operations)?;
            let framed = wire::frame(&request);
            let failure = match self.cluster.attempt::<TxnResponse>(&attempts, proto::TXN, framed).await {
                Ok(response) => match txn::answer(&self.places, self.epoch, &transaction, fence, response)? {
                    Answer::Settled(outcome, at) => {
                        self.saw(at);
                        return Ok(outcome);
                    }
                    Answer::Fenced(raised) => {
                        self.fence.fetch_max(raised, Ordering::AcqRel);
                        Failure::NotDone("others were in trouble".to_owned())
                    }
                },
                Err(Failure::Unknown(_)) if transaction.writes.is_empty() => Failure::NotDone("no answer".to_owned()),
                Err(Failure::Unknown(what)) => {
                    tracing::debug!(what, "what became of a transaction is found out");
                    if let Some(at) = self.settle(&mut attempts, &transaction, since, fence).await? {
                        return Ok(Outcome::Committed(at));
                    }
                    Failure::NotDone(what)
                }
                Err(failure) => failure,
            };
            match failure {
                Failure::NotDone(_) => attempts.again(&self.cluster, failure).await.map_err(unavailable)?,
                failure => return Err(refused(failure)),
            }
        }
    }
}

fn unavailable(failure: Failure) -> Error {
    Error::Unavailable(failure.text().to_owned())
}

/// What etcd says to a transaction that it will never carry out.
fn refused(failure: Failure) -> Error {
    match failure {
        Failure::Refused(status) if status.code == wire::INVALID_ARGUMENT => Error::Invalid(status.message),
        failure => unavailable(failure),
    }
}

impl Engine for Etcd {
    fn revision(&self) -> Revision {
        self.shared.known()
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        async move {
            self.shared.readable(None)?;
            self.shared.latest().await
        }
        .boxed()
    }

    fn most_writes(&self) -> usize {
        // One of the compares is the fence.
        self.shared.most_operations - 1
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.shared.get(key, at).boxed()
    }

    fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<Page, Error>> {
        self.shared.range(keys, limit, at).boxed()
    }

    fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<u64, Error>> {
        self.shared.count(keys, limit, at).boxed()
    }

    /// Once it has been sent it may be carried out, also when the future is dropped.
    fn transact(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, Error>> {
        self.shared.transact(transaction).boxed()
    }

    fn watch(&self, keys: Range<Bytes>, after: Option<Revision>) -> BoxFuture<'_, Result<Watch, Error>> {
        async move {
            self.shared.readable(None)?;
            let Some(after) = after else {
                let now = self.shared.latest().await?;
                return watcher::start(&self.shared, keys, now);
            };
            decide::check_watchable(after, self.shared.oldest())?;
            watcher::start(&self.shared, keys, after)
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.shared.readable(None)?;
            if revision > self.shared.known() {
                let current = self.shared.latest().await?;
                if revision > current {
                    return Err(Error::Future {
                        requested: revision,
                        current,
                    });
                }
            }
            self.shared.compact_to(revision).await
        }
        .boxed()
    }

    fn oldest(&self) -> Revision {
        self.shared.oldest()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.shared.close();
            Ok(())
        }
        .boxed()
    }
}
