//! Names of annotations on a Template that the catalog is made of.

/// What users call it.
pub const DISPLAY_NAME: &str = "openshift.io/display-name";
/// One line for users.
pub const DESCRIPTION: &str = "description";
/// More than one line.
pub const LONG_DESCRIPTION: &str = "openshift.io/long-description";
/// Words to find it by, separated by commas.
pub const TAGS: &str = "tags";
/// The icon in the web console of OpenShift.
pub const ICON_CLASS: &str = "iconClass";
/// Who offers it.
pub const PROVIDER: &str = "openshift.io/provider-display-name";
/// Where it is described.
pub const DOCUMENTATION: &str = "openshift.io/documentation-url";
/// Where help is found.
pub const SUPPORT: &str = "openshift.io/support-url";

/// The id of the service; without it one is derived from namespace and name. A UUID is best.
pub const SERVICE_ID: &str = "template.osb.internal/service-id";
/// The name of the service instead of the template's.
pub const SERVICE_NAME: &str = "template.osb.internal/service-name";
/// The address of an image for marketplaces.
pub const IMAGE: &str = "template.osb.internal/image-url";
/// The plans, YAML or JSON: see [`crate::plans`].
pub const PLANS: &str = "template.osb.internal/plans";
/// Types of parameters, YAML or JSON: see [`crate::parameters`].
pub const PARAMETERS: &str = "template.osb.internal/parameters";
/// A template whose objects are made for each binding, YAML or JSON: see [`crate::binding`].
pub const BINDING_TEMPLATE: &str = "template.osb.internal/binding-template";
/// A template whose objects are made before those of a binding are removed: see [`crate::binding`].
pub const UNBINDING_TEMPLATE: &str = "template.osb.internal/unbinding-template";
/// The semantic version of the template: instances of an older one can be upgraded.
pub const VERSION: &str = "template.osb.internal/version";
/// So long platforms poll for an operation, in seconds.
pub const MAXIMUM_POLLING: &str = "template.osb.internal/maximum-polling-duration";
