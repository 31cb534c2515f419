//! Watches: every change, in order, once.

use std::sync::Arc;

use futures::StreamExt as _;
use objectstore::{Delivery, Error, Event, Revision, Transaction, prefix};

use crate::support::*;

fn event(revision: u64, key: &str, value: Option<&str>, previous: Option<objectstore::Entry>) -> Event {
    Event {
        revision: Revision(revision),
        key: b(key),
        value: value.map(b),
        previous,
    }
}

#[tokio::test]
async fn a_watch_from_now_brings_what_comes() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        let mut watch = case.store.watch(prefix(b""), None).await.unwrap();
        put(&case.store, "a", "2").await;
        delete(&case.store, "a").await;
        let first = next_events(&mut watch).await;
        assert_eq!(
            first[..],
            [event(2, "a", Some("2"), Some(entry("a", "1", 1, 1)))],
            "{}",
            case.name
        );
        let second = next_events(&mut watch).await;
        assert_eq!(
            second[..],
            [event(3, "a", None, Some(entry("a", "2", 1, 2)))],
            "{}",
            case.name
        );
        assert!(is_quiet(&mut watch));
    }
}

#[tokio::test]
async fn a_watch_from_the_past_brings_what_came_and_what_comes() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        put(&case.store, "a", "2").await;
        delete(&case.store, "a").await;
        put(&case.store, "a", "3").await;
        let mut watch = case.store.watch(prefix(b""), Some(Revision(1))).await.unwrap();
        put(&case.store, "a", "4").await;
        let events = events_until(&mut watch, Revision(5)).await;
        let expected = [
            event(2, "a", Some("2"), Some(entry("a", "1", 1, 1))),
            event(3, "a", None, Some(entry("a", "2", 1, 2))),
            event(4, "a", Some("3"), None),
            event(5, "a", Some("4"), Some(entry("a", "3", 4, 4))),
        ];
        assert_eq!(events, expected, "{}", case.name);
    }
}

#[tokio::test]
async fn a_revision_in_the_future_is_waited_for() {
    for case in engines().await {
        let mut watch = case.store.watch(prefix(b""), Some(Revision(2))).await.unwrap();
        for n in 1..=3 {
            put(&case.store, "a", &n.to_string()).await;
        }
        let events = next_events(&mut watch).await;
        assert_eq!(events[0].revision, Revision(3), "{}", case.name);
    }
}

#[tokio::test]
async fn only_the_range_is_watched_and_a_transaction_stays_together() {
    for case in engines().await {
        let mut inner = case.store.watch(prefix(b"p/"), None).await.unwrap();
        let mut all = case.store.watch(prefix(b""), None).await.unwrap();
        let mut part = case.store.watch(b("p/b")..b("q/b"), None).await.unwrap();
        commit(
            &case.store,
            Transaction::default()
                .put("o", "1")
                .put("p/c", "1")
                .put("p/a", "1")
                .put("q/a", "1"),
        )
        .await;
        let keys = |events: Arc<[Event]>| {
            events
                .iter()
                .map(|e| String::from_utf8_lossy(&e.key).into_owned())
                .collect()
        };
        let found: Vec<String> = keys(next_events(&mut inner).await);
        assert_eq!(found, ["p/c", "p/a"], "{}", case.name);
        let found: Vec<String> = keys(next_events(&mut all).await);
        assert_eq!(found, ["o", "p/c", "p/a", "q/a"], "{}", case.name);
        let found: Vec<String> = keys(next_events(&mut part).await);
        assert_eq!(found, ["p/c", "q/a"], "{}", case.name);
        // The same from history.
        let mut inner = case.store.watch(prefix(b"p/"), Some(Revision(0))).await.unwrap();
        let found: Vec<String> = keys(next_events(&mut inner).await);
        assert_eq!(found, ["p/c", "p/a"], "{}", case.name);
    }
}

#[tokio::test]
async fn watchers_that_watch_the_same_share_the_events() {
    for case in engines().await {
        let mut one = case.store.watch(prefix(b""), None).await.unwrap();
        let mut two = case.store.watch(prefix(b"a"), None).await.unwrap();
        put(&case.store, "a", "1").await;
        let (one, two) = (next_events(&mut one).await, next_events(&mut two).await);
        assert!(Arc::ptr_eq(&one, &two), "{}", case.name);
    }
}

#[tokio::test]
async fn a_watcher_that_has_caught_up_is_told_so() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        put(&case.store, "b", "1").await;
        let mut watch = case.store.watch(prefix(b"a"), Some(Revision(0))).await.unwrap();
        assert!(
            matches!(next(&mut watch).await, Ok(Delivery::Events(_))),
            "{}",
            case.name
        );
        assert_eq!(
            next(&mut watch).await.unwrap(),
            Delivery::Progress(Revision(2)),
            "{}",
            case.name
        );
    }
}

#[tokio::test]
async fn progress_elsewhere_is_told_in_the_end() {
    for case in engines().await {
        let mut watch = case.store.watch(prefix(b"a"), None).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap(), Delivery::Progress(Revision(0)));
        put(&case.store, "b", "1").await;
        assert_eq!(
            next(&mut watch).await.unwrap(),
            Delivery::Progress(Revision(1)),
            "{}",
            case.name
        );
    }
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_and_can_go_on_where_it_was() {
    for case in engines_with(window(), 4).await {
        let mut watch = case.store.watch(prefix(b""), None).await.unwrap();
        for n in 0..20 {
            put(&case.store, "a", &n.to_string()).await;
        }
        let mut last = Revision(0);
        let error = loop {
            match next(&mut watch).await {
                Ok(Delivery::Events(events)) => last = events[0].revision,
                Ok(Delivery::Progress(_)) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Lagged), "{} {error:?}", case.name);
        assert!(watch.next().await.is_none());
        let mut watch = case.store.watch(prefix(b""), Some(last)).await.unwrap();
        let rest = events_until(&mut watch, Revision(20)).await;
        assert_eq!(rest.len() as u64, 20 - last.0, "{}", case.name);
    }
}

#[tokio::test]
async fn a_watcher_that_is_overtaken_by_compaction_is_told_so() {
    for case in engines().await {
        for n in 0..600 {
            put(&case.store, "a", &n.to_string()).await;
        }
        let mut watch = case.store.watch(prefix(b""), Some(Revision(0))).await.unwrap();
        case.store.compact(Revision(590)).await.unwrap();
        let error = loop {
            if let Err(error) = next(&mut watch).await {
                break error;
            }
        };
        assert!(
            matches!(
                error,
                Error::Compacted {
                    oldest: Revision(590),
                    ..
                }
            ),
            "{} {error:?}",
            case.name
        );
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn watches_end_with_the_store() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        let mut live = case.store.watch(prefix(b""), Some(Revision(0))).await.unwrap();
        next_events(&mut live).await;
        case.store.close().await.unwrap();
        while let Some(delivery) = live.next().await {
            assert!(matches!(delivery, Ok(Delivery::Progress(_))), "{}", case.name);
        }
    }
}

/// Writers at full speed; watchers that start at any time and revision see every later change once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_join_under_load_miss_and_repeat_nothing() {
    const WRITES: u64 = 400;
    for case in engines().await {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = case.store.clone();
                tokio::spawn(async move {
                    for n in 0..WRITES / 4 {
                        put(&store, &format!("{}/{}", writer % 2, n % 7), &n.to_string()).await;
                    }
                })
            })
            .collect();
        let watchers: Vec<_> = (0..12)
            .map(|n| {
                let store = case.store.clone();
                tokio::spawn(async move {
                    for _ in 0..n {
                        tokio::task::yield_now().await;
                    }
                    let after = Revision(store.revision().0 * (n % 3) / 2);
                    let mut watch = store.watch(prefix(b""), Some(after)).await.unwrap();
                    let events = events_until(&mut watch, Revision(WRITES)).await;
                    let revisions: Vec<_> = events.iter().map(|event| event.revision.0).collect();
                    assert_eq!(revisions, Vec::from_iter(after.0 + 1..=WRITES));
                })
            })
            .collect();
        for task in writers.into_iter().chain(watchers) {
            task.await.expect(case.name);
        }
    }
}
