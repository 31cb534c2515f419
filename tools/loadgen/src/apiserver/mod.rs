//! `cargo xtask bench apiserver`: our API server and a real one, the same load on both, in one run.

mod framing;
pub(crate) mod https;
pub(crate) mod sides;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::drive::{Amount, Measured, closed_loop};
use crate::report::{Bar, Report, mebibytes, median, thousands, time};
use crate::{probe, process};
use https::{Https, Place};
use sides::Side;

const DEFAULT: &str = "default";
/// The namespace of the long list, and that of the watches.
const MANY: &str = "many";
const WATCHED: &str = "watched";
const WRITERS: usize = 64;
const READERS: usize = 16;
/// Clients that write while others watch.
const FEW_WRITERS: usize = 4;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    creates: u64,
    gets: u64,
    /// The longest time of one scenario on one server.
    time: Duration,
    /// Objects of the long list.
    listed: u64,
    lists: u64,
    watchers: usize,
    /// Changes that each of them sees.
    changes: u64,
    /// Objects when the memory is looked at.
    objects: u64,
    /// How often each server defines a kind.
    definitions: usize,
    starts: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        creates: 12_000,
        gets: 50_000,
        time: Duration::from_secs(15),
        listed: 10_000,
        lists: 10,
        watchers: 500,
        changes: 400,
        objects: 25_000,
        definitions: 9,
        starts: 9,
    };
    pub(crate) const QUICK: Self = Self {
        creates: 2_000,
        gets: 5_000,
        time: Duration::from_secs(5),
        listed: 2_000,
        lists: 3,
        watchers: 100,
        changes: 50,
        objects: 5_000,
        definitions: 3,
        starts: 3,
    };
}

/// What one server gave.
struct Figures {
    creates: Measured,
    gets: Measured,
    lists: Measured,
    list_bytes: u64,
    deliveries: Deliveries,
    resident: u64,
    defined: Duration,
}

struct Deliveries {
    per_second: f64,
    server_cpu: Duration,
    client_cpu: Duration,
}

/// Measures both.
pub(crate) fn run(program: &Path, work: &Path, size: Size) -> Result<Report> {
    std::fs::create_dir_all(work)?;
    let mut report = Report::default();
    let (p50, p99) = probe::fdatasync(work)?;
    let synced = format!("{} / {}", time(p50), time(p99));
    report.fact("fdatasync of 4 KiB in the same folder, p50 / p99", synced, None);

    let folder = folder(work)?;
    let theirs = Side::theirs(folder.path())?;
    let their_start = theirs.ready_after;
    let their_figures = size.measure(&theirs)?;
    theirs.stop()?;

    let folder = self::folder(work)?;
    let data = folder.path().join("data");
    let ours = Side::ours(program, &data, &[])?;
    let our_figures = size.measure(&ours)?;
    ours.stop()?;
    compare(&mut report, size, &our_figures, &their_figures);
    starts(&mut report, size, program, &data, their_start)?;
    Ok(report)
}

fn folder(work: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("data-")
        .tempdir_in(work)
        .context("cannot make a data folder")
}

impl Size {
    fn measure(self, side: &Side) -> Result<Figures> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut figures = runtime.block_on(self.measure_on(side))?;
        side.settle()?;
        figures.resident = side.resident_bytes()?;
        figures.defined = runtime.block_on(self.definitions(side))?;
        Ok(figures)
    }

    async fn measure_on(self, side: &Side) -> Result<Figures> {
        let (place, pids) = (&side.place, side.pids()?);
        let mut one = place.connect().await?;
        for name in [MANY, WATCHED] {
            let namespace = json!({"metadata": {"name": name}}).to_string();
            one.expect(201, "POST", "/api/v1/namespaces", Some(namespace.as_bytes()))
                .await?;
        }
        let creates = create(place, &pids, DEFAULT, WRITERS, self.amount(0, self.creates)).await?;
        // As many as there are, if the time was over before.
        let there = creates.operations.min(1_000);
        let mut readers = connections(place, READERS).await?;
        let gets = closed_loop(
            &mut readers,
            &pids,
            self.amount(0, self.gets),
            async |client, number| {
                let path = format!("{}/{}", maps(DEFAULT), name(number % there));
                client.expect(200, "GET", &path, None).await
            },
        );
        let gets = gets.await?;
        self.fill(place, &pids, MANY, 0, self.listed).await?;
        let list_bytes = check_list(&mut one, self.listed).await?;
        let mut lister = [one];
        let lists = closed_loop(&mut lister, &pids, self.amount(0, self.lists), async |client, _| {
            client.read_all(&maps(MANY)).await.map(drop)
        });
        let lists = lists.await?;
        let deliveries = self.watched(place, &pids).await?;
        let made = creates.operations + self.listed + self.changes;
        self.fill(
            place,
            &pids,
            DEFAULT,
            creates.operations,
            self.objects.saturating_sub(made),
        )
        .await?;
        Ok(Figures {
            creates,
            gets,
            lists,
            list_bytes,
            deliveries,
            resident: 0,
            defined: Duration::ZERO,
        })
    }

    fn amount(self, first: u64, count: u64) -> Amount {
        let time = self.time;
        Amount { first, count, time }
    }

    /// Creates objects that are not measured, all of them.
    async fn fill(self, place: &Place, pids: &[u32], namespace: &str, first: u64, count: u64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let time = Duration::from_secs(600);
        create(place, pids, namespace, WRITERS, Amount { first, count, time })
            .await
            .map(drop)
    }

    /// Many watches of one collection, and how fast its changes reach all of them.
    async fn watched(self, place: &Place, pids: &[u32]) -> Result<Deliveries> {
        let path = format!(
            "{}?watch=true&resourceVersion={}",
            maps(WATCHED),
            revision(place).await?
        );
        let mut watches = Vec::new();
        for connection in connections(place, self.watchers).await? {
            watches.push(connection.watch(&path).await?);
        }
        let (server, client) = (process::cpu_of(pids)?, process::cpu(std::process::id())?);
        let begun = Instant::now();
        let amount = Amount {
            first: 0,
            count: self.changes,
            time: Duration::from_secs(600),
        };
        let all = async {
            let seen = try_join_all(watches.iter_mut().map(|watch| watch.wait_for(self.changes)));
            tokio::try_join!(create(place, pids, WATCHED, FEW_WRITERS, amount), seen)
        };
        let limit = Duration::from_secs(120);
        tokio::time::timeout(limit, all)
            .await
            .context("some watches do not see all changes")??;
        let took = begun.elapsed();
        let count = self.changes as f64 * self.watchers as f64;
        Ok(Deliveries {
            per_second: count / took.as_secs_f64(),
            server_cpu: process::cpu_of(pids)?.saturating_sub(server).div_f64(count),
            client_cpu: process::cpu(std::process::id())?.saturating_sub(client).div_f64(count),
        })
    }

    /// From the request that defines a kind to the answer that its first object is created: the median.
    async fn definitions(self, side: &Side) -> Result<Duration> {
        let mut client = side.place.connect().await?;
        let mut took = Vec::new();
        for number in 0..self.definitions {
            let group = format!("g{number}.bench.example.com");
            let (definition, object) = (definition(&group).to_string(), custom_resource(&group).to_string());
            let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let things = format!("/apis/{group}/v1/namespaces/{DEFAULT}/things");
            let begun = Instant::now();
            client
                .expect(201, "POST", definitions, Some(definition.as_bytes()))
                .await?;
            loop {
                match client.call("POST", &things, Some(object.as_bytes())).await? {
                    (201, _) => break,
                    // Not served yet.
                    (404, _) if begun.elapsed() < Duration::from_secs(60) => {
                        tokio::time::sleep(Duration::from_micros(500)).await;
                    }
                    (status, body) => bail!("POST {things}: {status} {}", String::from_utf8_lossy(&body)),
                }
            }
            took.push(begun.elapsed());
        }
        Ok(median(took))
    }
}

async fn connections(place: &Place, count: usize) -> Result<Vec<Https>> {
    let mut found = Vec::with_capacity(count);
    // One after the other: a queue of connections has its own limits.
    for _ in 0..count {
        found.push(place.connect().await?);
    }
    Ok(found)
}

async fn create(place: &Place, pids: &[u32], namespace: &str, clients: usize, amount: Amount) -> Result<Measured> {
    let mut writers = connections(place, clients).await?;
    let path = maps(namespace);
    closed_loop(&mut writers, pids, amount, async |client, number| {
        client.expect(201, "POST", &path, Some(&map(number))).await
    })
    .await
}

fn maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn name(number: u64) -> String {
    format!("bench-{number:08}")
}

/// A small ConfigMap.
fn map(number: u64) -> Vec<u8> {
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(4);
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name(number), "labels": {"app.kubernetes.io/name": "bench", "tier": format!("t{}", number % 10)}},
        "data": {"number": number.to_string(), "text": text},
    });
    body.to_string().into_bytes()
}

/// Looks once whether a list is what it should be, and gives its length. The lists that are measured are not read.
async fn check_list(client: &mut Https, count: u64) -> Result<u64> {
    let (status, body) = client.call("GET", &maps(MANY), None).await?;
    let list: Value = serde_json::from_slice(&body)?;
    let items = list["items"].as_array().map_or(0, Vec::len) as u64;
    if status != 200 || items < count {
        bail!("a list of {count} objects has {items} ({status})");
    }
    Ok(body.len() as u64)
}

/// The revision of the watched collection.
async fn revision(place: &Place) -> Result<String> {
    let (_, body) = place.connect().await?.call("GET", &maps(WATCHED), None).await?;
    let list: Value = serde_json::from_slice(&body)?;
    let revision = list["metadata"]["resourceVersion"].as_str();
    Ok(revision.context("a list without resourceVersion")?.to_owned())
}

fn definition(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}},
        }]},
    })
}

fn custom_resource(group: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "first"}, "spec": {"size": 1}})
}

/// At least so many times as much.
fn at_least(times: f64, ours: f64, theirs: f64) -> Option<Bar> {
    let text = format!("≥ {times:.0} × ({:.1} ×)", ours / theirs);
    Some((text, ours >= times * theirs))
}

/// At most the `parts`th part.
fn at_most(parts: f64, ours: f64, theirs: f64) -> Option<Bar> {
    let text = format!("≤ 1/{parts:.0} (1/{:.1})", theirs / ours);
    Some((text, ours * parts <= theirs))
}

fn compare(report: &mut Report, size: Size, ours: &Figures, theirs: &Figures) {
    let seconds = |duration: Duration| duration.as_secs_f64();
    let creates = format!("create a ConfigMap, {WRITERS} clients");
    let gets = format!("get a ConfigMap, {READERS} clients");
    let lists = format!(
        "list {} ConfigMaps ({} here, {} there)",
        thousands(size.listed as f64),
        mebibytes(ours.list_bytes),
        mebibytes(theirs.list_bytes)
    );
    report.row(format!("kube-apiserver: {creates}"), theirs.creates.clone(), None);
    let bar = at_least(10.0, ours.creates.per_second, theirs.creates.per_second);
    report.row(creates, ours.creates.clone(), bar);
    report.row(format!("kube-apiserver: {gets}"), theirs.gets.clone(), None);
    let bar = at_least(15.0, ours.gets.per_second, theirs.gets.per_second);
    report.row(gets, ours.gets.clone(), bar);
    report.row(format!("kube-apiserver: {lists}"), theirs.lists.clone(), None);
    let bar = at_most(5.0, seconds(ours.lists.p50), seconds(theirs.lists.p50));
    report.row(lists, ours.lists.clone(), bar);
    let both = |of: fn(&Figures) -> String| format!("{} / {}", of(ours), of(theirs));
    let watchers = size.watchers;
    report.fact(
        format!("{watchers} watchers: deliveries per second, ours / kube-apiserver"),
        both(|figures| thousands(figures.deliveries.per_second)),
        at_least(5.0, ours.deliveries.per_second, theirs.deliveries.per_second),
    );
    report.fact(
        format!("{watchers} watchers: server CPU per delivery"),
        both(|figures| nanos(figures.deliveries.server_cpu)),
        at_most(
            8.0,
            seconds(ours.deliveries.server_cpu),
            seconds(theirs.deliveries.server_cpu),
        ),
    );
    report.fact(
        format!("{watchers} watchers: CPU of the generator per delivery"),
        both(|figures| nanos(figures.deliveries.client_cpu)),
        None,
    );
    report.fact(
        format!("resident memory at {} objects", thousands(size.objects as f64)),
        both(|figures| mebibytes(figures.resident)),
        at_most(20.0, ours.resident as f64, theirs.resident as f64),
    );
    let limit = Duration::from_millis(10);
    report.fact(
        "from a definition to its first custom resource",
        both(|figures| time(figures.defined)),
        Some((format!("≤ {}", time(limit)), ours.defined <= limit)),
    );
}

fn nanos(duration: Duration) -> String {
    format!("{} ns", thousands(duration.as_secs_f64() * 1e9))
}

fn starts(report: &mut Report, size: Size, program: &Path, data: &Path, theirs: Duration) -> Result<()> {
    let limit = Duration::from_millis(50);
    let bar = |found: Duration| Some((format!("≤ {}", time(limit)), found <= limit));
    let (mut ephemeral, mut existing) = (Vec::new(), Vec::new());
    let work: PathBuf = data.parent().context("the data folder has a parent")?.to_owned();
    for number in 0..size.starts {
        let folder = work.join(format!("ephemeral-{number}"));
        let side = Side::ours(program, &folder, &["--ephemeral"])?;
        ephemeral.push(side.ready_after);
        side.stop()?;
        let side = Side::ours(program, data, &[])?;
        existing.push(side.ready_after);
        side.settle()?;
        side.stop()?;
    }
    let (ephemeral, existing) = (median(ephemeral), median(existing));
    report.fact("start to ready, --ephemeral", time(ephemeral), bar(ephemeral));
    let of_folder = format!("start to ready, folder with {} objects", thousands(size.objects as f64));
    report.fact(of_folder, time(existing), bar(existing));
    report.fact("start to ready, etcd and kube-apiserver, new", time(theirs), None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_names_the_factor_that_was_seen() {
        assert_eq!(at_least(10.0, 120.0, 10.0), Some(("≥ 10 × (12.0 ×)".to_owned(), true)));
        assert_eq!(at_least(15.0, 120.0, 10.0), Some(("≥ 15 × (12.0 ×)".to_owned(), false)));
        assert_eq!(at_most(8.0, 1.0, 8.0), Some(("≤ 1/8 (1/8.0)".to_owned(), true)));
        assert_eq!(at_most(8.0, 1.0, 7.0), Some(("≤ 1/8 (1/7.0)".to_owned(), false)));
    }
}
