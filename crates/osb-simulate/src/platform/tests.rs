//! What is recorded of the platforms, rule by rule.

use std::time::Duration;

use osb_api::catalog::Requires;
use serde_json::json;

use super::{Judgement, Platform, Polled, Purpose, Then};
use crate::answer::{Answer, Outcome, answer};
use crate::call::{Call, Terms, Verb};
use crate::job::{End, Job, Limits, Mitigation, Step};
use crate::transport::Lost;
use Platform::{CloudFoundry as Cf, Ibm, Korifi, ServiceCatalog as K8s, ServiceManager as Sm};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn terms() -> Terms {
    Terms {
        bindings_retrievable: true,
        ..Terms::default()
    }
}

fn in_progress() -> Outcome {
    answer(200, json!({"state": "in progress"}))
}

fn succeeded() -> Outcome {
    answer(200, json!({"state": "succeeded"}))
}

fn accepted() -> Outcome {
    answer(202, json!({"operation": "o"}))
}

/// Plays a job against a script, and gives each call with the second at which it was sent.
fn trace_with(
    platform: Platform,
    verb: Verb,
    terms: &Terms,
    script: &[Outcome],
) -> (Vec<(u64, Call, Purpose)>, Option<End>) {
    let mut now = Duration::ZERO;
    let mut job = Job::new(platform.rules(), verb, terms, now, u32::MAX);
    let mut calls = Vec::new();
    let mut script = script.iter();
    loop {
        match job.step(now) {
            Step::Wait(pause) => now += pause,
            Step::Send { call, purpose, .. } => {
                calls.push((now.as_secs(), call, purpose));
                let Some(outcome) = script.next() else {
                    return (calls, None);
                };
                job.take(now, outcome, Limits::Count);
            }
            Step::Over => return (calls, job.end().cloned()),
        }
    }
}

fn trace(platform: Platform, verb: Verb, script: &[Outcome]) -> (Vec<(u64, Call)>, Option<End>) {
    let (calls, end) = trace_with(platform, verb, &terms(), script);
    (calls.into_iter().map(|(time, call, _)| (time, call)).collect(), end)
}

/// What follows the answer to a provision.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Follows {
    Fail,
    Mitigate,
    Retry,
    MitigateAndRetry,
    Success,
}

fn follows(platform: Platform, outcome: &Outcome) -> Follows {
    match platform.rules().judge(Verb::Provision, &terms(), outcome) {
        Judgement::Done(_) | Judgement::Accepted(_) => Follows::Success,
        Judgement::Failed(trouble) if trouble.then == Then::Mitigate => Follows::Mitigate,
        Judgement::Failed(_) => Follows::Fail,
        Judgement::Retry(trouble) if trouble.then == Then::Mitigate => Follows::MitigateAndRetry,
        Judgement::Retry(_) => Follows::Retry,
    }
}

/// Outcome, then Cloud Foundry, Service Catalog, Service Manager, Korifi.
#[test]
fn what_follows_a_provision_is_as_recorded() {
    use Follows::{Fail, Mitigate, MitigateAndRetry, Retry, Success};
    let code = |code: &str| answer(422, json!({"error": code, "description": "x"}));
    let rows = [
        (Err(Lost::Timeout), [Mitigate, MitigateAndRetry, Mitigate, Retry]),
        (Err(Lost::Broken), [Fail, Retry, Fail, Retry]),
        (Err(Lost::Refused), [Fail, Retry, Fail, Retry]),
        (answer(500, json!({})), [Mitigate, MitigateAndRetry, Mitigate, Retry]),
        (answer(503, json!(null)), [Mitigate, MitigateAndRetry, Mitigate, Retry]),
        (answer(200, json!({})), [Success; 4]),
        (answer(200, json!(null)), [Fail, Retry, Fail, Retry]),
        (answer(201, json!({})), [Success; 4]),
        (answer(201, json!(null)), [Mitigate, MitigateAndRetry, Mitigate, Retry]),
        (answer(202, json!({"operation": "o"})), [Success; 4]),
        (answer(202, json!(null)), [Mitigate, MitigateAndRetry, Mitigate, Retry]),
        (answer(206, json!({})), [Mitigate, MitigateAndRetry, Mitigate, Success]),
        (answer(400, json!({})), [Fail; 4]),
        (answer(401, json!({})), [Fail, Retry, Fail, Retry]),
        (answer(408, json!({})), [Fail, Retry, Mitigate, Retry]),
        (answer(409, json!({})), [Fail, Retry, Fail, Fail]),
        (answer(410, json!({})), [Mitigate, Retry, Fail, Retry]),
        (code("AsyncRequired"), [Fail, Retry, Fail, Fail]),
        (code("ConcurrencyError"), [Fail, Retry, Fail, Fail]),
        (code("MaintenanceInfoConflict"), [Fail, Retry, Fail, Fail]),
        (code("Whatever"), [Mitigate, Retry, Fail, Fail]),
        (answer(422, json!({})), [Mitigate, Retry, Fail, Fail]),
    ];
    for (outcome, expected) in rows {
        let found = [Cf, K8s, Sm, Korifi].map(|platform| follows(platform, &outcome));
        assert_eq!(found, expected, "{outcome:?}");
    }
}

/// OSB-ORP-03: the specification's table, where nothing else is known.
#[test]
fn ibm_follows_the_specification() {
    for outcome in [
        Err(Lost::Timeout),
        answer(500, json!({})),
        answer(201, json!(null)),
        answer(202, json!(null)),
        answer(204, json!(null)),
    ] {
        assert_eq!(follows(Ibm, &outcome), Follows::Mitigate, "{outcome:?}");
    }
    for outcome in [
        Err(Lost::Broken),
        answer(200, json!(null)),
        answer(400, json!({})),
        answer(408, json!({})),
        answer(409, json!({})),
        answer(422, json!({})),
    ] {
        assert_eq!(follows(Ibm, &outcome), Follows::Fail, "{outcome:?}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Over,
    Failed,
    FailedAndMitigated,
    Again,
}

fn seen(platform: Platform, verb: Verb, outcome: &Outcome) -> Seen {
    match platform.rules().judge_poll(verb, outcome) {
        Polled::Succeeded => Seen::Over,
        Polled::Failed(trouble) if trouble.then == Then::Mitigate => Seen::FailedAndMitigated,
        Polled::Failed(_) => Seen::Failed,
        Polled::Again => Seen::Again,
    }
}

/// Outcome of a poll of a provision, then Cloud Foundry, Service Catalog, Service Manager, Korifi.
#[test]
fn what_follows_a_poll_of_a_provision_is_as_recorded() {
    use Seen::{Again, Failed, FailedAndMitigated, Over};
    let rows = [
        (in_progress(), [Again; 4]),
        (succeeded(), [Over; 4]),
        // The user of Cloud Foundry and Korifi has to remove it.
        (
            answer(200, json!({"state": "failed"})),
            [Failed, FailedAndMitigated, FailedAndMitigated, Failed],
        ),
        (answer(200, json!(null)), [Again; 4]),
        (answer(200, json!({"state": "done"})), [Again; 4]),
        (answer(400, json!({})), [Failed, FailedAndMitigated, Failed, Again]),
        (answer(401, json!({})), [Again, Again, Failed, Again]),
        (answer(404, json!({})), [Again; 4]),
        // Endless for Cloud Foundry.
        (answer(410, json!({})), [Again, Again, Failed, Again]),
        (answer(500, json!({})), [Again, Again, Failed, Again]),
        (answer(503, json!({})), [Again; 4]),
        (Err(Lost::Timeout), [Again; 4]),
    ];
    for (outcome, expected) in rows {
        let found = [Cf, K8s, Sm, Korifi].map(|platform| seen(platform, Verb::Provision, &outcome));
        assert_eq!(found, expected, "{outcome:?}");
    }
}

/// OSB-LOI-07.
#[test]
fn a_410_ends_the_polls_of_a_removal() {
    for verb in [Verb::Deprovision, Verb::Unbind] {
        let found = [Cf, K8s, Sm, Ibm, Korifi].map(|platform| seen(platform, verb, &answer(410, json!({}))));
        // Korifi sends the DELETE again and sees its 410.
        assert_eq!(found, [Seen::Over, Seen::Over, Seen::Over, Seen::Over, Seen::Again]);
    }
}

#[test]
fn cloud_foundry_polls_at_once_and_then_each_minute() {
    let script = [accepted(), in_progress(), in_progress(), in_progress(), succeeded()];
    let (calls, end) = trace(Cf, Verb::Provision, &script);
    let times: Vec<u64> = calls.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [0, 0, 60, 120, 180]);
    let end = end.unwrap();
    assert!(end.result.is_ok() && end.asynchronous && end.mitigation == Mitigation::None);
}

/// OSB-LOI-10.
#[test]
fn cloud_foundry_obeys_retry_after_between_a_minute_and_a_day() {
    let asking = |seconds: u64| {
        let outcome = in_progress().map(|answer| Answer {
            retry_after: Some(Duration::from_secs(seconds)),
            ..answer
        });
        trace(Cf, Verb::Provision, &[accepted(), outcome, succeeded()]).0[2].0
    };
    assert_eq!([1, 60, 300, 2 * DAY].map(asking), [60, 60, 300, DAY]);
    // The others do not.
    for (platform, pause) in [(K8s, 3), (Sm, 8)] {
        let outcome = in_progress().map(|answer| Answer {
            retry_after: Some(Duration::from_secs(300)),
            ..answer
        });
        assert_eq!(
            trace(platform, Verb::Provision, &[accepted(), outcome, succeeded()]).0[2].0,
            pause
        );
    }
}

#[test]
fn cloud_foundry_mitigates_eleven_times_in_34_hours_and_then_no_more() {
    let mut script = vec![answer(500, json!({}))];
    script.extend(std::iter::repeat_n(Err(Lost::Refused), 11));
    let (calls, end) = trace_with(Cf, Verb::Provision, &terms(), &script);
    let minutes: Vec<u64> = calls[1..].iter().map(|(time, ..)| time / MINUTE).collect();
    assert_eq!(minutes, [0, 2, 6, 14, 30, 62, 126, 254, 510, 1022, 2046]);
    assert!(
        calls[1..]
            .iter()
            .all(|(_, call, purpose)| (*call, *purpose) == (Call::Deprovision, Purpose::Mitigation))
    );
    assert_eq!(end.unwrap().mitigation, Mitigation::GivenUp);
}

#[test]
fn cloud_foundry_never_asks_what_became_of_its_mitigation() {
    let (calls, end) = trace(Cf, Verb::Provision, &[Err(Lost::Timeout), accepted()]);
    assert_eq!(calls, [(0, Call::Provision), (0, Call::Deprovision)]);
    let end = end.unwrap();
    assert_eq!(end.mitigation, Mitigation::Unwatched(Some("o".to_owned())));
    assert!(end.result.is_err());
}

#[test]
fn cloud_foundry_mitigates_when_polling_takes_too_long() {
    let plan = Terms {
        maximum_polling: Some(Duration::from_secs(150)),
        ..terms()
    };
    let script = [
        accepted(),
        in_progress(),
        in_progress(),
        in_progress(),
        in_progress(),
        answer(410, json!({})),
    ];
    let (calls, end) = trace_with(Cf, Verb::Provision, &plan, &script);
    let calls: Vec<(u64, Call)> = calls.into_iter().map(|(time, call, _)| (time, call)).collect();
    assert_eq!(calls[4..], [(180, Call::PollInstance), (180, Call::Deprovision)]);
    assert_eq!(end.unwrap().mitigation, Mitigation::Confirmed);
}

#[test]
fn without_a_limit_of_the_plan_polling_ends_after_seven_days() {
    for platform in [Cf, K8s, Sm, Ibm] {
        let mut script = vec![accepted()];
        script.extend(std::iter::repeat_n(in_progress(), 200_000));
        let (calls, _) = trace(platform, Verb::Provision, &script);
        let (time, _) = calls.iter().find(|(_, call)| *call == Call::Deprovision).unwrap();
        assert!((7 * DAY..7 * DAY + HOUR).contains(time), "{platform}: {time}");
    }
}

#[test]
fn a_removal_that_takes_too_long_is_not_mitigated() {
    let mut script = vec![accepted()];
    script.extend(std::iter::repeat_n(in_progress(), 200_000));
    let (_, end) = trace(Sm, Verb::Deprovision, &script);
    let end = end.unwrap();
    assert!(end.result.is_err() && end.mitigation == Mitigation::None);
}

#[test]
fn cloud_foundry_fetches_what_it_has_bound() {
    let credentials = answer(200, json!({"credentials": {}}));
    let (calls, end) = trace(Cf, Verb::Bind, &[accepted(), succeeded(), credentials]);
    assert_eq!(calls[2].1, Call::FetchBinding);
    assert!(end.unwrap().result.unwrap().contains_key("credentials"));
    // A failure of that is final, and nobody cleans up.
    let (calls, end) = trace(Cf, Verb::Bind, &[accepted(), succeeded(), answer(404, json!({}))]);
    assert_eq!((calls.len(), end.unwrap().mitigation), (3, Mitigation::None));
}

/// What has to be right in the answers that Cloud Foundry gets.
#[test]
fn cloud_foundry_is_particular_about_answers() {
    let judge = |verb, terms: &Terms, outcome: &Outcome| Cf.rules().judge(verb, terms, outcome);
    let failed = |judgement| matches!(judgement, Judgement::Failed(_));
    for outcome in [
        answer(404, json!({})),
        answer(201, json!({})),
        answer(200, json!(null)),
        answer(500, json!({})),
    ] {
        assert!(failed(judge(Verb::Deprovision, &terms(), &outcome)), "{outcome:?}");
    }
    assert!(failed(judge(Verb::Update, &terms(), &answer(201, json!({})))));
    assert!(!failed(judge(Verb::Deprovision, &terms(), &answer(410, json!(null)))));
    let binds = [
        json!({"credentials": "secret"}),
        json!({"route_service_url": "http://x"}),
        json!({"syslog_drain_url": "syslog://x"}),
        json!({"volume_mounts": [{}]}),
    ];
    for bind in binds {
        let Judgement::Failed(trouble) = judge(Verb::Bind, &terms(), &answer(201, bind.clone())) else {
            panic!("{bind}");
        };
        assert_eq!(trouble.then, Then::Mitigate, "{bind}");
    }
    let permitted = Terms {
        requires: vec![Requires::SyslogDrain, Requires::VolumeMount],
        ..terms()
    };
    let all = json!({"syslog_drain_url": "syslog://x", "volume_mounts": [{}], "route_service_url": "https://x"});
    assert!(!failed(judge(Verb::Bind, &permitted, &answer(201, all))));
}

#[test]
fn service_catalog_polls_after_1_2_4_seconds_up_to_twenty_minutes() {
    let mut script = vec![accepted()];
    script.extend(std::iter::repeat_n(in_progress(), 13));
    let (calls, _) = trace(K8s, Verb::Provision, &script);
    let times: Vec<u64> = calls.iter().map(|(time, _)| *time).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1200, 1200, 1200]);
}

/// As recorded from Service Catalog 0.3.1: 500, DELETE, and the PUT again after 1, 2, 4, 8 seconds.
#[test]
fn service_catalog_mitigates_and_sends_the_provision_again() {
    let script: Vec<Outcome> = (0..5)
        .flat_map(|_| [answer(500, json!({})), answer(200, json!({}))])
        .collect();
    let (calls, end) = trace(K8s, Verb::Provision, &script);
    let puts: Vec<u64> = calls
        .iter()
        .filter(|(_, call)| *call == Call::Provision)
        .map(|(time, _)| *time)
        .collect();
    assert_eq!(puts, [0, 1, 3, 7, 15, 31]);
    assert_eq!(calls[1], (0, Call::Deprovision));
    assert!(end.is_none(), "it goes on");
}

/// As recorded: one DELETE after `failed`, no further provision.
#[test]
fn service_catalog_mitigates_a_failed_operation_and_stops() {
    let failed = answer(200, json!({"state": "failed", "description": "disk full"}));
    let (calls, end) = trace(K8s, Verb::Provision, &[accepted(), failed, answer(200, json!({}))]);
    assert_eq!(calls.last(), Some(&(1, Call::Deprovision)));
    let end = end.unwrap();
    assert_eq!(end.mitigation, Mitigation::Confirmed);
    assert_eq!(end.result.unwrap_err(), "the operation failed: disk full");
}

#[test]
fn service_catalog_watches_its_mitigation_and_repeats_it() {
    let script = [
        Err(Lost::Timeout),
        answer(503, json!({})),
        accepted(),
        in_progress(),
        answer(410, json!({})),
        answer(201, json!({})),
    ];
    let (calls, end) = trace(K8s, Verb::Provision, &script);
    let calls: Vec<Call> = calls.into_iter().map(|(_, call)| call).collect();
    let [put, delete, poll] = [Call::Provision, Call::Deprovision, Call::PollInstance];
    assert_eq!(calls, [put, delete, delete, poll, poll, put]);
    assert!(end.unwrap().result.is_ok());
}

#[test]
fn service_catalog_repeats_a_conflict_without_limit() {
    let script = vec![answer(409, json!({})); 30];
    let (calls, end) = trace(K8s, Verb::Provision, &script);
    assert_eq!((calls.len(), end), (31, None));
    assert!(calls.iter().all(|(_, call)| *call == Call::Provision));
}

#[test]
fn service_catalog_knows_reserved_errors_only_by_code_and_text() {
    let why = |description: &str| {
        let outcome = answer(422, json!({"error": "ConcurrencyError", "description": description}));
        match K8s.rules().judge(Verb::Update, &terms(), &outcome) {
            Judgement::Retry(trouble) => trouble.why,
            other => panic!("{other:?}"),
        }
    };
    assert!(why("busy").contains("not recognised"));
    let text = osb_api::error::Reserved::ConcurrencyError.description();
    assert!(!why(text).contains("not recognised"));
}

#[test]
fn service_catalog_binds_synchronously() {
    for call in [Call::Bind, Call::Unbind] {
        let accepts = Platform::ALL.map(|platform| platform.rules().accepts_incomplete(call, &terms()));
        assert_eq!(accepts, [true, true, false, true, false]);
        let not_retrievable = Terms::default();
        let accepts = Platform::ALL.map(|platform| platform.rules().accepts_incomplete(call, &not_retrievable));
        assert_eq!(accepts, [false, true, false, false, false]);
    }
}

#[test]
fn service_manager_polls_every_four_seconds() {
    let script = [accepted(), in_progress(), in_progress(), succeeded()];
    let (calls, _) = trace(Sm, Verb::Provision, &script);
    let times: Vec<u64> = calls.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [0, 4, 8, 12]);
}

#[test]
fn service_manager_stops_at_the_limit_of_the_plan_and_mitigates() {
    let plan = Terms {
        maximum_polling: Some(Duration::from_secs(10)),
        ..terms()
    };
    let script = [
        accepted(),
        in_progress(),
        in_progress(),
        in_progress(),
        answer(200, json!({})),
    ];
    let (calls, end) = trace_with(Sm, Verb::Provision, &plan, &script);
    assert_eq!(
        calls.last().map(|(time, call, _)| (*time, *call)),
        Some((12, Call::Deprovision))
    );
    assert_eq!(calls.len(), 5);
    assert_eq!(end.unwrap().mitigation, Mitigation::Confirmed);
}

#[test]
fn service_manager_waits_ten_seconds_for_an_answer_and_korifi_for_ever() {
    let patience = Platform::ALL.map(|platform| platform.rules().patience().map(|patience| patience.as_secs()));
    assert_eq!(patience, [Some(60), None, Some(60), Some(10), Some(60)]);
}

#[test]
fn korifi_sends_the_provision_again_before_each_poll() {
    let script = [
        accepted(),
        in_progress(),
        accepted(),
        in_progress(),
        accepted(),
        succeeded(),
    ];
    let (calls, end) = trace(Korifi, Verb::Provision, &script);
    let calls: Vec<Call> = calls.into_iter().map(|(_, call)| call).collect();
    let [put, poll] = [Call::Provision, Call::PollInstance];
    assert_eq!(calls, [put, poll, put, poll, put, poll]);
    assert!(end.unwrap().result.is_ok());
}

#[test]
fn korifi_takes_credentials_from_a_repeated_bind() {
    let credentials = answer(200, json!({"credentials": {"user": "u"}}));
    let (calls, end) = trace(Korifi, Verb::Bind, &[accepted(), succeeded(), credentials]);
    assert_eq!(calls[2].1, Call::Bind);
    assert!(end.unwrap().result.unwrap().contains_key("credentials"));
}

#[test]
fn korifi_pauses_for_milliseconds_first_and_never_gives_up() {
    let mut now = Duration::ZERO;
    let mut job = Job::new(Korifi.rules(), Verb::Provision, &terms(), now, u32::MAX);
    let mut pauses = Vec::new();
    for _ in 0..40 {
        job.take(now, &answer(500, json!({})), Limits::Count);
        let Step::Wait(pause) = job.step(now) else {
            panic!("{:?}", job.step(now));
        };
        pauses.push(pause.as_millis());
        now += pause;
        assert!(matches!(
            job.step(now),
            Step::Send {
                call: Call::Provision,
                ..
            }
        ));
    }
    assert_eq!(pauses[..4], [5, 10, 20, 40]);
    assert_eq!(pauses[39], 1_000_000);
}

#[test]
fn korifi_never_mitigates() {
    for outcome in [
        Err(Lost::Timeout),
        answer(500, json!({})),
        answer(409, json!({})),
        answer(201, json!(null)),
    ] {
        let (calls, _) = trace(Korifi, Verb::Provision, &[outcome]);
        assert!(calls.iter().all(|(_, call)| *call == Call::Provision));
    }
    assert!(!Korifi.rules().mitigates());
}

#[test]
fn korifi_ends_a_removal_with_the_410_of_the_repeated_delete() {
    let gone = || answer(410, json!({}));
    let (calls, end) = trace(Korifi, Verb::Deprovision, &[accepted(), gone(), gone()]);
    let calls: Vec<Call> = calls.into_iter().map(|(_, call)| call).collect();
    assert_eq!(calls, [Call::Deprovision, Call::PollInstance, Call::Deprovision]);
    assert!(end.unwrap().result.is_ok());
}

#[test]
fn platforms_without_limit_are_cut_short_for_the_tester() {
    let mut job = Job::new(K8s.rules(), Verb::Provision, &terms(), Duration::ZERO, 2);
    let mut now = Duration::ZERO;
    for _ in 0..3 {
        job.take(now, &answer(409, json!({"description": "there"})), Limits::Count);
        now += Duration::from_secs(HOUR);
    }
    let end = job.end().unwrap();
    assert_eq!(
        end.result.clone().unwrap_err(),
        "still trying after 3 requests; last: 409 (there)"
    );
}

#[test]
fn names_are_read_back() {
    for platform in Platform::ALL {
        assert_eq!(platform.name().parse(), Ok(platform));
    }
    assert!("heroku".parse::<Platform>().is_err());
}
