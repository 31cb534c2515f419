//! What is measured, in which order, and what the project asks for.

mod catalog;
mod many;
mod reads;
mod start;
mod writes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::drive::{CONNECTIONS, Client, Measured, drive};
use crate::report::{Bar, Report, thousands, time};
use crate::server::Server;
use crate::workload::{Parameters, Plan, catalog};
use crate::{probe, process};

/// The groups of scenarios.
pub(crate) const GROUPS: &[&str] = &[
    "provision",
    "update",
    "bind",
    "read",
    "catalog",
    "start",
    "many",
    "peer",
];

/// Plans of the reference broker.
const ASYNC_PLAN: &str = "async";
const AUTO_PLAN: &str = "fast";
/// Another one that answers at once: to change to.
const OTHER_PLAN: &str = "paid";
const ROTATING_PLAN: &str = "rotating";
const ASYNC_BINDINGS_PLAN: &str = "async-bindings";

/// Ids of the peer's only plan.
const PEER: (&str, &str) = (
    "6a1c1d0e-0000-4000-8000-000000000001",
    "6a1c1d0e-0000-4000-8000-000000000002",
);

/// Instances in the folder of the scenarios with an existing one.
const FEW: u64 = 1_000;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    runs: usize,
    /// Operations of one run that write.
    writes: u64,
    /// Operations of one run that read.
    reads: u64,
    /// The longest time of one run.
    time: Duration,
    starts: usize,
    /// Finished instances of the scenario with many.
    many: u64,
    /// Finished instances of the run with very many.
    million: u64,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        runs: 3,
        writes: 20_000,
        reads: 50_000,
        time: Duration::from_secs(10),
        starts: 5,
        many: 100_000,
        million: 1_000_000,
    };
    pub(crate) const QUICK: Self = Self {
        runs: 1,
        writes: 5_000,
        reads: 10_000,
        time: Duration::from_secs(5),
        starts: 3,
        many: 10_000,
        million: 20_000,
    };
}

/// A run of the bench.
pub(crate) struct Bench {
    pub(crate) program: Result<PathBuf>,
    /// Sources of the peer.
    pub(crate) peer: PathBuf,
    pub(crate) cache: PathBuf,
    /// Data folders are made in here: on the disk of the checkout, since /tmp may be memory.
    pub(crate) work: PathBuf,
    pub(crate) size: Size,
    pub(crate) only: Vec<String>,
}

/// A started reference broker and what it offers.
struct Broker {
    server: Server,
    catalog: Value,
}

impl Bench {
    /// All groups, or those that were asked for.
    pub(crate) fn run(self) -> Result<Report> {
        let mut report = self.begin()?;
        let wants = |group: &str| self.only.is_empty() || self.only.iter().any(|only| only == group);
        let peer = if wants("peer") { self.peer(&mut report)? } else { None };
        if !GROUPS.iter().any(|group| *group != "peer" && wants(group)) {
            return Ok(report);
        }
        let program = self.program()?;
        if wants("provision") {
            self.provision(program, peer.as_ref(), &mut report)?;
        }
        if wants("update") {
            self.update(program, &mut report)?;
        }
        if wants("bind") {
            self.bind(program, &mut report)?;
        }
        if wants("read") {
            self.read(program, &mut report)?;
        }
        if wants("catalog") {
            self.catalogs(program, &mut report)?;
        }
        if wants("start") {
            self.start(program, &mut report)?;
        }
        if wants("many") {
            self.many(program, &mut report)?;
        }
        Ok(report)
    }

    /// The run with very many finished instances.
    pub(crate) fn run_million(self) -> Result<Report> {
        let mut report = self.begin()?;
        self.million(self.program()?, &mut report)?;
        Ok(report)
    }

    fn begin(&self) -> Result<Report> {
        std::fs::create_dir_all(&self.work)?;
        let mut report = Report::default();
        let (p50, p99) = probe::fdatasync(&self.work)?;
        report.fact(
            "fdatasync of 4 KiB in the same folder, p50 / p99",
            format!("{} / {}", time(p50), time(p99)),
            None,
        );
        Ok(report)
    }

    fn program(&self) -> Result<&Path> {
        let program = self.program.as_ref();
        program
            .map(PathBuf::as_path)
            .map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn folder(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(&self.work)
            .context("cannot make a data folder")
    }

    fn write<F>(&self, broker: &Broker, first: u64, operation: F) -> Result<Measured>
    where
        F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
    {
        let Size { writes, time, .. } = self.size;
        broker.drive(first, writes, time, operation)
    }

    fn reads<F>(&self, broker: &Broker, operation: F) -> Result<Measured>
    where
        F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
    {
        let Size { reads, time, .. } = self.size;
        broker.drive(0, reads, time, operation)
    }
}

impl Broker {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        Self::of(Server::reference(program, folder)?)
    }

    fn of(server: Server) -> Result<Self> {
        let (body, _) = served(&server)?;
        Ok(Self {
            catalog: serde_json::from_slice(&body)?,
            server,
        })
    }

    fn plan(&self, name: &str) -> Result<Plan> {
        Plan::named(&self.catalog, name, &json!({"label": "measured", "seconds": 0}))
    }

    fn drive<F>(&self, first: u64, count: u64, time: Duration, operation: F) -> Result<Measured>
    where
        F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
    {
        drive(&self.server.target, self.server.pid(), first, count, time, operation)
    }

    /// Makes complete instances of a plan and waits until nothing is done any more.
    fn fill(&self, plan: &Plan, first: u64, count: u64) -> Result<Measured> {
        let filled = self.drive(first, count, Duration::from_secs(3600), async |client, number| {
            plan.carry_out(client, number, Parameters::Without).await
        })?;
        self.server.settle()?;
        Ok(filled)
    }

    fn cpu(&self) -> Result<Duration> {
        process::cpu(self.server.pid())
    }
}

/// The catalog of a server, and its tag.
fn served(server: &Server) -> Result<(Vec<u8>, Option<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { catalog(&mut Client::connect(&server.target, 0).await?).await })
}

/// One of the first [`FEW`] instances that no other connection uses.
fn own(client: &Client<'_>, number: u64) -> u64 {
    let connections = CONNECTIONS as u64;
    client.number as u64 + connections * (number % (FEW / connections))
}

/// So many operations a second. The generator takes a part of the same processors, so the bar is the time that all of
/// them have for one operation at that rate.
fn rate(per_second: u32, figures: &Measured) -> Bar {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let allowed = Duration::from_secs(1) * u32::try_from(processors).unwrap_or(u32::MAX) / per_second;
    let text = format!("≤ {} of CPU, for {}/s", time(allowed), thousands(f64::from(per_second)));
    (text, figures.server_cpu <= allowed)
}
