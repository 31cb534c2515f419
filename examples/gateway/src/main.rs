//! A broker of keys for an API gateway: an instance is a project, a binding is a key of it, and the gateway reads both from
//! a folder. A project has `project.json`; a key has a file with its SHA-256 and the second of its end.
//!
//! `cargo run -p gateway -- --data-dir /tmp/gateway-broker` keeps that folder in `gateway-keys`, or where `GATEWAY_KEYS`
//! says, and prints
//!
//! ```text
//! The broker `gateway` is ready.
//! ```
//!
//! It has rules of its own: projects belong to teams, and only a member of a team makes projects for it; `production` has
//! to be approved by a person (`touch gateway-keys/project_…/approved`) within a day, and only release managers remove it;
//! keys end, and are rotated before.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use osb_sdk::{
    Action, ActionVerb, Binding, Broker, Draft, DraftRequest, Error, Execution, InstanceMetadata, NoParameters, Object,
    Offering, Operation, Plan, Policy, Refused, Result, Service,
};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::fs;

const OFFERING: &str = "2b2a0c38-0f0e-4c6b-93a7-3f6c5a1d7e01";
const TRIAL: &str = "2b2a0c38-0f0e-4c6b-93a7-3f6c5a1d7e02";
const PRODUCTION: &str = "2b2a0c38-0f0e-4c6b-93a7-3f6c5a1d7e03";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the gateway reads.
struct Gateway(PathBuf);

/// What is asked for, and what is known of it later.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Project {
    /// The team that it belongs to.
    team: String,
    /// The most requests that the gateway lets through.
    #[schemars(range(min = 1))]
    requests_per_second: u32,
}

#[derive(Serialize, Deserialize)]
struct Key {
    key: String,
    /// In seconds since 1970.
    ends: u64,
}

impl Service for Gateway {
    type Parameters = Project;
    type BindParameters = NoParameters;
    type State = Project;
    type Credentials = Key;

    async fn provision(&self, op: &Operation, project: Project) -> Result<Project> {
        let folder = self.folder(op);
        fs::create_dir_all(&folder).await?;
        if op.plan().id == PRODUCTION && !fs::try_exists(folder.join("approved")).await? {
            let waits = "The project waits for somebody who approves it.";
            return Err(Error::retry(waits).after(Duration::from_secs(10 * 60)));
        }
        fs::write(folder.join("project.json"), serde_json::to_vec(&project)?).await?;
        Ok(project)
    }

    async fn deprovision(&self, op: &Operation, _: Option<Project>) -> Result<()> {
        gone(fs::remove_dir_all(self.folder(op)).await)
    }

    async fn bind(&self, op: &Operation, _: &Project, _: NoParameters) -> Result<Binding<Key>> {
        let time = if op.plan().id == PRODUCTION { 90 * DAY } else { 7 * DAY };
        // Chosen once, and stored: a call that is repeated gives the same key.
        let key = op.step("key", || async { Ok(Key::lasting(time)) }).await?;
        let line = format!("{} {}\n", sha256(&key.key), key.ends);
        fs::write(self.folder(op).join(op.stable_name("key")), line).await?;
        let end = UNIX_EPOCH + Duration::from_secs(key.ends);
        Ok(Binding::new(key).expires_at(end).renew_before(end - time / 4))
    }

    async fn unbind(&self, op: &Operation, _: &Project, _: Option<Key>) -> Result<()> {
        gone(fs::remove_file(self.folder(op).join(op.stable_name("key"))).await)
    }

    fn metadata(&self, _: &Operation, project: &Project) -> Option<InstanceMetadata> {
        let labels = Object::from_iter([("team".to_owned(), project.team.as_str().into())]);
        let attributes = Object::new();
        Some(InstanceMetadata { labels, attributes })
    }

    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        let project = op.stable_name("project");
        Some(format!("https://gateway.example.com/projects/{project}"))
    }
}

impl Gateway {
    fn folder(&self, op: &Operation) -> PathBuf {
        self.0.join(op.instance_name("project"))
    }
}

impl Key {
    fn lasting(time: Duration) -> Self {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + time;
        Self {
            key: uuid::Uuid::new_v4().simple().to_string(),
            ends: end.as_secs(),
        }
    }
}

fn sha256(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// That it is gone already is no error.
fn gone(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// A platform that cleans up comes without a user.
fn release_managers_remove(action: &Action<'_>) -> Result<(), Refused> {
    let Some(user) = &action.user else { return Ok(()) };
    let removes = action.verb == ActionVerb::Deprovision && action.plan.as_str() == PRODUCTION;
    if removes && !user.groups.iter().any(|group| group == "release-managers") {
        return Err(Refused::because("Only release managers remove from production."));
    }
    Ok(())
}

fn members_make_what_fits(draft: &Draft<'_>) -> Result<(), Refused> {
    let DraftRequest::Provision(_) = draft.request else {
        return Ok(());
    };
    let new: Project = draft.parameters()?;
    let is_production = draft.action.plan.as_str() == PRODUCTION;
    let most = if is_production { 1_000 } else { 10 };
    if new.requests_per_second > most {
        let text = format!("The plan has at most {most} requests per second.");
        return Err(Refused::because(text));
    }
    let groups = draft.action.user.as_ref().map(|user| &user.groups);
    if !groups.is_some_and(|groups| groups.contains(&new.team)) {
        return Err(Refused::because("You are not a member of that team."));
    }
    Ok(())
}

fn broker(folder: PathBuf) -> Broker {
    let offering = Offering::new(OFFERING, "gateway", "Keys for the API gateway")
        .bindable(true)
        .instances_retrievable(true)
        .plan(Plan::new(TRIAL, "trial", "At most 10 requests per second, keys for 7 days").binding_rotatable(true))
        .plan(Plan::new(PRODUCTION, "production", "1,000 requests per second, to be approved").binding_rotatable(true));
    let trial = Policy {
        parallelism: 4,
        ..Policy::default()
    };
    let production = Policy {
        provision: Execution::Async,
        deadline: DAY,
        requires_app: true,
        ..Policy::default()
    };
    Broker::new("gateway")
        .service(offering, Gateway(folder))
        .policy(TRIAL, trial)
        .policy(PRODUCTION, production)
        .authorize(release_managers_remove)
        .validate(members_make_what_fits)
}

fn main() -> ExitCode {
    let folder = std::env::var_os("GATEWAY_KEYS").unwrap_or_else(|| "gateway-keys".into());
    osb_sdk::run(broker(folder.into()))
}

#[cfg(test)]
mod tests;
