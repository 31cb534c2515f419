//! A broker as its author declares it: offerings, the services behind them, and how plans are run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use osb_api::Object;
use osb_api::answer::BindingBody;
use osb_api::catalog::{Catalog, CatalogProblem, CheckedCatalog, Offering, Plan};
use osb_api::id::{OfferingId, PlanId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::operation::Operation;
use crate::schema::{ParameterSchema, SchemaError};
use crate::service::{Binding, Error, Result, Service};

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
#[derive(Clone, Debug)]
pub struct Policy {
    /// When a provision answers.
    pub provision: Execution,
    /// When a deprovision answers.
    pub deprovision: Execution,
    /// When a bind answers. [`Execution::Async`] needs `bindings_retrievable` in the catalog.
    pub bind: Execution,
    /// When an unbind answers.
    pub unbind: Execution,
    /// The most functions of the author that run at one time for this plan.
    pub parallelism: usize,
    /// After that time a provision or bind that does not succeed is failed. A `maximum_polling_duration` of the plan
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
}

/// An offering's service with its types erased.
pub(crate) struct Registration {
    pub(crate) service: Box<dyn Erased>,
    create: ParameterSchema,
    bind: ParameterSchema,
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
        }
    }

    /// Offers a service. The schemas of its parameters are added to the plans that have none.
    #[must_use]
    pub fn service<S: Service>(mut self, offering: Offering, service: S) -> Self {
        let registration = ParameterSchema::of::<S::Parameters>().and_then(|create| {
            let bind = ParameterSchema::of::<S::BindParameters>()?;
            Ok(Registration {
                service: Box::new(Typed(service)),
                create,
                bind,
            })
        });
        self.services.push((offering, registration));
        self
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
        let plans = plans(&catalog, self.policies)?;
        Ok(Services {
            catalog,
            registered,
            plans,
        })
    }
}

/// Adds the schemas of the author's types to a plan that does not bring its own.
fn publish_schemas(plan: &mut Plan, bindable: bool, registration: &Registration) {
    plan.schemas
        .instance_create
        .get_or_insert_with(|| registration.create.json.clone());
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

/// The checked catalog and what stands behind it.
pub(crate) struct Services {
    pub(crate) catalog: CheckedCatalog,
    registered: HashMap<String, Arc<Registration>>,
    plans: HashMap<String, Arc<PlanRuntime>>,
}

/// A plan with how it is run.
pub(crate) struct PlanRuntime {
    pub(crate) plan: Arc<Plan>,
    pub(crate) bindable: bool,
    pub(crate) policy: Policy,
    pub(crate) slots: Semaphore,
    pub(crate) deadline: Duration,
    pub(crate) removal_deadline: Duration,
}

/// A plan of an offering, and the service behind it.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) registration: Arc<Registration>,
    pub(crate) plan: Arc<PlanRuntime>,
    pub(crate) bindings_retrievable: bool,
}

impl Services {
    /// The plan, if the offering has it.
    pub(crate) fn find(&self, offering: &OfferingId, plan: &PlanId) -> Option<Found> {
        let listed = self.catalog.plan(offering, plan)?;
        Some(Found {
            registration: self.registered.get(offering.as_str())?.clone(),
            plan: self.plans.get(plan.as_str())?.clone(),
            bindings_retrievable: listed.offering.bindings_retrievable,
        })
    }
}

impl Registration {
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

/// A [`Service`] with its types erased: states travel as JSON text, as they are stored.
pub(crate) trait Erased: Send + Sync {
    fn reads_parameters(&self, parameters: &Object) -> Result<(), String>;
    fn reads_bind_parameters(&self, parameters: &Object) -> Result<(), String>;
    fn dashboard_url(&self, op: &Operation) -> Option<String>;
    fn provision<'a>(&'a self, op: &'a Operation, parameters: Object) -> BoxFuture<'a, Result<Vec<u8>>>;
    fn deprovision<'a>(&'a self, op: &'a Operation, state: Option<Vec<u8>>) -> BoxFuture<'a, Result<()>>;
    fn bind<'a>(&'a self, op: &'a Operation, state: Vec<u8>, parameters: Object) -> BoxFuture<'a, Result<BindingBody>>;
    fn unbind<'a>(
        &'a self,
        op: &'a Operation,
        state: Vec<u8>,
        credentials: Option<Object>,
    ) -> BoxFuture<'a, Result<()>>;
}

struct Typed<S>(S);

impl<S: Service> Erased for Typed<S> {
    fn reads_parameters(&self, parameters: &Object) -> Result<(), String> {
        read_parameters::<S::Parameters>(parameters).map(|_| ())
    }

    fn reads_bind_parameters(&self, parameters: &Object) -> Result<(), String> {
        read_parameters::<S::BindParameters>(parameters).map(|_| ())
    }

    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        self.0.dashboard_url(op)
    }

    fn provision<'a>(&'a self, op: &'a Operation, parameters: Object) -> BoxFuture<'a, Result<Vec<u8>>> {
        async move {
            let parameters = read_parameters(&parameters).map_err(Error::failed)?;
            let state = self.0.provision(op, parameters).await?;
            serde_json::to_vec(&state).map_err(|_| Error::failed("The state of the service cannot be stored."))
        }
        .boxed()
    }

    fn deprovision<'a>(&'a self, op: &'a Operation, state: Option<Vec<u8>>) -> BoxFuture<'a, Result<()>> {
        async move {
            let state = state.map(|state| read_state(&state)).transpose()?;
            self.0.deprovision(op, state).await
        }
        .boxed()
    }

    fn bind<'a>(&'a self, op: &'a Operation, state: Vec<u8>, parameters: Object) -> BoxFuture<'a, Result<BindingBody>> {
        async move {
            let parameters = read_parameters(&parameters).map_err(Error::failed)?;
            let binding = self.0.bind(op, &read_state(&state)?, parameters).await?;
            body(binding)
        }
        .boxed()
    }

    fn unbind<'a>(
        &'a self,
        op: &'a Operation,
        state: Vec<u8>,
        credentials: Option<Object>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let credentials = credentials
                .map(|credentials| serde_json::from_value(Value::Object(credentials)))
                .transpose()
                .map_err(|_| unreadable())?;
            self.0.unbind(op, &read_state(&state)?, credentials).await
        }
        .boxed()
    }
}

/// Errors of serde quote what they refuse, so they are not passed on.
fn read_parameters<T: DeserializeOwned>(parameters: &Object) -> Result<T, String> {
    T::deserialize(Value::Object(parameters.clone()))
        .map_err(|_| "parameters: their names, types or values are not what the service takes".to_owned())
}

fn read_state<T: DeserializeOwned>(state: &[u8]) -> Result<T> {
    serde_json::from_slice(state).map_err(|_| unreadable())
}

/// A newer version of the broker, or the older one, may be able to read it: worth trying again.
fn unreadable() -> Error {
    Error::retry("The stored state of the service does not fit this version of the broker.")
}

fn body<C: serde::Serialize>(binding: Binding<C>) -> Result<BindingBody> {
    let Ok(Value::Object(credentials)) = serde_json::to_value(&binding.credentials) else {
        return Err(Error::failed("The credentials of the service are not a JSON object."));
    };
    let extra = binding.extra;
    Ok(BindingBody {
        metadata: extra.metadata,
        credentials: Some(credentials),
        syslog_drain_url: extra.syslog_drain_url,
        route_service_url: extra.route_service_url,
        volume_mounts: extra.volume_mounts,
        endpoints: extra.endpoints,
    })
}
