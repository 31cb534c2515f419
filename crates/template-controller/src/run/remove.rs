//! Removing the objects of an instance that is deleted.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::carry::describe;
use super::{Run, Stop, own};
use crate::events::{Level, tell};
use crate::metrics::Ended;
use crate::names::{ABANDON, condition};
use crate::objects::{self, Removal};
use crate::plan::Stage;
use crate::queue::Next;
use crate::resources::{InstanceObject, ObjectState, Operation, OperationKind};
use crate::status;
use crate::values;

/// What the condition Ready has as reason while objects are removed.
const REMOVING: &str = "Removing";

/// How often it is looked whether objects are gone, beside being watched.
const POLL: Duration = Duration::from_secs(2);

impl Run<'_> {
    /// Removes the objects in the reverse of the order in which they were made, the values, and then the finalizer.
    pub(super) async fn remove(&mut self) -> Result<Next, Stop> {
        let before = self.status();
        self.begin_removal();
        self.count_running();
        let removed = self.remove_objects().await;
        if let Err(why) = removed {
            if !self.is_abandoned() {
                return self.still_there(&before, &why).await;
            }
            let message = format!("objects stay: {}", why.join("; "));
            tell(&self.api, &self.instance, Level::Warning, "Abandoned", &message).await;
        }
        for name in values::names(&self.uid) {
            let removed = values::remove(&self.api, &self.key.namespace, &name, None).await;
            removed.map_err(|error| Stop::Transient(error.to_string()))?;
        }
        self.context.watches.forget(&self.uid);
        match status::set_finalizer(&self.api, &mut self.instance, false).await {
            Err(error) if !error.is_not_found() => Err(own(error)),
            _ => {
                self.count(Ended::Removed);
                Ok(Next::Done)
            }
        }
    }

    fn begin_removal(&mut self) {
        let generation = Some(self.generation);
        let status = self.status_mut();
        if status
            .operation
            .as_ref()
            .is_some_and(|operation| operation.kind == OperationKind::Delete)
        {
            return;
        }
        status.operation = Some(Operation {
            kind: OperationKind::Delete,
            started_at: Time(status::whole_seconds(Timestamp::now())),
            generation,
            ended_at: None,
        });
    }

    fn is_abandoned(&self) -> bool {
        let annotations = self.instance.metadata.annotations.as_ref();
        annotations
            .and_then(|annotations| annotations.get(ABANDON))
            .is_some_and(|value| value == "true")
    }

    /// Says what is still there, and looks again.
    async fn still_there(
        &mut self,
        before: &crate::resources::TemplateInstanceStatus,
        why: &[String],
    ) -> Result<Next, Stop> {
        let generation = Some(self.generation);
        let message = why.join("\n");
        let status = self.status_mut();
        status::set(status, condition::READY, "False", REMOVING, &message, generation);
        let is_stuck = status
            .objects
            .iter()
            .any(|object| object.state == Some(ObjectState::Failed));
        let was_stuck = before
            .objects
            .iter()
            .any(|object| object.state == Some(ObjectState::Failed));
        self.write(before).await?;
        if is_stuck && !was_stuck {
            tell(&self.api, &self.instance, Level::Warning, "RemovalFailed", &message).await;
        }
        Ok(if is_stuck { Next::Retry } else { Next::After(POLL) })
    }

    /// Removes stage by stage, each from its last object to its first; what is left.
    async fn remove_objects(&mut self) -> Result<(), Vec<String>> {
        for stage in Stage::ALL.into_iter().rev() {
            let objects = self.status().objects;
            let of_stage = |object: &&InstanceObject| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                Stage::of(&text(&object.reference.api_version), &text(&object.reference.kind)) == stage
            };
            let mut left = Vec::new();
            for object in objects.iter().rev().filter(of_stage) {
                if let Some(what) = self.remove_one(&object.reference).await {
                    left.push(what);
                }
            }
            if !left.is_empty() {
                return Err(left);
            }
        }
        Ok(())
    }

    /// Removes an object; what is to be said while it is still there.
    async fn remove_one(&mut self, reference: &ObjectReference) -> Option<String> {
        let called = describe(reference);
        let (state, what) = match self.try_remove(reference).await {
            Ok(Removal::Gone | Removal::Replaced) => {
                self.status_mut()
                    .objects
                    .retain(|object| object.reference != *reference);
                return None;
            }
            Ok(Removal::Going) => (ObjectState::Removing, "it is being removed".to_owned()),
            Err(why) => (ObjectState::Failed, why),
        };
        let mut objects = self.status_mut().objects.iter_mut();
        if let Some(object) = objects.find(|object| object.reference == *reference) {
            object.state = Some(state);
            object.message = Some(what.clone());
        }
        Some(format!("{called}: {what}"))
    }

    async fn try_remove(&self, reference: &ObjectReference) -> Result<Removal, String> {
        let said = |stop: Stop| match stop {
            Stop::Transient(why) => why,
            _ => "it cannot be looked at".to_owned(),
        };
        let Some((resource, namespace, name)) = self.locate(reference).await.map_err(said)? else {
            let message = format!(
                "{}: the cluster does not serve its kind any more, so that it is gone",
                describe(reference)
            );
            tell(&self.api, &self.instance, Level::Warning, "KindGone", &message).await;
            return Ok(Removal::Gone);
        };
        if self.is_retained(&resource, &namespace, &name).await.map_err(said)? {
            return Ok(Removal::Gone);
        }
        self.context.watches.wait(&self.uid, self.key, &resource, &namespace);
        let what = (&resource, namespace.as_str(), name.as_str());
        let removed = objects::remove(&self.api, &self.api, what, reference.uid.as_deref(), &self.uid).await;
        removed.map_err(|error| error.to_string())
    }
}
