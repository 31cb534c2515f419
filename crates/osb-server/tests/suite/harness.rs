//! A scripted broker, and requests to its front.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use osb_api::answer::{
    BindingDetails, Bound, InstanceBody, InstanceDetails, LastOperation, Polled, Provisioned, Removed, State, Updated,
};
use osb_api::base64;
use osb_api::error::{BindError, DeprovisionError, FetchError, PollError, ProvisionError, UnbindError, UpdateError};
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::request::{BindRequest, FetchQuery, Incomplete, PollQuery, ProvisionRequest, RemovalQuery, UpdateRequest};
use osb_server::{Broker, Caller, Config, Platform, ServedCatalog, Server};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::Semaphore;

pub(crate) const INSTANCE: &str = "/v2/service_instances/i";
pub(crate) const BINDING: &str = "/v2/service_instances/i/service_bindings/b";
pub(crate) const IDS: &str = "service_id=s&plan_id=p";
pub(crate) const PROVISION: &str = r#"{"service_id":"s","plan_id":"p","organization_guid":"o","space_guid":"g"}"#;
pub(crate) const BIND: &str = r#"{"service_id":"s","plan_id":"p"}"#;
pub(crate) const CATALOG: &str = r#"{"services":[]}"#;

/// A call that has reached the broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Provision(InstanceId, ProvisionRequest, Incomplete),
    Deprovision(InstanceId, RemovalQuery, Incomplete),
    PollInstance(InstanceId, PollQuery),
    Update(InstanceId, UpdateRequest, Incomplete),
    FetchInstance(InstanceId, FetchQuery),
    FetchBinding(InstanceId, BindingId, FetchQuery),
    Bind(InstanceId, BindingId, BindRequest, Incomplete),
    Unbind(InstanceId, BindingId, RemovalQuery, Incomplete),
    PollBinding(InstanceId, BindingId, PollQuery),
}

/// What the broker is to answer.
pub(crate) struct Script {
    pub(crate) provision: fn() -> Result<Provisioned, ProvisionError>,
    pub(crate) deprovision: fn() -> Result<Removed, DeprovisionError>,
    pub(crate) bind: fn() -> Result<Bound, BindError>,
    pub(crate) unbind: fn() -> Result<Removed, UnbindError>,
    pub(crate) update: fn() -> Result<Updated, UpdateError>,
    pub(crate) fetch_instance: fn() -> Result<InstanceDetails, FetchError>,
    pub(crate) fetch_binding: fn() -> Result<BindingDetails, FetchError>,
    pub(crate) poll: fn() -> Result<Polled, PollError>,
    pub(crate) ready: fn() -> Result<(), String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            provision: || Ok(Provisioned::Created(InstanceBody::default())),
            deprovision: || Ok(Removed::Done),
            bind: || Ok(Bound::Accepted(operation("op"))),
            unbind: || Ok(Removed::Done),
            update: || Ok(Updated::Done(InstanceBody::default())),
            fetch_instance: || Err(FetchError::NotFound),
            fetch_binding: || Err(FetchError::NotFound),
            poll: || Ok(polled(State::Succeeded, None)),
            ready: || Ok(()),
        }
    }
}

pub(crate) fn operation(text: &str) -> OperationId {
    OperationId::new(text).unwrap()
}

pub(crate) fn polled(state: State, retry_after_secs: Option<u32>) -> Polled {
    let body = LastOperation {
        state,
        description: None,
        instance_usable: None,
        update_repeatable: None,
    };
    Polled { body, retry_after_secs }
}

/// Answers by script; provisions wait for the gate.
pub(crate) struct Scripted {
    pub(crate) script: Script,
    pub(crate) seen: Mutex<Vec<(Caller, Seen)>>,
    pub(crate) gate: Semaphore,
    pub(crate) finished: Semaphore,
}

impl Scripted {
    fn note(&self, caller: Caller, seen: Seen) {
        self.seen.lock().unwrap().push((caller, seen));
    }
}

impl Broker for Scripted {
    fn catalog(&self) -> ServedCatalog {
        ServedCatalog::new(CATALOG)
    }

    async fn provision(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        self.note(caller, Seen::Provision(instance, request, incomplete));
        drop(self.gate.acquire().await);
        self.finished.add_permits(1);
        (self.script.provision)()
    }

    async fn deprovision(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        self.note(caller, Seen::Deprovision(instance, query, incomplete));
        (self.script.deprovision)()
    }

    async fn instance_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        self.note(caller, Seen::PollInstance(instance, query));
        (self.script.poll)()
    }

    async fn bind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        request: BindRequest,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        self.note(caller, Seen::Bind(instance, binding, request, incomplete));
        (self.script.bind)()
    }

    async fn unbind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, UnbindError> {
        self.note(caller, Seen::Unbind(instance, binding, query, incomplete));
        (self.script.unbind)()
    }

    async fn binding_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        self.note(caller, Seen::PollBinding(instance, binding, query));
        (self.script.poll)()
    }

    async fn update(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: UpdateRequest,
        incomplete: Incomplete,
    ) -> Result<Updated, UpdateError> {
        self.note(caller, Seen::Update(instance, request, incomplete));
        (self.script.update)()
    }

    async fn fetch_instance(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: FetchQuery,
    ) -> Result<InstanceDetails, FetchError> {
        self.note(caller, Seen::FetchInstance(instance, query));
        (self.script.fetch_instance)()
    }

    async fn fetch_binding(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: FetchQuery,
    ) -> Result<BindingDetails, FetchError> {
        self.note(caller, Seen::FetchBinding(instance, binding, query));
        (self.script.fetch_binding)()
    }

    fn ready(&self) -> Result<(), String> {
        (self.script.ready)()
    }

    fn register_metrics(&self, registry: &mut Registry) {
        let gauge: prometheus_client::metrics::gauge::Gauge = prometheus_client::metrics::gauge::Gauge::default();
        registry.register("scripted", "The broker's own", gauge);
    }
}

/// A broker that has only what every broker has.
pub(crate) struct Bare;

impl Broker for Bare {
    fn catalog(&self) -> ServedCatalog {
        ServedCatalog::new(CATALOG)
    }

    async fn provision(
        &self,
        _: Caller,
        _: InstanceId,
        _: ProvisionRequest,
        _: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        Err(ProvisionError::AsyncRequired)
    }

    async fn deprovision(
        &self,
        _: Caller,
        _: InstanceId,
        _: RemovalQuery,
        _: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        Err(DeprovisionError::Gone)
    }

    async fn instance_last_operation(&self, _: Caller, _: InstanceId, _: PollQuery) -> Result<Polled, PollError> {
        Err(PollError::NotFound)
    }

    async fn bind(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: BindRequest,
        _: Incomplete,
    ) -> Result<Bound, BindError> {
        Err(BindError::NoInstance)
    }

    async fn unbind(
        &self,
        _: Caller,
        _: InstanceId,
        _: BindingId,
        _: RemovalQuery,
        _: Incomplete,
    ) -> Result<Removed, UnbindError> {
        Err(UnbindError::Gone)
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

/// A front over a broker.
pub(crate) struct Front<B = Scripted> {
    pub(crate) server: Server<B>,
    pub(crate) broker: Arc<B>,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn description(&self) -> String {
        self.json()["description"].as_str().unwrap_or_default().to_owned()
    }

    /// OSB-ERR-09, OSB-CT-01: each error is a JSON object with a description, whatever goes wrong.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(
            self.header("content-length"),
            Some(self.body.len().to_string().as_str())
        );
        assert!(!self.description().is_empty(), "{self:?}");
        self
    }
}

pub(crate) fn platform(name: &str) -> Platform {
    Platform(name.into())
}

pub(crate) fn config() -> Config {
    Config::default().user("user", "pass", platform("cf"))
}

/// A request with credentials and version.
pub(crate) fn request(method: &str, uri: &str) -> http::request::Builder {
    bare(method, uri)
        .header(AUTHORIZATION, format!("Basic {}", base64::encode(b"user:pass")))
        .header("X-Broker-API-Version", "2.17")
}

/// A request without anything.
pub(crate) fn bare(method: &str, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(uri)
}

impl Front {
    pub(crate) fn new(script: Script) -> Self {
        Self::with(script, &config())
    }

    pub(crate) fn with(script: Script, config: &Config) -> Self {
        let broker = Arc::new(Scripted {
            script,
            seen: Mutex::default(),
            gate: Semaphore::new(1),
            finished: Semaphore::new(0),
        });
        Self {
            server: Server::new(broker.clone(), config).unwrap(),
            broker,
        }
    }

    /// What has reached the broker.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.broker
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(|(_, seen)| seen.clone())
            .collect()
    }

    /// Who called last.
    pub(crate) fn caller(&self) -> Caller {
        self.broker.seen.lock().unwrap().last().expect("a call").0.clone()
    }
}

impl Front<Bare> {
    pub(crate) fn bare() -> Self {
        let broker = Arc::new(Bare);
        Self {
            server: Server::new(broker.clone(), &config()).unwrap(),
            broker,
        }
    }
}

impl<B: Broker> Front<B> {
    /// Sends a request with any body.
    pub(crate) async fn send_body<T: http_body::Body<Data = Bytes>>(
        &self,
        request: http::request::Builder,
        body: T,
    ) -> Answer {
        let response = self.server.handle(request.body(body).unwrap()).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends a request with bytes as its body.
    pub(crate) async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        self.send_body(request, Full::new(body.into())).await
    }

    /// A request without body.
    pub(crate) async fn plain(&self, method: &str, uri: &str) -> Answer {
        self.send(request(method, uri), "").await
    }

    /// A request with a JSON body.
    pub(crate) async fn json(&self, method: &str, uri: &str, body: &str) -> Answer {
        self.send(
            request(method, uri).header(CONTENT_TYPE, "application/json"),
            body.to_owned(),
        )
        .await
    }
}
