//! A future that comes to its end whoever waits for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Carries a future out where it is awaited, and in a task of its own from the moment at which nobody awaits it any
/// more: a call that changes something goes on when its client hangs up. A task for each call from the start would do
/// as well, and cost every call that nobody hangs up on two changes of threads.
///
/// A future that was never polled does not start, and one that panics has come to its end.
pub(crate) struct Unstoppable<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    work: Option<Pin<Box<F>>>,
    /// Where the work goes on; taken with the first poll, since what drops us may be outside of the runtime.
    runtime: Option<Handle>,
}

impl<F> Unstoppable<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new(work: F) -> Self {
        Self {
            work: Some(Box::pin(work)),
            runtime: None,
        }
    }
}

impl<F> Future for Unstoppable<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.runtime.get_or_insert_with(Handle::current);
        // Taken out while it runs: what panics is not there any more when we are dropped.
        let mut work = this.work.take().expect("a future is not polled after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            this.work = Some(work);
        }
        polled
    }
}

impl<F> Drop for Unstoppable<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        if let (Some(work), Some(runtime)) = (self.work.take(), self.runtime.take()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_awaited_gives_its_output() {
        let work = async {
            tokio::task::yield_now().await;
            5
        };
        assert_eq!(Unstoppable::new(work).await, 5);
    }

    #[tokio::test]
    async fn what_was_begun_goes_on_when_nobody_waits() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let work = Unstoppable::new(async move {
            let _ = wait.await;
            let _ = done.send(());
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        go.send(()).expect("the work waits for it");
        ended.await.expect("the work comes to its end");
    }

    #[tokio::test]
    async fn what_panics_is_not_polled_again() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let work = Unstoppable::new(poll_fn(move |_| -> Poll<()> {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("as it is meant to");
        }));
        assert!(tokio::spawn(work).await.is_err_and(|error| error.is_panic()));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_was_never_polled_does_not_begin() {
        let (done, ended) = oneshot::channel::<()>();
        drop(Unstoppable::new(async move {
            let _ = done.send(());
        }));
        ended.await.expect_err("dropped");
    }
}
