//! Updates for platforms that take no 202, and that do not end while the request waits: with an error as the answer
//! nothing of them is applied (OSB-UPD-19).

use std::time::Duration;

use osb_api::answer::{State, Updated};
use osb_api::error::{Fault, UpdateError};
use osb_engine::Config;
use serde_json::{Value, json};

use crate::author::{ASYNC, AUTO, Journal, NARROW, eventually};
use crate::homes::{Process, TestHome};
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted};

/// The settings of a broker that does not let requests wait for long.
pub(crate) fn hasty(config: Config) -> Config {
    Config {
        budget_complete: Duration::from_secs(2),
        budget_incomplete: Duration::from_millis(50),
        grace: Duration::from_millis(200),
        ..config
    }
}

async fn started(home: &TestHome, journal: &Journal) -> (Process, Platform) {
    let process = home.broker_with(journal, hasty).await;
    let platform = Platform::new(&process.engine);
    platform.provision("a", json!({})).await.expect("provisioned");
    (process, platform)
}

fn failed(answer: Result<Updated, UpdateError>) -> (String, Option<bool>) {
    match answer {
        Err(UpdateError::Failed {
            description,
            instance_usable,
            ..
        }) => (description, instance_usable),
        other => panic!("{other:?}"),
    }
}

async fn plan(platform: &Platform) -> String {
    let fetched = platform.fetch("a").await.expect("fetched");
    fetched.plan_id.expect("a plan").as_str().to_owned()
}

fn to(size: u32, update: &str) -> Value {
    json!({"plan_id": NARROW, "parameters": {"size": size, "update": update}})
}

on_each_home! {
    /// OSB-UPD-19, OSB-ERR-08
    async fn what_does_not_end_in_time_is_taken_back_and_can_be_sent_again(home: TestHome) {
        let journal = Journal::default();
        let (process, platform) = started(&home, &journal).await;
        process.faults.take_writes();
        let (text, usable) = failed(platform.update("a", to(7, "block")).await);
        assert!(text.ends_with("Nothing was changed.") && usable.is_none(), "{text}");
        assert_eq!(process.faults.take_writes().len(), 2, "as every update");
        assert_eq!((journal.count("undone"), journal.size(), &*plan(&platform).await), (1, 1, AUTO));
        assert_eq!(platform.poll("a", None).await.expect("an answer").body.state, State::Failed);
        assert_eq!(journal.overlaps(), 0);
        journal.release("a");
        assert!(matches!(platform.update("a", to(7, "block")).await, Ok(Updated::Done(_))));
        assert_eq!((journal.size(), &*plan(&platform).await), (7, NARROW));
    }

    /// OSB-UPD-10: it is done after all.
    async fn what_succeeds_within_the_grace_period_counts(home: TestHome) {
        let journal = Journal::default();
        let (_process, platform) = started(&home, &journal).await;
        assert!(matches!(platform.update("a", to(7, "late")).await, Ok(Updated::Done(_))));
        assert_eq!((journal.count("undone"), journal.size(), &*plan(&platform).await), (0, 7, NARROW));
    }

    async fn what_does_not_listen_is_dropped_and_taken_back(home: TestHome) {
        let journal = Journal::default();
        let (process, platform) = started(&home, &journal).await;
        let answer = platform.update("a", to(7, "hang")).await;
        assert!(answer.is_err(), "{answer:?}");
        process.engine.idle().await;
        assert_eq!((journal.count("undone"), journal.size(), &*plan(&platform).await), (1, 1, AUTO));
        assert_eq!(journal.overlaps(), 0);
    }

    /// OSB-UPD-21
    async fn what_cannot_be_taken_back_makes_the_instance_unusable(home: TestHome) {
        let journal = Journal::default();
        let (_process, platform) = started(&home, &journal).await;
        let change = json!({"parameters": {"size": 7, "update": "stuck", "undo": "fail"}});
        let (text, usable) = failed(platform.update("a", change).await);
        assert!(text.ends_with("could not be taken back.") && usable == Some(false), "{text}");
        // OSB-UPD-22
        assert!(matches!(platform.update("a", json!({"parameters": {"size": 5}})).await, Ok(Updated::Done(_))));
    }

    /// An update that the author fails is taken back, too, and his words are told.
    async fn what_the_author_fails_is_taken_back(home: TestHome) {
        let journal = Journal::default();
        let (_process, platform) = started(&home, &journal).await;
        let (text, usable) = failed(platform.update("a", to(7, "fail")).await);
        assert_eq!((&*text, usable), ("This was asked for.", None));
        assert_eq!((journal.count("undone"), journal.size()), (1, 1));
    }

    /// What is taken back sees how far the update came, and its own steps are others.
    async fn the_steps_of_an_update_are_there_when_it_is_taken_back(home: TestHome) {
        let journal = Journal::default();
        let (_process, platform) = started(&home, &journal).await;
        failed(platform.update("a", to(7, "steps")).await);
        assert_eq!((journal.count("undo saw result of first"), journal.size()), (1, 1));
    }

    /// The author is busy with something else: the answer is an error, and the update never begins.
    async fn what_waits_for_its_turn_is_given_up_with_the_answer(home: TestHome) {
        let journal = Journal::default();
        let (process, platform) = started(&home, &journal).await;
        let blocker = platform.on_plan(NARROW).provision_if("other", json!({"provision": "block"}), ACCEPTS).await;
        let blocker = accepted(blocker);
        journal.started("provision", "other").await;
        let answer = platform.update("a", to(7, "succeed")).await;
        assert!(matches!(answer, Err(UpdateError::Fault(Fault::Failed(_)))), "{answer:?}");
        // It is only being taken back: nobody joins it.
        assert_eq!(platform.update("a", to(7, "succeed")).await, Err(UpdateError::Concurrency));
        journal.release("other");
        assert_eq!(platform.wait("other", Some(&blocker)).await, Ok(State::Succeeded));
        process.engine.idle().await;
        assert_eq!(journal.count("end with size 7"), 0);
        assert_eq!(platform.poll("a", None).await.expect("an answer").body.state, State::Failed);
        assert_eq!(&*plan(&platform).await, AUTO);
    }

    /// What was asked for by a platform that polls goes on, whoever else asks for the same (OSB-UPD-16).
    async fn who_joins_a_longer_update_does_not_end_it(home: TestHome) {
        let journal = Journal::default();
        let (_process, platform) = started(&home, &journal).await;
        let answer = platform.update_if("a", to(7, "block"), ACCEPTS).await;
        let Ok(Updated::Accepted(operation, _)) = answer else { panic!("{answer:?}") };
        assert_eq!(platform.update("a", to(7, "block")).await, Err(UpdateError::Concurrency));
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        assert_eq!((journal.count("undone"), journal.size()), (0, 7));
    }

    /// OSB-UPD-15
    async fn a_plan_that_is_always_asynchronous_refuses_before_anything_is_done(home: TestHome) {
        let journal = Journal::default();
        let (process, platform) = started(&home, &journal).await;
        process.faults.take_writes();
        let refused = platform.update("a", json!({"plan_id": ASYNC})).await;
        assert_eq!(refused, Err(UpdateError::AsyncRequired));
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
    }

    /// A process that ends while a request waits leaves an update that the next one does not bring to success.
    async fn what_was_answered_with_an_error_is_not_resumed(home: TestHome) {
        let journal = Journal::default();
        let (first, platform) = started(&home, &journal).await;
        let updating = {
            let platform = platform.clone();
            tokio::spawn(async move { platform.update("a", to(7, "block")).await })
        };
        journal.started("update", "a").await;
        first.engine.stop().await;
        assert!(updating.await.expect("no panic").is_err());
        journal.release("a");
        let second = home.broker(&journal).await;
        let platform = Platform::new(&second.engine);
        eventually("it is taken back", || journal.count("undone") == 1).await;
        second.engine.idle().await;
        assert_eq!((journal.size(), &*plan(&platform).await), (1, AUTO));
    }
}
