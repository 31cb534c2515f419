//! What is done for one object: look, claim, call the author, store the outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use osb_api::Object;
use osb_api::answer::{BindingBody, InstanceBody};
use osb_api::id::{BindingId, PlanId};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::Called;
use crate::decide::{self, Work};
use crate::definition::Found;
use crate::engine::Inner;
use crate::home::{HomeError, Selection};
use crate::lanes::{Accepted, Job, LaneKey, Target};
use crate::names;
use crate::objects::{self, Known, Order};
use crate::operation::Operation;
use crate::recorder::{OutcomeWrite, RecordError, Recorder};
use crate::removal::AcceptError;
use crate::resource::{FINALIZER, INSTANCE_LABEL, Kind, Outcome, Stored, Verb};
use crate::seal::SealError;
use crate::service::{self, Change, Error};
use crate::waiters::Settled;

/// The pause after the home did not do as it was asked.
const HOME_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two tries to store an outcome.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// So much time an operation gets at least when it is resumed after its deadline.
const LAST_CHANCE: Duration = Duration::from_secs(60);

/// How often an object that changes while we look is looked at again.
const LOOKS: usize = 20;

/// Does the jobs of a lane, one after the other, until there is none.
pub(crate) async fn work_lane(inner: Arc<Inner>, key: LaneKey) {
    while let Some((job, cancelled)) = inner.lanes.next(&key, &inner.stopping) {
        let target = job.target.clone();
        let attempt = job.attempt;
        let done = AssertUnwindSafe(inner.do_job(&key, job, cancelled))
            .catch_unwind()
            .await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, object = %target.name, "the home did not let an operation go on; trying again");
                inner.again(key.clone(), target, attempt, HOME_PAUSE);
            }
            Err(_) => {
                tracing::error!(object = %target.name, "the engine broke down while it worked on an object");
                inner.again(key.clone(), target, attempt + 1, inner.pause_after(attempt));
            }
        }
    }
}

/// What a user is told of a failure of which the author says nothing.
const SERVICE_FAILED: &str = "The service failed.";

/// A call of the author, made ready.
struct Ready {
    stored: Stored,
    found: Found,
    known: Known,
    operation: Operation,
    recorder: Arc<Recorder>,
    cancelled: CancellationToken,
    deadline: Instant,
    attempt: u32,
}

impl Inner {
    async fn do_job(self: &Arc<Self>, key: &LaneKey, job: Job, cancelled: CancellationToken) -> Result<(), HomeError> {
        let fresh = job.accepted.is_some() && job.attempt == 1;
        let (kind, name) = (job.target.kind, &job.target.name);
        let mut accepted = match job.accepted {
            Some(accepted) => *accepted,
            None => match self.home.get::<Stored>(kind, &key.namespace, name).await? {
                Some(stored) => stored.into(),
                None => return Ok(()),
            },
        };
        for _ in 0..LOOKS {
            let Some(epoch) = self.shards.epoch(&key.instance) else {
                return Ok(());
            };
            let stored = &accepted.stored;
            let changed = match decide::work(stored, epoch, FINALIZER) {
                Work::Nothing | Work::NotMine => return Ok(()),
                Work::NotOurs => {
                    tracing::warn!(object = %name, namespace = %key.namespace, "not made by this broker, left alone");
                    return Ok(());
                }
                Work::Run => return self.run(key, accepted, fresh, job.attempt, cancelled).await,
                Work::Claim => self.claim(stored, epoch).await.map(|claimed| claimed.metadata),
                Work::AddFinalizer => {
                    let mut finalizers: Vec<&str> = stored.metadata.finalizers.iter().map(String::as_str).collect();
                    finalizers.push(FINALIZER);
                    self.home.set_finalizers(kind, &stored.metadata, &finalizers).await
                }
                Work::Remove => {
                    let verb = if kind == Kind::Binding {
                        Verb::Unbind
                    } else {
                        Verb::Deprovision
                    };
                    match self.accept(stored, Order::own(verb, epoch)).await {
                        Ok(removal) => {
                            accepted = removal.into();
                            continue;
                        }
                        Err(AcceptError::Changed) => Err(HomeError::Conflict),
                        Err(AcceptError::Home(error)) => Err(error),
                        Err(AcceptError::Seal) => Err(HomeError::Unknown),
                    }
                }
            };
            match changed {
                Ok(meta) => self.own.add(&meta.resource_version),
                Err(HomeError::Conflict | HomeError::NotFound) => {}
                Err(error) => return Err(error),
            }
            match self.home.get::<Stored>(kind, &key.namespace, name).await? {
                Some(found) => accepted = found.into(),
                None => return Ok(()),
            }
        }
        Err(HomeError::Conflict)
    }

    /// Takes an operation over from an older process: its writes conflict from then on.
    async fn claim(&self, stored: &Stored, epoch: u64) -> Result<Stored, HomeError> {
        let patch = json!({"record": {"epoch": epoch}});
        let metadata = self.home.patch(stored.which(), &stored.metadata, &patch).await?;
        self.own.add(&metadata.resource_version);
        let mut claimed = Stored {
            metadata,
            ..stored.clone()
        };
        if let Some(record) = &mut claimed.record {
            record.epoch = epoch;
        }
        Ok(claimed)
    }

    async fn run(
        self: &Arc<Self>,
        key: &LaneKey,
        mut accepted: Accepted,
        fresh: bool,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<(), HomeError> {
        let stored = &accepted.stored;
        let Some(running) = stored.running().cloned() else {
            return Ok(());
        };
        if running.verb.removes() && !fresh && self.is_buried(stored).await? {
            return self.removed(stored).await;
        }
        let instance = match stored.which() {
            Kind::Binding => self.instance_of(key, stored, accepted.instance.take()).await?,
            _ => None,
        };
        // A binding goes along when the plan of its instance changes.
        let spec = instance.as_ref().map_or(&stored.spec, |instance| &instance.spec);
        let plan = running.plan_id.as_ref().unwrap_or(&spec.plan_id);
        let Some(found) = self.services.find(&stored.spec.service_id, plan) else {
            tracing::error!(object = %stored.metadata.name, %plan,
                "an operation waits for a plan that this broker does not have: add the plan, or start the version that has it");
            return Ok(());
        };
        match running.verb {
            Verb::Provision => self.provision_now(key, accepted, found, attempt, cancelled).await,
            Verb::Deprovision => {
                self.deprovision_now(key, accepted.stored, found, attempt, cancelled)
                    .await
            }
            Verb::Bind => {
                let Accepted { stored, known, .. } = accepted;
                self.bind_now(key, stored, known, instance, found, attempt, cancelled)
                    .await
            }
            Verb::Unbind => {
                self.unbind_now(key, accepted.stored, instance, found, attempt, cancelled)
                    .await
            }
            Verb::Update => self.update_now(key, accepted.stored, found, attempt, cancelled).await,
        }
    }

    /// The instance of a binding, if it is still there and not a later one of the same id.
    async fn instance_of(
        &self,
        key: &LaneKey,
        binding: &Stored,
        known: Option<Stored>,
    ) -> Result<Option<Stored>, HomeError> {
        let instance = match known {
            None => self.home.get(Kind::Instance, &key.namespace, &key.instance).await?,
            known => known,
        };
        Ok(instance.filter(|instance: &Stored| is_of(binding, instance)))
    }

    /// Everything that a call needs, of an operation on an instance or on a binding of `instance`; `None` when the object cannot be read, and then the operation has failed.
    fn make_ready(
        &self,
        stored: Stored,
        known: Option<Known>,
        instance: Option<&Stored>,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Option<Ready> {
        let platform = self.platform(&stored.metadata.namespace)?;
        let running = stored.running()?;
        let known = match known.map_or_else(|| Known::open(&self.keys, &stored, running), Ok) {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, object = %stored.metadata.name, "the request of an operation cannot be read");
                return None;
            }
        };
        let facts = objects::facts(
            platform,
            &found.plan.plan,
            instance.unwrap_or(&stored),
            &stored,
            running,
            &known,
        );
        let deadline = deadline(
            running.accepted_at,
            if running.verb.removes() {
                found.plan.removal_deadline
            } else {
                found.plan.deadline
            },
        );
        let recorder = Arc::new(Recorder::new(
            self.home.clone(),
            self.keys.clone(),
            self.own.clone(),
            &stored,
            cancelled.clone(),
        )?);
        let operation = Operation {
            facts: Arc::new(facts),
            attempt,
            cancelled: cancelled.clone(),
            recorder: Some(recorder.clone()),
        };
        Some(Ready {
            stored,
            found,
            known,
            operation,
            recorder,
            cancelled,
            deadline,
            attempt,
        })
    }

    async fn provision_now(
        self: &Arc<Self>,
        key: &LaneKey,
        accepted: Accepted,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<(), HomeError> {
        let Accepted { stored, known, .. } = accepted;
        let Some(ready) = self.make_ready(stored, known, None, found, attempt, cancelled) else {
            return Ok(());
        };
        let Some(_slot) = ready.slot().await else { return Ok(()) };
        let service = &ready.found.registration.service;
        let function = service.provision(&ready.operation, ready.known.request.parameters.clone());
        match self
            .call(
                Verb::Provision,
                Some(&ready.recorder),
                &ready.cancelled,
                ready.deadline,
                function,
            )
            .await
        {
            Called::Returned(state) => {
                let body = InstanceBody {
                    dashboard_url: service.dashboard_url(&ready.operation),
                    metadata: None,
                };
                let write = OutcomeWrite {
                    data: Some(state),
                    outputs: Some(objects::to_vec(&body)),
                    drop_steps: true,
                    spec: None,
                };
                self.succeeded(&ready, write, Settled::Succeeded(None)).await
            }
            Called::Failed(error) => self.failed(key, &ready, error).await,
            Called::Late => self.store_failure(&ready, late()).await,
            Called::Cancelled => Ok(()),
        }
    }

    async fn update_now(
        self: &Arc<Self>,
        key: &LaneKey,
        stored: Stored,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<(), HomeError> {
        let before = objects::data(&self.keys, &stored);
        let Some(ready) = self.make_ready(stored, None, None, found, attempt, cancelled) else {
            return Ok(());
        };
        let before = match before {
            Ok(state) => state.unwrap_or_default(),
            Err(error) => return self.failed(key, &ready, unreadable(error)).await,
        };
        let Some(_slot) = ready.slot().await else { return Ok(()) };
        let update = ready.known.update.clone().unwrap_or_default();
        let (from, to) = (&ready.stored.spec.plan_id, &ready.operation.facts.plan.id);
        let change = Change {
            parameters: (!update.parameters.is_empty()).then_some(update.parameters),
            previous_plan: (from.as_str() != to).then(|| from.clone()),
            maintenance: update.maintenance,
        };
        let author = ready.found.registration.update.as_ref();
        let function: BoxFuture<'_, service::Result<Vec<u8>>> = match author {
            Some(author) => author.service.update(&ready.operation, before, change),
            // Only the context changes, and nobody wants to know.
            None => Box::pin(std::future::ready(Ok(before))),
        };
        match self
            .call(
                Verb::Update,
                Some(&ready.recorder),
                &ready.cancelled,
                ready.deadline,
                function,
            )
            .await
        {
            Called::Returned(state) => match self.updated(&ready, state) {
                Ok(write) => self.succeeded(&ready, write, Settled::Succeeded(None)).await,
                Err(error) => self.failed(key, &ready, unreadable(error)).await,
            },
            Called::Failed(error) => self.failed(key, &ready, error).await,
            Called::Late => self.store_failure(&ready, late()).await,
            Called::Cancelled => Ok(()),
        }
    }

    /// What a successful update writes: everything that it changes, at once.
    fn updated(&self, ready: &Ready, state: Vec<u8>) -> Result<OutcomeWrite, SealError> {
        let (stored, facts) = (&ready.stored, &ready.operation.facts);
        let before: Option<InstanceBody> = objects::outputs(&self.keys, stored)?;
        let before = before.unwrap_or_default();
        let dashboard_url = ready.found.registration.service.dashboard_url(&ready.operation);
        let body = InstanceBody {
            dashboard_url: dashboard_url.or(before.dashboard_url),
            ..before
        };
        let plan_id = stored.running().and_then(|running| running.plan_id.as_ref());
        debug_assert_eq!(plan_id.map(PlanId::as_str), Some(facts.plan.id.as_str()));
        let plan_id = plan_id.unwrap_or(&stored.spec.plan_id);
        Ok(OutcomeWrite {
            data: Some(state),
            outputs: Some(objects::to_vec(&body)),
            drop_steps: true,
            spec: Some(objects::updated_spec(&self.keys, stored, plan_id, &ready.known)?),
        })
    }

    async fn bind_now(
        self: &Arc<Self>,
        key: &LaneKey,
        stored: Stored,
        known: Option<Known>,
        instance: Option<Stored>,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<(), HomeError> {
        let state = match instance
            .as_ref()
            .map(|instance| objects::data(&self.keys, instance))
            .transpose()
        {
            Ok(state) => state.flatten(),
            Err(error) => {
                tracing::error!(%error, instance = %key.instance, "the state of an instance cannot be read");
                return Err(HomeError::Unknown);
            }
        };
        let (Some(instance), Some(state)) = (instance, state) else {
            return self.bury_bind(&stored).await;
        };
        let removing = instance.running().is_some_and(|running| running.verb.removes());
        if removing || instance.metadata.deletion_timestamp.is_some() {
            // The removal of the instance looks for its bindings when its turn in this lane comes, and undoes what an
            // earlier attempt may have made. Should it fail before it comes to this one, the bind goes on.
            self.again(key.clone(), target_of(&stored), attempt, HOME_PAUSE);
            return Ok(());
        }
        let Some(ready) = self.make_ready(stored, known, Some(&instance), found, attempt, cancelled) else {
            return Ok(());
        };
        let Some(_slot) = ready.slot().await else { return Ok(()) };
        let predecessor = match &ready.known.request.predecessor {
            Some(predecessor) => self.credentials_of(&ready.stored, predecessor).await?,
            None => None,
        };
        let service = &ready.found.registration.service;
        let parameters = ready.known.request.parameters.clone();
        let function = service.bind(&ready.operation, state, predecessor, parameters);
        match self
            .call(
                Verb::Bind,
                Some(&ready.recorder),
                &ready.cancelled,
                ready.deadline,
                function,
            )
            .await
        {
            Called::Returned(body) => {
                let write = OutcomeWrite {
                    outputs: Some(objects::to_vec(&body)),
                    drop_steps: true,
                    ..OutcomeWrite::default()
                };
                self.succeeded(&ready, write, Settled::Succeeded(Some(Arc::new(body))))
                    .await
            }
            Called::Failed(error) => self.failed(key, &ready, error).await,
            Called::Late => self.store_failure(&ready, late()).await,
            Called::Cancelled => Ok(()),
        }
    }

    /// The credentials of a binding of the same instance; `None` when it has gone meanwhile.
    async fn credentials_of(&self, successor: &Stored, id: &BindingId) -> Result<Option<Object>, HomeError> {
        let name = names::binding(&successor.spec.instance_id, id);
        let namespace = &successor.metadata.namespace;
        let found: Option<Stored> = self.home.get(Kind::Binding, namespace, &name).await?;
        let found = found.filter(|found| found.spec.binding_id.as_ref() == Some(id));
        let body: Option<BindingBody> = match found {
            Some(found) => objects::outputs(&self.keys, &found).map_err(|_| HomeError::Unknown)?,
            None => None,
        };
        Ok(body.and_then(|body| body.credentials))
    }

    /// A bind whose instance is gone: the removal of the instance has undone whatever there was of it.
    async fn bury_bind(self: &Arc<Self>, stored: &Stored) -> Result<(), HomeError> {
        let epoch = stored.record.as_ref().map(|record| record.epoch).unwrap_or_default();
        match self.accept(stored, Order::own(Verb::Unbind, epoch)).await {
            Ok(accepted) => self.removed(&accepted).await,
            Err(AcceptError::Changed) => Ok(()),
            Err(AcceptError::Home(error)) => Err(error),
            Err(AcceptError::Seal) => Err(HomeError::Unknown),
        }
    }

    async fn unbind_now(
        self: &Arc<Self>,
        key: &LaneKey,
        stored: Stored,
        instance: Option<Stored>,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<(), HomeError> {
        match self
            .undo_binding(stored, instance.as_ref(), found, attempt, cancelled)
            .await?
        {
            Undone::Yes(stored) => self.removed(&stored).await,
            Undone::No(ready, error) => self.failed(key, &ready, error).await,
            Undone::Late(ready) => self.store_failure(&ready, late()).await,
            Undone::Cancelled => Ok(()),
        }
    }

    /// Calls the author's unbind, if there is an instance with a state that the binding can belong to.
    async fn undo_binding(
        self: &Arc<Self>,
        stored: Stored,
        instance: Option<&Stored>,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<Undone, HomeError> {
        let Some(instance) = instance.filter(|instance| is_of(&stored, instance)) else {
            tracing::warn!(binding = %stored.metadata.name, "unbound without its instance, which is gone");
            return Ok(Undone::Yes(stored));
        };
        let Some(ready) = self.make_ready(stored, None, Some(instance), found, attempt, cancelled) else {
            return Ok(Undone::Cancelled);
        };
        let state = match objects::data(&self.keys, instance) {
            Ok(Some(state)) => state,
            // An instance that was never complete has no binding that the author made.
            Ok(None) => return Ok(Undone::Yes(ready.stored)),
            Err(error) => return Ok(Undone::No(Box::new(ready), unreadable(error))),
        };
        let credentials = match objects::outputs::<BindingBody>(&self.keys, &ready.stored) {
            Ok(body) => body.and_then(|body| body.credentials),
            Err(error) => return Ok(Undone::No(Box::new(ready), unreadable(error))),
        };
        let Some(slot) = ready.slot().await else {
            return Ok(Undone::Cancelled);
        };
        let service = &ready.found.registration.service;
        let function = service.unbind(&ready.operation, state, credentials);
        let called = self
            .call(
                Verb::Unbind,
                Some(&ready.recorder),
                &ready.cancelled,
                ready.deadline,
                function,
            )
            .await;
        drop(slot);
        Ok(match called {
            Called::Returned(()) => Undone::Yes(ready.into_stored().await),
            Called::Failed(error) => Undone::No(Box::new(ready), error),
            Called::Late => Undone::Late(Box::new(ready)),
            Called::Cancelled => Undone::Cancelled,
        })
    }

    async fn deprovision_now(
        self: &Arc<Self>,
        key: &LaneKey,
        stored: Stored,
        found: Found,
        attempt: u32,
        cancelled: CancellationToken,
    ) -> Result<(), HomeError> {
        let state = objects::data(&self.keys, &stored);
        let instance = stored.clone();
        let Some(ready) = self.make_ready(stored, None, Some(&instance), found, attempt, cancelled) else {
            return Ok(());
        };
        if let Some(error) = self.unbind_all(key, &instance, &ready).await? {
            return self.failed(key, &ready, error).await;
        }
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                return self.failed(key, &ready, unreadable(error)).await;
            }
        };
        let Some(slot) = ready.slot().await else { return Ok(()) };
        let function = ready.found.registration.service.deprovision(&ready.operation, state);
        let called = self
            .call(
                Verb::Deprovision,
                Some(&ready.recorder),
                &ready.cancelled,
                ready.deadline,
                function,
            )
            .await;
        drop(slot);
        match called {
            Called::Returned(()) => self.removed(&ready.into_stored().await).await,
            Called::Failed(error) => self.failed(key, &ready, error).await,
            Called::Late => self.store_failure(&ready, late()).await,
            Called::Cancelled => Ok(()),
        }
    }

    /// Removes the bindings of an instance that is being removed, until none is left (Amb-18). The answer is what
    /// stands in the way.
    async fn unbind_all(
        self: &Arc<Self>,
        key: &LaneKey,
        instance: &Stored,
        ready: &Ready,
    ) -> Result<Option<Error>, HomeError> {
        let labels = format!("{INSTANCE_LABEL}={}", key.instance);
        let selection = Selection {
            namespace: Some(&key.namespace),
            labels: Some(&labels),
            ..Selection::default()
        };
        for _ in 0..LOOKS {
            let bindings = self
                .home
                .list::<Stored>(Kind::Binding, selection.clone())
                .await?
                .items
                .unwrap_or_default();
            if bindings.is_empty() {
                return Ok(None);
            }
            for binding in bindings {
                if let Some(error) = self.unbind_along(key, binding, instance, ready).await? {
                    return Ok(Some(error));
                }
            }
        }
        Ok(Some(Error::retry("New bindings keep coming.")))
    }

    async fn unbind_along(
        self: &Arc<Self>,
        key: &LaneKey,
        mut binding: Stored,
        instance: &Stored,
        ready: &Ready,
    ) -> Result<Option<Error>, HomeError> {
        let Some(epoch) = self.shards.epoch(&key.instance) else {
            return Ok(Some(Error::retry("Handed over.")));
        };
        if binding.running().is_some_and(|running| running.verb == Verb::Unbind) {
            if self.is_buried(&binding).await? {
                self.removed(&binding).await?;
                return Ok(None);
            }
            if binding.record.as_ref().is_some_and(|record| record.epoch < epoch) {
                match self.claim(&binding, epoch).await {
                    Ok(claimed) => binding = claimed,
                    Err(HomeError::Conflict | HomeError::NotFound) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        } else {
            match self.accept(&binding, Order::own(Verb::Unbind, epoch)).await {
                Ok(accepted) => binding = accepted,
                Err(AcceptError::Changed) => return Ok(None),
                Err(AcceptError::Home(error)) => return Err(error),
                Err(AcceptError::Seal) => return Err(HomeError::Unknown),
            }
        }
        let undone = self
            .undo_binding(
                binding,
                Some(instance),
                ready.found.clone(),
                ready.attempt,
                ready.cancelled.child_token(),
            )
            .await?;
        match undone {
            Undone::Yes(stored) => self.removed(&stored).await.map(|()| None),
            Undone::No(of_binding, error) => {
                // With the removal of the instance that of the binding ends, too; else it goes on with the next try.
                match self.pause_before_next(ready, &error) {
                    Some(pause) => self.again(key.clone(), target_of(&of_binding.stored), ready.attempt + 1, pause),
                    None => {
                        let text = error.description.as_deref().unwrap_or(SERVICE_FAILED);
                        let text = objects::masked(text, &objects::secrets(&of_binding.known));
                        self.store_failure(&of_binding, text).await?;
                    }
                }
                Ok(Some(error))
            }
            Undone::Late(of_binding) => {
                self.store_failure(&of_binding, late()).await?;
                Ok(Some(Error::failed(late())))
            }
            Undone::Cancelled => Ok(Some(Error::retry("A binding could not be removed."))),
        }
    }

    /// Stores a success and wakes who waits for it.
    async fn succeeded(&self, ready: &Ready, write: OutcomeWrite, settled: Settled) -> Result<(), HomeError> {
        match self.store_outcome(ready, Outcome::Succeeded, None, write).await {
            Ok(()) => {
                self.metrics.ended(ready.operation.verb(), Outcome::Succeeded);
                self.waiters.settle(&ready.operation.facts.id, &settled);
                Ok(())
            }
            Err(RecordError::TooLarge) => self.store_failure(ready, RecordError::TooLarge.to_string()).await,
            Err(error) => lost(error),
        }
    }

    /// What an error of the author means: another try after a pause, or the end.
    async fn failed(self: &Arc<Self>, key: &LaneKey, ready: &Ready, error: Error) -> Result<(), HomeError> {
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
    fn pause_before_next(&self, ready: &Ready, error: &Error) -> Option<Duration> {
        match error.kind {
            service::Kind::Failed => None,
            service::Kind::Retry(after) => Some(after.unwrap_or_else(|| self.pause_after(ready.attempt)))
                .filter(|pause| Instant::now() + *pause < ready.deadline),
        }
    }

    async fn store_failure(&self, ready: &Ready, failure: impl Into<Failure>) -> Result<(), HomeError> {
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
        match self
            .store_outcome(ready, Outcome::Failed, Some(failure), write)
            .await
        {
            Ok(()) => {
                self.metrics.ended(ready.operation.verb(), Outcome::Failed);
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
        let now = Timestamp::now();
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
    async fn removed(&self, stored: &Stored) -> Result<(), HomeError> {
        let Some(running) = stored.running() else { return Ok(()) };
        self.finish_removal(stored, || {
            self.metrics.ended(running.verb, Outcome::Succeeded);
            self.waiters.settle(&running.id, &Settled::Succeeded(None));
        })
        .await
    }

    /// Looks at an object again after a pause.
    fn again(self: &Arc<Self>, key: LaneKey, target: Target, attempt: u32, pause: Duration) {
        let inner = self.clone();
        self.retrying.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => inner.push(key, Job::look_at(target, attempt)),
                () = inner.stopping.cancelled() => {}
            }
            inner.retrying.fetch_sub(1, Ordering::AcqRel);
        });
    }

    fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = self
            .config
            .first_retry
            .saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.config.longest_retry)
    }
}

impl Ready {
    /// One of the places that the plan has for running functions.
    async fn slot(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        tokio::select! {
            slot = self.found.plan.slots.acquire() => slot.ok(),
            () = self.cancelled.cancelled() => None,
        }
    }

    /// The object with the version of the last write.
    async fn into_stored(self) -> Stored {
        let metadata = self.recorder.meta().await;
        Stored {
            metadata,
            ..self.stored
        }
    }
}

/// Whether a binding belongs to this life of its instance.
fn is_of(binding: &Stored, instance: &Stored) -> bool {
    let incarnation = binding.spec.instance_incarnation.as_ref();
    incarnation.is_none_or(|incarnation| *incarnation == instance.spec.incarnation)
}

fn target_of(stored: &Stored) -> Target {
    Target {
        kind: stored.which(),
        name: stored.metadata.name.as_str().into(),
    }
}

/// What the platform is told of a failure.
struct Failure {
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

/// How an unbind went.
#[expect(
    clippy::large_enum_variant,
    reason = "it is short-lived, and the large one is the usual one"
)]
enum Undone {
    Yes(Stored),
    No(Box<Ready>, Error),
    Late(Box<Ready>),
    Cancelled,
}

/// An operation that is not ours any more is carried on by somebody else; what else went wrong is tried again.
fn lost(error: RecordError) -> Result<(), HomeError> {
    match error {
        RecordError::Home(error) => Err(error),
        RecordError::Lost => Ok(()),
        RecordError::TooLarge | RecordError::TooManySteps | RecordError::Seal(_) => Err(HomeError::Unknown),
    }
}

fn unreadable(error: SealError) -> Error {
    Error::retry("The stored state cannot be read.").caused_by(error)
}

fn late() -> String {
    "The operation did not end in time.".to_owned()
}

fn deadline(accepted: Option<Timestamp>, limit: Duration) -> Instant {
    let now = Instant::now();
    let age = accepted
        .map(|accepted| Timestamp::now().duration_since(accepted))
        .unwrap_or_default();
    let age = Duration::try_from(age).unwrap_or_default();
    let left = limit.saturating_sub(age);
    // A limit below the last chance is the author's will; an age beyond the limit is a long time without us.
    now + if left.is_zero() { LAST_CHANCE.min(limit) } else { left }
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
