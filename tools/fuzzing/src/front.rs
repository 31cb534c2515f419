//! Whole OSB requests, on a front whose broker answers in every way that there is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt as _;
use osb_api::answer::{
    BindingBody, BindingDetails, Bound, InstanceBody, InstanceDetails, LastOperation, Polled, Provisioned, Removed,
    State, Updated,
};
use osb_api::error::{
    BindError, DeprovisionError, Fault, FetchError, PollError, ProvisionError, UnbindError, UpdateError,
};
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::request::{BindRequest, FetchQuery, Incomplete, PollQuery, ProvisionRequest, RemovalQuery, UpdateRequest};
use osb_server::{Broker, Caller, Config, Platform, ResponseBody, ServedCatalog, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{bytes_of, http_text};

/// A broker whose answer is chosen by the id that it is asked about.
pub(crate) struct EveryAnswer;

fn operation(id: &str) -> OperationId {
    OperationId::new(format!("of-{}", id.len())).expect("a short text is an id")
}

fn fault(number: u8) -> Fault {
    match number % 4 {
        0 => Fault::Failed("it failed".to_owned()),
        1 => Fault::Unavailable("not now".to_owned()),
        2 => Fault::Forbidden(String::new()),
        _ => Fault::TooMany { retry_after_secs: 3 },
    }
}

fn removed(id: &str, incomplete: Incomplete) -> Removed {
    match incomplete {
        Incomplete::Accepted => Removed::Accepted(operation(id)),
        Incomplete::Refused => Removed::Done,
    }
}

fn polled(id: &str, query: &PollQuery) -> Result<Polled, PollError> {
    let number = bytes_of::choice(id, 8);
    let state = match number {
        0 => State::InProgress,
        1 => State::Succeeded,
        2 => State::Failed,
        3 => return Err(PollError::NotFound),
        4 => return Err(PollError::Gone),
        5 => return Err(PollError::Invalid("wrong".to_owned())),
        _ => return Err(fault(number).into()),
    };
    let body = LastOperation {
        state,
        description: query.operation.as_ref().map(|operation| operation.as_str().to_owned()),
        instance_usable: Some(true),
        update_repeatable: Some(false),
    };
    Ok(Polled {
        body,
        retry_after_secs: Some(5),
    })
}

impl Broker for EveryAnswer {
    fn catalog(&self) -> ServedCatalog {
        ServedCatalog::new(Bytes::from_static(br#"{"services":[]}"#))
    }

    async fn provision(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        let body = InstanceBody {
            dashboard_url: caller.identity.map(|identity| identity.platform.clone()),
            ..InstanceBody::default()
        };
        let number = bytes_of::choice(instance.as_str(), 8);
        match (number, incomplete) {
            (0 | 1, Incomplete::Accepted) => Ok(Provisioned::Accepted(operation(instance.as_str()), body)),
            (0 | 1, Incomplete::Refused) => Err(ProvisionError::AsyncRequired),
            (2, _) => Ok(Provisioned::Created(body)),
            (3, _) => Ok(Provisioned::Exists(body)),
            (4, _) => Err(ProvisionError::Conflict(request.space_guid)),
            (5, _) => Err(ProvisionError::Concurrency),
            (6, _) => Err(ProvisionError::Invalid(request.organization_guid)),
            _ => Err(fault(bytes_of::choice(request.plan_id.as_str(), 4)).into()),
        }
    }

    async fn deprovision(
        &self,
        _: Caller,
        instance: InstanceId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        match bytes_of::choice(instance.as_str(), 6) {
            0 | 1 => Ok(removed(instance.as_str(), incomplete)),
            2 => Err(DeprovisionError::Gone),
            3 => Err(DeprovisionError::Concurrency),
            4 => Err(DeprovisionError::Invalid("wrong".to_owned())),
            _ => Err(fault(bytes_of::choice(query.plan_id.as_str(), 4)).into()),
        }
    }

    async fn instance_last_operation(&self, _: Caller, id: InstanceId, query: PollQuery) -> Result<Polled, PollError> {
        polled(id.as_str(), &query)
    }

    async fn bind(
        &self,
        _: Caller,
        instance: InstanceId,
        binding: BindingId,
        request: BindRequest,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        let body = BindingBody {
            credentials: Some(request.parameters.unwrap_or_default()),
            ..BindingBody::default()
        };
        match (bytes_of::choice(binding.as_str(), 8), incomplete) {
            (0 | 1, Incomplete::Accepted) => Ok(Bound::Accepted(operation(binding.as_str()))),
            (0 | 1, Incomplete::Refused) => Err(BindError::AsyncRequired),
            (2, _) => Ok(Bound::Created(body)),
            (3, _) => Ok(Bound::Exists(body)),
            (4, _) => Err(BindError::NoInstance),
            (5, _) => Err(BindError::Conflict("other".to_owned())),
            (6, _) => Err(BindError::Invalid("wrong".to_owned())),
            _ => Err(fault(bytes_of::choice(instance.as_str(), 4)).into()),
        }
    }

    async fn unbind(
        &self,
        _: Caller,
        _: InstanceId,
        binding: BindingId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, UnbindError> {
        match bytes_of::choice(binding.as_str(), 6) {
            0 | 1 => Ok(removed(binding.as_str(), incomplete)),
            2 => Err(UnbindError::Gone),
            3 => Err(UnbindError::Concurrency),
            4 => Err(UnbindError::AsyncRequired),
            _ => Err(fault(bytes_of::choice(query.service_id.as_str(), 4)).into()),
        }
    }

    async fn binding_last_operation(
        &self,
        _: Caller,
        _: InstanceId,
        binding: BindingId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        polled(binding.as_str(), &query)
    }

    async fn update(
        &self,
        _: Caller,
        instance: InstanceId,
        request: UpdateRequest,
        incomplete: Incomplete,
    ) -> Result<Updated, UpdateError> {
        let body = InstanceBody::default();
        match (bytes_of::choice(instance.as_str(), 5), incomplete) {
            (0, Incomplete::Accepted) => Ok(Updated::Accepted(operation(instance.as_str()), body)),
            (1, _) => Ok(Updated::Done(body)),
            (2, _) => Err(UpdateError::NoInstance),
            (3, _) => Err(UpdateError::Invalid(request.service_id.as_str().to_owned())),
            _ => Err(UpdateError::NotSupported {
                description: "no".to_owned(),
                update_repeatable: request.plan_id.map(|_| true),
            }),
        }
    }

    async fn fetch_instance(
        &self,
        _: Caller,
        id: InstanceId,
        query: FetchQuery,
    ) -> Result<InstanceDetails, FetchError> {
        match bytes_of::choice(id.as_str(), 4) {
            0 => Ok(InstanceDetails {
                plan_id: query.plan_id,
                ..InstanceDetails::default()
            }),
            1 => Err(FetchError::NotFound),
            2 => Err(FetchError::Concurrency),
            _ => Err(FetchError::Invalid("wrong".to_owned())),
        }
    }

    async fn fetch_binding(
        &self,
        _: Caller,
        _: InstanceId,
        id: BindingId,
        _: FetchQuery,
    ) -> Result<BindingDetails, FetchError> {
        match bytes_of::choice(id.as_str(), 3) {
            0 => Ok(BindingDetails::default()),
            1 => Err(FetchError::NotFound),
            _ => Err(fault(1).into()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn register_metrics(&self, _: &mut prometheus_client::registry::Registry) {}
}

/// A front with a login and a prefix, and a runtime whose time jumps.
struct Fixture {
    runtime: Runtime,
    server: Server<EveryAnswer>,
    usual: Vec<(HeaderName, HeaderValue)>,
}

thread_local! {
    static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
}

impl Fixture {
    fn new() -> Self {
        let platform = Platform("cf".into());
        let config = Config {
            max_body_bytes: 64 << 10,
            ..Config::default()
        };
        let config = config
            .user("cf", "a long password", platform.clone())
            .prefix("cf", platform);
        let login = osb_api::base64::encode(b"cf:a long password");
        let header = |name: &'static str, value: &str| {
            let value = HeaderValue::try_from(value).expect("a plain text is a value");
            (HeaderName::from_static(name), value)
        };
        Self {
            runtime: paused_runtime(),
            server: Server::new(Arc::new(EveryAnswer), &config).expect("the settings are right"),
            usual: vec![
                header("authorization", &format!("Basic {login}")),
                header("x-broker-api-version", "2.17"),
                header("content-type", "application/json"),
            ],
        }
    }
}

/// A runtime on this thread, whose clock jumps to the next thing that happens.
pub(crate) fn paused_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output can always be made")
}

/// Every request gets an answer of the specification, with a JSON object for a body.
pub(crate) fn front(data: &[u8]) {
    FIXTURE.with_borrow_mut(|fixture| {
        let fixture = fixture.get_or_insert_with(Fixture::new);
        let Some(request) = http_text::request(data, &fixture.usual) else {
            return;
        };
        let (parts, body) = request.into_parts();
        let again = http::Request::from_parts(parts.clone(), body);
        let response = fixture.runtime.block_on(read(fixture.server.handle(again)));
        look(&parts, &response);
    });
}

async fn read(response: impl Future<Output = Response<ResponseBody>>) -> Response<Bytes> {
    let (parts, body) = response.await.into_parts();
    let body = body.collect().await.expect("a whole body cannot fail").to_bytes();
    Response::from_parts(parts, body)
}

/// The statuses of the specification, by method; those of every refusal apart.
fn statuses(method: &Method) -> &'static [u16] {
    match *method {
        Method::GET => &[200, 304, 404, 410, 422, 503],
        Method::PUT => &[200, 201, 202, 409, 410, 422],
        Method::PATCH | Method::DELETE => &[200, 202, 410, 422],
        _ => &[],
    }
}

/// Refusals that each request can meet.
const REFUSALS: &[u16] = &[400, 401, 403, 404, 405, 408, 412, 413, 429, 500, 503];

fn look(request: &Parts, response: &Response<Bytes>) {
    let status = response.status().as_u16();
    let fits = statuses(&request.method).contains(&status) || REFUSALS.contains(&status);
    assert!(fits, "{} is answered {status}", request.method);
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(
        response.headers().get("x-broker-api-request-identity"),
        request.headers.get("x-broker-api-request-identity"),
        "the request identity does not come back"
    );
    assert_eq!(
        status == 401,
        header("www-authenticate").is_some(),
        "401 and its challenge"
    );
    assert_eq!(status == 405, header("allow").is_some(), "405 and what is allowed");
    if status == 304 {
        assert!(
            response.body().is_empty() && header("etag").is_some(),
            "304 has a tag and no body"
        );
        return;
    }
    if header("content-type") != Some("application/json") {
        assert_eq!(
            (request.uri.path(), status),
            ("/metrics", 200),
            "only measurements are no JSON"
        );
        return;
    }
    let body: BTreeMap<String, Value> = serde_json::from_slice(response.body()).expect("a body is a JSON object");
    if status >= 400 {
        let text = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .is_some_and(|text| !text.is_empty())
        };
        assert!(
            text("description") || text("error"),
            "a refusal says why: {}",
            json!(body)
        );
    }
    if status == 202 {
        assert!(
            body.get("operation").is_some_and(Value::is_string),
            "a 202 names its operation"
        );
    }
    // What was refused for what it is has not met the broker, whose own fault a 500 would be.
    assert!(status != 500 || !body.contains_key("error"), "{}", json!(body));
}
