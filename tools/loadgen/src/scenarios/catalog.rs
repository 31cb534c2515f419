//! The peer in Go, and catalogs of several sizes beside it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Bench, Broker, PEER, served};
use crate::drive::{Client, Measured, drive};
use crate::report::{Report, median_of, time};
use crate::server::{Server, build_peer};
use crate::workload::{Parameters, Plan, same_catalog};

/// A catalog, and how much of the peer's CPU time it may take to serve it.
struct Offer {
    flags: &'static [&'static str],
    most: f64,
}

const OFFERS: &[Offer] = &[
    Offer {
        flags: &["--plans", "1"],
        most: 0.5,
    },
    Offer { flags: &[], most: 0.5 },
    Offer {
        flags: &["--plans", "200"],
        most: 0.2,
    },
];

/// The longest time of one run: the peer takes long for large ones.
const TIME: Duration = Duration::from_secs(3);

impl Bench {
    /// The peer under the load of provisions.
    pub(super) fn peer(&self, report: &mut Report) -> Result<Option<Measured>> {
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
            let server = Server::peer(&program, None)?;
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

    /// Catalogs, and the same ones served by the peer.
    pub(super) fn catalogs(&self, program: &Path, report: &mut Report) -> Result<()> {
        let peer = build_peer(&self.peer, &self.cache);
        if let Err(error) = &peer {
            report.missing.push(format!("catalogs of the peer in Go: {error:#}"));
        }
        for offer in OFFERS {
            self.catalog(program, peer.as_deref().ok(), offer, report)?;
        }
        Ok(())
    }

    fn catalog(&self, program: &Path, peer: Option<&Path>, offer: &Offer, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let broker = Broker::of(Server::reference_with(program, folder.path(), offer.flags)?)?;
        let (body, tag) = served(&broker.server)?;
        let file = folder.path().join("catalog.json");
        std::fs::write(&file, &body)?;
        let peer = peer.map(|peer| Server::peer(peer, Some(&file))).transpose()?;
        if let Some(peer) = &peer {
            compare(&broker.catalog, body.len(), &served(peer)?.0)?;
        }
        // One after the other: what else the machine does meets both.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.size.runs {
            ours.push(self.full_catalog(&broker.server)?);
            if let Some(peer) = &peer {
                theirs.push(self.full_catalog(peer)?);
            }
        }
        let plans = plans(&broker.catalog).count();
        let name = format!(
            "catalog of {plans} {} ({} kB)",
            if plans == 1 { "plan" } else { "plans" },
            body.len().div_ceil(1000)
        );
        let figures = median_of(&ours);
        report.row(&name, figures.clone(), None);
        if peer.is_some() {
            let theirs = median_of(&theirs);
            let ratio = figures.server_cpu.as_secs_f64() / theirs.server_cpu.as_secs_f64();
            let value = format!(
                "{} / {} = {ratio:.3}",
                time(figures.server_cpu),
                time(theirs.server_cpu)
            );
            report.row(format!("the peer in Go: {name}"), theirs, None);
            let bar = Some((format!("≤ {}", offer.most), ratio <= offer.most));
            report.fact(format!("server CPU of a {name}, against the peer's"), value, bar);
        }
        let condition = format!("If-None-Match: {}\r\n", tag.context("the catalog has no tag")?);
        let same = self.read_runs(&broker, async |client, _| same_catalog(client, &condition).await)?;
        report.row(format!("{name}, known already (304)"), same, None);
        broker.server.stop()
    }

    fn full_catalog(&self, server: &Server) -> Result<Measured> {
        let time = self.size.time.min(TIME);
        drive(
            &server.target,
            server.pid(),
            0,
            self.size.reads,
            time,
            async |client: &mut Client<'_>, _| client.expect(200, "GET", "/v2/catalog", None).await,
        )
    }
}

/// That the peer's catalog is the same, but for the few members that its library leaves out or adds.
fn compare(ours: &Value, size: usize, theirs: &[u8]) -> Result<()> {
    if theirs.len().abs_diff(size) * 20 > size {
        bail!("the peer's catalog has {} bytes, the broker's {size}", theirs.len());
    }
    let theirs: Value = serde_json::from_slice(theirs)?;
    if !plans(ours).eq(plans(&theirs)) {
        bail!("the peer's catalog has other plans than the broker's");
    }
    Ok(())
}

/// The ids of all plans.
fn plans(catalog: &Value) -> impl Iterator<Item = &str> {
    let services = catalog["services"].as_array().into_iter().flatten();
    let plans = services.flat_map(|service| service["plans"].as_array().into_iter().flatten());
    plans.filter_map(|plan| plan["id"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_catalog_of_the_peer_is_noticed() {
        let catalog = |plan: &str| json!({"services": [{"id": "s", "plans": [{"id": plan}]}]});
        let text = |plan: &str| catalog(plan).to_string().into_bytes();
        let ours = catalog("p");
        let size = text("p").len();
        assert!(compare(&ours, size, &text("p")).is_ok());
        assert!(compare(&ours, size, &text("q")).is_err());
        assert!(compare(&ours, size, &text("plan")).is_err());
        assert!(compare(&ours, 2 * size, &text("p")).is_err());
    }
}
