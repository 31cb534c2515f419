//! A process that hangs in the middle of a call, with its session in the server still alive, does no harm to what
//! comes after it.

use std::time::Duration;

use serde_json::json;
use testparts::{Postgres, need};

use crate::platform::{Broker, Operator, SMALL, World};
use crate::proxy::{Fault, Proxy};

/// More messages than a provision sends.
const MOST_MESSAGES: usize = 60;

/// Begins a provision whose `message`-th message hangs; false when it has ended before.
async fn hangs(broker: &Broker, instance: &str, proxy: &Proxy, message: usize) -> bool {
    proxy.arm(message, Fault::Hang);
    let (broker, instance) = (broker.clone(), instance.to_owned());
    let provision = tokio::spawn(async move { drop(broker.provision(&instance, SMALL, json!({})).await) });
    while !proxy.has_fired() && !provision.is_finished() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    proxy.fired()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deprovision_leaves_nothing_of_a_provision_that_hangs_anywhere() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (world, operator) = (World::new().await, Operator::impatient(&postgres).await);
    let proxy = Proxy::to(postgres.port()).await;
    let broker = world.broker(&proxy.url(&postgres.url(), postgres.port())).await;
    for message in 1..=MOST_MESSAGES {
        let instance = format!("i{message}");
        let hung = hangs(&broker, &instance, &proxy, message).await;
        broker.deprovision(&instance).await.expect("deprovisioned");
        proxy.revive();
        broker.idle().await;
        assert_eq!(
            (operator.databases().await, operator.roles().await),
            (vec![], vec![]),
            "at message {message}"
        );
        if !hung {
            assert!(message > 10, "a provision sent only {message} messages");
            return;
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_taken_for_dead_cannot_undo_what_its_successor_did() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (world, operator) = (World::new().await, Operator::impatient(&postgres).await);
    let proxy = Proxy::to(postgres.port()).await;
    for message in 1..=MOST_MESSAGES {
        let instance = format!("i{message}");
        let old = world.broker(&proxy.url(&postgres.url(), postgres.port())).await;
        let hung = hangs(&old, &instance, &proxy, message).await;

        let new = world.broker(&postgres.url()).await;
        new.idle().await;
        new.buy(&instance).await;
        assert_eq!(operator.databases().await.len(), 1, "at message {message}");
        new.deprovision(&instance).await.expect("deprovisioned");
        proxy.revive();
        old.idle().await;
        assert_eq!(
            (operator.databases().await, operator.roles().await),
            (vec![], vec![]),
            "at message {message}"
        );
        if !hung {
            assert!(message > 10, "a provision sent only {message} messages");
            return;
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}
