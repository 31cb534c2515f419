//! Tables so large that their index lies in several parts, of which few are in memory.

use std::collections::BTreeMap;
use std::path::Path;

use objectstore::{Revision, Store, Transaction, embedded, prefix};

use crate::support::*;

const ENTRIES: usize = 6000;

/// Writes many entries in no order, and gives what stands there; every second key stays free.
async fn fill(store: &Store, random: &mut Random) -> BTreeMap<String, String> {
    let mut numbers: Vec<usize> = (0..ENTRIES).map(|n| 2 * n).collect();
    for n in (1..ENTRIES).rev() {
        numbers.swap(n, random.below(n + 1));
    }
    let mut entries = BTreeMap::new();
    for part in numbers.chunks(50) {
        let mut transaction = Transaction::default();
        for n in part {
            let (key, value) = (
                format!("k{n:05}"),
                format!("{n} {}", "v".repeat(400 + random.below(400))),
            );
            entries.insert(key.clone(), value.clone());
            transaction = transaction.put(key, value);
        }
        commit(store, transaction).await;
    }
    entries
}

/// Whether the index of a table has parts: that one has a section for them.
fn has_parts(folder: &Path) -> bool {
    let tables = std::fs::read_dir(folder.join("tree/tables"))
        .unwrap()
        .filter_map(Result::ok);
    let mut tables = tables.filter_map(|table| std::fs::read(table.path()).ok());
    tables.any(|bytes| {
        bytes[bytes.len().saturating_sub(500)..]
            .windows(7)
            .any(|name| name == b"\x05\0index")
    })
}

async fn check(store: &Store, entries: &BTreeMap<String, String>, at: Option<Revision>, random: &mut Random) {
    for n in 0..2 * ENTRIES {
        let key = format!("k{n:05}");
        let found = get(store, &key, at).await.map(|entry| entry.value);
        assert_eq!(found, entries.get(&key).map(b), "{key} at {at:?}");
    }
    for _ in 0..200 {
        let (start, length) = (random.below(2 * ENTRIES), random.below(2 * ENTRIES));
        let (start, end) = (format!("k{start:05}"), format!("k{:05}", start + length));
        let page = store.range(b(&start)..b(&end), 300, at).await.unwrap();
        let found = page
            .entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone()));
        let expected = entries.range(start.clone()..end.clone());
        let expected = expected.take(300).map(|(key, value)| (b(key), b(value)));
        assert!(found.eq(expected), "{start}..{end} at {at:?}");
    }
    assert_eq!(
        store.count(prefix(b"k"), usize::MAX, at).await.unwrap(),
        entries.len() as u64
    );
}

#[tokio::test]
async fn every_entry_is_found_in_tables_whose_index_has_parts() {
    let folder = tempfile::tempdir().unwrap();
    let options = || embedded::Options {
        memory_bytes: 256 << 10,
        cache_bytes: 64 << 10,
        ..small()
    };
    let store = embedded::open(folder.path(), options()).unwrap();
    let mut random = Random(3);
    let before = fill(&store, &mut random).await;
    let written = store.revision();
    let mut entries = before.clone();
    for n in (0..2 * ENTRIES).step_by(34) {
        let key = format!("k{n:05}");
        if n % 4 == 0 {
            delete(&store, &key).await;
            entries.remove(&key);
        } else {
            put(&store, &key, "another").await;
            entries.insert(key, "another".to_owned());
        }
    }
    eventually("merged", async || has_parts(folder.path())).await;
    check(&store, &entries, None, &mut random).await;
    store.close().await.unwrap();
    drop(store);
    let store = embedded::open(folder.path(), options()).unwrap();
    check(&store, &entries, None, &mut random).await;
    check(&store, &before, Some(written), &mut random).await;
}
