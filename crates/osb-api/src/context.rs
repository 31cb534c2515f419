//! `context`: what a platform tells of where an instance or a binding lives (OSB-PROF-01 to -04).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Object;

/// The context object as it was sent: unknown platforms and members are kept.
///
/// The views never fail: a member that is missing or of another type is `None`. Which members are there depends on the
/// platform and on the version that it speaks (OSB-PROF-04).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{context::*}; }
/// use osb_sdk::{Context, ContextView};
///
/// # let json = r#"{"platform": "kubernetes", "namespace": "shop", "clusterid": "c1", "instance_name": "db"}"#;
/// let context: Context = serde_json::from_str(json)?;
/// assert_eq!(context.platform(), Some("kubernetes"));
/// assert_eq!(context.instance_name(), Some("db"));
/// let owner = match context.view() {
///     ContextView::CloudFoundry(cf) => cf.space_guid(),
///     ContextView::Kubernetes(kubernetes) => kubernetes.namespace(),
///     ContextView::Other(_) => None,
/// };
/// assert_eq!(owner, Some("shop"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Context(pub Object);

/// A context seen as what its platform sends.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{context::*}; }
/// use osb_sdk::{Context, ContextView};
///
/// let context: Context = serde_json::from_str(r#"{"platform": "sapcp", "subaccount_id": "s1"}"#)?;
/// let ContextView::Other(members) = context.view() else { panic!("no platform of the specification's profile") };
/// assert_eq!(members["subaccount_id"], "s1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ContextView<'a> {
    /// `platform: cloudfoundry`.
    CloudFoundry(CloudFoundryContext<'a>),
    /// `platform: kubernetes`.
    Kubernetes(KubernetesContext<'a>),
    /// Any other platform, or none named.
    Other(&'a Object),
}

/// The context of Cloud Foundry (OSB-PROF-02). GUIDs are the identity; names and annotations may change.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{context::*}; }
/// use osb_sdk::{Context, ContextView};
///
/// let json = r#"{"platform": "cloudfoundry", "organization_guid": "o1", "space_guid": "s1", "space_name": "dev"}"#;
/// let context: Context = serde_json::from_str(json)?;
/// let ContextView::CloudFoundry(cf) = context.view() else { panic!("it is Cloud Foundry's") };
/// assert_eq!((cf.space_guid(), cf.space_name(), cf.organization_name()), (Some("s1"), Some("dev"), None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CloudFoundryContext<'a>(&'a Object);

/// The context of Kubernetes (OSB-PROF-03).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{context::*}; }
/// use osb_sdk::{Context, ContextView};
///
/// let context: Context = serde_json::from_str(r#"{"platform": "kubernetes", "namespace": "shop", "clusterid": "c1"}"#)?;
/// let ContextView::Kubernetes(kubernetes) = context.view() else { panic!("it is Kubernetes'") };
/// assert_eq!((kubernetes.namespace(), kubernetes.clusterid()), (Some("shop"), Some("c1")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KubernetesContext<'a>(&'a Object);

impl Context {
    /// `platform`, which says what the other members mean.
    pub fn platform(&self) -> Option<&str> {
        text(&self.0, "platform")
    }

    /// The context as its platform's.
    pub fn view(&self) -> ContextView<'_> {
        match self.platform() {
            Some("cloudfoundry") => ContextView::CloudFoundry(CloudFoundryContext(&self.0)),
            Some("kubernetes") => ContextView::Kubernetes(KubernetesContext(&self.0)),
            _ => ContextView::Other(&self.0),
        }
    }

    /// A member that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        text(&self.0, name)
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<&Object> {
        object(&self.0, name)
    }

    /// `instance_name`: what the user calls the instance; both profiles have it since 2.15. It may change.
    pub fn instance_name(&self) -> Option<&str> {
        self.text("instance_name")
    }
}

macro_rules! members {
    ($type:ident { $($(#[$doc:meta])* $name:ident: $kind:ident),+ $(,)? }) => {
        impl<'a> $type<'a> {
            $(members!(@one $(#[$doc])* $name $kind);)+
        }
    };
    (@one $(#[$doc:meta])* $name:ident text) => {
        $(#[$doc])*
        pub fn $name(self) -> Option<&'a str> { text(self.0, stringify!($name)) }
    };
    (@one $(#[$doc:meta])* $name:ident object) => {
        $(#[$doc])*
        pub fn $name(self) -> Option<&'a Object> { object(self.0, stringify!($name)) }
    };
}

members! { CloudFoundryContext {
    /// The organization.
    organization_guid: text,
    /// The organization's name, since 2.15.
    organization_name: text,
    /// The space.
    space_guid: text,
    /// The space's name, since 2.15.
    space_name: text,
    /// The instance's name, since 2.15; not on binds.
    instance_name: text,
    /// Since 2.16.
    organization_annotations: object,
    /// Since 2.16.
    space_annotations: object,
    /// Since 2.16.
    instance_annotations: object,
} }

members! { KubernetesContext {
    /// The namespace.
    namespace: text,
    /// The cluster, since 2.14; it can change.
    clusterid: text,
    /// The instance's name, since 2.15; not on binds.
    instance_name: text,
    /// Since 2.16.
    namespace_annotations: object,
    /// Since 2.16.
    instance_annotations: object,
} }

fn text<'a>(members: &'a Object, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn object<'a>(members: &'a Object, name: &str) -> Option<&'a Object> {
    members.get(name).and_then(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context(value: Value) -> Context {
        serde_json::from_value(value).unwrap()
    }

    /// OSB-PROF-02.
    #[test]
    fn cloud_foundry_is_recognised() {
        let context = context(json!({
            "platform": "cloudfoundry", "organization_guid": "o", "space_guid": "s", "space_name": "dev",
            "instance_annotations": { "a/b": "c" }, "space_annotations": "odd",
        }));
        let ContextView::CloudFoundry(view) = context.view() else {
            panic!("{context:?}")
        };
        assert_eq!(
            (view.organization_guid(), view.space_guid(), view.space_name()),
            (Some("o"), Some("s"), Some("dev"))
        );
        assert_eq!((view.organization_name(), view.instance_name()), (None, None));
        assert!(
            view.instance_annotations()
                .is_some_and(|annotations| annotations["a/b"] == "c")
        );
        assert_eq!(
            (view.space_annotations(), view.organization_annotations()),
            (None, None)
        );
    }

    /// OSB-PROF-03.
    #[test]
    fn kubernetes_is_recognised() {
        let context =
            context(json!({ "platform": "kubernetes", "namespace": "n", "clusterid": 4, "instance_name": "db" }));
        let ContextView::Kubernetes(view) = context.view() else {
            panic!("{context:?}")
        };
        assert_eq!(
            (view.namespace(), view.clusterid(), view.instance_name()),
            (Some("n"), None, Some("db"))
        );
        assert_eq!(
            (view.namespace_annotations(), view.instance_annotations()),
            (None, None)
        );
    }

    /// OSB-PROF-01.
    #[test]
    fn other_platforms_are_kept_as_they_are() {
        for value in [
            json!({}),
            json!({ "platform": 7 }),
            json!({ "platform": "sapcp", "subaccount_id": "x" }),
        ] {
            let context = context(value);
            assert_eq!(context.view(), ContextView::Other(&context.0));
        }
    }
}
