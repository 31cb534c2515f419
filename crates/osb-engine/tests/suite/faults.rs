//! A connection to the home that counts writes, and that can be cut before or after a write: the process that used it
//! has then crashed, as far as the home can see.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service};

/// On which side of a write the crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

#[derive(Default)]
pub(crate) struct Faults {
    writes: AtomicU64,
    crash: Mutex<Option<(u64, Side)>>,
    crashed: AtomicBool,
    log: Mutex<Vec<String>>,
    held: Mutex<Option<Arc<Semaphore>>>,
}

impl Faults {
    /// The writes since the last call.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        self.writes.store(0, Ordering::SeqCst);
        std::mem::take(&mut self.log.lock().expect("no test panics here"))
    }

    /// Crashes at the `number`th write from now, counted from 1.
    pub(crate) fn crash_at(&self, number: u64, side: Side) {
        self.writes.store(0, Ordering::SeqCst);
        *self.crash.lock().expect("no test panics here") = Some((number, side));
    }

    /// The next create is done, but its answer waits for a permit.
    pub(crate) fn hold_answer_to_create(&self) -> Arc<Semaphore> {
        let held = Arc::new(Semaphore::new(0));
        *self.held.lock().expect("no test panics here") = Some(held.clone());
        held
    }

    /// Cuts the connection, or mends it: a request that is under way while it is cut gets no answer.
    pub(crate) fn cut(&self, cut: bool) {
        self.crashed.store(cut, Ordering::SeqCst);
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    fn next(&self, request: &Request<Body>) -> Option<Side> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let line = format!("{} {}", request.method(), request.uri().path());
        self.log.lock().expect("no test panics here").push(line);
        let crash = *self.crash.lock().expect("no test panics here");
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
        if faults.has_crashed() {
            return Box::pin(async move { Err(gone()) });
        }
        let side = if request.method() == Method::GET {
            None
        } else {
            faults.next(&request)
        };
        if side == Some(Side::Before) {
            faults.crashed.store(true, Ordering::SeqCst);
            return Box::pin(async move { Err(gone()) });
        }
        let held = match *request.method() {
            Method::POST => faults.held.lock().expect("no test panics here").take(),
            _ => None,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            if let Some(held) = held {
                let _ = held.acquire().await;
            }
            if side == Some(Side::After) {
                faults.crashed.store(true, Ordering::SeqCst);
            }
            if faults.has_crashed() { Err(gone()) } else { Ok(answer) }
        })
    }
}
