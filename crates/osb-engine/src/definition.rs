//! A broker as its author declares it: offerings, the services behind them, and how plans are run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt as _};
use osb_api::Object;
use osb_api::catalog::{Catalog, CatalogProblem, CheckedCatalog, Offering, Plan};
use prometheus_client::collector::Collector;

use crate::custom::definitions::Additions;
use crate::custom::{Controller, CustomKind, ErasedController, Fields, FieldsType, KindType, Kinds};
use crate::erased::{Erased, ErasedUpdate, Typed};
use crate::hooks::Hooks;
use crate::live::{Live, LiveOfferings};
use crate::schema::{ParameterSchema, SchemaError};
use crate::service::{Service, Updatable};
use crate::services::{PlanRuntime, Services};

/// When a verb answers.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Execution, Policy};
///
/// // A provision that always takes minutes: no request waits for it.
/// let policy = Policy { provision: Execution::Async, ..Policy::default() };
/// assert_eq!(policy.bind, Execution::Auto);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Execution {
    /// With the outcome when the work ends within the budget, else 202. A platform that does not accept a 202 gets a
    /// 5xx when its longer budget ends; a creation is then cancelled and cleaned up, an update stopped and taken back
    /// ([`Updatable::undo_update`](crate::Updatable::undo_update)).
    #[default]
    Auto,
    /// Always 202; a platform that does not accept that is refused before anything is written
    /// (`422 AsyncRequired`).
    Async,
}

/// How the operations of a plan are run.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use std::time::Duration;
/// use osb_sdk::{Broker, Execution, Policy};
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
///
/// ```
/// # mod osb_sdk { pub use osb_engine::*; pub use osb_api::catalog::{Offering, Plan}; }
/// # struct Mailboxes;
/// # impl osb_sdk::Service for Mailboxes {
/// #     type Parameters = osb_sdk::NoParameters;
/// #     type BindParameters = osb_sdk::NoParameters;
/// #     type State = String;
/// #     type Credentials = osb_sdk::NoParameters;
/// #     async fn provision(&self, op: &osb_sdk::Operation, _: osb_sdk::NoParameters) -> osb_sdk::Result<String> {
/// #         Ok(op.stable_name("mailbox"))
/// #     }
/// #     async fn deprovision(&self, _: &osb_sdk::Operation, _: Option<String>) -> osb_sdk::Result<()> { Ok(()) }
/// #     async fn bind(
/// #         &self, _: &osb_sdk::Operation, _: &String, _: osb_sdk::NoParameters,
/// #     ) -> osb_sdk::Result<osb_sdk::Binding<osb_sdk::NoParameters>> {
/// #         Ok(osb_sdk::Binding::new(osb_sdk::NoParameters {}))
/// #     }
/// #     async fn unbind(&self, _: &osb_sdk::Operation, _: &String, _: Option<osb_sdk::NoParameters>) -> osb_sdk::Result<()> {
/// #         Ok(())
/// #     }
/// # }
/// use std::time::Duration;
/// use osb_sdk::{Action, Broker, Offering, Plan, Policy, Refused};
///
/// const SMALL: &str = "7a2f6f0e-8a7b-4a51-9a76-5f2a7d7f0a11";
///
/// fn somebody_asks(action: &Action<'_>) -> Result<(), Refused> {
///     action.user.as_ref().map(|_| ()).ok_or_else(|| Refused::because("Say who you are."))
/// }
///
/// let offering = Offering::new("0f9d2f0c-3c4e-4c40-8f6a-0c1d5f7e2b33", "mailbox", "Mailboxes")
///     .bindable(true)
///     .plan(Plan::new(SMALL, "small", "One gigabyte of mail"));
/// let broker = Broker::new("mail")
///     .service(offering, Mailboxes)
///     .policy(SMALL, Policy { parallelism: 4, deadline: Duration::from_secs(600), ..Policy::default() })
///     .authorize(somebody_asks);
/// assert_eq!((broker.name(), broker.group().as_str()), ("mail", "mail.osb.internal"));
/// ```
pub struct Broker {
    name: String,
    services: Vec<(Offering, Result<Registration, SchemaError>)>,
    /// Offerings of earlier versions, by id, with what serves their instances.
    withdrawn: Vec<(String, Result<Registration, SchemaError>)>,
    policies: HashMap<String, Policy>,
    /// By the offering's id.
    fields: Vec<(String, Result<Arc<FieldsType>, String>)>,
    kinds: Vec<Result<Arc<KindType>, String>>,
    controllers: Vec<Arc<dyn ErasedController>>,
    pub(crate) hooks: Hooks,
    changes: Option<BoxStream<'static, Broker>>,
    live: Option<(LiveOfferings, Result<Registration, SchemaError>)>,
    collectors: Vec<Arc<dyn Collector>>,
}

/// An offering's service with its types erased.
pub(crate) struct Registration {
    pub(crate) service: Arc<dyn Erased>,
    create: ParameterSchema,
    bind: ParameterSchema,
    /// For a service whose instances can be changed.
    pub(crate) update: Option<UpdateRegistration>,
    /// The author's fields of its instances.
    pub(crate) fields: Option<Arc<FieldsType>>,
}

/// How instances of an offering are changed.
pub(crate) struct UpdateRegistration {
    pub(crate) service: Arc<dyn ErasedUpdate>,
    schema: ParameterSchema,
}

/// A broker that cannot be started, or an offering that cannot be offered, and what to mend.
///
/// ```
/// # mod osb_sdk { pub use osb_engine::*; pub use osb_api::catalog::Offering; }
/// use osb_sdk::{DefinitionError, LiveOffering, LiveOfferings, Offering};
///
/// let refused = LiveOfferings::new().offer(LiveOffering::new(Offering::new("0f9d2f0c", "mailbox", "Mailboxes")));
/// assert!(matches!(refused, Err(DefinitionError::Catalog(_))), "it has no plans");
/// ```
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
    /// The author's fields or kinds cannot stand in resources.
    #[error("the resources cannot be defined: {0}")]
    Resources(String),
    /// Fields are declared for an offering that the catalog does not have.
    #[error("there are fields for the offering {0:?}, but the catalog has no such offering")]
    UnknownOffering(String),
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
            withdrawn: Vec::new(),
            policies: HashMap::new(),
            fields: Vec::new(),
            kinds: Vec::new(),
            controllers: Vec::new(),
            hooks: Hooks::default(),
            changes: None,
            live: None,
            collectors: Vec::new(),
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
        self.services.push((offering, Registration::updatable(service)));
        self
    }

    /// Offers what comes and goes while the broker runs, one offering at a time, with one service behind all of them. That
    /// costs the same however many there are, where [`changing`](Self::changing) makes the whole catalog anew.
    ///
    /// ```
    /// # use osb_engine as osb_sdk;
    /// use osb_sdk::{Broker, LiveOfferings, Updatable};
    ///
    /// fn broker(offerings: &LiveOfferings, everything: impl Updatable) -> Broker {
    ///     // … something keeps a clone of the offerings, and offers and withdraws …
    ///     Broker::new("shop").live(offerings, everything)
    /// }
    /// ```
    #[must_use]
    pub fn live<S: Updatable>(mut self, offerings: &LiveOfferings, service: S) -> Self {
        self.live = Some((offerings.clone(), Registration::updatable(service)));
        self
    }

    /// Keeps the service of an offering that the catalog does not have any more: nothing new is sold, and what there is
    /// of it is polled, fetched, bound and removed as before. A broker remembers the catalog that it served last, so a
    /// plan that is left out of an offering needs nothing of the kind.
    ///
    /// ```
    /// # use osb_engine as osb_sdk;
    /// use osb_sdk::{Broker, Service};
    ///
    /// fn without_mailboxes(mailboxes: impl Service) -> Broker {
    ///     Broker::new("mail").withdrawn("0f9d2f0c-3c4e-4c40-8f6a-0c1d5f7e2b33", mailboxes)
    /// }
    /// ```
    #[must_use]
    pub fn withdrawn<S: Service>(mut self, offering_id: impl Into<String>, service: S) -> Self {
        let registration = Registration::of(Arc::new(Typed(service)));
        self.withdrawn.push((offering_id.into(), registration));
        self
    }

    /// Offers something else from time to time: each broker that the stream brings takes the place of the one before,
    /// with its catalog, services, policies and hooks. A wrong one is reported and not served. What there is of plans
    /// that are not offered any more is served as before, also after a restart. The name stays.
    ///
    /// ```
    /// # use osb_engine as osb_sdk;
    /// use futures::stream;
    /// use osb_sdk::Broker;
    ///
    /// /// What a file says, which somebody may edit.
    /// fn offer(text: &str) -> Broker {
    ///     // … an offering with a plan for each line …
    ///     # let _ = text;
    ///     Broker::new("mail")
    /// }
    ///
    /// // Most often a stream that waits for the file to change, and then brings `offer` of what it says.
    /// let later = stream::unfold("small\nlarge", |text| async move { Some((offer(text), text)) });
    /// let broker = offer("small").changing(later);
    /// ```
    #[must_use]
    pub fn changing(mut self, definitions: impl Stream<Item = Broker> + Send + 'static) -> Self {
        self.changes = Some(definitions.boxed());
        self
    }

    /// Shows metrics of the author's own at `/metrics`, beside those of the broker: what counts is that they are told again at
    /// each look. Names of the broker's own begin with `osb_`.
    #[must_use]
    pub fn collector(mut self, collector: impl Collector) -> Self {
        self.collectors.push(Arc::new(collector));
        self
    }

    /// Metrics of the author's own.
    pub(crate) fn take_collectors(&mut self) -> Vec<Arc<dyn Collector>> {
        std::mem::take(&mut self.collectors)
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

    /// Shows fields of the author's own on each instance of an offering, under `ext` of its `ServiceInstance`, and in
    /// columns of `kubectl get`. The service tells them with
    /// [`Operation::set_fields`](crate::Operation::set_fields).
    ///
    /// Offerings may share a type or have one each; a field that two types have in common has the same type in both.
    #[must_use]
    pub fn fields<F: Fields>(mut self, offering_id: impl Into<String>) -> Self {
        let fields = FieldsType::of::<F>();
        let fields = fields.map_err(|what| format!("{}: {what}", std::any::type_name::<F>()));
        self.fields.push((offering_id.into(), fields.map(Arc::new)));
        self
    }

    /// Serves a further kind of resources in the broker's API group.
    #[must_use]
    pub fn kind<K: CustomKind>(mut self) -> Self {
        self.kinds.push(KindType::of::<K>().map(Arc::new));
        self
    }

    /// Has a controller look after the objects of its kind, in the namespaces of all platforms, for as long as the
    /// broker runs. The kind is declared with it.
    #[must_use]
    pub fn controller<C: Controller>(mut self, controller: C) -> Self {
        self.controllers.push(Arc::new(controller));
        self.kind::<C::Kind>()
    }

    /// The controllers, which start with the engine.
    pub(crate) fn take_controllers(&mut self) -> Vec<Arc<dyn ErasedController>> {
        std::mem::take(&mut self.controllers)
    }

    /// The definitions of the broker's resources (`CustomResourceDefinition`), as an operator may apply them.
    ///
    /// # Errors
    /// [`DefinitionError`] with what is wrong and how to mend it.
    pub fn definitions(&self) -> Result<Vec<serde_json::Value>, DefinitionError> {
        self.definitions_in(&self.group())
    }

    /// As [`definitions`](Self::definitions), in another API group.
    pub(crate) fn definitions_in(&self, group: &str) -> Result<Vec<serde_json::Value>, DefinitionError> {
        let additions = self.additions()?;
        additions.definitions(group).map_err(DefinitionError::Resources)
    }

    /// What the author adds to the resources.
    pub(crate) fn additions(&self) -> Result<Additions, DefinitionError> {
        let mut types = Vec::new();
        for (offering, fields) in &self.fields {
            let fields = fields
                .as_ref()
                .map_err(|what| DefinitionError::Resources(what.clone()))?;
            types.push((offering.clone(), fields.as_ref()));
        }
        let kinds: Vec<Arc<KindType>> = self
            .kinds
            .iter()
            .cloned()
            .collect::<Result<_, _>>()
            .map_err(DefinitionError::Resources)?;
        let kinds = Kinds::of(kinds).map_err(DefinitionError::Resources)?;
        Additions::of(&types, kinds).map_err(DefinitionError::Resources)
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
        self.additions()?;
        let mut fields: HashMap<String, Arc<FieldsType>> = HashMap::new();
        for (offering, declared) in self.fields {
            fields.insert(offering, declared.map_err(DefinitionError::Resources)?);
        }
        let mut catalog = Catalog::new();
        let mut registered = HashMap::new();
        for (id, registration) in self.withdrawn {
            let wrong = |error| DefinitionError::Schema {
                offering: id.clone(),
                error,
            };
            registered.insert(id.clone(), Arc::new(registration.map_err(wrong)?));
        }
        for (mut offering, registration) in self.services {
            let mut registration = registration.map_err(|error| DefinitionError::Schema {
                offering: offering.name.clone(),
                error,
            })?;
            let bindable = offering.bindable;
            for plan in &mut offering.plans {
                publish_schemas(plan, plan.bindable.unwrap_or(bindable), &registration);
            }
            registration.fields = fields.remove(&offering.id);
            registered.insert(offering.id.clone(), Arc::new(registration));
            catalog = catalog.offering(offering);
        }
        if let Some(unknown) = fields.into_keys().next() {
            return Err(DefinitionError::UnknownOffering(unknown));
        }
        let catalog = catalog.check().map_err(DefinitionError::Catalog)?;
        if let Some(plan) = catalog.plans().find(|found| {
            let registration = registered.get(&found.offering.id);
            found.plan_updateable() && registration.is_some_and(|registration| registration.update.is_none())
        }) {
            return Err(DefinitionError::NotUpdatable(plan.plan.name.clone()));
        }
        let plans = plans(&catalog, self.policies)?;
        let live = self.live.map(|(offerings, registration)| {
            let registration = Arc::new(registration.map_err(|error| DefinitionError::Schema {
                offering: "live".to_owned(),
                error,
            })?);
            Ok(Live {
                offerings,
                registration,
            })
        });
        Ok(Services::new(catalog, registered, plans, self.hooks, live.transpose()?))
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
        let runtime = PlanRuntime::new(found.offering, found.plan, policy);
        plans.insert(found.plan.id.clone(), Arc::new(runtime));
    }
    match policies.into_keys().next() {
        Some(unknown) => Err(DefinitionError::UnknownPlan(unknown)),
        None => Ok(plans),
    }
}

impl Registration {
    fn updatable<S: Updatable>(service: S) -> Result<Self, SchemaError> {
        let service = Arc::new(Typed(service));
        let schema = ParameterSchema::of::<S::Update>()?;
        Ok(Self {
            update: Some(UpdateRegistration {
                service: service.clone(),
                schema,
            }),
            ..Self::of(service)?
        })
    }

    fn of<S: Service>(service: Arc<Typed<S>>) -> Result<Self, SchemaError> {
        Ok(Self {
            service,
            create: ParameterSchema::of::<S::Parameters>()?,
            bind: ParameterSchema::of::<S::BindParameters>()?,
            update: None,
            fields: None,
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
