//! One scenario being played: a platform, a plan, a wire.

use std::sync::Mutex;
use std::time::Duration;

use osb_api::Object;
use osb_api::catalog::{Offering, Plan};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::answer::{Answer, Outcome, Progress, summary};
use crate::call::{Call, Order, Terms, Verb};
use crate::job::{End, Job, Limits, Mitigation, Step};
use crate::options::Options;
use crate::platform::{Purpose, Rules};
use crate::wire::{Exchange, Wire};

/// Why a scenario did not come to its happy end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The broker does not do what the platform needs.
    Wrong(String),
    /// There is nothing of the kind with this platform, broker or clock.
    NotHere(String),
}

/// How a scenario ends.
pub(crate) type Played<T = ()> = Result<T, Obstacle>;

/// The broker does something wrong.
pub(crate) fn wrong<T>(what: impl Into<String>) -> Played<T> {
    Err(Obstacle::Wrong(what.into()))
}

/// The scenario makes no sense here.
pub(crate) fn not_here<T>(why: impl Into<String>) -> Played<T> {
    Err(Obstacle::NotHere(why.into()))
}

/// An offering and the plan of it that is bought.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) offering: Offering,
    pub(crate) plan: Plan,
}

impl Subject {
    pub(crate) fn is_bindable(&self) -> bool {
        self.plan.bindable.unwrap_or(self.offering.bindable)
    }

    pub(crate) fn is_plan_updateable(&self) -> bool {
        self.plan.plan_updateable.unwrap_or(self.offering.plan_updateable)
    }
}

/// So often a request is sent again after failures; a broker that is well needs it once.
pub(crate) const RETRIES: u32 = 3;

/// A scenario in play.
pub(crate) struct Play<'a> {
    pub(crate) wire: Wire<'a>,
    pub(crate) subject: &'a Subject,
    pub(crate) options: &'a Options,
    /// What was ordered, to be cleaned up when the scenario breaks off.
    ordered: Mutex<Vec<Order>>,
}

/// What the broker is asked about when it is looked for orphans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Instance,
    Binding,
}

/// What may still be going on when the broker is asked whether anything is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running<'a> {
    Nothing,
    /// A removal with this operation, which nobody watches.
    Removal(Option<&'a str>),
}

impl<'a> Running<'a> {
    pub(crate) fn after(mitigation: &'a Mitigation) -> Self {
        match mitigation {
            Mitigation::Unwatched(operation) => Self::Removal(operation.as_deref()),
            Mitigation::None | Mitigation::Confirmed | Mitigation::GivenUp => Self::Nothing,
        }
    }

    /// Whether the answer to another DELETE is that of the one that runs.
    fn goes_on(self, outcome: &Outcome) -> bool {
        let Ok(answer) = outcome else { return false };
        match self {
            Self::Nothing => answer.error() == Some("ConcurrencyError"),
            Self::Removal(_) if answer.status != 202 => answer.error() == Some("ConcurrencyError"),
            Self::Removal(operation) => answer.operation().is_ok_and(|other| other.as_deref() == operation),
        }
    }
}

impl Kind {
    fn calls(self) -> (Call, Call, Call) {
        match self {
            Self::Instance => (Call::PollInstance, Call::Deprovision, Call::FetchInstance),
            Self::Binding => (Call::PollBinding, Call::Unbind, Call::FetchBinding),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Binding => "binding",
        }
    }
}

impl<'a> Play<'a> {
    pub(crate) fn new(wire: Wire<'a>, subject: &'a Subject, options: &'a Options) -> Self {
        Self {
            wire,
            subject,
            options,
            ordered: Mutex::default(),
        }
    }

    pub(crate) fn rules(&self) -> &'static dyn Rules {
        self.wire.rules
    }

    /// A new instance with a first binding, not yet known to the broker.
    pub(crate) fn order(&self) -> Order {
        let Subject { offering, plan } = self.subject;
        let id = Uuid::new_v4();
        let order = Order {
            instance: self.rules().instance_id(),
            name: format!("simulated-{}", &id.simple().to_string()[..8]),
            binding: Uuid::new_v4().to_string(),
            app: Uuid::new_v4().to_string(),
            service: offering.id.clone(),
            plan: plan.id.clone(),
            new_plan: None,
            parameters: self.options.parameters.clone(),
            bind_parameters: self.options.bind_parameters.clone(),
            enabled: true,
            maintenance: plan.maintenance_info.as_ref().map(|info| info.version.clone()),
            terms: Terms {
                requires: offering.requires.clone(),
                bindings_retrievable: offering.bindings_retrievable,
                instances_retrievable: offering.instances_retrievable,
                maximum_polling: plan.maximum_polling_duration.map(Duration::from_secs),
            },
        };
        self.remember(&order);
        order
    }

    /// Another binding of the same application to the same instance.
    pub(crate) fn another_binding(&self, order: &Order) -> Order {
        let order = Order {
            binding: Uuid::new_v4().to_string(),
            ..order.clone()
        };
        self.remember(&order);
        order
    }

    fn remember(&self, order: &Order) {
        self.ordered().push(order.clone());
    }

    fn ordered(&self) -> std::sync::MutexGuard<'_, Vec<Order>> {
        self.ordered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets the platform do one thing to its end.
    pub(crate) async fn run(&self, verb: Verb, order: &Order) -> End {
        self.run_with(verb, order, RETRIES).await
    }

    /// As [`Play::run`], with another number of retries.
    pub(crate) async fn run_with(&self, verb: Verb, order: &Order, most_retries: u32) -> End {
        let clock = self.wire.clock;
        let mut job = Job::new(self.rules(), verb, &order.terms, clock.time(), most_retries);
        let mut reached = true;
        let started = Instant::now();
        loop {
            match job.step(clock.time()) {
                Step::Wait(pause) if reached => clock.pause(pause).await,
                // The broker knows of nothing: there is nothing that it could do meanwhile.
                Step::Wait(pause) => clock.jump(pause).await,
                Step::Send {
                    call,
                    operation,
                    purpose,
                } => {
                    let exchange = self.wire.send(call, order, operation.as_deref(), purpose).await;
                    reached = exchange.reached;
                    let had_time = !clock.jumps() || started.elapsed() >= self.options.settle;
                    let limits = if had_time || !reached {
                        Limits::Count
                    } else {
                        Limits::Suspended
                    };
                    job.take(clock.time(), &exchange.outcome, limits);
                }
                Step::Over => {}
            }
            if let Some(end) = job.end() {
                return end.clone();
            }
        }
    }

    /// As [`Play::run`]; anything but a success is the broker's fault.
    pub(crate) async fn succeed(&self, verb: Verb, order: &Order) -> Played<End> {
        let end = self.run(verb, order).await;
        let asynchronous = end.code.as_deref() == Some("AsyncRequired");
        if asynchronous && !self.rules().accepts_incomplete(verb.call(), &order.terms) {
            return not_here(format!(
                "{verb:?}: the broker does it only asynchronously, the platform only synchronously"
            ));
        }
        match &end.result {
            Err(why) => wrong(format!("{verb:?} did not succeed: {why}")),
            Ok(_) if end.mitigation != Mitigation::None => wrong(format!("{verb:?} succeeded only after a mitigation")),
            Ok(_) => Ok(end),
        }
    }

    /// Sends one call outside of any job.
    pub(crate) async fn send(&self, call: Call, order: &Order, operation: Option<&str>) -> Outcome {
        let Exchange { outcome, .. } = self.wire.send(call, order, operation, Purpose::User).await;
        outcome
    }

    /// The user removes the instance and then nothing is left.
    pub(crate) async fn remove(&self, order: &Order) -> Played {
        self.wire.heading("the user removes the instance");
        self.succeed(Verb::Deprovision, order).await?;
        self.nothing_left(Kind::Instance, order, Running::Nothing).await
    }

    /// What follows a creation that met with difficulties: who has it removes it, who has not must have left nothing.
    pub(crate) async fn conclude(&self, verb: Verb, order: &Order, end: &End) -> Played {
        let kind = if verb == Verb::Bind {
            Kind::Binding
        } else {
            Kind::Instance
        };
        let removal = if verb == Verb::Bind {
            Verb::Unbind
        } else {
            Verb::Deprovision
        };
        if end.mitigation == Mitigation::GivenUp {
            return wrong("the orphan mitigation did not succeed, however often the platform tried");
        }
        let untouched = end.mitigation == Mitigation::None;
        if end.result.is_ok() || untouched {
            self.wire.heading(format!("the user removes the {}", kind.noun()));
            self.succeed(removal, order).await?;
            return self.nothing_left(kind, order, Running::Nothing).await;
        }
        self.nothing_left(kind, order, Running::after(&end.mitigation)).await
    }

    /// Looks for what is left.
    ///
    /// A DELETE is the only question that every broker answers: 410 says that nothing is there, and nothing else does.
    /// But it also removes what is there, so it comes last. A removal that nobody watches may still run; then nobody
    /// polls here either, since it has to come to its end without that.
    pub(crate) async fn nothing_left(&self, kind: Kind, order: &Order, running: Running<'_>) -> Played {
        const PAUSE: Duration = Duration::from_secs(60);
        self.wire.heading(format!("is anything left of the {}?", kind.noun()));
        self.wire.mend();
        let (poll, delete, fetch) = kind.calls();
        let deadline = Instant::now() + self.options.settle;
        loop {
            if running == Running::Nothing {
                let polled = self.audit(poll, order).await;
                let busy = matches!(&polled, Ok(answer) if answer.progress() == Some(Progress::Ongoing));
                if busy && Instant::now() < deadline {
                    self.wire.clock.pause(PAUSE).await;
                    continue;
                }
            } else {
                self.wire.clock.pause(PAUSE).await;
            }
            let outcome = self.audit(delete, order).await;
            if matches!(&outcome, Ok(answer) if answer.status == 410) {
                return self.is_gone(kind, fetch, order, &outcome).await;
            }
            if !running.goes_on(&outcome) || Instant::now() >= deadline {
                let noun = kind.noun();
                return wrong(format!(
                    "an orphan: the {noun} should be gone, but a DELETE for it is answered with {} instead of 410",
                    summary(&outcome)
                ));
            }
        }
    }

    /// What a 410 has to be, and that a fetch agrees with it.
    async fn is_gone(&self, kind: Kind, fetch: Call, order: &Order, gone: &Outcome) -> Played {
        if self.rules().reads_refusals() && gone.as_ref().ok().and_then(Answer::object).is_none() {
            return wrong("the body of a 410 has to be a JSON object, at least {}");
        }
        let retrievable = match kind {
            Kind::Instance => order.terms.instances_retrievable,
            Kind::Binding => order.terms.bindings_retrievable,
        };
        if !retrievable {
            return Ok(());
        }
        match self.audit(fetch, order).await {
            Ok(answer) if matches!(answer.status, 404 | 410) => Ok(()),
            other => wrong(format!(
                "it is gone, but fetching it is answered with {}",
                summary(&other)
            )),
        }
    }

    async fn audit(&self, call: Call, order: &Order) -> Outcome {
        self.wire.send(call, order, None, Purpose::Mitigation).await.outcome
    }

    /// Removes what a broken scenario has left, as well as it can; nobody looks at the outcome.
    pub(crate) async fn clean_up(&self) {
        const TRIES: u32 = 20;
        self.wire.mend();
        let ordered = std::mem::take(&mut *self.ordered());
        for (call, order) in [Call::Unbind, Call::Deprovision]
            .iter()
            .flat_map(|call| ordered.iter().map(move |order| (*call, order)))
        {
            for _ in 0..TRIES {
                match self.audit(call, order).await {
                    Ok(answer) if matches!(answer.status, 202 | 422 | 429 | 500..) => {
                        self.wire.clock.pause(Duration::from_secs(1)).await;
                    }
                    _ => break,
                }
            }
        }
    }
}

/// `credentials` of a bind's success.
pub(crate) fn credentials(body: &Object) -> Option<&Value> {
    body.get("credentials").filter(|value| !value.is_null())
}
