//! The calls of the front: check, store, decide, wait.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use osb_api::Object;
use osb_api::answer::{
    BindingBody, Bound, InstanceBody, LastOperation, Polled, Provisioned, Removed, State,
};
use osb_api::error::{BindError, DeprovisionError, Fault, PollError, ProvisionError, UnbindError};
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use osb_api::request::{BindRequest, Incomplete, PollQuery, ProvisionRequest, RemovalQuery};
use osb_server::{Caller, ServedCatalog};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::decide::{self, OnExisting, OnPoll, OnRemoval, Usable};
use crate::definition::{Execution, Found};
use crate::engine::{Engine, Inner};
use crate::home::HomeError;
use crate::lanes::{Job, LaneKey};
use crate::names;
use crate::objects::{self, MakeError, New};
use crate::operation::Operation;
use crate::removal::AcceptError;
use crate::resource::{Kind, Stored, Verb};
use crate::waiters::Settled;

/// How often a request looks again when others change its object at the same time.
const TRIES: usize = 20;

/// How often a request that waits for an operation of another request, or of another process, looks at it.
const LOOK: Duration = Duration::from_millis(250);

const RETRY_AFTER_SECS: u32 = 5;

impl osb_server::Broker for Engine {
    fn catalog(&self) -> ServedCatalog {
        self.inner.served.clone()
    }

    async fn provision(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        self.inner.provision(&caller, &instance, &request, incomplete).await
    }

    async fn deprovision(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        let name = names::instance(&instance);
        let what = Removal { kind: Kind::Instance, name: &name, instance: &instance, binding: None };
        self.inner.remove(&caller, what, &query, incomplete).await.map_err(|refusal| match refusal {
            Refusal::Invalid(text) => DeprovisionError::Invalid(text),
            Refusal::Gone => DeprovisionError::Gone,
            Refusal::AsyncRequired => DeprovisionError::AsyncRequired,
            Refusal::Fault(fault) => DeprovisionError::Fault(fault),
        })
    }

    async fn instance_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        self.inner.poll(&caller, Kind::Instance, &names::instance(&instance), &instance, None, &query).await
    }

    async fn bind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        request: BindRequest,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        self.inner.bind(&caller, &instance, &binding, &request, incomplete).await
    }

    async fn unbind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, UnbindError> {
        let name = names::binding(&instance, &binding);
        let what = Removal { kind: Kind::Binding, name: &name, instance: &instance, binding: Some(&binding) };
        self.inner.remove(&caller, what, &query, incomplete).await.map_err(|refusal| match refusal {
            Refusal::Invalid(text) => UnbindError::Invalid(text),
            Refusal::Gone => UnbindError::Gone,
            Refusal::AsyncRequired => UnbindError::AsyncRequired,
            Refusal::Fault(fault) => UnbindError::Fault(fault),
        })
    }

    async fn binding_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        let name = names::binding(&instance, &binding);
        self.inner.poll(&caller, Kind::Binding, &name, &instance, Some(&binding), &query).await
    }

    fn ready(&self) -> Result<(), String> {
        if self.inner.ready.load(std::sync::atomic::Ordering::Acquire) {
            Ok(())
        } else {
            Err("the engine is starting or stopping".to_owned())
        }
    }

    fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }
}

/// What is to be removed.
#[derive(Clone, Copy)]
struct Removal<'a> {
    kind: Kind,
    name: &'a str,
    instance: &'a InstanceId,
    binding: Option<&'a BindingId>,
}

/// Why a removal is not done; deprovision and unbind have the same reasons.
enum Refusal {
    Invalid(String),
    Gone,
    AsyncRequired,
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Inner {
    async fn provision(
        self: &Arc<Self>,
        caller: &Caller,
        id: &InstanceId,
        request: &ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        let namespace = self.tenant(caller)?;
        let found = self.found(&request.service_id, &request.plan_id).map_err(ProvisionError::Invalid)?;
        let offered = found.plan.plan.maintenance_info.as_ref().map(|info| info.version.as_str());
        let asked = request.maintenance_info.as_ref().map(|info| info.version.as_str());
        if asked.is_some() && asked != offered {
            return Err(ProvisionError::MaintenanceInfoConflict);
        }
        let refusal = refuse_provision(&found, request, incomplete);
        let canonical = objects::canonical_provision(request);
        let name = names::instance(id);
        let Some(epoch) = self.shards.epoch(&name) else { return Err(elsewhere().into()) };
        for _ in 0..TRIES {
            let existing = if refusal.is_some() {
                let existing: Option<Stored> = self.home.get(Kind::Instance, namespace, &name).await.map_err(fault)?;
                match (existing, refusal.clone()) {
                    (None, Some(refusal)) => return Err(refusal),
                    (existing, _) => existing,
                }
            } else {
                self.admit()?;
                let new = self.new_object(namespace, epoch, &canonical, caller);
                let object = new.instance(id, request, offered).map_err(|error| match error {
                    MakeError::TooLarge => ProvisionError::Invalid(error.to_string()),
                    MakeError::Seal(error) => fault_of_seal(&error).into(),
                })?;
                match self.create(object).await? {
                    Created::New(stored) => return self.provisioning(stored, &found, incomplete, true).await,
                    Created::Taken => self.home.get(Kind::Instance, namespace, &name).await.map_err(fault)?,
                }
            };
            let Some(existing) = existing else { continue };
            let same_ids = existing.spec.instance_id == *id;
            match decide::put(&existing, same_ids, self.is_same(&existing, &canonical)) {
                OnExisting::Conflict => return Err(ProvisionError::Conflict(other_attributes("instance"))),
                OnExisting::Foreign => return Err(ProvisionError::Conflict(foreign("instance"))),
                OnExisting::Exists => {
                    self.metrics.repeat(Verb::Provision);
                    return Ok(Provisioned::Exists(self.instance_body(&existing)?));
                }
                OnExisting::Join(_) => {
                    self.metrics.repeat(Verb::Provision);
                    return self.provisioning(existing, &found, incomplete, false).await;
                }
                OnExisting::Busy => {
                    if !self.is_buried(&existing).await.map_err(fault)? {
                        return Err(ProvisionError::Concurrency);
                    }
                    self.finish_removal(&existing, || ()).await.map_err(fault)?;
                }
                OnExisting::Restart => {
                    if let Some(refusal) = refusal.clone() {
                        return Err(refusal);
                    }
                    match self.accept(&existing, Verb::Provision, epoch, caller.identity.as_deref()).await {
                        Ok(stored) => return self.provisioning(stored, &found, incomplete, true).await,
                        Err(AcceptError::Changed) => {}
                        Err(error) => return Err(fault_of_accept(error).into()),
                    }
                }
            }
        }
        Err(ProvisionError::Concurrency)
    }

    /// Answers for a provision that runs: begun by this request, or by an identical one before it.
    async fn provisioning(
        self: &Arc<Self>,
        stored: Stored,
        found: &Found,
        incomplete: Incomplete,
        begun: bool,
    ) -> Result<Provisioned, ProvisionError> {
        let Some(operation) = stored.running().map(|running| running.id.clone()) else {
            return Err(Fault::Unavailable("The state of the instance cannot be read.".to_owned()).into());
        };
        let body = InstanceBody { dashboard_url: self.dashboard_url(&stored, found), metadata: None };
        let accepted = || Ok(Provisioned::Accepted(operation.clone(), body.clone()));
        let at_once = incomplete == Incomplete::Accepted && (!begun || found.plan.policy.provision == Execution::Async);
        let settled = self.run_and_wait(stored.clone(), &operation, begun, at_once, incomplete).await?;
        match settled {
            Some(Settled::Succeeded(_)) if begun => Ok(Provisioned::Created(body)),
            Some(Settled::Succeeded(_)) => Ok(Provisioned::Exists(body)),
            Some(Settled::Failed(text)) => Err(failed(text).into()),
            Some(Settled::Superseded) => Err(failed(None).into()),
            None if incomplete == Incomplete::Accepted => accepted(),
            None => {
                if begun {
                    self.clean_up(&stored, Verb::Deprovision).await;
                }
                Err(too_slow().into())
            }
        }
    }

    async fn bind(
        self: &Arc<Self>,
        caller: &Caller,
        instance_id: &InstanceId,
        id: &BindingId,
        request: &BindRequest,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        let namespace = self.tenant(caller)?;
        let instance_name = names::instance(instance_id);
        let Some(epoch) = self.shards.epoch(&instance_name) else { return Err(elsewhere().into()) };
        let canonical = objects::canonical_bind(request);
        let name = names::binding(instance_id, id);
        for _ in 0..TRIES {
            let instance: Option<Stored> = self.home.get(Kind::Instance, namespace, &instance_name).await.map_err(fault)?;
            let instance = instance.ok_or(BindError::NoInstance)?;
            let usable = decide::usable(&instance, instance.spec.instance_id == *instance_id);
            if usable == Usable::Absent || self.is_gone(&instance).await.map_err(fault)? {
                return Err(BindError::NoInstance);
            }
            let found = self.bindable(&instance, request)?;
            let refusal = refuse_bind(&found, request, usable, incomplete);
            let existing: Option<Stored> = if refusal.is_some() {
                self.home.get(Kind::Binding, namespace, &name).await.map_err(fault)?
            } else {
                self.admit()?;
                let new = self.new_object(namespace, epoch, &canonical, caller);
                let object = new.binding(&instance, id, request).map_err(|error| match error {
                    MakeError::TooLarge => BindError::Invalid(error.to_string()),
                    MakeError::Seal(error) => fault_of_seal(&error).into(),
                })?;
                match self.create(object).await? {
                    Created::New(stored) => return self.binding(stored, &found, incomplete, true).await,
                    Created::Taken => self.home.get(Kind::Binding, namespace, &name).await.map_err(fault)?,
                }
            };
            let Some(existing) = existing else {
                match refusal {
                    Some(refusal) => return Err(refusal),
                    None => continue,
                }
            };
            let same_ids = existing.spec.binding_id.as_ref() == Some(id) && existing.spec.instance_id == *instance_id;
            match decide::put(&existing, same_ids, self.is_same(&existing, &canonical)) {
                OnExisting::Conflict => return Err(BindError::Conflict(other_attributes("binding"))),
                OnExisting::Foreign => return Err(BindError::Conflict(foreign("binding"))),
                OnExisting::Exists => {
                    self.metrics.repeat(Verb::Bind);
                    let body: Option<BindingBody> = objects::outputs(&self.keys, &existing).map_err(|e| fault_of_seal(&e))?;
                    return Ok(Bound::Exists(body.unwrap_or_default()));
                }
                OnExisting::Join(_) => {
                    self.metrics.repeat(Verb::Bind);
                    return self.binding(existing, &found, incomplete, false).await;
                }
                OnExisting::Busy => {
                    if !self.is_buried(&existing).await.map_err(fault)? {
                        return Err(BindError::Concurrency);
                    }
                    self.finish_removal(&existing, || ()).await.map_err(fault)?;
                }
                OnExisting::Restart => {
                    if let Some(refusal) = refusal {
                        return Err(refusal);
                    }
                    match self.accept(&existing, Verb::Bind, epoch, caller.identity.as_deref()).await {
                        Ok(stored) => return self.binding(stored, &found, incomplete, true).await,
                        Err(AcceptError::Changed) => {}
                        Err(error) => return Err(fault_of_accept(error).into()),
                    }
                }
            }
        }
        Err(BindError::Concurrency)
    }

    /// Answers for a bind that runs.
    async fn binding(
        self: &Arc<Self>,
        stored: Stored,
        found: &Found,
        incomplete: Incomplete,
        begun: bool,
    ) -> Result<Bound, BindError> {
        let Some(operation) = stored.running().map(|running| running.id.clone()) else {
            return Err(Fault::Unavailable("The state of the binding cannot be read.".to_owned()).into());
        };
        let incomplete = bind_mode(found, incomplete);
        let at_once = incomplete == Incomplete::Accepted && (!begun || found.plan.policy.bind == Execution::Async);
        match self.run_and_wait(stored.clone(), &operation, begun, at_once, incomplete).await? {
            Some(Settled::Succeeded(body)) => {
                let body = match body {
                    Some(body) => Arc::unwrap_or_clone(body),
                    None => self.binding_body(&stored).await?,
                };
                Ok(if begun { Bound::Created(body) } else { Bound::Exists(body) })
            }
            Some(Settled::Failed(text)) => Err(failed(text).into()),
            Some(Settled::Superseded) => Err(failed(None).into()),
            None if incomplete == Incomplete::Accepted => Ok(Bound::Accepted(operation)),
            None => {
                if begun {
                    self.clean_up(&stored, Verb::Unbind).await;
                }
                Err(too_slow().into())
            }
        }
    }

    async fn remove(
        self: &Arc<Self>,
        caller: &Caller,
        what: Removal<'_>,
        query: &RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, Refusal> {
        let namespace = self.tenant(caller)?;
        let Some(epoch) = self.shards.epoch(&names::instance(what.instance)) else { return Err(elsewhere().into()) };
        let verb = if what.kind == Kind::Binding { Verb::Unbind } else { Verb::Deprovision };
        for _ in 0..TRIES {
            let existing: Option<Stored> = self.home.get(what.kind, namespace, what.name).await.map_err(fault)?;
            let Some(existing) = existing else { return Err(Refusal::Gone) };
            let same_ids =
                existing.spec.instance_id == *what.instance && existing.spec.binding_id.as_ref() == what.binding;
            let decision = decide::removal(&existing, same_ids);
            if decision == OnRemoval::Absent {
                return Err(Refusal::Gone);
            }
            if existing.spec.service_id != query.service_id || existing.spec.plan_id != query.plan_id {
                let text = "service_id or plan_id is not that of what is to be deleted".to_owned();
                return Err(Refusal::Invalid(text));
            }
            let execution = self.removal_execution(&existing, verb);
            if execution == Execution::Async && incomplete == Incomplete::Refused {
                return Err(Refusal::AsyncRequired);
            }
            match decision {
                OnRemoval::Absent => return Err(Refusal::Gone),
                OnRemoval::Join(operation) => {
                    self.metrics.repeat(verb);
                    if self.is_buried(&existing).await.map_err(fault)? {
                        return Err(Refusal::Gone);
                    }
                    let at_once = incomplete == Incomplete::Accepted;
                    return match self.run_and_wait(existing, &operation, false, at_once, incomplete).await? {
                        // Of several deletes one reports 200 (OSB-BLK-04).
                        Some(Settled::Succeeded(_)) => Err(Refusal::Gone),
                        settled => removed(settled, operation, incomplete),
                    };
                }
                OnRemoval::Accept => match self.accept(&existing, verb, epoch, caller.identity.as_deref()).await {
                    Ok(stored) => {
                        let Some(operation) = stored.running().map(|running| running.id.clone()) else { continue };
                        let at_once = incomplete == Incomplete::Accepted && execution == Execution::Async;
                        let settled = self.run_and_wait(stored, &operation, true, at_once, incomplete).await?;
                        return removed(settled, operation, incomplete);
                    }
                    Err(AcceptError::Changed) => {}
                    Err(error) => return Err(fault_of_accept(error).into()),
                },
            }
        }
        Err(Refusal::Fault(Fault::Unavailable("The object is being changed by many at a time.".to_owned())))
    }

    async fn poll(
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
                    OnPoll::UnknownOperation => match self.poll_tombstone(namespace, name, instance, binding, operation).await? {
                        OnPoll::NotFound | OnPoll::Gone => OnPoll::UnknownOperation,
                        known => known,
                    },
                    answer => answer,
                }
            }
            None => self.poll_tombstone(namespace, name, instance, binding, operation).await?,
        };
        match answer {
            OnPoll::State(state, description) => Ok(polled(state, description)),
            OnPoll::Gone => Err(PollError::Gone),
            OnPoll::NotFound => Err(PollError::NotFound),
            OnPoll::UnknownOperation => Err(PollError::Invalid("operation was never given out by this broker".to_owned())),
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
        let Some(tombstone) = self.tombstone(namespace, name).await.map_err(fault)? else { return Ok(OnPoll::NotFound) };
        let same_ids = tombstone.spec.instance_id == *instance && tombstone.spec.binding_id.as_ref() == binding;
        Ok(decide::poll_removed(&tombstone.spec.history, same_ids, operation))
    }

    /// Has a just accepted operation carried out, and waits for its outcome as long as the request may. An operation
    /// that another request began is only waited for.
    async fn run_and_wait(
        self: &Arc<Self>,
        stored: Stored,
        operation: &OperationId,
        begun: bool,
        at_once: bool,
        incomplete: Incomplete,
    ) -> Result<Option<Settled>, Fault> {
        let budget = match incomplete {
            Incomplete::Accepted => self.config.budget_incomplete,
            Incomplete::Refused => self.config.budget_complete,
        };
        let receiver = (!at_once).then(|| self.waiters.register(operation));
        let place = (stored.which(), stored.metadata.namespace.clone(), stored.metadata.name.clone());
        if begun {
            let key = LaneKey {
                namespace: stored.metadata.namespace.as_str().into(),
                instance: stored.instance_name().into(),
            };
            self.push(key, Job::accepted(stored));
        }
        let Some(mut receiver) = receiver else { return Ok(None) };
        let deadline = tokio::time::Instant::now() + budget;
        loop {
            // The owner of a joined operation may be another process, or have finished before we registered.
            let next_look = if begun { deadline } else { deadline.min(tokio::time::Instant::now() + LOOK) };
            match tokio::time::timeout_at(next_look, &mut receiver).await {
                Ok(Ok(settled)) => return Ok(Some(settled)),
                Ok(Err(_)) | Err(_) if tokio::time::Instant::now() >= deadline => break,
                Ok(Err(_)) => receiver = self.waiters.register(operation),
                Err(_) => {}
            }
            let (kind, namespace, name) = &place;
            if let Some(settled) = self.settled_meanwhile(*kind, namespace, name, operation).await? {
                return Ok(Some(settled));
            }
        }
        drop(receiver);
        self.waiters.forget(operation);
        Ok(None)
    }

    async fn settled_meanwhile(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        operation: &OperationId,
    ) -> Result<Option<Settled>, Fault> {
        let polled = match self.home.get::<Stored>(kind, namespace, name).await.map_err(fault)? {
            Some(found) => decide::poll(&found, true, Some(operation)),
            None => match self.tombstone(namespace, name).await.map_err(fault)? {
                Some(tombstone) => decide::poll_removed(&tombstone.spec.history, true, Some(operation)),
                None => OnPoll::Gone,
            },
        };
        Ok(match polled {
            OnPoll::State(State::InProgress, _) => None,
            OnPoll::State(State::Succeeded, _) => Some(Settled::Succeeded(None)),
            OnPoll::State(State::Failed, text) => Some(Settled::Failed(text)),
            OnPoll::Gone | OnPoll::NotFound | OnPoll::UnknownOperation => Some(Settled::Superseded),
        })
    }

    /// Undoes what a request began that cannot wait any longer.
    async fn clean_up(self: &Arc<Self>, begun: &Stored, verb: Verb) {
        let meta = &begun.metadata;
        for _ in 0..TRIES {
            let Ok(Some(found)) = self.home.get::<Stored>(begun.which(), &meta.namespace, &meta.name).await else { return };
            let still_runs = found.running().map(|running| &running.id) == begun.running().map(|running| &running.id);
            let Some(epoch) = self.shards.epoch(&begun.instance_name()).filter(|_| still_runs) else { return };
            match self.accept(&found, verb, epoch, None).await {
                Ok(stored) => {
                    let key =
                        LaneKey { namespace: meta.namespace.as_str().into(), instance: stored.instance_name().into() };
                    return self.push(key, Job::accepted(stored));
                }
                Err(AcceptError::Changed) => {}
                // The platform's own clean-up comes: a 5xx is answered.
                Err(_) => return,
            }
        }
    }

    /// Creates an object; a write whose answer was lost is settled by reading back.
    async fn create(&self, object: Stored) -> Result<Created, Fault> {
        let (kind, namespace) = (object.which(), &object.metadata.namespace);
        match self.home.create(kind, namespace, &object).await {
            Ok(meta) => {
                self.own.add(&meta.resource_version);
                Ok(Created::New(Stored { metadata: meta, ..object }))
            }
            Err(HomeError::AlreadyExists) => Ok(Created::Taken),
            Err(HomeError::Unknown) => {
                let found: Option<Stored> = self.home.get(kind, namespace, &object.metadata.name).await.map_err(fault)?;
                match found {
                    Some(found) if found.spec.incarnation == object.spec.incarnation => Ok(Created::New(found)),
                    Some(_) => Ok(Created::Taken),
                    None => Err(fault(HomeError::Unknown)),
                }
            }
            Err(error) => Err(fault(error)),
        }
    }

    fn new_object<'a>(&'a self, namespace: &'a str, epoch: u64, canonical: &[u8], caller: &'a Caller) -> New<'a> {
        New {
            home: &self.home,
            keys: &self.keys,
            namespace,
            epoch,
            digest: self.keys.digest(canonical),
            identity: caller.identity.as_deref(),
            now: Timestamp::now(),
        }
    }

    fn tenant(&self, caller: &Caller) -> Result<&str, Fault> {
        let unknown = || Fault::Unavailable("This platform has no namespace.".to_owned());
        self.namespace(&caller.platform).ok_or_else(unknown)
    }

    fn found(&self, offering: &OfferingId, plan: &PlanId) -> Result<Found, String> {
        self.services
            .find(offering, plan)
            .ok_or_else(|| "service_id or plan_id: the catalog has no such plan of that service".to_owned())
    }

    /// The plan of an instance, if the request names it rightly and it can be bound.
    fn bindable(&self, instance: &Stored, request: &BindRequest) -> Result<Found, BindError> {
        let named = (request.service_id.as_ref(), request.plan_id.as_ref());
        if named != (Some(&instance.spec.service_id), Some(&instance.spec.plan_id)) {
            let text = "service_id or plan_id is not that of the instance".to_owned();
            return Err(BindError::Invalid(text));
        }
        let found = self.found(&instance.spec.service_id, &instance.spec.plan_id).map_err(BindError::Invalid)?;
        if !found.plan.bindable {
            return Err(BindError::Invalid("instances of this plan cannot be bound".to_owned()));
        }
        Ok(found)
    }

    fn admit(&self) -> Result<(), Fault> {
        if self.pending() >= self.config.max_pending {
            return Err(Fault::TooMany { retry_after_secs: RETRY_AFTER_SECS });
        }
        Ok(())
    }

    fn is_same(&self, existing: &Stored, canonical: &[u8]) -> bool {
        existing.spec.digest.as_deref().is_some_and(|digest| self.keys.same_digest(digest, canonical))
    }

    fn instance_body(&self, existing: &Stored) -> Result<InstanceBody, Fault> {
        Ok(objects::outputs(&self.keys, existing).map_err(|error| fault_of_seal(&error))?.unwrap_or_default())
    }

    async fn binding_body(&self, stored: &Stored) -> Result<BindingBody, Fault> {
        let meta = &stored.metadata;
        let found: Option<Stored> = self.home.get(Kind::Binding, &meta.namespace, &meta.name).await.map_err(fault)?;
        let body = found.map(|found| objects::outputs(&self.keys, &found)).transpose();
        Ok(body.map_err(|error| fault_of_seal(&error))?.flatten().unwrap_or_default())
    }

    pub(crate) fn dashboard_url(&self, stored: &Stored, found: &Found) -> Option<String> {
        let platform = self.platform(&stored.metadata.namespace)?;
        let request = objects::request(&self.keys, stored).ok()?;
        let running = stored.running()?;
        let facts = objects::facts(&self.keys, platform, &found.plan.plan, stored, stored, running, &request);
        let operation =
            Operation { facts: Arc::new(facts), attempt: 1, cancelled: CancellationToken::new(), recorder: None };
        found.registration.service.dashboard_url(&operation)
    }

    fn removal_execution(&self, existing: &Stored, verb: Verb) -> Execution {
        match self.services.find(&existing.spec.service_id, &existing.spec.plan_id) {
            Some(found) if verb == Verb::Unbind => found.plan.policy.unbind,
            Some(found) => found.plan.policy.deprovision,
            None => Execution::Auto,
        }
    }
}

enum Created {
    New(Stored),
    Taken,
}

fn refuse_provision(found: &Found, request: &ProvisionRequest, incomplete: Incomplete) -> Option<ProvisionError> {
    if found.plan.policy.provision == Execution::Async && incomplete == Incomplete::Refused {
        return Some(ProvisionError::AsyncRequired);
    }
    let parameters = objects::parameters(request.parameters.as_ref());
    found.registration.check_create(&parameters).err().map(ProvisionError::Invalid)
}

fn refuse_bind(
    found: &Found,
    request: &BindRequest,
    usable: Usable,
    incomplete: Incomplete,
) -> Option<BindError> {
    if request.predecessor_binding_id.is_some() {
        return Some(BindError::Invalid("predecessor_binding_id: bindings of this plan cannot be rotated".to_owned()));
    }
    if found.plan.policy.requires_app && request.app_guid().is_none() {
        return Some(BindError::RequiresApp);
    }
    if found.plan.policy.bind == Execution::Async && incomplete == Incomplete::Refused {
        return Some(BindError::AsyncRequired);
    }
    match usable {
        Usable::Yes => {}
        Usable::Busy => return Some(BindError::Concurrency),
        Usable::Failed => return Some(BindError::Invalid("the provision of the instance has failed".to_owned())),
        Usable::Absent => return Some(BindError::NoInstance),
    }
    let parameters: Object = objects::parameters(request.parameters.as_ref());
    found.registration.check_bind(&parameters).err().map(BindError::Invalid)
}

/// A bind is answered with a 202 only where the platform can fetch the credentials later (OSB-BIND-19).
fn bind_mode(found: &Found, incomplete: Incomplete) -> Incomplete {
    if found.bindings_retrievable { incomplete } else { Incomplete::Refused }
}

fn removed(settled: Option<Settled>, operation: OperationId, incomplete: Incomplete) -> Result<Removed, Refusal> {
    match settled {
        Some(Settled::Succeeded(_)) => Ok(Removed::Done),
        Some(Settled::Failed(text)) => Err(failed(text).into()),
        Some(Settled::Superseded) => Err(failed(None).into()),
        None if incomplete == Incomplete::Accepted => Ok(Removed::Accepted(operation)),
        None => Err(too_slow().into()),
    }
}

fn polled(state: State, description: Option<String>) -> Polled {
    let body = LastOperation {
        state,
        description: description.filter(|text| !text.is_empty()),
        instance_usable: None,
        update_repeatable: None,
    };
    Polled { body, retry_after_secs: None }
}

fn other_attributes(what: &str) -> String {
    format!("The {what} exists or is being created with other attributes.")
}

fn foreign(what: &str) -> String {
    format!("The name of the {what} is taken by an object that this broker did not make.")
}

fn failed(text: Option<String>) -> Fault {
    Fault::Failed(text.unwrap_or_else(|| "The operation failed.".to_owned()))
}

fn too_slow() -> Fault {
    Fault::Failed("The operation did not finish in time for a synchronous answer.".to_owned())
}

fn elsewhere() -> Fault {
    Fault::Unavailable("Another replica of the broker is taking over this work.".to_owned())
}

pub(crate) fn fault(error: HomeError) -> Fault {
    tracing::warn!(%error, "the home of the broker's state did not answer as it should");
    Fault::Unavailable("The broker cannot reach or write its state now.".to_owned())
}

fn fault_of_seal(error: &crate::seal::SealError) -> Fault {
    tracing::error!(%error, "a sealed field cannot be used");
    Fault::Unavailable("The broker cannot read its state.".to_owned())
}

fn fault_of_accept(error: AcceptError) -> Fault {
    match error {
        AcceptError::Home(error) => fault(error),
        AcceptError::Changed | AcceptError::Seal => {
            Fault::Unavailable("The broker cannot write its state now.".to_owned())
        }
    }
}
