//! Kinds of the author's own, and controllers that look after them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use osb_api::catalog::{Offering, Plan};
use osb_engine::{
    Binding, Broker, Column, Controller, Custom, CustomKind, Error, HomeError, Next, NoParameters, Operation,
    Reconcile, ResourceError, Resources, Result, Scope, Service, StartError, Watched,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::author::{AUTO, SERVICE, eventually};
use crate::homes::{Process, TestHome};
use crate::on_each_home;
use crate::platform::Platform;

/// How often something is to be backed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BackupPlan {
    database: String,
    #[schemars(range(min = 1, max = 100))]
    copies: u32,
    target: Target,
    note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Target {
    Bucket { name: String },
    Folder { path: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BackupStatus {
    made: u32,
}

impl CustomKind for BackupPlan {
    const KIND: &'static str = "BackupPlan";
    const PLURAL: &'static str = "backupplans";
    const SHORT_NAMES: &'static [&'static str] = &["bp"];
    type Status = BackupStatus;

    fn columns() -> Vec<Column> {
        vec![
            Column::text("Database", ".spec.database"),
            Column::integer("Made", ".status.made"),
        ]
    }
}

/// One backup; made by the controller.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Backup {
    number: u32,
}

impl CustomKind for Backup {
    const KIND: &'static str = "Backup";
    const PLURAL: &'static str = "backups";
    type Status = osb_engine::NoStatus;
}

/// What all platforms share.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Bucket {
    region: String,
}

impl CustomKind for Bucket {
    const KIND: &'static str = "Bucket";
    const PLURAL: &'static str = "buckets";
    const SCOPE: Scope = Scope::Cluster;
    type Status = osb_engine::NoStatus;
}

/// A later version of the plan: one field more, which is not required.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LaterPlan {
    database: String,
    copies: u32,
    target: Target,
    note: Option<String>,
    zone: Option<String>,
}

impl CustomKind for LaterPlan {
    const KIND: &'static str = "BackupPlan";
    const PLURAL: &'static str = "backupplans";
    const SHORT_NAMES: &'static [&'static str] = &["bp"];
    type Status = BackupStatus;
}

/// A version that old objects do not fit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct OtherPlan {
    database: u32,
}

impl CustomKind for OtherPlan {
    const KIND: &'static str = "BackupPlan";
    const PLURAL: &'static str = "backupplans";
    type Status = osb_engine::NoStatus;
}

/// What the controller was called for.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn add(&self, what: &str, object: &Custom<BackupPlan>) {
        let line = format!("{what} {}", object.name());
        self.0.lock().expect("no test panics here").push(line);
    }

    fn count(&self, line: &str) -> usize {
        let lines = self.0.lock().expect("no test panics here");
        lines.iter().filter(|found| *found == line).count()
    }
}

struct Backups {
    calls: Calls,
}

impl Controller for Backups {
    type Kind = BackupPlan;
    const FINALIZES: bool = true;

    async fn reconcile(&self, call: &Reconcile, plan: Custom<BackupPlan>) -> Result<Next> {
        self.calls.add("reconcile", &plan);
        match plan.spec.database.as_str() {
            "flaky" if call.attempt() < 3 => return Err(std::io::Error::other("the line is busy").into()),
            "panics" if call.attempt() < 2 => panic!("this was asked for"),
            "hopeless" => return Err(Error::failed("This was asked for.")),
            _ => {}
        }
        assert!(call.platform().is_some());
        let backups = call.resources::<Backup>()?;
        for number in 0..plan.spec.copies {
            let name = format!("{}-{number}", plan.name());
            backups
                .ensure(&Custom::new(name, Backup { number }).label("plan", plan.name()))
                .await?;
        }
        let status = BackupStatus { made: plan.spec.copies };
        call.resources::<BackupPlan>()?.update_status(&plan, &status).await?;
        Ok(Next::WhenChanged)
    }

    async fn finalize(&self, call: &Reconcile, plan: Custom<BackupPlan>) -> Result<()> {
        self.calls.add("finalize", &plan);
        let backups = call.resources::<Backup>()?;
        for backup in backups.list_labelled(&format!("plan={}", plan.name())).await? {
            backups.delete(backup.name()).await?;
        }
        Ok(())
    }
}

/// Each instance has a plan.
struct Databases;

impl Service for Databases {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = ();
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<()> {
        let plans = op.resources::<BackupPlan>()?;
        plans
            .ensure(&plan(op.instance().as_str(), op.instance().as_str(), 2))
            .await?;
        Ok(())
    }

    async fn deprovision(&self, op: &Operation, _: Option<()>) -> Result<()> {
        Ok(op.resources::<BackupPlan>()?.delete(op.instance().as_str()).await?)
    }

    async fn bind(&self, op: &Operation, (): &(), _: NoParameters) -> Result<Binding<NoParameters>> {
        assert!(matches!(
            op.resources::<Unknown>(),
            Err(ResourceError::NotDeclared("Unknown"))
        ));
        Ok(Binding::new(NoParameters {}))
    }

    async fn unbind(&self, _: &Operation, (): &(), _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }
}

/// Declared by no broker.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Unknown {}

impl CustomKind for Unknown {
    const KIND: &'static str = "Unknown";
    const PLURAL: &'static str = "unknowns";
    type Status = osb_engine::NoStatus;
}

fn plan(name: &str, database: &str, copies: u32) -> Custom<BackupPlan> {
    let target = Target::Bucket { name: "b".to_owned() };
    let spec = BackupPlan {
        database: database.to_owned(),
        copies,
        target,
        note: None,
    };
    Custom::new(name, spec)
}

fn plain() -> Broker {
    let offering = Offering::new(SERVICE, "databases", "Databases").bindable(true);
    Broker::new("kinds").service(offering.plan(Plan::new(AUTO, "auto", "One")), Databases)
}

fn broker(calls: &Calls) -> Broker {
    let calls = calls.clone();
    plain().kind::<Backup>().kind::<Bucket>().controller(Backups { calls })
}

async fn install(home: &TestHome, broker: &Broker) -> std::result::Result<(), StartError> {
    home.access(Default::default()).install_for(broker).await
}

async fn start(home: &TestHome, calls: &Calls) -> Process {
    install(home, &broker(calls)).await.expect("installed");
    home.start(broker(calls), |config| config).await
}

fn resources<K: CustomKind>(process: &Process, platform: &str) -> Resources<K> {
    let platform = osb_server::Platform(platform.into());
    process.engine.resources(&platform).expect("a kind")
}

/// Polls until an object has been looked after.
async fn made(plans: &Resources<BackupPlan>, name: &str, copies: u32) {
    for _ in 0..3_000 {
        let plan = plans.get(name).await.expect("an answer");
        if plan
            .and_then(|plan| plan.status)
            .is_some_and(|status| status.made == copies)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never made: {name}");
}

async fn gone(home: &TestHome, plural: &str, name: &str) {
    for _ in 0..3_000 {
        let all = home.all(plural, &home.namespace("one")).await;
        if !all.iter().any(|object| {
            object["metadata"]["name"]
                .as_str()
                .is_some_and(|found| found.starts_with(name))
        }) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{plural} of {name} stay");
}

on_each_home! {
    /// An author's function makes an object, his controller looks after it, and both go with the instance.
    async fn a_controller_looks_after_what_a_service_makes(home: TestHome) {
        let home = home.with_own_group();
        let calls = Calls::default();
        let process = start(&home, &calls).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({})).await.expect("bound");
        let plans = resources::<BackupPlan>(&process, "one");
        made(&plans, "a", 2).await;
        let backups = resources::<Backup>(&process, "one");
        assert_eq!(backups.list().await.expect("a list").len(), 2);
        assert_eq!(resources::<BackupPlan>(&process, "two").list().await.expect("a list").len(), 0);
        let table = home.table("backupplans", &home.namespace("one")).await;
        assert_eq!((table[0].join(" "), table[1][..3].join(" ")), ("Name Database Made Age".to_owned(), "a a 2".to_owned()));
        let resource = format!("backupplans.{}", home.group);
        if let Some(shown) = home.kubectl(&["get", &resource, "-n", &home.namespace("one")]).await {
            assert!(shown.starts_with("NAME") && shown.contains("DATABASE"), "{shown}");
        }
        // It is called for what others change, and not for what it left as it was.
        home.merge("backupplans", &home.namespace("one"), "a", &json!({"spec": {"copies": 3}})).await;
        made(&plans, "a", 3).await;
        platform.deprovision("a").await.expect("deprovisioned");
        gone(&home, "backupplans", "a").await;
        gone(&home, "backups", "a").await;
        assert_eq!(calls.count("finalize a"), 1);
        process.engine.stop().await;
    }

    /// Errors and panics are tried again, a final error waits for a change; a new process looks at everything, also
    /// at what was deleted while nobody ran.
    async fn a_controller_tries_again_and_survives_a_restart(home: TestHome) {
        let home = home.with_own_group();
        let calls = Calls::default();
        let first = start(&home, &calls).await;
        let plans = resources::<BackupPlan>(&first, "one");
        for name in ["flaky", "panics", "hopeless", "fine"] {
            plans.create(&plan(name, name, 1)).await.expect("created");
        }
        for name in ["flaky", "panics", "fine"] {
            made(&plans, name, 1).await;
        }
        eventually("the hopeless one was tried", || calls.count("reconcile hopeless") > 0).await;
        first.engine.stop().await;
        let tries = calls.count("reconcile hopeless");
        home.delete("backupplans", &home.namespace("one"), "fine").await;
        plans.create(&plan("late", "late", 2)).await.expect("created");

        let second = start(&home, &calls).await;
        let plans = resources::<BackupPlan>(&second, "one");
        made(&plans, "late", 2).await;
        gone(&home, "backupplans", "fine").await;
        gone(&home, "backups", "fine").await;
        eventually("a start looks at everything", || calls.count("reconcile hopeless") > tries).await;
        second.engine.stop().await;
    }

    /// Writes are fenced by what was read, checked against the schema, and change nothing that is not the author's.
    async fn objects_are_read_written_and_watched(home: TestHome) {
        let home = home.with_own_group();
        let plain = || plain().kind::<BackupPlan>().kind::<Bucket>();
        install(&home, &plain()).await.expect("installed");
        let process = home.start(plain(), |config| config).await;
        let plans = resources::<BackupPlan>(&process, "one");
        let mut watch = Box::pin(plans.watch());
        let created = plans.create(&plan("a", "x", 1).label("team", "red")).await.expect("created");
        let taken = plans.create(&plan("a", "x", 1)).await.map(drop);
        assert_eq!(taken, Err(ResourceError::Home(HomeError::AlreadyExists)));
        assert_eq!(plans.ensure(&plan("a", "other", 9)).await.map(|found| found.spec.database), Ok("x".to_owned()));
        let Some(Watched::Applied(seen)) = watch.next().await else { panic!("an object") };
        assert_eq!((seen.name(), seen.uid()), ("a", created.uid()));

        home.merge("backupplans", &home.namespace("one"), "a", &json!({"metadata": {"annotations": {"a": "1"}}})).await;
        let mut stale = created.clone();
        stale.spec.copies = 5;
        assert_eq!(plans.update(&stale).await.map(drop), Err(ResourceError::Home(HomeError::Conflict)));
        let mut fresh = plans.get("a").await.expect("an answer").expect("an object");
        fresh.spec.target = Target::Folder { path: "/b".to_owned() };
        fresh.spec.note = Some("soon".to_owned());
        let updated = plans.update(&fresh).await.expect("updated");
        assert_eq!(updated.spec, fresh.spec);
        let raw = &home.all("backupplans", &home.namespace("one")).await[0];
        assert_eq!(raw["spec"]["target"], json!({"kind": "folder", "path": "/b"}));
        assert_eq!((&raw["metadata"]["annotations"]["a"], &raw["metadata"]["labels"]["team"]), (&json!("1"), &json!("red")));

        let updated = plans.update_status(&updated, &BackupStatus { made: 4 }).await.expect("told");
        let again = plans.update_status(&updated, &BackupStatus { made: 4 }).await.expect("nothing new");
        assert_eq!((again.status, again.spec), (Some(BackupStatus { made: 4 }), updated.spec.clone()));
        let mut wrong = updated.clone();
        wrong.spec.copies = 777;
        let refused = plans.update(&wrong).await.map(drop);
        assert!(matches!(&refused, Err(ResourceError::Invalid(text)) if text.contains("copies") && !text.contains("777")));
        let patched = home.try_merge("backupplans", &home.namespace("one"), "a", &json!({"spec": {"copies": 777}})).await;
        assert_eq!(patched, Some(422), "the home knows the schema");
        for name in ["../../serviceinstances/a", "a/b", "A", ""] {
            assert!(matches!(plans.get(name).await.map(drop), Err(ResourceError::Invalid(_))), "{name}");
        }

        let buckets = resources::<Bucket>(&process, "two");
        let name = format!("bucket-{}", home.name);
        let bucket = Bucket { region: "north".to_owned() };
        buckets.create(&Custom::new(name.clone(), bucket)).await.expect("created");
        let shared = resources::<Bucket>(&process, "one").get(&name).await.expect("an answer");
        assert_eq!(shared.map(|bucket| bucket.spec.region).as_deref(), Some("north"));
        plans.delete("a").await.expect("deleted");
        plans.delete("a").await.expect("it is gone");
        loop {
            match watch.next().await {
                Some(Watched::Gone(name)) => break assert_eq!(name, "a"),
                Some(Watched::Applied(seen)) => assert_eq!(seen.name(), "a"),
                None => panic!("a watch never ends"),
            }
        }
        process.engine.stop().await;
    }

    /// More is applied at the start, what old objects would not fit is refused, what is not declared is left alone.
    async fn kinds_grow_from_version_to_version(home: TestHome) {
        let home = home.with_own_group();
        let process = start(&home, &Calls::default()).await;
        let plans = resources::<BackupPlan>(&process, "one");
        plans.create(&plan("a", "x", 1)).await.expect("created");
        made(&plans, "a", 1).await;
        process.engine.stop().await;

        let later = || plain().kind::<LaterPlan>();
        install(&home, &later()).await.expect("more is no problem");
        let process = home.start(later(), |config| config).await;
        let plans = resources::<LaterPlan>(&process, "one");
        let mut found = plans.get("a").await.expect("an answer").expect("an object");
        assert_eq!((found.spec.zone.clone(), found.status.clone()), (None, Some(BackupStatus { made: 1 })));
        found.spec.zone = Some("z".to_owned());
        let mut written = plans.update(&found).await;
        // A real server learns of a changed definition a moment after it has taken it.
        for _ in 0..500 {
            if written.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            written = plans.update(&found).await;
        }
        assert_eq!(written.map(|plan| plan.spec.zone), Ok(Some("z".to_owned())));
        let raw: Vec<Value> = home.all("backups", &home.namespace("one")).await;
        assert_eq!(raw.len(), 1, "its kind is not declared any more, and is left alone");
        process.engine.stop().await;

        let other = install(&home, &plain().kind::<OtherPlan>()).await;
        let Err(StartError::NotAdditive(text)) = other else { panic!("{other:?}") };
        assert!(text.contains("backupplans") && text.contains("spec.database"), "{text}");
    }
}
