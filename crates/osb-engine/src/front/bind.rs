//! `PUT …/service_bindings/:binding_id`.

use std::sync::Arc;

use jiff::Timestamp;
use osb_api::answer::{BindingBody, Bound};
use osb_api::error::{BindError, Fault};
use osb_api::id::{BindingId, InstanceId};
use osb_api::request::{BindRequest, Incomplete};
use osb_server::Caller;

use super::wait::Pending;
use super::{
    Created, TRIES, Wrong, failed, fault, fault_of_accept, fault_of_seal, foreign, order, other_attributes, too_slow,
};
use crate::canonical::{self, Canonical};
use crate::decide::{self, OnExisting, Usable};
use crate::definition::Execution;
use crate::engine::Inner;
use crate::hooks::{Action, ActionVerb, DraftRequest};
use crate::lanes::{Accepted, Ticket};
use crate::names;
use crate::objects::{self, Known, MakeError};
use crate::removal::AcceptError;
use crate::resource::{Kind, Request, Stored, Verb};
use crate::services::Found;
use crate::waiters::{Output, Settled};

/// A bind as it was asked for.
struct Asked<'a> {
    caller: &'a Caller,
    namespace: &'a str,
    instance: &'a InstanceId,
    id: &'a BindingId,
    /// Names of the objects.
    instance_name: String,
    name: String,
    epoch: u64,
    request: &'a BindRequest,
    canonical: Canonical,
    incomplete: Incomplete,
}

impl Inner {
    pub(super) async fn bind(
        self: &Arc<Self>,
        caller: &Caller,
        instance: &InstanceId,
        id: &BindingId,
        request: &BindRequest,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        let instance_name = names::instance(instance);
        let epoch = self.shards.stamp(&instance_name);
        let asked = Asked {
            caller,
            namespace: self.tenant(caller)?,
            instance,
            id,
            instance_name,
            name: names::binding(instance, id),
            epoch,
            request,
            canonical: canonical::bind(request),
            incomplete,
        };
        for _ in 0..TRIES {
            if let Some(bound) = self.try_bind(&asked).await? {
                return Ok(bound);
            }
        }
        Err(BindError::Concurrency)
    }

    /// `None` when others have changed something meanwhile: it has to be looked at again.
    async fn try_bind(self: &Arc<Self>, asked: &Asked<'_>) -> Result<Option<Bound>, BindError> {
        let ticket = self.ticket(asked.namespace, &asked.instance_name, Kind::Binding, &asked.name);
        let (instance, usable) = self.instance_to_bind(asked).await?;
        let found = self.bindable(&instance, asked.request)?;
        let context = asked.request.context.as_ref().or(instance.spec.context.as_ref());
        let ids = (&instance.spec.service_id, &instance.spec.plan_id);
        let target = (asked.instance, Some(asked.id));
        let action = Action::new(
            ActionVerb::Bind,
            asked.caller,
            target,
            ids,
            context,
            instance.spec.context.as_ref(),
        );
        self.services().hooks.authorize(&action).await?;
        let (predecessor, unknown) = match self.predecessor_of(asked, &found).await? {
            Ok(predecessor) => (predecessor, None),
            Err(unknown) => (None, Some(unknown)),
        };
        let refusal = refuse_bind(&found, asked.request, predecessor.as_ref(), usable, asked.incomplete).or(unknown);
        let refusal = match refusal {
            None => self.refuse_bind_draft(&action, asked.request).await,
            refusal => refusal,
        };
        if refusal.is_none() {
            let (object, known) = self.new_binding(asked, &instance, predecessor)?;
            if let Created::New(stored) = self.create(object).await? {
                let accepted = Box::new(Accepted {
                    stored,
                    known: Some(known),
                    instance: Some(instance),
                });
                let bound = self.binding(accepted, &found, asked.incomplete, Some(ticket)).await;
                return bound.map(Some);
            }
        }
        let existing: Option<Stored> = self
            .home
            .get(Kind::Binding, asked.namespace, &asked.name)
            .await
            .map_err(fault)?;
        match (existing, refusal) {
            (None, Some(refusal)) => Err(refusal),
            (None, None) => Ok(None),
            (Some(existing), refusal) => self.bind_again(asked, existing, &found, refusal, ticket).await,
        }
    }

    /// The instance, if it is there as far as the caller is concerned.
    async fn instance_to_bind(&self, asked: &Asked<'_>) -> Result<(Stored, Usable), BindError> {
        let instance: Option<Stored> = self
            .home
            .get(Kind::Instance, asked.namespace, &asked.instance_name)
            .await
            .map_err(fault)?;
        let instance = instance.ok_or(BindError::NoInstance)?;
        let usable = decide::usable(&instance, instance.spec.instance_id == *asked.instance);
        if usable == Usable::Absent || self.is_gone(&instance).await.map_err(fault)? {
            return Err(BindError::NoInstance);
        }
        Ok((instance, usable))
    }

    /// What was asked for with the binding that a rotation replaces.
    async fn predecessor_of(
        &self,
        asked: &Asked<'_>,
        found: &Found,
    ) -> Result<Result<Option<Request>, BindError>, Fault> {
        match &asked.request.predecessor_binding_id {
            Some(id) if found.plan.plan.binding_rotatable => {
                let predecessor = self.predecessor(asked.namespace, asked.instance, id).await?;
                Ok(predecessor.map(Some))
            }
            _ => Ok(Ok(None)),
        }
    }

    fn new_binding(
        &self,
        asked: &Asked<'_>,
        instance: &Stored,
        predecessor: Option<Request>,
    ) -> Result<(Stored, Known), BindError> {
        self.admit()?;
        let new = self.new_object(asked.namespace, asked.epoch, &asked.canonical, asked.caller);
        let made = new.binding(instance, asked.id, asked.request, predecessor);
        made.map_err(|error| match error {
            MakeError::TooLarge => BindError::Invalid(error.to_string()),
            MakeError::Seal(error) => fault_of_seal(&error).into(),
        })
    }

    /// A bind whose id is taken. `refusal` is what is against it if it is new.
    async fn bind_again(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        existing: Stored,
        found: &Found,
        refusal: Option<BindError>,
        ticket: Ticket,
    ) -> Result<Option<Bound>, BindError> {
        let (id, instance) = (&existing.spec.binding_id, &existing.spec.instance_id);
        let same_ids = id.as_ref() == Some(asked.id) && instance == asked.instance;
        match decide::put(&existing, same_ids, self.is_same(&existing, &asked.canonical)) {
            OnExisting::Conflict => Err(BindError::Conflict(other_attributes("binding"))),
            OnExisting::Foreign => Err(BindError::Conflict(foreign("binding"))),
            OnExisting::Exists => {
                self.repeated(asked.caller, &existing, Verb::Bind);
                let body: Option<BindingBody> =
                    objects::outputs(&self.keys, &existing).map_err(|error| fault_of_seal(&error))?;
                Ok(Some(Bound::Exists(body.unwrap_or_default())))
            }
            // A 202 is all that could be said now, and this request does not take one (OSB-ASY-03).
            OnExisting::Join(_) if refusal == Some(BindError::AsyncRequired) => Err(BindError::AsyncRequired),
            OnExisting::Join(_) => {
                self.joined(asked.caller, &existing, Verb::Bind);
                let bound = self.binding(existing.into(), found, asked.incomplete, None).await;
                bound.map(Some)
            }
            OnExisting::Busy if self.is_buried(&existing).await.map_err(fault)? => {
                Box::pin(self.finish_removal(&existing, || ())).await.map_err(fault)?;
                Ok(None)
            }
            OnExisting::Busy => Err(BindError::Concurrency),
            OnExisting::Restart => self.restart_bind(asked, &existing, found, refusal, ticket).await,
        }
    }

    async fn restart_bind(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        existing: &Stored,
        found: &Found,
        refusal: Option<BindError>,
        ticket: Ticket,
    ) -> Result<Option<Bound>, BindError> {
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let accepted = self
            .accept(existing, order(Verb::Bind, asked.epoch, asked.caller))
            .await;
        match accepted {
            Ok(stored) => {
                let bound = self.binding(stored.into(), found, asked.incomplete, Some(ticket)).await;
                bound.map(Some)
            }
            Err(AcceptError::Changed) => Ok(None),
            Err(error) => Err(fault_of_accept(error).into()),
        }
    }

    /// What the author's hooks have against a bind.
    async fn refuse_bind_draft(&self, action: &Action<'_>, request: &BindRequest) -> Option<BindError> {
        let wrong = self.refuse_draft(action, DraftRequest::Bind(request)).await?;
        Some(match wrong {
            Wrong::Values(text) => BindError::Invalid(text),
            Wrong::Fault(fault) => fault.into(),
        })
    }

    /// Answers for a bind that runs.
    async fn binding(
        self: &Arc<Self>,
        accepted: Box<Accepted>,
        found: &Found,
        incomplete: Incomplete,
        ticket: Option<Ticket>,
    ) -> Result<Bound, BindError> {
        let pending = Pending::of(&accepted.stored)?;
        let begun = ticket.is_some();
        let incomplete = bind_mode(found, incomplete);
        let at_once = incomplete == Incomplete::Accepted && (!begun || found.plan.policy.bind == Execution::Async);
        match self
            .run_and_wait(&pending, ticket.map(|ticket| (accepted, ticket)), at_once, incomplete)
            .await?
        {
            Some(Settled::Succeeded(body)) => {
                let body = match body {
                    Some(Output::Binding(body)) => Arc::unwrap_or_clone(body),
                    _ => self.binding_body(&pending.key.namespace, &pending.name).await?,
                };
                Ok(if begun {
                    Bound::Created(body)
                } else {
                    Bound::Exists(body)
                })
            }
            Some(Settled::Failed(text)) => Err(failed(text).into()),
            Some(Settled::Superseded) => Err(failed(None).into()),
            None if incomplete == Incomplete::Accepted => Ok(Bound::Accepted(pending.operation)),
            None => {
                if begun {
                    Box::pin(self.clean_up(&pending, Verb::Unbind)).await;
                }
                Err(too_slow().into())
            }
        }
    }

    /// The plan of an instance, if the request names it rightly and it can be bound.
    fn bindable(&self, instance: &Stored, request: &BindRequest) -> Result<Found, BindError> {
        // A rotation need not name them (OSB-ROT-03).
        let rotation = request.predecessor_binding_id.is_some();
        let service = request.service_id.as_ref().map(|id| *id == instance.spec.service_id);
        let plan = request.plan_id.as_ref().map(|id| *id == instance.spec.plan_id);
        if !service.unwrap_or(rotation) || !plan.unwrap_or(rotation) {
            let text = "service_id or plan_id is not that of the instance".to_owned();
            return Err(BindError::Invalid(text));
        }
        let found = self
            .services()
            .find(&instance.spec.service_id, &instance.spec.plan_id)
            .ok_or_else(|| BindError::Invalid("this broker does not know the plan of the instance".to_owned()))?;
        if !found.plan.bindable {
            return Err(BindError::Invalid("instances of this plan cannot be bound".to_owned()));
        }
        Ok(found)
    }

    /// What was asked for when the binding was made whose place a rotation takes; refused when it is none that can be
    /// rotated (OSB-ROT-04).
    async fn predecessor(
        &self,
        namespace: &str,
        instance: &InstanceId,
        id: &BindingId,
    ) -> Result<Result<Request, BindError>, Fault> {
        let refused = |text: &str| Ok(Err(BindError::Invalid(format!("predecessor_binding_id: {text}"))));
        let name = names::binding(instance, id);
        let found: Option<Stored> = self.home.get(Kind::Binding, namespace, &name).await.map_err(fault)?;
        let found = found.filter(|found| found.spec.binding_id.as_ref() == Some(id) && found.is_complete());
        let Some(found) = found else {
            return refused("the instance has no such binding");
        };
        if found.metadata.deletion_timestamp.is_some() || found.running().is_some_and(|running| running.verb.removes())
        {
            return refused("that binding is being removed");
        }
        let body: Option<BindingBody> = objects::outputs(&self.keys, &found).map_err(|e| fault_of_seal(&e))?;
        let expires = body.and_then(|body| body.metadata?.expires_at);
        let expires: Option<Timestamp> = expires.and_then(|time| time.parse().ok());
        if expires.is_some_and(|time| time <= self.now()) {
            return refused("that binding has expired");
        }
        Ok(Ok(objects::request(&self.keys, &found).map_err(|e| fault_of_seal(&e))?))
    }

    async fn binding_body(&self, namespace: &str, name: &str) -> Result<BindingBody, Fault> {
        let found: Option<Stored> = self.home.get(Kind::Binding, namespace, name).await.map_err(fault)?;
        let body = found.map(|found| objects::outputs(&self.keys, &found)).transpose();
        // Without its credentials a binding is of no use: it was removed meanwhile.
        body.map_err(|error| fault_of_seal(&error))?
            .flatten()
            .ok_or_else(|| failed(None))
    }
}

fn refuse_bind(
    found: &Found,
    request: &BindRequest,
    predecessor: Option<&Request>,
    usable: Usable,
    incomplete: Incomplete,
) -> Option<BindError> {
    if request.predecessor_binding_id.is_some() && !found.plan.plan.binding_rotatable {
        return Some(BindError::Invalid(
            "predecessor_binding_id: bindings of this plan cannot be rotated".to_owned(),
        ));
    }
    let inherited = predecessor.and_then(|predecessor| predecessor.bind_resource.as_ref()?.app_guid.as_deref());
    if found.plan.policy.requires_app && request.app_guid().or(inherited).is_none() {
        return Some(BindError::RequiresApp);
    }
    if found.plan.policy.bind == Execution::Async && incomplete == Incomplete::Refused {
        return Some(BindError::AsyncRequired);
    }
    match usable {
        Usable::Yes => {}
        Usable::Busy => return Some(BindError::Concurrency),
        Usable::Failed => {
            return Some(BindError::Invalid(
                "the provision of the instance has failed".to_owned(),
            ));
        }
        Usable::Absent => return Some(BindError::NoInstance),
    }
    let inherited = predecessor.map(|predecessor| &predecessor.parameters);
    let parameters = objects::parameters(request.parameters.as_ref().or(inherited));
    found.registration.check_bind(&parameters).err().map(BindError::Invalid)
}

/// A bind is answered with a 202 only where the platform can fetch the credentials later (OSB-BIND-19).
fn bind_mode(found: &Found, incomplete: Incomplete) -> Incomplete {
    if found.bindings_retrievable {
        incomplete
    } else {
        Incomplete::Refused
    }
}
