//! What the front needs of a broker.

use std::fmt::Write as _;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use osb_api::answer::{BindingDetails, Bound, InstanceDetails, Polled, Provisioned, Removed, Updated};
use osb_api::catalog::CheckedCatalog;
use osb_api::error::{BindError, DeprovisionError, FetchError, PollError, ProvisionError, UnbindError, UpdateError};
use osb_api::id::{BindingId, InstanceId};
use osb_api::identity::OriginatingIdentity;
use osb_api::request::{BindRequest, FetchQuery, Incomplete, PollQuery, ProvisionRequest, RemovalQuery, UpdateRequest};
use osb_api::version::ApiVersion;

use crate::trace::Trace;

/// A platform that buys from this broker: a tenant. A credential or a URL prefix belongs to one platform, and another
/// platform's ids do not exist for it.
///
/// ```
/// # use osb_server as osb_sdk;
/// use osb_sdk::Platform;
///
/// let platform = Platform("cf".into());
/// assert_eq!(&*platform.0, "cf");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform(pub Arc<str>);

/// Who calls, and what every request may carry.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant that the credential belongs to.
    pub platform: Platform,
    /// The version that the platform speaks.
    pub version: ApiVersion,
    /// The user of the platform, when it says so (OSB-OID-01).
    pub identity: Option<Arc<OriginatingIdentity>>,
    /// `X-Broker-API-Request-Identity`: untrusted text, at most 256 bytes, for log lines (OSB-RID-02).
    pub request_identity: Option<Arc<str>>,
    /// The trace that the platform has begun, if there is one.
    pub trace: Option<Arc<Trace>>,
    /// What the broker tells of the call beside its answer.
    pub trail: Trail,
}

impl Caller {
    /// A platform of which nothing more is known.
    pub fn new(platform: Platform, version: ApiVersion) -> Self {
        Self {
            platform,
            version,
            identity: None,
            request_identity: None,
            trace: None,
            trail: Trail::default(),
        }
    }
}

/// What a broker tells of a call for its audit line: whether it began something. A broker that says nothing has begun
/// what it accepts.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<AtomicU8>);

const JOINED: u8 = 1;
const REPEATED: u8 = 2;

impl Trail {
    /// The same request had begun an operation that still runs; this one waits for it, too.
    pub fn joined(&self) {
        self.0.store(JOINED, Ordering::Relaxed);
    }

    /// The same request had been carried out already.
    pub fn repeated(&self) {
        self.0.store(REPEATED, Ordering::Relaxed);
    }

    pub(crate) fn says(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            JOINED => "joined",
            REPEATED => "repeated",
            _ => "new",
        }
    }
}

/// The catalog, serialised once.
#[derive(Clone, Debug)]
pub struct ServedCatalog {
    /// The body of `GET /v2/catalog`.
    pub body: Bytes,
    /// Strong and quoted; changes exactly when the body does (OSB-CAT-09).
    pub etag: Arc<str>,
}

impl ServedCatalog {
    /// A body with the tag that belongs to it: a digest of the bytes.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = ring::digest::digest(&ring::digest::SHA256, &body);
        let mut etag = String::with_capacity(34);
        etag.push('"');
        for byte in &digest.as_ref()[..16] {
            write!(etag, "{byte:02x}").expect("writing to a String does not fail");
        }
        etag.push('"');
        Self {
            body,
            etag: etag.into(),
        }
    }
}

impl From<&CheckedCatalog> for ServedCatalog {
    fn from(catalog: &CheckedCatalog) -> Self {
        Self::new(catalog.body().to_vec())
    }
}

/// A broker, as the front sees it. One call per route; checks of the request against catalog and state are the
/// broker's, those of HTTP, authentication and shape are the front's.
///
/// A call is driven to its end even when the client hangs up.
pub trait Broker: Send + Sync + 'static {
    /// `GET /v2/catalog`.
    fn catalog(&self) -> ServedCatalog;

    /// `PUT /v2/service_instances/:instance_id`.
    fn provision(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: ProvisionRequest,
        incomplete: Incomplete,
    ) -> impl Future<Output = Result<Provisioned, ProvisionError>> + Send;

    /// `DELETE /v2/service_instances/:instance_id`.
    fn deprovision(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> impl Future<Output = Result<Removed, DeprovisionError>> + Send;

    /// `GET /v2/service_instances/:instance_id/last_operation`.
    fn instance_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: PollQuery,
    ) -> impl Future<Output = Result<Polled, PollError>> + Send;

    /// `PUT /v2/service_instances/:instance_id/service_bindings/:binding_id`.
    fn bind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        request: BindRequest,
        incomplete: Incomplete,
    ) -> impl Future<Output = Result<Bound, BindError>> + Send;

    /// `DELETE /v2/service_instances/:instance_id/service_bindings/:binding_id`.
    fn unbind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> impl Future<Output = Result<Removed, UnbindError>> + Send;

    /// `GET /v2/service_instances/:instance_id/service_bindings/:binding_id/last_operation`.
    fn binding_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: PollQuery,
    ) -> impl Future<Output = Result<Polled, PollError>> + Send;

    /// `PATCH /v2/service_instances/:instance_id`. Without an implementation each update is refused as not supported
    /// (OSB-UPD-13).
    fn update(
        &self,
        _caller: Caller,
        _instance: InstanceId,
        _request: UpdateRequest,
        _incomplete: Incomplete,
    ) -> impl Future<Output = Result<Updated, UpdateError>> + Send {
        let description = "this service does not support updates".to_owned();
        ready(Err(UpdateError::NotSupported {
            description,
            update_repeatable: Some(false),
        }))
    }

    /// `GET /v2/service_instances/:instance_id`. Without an implementation nothing is retrievable (OSB-GETI-09).
    fn fetch_instance(
        &self,
        _caller: Caller,
        _instance: InstanceId,
        _query: FetchQuery,
    ) -> impl Future<Output = Result<InstanceDetails, FetchError>> + Send {
        ready(Err(FetchError::NotFound))
    }

    /// `GET /v2/service_instances/:instance_id/service_bindings/:binding_id`. Without an implementation nothing is
    /// retrievable (OSB-GETB-02).
    fn fetch_binding(
        &self,
        _caller: Caller,
        _instance: InstanceId,
        _binding: BindingId,
        _query: FetchQuery,
    ) -> impl Future<Output = Result<BindingDetails, FetchError>> + Send {
        ready(Err(FetchError::NotFound))
    }

    /// Whether requests can be served now; `Err` says why not. For `/readyz`.
    fn ready(&self) -> Result<(), String>;

    /// Adds the broker's own measurements to `/metrics`.
    fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry);
}
