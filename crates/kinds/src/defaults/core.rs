//! Defaults of the core group.

use apimachinery::json;
use apimachinery::json::{Map, Value};

use super::{each, is_empty, object, set, set_number, text};

/// Fills in what a type of the core group has rules for.
pub(super) fn fill(name: &str, members: &mut Map<'_>) {
    match name {
        "Container" | "EphemeralContainer" => container(members),
        "EndpointPort" => set(members, "protocol", "TCP"),
        "HTTPGetAction" => {
            set(members, "path", "/");
            set(members, "scheme", "HTTP");
        }
        "HostPathVolumeSource" if !members.contains_key("type") => {
            members.insert("type", "");
        }
        "ImageVolumeSource" => {
            let policy = pull_policy(text(members, "reference"));
            set(members, "pullPolicy", policy);
        }
        "LimitRangeItem" => limit_range_item(members),
        "NamespaceStatus" => set(members, "phase", "Active"),
        "NodeStatus" => node_status(members),
        "ObjectFieldSelector" => set(members, "apiVersion", "v1"),
        "PersistentVolumeClaimSpec" => set(members, "volumeMode", "Filesystem"),
        "PersistentVolumeClaimStatus" | "PersistentVolumeStatus" => set(members, "phase", "Pending"),
        "PersistentVolumeSpec" => {
            set(members, "persistentVolumeReclaimPolicy", "Retain");
            set(members, "volumeMode", "Filesystem");
        }
        "Pod" => pod(members),
        "PodSpec" => pod_spec(members),
        "Probe" => {
            set_number(members, "timeoutSeconds", 1);
            set_number(members, "periodSeconds", 10);
            set_number(members, "successThreshold", 1);
            set_number(members, "failureThreshold", 3);
        }
        "ReplicationController" => replication_controller(members),
        "SecretVolumeSource" | "ConfigMapVolumeSource" | "DownwardAPIVolumeSource" | "ProjectedVolumeSource" => {
            set(members, "defaultMode", 0o644);
        }
        "Secret" => set(members, "type", "Opaque"),
        "Service" => service(members),
        "ServiceAccountTokenProjection" => set(members, "expirationSeconds", 3600),
        "Volume" if members.iter().all(|(name, value)| name == "name" || value.is_null()) => {
            members.insert("emptyDir", Map::new());
        }
        _ => {}
    }
}

fn container(members: &mut Map<'_>) {
    let policy = pull_policy(text(members, "image"));
    set(members, "imagePullPolicy", policy);
    set(members, "terminationMessagePath", "/dev/termination-log");
    set(members, "terminationMessagePolicy", "File");
}

/// An image that may change under its name is pulled each time.
fn pull_policy(image: &str) -> &'static str {
    if image.is_empty() || image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn pod(members: &mut Map<'_>) {
    let Some(spec) = members.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            if let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) {
                requests_from_limits(resources);
            }
        }
    }
    set(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        for list in ["containers", "initContainers"] {
            for port in each(spec, list).flat_map(|container| each(container, "ports")) {
                if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
                    set_number(port, "hostPort", i32::try_from(number).unwrap_or_default());
                }
            }
        }
    }
}

fn requests_from_limits(resources: &mut Map<'_>) {
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    if let Some(requests) = object(resources, "requests") {
        requests.merge(limits, |given, limit| given.or(Some(limit)));
    }
}

fn pod_spec(members: &mut Map<'_>) {
    set(members, "dnsPolicy", "ClusterFirst");
    set(members, "restartPolicy", "Always");
    set(members, "securityContext", Map::new());
    set(members, "terminationGracePeriodSeconds", 30);
    set(members, "schedulerName", "default-scheduler");
    // The older name of the same field: one is always written as the other.
    let account = [text(members, "serviceAccountName"), text(members, "serviceAccount")];
    let account = account.into_iter().find(|name| !name.is_empty()).map(str::to_owned);
    if let Some(account) = account {
        members.insert("serviceAccountName", account.clone());
        members.insert("serviceAccount", account);
    }
}

fn replication_controller(members: &mut Map<'_>) {
    let labels = members
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"));
    let Some(labels) = labels.filter(|labels| labels.is_object()).cloned() else {
        return;
    };
    if let Some(spec) = object(members, "spec")
        && is_empty(spec, "selector")
    {
        spec.insert("selector", labels.clone());
    }
    if let Some(metadata) = object(members, "metadata")
        && is_empty(metadata, "labels")
    {
        metadata.insert("labels", labels);
    }
}

fn limit_range_item(members: &mut Map<'_>) {
    if text(members, "type") != "Container" {
        return;
    }
    for (from, to) in [
        ("max", "default"),
        ("default", "defaultRequest"),
        ("min", "defaultRequest"),
    ] {
        if let Some(Value::Object(given)) = members.get(from).cloned()
            && let Some(target) = object(members, to)
        {
            target.merge(given, |there, given| there.or(Some(given)));
        }
    }
}

fn node_status(members: &mut Map<'_>) {
    if !members.contains_key("allocatable")
        && let Some(capacity) = members.get("capacity").cloned()
    {
        members.insert("allocatable", capacity);
    }
}

fn service(members: &mut Map<'_>) {
    let Some(spec) = object(members, "spec") else { return };
    set(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let given = spec
                .get("sessionAffinityConfig")
                .and_then(|config| config.pointer("/clientIP/timeoutSeconds"));
            if given.is_none() {
                spec.insert("sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
            }
        }
        _ => {}
    }
    set(spec, "type", "ClusterIP");
    for port in each(spec, "ports") {
        set(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_else(|| 0.into());
        if port
            .get("targetPort")
            .is_none_or(|target| *target == 0 || *target == "")
        {
            port.insert("targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    let is_external =
        matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !is_empty(spec, "externalIPs"));
    if is_external {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}
