//! What an operation costs in the engine and the embedded API server, without HTTP and without a disk.
//!
//! `cargo run --release -p osb-engine --example provisions -- [OPERATIONS]` prints operations per second and CPU per
//! operation, for provisions that are accepted and carried out to their end.

use std::time::Instant;

use osb_api::answer::Provisioned;
use osb_api::catalog::{Offering, Plan};
use osb_api::id::InstanceId;
use osb_api::request::{Incomplete, ProvisionRequest};
use osb_api::version::ApiVersion;
use osb_engine::{Binding, Broker, Config, Engine, Home, Keys, NoParameters, Operation, Result, Service, Tenants};
use osb_server::{Broker as _, Caller, Platform};

struct Nothing;

impl Service for Nothing {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = String;
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<String> {
        Ok(op.stable_name("db"))
    }

    async fn deprovision(&self, _: &Operation, _: Option<String>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, _: &Operation, _: &String, _: NoParameters) -> Result<Binding<NoParameters>> {
        Ok(Binding::new(NoParameters {}))
    }

    async fn unbind(&self, _: &Operation, _: &String, _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }
}

const CLIENTS: usize = 64;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let operations: usize = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    let store = objectstore::memory::open(objectstore::memory::Options::default());
    let server = apiserver::ApiServer::open(store, apiserver::Options::default()).await?;
    let home = Home::in_process(
        server.service_as(apiserver::UserInfo::admin()).untracked(),
        "bench.osb.internal",
    );
    home.install().await?;
    home.ensure_namespace("osb-system").await?;
    let platform = Platform("default".into());
    let tenants = Tenants::new([(platform.clone(), "default".to_owned())]);
    let plan = Plan::new("plan", "plan", "The only plan");
    let offering = Offering::new("service", "service", "Does nothing")
        .bindable(true)
        .plan(plan);
    let broker = Broker::new("bench").service(offering, Nothing);
    let engine = Engine::start(
        broker,
        home,
        Keys::new([1; 32], []),
        Config {
            tenants,
            ..Config::default()
        },
    )
    .await?;

    let caller = Caller::new(platform, ApiVersion { major: 2, minor: 17 });
    let request: ProvisionRequest = serde_json::from_value(serde_json::json!({
        "service_id": "service", "plan_id": "plan", "organization_guid": "org", "space_guid": "space",
        "context": {"platform": "cloudfoundry", "organization_guid": "org", "space_guid": "space"},
    }))?;
    let (before, cpu_before) = (Instant::now(), cpu_seconds());
    let clients = (0..CLIENTS).map(|number| {
        let (engine, caller, request) = (engine.clone(), caller.clone(), request.clone());
        tokio::spawn(async move {
            for i in (number..operations).step_by(CLIENTS) {
                let id = InstanceId::new(format!("instance-{i}")).expect("a valid id");
                let answer = engine
                    .provision(caller.clone(), id, request.clone(), Incomplete::Refused)
                    .await;
                assert!(matches!(answer, Ok(Provisioned::Created(_))), "{answer:?}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await?;
    }
    let (seconds, cpu) = (before.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    println!(
        "provision to its end: {:.0}/s, {:.1} us CPU each",
        operations as f64 / seconds,
        cpu / operations as f64 * 1e6
    );
    engine.stop().await;
    Ok(())
}

/// User and system time of this process, from Linux's /proc at 100 ticks a second; 0 elsewhere.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}
