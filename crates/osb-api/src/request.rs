//! What a platform sends. Unknown members are ignored (OSB-GEN-01), `null` counts as absent (Amb-29).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Object;
use crate::context::Context;
use crate::id::{BindingId, OfferingId, OperationId, PlanId};
use crate::json::{BodyError, Members};

/// `accepts_incomplete`: whether the platform takes a 202 (OSB-ASY-03, OSB-ASY-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Incomplete {
    /// The platform will poll: a 202 is welcome.
    Accepted,
    /// The platform needs the outcome with the answer.
    #[default]
    Refused,
}

/// What to do with a provision that leaves out `organization_guid` or `space_guid` (Amb-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MissingOrganization {
    /// 400, as the specification has it.
    #[default]
    Refuse,
    /// The member of that name in `context`, else the empty string: some platforms have neither.
    FromContext,
}

/// `maintenance_info` of a request: only the version counts (OSB-MNT-03).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{request::*}; }
/// use osb_sdk::MaintenanceVersion;
///
/// let wanted: MaintenanceVersion = serde_json::from_str(r#"{"version": "1.2.0"}"#)?;
/// assert_eq!(wanted.version, "1.2.0");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceVersion {
    /// Compared as an exact string (OSB-MNT-04).
    pub version: String,
}

/// The body of `PUT /v2/service_instances/:instance_id` (OSB-PROV-01 to -07).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{request::*}; }
/// use osb_sdk::ProvisionRequest;
/// use serde_json::json;
///
/// /// Who pays: a part of a hook for `Broker::validate`.
/// fn cost_centre(request: &ProvisionRequest) -> Option<&str> {
///     request.context.as_ref()?.object("namespace_annotations")?.get("example.com/cost-centre")?.as_str()
/// }
///
/// let request: ProvisionRequest = serde_json::from_value(json!({
///     "service_id": "1f7d", "plan_id": "5a0d", "organization_guid": "o", "space_guid": "s",
///     "context": {"platform": "kubernetes", "namespace_annotations": {"example.com/cost-centre": "4711"}},
/// }))?;
/// assert_eq!(cost_centre(&request), Some("4711"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
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

impl ProvisionRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`] with the member that is missing or wrong.
    pub fn from_json(bytes: &[u8], missing: MissingOrganization) -> Result<Self, BodyError> {
        let mut body = Members::read(bytes)?;
        let context = body.object("context")?.map(Context);
        Ok(Self {
            service_id: body.required("service_id", Members::id)?,
            plan_id: body.required("plan_id", Members::id)?,
            organization_guid: organization(&mut body, "organization_guid", context.as_ref(), missing)?,
            space_guid: organization(&mut body, "space_guid", context.as_ref(), missing)?,
            context,
            parameters: body.object("parameters")?,
            maintenance_info: maintenance_info(&mut body)?,
        })
    }
}

fn organization(
    body: &mut Members,
    name: &'static str,
    context: Option<&Context>,
    missing: MissingOrganization,
) -> Result<String, BodyError> {
    match missing {
        MissingOrganization::Refuse => body.required(name, Members::text),
        MissingOrganization::FromContext => {
            let own = body.string(name)?.filter(|text| !text.is_empty());
            Ok(own
                .or_else(|| Some(context?.text(name)?.to_owned()))
                .unwrap_or_default())
        }
    }
}

fn maintenance_info(body: &mut Members) -> Result<Option<MaintenanceVersion>, BodyError> {
    let Some(mut info) = body.members("maintenance_info")? else {
        return Ok(None);
    };
    Ok(Some(MaintenanceVersion {
        version: info.required("version", Members::text)?,
    }))
}

/// `bind_resource` (OSB-BIND-05, OSB-PROF-05).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{request::*}; }
/// use osb_sdk::BindResource;
///
/// let of_a_route: BindResource = serde_json::from_str(r#"{"route": "shop.example.com"}"#)?;
/// assert_eq!(of_a_route.route.as_deref(), Some("shop.example.com"));
/// let of_an_application: BindResource = serde_json::from_str(r#"{"app_guid": "a1", "space_guid": "s1"}"#)?;
/// assert_eq!(of_an_application.app_guid.as_deref(), Some("a1"));
/// assert_eq!(of_an_application.other["space_guid"], "s1");
/// # Ok::<(), serde_json::Error>(())
/// ```
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
///
/// ```
/// # mod osb_sdk { pub use osb_api::{request::*}; }
/// use osb_sdk::BindRequest;
/// use serde_json::json;
///
/// let request: BindRequest = serde_json::from_value(json!({
///     "service_id": "1f7d", "plan_id": "5a0d", "bind_resource": {"app_guid": "a1"}, "parameters": {"valid_days": 30},
/// }))?;
/// assert_eq!(request.app_guid(), Some("a1"));
/// assert!(request.predecessor_binding_id.is_none(), "it is no rotation");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
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
    /// Reads a request's body and checks it.
    ///
    /// # Errors
    /// [`BodyError`] with the member that is missing or wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Members::read(bytes)?;
        let request = Self {
            service_id: body.id("service_id")?,
            plan_id: body.id("plan_id")?,
            context: body.object("context")?.map(Context),
            app_guid: body.text("app_guid")?,
            bind_resource: bind_resource(&mut body)?,
            parameters: body.object("parameters")?,
            predecessor_binding_id: body.id("predecessor_binding_id")?,
        };
        request.check()?;
        Ok(request)
    }

    /// A plain bind needs `service_id` and `plan_id`; a rotation takes them from its predecessor (OSB-ROT-03, Amb-16).
    ///
    /// # Errors
    /// [`BodyError::Missing`].
    pub fn check(&self) -> Result<(), BodyError> {
        let missing = match self {
            Self {
                predecessor_binding_id: Some(_),
                ..
            } => return Ok(()),
            Self { service_id: None, .. } => "service_id",
            Self { plan_id: None, .. } => "plan_id",
            _ => return Ok(()),
        };
        Err(BodyError::Missing {
            path: missing.to_owned(),
        })
    }

    /// The application, wherever the platform has put it (OSB-BIND-04).
    pub fn app_guid(&self) -> Option<&str> {
        self.bind_resource
            .as_ref()
            .and_then(|resource| resource.app_guid.as_deref())
            .or(self.app_guid.as_deref())
    }
}

fn bind_resource(body: &mut Members) -> Result<Option<BindResource>, BodyError> {
    let Some(mut resource) = body.members("bind_resource")? else {
        return Ok(None);
    };
    Ok(Some(BindResource {
        app_guid: resource.text("app_guid")?,
        route: resource.string("route")?,
        other: resource.into_object(),
    }))
}

/// `previous_values` of an update: information only, any subset (OSB-UPD-05).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{request::*}; }
/// use osb_sdk::PreviousValues;
///
/// let before: PreviousValues = serde_json::from_str(r#"{"plan_id": "5a0d"}"#)?;
/// assert_eq!(before.plan_id.as_ref().map(|plan| plan.as_str()), Some("5a0d"));
/// # Ok::<(), serde_json::Error>(())
/// ```
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
///
/// ```
/// # mod osb_sdk { pub use osb_api::{request::*}; }
/// use osb_sdk::UpdateRequest;
/// use serde_json::json;
///
/// let request: UpdateRequest = serde_json::from_value(json!({
///     "service_id": "1f7d", "plan_id": "5a0e", "maintenance_info": {"version": "1.2.0"},
/// }))?;
/// assert!(request.parameters.is_none(), "they stay as they are");
/// assert_eq!(request.maintenance_info.map(|info| info.version).as_deref(), Some("1.2.0"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
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

impl UpdateRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`] with the member that is missing or wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Members::read(bytes)?;
        Ok(Self {
            service_id: body.required("service_id", Members::id)?,
            plan_id: body.id("plan_id")?,
            parameters: body.object("parameters")?,
            context: body.object("context")?.map(Context),
            previous_values: body.members("previous_values")?.map(previous_values),
            maintenance_info: maintenance_info(&mut body)?,
        })
    }
}

/// Information only: what cannot be read is left out (OSB-UPD-05).
fn previous_values(mut values: Members) -> PreviousValues {
    PreviousValues {
        plan_id: values.id("plan_id").unwrap_or_default(),
        maintenance_info: maintenance_info(&mut values).unwrap_or_default(),
    }
}

/// Requests print what they are about, not what was sent: parameters may be secret.
macro_rules! debug_without_parameters {
    ($($type:ident($($shown:ident),+);)+) => {
        $(impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($type));
                $(debug.field(stringify!($shown), &self.$shown);)+
                debug.finish_non_exhaustive()
            }
        })+
    };
}

debug_without_parameters! {
    ProvisionRequest(service_id, plan_id, organization_guid, space_guid, maintenance_info);
    BindRequest(service_id, plan_id, predecessor_binding_id);
    UpdateRequest(service_id, plan_id, maintenance_info);
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

/// The query of a fetch: hints that may be missing (OSB-GETI-02, OSB-GETB-05).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchQuery {
    /// The offering.
    pub service_id: Option<OfferingId>,
    /// The plan.
    pub plan_id: Option<PlanId>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PROVISION: &str = r#"{"service_id":"s","plan_id":"p","organization_guid":"o","space_guid":"g"}"#;

    fn provision(value: &Value) -> Result<ProvisionRequest, BodyError> {
        ProvisionRequest::from_json(value.to_string().as_bytes(), MissingOrganization::Refuse)
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body: Value = serde_json::from_str(PROVISION).unwrap();
        body[name] = value;
        body
    }

    /// OSB-PROV-01 to -04, OSB-PROV-09.
    #[test]
    fn each_required_member_of_a_provision_is_demanded_by_name() {
        for name in ["service_id", "plan_id", "organization_guid", "space_guid"] {
            for (value, message) in [
                (Value::Null, format!("`{name}` is required")),
                (json!(""), format!("`{name}` must not be empty")),
                (json!(7), format!("`{name}` has to be a string")),
            ] {
                assert_eq!(provision(&with(name, value)).unwrap_err().to_string(), message);
            }
        }
    }

    /// OSB-PROV-05 to -07, OSB-PROV-09.
    #[test]
    fn optional_members_of_a_provision_have_types() {
        for (name, value, message) in [
            ("context", json!([]), "`context` has to be an object"),
            ("parameters", json!("hunter2"), "`parameters` has to be an object"),
            (
                "maintenance_info",
                json!("1.0.0"),
                "`maintenance_info` has to be an object",
            ),
            ("maintenance_info", json!({}), "`maintenance_info.version` is required"),
            (
                "maintenance_info",
                json!({ "version": 1 }),
                "`maintenance_info.version` has to be a string",
            ),
        ] {
            assert_eq!(provision(&with(name, value)).unwrap_err().to_string(), message);
        }
    }

    /// OSB-GEN-01, Amb-29, OSB-MNT-03.
    #[test]
    fn unknown_members_are_ignored_and_null_is_absent() {
        let plain = provision(&serde_json::from_str(PROVISION).unwrap()).unwrap();
        for name in ["x", "context", "parameters", "maintenance_info"] {
            assert_eq!(provision(&with(name, Value::Null)).unwrap(), plain);
        }
        assert_eq!(provision(&with("x", json!({ "y": [1] }))).unwrap(), plain);
        let info = with("maintenance_info", json!({ "version": "1.0.0", "description": 7 }));
        assert_eq!(
            provision(&info).unwrap().maintenance_info,
            Some(MaintenanceVersion {
                version: "1.0.0".to_owned()
            })
        );
    }

    /// Amb-8.
    #[test]
    fn a_lenient_reader_takes_the_organization_from_the_context() {
        let body = json!({ "service_id": "s", "plan_id": "p", "context": { "organization_guid": "o" } });
        let request =
            ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::FromContext).unwrap();
        assert_eq!(
            (request.organization_guid.as_str(), request.space_guid.as_str()),
            ("o", "")
        );
        assert!(provision(&body).is_err());
    }

    /// OSB-BIND-01, -02, -04, -05, -07, OSB-ROT-03.
    #[test]
    fn a_bind_needs_its_plan_unless_it_is_a_rotation() {
        let read = |value: Value| BindRequest::from_json(value.to_string().as_bytes());
        assert_eq!(read(json!({})).unwrap_err().to_string(), "`service_id` is required");
        assert_eq!(
            read(json!({ "service_id": "s" })).unwrap_err().to_string(),
            "`plan_id` is required"
        );
        assert!(read(json!({ "predecessor_binding_id": "b" })).is_ok());
        assert!(read(json!({ "predecessor_binding_id": "" })).is_err());
        assert!(read(json!({ "service_id": "s", "plan_id": "p", "bind_resource": "x" })).is_err());
        let bind = read(json!({ "service_id": "s", "plan_id": "p", "app_guid": "old", "bind_resource": { "app_guid": null, "space_guid": "g" } })).unwrap();
        assert_eq!(bind.app_guid(), Some("old"));
        assert_eq!(bind.bind_resource.unwrap().other["space_guid"], "g");
        let bind = read(
            json!({ "service_id": "s", "plan_id": "p", "app_guid": "old", "bind_resource": { "app_guid": "new" } }),
        )
        .unwrap();
        assert_eq!(bind.app_guid(), Some("new"));
    }

    /// OSB-BIND-03, OSB-BIND-05, OSB-PROF-05: the application of Cloud Foundry, its service keys, and no application.
    #[test]
    fn what_is_bound_is_read_in_every_form() {
        let read = |more: Value| {
            let mut body = json!({ "service_id": "s", "plan_id": "p" });
            body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            BindRequest::from_json(body.to_string().as_bytes()).unwrap()
        };
        let app = read(json!({ "bind_resource": { "app_guid": "a", "space_guid": "g", "app_annotations": {} } }));
        assert_eq!(app.app_guid(), Some("a"));
        assert_eq!(app.bind_resource.unwrap().other["space_guid"], "g");
        let key = read(json!({ "bind_resource": { "credential_client_id": "c" } }));
        assert_eq!(key.app_guid(), None);
        assert_eq!(key.bind_resource.unwrap().other["credential_client_id"], "c");
        let route = read(json!({ "bind_resource": { "route": "r.example.com" } }));
        assert_eq!(route.bind_resource.unwrap().route.as_deref(), Some("r.example.com"));
        assert!(read(json!({})).context.is_none());
        assert!(read(json!({ "context": { "platform": "new" } })).context.is_some());
    }

    /// OSB-UPD-01 to -06.
    #[test]
    fn previous_values_never_make_an_update_fail() {
        let read = |value: Value| UpdateRequest::from_json(value.to_string().as_bytes());
        for previous in [
            json!(null),
            json!({}),
            json!({ "maintenance_info": null }),
            json!({ "plan_id": 7, "maintenance_info": {} }),
        ] {
            assert!(read(json!({ "service_id": "s", "previous_values": previous })).is_ok());
        }
        assert_eq!(
            read(json!({ "plan_id": "p" })).unwrap_err().to_string(),
            "`service_id` is required"
        );
        assert_eq!(
            read(json!({ "service_id": "s", "plan_id": {} }))
                .unwrap_err()
                .to_string(),
            "`plan_id` has to be a string"
        );
    }

    #[test]
    fn parameters_are_not_printed() {
        let body = json!({ "service_id": "s", "plan_id": "p", "organization_guid": "o", "space_guid": "g", "parameters": { "password": "hunter2" } });
        let json = body.to_string().into_bytes();
        let printed = format!(
            "{:?} {:?} {:?}",
            provision(&body),
            BindRequest::from_json(&json),
            UpdateRequest::from_json(&json)
        );
        assert!(
            !printed.contains("hunter2") && printed.matches("OfferingId(\"s\")").count() == 3,
            "{printed}"
        );
    }

    proptest! {
        #[test]
        fn a_provision_survives_the_wire(
            ids in prop::array::uniform4("\\PC{1,20}"),
            parameters in prop::option::of(prop::collection::btree_map("\\PC*", any::<i32>(), 0..4)),
            version in prop::option::of("\\PC{1,9}"),
        ) {
            let [service, plan, organization_guid, space_guid] = ids;
            let request = ProvisionRequest {
                service_id: OfferingId::new(service).unwrap(),
                plan_id: PlanId::new(plan).unwrap(),
                organization_guid,
                space_guid,
                context: None,
                parameters: parameters.map(|map| map.into_iter().map(|(name, value)| (name, value.into())).collect()),
                maintenance_info: version.map(|version| MaintenanceVersion { version }),
            };
            let json = serde_json::to_vec(&request).unwrap();
            prop_assert_eq!(ProvisionRequest::from_json(&json, MissingOrganization::Refuse).unwrap(), request);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = ProvisionRequest::from_json(&bytes, MissingOrganization::FromContext);
            let _ = BindRequest::from_json(&bytes);
            let _ = UpdateRequest::from_json(&bytes);
        }
    }
}
