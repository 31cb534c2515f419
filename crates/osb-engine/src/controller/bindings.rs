//! Bind and unbind, carried out.

use std::sync::Arc;

use osb_api::Object;
use osb_api::answer::BindingBody;
use osb_api::id::BindingId;

use super::call::Called;
use super::outcome::{late, unreadable};
use super::ready::{Ready, Turn};
use super::run::{HOME_PAUSE, target_of};
use crate::engine::Inner;
use crate::home::HomeError;
use crate::names;
use crate::objects::{self, Known, Order};
use crate::recorder::OutcomeWrite;
use crate::removal::AcceptError;
use crate::resource::{Kind, Stored, Verb};
use crate::service::Error;
use crate::waiters::{Output, Settled};

#[expect(
    clippy::large_enum_variant,
    reason = "it is short-lived, and the large one is the usual one"
)]
pub(super) enum Undone {
    Yes(Stored),
    No(Box<Ready>, Error),
    Late(Box<Ready>),
    Cancelled,
}

impl Inner {
    pub(super) async fn bind_now(
        self: &Arc<Self>,
        turn: Turn<'_>,
        stored: Stored,
        known: Option<Known>,
        instance: Option<Stored>,
    ) -> Result<(), HomeError> {
        let key = turn.key;
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
            self.again(key.clone(), target_of(&stored), turn.attempt, HOME_PAUSE);
            return Ok(());
        }
        let Some(ready) = self.make_ready(turn, stored, known, Some(&instance)) else {
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
        match self.call_author(&ready, function).await {
            Called::Returned(body) => {
                if let Some(error) = forbidden(&ready, &body) {
                    return self.failed(key, &ready, error).await;
                }
                let write = OutcomeWrite {
                    outputs: Some(objects::to_vec(&body)),
                    drop_steps: true,
                    ..OutcomeWrite::default()
                };
                self.succeeded(&ready, write, Settled::Succeeded(Some(Output::Binding(Arc::new(body)))))
                    .await
            }
            ended => self.not_returned(key, &ready, ended).await,
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

    pub(super) async fn unbind_now(
        self: &Arc<Self>,
        turn: Turn<'_>,
        stored: Stored,
        instance: Option<Stored>,
    ) -> Result<(), HomeError> {
        let key = turn.key;
        match self.undo_binding(turn, stored, instance.as_ref()).await? {
            Undone::Yes(stored) => self.removed(&stored).await,
            Undone::No(ready, error) => self.failed(key, &ready, error).await,
            Undone::Late(ready) => self.store_failure(&ready, late()).await,
            Undone::Cancelled => Ok(()),
        }
    }

    /// Calls the author's unbind, if there is an instance with a state that the binding can belong to.
    pub(super) async fn undo_binding(
        self: &Arc<Self>,
        turn: Turn<'_>,
        stored: Stored,
        instance: Option<&Stored>,
    ) -> Result<Undone, HomeError> {
        let Some(instance) = instance.filter(|instance| is_of(&stored, instance)) else {
            tracing::warn!(binding = %stored.metadata.name, "unbound without its instance, which is gone");
            return Ok(Undone::Yes(stored));
        };
        let Some(ready) = self.make_ready(turn, stored, None, Some(instance)) else {
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
        let called = self.call_author(&ready, function).await;
        drop(slot);
        Ok(match called {
            Called::Returned(()) => Undone::Yes(ready.into_stored().await),
            Called::Failed(error) => Undone::No(Box::new(ready), error),
            Called::Late => Undone::Late(Box::new(ready)),
            Called::Cancelled => Undone::Cancelled,
        })
    }
}

/// The failure of a bind that gives what its offering does not declare (OSB-BIND-22 to OSB-BIND-24). Only its author can
/// mend that.
fn forbidden(ready: &Ready, body: &BindingBody) -> Option<Error> {
    let (member, permission) = ready.found.plan.forbidden(body)?;
    tracing::error!(plan = %ready.found.plan.plan.name, member, permission,
        "the service returned a binding that platforms refuse: declare the permission with Offering::requires");
    let text = format!("The service returned {member}, for which its offering does not require {permission}.");
    Some(Error::failed(text))
}

/// Whether a binding belongs to this life of its instance.
pub(super) fn is_of(binding: &Stored, instance: &Stored) -> bool {
    let incarnation = binding.spec.instance_incarnation.as_ref();
    incarnation.is_none_or(|incarnation| *incarnation == instance.spec.incarnation)
}
