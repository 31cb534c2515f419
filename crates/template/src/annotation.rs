//! Names of annotations.

/// On a template: `false` when its instances cannot be bound.
pub const BINDABLE: &str = "template.openshift.io/bindable";

/// On an object, followed by the name of a credential: a JSONPath template of its value.
pub const EXPOSE: &str = "template.openshift.io/expose-";

/// The same, for the base64 of the value.
pub const BASE64_EXPOSE: &str = "template.openshift.io/base64-expose-";

/// On an object beside the two above: names of credentials, separated by commas, that are left out when there is nothing to
/// expose. Without it that is an error.
pub const EXPOSE_OPTIONAL: &str = "template.osb.internal/expose-optional";

/// On an object: the condition under which it is made ([`crate::condition`]). It does not reach the object.
pub const WHEN: &str = "template.osb.internal/when";
