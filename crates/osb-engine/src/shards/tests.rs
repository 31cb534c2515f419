use super::*;

#[test]
fn a_new_table_starts_at_unix_seconds_and_each_start_has_a_higher_epoch() {
    let first = taken(None, "a", 1_000);
    assert_eq!((first.epoch, first.shards.len()), (1_000, SHARDS));
    let second = taken(Some(&first), "b", 1_000);
    assert_eq!(second.epoch, 1_001);
    assert!(
        second
            .shards
            .iter()
            .all(|shard| shard.owner == "b" && shard.epoch == 1_001)
    );
    assert_eq!(taken(Some(&second), "c", 5_000).epoch, 5_000);
}

/// Longer than any test.
const VALID: Duration = Duration::from_secs(1_000);

/// The shards of `me`, who owns all in epoch 7 and has just renewed.
fn shards() -> Arc<Shards> {
    let shards = Arc::new(Shards::none(&CancellationToken::new()));
    assert_eq!(shards.follow("me", &taken(None, "me", 7)).len(), SHARDS);
    assert!(shards.renewed(Instant::now(), VALID), "it had not been valid before");
    shards
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_all_rights_by_itself() {
    let shards = shards();
    let pass = shards.enter("a").expect("it is mine").pass();
    assert!(shards.is_mine("a") && pass.holds() && !shards.suspend());
    shards.valid_until.store(0, Ordering::SeqCst);
    assert!(!shards.is_mine("a") && !pass.holds() && shards.enter("a").is_none());
    // What is accepted meanwhile carries the epoch all the same.
    assert_eq!(shards.stamp("a"), 7);
    // Nobody has taken over, as the renewal proves: it goes on, with tokens that are not cancelled.
    assert!(shards.suspend());
    assert!(shards.token("a").is_cancelled());
    assert!(shards.renewed(Instant::now(), VALID));
    assert!(pass.holds() && !shards.token("a").is_cancelled());
    assert!(!shards.renewed(Instant::now(), VALID), "it was valid");
}

#[tokio::test]
async fn a_shard_is_drained_when_its_last_work_ends_and_may_write_until_then() {
    let shards = shards();
    let number = names::shard("a", SHARDS);
    let tenure = shards.enter("a").expect("it is mine");
    assert!(shards.drain(number) && !shards.drain(number));
    assert!(!shards.is_drained(number) && !tenure.is_current() && tenure.pass().holds());
    assert!(shards.enter("a").is_none());
    assert!(!shards.is_drained(number), "a refused piece of work leaves no trace");
    drop(tenure);
    assert!(shards.is_drained(number));
    tokio::time::timeout(VALID, shards.poke.notified())
        .await
        .expect("it is told");
    assert!(shards.keep(number) && shards.enter("a").is_some());
}

#[tokio::test]
async fn a_change_of_hands_cancels_what_runs_and_a_new_epoch_begins_anew() {
    let shards = shards();
    let pass = shards.enter("a").expect("it is mine").pass();
    let token = shards.token("a");
    let theirs = taken(Some(&taken(None, "me", 7)), "them", 0);
    assert!(shards.follow("me", &theirs).is_empty());
    assert!(token.is_cancelled() && !pass.holds() && shards.owned() == 0);
    assert_eq!(shards.stamp("a"), 8);
    let mine = taken(Some(&theirs), "me", 0);
    assert_eq!(shards.follow("me", &mine).len(), SHARDS);
    assert!(!pass.holds(), "the right was that of epoch 7");
    assert_eq!(shards.enter("a").expect("it is mine again").epoch(), 9);
    shards.lose_all();
    assert!(shards.enter("a").is_none() && shards.is_idle());
}

#[tokio::test]
async fn who_runs_alone_has_no_lease() {
    let shards = Arc::new(Shards::none(&CancellationToken::new()));
    shards.follow("me", &taken(None, "me", 7));
    shards.valid_until.store(u64::MAX, Ordering::SeqCst);
    let tenure = shards.enter_when_mine("a").await.expect("at once");
    assert!(tenure.is_current() && tenure.pass().holds() && shards.leads());
}
