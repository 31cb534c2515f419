//! A connection that counts the controller's writes and can be cut before or after one of them: the controller has then crashed,
//! as far as the server can see.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

/// On which side of a write the crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// What is done to the connection.
#[derive(Default)]
pub(crate) struct Faults {
    writes: AtomicU64,
    crash: Mutex<Option<(u64, Side)>>,
    crashed: AtomicBool,
    /// So many requests whose path ends so are answered with an error of the server, once each.
    failing: Mutex<Option<(String, u32)>>,
}

impl Faults {
    pub(crate) fn crash_at(&self, number: u64, side: Side) {
        self.writes.store(0, Ordering::SeqCst);
        *self.crash.lock().unwrap() = Some((number, side));
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, part: &str, times: u32) {
        *self.failing.lock().unwrap() = Some((part.to_owned(), times));
    }

    fn fails(&self, line: &str) -> bool {
        let mut failing = self.failing.lock().unwrap();
        match failing.as_mut() {
            Some((part, times)) if *times > 0 && line.contains(part.as_str()) => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn next(&self) -> Option<Side> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let crash = *self.crash.lock().unwrap();
        crash.and_then(|(at, side)| (at == number).then_some(side))
    }
}

#[derive(Clone)]
pub(crate) struct FaultLayer(pub(crate) Arc<Faults>);

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty {
            inner,
            faults: self.0.clone(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Faulty<S> {
    inner: S,
    faults: Arc<Faults>,
}

fn is_write(request: &Request<Body>) -> bool {
    let uri = request.uri();
    let is_dry = uri.query().is_some_and(|query| query.contains("dryRun"));
    let is_event = uri.path().ends_with("/events");
    request.method() != Method::GET && !is_dry && !is_event && !uri.path().starts_with("/apis/authorization.k8s.io")
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gone = || -> BoxError { "the process has crashed".into() };
        let faults = self.faults.clone();
        let line = format!("{} {}", request.method(), request.uri());
        if faults.has_crashed() || faults.fails(&line) {
            return Box::pin(async move { Err(gone()) });
        }
        let side = if is_write(&request) { faults.next() } else { None };
        if side == Some(Side::Before) {
            faults.crashed.store(true, Ordering::SeqCst);
            return Box::pin(async move { Err(gone()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            if side == Some(Side::After) {
                faults.crashed.store(true, Ordering::SeqCst);
            }
            if faults.has_crashed() { Err(gone()) } else { Ok(answer) }
        })
    }
}
