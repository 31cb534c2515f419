//! Defaults of what runs pods, and of autoscalers.

use apimachinery::json;
use apimachinery::json::{Map, Value};

use super::{each, is_empty, object, set, text};

/// Fills in what a type has rules for.
pub(super) fn fill(name: &str, members: &mut Map<'_>) {
    match name {
        "DeploymentSpec" => deployment(members),
        "DaemonSetSpec" => {
            if let Some(strategy) = rolling(members, "updateStrategy") {
                set(strategy, "maxUnavailable", 1);
                set(strategy, "maxSurge", 0);
            }
            set(members, "revisionHistoryLimit", 10);
        }
        "StatefulSetSpec" => stateful_set(members),
        "ReplicaSetSpec" => set(members, "replicas", 1),
        // The specification inside a CronJob is left alone until a Job is made of it.
        "Job" => {
            job_labels(members);
            if let Some(spec) = object(members, "spec") {
                job(spec);
            }
        }
        "CronJobSpec" => {
            set(members, "concurrencyPolicy", "Allow");
            set(members, "suspend", false);
            set(members, "successfulJobsHistoryLimit", 3);
            set(members, "failedJobsHistoryLimit", 1);
        }
        "PodFailurePolicyOnPodConditionsPattern" => set(members, "status", "True"),
        "HorizontalPodAutoscalerSpec" => autoscaler(members),
        _ => {}
    }
}

/// The parameters of a rolling update, if that is how it is to be updated: the default.
fn rolling<'m, 't>(spec: &'m mut Map<'t>, strategy: &'static str) -> Option<&'m mut Map<'t>> {
    let strategy = object(spec, strategy)?;
    set(strategy, "type", "RollingUpdate");
    if text(strategy, "type") != "RollingUpdate" {
        return None;
    }
    object(strategy, "rollingUpdate")
}

fn deployment(spec: &mut Map<'_>) {
    set(spec, "replicas", 1);
    if let Some(strategy) = rolling(spec, "strategy") {
        set(strategy, "maxUnavailable", "25%");
        set(strategy, "maxSurge", "25%");
    }
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
}

fn stateful_set(spec: &mut Map<'_>) {
    set(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = object(spec, "updateStrategy") {
        if text(strategy, "type").is_empty() {
            strategy.insert("type", "RollingUpdate");
            set(strategy, "rollingUpdate", Map::new());
        }
        if text(strategy, "type") == "RollingUpdate"
            && let Some(Value::Object(rolling)) = strategy.get_mut("rollingUpdate")
        {
            set(rolling, "partition", 0);
        }
    }
    for claim in each(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
    }
    if let Some(policy) = object(spec, "persistentVolumeClaimRetentionPolicy") {
        set(policy, "whenDeleted", "Retain");
        set(policy, "whenScaled", "Retain");
    }
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
}

/// A Job has the labels of its pods when it has none.
fn job_labels(job: &mut Map<'_>) {
    let labels = job
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .cloned();
    if let (Some(labels), Some(metadata)) = (labels, object(job, "metadata"))
        && is_empty(metadata, "labels")
    {
        metadata.insert("labels", labels);
    }
}

fn job(spec: &mut Map<'_>) {
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions", 1);
    }
    set(spec, "parallelism", 1);
    let limit = if spec.contains_key("backoffLimitPerIndex") {
        i32::MAX
    } else {
        6
    };
    set(spec, "backoffLimit", limit);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let replaced = if spec.contains_key("podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    set(spec, "podReplacementPolicy", replaced);
    set(spec, "manualSelector", false);
}

fn autoscaler(spec: &mut Map<'_>) {
    set(spec, "minReplicas", 1);
    if is_empty(spec, "metrics") {
        let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
        spec.insert("metrics", cpu);
    }
    let Some(Value::Object(behavior)) = spec.get_mut("behavior") else {
        return;
    };
    let policy = |kind: &str, value: i32| json!({"type": kind, "value": value, "periodSeconds": 15});
    if let Some(up) = object(behavior, "scaleUp") {
        set(up, "stabilizationWindowSeconds", 0);
        set(up, "selectPolicy", "Max");
        if is_empty(up, "policies") {
            up.insert("policies", vec![policy("Pods", 4), policy("Percent", 100)]);
        }
    }
    if let Some(down) = object(behavior, "scaleDown") {
        set(down, "selectPolicy", "Max");
        if is_empty(down, "policies") {
            down.insert("policies", vec![policy("Percent", 100)]);
        }
    }
}
