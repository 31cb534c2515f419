//! What is measured, in which order, and what the project asks for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::drive::{Client, Measured, drive};
use crate::report::{Report, mebibytes, median, median_of, thousands, time};
use crate::server::{Server, build_peer};
use crate::workload::{Parameters, Plan};
use crate::{probe, process};

/// The groups of scenarios.
pub(crate) const GROUPS: &[&str] = &["provision", "bind", "read", "start", "many", "peer"];

/// Plans of the reference broker.
const ASYNC_PLAN: &str = "async";
const AUTO_PLAN: &str = "fast";

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
}

impl Size {
    pub(crate) const FULL: Self = Self {
        runs: 3,
        writes: 20_000,
        reads: 50_000,
        time: Duration::from_secs(10),
        starts: 5,
        many: 100_000,
    };
    pub(crate) const QUICK: Self = Self {
        runs: 1,
        writes: 5_000,
        reads: 10_000,
        time: Duration::from_secs(5),
        starts: 3,
        many: 10_000,
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

/// A started reference broker and its plans.
struct Broker {
    server: Server,
    accepting: Plan,
    complete: Plan,
    /// The number that the next instance gets.
    next: u64,
}

impl Bench {
    pub(crate) fn run(self) -> Result<Report> {
        std::fs::create_dir_all(&self.work)?;
        let mut report = Report::default();
        let (p50, p99) = probe::fdatasync(&self.work)?;
        report.fact(
            "fdatasync of 4 KiB in the same folder, p50 / p99",
            format!("{} / {}", time(p50), time(p99)),
            None,
        );
        let wants = |group: &str| self.only.is_empty() || self.only.iter().any(|only| only == group);
        let peer = if wants("peer") { self.peer(&mut report)? } else { None };
        if !GROUPS.iter().any(|group| *group != "peer" && wants(group)) {
            return Ok(report);
        }
        let program = self.program.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        if wants("provision") {
            self.provision(program, peer.as_ref(), &mut report)?;
        }
        if wants("bind") {
            self.bind(program, &mut report)?;
        }
        if wants("read") {
            self.read(program, &mut report)?;
        }
        if wants("start") {
            self.start(program, &mut report)?;
        }
        if wants("many") {
            self.many(program, &mut report)?;
        }
        Ok(report)
    }

    fn folder(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(&self.work)
            .context("cannot make a data folder")
    }

    /// Provisions accepted and provisions carried out.
    fn provision(&self, program: &Path, peer: Option<&Measured>, report: &mut Report) -> Result<()> {
        for (parameters, title) in [(Parameters::Without, "without"), (Parameters::With, "with")] {
            let runs = self.runs(program, |broker, first| {
                let before = process::cpu(broker.server.pid())?;
                let mut run = self.write(broker, first, async |client, number| {
                    broker.accepting.accept(client, number, parameters).await
                })?;
                broker.server.settle()?;
                // What was accepted is also carried out: its cost belongs to it, whenever it is paid.
                let used = process::cpu(broker.server.pid())?.saturating_sub(before);
                run.server_cpu = used.div_f64(run.operations as f64);
                Ok(run)
            })?;
            let figures = median_of(&runs);
            let met = figures.per_second >= 10_000.0 && figures.p99 <= Duration::from_millis(25);
            let bar = ("≥ 10,000/s, p99 ≤ 25 ms".to_owned(), met);
            if let (Parameters::Without, Some(peer)) = (parameters, peer) {
                let ratio = figures.server_cpu.as_secs_f64() / peer.server_cpu.as_secs_f64();
                let value = format!("{} / {} = {ratio:.1}", time(figures.server_cpu), time(peer.server_cpu));
                let bar = Some(("≤ 2".to_owned(), ratio <= 2.0));
                report.fact("server CPU of a provision, against the peer's", value, bar);
            }
            report.row(
                format!("provision accepted (202), {title} parameters"),
                figures,
                Some(bar),
            );
        }
        for (parameters, title) in [(Parameters::Without, "without"), (Parameters::With, "with")] {
            let runs = self.runs(program, |broker, first| {
                self.write(broker, first, async |client, number| {
                    broker.complete.carry_out(client, number, parameters).await
                })
            })?;
            let figures = median_of(&runs);
            let bar = ("≥ 5,000/s".to_owned(), figures.per_second >= 5_000.0);
            report.row(format!("provision carried out, {title} parameters"), figures, Some(bar));
        }
        Ok(())
    }

    fn bind(&self, program: &Path, report: &mut Report) -> Result<()> {
        let (mut binds, mut unbinds) = (Vec::new(), Vec::new());
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        broker.fill(0, FEW)?;
        let mut first = 0;
        for _ in 0..self.size.runs {
            let bound = self.write(&broker, first, async |client, number| {
                broker.complete.bind(client, number % FEW, number).await
            })?;
            broker.server.settle()?;
            let count = bound.operations;
            let pid = broker.server.pid();
            let unbound = drive(
                &broker.server.target,
                pid,
                first,
                count,
                self.size.time * 10,
                async |client, number| broker.complete.unbind(client, number % FEW, number).await,
            )?;
            broker.server.settle()?;
            first += self.size.writes;
            binds.push(bound);
            unbinds.push(unbound);
        }
        broker.server.stop()?;
        for (name, runs) in [("bind (201)", binds), ("unbind (200)", unbinds)] {
            let figures = median_of(&runs);
            let bar = ("≥ 5,000/s".to_owned(), figures.per_second >= 5_000.0);
            report.row(name, figures, Some(bar));
        }
        Ok(())
    }

    fn read(&self, program: &Path, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        broker.fill(0, FEW)?;
        let mut runs = Vec::new();
        for _ in 0..self.size.runs {
            runs.push(self.reads(&broker, async |client, _| {
                client.expect(200, "GET", "/v2/catalog", None).await
            })?);
        }
        report.row("catalog", median_of(&runs), None);
        let mut runs = Vec::new();
        for _ in 0..self.size.runs {
            runs.push(self.reads(&broker, async |client, number| {
                broker.complete.last_operation(client, number % FEW).await
            })?);
        }
        report.row("last_operation", median_of(&runs), None);
        broker.server.stop()
    }

    /// Start to ready, and memory at rest.
    fn start(&self, program: &Path, report: &mut Report) -> Result<()> {
        let mut new = Vec::new();
        let mut resident_new = Vec::new();
        for _ in 0..self.size.starts {
            let folder = self.folder()?;
            let server = Server::reference(program, folder.path())?;
            new.push(server.ready_after);
            server.settle()?;
            resident_new.push(process::resident_bytes(server.pid())?);
            server.stop()?;
        }
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        broker.fill(0, FEW)?;
        broker.server.stop()?;
        let (mut existing, mut resident) = (Vec::new(), Vec::new());
        for _ in 0..self.size.starts {
            let server = Server::reference(program, folder.path())?;
            existing.push(server.ready_after);
            server.settle()?;
            resident.push(process::resident_bytes(server.pid())?);
            server.stop()?;
        }
        let (new, existing) = (median(new), median(existing));
        let bar = |met: bool, text: &str| Some((text.to_owned(), met));
        report.fact(
            "start to ready, new folder",
            time(new),
            bar(new <= Duration::from_millis(250), "≤ 250 ms"),
        );
        let met = existing <= Duration::from_millis(50);
        report.fact(
            "start to ready, 1,000 instances, after a clean stop",
            time(existing),
            bar(met, "≤ 50 ms"),
        );
        let (resident_new, resident) = (median(resident_new), median(resident));
        let met = resident_new.max(resident) <= 15_000_000;
        let value = format!("{} / {}", mebibytes(resident_new), mebibytes(resident));
        report.fact(
            "resident memory idle, new folder / 1,000 instances",
            value,
            bar(met, "≤ 15 MB"),
        );
        Ok(())
    }

    /// What many finished instances change.
    fn many(&self, program: &Path, report: &mut Report) -> Result<()> {
        let count = self.size.many;
        let (few_reads, few_writes) = self.at_size(program, FEW, None)?;
        let (many_reads, many_writes) = self.at_size(program, count, Some(report))?;
        for (name, few, many) in [
            ("last_operation", few_reads, many_reads),
            ("provision accepted", few_writes, many_writes),
        ] {
            let ratio = many.p99.as_secs_f64() / few.p99.as_secs_f64();
            let value = format!("{} / {} = {ratio:.2}", time(many.p99), time(few.p99));
            let name = format!(
                "p99 of {name}, {} finished instances against {FEW}",
                thousands(count as f64)
            );
            report.fact(name, value, Some(("≤ 2".to_owned(), ratio <= 2.0)));
        }
        Ok(())
    }

    /// Reads and writes beside so many finished instances.
    fn at_size(&self, program: &Path, count: u64, report: Option<&mut Report>) -> Result<(Measured, Measured)> {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        let folder = self.folder()?;
        let mut broker = Broker::start(program, folder.path())?;
        broker.fill(0, count)?;
        broker.next = count;
        for _ in 0..self.size.runs {
            // Numbers are spread over all instances, so that not only the newest are read.
            let spread = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count;
            reads.push(self.reads(&broker, async |client, number| {
                broker.complete.last_operation(client, spread(number)).await
            })?);
            let first = broker.next;
            let each = (self.size.writes / 4).max(FEW);
            writes.push(drive(
                &broker.server.target,
                broker.server.pid(),
                first,
                each,
                self.size.time,
                async |client, number| broker.accepting.accept(client, number, Parameters::Without).await,
            )?);
            broker.next += each;
            broker.server.settle()?;
        }
        if let Some(report) = report {
            let resident = process::resident_bytes(broker.server.pid())?;
            let name = format!("resident memory with {} instances", thousands(broker.next as f64));
            report.fact(name, mebibytes(resident), None);
            broker.server.stop()?;
            let server = Server::reference(program, folder.path())?;
            let name = format!("start to ready, {} instances", thousands(count as f64));
            report.fact(name, time(server.ready_after), None);
            server.stop()?;
        } else {
            broker.server.stop()?;
        }
        Ok((median_of(&reads), median_of(&writes)))
    }

    /// The peer in Go under the same load.
    fn peer(&self, report: &mut Report) -> Result<Option<Measured>> {
        let program = match build_peer(&self.peer, &self.cache) {
            Ok(program) => program,
            Err(error) => {
                report.missing.push(format!("the peer in Go: {error:#}"));
                return Ok(None);
            }
        };
        let plan = Plan::new(PEER.0, PEER.1, &json!({}));
        let mut runs = Vec::new();
        for _ in 0..self.size.runs {
            let server = Server::peer(&program)?;
            let (count, time) = (self.size.writes, self.size.time);
            runs.push(drive(
                &server.target,
                server.pid(),
                0,
                count,
                time,
                async |client, number| plan.accept(client, number, Parameters::Without).await,
            )?);
        }
        let figures = median_of(&runs);
        report.row(
            "the peer in Go (a map in memory): provision accepted",
            figures.clone(),
            None,
        );
        Ok(Some(figures))
    }

    /// Runs, each on a new folder.
    fn runs(&self, program: &Path, run: impl Fn(&Broker, u64) -> Result<Measured>) -> Result<Vec<Measured>> {
        let mut runs = Vec::new();
        for _ in 0..self.size.runs {
            let folder = self.folder()?;
            let broker = Broker::start(program, folder.path())?;
            // Connections and caches are warm before it counts.
            broker.fill(0, FEW)?;
            runs.push(run(&broker, FEW)?);
            broker.server.stop()?;
        }
        Ok(runs)
    }

    fn write<F>(&self, broker: &Broker, first: u64, operation: F) -> Result<Measured>
    where
        F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
    {
        drive(
            &broker.server.target,
            broker.server.pid(),
            first,
            self.size.writes,
            self.size.time,
            operation,
        )
    }

    fn reads<F>(&self, broker: &Broker, operation: F) -> Result<Measured>
    where
        F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
    {
        drive(
            &broker.server.target,
            broker.server.pid(),
            0,
            self.size.reads,
            self.size.time,
            operation,
        )
    }
}

impl Broker {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let server = Server::reference(program, folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (accepting, complete) = runtime.block_on(async {
            let mut client = Client::connect(&server.target).await?;
            let accepting = Plan::find(&mut client, ASYNC_PLAN, &parameters()).await?;
            anyhow::Ok((accepting, Plan::find(&mut client, AUTO_PLAN, &parameters()).await?))
        })?;
        Ok(Self {
            server,
            accepting,
            complete,
            next: 0,
        })
    }

    /// Makes complete instances and waits until nothing is done any more.
    fn fill(&self, first: u64, count: u64) -> Result<()> {
        let time = Duration::from_secs(600);
        drive(
            &self.server.target,
            self.server.pid(),
            first,
            count,
            time,
            async |client, number| self.complete.carry_out(client, number, Parameters::Without).await,
        )?;
        self.server.settle()
    }
}

/// Parameters that the plans take.
fn parameters() -> Value {
    json!({"label": "measured", "seconds": 0})
}
