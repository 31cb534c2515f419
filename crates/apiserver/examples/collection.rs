//! How soon dependents go after their owner, and what an owner reference costs a write.
//!
//! `cargo run --release -p apiserver --example collection -- [ROUNDS] [memory|embedded]` prints three lines:
//!
//! ```text
//! one_dependent_ms p50=… p99=… max=… rounds=…
//! thousand_dependents_ms p50=… p99=… max=… rounds=…
//! create_us_cpu plain=… owned=… delete_us_cpu plain=… owned=…
//! ```
//!
//! The first two are from the answer to the owner's DELETE to the last `DELETED` of a watch, as a client sees it, on a store
//! in a folder by default, for `ROUNDS` owners with one dependent and a tenth as many with 1,000. The third is the CPU of this
//! process for each of 20,000 objects without and with an owner reference; Linux only, since it is read from `/proc`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Body, Options, Service, UserInfo};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use objectstore::Store;
use serde_json::{Value, json};
use tower_service::Service as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error>;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TASKS: usize = 64;
const MANY: usize = 1000;
const COSTED: usize = 20_000;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds: usize = arguments.first().map_or(Ok(300), |text| text.parse())?;
    if arguments.get(1).is_some_and(|engine| engine == "memory") {
        return measure(objectstore::memory::open(Default::default()), rounds).await;
    }
    let folder = tempfile::Builder::new().prefix("collection").tempdir_in(".")?;
    let store = objectstore::embedded::open(folder.path(), objectstore::embedded::Options::default())?;
    measure(store, rounds).await
}

async fn measure(store: Store, rounds: usize) -> Result<(), Failed> {
    let server = ApiServer::open(store.clone(), Options::default()).await?;
    let service = server.service_as(UserInfo::admin());
    // What a first time costs is no matter of these figures.
    latencies(&service, 1, 20).await?;
    for (name, dependents, rounds) in [
        ("one_dependent_ms", 1, rounds),
        ("thousand_dependents_ms", MANY, rounds.div_ceil(10)),
    ] {
        let took = latencies(&service, dependents, rounds).await?;
        let at = |part: f64| took[((took.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        println!("{name} p50={p50:.2} p99={p99:.2} max={max:.2} rounds={rounds}");
    }
    let owner = Owner::create(&service, "the-owner").await?;
    let plain = cost(&service, "plain", None).await?;
    let owned = cost(&service, "owned", Some(&owner)).await?;
    println!(
        "create_us_cpu plain={:.1} owned={:.1} delete_us_cpu plain={:.1} owned={:.1}",
        plain.0, owned.0, plain.1, owned.1
    );
    server.shutdown().await;
    store.close().await?;
    Ok(())
}

/// How long it took in each round until the dependents of an owner had gone, in order.
async fn latencies(service: &Service, dependents: usize, rounds: usize) -> Result<Vec<Duration>, Failed> {
    let mut took = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let owner = Owner::create(service, &format!("owner-{round}")).await?;
        let names: Vec<String> = (0..dependents)
            .map(|number| format!("child-{round}-{number}"))
            .collect();
        create_all(service, &names, Some(&owner)).await?;
        let mut deletions = Deletions::watch(service).await?;
        delete(service, &owner.name).await?;
        let begun = Instant::now();
        deletions.until_gone(names.into_iter().collect()).await?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

/// Microseconds of CPU for a create and for a delete.
async fn cost(service: &Service, prefix: &str, owner: Option<&Owner>) -> Result<(f64, f64), Failed> {
    let names: Vec<String> = (0..COSTED).map(|number| format!("{prefix}-{number}")).collect();
    let each = |seconds: f64| seconds / COSTED as f64 * 1e6;
    let begun = cpu_seconds();
    create_all(service, &names, owner).await?;
    let created = cpu_seconds();
    let deletions = names.iter().map(|name| delete(service, name).boxed());
    let deletions = futures::stream::iter(deletions.collect::<Vec<_>>()).buffer_unordered(TASKS);
    deletions.try_collect::<Vec<()>>().await?;
    Ok((each(created - begun), each(cpu_seconds() - created)))
}

/// An object that others name as their owner.
struct Owner {
    name: String,
    uid: String,
}

impl Owner {
    async fn create(service: &Service, name: &str) -> Result<Owner, Failed> {
        let uid = create(service, name, None).await?;
        Ok(Owner {
            name: name.to_owned(),
            uid,
        })
    }
}

async fn create_all(service: &Service, names: &[String], owner: Option<&Owner>) -> Result<(), Failed> {
    let creates = names.iter().map(|name| create(service, name, owner).boxed());
    let creates = futures::stream::iter(creates.collect::<Vec<_>>()).buffer_unordered(TASKS);
    creates.try_collect::<Vec<String>>().await.map(drop)
}

/// Creates an object; its uid.
async fn create(service: &Service, name: &str, owner: Option<&Owner>) -> Result<String, Failed> {
    let owners: Vec<Value> = owner
        .iter()
        .map(|owner| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}))
        .collect();
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}});
    if !owners.is_empty() {
        object["metadata"]["ownerReferences"] = owners.into();
    }
    let answer = send(service, Method::POST, MAPS, object.to_string()).await?;
    let object: Value = serde_json::from_slice(&answer.collect().await?.to_bytes())?;
    Ok(object["metadata"]["uid"]
        .as_str()
        .ok_or("an object without a uid")?
        .to_owned())
}

async fn delete(service: &Service, name: &str) -> Result<(), Failed> {
    send(service, Method::DELETE, &format!("{MAPS}/{name}"), String::new())
        .await
        .map(drop)
}

async fn send(service: &Service, method: Method, path: &str, body: String) -> Result<Body, Failed> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let Ok(answer) = service.clone().call(request).await;
    if !answer.status().is_success() {
        return Err(format!("{path}: {}", answer.status()).into());
    }
    Ok(answer.into_body())
}

/// What a watch says of objects that have gone.
struct Deletions {
    body: Body,
    line: Vec<u8>,
}

impl Deletions {
    /// From now on.
    async fn watch(service: &Service) -> Result<Deletions, Failed> {
        let list = send(service, Method::GET, &format!("{MAPS}?limit=1"), String::new()).await?;
        let list: Value = serde_json::from_slice(&list.collect().await?.to_bytes())?;
        let revision = list["metadata"]["resourceVersion"]
            .as_str()
            .ok_or("a list without a revision")?;
        let path = format!("{MAPS}?watch=1&resourceVersion={revision}");
        let body = send(service, Method::GET, &path, String::new()).await?;
        Ok(Deletions { body, line: Vec::new() })
    }

    async fn until_gone(&mut self, mut names: HashSet<String>) -> Result<(), Failed> {
        while !names.is_empty() {
            let frame = self.body.frame().await.ok_or("the watch has ended")??;
            for byte in frame.into_data().unwrap_or_default() {
                if byte != b'\n' {
                    self.line.push(byte);
                    continue;
                }
                let event: Value = serde_json::from_slice(&self.line)?;
                self.line.clear();
                if event["type"] == "DELETED" {
                    names.remove(event["object"]["metadata"]["name"].as_str().unwrap_or_default());
                }
            }
        }
        Ok(())
    }
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
