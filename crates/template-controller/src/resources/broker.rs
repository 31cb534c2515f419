//! `BrokerTemplateInstance`: which bindings there are of an instance.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{ApiVersion, BrokerTemplateInstanceKind};

/// What a broker has made of a TemplateInstance. Cluster-scoped, and never an owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerTemplateInstance {
    /// `template.openshift.io/v1`.
    #[serde(default)]
    pub api_version: ApiVersion,
    /// `BrokerTemplateInstance`.
    #[serde(default)]
    pub kind: BrokerTemplateInstanceKind,
    /// Its name is the id of the instance on the platform.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it is about.
    #[serde(default)]
    pub spec: BrokerTemplateInstanceSpec,
}

impl BrokerTemplateInstance {
    /// One with a name.
    pub fn new(name: &str, spec: BrokerTemplateInstanceSpec) -> Self {
        Self {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec,
            ..Self::default()
        }
    }
}

/// What a [`BrokerTemplateInstance`] is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerTemplateInstanceSpec {
    /// The TemplateInstance: kind, namespace and name.
    #[serde(rename = "templateInstance")]
    pub template_instance: ObjectReference,
    /// The Secret with its parameters: kind, namespace and name.
    pub secret: ObjectReference,
    /// The ids of its bindings on the platform.
    #[serde(rename = "bindingIDs", default, skip_serializing_if = "Vec::is_empty")]
    pub binding_ids: Vec<String>,
}
