//! What changes nothing.

use std::path::Path;

use anyhow::Result;

use super::{AUTO_PLAN, Bench, Broker, FEW, rate};
use crate::drive::{Client, Measured};
use crate::report::{Report, median_of};

impl Bench {
    /// Polls, and fetches of instances and bindings.
    pub(super) fn read(&self, program: &Path, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        let plan = broker.plan(AUTO_PLAN)?;
        broker.fill(&plan, 0, FEW)?;
        broker.drive(0, FEW, self.size.time * 10, async |client, number| {
            plan.bind(client, number, number).await
        })?;
        broker.server.settle()?;
        let polled = self.read_runs(&broker, async |client, number| {
            plan.last_operation(client, number % FEW).await
        })?;
        report.row("last_operation", polled, None);
        let fetched = self.read_runs(&broker, async |client, number| plan.fetch(client, number % FEW).await)?;
        let bar = rate(5_000, &fetched);
        report.row("fetch of an instance", fetched, Some(bar));
        let fetched = self.read_runs(&broker, async |client, number| {
            let number = number % FEW;
            plan.fetch_binding(client, number, number).await
        })?;
        let bar = rate(5_000, &fetched);
        report.row("fetch of a binding", fetched, Some(bar));
        broker.server.stop()
    }

    pub(super) fn read_runs<F>(&self, broker: &Broker, operation: F) -> Result<Measured>
    where
        F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
    {
        let mut runs = Vec::new();
        for _ in 0..self.size.runs {
            runs.push(self.reads(broker, &operation)?);
        }
        Ok(median_of(&runs))
    }
}
