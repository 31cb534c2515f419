//! Bindings that take the place of others.

use osb_api::answer::{BindingBody, Bound, Removed};
use osb_api::error::BindError;
use serde_json::json;

use crate::author::{Journal, NARROW};
use crate::on_each_home;
use crate::platform::Platform;

fn created(answer: Result<Bound, BindError>) -> BindingBody {
    match answer {
        Ok(Bound::Created(body)) => body,
        other => panic!("not a 201: {other:?}"),
    }
}

fn user(body: &BindingBody) -> String {
    body.credentials.as_ref().expect("credentials")["user"]
        .as_str()
        .expect("a user")
        .to_owned()
}

on_each_home! {
    /// OSB-ROT-02, OSB-ROT-03, OSB-ROT-05, OSB-ROT-06, OSB-ROT-07
    async fn old_and_new_binding_overlap(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        let old = created(platform.bind("a", "old", json!({"secret": "shared"})).await);
        let new = created(platform.rotate("a", "new", "old").await);
        assert_ne!(user(&old), user(&new));
        assert_eq!(new.credentials.as_ref().expect("credentials")["password"], "shared", "the parameters are taken over");
        assert!(journal.lines().iter().any(|line| line.what == format!("rotates {}", user(&old))));
        assert!(journal.names().contains(&user(&old)) && journal.names().contains(&user(&new)));
        assert!(matches!(platform.rotate("a", "new", "old").await, Ok(Bound::Exists(_))));
        assert_eq!(platform.unbind("a", "old").await, Ok(Removed::Done));
        assert!(!journal.names().contains(&user(&old)) && journal.names().contains(&user(&new)));
        // The predecessor is gone, the repeat is answered all the same.
        assert!(matches!(platform.rotate("a", "new", "old").await, Ok(Bound::Exists(_))));
        assert!(matches!(platform.bind("a", "new", json!({"secret": "shared"})).await, Err(BindError::Conflict(_))));
        assert_eq!(platform.unbind("a", "new").await, Ok(Removed::Done));
    }

    /// OSB-ROT-01, OSB-ROT-04, OSB-ROT-08, OSB-BIND-29, OSB-BIND-30
    async fn what_cannot_be_rotated_is_refused_and_leaves_nothing(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.provision("other", json!({})).await.expect("provisioned");
        platform.on_plan(NARROW).provision("n", json!({})).await.expect("provisioned");
        created(platform.bind("other", "elsewhere", json!({})).await);
        created(platform.on_plan(NARROW).bind("n", "fixed", json!({})).await);
        assert!(platform.bind("a", "failed", json!({"bind": "fail"})).await.is_err());
        let expired = created(platform.bind("a", "expired", json!({"valid_secs": 0})).await);
        let metadata = expired.metadata.expect("metadata");
        assert!(metadata.expires_at.as_ref().is_some_and(|time| time.ends_with('Z') && time.contains('.')), "{metadata:?}");
        assert!(metadata.renew_before <= metadata.expires_at);
        process.engine.idle().await;
        process.faults.take_writes();
        for (instance, predecessor) in [("a", "never"), ("a", "elsewhere"), ("a", "failed"), ("a", "expired"), ("n", "fixed")] {
            let answer = platform.rotate(instance, "new", predecessor).await;
            assert!(matches!(answer, Err(BindError::Invalid(_))), "{predecessor}: {answer:?}");
        }
        assert_eq!(platform.rotate("never", "new", "old").await, Err(BindError::NoInstance));
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
    }
}
