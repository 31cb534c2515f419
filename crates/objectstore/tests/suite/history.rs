//! Reads at a revision, pages, and the forgetting of history.

use std::time::Duration;

use objectstore::{Error, Revision, Transaction, Window, prefix};

use crate::support::*;

#[tokio::test]
async fn every_kept_revision_shows_what_it_was() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        put(&case.store, "b", "1").await;
        put(&case.store, "a", "2").await;
        delete(&case.store, "a").await;
        put(&case.store, "a", "3").await;
        let at = |revision| Some(Revision(revision));
        let expected = [
            None,
            Some(entry("a", "1", 1, 1)),
            Some(entry("a", "1", 1, 1)),
            Some(entry("a", "2", 1, 3)),
            None,
            Some(entry("a", "3", 5, 5)),
        ];
        for (revision, entry) in (0..).zip(expected) {
            assert_eq!(
                get(&case.store, "a", at(revision)).await,
                entry,
                "{} at {revision}",
                case.name
            );
            let page = case.store.range(b("a")..b("b"), 10, at(revision)).await.unwrap();
            assert_eq!(page.entries, Vec::from_iter(entry), "{} at {revision}", case.name);
            assert_eq!(page.revision, Revision(revision));
        }
        assert_eq!(case.store.count(prefix(b""), usize::MAX, at(4)).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_revision_in_the_future_cannot_be_read() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        let error = case.store.get(b("a"), Some(Revision(2))).await.unwrap_err();
        let expected = Error::Future {
            requested: Revision(2),
            current: Revision(1),
        };
        assert_eq!(format!("{error:?}"), format!("{expected:?}"), "{}", case.name);
        assert!(case.store.range(prefix(b""), 1, Some(Revision(2))).await.is_err());
        assert!(case.store.compact(Revision(2)).await.is_err());
    }
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_at_its_revision() {
    for case in engines().await {
        for n in 0..10 {
            put(&case.store, &format!("k{n}"), "old").await;
        }
        let first = case.store.range(prefix(b"k"), 4, None).await.unwrap();
        assert_eq!((first.entries.len(), first.more), (4, true), "{}", case.name);
        for n in 0..10 {
            put(&case.store, &format!("k{n}"), "new").await;
        }
        delete(&case.store, "k5").await;
        let mut from = [&first.entries[3].key[..], b"\0"].concat();
        let mut seen = first.entries;
        loop {
            let page = case
                .store
                .range(b(&from)..prefix(b"k").end, 3, Some(first.revision))
                .await
                .unwrap();
            from = [&page.entries.last().unwrap().key[..], b"\0"].concat();
            seen.extend(page.entries);
            if !page.more {
                break;
            }
        }
        let expected: Vec<_> = (0..10).map(|n| entry(&format!("k{n}"), "old", n + 1, n + 1)).collect();
        assert_eq!(seen, expected, "{}", case.name);
    }
}

#[tokio::test]
async fn a_range_ends_before_its_end_and_an_empty_end_is_unbounded() {
    for case in engines().await {
        let keys: [&[u8]; 5] = [b"\0", b"a", b"a\0", b"b", b"\xff\xff"];
        let all = keys.iter().fold(Transaction::default(), |t, key| t.put(b(key), "v"));
        commit(&case.store, all).await;
        for at in [None, Some(Revision(1))] {
            if at.is_some() {
                put(&case.store, "later", "x").await;
                put(&case.store, "a", "later").await;
            }
            let count = |start: &'static [u8], end: &'static [u8]| case.store.count(b(start)..b(end), usize::MAX, at);
            assert_eq!(count(b"", b"").await.unwrap(), 5, "{}", case.name);
            assert_eq!(count(b"a", b"b").await.unwrap(), 2);
            assert_eq!(count(b"b", b"").await.unwrap(), 2);
            assert_eq!(count(b"b", b"a").await.unwrap(), 0);
            assert_eq!(count(b"a", b"a").await.unwrap(), 0);
            assert_eq!(case.store.range(prefix(b""), 0, at).await.unwrap().entries.len(), 0);
        }
    }
}

#[tokio::test]
async fn compacted_revisions_are_gone_and_all_others_stay() {
    for case in engines().await {
        for n in 1..=6 {
            put(&case.store, "a", &n.to_string()).await;
        }
        delete(&case.store, "a").await;
        case.store.compact(Revision(4)).await.unwrap();
        case.store.compact(Revision(2)).await.unwrap();
        assert_eq!(case.store.oldest(), Revision(4), "{}", case.name);
        for revision in 4..=6 {
            let value = revision.to_string();
            let found = get(&case.store, "a", Some(Revision(revision))).await;
            assert_eq!(found, Some(entry("a", &value, 1, revision)), "{}", case.name);
        }
        assert_eq!(get(&case.store, "a", Some(Revision(7))).await, None);
        let read = case.store.get(b("a"), Some(Revision(3))).await;
        let list = case.store.range(prefix(b""), 9, Some(Revision(3))).await.map(|_| None);
        let watch = case.store.watch(prefix(b""), Some(Revision(2))).await.map(|_| None);
        for (result, requested) in [(read, 3), (list, 3), (watch, 2)] {
            let error = Error::Compacted {
                requested: Revision(requested),
                oldest: Revision(4),
            };
            assert_eq!(
                format!("{:?}", result.unwrap_err()),
                format!("{error:?}"),
                "{}",
                case.name
            );
        }
        let mut watch = case.store.watch(prefix(b""), Some(Revision(3))).await.unwrap();
        let events = events_until(&mut watch, Revision(7)).await;
        assert_eq!(events.len(), 4, "{}", case.name);
        assert_eq!(events[0].previous, Some(entry("a", "3", 1, 3)), "{}", case.name);
    }
}

/// Readers beside writers, while tables are written and merged: each page shows exactly one revision, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_under_load_show_one_revision_each() {
    for case in engines().await {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = case.store.clone();
                tokio::spawn(async move {
                    for n in 0..150 {
                        let value = format!("{n} {}", "x".repeat(200));
                        let pair = Transaction::default().put(format!("a/{writer}"), value.clone());
                        commit(&store, pair.put(format!("b/{writer}"), value)).await;
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let store = case.store.clone();
                tokio::spawn(async move {
                    while store.revision() < Revision(600) {
                        let page = store.range(prefix(b""), 100, None).await.unwrap();
                        let (a, b) = page.entries.split_at(page.entries.len() / 2);
                        assert!(
                            a.iter()
                                .zip(b)
                                .all(|(a, b)| (&a.value, a.modified) == (&b.value, b.modified))
                        );
                        let newest = page.entries.iter().map(|entry| entry.modified).max();
                        assert_eq!(newest.unwrap_or_default(), page.revision);
                        let again = store.range(prefix(b""), 100, Some(page.revision)).await.unwrap();
                        assert_eq!(again, page);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in writers.into_iter().chain(readers) {
            task.await.expect(case.name);
        }
    }
}

#[tokio::test]
async fn history_is_forgotten_by_age() {
    let window = Window {
        age: Duration::from_millis(200),
        bytes: 1 << 30,
    };
    for case in engines_with(window, 16).await {
        put(&case.store, "a", "1").await;
        put(&case.store, "a", "2").await;
        eventually("forgotten", async || {
            put(&case.store, "b", "1").await;
            case.store.oldest() > Revision(2)
        })
        .await;
        assert!(
            case.store.get(b("a"), Some(Revision(1))).await.is_err(),
            "{}",
            case.name
        );
        assert_eq!(get(&case.store, "a", None).await, Some(entry("a", "2", 1, 2)));
    }
}

#[tokio::test]
async fn history_is_forgotten_by_size() {
    let window = Window {
        age: Duration::from_secs(600),
        bytes: 20_000,
    };
    for case in engines_with(window, 16).await {
        let value = "v".repeat(1000);
        for _ in 0..50 {
            put(&case.store, "a", &value).await;
        }
        // An engine may look after it a little later.
        eventually("forgotten", async || case.store.oldest() > Revision(20)).await;
        assert!(case.store.oldest() < Revision(50), "{}", case.name);
        // The last write is answered before what it pushes out of the window is forgotten.
        let kept = loop {
            match case.store.get(b("a"), Some(case.store.oldest())).await {
                Err(Error::Compacted { .. }) => tokio::task::yield_now().await,
                found => break found.unwrap(),
            }
        };
        assert!(kept.is_some());
    }
}
