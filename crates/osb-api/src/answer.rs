//! What a broker answers, route by route: each enum holds exactly the successes that the route has.

use serde::{Deserialize, Serialize};

use crate::Object;
use crate::id::{OfferingId, OperationId, PlanId};
use crate::request::MaintenanceVersion;

/// `metadata` of an instance (OSB-META-01, -02).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{Object, answer::*}; }
/// use osb_sdk::{InstanceMetadata, Object};
///
/// let metadata = InstanceMetadata {
///     labels: Object::from_iter([("team".to_owned(), "blue".into())]),
///     ..InstanceMetadata::default()
/// };
/// assert_eq!(serde_json::to_value(&metadata)?, serde_json::json!({"labels": {"team": "blue"}}));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceMetadata {
    /// User-facing attributes.
    #[serde(
        default,
        deserialize_with = "absent_or_null",
        skip_serializing_if = "Object::is_empty"
    )]
    pub labels: Object,
    /// Attributes with a meaning for the platform.
    #[serde(
        default,
        deserialize_with = "absent_or_null",
        skip_serializing_if = "Object::is_empty"
    )]
    pub attributes: Object,
}

/// Some brokers write `null` for what they do not have.
fn absent_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The body of a successful provision (OSB-PROV-17, -19).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceBody {
    /// Where the user manages the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// Labels and attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<InstanceMetadata>,
}

/// The body of a fetched instance (OSB-GETI-03): all members are optional, none is `null`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceDetails {
    /// The current offering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<OfferingId>,
    /// The current plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// Where the user manages the instance, if the provision or an update told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// The current parameters; secret ones may be left out (OSB-GETI-06).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Object>,
    /// The version that the instance really runs (OSB-GETI-08).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceVersion>,
    /// Labels and attributes, the complete set (OSB-META-03).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<InstanceMetadata>,
}

impl std::fmt::Debug for InstanceDetails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("InstanceDetails");
        debug
            .field("service_id", &self.service_id)
            .field("plan_id", &self.plan_id)
            .finish_non_exhaustive()
    }
}

/// The answer to an update.
#[derive(Clone, Debug, PartialEq)]
pub enum Updated {
    /// 200: applied, or there was nothing to change (OSB-UPD-10, OSB-UPD-20).
    Done(InstanceBody),
    /// 202: it is being applied (OSB-UPD-11).
    Accepted(OperationId, InstanceBody),
}

/// The answer to a provision.
#[derive(Clone, Debug, PartialEq)]
pub enum Provisioned {
    /// 201: created by this request, complete (OSB-PROV-10).
    Created(InstanceBody),
    /// 200: it was there already, complete and with the same attributes (OSB-PROV-14).
    Exists(InstanceBody),
    /// 202: it is being provisioned (OSB-PROV-13).
    Accepted(OperationId, InstanceBody),
}

/// The answer to a deprovision or an unbind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// 200 with `{}`: removed by this request (OSB-DEP-03, OSB-UNB-03).
    Done,
    /// 202: it is being removed (OSB-DEP-04, OSB-UNB-04).
    Accepted(OperationId),
}

/// A volume to mount (OSB-BIND-25, -26).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{Object, answer::*}; }
/// use osb_sdk::{Device, DeviceType, Object, VolumeMode, VolumeMount};
///
/// let mount = VolumeMount {
///     driver: "nfsv3driver".to_owned(),
///     container_dir: "/data".to_owned(),
///     mode: VolumeMode::ReadWrite,
///     device_type: DeviceType::Shared,
///     device: Device {
///         volume_id: "vol_1".to_owned(),
///         mount_config: Some(Object::from_iter([("source".to_owned(), "nfs://nfs.example.com/vol_1".into())])),
///     },
/// };
/// assert_eq!(serde_json::to_value(&mount)?["device"]["volume_id"], "vol_1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The name of the volume driver.
    pub driver: String,
    /// The path in the container.
    pub container_dir: String,
    /// Read only, or read and write.
    pub mode: VolumeMode,
    /// Always shared.
    pub device_type: DeviceType,
    /// The device.
    pub device: Device,
}

/// `mode` of a volume mount.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{answer::*}; }
/// use osb_sdk::VolumeMode;
///
/// let read_only = true;
/// let mode = if read_only { VolumeMode::Read } else { VolumeMode::ReadWrite };
/// assert_eq!(serde_json::to_value(mode)?, "r");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeMode {
    /// `r`
    #[serde(rename = "r")]
    Read,
    /// `rw`
    #[serde(rename = "rw")]
    ReadWrite,
}

/// `device_type` of a volume mount.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{answer::*}; }
/// assert_eq!(serde_json::to_value(osb_sdk::DeviceType::Shared)?, "shared");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceType {
    /// The only type there is.
    Shared,
}

/// `device` of a volume mount.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{answer::*}; }
/// use osb_sdk::Device;
///
/// let device = Device { volume_id: "vol_1".to_owned(), mount_config: None };
/// assert_eq!(serde_json::to_value(&device)?, serde_json::json!({"volume_id": "vol_1"}));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The volume.
    pub volume_id: String,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_config: Option<Object>,
}

/// A network endpoint of the service (OSB-BIND-28).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{answer::*}; }
/// use osb_sdk::{Endpoint, Protocol};
///
/// let endpoint = Endpoint {
///     host: "db.example.com".to_owned(),
///     ports: vec!["5432".to_owned(), "9000-9010".to_owned()],
///     protocol: Some(Protocol::Tcp),
/// };
/// assert_eq!(serde_json::to_value(&endpoint)?["protocol"], "tcp");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// A host name or one IP address.
    pub host: String,
    /// Ports and ranges: `"443"`, `"9000-9010"`; at least one.
    pub ports: Vec<String>,
    /// `tcp` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// `protocol` of an endpoint.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{answer::*}; }
/// assert_eq!(serde_json::to_value(osb_sdk::Protocol::All)?, "all");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Both.
    All,
}

/// `metadata` of a binding: when it ends (OSB-BIND-29, -30). Times are `yyyy-mm-ddThh:mm:ss.sZ`.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{answer::*}; }
/// use osb_sdk::BindingMetadata;
///
/// // As a platform, or a test, reads it.
/// let metadata: BindingMetadata = serde_json::from_str(r#"{"expires_at": "2026-12-31T00:00:00.0Z"}"#)?;
/// assert_eq!(metadata.expires_at.as_deref(), Some("2026-12-31T00:00:00.0Z"));
/// assert_eq!(metadata.renew_before, None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingMetadata {
    /// From then on the binding is not valid any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Until then it is to be renewed; not after `expires_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<String>,
}

/// The body of a complete binding (OSB-BIND-21 to -30).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BindingBody {
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BindingMetadata>,
    /// How the application logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Object>,
    /// Where the application's logs go; needs `requires: [syslog_drain]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
    /// Where the platform proxies requests through; needs `requires: [route_forwarding]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_service_url: Option<String>,
    /// Needs `requires: [volume_mount]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_mounts: Option<Vec<VolumeMount>>,
    /// All relevant hosts and ports, when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
}

impl std::fmt::Debug for BindingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BindingBody")
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// The body of a fetched binding: the binding and its parameters (OSB-GETB-03).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BindingDetails {
    /// The binding, credentials included.
    #[serde(flatten)]
    pub body: BindingBody,
    /// Its parameters; secret ones may be left out (OSB-GETB-05).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Object>,
}

impl std::fmt::Debug for BindingDetails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BindingDetails")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The answer to a bind. A 202 cannot carry binding information (OSB-BIND-11).
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// 201: created by this request, complete (OSB-BIND-09).
    Created(BindingBody),
    /// 200: it was there already, complete and with the same attributes (OSB-BIND-12).
    Exists(BindingBody),
    /// 202: it is being created (OSB-BIND-10).
    Accepted(OperationId),
}

/// `state` of a poll (OSB-LOI-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Still running.
    #[serde(rename = "in progress")]
    InProgress,
    /// Done.
    #[serde(rename = "succeeded")]
    Succeeded,
    /// Given up.
    #[serde(rename = "failed")]
    Failed,
}

/// The body of a poll (OSB-LOI-04 to -09).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOperation {
    /// How far it is.
    pub state: State,
    /// Non-empty, for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only with a failed update or deprovision (OSB-LOI-09).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_usable: Option<bool>,
    /// Only with a failed update (OSB-LOI-09).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_repeatable: Option<bool>,
}

/// The answer to a poll: the body and when to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The body.
    pub body: LastOperation,
    /// `Retry-After`, in seconds (OSB-LOI-10).
    pub retry_after_secs: Option<u32>,
}

impl Polled {
    /// The answer to a poll of a binding, which has only a state and a description (OSB-LOB-03).
    #[must_use]
    pub fn of_binding(mut self) -> Self {
        self.body.instance_usable = None;
        self.body.update_repeatable = None;
        self
    }
}

/// The successes of a route: a status code and a JSON object.
pub trait Answer {
    /// 200, 201 or 202.
    fn status(&self) -> u16;
    /// The body: always a JSON object.
    fn body(&self) -> Vec<u8>;
    /// `Retry-After`, in seconds; only polls have one.
    fn retry_after_secs(&self) -> Option<u32> {
        None
    }
}

/// The body of a 202.
#[derive(Serialize)]
struct AcceptedBody<'a, T> {
    operation: &'a OperationId,
    #[serde(flatten)]
    body: T,
}

/// What a 202 carries beside the operation on routes that allow nothing else.
#[derive(Serialize)]
struct Nothing {}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("string keys and plain values always serialise")
}

impl Answer for Provisioned {
    fn status(&self) -> u16 {
        match self {
            Self::Created(_) => 201,
            Self::Exists(_) => 200,
            Self::Accepted(..) => 202,
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Created(body) | Self::Exists(body) => json(body),
            Self::Accepted(operation, body) => json(&AcceptedBody { operation, body }),
        }
    }
}

impl Answer for Updated {
    fn status(&self) -> u16 {
        match self {
            Self::Done(_) => 200,
            Self::Accepted(..) => 202,
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Done(body) => json(body),
            Self::Accepted(operation, body) => json(&AcceptedBody { operation, body }),
        }
    }
}

impl Answer for InstanceDetails {
    fn status(&self) -> u16 {
        200
    }

    fn body(&self) -> Vec<u8> {
        json(self)
    }
}

impl Answer for BindingDetails {
    fn status(&self) -> u16 {
        200
    }

    fn body(&self) -> Vec<u8> {
        json(self)
    }
}

impl Answer for Removed {
    fn status(&self) -> u16 {
        match self {
            Self::Done => 200,
            Self::Accepted(_) => 202,
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Done => b"{}".to_vec(),
            Self::Accepted(operation) => json(&AcceptedBody {
                operation,
                body: Nothing {},
            }),
        }
    }
}

impl Answer for Bound {
    fn status(&self) -> u16 {
        match self {
            Self::Created(_) => 201,
            Self::Exists(_) => 200,
            Self::Accepted(_) => 202,
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Created(body) | Self::Exists(body) => json(body),
            Self::Accepted(operation) => json(&AcceptedBody {
                operation,
                body: Nothing {},
            }),
        }
    }
}

impl Answer for Polled {
    fn status(&self) -> u16 {
        200
    }

    /// Without what the state forbids, whoever has set it (OSB-LOI-08, OSB-LOI-09).
    fn body(&self) -> Vec<u8> {
        let failed = self.body.state == State::Failed;
        json(&LastOperation {
            state: self.body.state,
            description: self.body.description.clone().filter(|text| !text.is_empty()),
            instance_usable: self.body.instance_usable.filter(|_| failed),
            update_repeatable: self.body.update_repeatable.filter(|_| failed),
        })
    }

    fn retry_after_secs(&self) -> Option<u32> {
        self.retry_after_secs
    }
}

#[cfg(test)]
mod tests;
