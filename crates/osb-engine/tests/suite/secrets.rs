//! No parameter, step result, credential or identity is readable in what is stored or answered.

use osb_api::answer::{Bound, State};
use osb_api::error::{Fault, ProvisionError};
use serde_json::json;

use crate::author::{ASYNC, Journal};
use crate::homes::TestHome;
use crate::on_each_home;
use crate::platform::{ACCEPTS, Platform, accepted};

const CANARY: &str = "canary-7f3a9c";

on_each_home! {
    async fn nothing_secret_is_readable_in_the_home(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let user = json!({"username": format!("{CANARY}-user"), "groups": [CANARY]});
        let platform = Platform::new(&process.engine).on_plan(ASYNC).as_user(user);
        let wish = json!({"provision": "steps", "secret": format!("{CANARY}-parameter")});
        let operation = accepted(platform.provision_if("a", wish, ACCEPTS).await);
        let mut seen = String::new();
        for _ in 0..20 {
            seen.push_str(&everything(&home).await);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        journal.release("a");
        assert_eq!(platform.wait("a", Some(&operation)).await, Ok(State::Succeeded));
        let credential = format!("{CANARY}-credential");
        let answer = platform.bind("a", "b", json!({"secret": credential})).await;
        let Ok(Bound::Created(body)) = answer else { panic!("{answer:?}") };
        assert_eq!(body.credentials.expect("credentials")["password"], credential);
        seen.push_str(&everything(&home).await);
        platform.unbind_if("a", "b", ACCEPTS).await.expect("unbound");
        platform.deprovision_if("a", ACCEPTS).await.expect("deprovisioned");
        process.engine.idle().await;
        seen.push_str(&everything(&home).await);
        assert!(seen.contains("osb.internal") && seen.contains("Tombstone"));
        for secret in [CANARY, "result of first", "result of second"] {
            assert!(!seen.contains(secret), "{secret} is readable");
        }
    }

    /// What the author's errors say is shown to the user without what was given in confidence.
    async fn an_error_of_the_author_does_not_give_parameters_away(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        let wish = json!({"provision": "blab", "secret": CANARY});
        let answer = platform.provision("a", wish).await;
        assert_eq!(answer, Err(ProvisionError::Fault(Fault::Failed("not with ***".to_owned()))));
        assert!(!everything(&home).await.contains(CANARY));
    }
}

async fn everything(home: &TestHome) -> String {
    let mut text = String::new();
    for plural in ["serviceinstances", "servicebindings", "tombstones"] {
        for object in home.all(plural, &home.namespace("one")).await {
            text.push_str(&object.to_string());
        }
    }
    text
}
