//! One call of an author's function: cancellation, deadline, panics, progress.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Inner;
use crate::recorder::Recorder;
use crate::resource::Verb;
use crate::service::{Error, Kind, Result};

/// Progress is stored at most that often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How a call came to its end.
#[derive(Debug)]
pub(crate) enum Called<T> {
    /// The function returned.
    Returned(T),
    /// It returned an error, or panicked.
    Failed(Error),
    /// It was told to stop, because something else takes over or the process ends.
    Cancelled,
    /// It was told to stop, because its time is over.
    Late,
}

impl Inner {
    /// Calls a function of the author and waits for it, for its cancellation or for its deadline.
    pub(crate) async fn call<T>(
        &self,
        verb: Verb,
        recorder: Option<&Arc<Recorder>>,
        cancelled: &CancellationToken,
        deadline: Instant,
        function: BoxFuture<'_, Result<T>>,
    ) -> Called<T> {
        // Whoever has lost its lease meanwhile finds out here at the latest.
        if recorder.is_some_and(|recorder| !recorder.holds()) {
            return Called::Cancelled;
        }
        self.metrics.attempt(verb);
        self.metrics.running.inc();
        let called = self.call_counted(verb, recorder, cancelled, deadline, function).await;
        self.metrics.running.dec();
        called
    }

    async fn call_counted<T>(
        &self,
        verb: Verb,
        recorder: Option<&Arc<Recorder>>,
        cancelled: &CancellationToken,
        deadline: Instant,
        function: BoxFuture<'_, Result<T>>,
    ) -> Called<T> {
        let mut function = AssertUnwindSafe(function).catch_unwind();
        let mut progress = std::pin::pin!(store_progress(recorder));
        let stop = tokio::select! {
            biased;
            returned = &mut function => {
                let returned = self.returned(verb, returned);
                // What a function returns because it was told to stop says nothing of the operation.
                let stopped = cancelled.is_cancelled() && matches!(returned, Called::Failed(_));
                return if stopped { Called::Cancelled } else { returned };
            }
            () = cancelled.cancelled() => Called::Cancelled,
            () = tokio::time::sleep_until(deadline) => Called::Late,
            () = &mut progress => return Called::Cancelled,
        };
        cancelled.cancel();
        // What it still returns is used when only its time was over: the work is done after all.
        match (stop, tokio::time::timeout(self.config.grace, &mut function).await) {
            (Called::Late, Ok(returned)) => match self.returned(verb, returned) {
                Called::Failed(_) => Called::Late,
                returned => returned,
            },
            (stop, _) => stop,
        }
    }

    fn returned<T>(&self, verb: Verb, returned: std::thread::Result<Result<T>>) -> Called<T> {
        match returned {
            Ok(Ok(value)) => Called::Returned(value),
            Ok(Err(error)) => Called::Failed(error),
            Err(_) => {
                // The panic hook has reported where; its message may hold anything and is not passed on.
                self.metrics.panic();
                Called::Failed(of_panic(verb))
            }
        }
    }
}

/// A panic is a defect that would come again: a creation fails at once. A removal is tried again, because something
/// may be left in the backend.
fn of_panic(verb: Verb) -> Error {
    let kind = if verb.removes() {
        Kind::Retry(None)
    } else {
        Kind::Failed
    };
    Error {
        description: Some("The service broke down while it worked on this.".to_owned()),
        ..Error::bare(kind)
    }
}

/// Stores progress texts as they come; ends only when the operation has been lost.
async fn store_progress(recorder: Option<&Arc<Recorder>>) {
    let Some(recorder) = recorder else {
        return std::future::pending().await;
    };
    loop {
        recorder.progress_changed.notified().await;
        // A progress text that could not be stored is followed by others; a lost operation is found by its outcome.
        let _ = recorder.flush_progress().await;
        tokio::time::sleep(PROGRESS_INTERVAL).await;
    }
}
