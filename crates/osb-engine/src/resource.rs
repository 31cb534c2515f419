//! The stored resources: `ServiceInstance`, `ServiceBinding`, `Tombstone`, `Replica`, `ShardTable`.
//!
//! `spec` is what the object is, `record` is what the engine must not lose, `status` is a view for people and tools,
//! `ext` is the author's, where he declares fields of his own. `record.operation` present means busy. The CRDs lie in `crds/`; they are written by hand,
//! because there is no status subresource and `record` must be known to the server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use osb_api::Object;
use osb_api::context::Context;
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use serde::{Deserialize, Serialize};

/// The version of our API group.
pub const VERSION: &str = "v1";

/// On every instance and binding from its first write on: without it `kubectl delete` would lose what the author made.
pub const FINALIZER: &str = "osb.internal/operations";

/// On a binding: the name of its instance.
pub const INSTANCE_LABEL: &str = "osb.internal/instance";

/// On a Tombstone: the hour since 1970 after which it may go.
pub const EXPIRES_LABEL: &str = "osb.internal/expires";

/// The most entries that `record.history` keeps.
pub const MAX_HISTORY: usize = 16;

/// The most characters of a progress text.
pub const MAX_PROGRESS_CHARS: usize = 1024;

/// The most characters of a description of an outcome.
pub const MAX_DESCRIPTION_CHARS: usize = 10_000;

/// The most stored steps of an object.
pub const MAX_STEPS: usize = 100;

/// The definitions of our kinds, for a broker's API group.
pub fn definitions(group: &str) -> Vec<serde_json::Value> {
    [
        include_str!("../crds/serviceinstances.json"),
        include_str!("../crds/servicebindings.json"),
        include_str!("../crds/tombstones.json"),
        include_str!("../crds/replicas.json"),
        include_str!("../crds/shardtables.json"),
        include_str!("../crds/catalogrecords.json"),
    ]
    .into_iter()
    .map(|text| {
        serde_json::from_str(&text.replace("__GROUP__", group)).expect("the files are JSON, which a test proves")
    })
    .collect()
}

/// Our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What a provision makes.
    Instance,
    /// What a bind makes.
    Binding,
    /// What is left of an instance or binding that was removed.
    Tombstone,
    /// A running broker process, when there are several.
    Replica,
    /// Who owns which shard.
    ShardTable,
    /// The catalog that was served last.
    CatalogRecord,
}

impl Kind {
    /// `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instance => "ServiceInstance",
            Self::Binding => "ServiceBinding",
            Self::Tombstone => "Tombstone",
            Self::Replica => "Replica",
            Self::ShardTable => "ShardTable",
            Self::CatalogRecord => "CatalogRecord",
        }
    }

    /// The resource in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Instance => "serviceinstances",
            Self::Binding => "servicebindings",
            Self::Tombstone => "tombstones",
            Self::Replica => "replicas",
            Self::ShardTable => "shardtables",
            Self::CatalogRecord => "catalogrecords",
        }
    }
}

/// What an operation does.
///
/// ```
/// # mod osb_sdk { pub use osb_engine::resource::Verb; }
/// use osb_sdk::Verb;
///
/// assert!(Verb::Unbind.removes() && !Verb::Update.removes());
/// assert_eq!(Verb::Provision.as_str(), "provision");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Makes an instance.
    Provision,
    /// Changes an instance.
    Update,
    /// Removes an instance.
    Deprovision,
    /// Makes a binding.
    Bind,
    /// Removes a binding.
    Unbind,
}

impl Verb {
    /// As it stands in logs and labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Update => "update",
            Self::Deprovision => "deprovision",
            Self::Bind => "bind",
            Self::Unbind => "unbind",
        }
    }

    /// Whether the object is gone when it has succeeded.
    pub fn removes(self) -> bool {
        matches!(self, Self::Deprovision | Self::Unbind)
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// A removal took its place before it ended.
    Superseded,
}

/// The metadata that we read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Unique in its namespace and kind.
    pub name: String,
    /// The namespace of the platform.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Made by the server, changes when state moves house: only for the precondition of a DELETE.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Fences each write.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Finalizers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Set when somebody has deleted the object and the finalizer keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
}

/// A `ServiceInstance` or a `ServiceBinding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// `<group>/v1`
    pub api_version: String,
    /// `ServiceInstance` or `ServiceBinding`.
    pub kind: String,
    /// Metadata.
    pub metadata: Meta,
    /// What it is.
    pub spec: Spec,
    /// What the engine must not lose; an object without it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// A view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Of an instance: the author's fields, in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext: Option<Object>,
}

/// What an instance or binding is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// As the platform chose it; compared on each read, since names may be hashes.
    pub instance_id: InstanceId,
    /// Of a binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_id: Option<BindingId>,
    /// Random, made by us: what is derived from it survives a move to another house.
    pub incarnation: String,
    /// Of a binding: which life of its instance it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_incarnation: Option<String>,
    /// The offering.
    pub service_id: OfferingId,
    /// The plan; of a binding, that of its instance when it was made.
    pub plan_id: PlanId,
    /// The keyed digest of the request that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The maintenance version at its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
    /// As the platform sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Sealed [`Request`]; absent when there is nothing in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
}

/// What of a request is sealed in `spec.parameters`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The parameters as they were sent.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub parameters: Object,
    /// What a binding is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_resource: Option<osb_api::request::BindResource>,
    /// Of a rotation: the binding whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<BindingId>,
}

/// What the engine must not lose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Of the process that may call the author for this object.
    pub epoch: u64,
    /// The number of operations that were accepted for it.
    pub counter: u64,
    /// The version of the author's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_version: Option<u32>,
    /// The author's state, sealed; present once the provision has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the platform gets, sealed: the body of the instance or binding; present once it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<String>,
    /// Present means busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Running>,
    /// Sealed results of steps, by `<counter of the operation>.<name>`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, String>,
    /// The operations that ended, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Ended>,
}

/// The running operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// `<incarnation>.<counter>`
    pub id: OperationId,
    /// What it does.
    pub verb: Verb,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// How far it is, for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Of an update: the plan that the instance has when it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// Of an update: the keyed digest by which a repeat is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Sealed [`Asked`]; absent when there is nothing in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Of an update that has to end while its request waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    /// Where the request stands in a trace of the platform's: its `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// What an update is bound to whose platform takes no 202: with an error as its answer nothing of it may be applied
/// (OSB-UPD-19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// It is over when the budget of its request is.
    Sync,
    /// Its request was answered with an error: it does not succeed any more, and what it did is undone.
    GivenUp,
}

/// What of the request of an operation is sealed: personal data, and what an update changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asked.
    #[serde(flatten)]
    pub requester: Option<Requester>,
    /// What an update changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
}

/// What an update changes beside the plan. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The parameters as they were sent.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub parameters: Object,
    /// The new context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// The maintenance version that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
}

/// Who asked for an operation; personal data, so sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requester {
    /// The platform's name for itself in the identity header.
    pub platform: String,
    /// The user's properties.
    pub value: Object,
}

/// An operation that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Its id.
    pub id: OperationId,
    /// What it did.
    pub verb: Verb,
    /// How it ended.
    pub outcome: Outcome,
    /// For the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of an update: the keyed digest by which a repeat is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Of a failed update or deprovision: whether the instance can still be used, if the author said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_usable: Option<bool>,
    /// Of a failed update: whether the same update may succeed later, if the author said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_repeatable: Option<bool>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A view for people and tools; nothing reads it back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `Ready` and `Failed`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready` or `Failed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One camel-case word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
}

/// A `Tombstone`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// `<group>/v1`
    pub api_version: String,
    /// `Tombstone`
    pub kind: String,
    /// The name of what it stands for.
    pub metadata: Meta,
    /// What is remembered.
    pub spec: TombstoneSpec,
}

/// What is remembered of a removed instance or binding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TombstoneSpec {
    /// `ServiceInstance` or `ServiceBinding`.
    pub kind: String,
    /// Its id.
    pub instance_id: InstanceId,
    /// Of a binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_id: Option<BindingId>,
    /// Which life of it has ended.
    pub incarnation: String,
    /// When it may be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The operations of its life, the removal last.
    #[serde(default)]
    pub history: Vec<Ended>,
}

/// The `ShardTable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardTable {
    /// `<group>/v1`
    pub api_version: String,
    /// `ShardTable`
    pub kind: String,
    /// Name and resource version.
    pub metadata: Meta,
    /// Who owns what.
    pub spec: ShardTableSpec,
}

/// Who owns which shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardTableSpec {
    /// The newest epoch that was given out; a new table starts at Unix seconds, so that no restored object carries a
    /// higher one.
    pub epoch: u64,
    /// By number of the shard.
    pub shards: Vec<Shard>,
}

/// A `Replica`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// `<group>/v1`
    pub api_version: String,
    /// `Replica`
    pub kind: String,
    /// Name and resource version, which each renewal changes.
    pub metadata: Meta,
    /// Who it is.
    pub spec: ReplicaSpec,
}

/// A running broker process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSpec {
    /// What people call it.
    #[serde(default)]
    pub holder_identity: String,
    /// When its resource version has not moved for so long, it is dead.
    #[serde(default)]
    pub lease_duration_seconds: i32,
    /// By its own clock, for people: no other clock is compared with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<Timestamp>,
    /// The version of the SDK that it is built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// The replica that may call the author.
    #[serde(default)]
    pub owner: String,
    /// Since when it may.
    #[serde(default)]
    pub epoch: u64,
    /// The replica that wants to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The `CatalogRecord`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogRecord {
    /// `<group>/v1`
    pub api_version: String,
    /// `CatalogRecord`
    pub kind: String,
    /// Name and resource version.
    pub metadata: Meta,
    /// What was served.
    pub spec: CatalogRecordSpec,
}

/// What was served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogRecordSpec {
    /// The catalog and the plans of earlier ones, sealed.
    pub catalog: String,
}

impl Stored {
    /// Which of our two kinds with operations it is.
    pub fn which(&self) -> Kind {
        if self.spec.binding_id.is_some() {
            Kind::Binding
        } else {
            Kind::Instance
        }
    }

    /// The running operation.
    pub fn running(&self) -> Option<&Running> {
        self.record.as_ref()?.operation.as_ref()
    }

    /// The name of the instance's object, also of a binding.
    pub fn instance_name(&self) -> String {
        crate::names::instance(&self.spec.instance_id)
    }

    /// Whether it is complete: provisioned or bound.
    pub fn is_complete(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.outputs.is_some())
    }
}

impl Record {
    /// The id of the operation with that number.
    pub fn operation_id(incarnation: &str, counter: u64) -> OperationId {
        OperationId::new(format!("{incarnation}.{counter}")).expect("never empty and far below the limit")
    }

    /// The history with one entry more; the oldest goes when it is full, but never the entry that made the object.
    pub fn history_with(&self, ended: Ended) -> Vec<Ended> {
        let mut history = self.history.clone();
        if history.len() >= MAX_HISTORY {
            let made = |entry: &Ended| matches!(entry.verb, Verb::Provision | Verb::Bind);
            let oldest = history.iter().position(|entry| !made(entry)).unwrap_or(0);
            history.remove(oldest);
        }
        history.push(ended);
        history
    }
}

/// The conditions of an object, given what is going on; times of conditions that do not change are kept.
pub fn conditions(
    now: Timestamp,
    before: Option<&Status>,
    ready: (bool, &str, Option<&str>),
    failed: Option<(&str, &str)>,
) -> Status {
    let condition = |kind: &str, status: bool, reason: &str, message: Option<&str>| {
        let status = if status { "True" } else { "False" };
        let since = before
            .and_then(|before| {
                before
                    .conditions
                    .iter()
                    .find(|old| old.kind == kind && old.status == status)
            })
            .and_then(|old| old.last_transition_time);
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: message.map(str::to_owned),
            last_transition_time: Some(since.unwrap_or(now)),
        }
    };
    let (is_ready, reason, message) = ready;
    let failed = match failed {
        Some((reason, message)) => condition("Failed", true, reason, Some(message)),
        None => condition("Failed", false, reason, None),
    };
    Status {
        conditions: vec![condition("Ready", is_ready, reason, message), failed],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_json_with_the_group_in_place() {
        let definitions = definitions("reference.osb.internal");
        assert_eq!(definitions.len(), 6);
        for definition in definitions {
            assert_eq!(definition["spec"]["group"], "reference.osb.internal");
            assert!(!definition.to_string().contains("__GROUP__"));
        }
    }

    #[test]
    fn the_history_is_bounded_and_keeps_what_made_the_object() {
        let ended = |counter: u64, verb| Ended {
            id: Record::operation_id("i", counter),
            verb,
            outcome: Outcome::Succeeded,
            description: None,
            digest: None,
            instance_usable: None,
            update_repeatable: None,
            ended_at: None,
        };
        let mut record = Record {
            history: vec![ended(1, Verb::Provision)],
            ..Record::default()
        };
        for counter in 2..40 {
            record.history = record.history_with(ended(counter, Verb::Update));
        }
        assert_eq!(record.history.len(), MAX_HISTORY);
        assert_eq!(record.history[0].verb, Verb::Provision);
        assert_eq!(record.history[MAX_HISTORY - 1].id.as_str(), "i.39");
    }
}
