//! What writes to built-in kinds do beyond their types, defaults and rules: what a real server decides itself.

use apimachinery::field::FieldError;
use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::meta;

use super::kinds::More;
use super::{addresses, object};
use crate::auth::UserInfo;
use crate::builtin::Special;
use crate::failure::Failure;
use crate::target::{Subresource, Target};

/// Completes and checks a new object. Kinds with code of their own have had their turn.
pub(crate) fn prepare_create(
    target: &Target,
    new: &mut Value<'_>,
    user: &UserInfo,
    more: &mut More,
) -> Result<(), Failure> {
    let Some(facts) = target.version().facts else {
        return Ok(());
    };
    if target.version().status && target.resource.rules.special != Special::Definition {
        // The status begins as the type has it.
        let _ = facts.object_type().shape(new);
        facts.object_type().default(new);
    }
    match target.resource.rules.special {
        Special::Service => addresses::allocate(target, None, new, more)?,
        Special::Pod => begin_pod(new),
        Special::Job => select_pods(new),
        Special::DaemonSet => count_templates(None, new)?,
        Special::Volume => {
            let now = meta::format_timestamp(jiff::Timestamp::now());
            object::set_path(new, ".status.lastPhaseTransitionTime", now.into());
        }
        Special::CertificateRequest => name_requestor(new, user),
        _ => {}
    }
    more.errors.extend(::kinds::rules::check_new(facts, new));
    Ok(())
}

/// Completes and checks a changed object.
pub(crate) fn prepare_update(
    target: &Target,
    old: &Value<'_>,
    new: &mut Value<'_>,
    more: &mut More,
) -> Result<(), Failure> {
    let Some(facts) = target.version().facts else {
        return Ok(());
    };
    match target.subresource {
        Subresource::Status => return Ok(()),
        Subresource::Approval | Subresource::EphemeralContainers => {
            if target.subresource == Subresource::Approval {
                time_conditions(old, new);
            }
            let part = target.subresource.as_str();
            more.errors.extend(::kinds::rules::check_part(facts, part, old, new));
            return Ok(());
        }
        _ => {}
    }
    if target.resource.rules.special == Special::Service {
        addresses::allocate(target, Some(old), new, more)?;
    }
    match target.resource.rules.special {
        Special::CertificateRequest => keep_requestor(old, new),
        Special::DaemonSet => count_templates(Some(old), new)?,
        _ => {}
    }
    more.errors.extend(::kinds::rules::check_change(facts, old, new));
    Ok(())
}

/// A pod waits for its node; what it asks for decides how it is treated when there is little.
fn begin_pod(pod: &mut Value<'_>) {
    let class = quality(pod);
    object::set_path(pod, ".status", json!({"phase": "Pending", "qosClass": class}));
    if let Some(Value::Object(spec)) = pod.get_mut("spec") {
        if spec.get("priorityClassName").is_none() {
            spec.get_or_insert("priority", 0);
            spec.get_or_insert("preemptionPolicy", "PreemptLowerPriority");
        }
        tolerate(spec);
    }
}

/// A pod stays for a while on a node that is not heard of, unless it says something about that.
fn tolerate(spec: &mut Map<'_>) {
    const PATIENCE: i32 = 300;
    let Value::Array(given) = spec.get_or_insert("tolerations", Vec::<Value<'_>>::new()) else {
        return;
    };
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let says = |one: &Value<'_>| {
            let key = one["key"].as_str().unwrap_or_default();
            let effect = one["effect"].as_str().unwrap_or_default();
            matches!(effect, "" | "NoExecute") && (key == taint || (key.is_empty() && one["operator"] == "Exists"))
        };
        if !given.iter().any(says) {
            given.push(
                json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": PATIENCE}),
            );
        }
    }
}

fn quality(pod: &Value<'_>) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let lists = ["/spec/containers", "/spec/initContainers"];
    let containers: Vec<&Value<'_>> = lists
        .iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .collect();
    let amount = |container: &Value<'_>, kind: &str, name: &str| {
        let text = container
            .get("resources")?
            .get(kind)?
            .get(name)?
            .as_str()
            .map(str::to_owned)?;
        (text != "0").then_some(text)
    };
    let asks = |container: &&&Value<'_>| {
        COUNTED
            .iter()
            .any(|name| amount(container, "limits", name).is_some() || amount(container, "requests", name).is_some())
    };
    let is_sure = |container: &&&Value<'_>| {
        COUNTED.iter().all(|name| {
            let limit = amount(container, "limits", name);
            limit.is_some() && limit == amount(container, "requests", name)
        })
    };
    if containers.iter().all(|container| !asks(&container)) {
        "BestEffort"
    } else if containers.iter().all(|container| is_sure(&container)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A Job knows its pods by its own uid, unless it is told otherwise.
fn select_pods(job: &mut Value<'_>) {
    if job.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let Some(metadata) = meta::of(job) else { return };
    let (uid, name) = (
        meta::text(metadata, "uid").to_owned(),
        meta::text(metadata, "name").to_owned(),
    );
    let Some(Value::Object(spec)) = job.get_mut("spec") else {
        return;
    };
    let Some(Value::Object(template)) = spec.get_mut("template") else {
        return;
    };
    let before = template
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"))
        .cloned();
    if let Value::Object(metadata) = template.get_or_insert("metadata", Map::new())
        && let Value::Object(labels) = metadata.get_or_insert("labels", Map::new())
    {
        for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
            labels.insert(key, uid.clone());
        }
        for key in ["job-name", "batch.kubernetes.io/job-name"] {
            labels.insert(key, name.clone());
        }
    }
    let after = template
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"))
        .cloned();
    if spec.get("selector").is_none_or(Value::is_null) {
        spec.insert(
            "selector",
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
        );
    }
    // A Job without labels of its own has those of its pods.
    if let (Some(after), Some(metadata)) = (after, meta::of_mut(job))
        && metadata.get("labels") == before.as_ref()
    {
        metadata.insert("labels", after);
    }
}

/// The annotation by which a DaemonSet still counts the changes of its template.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn count_templates(old: Option<&Value<'_>>, new: &mut Value<'_>) -> Result<(), Failure> {
    let template = |set: &Value<'_>| set.pointer("/spec/template").cloned().map(Value::into_owned);
    let count = old.map_or(1, |old| {
        let counted = old
            .pointer("/metadata/annotations")
            .and_then(|all| all.get(TEMPLATE_GENERATION)?.as_str());
        let counted = counted.and_then(|text| text.parse::<i64>().ok()).unwrap_or(1);
        counted.saturating_add(i64::from(template(old) != template(new)))
    });
    let metadata = object::metadata_mut(new)?;
    if let Value::Object(annotations) = metadata.get_or_insert("annotations", Map::new()) {
        annotations.insert(TEMPLATE_GENERATION, count.to_string());
    }
    Ok(())
}

const REQUESTOR: [&str; 4] = ["username", "uid", "groups", "extra"];

/// Who asks is not for the client to say.
fn name_requestor(request: &mut Value<'_>, user: &UserInfo) {
    let Some(Value::Object(spec)) = request.get_mut("spec") else {
        return;
    };
    spec.retain(|name, _| !REQUESTOR.contains(&name));
    for (name, said) in [("username", &user.name), ("uid", &user.uid)] {
        if !said.is_empty() {
            spec.insert(name, said.clone());
        }
    }
    if !user.groups.is_empty() {
        spec.insert("groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        spec.insert("extra", Value::from(serde_json::json!(user.extra)));
    }
}

/// Each condition says when it was told last, and since when it is as it is.
fn time_conditions(old: &Value<'_>, new: &mut Value<'_>) {
    const CONDITIONS: &str = "/status/conditions";
    let now = meta::format_timestamp(jiff::Timestamp::now());
    let before = old
        .pointer(CONDITIONS)
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let status = new.get_mut("status").and_then(|status| status.get_mut("conditions"));
    for condition in status.and_then(Value::as_array_mut).into_iter().flatten() {
        let same = before.iter().find(|known| {
            ["type", "status"]
                .iter()
                .all(|name| known.get(name) == condition.get(name))
        });
        let since = same
            .and_then(|known| known.get("lastTransitionTime"))
            .filter(|time| !time.is_null());
        let since = since.map_or_else(|| now.clone().into(), |time| time.clone().into_owned());
        let Value::Object(condition) = condition else { continue };
        for (name, time) in [
            ("lastUpdateTime", Value::from(now.clone())),
            ("lastTransitionTime", since),
        ] {
            if condition.get(name).is_none_or(Value::is_null) {
                condition.insert(name, time);
            }
        }
    }
}

fn keep_requestor(old: &Value<'_>, new: &mut Value<'_>) {
    let Some(Value::Object(spec)) = new.get_mut("spec") else {
        return;
    };
    for name in REQUESTOR {
        match old["spec"].get(name) {
            Some(kept) => spec.insert(name, kept.clone().into_owned()),
            None => spec.remove(name),
        };
    }
}

/// An address or number that a client asks for has been given to another object.
pub(crate) fn taken(path: &str, value: &str) -> FieldError {
    FieldError::invalid(path, value.to_owned(), "failed to allocate: it is already allocated")
}
