//! `PUT /v2/service_instances/:instance_id`.

use std::sync::Arc;

use osb_api::answer::{InstanceBody, Provisioned};
use osb_api::error::ProvisionError;
use osb_api::id::InstanceId;
use osb_api::request::{Incomplete, ProvisionRequest};
use osb_server::Caller;

use super::wait::Pending;
use super::{
    Created, TRIES, Wrong, failed, fault, fault_of_accept, fault_of_seal, foreign, order, other_attributes, too_slow,
};
use crate::canonical;
use crate::decide::{self, OnExisting};
use crate::definition::Execution;
use crate::engine::Inner;
use crate::hooks::{Action, ActionVerb, DraftRequest};
use crate::lanes::{Accepted, Ticket};
use crate::names;
use crate::objects::{self, MakeError};
use crate::removal::AcceptError;
use crate::resource::{Kind, Stored, Verb};
use crate::services::Found;
use crate::waiters::Settled;

impl Inner {
    pub(super) async fn provision(
        self: &Arc<Self>,
        caller: &Caller,
        id: &InstanceId,
        request: &ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        let namespace = self.tenant(caller)?;
        let found = self
            .offered(&request.service_id, &request.plan_id)
            .map_err(ProvisionError::Invalid)?;
        let ids = (&request.service_id, &request.plan_id);
        let context = request.context.as_ref();
        let action = Action::new(ActionVerb::Provision, caller, (id, None), ids, context, None);
        self.services().hooks.authorize(&action).await?;
        let offered = found
            .plan
            .plan
            .maintenance_info
            .as_ref()
            .map(|info| info.version.as_str());
        let asked = request.maintenance_info.as_ref().map(|info| info.version.as_str());
        if asked.is_some() && asked != offered {
            return Err(ProvisionError::MaintenanceInfoConflict);
        }
        let mut refusal = refuse_provision(&found, request, incomplete);
        if refusal.is_none() {
            let draft = DraftRequest::Provision(request);
            refusal = self.refuse_draft(&action, draft).await.map(|wrong| match wrong {
                Wrong::Values(text) => ProvisionError::Invalid(text),
                Wrong::Fault(fault) => fault.into(),
            });
        }
        let canonical = canonical::provision(request);
        let name = names::instance(id);
        let epoch = self.shards.stamp(&name);
        for _ in 0..TRIES {
            let ticket = self.ticket(namespace, &name, Kind::Instance, &name);
            let existing = if refusal.is_some() {
                let existing: Option<Stored> = self.home.get(Kind::Instance, namespace, &name).await.map_err(fault)?;
                match (existing, refusal.clone()) {
                    (None, Some(refusal)) => return Err(refusal),
                    (existing, _) => existing,
                }
            } else {
                self.admit()?;
                let new = self.new_object(namespace, epoch, &canonical, caller);
                let (object, known) = new.instance(id, request, offered).map_err(|error| match error {
                    MakeError::TooLarge => ProvisionError::Invalid(error.to_string()),
                    MakeError::Seal(error) => fault_of_seal(&error).into(),
                })?;
                match self.create(object).await? {
                    Created::New(stored) => {
                        let mut accepted: Box<Accepted> = stored.into();
                        accepted.known = Some(known);
                        return self.provisioning(accepted, &found, incomplete, Some(ticket)).await;
                    }
                    Created::Taken => self.home.get(Kind::Instance, namespace, &name).await.map_err(fault)?,
                }
            };
            let Some(existing) = existing else { continue };
            let same_ids = existing.spec.instance_id == *id;
            match decide::put(&existing, same_ids, self.is_same(&existing, &canonical)) {
                OnExisting::Conflict => return Err(ProvisionError::Conflict(other_attributes("instance"))),
                OnExisting::Foreign => return Err(ProvisionError::Conflict(foreign("instance"))),
                OnExisting::Exists => {
                    self.repeated(caller, &existing, Verb::Provision);
                    return Ok(Provisioned::Exists(self.instance_body(&existing)?));
                }
                // A 202 is all that could be said now, and this request does not take one (OSB-ASY-03).
                OnExisting::Join(_) if refusal == Some(ProvisionError::AsyncRequired) => {
                    return Err(ProvisionError::AsyncRequired);
                }
                OnExisting::Join(_) => {
                    self.joined(caller, &existing, Verb::Provision);
                    return self.provisioning(existing.into(), &found, incomplete, None).await;
                }
                OnExisting::Busy => {
                    if !self.is_buried(&existing).await.map_err(fault)? {
                        return Err(ProvisionError::Concurrency);
                    }
                    Box::pin(self.finish_removal(&existing, || ())).await.map_err(fault)?;
                }
                OnExisting::Restart => {
                    if let Some(refusal) = refusal.clone() {
                        return Err(refusal);
                    }
                    match self.accept(&existing, order(Verb::Provision, epoch, caller)).await {
                        Ok(stored) => return self.provisioning(stored.into(), &found, incomplete, Some(ticket)).await,
                        Err(AcceptError::Changed) => {}
                        Err(error) => return Err(fault_of_accept(error).into()),
                    }
                }
            }
        }
        Err(ProvisionError::Concurrency)
    }

    /// Answers for a provision that runs: begun by this request under a ticket, or by an identical one before it.
    async fn provisioning(
        self: &Arc<Self>,
        accepted: Box<Accepted>,
        found: &Found,
        incomplete: Incomplete,
        ticket: Option<Ticket>,
    ) -> Result<Provisioned, ProvisionError> {
        let pending = Pending::of(&accepted.stored)?;
        let begun = ticket.is_some();
        let body = InstanceBody {
            dashboard_url: self.dashboard_url(&accepted.stored, accepted.known.as_ref(), found),
            metadata: None,
        };
        let at_once = incomplete == Incomplete::Accepted && (!begun || found.plan.policy.provision == Execution::Async);
        let settled = self
            .run_and_wait(&pending, ticket.map(|ticket| (accepted, ticket)), at_once, incomplete)
            .await?;
        match settled {
            Some(Settled::Succeeded(output)) => {
                let body = self.output_of(&pending, output).await?;
                Ok(if begun {
                    Provisioned::Created(body)
                } else {
                    Provisioned::Exists(body)
                })
            }
            Some(Settled::Failed(text)) => Err(failed(text).into()),
            Some(Settled::Superseded) => Err(failed(None).into()),
            None if incomplete == Incomplete::Accepted => Ok(Provisioned::Accepted(pending.operation, body)),
            None => {
                if begun {
                    Box::pin(self.clean_up(&pending, Verb::Deprovision)).await;
                }
                Err(too_slow().into())
            }
        }
    }
}

fn refuse_provision(found: &Found, request: &ProvisionRequest, incomplete: Incomplete) -> Option<ProvisionError> {
    if found.plan.policy.provision == Execution::Async && incomplete == Incomplete::Refused {
        return Some(ProvisionError::AsyncRequired);
    }
    let parameters = objects::parameters(request.parameters.as_ref());
    found
        .registration
        .check_create(&parameters)
        .err()
        .map(ProvisionError::Invalid)
}
