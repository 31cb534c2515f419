//! `cargo xtask bench templates`: instances of a template of ten objects, and a catalog of ten thousand templates.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loadgen::http::Connection;
use serde_json::{Value, json};

use crate::apiserver::https::Https;
use crate::apiserver::sides::place_of;
use crate::drive::{Client, drive, unexpected};
use crate::process;
use crate::server::{Server, free_address};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    instances: u64,
    templates: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        instances: 4000,
        templates: 10_000,
    };
    pub(crate) const QUICK: Self = Self {
        instances: 400,
        templates: 500,
    };
}

/// Objects of the template that is provisioned.
const OBJECTS: usize = 10;

/// How often a new template is put into a catalog.
const TIMES: usize = 20;

/// No instance takes so long.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Measures, and prints what came of it.
pub(crate) fn run(program: &Path, work: &Path, size: Size) -> Result<()> {
    std::fs::create_dir_all(work)?;
    provisions(program, work, size)?;
    catalog(program, work, size)
}

/// A template of ten objects of five kinds, of which all know a generated password.
fn ten() -> Value {
    let kinds = ["Secret", "ConfigMap", "ServiceAccount", "Service", "ConfigMap"];
    let object = |at: usize| {
        let kind = kinds[at % kinds.len()];
        let mut object = json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {"name": format!("${{NAME}}-{at}"), "labels": {"app": "${NAME}"}},
        });
        match kind {
            "Secret" => object["stringData"] = json!({"password": "${PASSWORD}", "size": "${SIZE}"}),
            "ConfigMap" => {
                object["data"] = json!({"url": "postgres://${NAME}:${PASSWORD}@db/${NAME}", "size": "${SIZE}"})
            }
            "Service" => object["spec"] = json!({"clusterIP": "None", "ports": [{"name": "a", "port": 5432}]}),
            _ => {}
        }
        object
    };
    json!({
        "kind": "Template", "apiVersion": "template.openshift.io/v1",
        "metadata": {"name": "ten", "annotations": {"template.osb.internal/parameters": "NAME: {unique: true}"}},
        "parameters": [
            {"name": "NAME", "value": "db"}, {"name": "SIZE", "value": "1Gi"},
            {"name": "PASSWORD", "generate": "expression", "from": "[a-zA-Z0-9]{24}"},
        ],
        "objects": (0..OBJECTS).map(object).collect::<Vec<_>>(),
    })
}

fn provisions(program: &Path, work: &Path, size: Size) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("templates-").tempdir_in(work)?;
    let templates = folder.path().join("templates");
    std::fs::create_dir_all(&templates)?;
    std::fs::write(templates.join("ten.json"), ten().to_string())?;
    let server = Server::templates(program, &folder.path().join("data"), &templates, free_address()?)?;
    let ids = service_ids(&server, "ten")?;
    let provision = async |client: &mut Client<'_>, number: u64| provision(client, number, &ids).await;
    // What is made once, at the first instance.
    drive(&server.target, server.pid(), 0, 50, ENDS_WITHIN, provision)?;
    let measured = drive(
        &server.target,
        server.pid(),
        50,
        size.instances,
        ENDS_WITHIN * 5,
        provision,
    )?;
    println!(
        "provision of a template of {OBJECTS} objects to succeeded: {:.0}/s, {:.1} ms (99 %: {:.1} ms), {:.2} ms of CPU time each",
        measured.per_second,
        measured.p50.as_secs_f64() * 1e3,
        measured.p99.as_secs_f64() * 1e3,
        measured.server_cpu.as_secs_f64() * 1e3
    );
    server.stop()
}

/// Provisions, and polls until it has ended.
async fn provision(client: &mut Client<'_>, number: u64, ids: &(String, String)) -> Result<()> {
    let path = format!("/v2/service_instances/i{number}");
    let body = json!({"service_id": ids.0, "plan_id": ids.1, "organization_guid": "o", "space_guid": "s"});
    let put = format!("{path}?accepts_incomplete=true");
    let body = body.to_string();
    let answer = client.call("PUT", &put, Some(body.as_bytes())).await?;
    match answer.status {
        200 | 201 => return Ok(()),
        202 => {}
        _ => bail!(unexpected("PUT", &put, &answer)),
    }
    let poll = format!("{path}/last_operation");
    let deadline = Instant::now() + ENDS_WITHIN;
    while Instant::now() < deadline {
        let answer = client.call("GET", &poll, None).await?;
        let state: Value = serde_json::from_slice(answer.body)?;
        match state["state"].as_str() {
            Some("succeeded") => return Ok(()),
            Some("in progress") => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => bail!(unexpected("GET", &poll, &answer)),
        }
    }
    bail!("{path} does not end")
}

/// Makes a template, and waits until a request is refused for what its service knows.
async fn appears(kubernetes: &mut Https, client: &mut Client<'_>, number: usize) -> Result<Duration> {
    let (service, plan) = (format!("service-{number}"), format!("plan-{number}"));
    let mut template = one_of_many(number);
    let annotations = &mut template["metadata"]["annotations"];
    annotations["template.osb.internal/service-id"] = service.as_str().into();
    annotations["template.osb.internal/plans"] = json!([{"name": "default", "id": plan}]).to_string().into();
    let body = json!({
        "service_id": service, "plan_id": plan, "organization_guid": "o", "space_guid": "s", "parameters": {"NONE": "x"},
    });
    let body = body.to_string();
    let begun = Instant::now();
    let path = "/apis/template.openshift.io/v1/namespaces/templates/templates";
    let (status, answer) = kubernetes
        .call("POST", path, Some(template.to_string().as_bytes()))
        .await?;
    if status != 201 {
        bail!(
            "POST {path} was answered with {status}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    while begun.elapsed() < ENDS_WITHIN {
        let path = "/v2/service_instances/none?accepts_incomplete=true";
        let answer = client.call("PUT", path, Some(body.as_bytes())).await?;
        let refusal: Value = serde_json::from_slice(answer.body)?;
        if refusal["description"]
            .as_str()
            .is_some_and(|text| text.contains("no such parameter"))
        {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("the template {number} is not offered")
}

fn service_ids(server: &Server, name: &str) -> Result<(String, String)> {
    let mut request = Vec::new();
    server.target.request(&mut request, "GET", "/v2/catalog", None);
    let mut connection = Connection::open(server.target.addr, ENDS_WITHIN)?;
    connection.send(&request)?;
    let catalog: Value = serde_json::from_slice(connection.receive()?.body)?;
    let services = catalog["services"].as_array().into_iter().flatten();
    let mut services = services.filter(|service| service["name"] == name);
    let service = services.next().with_context(|| format!("{name} is not offered"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&service["id"]), text(&service["plans"][0]["id"])))
}

fn one_of_many(number: usize) -> Value {
    let parameters: Vec<Value> = (0..10)
        .map(|at| json!({"name": format!("PARAMETER_{at}"), "displayName": "A parameter", "description": "What it is for", "value": "x"}))
        .collect();
    json!({
        "kind": "Template", "apiVersion": "template.openshift.io/v1",
        "metadata": {"name": format!("t{number}"), "annotations": {
            "description": "One of many", "tags": "many,alike", "openshift.io/display-name": format!("Template {number}"),
        }},
        "parameters": parameters,
        "objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"x": "${PARAMETER_0}"}}],
    })
}

fn catalog(program: &Path, work: &Path, size: Size) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("templates-").tempdir_in(work)?;
    let (data, templates) = (folder.path().join("data"), folder.path().join("templates"));
    std::fs::create_dir_all(&templates)?;
    for number in 0..size.templates {
        std::fs::write(
            templates.join(format!("t{number}.json")),
            one_of_many(number).to_string(),
        )?;
    }
    let kubernetes = free_address()?;
    let server = Server::templates(program, &data, &templates, kubernetes)?;
    let count = size.templates;
    println!(
        "{count} templates in a folder, offered for the first time after {:.1} s",
        server.ready_after.as_secs_f64()
    );
    server.stop()?;
    let server = Server::templates(program, &data, &templates, kubernetes)?;
    server.settle()?;
    println!(
        "{count} templates, started again after {:.1} s; {} MiB of memory",
        server.ready_after.as_secs_f64(),
        process::resident_bytes(server.pid())? >> 20
    );
    let place = place_of(kubernetes, &data.join("kubeconfig"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times = runtime.block_on(async {
        let mut kubernetes = place.connect().await?;
        let mut client = Client::connect(&server.target, 0).await?;
        let mut times = Vec::new();
        for number in count..count + TIMES {
            times.push(appears(&mut kubernetes, &mut client, number).await?);
        }
        anyhow::Ok(times)
    })?;
    times.sort();
    println!(
        "a new template among {count} is offered after {:.0} ms (the slowest of {TIMES}: {:.0} ms)",
        times[TIMES / 2].as_secs_f64() * 1e3,
        times[TIMES - 1].as_secs_f64() * 1e3
    );
    server.stop()
}
