//! Provision and deprovision, carried out.

use std::sync::Arc;

use osb_api::answer::InstanceBody;

use super::bindings::Undone;
use super::call::Called;
use super::outcome::{SERVICE_FAILED, late, unreadable};
use super::ready::{Ready, Turn};
use super::run::{LOOKS, target_of};
use crate::engine::Inner;
use crate::home::{HomeError, Selection};
use crate::lanes::LaneKey;
use crate::objects::{self, Known, Order};
use crate::recorder::OutcomeWrite;
use crate::removal::AcceptError;
use crate::resource::{INSTANCE_LABEL, Kind, Stored, Verb};
use crate::service::Error;
use crate::waiters::{Output, Settled};

impl Inner {
    pub(super) async fn provision_now(
        self: &Arc<Self>,
        turn: Turn<'_>,
        stored: Stored,
        known: Option<Known>,
    ) -> Result<(), HomeError> {
        let key = turn.key;
        let Some(ready) = self.make_ready(turn, stored, known, None) else {
            return Ok(());
        };
        let Some(_slot) = ready.slot().await else { return Ok(()) };
        let service = &ready.found.registration.service;
        let function = service.provision(&ready.operation, ready.known.request.parameters.clone());
        match self.call_author(&ready, function).await {
            Called::Returned(made) => {
                let body = InstanceBody {
                    dashboard_url: service.dashboard_url(&ready.operation),
                    metadata: made.metadata,
                };
                let write = OutcomeWrite {
                    data: Some(made.state),
                    outputs: Some(objects::to_vec(&body)),
                    drop_steps: true,
                    spec: None,
                };
                let output = Output::Instance(Arc::new(body));
                self.succeeded(&ready, write, Settled::Succeeded(Some(output))).await
            }
            ended => self.not_returned(key, &ready, ended).await,
        }
    }

    pub(super) async fn deprovision_now(self: &Arc<Self>, turn: Turn<'_>, stored: Stored) -> Result<(), HomeError> {
        let state = objects::data(&self.keys, &stored);
        let instance = stored.clone();
        let key = turn.key;
        let Some(ready) = self.make_ready(turn, stored, None, Some(&instance)) else {
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
        let called = self.call_author(&ready, function).await;
        drop(slot);
        match called {
            Called::Returned(()) => self.removed(&ready.into_stored().await).await,
            ended => self.not_returned(key, &ready, ended).await,
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
        let (epoch, pass) = (ready.recorder.epoch(), ready.recorder.pass());
        if !pass.holds() || binding.record.as_ref().is_some_and(|record| record.epoch > epoch) {
            return Ok(Some(Error::retry("Handed over.")));
        }
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
        let turn = Turn {
            key,
            found: ready.found.clone(),
            attempt: ready.attempt,
            cancelled: ready.cancelled.child_token(),
            pass,
        };
        let undone = self.undo_binding(turn, binding, Some(instance)).await?;
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
}
