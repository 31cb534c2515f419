//! What a platform sees that fetches.

use osb_api::answer::Updated;
use serde_json::{Value, json};

use crate::author::{Journal, NARROW};
use crate::on_each_home;
use crate::platform::Platform;

on_each_home! {
    /// OSB-GETI-03, OSB-GETI-06, OSB-GETI-07
    async fn the_parameters_of_an_instance_are_the_current_ones_without_secrets(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({"size": 5, "secret": "canary-51"})).await.expect("provisioned");
        let fetched = platform.fetch("a").await.expect("fetched");
        assert_eq!(fetched.parameters.map(Value::Object), Some(json!({"size": 5})));
        let change = json!({"plan_id": NARROW, "parameters": {"size": 6, "secret": "canary-52"}});
        assert!(matches!(platform.update("a", change).await, Ok(Updated::Done(_))));
        let fetched = platform.fetch("a").await.expect("fetched");
        assert_eq!(fetched.parameters.map(Value::Object), Some(json!({"size": 6})));
        // A failed one changes nothing of what is told.
        let failed = json!({"parameters": {"size": 9, "update": "fail"}});
        assert!(platform.update("a", failed).await.is_err());
        let fetched = platform.fetch("a").await.expect("fetched");
        assert_eq!(fetched.parameters.map(Value::Object), Some(json!({"size": 6})));
    }

    /// OSB-GETB-03, OSB-GETB-05, OSB-ROT-06
    async fn the_parameters_of_a_binding_are_told_without_secrets(home: TestHome) {
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({"valid_secs": 5000, "secret": "canary-53"})).await.expect("bound");
        platform.rotate("a", "c", "b").await.expect("rotated");
        for binding in ["b", "c"] {
            let fetched = platform.fetch_binding("a", binding).await.expect("fetched");
            assert_eq!(fetched.parameters.map(Value::Object), Some(json!({"valid_secs": 5000})), "{binding}");
        }
    }

    /// The trace of a platform is stored with what it began, and costs no write.
    async fn the_trace_of_a_request_is_stored_with_its_operation(home: TestHome) {
        const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let journal = Journal::default();
        let process = home.broker(&journal).await;
        let platform = Platform::new(&process.engine).traced(TRACE);
        process.faults.take_writes();
        let provisioning = {
            let platform = platform.clone();
            tokio::spawn(async move { platform.provision("a", json!({"provision": "block"})).await })
        };
        journal.started("provision", "a").await;
        let stored = home.all("serviceinstances", &home.namespace("one")).await;
        assert_eq!(stored[0]["record"]["operation"]["trace"], TRACE);
        journal.release("a");
        provisioning.await.expect("no panic").expect("provisioned");
        process.engine.idle().await;
        assert_eq!(process.faults.take_writes().len(), 2);
        // What comes without one inherits none.
        journal.close("a");
        let untraced = Platform::new(&process.engine);
        let updating = tokio::spawn(async move { untraced.update("a", json!({"parameters": {"update": "block"}})).await });
        journal.started("update", "a").await;
        let stored = home.all("serviceinstances", &home.namespace("one")).await;
        assert!(stored[0]["record"]["operation"]["trace"].is_null(), "{}", stored[0]);
        journal.release("a");
        updating.await.expect("no panic").expect("updated");
    }
}
