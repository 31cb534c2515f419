//! Names that others rely on: the API group, annotations, labels, the finalizer, types and reasons of conditions.

/// The API group.
pub const GROUP: &str = "template.openshift.io";

/// The version of the API.
pub const VERSION: &str = "v1";

/// Group and version, as `apiVersion` has them.
pub const API_VERSION: &str = "template.openshift.io/v1";

/// Stands on every object that a TemplateInstance made; the value is the uid of the instance.
pub const OWNER_LABEL: &str = "template.openshift.io/template-instance-owner";

/// Keeps a TemplateInstance until its objects are gone.
pub const FINALIZER: &str = "template.openshift.io/finalizer";

/// Whoever offers templates as services writes the id of the instance on its platform here.
pub const EXTERNAL_ID: &str = "openservicebroker.openshift.io/instance-external-id";

/// On an object of a template, `true`: the instance is not ready before the object is.
pub const WAIT_FOR_READY: &str = "template.alpha.openshift.io/wait-for-ready";

/// On an object of a template: a JSONPath template and what it has to yield for the object to be ready, as
/// `{.status.phase}=Running`. Instead of what the controller knows of the kind.
pub const READY_WHEN: &str = "template.osb.internal/ready-when";

/// On a TemplateInstance, a template or an object of one: how long to wait, as `90s`, `10m` or `2h`.
pub const TIMEOUT: &str = "template.osb.internal/timeout";

/// On an object of a template, `retain`: it stays when the instance goes, and when a newer template has it no more.
pub const ON_DELETE: &str = "template.osb.internal/on-delete";

/// On a TemplateInstance, `true`: its deletion does not wait for objects that cannot be removed. They stay.
pub const ABANDON: &str = "template.osb.internal/abandon";

/// The manager of the fields that the controller writes.
pub const FIELD_MANAGER: &str = "template-controller";

/// Types of conditions of a TemplateInstance.
pub mod condition {
    /// Whether all objects are there, and ready where that is waited for.
    pub const READY: &str = "Ready";
    /// `True` when it has failed for good.
    pub const INSTANTIATE_FAILURE: &str = "InstantiateFailure";
}

/// Reasons of conditions of a TemplateInstance.
pub mod reason {
    /// Objects are made, or are not ready yet.
    pub const WAITING: &str = "Waiting";
    /// Everything is there.
    pub const CREATED: &str = "Created";
    /// It has failed.
    pub const FAILED: &str = "Failed";
}

/// What the condition Ready says while it is waited.
pub const WAITING_MESSAGE: &str = "Waiting for instantiated objects to report ready";

/// What the condition Ready says after a failure.
pub const FAILED_MESSAGE: &str = "See InstantiateFailure condition for error message";
