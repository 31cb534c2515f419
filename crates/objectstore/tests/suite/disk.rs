//! Disks that are full, read-only, or fail.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use objectstore::embedded::{self, Disk, OsDisk};
use objectstore::{Delivery, Error, Revision, Transaction, prefix};
use testparts::SmallDisk;

use crate::support::*;

/// A disk that can be told to be full, or read-only, or to fail: nothing else can be had at will.
#[derive(Default)]
struct Moody {
    free: AtomicU64,
    read_only: AtomicBool,
    syncs_fail: AtomicBool,
    syncs: AtomicU64,
}

impl Disk for Moody {
    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        if self.read_only.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(self.free.load(Ordering::SeqCst))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.syncs_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        OsDisk.sync(file)
    }
}

fn options(disk: &Arc<Moody>) -> embedded::Options {
    embedded::Options {
        disk: disk.clone(),
        reserve_bytes: 1000,
        ..small()
    }
}

fn try_put(store: &objectstore::Store) -> impl Future<Output = Result<objectstore::Outcome, Error>> {
    let (store, transaction) = (store.clone(), Transaction::default().put("b", "1"));
    async move { store.transact(transaction).await }
}

#[tokio::test]
async fn a_full_or_read_only_disk_refuses_writes_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Moody {
        free: AtomicU64::new(5000),
        ..Moody::default()
    });
    let store = embedded::open(folder.path(), options(&disk)).unwrap();
    put(&store, "a", "1").await;
    for (free, read_only) in [(999, false), (5000, true)] {
        disk.free.store(free, Ordering::SeqCst);
        disk.read_only.store(read_only, Ordering::SeqCst);
        eventually("refused", async || {
            matches!(try_put(&store).await, Err(Error::Unavailable(_)))
        })
        .await;
        let before = store.revision();
        let why = try_put(&store).await.unwrap_err().to_string();
        assert!(why.contains("disk"), "{why}");
        assert_eq!(store.revision(), before, "nothing was written");
        assert_eq!(get(&store, "a", None).await, Some(entry("a", "1", 1, 1)), "reads go on");

        disk.free.store(5000, Ordering::SeqCst);
        disk.read_only.store(false, Ordering::SeqCst);
        eventually("accepted", async || try_put(&store).await.is_ok()).await;
        assert!(store.revision() > before);
    }
    let last = store.revision();
    drop(store);
    assert_eq!(open(folder.path()).revision(), last);
}

#[tokio::test]
async fn a_failed_sync_ends_the_store_and_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Moody {
        free: AtomicU64::new(1 << 40),
        ..Moody::default()
    });
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let heard = fatal.clone();
    let on_fatal = Arc::new(move |message: &str| heard.lock().unwrap().push(message.to_owned()));
    let store = embedded::open(
        folder.path(),
        embedded::Options {
            on_fatal,
            ..options(&disk)
        },
    )
    .unwrap();
    put(&store, "a", "1").await;
    let mut watch = store.watch(prefix(b""), Some(Revision(1))).await.unwrap();

    disk.syncs_fail.store(true, Ordering::SeqCst);
    let syncs = disk.syncs.load(Ordering::SeqCst);
    assert!(matches!(try_put(&store).await, Err(Error::Closed)));
    assert!(matches!(try_put(&store).await, Err(Error::Closed)));
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs + 1, "one sync, not repeated");
    let messages = fatal.lock().unwrap().clone();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].contains("the disk is gone") && messages[0].contains("stops"),
        "{messages:?}"
    );
    while let Some(delivery) = watch.next().await {
        assert!(
            !matches!(delivery, Ok(Delivery::Events(_))),
            "nothing that was not durable: {delivery:?}"
        );
    }
    drop(store);
    // What was acknowledged is there; what was not may be.
    let store = open(folder.path());
    assert_eq!(get(&store, "a", None).await, Some(entry("a", "1", 1, 1)));
}

#[tokio::test]
async fn one_sync_serves_all_that_wait() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Moody {
        free: AtomicU64::new(1 << 40),
        ..Moody::default()
    });
    let store = embedded::open(
        folder.path(),
        embedded::Options {
            memory_bytes: 1 << 20,
            ..options(&disk)
        },
    )
    .unwrap();
    put(&store, "first", "1").await;
    let before = disk.syncs.load(Ordering::SeqCst);
    let writes = (0..1000).map(|n| store.transact(Transaction::default().put(format!("k{n}"), "v")));
    for outcome in futures::future::join_all(writes).await {
        outcome.unwrap();
    }
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=500).contains(&syncs), "{syncs} syncs for 1000 transactions");
}

/// Writes until the store refuses; gives the keys that were acknowledged.
async fn fill(store: &objectstore::Store, round: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let key = format!("{round}/{number:05}");
        let write = Transaction::default().put(b(&key), vec![b'x'; 2000]);
        match store.transact(write).await {
            Ok(_) => acknowledged.push(key),
            Err(Error::Unavailable(why)) => {
                assert!(why.contains("room") || why.contains("No space left"), "{why}");
                assert_eq!(get(store, &key, None).await, None);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

/// Without a reserve the system itself says that there is no room, for a table or for the log, in the middle of things.
#[tokio::test]
async fn a_disk_without_a_free_byte_loses_nothing_and_is_used_again() {
    let Some(disk) = testparts::need(SmallDisk::start(8 << 20)) else {
        return;
    };
    let path = disk.from_outside().join("store");
    let mut acknowledged = Vec::new();
    for round in 0..2 {
        let store = embedded::open(&path, small()).unwrap();
        disk.fill().unwrap();
        acknowledged.extend(fill(&store, round).await);
        disk.make_room(0).unwrap();
        eventually("accepted", async || try_put(&store).await.is_ok()).await;
        disk.fill().unwrap();
        acknowledged.extend(fill(&store, round + 10).await);
        // Closed, or left as by a crash, with the disk still full.
        if round == 0 {
            store.close().await.unwrap();
        }
        drop(store);
        disk.make_room(0).unwrap();
        assert_eq!(all_keys(&open(&path), None).await.len(), acknowledged.len() + 1);
    }
    assert!(!acknowledged.is_empty(), "something was acknowledged with little room");
}

/// What a failed try leaves behind must not eat the room that becomes free.
#[tokio::test]
async fn a_table_is_not_tried_again_before_there_is_room_for_it() {
    let Some(disk) = testparts::need(SmallDisk::start(8 << 20)) else {
        return;
    };
    let path = disk.from_outside().join("store");
    let moody = Arc::new(Moody {
        free: AtomicU64::new(1 << 40),
        ..Moody::default()
    });
    let store = embedded::open(&path, options(&moody)).unwrap();
    put(&store, "a", "1").await;
    disk.fill().unwrap();
    let acknowledged = fill(&store, 0).await;
    let tables = || std::fs::read_dir(path.join("tree/tables")).unwrap().count();
    // From now on the store is told the truth.
    moody.free.store(0, Ordering::SeqCst);
    eventually(
        "refused for the reserve",
        async || matches!(try_put(&store).await, Err(Error::Unavailable(why)) if why.contains("reserve")),
    )
    .await;
    let before = tables();
    let started = std::time::Instant::now();
    while started.elapsed() < std::time::Duration::from_secs(3) {
        assert!(tables() <= before + 1, "half tables pile up");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    disk.make_room(0).unwrap();
    moody.free.store(1 << 40, Ordering::SeqCst);
    eventually("accepted", async || try_put(&store).await.is_ok()).await;
    assert_eq!(all_keys(&store, None).await.len(), acknowledged.len() + 2);
}
