//! A broker in a test sees hours pass in no time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use osb_api::catalog::{Offering, Plan};
use osb_engine::{Binding, Broker, Error, NoParameters, Operation, Policy, Result, Service};
use osb_host::TestBroker;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

const PLAN: &str = "7a2f6f0e-8a7b-4a51-9a76-5f2a7d7f0a11";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The keys and attempts of its calls, and whether it is away.
#[derive(Clone, Default)]
struct Backend {
    calls: Arc<Mutex<Vec<(String, u32)>>>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Backend {
    fn calls(&self) -> Vec<(String, u32)> {
        self.calls.lock().expect("no test panics here").clone()
    }
}

#[derive(Deserialize, JsonSchema)]
struct Wish {
    /// The first attempt that succeeds.
    #[serde(default)]
    attempts: u32,
    /// So many hours one attempt takes.
    #[serde(default)]
    hours: u32,
}

struct Slow(Backend);

impl Service for Slow {
    type Parameters = Wish;
    type BindParameters = NoParameters;
    type State = String;
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, wish: Wish) -> Result<String> {
        let call = (op.key().to_owned(), op.attempt());
        self.0.calls.lock().expect("no test panics here").push(call);
        tokio::time::sleep(wish.hours * HOUR).await;
        if op.attempt() < wish.attempts {
            return Err(Error::retry("The backend is away.").after(HOUR));
        }
        let mut names = self.0.names.lock().expect("no test panics here");
        names.insert(op.stable_name("db"));
        Ok("made".to_owned())
    }

    async fn deprovision(&self, op: &Operation, _: Option<String>) -> Result<()> {
        let mut names = self.0.names.lock().expect("no test panics here");
        names.remove(&op.stable_name("db"));
        Ok(())
    }

    async fn list_backend(&self) -> Result<Option<Vec<String>>> {
        let names = self.0.names.lock().expect("no test panics here");
        Ok(Some(names.iter().cloned().collect()))
    }

    async fn bind(&self, _: &Operation, _: &String, _: NoParameters) -> Result<Binding<NoParameters>> {
        Ok(Binding::new(NoParameters {}))
    }

    async fn unbind(&self, _: &Operation, _: &String, _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }
}

fn offering() -> Offering {
    Offering::new("0f9d2f0c-3c4e-4c40-8f6a-0c1d5f7e2b33", "slow", "Takes its time")
        .bindable(true)
        .plan(Plan::new(PLAN, "small", "The only one"))
}

fn broker(backend: &Backend) -> impl Fn() -> Broker + Send + Sync + 'static {
    let backend = backend.clone();
    move || {
        let policy = Policy {
            deadline: 24 * HOUR,
            ..Policy::default()
        };
        Broker::new("slow")
            .service(offering(), Slow(backend.clone()))
            .policy(PLAN, policy)
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_away_for_hours_is_waited_for() {
    let (backend, begin) = (Backend::default(), Instant::now());
    let broker = TestBroker::start(broker(&backend)).await;
    assert_eq!(broker.provision("a", "small", json!({"attempts": 6})).await.status, 202);
    assert_eq!(broker.settled("a").await.body["state"], "succeeded");
    assert!(begin.elapsed() >= 5 * HOUR);
    let attempts: Vec<u32> = backend.calls().iter().map(|(_, attempt)| *attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn what_never_succeeds_has_failed_at_its_deadline() {
    let (backend, begin) = (Backend::default(), Instant::now());
    let broker = TestBroker::start(broker(&backend)).await;
    broker.provision("a", "small", json!({"attempts": 1_000})).await;
    let settled = broker.settled("a").await;
    assert_eq!(
        (&settled.body["state"], &settled.body["description"]),
        (&json!("failed"), &json!("The backend is away."))
    );
    assert!(
        (22 * HOUR..25 * HOUR).contains(&begin.elapsed()),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(broker.deprovision("a").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_operation_goes_on_under_its_key() {
    let backend = Backend::default();
    let mut broker = TestBroker::start(broker(&backend)).await;
    assert_eq!(
        broker.provision("a", "slow/small", json!({"hours": 3})).await.status,
        202
    );
    tokio::time::sleep(HOUR).await;
    broker.restart().await;
    assert_eq!(broker.settled("a").await.body["state"], "succeeded");
    let calls = backend.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].0, calls[1].0, "the key stays the same");
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_nothing_in_the_backend_is_found() {
    let backend = Backend::default();
    let broker = TestBroker::start(broker(&backend)).await;
    broker.provision("a", "small", json!({})).await;
    broker.provision("b", "small", json!({})).await;
    assert!(broker.orphans().await.is_empty());
    let left = "db_aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    let others = ["not_ours".to_owned(), "db_AAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()];
    let add = |name: &String| backend.names.lock().expect("no test panics here").insert(name.clone());
    assert!(add(&left) && others.iter().all(add));
    assert_eq!(broker.orphans().await, std::slice::from_ref(&left));
    broker.deprovision("a").await;
    assert_eq!(broker.orphans().await, [left]);
    assert_eq!(backend.names.lock().expect("no test panics here").len(), 4);
}

/// OSB-CAT-03, OSB-CAT-04: what is not offered any more is served as long as there is something of it.
#[tokio::test(start_paused = true)]
async fn a_plan_that_is_not_offered_any_more_is_served_as_before() {
    const NEW_PLAN: &str = "9d5b0f57-1c6c-4f2f-8a34-6f7e5d1c0b44";
    let (say, changes) = futures::channel::mpsc::unbounded();
    let changes = Mutex::new(Some(changes.boxed()));
    let offer = |plan: Plan| {
        let offering = offering().bindable(true);
        let offering = Offering {
            plans: vec![plan],
            ..offering
        };
        Broker::new("slow").service(offering, Slow(Backend::default()))
    };
    let first = broker(&Backend::default());
    let mut broker = TestBroker::start(move || {
        let changes = changes.lock().expect("no test panics here").take();
        first().changing(changes.unwrap_or_else(|| futures::stream::pending().boxed()))
    })
    .await;
    assert_eq!(broker.provision("old", "small", json!({})).await.status, 201);
    let wrong = Broker::new("another").service(offering(), Slow(Backend::default()));
    say.unbounded_send(wrong).expect("somebody listens");
    say.unbounded_send(offer(Plan::new(NEW_PLAN, "large", "Another one")))
        .expect("somebody listens");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = broker.provision("too-late", "small", json!({})).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(broker.bind("old", "b", json!({})).await.status, 201);
    broker.reload_catalog().await;
    assert_eq!(broker.provision("new", "large", json!({})).await.status, 201);
    assert_eq!(broker.unbind("old", "b").await.status, 200);
    assert_eq!(broker.deprovision("old").await.status, 200);
}

/// The same service, whose state has another form since.
struct Newer;

#[derive(Serialize, Deserialize)]
struct NewState {
    text: String,
}

impl Service for Newer {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = NewState;
    type Credentials = Value;

    const STATE_VERSION: u32 = 2;

    async fn migrate(&self, from: u32, state: Value) -> Result<NewState> {
        assert_eq!(from, 1);
        let text = state.as_str().ok_or_else(|| Error::failed("no text"))?.to_owned();
        Ok(NewState { text })
    }

    async fn provision(&self, _: &Operation, _: NoParameters) -> Result<NewState> {
        Ok(NewState { text: "new".to_owned() })
    }

    async fn deprovision(&self, _: &Operation, _: Option<NewState>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, _: &Operation, state: &NewState, _: NoParameters) -> Result<Binding<Value>> {
        Ok(Binding::new(json!({"state": state.text})))
    }

    async fn unbind(&self, _: &Operation, _: &NewState, _: Option<Value>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_broker_reads_what_the_older_one_stored_and_not_the_reverse() {
    let newer = Arc::new(AtomicBool::new(false));
    let (old, is_newer) = (broker(&Backend::default()), newer.clone());
    let mut broker = TestBroker::start(move || {
        if is_newer.load(Ordering::SeqCst) {
            Broker::new("slow").service(offering(), Newer)
        } else {
            old()
        }
    })
    .await;
    assert_eq!(broker.provision("old", "small", json!({})).await.status, 201);
    newer.store(true, Ordering::SeqCst);
    broker.restart().await;
    assert_eq!(
        broker.bind("old", "b", json!({})).await.body["credentials"],
        json!({"state": "made"})
    );
    assert_eq!(broker.provision("new", "small", json!({})).await.status, 201);
    newer.store(false, Ordering::SeqCst);
    broker.restart().await;
    let bound = broker.bind("new", "c", json!({})).await;
    assert!(bound.status >= 500, "{bound:?}");
}
