//! A broker with fields and kinds of its own: databases that are backed up.
//!
//! `cargo run -p resources`, and in a second shell:
//!
//! ```text
//! $ osb provision my-db -p '{"sizeGib": 5, "backupEveryHours": 6}'
//! $ kubectl --kubeconfig ~/.local/share/osb/kubeconfig get serviceinstances,backupplans,backups
//! NAME                                      PLAN      READY   REASON        OPERATION   HOST                  GIB   AGE
//! serviceinstance.dbs.osb.internal/my-db    1f0c33…   True    Provisioned               db.example.com:5432   5     3s
//!
//! NAME                                      EVERY   LAST   AGE
//! backupplan.dbs.osb.internal/plan-fgx4…    6       2s     2s
//!
//! NAME                                      TAKEN   AGE
//! backup.dbs.osb.internal/plan-fgx4…-1      2s      2s
//! $ kubectl … patch backupplan plan-fgx4… --type merge -p '{"spec": {"everyHours": 1}}'
//! ```
//!
//! Where a real broker would talk to its backend a comment says so.
#![cfg_attr(rustfmt, rustfmt::skip)] // Laid out by hand.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use osb_sdk::{
    Binding, Broker, Column, Controller, Custom, CustomKind, Fields, Next, NoParameters, NoStatus, Offering, Operation,
    Plan, Reconcile, Result, Service,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What everybody may know of a database: `ext` of its `ServiceInstance`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Where it listens.
    pub host: String,
    /// The version of the server.
    pub version: String,
    /// Its size.
    pub size_gib: u32,
}

impl Fields for Shown {
    fn columns() -> Vec<Column> {
        let version = Column::text("Version", ".version").wide();
        vec![Column::text("Host", ".host"), Column::integer("GiB", ".sizeGib"), version]
    }
}

/// How often a database is backed up. Users may change it, or make more of them.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupPlan {
    /// The database.
    pub database: String,
    /// The hours between two backups.
    #[schemars(range(min = 1))]
    pub every_hours: u32,
    /// So many backups are kept.
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

/// What has been done for a plan.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct BackupPlanStatus {
    /// How many backups were made.
    pub made: u32,
    /// When the last one was made, RFC 3339.
    pub last: String,
}

impl CustomKind for BackupPlan {
    const KIND: &'static str = "BackupPlan";
    const PLURAL: &'static str = "backupplans";
    const SHORT_NAMES: &'static [&'static str] = &["bp"];
    type Status = BackupPlanStatus;

    fn columns() -> Vec<Column> {
        vec![Column::integer("Every", ".spec.everyHours"), Column::date("Last", ".status.last")]
    }
}

/// A backup that was made.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// When, RFC 3339.
    pub taken: String,
}

impl CustomKind for Backup {
    const KIND: &'static str = "Backup";
    const PLURAL: &'static str = "backups";
    type Status = NoStatus;

    fn columns() -> Vec<Column> { vec![Column::date("Taken", ".spec.taken")] }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NewDatabase {
    #[schemars(range(min = 1, max = 1000))]
    size_gib: u32,
    #[schemars(range(min = 1))]
    backup_every_hours: u32,
}

#[derive(Serialize, Deserialize)]
struct Login { host: String, user: String }

struct Databases;

impl Service for Databases {
    type Parameters = NewDatabase;
    type BindParameters = NoParameters;
    type State = String;
    type Credentials = Login;

    async fn provision(&self, op: &Operation, new: NewDatabase) -> Result<String> {
        let database = op.stable_name("db");
        // Make the database if it is not there.
        let (host, version) = ("db.example.com:5432".to_owned(), "17.2".to_owned());
        op.set_fields(&Shown { host, version, size_gib: new.size_gib })?;
        let plan = BackupPlan { database: database.clone(), every_hours: new.backup_every_hours, keep: 3 };
        op.resources()?.ensure(&Custom::new(op.object_name("plan"), plan)).await?;
        Ok(database)
    }

    // Remove the database. The controller removes its backups.
    async fn deprovision(&self, op: &Operation, _: Option<String>) -> Result<()> {
        Ok(op.resources::<BackupPlan>()?.delete(&op.object_name("plan")).await?)
    }

    // Make a user for the application.
    async fn bind(&self, op: &Operation, _: &String, _: NoParameters) -> Result<Binding<Login>> {
        let host = op.fields::<Shown>().map(|shown| shown.host).unwrap_or_default();
        Ok(Binding::new(Login { host, user: op.stable_name("user") }))
    }

    // Remove the user.
    async fn unbind(&self, _: &Operation, _: &String, _: Option<Login>) -> Result<()> { Ok(()) }
}

struct Backups;

impl Controller for Backups {
    type Kind = BackupPlan;
    const FINALIZES: bool = true;

    async fn reconcile(&self, call: &Reconcile, plan: Custom<BackupPlan>) -> Result<Next> {
        let now = Timestamp::try_from(call.now())?;
        let interval = SignedDuration::from_hours(plan.spec.every_hours.into());
        let mut status = plan.status.clone().unwrap_or_default();
        if let Ok(last) = status.last.parse::<Timestamp>() {
            let left = last.checked_add(interval)?.duration_since(now);
            if left.is_positive() { return Ok(Next::After(Duration::try_from(left)?)) }
        }
        status.made += 1;
        status.last = now.to_string();
        let name = |number: u32| format!("{}-{number}", plan.name());
        // Make the backup number `status.made` of `plan.spec.database`, if it is not there.
        let backup = Custom::new(name(status.made), Backup { taken: status.last.clone() }).label("plan", plan.name());
        let backups = call.resources::<Backup>()?;
        backups.ensure(&backup).await?;
        // Remove what is too old.
        let kept: Vec<String> = (0..plan.spec.keep).map(|age| name(status.made.saturating_sub(age))).collect();
        for backup in backups.list_labelled(&format!("plan={}", plan.name())).await? {
            if !kept.iter().any(|name| name == backup.name()) { backups.delete(backup.name()).await? }
        }
        call.resources()?.update_status(&plan, &status).await?;
        Ok(Next::WhenChanged)
    }

    async fn finalize(&self, call: &Reconcile, plan: Custom<BackupPlan>) -> Result<()> {
        let backups = call.resources::<Backup>()?;
        for backup in backups.list_labelled(&format!("plan={}", plan.name())).await? {
            backups.delete(backup.name()).await?;
        }
        Ok(())
    }
}

/// The broker.
pub fn broker() -> Broker {
    const OFFERING: &str = "6f1d3bb0-2f61-4d0c-8a5b-3f4f6d1f7b21";
    let plan = Plan::new("1f0c33ae-6a0e-4c53-9d6a-0d5c4b8e9a12", "small", "One database");
    let offering = Offering::new(OFFERING, "database", "Databases that are backed up").bindable(true).plan(plan);
    Broker::new("dbs").service(offering, Databases).fields::<Shown>(OFFERING).kind::<Backup>().controller(Backups)
}
