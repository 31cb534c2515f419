//! Waiting for the end of an operation.

use std::time::{Duration, Instant};

use osb_api::answer::{LastOperation, Polled, State};
use osb_api::id::{BindingId, InstanceId};
use osb_api::request::PollQuery;

use crate::client::Client;
use crate::error::Error;

/// How to wait. `Retry-After` of the broker goes before the intervals.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The pause after the first poll; it doubles with each further one. No pause is shorter, even if the broker asks
    /// for it. Default 50 ms.
    pub first_interval: Duration,
    /// The longest pause, unless the broker asks for a longer one. Default 2 s.
    pub longest_interval: Duration,
    /// The longest pause that the broker can ask for. Default 60 s.
    pub longest_retry_after: Duration,
    /// When to give up. Default one hour.
    pub limit: Duration,
}

impl Default for Wait {
    fn default() -> Self {
        Self {
            first_interval: Duration::from_millis(50),
            longest_interval: Duration::from_secs(2),
            longest_retry_after: Duration::from_secs(60),
            limit: Duration::from_secs(3600),
        }
    }
}

/// How the waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The operation has succeeded.
    Succeeded(LastOperation),
    /// The operation has failed.
    Failed(LastOperation),
    /// 410: there is nothing any more. After a removal that is its success.
    Gone,
    /// The limit is over; the operation may still be running.
    GaveUp,
}

impl Client {
    /// Polls an instance until its operation has ended. `progress` sees each answer that says it is still running.
    ///
    /// Failures that may pass (no connection, no answer in time, 408, 429, 5xx) are repeated until the limit.
    ///
    /// # Errors
    /// [`Error`] for any other refusal, and the last failure when the limit is over without an answer since.
    pub async fn wait_for_instance(
        &self,
        id: &InstanceId,
        query: &PollQuery,
        wait: &Wait,
        progress: impl FnMut(&LastOperation),
    ) -> Result<End, Error> {
        poll_until_end(wait, progress, || self.instance_last_operation(id, query)).await
    }

    /// As [`Client::wait_for_instance`], for a binding.
    ///
    /// # Errors
    /// As there.
    pub async fn wait_for_binding(
        &self,
        instance: &InstanceId,
        id: &BindingId,
        query: &PollQuery,
        wait: &Wait,
        progress: impl FnMut(&LastOperation),
    ) -> Result<End, Error> {
        poll_until_end(wait, progress, || self.binding_last_operation(instance, id, query)).await
    }
}

async fn poll_until_end<F: Future<Output = Result<Polled, Error>>>(
    wait: &Wait,
    mut progress: impl FnMut(&LastOperation),
    poll: impl Fn() -> F,
) -> Result<End, Error> {
    let started = Instant::now();
    let mut interval = wait.first_interval;
    loop {
        let polled = poll().await;
        let asked = match &polled {
            Ok(Polled { body, .. }) if body.state == State::Succeeded => return Ok(End::Succeeded(body.clone())),
            Ok(Polled { body, .. }) if body.state == State::Failed => return Ok(End::Failed(body.clone())),
            Ok(Polled { body, retry_after_secs }) => {
                progress(body);
                retry_after_secs.map(|seconds| Duration::from_secs(seconds.into()))
            }
            Err(error) if error.status() == Some(410) => return Ok(End::Gone),
            Err(error) if passes(error) => error.refused().and_then(|refused| refused.retry_after),
            Err(_) => return Err(polled.expect_err("matched as an error")),
        };
        let pause = asked.map_or(interval, |asked| {
            asked.max(wait.first_interval).min(wait.longest_retry_after)
        });
        if started.elapsed() + pause > wait.limit {
            return polled.map(|_| End::GaveUp);
        }
        tokio::time::sleep(pause).await;
        interval = (interval * 2).min(wait.longest_interval);
    }
}

fn passes(error: &Error) -> bool {
    match error {
        Error::Transport(_) | Error::Timeout(_) => true,
        Error::Refused(refused) => refused.is_passing(),
        Error::Url(_) | Error::Header(_) | Error::Trust(_) | Error::Malformed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn waiting_may_be_a_task_of_its_own() {
        fn may_move(_: &impl Send) {}
        let client = Client::new(&Options::new("http://127.0.0.1:1", "user", "password")).expect("a client");
        let (instance, binding) = (
            InstanceId::new("a").expect("a valid id"),
            BindingId::new("b").expect("a valid id"),
        );
        let (query, wait) = (PollQuery::default(), Wait::default());
        may_move(&client.wait_for_instance(&instance, &query, &wait, |_| {}));
        may_move(&client.wait_for_binding(&instance, &binding, &query, &wait, |_| {}));
    }
}
