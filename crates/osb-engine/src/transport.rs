//! How requests reach the home: through a `kube::Client`, or into a service in this process.

use std::error::Error;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use kube::client::Body;
use tower_service::Service;

/// What comes back, as it comes.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// No answer came; the request may have been carried out all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoAnswer;

pub(crate) trait Transport: Send + Sync {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Incoming>, NoAnswer>>;
}

impl Transport for kube::Client {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Incoming>, NoAnswer>> {
        Box::pin(async move {
            let response = kube::Client::send(self, request).await.map_err(|_| NoAnswer)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// A service in this process. A call runs in the task of its caller: a `kube::Client` would send it through a queue
/// to a task of its own, two changes of threads for each request.
pub(crate) struct InProcess<S>(pub(crate) S);

impl<S, B> Transport for InProcess<S>
where
    S: Service<Request<Body>, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Incoming>, NoAnswer>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            std::future::poll_fn(|context| service.poll_ready(context))
                .await
                .map_err(|_| NoAnswer)?;
            let response = service.call(request).await.map_err(|_| NoAnswer)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}
