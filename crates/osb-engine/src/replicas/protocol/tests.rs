use super::*;

const LEASE: Duration = Duration::from_secs(15);

fn seconds(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn listed(name: &str, version: &str) -> Listed {
    Listed {
        name: name.to_owned(),
        version: version.to_owned(),
        lease: LEASE,
    }
}

/// A replica `a` that sees these others, and a table in which each owner has that many shards, in epoch 10.
fn replica(start: Instant, others: &[&str], owners: &[(&str, usize)]) -> Protocol {
    let mut protocol = Protocol::new("a".to_owned(), LEASE);
    protocol.read(Some(table(owners)));
    let all = others.iter().map(|name| listed(name, "1")).collect();
    protocol.listed(all, start, start);
    protocol
}

fn table(owners: &[(&str, usize)]) -> ShardTableSpec {
    let shards = owners.iter().flat_map(|(owner, count)| {
        let shard = Shard {
            owner: (*owner).to_owned(),
            epoch: 10,
            next: None,
        };
        std::iter::repeat_n(shard, *count)
    });
    ShardTableSpec {
        epoch: 10,
        shards: shards.collect(),
    }
}

/// Who has how many shards, and who has asked for how many; and the step's other facts.
fn told(step: &Step) -> String {
    match step {
        Step::Bury { name, version } => format!("bury {name} in {version}"),
        Step::Leave => "leave".to_owned(),
        Step::Wait(_) => "wait".to_owned(),
        Step::Write { table, taken } => {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for shard in &table.shards {
                let next = shard
                    .next
                    .as_ref()
                    .map(|next| format!(" for {next}"))
                    .unwrap_or_default();
                let at = if shard.epoch == 10 { "" } else { " new" };
                *counts.entry(format!("{}{next}{at}", shard.owner)).or_default() += 1;
            }
            let counts: Vec<String> = counts.iter().map(|(owner, count)| format!("{owner} {count}")).collect();
            format!("{} taken {taken}", counts.join(", "))
        }
    }
}

fn next(protocol: &Protocol, now: Instant) -> String {
    told(&protocol.next(now, |_| true, 0))
}

#[test]
fn what_a_replica_wants_of_a_table() {
    let start = Instant::now();
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, usize)], &'a str);
    let cases: [Case<'_>; 9] = [
        ("alone with all", &[], &[("a", 64)], "wait"),
        ("nothing is anybody's", &[], &[("", 64)], "a new 64 taken 64"),
        ("a newcomer", &["b"], &[("b", 64)], "b 32, b for a 32 taken 0"),
        (
            "a third one",
            &["b", "c"],
            &[("b", 32), ("c", 32)],
            "b 22, b for a 10, c 21, c for a 11 taken 0",
        ),
        ("an even share", &["b"], &[("a", 32), ("b", 32)], "wait"),
        (
            "as even as it gets",
            &["b", "c"],
            &[("a", 21), ("b", 22), ("c", 21)],
            "wait",
        ),
        (
            "less than an even share",
            &["b", "c"],
            &[("a", 20), ("b", 22), ("c", 22)],
            "a 20, b 22, c 21, c for a 1 taken 0",
        ),
        ("others take theirs themselves", &["b"], &[("a", 64)], "wait"),
        (
            "what is free goes to those with the fewest",
            &["b"],
            &[("b", 32), ("", 32)],
            "a new 32, b 32 taken 32",
        ),
    ];
    for (what, others, owners, expected) in cases {
        let protocol = replica(start, others, owners);
        assert_eq!(next(&protocol, start), expected, "{what}");
    }
}

#[test]
fn the_first_one_makes_the_table_and_its_epochs_start_at_unix_seconds() {
    let protocol = Protocol::new("a".to_owned(), LEASE);
    match protocol.next(Instant::now(), |_| false, 1_000) {
        Step::Write { table, taken: 0 } => assert_eq!(table, taken(None, "a", 1_000)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shard_that_is_asked_for_is_handed_over_when_nothing_runs_in_it() {
    let start = Instant::now();
    let mut protocol = replica(start, &["b"], &[("a", 64)]);
    let mut asked = table(&[("a", 64)]);
    asked.shards[3].next = Some("b".to_owned());
    asked.shards[4].next = Some("c".to_owned());
    protocol.read(Some(asked.clone()));
    assert!(
        protocol.drains(&asked.shards[3]) && !protocol.drains(&asked.shards[4]) && !protocol.drains(&asked.shards[5])
    );
    // It is not drained yet; who is not there gets nothing.
    assert_eq!(told(&protocol.next(start, |_| false, 0)), "a 63, a for b 1 taken 0");
    assert_eq!(
        told(&protocol.next(start, |shard| shard == 3, 0)),
        "a 63, b new 1 taken 0"
    );
    match protocol.next(start, |shard| shard == 3, 0) {
        Step::Write { table, .. } => assert_eq!((table.epoch, table.shards[3].epoch), (11, 11)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replica_is_dead_when_its_version_was_not_seen_to_change_for_a_full_lease() {
    let start = Instant::now();
    let mut protocol = replica(start, &["b"], &[("a", 32), ("b", 32)]);
    assert!(protocol.saw("b", "2", seconds(start, 5)));
    assert!(!protocol.saw("c", "1", seconds(start, 5)), "it has to be listed");
    // The same version again says nothing.
    protocol.saw("b", "2", seconds(start, 10));
    protocol.listed(vec![listed("b", "2")], seconds(start, 19), seconds(start, 19));
    assert_eq!(
        protocol.next(seconds(start, 19), |_| true, 0),
        Step::Wait(Some(seconds(start, 20)))
    );
    assert_eq!(next(&protocol, seconds(start, 20)), "bury b in 2");
    // It could not be deleted in that version: it lives.
    protocol.listed(vec![listed("b", "3")], seconds(start, 20), seconds(start, 20));
    assert_eq!(next(&protocol, seconds(start, 20)), "wait");
    assert_eq!(next(&protocol, seconds(start, 35)), "bury b in 3");
    protocol.proven_dead("b");
    assert_eq!(next(&protocol, seconds(start, 35)), "a 32, a new 32 taken 32");
}

#[test]
fn the_shards_of_a_dead_one_go_to_all_who_live() {
    let start = Instant::now();
    let mut protocol = replica(start, &["b", "c"], &[("a", 21), ("b", 22), ("c", 21)]);
    protocol.proven_dead("c");
    assert_eq!(next(&protocol, start), "a 21, a new 11, b 22, b new 10 taken 11");
}

#[test]
fn an_owner_that_somebody_else_has_deleted_is_waited_for_a_full_lease() {
    let start = Instant::now();
    let mut protocol = replica(start, &["b"], &[("a", 32), ("b", 32)]);
    protocol.listed(Vec::new(), seconds(start, 1), seconds(start, 1));
    assert_eq!(
        protocol.next(seconds(start, 2), |_| true, 0),
        Step::Wait(Some(seconds(start, 16)))
    );
    // Time alone proves nothing: it has to be missing in a list then.
    assert!(protocol.has_to_list(seconds(start, 16)));
    assert_eq!(next(&protocol, seconds(start, 16)), "wait");
    protocol.listed(Vec::new(), seconds(start, 16), seconds(start, 17));
    assert!(!protocol.has_to_list(seconds(start, 17)));
    assert_eq!(next(&protocol, seconds(start, 17)), "a 32, a new 32 taken 32");
    // One that is there after all has only been late.
    let mut protocol = replica(start, &["b"], &[("a", 32), ("b", 32)]);
    protocol.listed(Vec::new(), seconds(start, 1), seconds(start, 1));
    protocol.listed(vec![listed("b", "1")], seconds(start, 2), seconds(start, 2));
    protocol.listed(Vec::new(), seconds(start, 16), seconds(start, 16));
    assert_eq!(next(&protocol, seconds(start, 16)), "wait");
}

#[test]
fn who_leaves_gives_everything_away_as_it_ends_and_goes_then() {
    let start = Instant::now();
    let mut protocol = replica(start, &["b", "c"], &[("a", 22), ("b", 21), ("c", 21)]);
    protocol.leave();
    assert!(protocol.drains(&table(&[("a", 1)]).shards[0]));
    assert_eq!(told(&protocol.next(start, |_| false, 0)), "wait");
    assert_eq!(
        told(&protocol.next(start, |shard| shard < 2, 0)),
        "a 20, b 21, b new 1, c 21, c new 1 taken 0"
    );
    assert_eq!(next(&protocol, start), "b 21, b new 11, c 21, c new 11 taken 0");
    protocol.read(Some(table(&[("b", 32), ("c", 32)])));
    assert_eq!(next(&protocol, start), "leave");
    // The last one leaves it to nobody.
    let mut last = replica(start, &[], &[("a", 64)]);
    last.leave();
    assert_eq!(next(&last, start), " new 64 taken 0");
}

#[test]
fn under_a_new_name_it_takes_what_the_old_one_had() {
    let start = Instant::now();
    let mut protocol = replica(start, &["b"], &[("a", 32), ("b", 32)]);
    protocol.rename("a2".to_owned());
    assert_eq!(next(&protocol, start), "a2 new 32, b 32 taken 32");
}
