use super::*;
use crate::journal::{Plan, SlotId};

fn put(attributes: u8) -> Asked {
    Asked::Put(attributes)
}

fn got(status: u16) -> Got {
    Got {
        status,
        ..Got::default()
    }
}

fn accepted(operation: &str) -> Got {
    Got {
        operation: Some(operation.to_owned()),
        ..got(202)
    }
}

fn done(status: u16, body: &str) -> Got {
    Got {
        body: Some(body.to_owned()),
        ..got(status)
    }
}

fn refused(code: &str) -> Got {
    Got {
        error: Some(code.to_owned()),
        ..got(422)
    }
}

fn polled(state: &str) -> Got {
    Got {
        state: Some(state.to_owned()),
        ..got(200)
    }
}

fn poll(operation: &str) -> Asked {
    Asked::Poll(Some(operation.to_owned()))
}

/// Requests on the instance, each in the group of its first member.
fn slot(entries: Vec<(u64, Target, Asked, Option<Got>)>) -> SlotJournal {
    let entries = entries
        .into_iter()
        .zip((0..).step_by(10))
        .map(|((group, target, verb, got), sent)| Entry {
            group,
            sent,
            done: sent + 5,
            ask: Ask {
                target,
                verb,
                plan: Some(Plan::Auto),
                incomplete: true,
            },
            answer: got.map_or(Answer::Cut, Answer::Got),
        });
    SlotJournal {
        id: SlotId {
            platform: "p".to_owned(),
            instance: "i".to_owned(),
        },
        ordered: true,
        entries: entries.collect(),
    }
}

/// Requests on the instance, one after the other.
fn on_instance(entries: Vec<(Asked, Option<Got>)>) -> SlotJournal {
    let numbered = entries.into_iter().zip(1..);
    slot(
        numbered
            .map(|((verb, got), group)| (group, Target::Instance, verb, got))
            .collect(),
    )
}

/// Requests on a binding of an instance that is complete.
fn on_binding(entries: Vec<(Asked, Option<Got>)>) -> SlotJournal {
    let mut all = vec![(0, Target::Instance, put(1), Some(done(201, "{}")))];
    all.extend(
        entries
            .into_iter()
            .zip(1..)
            .map(|((verb, got), group)| (group, Target::Binding(0), verb, got)),
    );
    slot(all)
}

#[track_caller]
fn assert_fine(slot: &SlotJournal, kills: &[u64]) {
    let kills: Vec<_> = kills.iter().map(|at| Kill { at: *at }).collect();
    let (violation, states) = check(slot, &kills);
    assert!(violation.is_none() && !states.is_empty(), "{violation:?}");
}

/// All but the last request are fine.
#[track_caller]
fn assert_last_is_wrong(mut slot: SlotJournal, kills: &[u64]) {
    let kills: Vec<_> = kills.iter().map(|at| Kill { at: *at }).collect();
    assert!(check(&slot, &kills).0.is_some());
    let last = slot.entries.last().map(|entry| entry.group);
    slot.entries.retain(|entry| Some(entry.group) != last);
    assert_eq!(check(&slot, &kills).0, None);
}

#[test]
fn a_whole_life_is_fine() {
    let life = on_instance(vec![
        (Asked::Delete, Some(got(410))),
        (Asked::Poll(None), Some(got(404))),
        (put(1), Some(accepted("a"))),
        (put(1), Some(accepted("a"))),
        (put(2), Some(got(409))),
        (poll("a"), Some(polled("in progress"))),
        (poll("a"), Some(polled("succeeded"))),
        (put(1), Some(done(200, "{}"))),
        (Asked::Delete, Some(accepted("b"))),
        (put(1), Some(refused("ConcurrencyError"))),
        (Asked::Delete, Some(accepted("b"))),
        (poll("b"), Some(polled("succeeded"))),
        (Asked::Delete, Some(got(410))),
        (put(3), Some(done(201, "{}"))),
    ]);
    assert_fine(&life, &[]);
}

#[test]
fn a_lost_instance_is_found() {
    for lost in [
        (put(1), Some(done(201, "{}"))),
        (put(1), Some(accepted("b"))),
        (Asked::Delete, Some(got(410))),
        (Asked::Poll(None), Some(got(404))),
        (Asked::Poll(None), Some(got(410))),
        (Asked::Poll(None), Some(polled("in progress"))),
    ] {
        assert_last_is_wrong(on_instance(vec![(put(1), Some(done(201, "{}"))), lost]), &[7]);
    }
}

#[test]
fn a_lost_acknowledgement_is_found() {
    for lost in [
        (poll("a"), Some(got(404))),
        (Asked::Delete, Some(got(410))),
        (put(2), Some(done(201, "{}"))),
    ] {
        assert_last_is_wrong(on_instance(vec![(put(1), Some(accepted("a"))), lost]), &[7]);
    }
}

#[test]
fn another_operation_for_a_repeat_is_found() {
    let journal = vec![
        (put(1), Some(accepted("a"))),
        (poll("a"), Some(polled("in progress"))),
        // The first has failed meanwhile, and the repeat has started it again.
        (put(1), Some(accepted("b"))),
    ];
    assert_fine(&on_instance(journal), &[]);
    let journal = |third| {
        let operations = ["a", "a", "b", third];
        on_instance(operations.map(|operation| (put(1), Some(accepted(operation)))).to_vec())
    };
    assert_eq!(operations_that_come_again(&journal("b")), []);
    assert_eq!(operations_that_come_again(&journal("a")).len(), 1);
}

#[test]
fn a_failed_provision_starts_again_under_another_operation() {
    let failed = vec![(put(1), Some(accepted("a"))), (poll("a"), Some(polled("failed")))];
    let with = |last| {
        let mut entries = failed.clone();
        entries.push(last);
        on_instance(entries)
    };
    assert_fine(&with((put(1), Some(accepted("b")))), &[]);
    assert_last_is_wrong(with((put(1), Some(accepted("a")))), &[]);
    assert_last_is_wrong(with((put(1), Some(done(200, "{}")))), &[]);
    assert_last_is_wrong(with((put(2), Some(accepted("b")))), &[]);
    assert_fine(&with((put(2), Some(got(409)))), &[]);
}

#[test]
fn a_conflict_for_a_mere_repeat_is_found() {
    let journal = vec![(put(1), Some(accepted("a"))), (put(1), Some(got(409)))];
    assert_last_is_wrong(on_instance(journal), &[]);
    let journal = vec![
        (put(1), Some(accepted("a"))),
        (put(1), Some(refused("ConcurrencyError"))),
    ];
    assert_last_is_wrong(on_instance(journal), &[]);
}

#[test]
fn a_success_for_other_attributes_is_found() {
    let journal = vec![(put(1), Some(done(201, "{}"))), (put(2), Some(done(200, "{}")))];
    assert_last_is_wrong(on_instance(journal), &[]);
}

#[test]
fn a_removed_instance_that_is_there_again_is_found() {
    for again in [
        (put(1), Some(done(200, "{}"))),
        (put(1), Some(refused("ConcurrencyError"))),
    ] {
        let journal = vec![(put(1), Some(done(201, "{}"))), (Asked::Delete, Some(got(200))), again];
        assert_last_is_wrong(on_instance(journal), &[]);
    }
}

#[test]
fn other_credentials_for_a_repeat_are_found() {
    let same = on_binding(vec![
        (put(1), Some(done(201, "secret"))),
        (put(1), Some(done(200, "secret"))),
    ]);
    assert_fine(&same, &[]);
    let other = on_binding(vec![
        (put(1), Some(done(201, "secret"))),
        (put(1), Some(done(200, "other"))),
    ]);
    assert_last_is_wrong(other, &[]);
}

#[test]
fn a_bind_on_nothing_is_refused() {
    let bind = |got| slot(vec![(1, Target::Binding(0), put(1), Some(got))]);
    assert_fine(&bind(got(404)), &[]);
    assert_last_is_wrong(bind(done(201, "secret")), &[]);
}

#[test]
fn bindings_go_with_their_instance() {
    let life = |last| {
        slot(vec![
            (1, Target::Instance, put(1), Some(done(201, "{}"))),
            (2, Target::Binding(0), put(1), Some(done(201, "secret"))),
            (3, Target::Instance, Asked::Delete, Some(got(200))),
            (4, Target::Instance, put(1), Some(done(201, "{}"))),
            (5, Target::Binding(0), put(1), Some(last)),
        ])
    };
    assert_fine(&life(done(201, "other")), &[]);
    assert_last_is_wrong(life(done(200, "secret")), &[]);
}

#[test]
fn a_request_that_was_cut_off_may_come_true_until_the_kill() {
    let journal = |first: Got, second: Got| {
        on_instance(vec![
            (put(1), None),
            (Asked::Poll(None), Some(first)),
            (Asked::Poll(None), Some(second)),
        ])
    };
    // Sent at 0, 10 and 20.
    assert_fine(&journal(got(404), polled("succeeded")), &[]);
    assert_fine(&journal(got(404), got(404)), &[5]);
    assert_last_is_wrong(journal(got(404), polled("succeeded")), &[5]);
}

#[test]
fn requests_together_are_fine_in_some_order() {
    let together = |first, second| {
        slot(vec![
            (1, Target::Instance, put(1), Some(first)),
            (1, Target::Instance, put(1), Some(second)),
        ])
    };
    assert_fine(&together(done(201, "{}"), accepted("a")), &[]);
    assert_fine(&together(accepted("a"), accepted("a")), &[]);
    // OSB-BLK-04: of parallel creates at most one reports 201.
    assert_last_is_wrong(together(done(201, "{}"), done(201, "{}")), &[]);
    assert_last_is_wrong(together(done(200, "{}"), done(200, "{}")), &[]);
    let deletes = |first, second| {
        slot(vec![
            (1, Target::Instance, put(1), Some(done(201, "{}"))),
            (2, Target::Instance, Asked::Delete, Some(first)),
            (2, Target::Instance, Asked::Delete, Some(second)),
        ])
    };
    assert_fine(&deletes(got(200), got(410)), &[]);
    assert_last_is_wrong(deletes(got(200), got(200)), &[]);
    assert_last_is_wrong(deletes(got(410), got(410)), &[]);
}

#[test]
fn an_async_plan_refuses_who_does_not_accept_that() {
    let mut journal = on_instance(vec![
        (put(1), Some(refused("AsyncRequired"))),
        (put(1), Some(done(201, "{}"))),
    ]);
    for entry in &mut journal.entries {
        entry.ask.plan = Some(Plan::Async);
        entry.ask.incomplete = false;
    }
    assert_last_is_wrong(journal, &[]);
}

#[test]
fn an_operation_of_two_things_is_found() {
    let journal = |second| {
        on_instance(vec![
            (put(1), Some(accepted("a"))),
            (poll("a"), Some(polled("succeeded"))),
            (Asked::Delete, Some(accepted(second))),
        ])
    };
    assert_eq!(shared_operations(&[journal("b"), journal("b")]), []);
    assert_eq!(shared_operations(&[journal("a")]).len(), 1);
    let mut other = journal("b");
    other.id.platform = "q".to_owned();
    assert_eq!(shared_operations(&[journal("b"), other]).len(), 2);
}

fn patch(note: u8) -> Asked {
    Asked::Patch(Some(note))
}

/// An instance with attributes 1 on the first plan, and then these.
fn on_ready(entries: Vec<(Asked, Option<Got>)>) -> SlotJournal {
    let mut all = vec![(put(1), Some(done(201, "{}")))];
    all.extend(entries);
    on_instance(all)
}

/// The journal with other plans in the named requests, counted from 0; a PATCH without one keeps the plan.
fn with_plans(mut slot: SlotJournal, plans: &[(usize, Option<Plan>)]) -> SlotJournal {
    for (index, plan) in plans {
        slot.entries[*index].ask.plan = *plan;
    }
    slot
}

fn fetched(plan: Plan) -> Got {
    Got {
        plan: Some(plan),
        ..got(200)
    }
}

#[test]
fn what_holds_after_an_update_is_what_it_asked_for() {
    let updated = |last| {
        on_ready(vec![
            (patch(2), Some(accepted("u"))),
            (poll("u"), Some(polled("succeeded"))),
            last,
        ])
    };
    assert_fine(&updated((put(2), Some(done(200, "{}")))), &[]);
    assert_fine(&updated((put(1), Some(got(409)))), &[]);
    assert_last_is_wrong(updated((put(1), Some(done(200, "{}")))), &[7]);
    assert_last_is_wrong(updated((put(2), Some(got(409)))), &[7]);
    assert_last_is_wrong(updated((poll("u"), Some(polled("failed")))), &[7]);
}

#[test]
fn a_failed_update_changes_nothing() {
    let failed = |last| {
        on_ready(vec![
            (patch(2), Some(accepted("u"))),
            (poll("u"), Some(polled("failed"))),
            last,
        ])
    };
    assert_fine(&failed((put(1), Some(done(200, "{}")))), &[]);
    assert_fine(&failed((patch(2), Some(accepted("v")))), &[]);
    assert_last_is_wrong(failed((put(2), Some(done(200, "{}")))), &[7]);
    assert_last_is_wrong(failed((poll("u"), Some(polled("succeeded")))), &[7]);
    assert_last_is_wrong(failed((Asked::Poll(None), Some(polled("succeeded")))), &[7]);
    // OSB-UPD-19
    let error = |last| on_ready(vec![(patch(2), Some(got(500))), last]);
    assert_fine(&error((put(1), Some(done(200, "{}")))), &[]);
    assert_last_is_wrong(error((put(2), Some(done(200, "{}")))), &[]);
}

#[test]
fn an_update_is_done_once() {
    let repeated = |last| on_ready(vec![(patch(2), Some(accepted("u"))), last]);
    assert_fine(&repeated((patch(2), Some(accepted("u")))), &[]);
    // Another one has to wait.
    assert_fine(&repeated((patch(3), Some(refused("ConcurrencyError")))), &[]);
    let given_up = |last| {
        let busy = (patch(2), Some(refused("ConcurrencyError")));
        on_ready(vec![(patch(2), Some(accepted("u"))), busy, last])
    };
    assert_fine(&given_up((poll("u"), Some(polled("in progress")))), &[]);
    assert_fine(&given_up((put(1), Some(done(200, "{}")))), &[]);
    assert_last_is_wrong(given_up((put(2), Some(done(200, "{}")))), &[7]);
    let after = |last| on_ready(vec![(patch(2), Some(got(200))), last]);
    assert_fine(&after((patch(2), Some(got(200)))), &[]);
    assert_last_is_wrong(after((patch(2), Some(accepted("v")))), &[]);
}

#[test]
fn the_plan_changes_with_an_update_and_not_before() {
    let changed = |state, plan| {
        let entries = vec![
            (Asked::Patch(None), Some(accepted("u"))),
            (poll("u"), Some(polled(state))),
            (Asked::Fetch, Some(fetched(plan))),
        ];
        with_plans(on_ready(entries), &[(1, Some(Plan::Async))])
    };
    assert_fine(&changed("succeeded", Plan::Async), &[]);
    assert_fine(&changed("in progress", Plan::Auto), &[]);
    assert_last_is_wrong(changed("succeeded", Plan::Auto), &[]);
    assert_last_is_wrong(changed("failed", Plan::Async), &[]);
    let removed = |plan, last| {
        let entries = vec![(Asked::Patch(None), Some(got(200))), (Asked::Delete, Some(last))];
        with_plans(on_ready(entries), &[(1, Some(Plan::Async)), (2, Some(plan))])
    };
    assert_fine(&removed(Plan::Async, got(200)), &[]);
    assert_fine(&removed(Plan::Auto, got(400)), &[]);
    assert_last_is_wrong(removed(Plan::Auto, got(200)), &[]);
}

#[test]
fn an_update_of_nothing_or_of_what_is_not_there_is_answered_at_once() {
    assert_fine(&on_ready(vec![(Asked::Patch(None), Some(got(200)))]), &[]);
    assert_last_is_wrong(on_ready(vec![(Asked::Patch(None), Some(accepted("u")))]), &[]);
    assert_fine(&on_instance(vec![(patch(1), Some(got(404)))]), &[]);
    assert_last_is_wrong(on_instance(vec![(patch(1), Some(accepted("u")))]), &[]);
    let failed = [(put(1), Some(accepted("a"))), (poll("a"), Some(polled("failed")))];
    let on_failed = |last| on_instance(failed.iter().cloned().chain([(patch(2), Some(last))]).collect());
    assert_fine(&on_failed(got(400)), &[]);
    assert_last_is_wrong(on_failed(accepted("u")), &[]);
}

#[test]
fn an_update_that_was_cut_off_comes_true_whole_or_not_at_all() {
    let after = |last| on_ready(vec![(patch(2), None), last]);
    for seen in [(put(1), Some(done(200, "{}"))), (put(2), Some(done(200, "{}")))] {
        assert_fine(&after(seen), &[]);
    }
    assert_last_is_wrong(after((put(3), Some(done(200, "{}")))), &[]);
    let told_both = vec![
        (patch(2), None),
        (put(2), Some(done(200, "{}"))),
        (put(1), Some(done(200, "{}"))),
    ];
    assert_last_is_wrong(on_ready(told_both), &[17]);
}

#[test]
fn no_bind_and_no_other_operation_runs_beside_an_update() {
    let beside = |target, verb, last| {
        slot(vec![
            (1, Target::Instance, put(1), Some(done(201, "{}"))),
            (2, Target::Instance, patch(2), Some(accepted("u"))),
            (3, Target::Instance, poll("u"), Some(polled("in progress"))),
            (4, target, verb, Some(last)),
        ])
    };
    assert_fine(&beside(Target::Binding(0), put(1), refused("ConcurrencyError")), &[]);
    // A DELETE supersedes it.
    assert_fine(&beside(Target::Instance, Asked::Delete, accepted("d")), &[]);
    assert_eq!(
        shared_operations(&[beside(Target::Instance, Asked::Delete, accepted("d"))]),
        []
    );
    assert_eq!(
        shared_operations(&[beside(Target::Instance, Asked::Delete, accepted("u"))]).len(),
        1
    );
}

/// The other binding is there with these credentials, and then this is answered.
fn rotation(entries: Vec<(usize, Asked, Got)>) -> SlotJournal {
    let mut all = vec![
        (1, Target::Instance, put(1), Some(done(201, "{}"))),
        (2, Target::Binding(1), put(2), Some(done(201, "old"))),
    ];
    let numbered = entries.into_iter().zip(3..);
    all.extend(numbered.map(|((binding, verb, got), group)| (group, Target::Binding(binding), verb, Some(got))));
    slot(all)
}

#[test]
fn old_and_new_binding_live_side_by_side() {
    let rotated = |last| rotation(vec![(0, Asked::Rotate, done(201, "new")), last]);
    assert_fine(&rotated((1, put(2), done(200, "old"))), &[]);
    assert_fine(&rotated((1, Asked::Fetch, done(200, "old"))), &[]);
    assert_fine(&rotated((0, Asked::Rotate, done(200, "new"))), &[]);
    assert_fine(&rotated((0, put(1), got(409))), &[]);
    for lost in [
        (1, Asked::Fetch, got(404)),
        (1, put(2), done(201, "new")),
        (1, put(2), done(200, "new")),
        (0, Asked::Rotate, done(200, "old")),
        (0, put(1), done(200, "new")),
    ] {
        assert_last_is_wrong(rotated(lost), &[17]);
    }
    let without_predecessor = |last| rotation(vec![(1, Asked::Delete, got(200)), (0, Asked::Rotate, last)]);
    assert_fine(&without_predecessor(got(400)), &[]);
    assert_last_is_wrong(without_predecessor(done(201, "new")), &[]);
}

#[test]
fn a_fetch_shows_only_what_is_complete() {
    assert_last_is_wrong(on_ready(vec![(Asked::Fetch, Some(got(404)))]), &[]);
    let making = vec![
        (put(1), Some(accepted("a"))),
        (poll("a"), Some(polled("in progress"))),
        (Asked::Fetch, Some(got(404))),
    ];
    assert_fine(&on_instance(making), &[]);
    assert_last_is_wrong(on_instance(vec![(Asked::Fetch, Some(fetched(Plan::Auto)))]), &[]);
}

/// One bind looks for the instance before it changes and is accepted after that; the other one sees the change, and no
/// binding yet.
#[test]
fn identical_binds_beside_an_update_may_see_it_or_not() {
    let binding = Target::Binding(0);
    let entries = |second| {
        slot(vec![
            (0, Target::Instance, put(1), Some(done(201, "{}"))),
            (1, Target::Instance, Asked::Patch(Some(2)), Some(accepted("change"))),
            (1, binding, put(1), Some(refused("ConcurrencyError"))),
            (1, binding, put(1), Some(accepted("bind"))),
            (2, Target::Instance, poll("change"), Some(polled("in progress"))),
            (3, binding, poll("bind"), Some(second)),
        ])
    };
    assert_fine(&entries(polled("succeeded")), &[]);
    assert_last_is_wrong(entries(got(404)), &[]);
}
