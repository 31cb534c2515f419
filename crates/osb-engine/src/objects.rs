//! How objects are made and changed: the values of the writes, without the writing.

use std::sync::Arc;

use jiff::Timestamp;
use osb_api::Object;
use osb_api::id::{BindingId, InstanceId, OperationId, PlanId};
use osb_api::identity::OriginatingIdentity;
use osb_api::request::{BindRequest, BindResource, ProvisionRequest};
use osb_server::{Platform, Trace};
use serde::Serialize;
use serde_json::{Value, json};

use crate::canonical;
use crate::erased::StoredState;
use crate::home::Home;
use crate::names;
use crate::operation::Facts;
use crate::resource::{
    Asked, Bound, EXPIRES_LABEL, Ended, FINALIZER, INSTANCE_LABEL, Kind, Meta, Outcome, Record, Request, Requester,
    Running, Spec, Status, Stored, Tombstone, TombstoneSpec, Update, Verb, conditions,
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
    pub(crate) identity: Option<&'a Arc<OriginatingIdentity>>,
    pub(crate) trace: Option<&'a Trace>,
    pub(crate) now: Timestamp,
}

impl New<'_> {
    /// The object of a provision.
    pub(crate) fn instance(
        &self,
        id: &InstanceId,
        request: &ProvisionRequest,
        maintenance: Option<&str>,
    ) -> Result<(Stored, Known), MakeError> {
        let spec = Spec {
            instance_id: id.clone(),
            binding_id: None,
            incarnation: names::incarnation().map_err(|_| SealError::NoRandomness)?,
            instance_incarnation: None,
            service_id: request.service_id.clone(),
            plan_id: request.plan_id.clone(),
            digest: Some(self.digest.clone()),
            maintenance: maintenance.map(str::to_owned),
            context: request.context.clone(),
            parameters: None,
        };
        let sealed = Request {
            parameters: request.parameters.clone().unwrap_or_default(),
            ..Request::default()
        };
        self.object(Kind::Instance, names::instance(id), Verb::Provision, spec, sealed)
    }

    /// The object of a bind on an instance.
    pub(crate) fn binding(
        &self,
        instance: &Stored,
        id: &BindingId,
        request: &BindRequest,
        predecessor: Option<Request>,
    ) -> Result<(Stored, Known), MakeError> {
        let spec = Spec {
            instance_id: instance.spec.instance_id.clone(),
            binding_id: Some(id.clone()),
            incarnation: names::incarnation().map_err(|_| SealError::NoRandomness)?,
            instance_incarnation: Some(instance.spec.incarnation.clone()),
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
        let mut sealed = Request {
            parameters: request.parameters.clone().unwrap_or_default(),
            bind_resource,
            predecessor: request.predecessor_binding_id.clone(),
        };
        // A rotation takes over what the request does not say (OSB-ROT-06).
        if let Some(predecessor) = predecessor {
            if request.parameters.is_none() {
                sealed.parameters = predecessor.parameters;
            }
            sealed.bind_resource = sealed.bind_resource.or(predecessor.bind_resource);
        }
        let name = names::binding(&instance.spec.instance_id, id);
        let (mut object, known) = self.object(Kind::Binding, name, Verb::Bind, spec, sealed)?;
        object
            .metadata
            .labels
            .insert(INSTANCE_LABEL.to_owned(), instance.metadata.name.clone());
        Ok((object, known))
    }

    fn object(
        &self,
        kind: Kind,
        name: String,
        verb: Verb,
        mut spec: Spec,
        request: Request,
    ) -> Result<(Stored, Known), MakeError> {
        if request != Request::default() {
            let plain = to_vec(&request);
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
        let order = Order {
            verb,
            epoch: self.epoch,
            identity: self.identity.map(Arc::as_ref),
            trace: self.trace,
            change: None,
        };
        let operation = running(self.keys, (&name, &spec.incarnation), counter, order, self.now)?;
        let record = Record {
            epoch: self.epoch,
            counter,
            operation: Some(operation),
            ..Record::default()
        };
        let object = Stored {
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
            ext: None,
        };
        let known = Known {
            request,
            identity: self.identity.cloned(),
            update: None,
        };
        Ok((object, known))
    }
}

/// A running operation of the object of that name and incarnation.
fn running(
    keys: &Keys,
    (object, incarnation): (&str, &str),
    counter: u64,
    order: Order<'_>,
    now: Timestamp,
) -> Result<Running, SealError> {
    let bound = order.change.as_ref().and_then(|change| change.bound);
    let (plan_id, digest, update) = match order.change {
        Some(change) => (Some(change.plan_id), Some(change.digest), Some(change.update)),
        None => (None, None, None),
    };
    let requester = order.identity.map(|identity| Requester {
        platform: identity.platform.clone(),
        value: identity.value.clone(),
    });
    let asked = Asked { requester, update };
    let place = Place {
        object,
        incarnation,
        field: "request",
    };
    let request = (asked != Asked::default())
        .then(|| keys.seal(place, &to_vec(&asked)))
        .transpose()?;
    Ok(Running {
        id: Record::operation_id(incarnation, counter),
        verb: order.verb,
        accepted_at: Some(now),
        progress: None,
        plan_id,
        digest,
        request,
        bound,
        trace: order.trace.map(Trace::traceparent),
    })
}

/// An operation that is to be accepted on an object.
pub(crate) struct Order<'a> {
    pub(crate) verb: Verb,
    pub(crate) epoch: u64,
    pub(crate) identity: Option<&'a OriginatingIdentity>,
    /// Where the request stands in a trace of the platform's.
    pub(crate) trace: Option<&'a Trace>,
    /// Of an update.
    pub(crate) change: Option<Change>,
}

impl Order<'static> {
    /// An operation that the broker itself begins.
    pub(crate) fn own(verb: Verb, epoch: u64) -> Self {
        Order {
            verb,
            epoch,
            identity: None,
            trace: None,
            change: None,
        }
    }
}

/// What an update is to change.
pub(crate) struct Change {
    /// The plan that the instance has then.
    pub(crate) plan_id: PlanId,
    /// The keyed digest of the request.
    pub(crate) digest: String,
    /// Whether it has to end while its request waits.
    pub(crate) bound: Option<Bound>,
    /// The rest, to be sealed.
    pub(crate) update: Update,
}

/// The object with a further operation accepted on it, and the patch that makes it so. What runs is superseded.
pub(crate) fn with_operation(
    keys: &Keys,
    stored: &Stored,
    order: Order<'_>,
    now: Timestamp,
) -> Result<(Stored, Value), SealError> {
    let verb = order.verb;
    let mut next = stored.clone();
    let mut record = next.record.take().unwrap_or_default();
    // Who accepts may know an older table than who has claimed the object.
    let epoch = order.epoch.max(record.epoch);
    let (object, incarnation) = (&stored.metadata.name, &stored.spec.incarnation);
    let mut patch = serde_json::Map::new();
    if let Some(superseded) = record.operation.take() {
        let ended = ended(superseded.id, superseded.verb, Outcome::Superseded, None, now);
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
    let running = running(keys, (object, incarnation), record.counter, order, now)?;
    // A merge patch merges: what the operation before had and this one has not is removed by name.
    let mut operation = to_value(&running);
    for optional in ["progress", "planId", "digest", "request", "bound", "trace"] {
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

/// What a successful update changes of `spec`, as a merge patch. Parameters are merged member by member, so that what
/// is stored are the current ones.
pub(crate) fn updated_spec(keys: &Keys, stored: &Stored, plan_id: &PlanId, known: &Known) -> Result<Value, SealError> {
    let update = known.update.clone().unwrap_or_default();
    let mut request = known.request.clone();
    request.parameters.extend(update.parameters.clone());
    let mut patch = serde_json::Map::new();
    patch.insert("planId".to_owned(), plan_id.as_str().into());
    if let Some(maintenance) = update.maintenance {
        patch.insert("maintenance".to_owned(), maintenance.into());
    }
    if let Some(context) = update.context {
        let before = stored.spec.context.clone().unwrap_or_default();
        patch.insert("context".to_owned(), replacing(&before.0, context.0));
    }
    if !update.parameters.is_empty() {
        let sealed = keys.seal(place(stored, "parameters"), &to_vec(&request))?;
        patch.insert("parameters".to_owned(), sealed.into());
    }
    let digest = stored.spec.digest.as_deref();
    let canonical = canonical::plan(plan_id, request.parameters);
    if let Some(digest) = digest.and_then(|digest| keys.redigest(digest, &canonical)) {
        patch.insert("digest".to_owned(), digest.into());
    }
    Ok(Value::Object(patch))
}

/// The merge patch that makes one object of another: what is not there any more is removed by name.
pub(crate) fn replacing(before: &Object, after: Object) -> Value {
    let mut patch: Object = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| (name.clone(), Value::Null))
        .collect();
    for (name, value) in after {
        let value = match (before.get(&name), value) {
            (Some(Value::Object(before)), Value::Object(after)) => replacing(before, after),
            (_, value) => value,
        };
        patch.insert(name, value);
    }
    Value::Object(patch)
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

/// What stands sealed in an object about its operation, in the clear.
#[derive(Default)]
pub(crate) struct Known {
    /// What was asked for when the object was created.
    pub(crate) request: Request,
    /// Who asked for the running operation.
    pub(crate) identity: Option<Arc<OriginatingIdentity>>,
    /// What the running update changes.
    pub(crate) update: Option<Update>,
}

impl Known {
    /// Opens what is sealed. Cleaning up needs no parameters, so a removal goes on without those that do not open.
    pub(crate) fn open(keys: &Keys, stored: &Stored, running: &Running) -> Result<Self, SealError> {
        let request = match request(keys, stored) {
            Err(_) if running.verb.removes() => Request::default(),
            request => request?,
        };
        let asked = match asked(keys, stored, running) {
            // Who asked is no reason not to do it; what an update changes is needed.
            Err(_) if running.verb != Verb::Update => Asked::default(),
            asked => asked?,
        };
        let identity = asked.requester.map(|requester| {
            Arc::new(OriginatingIdentity {
                platform: requester.platform,
                value: requester.value,
            })
        });
        Ok(Self {
            request,
            identity,
            update: asked.update,
        })
    }
}

fn asked(keys: &Keys, stored: &Stored, running: &Running) -> Result<Asked, SealError> {
    match &running.request {
        None => Ok(Asked::default()),
        Some(sealed) => {
            let plain = keys.open(place(stored, "request"), sealed)?;
            serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)
        }
    }
}

/// What an author is told of the running operation of an object; `instance` is the object itself or, for a binding,
/// its instance.
pub(crate) fn facts(
    platform: &Platform,
    plan: &Arc<osb_api::catalog::Plan>,
    instance: &Stored,
    stored: &Stored,
    running: &Running,
    known: &Known,
) -> Facts {
    let binding = stored
        .spec
        .binding_id
        .as_ref()
        .map(|id| (id.clone(), stored.spec.incarnation.clone()));
    let new_context = known.update.as_ref().and_then(|update| update.context.as_ref());
    Facts {
        id: running.id.clone(),
        verb: running.verb,
        platform: platform.clone(),
        instance: instance.spec.instance_id.clone(),
        instance_incarnation: instance.spec.incarnation.clone(),
        binding,
        offering: instance.spec.service_id.clone(),
        plan: plan.clone(),
        context: new_context
            .or(stored.spec.context.as_ref())
            .or(instance.spec.context.as_ref())
            .cloned(),
        identity: known.identity.clone(),
        fields: instance.ext.clone(),
        bind_resource: known.request.bind_resource.clone(),
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
pub(crate) fn data(keys: &Keys, stored: &Stored) -> Result<Option<StoredState>, SealError> {
    let Some(record) = &stored.record else { return Ok(None) };
    let Some(sealed) = &record.data else { return Ok(None) };
    Ok(Some(StoredState {
        json: keys.open(place(stored, "data"), sealed)?,
        version: record.data_version.unwrap_or(1),
    }))
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
pub(crate) fn secrets(known: &Known) -> Vec<String> {
    let mut found = Vec::new();
    let of_update = known.update.iter().map(|update| &update.parameters);
    for parameters in of_update.chain([&known.request.parameters]) {
        for value in parameters.values() {
            collect_texts(value, &mut found);
        }
    }
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
        digest: None,
        instance_usable: None,
        update_repeatable: None,
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

    /// OSB-UPD-04
    #[test]
    fn a_new_context_takes_the_place_of_the_old_one() {
        let object = |value: Value| match value {
            Value::Object(object) => object,
            _ => panic!("an object"),
        };
        let before = object(json!({"platform": "x", "old": 1, "nested": {"old": 1, "kept": 2}, "changed": {"a": 1}}));
        let after = object(json!({"platform": "x", "new": 1, "nested": {"kept": 2}, "changed": 3}));
        let patch = replacing(&before, after);
        let expected =
            json!({"old": null, "platform": "x", "new": 1, "nested": {"old": null, "kept": 2}, "changed": 3});
        assert_eq!(patch, expected);
    }

    #[test]
    fn secrets_are_blotted_out_of_texts() {
        let parameters = json!({"a": ["hunter2", {"b": "s3cret"}], "n": 5});
        let Value::Object(parameters) = parameters else {
            panic!("an object")
        };
        let request = Request {
            parameters,
            ..Request::default()
        };
        let secrets = secrets(&Known {
            request,
            ..Known::default()
        });
        assert_eq!(masked("no hunter2, no s3cret", &secrets), "no ***, no ***");
    }
}
