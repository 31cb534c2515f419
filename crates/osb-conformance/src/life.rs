//! Instances and bindings for probes: made, and removed again.

use std::time::Instant;

use crate::answer::Answer;
use crate::call::Call;
use crate::checker::{Checker, End, Followed};
use crate::subject::{Mode, Offer};

/// What became of a request that makes or removes something.
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    /// The end of its operation, after a 202.
    pub(crate) followed: Option<Followed>,
}

impl Outcome {
    /// It was done, at once or in the end.
    pub(crate) fn is_done(&self) -> bool {
        match &self.followed {
            Some(followed) => followed.end == End::Succeeded,
            None => self.answer.is(&[200, 201]),
        }
    }

    /// It is gone: a removal may also end in 410.
    pub(crate) fn is_gone(&self) -> bool {
        match &self.followed {
            Some(followed) => matches!(followed.end, End::Succeeded | End::Gone),
            None => self.answer.is(&[200, 410]),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.answer.status == 202 {
            Mode::Async
        } else {
            Mode::Sync
        }
    }

    /// The exchanges that show it.
    pub(crate) fn evidence(&self) -> Vec<&Answer> {
        let last = self.followed.as_ref().map(|followed| &followed.last);
        std::iter::once(&self.answer).chain(last).collect()
    }
}

impl Checker {
    /// Provisions under this id, to the end.
    pub(crate) async fn provisioned(&self, offer: &Offer, id: &str) -> Outcome {
        self.finished(Call::provision(id, &self.order(offer)).accepting(), offer)
            .await
    }

    /// Deprovisions, to the end.
    pub(crate) async fn deprovisioned(&self, offer: &Offer, id: &str) -> Outcome {
        self.finished(
            Call::deprovision(id, &offer.service_id, &offer.plan_id).accepting(),
            offer,
        )
        .await
    }

    /// Binds under this id, to the end.
    pub(crate) async fn bound(&self, offer: &Offer, id: &str, binding: &str) -> Outcome {
        self.finished(Call::bind(id, binding, &self.bind_order(offer)).accepting(), offer)
            .await
    }

    /// Unbinds, to the end.
    pub(crate) async fn unbound(&self, offer: &Offer, id: &str, binding: &str) -> Outcome {
        self.finished(
            Call::unbind(id, binding, &offer.service_id, &offer.plan_id).accepting(),
            offer,
        )
        .await
    }

    /// Sends a request, and follows its operation if it has one.
    pub(crate) async fn finished(&self, call: Call, offer: &Offer) -> Outcome {
        let answer = self.send(call.clone()).await;
        if answer.status != 202 {
            return Outcome { answer, followed: None };
        }
        let begin = Instant::now();
        let followed = self.follow(&poll_of(&call, answer.operation())).await;
        if let Some(limit) = offer.maximum_polling {
            let wrong = format!("an operation of {} takes longer than {limit} s", offer.label);
            self.that(
                "OSB-POLL-02",
                begin.elapsed().as_secs() < limit,
                wrong,
                &[&answer, &followed.last],
            );
        }
        Outcome {
            answer,
            followed: Some(followed),
        }
    }

    /// An instance that is ready, or nothing.
    pub(crate) async fn instance(&self, offer: &Offer, what: &str) -> Option<String> {
        let id = self.id(what);
        self.provisioned(offer, &id).await.is_done().then_some(id)
    }

    /// A binding that is ready, or nothing.
    pub(crate) async fn binding(&self, offer: &Offer, instance: &str, what: &str) -> Option<String> {
        let id = self.id(what);
        self.bound(offer, instance, &id).await.is_done().then_some(id)
    }

    /// The DELETE of an instance that ought not to be there.
    pub(crate) async fn delete(&self, offer: &Offer, id: &str) -> Answer {
        self.send(Call::deprovision(id, &offer.service_id, &offer.plan_id).accepting())
            .await
    }

    /// The DELETE of a binding that ought not to be there.
    pub(crate) async fn delete_binding(&self, offer: &Offer, id: &str, binding: &str) -> Answer {
        self.send(Call::unbind(id, binding, &offer.service_id, &offer.plan_id).accepting())
            .await
    }
}

/// The poll that follows this request.
pub(crate) fn poll_of(call: &Call, operation: Option<&str>) -> Call {
    let instance = call.instance.as_deref().unwrap_or_default();
    let poll = match &call.binding {
        Some(binding) => Call::poll_binding(instance, binding),
        None => Call::poll_instance(instance),
    };
    poll.of_operation(operation)
}
