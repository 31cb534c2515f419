//! `DELETE` of instances and bindings.

use std::sync::Arc;

use osb_api::answer::Removed;
use osb_api::error::Fault;
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::request::{Incomplete, RemovalQuery};
use osb_server::Caller;

use super::wait::Pending;
use super::{TRIES, failed, fault, fault_of_accept, order, too_slow};
use crate::decide::{self, OnRemoval};
use crate::definition::Execution;
use crate::engine::Inner;
use crate::home::HomeError;
use crate::hooks::{Action, ActionVerb};
use crate::names;
use crate::removal::AcceptError;
use crate::resource::{Kind, Stored, Verb};
use crate::waiters::Settled;

/// What is to be removed.
#[derive(Clone, Copy)]
pub(super) struct Removal<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) instance: &'a InstanceId,
    pub(super) binding: Option<&'a BindingId>,
}

/// Why a removal is not done; deprovision and unbind have the same reasons.
pub(super) enum Refusal {
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
    pub(super) async fn remove(
        self: &Arc<Self>,
        caller: &Caller,
        what: Removal<'_>,
        query: &RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, Refusal> {
        let namespace = self.tenant(caller)?;
        let epoch = self.shards.stamp(&names::instance(what.instance));
        let verb = if what.kind == Kind::Binding {
            Verb::Unbind
        } else {
            Verb::Deprovision
        };
        let instance_name = names::instance(what.instance);
        for _ in 0..TRIES {
            let ticket = self.ticket(namespace, &instance_name, what.kind, what.name);
            let existing: Option<Stored> = self.home.get(what.kind, namespace, what.name).await.map_err(fault)?;
            let Some(existing) = existing else {
                return Err(Refusal::Gone);
            };
            let same_ids =
                existing.spec.instance_id == *what.instance && existing.spec.binding_id.as_ref() == what.binding;
            let decision = decide::removal(&existing, same_ids);
            if decision == OnRemoval::Absent || self.is_gone(&existing).await.map_err(fault)? {
                return Err(Refusal::Gone);
            }
            let action = match verb {
                Verb::Unbind => ActionVerb::Unbind,
                _ => ActionVerb::Deprovision,
            };
            let (spec, target) = (&existing.spec, (what.instance, what.binding));
            let known = self.instance_context(&existing).await.map_err(fault)?;
            let action = Action::new(
                action,
                caller,
                target,
                (&spec.service_id, &spec.plan_id),
                spec.context.as_ref(),
                known.as_ref(),
            );
            self.services().hooks.authorize(&action).await?;
            if !self.is_named_rightly(&existing, query).await.map_err(fault)? {
                let text = "service_id or plan_id is not that of what is to be deleted".to_owned();
                return Err(Refusal::Invalid(text));
            }
            let execution = self.removal_execution(query, verb);
            if execution == Execution::Async && incomplete == Incomplete::Refused {
                return Err(Refusal::AsyncRequired);
            }
            match decision {
                OnRemoval::Absent => return Err(Refusal::Gone),
                OnRemoval::Join(operation) => {
                    self.joined(caller, &existing, verb);
                    let at_once = incomplete == Incomplete::Accepted;
                    let pending = Pending::of(&existing)?;
                    return match self.run_and_wait(&pending, None, at_once, incomplete).await? {
                        // Of several deletes one reports 200 (OSB-BLK-04).
                        Some(Settled::Succeeded(_)) => Err(Refusal::Gone),
                        settled => removed(settled, operation, incomplete),
                    };
                }
                OnRemoval::Accept => match self.accept(&existing, order(verb, epoch, caller)).await {
                    Ok(stored) => {
                        self.count_mitigation(&existing, verb);
                        let pending = Pending::of(&stored)?;
                        let at_once = incomplete == Incomplete::Accepted && execution == Execution::Async;
                        let settled = self
                            .run_and_wait(&pending, Some((stored.into(), ticket)), at_once, incomplete)
                            .await?;
                        return removed(settled, pending.operation, incomplete);
                    }
                    Err(AcceptError::Changed) => {}
                    Err(error) => return Err(fault_of_accept(error).into()),
                },
            }
        }
        Err(Refusal::Fault(Fault::Unavailable(
            "The object is being changed by many at a time.".to_owned(),
        )))
    }

    /// Whether the request names offering and plan of what it removes; a binding has the plan of its instance, which may
    /// have changed since it was made.
    async fn is_named_rightly(&self, existing: &Stored, query: &RemovalQuery) -> Result<bool, HomeError> {
        if existing.spec.service_id != query.service_id {
            return Ok(false);
        }
        if existing.spec.plan_id == query.plan_id || existing.which() == Kind::Instance {
            return Ok(existing.spec.plan_id == query.plan_id);
        }
        let (namespace, name) = (&existing.metadata.namespace, existing.instance_name());
        let instance: Option<Stored> = self.home.get(Kind::Instance, namespace, &name).await?;
        Ok(instance.is_some_and(|instance| instance.spec.plan_id == query.plan_id))
    }

    fn removal_execution(&self, query: &RemovalQuery, verb: Verb) -> Execution {
        match self.services().find(&query.service_id, &query.plan_id) {
            Some(found) if verb == Verb::Unbind => found.plan.policy.unbind,
            Some(found) => found.plan.policy.deprovision,
            None => Execution::Auto,
        }
    }
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
