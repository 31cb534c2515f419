//! `PATCH /v2/service_instances/:instance_id`.

use std::sync::Arc;

use osb_api::answer::{InstanceBody, Updated};
use osb_api::error::{Fault, UpdateError};
use osb_api::id::{InstanceId, PlanId};
use osb_api::request::{Incomplete, UpdateRequest};
use osb_server::Caller;

use super::wait::Pending;
use super::{TRIES, Wrong, fault, fault_of_accept, too_slow};
use crate::canonical;
use crate::decide::{self, OnUpdate};
use crate::definition::Execution;
use crate::engine::Inner;
use crate::hooks::{Action, ActionVerb, DraftRequest};
use crate::lanes::{Accepted, Ticket};
use crate::names;
use crate::objects::{self, Change, Order};
use crate::removal::AcceptError;
use crate::resource::{Bound, Kind, Outcome, Stored, Update, Verb};
use crate::seal::MAX_SEALED_BYTES;
use crate::services::Found;
use crate::waiters::Settled;

impl Inner {
    pub(super) async fn update(
        self: &Arc<Self>,
        caller: &Caller,
        id: &InstanceId,
        request: &UpdateRequest,
        incomplete: Incomplete,
    ) -> Result<Updated, UpdateError> {
        let namespace = self.tenant(caller)?;
        let name = names::instance(id);
        let epoch = self.shards.stamp(&name);
        for _ in 0..TRIES {
            let ticket = self.ticket(namespace, &name, Kind::Instance, &name);
            let existing: Option<Stored> = self.home.get(Kind::Instance, namespace, &name).await.map_err(fault)?;
            let existing = existing.ok_or(UpdateError::NoInstance)?;
            if self.is_gone(&existing).await.map_err(fault)? {
                return Err(UpdateError::NoInstance);
            }
            if existing.spec.instance_id != *id {
                return Err(UpdateError::NoInstance);
            }
            let context = request.context.as_ref().or(existing.spec.context.as_ref());
            let ids = (&existing.spec.service_id, target_plan(&existing, request));
            let known = existing.spec.context.as_ref();
            let action = Action::new(ActionVerb::Update, caller, (id, None), ids, context, known);
            self.services().hooks.authorize(&action).await?;
            let canonical = canonical::update(request, target_plan(&existing, request));
            let is_same = |digest: &str| self.keys.same_digest(digest, &canonical);
            match decide::update(&existing, true, is_same) {
                OnUpdate::Absent => return Err(UpdateError::NoInstance),
                OnUpdate::Busy => return Err(UpdateError::Concurrency),
                OnUpdate::Failed => {
                    return Err(UpdateError::Invalid("the provision of the instance has failed".into()));
                }
                OnUpdate::Done => {
                    self.repeated(caller, &existing, Verb::Update);
                    return Ok(Updated::Done(self.instance_body(&existing)?));
                }
                OnUpdate::Join(_) => {
                    self.joined(caller, &existing, Verb::Update);
                    let found = self.check_update(&existing, request, incomplete)?;
                    return self.updating(existing.into(), &found, incomplete, None).await;
                }
                OnUpdate::Accept => {}
            }
            let found = self.check_update(&existing, request, incomplete)?;
            if changes_nothing(&existing, request) {
                return Ok(Updated::Done(self.instance_body(&existing)?));
            }
            match self.refuse_draft(&action, DraftRequest::Update(request)).await {
                None => {}
                Some(Wrong::Values(text)) => return Err(UpdateError::Invalid(text)),
                Some(Wrong::Fault(fault)) => return Err(fault.into()),
            }
            let sealed = request
                .parameters
                .as_ref()
                .map_or(0, |parameters| objects::to_vec(parameters).len());
            if sealed > MAX_SEALED_BYTES {
                return Err(UpdateError::Invalid(objects::MakeError::TooLarge.to_string()));
            }
            self.admit()?;
            let order = self.update_order(caller, epoch, &existing, request, incomplete);
            match self.accept(&existing, order).await {
                Ok(stored) => return self.updating(stored.into(), &found, incomplete, Some(ticket)).await,
                Err(AcceptError::Changed) => {}
                Err(error) => return Err(fault_of_accept(error).into()),
            }
        }
        Err(UpdateError::Concurrency)
    }

    fn update_order<'a>(
        &self,
        caller: &'a Caller,
        epoch: u64,
        existing: &Stored,
        request: &UpdateRequest,
        incomplete: Incomplete,
    ) -> Order<'a> {
        let plan_id = target_plan(existing, request);
        let update = Update {
            parameters: objects::parameters(request.parameters.as_ref()),
            context: request.context.clone(),
            maintenance: request.maintenance_info.as_ref().map(|info| info.version.clone()),
        };
        Order {
            verb: Verb::Update,
            epoch,
            identity: caller.identity.as_deref(),
            trace: caller.trace.as_deref(),
            change: Some(Change {
                plan_id: plan_id.clone(),
                digest: self.keys.digest(&canonical::update(request, plan_id)),
                bound: (incomplete == Incomplete::Refused).then_some(Bound::Sync),
                update,
            }),
        }
    }

    /// The plan that the instance has afterwards, if the request may be done at all.
    fn check_update(
        &self,
        existing: &Stored,
        request: &UpdateRequest,
        incomplete: Incomplete,
    ) -> Result<Found, UpdateError> {
        if request.service_id != existing.spec.service_id {
            let text = "service_id is not that of the instance".to_owned();
            return Err(UpdateError::Invalid(text));
        }
        let target = target_plan(existing, request);
        let services = self.services();
        let current = services.find(&existing.spec.service_id, &existing.spec.plan_id);
        let found = match current {
            Some(current) if *target == existing.spec.plan_id => current,
            _ => self
                .offered(&existing.spec.service_id, target)
                .map_err(UpdateError::Invalid)?,
        };
        // It is the plan that the instance leaves that counts (OSB-UPD-07); one that the catalog has no more may be left.
        let leaves = services.can_leave(&existing.spec.service_id, &existing.spec.plan_id);
        if *target != existing.spec.plan_id && leaves == Some(false) {
            return Err(unsupported("The plan of this instance cannot be changed."));
        }
        let offered = found.plan.plan.maintenance_info.as_ref().map(|info| &info.version);
        let asked = request.maintenance_info.as_ref().map(|info| &info.version);
        if asked.is_some() && asked != offered {
            return Err(UpdateError::MaintenanceInfoConflict);
        }
        if only_context(existing, request) {
            return if found.allow_context_updates {
                Ok(found)
            } else {
                Err(unsupported("This service takes no update of the context only."))
            };
        }
        if changes_nothing(existing, request) {
            return Ok(found);
        }
        let Some(update) = &found.registration.update else {
            return Err(unsupported("Instances of this service cannot be changed."));
        };
        if let Some(parameters) = request.parameters.as_ref().filter(|parameters| !parameters.is_empty()) {
            update.check(parameters).map_err(UpdateError::Invalid)?;
        }
        if found.plan.policy.update == Execution::Async && incomplete == Incomplete::Refused {
            return Err(UpdateError::AsyncRequired);
        }
        Ok(found)
    }

    /// Answers for an update that runs: begun by this request under a ticket, or by an identical one before it.
    async fn updating(
        self: &Arc<Self>,
        accepted: Box<Accepted>,
        found: &Found,
        incomplete: Incomplete,
        ticket: Option<Ticket>,
    ) -> Result<Updated, UpdateError> {
        let pending = Pending::of(&accepted.stored)?;
        let begun = ticket.is_some();
        let body = self.body_of_update(&accepted.stored, found)?;
        let at_once = incomplete == Incomplete::Accepted && (!begun || found.plan.policy.update == Execution::Async);
        let settled = self
            .run_and_wait(&pending, ticket.map(|ticket| (accepted, ticket)), at_once, incomplete)
            .await;
        let settled = match settled {
            // Before an error is answered.
            Ok(None) | Err(_) if begun && incomplete == Incomplete::Refused => self.give_up(&pending).await?,
            settled => settled?,
        };
        match settled {
            Some(Settled::Succeeded(output)) => Ok(Updated::Done(self.output_of(&pending, output).await?)),
            Some(Settled::Failed(text)) => Err(self.failed_update(&pending, text).await),
            Some(Settled::Superseded) => Err(super::failed(None).into()),
            None if incomplete == Incomplete::Accepted => Ok(Updated::Accepted(pending.operation, body)),
            None if begun => Err(too_slow().into()),
            // What another request began goes on; this one has changed nothing.
            None => Err(UpdateError::Concurrency),
        }
    }

    /// The first answer tells a dashboard that changes, also with a 202 (OSB-UPD-20); labels and attributes stay.
    fn body_of_update(&self, stored: &Stored, found: &Found) -> Result<InstanceBody, Fault> {
        let before = self.instance_body(stored)?;
        let changed = self.dashboard_url(stored, None, found);
        Ok(InstanceBody {
            dashboard_url: changed.or(before.dashboard_url),
            ..before
        })
    }

    /// What the author said of a failed update beside its text (OSB-UPD-21).
    async fn failed_update(&self, pending: &Pending, description: Option<String>) -> UpdateError {
        let found = self
            .home
            .get::<Stored>(Kind::Instance, &pending.key.namespace, &pending.name);
        let found = found.await.ok().flatten();
        let ended = found.and_then(|found| {
            let history = found.record?.history;
            history
                .into_iter()
                .find(|ended| ended.id == pending.operation && ended.outcome == Outcome::Failed)
        });
        UpdateError::Failed {
            description: description.unwrap_or_else(|| "The update failed.".to_owned()),
            instance_usable: ended.as_ref().and_then(|ended| ended.instance_usable),
            update_repeatable: ended.as_ref().and_then(|ended| ended.update_repeatable),
        }
    }
}

fn target_plan<'a>(existing: &'a Stored, request: &'a UpdateRequest) -> &'a PlanId {
    request.plan_id.as_ref().unwrap_or(&existing.spec.plan_id)
}

/// Whether everything beside the context stays as it is.
fn only_context(existing: &Stored, request: &UpdateRequest) -> bool {
    keeps_all_but_context(existing, request) && !keeps_context(existing, request)
}

/// Whether the instance is already as the request wants it (OSB-UPD-10).
fn changes_nothing(existing: &Stored, request: &UpdateRequest) -> bool {
    keeps_all_but_context(existing, request) && keeps_context(existing, request)
}

fn keeps_all_but_context(existing: &Stored, request: &UpdateRequest) -> bool {
    let asked = request.maintenance_info.as_ref().map(|info| &info.version);
    *target_plan(existing, request) == existing.spec.plan_id
        && request.parameters.as_ref().is_none_or(osb_api::Object::is_empty)
        && asked.is_none_or(|asked| existing.spec.maintenance.as_ref() == Some(asked))
}

fn keeps_context(existing: &Stored, request: &UpdateRequest) -> bool {
    request.context.is_none() || request.context == existing.spec.context
}

fn unsupported(text: &str) -> UpdateError {
    UpdateError::NotSupported {
        description: text.to_owned(),
        update_repeatable: Some(false),
    }
}
