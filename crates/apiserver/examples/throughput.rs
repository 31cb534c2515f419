//! What a create and a merge patch of a custom resource cost, in process through `kube::Client`.
//!
//! `cargo run --release -p apiserver --example throughput -- [writes] [tasks]`
//!
//! Prints, for each kind of write, how many were done per second and how much CPU time of this process each took (client, server and
//! the store in memory together; the threads' time from the system's accounting). The object is a service instance of about 1.5 KB.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Options, Service, UserInfo};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const PATH: &str = "/apis/reference.osb.internal/v1/namespaces/default/serviceinstances";
const DEFINITION: &str = include_str!("../tests/data/serviceinstances.yaml");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let writes = numbers.next().transpose()?.unwrap_or(50_000);
    let tasks = numbers.next().transpose()?.unwrap_or(64);
    let server = ApiServer::open(
        objectstore::memory::open(objectstore::memory::Options::default()),
        Options::default(),
    )
    .await?;
    let client = kube::Client::new(server.service_as(UserInfo::admin()), "default");
    prepare(client.clone()).await?;
    let size = serde_json::to_vec(&instance("x"))?.len();
    println!("object {size} bytes, {writes} writes, {tasks} tasks");
    let (creates, patches, gets) = (client.clone(), client.clone(), client);
    run("create", writes, tasks, move |number| {
        create(instances(creates.clone()), number)
    })
    .await;
    run("merge patch", writes, tasks, move |number| {
        patch(instances(patches.clone()), number)
    })
    .await;
    run("get", writes, tasks, move |number| get(instances(gets.clone()), number)).await;
    println!(
        "without a client, from request bytes to answer bytes; dry runs are everything but the store's transaction:"
    );
    let service = server.service_as(UserInfo::admin());
    let bodies = Arc::new((instance("NAME").to_string(), bytes::Bytes::from(outcome(0).to_string())));
    for (what, query) in [("dry create", "?dryRun=All"), ("create", "")] {
        let (one, made) = (service.clone(), bodies.clone());
        run(what, writes, tasks, move |number| {
            let body = made.0.replace("NAME", &format!("s-{number}"));
            send(
                one.clone(),
                Request::post(format!("{PATH}{query}")).body(Full::from(body)),
            )
        })
        .await;
    }
    for (what, query) in [("dry patch", "?dryRun=All"), ("merge patch", "")] {
        let (one, patch) = (service.clone(), bodies.clone());
        run(what, writes, tasks, move |number| {
            let request = Request::patch(format!("{PATH}/s-{number}{query}"))
                .header("content-type", "application/merge-patch+json");
            send(one.clone(), request.body(Full::from(patch.1.clone())))
        })
        .await;
    }
    run("get", writes, tasks, move |number| {
        send(
            service.clone(),
            Request::get(format!("{PATH}/s-{number}")).body(Full::default()),
        )
    })
    .await;
    server.shutdown().await;
    Ok(())
}

async fn prepare(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
    let definitions = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        "customresourcedefinitions",
    );
    let definition: DynamicObject = serde_saphyr::from_str(DEFINITION)?;
    Api::all_with(client, &definitions)
        .create(&PostParams::default(), &definition)
        .await?;
    Ok(())
}

fn instances(client: kube::Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("reference.osb.internal", "v1", "ServiceInstance");
    Api::namespaced_with(
        client,
        "default",
        &ApiResource::from_gvk_with_plural(&kind, "serviceinstances"),
    )
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
    api.create(
        &PostParams {
            field_manager: Some("osb".to_owned()),
            ..PostParams::default()
        },
        &object,
    )
    .await
    .expect("created");
}

/// What the outcome of an operation changes.
fn outcome(number: usize) -> Value {
    json!({
        "record": {"operation": null, "history": [{"id": format!("op-{number}"), "verb": "Provision", "outcome": "Succeeded", "endedAt": "2026-11-21T07:40:54Z"}], "outputs": "c2VhbGVk".repeat(16)},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Provisioned", "message": "", "lastTransitionTime": "2026-11-21T07:40:54Z"}]},
    })
}

async fn patch(api: Api<DynamicObject>, number: usize) {
    let params = PatchParams {
        field_manager: Some("osb".to_owned()),
        ..PatchParams::default()
    };
    api.patch(&format!("i-{number}"), &params, &Patch::Merge(outcome(number)))
        .await
        .expect("patched");
}

async fn get(api: Api<DynamicObject>, number: usize) {
    api.get(&format!("i-{number}")).await.expect("there");
}

async fn send(service: Service, request: http::Result<Request<Full<bytes::Bytes>>>) {
    let answer = service.oneshot(request.expect("a request")).await.expect("infallible");
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.into_body().collect().await.expect("infallible");
}

async fn run<F, T>(what: &str, writes: usize, tasks: usize, one: F)
where
    F: Fn(usize) -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send,
{
    let one = Arc::new(one);
    let (cpu, start) = (cpu_time(), Instant::now());
    let handles: Vec<_> = (0..tasks)
        .map(|task| {
            let one = one.clone();
            tokio::spawn(async move {
                for number in (task..writes).step_by(tasks) {
                    one(number).await;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.await.expect("no task panics");
    }
    let (cpu, wall) = (cpu_time().saturating_sub(cpu), start.elapsed());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / writes as f64;
    println!(
        "{what:12} {:9.0}/s  {:6.2} us wall  {:6.2} us CPU each",
        writes as f64 / wall.as_secs_f64(),
        each(wall),
        each(cpu)
    );
}

/// User and system time of this process, from `/proc/self/stat` in ticks of 10 ms; nothing where there is no such file.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
