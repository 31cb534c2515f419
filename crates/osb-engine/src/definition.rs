//! A broker as its author declares it: offerings, the services behind them, and how plans are run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt as _};
use osb_api::Object;
use osb_api::catalog::{Catalog, CatalogProblem, CheckedCatalog, Offering, Plan};
use tokio::sync::Semaphore;

use crate::erased::{Erased, ErasedUpdate, Typed};
use crate::hooks::Hooks;
use crate::schema::{ParameterSchema, SchemaError};
use crate::service::{Service, Updatable};
use crate::services::{PlanRuntime, Services};

/// When a verb answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Execution {
    /// With the outcome when the work ends within the budget, else 202. A platform that does not accept a 202 gets a
    /// 5xx when its longer budget ends; a creation is then cancelled and cleaned up.
    #[default]
    Auto,
    /// Always 202; a platform that does not accept that is refused before anything is written
    /// (`422 AsyncRequired`).
    Async,
}

/// How the operations of a plan are run.
///
/// ```
/// use std::time::Duration;
/// use osb_engine::{Broker, Execution, Policy};
///
/// let slow = Policy {
///     provision: Execution::Async,
///     parallelism: 4,
///     deadline: Duration::from_secs(6 * 60 * 60),
///     ..Policy::default()
/// };
/// let broker = Broker::new("mail").policy("the id of the plan", slow);
/// assert_eq!(broker.group(), "mail.osb.internal");
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    /// When a provision answers.
    pub provision: Execution,
    /// When an update answers.
    pub update: Execution,
    /// When a deprovision answers.
    pub deprovision: Execution,
    /// When a bind answers. [`Execution::Async`] needs `bindings_retrievable` in the catalog.
    pub bind: Execution,
    /// When an unbind answers.
    pub unbind: Execution,
    /// The most functions of the author that run at one time for this plan.
    pub parallelism: usize,
    /// After that time a provision, update or bind that does not succeed is failed. A `maximum_polling_duration` of the plan
    /// shortens it.
    pub deadline: Duration,
    /// After that time a deprovision or unbind that does not succeed is failed; it can be requested again.
    pub removal_deadline: Duration,
    /// Whether a bind must name an application (`422 RequiresApp`).
    pub requires_app: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            provision: Execution::Auto,
            update: Execution::Auto,
            deprovision: Execution::Auto,
            bind: Execution::Auto,
            unbind: Execution::Auto,
            parallelism: 32,
            deadline: Duration::from_secs(60 * 60),
            removal_deadline: Duration::from_secs(24 * 60 * 60),
            requires_app: false,
        }
    }
}

/// A broker: a name, and the services that it offers.
///
/// The name is part of the API group of its resources (`<name>.osb.internal`), so it is a DNS label.
pub struct Broker {
    name: String,
    services: Vec<(Offering, Result<Registration, SchemaError>)>,
    policies: HashMap<String, Policy>,
    pub(crate) hooks: Hooks,
    changes: Option<BoxStream<'static, Broker>>,
}

/// An offering's service with its types erased.
pub(crate) struct Registration {
    pub(crate) service: Arc<dyn Erased>,
    create: ParameterSchema,
    bind: ParameterSchema,
    /// For a service whose instances can be changed.
    pub(crate) update: Option<UpdateRegistration>,
}

/// How instances of an offering are changed.
pub(crate) struct UpdateRegistration {
    pub(crate) service: Arc<dyn ErasedUpdate>,
    schema: ParameterSchema,
}

/// A broker that cannot be started, and what to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The name is no DNS label.
    #[error("the broker's name {0:?} is not a DNS label: use lower-case letters, digits and '-', at most 63")]
    Name(String),
    /// The catalog breaks rules of the specification.
    #[error("the catalog cannot be served:\n{}", list(.0))]
    Catalog(Vec<CatalogProblem>),
    /// The type of an offering's parameters gives no usable schema.
    #[error("offering {offering}: {error}")]
    Schema {
        /// Its name.
        offering: String,
        /// What is wrong.
        error: SchemaError,
    },
    /// A policy is given for a plan that the catalog does not have.
    #[error("there is a policy for the plan {0:?}, but the catalog has no such plan")]
    UnknownPlan(String),
    /// A plan binds asynchronously, but its bindings cannot be fetched, so nobody would get the credentials.
    #[error("plan {0:?} binds asynchronously: its offering must set bindings_retrievable (OSB-BIND-19)")]
    AsyncBindNotRetrievable(String),
    /// The catalog announces changes of plan, but the service has no function for them.
    #[error(
        "plan {0:?} says plan_updateable: implement Updatable for its service and offer it with Broker::updatable (OSB-UPD-07)"
    )]
    NotUpdatable(String),
}

fn list(problems: &[CatalogProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect::<Vec<_>>()
        .join("\n")
}

impl Broker {
    /// A broker without offerings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            services: Vec::new(),
            policies: HashMap::new(),
            hooks: Hooks::default(),
            changes: None,
        }
    }

    /// Offers a service. The schemas of its parameters are added to the plans that have none.
    #[must_use]
    pub fn service<S: Service>(mut self, offering: Offering, service: S) -> Self {
        let registration = Registration::of(Arc::new(Typed(service)));
        self.services.push((offering, registration));
        self
    }

    /// Offers a service whose instances can be changed. As [`service`](Self::service), and the schema of its update
    /// is added, too.
    #[must_use]
    pub fn updatable<S: Updatable>(mut self, offering: Offering, service: S) -> Self {
        let service = Arc::new(Typed(service));
        let registration = Registration::of(service.clone()).and_then(|registration| {
            let schema = ParameterSchema::of::<S::Update>()?;
            Ok(Registration {
                update: Some(UpdateRegistration { service, schema }),
                ..registration
            })
        });
        self.services.push((offering, registration));
        self
    }

    /// Offers something else from time to time: each broker that the stream brings takes the place of the one before,
    /// with its catalog, services, policies and hooks. A wrong one is reported and not served. What there is of plans
    /// that are not offered any more is served as before. The name stays.
    #[must_use]
    pub fn changing(mut self, definitions: impl Stream<Item = Broker> + Send + 'static) -> Self {
        self.changes = Some(definitions.boxed());
        self
    }

    /// What is to be offered later.
    pub(crate) fn take_changes(&mut self) -> Option<BoxStream<'static, Broker>> {
        self.changes.take()
    }

    /// Sets how the operations of a plan are run.
    #[must_use]
    pub fn policy(mut self, plan_id: impl Into<String>, policy: Policy) -> Self {
        self.policies.insert(plan_id.into(), policy);
        self
    }

    /// The broker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API group of its resources.
    pub fn group(&self) -> String {
        format!("{}.osb.internal", self.name)
    }

    /// Checks everything that can be checked before the start.
    ///
    /// # Errors
    /// [`DefinitionError`] with what is wrong and how to mend it.
    pub(crate) fn check(self) -> Result<Services, DefinitionError> {
        let is_label = |name: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            name.len() <= 63
                && name.bytes().next().is_some_and(plain)
                && name.bytes().last().is_some_and(plain)
                && name.bytes().all(|b| plain(b) || b == b'-')
        };
        if !is_label(&self.name) {
            return Err(DefinitionError::Name(self.name));
        }
        let mut catalog = Catalog::new();
        let mut registered = HashMap::new();
        for (mut offering, registration) in self.services {
            let registration = registration.map_err(|error| DefinitionError::Schema {
                offering: offering.name.clone(),
                error,
            })?;
            let bindable = offering.bindable;
            for plan in &mut offering.plans {
                publish_schemas(plan, plan.bindable.unwrap_or(bindable), &registration);
            }
            registered.insert(offering.id.clone(), Arc::new(registration));
            catalog = catalog.offering(offering);
        }
        let catalog = catalog.check().map_err(DefinitionError::Catalog)?;
        if let Some(plan) = catalog.plans().find(|found| {
            let registration = registered.get(&found.offering.id);
            found.plan_updateable() && registration.is_some_and(|registration| registration.update.is_none())
        }) {
            return Err(DefinitionError::NotUpdatable(plan.plan.name.clone()));
        }
        let plans = plans(&catalog, self.policies)?;
        Ok(Services::new(catalog, registered, plans, self.hooks))
    }
}

/// Adds the schemas of the author's types to a plan that does not bring its own.
fn publish_schemas(plan: &mut Plan, bindable: bool, registration: &Registration) {
    plan.schemas
        .instance_create
        .get_or_insert_with(|| registration.create.json.clone());
    if let Some(update) = &registration.update {
        plan.schemas
            .instance_update
            .get_or_insert_with(|| update.schema.json.clone());
    }
    if bindable {
        plan.schemas
            .binding_create
            .get_or_insert_with(|| registration.bind.json.clone());
    }
}

fn plans(
    catalog: &CheckedCatalog,
    mut policies: HashMap<String, Policy>,
) -> Result<HashMap<String, Arc<PlanRuntime>>, DefinitionError> {
    let mut plans = HashMap::new();
    for found in catalog.plans() {
        let policy = policies.remove(&found.plan.id).unwrap_or_default();
        if policy.bind == Execution::Async && found.bindable() && !found.offering.bindings_retrievable {
            return Err(DefinitionError::AsyncBindNotRetrievable(found.plan.name.clone()));
        }
        let runtime = PlanRuntime {
            plan: Arc::new(found.plan.clone()),
            bindable: found.bindable(),
            slots: Semaphore::new(policy.parallelism.clamp(1, Semaphore::MAX_PERMITS)),
            deadline: shorter(policy.deadline, found.plan.maximum_polling_duration),
            removal_deadline: shorter(policy.removal_deadline, found.plan.maximum_polling_duration),
            policy,
        };
        plans.insert(found.plan.id.clone(), Arc::new(runtime));
    }
    match policies.into_keys().next() {
        Some(unknown) => Err(DefinitionError::UnknownPlan(unknown)),
        None => Ok(plans),
    }
}

/// Operations end a little before the platform stops polling (OSB-POLL-02).
fn shorter(deadline: Duration, maximum_polling_secs: Option<u64>) -> Duration {
    match maximum_polling_secs {
        Some(secs) => deadline.min(Duration::from_secs(secs) * 9 / 10),
        None => deadline,
    }
}

impl Registration {
    fn of<S: Service>(service: Arc<Typed<S>>) -> Result<Self, SchemaError> {
        Ok(Self {
            service,
            create: ParameterSchema::of::<S::Parameters>()?,
            bind: ParameterSchema::of::<S::BindParameters>()?,
            update: None,
        })
    }

    /// What is wrong with the parameters of a provision.
    pub(crate) fn check_create(&self, parameters: &Object) -> Result<(), String> {
        self.create.check(parameters)?;
        self.service.reads_parameters(parameters)
    }

    /// What is wrong with the parameters of a bind.
    pub(crate) fn check_bind(&self, parameters: &Object) -> Result<(), String> {
        self.bind.check(parameters)?;
        self.service.reads_bind_parameters(parameters)
    }
}

impl UpdateRegistration {
    /// What is wrong with the parameters of an update.
    pub(crate) fn check(&self, parameters: &Object) -> Result<(), String> {
        self.schema.check(parameters)?;
        self.service.reads_update(parameters)
    }
}
