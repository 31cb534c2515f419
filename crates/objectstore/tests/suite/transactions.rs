//! Compares and writes.

use objectstore::{Compare, Error, MAX_KEY_BYTES, MAX_WRITES, Outcome, Revision, Transaction, prefix};

use crate::support::*;

#[tokio::test]
async fn a_new_store_is_empty() {
    for case in engines().await {
        assert_eq!(case.store.revision(), Revision(0), "{}", case.name);
        assert_eq!(case.store.oldest(), Revision(0));
        assert_eq!(get(&case.store, "a", None).await, None);
        let page = case.store.range(prefix(b""), 10, None).await.unwrap();
        assert_eq!((page.entries.len(), page.revision, page.more), (0, Revision(0), false));
    }
}

#[tokio::test]
async fn each_transaction_that_changes_something_takes_the_next_revision() {
    for case in engines().await {
        assert_eq!(put(&case.store, "a", "1").await, Revision(1), "{}", case.name);
        assert_eq!(put(&case.store, "a", "1").await, Revision(2));
        assert_eq!(delete(&case.store, "a").await, Revision(3));
        assert_eq!(delete(&case.store, "a").await, Revision(3), "nothing was there");
        assert_eq!(commit(&case.store, Transaction::default()).await, Revision(3));
        assert_eq!(put(&case.store, "b", "1").await, Revision(4));
        assert_eq!(case.store.revision(), Revision(4));
    }
}

#[tokio::test]
async fn an_entry_knows_who_created_and_who_modified_it() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        put(&case.store, "a", "2").await;
        assert_eq!(
            get(&case.store, "a", None).await,
            Some(entry("a", "2", 1, 2)),
            "{}",
            case.name
        );
        delete(&case.store, "a").await;
        assert_eq!(get(&case.store, "a", None).await, None);
        put(&case.store, "a", "3").await;
        assert_eq!(get(&case.store, "a", None).await, Some(entry("a", "3", 4, 4)));
    }
}

#[tokio::test]
async fn all_writes_of_a_transaction_come_under_one_revision() {
    for case in engines().await {
        put(&case.store, "old", "x").await;
        commit(
            &case.store,
            Transaction::default().put("a", "1").delete("old").put("b", "2"),
        )
        .await;
        assert_eq!(all_keys(&case.store, None).await, ["a", "b"], "{}", case.name);
        assert_eq!(get(&case.store, "b", None).await, Some(entry("b", "2", 2, 2)));
    }
}

#[tokio::test]
async fn a_compare_that_does_not_hold_stops_the_transaction_and_says_what_stands_there() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        put(&case.store, "p/x", "2").await;
        let tom = entry("a", "1", 1, 1);
        let table = [
            (Compare::Absent(b("a")), Some(tom.clone())),
            (Compare::Exists(b("b")), None),
            (Compare::Modified(b("a"), Revision(2)), Some(tom)),
            (Compare::Modified(b("b"), Revision(2)), None),
            (Compare::Empty(prefix(b"p/")), Some(entry("p/x", "2", 2, 2))),
        ];
        for (compare, current) in table {
            let transaction = Transaction::default()
                .when(Compare::Exists(b("a")))
                .when(compare.clone())
                .put("a", "changed")
                .put("c", "new");
            let outcome = case.store.transact(transaction).await.unwrap();
            let expected = Outcome::Refused {
                compare: 1,
                current,
                revision: Revision(2),
            };
            assert_eq!(outcome, expected, "{} {compare:?}", case.name);
        }
        assert_eq!(all_keys(&case.store, None).await, ["a", "p/x"]);
        assert_eq!(case.store.revision(), Revision(2));
    }
}

#[tokio::test]
async fn a_transaction_whose_compares_all_hold_is_committed() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        let transaction = Transaction::default()
            .when(Compare::Exists(b("a")))
            .when(Compare::Modified(b("a"), Revision(1)))
            .when(Compare::Absent(b("b")))
            .when(Compare::Empty(prefix(b"p/")))
            .when(Compare::Empty(b("z")..b("a")))
            .put("p/x", "2");
        assert_eq!(commit(&case.store, transaction).await, Revision(2), "{}", case.name);
    }
}

#[tokio::test]
async fn of_many_that_create_one_key_at_once_one_succeeds() {
    for case in engines().await {
        let create = |n: usize| {
            let transaction = Transaction::default()
                .when(Compare::Absent(b("key")))
                .when(Compare::Empty(prefix(b"ke")))
                .put("key", n.to_string());
            case.store.transact(transaction)
        };
        let outcomes = futures::future::join_all((0..50).map(create)).await;
        let won = outcomes
            .iter()
            .filter(|o| matches!(o, Ok(Outcome::Committed(_))))
            .count();
        assert_eq!((won, case.store.revision()), (1, Revision(1)), "{}", case.name);
    }
}

#[tokio::test]
async fn a_group_sees_its_own_deletions_and_creations_in_ranges() {
    for case in engines().await.into_iter().filter(|case| case.in_order) {
        put(&case.store, "p/a", "1").await;
        put(&case.store, "p/b", "1").await;
        let empty = || Transaction::default().when(Compare::Empty(prefix(b"p/"))).put("q", "1");
        let one = case.store.transact(Transaction::default().delete("p/a"));
        let refused = case.store.transact(empty());
        let two = case.store.transact(Transaction::default().delete("p/b"));
        let committed = case.store.transact(empty());
        let (_, refused, _, committed) = futures::join!(one, refused, two, committed);
        let first = Some(entry("p/b", "1", 2, 2));
        let expected = Outcome::Refused {
            compare: 0,
            current: first,
            revision: Revision(3),
        };
        assert_eq!(refused.unwrap(), expected, "{}", case.name);
        assert_eq!(committed.unwrap(), Outcome::Committed(Revision(5)));
    }
}

#[tokio::test]
async fn what_can_never_be_carried_out_is_refused() {
    for case in engines().await {
        let many = (0..=MAX_WRITES).fold(Transaction::default(), |t, n| t.put(format!("k{n}"), "v"));
        let table = [
            many,
            Transaction::default().put("a", "1").delete("a"),
            Transaction::default().put("", "1"),
            Transaction::default().when(Compare::Absent(b(""))),
            Transaction::default().put(vec![b'a'; MAX_KEY_BYTES + 1], "1"),
            Transaction::default().put("a", vec![0; objectstore::MAX_TRANSACTION_BYTES + 1]),
        ];
        for (index, transaction) in table.into_iter().enumerate() {
            let outcome = case.store.transact(transaction).await;
            assert!(
                matches!(outcome, Err(Error::Invalid(_))),
                "{} {index}: {outcome:?}",
                case.name
            );
        }
        let longest = Transaction::default().put(vec![0; MAX_KEY_BYTES], "1");
        assert_eq!(commit(&case.store, longest).await, Revision(1));
    }
}

#[tokio::test]
async fn a_closed_store_answers_nothing() {
    for case in engines().await {
        put(&case.store, "a", "1").await;
        case.store.close().await.unwrap();
        case.store.close().await.unwrap();
        let closed = |what: &str, error: Option<Error>| {
            assert!(matches!(error, Some(Error::Closed)), "{} {what}: {error:?}", case.name);
        };
        closed("get", case.store.get(b("a"), None).await.err());
        closed("range", case.store.range(prefix(b""), 1, None).await.err());
        closed("count", case.store.count(prefix(b""), usize::MAX, None).await.err());
        closed(
            "transact",
            case.store.transact(Transaction::default().put("a", "2")).await.err(),
        );
        closed("compact", case.store.compact(Revision(1)).await.err());
        closed("watch", case.store.watch(prefix(b""), None).await.err());
        closed("watch", case.store.watch(prefix(b""), Some(Revision(0))).await.err());
    }
}
