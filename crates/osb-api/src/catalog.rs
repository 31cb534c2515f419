//! The catalog: what a broker offers (section "Catalog Management").
//!
//! An author builds a [`Catalog`] in code or reads it from JSON; [`Catalog::check`] turns it into a [`CheckedCatalog`],
//! which alone is served.
//!
//! ```
//! use osb_api::catalog::{Catalog, Offering, Plan};
//!
//! let catalog = Catalog::new().offering(
//!     Offering::new("5f2c", "postgres", "A database").bindable(true).plan(Plan::new("9a1d", "small", "1 GB").free(false)),
//! );
//! let checked = catalog.check().expect("a valid catalog");
//! assert_eq!(checked.catalog().services[0].plans[0].name, "small");
//! ```

mod check;
mod read;
mod schema;
mod semver;

pub use semver::SemanticVersion;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::Object;
use crate::id::{OfferingId, PlanId};

/// The largest schema, in bytes of its compact JSON (OSB-SCH-04, Amb-3).
pub const MAX_SCHEMA_BYTES: usize = 64_000;

/// The body of `GET /v2/catalog` (OSB-CAT-01).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Catalog {
    /// The offerings.
    pub services: Vec<Offering>,
    /// Members of the broker's own; they carry a unique prefix (OSB-GEN-02).
    #[serde(flatten)]
    pub extensions: Object,
}

/// A service offering (OSB-SVC-01 to -13).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{catalog::*}; }
/// use osb_sdk::{Offering, Plan, Requires};
///
/// let offering = Offering::new("1f7ddf0e-6d7c-4b3c-9c0e-2f0b1a5d3b11", "postgres", "A database of your own")
///     .bindable(true)
///     .plan_updateable(true)
///     .instances_retrievable(true)
///     .bindings_retrievable(true)
///     .requires(Requires::SyslogDrain)
///     .tags(["sql", "relational"])
///     .metadata("displayName", "PostgreSQL")
///     .plan(Plan::new("5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a01", "small", "10 connections"))
///     .plan(Plan::new("5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a02", "large", "200 connections").free(false));
/// assert_eq!(offering.plans[1].name, "large");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offering {
    /// Unique in the world and for ever; a GUID is best. Ids are checked by [`Catalog::check`], not before.
    pub id: String,
    /// What users call it: letters, digits, `.` and `-`.
    pub name: String,
    /// One line for users.
    pub description: String,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the platform has to permit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requires>,
    /// Whether instances can be bound; plans may say otherwise.
    pub bindable: bool,
    /// Promises `GET` of instances.
    #[serde(skip_serializing_if = "is_false")]
    pub instances_retrievable: bool,
    /// Promises `GET` of bindings; asynchronous binds need it (OSB-BIND-19).
    #[serde(skip_serializing_if = "is_false")]
    pub bindings_retrievable: bool,
    /// Whether an update may consist of a new context only (OSB-UPD-08).
    #[serde(skip_serializing_if = "is_false")]
    pub allow_context_updates: bool,
    /// For display; the profile has conventions (OSB-PROF-07).
    #[serde(skip_serializing_if = "Object::is_empty")]
    pub metadata: Object,
    /// Single sign-on to the dashboard, Cloud Foundry only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard_client: Option<DashboardClient>,
    /// Whether an instance can leave its plan; plans may say otherwise. The misspelling is the field's name.
    pub plan_updateable: bool,
    /// At least one.
    pub plans: Vec<Plan>,
    /// Members of the broker's own; they carry a unique prefix (OSB-GEN-02).
    #[serde(flatten)]
    pub extensions: Object,
}

/// A permission that the platform has to give (OSB-SVC-05).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{catalog::*}; }
/// use osb_sdk::{Offering, Requires};
///
/// let offering = Offering::new("c0a4", "volume", "Shared folders").requires(Requires::VolumeMount);
/// assert_eq!(serde_json::to_value(&offering)?["requires"], serde_json::json!(["volume_mount"]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Requires {
    /// Bindings have a `syslog_drain_url`.
    SyslogDrain,
    /// Bindings have a `route_service_url`.
    RouteForwarding,
    /// Bindings have `volume_mounts`.
    VolumeMount,
}

/// `dashboard_client` (OSB-SVC-11).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{catalog::*}; }
/// use osb_sdk::{DashboardClient, Offering};
///
/// let client = DashboardClient {
///     id: "log-archive".to_owned(),
///     secret: "from the environment".to_owned(),
///     redirect_uri: Some("https://logs.example.com/login".to_owned()),
/// };
/// let offering = Offering::new("6f1b", "log-archive", "Keeps logs").dashboard_client(client);
/// assert!(!format!("{offering:?}").contains("environment"), "the secret is not printed");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct DashboardClient {
    /// The id of the OAuth2 client.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Where the platform sends the user back to; Cloud Foundry demands it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

impl fmt::Debug for DashboardClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardClient")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A plan (OSB-PLAN-01 to -12).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{catalog::*}; }
/// use std::time::Duration;
/// use osb_sdk::Plan;
///
/// let plan = Plan::new("5a0d6f3c-5a55-4f56-8a3a-6c8b7d1f0a02", "large", "200 connections")
///     .free(false)
///     .binding_rotatable(true)
///     .maintenance_version("1.2.0")
///     .maximum_polling_duration(Duration::from_secs(60 * 60))
///     .metadata("bullets", serde_json::json!(["200 connections", "daily backups"]));
/// assert_eq!(plan.maximum_polling_duration, Some(3600));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Unique in the world and for ever; a GUID is best.
    pub id: String,
    /// What users call it: letters, digits, `.` and `-`.
    pub name: String,
    /// One line for users.
    pub description: String,
    /// For display; the profile has conventions (OSB-PROF-07).
    #[serde(skip_serializing_if = "Object::is_empty")]
    pub metadata: Object,
    /// Whether it costs nothing.
    pub free: bool,
    /// Overrides the offering's. A checked catalog always has a value: platforms disagree on what absence means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bindable: Option<bool>,
    /// Whether bindings can be rotated (OSB-ROT-01).
    #[serde(skip_serializing_if = "is_false")]
    pub binding_rotatable: bool,
    /// Overrides the offering's. A checked catalog always has a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_updateable: Option<bool>,
    /// What parameters look like.
    #[serde(skip_serializing_if = "Schemas::is_empty")]
    pub schemas: Schemas,
    /// How long platforms poll, in seconds (OSB-POLL-01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_polling_duration: Option<u64>,
    /// The version of what instances run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
    /// Members of the broker's own; they carry a unique prefix (OSB-GEN-02).
    #[serde(flatten)]
    pub extensions: Object,
}

/// `maintenance_info` of a plan (OSB-MNT-01, -02).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{catalog::*}; }
/// use osb_sdk::{MaintenanceInfo, Plan};
///
/// let newest = MaintenanceInfo {
///     version: "1.2.0".to_owned(),
///     description: Some("Brings the extensions to their newest versions".to_owned()),
/// };
/// let plan = Plan { maintenance_info: Some(newest), ..Plan::new("5a0d", "small", "10 connections") };
/// assert_eq!(plan.maintenance_info.unwrap().version, "1.2.0");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MaintenanceInfo {
    /// A semantic version.
    pub version: String,
    /// What the maintenance does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The JSON Schemas of a plan's parameters (OSB-SCH-01). On the wire each one is nested:
/// `{"service_instance": {"create": {"parameters": {…}}}}`.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{catalog::*}; }
/// use osb_sdk::{Plan, Schemas};
/// use serde_json::json;
///
/// // Instead of the schema that comes from the type of the parameters.
/// let of_this_plan = json!({"type": "object", "properties": {"size_gb": {"type": "integer", "maximum": 10}}});
/// let schemas = Schemas { instance_create: of_this_plan.as_object().cloned(), ..Schemas::default() };
/// let plan = Plan::new("5a0d", "small", "At most 10 gigabytes").schemas(schemas);
/// let served = serde_json::to_value(&plan)?;
/// assert_eq!(served["schemas"]["service_instance"]["create"]["parameters"], of_this_plan);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schemas {
    /// `service_instance.create.parameters`
    pub instance_create: Option<Object>,
    /// `service_instance.update.parameters`
    pub instance_update: Option<Object>,
    /// `service_binding.create.parameters`
    pub binding_create: Option<Object>,
}

impl Schemas {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for Schemas {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Parameters<'a> {
            parameters: &'a Object,
        }
        #[derive(Serialize)]
        struct Verbs<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            create: Option<Parameters<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            update: Option<Parameters<'a>>,
        }
        #[derive(Serialize)]
        struct Nested<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            service_instance: Option<Verbs<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            service_binding: Option<Verbs<'a>>,
        }
        fn verbs<'a>(create: Option<&'a Object>, update: Option<&'a Object>) -> Option<Verbs<'a>> {
            let [create, update] = [create, update].map(|schema| schema.map(|parameters| Parameters { parameters }));
            (create.is_some() || update.is_some()).then_some(Verbs { create, update })
        }
        Nested {
            service_instance: verbs(self.instance_create.as_ref(), self.instance_update.as_ref()),
            service_binding: verbs(self.binding_create.as_ref(), None),
        }
        .serialize(serializer)
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Catalog {
    /// A catalog without offerings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an offering.
    #[must_use]
    pub fn offering(mut self, offering: Offering) -> Self {
        self.services.push(offering);
        self
    }
}

impl Offering {
    /// An offering that is not bindable, with no plans yet. Texts are checked by [`Catalog::check`].
    pub fn new(id: impl Into<String>, name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            description: description.into(),
            tags: Vec::new(),
            requires: Vec::new(),
            bindable: false,
            instances_retrievable: false,
            bindings_retrievable: false,
            allow_context_updates: false,
            metadata: Object::new(),
            dashboard_client: None,
            plan_updateable: false,
            plans: Vec::new(),
            extensions: Object::new(),
        }
    }

    /// Adds a plan.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plans.push(plan);
        self
    }

    /// Whether its instances can be bound.
    #[must_use]
    pub fn bindable(mut self, bindable: bool) -> Self {
        self.bindable = bindable;
        self
    }

    /// Whether an instance can leave its plan.
    #[must_use]
    pub fn plan_updateable(mut self, plan_updateable: bool) -> Self {
        self.plan_updateable = plan_updateable;
        self
    }

    /// Promises `GET` of instances.
    #[must_use]
    pub fn instances_retrievable(mut self, retrievable: bool) -> Self {
        self.instances_retrievable = retrievable;
        self
    }

    /// Promises `GET` of bindings.
    #[must_use]
    pub fn bindings_retrievable(mut self, retrievable: bool) -> Self {
        self.bindings_retrievable = retrievable;
        self
    }

    /// Whether an update may consist of a new context only.
    #[must_use]
    pub fn allow_context_updates(mut self, allow: bool) -> Self {
        self.allow_context_updates = allow;
        self
    }

    /// Single sign-on to the dashboard, Cloud Foundry only.
    #[must_use]
    pub fn dashboard_client(mut self, client: DashboardClient) -> Self {
        self.dashboard_client = Some(client);
        self
    }

    /// Words to find it by.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// A permission that its bindings need.
    #[must_use]
    pub fn requires(mut self, permission: Requires) -> Self {
        self.requires.push(permission);
        self
    }

    /// One member of `metadata`.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}

impl Plan {
    /// A free plan that leaves everything else to its offering.
    pub fn new(id: impl Into<String>, name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            description: description.into(),
            metadata: Object::new(),
            free: true,
            bindable: None,
            binding_rotatable: false,
            plan_updateable: None,
            schemas: Schemas::default(),
            maximum_polling_duration: None,
            maintenance_info: None,
            extensions: Object::new(),
        }
    }

    /// Whether it costs nothing.
    #[must_use]
    pub fn free(mut self, free: bool) -> Self {
        self.free = free;
        self
    }

    /// Whether its instances can be bound, whatever the offering says.
    #[must_use]
    pub fn bindable(mut self, bindable: bool) -> Self {
        self.bindable = Some(bindable);
        self
    }

    /// Whether an instance can leave it, whatever the offering says.
    #[must_use]
    pub fn plan_updateable(mut self, plan_updateable: bool) -> Self {
        self.plan_updateable = Some(plan_updateable);
        self
    }

    /// Whether bindings can be rotated.
    #[must_use]
    pub fn binding_rotatable(mut self, rotatable: bool) -> Self {
        self.binding_rotatable = rotatable;
        self
    }

    /// What parameters look like.
    #[must_use]
    pub fn schemas(mut self, schemas: Schemas) -> Self {
        self.schemas = schemas;
        self
    }

    /// How long platforms poll; parts of a second are dropped.
    #[must_use]
    pub fn maximum_polling_duration(mut self, duration: Duration) -> Self {
        self.maximum_polling_duration = Some(duration.as_secs());
        self
    }

    /// The version of what instances run.
    #[must_use]
    pub fn maintenance_version(mut self, version: impl Into<String>) -> Self {
        self.maintenance_info.get_or_insert_default().version = version.into();
        self
    }

    /// One member of `metadata`.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}

/// Whether a problem keeps a catalog from being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Against a MUST of the specification.
    Error,
    /// Served, but against a SHOULD: some platform or user will suffer from it.
    Advice,
}

/// Something to mend in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogProblem {
    /// The requirement of the specification that is not met: `OSB-SVC-01`.
    pub requirement: &'static str,
    /// Where: `services[0].plans[2].id`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for CatalogProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.what, self.mend)
    }
}

/// A plan with its offering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanRef<'a> {
    /// The offering.
    pub offering: &'a Offering,
    /// The plan.
    pub plan: &'a Plan,
}

impl PlanRef<'_> {
    /// Whether instances of the plan can be bound (OSB-PLAN-06).
    pub fn bindable(self) -> bool {
        self.plan.bindable.unwrap_or(self.offering.bindable)
    }

    /// Whether instances can leave the plan (OSB-PLAN-08).
    pub fn plan_updateable(self) -> bool {
        self.plan.plan_updateable.unwrap_or(self.offering.plan_updateable)
    }

    /// `maintenance_info.version`.
    pub fn maintenance_version(&self) -> Option<&str> {
        self.plan.maintenance_info.as_ref().map(|info| info.version.as_str())
    }
}

/// A catalog without errors, with its plans by id.
#[derive(Clone, Debug)]
pub struct CheckedCatalog {
    catalog: Catalog,
    index: HashMap<OfferingId, IndexedOffering>,
    advice: Vec<CatalogProblem>,
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
struct IndexedOffering {
    position: usize,
    plans: HashMap<PlanId, usize>,
}

impl CheckedCatalog {
    /// The catalog as it is served: each plan's `bindable` and `plan_updateable` are filled in.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The offering of that id.
    pub fn offering(&self, id: &OfferingId) -> Option<&Offering> {
        self.catalog.services.get(self.index.get(id)?.position)
    }

    /// The plan of that id, if it belongs to that offering.
    pub fn plan(&self, offering: &OfferingId, plan: &PlanId) -> Option<PlanRef<'_>> {
        let indexed = self.index.get(offering)?;
        let offering = self.catalog.services.get(indexed.position)?;
        Some(PlanRef {
            offering,
            plan: offering.plans.get(*indexed.plans.get(plan)?)?,
        })
    }

    /// All plans, in the order of the catalog.
    pub fn plans(&self) -> impl Iterator<Item = PlanRef<'_>> {
        self.catalog
            .services
            .iter()
            .flat_map(|offering| offering.plans.iter().map(move |plan| PlanRef { offering, plan }))
    }

    /// What could be better.
    pub fn advice(&self) -> &[CatalogProblem] {
        &self.advice
    }

    /// The body of `GET /v2/catalog`.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests;
