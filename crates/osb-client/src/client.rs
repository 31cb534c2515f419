//! The calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use osb_api::answer::{BindingBody, BindingDetails, InstanceBody, InstanceDetails, LastOperation, Polled};
use osb_api::base64;
use osb_api::catalog::Catalog;
use osb_api::error::ErrorBody;
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::identity::IDENTITY_HEADER;
use osb_api::request::{BindRequest, FetchQuery, Incomplete, PollQuery, ProvisionRequest, RemovalQuery, UpdateRequest};
use osb_api::version::VERSION_HEADER;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Refused};
use crate::options::{Options, Trust};
use crate::uri::{Base, Path};

/// The largest answer that is read, in bytes: catalogs can be large.
pub(crate) const MAX_ANSWER_BYTES: usize = 16 << 20;

pub(crate) type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of one broker. Keeps connections; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    base: Base,
    headers: HeaderMap,
    timeout: Duration,
}

/// A success.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<T> {
    /// 201: made by this call, complete.
    Created(T),
    /// 200: done, or it was so already.
    Done(T),
    /// 202: to be polled.
    Accepted {
        /// To be sent with each poll, if the broker has given one out.
        operation: Option<OperationId>,
        /// What is known already.
        body: T,
    },
}

/// The body of a removal's success: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Empty {}

/// The codes with which a route succeeds.
#[derive(Clone, Copy)]
enum Successes {
    /// 200
    Read,
    /// 200, 201, 202
    Creation,
    /// 200, 202
    Change,
}

impl Successes {
    fn has(self, status: StatusCode) -> bool {
        match self {
            Self::Read => status == StatusCode::OK,
            Self::Creation => matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED),
            Self::Change => matches!(status, StatusCode::OK | StatusCode::ACCEPTED),
        }
    }
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl Client {
    /// A client with these settings. Does not connect yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Header`], [`Error::Trust`].
    pub fn new(options: &Options) -> Result<Self, Error> {
        let base = Base::of(options)?;
        let http = connection(options, &base)?;
        Ok(Self {
            http,
            base,
            headers: headers(options)?,
            timeout: options.timeout,
        })
    }

    /// `GET /v2/catalog`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn catalog(&self) -> Result<Catalog, Error> {
        let answer = self.call(Method::GET, Path::catalog(), None).await?;
        answer.check(Successes::Read)?;
        // Not by way of serde: its error would hide the place.
        Catalog::from_json(&answer.body).map_err(|error| answer.malformed(error.to_string()))
    }

    /// `GET /v2/catalog`, the bytes as they came: for who looks at what [`Client::catalog`] refuses or passes over.
    ///
    /// # Errors
    /// [`Error`], as for every call, but none for what the body is.
    pub async fn catalog_bytes(&self) -> Result<Bytes, Error> {
        let answer = self.call(Method::GET, Path::catalog(), None).await?;
        answer.check(Successes::Read)?;
        Ok(answer.body)
    }

    /// `PUT /v2/service_instances/:instance_id`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn provision(
        &self,
        id: &InstanceId,
        request: &ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Reply<InstanceBody>, Error> {
        let path = accepting(Path::instance(id), incomplete);
        self.call(Method::PUT, path, Some(json(request)))
            .await?
            .reply(Successes::Creation)
    }

    /// `PATCH /v2/service_instances/:instance_id`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn update(
        &self,
        id: &InstanceId,
        request: &UpdateRequest,
        incomplete: Incomplete,
    ) -> Result<Reply<InstanceBody>, Error> {
        let path = accepting(Path::instance(id), incomplete);
        self.call(Method::PATCH, path, Some(json(request)))
            .await?
            .reply(Successes::Change)
    }

    /// `DELETE /v2/service_instances/:instance_id`. That it is not there is [`Error::Refused`] with 410.
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn deprovision(
        &self,
        id: &InstanceId,
        query: &RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Reply<Empty>, Error> {
        let path = accepting(removing(Path::instance(id), query), incomplete);
        self.call(Method::DELETE, path, None).await?.reply(Successes::Change)
    }

    /// `GET /v2/service_instances/:instance_id`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn fetch_instance(&self, id: &InstanceId, query: &FetchQuery) -> Result<InstanceDetails, Error> {
        let answer = self
            .call(Method::GET, fetching(Path::instance(id), query), None)
            .await?;
        answer.check(Successes::Read)?;
        answer.decode()
    }

    /// `GET /v2/service_instances/:instance_id/last_operation`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn instance_last_operation(&self, id: &InstanceId, query: &PollQuery) -> Result<Polled, Error> {
        self.poll(Path::instance(id), query).await
    }

    /// `PUT …/service_bindings/:binding_id`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn bind(
        &self,
        instance: &InstanceId,
        id: &BindingId,
        request: &BindRequest,
        incomplete: Incomplete,
    ) -> Result<Reply<BindingBody>, Error> {
        let path = accepting(Path::binding(instance, id), incomplete);
        self.call(Method::PUT, path, Some(json(request)))
            .await?
            .reply(Successes::Creation)
    }

    /// `DELETE …/service_bindings/:binding_id`. That it is not there is [`Error::Refused`] with 410.
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn unbind(
        &self,
        instance: &InstanceId,
        id: &BindingId,
        query: &RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Reply<Empty>, Error> {
        let path = accepting(removing(Path::binding(instance, id), query), incomplete);
        self.call(Method::DELETE, path, None).await?.reply(Successes::Change)
    }

    /// `GET …/service_bindings/:binding_id`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn fetch_binding(
        &self,
        instance: &InstanceId,
        id: &BindingId,
        query: &FetchQuery,
    ) -> Result<BindingDetails, Error> {
        let answer = self
            .call(Method::GET, fetching(Path::binding(instance, id), query), None)
            .await?;
        answer.check(Successes::Read)?;
        answer.decode()
    }

    /// `GET …/service_bindings/:binding_id/last_operation`
    ///
    /// # Errors
    /// [`Error`], as for every call.
    pub async fn binding_last_operation(
        &self,
        instance: &InstanceId,
        id: &BindingId,
        query: &PollQuery,
    ) -> Result<Polled, Error> {
        self.poll(Path::binding(instance, id), query).await
    }

    async fn poll(&self, path: Path, query: &PollQuery) -> Result<Polled, Error> {
        let path = path
            .last_operation()
            .query("service_id", query.service_id.as_ref().map(AsRef::as_ref))
            .query("plan_id", query.plan_id.as_ref().map(AsRef::as_ref))
            .query("operation", query.operation.as_ref().map(AsRef::as_ref));
        let answer = self.call(Method::GET, path, None).await?;
        answer.check(Successes::Read)?;
        let retry_after_secs = answer.retry_after.and_then(|wait| u32::try_from(wait.as_secs()).ok());
        Ok(Polled {
            body: answer.decode::<LastOperation>()?,
            retry_after_secs,
        })
    }

    /// Sends a request and reads the answer, whatever its code.
    async fn call(&self, method: Method, path: Path, body: Option<Bytes>) -> Result<Answer, Error> {
        let mut request = Request::new(Full::new(body.clone().unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = self.base.join(&path)?;
        request.headers_mut().clone_from(&self.headers);
        if body.is_some() {
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| Error::Transport(error.into()))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES)
                .collect()
                .await
                .map_err(Error::Transport)?
                .to_bytes();
            Ok(Answer {
                status: parts.status,
                retry_after: retry_after(&parts.headers),
                body,
            })
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(Error::Timeout(self.timeout)))
    }
}

impl Answer {
    fn check(&self, successes: Successes) -> Result<(), Error> {
        if successes.has(self.status) {
            return Ok(());
        }
        if !self.status.is_client_error() && !self.status.is_server_error() {
            return Err(self.malformed("the route has no such status".to_owned()));
        }
        let body: ErrorBody = serde_json::from_slice(&self.body).unwrap_or_default();
        let refused = Refused {
            status: self.status.as_u16(),
            body,
            retry_after: self.retry_after,
        };
        Err(Box::new(refused).into())
    }

    fn reply<T: DeserializeOwned>(&self, successes: Successes) -> Result<Reply<T>, Error> {
        #[derive(Deserialize)]
        struct Accepted {
            operation: Option<String>,
        }
        self.check(successes)?;
        let body = self.decode()?;
        Ok(match self.status {
            StatusCode::CREATED => Reply::Created(body),
            StatusCode::ACCEPTED => {
                let operation = self.decode::<Accepted>()?.operation.filter(|text| !text.is_empty());
                let operation = operation.map(OperationId::new).transpose();
                Reply::Accepted {
                    operation: operation.map_err(|error| self.malformed(format!("operation {error}")))?,
                    body,
                }
            }
            _ => Reply::Done(body),
        })
    }

    /// The body as an object of this shape. What serde says may quote the body, so only the place is passed on.
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = self.body.trim_ascii_start();
        if !text.starts_with(b"{") {
            return Err(self.malformed("the body is no JSON object".to_owned()));
        }
        serde_json::from_slice(text).map_err(|error| {
            self.malformed(format!(
                "the body is not what it should be at line {}, column {}",
                error.line(),
                error.column()
            ))
        })
    }

    fn malformed(&self, what: String) -> Error {
        Error::Malformed {
            status: self.status.as_u16(),
            what,
        }
    }
}

fn accepting(path: Path, incomplete: Incomplete) -> Path {
    path.query(
        "accepts_incomplete",
        (incomplete == Incomplete::Accepted).then_some("true"),
    )
}

fn removing(path: Path, query: &RemovalQuery) -> Path {
    path.query("service_id", Some(query.service_id.as_str()))
        .query("plan_id", Some(query.plan_id.as_str()))
}

fn fetching(path: Path, query: &FetchQuery) -> Path {
    path.query("service_id", query.service_id.as_ref().map(AsRef::as_ref))
        .query("plan_id", query.plan_id.as_ref().map(AsRef::as_ref))
}

fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("string keys and plain values always serialise")
        .into()
}

/// Seconds only; a date is allowed by HTTP and not recommended by the specification (OSB-LOI-10).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// Connects when it is used first.
pub(crate) fn connection(options: &Options, base: &Base) -> Result<Http, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(options, base.tls)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector))
}

fn value(text: String, what: &'static str) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(text).map_err(|_| Error::Header(what))
}

/// The value of `Authorization`.
pub(crate) fn login(options: &Options) -> Result<HeaderValue, Error> {
    if options.username.contains(':') {
        return Err(Error::Header("a user name with a colon"));
    }
    let login = format!("{}:{}", options.username, options.password);
    let mut login = value(format!("Basic {}", base64::encode(login.as_bytes())), "the login")?;
    login.set_sensitive(true);
    Ok(login)
}

/// The headers of every request.
fn headers(options: &Options) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::from_iter([
        (AUTHORIZATION, login(options)?),
        (
            HeaderName::from_static(VERSION_HEADER),
            value(options.version.to_string(), "the version")?,
        ),
    ]);
    if let Some(identity) = &options.identity {
        headers.insert(IDENTITY_HEADER, value(identity.encode(), "the originating identity")?);
    }
    Ok(headers)
}

/// TLS with the crypto provider named: no global one has to be installed. The system's authorities are read only when
/// they are needed.
fn tls(options: &Options, needed: bool) -> Result<rustls::ClientConfig, Error> {
    let trust = |error: &dyn std::fmt::Display| Error::Trust(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| trust(&error))?;
    let mut roots = rustls::RootCertStore::empty();
    match &options.trust {
        Trust::System if needed => {
            return Ok(builder
                .with_native_roots()
                .map_err(|error| trust(&error))?
                .with_no_client_auth());
        }
        Trust::System => {}
        Trust::Authorities(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots
                    .add(certificate.map_err(|error| trust(&error))?)
                    .map_err(|error| trust(&error))?;
            }
            if roots.is_empty() {
                return Err(trust(&"there is no certificate in the PEM text"));
            }
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
