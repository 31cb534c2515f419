//! A revisioned, watchable key-value store: the thin waist below the API server.
//!
//! One global [`Revision`] counts the committed transactions. Every read names the revision that it shows, may be
//! asked for an older one within the kept window, and a watch delivers every change after a revision, in order, once,
//! or says [`Error::Compacted`].
//!
//! The store knows no Kubernetes: keys and values are bytes. An index is ordinary keys written in the same
//! transaction as the object it points to.
//!
//! Engines: [`memory`] for tests and for what may be forgotten, [`embedded`] for one durable folder, and with the feature
//! `etcd` the module of that name for a cluster that several processes share.
//!
//! ```
//! use futures::StreamExt as _;
//! use objectstore::{Compare, Delivery, Outcome, Revision, Transaction, memory, prefix};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), objectstore::Error> {
//! let store = memory::open(memory::Options::default());
//!
//! // Create a key, once.
//! let create = Transaction::default().when(Compare::Absent("pets/tom".into())).put("pets/tom", "a cat");
//! assert_eq!(store.transact(create.clone()).await?, Outcome::Committed(Revision(1)));
//! assert!(matches!(store.transact(create).await?, Outcome::Refused { compare: 0, .. }));
//!
//! // Change it, and look at it before and after.
//! store.transact(Transaction::default().put("pets/tom", "an old cat")).await?;
//! let old = store.get("pets/tom".into(), Some(Revision(1))).await?.expect("it was there");
//! let new = store.get("pets/tom".into(), None).await?.expect("it is there");
//! assert_eq!((&old.value[..], &new.value[..]), (&b"a cat"[..], &b"an old cat"[..]));
//! assert_eq!((new.created, new.modified), (Revision(1), Revision(2)));
//!
//! // Every change after a revision, in order, once.
//! let mut watch = store.watch(prefix(b"pets/"), Some(Revision(1))).await?;
//! let Some(Ok(Delivery::Events(events))) = watch.next().await else { panic!("a change is due") };
//! assert_eq!((events[0].revision, events[0].previous.as_ref()), (Revision(2), Some(&old)));
//! # Ok(())
//! # }
//! ```

mod decide;
pub mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
mod hub;
mod keys;
pub mod memory;
mod watch;
mod window;

pub use window::Window;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// The number of a committed transaction. `Revision(0)` is the empty store; the first transaction is `Revision(1)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A key with its value at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value as it was written.
    pub value: Bytes,
    /// The transaction that created the key (after its last deletion).
    pub created: Revision,
    /// The transaction that wrote this value.
    pub modified: Revision,
}

/// What must hold for a transaction to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(Bytes),
    /// The key exists.
    Exists(Bytes),
    /// The key exists and was last written by that transaction.
    Modified(Bytes, Revision),
    /// No key in the range exists.
    Empty(Range<Bytes>),
}

/// One change of a transaction. A key stands in at most one write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key.
    Put(Bytes, Bytes),
    /// Removes the key; nothing happens when it does not exist.
    Delete(Bytes),
}

/// Compares and the writes that follow when all of them hold: atomically, under one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Carried out together. At most [`MAX_WRITES`].
    pub writes: Vec<Write>,
}

impl Transaction {
    /// Adds a compare.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds a write that sets a key.
    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put(key.into(), value.into()));
        self
    }

    /// Adds a write that removes a key.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Delete(key.into()));
        self
    }
}

/// The most writes of one transaction, on any engine; see [`Engine::most_writes`].
pub const MAX_WRITES: usize = 1000;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 8 * 1024;

/// The most bytes of keys and values that one transaction writes.
pub const MAX_TRANSACTION_BYTES: usize = 16 * 1024 * 1024;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable under this revision. A transaction that changes nothing (no writes, or only deletions of keys that do
    /// not exist) takes no revision of its own: it names the newest one at which its compares held.
    Committed(Revision),
    /// Nothing was written.
    Refused {
        /// The index of the first compare that did not hold.
        compare: usize,
        /// What stands at that compare's key now (for `Empty`: the first key of the range).
        current: Option<Entry>,
        /// The revision at which the compares were looked at.
        revision: Revision,
    },
}

/// A part of a range, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries; keys grow.
    pub entries: Vec<Entry>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// Whether the range has further keys behind the last entry.
    pub more: bool,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The transaction.
    pub revision: Revision,
    /// The key.
    pub key: Bytes,
    /// The value written, `None` for a deletion.
    pub value: Option<Bytes>,
    /// What stood there before, `None` when the key is new.
    pub previous: Option<Entry>,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The changes of one transaction that lie in the watched range, in the order of its writes.
    Events(Arc<[Event]>),
    /// Nothing more is to come at or below this revision. Sent when the watcher has caught up and after each idle
    /// second in which the revision moved on outside of the range.
    Progress(Revision),
}

/// Why the store did not do as it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The revision asked for is older than the kept history.
    #[error("revision {requested} has been compacted: history starts at {oldest}", requested = .requested.0, oldest = .oldest.0)]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest one that can still be read; a watch can start after `oldest` minus one at the earliest.
        oldest: Revision,
    },
    /// The revision asked for has not been committed yet.
    #[error("revision {requested} lies in the future: the store is at {current}", requested = .requested.0, current = .current.0)]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The newest one.
        current: Revision,
    },
    /// A watcher did not keep up and was cut off; it may watch again from the last revision that it saw.
    #[error("the watcher did not keep up")]
    Lagged,
    /// The transaction can never be carried out (too many or too large writes, a key twice, an empty or too long key).
    #[error("invalid transaction: {0}")]
    Invalid(String),
    /// Nothing can be written now, for instance because the disk is full; nothing was written.
    #[error("the store takes no writes: {0}")]
    Unavailable(String),
    /// Nobody has said in time whether the transaction was carried out: whole or not at all; read it back to learn which.
    #[error("what became of the transaction is not known: {0}")]
    Unknown(String),
    /// Stored data cannot be read; what is damaged is named. Nothing was written. Other keys may well be readable.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The store has been closed, or has failed for good. A transaction that was on its way is carried out whole or
    /// not at all; read it back to learn which.
    #[error("the store is closed")]
    Closed,
}

/// A shared handle on a store.
pub type Store = Arc<dyn Engine>;

/// A stream of what a watch delivers. It ends after an error, and when the store is closed.
pub type Watch = BoxStream<'static, Result<Delivery, Error>>;

/// The verbs of a store. All engines keep the same promises; one suite of tests runs on each.
///
/// - A transaction is acknowledged only when it is durable, as far as the engine is, and visible to every later read.
/// - An event is delivered only after its transaction is durable.
/// - Dropping a future never leaves a transaction half done: it is carried out whole or not at all.
pub trait Engine: Send + Sync + 'static {
    /// The newest committed revision that this process has heard of: of its own transactions all, and of those of other
    /// processes on the same store soon.
    fn revision(&self) -> Revision;

    /// A revision that is not older than anything that was acknowledged until now, whichever process did it.
    fn latest(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        let now = self.revision();
        Box::pin(std::future::ready(Ok(now)))
    }

    /// The most writes of one transaction, and the most compares; no more than [`MAX_WRITES`].
    fn most_writes(&self) -> usize {
        MAX_WRITES
    }

    /// The entry of a key at a revision, `None` for now.
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>>;

    /// The first `limit` entries of a range of keys at a revision, `None` for now. An empty end of the range means
    /// unbounded, here and everywhere else.
    fn range(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<Page, Error>>;

    /// The number of keys in a range, now or at a revision, counted no further than to `limit`; costs a scan.
    fn count(&self, keys: Range<Bytes>, limit: usize, at: Option<Revision>) -> BoxFuture<'_, Result<u64, Error>>;

    /// Carries out a transaction.
    fn transact(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, Error>>;

    /// Every change in the range after `after`, or from now on. A revision in the future is waited for. The watch is to
    /// be read in a tokio runtime with its timer.
    fn watch(&self, keys: Range<Bytes>, after: Option<Revision>) -> BoxFuture<'_, Result<Watch, Error>>;

    /// Forgets history: afterwards nothing older than `revision` can be read or watched from. An engine also does so
    /// by itself, by age.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>>;

    /// The oldest revision that can still be read.
    fn oldest(&self) -> Revision;

    /// Writes out what is pending and refuses everything from then on. Watches end.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;
}

/// The range of all keys that start with a prefix. An empty end is unbounded: `prefix(b"")` is every key.
pub fn prefix(prefix: &[u8]) -> Range<Bytes> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    Bytes::copy_from_slice(prefix)..Bytes::from(end)
}
