//! The broker, from outside: in the process of the test, with everything but the sockets.

use osb_sdk::TestBroker;
use osb_simulate::{InProcess, Options};
use serde_json::json;

#[tokio::test]
async fn a_store_lives_also_over_a_restart() {
    let mut broker = TestBroker::start(starter::broker).await;
    let label = json!({"label": "orders"});
    assert_eq!(broker.provision("shop", "small", label).await.status, 201);
    let bound = broker.bind("shop", "app", json!({})).await;
    assert_eq!(bound.status, 201);

    broker.restart().await;
    let again = broker.bind("shop", "app", json!({})).await;
    assert_eq!(
        (again.status, &again.body["credentials"]),
        (200, &bound.body["credentials"])
    );

    assert_eq!(broker.unbind("shop", "app").await.status, 200);
    assert_eq!(broker.deprovision("shop").await.status, 200);
}

#[tokio::test]
async fn parameters_are_checked() {
    let broker = TestBroker::start(starter::broker).await;
    let refused = broker.provision("shop", "small", json!({"lable": "orders"})).await;
    assert_eq!(refused.status, 400);
}

/// Cloud Foundry, Korifi, Service Catalog, Service Manager and IBM Cloud: with what they repeat, lose and give up.
#[tokio::test]
async fn every_platform_gets_on_with_the_broker() {
    let broker = TestBroker::start(starter::broker).await;
    osb_simulate::assert_all_platforms_get_on(InProcess::open(broker.service()), Options::default()).await;
}
