//! Every state of an object against every request, as tables to be read.

use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};

use super::*;
use crate::resource::{FINALIZER, Kind, MAX_HISTORY, Meta, Record, Spec};

const EPOCH: u64 = 7;

fn id(counter: u64) -> OperationId {
    Record::operation_id("i", counter)
}

fn running(counter: u64, verb: Verb) -> Running {
    Running {
        id: id(counter),
        verb,
        accepted_at: None,
        progress: None,
        plan_id: None,
        digest: None,
        request: None,
        bound: None,
        trace: None,
    }
}

fn ended(counter: u64, verb: Verb, outcome: Outcome) -> Ended {
    Ended {
        id: id(counter),
        verb,
        outcome,
        description: None,
        digest: None,
        instance_usable: None,
        update_repeatable: None,
        ended_at: None,
    }
}

fn object(record: Option<Record>) -> Stored {
    Stored {
        api_version: "x.osb.internal/v1".to_owned(),
        kind: Kind::Instance.name().to_owned(),
        metadata: Meta {
            name: "a".to_owned(),
            finalizers: vec![FINALIZER.to_owned()],
            ..Meta::default()
        },
        spec: Spec {
            instance_id: InstanceId::new("a").expect("a valid id"),
            binding_id: None::<BindingId>,
            incarnation: "i".to_owned(),
            instance_incarnation: None,
            service_id: OfferingId::new("s").expect("a valid id"),
            plan_id: PlanId::new("p").expect("a valid id"),
            digest: None,
            maintenance: None,
            context: None,
            parameters: None,
        },
        record,
        status: None,
        ext: None,
    }
}

fn terminating(mut object: Stored) -> Stored {
    object.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    object
}

/// The states that an object can be in, with the number of its operations in their counters.
fn states() -> Vec<(&'static str, Stored)> {
    use Outcome::{Failed, Succeeded, Superseded};
    let record = |operation: Option<(u64, Verb)>, history: Vec<Ended>, complete: bool| Record {
        epoch: EPOCH,
        counter: operation.as_ref().map_or(history.len() as u64, |(counter, _)| *counter),
        outputs: complete.then(|| "sealed".to_owned()),
        operation: operation.map(|(counter, verb)| running(counter, verb)),
        history,
        ..Record::default()
    };
    let provisioned = || vec![ended(1, Verb::Provision, Succeeded)];
    let failed = || vec![ended(1, Verb::Provision, Failed)];
    let superseded = || vec![ended(1, Verb::Provision, Superseded)];
    let not_removed = || {
        vec![
            ended(1, Verb::Provision, Succeeded),
            ended(2, Verb::Deprovision, Failed),
        ]
    };
    let provisioning = record(Some((1, Verb::Provision)), vec![], false);
    let complete = record(None, provisioned(), true);
    let removing = record(Some((2, Verb::Deprovision)), provisioned(), true);
    vec![
        ("no record", object(None)),
        ("provisioning", object(Some(provisioning.clone()))),
        ("complete", object(Some(complete.clone()))),
        ("failed", object(Some(record(None, failed(), false)))),
        (
            "provisioning again",
            object(Some(record(Some((2, Verb::Provision)), failed(), false))),
        ),
        (
            "updating",
            object(Some(record(Some((2, Verb::Update)), provisioned(), true))),
        ),
        ("removing", object(Some(removing.clone()))),
        (
            "removing unfinished",
            object(Some(record(Some((2, Verb::Deprovision)), superseded(), false))),
        ),
        ("removal failed", object(Some(record(None, not_removed(), true)))),
        ("restored", object(Some(record(None, vec![], true)))),
        ("terminating, provisioning", terminating(object(Some(provisioning)))),
        ("terminating, complete", terminating(object(Some(complete)))),
        ("terminating, removing", terminating(object(Some(removing)))),
    ]
}

/// A row for each state: its name and what each column says of it.
fn table(columns: &[&dyn Fn(&Stored) -> String]) -> String {
    let mut text = String::new();
    for (name, state) in states() {
        let mut row = format!("{name:<27}");
        for column in columns {
            row.push_str(&format!("{:<22}", column(&state)));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn said(decision: impl std::fmt::Debug) -> String {
    format!("{decision:?}")
        .replace("OperationId(\"i.1\")", "1")
        .replace("OperationId(\"i.2\")", "2")
}

fn polled(decision: OnPoll) -> String {
    match decision {
        OnPoll::State(told) if told.description.is_none() => format!("{:?}", told.state),
        OnPoll::State(told) => format!("{:?}, text", told.state),
        other => format!("{other:?}"),
    }
}

/// OSB-PROV-13 to -15, OSB-BIND-10 to -13, Amb-23
#[test]
fn a_put() {
    let told = table(&[
        &|state| said(put(state, true, true)),
        &|state| said(put(state, true, false)),
        &|state| said(put(state, false, true)),
    ]);
    // state                    the same request      another request       another id
    let expected = "\
no record                  Foreign               Foreign               Foreign
provisioning               Join(1)               Conflict              Foreign
complete                   Exists                Conflict              Foreign
failed                     Restart               Conflict              Foreign
provisioning again         Join(2)               Conflict              Foreign
updating                   Exists                Conflict              Foreign
removing                   Busy                  Busy                  Foreign
removing unfinished        Busy                  Busy                  Foreign
removal failed             Exists                Conflict              Foreign
restored                   Exists                Conflict              Foreign
terminating, provisioning  Busy                  Busy                  Foreign
terminating, complete      Busy                  Busy                  Foreign
terminating, removing      Busy                  Busy                  Foreign
";
    assert_eq!(told, expected, "\n{told}");
}

/// OSB-DEP-04, OSB-DEP-05, OSB-DEP-08, OSB-UNB-04, OSB-UNB-05, OSB-UNB-08, OSB-ORP-01; of binds Amb-24
#[test]
fn a_delete_and_the_use_of_an_instance() {
    let told = table(&[
        &|state| said(removal(state, true)),
        &|state| said(removal(state, false)),
        &|state| said(usable(state, true)),
        &|state| said(usable(state, false)),
    ]);
    // state                    a delete              of another id         a bind                of another id
    let expected = "\
no record                  Absent                Absent                Absent                Absent
provisioning               Accept                Absent                Busy                  Absent
complete                   Accept                Absent                Yes                   Absent
failed                     Accept                Absent                Failed                Absent
provisioning again         Accept                Absent                Busy                  Absent
updating                   Accept                Absent                Busy                  Absent
removing                   Join(2)               Absent                Busy                  Absent
removing unfinished        Join(2)               Absent                Busy                  Absent
removal failed             Accept                Absent                Yes                   Absent
restored                   Accept                Absent                Yes                   Absent
terminating, provisioning  Accept                Absent                Busy                  Absent
terminating, complete      Accept                Absent                Busy                  Absent
terminating, removing      Join(2)               Absent                Busy                  Absent
";
    assert_eq!(told, expected, "\n{told}");
}

/// OSB-LOI-12, OSB-LOB-08, OSB-LOI-05, OSB-LOI-06, OSB-LOI-13, OSB-LOI-14, Amb-7
#[test]
fn a_poll() {
    let asked = |operation: &'static str| {
        move |state: &Stored| {
            polled(poll(
                state,
                true,
                Some(&OperationId::new(operation).expect("a valid id")),
            ))
        }
    };
    let told = table(&[
        &|state| polled(poll(state, true, None)),
        &asked("i.1"),
        &asked("i.2"),
        &asked("j.1"),
        &|state| polled(poll(state, false, None)),
    ]);
    // state                    of the newest         of operation 1        of operation 2        of a strange one      of another id
    let expected = "\
no record                  NotFound              NotFound              NotFound              NotFound              NotFound
provisioning               InProgress            InProgress            UnknownOperation      UnknownOperation      NotFound
complete                   Succeeded             Succeeded             UnknownOperation      UnknownOperation      NotFound
failed                     Failed                Failed                UnknownOperation      UnknownOperation      NotFound
provisioning again         InProgress            Failed                InProgress            UnknownOperation      NotFound
updating                   InProgress            Succeeded             InProgress            UnknownOperation      NotFound
removing                   InProgress            Succeeded             InProgress            UnknownOperation      NotFound
removing unfinished        InProgress            Failed, text          InProgress            UnknownOperation      NotFound
removal failed             Failed                Succeeded             Failed                UnknownOperation      NotFound
restored                   Succeeded             UnknownOperation      UnknownOperation      UnknownOperation      NotFound
terminating, provisioning  InProgress            InProgress            UnknownOperation      UnknownOperation      NotFound
terminating, complete      Succeeded             Succeeded             UnknownOperation      UnknownOperation      NotFound
terminating, removing      InProgress            Succeeded             InProgress            UnknownOperation      NotFound
";
    assert_eq!(told, expected, "\n{told}");
}

/// The history is bounded: what it has forgotten was given out all the same, and nobody waits for it any more.
#[test]
fn a_poll_of_an_operation_that_the_history_has_forgotten_is_no_error() {
    let mut record = Record {
        epoch: EPOCH,
        outputs: Some("sealed".to_owned()),
        ..Record::default()
    };
    let last = MAX_HISTORY as u64 + 4;
    for counter in 1..=last {
        let verb = if counter == 1 {
            Verb::Provision
        } else {
            Verb::Deprovision
        };
        let outcome = if counter == 1 {
            Outcome::Succeeded
        } else {
            Outcome::Failed
        };
        record.history = record.history_with(ended(counter, verb, outcome));
        record.counter = counter;
    }
    let object = object(Some(record));
    let asked = |text: &str| polled(poll(&object, true, Some(&OperationId::new(text).expect("a valid id"))));
    let told: Vec<String> = [
        "i.1", "i.2", "i.5", "i.6", "i.20", "i.21", "i.0", "i.x", "i", "i.", "j.2", "ii.2",
    ]
    .into_iter()
    .map(|text| format!("{text} {}", asked(text)))
    .collect();
    let expected = [
        "i.1 Succeeded",
        "i.2 Failed",
        "i.5 Failed",
        "i.6 Failed",
        "i.20 Failed",
        "i.21 UnknownOperation",
        "i.0 UnknownOperation",
        "i.x UnknownOperation",
        "i UnknownOperation",
        "i. UnknownOperation",
        "j.2 UnknownOperation",
        "ii.2 UnknownOperation",
    ];
    assert_eq!(told, expected);
}

/// The text of a running or ended operation is what a poll shows (OSB-ASY-09).
#[test]
fn a_poll_shows_progress_and_the_reason_of_a_failure() {
    let mut making = running(2, Verb::Provision);
    making.progress = Some("halfway".to_owned());
    let mut failed = ended(1, Verb::Provision, Outcome::Failed);
    failed.description = Some("no space".to_owned());
    let record = Record {
        counter: 2,
        operation: Some(making),
        history: vec![failed],
        ..Record::default()
    };
    let object = object(Some(record));
    let asked = |operation: Option<u64>| poll(&object, true, operation.map(id).as_ref());
    assert_eq!(asked(None), told(State::InProgress, Some("halfway".to_owned())));
    assert_eq!(asked(Some(2)), told(State::InProgress, Some("halfway".to_owned())));
    assert_eq!(asked(Some(1)), told(State::Failed, Some("no space".to_owned())));
}

/// Amb-6, OSB-LOI-07: 200 for the operation that is named, 410 for everything else, and for another id 404.
#[test]
fn a_poll_of_what_has_been_removed() {
    let history = [
        ended(1, Verb::Provision, Outcome::Failed),
        ended(2, Verb::Provision, Outcome::Superseded),
        ended(3, Verb::Deprovision, Outcome::Succeeded),
    ];
    let asked =
        |same_ids: bool, counter: Option<u64>| polled(poll_removed(&history, same_ids, counter.map(id).as_ref()));
    let told: Vec<String> = [None, Some(1), Some(2), Some(3), Some(4)]
        .into_iter()
        .map(|counter| format!("{counter:?} {} / {}", asked(true, counter), asked(false, counter)))
        .collect();
    let expected = [
        "None Gone / NotFound",
        "Some(1) Failed / NotFound",
        "Some(2) Failed, text / NotFound",
        "Some(3) Succeeded / NotFound",
        "Some(4) Gone / NotFound",
    ];
    assert_eq!(told, expected);
    assert_eq!(poll_removed(&[], true, None), OnPoll::Gone);
}

#[test]
fn the_work_of_the_owner() {
    let in_epoch = |epoch: u64| move |state: &Stored| said(work(state, epoch, FINALIZER));
    let told = table(
        &[&in_epoch(EPOCH), &in_epoch(EPOCH + 1), &in_epoch(EPOCH - 1), &|state| {
            let mut state = state.clone();
            state.metadata.finalizers = vec!["example.com/other".to_owned()];
            said(work(&state, EPOCH, FINALIZER))
        }],
    );
    // state                    in its epoch          in a newer one        in an older one       without finalizer
    let expected = "\
no record                  NotOurs               NotOurs               NotOurs               NotOurs
provisioning               Run                   Claim                 NotMine               Run
complete                   Nothing               Nothing               NotMine               AddFinalizer
failed                     Nothing               Nothing               NotMine               AddFinalizer
provisioning again         Run                   Claim                 NotMine               Run
updating                   Run                   Claim                 NotMine               Run
removing                   Run                   Claim                 NotMine               Run
removing unfinished        Run                   Claim                 NotMine               Run
removal failed             Nothing               Nothing               NotMine               AddFinalizer
restored                   Nothing               Nothing               NotMine               AddFinalizer
terminating, provisioning  Remove                Remove                NotMine               Remove
terminating, complete      Remove                Remove                NotMine               Remove
terminating, removing      Run                   Claim                 NotMine               Run
";
    assert_eq!(told, expected, "\n{told}");
}

/// OSB-UPD-11, OSB-UPD-16, OSB-UPD-17, OSB-UPD-22, Amb-24
#[test]
fn a_patch_is_decided_by_what_goes_on_and_what_was_done_last() {
    let update = |counter, digest: &str| Running {
        digest: Some(digest.to_owned()),
        ..running(counter, Verb::Update)
    };
    let given_up = Running {
        bound: Some(Bound::GivenUp),
        ..update(2, "same")
    };
    let complete = |operation, history| {
        object(Some(Record {
            outputs: Some("sealed".to_owned()),
            operation,
            history,
            counter: 9,
            ..Record::default()
        }))
    };
    let done = |digest: &str, outcome| Ended {
        digest: Some(digest.to_owned()),
        ..ended(2, Verb::Update, outcome)
    };
    let deleted = |mut stored: Stored| {
        stored.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
        stored
    };
    let failed = object(Some(Record {
        history: vec![ended(1, Verb::Provision, Outcome::Failed)],
        ..Record::default()
    }));
    let cases = [
        (complete(None, vec![]), OnUpdate::Accept),
        (complete(Some(update(2, "same")), vec![]), OnUpdate::Join(id(2))),
        (complete(Some(update(2, "other")), vec![]), OnUpdate::Busy),
        (complete(Some(given_up), vec![]), OnUpdate::Busy),
        (deleted(complete(Some(update(2, "same")), vec![])), OnUpdate::Busy),
        (complete(Some(running(1, Verb::Provision)), vec![]), OnUpdate::Busy),
        (complete(Some(running(3, Verb::Deprovision)), vec![]), OnUpdate::Busy),
        (deleted(complete(None, vec![])), OnUpdate::Busy),
        (complete(None, vec![done("same", Outcome::Succeeded)]), OnUpdate::Done),
        (
            complete(None, vec![done("other", Outcome::Succeeded)]),
            OnUpdate::Accept,
        ),
        (complete(None, vec![done("same", Outcome::Failed)]), OnUpdate::Accept),
        (
            complete(
                None,
                vec![done("same", Outcome::Succeeded), done("other", Outcome::Succeeded)],
            ),
            OnUpdate::Accept,
        ),
        (failed, OnUpdate::Failed),
        (object(None), OnUpdate::Absent),
    ];
    for (number, (stored, expected)) in cases.into_iter().enumerate() {
        assert_eq!(
            super::update(&stored, true, |digest| digest == "same"),
            expected,
            "case {number}"
        );
        assert_eq!(super::update(&stored, false, |_| true), OnUpdate::Absent);
    }
}
