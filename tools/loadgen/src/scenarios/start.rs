//! Start to ready, and memory at rest.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{AUTO_PLAN, Bench, Broker, FEW};
use crate::process;
use crate::report::{Report, mebibytes, median, time};
use crate::server::Server;

impl Bench {
    pub(super) fn start(&self, program: &Path, report: &mut Report) -> Result<()> {
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
        broker.fill(&broker.plan(AUTO_PLAN)?, 0, FEW)?;
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
}
