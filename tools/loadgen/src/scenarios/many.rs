//! What many finished instances change, and what a million of them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{ASYNC_PLAN, AUTO_PLAN, Bench, Broker, FEW};
use crate::drive::Measured;
use crate::process;
use crate::report::{Report, mebibytes, median, median_of, thousands, time};
use crate::server::{Server, list};
use crate::workload::Parameters;

/// How fast a broker with very many instances has to be ready again, and how much memory it may then hold.
const CLEAN_START: Duration = Duration::from_millis(500);
const KILLED_START: Duration = Duration::from_millis(1500);
const ANONYMOUS_BYTES: u64 = 300_000_000;

/// Reads and writes beside finished instances.
struct Beside {
    reads: Measured,
    writes: Measured,
    /// The number that the next instance gets.
    next: u64,
}

/// How long starts took, and how much CPU time.
#[derive(Default)]
struct Starts {
    took: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Starts {
    fn add(&mut self, server: &Server) {
        self.took.push(server.ready_after);
        self.cpu.push(server.ready_cpu);
    }

    fn tell(self, report: &mut Report, name: String, limit: Duration) {
        let (took, cpu) = (median(self.took), median(self.cpu));
        let value = format!("{}, {} of CPU", time(took), time(cpu));
        report.fact(name, value, Some((format!("≤ {}", time(limit)), took <= limit)));
    }
}

impl Bench {
    pub(super) fn many(&self, program: &Path, report: &mut Report) -> Result<()> {
        let few = self.few(program)?;
        let count = self.size.many;
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        broker.fill(&broker.plan(AUTO_PLAN)?, 0, count)?;
        let many = self.beside(&broker, count)?;
        let resident = process::resident_bytes(broker.server.pid())?;
        let name = format!("resident memory with {} instances", thousands(many.next as f64));
        report.fact(name, mebibytes(resident), None);
        broker.server.stop()?;
        let server = Server::reference(program, folder.path())?;
        let name = format!("start to ready, {} instances", thousands(count as f64));
        report.fact(name, time(server.ready_after), None);
        server.stop()?;
        compare(report, count, &few, &many);
        Ok(())
    }

    /// Very many: fills, reads and writes beside them, lists them, stops and starts, kills and starts.
    pub(super) fn million(&self, program: &Path, report: &mut Report) -> Result<()> {
        let few = self.few(program)?;
        let count = self.size.million;
        let shown = thousands(count as f64);
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        let filled = broker.fill(&broker.plan(AUTO_PLAN)?, 0, count)?;
        report.row(format!("provision carried out, the first {shown}"), filled, None);
        let many = self.beside(&broker, count)?;
        for (name, few, many) in [
            ("last_operation", &few.reads, &many.reads),
            ("provision accepted", &few.writes, &many.writes),
        ] {
            report.row(format!("{name}, {FEW} finished instances"), few.clone(), None);
            report.row(format!("{name}, {shown} finished instances"), many.clone(), None);
        }
        compare(report, count, &few, &many);
        listed(program, folder.path(), &broker, many.next, report)?;
        broker.server.stop()?;
        let clean = self.clean_starts(program, folder.path())?;
        let name = format!("start to ready, {shown} instances, after a clean stop");
        clean.tell(report, name, CLEAN_START);
        let killed = self.killed_starts(program, folder.path(), many.next)?;
        let name = format!("start to ready, {shown} instances, after SIGKILL under load");
        killed.tell(report, name, KILLED_START);
        Ok(())
    }

    fn few(&self, program: &Path) -> Result<Beside> {
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        broker.fill(&broker.plan(AUTO_PLAN)?, 0, FEW)?;
        let few = self.beside(&broker, FEW)?;
        broker.server.stop()?;
        Ok(few)
    }

    /// Reads and writes beside so many finished instances.
    fn beside(&self, broker: &Broker, count: u64) -> Result<Beside> {
        let (auto, accepting) = (broker.plan(AUTO_PLAN)?, broker.plan(ASYNC_PLAN)?);
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        let mut next = count;
        for _ in 0..self.size.runs {
            // Numbers are spread over all instances, so that not only the newest are read.
            let spread = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count;
            reads.push(self.reads(broker, async |client, number| {
                auto.last_operation(client, spread(number)).await
            })?);
            let each = (self.size.writes / 4).max(FEW);
            let written = broker.drive(next, each, self.size.time, async |client, number| {
                accepting.accept(client, number, Parameters::Without).await
            })?;
            next += written.operations;
            writes.push(written);
            broker.server.settle()?;
        }
        Ok(Beside {
            reads: median_of(&reads),
            writes: median_of(&writes),
            next,
        })
    }

    fn clean_starts(&self, program: &Path, folder: &Path) -> Result<Starts> {
        let mut starts = Starts::default();
        for _ in 0..self.size.starts {
            let server = Server::reference(program, folder)?;
            starts.add(&server);
            server.settle()?;
            server.stop()?;
        }
        Ok(starts)
    }

    /// Each kill comes in the midst of provisions, so that there is a log to read and work to resume.
    fn killed_starts(&self, program: &Path, folder: &Path, mut next: u64) -> Result<Starts> {
        let mut starts = Starts::default();
        let mut broker = Broker::start(program, folder)?;
        for _ in 0..self.size.starts {
            let plan = broker.plan(ASYNC_PLAN)?;
            let written = broker.drive(next, self.size.writes, self.size.time, async |client, number| {
                plan.accept(client, number, Parameters::Without).await
            })?;
            next += written.operations;
            broker.server.kill()?;
            broker = Broker::start(program, folder)?;
            starts.add(&broker.server);
            broker.server.settle()?;
        }
        broker.server.stop()?;
        Ok(starts)
    }
}

/// Lists all of them in pages, and says what memory the broker holds then.
fn listed(program: &Path, folder: &Path, broker: &Broker, count: u64, report: &mut Report) -> Result<()> {
    broker.server.settle()?;
    let pid = broker.server.pid();
    let before = process::anonymous_bytes(pid)?;
    let (cpu, begun) = (broker.cpu()?, Instant::now());
    let found = list(program, folder)?;
    let (took, cpu) = (begun.elapsed(), broker.cpu()?.saturating_sub(cpu));
    if found != count {
        bail!("there are {count} instances, and the list has {found}");
    }
    let after = process::anonymous_bytes(pid)?;
    let shown = thousands(count as f64);
    let value = format!("{}, of which {} CPU of the server", time(took), time(cpu));
    report.fact(format!("list of {shown} instances in pages of 500"), value, None);
    report.fact(
        "anonymous memory before and after that list",
        format!("{} / {}", mebibytes(before), mebibytes(after)),
        Some(("≤ 300 MB".to_owned(), after <= ANONYMOUS_BYTES)),
    );
    Ok(())
}

/// The slowest of many against those of a few.
fn compare(report: &mut Report, count: u64, few: &Beside, many: &Beside) {
    for (name, few, many) in [
        ("last_operation", &few.reads, &many.reads),
        ("provision accepted", &few.writes, &many.writes),
    ] {
        let ratio = many.p99.as_secs_f64() / few.p99.as_secs_f64();
        let value = format!("{} / {} = {ratio:.2}", time(many.p99), time(few.p99));
        let name = format!(
            "p99 of {name}, {} finished instances against {FEW}",
            thousands(count as f64)
        );
        report.fact(name, value, Some(("≤ 2".to_owned(), ratio <= 2.0)));
    }
}
