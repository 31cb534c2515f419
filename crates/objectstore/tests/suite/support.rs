//! Stores to test, and short ways to use them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use objectstore::{Delivery, Entry, Error, Event, Outcome, Revision, Store, Transaction, Watch, Window};
use objectstore::{embedded, memory};

#[cfg(feature = "etcd")]
use crate::clusters;

/// An engine under test, with what must outlive it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    /// Whether transactions that are sent at the same time are carried out in that order.
    pub(crate) in_order: bool,
    _place: Place,
}

/// Where a store lies.
enum Place {
    Memory,
    Folder {
        _folder: tempfile::TempDir,
    },
    #[cfg(feature = "etcd")]
    Etcd {
        _lease: clusters::Lease,
    },
}

/// A durable store that writes tables early, so that small tests meet them; a failure ends the test's process.
pub(crate) fn small() -> embedded::Options {
    embedded::Options {
        memory_bytes: 16 << 10,
        reserve_bytes: 0,
        ..embedded::Options::default()
    }
}

/// All engines, empty, with so many deliveries buffered for each watcher.
pub(crate) async fn engines_with(window: Window, watch_buffer: usize) -> Vec<Case> {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::Options {
        window,
        watch_buffer,
        ..small()
    };
    let durable = embedded::open(folder.path().join("data"), options).unwrap();
    let memory = memory::open(memory::Options { window, watch_buffer });
    let case = |name, store, place| Case {
        name,
        store,
        in_order: true,
        _place: place,
    };
    #[cfg_attr(not(feature = "etcd"), expect(unused_mut, reason = "there is no third one"))]
    let mut cases = vec![
        case("memory", memory, Place::Memory),
        case("embedded", durable, Place::Folder { _folder: folder }),
    ];
    #[cfg(feature = "etcd")]
    if let Some(lease) = clusters::lease() {
        let options = objectstore::etcd::Options {
            window,
            watch_buffer,
            ..lease.options()
        };
        cases.push(Case {
            name: "etcd",
            store: objectstore::etcd::open(options).await.unwrap(),
            in_order: false,
            _place: Place::Etcd { _lease: lease },
        });
    }
    cases
}

pub(crate) fn window() -> Window {
    Window {
        age: Duration::from_secs(600),
        bytes: 1 << 30,
    }
}

/// All engines, empty.
pub(crate) async fn engines() -> Vec<Case> {
    engines_with(window(), 4096).await
}

pub(crate) fn open(path: &Path) -> Store {
    embedded::open(path, small()).unwrap()
}

pub(crate) fn b(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

pub(crate) async fn commit(store: &Store, transaction: Transaction) -> Revision {
    match store.transact(transaction).await.unwrap() {
        Outcome::Committed(revision) => revision,
        refused => panic!("{refused:?}"),
    }
}

pub(crate) async fn put(store: &Store, key: &str, value: &str) -> Revision {
    commit(store, Transaction::default().put(b(key), b(value))).await
}

pub(crate) async fn delete(store: &Store, key: &str) -> Revision {
    commit(store, Transaction::default().delete(b(key))).await
}

pub(crate) async fn get(store: &Store, key: &str, at: Option<Revision>) -> Option<Entry> {
    store.get(b(key), at).await.unwrap()
}

pub(crate) fn entry(key: &str, value: &str, created: u64, modified: u64) -> Entry {
    Entry {
        key: b(key),
        value: b(value),
        created: Revision(created),
        modified: Revision(modified),
    }
}

/// The keys of all entries, as text.
pub(crate) async fn all_keys(store: &Store, at: Option<Revision>) -> Vec<String> {
    let page = store.range(objectstore::prefix(b""), usize::MAX, at).await.unwrap();
    page.entries
        .iter()
        .map(|entry| String::from_utf8(entry.key.to_vec()).unwrap())
        .collect()
}

/// The next delivery; a watch that brings nothing fails the test.
pub(crate) async fn next(watch: &mut Watch) -> Result<Delivery, Error> {
    let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    next.expect("a delivery is due").expect("the watch goes on")
}

/// The next transaction, past news of progress.
pub(crate) async fn next_events(watch: &mut Watch) -> Arc<[Event]> {
    loop {
        if let Delivery::Events(events) = next(watch).await.unwrap() {
            return events;
        }
    }
}

/// All changes up to a revision, each on its own.
pub(crate) async fn events_until(watch: &mut Watch, last: Revision) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match next(watch).await.unwrap() {
            Delivery::Events(part) => {
                let revision = part[0].revision;
                assert!(part.iter().all(|event| event.revision == revision));
                events.extend_from_slice(&part);
                if revision >= last {
                    return events;
                }
            }
            Delivery::Progress(revision) if revision >= last => return events,
            Delivery::Progress(_) => {}
        }
    }
}

/// Whether nothing lies ready.
pub(crate) fn is_quiet(watch: &mut Watch) -> bool {
    watch.next().now_or_never().is_none()
}

/// Looks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A copy of a store's folder: what a crash at this moment would leave, as far as the process goes. Taken when the
/// store's threads leave the folder alone for a moment.
pub(crate) fn snapshot(from: &Path, to: &Path) {
    for _ in 0..1000 {
        let _ = std::fs::remove_dir_all(to);
        if copy(from, to).is_ok() && matches!((listing(from), listing(to)), (Ok(a), Ok(b)) if a == b) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} changes all the time", from.display());
}

/// Numbers that look random, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below another one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // A step of a well-known generator.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// All files below a folder, named from there, with their bytes.
fn listing(folder: &Path) -> std::io::Result<std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = std::path::PathBuf::from(entry.file_name());
        if entry.file_type()?.is_dir() {
            files.extend(
                listing(&entry.path())?
                    .into_iter()
                    .map(|(path, bytes)| (name.join(path), bytes)),
            );
        } else {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// All files below a folder with their bytes, but for the lock.
pub(crate) fn contents(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else if !path.ends_with("lock") {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

/// The segments of a folder's log, oldest first.
pub(crate) fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    segments.sort();
    segments
}

/// Where the frames of a segment start, and where the last one ends.
pub(crate) fn frames(segment: &[u8]) -> Vec<usize> {
    let mut position = 40;
    let mut starts = vec![position];
    while segment[position..].starts_with(b"OSTF") {
        let length = u32::from_le_bytes(segment[position + 4..position + 8].try_into().unwrap());
        position += 36 + length as usize;
        starts.push(position);
    }
    starts
}

/// The bytes of all files below a folder, some of which may vanish meanwhile.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
