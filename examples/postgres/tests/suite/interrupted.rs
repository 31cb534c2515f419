//! Every message to the database server is lost once, before and after the server has it: the outcome is the same.

use serde_json::json;
use testparts::{Postgres, need};

use crate::platform::{Broker, Operator, SMALL, World, connect, refusal};
use crate::proxy::{Fault, Proxy};

/// More messages than any call sends.
const MOST_MESSAGES: usize = 60;

struct Scene {
    postgres: Postgres,
    operator: Operator,
    proxy: Proxy,
    broker: Broker,
}

impl Scene {
    async fn new() -> Option<Self> {
        let postgres = need(Postgres::start())?;
        let operator = Operator::of(&postgres).await;
        let proxy = Proxy::to(postgres.port()).await;
        let broker = World::new()
            .await
            .broker(&proxy.url(&postgres.url(), postgres.port()))
            .await;
        Some(Self {
            postgres,
            operator,
            proxy,
            broker,
        })
    }

    /// Makes a database and drops it, each with a fault at that message; says how many faults there were.
    async fn database(&self, message: usize, fault: Fault) -> usize {
        let instance = format!("i{message}");
        self.proxy.arm(message, fault);
        self.broker
            .provision(&instance, SMALL, json!({"extensions": ["citext"]}))
            .await
            .expect("provisioned");
        let fired = usize::from(self.proxy.fired());
        assert_eq!(self.operator.databases().await.len(), 1, "at message {message}");

        self.proxy.arm(message, fault);
        self.broker.deprovision(&instance).await.expect("deprovisioned");
        let left = (self.operator.databases().await, self.operator.roles().await);
        assert_eq!(left, (vec![], vec![]), "at message {message}");
        fired + usize::from(self.proxy.fired())
    }

    /// The same with a login.
    async fn login(&self, message: usize, fault: Fault) -> usize {
        let binding = format!("b{message}");
        self.proxy.arm(message, fault);
        let login = self.broker.bind("shop", &binding).await;
        let fired = usize::from(self.proxy.fired());
        assert_eq!(
            self.operator.logins().await,
            [login.username.as_str()],
            "at message {message}"
        );
        let uri = login
            .uri
            .replace(&format!(":{}/", login.port), &format!(":{}/", self.postgres.port()));
        let session = connect(&uri).await.expect("the login works");
        session
            .batch_execute("SET ROLE NONE; CREATE TEMPORARY TABLE t (); SELECT lo_create(0)")
            .await
            .expect("written");

        self.proxy.arm(message, fault);
        self.broker.unbind("shop", &binding).await.expect("unbound");
        assert_eq!(self.operator.logins().await, [] as [&str; 0], "at message {message}");
        assert_eq!(refusal(&uri).await, "28P01");
        fired + usize::from(self.proxy.fired())
    }
}

async fn at_every_message(fault: Fault) {
    let Some(scene) = Scene::new().await else { return };
    let (mut faults, mut message) = (0, 0);
    loop {
        message += 1;
        assert!(message < MOST_MESSAGES, "there is no end yet");
        match scene.database(message, fault).await {
            0 => break,
            fired => faults += fired,
        }
    }
    scene.broker.buy("shop").await;
    message = 0;
    loop {
        message += 1;
        assert!(message < MOST_MESSAGES, "there is no end yet");
        match scene.login(message, fault).await {
            0 => break,
            fired => faults += fired,
        }
    }
    assert!(faults > 40, "only {faults} messages were lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_lost_changes_nothing_in_the_outcome() {
    at_every_message(Fault::CutBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_changes_nothing_in_the_outcome() {
    at_every_message(Fault::CutAfter).await;
}
