//! What an instance says of itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, ApiError, MERGE, segment};
use crate::blot::cut;
use crate::names::{API_VERSION, FINALIZER, condition, reason};
use crate::resources::{Condition, TemplateInstance, TemplateInstanceStatus};

/// The longest message of a condition, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Sets a condition; its time changes only with its status.
pub(crate) fn set(
    status: &mut TemplateInstanceStatus,
    type_: &str,
    value: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
) {
    let before = status.conditions.iter().position(|condition| condition.type_ == type_);
    let now = Time(whole_seconds(Timestamp::now()));
    let since = before
        .map(|at| &status.conditions[at])
        .filter(|condition| condition.status == value);
    let condition = Condition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        last_transition_time: since.map_or(now, |condition| condition.last_transition_time.clone()),
        reason: reason.to_owned(),
        message: cut(message, MAX_MESSAGE_BYTES),
        observed_generation: generation,
    };
    match before {
        Some(at) => status.conditions[at] = condition,
        None => status.conditions.push(condition),
    }
}

/// Takes a condition away.
pub(crate) fn unset(status: &mut TemplateInstanceStatus, type_: &str) {
    status.conditions.retain(|condition| condition.type_ != type_);
}

/// Times are stored in whole seconds.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// It is waited for what `message` says.
pub(crate) fn set_waiting(status: &mut TemplateInstanceStatus, message: &str, generation: Option<i64>) {
    unset(status, condition::INSTANTIATE_FAILURE);
    set(status, condition::READY, "False", reason::WAITING, message, generation);
}

/// Everything is there.
pub(crate) fn set_ready(status: &mut TemplateInstanceStatus, generation: Option<i64>) {
    unset(status, condition::INSTANTIATE_FAILURE);
    set(status, condition::READY, "True", reason::CREATED, "", generation);
}

/// The path of an instance.
pub(crate) fn path(namespace: &str, name: &str) -> String {
    format!(
        "/apis/{API_VERSION}/namespaces/{}/templateinstances/{}",
        segment(namespace),
        segment(name)
    )
}

#[derive(Deserialize)]
struct Written {
    metadata: ObjectMeta,
}

fn path_of(instance: &TemplateInstance) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    path(&text(&instance.metadata.namespace), &text(&instance.metadata.name))
}

/// Writes the status as it stands in `instance`, unless somebody else has written the instance since it was read.
pub(crate) async fn write(api: &Api<'_>, instance: &mut TemplateInstance) -> Result<(), ApiError> {
    let status = instance.status.clone().unwrap_or_default();
    let patch = json!({
        "metadata": {"resourceVersion": instance.metadata.resource_version},
        "status": {
            "conditions": status.conditions,
            "objects": status.objects,
            "observedGeneration": status.observed_generation,
            "operation": member(&status.operation),
            "values": status.values,
        },
    });
    let path = format!("{}/status", path_of(instance));
    let written: Written = api.patch(&path, MERGE, patch.to_string().into_bytes()).await?;
    instance.metadata = written.metadata;
    Ok(())
}

/// A merge patch takes members away only where it says so.
fn member(operation: &Option<crate::resources::Operation>) -> Value {
    let Some(operation) = operation else { return Value::Null };
    json!({
        "kind": operation.kind, "startedAt": operation.started_at, "generation": operation.generation,
        "endedAt": operation.ended_at,
    })
}

/// Puts the finalizer on an instance, or takes it off.
pub(crate) async fn set_finalizer(api: &Api<'_>, instance: &mut TemplateInstance, on: bool) -> Result<(), ApiError> {
    let mut finalizers = instance.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|name| name != FINALIZER);
    if on {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({
        "metadata": {"resourceVersion": instance.metadata.resource_version, "finalizers": finalizers},
    });
    let written: Written = api
        .patch(&path_of(instance), MERGE, patch.to_string().into_bytes())
        .await?;
    instance.metadata = written.metadata;
    Ok(())
}

/// Whether the finalizer is on.
pub(crate) fn has_finalizer(instance: &TemplateInstance) -> bool {
    let finalizers = instance.metadata.finalizers.iter().flatten();
    finalizers.into_iter().any(|name| name == FINALIZER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_is_that_of_its_status() {
        let mut status = TemplateInstanceStatus::default();
        set_waiting(&mut status, "a", Some(1));
        let old: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
        status.conditions[0].last_transition_time = Time(old);
        set_waiting(&mut status, "b", Some(2));
        assert_eq!(status.conditions[0].last_transition_time.0, old);
        assert_eq!(
            (
                status.conditions[0].message.as_str(),
                status.conditions[0].observed_generation
            ),
            ("b", Some(2))
        );
        set_ready(&mut status, Some(2));
        assert!(status.conditions[0].last_transition_time.0 > old);
        assert_eq!(status.conditions.len(), 1);
    }
}
