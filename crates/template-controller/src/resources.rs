//! The types of `template.openshift.io/v1`.
//!
//! The fields are those of OpenShift; what is beyond them is optional, and nobody has to write or read it.
//!
//! ```
//! use template_controller::resources::{Body, TemplateInstance, TemplateInstanceSpec};
//!
//! let body = Body::from_text(r#"{"metadata": {"name": "shop"}, "objects": []}"#.to_owned()).unwrap();
//! let spec = TemplateInstanceSpec { template: body, ..TemplateInstanceSpec::default() };
//! let instance = TemplateInstance::new("mine", spec);
//! assert!(serde_json::to_string(&instance).unwrap().contains(r#""kind":"TemplateInstance""#));
//! ```

mod broker;
mod instance;
mod template;

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{API_VERSION, GROUP, VERSION};

pub use broker::{BrokerTemplateInstance, BrokerTemplateInstanceSpec};
pub use instance::{
    Condition, FrozenValues, InstanceObject, ObjectState, Operation, OperationKind, Outcome, Requester, SecretRef,
    TemplateInstance, TemplateInstanceSpec, TemplateInstanceStatus,
};
pub use template::{Body, BodyError, Parameter, Template};

/// `apiVersion` of these types; what is read is not looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiVersion;

impl fmt::Debug for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(API_VERSION)
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(API_VERSION)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| ApiVersion)
    }
}

/// A kind of the group.
macro_rules! kind {
    ($type:ident, $marker:ident, $plural:literal, $scope:ty) => {
        /// `kind` of this type; what is read is not looked at.
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub struct $marker;

        impl fmt::Debug for $marker {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($type))
            }
        }

        impl Serialize for $marker {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(stringify!($type))
            }
        }

        impl<'de> Deserialize<'de> for $marker {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                IgnoredAny::deserialize(deserializer).map(|_| $marker)
            }
        }

        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($type).into()
            }

            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                VERSION.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &kube::api::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

kind!(Template, TemplateKind, "templates", kube::core::NamespaceResourceScope);
kind!(
    TemplateInstance,
    TemplateInstanceKind,
    "templateinstances",
    kube::core::NamespaceResourceScope
);
kind!(
    BrokerTemplateInstance,
    BrokerTemplateInstanceKind,
    "brokertemplateinstances",
    kube::core::ClusterResourceScope
);

#[cfg(test)]
mod tests;
