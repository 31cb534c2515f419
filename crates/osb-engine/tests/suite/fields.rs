//! The author's fields of an instance: told by his functions, shown by the home, changed from version to version.

use std::time::Duration;

use osb_api::answer::{Bound, Provisioned};
use osb_api::catalog::{Offering, Plan};
use osb_engine::{
    Binding, Broker, Change, Column, Engine, Error, Fields, NoParameters, Operation, Result, Service, StartError,
    Updatable,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::author::{AUTO, Journal, SERVICE, eventually};
use crate::faults::Side;
use crate::homes::{Process, TestHome};
use crate::on_each_home;
use crate::platform::{Platform, instance_id};

const CACHES: &str = "caches";
const CANARY: &str = "canary-5d1e";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// Where it listens.
    host: String,
    #[schemars(range(max = 100))]
    size_gib: u32,
    replicas: Option<Vec<String>>,
    /// What the user has agreed on with whom runs it.
    note: Option<String>,
}

impl Fields for Shown {
    fn columns() -> Vec<Column> {
        vec![Column::text("Host", ".host"), Column::integer("GiB", ".sizeGib")]
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShownOfCache {
    host: String,
    nodes: u32,
}

impl Fields for ShownOfCache {
    fn columns() -> Vec<Column> {
        vec![Column::text("Host", ".host"), Column::integer("Nodes", ".nodes").wide()]
    }
}

/// The fields of a later version: one more.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShownLater {
    host: String,
    size_gib: u32,
    version: Option<String>,
}

impl Fields for ShownLater {
    fn columns() -> Vec<Column> {
        vec![Column::text("Host", ".host"), Column::text("Version", ".version")]
    }
}

/// The size has become a text.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShownOtherwise {
    size_gib: String,
}

impl Fields for ShownOtherwise {}

#[derive(Clone, Deserialize, JsonSchema)]
struct Wish {
    #[serde(default)]
    size: u32,
    #[serde(default)]
    replicas: Option<Vec<String>>,
    #[serde(default)]
    fail: bool,
    #[serde(default)]
    block: bool,
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct State {
    secret: Option<String>,
}

struct Databases {
    journal: Journal,
}

impl Databases {
    async fn tell(&self, op: &Operation, wish: &Wish) -> Result<()> {
        let before = op.fields::<Shown>();
        op.set_fields(&Shown {
            host: format!("{}.example.com", op.instance()),
            size_gib: wish.size,
            replicas: wish.replicas.clone(),
            note: before.and_then(|before| before.note),
        })?;
        assert_eq!(op.fields::<Shown>().map(|shown| shown.size_gib), Some(wish.size));
        if wish.block {
            op.progress("It has a host.");
            let gate = self.journal.gate(op.instance().as_str());
            let _permit = gate.acquire().await?;
        }
        if wish.fail {
            Err(Error::failed("This was asked for."))
        } else {
            Ok(())
        }
    }
}

impl Service for Databases {
    type Parameters = Wish;
    type BindParameters = NoParameters;
    type State = State;
    type Credentials = Shown;

    async fn provision(&self, op: &Operation, wish: Wish) -> Result<State> {
        self.tell(op, &wish).await?;
        Ok(State { secret: wish.secret })
    }

    async fn deprovision(&self, _: &Operation, _: Option<State>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, op: &Operation, _: &State, _: NoParameters) -> Result<Binding<Shown>> {
        let shown = op.fields::<Shown>().ok_or_else(|| Error::failed("no fields"))?;
        assert!(op.set_fields(&shown).is_err(), "a bind writes no instance");
        Ok(Binding::new(shown))
    }

    async fn unbind(&self, _: &Operation, _: &State, _: Option<Shown>) -> Result<()> {
        Ok(())
    }
}

impl Updatable for Databases {
    type Update = Wish;

    async fn update(&self, op: &Operation, state: State, change: Change<Wish>) -> Result<State> {
        if let Some(wish) = change.parameters {
            self.tell(op, &wish).await?;
        }
        Ok(state)
    }
}

/// Tells one of several types of fields.
struct Telling<F>(F);

impl<F: Fields + Send + Sync> Service for Telling<F> {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = ();
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<()> {
        op.set_fields(&self.0)
    }

    async fn deprovision(&self, _: &Operation, _: Option<()>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, _: &Operation, (): &(), _: NoParameters) -> Result<Binding<NoParameters>> {
        Ok(Binding::new(NoParameters {}))
    }

    async fn unbind(&self, _: &Operation, (): &(), _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }
}

fn databases() -> Offering {
    let offering = Offering::new(SERVICE, "databases", "Databases").bindable(true);
    offering.plan_updateable(true).plan(Plan::new(AUTO, "auto", "One"))
}

fn caches() -> Offering {
    Offering::new(CACHES, "caches", "Caches").plan(Plan::new("cache", "cache", "One"))
}

fn broker(journal: &Journal) -> Broker {
    let cache = ShownOfCache {
        host: "c".to_owned(),
        nodes: 3,
    };
    let journal = journal.clone();
    Broker::new("fields")
        .updatable(databases(), Databases { journal })
        .fields::<Shown>(SERVICE)
        .service(caches(), Telling(cache))
        .fields::<ShownOfCache>(CACHES)
}

fn telling<F: Fields + Send + Sync>(fields: F) -> Broker {
    Broker::new("fields")
        .service(databases().plan_updateable(false), Telling(fields))
        .fields::<F>(SERVICE)
}

async fn install(home: &TestHome, broker: &Broker) -> std::result::Result<(), StartError> {
    home.access(Default::default()).install_for(broker).await
}

async fn start(home: &TestHome, journal: &Journal) -> Process {
    install(home, &broker(journal)).await.expect("installed");
    home.start(broker(journal), |config| config).await
}

async fn ext(home: &TestHome, name: &str) -> Value {
    let all = home.all("serviceinstances", &home.namespace("one")).await;
    let found = all.into_iter().find(|object| object["metadata"]["name"] == name);
    found.map(|object| object["ext"].clone()).unwrap_or_default()
}

async fn fields(engine: &Engine, name: &str) -> Option<Shown> {
    let platform = osb_server::Platform("one".into());
    engine.fields(&platform, &instance_id(name)).await.expect("an answer")
}

on_each_home! {
    /// Told values are stored with the outcome: a provision has its two writes. They are in columns, are read by the
    /// author's other functions, and go as a whole when they are told again.
    async fn fields_come_with_the_outcome_and_are_shown_in_columns(home: TestHome) {
        let home = home.with_own_group();
        let process = start(&home, &Journal::default()).await;
        let platform = Platform::new(&process.engine);
        process.faults.take_writes();
        let wish = json!({"size": 5, "replicas": ["x", "y"], "secret": CANARY});
        platform.provision("a", wish).await.expect("provisioned");
        process.engine.idle().await;
        let writes = process.faults.take_writes();
        assert_eq!(writes.len(), 2, "{writes:?}");
        let told = json!({"host": "a.example.com", "sizeGib": 5, "replicas": ["x", "y"]});
        assert_eq!(ext(&home, "a").await, told);
        let table = home.table("serviceinstances", &home.namespace("one")).await;
        assert_eq!(table[0], ["Name", "Plan", "Ready", "Reason", "Operation", "Host", "GiB", "Nodes", "Age", "Progress"]);
        assert_eq!(table[1][..7], ["a", "auto", "True", "Provisioned", "", "a.example.com", "5"]);
        let resource = format!("serviceinstances.{}", home.group);
        if let Some(shown) = home.kubectl(&["get", &resource, "-n", &home.namespace("one")]).await {
            let line = shown.lines().find(|line| line.contains("a.example.com")).unwrap_or_default();
            let cells: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(cells[1..6], ["auto", "True", "Provisioned", "a.example.com", "5"], "{shown}");
        }
        let bound = platform.bind("a", "b", json!({})).await;
        let Ok(Bound::Created(body)) = bound else { panic!("{bound:?}") };
        assert_eq!(body.credentials.expect("credentials")["host"], "a.example.com");

        platform.update("a", json!({"parameters": {"size": 7}})).await.expect("updated");
        let told = json!({"host": "a.example.com", "sizeGib": 7});
        assert_eq!(ext(&home, "a").await, told);
        assert_eq!(fields(&process.engine, "a").await.map(|shown| shown.size_gib), Some(7));
        assert!(!home.all("serviceinstances", &home.namespace("one")).await[0].to_string().contains(CANARY));

        let request = serde_json::from_value(json!({
            "service_id": CACHES, "plan_id": "cache", "organization_guid": "o", "space_guid": "s",
        }));
        let made = platform.send_provision("c", request.expect("a request")).await;
        assert!(matches!(made, Ok(Provisioned::Created(_))), "{made:?}");
        assert_eq!(ext(&home, "c").await, json!({"host": "c", "nodes": 3}));
        platform.unbind("a", "b").await.expect("unbound");
        platform.deprovision("a").await.expect("deprovisioned");
        process.engine.idle().await;
        assert_eq!(home.all("tombstones", &home.namespace("one")).await.len(), 2);
        process.engine.stop().await;
    }

    /// With a progress text they are there while the operation runs; a user may change them meanwhile, and what is
    /// told next has the last word. An error tells nothing more.
    async fn fields_belong_to_the_author_and_outlive_a_crash(home: TestHome) {
        let home = home.with_own_group();
        let journal = Journal::default();
        let process = start(&home, &journal).await;
        let platform = Platform::new(&process.engine);
        let blocked = platform.clone();
        let running = tokio::spawn(async move { blocked.provision("a", json!({"size": 1, "block": true})).await });
        for _ in 0..500 {
            if !ext(&home, "a").await.is_null() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ext(&home, "a").await["sizeGib"], 1);
        journal.release("a");
        running.await.expect("no panic").expect("provisioned");
        // A user's note stays, since the author's code tells it again; his replicas go.
        let edit = json!({"ext": {"note": "ask Ada", "replicas": ["mine"], "sizeGib": 9}});
        home.merge("serviceinstances", &home.namespace("one"), "a", &edit).await;
        assert_eq!(fields(&process.engine, "a").await.map(|shown| shown.size_gib), Some(9));
        platform.update("a", json!({"parameters": {"size": 2}})).await.expect("updated");
        let told = json!({"host": "a.example.com", "sizeGib": 2, "note": "ask Ada"});
        assert_eq!(ext(&home, "a").await, told);
        let failed = platform.update("a", json!({"parameters": {"size": 3, "fail": true}})).await;
        assert!(failed.is_err());
        assert_eq!(ext(&home, "a").await, told);
        // Wrong fields: a final failure whose text quotes nothing, and the instance is what it was.
        let wrong = platform.update("a", json!({"parameters": {"size": 777}})).await;
        let text = format!("{wrong:?}");
        assert!(wrong.is_err() && !text.contains("777"), "{text}");
        assert_eq!(ext(&home, "a").await, told);

        process.engine.stop().await;
        for (number, side) in [(2, Side::Before), (2, Side::After)] {
            let name = format!("crash-{number}-{side:?}").to_lowercase();
            let process = start(&home, &journal).await;
            process.faults.crash_at(number, side);
            let platform = Platform::new(&process.engine);
            tokio::select! {
                _ = platform.provision(&name, json!({"size": 4})) => {}
                () = eventually("the crash", || process.faults.has_crashed()) => {}
            }
            process.engine.stop().await;
            let second = start(&home, &journal).await;
            second.engine.idle().await;
            assert_eq!(fields(&second.engine, &name).await.map(|shown| shown.size_gib), Some(4), "{name}");
            second.engine.stop().await;
        }
    }

    /// A further field of a later version is known at its start, and what is stored keeps its own. A field that
    /// changes its type ends the start; a home that an operator keeps back does not hold up an outcome.
    async fn fields_grow_from_version_to_version(home: TestHome) {
        let home = home.with_own_group();
        let journal = Journal::default();
        let process = start(&home, &journal).await;
        Platform::new(&process.engine).provision("a", json!({"size": 5})).await.expect("provisioned");
        process.engine.stop().await;

        let later = || ShownLater { host: "h".to_owned(), size_gib: 1_000, version: Some("17".to_owned()) };
        let ahead = home.start(telling(later()), |config| config).await;
        let platform = Platform::new(&ahead.engine);
        platform.provision("early", json!({})).await.expect("provisioned without its fields");
        assert_eq!(ext(&home, "early").await, Value::Null);
        ahead.engine.stop().await;

        install(&home, &telling(later())).await.expect("more is no problem");
        let process = home.start(telling(later()), |config| config).await;
        let platform = Platform::new(&process.engine);
        platform.provision("b", json!({})).await.expect("provisioned");
        assert_eq!(ext(&home, "b").await, json!({"host": "h", "sizeGib": 1_000, "version": "17"}));
        let name = osb_server::Platform("one".into());
        let old = process.engine.fields::<ShownLater>(&name, &instance_id("a")).await.expect("an answer");
        assert_eq!(old, Some(ShownLater { host: "a.example.com".to_owned(), size_gib: 5, version: None }));
        platform.deprovision("b").await.expect("deprovisioned");
        process.engine.stop().await;

        let otherwise = install(&home, &telling(ShownOtherwise { size_gib: "5".to_owned() })).await;
        let Err(StartError::NotAdditive(text)) = otherwise else { panic!("{otherwise:?}") };
        assert!(text.contains("ext.sizeGib"), "{text}");
    }

    /// What the author's type says of its fields holds for everybody who writes them.
    async fn the_home_refuses_fields_of_other_types(home: TestHome) {
        let home = home.with_own_group();
        let process = start(&home, &Journal::default()).await;
        Platform::new(&process.engine).provision("a", json!({"size": 5})).await.expect("provisioned");
        for (wrong, why) in [(json!({"sizeGib": "large"}), "a text"), (json!({"host": 5}), "a number")] {
            let patched = home.try_merge("serviceinstances", &home.namespace("one"), "a", &json!({"ext": wrong})).await;
            assert_eq!(patched, Some(422), "{why}");
        }
        process.engine.stop().await;
    }
}

#[test]
fn fields_that_cannot_stand_beside_each_other_are_refused_at_the_start() {
    let two = Broker::new("fields")
        .updatable(
            databases(),
            Databases {
                journal: Journal::default(),
            },
        )
        .fields::<Shown>(SERVICE)
        .service(
            caches(),
            Telling(ShownOtherwise {
                size_gib: String::new(),
            }),
        )
        .fields::<ShownOtherwise>(CACHES);
    let text = two.definitions().expect_err("refused").to_string();
    assert!(text.contains("`sizeGib`"), "{text}");
}
