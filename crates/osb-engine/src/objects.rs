//! How objects are made and changed: the values of the writes, without the writing.

use std::sync::Arc;

use jiff::Timestamp;
use osb_api::Object;
use osb_api::id::{BindingId, InstanceId, OperationId};
use osb_api::identity::OriginatingIdentity;
use osb_api::request::{BindRequest, BindResource, ProvisionRequest};
use osb_server::Platform;
use serde::Serialize;
use serde_json::{Value, json};

use crate::home::Home;
use crate::names;
use crate::operation::Facts;
use crate::resource::{
    EXPIRES_LABEL, Ended, FINALIZER, INSTANCE_LABEL, Kind, Meta, Outcome, Record, Request, Requester, Running, Spec,
    Status, Stored, Tombstone, TombstoneSpec, Verb, conditions,
};
use crate::seal::{Keys, MAX_SEALED_BYTES, Place, SealError};

/// The reason of a condition while something runs and when it has ended.
pub(crate) fn reason(verb: Verb, outcome: Option<Outcome>) -> &'static str {
    match (verb, outcome) {
        (Verb::Provision, None) => "Provisioning",
        (Verb::Update, None) => "Updating",
        (Verb::Deprovision, None) => "Deprovisioning",
        (Verb::Bind, None) => "Binding",
        (Verb::Unbind, None) => "Unbinding",
        (Verb::Provision, Some(Outcome::Succeeded)) => "Provisioned",
        (Verb::Bind, Some(Outcome::Succeeded)) => "Bound",
        (Verb::Provision, Some(_)) => "ProvisionFailed",
        (Verb::Bind, Some(_)) => "BindFailed",
        (Verb::Update, Some(Outcome::Succeeded)) => "Updated",
        (Verb::Update, Some(_)) => "UpdateFailed",
        (Verb::Deprovision, Some(_)) => "DeprovisionFailed",
        (Verb::Unbind, Some(_)) => "UnbindFailed",
    }
}

/// What a request is recognised by (OSB-PROV-15, Amb-11): absent, `null` and empty parameters are equal, the order of
/// members does not matter, `1.0` is `1`.
pub(crate) fn canonical_provision(request: &ProvisionRequest) -> Vec<u8> {
    canonical(json!([
        "provision",
        request.service_id,
        request.plan_id,
        request.organization_guid,
        request.space_guid,
        request.parameters.as_ref().cloned().unwrap_or_default(),
    ]))
}

/// As [`canonical_provision`], for a bind (OSB-BIND-13).
pub(crate) fn canonical_bind(request: &BindRequest) -> Vec<u8> {
    canonical(json!([
        "bind",
        request.service_id,
        request.plan_id,
        request.bind_resource,
        request.app_guid,
        request.parameters.as_ref().cloned().unwrap_or_default(),
        request.predecessor_binding_id,
    ]))
}

fn canonical(mut value: Value) -> Vec<u8> {
    integers(&mut value);
    serde_json::to_vec(&value).expect("a JSON value always serialises")
}

/// Writes whole numbers as integers.
fn integers(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(members) => members.values_mut().for_each(integers),
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < EXACT)
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = float as i64;
                *value = whole.into();
            }
        }
        _ => {}
    }
}

/// Why an object cannot be made of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// The parameters are larger than what one object may hold.
    #[error("the parameters are larger than {MAX_SEALED_BYTES} bytes")]
    TooLarge,
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What a new object is made of.
pub(crate) struct New<'a> {
    pub(crate) home: &'a Home,
    pub(crate) keys: &'a Keys,
    pub(crate) namespace: &'a str,
    pub(crate) epoch: u64,
    pub(crate) digest: String,
    pub(crate) identity: Option<&'a OriginatingIdentity>,
    pub(crate) now: Timestamp,
}

impl New<'_> {
    /// The object of a provision.
    pub(crate) fn instance(
        &self,
        id: &InstanceId,
        request: &ProvisionRequest,
        maintenance: Option<&str>,
    ) -> Result<Stored, MakeError> {
        let spec = Spec {
            instance_id: id.clone(),
            binding_id: None,
            incarnation: names::incarnation().map_err(|_| SealError::NoRandomness)?,
            service_id: request.service_id.clone(),
            plan_id: request.plan_id.clone(),
            digest: Some(self.digest.clone()),
            maintenance: maintenance.map(str::to_owned),
            context: request.context.clone(),
            parameters: None,
        };
        let sealed = Request {
            parameters: request.parameters.clone().unwrap_or_default(),
            bind_resource: None,
        };
        self.object(Kind::Instance, names::instance(id), Verb::Provision, spec, &sealed)
    }

    /// The object of a bind on an instance.
    pub(crate) fn binding(
        &self,
        instance: &Stored,
        id: &BindingId,
        request: &BindRequest,
    ) -> Result<Stored, MakeError> {
        let spec = Spec {
            instance_id: instance.spec.instance_id.clone(),
            binding_id: Some(id.clone()),
            incarnation: names::incarnation().map_err(|_| SealError::NoRandomness)?,
            service_id: instance.spec.service_id.clone(),
            plan_id: instance.spec.plan_id.clone(),
            digest: Some(self.digest.clone()),
            maintenance: None,
            context: request.context.clone(),
            parameters: None,
        };
        let bind_resource = request.bind_resource.clone().or_else(|| {
            let app_guid = request.app_guid.clone()?;
            Some(BindResource {
                app_guid: Some(app_guid),
                ..BindResource::default()
            })
        });
        let sealed = Request {
            parameters: request.parameters.clone().unwrap_or_default(),
            bind_resource,
        };
        let name = names::binding(&instance.spec.instance_id, id);
        let mut object = self.object(Kind::Binding, name, Verb::Bind, spec, &sealed)?;
        object
            .metadata
            .labels
            .insert(INSTANCE_LABEL.to_owned(), instance.metadata.name.clone());
        Ok(object)
    }

    fn object(
        &self,
        kind: Kind,
        name: String,
        verb: Verb,
        mut spec: Spec,
        request: &Request,
    ) -> Result<Stored, MakeError> {
        if *request != Request::default() {
            let plain = to_vec(request);
            if plain.len() > MAX_SEALED_BYTES {
                return Err(MakeError::TooLarge);
            }
            let place = Place {
                object: &name,
                incarnation: &spec.incarnation,
                field: "parameters",
            };
            spec.parameters = Some(self.keys.seal(place, &plain)?);
        }
        let counter = 1;
        let record = Record {
            epoch: self.epoch,
            counter,
            operation: Some(running(
                self.keys,
                &name,
                &spec.incarnation,
                counter,
                verb,
                self.identity,
                self.now,
            )?),
            ..Record::default()
        };
        Ok(Stored {
            api_version: self.home.api_version(),
            kind: kind.name().to_owned(),
            metadata: Meta {
                name,
                namespace: self.namespace.to_owned(),
                finalizers: vec![FINALIZER.to_owned()],
                ..Meta::default()
            },
            spec,
            record: Some(record),
            status: Some(conditions(self.now, None, (false, reason(verb, None), None), None)),
        })
    }
}

fn running(
    keys: &Keys,
    object: &str,
    incarnation: &str,
    counter: u64,
    verb: Verb,
    identity: Option<&OriginatingIdentity>,
    now: Timestamp,
) -> Result<Running, SealError> {
    let request = identity
        .map(|identity| {
            let requester = Requester {
                platform: identity.platform.clone(),
                value: identity.value.clone(),
            };
            keys.seal(
                Place {
                    object,
                    incarnation,
                    field: "request",
                },
                &to_vec(&requester),
            )
        })
        .transpose()?;
    Ok(Running {
        id: Record::operation_id(incarnation, counter),
        verb,
        accepted_at: Some(now),
        progress: None,
        request,
    })
}

/// The object with a further operation accepted on it, and the patch that makes it so. What runs is superseded.
pub(crate) fn with_operation(
    keys: &Keys,
    stored: &Stored,
    verb: Verb,
    epoch: u64,
    identity: Option<&OriginatingIdentity>,
    now: Timestamp,
) -> Result<(Stored, Value), SealError> {
    let mut next = stored.clone();
    let mut record = next.record.take().unwrap_or_default();
    let (object, incarnation) = (&stored.metadata.name, &stored.spec.incarnation);
    let mut patch = serde_json::Map::new();
    if let Some(superseded) = record.operation.take() {
        let ended = Ended {
            id: superseded.id,
            verb: superseded.verb,
            outcome: Outcome::Superseded,
            description: None,
            ended_at: Some(now),
        };
        record.history = record.history_with(ended);
        patch.insert("history".to_owned(), to_value(&record.history));
    }
    let dropped = forget_old_steps(&mut record);
    if !dropped.is_empty() {
        patch.insert(
            "steps".to_owned(),
            dropped.into_iter().map(|key| (key, Value::Null)).collect(),
        );
    }
    record.epoch = epoch;
    record.counter += 1;
    let running = running(keys, object, incarnation, record.counter, verb, identity, now)?;
    // A merge patch merges: what the operation before had and this one has not is removed by name.
    let mut operation = to_value(&running);
    for optional in ["progress", "request"] {
        if let Some(members) = operation.as_object_mut() {
            members.entry(optional).or_insert(Value::Null);
        }
    }
    patch.insert("epoch".to_owned(), epoch.into());
    patch.insert("counter".to_owned(), record.counter.into());
    patch.insert("operation".to_owned(), operation);
    record.operation = Some(running);
    let ready = record.outputs.is_some() && !verb.removes();
    let status = conditions(now, stored.status.as_ref(), (ready, reason(verb, None), None), None);
    let patch = json!({"record": patch, "status": to_value(&status)});
    next.record = Some(record);
    next.status = Some(status);
    Ok((next, patch))
}

/// Keeps the steps of the last operation only, for the one that cleans up after it.
fn forget_old_steps(record: &mut Record) -> Vec<String> {
    let last = format!("{}.", record.counter);
    let old: Vec<String> = record
        .steps
        .keys()
        .filter(|key| !key.starts_with(&last))
        .cloned()
        .collect();
    for key in &old {
        record.steps.remove(key);
    }
    old
}

/// The conditions of an object whose operation has ended.
pub(crate) fn status_after(
    stored: &Stored,
    verb: Verb,
    outcome: Outcome,
    description: Option<&str>,
    now: Timestamp,
) -> Status {
    let before = stored.status.as_ref();
    let word = reason(verb, Some(outcome));
    match outcome {
        Outcome::Succeeded => conditions(now, before, (true, word, None), None),
        Outcome::Failed | Outcome::Superseded => {
            let text = description.unwrap_or("The operation failed.");
            // What was complete before a failed removal still is.
            let ready = stored.is_complete();
            conditions(now, before, (ready, word, Some(text)), Some((word, text)))
        }
    }
}

/// What stays of an object whose removal has succeeded.
pub(crate) fn tombstone(home: &Home, stored: &Stored, removal: Ended, expires: Timestamp) -> Tombstone {
    let record = stored.record.clone().unwrap_or_default();
    let hour = expires.as_second() / 3600 + 1;
    Tombstone {
        api_version: home.api_version(),
        kind: Kind::Tombstone.name().to_owned(),
        metadata: Meta {
            name: stored.metadata.name.clone(),
            namespace: stored.metadata.namespace.clone(),
            labels: [(EXPIRES_LABEL.to_owned(), hour.to_string())].into(),
            ..Meta::default()
        },
        spec: TombstoneSpec {
            kind: stored.which().name().to_owned(),
            instance_id: stored.spec.instance_id.clone(),
            binding_id: stored.spec.binding_id.clone(),
            incarnation: stored.spec.incarnation.clone(),
            expires: Some(expires),
            history: record.history_with(removal),
        },
    }
}

/// What an author is told of the running operation of an object; `instance` is the object itself or, for a binding,
/// its instance.
pub(crate) fn facts(
    keys: &Keys,
    platform: &Platform,
    plan: &Arc<osb_api::catalog::Plan>,
    instance: &Stored,
    stored: &Stored,
    running: &Running,
    request: &Request,
) -> Facts {
    // An identity that cannot be opened any more is no reason not to clean up.
    let identity = running.request.as_deref().and_then(|sealed| {
        let plain = keys.open(place(stored, "request"), sealed).ok()?;
        let requester: Requester = serde_json::from_slice(&plain).ok()?;
        Some(Arc::new(OriginatingIdentity {
            platform: requester.platform,
            value: requester.value,
        }))
    });
    let binding = stored
        .spec
        .binding_id
        .as_ref()
        .map(|id| (id.clone(), stored.spec.incarnation.clone()));
    Facts {
        id: running.id.clone(),
        verb: running.verb,
        platform: platform.clone(),
        instance: instance.spec.instance_id.clone(),
        instance_incarnation: instance.spec.incarnation.clone(),
        binding,
        offering: instance.spec.service_id.clone(),
        plan: plan.clone(),
        context: stored.spec.context.clone().or_else(|| instance.spec.context.clone()),
        identity,
        bind_resource: request.bind_resource.clone(),
    }
}

/// What was asked for when the object was created.
pub(crate) fn request(keys: &Keys, stored: &Stored) -> Result<Request, SealError> {
    match &stored.spec.parameters {
        None => Ok(Request::default()),
        Some(sealed) => {
            let plain = keys.open(place(stored, "parameters"), sealed)?;
            serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)
        }
    }
}

/// The author's state, if there is one.
pub(crate) fn data(keys: &Keys, stored: &Stored) -> Result<Option<Vec<u8>>, SealError> {
    let sealed = stored.record.as_ref().and_then(|record| record.data.as_deref());
    sealed
        .map(|sealed| keys.open(place(stored, "data"), sealed))
        .transpose()
}

/// What the platform got, if it is complete.
pub(crate) fn outputs<T: serde::de::DeserializeOwned>(keys: &Keys, stored: &Stored) -> Result<Option<T>, SealError> {
    let sealed = stored.record.as_ref().and_then(|record| record.outputs.as_deref());
    sealed
        .map(|sealed| {
            let plain = keys.open(place(stored, "outputs"), sealed)?;
            serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)
        })
        .transpose()
}

fn place<'a>(stored: &'a Stored, field: &'a str) -> Place<'a> {
    Place {
        object: &stored.metadata.name,
        incarnation: &stored.spec.incarnation,
        field,
    }
}

/// The texts in a request that must not appear in what the author's errors say.
pub(crate) fn secrets(request: &Request) -> Vec<String> {
    let mut found = Vec::new();
    collect_texts(&Value::Object(request.parameters.clone()), &mut found);
    found
}

fn collect_texts(value: &Value, found: &mut Vec<String>) {
    const SHORTEST: usize = 4;
    match value {
        Value::String(text) if text.len() >= SHORTEST => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect_texts(member, found)),
        _ => {}
    }
}

/// The text with every secret in it blotted out.
pub(crate) fn masked(text: &str, secrets: &[String]) -> String {
    secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
}

pub(crate) fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("our own types have string keys only")
}

pub(crate) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys only")
}

/// The history entry of an operation that ends now.
pub(crate) fn ended(
    id: OperationId,
    verb: Verb,
    outcome: Outcome,
    description: Option<String>,
    now: Timestamp,
) -> Ended {
    Ended {
        id,
        verb,
        outcome,
        description,
        ended_at: Some(now),
    }
}

/// Whether the parameters of a request are absent, as far as their meaning goes.
pub(crate) fn parameters(sent: Option<&Object>) -> Object {
    sent.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provision(body: Value) -> ProvisionRequest {
        serde_json::from_value(body).expect("a request")
    }

    /// OSB-PROV-13, OSB-PROV-15, Amb-11
    #[test]
    fn requests_that_mean_the_same_have_the_same_canonical_form() {
        let base = json!({"service_id": "s", "plan_id": "p", "organization_guid": "o", "space_guid": "g"});
        let with = |member: &str, value: Value| {
            let mut body = base.clone();
            body[member] = value;
            canonical_provision(&provision(body))
        };
        let plain = canonical_provision(&provision(base.clone()));
        assert_eq!(plain, with("parameters", json!({})));
        assert_eq!(plain, with("parameters", Value::Null));
        assert_eq!(plain, with("context", json!({"platform": "x"})));
        assert_ne!(plain, with("parameters", json!({"a": 1})));
        assert_ne!(plain, with("space_guid", json!("h")));
        assert_eq!(
            with("parameters", json!({"a": 1, "b": [2.0]})),
            with("parameters", json!({"b": [2], "a": 1.0}))
        );
        assert_ne!(
            with("parameters", json!({"a": 1.5})),
            with("parameters", json!({"a": 1}))
        );
    }

    #[test]
    fn secrets_are_blotted_out_of_texts() {
        let parameters = json!({"a": ["hunter2", {"b": "s3cret"}], "n": 5});
        let Value::Object(parameters) = parameters else {
            panic!("an object")
        };
        let secrets = secrets(&Request {
            parameters,
            bind_resource: None,
        });
        assert_eq!(masked("no hunter2, no s3cret", &secrets), "no ***, no ***");
    }
}
