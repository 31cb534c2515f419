//! What the front costs beside HTTP itself: processor time of requests through the service, without sockets, on one
//! thread. Linux only.
//!
//! ```text
//! cargo run --release -p osb-server --example cost
//! provision        3.1 µs
//! …
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use osb_api::answer::{BindingBody, Bound, InstanceBody, LastOperation, Polled, Provisioned, Removed, State};
use osb_api::error::{BindError, DeprovisionError, PollError, ProvisionError, UnbindError};
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::request::{BindRequest, Incomplete, PollQuery, ProvisionRequest, RemovalQuery};
use osb_server::{Broker, Caller, Config, Platform, ServedCatalog, Server};
use prometheus_client::registry::Registry;

const BATCHES: u32 = 400;
const BATCH: u32 = 500;

/// Says yes to everything at once.
struct Yes(ServedCatalog);

impl Broker for Yes {
    fn catalog(&self) -> ServedCatalog {
        self.0.clone()
    }

    async fn provision(
        &self,
        _: Caller,
        _: InstanceId,
        _: ProvisionRequest,
        _: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        let operation = OperationId::new("1").map_err(|error| ProvisionError::Invalid(error.to_string()))?;
        Ok(Provisioned::Accepted(operation, InstanceBody::default()))
    }

    async fn deprovision(
        &self,
        _: Caller,
        _: InstanceId,
        _: RemovalQuery,
        _: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        Ok(Removed::Done)
    }

    async fn instance_last_operation(&self, _: Caller, _: InstanceId, _: PollQuery) -> Result<Polled, PollError> {
        let body = LastOperation {
            state: State::Succeeded,
            description: None,
            instance_usable: None,
            update_repeatable: None,
        };
        Ok(Polled {
            body,
            retry_after_secs: None,
        })
    }

    async fn bind(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: BindRequest,
        _: Incomplete,
    ) -> Result<Bound, BindError> {
        Ok(Bound::Created(BindingBody::default()))
    }

    async fn unbind(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: RemovalQuery,
        _: Incomplete,
    ) -> Result<Removed, UnbindError> {
        Ok(Removed::Done)
    }

    async fn binding_last_operation(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: PollQuery,
    ) -> Result<Polled, PollError> {
        Err(PollError::NotFound)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn register_metrics(&self, _: &mut Registry) {}
}

fn request(method: &str, uri: &str, body: &'static str) -> Request<Full<Bytes>> {
    let identity = "cloudfoundry eyJ1c2VyX2lkIjoiNjgzZWE3NDgtMzA5Mi00ZmY0LWI2NTYtMzljYWNjNGQ1MzYwIn0=";
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", "Basic dXNlcjpwYXNz")
        .header("x-broker-api-version", "2.17")
        .header("x-broker-api-originating-identity", identity)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a well-formed request")
}

/// The processor time of this thread, as Linux counts it: other programs on the machine do not show in it.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(
        text.split(' ').next().unwrap_or_default().parse()?,
    ))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::default().user("user", "pass", Platform("cf".into()));
    let server = Server::new(Arc::new(Yes(ServedCatalog::new(vec![b' '; 20_000]))), &config)?;
    let instance = "/v2/service_instances/2f0c9f0e-7d0c-4b52-8d3f-0d4f6f5b2a11";
    let provision = r#"{"service_id":"5f2c6f9e-3d1b","plan_id":"9a1d0c55-77aa","organization_guid":"7c1f0a2e-0000-4000","space_guid":"8d2f0a2e-0000-4000",
        "context":{"platform":"cloudfoundry","organization_guid":"7c1f0a2e-0000-4000","space_guid":"8d2f0a2e-0000-4000","instance_name":"db"},
        "parameters":{"size":"small","replicas":3,"extensions":["uuid-ossp","postgis"]}}"#;
    let removal = format!("{instance}?service_id=5f2c&plan_id=9a1d&accepts_incomplete=true");
    let cases = [
        ("catalog", "GET", "/v2/catalog".to_owned(), ""),
        (
            "provision",
            "PUT",
            format!("{instance}?accepts_incomplete=true"),
            provision,
        ),
        (
            "last_operation",
            "GET",
            format!("{instance}/last_operation?operation=1"),
            "",
        ),
        (
            "bind",
            "PUT",
            format!("{instance}/service_bindings/b"),
            r#"{"service_id":"5f2c","plan_id":"9a1d"}"#,
        ),
        ("deprovision", "DELETE", removal, ""),
        ("refused", "GET", "/nothing".to_owned(), ""),
    ];
    for (name, method, uri, body) in cases {
        let mut spent = Duration::ZERO;
        for _ in 0..BATCHES {
            let requests: Vec<_> = (0..BATCH).map(|_| request(method, &uri, body)).collect();
            let started = cpu_time()?;
            for request in requests {
                std::hint::black_box(server.handle(request).await);
            }
            spent += cpu_time()? - started;
        }
        println!(
            "{name:16}{:5.1} µs",
            spent.as_secs_f64() * 1e6 / f64::from(BATCH * BATCHES)
        );
    }
    Ok(())
}
