//! What a platform sends. Unknown members are ignored (OSB-GEN-01), `null` counts as absent (Amb-29).

use serde::{Deserialize, Serialize};

use crate::Object;
use crate::context::Context;
use crate::id::{BindingId, OfferingId, OperationId, PlanId};

/// `accepts_incomplete`: whether the platform takes a 202 (OSB-ASY-03, OSB-ASY-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Incomplete {
    /// The platform will poll: a 202 is welcome.
    Accepted,
    /// The platform needs the outcome with the answer.
    #[default]
    Refused,
}

/// `maintenance_info` of a request: only the version counts (OSB-MNT-03).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceVersion {
    /// Compared as an exact string (OSB-MNT-04).
    pub version: String,
}

/// The body of `PUT /v2/service_instances/:instance_id` (OSB-PROV-01 to -07).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProvisionRequest {
    /// An offering of the catalog.
    pub service_id: OfferingId,
    /// A plan of that offering.
    pub plan_id: PlanId,
    /// Deprecated, required, non-empty (OSB-PROV-03, Amb-8).
    pub organization_guid: String,
    /// Deprecated, required, non-empty (OSB-PROV-04).
    pub space_guid: String,
    /// What the platform tells of where the instance lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Absent, `null` and `{}` are the same thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Object>,
    /// The maintenance version that the platform has in its catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceVersion>,
}

/// `bind_resource` (OSB-BIND-05, OSB-PROF-05).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BindResource {
    /// The application that will use the binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_guid: Option<String>,
    /// The routed address, for route services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Members of the platform's own (`space_guid`, `credential_client_id`, …).
    #[serde(flatten)]
    pub other: Object,
}

/// The body of `PUT …/service_bindings/:binding_id` (OSB-BIND-01 to -07).
///
/// `service_id` and `plan_id` are optional here because a rotation may leave them out (OSB-ROT-03); a plain bind
/// without them is refused by [`BindRequest::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindRequest {
    /// The offering of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<OfferingId>,
    /// The plan of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// What the platform tells of where the binding lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Deprecated; [`BindRequest::app_guid`] looks at `bind_resource` first (OSB-BIND-04).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_guid: Option<String>,
    /// What the binding is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_resource: Option<BindResource>,
    /// Absent, `null` and `{}` are the same thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Object>,
    /// The binding that this one is to replace (OSB-BIND-07).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor_binding_id: Option<BindingId>,
}

impl BindRequest {
    /// The application, wherever the platform has put it (OSB-BIND-04).
    pub fn app_guid(&self) -> Option<&str> {
        self.bind_resource.as_ref().and_then(|resource| resource.app_guid.as_deref()).or(self.app_guid.as_deref())
    }
}

/// `previous_values` of an update: information only, any subset (OSB-UPD-05).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreviousValues {
    /// The plan before the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The maintenance version before the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceVersion>,
}

/// The body of `PATCH /v2/service_instances/:instance_id` (OSB-UPD-01 to -06).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// The offering of the instance.
    pub service_id: OfferingId,
    /// The plan to change to; absent or the current one: no change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// Absent, `null` and `{}` change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Object>,
    /// New contextual data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Information only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_values: Option<PreviousValues>,
    /// Requests maintenance to that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceVersion>,
}

/// The query of deprovision and unbind: both are required (OSB-DEP-01, OSB-UNB-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovalQuery {
    /// The offering of the instance or binding.
    pub service_id: OfferingId,
    /// Its plan.
    pub plan_id: PlanId,
}

/// The query of a poll: all hints but `operation` (OSB-LOI-01).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollQuery {
    /// The offering.
    pub service_id: Option<OfferingId>,
    /// The plan, after an update perhaps the one from before it (OSB-LOI-03).
    pub plan_id: Option<PlanId>,
    /// As it was given out with the 202.
    pub operation: Option<OperationId>,
}
