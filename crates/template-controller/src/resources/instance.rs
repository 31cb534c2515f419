//! `TemplateInstance`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{ApiVersion, Body, TemplateInstanceKind};
use crate::names::condition::{INSTANTIATE_FAILURE, READY};

/// An instance of a template: what is to be made, and how far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateInstance {
    /// `template.openshift.io/v1`.
    #[serde(default)]
    pub api_version: ApiVersion,
    /// `TemplateInstance`.
    #[serde(default)]
    pub kind: TemplateInstanceKind,
    /// Name, namespace, annotations, finalizers.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is to be made.
    pub spec: TemplateInstanceSpec,
    /// How far it is; written by the controller alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TemplateInstanceStatus>,
}

/// What is to be made.
///
/// A change of it is an update: objects are changed, made and removed so that they are those of the template and values that
/// stand here now. A change of the Secret alone is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateInstanceSpec {
    /// The template, whole.
    pub template: Body,
    /// The Secret in the same namespace with values of parameters: each key is the name of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
    /// In whose name the objects are made. Where it is missing, the API server writes whoever creates the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
    /// Any text. Writing another one has the Secret read again, without any other change, and what has failed tried again.
    /// Not a field of OpenShift's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The name of a Secret in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Its name.
    pub name: String,
}

/// An identity of the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The name of the user.
    #[serde(default)]
    pub username: String,
    /// The user's id, which outlives a change of name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// How far an instance is. Conditions and references are OpenShift's, the rest is ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateInstanceStatus {
    /// `Ready` and `InstantiateFailure`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The objects that are to be made or were, from before the first of them is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<InstanceObject>,
    /// The generation of the instance that `objects` were made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Where the values of the parameters are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<FrozenValues>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which one.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When `status` changed last.
    pub last_transition_time: Time,
    /// Why, in a word.
    #[serde(default)]
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// The generation of the instance that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An object of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceObject {
    /// Which one. Without `uid` it is not known to be there.
    #[serde(rename = "ref")]
    pub reference: ObjectReference,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ObjectState>,
    /// What it waits for, or what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectState {
    /// It is to be made.
    Pending,
    /// It is there, and has to become ready.
    Waiting,
    /// It is there, and ready where that is waited for.
    Ready,
    /// It cannot be made, or will not become ready.
    Failed,
    /// It is being removed.
    Removing,
}

/// What the controller does with an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What.
    pub kind: OperationKind,
    /// When it began: timeouts count from here.
    pub started_at: Time,
    /// The generation of the instance that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationKind {
    /// Objects are made for the first time.
    Instantiate,
    /// They are changed to those of a changed instance.
    Update,
    /// They are removed.
    Delete,
}

/// The Secret that keeps the values of the parameters, generated ones above all, from before the first object is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenValues {
    /// Its name, in the namespace of the instance.
    pub name: String,
    /// Its uid: another Secret of that name is not believed.
    pub uid: String,
}

/// What has become of an instance as it stands in `spec` now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not known yet.
    InProgress,
    /// Everything is there.
    Ready,
    /// It has failed, and is tried again only when it is changed.
    Failed(String),
}

impl TemplateInstance {
    /// One with a name.
    pub fn new(name: &str, spec: TemplateInstanceSpec) -> Self {
        Self {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec,
            ..Self::default()
        }
    }

    /// A condition.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        let status = self.status.as_ref()?;
        status.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// What has become of it as it stands in `spec` now: what is said of an older generation does not count.
    pub fn outcome(&self) -> Outcome {
        let current = |type_: &str| {
            self.condition(type_).filter(|condition| {
                // The cluster's own controller, on OpenShift, says no generation, and its instances never change.
                condition
                    .observed_generation
                    .is_none_or(|seen| self.metadata.generation.is_none_or(|generation| seen >= generation))
            })
        };
        match (current(INSTANTIATE_FAILURE), current(READY)) {
            (Some(failure), _) if failure.status == "True" => Outcome::Failed(failure.message.clone()),
            (_, Some(ready)) if ready.status == "True" => Outcome::Ready,
            _ => Outcome::InProgress,
        }
    }
}
