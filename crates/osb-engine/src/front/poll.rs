//! `GET …/last_operation`: linearizable reads, never a cache.

use osb_api::answer::{LastOperation, Polled};
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
            OnPoll::State(body) => Ok(polled(body)),
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

fn polled(mut body: LastOperation) -> Polled {
    body.description = body.description.filter(|text| !text.is_empty());
    Polled {
        body,
        retry_after_secs: None,
    }
}
