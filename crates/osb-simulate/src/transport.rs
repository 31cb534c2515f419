//! The way to the broker.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use osb_api::base64;
use tower_service::Service;

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There was no connection: the broker has seen nothing of the call.
    Refused,
    /// No answer in time: what became of the call is not known.
    Timeout,
    /// The connection broke: what became of the call is not known.
    Broken,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "no connection",
            Self::Timeout => "no answer in time",
            Self::Broken => "the connection broke",
        })
    }
}

/// Carries requests to a broker. Faults on the way are not its business: the simulation makes them itself.
pub trait Transport: Send + Sync {
    /// Sends a request whose URI is a path with a query, below wherever the broker is, and adds the login. The
    /// simulation ends calls that take longer than the platform waits.
    ///
    /// # Errors
    /// [`Lost`] when there is no answer.
    fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<Bytes>, Lost>> + Send;
}

/// A [`Transport`] behind a pointer: all code of the simulation is the same for each.
pub(crate) trait AnyTransport: Send + Sync {
    fn carry(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Lost>>;
}

impl<T: Transport> AnyTransport for T {
    fn carry(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Lost>> {
        Box::pin(self.send(request))
    }
}

impl<T: Transport> Transport for Arc<T> {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Lost> {
        (**self).send(request).await
    }
}

/// HTTP and HTTPS over TCP.
#[derive(Clone, Debug)]
pub struct Http(osb_client::Raw);

impl Http {
    /// The broker of these options, of which URL, login, trust and `plain_http` count. Does not connect yet.
    ///
    /// # Errors
    /// [`osb_client::Error`] for a URL, a login or certificates that cannot be used.
    pub fn new(options: &osb_client::Options) -> Result<Self, osb_client::Error> {
        osb_client::Raw::new(options).map(Self)
    }
}

impl Transport for Http {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Lost> {
        self.0.send(request).await.map_err(|error| {
            if error.is_unreached() {
                Lost::Refused
            } else {
                Lost::Broken
            }
        })
    }
}

/// A broker in this process: any tower service, for instance an `osb_server::Server`.
#[derive(Clone, Debug)]
pub struct InProcess<S> {
    service: S,
    login: Option<HeaderValue>,
}

impl<S> InProcess<S> {
    /// A service that asks for no login, or adds it itself as `TestBroker::service` of the SDK does.
    pub fn open(service: S) -> Self {
        Self { service, login: None }
    }

    /// The service and the login of basic authentication.
    pub fn new(service: S, username: &str, password: &str) -> Self {
        let login = format!("Basic {}", base64::encode(format!("{username}:{password}").as_bytes()));
        let mut login = HeaderValue::try_from(login).expect("Base64 and a space can stand in a header");
        login.set_sensitive(true);
        Self {
            service,
            login: Some(login),
        }
    }
}

impl<S, B> Transport for InProcess<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Lost> {
        let mut service = self.service.clone();
        let mut request = request.map(Full::new);
        if let Some(login) = &self.login {
            request.headers_mut().insert(AUTHORIZATION, login.clone());
        }
        let ready = poll_fn(|context| service.poll_ready(context)).await;
        ready.map_err(|_| Lost::Refused)?;
        let (parts, body) = service.call(request).await.map_err(|_| Lost::Broken)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        Ok(Response::from_parts(parts, body.map_err(|_| Lost::Broken)?.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_login_is_added_and_the_body_is_carried() {
        let echo = tower::service_fn(|request: Request<Full<Bytes>>| async move {
            let login = request.headers()[AUTHORIZATION].clone();
            let response = Response::builder()
                .header(AUTHORIZATION, login)
                .body(request.into_body());
            Ok::<_, std::io::Error>(response.unwrap())
        });
        let transport = InProcess::new(echo, "user", "password");
        let request = Request::new(Bytes::from_static(b"body"));
        let response = transport.send(request).await.unwrap();
        assert_eq!(response.headers()[AUTHORIZATION], "Basic dXNlcjpwYXNzd29yZA==");
        assert_eq!(response.body(), "body");
    }

    #[tokio::test]
    async fn a_service_that_fails_is_a_broken_connection() {
        let broken = tower::service_fn(|_: Request<Full<Bytes>>| async {
            Err::<Response<Full<Bytes>>, _>(std::io::Error::other("broken"))
        });
        let answer = InProcess::new(broken, "user", "password")
            .send(Request::new(Bytes::new()))
            .await;
        assert_eq!(answer.unwrap_err(), Lost::Broken);
    }
}
