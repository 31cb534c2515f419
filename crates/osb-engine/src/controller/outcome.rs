//! How operations end: what is stored, who is told, what is tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::call::Called;
use super::ready::Ready;
use super::run::{HOME_PAUSE, target_of};
use crate::engine::Inner;
use crate::home::HomeError;
use crate::lanes::{Job, LaneKey, Target};
use crate::objects;
use crate::recorder::{OutcomeWrite, RecordError};
use crate::resource::{Outcome, Stored, Verb};
use crate::seal::SealError;
use crate::service::{self, Error};
use crate::waiters::Settled;

/// The longest pause between two tries to store an outcome.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a user is told of a failure of which the author says nothing.
pub(super) const SERVICE_FAILED: &str = "The service failed.";

/// What the platform is told of a failure.
pub(super) struct Failure {
    description: String,
    instance_usable: Option<bool>,
    update_repeatable: Option<bool>,
}

impl From<String> for Failure {
    fn from(description: String) -> Self {
        Self {
            description,
            instance_usable: None,
            update_repeatable: None,
        }
    }
}

impl Inner {
    /// What comes of a call that did not return a result.
    pub(super) async fn not_returned<T>(
        self: &Arc<Self>,
        key: &LaneKey,
        ready: &Ready,
        ended: Called<T>,
    ) -> Result<(), HomeError> {
        match ended {
            Called::Failed(error) => self.failed(key, ready, error).await,
            Called::Late => self.store_failure(ready, late()).await,
            Called::Cancelled | Called::Returned(_) => Ok(()),
        }
    }

    /// Stores a success and wakes who waits for it.
    pub(super) async fn succeeded(
        &self,
        ready: &Ready,
        write: OutcomeWrite,
        settled: Settled,
    ) -> Result<(), HomeError> {
        match self.store_success(ready, write, settled).await {
            Ok(()) => Ok(()),
            Err(RecordError::TooLarge) => self.store_failure(ready, RecordError::TooLarge.to_string()).await,
            Err(error) => lost(error),
        }
    }

    pub(super) async fn store_success(
        &self,
        ready: &Ready,
        write: OutcomeWrite,
        settled: Settled,
    ) -> Result<(), RecordError> {
        self.store_outcome(ready, Outcome::Succeeded, None, write).await?;
        self.count_outcome(ready, Outcome::Succeeded);
        self.waiters.settle(&ready.operation.facts.id, &settled);
        Ok(())
    }

    /// What an error of the author means: another try after a pause, or the end.
    pub(super) async fn failed(self: &Arc<Self>, key: &LaneKey, ready: &Ready, error: Error) -> Result<(), HomeError> {
        let secrets = objects::secrets(&ready.known);
        let description = error.description.as_deref().map(|text| objects::masked(text, &secrets));
        let source = error
            .source
            .as_deref()
            .map(|source| objects::masked(&chain(source), &secrets));
        let verb = ready.operation.verb().as_str();
        let pause = self.pause_before_next(ready, &error);
        tracing::info!(verb, instance = ?ready.operation.instance().as_str(), attempt = ready.attempt, again = pause.is_some(),
            description, source, "an operation did not succeed");
        match pause {
            Some(pause) => {
                if let Some(description) = description {
                    ready.recorder.set_progress(description);
                }
                match ready.recorder.flush_progress().await {
                    Ok(()) | Err(RecordError::Home(_)) => {
                        self.again(key.clone(), target_of(&ready.stored), ready.attempt + 1, pause);
                        Ok(())
                    }
                    Err(error) => lost(error),
                }
            }
            None => {
                let failure = Failure {
                    description: description.unwrap_or_else(|| SERVICE_FAILED.to_owned()),
                    instance_usable: error.instance_usable,
                    update_repeatable: error.update_repeatable,
                };
                self.store_failure(ready, failure).await
            }
        }
    }

    /// When the operation is to be tried again; not at all when that would not help or there is no time left.
    pub(super) fn pause_before_next(&self, ready: &Ready, error: &Error) -> Option<Duration> {
        self.pause_until(ready.deadline, ready.attempt, error)
    }

    pub(super) fn pause_until(&self, deadline: Instant, attempt: u32, error: &Error) -> Option<Duration> {
        match error.kind {
            service::Kind::Failed => None,
            service::Kind::Retry(after) => Some(after.unwrap_or_else(|| self.pause_after(attempt)))
                .filter(|pause| Instant::now() + *pause < deadline),
        }
    }

    pub(super) async fn store_failure(&self, ready: &Ready, failure: impl Into<Failure>) -> Result<(), HomeError> {
        let mut failure = failure.into();
        let limit = failure
            .description
            .char_indices()
            .nth(crate::resource::MAX_DESCRIPTION_CHARS);
        if let Some((end, _)) = limit {
            failure.description.truncate(end);
        }
        let description = failure.description.clone();
        let write = OutcomeWrite::default();
        match self.store_outcome(ready, Outcome::Failed, Some(failure), write).await {
            Ok(()) => {
                self.count_outcome(ready, Outcome::Failed);
                self.waiters
                    .settle(&ready.operation.facts.id, &Settled::Failed(Some(description)));
                Ok(())
            }
            Err(error) => lost(error),
        }
    }

    /// Stores an outcome, for as long as it takes: what the author has done must not be done again.
    async fn store_outcome(
        &self,
        ready: &Ready,
        outcome: Outcome,
        failure: Option<Failure>,
        write: OutcomeWrite,
    ) -> Result<(), RecordError> {
        let now = self.now();
        let facts = &ready.operation.facts;
        let (Some(record), Some(running)) = (&ready.stored.record, ready.stored.running()) else {
            return Err(RecordError::Lost);
        };
        let description = failure.as_ref().map(|failure| failure.description.clone());
        let status = objects::status_after(&ready.stored, facts.verb, outcome, description.as_deref(), now);
        let mut ended = objects::ended(facts.id.clone(), facts.verb, outcome, description, now);
        ended.digest.clone_from(&running.digest);
        if let Some(failure) = failure {
            let changes = facts.verb == Verb::Update;
            let may_say = changes || facts.verb == Verb::Deprovision;
            ended.instance_usable = failure.instance_usable.filter(|_| may_say);
            ended.update_repeatable = failure.update_repeatable.filter(|_| changes);
        }
        let mut pause = HOME_PAUSE;
        loop {
            let stored = ready
                .recorder
                .store_outcome(record, ended.clone(), &status, &write)
                .await;
            match stored {
                Err(RecordError::Home(error)) if !self.stopping.is_cancelled() => {
                    tracing::warn!(%error, object = %ready.stored.metadata.name, "an outcome cannot be stored; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                stored => return stored,
            }
        }
    }

    /// Brings a removal to its end after the author has done his part.
    pub(super) async fn removed(&self, stored: &Stored) -> Result<(), HomeError> {
        let Some(running) = stored.running() else { return Ok(()) };
        if !self.shards.may_write(&stored.instance_name()) {
            return Ok(());
        }
        self.finish_removal(stored, || {
            self.count_ended(stored, running, Outcome::Succeeded);
            self.waiters.settle(&running.id, &Settled::Succeeded(None));
        })
        .await
    }

    fn count_outcome(&self, ready: &Ready, outcome: Outcome) {
        if let Some(running) = ready.stored.running() {
            self.count_ended(&ready.stored, running, outcome);
        }
    }

    /// Looks at an object again after a pause.
    pub(super) fn again(self: &Arc<Self>, key: LaneKey, target: Target, attempt: u32, pause: Duration) {
        let inner = self.clone();
        let job = Job::look_at(target, attempt);
        self.retrying.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => inner.push(key, job),
                () = inner.stopping.cancelled() => {}
            }
            inner.retrying.fetch_sub(1, Ordering::AcqRel);
        });
    }

    pub(crate) fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = self
            .config
            .first_retry
            .saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.config.longest_retry)
    }
}

/// An operation that is not ours any more is carried on by somebody else; what else went wrong is tried again.
pub(super) fn lost(error: RecordError) -> Result<(), HomeError> {
    match error {
        RecordError::Home(error) => Err(error),
        RecordError::Lost => Ok(()),
        // It is read again, and taken back.
        RecordError::GivenUp => Err(HomeError::Conflict),
        RecordError::TooLarge | RecordError::TooManySteps | RecordError::Seal(_) => Err(HomeError::Unknown),
    }
}

pub(super) fn unreadable(error: SealError) -> Error {
    Error::retry("The stored state cannot be read.").caused_by(error)
}

pub(super) fn late() -> String {
    "The operation did not end in time.".to_owned()
}

fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
