//! Every message to the database server is lost once, before and after the server has it: the outcome is the same.

use serde_json::json;
use testparts::{Postgres, need};

use crate::platform::{Operator, SMALL, World, connect, refusal};
use crate::proxy::{Fault, Proxy};

/// More messages than any call sends.
const MOST_MESSAGES: usize = 60;

async fn at_every_message(fault: Fault) {
    let Some(postgres) = need(Postgres::start()) else { return };
    let (world, operator) = (World::new().await, Operator::of(&postgres).await);
    let proxy = Proxy::to(postgres.port()).await;
    let broker = world.broker(&proxy.url(&postgres.url(), postgres.port())).await;
    let mut faults = 0;
    for message in 1..=MOST_MESSAGES {
        let instance = format!("i{message}");
        let mut fired = Vec::new();
        let mut note = |what| fired.extend(proxy.fired().then_some(what));

        proxy.arm(message, fault);
        broker.provision(&instance, SMALL, json!({"extensions": ["citext"]})).await.expect("provisioned");
        note("provision");
        assert_eq!(operator.databases().await.len(), 1, "at message {message}");

        proxy.arm(message, fault);
        let login = broker.bind(&instance, "b").await;
        note("bind");
        assert_eq!(operator.logins().await, [login.username.as_str()], "at message {message}");
        let uri = login.uri.replace(&format!(":{}/", login.port), &format!(":{}/", postgres.port()));
        let session = connect(&uri).await.expect("the login works");
        session.batch_execute("CREATE TABLE t (c citext)").await.expect("written");

        proxy.arm(message, fault);
        broker.unbind(&instance, "b").await.expect("unbound");
        note("unbind");
        assert_eq!(operator.logins().await, [] as [&str; 0], "at message {message}");
        assert_eq!(refusal(&uri).await, "28P01");

        proxy.arm(message, fault);
        broker.deprovision(&instance).await.expect("deprovisioned");
        note("deprovision");
        assert_eq!((operator.databases().await, operator.roles().await), (vec![], vec![]), "at message {message}");

        faults += fired.len();
        if fired.is_empty() {
            assert!(faults > 30, "only {faults} messages were lost");
            return;
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_lost_changes_nothing_in_the_outcome() {
    at_every_message(Fault::CutBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_changes_nothing_in_the_outcome() {
    at_every_message(Fault::CutAfter).await;
}
