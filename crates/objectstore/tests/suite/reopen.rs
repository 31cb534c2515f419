//! What outlives the process.

use objectstore::{Error, Revision, Transaction, embedded, prefix};

use crate::support::*;

#[tokio::test]
async fn everything_is_there_again_after_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    put(&store, "b", "1").await;
    delete(&store, "b").await;
    store.close().await.unwrap();
    assert!(segments(folder.path()).is_empty(), "nothing is left to replay");

    let store = open(folder.path());
    assert_eq!(store.revision(), Revision(4));
    assert_eq!(get(&store, "a", None).await, Some(entry("a", "2", 1, 2)));
    assert_eq!(get(&store, "b", None).await, None);
    assert_eq!(get(&store, "b", Some(Revision(3))).await, Some(entry("b", "1", 3, 3)));
    assert_eq!(put(&store, "a", "3").await, Revision(5));
    assert_eq!(get(&store, "a", None).await, Some(entry("a", "3", 1, 5)));
}

#[tokio::test]
async fn everything_is_there_again_without_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("live"));
    put(&store, "a", "1").await;
    commit(&store, Transaction::default().put("a", "2").put("b", "1")).await;
    delete(&store, "b").await;
    snapshot(&folder.path().join("live"), &folder.path().join("crashed"));

    let store = open(&folder.path().join("crashed"));
    assert_eq!(store.revision(), Revision(3));
    assert_eq!(get(&store, "a", None).await, Some(entry("a", "2", 1, 2)));
    assert_eq!(get(&store, "b", Some(Revision(2))).await, Some(entry("b", "1", 2, 2)));
    assert!(
        segments(&folder.path().join("crashed")).is_empty(),
        "the log was emptied"
    );
}

#[tokio::test]
async fn a_watch_goes_on_from_an_old_revision_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..300 {
        put(&store, &format!("k{}", n % 5), &n.to_string()).await;
    }
    let mut watch = store.watch(prefix(b""), Some(Revision(0))).await.unwrap();
    let before = events_until(&mut watch, Revision(300)).await;
    drop((watch, store));

    let store = open(folder.path());
    let mut watch = store.watch(prefix(b""), Some(Revision(0))).await.unwrap();
    assert_eq!(events_until(&mut watch, Revision(300)).await, before);
    put(&store, "k0", "new").await;
    let events = next_events(&mut watch).await;
    assert_eq!(events[0].revision, Revision(301));
    assert_eq!(
        events[0].previous,
        before[295]
            .value
            .clone()
            .map(|v| entry("k0", &String::from_utf8_lossy(&v), 1, 296))
    );
}

#[tokio::test]
async fn what_was_compacted_stays_so_even_without_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (live, crashed) = (folder.path().join("live"), folder.path().join("crashed"));
    let store = open(&live);
    for n in 0..5 {
        put(&store, "a", &n.to_string()).await;
    }
    store.compact(Revision(4)).await.unwrap();
    snapshot(&live, &crashed);
    drop(store);
    for path in [live, crashed] {
        let store = open(&path);
        assert_eq!((store.revision(), store.oldest()), (Revision(5), Revision(4)));
        assert!(matches!(
            store.get(b("a"), Some(Revision(3))).await,
            Err(Error::Compacted { .. })
        ));
        assert_eq!(get(&store, "a", Some(Revision(4))).await, Some(entry("a", "3", 1, 4)));
    }
}

/// A few thousand keys, many tables, merges in between: nothing gets lost, nothing comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tables_and_merges_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = "v".repeat(300);
    for round in 0..6 {
        let writes = (0..600).map(|n| {
            let key = format!("k{n:04}");
            let transaction = match (n + round) % 3 {
                0 => Transaction::default().delete(key),
                _ => Transaction::default().put(key, format!("{round} {value}")),
            };
            store.transact(transaction)
        });
        for outcome in futures::future::join_all(writes).await {
            outcome.unwrap();
        }
        if round == 2 {
            store.compact(store.revision()).await.unwrap();
        }
    }
    let check = async |store: &objectstore::Store| {
        let page = store.range(prefix(b"k"), usize::MAX, None).await.unwrap();
        let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.clone()).collect();
        let expected: Vec<_> = (0..600)
            .filter(|n| (n + 5) % 3 != 0)
            .map(|n| b(format!("k{n:04}")))
            .collect();
        assert_eq!(keys, expected);
        assert!(page.entries.iter().all(|entry| entry.value.starts_with(b"5 ")));
    };
    check(&store).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(folder.path());
    check(&store).await;
}

#[tokio::test]
async fn a_part_of_the_log_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = || embedded::Options {
        memory_bytes: 1 << 20,
        ..small()
    };
    let store = embedded::open(folder.path(), options()).unwrap();
    let value = "v".repeat(100_000);
    for n in 0..60 {
        put(&store, &format!("k{n}"), &value).await;
        assert!(segments(folder.path()).len() <= 8, "old parts go");
    }
    drop(store);
    let store = embedded::open(folder.path(), options()).unwrap();
    assert_eq!(store.count(prefix(b"k"), usize::MAX, None).await.unwrap(), 60);
    // In a file that held other groups before.
    put(&store, "last", "1").await;
    let copy = folder.path().join("../copy");
    let copy = tempfile::tempdir_in(copy.parent().unwrap()).unwrap();
    snapshot(folder.path(), copy.path());
    let store = embedded::open(copy.path(), options()).unwrap();
    assert_eq!(get(&store, "last", None).await, Some(entry("last", "1", 61, 61)));
}

#[tokio::test]
async fn forgotten_history_leaves_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = "v".repeat(400);
    let on_disk = || folder_bytes(&folder.path().join("tree"));
    let write = async || {
        let writes = (0..50).map(|_| store.transact(Transaction::default().put("key", value.clone())));
        assert!(futures::future::join_all(writes).await.iter().all(Result::is_ok));
    };
    for _ in 0..40 {
        write().await;
    }
    assert_eq!(store.oldest(), Revision(0));
    let kept = on_disk();
    assert!(kept > 500 * value.len() as u64, "history is kept: {kept}");
    eventually("smaller", async || {
        store.compact(store.revision()).await.unwrap();
        write().await;
        on_disk() < kept / 4
    })
    .await;
}

#[tokio::test]
async fn a_new_store_begins_behind_the_revision_that_it_is_told_and_an_old_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let behind = |revision| embedded::Options {
        first_revision: Revision(revision),
        ..small()
    };
    let store = embedded::open(&live, behind(1_000)).unwrap();
    assert_eq!(store.revision(), Revision(1_000));
    assert_eq!(put(&store, "a", "1").await, Revision(1_001));
    let early = store.get("a".into(), Some(Revision(999))).await;
    assert!(matches!(early, Err(Error::Compacted { .. })), "{early:?}");
    snapshot(&live, &folder.path().join("crashed"));
    store.close().await.unwrap();

    for copy in ["live", "crashed"] {
        let store = embedded::open(folder.path().join(copy), behind(5_000)).unwrap();
        assert_eq!(
            get(&store, "a", None).await,
            Some(entry("a", "1", 1_001, 1_001)),
            "{copy}"
        );
        assert_eq!(put(&store, "a", "2").await, Revision(1_002), "{copy}");
    }
}
