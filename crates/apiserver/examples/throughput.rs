//! What a create and a merge patch of a custom resource cost, in process through `kube::Client`.
//!
//! `cargo run --release -p apiserver --example throughput -- [writes] [tasks]`
//!
//! Prints, for each kind of write, how many were done per second and how much CPU time of this process each took (client, server and
//! the store in memory together; the threads' time from the system's accounting). The object is a service instance of about 1.5 KB.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Options, UserInfo};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const DEFINITION: &str = include_str!("../tests/data/serviceinstances.yaml");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let writes = numbers.next().transpose()?.unwrap_or(50_000);
    let tasks = numbers.next().transpose()?.unwrap_or(64);
    let server = ApiServer::open(objectstore::memory::open(objectstore::memory::Options::default()), Options::default()).await?;
    let client = kube::Client::new(server.service_as(UserInfo::admin()), "default");
    prepare(client.clone()).await?;
    let size = serde_json::to_vec(&instance("x"))?.len();
    println!("object {size} bytes, {writes} writes, {tasks} tasks");
    run("create", writes, tasks, client.clone(), create).await;
    run("merge patch", writes, tasks, client.clone(), patch).await;
    run("get", writes, tasks, client, get).await;
    server.shutdown().await;
    Ok(())
}

async fn prepare(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
    let definitions = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), "customresourcedefinitions");
    let definition: DynamicObject = serde_saphyr::from_str(DEFINITION)?;
    Api::all_with(client, &definitions).create(&PostParams::default(), &definition).await?;
    Ok(())
}

fn instances(client: kube::Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("reference.osb.internal", "v1", "ServiceInstance");
    Api::namespaced_with(client, "default", &ApiResource::from_gvk_with_plural(&kind, "serviceinstances"))
}

fn instance(name: &str) -> Value {
    let sealed = "c2VhbGVk".repeat(48);
    json!({
        "apiVersion": "reference.osb.internal/v1", "kind": "ServiceInstance",
        "metadata": {"name": name, "finalizers": ["osb.internal/deprovision"], "labels": {"osb.internal/service": "postgres", "osb.internal/plan": "small"}},
        "spec": {
            "instanceId": name, "serviceId": "8a1b2c3d-0000-4000-8000-000000000001", "planId": "8a1b2c3d-0000-4000-8000-000000000002",
            "incarnation": "9f8e7d6c5b4a39281706", "digest": "k1:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
            "context": {"platform": "kubernetes", "namespace": "team-a", "clusterid": "c-1"}, "parameters": sealed,
        },
        "record": {"epoch": 1, "counter": 1, "operation": {
            "id": format!("op-{name}"), "verb": "Provision", "acceptedAt": "2026-11-21T07:40:53Z", "attempt": 1, "request": "c2VhbGVk".repeat(32),
        }},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Pending", "message": "", "lastTransitionTime": "2026-11-21T07:40:53Z"}]},
    })
}

async fn create(api: Api<DynamicObject>, number: usize) {
    let object: DynamicObject = serde_json::from_value(instance(&format!("i-{number}"))).expect("an object");
    api.create(&PostParams { field_manager: Some("osb".to_owned()), ..PostParams::default() }, &object).await.expect("created");
}

async fn patch(api: Api<DynamicObject>, number: usize) {
    let patch = json!({
        "record": {"operation": null, "history": [{"id": format!("op-{number}"), "verb": "Provision", "outcome": "Succeeded", "endedAt": "2026-11-21T07:40:54Z"}], "outputs": "c2VhbGVk".repeat(16)},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Provisioned", "message": "", "lastTransitionTime": "2026-11-21T07:40:54Z"}]},
    });
    let params = PatchParams { field_manager: Some("osb".to_owned()), ..PatchParams::default() };
    api.patch(&format!("i-{number}"), &params, &Patch::Merge(patch)).await.expect("patched");
}

async fn get(api: Api<DynamicObject>, number: usize) {
    api.get(&format!("i-{number}")).await.expect("there");
}

async fn run<F, T>(what: &str, writes: usize, tasks: usize, client: kube::Client, one: F)
where
    F: Fn(Api<DynamicObject>, usize) -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send,
{
    let one = Arc::new(one);
    let (cpu, start) = (cpu_time(), Instant::now());
    let handles: Vec<_> = (0..tasks)
        .map(|task| {
            let (one, api) = (one.clone(), instances(client.clone()));
            tokio::spawn(async move {
                for number in (task..writes).step_by(tasks) {
                    one(api.clone(), number).await;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.await.expect("no task panics");
    }
    let (cpu, wall) = (cpu_time().saturating_sub(cpu), start.elapsed());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / writes as f64;
    println!("{what:12} {:9.0}/s  {:6.2} us wall  {:6.2} us CPU each", writes as f64 / wall.as_secs_f64(), each(wall), each(cpu));
}

/// User and system time of this process, from `/proc/self/stat` in ticks of 10 ms; nothing where there is no such file.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
