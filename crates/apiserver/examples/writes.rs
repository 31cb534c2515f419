//! What a write costs, without HTTP and without the programs above: CPU per operation, by thread.
//!
//! `cargo run --release -p apiserver --example writes -- [OBJECTS] [memory|embedded|both] [plain]` creates, patches,
//! reads, and removes custom resources as a broker's engine does, from 64 tasks, while a metadata watch is open (`plain`:
//! without it). It prints microseconds of CPU per operation: in all, and of the store's own threads. Linux only, since
//! the kernel's counters are read from `/proc`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use apiserver::{ApiServer, Body, Options, Service, UserInfo};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use objectstore::Store;
use tower_service::Service as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TASKS: usize = 64;
/// So many objects are made before their outcomes are written: these find them in memory, as in a broker.
const WAVE: usize = 2048;
const MERGE: &str = "application/merge-patch+json";
const GROUP: &str = "bench.osb.internal";
/// The definition that the engine installs, so that what is measured is what is stored.
const DEFINITION: &str = include_str!("../../osb-engine/crds/serviceinstances.json");
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const WRITE: &str = "fieldManager=osb&fieldValidation=Strict";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let objects = arguments.first().map_or(Ok(50_000), |text| text.parse())?;
    let engine = arguments.get(1).map_or("both", String::as_str);
    let watched = arguments.get(2).is_none_or(|text| text != "plain");
    if engine != "embedded" {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        measure("memory", store, objects, watched).await?;
    }
    if engine != "memory" {
        let folder = tempfile::Builder::new().prefix("writes").tempdir_in(".")?;
        let store = objectstore::embedded::open(folder.path(), objectstore::embedded::Options::default())?;
        measure("embedded", store, objects, watched).await?;
    }
    Ok(())
}

async fn measure(engine: &str, store: Store, objects: usize, watched: bool) -> Result<(), Box<dyn std::error::Error>> {
    let server = ApiServer::open(store.clone(), Options::default()).await?;
    let service = server.service_as(UserInfo::admin());
    let definition = DEFINITION.replace("__GROUP__", GROUP);
    send(
        &service,
        Method::POST,
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "application/json",
        definition.into(),
    )
    .await;
    // As the engine asks at its start, so that this field has an index.
    let busy = format!("/apis/{GROUP}/v1/serviceinstances?fieldSelector=record.operation.id!%3D");
    send(&service, Method::GET, &busy, "", Bytes::new()).await;
    let watcher = watched.then(|| tokio::spawn(watch(service.clone())));
    println!("{engine}, {objects} objects");

    let mut costs = Costs::default();
    let mut versions = Vec::with_capacity(objects);
    for first in (0..objects).step_by(WAVE) {
        let wave = first..(first + WAVE).min(objects);
        let new = wave.clone().map(|i| (collection(), instance(i)));
        let made = costs
            .phase("create", &service, Method::POST, "application/json", new)
            .await;
        let outcomes = wave
            .clone()
            .zip(&made)
            .map(|(i, version)| (path(i), outcome(i, version)));
        versions.extend(costs.phase("patch", &service, Method::PATCH, MERGE, outcomes).await);
    }
    let reads = (0..objects).map(|i| (path(i), String::new()));
    costs.phase("get", &service, Method::GET, "", reads).await;
    for first in (0..objects).step_by(WAVE) {
        let wave = first..(first + WAVE).min(objects);
        let deletes = wave.clone().map(|i| {
            let version = &versions[i];
            (
                path(i),
                format!(r#"{{"preconditions":{{"resourceVersion":"{version}"}}}}"#),
            )
        });
        let marked = costs
            .phase("delete", &service, Method::DELETE, "application/json", deletes)
            .await;
        let releases = wave.zip(&marked).map(|(i, version)| {
            let patch = format!(r#"{{"metadata":{{"resourceVersion":"{version}","finalizers":[]}}}}"#);
            (path(i), patch)
        });
        costs.phase("release", &service, Method::PATCH, MERGE, releases).await;
    }
    costs.print();

    server.shutdown().await;
    store.close().await?;
    if let Some(watcher) = watcher {
        println!("  watched: {} bytes", watcher.await?);
    }
    println!("  resident memory at most: {} MiB", peak_mib());
    Ok(())
}

fn collection() -> String {
    format!("/apis/{GROUP}/v1/namespaces/default/serviceinstances?{WRITE}")
}

fn path(number: usize) -> String {
    format!(
        "/apis/{GROUP}/v1/namespaces/default/serviceinstances/{}?{WRITE}",
        name(number)
    )
}

fn name(number: usize) -> String {
    // Spread over the key space, like the ids that platforms choose.
    let spread = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}-b3c1-4c61-{number:012}")
}

/// As the engine makes it for a provision.
fn instance(number: usize) -> String {
    let name = name(number);
    format!(
        r#"{{"apiVersion":"{GROUP}/v1","kind":"ServiceInstance","metadata":{{"name":"{name}","namespace":"default","finalizers":["osb.internal/operations"]}},"spec":{{"instanceId":"{name}","incarnation":"inc{number:023}","serviceId":"2d8f1a7c-93cc-4e0e-8d3c-3c9d1c0cf001","planId":"b9a1c3a2-7b5a-4c39-9d39-0d9c5c2a1002","digest":"k1.3q2+7wAAAAB2v9m0r1r4QmY3Z0w6e5p8s1u4x7A0","context":{{"platform":"cloudfoundry","organization_guid":"org","space_guid":"space"}}}},"record":{{"epoch":1763740000,"counter":1,"operation":{{"id":"inc{number:023}.1","verb":"Provision","acceptedAt":"2026-11-21T16:00:00.123456Z"}}}},"status":{{"conditions":[{{"type":"Ready","status":"False","reason":"Provisioning","lastTransitionTime":"2026-11-21T16:00:00.123456Z"}},{{"type":"Failed","status":"False","reason":"Provisioning","lastTransitionTime":"2026-11-21T16:00:00.123456Z"}}]}}}}"#
    )
}

/// As the engine writes the outcome of a provision.
fn outcome(number: usize, version: &str) -> String {
    let sealed = "AQEBAQEBqkq2nq0GfDk4u1yPzq8mXr0Zp5c7Vw3hT9bLJ2sKd6fQxYgN8tRvWm4EoHi1UaCyBzDlFjGkMnOpSqTuVwXy";
    format!(
        r#"{{"metadata":{{"resourceVersion":"{version}"}},"record":{{"operation":null,"history":[{{"id":"inc{number:023}.1","verb":"Provision","outcome":"Succeeded","endedAt":"2026-11-21T16:00:00.223456Z"}}],"data":"{sealed}","outputs":"{sealed}"}},"status":{{"conditions":[{{"type":"Ready","status":"True","reason":"Provisioned","lastTransitionTime":"2026-11-21T16:00:00.223456Z"}},{{"type":"Failed","status":"False","reason":"Provisioned","lastTransitionTime":"2026-11-21T16:00:00.123456Z"}}]}}}}"#
    )
}

/// What the operations cost, by what they are.
#[derive(Default)]
struct Costs(Vec<Cost>);

#[derive(Default)]
struct Cost {
    what: &'static str,
    operations: usize,
    seconds: f64,
    /// Nanoseconds by the names of threads.
    cpu: BTreeMap<String, u64>,
}

impl Costs {
    /// Sends the requests from [`TASKS`] tasks, adds what they cost, and gives the resourceVersions of the answers.
    async fn phase(
        &mut self,
        what: &'static str,
        service: &Service,
        method: Method,
        content_type: &'static str,
        requests: impl Iterator<Item = (String, String)>,
    ) -> Vec<String> {
        let requests: Vec<_> = requests.map(|(path, body)| (path, Bytes::from(body))).collect();
        let requests = Arc::new(requests);
        let (started, before) = (Instant::now(), cpu_by_thread());
        let tasks = (0..TASKS).map(|first| {
            let (service, requests, method) = (service.clone(), requests.clone(), method.clone());
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for number in (first..requests.len()).step_by(TASKS) {
                    let (path, body) = &requests[number];
                    let answer = send(&service, method.clone(), path, content_type, body.clone()).await;
                    versions.push((number, resource_version(&answer)));
                }
                versions
            })
        });
        let mut versions = vec![String::new(); requests.len()];
        for task in tasks.collect::<Vec<_>>() {
            for (number, version) in task.await.expect("no task panics") {
                versions[number] = version;
            }
        }
        let cost = self.of(what);
        cost.operations += requests.len();
        cost.seconds += started.elapsed().as_secs_f64();
        for (thread, after) in cpu_by_thread() {
            let spent = after - before.get(&thread).unwrap_or(&0).min(&after);
            *cost.cpu.entry(thread).or_default() += spent;
        }
        versions
    }

    fn of(&mut self, what: &'static str) -> &mut Cost {
        let known = self.0.iter().position(|cost| cost.what == what);
        let position = known.unwrap_or(self.0.len());
        if known.is_none() {
            let cost = Cost {
                what,
                ..Cost::default()
            };
            self.0.push(cost);
        }
        &mut self.0[position]
    }

    fn print(&self) {
        for cost in &self.0 {
            let each = |threads: &dyn Fn(&str) -> bool| {
                let spent = cost
                    .cpu
                    .iter()
                    .filter(|(name, _)| threads(name))
                    .map(|(_, spent)| *spent);
                spent.sum::<u64>() as f64 / 1000.0 / cost.operations as f64
            };
            println!(
                "  {:8} {:6.1} us CPU: {:.1} server and client, {:.1} commit thread, {:.1} tables; {:.0}/s",
                cost.what,
                each(&|_| true),
                each(&|name| !name.starts_with("store-")),
                each(&|name| name == "store-commit"),
                each(&|name| name.starts_with("store-") && name != "store-commit"),
                cost.operations as f64 / cost.seconds,
            );
        }
    }
}

async fn send(service: &Service, method: Method, path: &str, content_type: &'static str, body: Bytes) -> Bytes {
    let accept = if method == Method::GET {
        "application/json"
    } else {
        METADATA
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = request.body(Full::new(body)).expect("a valid request");
    let Ok(answer) = service.clone().call(request).await;
    let code = answer.status();
    let body = read(answer.into_body()).await;
    assert!(code.is_success(), "{code}: {}", String::from_utf8_lossy(&body));
    body
}

async fn read(body: Body) -> Bytes {
    let Ok(body) = body.collect().await;
    body.to_bytes()
}

/// The resourceVersion of an answer, which stands near its start.
fn resource_version(answer: &[u8]) -> String {
    const FIELD: &[u8] = br#""resourceVersion":""#;
    let start = answer.windows(FIELD.len()).position(|part| part == FIELD);
    let digits = start.map_or(&[][..], |start| &answer[start + FIELD.len()..]);
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect()
}

async fn watch(service: Service) -> usize {
    let path = format!("/apis/{GROUP}/v1/serviceinstances?watch=true&allowWatchBookmarks=true&resourceVersion=1");
    let request = Request::builder().uri(path).header(header::ACCEPT, METADATA);
    let request = request.body(Full::new(Bytes::new())).expect("a valid request");
    let Ok(answer) = service.clone().call(request).await;
    let mut body = answer.into_body();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}

/// Nanoseconds of CPU by the names of this process's threads.
fn cpu_by_thread() -> BTreeMap<String, u64> {
    let mut spent = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanoseconds: u64 = stat
            .split(' ')
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        *spent.entry(name.trim().to_owned()).or_default() += nanoseconds;
    }
    spent
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
