//! Any sequence of transactions, reads, watches, compactions and restarts, against a model of a few lines.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use objectstore::{Compare, Entry, Error, Event, Outcome, Revision, Store, Transaction, Write, memory};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use testparts::long_run::{count, number};

use crate::support::*;

/// All that ever was.
#[derive(Default)]
pub(crate) struct Model {
    /// What stood there after each transaction.
    pub(crate) states: Vec<BTreeMap<Bytes, Entry>>,
    pub(crate) events: Vec<Vec<Event>>,
    pub(crate) oldest: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            states: vec![BTreeMap::new()],
            ..Self::default()
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.events.len() as u64)
    }

    fn now(&self) -> &BTreeMap<Bytes, Entry> {
        self.states.last().unwrap()
    }

    pub(crate) fn within<'a>(
        state: &'a BTreeMap<Bytes, Entry>,
        keys: &'a Range<Bytes>,
    ) -> impl Iterator<Item = &'a Entry> {
        state.values().filter(|entry| inside(keys, &entry.key))
    }

    pub(crate) fn transact(&mut self, transaction: &Transaction) -> Outcome {
        let now = self.now();
        for (compare, index) in transaction.compares.iter().zip(0..) {
            let (holds, current) = match compare {
                Compare::Absent(key) => (!now.contains_key(key), now.get(key)),
                Compare::Exists(key) => (now.contains_key(key), now.get(key)),
                Compare::Modified(key, at) => (now.get(key).is_some_and(|e| e.modified == *at), now.get(key)),
                Compare::Empty(keys) => {
                    let first = Self::within(now, keys).next();
                    (first.is_none(), first)
                }
            };
            if !holds {
                return Outcome::Refused {
                    compare: index,
                    current: current.cloned(),
                    revision: self.revision(),
                };
            }
        }
        let revision = Revision(self.revision().0 + 1);
        let (mut next, mut events) = (now.clone(), Vec::new());
        for write in &transaction.writes {
            let (key, value) = match write {
                Write::Put(key, value) => (key, Some(value.clone())),
                Write::Delete(key) => (key, None),
            };
            let previous = next.remove(key);
            if let Some(value) = value.clone() {
                let created = previous.as_ref().map_or(revision, |entry| entry.created);
                next.insert(
                    key.clone(),
                    Entry {
                        key: key.clone(),
                        value,
                        created,
                        modified: revision,
                    },
                );
            } else if previous.is_none() {
                continue;
            }
            events.push(Event {
                revision,
                key: key.clone(),
                value,
                previous,
            });
        }
        if !events.is_empty() {
            self.states.push(next);
            self.events.push(events);
        }
        Outcome::Committed(self.revision())
    }
}

fn inside(keys: &Range<Bytes>, key: &Bytes) -> bool {
    *key >= keys.start && (keys.end.is_empty() || *key < keys.end)
}

#[derive(Clone, Debug)]
enum Step {
    /// Sent at once, so that they may be committed as one group.
    Transact(Vec<Transaction>),
    Read(Range<Bytes>, usize, u64),
    Watch(Range<Bytes>, u64),
    Compact(u64),
    Reopen,
    /// Enough of it to have tables written.
    Fill(u8),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "a\0", "a/b", "a/c", "b", "c/\u{1}", "c/x", "d"]).prop_map(Bytes::from)
}

fn range() -> impl Strategy<Value = Range<Bytes>> {
    let end = prop_oneof![key(), Just(Bytes::new())];
    prop_oneof![
        (key(), end).prop_map(|(a, b)| a..b),
        key().prop_map(|key| objectstore::prefix(&key[..1]))
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    prop_oneof![
        key().prop_map(Compare::Absent),
        key().prop_map(Compare::Exists),
        (key(), 0..20u64).prop_map(|(key, revision)| Compare::Modified(key, Revision(revision))),
        range().prop_map(Compare::Empty),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let compares = prop_oneof![4 => Just(vec![]), 2 => prop::collection::vec(compare(), 1..3)];
    let value = prop_oneof![3 => Just(true), 1 => Just(false)];
    let writes = prop::collection::btree_map(key(), value, 0..4);
    (compares, writes, any::<u16>()).prop_map(|(compares, writes, n)| {
        let writes = writes.into_iter().map(|(key, put)| match put {
            true => Write::Put(key, Bytes::from(format!("value {n}"))),
            false => Write::Delete(key),
        });
        Transaction {
            compares,
            writes: writes.collect(),
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop::collection::vec(transaction(), 1..4).prop_map(Step::Transact),
        6 => (range(), 0..5usize, any::<u64>()).prop_map(|(keys, limit, at)| Step::Read(keys, limit, at)),
        3 => (range(), any::<u64>()).prop_map(|(keys, after)| Step::Watch(keys, after)),
        1 => any::<u64>().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        1 => (1..8u8).prop_map(Step::Fill),
    ]
}

struct Run {
    store: Store,
    model: Model,
    place: Place,
}

/// What a store is opened from again.
enum Place {
    Memory,
    Folder(tempfile::TempDir),
    #[cfg(feature = "etcd")]
    Etcd(Box<crate::clusters::Lease>),
}

impl Place {
    async fn open(&self) -> Store {
        match self {
            Self::Memory => memory::open(memory::Options {
                window: window(),
                ..memory::Options::default()
            }),
            Self::Folder(folder) => open(folder.path()),
            #[cfg(feature = "etcd")]
            Self::Etcd(lease) => objectstore::etcd::open(lease.options()).await.unwrap(),
        }
    }

    fn keeps(&self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// Whether transactions that are sent at the same time are carried out in that order.
    fn keeps_order(&self) -> bool {
        matches!(self, Self::Memory | Self::Folder(_))
    }
}

impl Run {
    async fn reopen(&mut self) {
        if self.place.keeps() {
            // The old one first: one process, one store.
            self.store = memory::open(memory::Options::default());
            self.store = self.place.open().await;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Transact(transactions) => self.transact(transactions).await,
            Step::Fill(n) => {
                let value = vec![n; 3000];
                let big = |n: u8| Transaction::default().put(format!("z{}", n % 3), value.clone());
                self.transact((0..n).map(big).collect()).await;
            }
            Step::Read(keys, limit, at) => self.read(keys, limit, at).await,
            Step::Watch(keys, after) => self.watch(keys, after % (self.model.revision().0 + 1)).await,
            Step::Compact(at) => {
                let at = at % (self.model.revision().0 + 1);
                self.store.compact(Revision(at)).await.unwrap();
                self.model.oldest = self.model.oldest.max(at);
                assert_eq!(self.store.oldest(), Revision(self.model.oldest));
            }
            Step::Reopen => {
                self.reopen().await;
                assert_eq!(self.store.oldest(), Revision(self.model.oldest));
            }
        }
        assert_eq!(self.store.revision(), self.model.revision());
    }

    async fn transact(&mut self, transactions: Vec<Transaction>) {
        if !self.place.keeps_order() {
            for transaction in &transactions {
                let outcome = self.store.transact(transaction.clone()).await.unwrap();
                assert_eq!(outcome, self.model.transact(transaction), "{transaction:?}");
            }
            return;
        }
        let outcomes = transactions
            .iter()
            .map(|transaction| self.store.transact(transaction.clone()));
        let outcomes = futures::future::join_all(outcomes).await;
        for (transaction, outcome) in transactions.iter().zip(outcomes) {
            assert_eq!(outcome.unwrap(), self.model.transact(transaction), "{transaction:?}");
        }
    }

    async fn read(&mut self, keys: Range<Bytes>, limit: usize, at: u64) {
        let newest = self.model.revision().0;
        // Half of the reads are of now.
        let at = at.is_multiple_of(2).then(|| (at / 2) % (newest + 2));
        let page = self.store.range(keys.clone(), limit, at.map(Revision)).await;
        let entry = self.store.get(keys.start.clone(), at.map(Revision)).await;
        let shown = at.unwrap_or(newest);
        if shown > newest {
            assert!(matches!(
                (page, entry),
                (Err(Error::Future { .. }), Err(Error::Future { .. }))
            ));
        } else if shown < self.model.oldest {
            assert!(matches!(
                (page, entry),
                (Err(Error::Compacted { .. }), Err(Error::Compacted { .. }))
            ));
        } else {
            let state = &self.model.states[shown as usize];
            let expected: Vec<_> = Model::within(state, &keys).cloned().collect();
            let page = page.unwrap();
            assert_eq!(page.revision, Revision(shown));
            assert_eq!(page.more, expected.len() > limit);
            assert_eq!(page.entries, expected[..limit.min(expected.len())]);
            assert_eq!(entry.unwrap().as_ref(), state.get(&keys.start));
            let count = self.store.count(keys, usize::MAX, at.map(Revision)).await.unwrap();
            assert_eq!(count, expected.len() as u64);
        }
    }

    async fn watch(&mut self, keys: Range<Bytes>, after: u64) {
        let watch = self.store.watch(keys.clone(), Some(Revision(after))).await;
        if after + 1 < self.model.oldest {
            assert!(matches!(watch.err(), Some(Error::Compacted { .. })));
            return;
        }
        let found = events_until(&mut watch.unwrap(), self.model.revision()).await;
        let events = self.model.events[after as usize..].iter().flatten();
        let expected: Vec<_> = events.filter(|event| inside(&keys, &event.key)).cloned().collect();
        assert_eq!(found, expected);
    }
}

fn run(place: Place, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run {
            store: place.open().await,
            model: Model::new(),
            place,
        };
        let mut live = run.store.watch(objectstore::prefix(b""), None).await.unwrap();
        let mut watched_from = 0;
        let mut seen = Vec::new();
        for step in steps {
            let reopens = matches!(step, Step::Reopen) && run.place.keeps();
            if reopens {
                seen.extend(events_until(&mut live, run.model.revision()).await);
                watched_from = run.model.revision().0;
            }
            run.step(step).await;
            if reopens {
                live = run
                    .store
                    .watch(objectstore::prefix(b""), Some(Revision(watched_from)))
                    .await
                    .unwrap();
            }
        }
        if run.model.revision().0 > watched_from {
            seen.extend(events_until(&mut live, run.model.revision()).await);
        }
        assert_eq!(seen, run.model.events.concat(), "the live watch");
        count("cases", 1);
        count("revisions", run.model.revision().0);
    });
}

/// `OSB_STORE_CASES` sets the number of cases, `OSB_STORE_SEED` their seed, which is another one each time without it.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        cases: u32::try_from(number("OSB_STORE_CASES", 48)).expect("a small number"),
        ..ProptestConfig::default()
    };
    if std::env::var_os("OSB_STORE_SEED").is_some() {
        config.rng_seed = RngSeed::Fixed(number("OSB_STORE_SEED", 0));
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_memory_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        run(Place::Memory, steps);
    }

    #[test]
    fn the_embedded_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        run(Place::Folder(tempfile::tempdir().unwrap()), steps);
    }
}

#[cfg(feature = "etcd")]
proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_etcd_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        if let Some(lease) = crate::clusters::lease() {
            run(Place::Etcd(Box::new(lease)), steps);
        }
    }
}
