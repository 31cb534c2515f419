//! The simulated platforms buy from this broker, in the same process.

use osb_sdk::TestBroker;
use osb_simulate::{InProcess, Options};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_gets_on_with_plans_that_answer_at_once_and_later() {
    let broker = TestBroker::start(reference_broker::broker).await;
    let options = Options {
        plans: vec!["fast".to_owned(), "async".to_owned()],
        failing_parameters: json!({"fail_at": "provision"}).as_object().cloned(),
        ..Options::default()
    };
    osb_simulate::assert_all_platforms_get_on(InProcess::open(broker.service()), options).await;
}
