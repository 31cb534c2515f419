//! HTTP: requests out as they are, answers in as they are.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::answer::Answer;
use crate::call::{Auth, Call, Casing, Usual};
use crate::options::{Login, Options, SetupError};

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

pub(crate) const VERSION: &str = "x-broker-api-version";
pub(crate) const REQUEST_IDENTITY: &str = "x-broker-api-request-identity";
pub(crate) const ORIGINATING_IDENTITY: &str = "x-broker-api-originating-identity";

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The way to one broker. Each request has a connection of its own, so that none meets one that is just being closed.
pub(crate) struct Wire {
    lower: Http,
    title: Http,
    base: String,
    login: Option<HeaderValue>,
    version: String,
    timeout: Duration,
}

impl Wire {
    pub(crate) fn new(options: &Options) -> Result<Self, SetupError> {
        let base = base(options)?;
        let tls = tls(options, base.starts_with("https:"))?;
        let http = |title: bool| -> Http {
            let mut connector = HttpConnector::new();
            connector.enforce_http(false);
            connector.set_nodelay(true);
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector);
            hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .http1_title_case_headers(title)
                .build(connector)
        };
        if HeaderValue::try_from(&options.api_version).is_err() {
            return Err(SetupError::Header("the version"));
        }
        Ok(Self {
            lower: http(false),
            title: http(true),
            base,
            login: login(&options.login)?,
            version: options.api_version.clone(),
            timeout: options.timeout,
        })
    }

    /// Sends a request and reads the answer, whatever it is. That there was none is an answer, too.
    pub(crate) async fn exchange(&self, call: &Call, identity: &str) -> Answer {
        let request = match self.request(call, identity) {
            Ok(request) => request,
            Err(what) => return Answer::lost(call, what),
        };
        let http = match call.casing {
            Casing::Lower => &self.lower,
            Casing::Title => &self.title,
        };
        let exchange = async {
            let response = http.request(request).await.map_err(|error| reason(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            Ok((parts, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok((parts, body))) => Answer::of(call, &parts, body),
            Ok(Err(error)) => Answer::lost(call, error),
            Err(_) => Answer::unanswered(call, self.timeout),
        }
    }

    fn request(&self, call: &Call, identity: &str) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(Bytes::from(call.body.clone().unwrap_or_default())));
        *request.method_mut() = call.method.clone();
        let uri = format!("{}{}", self.base, call.target());
        *request.uri_mut() = uri.parse().map_err(|_| "the URL cannot be sent".to_owned())?;
        let headers = request.headers_mut();
        let mut put = |name: HeaderName, value: &str| {
            let value = HeaderValue::try_from(value).map_err(|_| format!("the header {name} cannot be sent"));
            value.map(|value| {
                headers.append(name, value);
            })
        };
        match &call.version {
            Usual::AsConfigured => put(HeaderName::from_static(VERSION), &self.version)?,
            Usual::Value(value) => put(HeaderName::from_static(VERSION), value)?,
            Usual::Absent => {}
        }
        match &call.request_identity {
            Usual::AsConfigured => put(HeaderName::from_static(REQUEST_IDENTITY), identity)?,
            Usual::Value(value) => put(HeaderName::from_static(REQUEST_IDENTITY), value)?,
            Usual::Absent => {}
        }
        if let Some(value) = &call.content_type {
            put(CONTENT_TYPE, value)?;
        }
        for (name, value) in &call.headers {
            put(HeaderName::from_static(name), value)?;
        }
        match &call.auth {
            Auth::Value(value) => put(AUTHORIZATION, value)?,
            Auth::Absent => {}
            Auth::Agreed => {
                if let Some(login) = &self.login {
                    headers.insert(AUTHORIZATION, login.clone());
                }
            }
        }
        Ok(request)
    }
}

/// An error with its causes.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn base(options: &Options) -> Result<String, SetupError> {
    let uri: Uri = options.url.parse().map_err(|_| SetupError::Url("is not valid"))?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or(SetupError::Url("has no host"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if options.insecure_plaintext || is_loopback(host) => {}
        Some("http") => {
            return Err(SetupError::Url(
                "is plain http to another machine: use https, or allow it",
            ));
        }
        _ => return Err(SetupError::Url("has to start with https:// or http://")),
    }
    if uri.query().is_some() {
        return Err(SetupError::Url("must not have a query"));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(SetupError::Url("must not have credentials in it"));
    }
    Ok(options.url.trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn login(login: &Login) -> Result<Option<HeaderValue>, SetupError> {
    let text = match login {
        Login::None => return Ok(None),
        Login::Basic { username, .. } if username.contains(':') => {
            return Err(SetupError::Header("a user name with a colon"));
        }
        Login::Basic { username, password } => basic(username, password),
        Login::Bearer(token) => format!("Bearer {token}"),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| SetupError::Header("the login"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The system's authorities are read only when they are needed.
fn tls(options: &Options, needed: bool) -> Result<rustls::ClientConfig, SetupError> {
    let trust = |error: &dyn std::fmt::Display| SetupError::Trust(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| trust(&error))?;
    let mut roots = rustls::RootCertStore::empty();
    match &options.authorities {
        None if needed => {
            let builder = builder.with_native_roots().map_err(|error| trust(&error))?;
            return Ok(builder.with_no_client_auth());
        }
        None => {}
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.map(|certificate| roots.add(certificate));
                added.map_err(|error| trust(&error))?.map_err(|error| trust(&error))?;
            }
            if roots.is_empty() {
                return Err(trust(&"there is no certificate in the PEM text"));
            }
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OSB-AUTH-05: a password does not leave this machine unprotected by mistake.
    #[test]
    fn plain_http_is_for_this_machine_unless_allowed() {
        let of = |url: &str| base(&Options::new(url, Login::None));
        assert_eq!(of("http://127.0.0.1:1/p/").unwrap(), "http://127.0.0.1:1/p");
        assert!(of("https://example.com").is_ok());
        for url in [
            "http://example.com",
            "ftp://localhost",
            "localhost",
            "https://u:p@h/",
            "https://h/?x",
            "",
        ] {
            assert!(of(url).is_err(), "{url}");
        }
        let open = Options {
            insecure_plaintext: true,
            ..Options::new("http://example.com", Login::None)
        };
        assert!(base(&open).is_ok());
    }
}
