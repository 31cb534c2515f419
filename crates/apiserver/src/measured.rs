//! A store whose answers are timed, for the metrics.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use objectstore::{Engine, Entry, Error, Outcome, Page, Revision, Store, Transaction, Watch};

use crate::metrics::{Metrics, Operation};

/// The store behind, and who is told.
pub(crate) struct Measured {
    store: Store,
    metrics: Arc<Metrics>,
}

impl Measured {
    pub(crate) fn new(store: Store, metrics: Arc<Metrics>) -> Measured {
        Measured { store, metrics }
    }

    fn timed<'a, T: Send + 'a>(&'a self, operation: Operation, answer: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        let begun = Instant::now();
        async move {
            let answer = answer.await;
            self.metrics.stored(operation, begun.elapsed());
            answer
        }
        .boxed()
    }
}

impl Engine for Measured {
    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.store.latest()
    }

    fn most_writes(&self) -> usize {
        self.store.most_writes()
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.timed(Operation::Get, self.store.get(key, at))
    }

    fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<Page, Error>> {
        self.timed(Operation::List, self.store.range(keys, limit, at))
    }

    fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<u64, Error>> {
        self.timed(Operation::Count, self.store.count(keys, limit, at))
    }

    fn transact(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, Error>> {
        self.timed(Operation::Update, self.store.transact(transaction))
    }

    fn watch(&self, keys: Range<Bytes>, after: Option<Revision>) -> BoxFuture<'_, Result<Watch, Error>> {
        self.store.watch(keys, after)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.store.compact(revision)
    }

    fn oldest(&self) -> Revision {
        self.store.oldest()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.store.close()
    }
}
