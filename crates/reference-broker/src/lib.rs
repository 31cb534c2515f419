//! A broker to test platforms with: it does on purpose what brokers do, and fails on demand.
//!
//! It has no backend. What it sells is the behaviour itself, chosen by plan and parameters:
//!
//! | plan | behaves |
//! |---|---|
//! | `fast` | answers at once, or with 202 when `seconds` outlast the budget |
//! | `async` | always 202 for provision and deprovision |
//! | `unbindable` | cannot be bound |
//! | `narrow` | one operation at a time, the others wait |
//!
//! Parameters of a provision, all optional:
//!
//! | parameter | effect |
//! |---|---|
//! | `seconds` | so long the provision takes; it reports progress and can be interrupted |
//! | `fail_at` | the verb that fails: `provision`, `bind`, `deprovision` or `unbind` |
//! | `fail_times` | it fails so often in a passing way and is tried again; without it, it fails for good |
//! | `label` | comes back in the credentials |
//!
//! A deprovision or unbind that fails for good does so once: asked again, it succeeds, so that nothing is left behind.

use std::time::Duration;

use osb_sdk::{Binding, Broker, Error, Execution, Offering, Operation, Plan, Policy, Result, Service, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The id of the offering.
pub const OFFERING: &str = "b1f0b1a4-6d0f-4a3f-8f0e-5a3c3b0d7c01";
/// The id of the plan `fast`.
pub const FAST: &str = "2f6f7d1e-0c36-4a55-9c51-7f1f2f5f6a11";
/// The id of the plan `async`.
pub const ASYNC: &str = "9c2d5b3a-7e48-4b7e-8a37-1d8c4e9b2f12";
/// The id of the plan `unbindable`.
pub const UNBINDABLE: &str = "c7a4e6f0-3b1d-4d92-b0a5-6e2f9d8c1b13";
/// The id of the plan `narrow`.
pub const NARROW: &str = "e08b9c5d-1f27-4c63-9d84-3a7b5c0e4d14";

/// What can be ordered with an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// How long the provision takes, in seconds.
    #[schemars(range(max = 3600))]
    pub seconds: u32,
    /// The verb that fails.
    pub fail_at: Option<FailAt>,
    /// How often it fails before it succeeds; without it, it fails for good.
    #[schemars(range(min = 1, max = 20))]
    pub fail_times: Option<u32>,
    /// Comes back in the credentials of each binding.
    #[schemars(length(max = 1000))]
    pub label: Option<String>,
}

/// A verb that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailAt {
    /// The provision.
    Provision,
    /// Each bind.
    Bind,
    /// The deprovision.
    Deprovision,
    /// Each unbind.
    Unbind,
}

/// What can be ordered with a binding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BindingOrder {
    /// How long the bind takes, in seconds.
    #[schemars(range(max = 3600))]
    pub seconds: u32,
}

/// An instance: the order is all there is to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The name that it would have in a backend.
    pub name: String,
    /// What was ordered.
    pub order: Order,
}

/// What an application gets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// All of it in one.
    pub uri: String,
    /// The user, another one for each binding.
    pub username: String,
    /// The password, another one for each binding.
    pub password: String,
    /// As ordered with the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// The service behind all plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Service for Reference {
    type Parameters = Order;
    type BindParameters = BindingOrder;
    type State = Instance;
    type Credentials = Login;

    async fn provision(&self, op: &Operation, order: Order) -> Result<Instance> {
        take_time(op, order.seconds).await?;
        fail_if_ordered(op, &order).await?;
        Ok(Instance {
            name: op.stable_name("instance"),
            order,
        })
    }

    async fn deprovision(&self, op: &Operation, instance: Option<Instance>) -> Result<()> {
        match instance {
            Some(instance) => fail_if_ordered(op, &instance.order).await,
            None => Ok(()),
        }
    }

    async fn bind(&self, op: &Operation, instance: &Instance, order: BindingOrder) -> Result<Binding<Login>> {
        // A step: when the bind is tried again, the password is still the same.
        let password = op
            .step("password", async || Ok(uuid::Uuid::new_v4().simple().to_string()))
            .await?;
        take_time(op, order.seconds).await?;
        fail_if_ordered(op, &instance.order).await?;
        let username = op.stable_name("user");
        let uri = format!("reference://{username}:{password}@reference.invalid/{}", instance.name);
        Ok(Binding::new(Login {
            uri,
            username,
            password,
            label: instance.order.label.clone(),
        }))
    }

    async fn unbind(&self, op: &Operation, instance: &Instance, _: Option<Login>) -> Result<()> {
        fail_if_ordered(op, &instance.order).await
    }
}

/// Works for so long, in steps that are not done again after an interruption.
async fn take_time(op: &Operation, seconds: u32) -> Result<()> {
    const MAX_STEPS: u32 = 20;
    let steps = seconds.min(MAX_STEPS);
    for step in 1..=steps {
        let until = seconds * step / steps;
        let part = Duration::from_secs((until - seconds * (step - 1) / steps).into());
        op.step(&format!("part-{step}"), async || {
            tokio::select! {
                () = tokio::time::sleep(part) => Ok(()),
                () = op.cancelled() => Err(Error::retry("The work was interrupted.")),
            }
        })
        .await?;
        op.progress(format!("{until} of {seconds} seconds"));
    }
    Ok(())
}

/// Fails if this verb was ordered to.
async fn fail_if_ordered(op: &Operation, order: &Order) -> Result<()> {
    if order.fail_at.map(FailAt::verb) != Some(op.verb()) {
        return Ok(());
    }
    match order.fail_times {
        Some(times) if op.attempt() > times => Ok(()),
        Some(times) => {
            let text = format!("Fails as ordered, the {}. of {times} times.", op.attempt());
            Err(Error::retry(text).after(Duration::from_millis(100)))
        }
        None if is_removal(op.verb()) => fail_once(op).await,
        None => Err(Error::failed("Fails as ordered.")),
    }
}

/// The step by which a later removal knows that an earlier one has failed already: removals fail only once, so that
/// nothing is left behind.
async fn fail_once(op: &Operation) -> Result<()> {
    const REFUSED: &str = "refused";
    if op.earlier_step::<bool>(REFUSED).is_some() {
        return Ok(());
    }
    op.step(REFUSED, async || Ok(true)).await?;
    Err(Error::failed("Fails as ordered, this once."))
}

fn is_removal(verb: Verb) -> bool {
    matches!(verb, Verb::Deprovision | Verb::Unbind)
}

impl FailAt {
    fn verb(self) -> Verb {
        match self {
            Self::Provision => Verb::Provision,
            Self::Bind => Verb::Bind,
            Self::Deprovision => Verb::Deprovision,
            Self::Unbind => Verb::Unbind,
        }
    }
}

/// The broker, ready to be run.
pub fn broker() -> Broker {
    let asynchronous = Policy {
        provision: Execution::Async,
        deprovision: Execution::Async,
        ..Policy::default()
    };
    let narrow = Policy {
        parallelism: 1,
        ..Policy::default()
    };
    Broker::new("reference")
        .service(offering(), Reference)
        .policy(ASYNC, asynchronous)
        .policy(NARROW, narrow)
}

fn offering() -> Offering {
    Offering::new(OFFERING, "reference", "Behaves as ordered, to test platforms with")
        .bindable(true)
        .tags(["reference", "test"])
        .metadata("displayName", "Reference")
        .plan(Plan::new(
            FAST,
            "fast",
            "Answers at once, or with 202 when the work takes longer",
        ))
        .plan(Plan::new(ASYNC, "async", "Always answers with 202"))
        .plan(Plan::new(UNBINDABLE, "unbindable", "Cannot be bound").bindable(false))
        .plan(Plan::new(NARROW, "narrow", "Does one thing at a time"))
}
