//! What changes something: provisions and their end, updates, bindings.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{ASYNC_BINDINGS_PLAN, ASYNC_PLAN, AUTO_PLAN, Bench, Broker, FEW, OTHER_PLAN, ROTATING_PLAN, own, rate};
use crate::drive::Measured;
use crate::report::{Report, median_of, time};
use crate::workload::{Answered, Parameters};

impl Bench {
    /// Provisions accepted and provisions carried out; and deprovisions of the latter.
    pub(super) fn provision(&self, program: &Path, peer: Option<&Measured>, report: &mut Report) -> Result<()> {
        for (parameters, title) in [(Parameters::Without, "without"), (Parameters::With, "with")] {
            let runs = self.runs(program, |broker| self.accepted(broker, parameters))?;
            let figures = median_of(&runs);
            let (text, met) = rate(10_000, &figures);
            let met = met && figures.p99 <= Duration::from_millis(25);
            if let (Parameters::Without, Some(peer)) = (parameters, peer) {
                let ratio = figures.server_cpu.as_secs_f64() / peer.server_cpu.as_secs_f64();
                let value = format!("{} / {} = {ratio:.1}", time(figures.server_cpu), time(peer.server_cpu));
                let bar = Some(("≤ 2".to_owned(), ratio <= 2.0));
                report.fact("server CPU of a provision, against the peer's", value, bar);
            }
            report.row(
                format!("provision accepted (202), {title} parameters"),
                figures,
                Some((format!("{text}; p99 ≤ 25 ms"), met)),
            );
        }
        let mut removed = Vec::new();
        for (parameters, title) in [(Parameters::Without, "without"), (Parameters::With, "with")] {
            let runs = self.runs(program, |broker| {
                let plan = broker.plan(AUTO_PLAN)?;
                let made = self.write(broker, FEW, async |client, number| {
                    plan.carry_out(client, number, parameters).await
                })?;
                broker.server.settle()?;
                if parameters == Parameters::With {
                    let limit = self.size.time * 10;
                    removed.push(broker.drive(FEW, made.operations, limit, async |client, number| {
                        plan.deprovision(client, number).await
                    })?);
                }
                Ok(made)
            })?;
            let figures = median_of(&runs);
            let bar = rate(5_000, &figures);
            report.row(format!("provision carried out, {title} parameters"), figures, Some(bar));
        }
        report.row("deprovision (200)", median_of(&removed), None);
        Ok(())
    }

    fn accepted(&self, broker: &Broker, parameters: Parameters) -> Result<Measured> {
        let plan = broker.plan(ASYNC_PLAN)?;
        let before = broker.cpu()?;
        let mut run = self.write(broker, FEW, async |client, number| {
            plan.accept(client, number, parameters).await
        })?;
        broker.server.settle()?;
        // What was accepted is also carried out: its cost belongs to it, whenever it is paid.
        run.server_cpu = broker.cpu()?.saturating_sub(before).div_f64(run.operations as f64);
        Ok(run)
    }

    /// Other parameters, another plan, and other parameters where the answer is a 202.
    pub(super) fn update(&self, program: &Path, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        let (auto, other, later) = (
            broker.plan(AUTO_PLAN)?,
            broker.plan(OTHER_PLAN)?,
            broker.plan(ASYNC_PLAN)?,
        );
        broker.fill(&auto, 0, FEW)?;
        broker.fill(&later, FEW, FEW)?;
        let (mut relabelled, mut moved, mut relabelled_later) = (Vec::new(), Vec::new(), Vec::new());
        let on_other: Vec<_> = (0..FEW).map(|_| Cell::new(false)).collect();
        let mut first = 0;
        for _ in 0..self.size.runs {
            relabelled.push(self.write(&broker, first, async |client, number| {
                let instance = own(client, number);
                auto.relabel(client, instance, number, Answered::Now(200)).await
            })?);
            broker.server.settle()?;
            moved.push(self.write(&broker, first, async |client, number| {
                let instance = own(client, number);
                let is_on_other = &on_other[instance as usize];
                let plan = if is_on_other.get() { &auto } else { &other };
                plan.change_to(client, instance).await?;
                is_on_other.set(!is_on_other.get());
                Ok(())
            })?);
            broker.server.settle()?;
            relabelled_later.push(self.write(&broker, first, async |client, number| {
                let instance = FEW + own(client, number);
                later.relabel(client, instance, number, Answered::Later).await
            })?);
            broker.server.settle()?;
            first += self.size.writes;
        }
        broker.server.stop()?;
        row(report, "update of parameters (200)", &relabelled);
        row(report, "update of the plan (200)", &moved);
        row(report, "update of parameters (202), carried out", &relabelled_later);
        Ok(())
    }

    /// Bindings of all kinds.
    pub(super) fn bind(&self, program: &Path, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let broker = Broker::start(program, folder.path())?;
        self.bind_and_unbind(&broker, report)?;
        self.rotate(&broker, report)?;
        self.bind_later(&broker, report)?;
        broker.server.stop()
    }

    fn bind_and_unbind(&self, broker: &Broker, report: &mut Report) -> Result<()> {
        let (mut binds, mut unbinds) = (Vec::new(), Vec::new());
        let plan = broker.plan(AUTO_PLAN)?;
        broker.fill(&plan, 0, FEW)?;
        let mut first = 0;
        for _ in 0..self.size.runs {
            let bound = self.write(broker, first, async |client, number| {
                plan.bind(client, number % FEW, number).await
            })?;
            broker.server.settle()?;
            let unbound = broker.drive(first, bound.operations, self.size.time * 10, async |client, number| {
                plan.unbind(client, number % FEW, number).await
            })?;
            broker.server.settle()?;
            first += self.size.writes;
            binds.push(bound);
            unbinds.push(unbound);
        }
        row(report, "bind (201)", &binds);
        row(report, "unbind (200)", &unbinds);
        Ok(())
    }

    /// Each instance's newest binding gets a successor.
    fn rotate(&self, broker: &Broker, report: &mut Report) -> Result<()> {
        let plan = broker.plan(ROTATING_PLAN)?;
        broker.fill(&plan, FEW, FEW)?;
        broker.drive(0, FEW, self.size.time * 10, async |client, number| {
            plan.bind(client, FEW + number, number).await
        })?;
        let newest: Vec<_> = (0..FEW).map(Cell::new).collect();
        let mut runs = Vec::new();
        let mut first = FEW;
        for _ in 0..self.size.runs {
            runs.push(self.write(broker, first, async |client, number| {
                let instance = own(client, number);
                let newest = &newest[instance as usize];
                plan.rotate(client, FEW + instance, newest.get(), number).await?;
                newest.set(number);
                Ok(())
            })?);
            broker.server.settle()?;
            first += self.size.writes;
        }
        row(report, "rotation of a binding (201)", &runs);
        Ok(())
    }

    fn bind_later(&self, broker: &Broker, report: &mut Report) -> Result<()> {
        let plan = broker.plan(ASYNC_BINDINGS_PLAN)?;
        broker.fill(&plan, 2 * FEW, FEW)?;
        let mut runs = Vec::new();
        let mut first = 0;
        for _ in 0..self.size.runs {
            runs.push(self.write(broker, first, async |client, number| {
                plan.bind_later(client, 2 * FEW + number % FEW, number).await
            })?);
            broker.server.settle()?;
            first += self.size.writes;
        }
        row(report, "bind (202), carried out", &runs);
        Ok(())
    }

    /// Runs, each on a new folder with a few instances in it.
    fn runs(&self, program: &Path, mut run: impl FnMut(&Broker) -> Result<Measured>) -> Result<Vec<Measured>> {
        let mut runs = Vec::new();
        for _ in 0..self.size.runs {
            let folder = self.folder()?;
            let broker = Broker::start(program, folder.path())?;
            // Connections and caches are warm before it counts.
            broker.fill(&broker.plan(AUTO_PLAN)?, 0, FEW)?;
            runs.push(run(&broker)?);
            broker.server.stop()?;
        }
        Ok(runs)
    }
}

fn row(report: &mut Report, name: &str, runs: &[Measured]) {
    let figures = median_of(runs);
    let bar = rate(5_000, &figures);
    report.row(name, figures, Some(bar));
}
