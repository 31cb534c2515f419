//! `GET …/last_operation`: linearizable reads, never a cache.

use osb_api::answer::{LastOperation, Polled, State};
use osb_api::error::PollError;
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::request::PollQuery;
use osb_server::Caller;

use super::fault;
use crate::decide::{self, OnPoll};
use crate::engine::Inner;
use crate::resource::{Kind, Stored};

impl Inner {
    pub(super) async fn poll(
        &self,
        caller: &Caller,
        kind: Kind,
        name: &str,
        instance: &InstanceId,
        binding: Option<&BindingId>,
        query: &PollQuery,
    ) -> Result<Polled, PollError> {
        let namespace = self.tenant(caller)?;
        let operation = query.operation.as_ref();
        let existing: Option<Stored> = self.home.get(kind, namespace, name).await.map_err(fault)?;
        // A removal with a Tombstone is done, whatever is left of the object.
        let existing = match existing {
            Some(existing) if self.is_gone(&existing).await.map_err(fault)? => None,
            existing => existing,
        };
        let since = existing
            .as_ref()
            .and_then(|existing| existing.running()?.accepted_at)
            .map(|since| self.now().duration_since(since).as_secs());
        let answer = match existing {
            Some(existing) => {
                let same_ids = existing.spec.instance_id == *instance && existing.spec.binding_id.as_ref() == binding;
                match decide::poll(&existing, same_ids, operation) {
                    // The operation may be one of an earlier life under the same id.
                    OnPoll::UnknownOperation => match self
                        .poll_tombstone(namespace, name, instance, binding, operation)
                        .await?
                    {
                        OnPoll::NotFound | OnPoll::Gone => OnPoll::UnknownOperation,
                        known => known,
                    },
                    answer => answer,
                }
            }
            None => {
                self.poll_tombstone(namespace, name, instance, binding, operation)
                    .await?
            }
        };
        match answer {
            OnPoll::State(body) => Ok(polled(body, since.unwrap_or_default())),
            OnPoll::Gone => Err(PollError::Gone),
            OnPoll::NotFound => Err(PollError::NotFound),
            OnPoll::UnknownOperation => Err(PollError::Invalid(
                "operation was never given out by this broker".to_owned(),
            )),
        }
    }

    async fn poll_tombstone(
        &self,
        namespace: &str,
        name: &str,
        instance: &InstanceId,
        binding: Option<&BindingId>,
        operation: Option<&OperationId>,
    ) -> Result<OnPoll, PollError> {
        let Some(tombstone) = self.tombstone(namespace, name).await.map_err(fault)? else {
            return Ok(OnPoll::NotFound);
        };
        let same_ids = tombstone.spec.instance_id == *instance && tombstone.spec.binding_id.as_ref() == binding;
        Ok(decide::poll_removed(&tombstone.spec.history, same_ids, operation))
    }
}

fn polled(mut body: LastOperation, age_secs: i64) -> Polled {
    body.description = body.description.filter(|text| !text.is_empty());
    let retry_after_secs = retry_after(age_secs).filter(|_| body.state == State::InProgress);
    Polled { body, retry_after_secs }
}

/// What has run for long is likely to run on: it is polled less and less often (OSB-LOI-10). What has just begun is left
/// to the platform's own interval.
fn retry_after(age_secs: i64) -> Option<u32> {
    const YOUNG: i64 = 30;
    const LONGEST: i64 = 60;
    if age_secs < YOUNG {
        return None;
    }
    u32::try_from((age_secs / 10).min(LONGEST)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OSB-LOI-10
    #[test]
    fn what_runs_for_long_is_polled_less_often() {
        let pauses = [0, 29, 30, 100, 599, 600, 1_000_000].map(retry_after);
        assert_eq!(pauses, [None, None, Some(3), Some(10), Some(59), Some(60), Some(60)]);
        let told = |state| LastOperation {
            state,
            description: None,
            instance_usable: None,
            update_repeatable: None,
        };
        assert_eq!(polled(told(State::InProgress), 100).retry_after_secs, Some(10));
        assert_eq!(polled(told(State::Succeeded), 100).retry_after_secs, None);
    }
}
