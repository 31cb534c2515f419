//! Making the objects that the status lists, and waiting until they are ready.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

use super::{Run, Stop, end};
use crate::discovery::Resource;
use crate::events::{Level, tell};
use crate::metrics::Ended;
use crate::names::{ON_DELETE, READY_WHEN, TIMEOUT, WAITING_MESSAGE};
use crate::objects::{self, ObjectError, Removal, at_once};
use crate::plan::{Planned, Stage, called, duration};
use crate::queue::Next;
use crate::ready::{Readiness, ReadyWhen, build_of, readiness};
use crate::resources::{InstanceObject, ObjectState, OperationKind};
use crate::status;
use crate::values;

impl Run<'_> {
    pub(super) async fn carry_out(&mut self, planned: &[Planned]) -> Result<Next, Stop> {
        let before = self.status();
        for stage in Stage::ALL {
            if let Err(stop) = self.make_stage(planned, stage).await {
                return self.written(&before, stop).await;
            }
        }
        let removed = self.prune().await;
        if let Err(stop) = removed {
            return self.written(&before, stop).await;
        }
        let waited = self.wait_ready().await;
        match waited {
            Err(stop) => self.written(&before, stop).await,
            Ok(Some(pause)) => {
                self.write(&before).await?;
                Ok(Next::After(pause))
            }
            Ok(None) => self.finish().await,
        }
    }

    /// Stores how far it has come before it stops; a failure is stored with what has failed.
    async fn written(&mut self, before: &crate::resources::TemplateInstanceStatus, stop: Stop) -> Result<Next, Stop> {
        match stop {
            Stop::Transient(why) => {
                self.write(before).await?;
                Err(Stop::Transient(why))
            }
            other => Err(other),
        }
    }

    fn object(&self, at: usize) -> Option<&InstanceObject> {
        self.instance.status.as_ref()?.objects.get(at)
    }

    /// The position of an object in the status.
    fn position(&self, planned: &Planned) -> Option<usize> {
        let status = self.instance.status.as_ref()?;
        status.objects.iter().position(|object| planned.is(&object.reference))
    }

    /// Makes and changes what is pending in a stage, in the order of the template.
    async fn make_stage(&mut self, planned: &[Planned], stage: Stage) -> Result<(), Stop> {
        let mut of_stage = Vec::new();
        for one in planned.iter().filter(|one| one.stage == stage) {
            let Some(at) = self.position(one) else { continue };
            of_stage.push((at, one));
        }
        for (at, one) in &of_stage {
            let Some(object) = self.object(*at) else { continue };
            if object.state != Some(ObjectState::Pending) {
                continue;
            }
            let made = match object.reference.uid.clone() {
                None => self.hands().make(one).await,
                Some(uid) => self.hands().change(one, &uid).await,
            };
            self.note_made(*at, one, made)?;
        }
        let is_waiting = |object: &InstanceObject| object.state == Some(ObjectState::Waiting);
        let waits = of_stage.iter().any(|(at, _)| self.object(*at).is_some_and(is_waiting));
        if stage.is_waited_for() && waits {
            let missing = self.look(|object| object.state == Some(ObjectState::Waiting)).await?;
            if !missing.is_empty() {
                return Err(Stop::Transient(missing.join(", ")));
            }
        }
        Ok(())
    }

    fn note_made(&mut self, at: usize, one: &Planned, made: Result<String, ObjectError>) -> Result<(), Stop> {
        let waits = one.waits || one.stage.is_waited_for();
        let blotted = match &made {
            Err(ObjectError::Transient(why) | ObjectError::Permanent(why)) => Some(self.blot.out(why)),
            Ok(_) => None,
        };
        let object = &mut self.status_mut().objects[at];
        object.message = blotted;
        match made {
            Ok(uid) => {
                object.reference.uid = Some(uid);
                object.state = Some(if waits {
                    ObjectState::Waiting
                } else {
                    ObjectState::Ready
                });
                Ok(())
            }
            Err(error) => {
                if matches!(error, ObjectError::Permanent(_)) {
                    object.state = Some(ObjectState::Failed);
                }
                Err(error.into())
            }
        }
    }

    /// Removes what the template has no more, as the requester.
    async fn prune(&mut self) -> Result<(), Stop> {
        let objects = self.status().objects;
        let is_removed = |object: &&InstanceObject| object.state == Some(ObjectState::Removing);
        let mut left = Vec::new();
        for object in objects.iter().rev().filter(is_removed) {
            match self.prune_one(&object.reference).await? {
                Removal::Going => left.push(describe(&object.reference)),
                Removal::Gone | Removal::Replaced => {
                    self.status_mut()
                        .objects
                        .retain(|other| other.reference != object.reference);
                }
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(Stop::Transient(format!("{} is being removed", left.join(", "))))
    }

    async fn prune_one(&self, reference: &ObjectReference) -> Result<Removal, Stop> {
        let Some((resource, namespace, name)) = self.locate(reference).await? else {
            return Ok(Removal::Gone);
        };
        if self.is_retained(&resource, &namespace, &name).await? {
            return Ok(Removal::Gone);
        }
        let requester = self.api.acting_for(&self.requester);
        let what = (&resource, namespace.as_str(), name.as_str());
        let removed = objects::remove(&self.api, &requester, what, reference.uid.as_deref(), &self.uid).await;
        removed.map_err(|error| {
            let text = format!("unable to delete {}: {error}", describe(reference));
            if error.is_transient() {
                Stop::Transient(text)
            } else {
                Stop::Making(vec![text])
            }
        })
    }

    /// Whether an object stays when its instance goes.
    pub(super) async fn is_retained(&self, resource: &Resource, namespace: &str, name: &str) -> Result<bool, Stop> {
        match self.api.get::<Value>(&resource.one(namespace, name)).await {
            Ok(found) => Ok(found["metadata"]["annotations"][ON_DELETE] == "retain"),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(Stop::Transient(error.to_string())),
        }
    }

    /// The resource, namespace and name that a reference means; `None` when the cluster has no such kind any more.
    pub(super) async fn locate(&self, reference: &ObjectReference) -> Result<Option<(Resource, String, String)>, Stop> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let found = self
            .context
            .discovery
            .find(&self.api, &text(&reference.api_version), &text(&reference.kind))
            .await;
        let resource = found.map_err(|error| Stop::Transient(error.to_string()))?;
        Ok(resource.map(|resource| (resource, text(&reference.namespace), text(&reference.name))))
    }

    /// Looks at the objects that are waited for. `None` when nothing is, else when to look again.
    async fn wait_ready(&mut self) -> Result<Option<Duration>, Stop> {
        let missing = self.look(|object| object.state == Some(ObjectState::Waiting)).await?;
        if missing.is_empty() {
            return Ok(None);
        }
        let (elapsed, timeout) = (self.elapsed(), self.timeout());
        if elapsed >= timeout {
            let what = "timeout while waiting for template instance to be ready";
            return Err(Stop::Readiness(vec![format!("{what}: {}", missing.join(", "))]));
        }
        let generation = Some(self.generation);
        status::set_waiting(self.status_mut(), WAITING_MESSAGE, generation);
        Ok(Some(self.context.options.poll.min(timeout - elapsed)))
    }

    /// Looks at all of these objects, and fails when one of them has; what the others wait for.
    async fn look(&mut self, is_looked_at: impl Fn(&InstanceObject) -> bool) -> Result<Vec<String>, Stop> {
        let objects = self.status().objects;
        let looked_at = objects.iter().enumerate().filter(|(_, object)| is_looked_at(object));
        let looked_at: Vec<(usize, &ObjectReference)> = looked_at.map(|(at, object)| (at, &object.reference)).collect();
        let mut looks: Vec<BoxFuture<'_, _>> = Vec::with_capacity(looked_at.len());
        for (_, reference) in &looked_at {
            looks.push(Box::pin(self.look_at_one(reference)));
        }
        let found = at_once(looks).await;
        let mut waiting = Vec::new();
        let mut failed = Vec::new();
        for ((at, reference), found) in looked_at.into_iter().zip(found) {
            let called = describe(reference);
            let (state, message) = match found? {
                Readiness::Ready => (ObjectState::Ready, None),
                Readiness::Waiting(what) => {
                    let what = self.blot.out(&what);
                    waiting.push(format!("{called}: {what}"));
                    (ObjectState::Waiting, Some(what))
                }
                Readiness::Failed(why) => {
                    let why = self.blot.out(&why);
                    failed.push(format!("readiness failed on {called}: {why}"));
                    (ObjectState::Failed, Some(why))
                }
            };
            let object = &mut self.status_mut().objects[at];
            object.state = Some(state);
            object.message = message;
        }
        if failed.is_empty() {
            Ok(waiting)
        } else {
            Err(Stop::Readiness(failed))
        }
    }

    async fn look_at_one(&self, reference: &ObjectReference) -> Result<Readiness, Stop> {
        let Some((resource, namespace, name)) = self.locate(reference).await? else {
            return Ok(Readiness::Waiting("the cluster does not serve its kind".to_owned()));
        };
        // Before it is read, so that no change is missed.
        self.context.watches.wait(&self.uid, self.key, &resource, &namespace);
        let found: Value = match self.api.get(&resource.one(&namespace, &name)).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(Readiness::Failed("it was removed".to_owned())),
            Err(error) => return Err(Stop::Transient(error.to_string())),
        };
        if found["metadata"]["uid"].as_str() != reference.uid.as_deref() {
            return Ok(Readiness::Failed(
                "it was replaced by another object of its name".to_owned(),
            ));
        }
        let readiness = match ready_when(&found) {
            Some(condition) => condition.readiness(&found),
            None => match build_of(&found) {
                Some(build) => self.look_at_build(&resource, &namespace, &build).await?,
                None => readiness(&found),
            },
        };
        Ok(self.timed_out(&found, readiness))
    }

    /// A BuildConfig is as ready as its last build.
    async fn look_at_build(&self, config: &Resource, namespace: &str, name: &str) -> Result<Readiness, Stop> {
        let build = Resource {
            kind: "Build".to_owned(),
            plural: "builds".to_owned(),
            ..config.clone()
        };
        self.context.watches.wait(&self.uid, self.key, &build, namespace);
        match self.api.get::<Value>(&build.one(namespace, name)).await {
            Ok(found) => Ok(readiness(&found)),
            Err(error) if error.is_not_found() => {
                Ok(Readiness::Waiting(format!("the build {name} is not there; start one")))
            }
            Err(error) => Err(Stop::Transient(error.to_string())),
        }
    }

    /// An object may have a time of its own.
    fn timed_out(&self, found: &Value, readiness: Readiness) -> Readiness {
        let own = found["metadata"]["annotations"][TIMEOUT].as_str().and_then(duration);
        match (own, readiness) {
            (Some(own), Readiness::Waiting(what)) if self.elapsed() >= own => {
                Readiness::Failed(format!("timeout after {} seconds: {what}", own.as_secs()))
            }
            (_, readiness) => readiness,
        }
    }

    /// Everything is there.
    async fn finish(&mut self) -> Result<Next, Stop> {
        let status = self.status();
        let kind = status.operation.as_ref().map(|operation| operation.kind);
        if kind == Some(OperationKind::Update) {
            let used = status.values.map(|values| values.name);
            for name in values::names(&self.uid)
                .iter()
                .filter(|name| Some(*name) != used.as_ref())
            {
                let removed = values::remove(&self.api, &self.key.namespace, name, None).await;
                removed.map_err(|error| Stop::Transient(error.to_string()))?;
            }
        }
        let generation = Some(self.generation);
        let status = self.status_mut();
        status::set_ready(status, generation);
        end(status);
        status::write(&self.api, &mut self.instance).await.map_err(super::own)?;
        self.context.watches.forget(&self.uid);
        self.count(Ended::Ready);
        let (reason, message) = match kind {
            Some(OperationKind::Update) => ("Updated", "all objects are as the template has them"),
            _ => ("Created", "all objects are there"),
        };
        tell(&self.api, &self.instance, Level::Normal, reason, message).await;
        Ok(Next::Done)
    }
}

fn ready_when(found: &Value) -> Option<ReadyWhen> {
    ReadyWhen::parse(found["metadata"]["annotations"][READY_WHEN].as_str()?).ok()
}

/// `ConfigMap ns/name`
pub(super) fn describe(reference: &ObjectReference) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    called(
        &text(&reference.kind),
        &text(&reference.namespace),
        &text(&reference.name),
    )
}
