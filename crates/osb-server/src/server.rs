//! The service: each request's way from its head to its response.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::IF_NONE_MATCH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body;
use osb_api::answer::{Answer, Polled};
use osb_api::error::Refusal;
use osb_api::id::{BindingId, InstanceId};
use osb_api::identity::{IDENTITY_HEADER, IdentityError, OriginatingIdentity};
use osb_api::request::{BindRequest, Incomplete, MissingOrganization, ProvisionRequest, UpdateRequest};
use osb_api::version::{ApiVersion, VERSION_HEADER, VersionError};
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use crate::auth::{Authenticator, Login};
use crate::body::BodyReader;
use crate::broker::{Broker, Caller, Platform};
use crate::config::{Access, Config, ConfigError, Prefix};
use crate::log::{Mutation, Seen, refused};
use crate::logins::{ClientCertificate, Logins};
use crate::metrics::Metrics;
use crate::query::Query;
use crate::respond::{FrontError, REQUEST_IDENTITY, Reply, ResponseBody};
use crate::route::{Probe, Route, RouteError, Segments, method_label};
use crate::trace::Trace;
use crate::unstoppable::Unstoppable;

/// How much of `X-Broker-API-Request-Identity` the broker sees, in bytes. The response carries all of it.
const REQUEST_IDENTITY_BYTES: usize = 256;

/// The front of one broker. Cloning is cheap; all clones share limits and measurements.
pub struct Server<B> {
    front: Arc<Front<B>>,
    /// What the connection's other end has shown.
    certificate: Option<Arc<ClientCertificate>>,
}

impl<B> Clone for Server<B> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            certificate: self.certificate.clone(),
        }
    }
}

struct Front<B> {
    broker: Arc<B>,
    authenticator: RwLock<Arc<Authenticator>>,
    prefixes: Vec<Prefix>,
    probes: Access,
    metrics_access: Access,
    metrics: Metrics,
    bodies: BodyReader,
    mutations: Arc<Semaphore>,
    missing_organization: MissingOrganization,
}

impl<B: Broker> Server<B> {
    /// The front of a broker, with a registry of its own for `/metrics`.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn new(broker: Arc<B>, config: &Config) -> Result<Self, ConfigError> {
        Self::with_registry(broker, config, Registry::default())
    }

    /// As [`Server::new`]; `/metrics` also shows what the caller has registered.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn with_registry(broker: Arc<B>, config: &Config, mut registry: Registry) -> Result<Self, ConfigError> {
        config.check()?;
        broker.register_metrics(&mut registry);
        let front = Front {
            authenticator: RwLock::new(Arc::new(Authenticator::new(&config.logins)?)),
            prefixes: config.prefixes.clone(),
            probes: config.probes,
            metrics_access: config.metrics,
            metrics: Metrics::new(registry),
            bodies: BodyReader::new(config),
            mutations: Arc::new(Semaphore::new(config.max_mutations.min(Semaphore::MAX_PERMITS))),
            missing_organization: config.missing_organization,
            broker,
        };
        Ok(Self {
            front: Arc::new(front),
            certificate: None,
        })
    }

    /// Lets in others from now on, on all clones of this server. Requests that have been let in go on.
    ///
    /// # Errors
    /// [`ConfigError`] for logins that cannot work; the old ones stay.
    pub fn set_logins(&self, logins: &Logins) -> Result<(), ConfigError> {
        let authenticator = Arc::new(Authenticator::new(logins)?);
        let mut current = self.front.authenticator.write().unwrap_or_else(PoisonError::into_inner);
        *current = authenticator;
        Ok(())
    }

    /// This server, for the requests of one connection whose client has shown a certificate, or none.
    #[must_use]
    pub fn for_client(&self, certificate: Option<ClientCertificate>) -> Self {
        Self {
            front: self.front.clone(),
            certificate: certificate.map(Arc::new),
        }
    }

    /// Answers a request. Has to run in a tokio runtime.
    ///
    /// Dropping the future stops the waiting, never a call on the broker that changes something.
    pub async fn handle<R: Body<Data = Bytes>>(&self, request: Request<R>) -> Response<ResponseBody> {
        let trace = Trace::of(request.headers()).map(Arc::new);
        let span = trace.as_ref().map_or_else(tracing::Span::none, |trace| trace.span());
        self.handle_traced(request, trace).instrument(span).await
    }

    async fn handle_traced<R>(&self, request: Request<R>, trace: Option<Arc<Trace>>) -> Response<ResponseBody>
    where
        R: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let method = method_label(&parts.method);
        let mut timer = self.front.metrics.request(method);
        let mut seen = Seen {
            trace,
            request_identity: request_identity(&parts.headers),
            ..Seen::default()
        };
        let certificate = self.certificate.as_deref();
        let reply = self
            .front
            .answer(&parts, body, certificate, &mut timer.route, &mut seen)
            .await
            .unwrap_or_else(|refusal| {
                refused(method, timer.route, &seen, &refusal);
                refusal.into()
            });
        timer.code = reply.status().as_u16().into();
        reply.into_response(parts.headers.get(REQUEST_IDENTITY).cloned())
    }
}

impl<B: Broker, R: Body<Data = Bytes> + Send + 'static> tower_service::Service<Request<R>> for Server<B> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}

impl<B: Broker> Front<B> {
    /// The steps in their order: page, authentication, version, route, identity, call.
    async fn answer<R: Body<Data = Bytes>>(
        &self,
        parts: &Parts,
        body: R,
        certificate: Option<&ClientCertificate>,
        label: &mut &'static str,
        seen: &mut Seen,
    ) -> Result<Reply, FrontError> {
        let path = Segments::of(parts.uri.path());
        if let Some(probe) = Probe::of(path) {
            return self.probe(probe, parts, certificate, label).await;
        }
        let (wanted, path) = self.prefix(path);
        let login = self.login(&parts.headers, certificate, wanted).await?;
        seen.login = Some(login.clone());
        let version = version(&parts.headers)?;
        let route = Route::of(path)?;
        *label = route.label();
        (seen.instance, seen.binding) = (route.instance().cloned(), route.binding().cloned());
        let caller = Caller {
            identity: identity(&parts.headers)?,
            request_identity: seen.request_identity.clone(),
            trace: seen.trace.clone(),
            ..Caller::new(login.platform.clone(), version)
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        self.call(
            Call {
                login,
                caller,
                query,
                headers: &parts.headers,
                body,
            },
            route,
            &parts.method,
        )
        .await
    }

    /// Whom a request comes from.
    async fn login(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
        wanted: Option<&Platform>,
    ) -> Result<Login, FrontError> {
        let authenticator = self
            .authenticator
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let login = authenticator.authenticate(headers, certificate, wanted).await;
        login.ok_or_else(|| FrontError::Unauthorized(authenticator.challenge()))
    }

    /// The platform whose prefix the path has, and the path behind the prefix.
    fn prefix<'a>(&self, path: Segments<'a>) -> (Option<&Platform>, Segments<'a>) {
        let (first, rest) = path.split();
        let found = self.prefixes.iter().find(|prefix| prefix.segment == first);
        found
            .zip(rest)
            .map_or((None, path), |(prefix, rest)| (Some(&prefix.platform), rest))
    }

    async fn probe(
        &self,
        probe: Probe,
        parts: &Parts,
        certificate: Option<&ClientCertificate>,
        label: &mut &'static str,
    ) -> Result<Reply, FrontError> {
        let access = if probe == Probe::Metrics {
            self.metrics_access
        } else {
            self.probes
        };
        if access != Access::Open {
            self.login(&parts.headers, certificate, None).await?;
        }
        // As any unknown path: first the credentials, then the truth.
        if access == Access::Off {
            return Err(RouteError::NotFound.into());
        }
        *label = probe.label();
        if parts.method != Method::GET {
            return Err(FrontError::Method("GET"));
        }
        let ok = || Reply::json(Bytes::from_static(br#"{"status":"ok"}"#), None);
        Ok(match probe {
            Probe::Health => ok(),
            Probe::Ready => self.broker.ready().map_or_else(Reply::unavailable, |()| ok()),
            Probe::Metrics => Reply::metrics(self.metrics.page()),
        })
    }

    async fn call<R: Body<Data = Bytes>>(
        &self,
        call: Call<'_, R>,
        route: Route,
        method: &Method,
    ) -> Result<Reply, FrontError> {
        match (route, method) {
            (Route::Catalog, &Method::GET) => Ok(self.catalog(call.headers)),
            (Route::Instance(id), &Method::PUT) => self.provision(call, id).await,
            (Route::Instance(id), &Method::PATCH) => self.update(call, id).await,
            (Route::Instance(id), &Method::DELETE) => self.deprovision(call, id).await,
            (Route::Instance(id), &Method::GET) => {
                let query = call.query.fetch()?;
                read(self.broker.fetch_instance(call.caller, id, query)).await
            }
            (Route::InstanceOperation(id), &Method::GET) => {
                let query = call.query.poll()?;
                read(self.broker.instance_last_operation(call.caller, id, query)).await
            }
            (Route::Binding(instance, id), &Method::PUT) => self.bind(call, instance, id).await,
            (Route::Binding(instance, id), &Method::DELETE) => self.unbind(call, instance, id).await,
            (Route::Binding(instance, id), &Method::GET) => {
                let query = call.query.fetch()?;
                read(self.broker.fetch_binding(call.caller, instance, id, query)).await
            }
            (Route::BindingOperation(instance, id), &Method::GET) => {
                let query = call.query.poll()?;
                let polled = self.broker.binding_last_operation(call.caller, instance, id, query);
                read(async { polled.await.map(Polled::of_binding) }).await
            }
            (route, _) => Err(FrontError::Method(route.allow())),
        }
    }

    /// The bytes are shared between all responses (OSB-CAT-06, -07, -09).
    fn catalog(&self, headers: &HeaderMap) -> Reply {
        let catalog = self.broker.catalog();
        let Ok(etag) = HeaderValue::from_str(&catalog.etag) else {
            return Reply::json(catalog.body, None);
        };
        if has_tag(headers, &catalog.etag) {
            Reply::not_modified(etag)
        } else {
            Reply::json(catalog.body, Some(etag))
        }
    }

    async fn provision<R: Body<Data = Bytes>>(&self, call: Call<'_, R>, id: InstanceId) -> Result<Reply, FrontError> {
        let body = self.bodies.read(call.headers, call.body).await?;
        let request = ProvisionRequest::from_json(&body.bytes, self.missing_organization)?;
        let (caller, incomplete, broker) = (call.caller, call.query.incomplete(), self.broker.clone());
        let log = Mutation::new("provision", call.login, &caller, &id, None)
            .of(Some(request.service_id.as_str()), Some(request.plan_id.as_str()));
        let work = async move { broker.provision(caller, id, request, incomplete).await };
        self.mutate(log, Some(body.share), work).await
    }

    async fn update<R: Body<Data = Bytes>>(&self, call: Call<'_, R>, id: InstanceId) -> Result<Reply, FrontError> {
        let body = self.bodies.read(call.headers, call.body).await?;
        let request = UpdateRequest::from_json(&body.bytes)?;
        let (caller, incomplete, broker) = (call.caller, call.query.incomplete(), self.broker.clone());
        let log = Mutation::new("update", call.login, &caller, &id, None).of(
            Some(request.service_id.as_str()),
            request.plan_id.as_ref().map(|id| id.as_str()),
        );
        let work = async move { broker.update(caller, id, request, incomplete).await };
        self.mutate(log, Some(body.share), work).await
    }

    async fn deprovision<R>(&self, call: Call<'_, R>, id: InstanceId) -> Result<Reply, FrontError> {
        let (incomplete, query) = (call.query.incomplete(), call.query.removal()?);
        let (caller, broker) = (call.caller, self.broker.clone());
        let log = Mutation::new("deprovision", call.login, &caller, &id, None)
            .of(Some(query.service_id.as_str()), Some(query.plan_id.as_str()));
        let work = async move { broker.deprovision(caller, id, query, incomplete).await };
        self.mutate(log, None, work).await
    }

    async fn bind<R: Body<Data = Bytes>>(
        &self,
        call: Call<'_, R>,
        instance: InstanceId,
        id: BindingId,
    ) -> Result<Reply, FrontError> {
        let body = self.bodies.read(call.headers, call.body).await?;
        let request = BindRequest::from_json(&body.bytes)?;
        let incomplete = of_bindings(call.caller.version, call.query.incomplete());
        let (caller, broker) = (call.caller, self.broker.clone());
        let log = Mutation::new("bind", call.login, &caller, &instance, Some(&id)).of(
            request.service_id.as_ref().map(|id| id.as_str()),
            request.plan_id.as_ref().map(|id| id.as_str()),
        );
        let work = async move { broker.bind(caller, instance, id, request, incomplete).await };
        self.mutate(log, Some(body.share), work).await
    }

    async fn unbind<R>(&self, call: Call<'_, R>, instance: InstanceId, id: BindingId) -> Result<Reply, FrontError> {
        let incomplete = of_bindings(call.caller.version, call.query.incomplete());
        let query = call.query.removal()?;
        let (caller, broker) = (call.caller, self.broker.clone());
        let log = Mutation::new("unbind", call.login, &caller, &instance, Some(&id))
            .of(Some(query.service_id.as_str()), Some(query.plan_id.as_str()));
        let work = async move { broker.unbind(caller, instance, id, query, incomplete).await };
        self.mutate(log, None, work).await
    }

    /// Runs a call to its end, also when the client hangs up. Takes a place among the calls that change something, and
    /// keeps it and its share of the memory for bodies until the call is done.
    async fn mutate<T, E, F>(
        &self,
        log: Mutation,
        share: Option<OwnedSemaphorePermit>,
        work: F,
    ) -> Result<Reply, FrontError>
    where
        T: Answer,
        E: Refusal,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let slot = self
            .mutations
            .clone()
            .try_acquire_owned()
            .map_err(|_| FrontError::Busy)?;
        let work = async move {
            let _held = (slot, share);
            let reply = catch_panic(work).await.map_or_else(
                |panicked| {
                    log.panicked();
                    panicked.into()
                },
                |outcome| Reply::of(&outcome),
            );
            log.done(&reply);
            reply
        };
        Ok(Unstoppable::new(work.in_current_span()).await)
    }
}

/// A request whose head has been read.
struct Call<'a, R> {
    login: Login,
    caller: Caller,
    query: Query<'a>,
    headers: &'a HeaderMap,
    body: R,
}

/// What a bind or unbind accepts: no 202 where the platform's version has no way to poll a binding (OSB-COMPAT-03).
fn of_bindings(version: ApiVersion, asked: Incomplete) -> Incomplete {
    if version < ApiVersion::ASYNCHRONOUS_BINDINGS {
        Incomplete::Refused
    } else {
        asked
    }
}

/// Awaits a call that changes nothing: it may be dropped at any time.
async fn read<T: Answer, E: Refusal>(work: impl Future<Output = Result<T, E>>) -> Result<Reply, FrontError> {
    Ok(Reply::of(&catch_panic(work).await?))
}

/// Turns a panic into an error; its text is dropped unread.
async fn catch_panic<F: Future>(future: F) -> Result<F::Output, FrontError> {
    let mut future = pin!(future);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(FrontError::Panicked)),
        },
    )
    .await
}

fn version(headers: &HeaderMap) -> Result<ApiVersion, VersionError> {
    let Some(value) = headers.get(VERSION_HEADER) else {
        return Err(VersionError::Missing);
    };
    ApiVersion::of_request(Some(value.to_str().map_err(|_| VersionError::Malformed)?))
}

fn identity(headers: &HeaderMap) -> Result<Option<Arc<OriginatingIdentity>>, IdentityError> {
    let Some(value) = headers.get(IDENTITY_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| IdentityError)?;
    Ok(Some(Arc::new(OriginatingIdentity::decode(text)?)))
}

fn request_identity(headers: &HeaderMap) -> Option<Arc<str>> {
    let value = headers.get(REQUEST_IDENTITY)?.as_bytes();
    let text = String::from_utf8_lossy(&value[..value.len().min(REQUEST_IDENTITY_BYTES)]);
    let mut end = text.len().min(REQUEST_IDENTITY_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Some(text[..end].into())
}

/// Whether `If-None-Match` names the tag: a list, `*`, or weak forms of it (OSB-CAT-07).
fn has_tag(headers: &HeaderMap, etag: &str) -> bool {
    let candidates = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    candidates
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}
