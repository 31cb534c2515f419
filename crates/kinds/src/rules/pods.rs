//! Rules of pods.

use std::collections::HashSet;

use apimachinery::field::{self, FieldError};
use apimachinery::json::Value;
use apimachinery::meta;

use super::{at, is_empty, items, joined, not_negative, number, one_of, text};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks the specification of a pod, which stands at `base`.
pub(super) fn check(spec: &Value<'_>, base: &str, errors: &mut Vec<FieldError>) {
    check_with(spec, &[], base, errors);
}

/// The same of pods that get further volumes, of these names.
pub(super) fn check_with(spec: &Value<'_>, further: &[&str], base: &str, errors: &mut Vec<FieldError>) {
    let mut volumes = volumes(spec, base, errors);
    volumes.extend(further);
    let mut names = HashSet::new();
    if is_empty(spec, "containers") {
        errors.push(FieldError::required(joined(base, "containers"), ""));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (position, container) in items(spec, list).iter().enumerate() {
            let place = field::index(&joined(base, list), position);
            name(container, &place, errors);
            let given = text(container, "name");
            if !given.is_empty() && !names.insert(given) {
                errors.push(FieldError::duplicate(joined(&place, "name"), given.to_owned()));
            }
            check_container(container, &place, &volumes, errors);
        }
    }
    one_of(spec, base, "restartPolicy", &["Always", "OnFailure", "Never"], errors);
    one_of(spec, base, "dnsPolicy", &DNS_POLICIES, errors);
    not_negative(spec, base, &["terminationGracePeriodSeconds"], errors);
    if let Some(seconds) = number(spec, "activeDeadlineSeconds").filter(|seconds| *seconds < 1) {
        let rule = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(
            joined(base, "activeDeadlineSeconds"),
            seconds,
            rule,
        ));
    }
    for path in ["serviceAccountName", "priorityClassName", "nodeName"] {
        let given = text(spec, path);
        if !given.is_empty() {
            let problems = meta::dns_subdomain_problems(given);
            errors.extend(
                problems
                    .into_iter()
                    .map(|why| FieldError::invalid(joined(base, path), given, why)),
            );
        }
    }
}

/// A name that is a DNS label.
fn name(object: &Value<'_>, place: &str, errors: &mut Vec<FieldError>) {
    let given = text(object, "name");
    if given.is_empty() {
        errors.push(FieldError::required(joined(place, "name"), ""));
        return;
    }
    let problems = meta::dns_label_problems(given);
    errors.extend(
        problems
            .into_iter()
            .map(|why| FieldError::invalid(joined(place, "name"), given, why)),
    );
}

fn volumes<'v>(spec: &'v Value<'_>, base: &str, errors: &mut Vec<FieldError>) -> HashSet<&'v str> {
    let mut names = HashSet::new();
    for (position, volume) in items(spec, "volumes").iter().enumerate() {
        let place = field::index(&joined(base, "volumes"), position);
        name(volume, &place, errors);
        let given = text(volume, "name");
        if !given.is_empty() && !names.insert(given) {
            errors.push(FieldError::duplicate(joined(&place, "name"), given.to_owned()));
        }
        let sources = volume.as_object().into_iter().flatten();
        let mut sources = sources
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key);
        if sources.next().is_none() {
            errors.push(FieldError::required(&place, "must specify a volume type"));
        }
        let why = "may not specify more than 1 volume type";
        errors.extend(sources.map(|source| FieldError::forbidden(joined(&place, source), why)));
    }
    names
}

fn check_container(container: &Value<'_>, place: &str, volumes: &HashSet<&str>, errors: &mut Vec<FieldError>) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(joined(place, "image"), ""));
    } else if image.trim() != image {
        let rule = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(joined(place, "image"), image, rule));
    }
    one_of(container, place, "imagePullPolicy", &PULL_POLICIES, errors);
    one_of(
        container,
        place,
        "terminationMessagePolicy",
        &["FallbackToLogsOnError", "File"],
        errors,
    );
    for (position, port) in items(container, "ports").iter().enumerate() {
        let place = field::index(&joined(place, "ports"), position);
        check_number(port, &place, "containerPort", true, errors);
        check_number(port, &place, "hostPort", false, errors);
        one_of(port, &place, "protocol", &PROTOCOLS, errors);
    }
    for (position, variable) in items(container, "env").iter().enumerate() {
        let place = field::index(&joined(place, "env"), position);
        if is_empty(variable, "name") {
            errors.push(FieldError::required(joined(&place, "name"), ""));
        }
        if !is_empty(variable, "value") && at(variable, "valueFrom").is_some() {
            let why = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(joined(&place, "valueFrom"), "", why));
        }
    }
    let mut paths = HashSet::new();
    for (position, mount) in items(container, "volumeMounts").iter().enumerate() {
        let place = field::index(&joined(place, "volumeMounts"), position);
        let volume = text(mount, "name");
        if volume.is_empty() {
            errors.push(FieldError::required(joined(&place, "name"), ""));
        } else if !volumes.contains(volume) {
            errors.push(FieldError::not_found(joined(&place, "name"), volume.to_owned()));
        }
        let path = text(mount, "mountPath");
        if path.is_empty() {
            errors.push(FieldError::required(joined(&place, "mountPath"), ""));
        } else if !paths.insert(path) {
            errors.push(FieldError::invalid(joined(&place, "mountPath"), path, "must be unique"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        check_probe(container, place, probe, errors);
    }
}

/// A number of a port, from 1 on; 0 is none.
fn check_number(port: &Value<'_>, place: &str, path: &str, is_required: bool, errors: &mut Vec<FieldError>) {
    match number(port, path).unwrap_or_default() {
        0 if is_required => errors.push(FieldError::required(joined(place, path), "")),
        0..=65535 => {}
        given => {
            let rule = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(joined(place, path), given, rule));
        }
    }
}

fn check_probe(container: &Value<'_>, place: &str, name: &str, errors: &mut Vec<FieldError>) {
    let Some(probe) = at(container, name) else { return };
    let place = joined(place, name);
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    if handlers.iter().all(|handler| at(probe, handler).is_none()) {
        errors.push(FieldError::required(&place, "must specify a handler type"));
    }
    let numbers = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    not_negative(probe, &place, &numbers, errors);
    if name != "readinessProbe"
        && let Some(given) = number(probe, "successThreshold").filter(|given| *given != 1)
    {
        errors.push(FieldError::invalid(
            joined(&place, "successThreshold"),
            given,
            "must be 1",
        ));
    }
}

/// What may change of a pod that is there: its images and a few numbers.
pub(super) fn check_change(old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    let (mut before, mut after) = (old["spec"].clone(), new["spec"].clone());
    for spec in [&mut before, &mut after] {
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in containers.filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        if let Some(members) = spec.as_object_mut() {
            for name in ["activeDeadlineSeconds", "tolerations"] {
                members.remove(name);
            }
            // Gates may be taken away, and a pod without a node may still be directed to one.
            members.remove("schedulingGates");
            if is_negative_or_absent(old) {
                members.remove("terminationGracePeriodSeconds");
            }
        }
    }
    if before != after {
        let why = "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, \
            `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations) or \
            `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        errors.push(FieldError::forbidden("spec", why));
    }
}

/// Ephemeral containers are only ever added, and have nothing that a service needs.
pub(super) fn check_ephemeral(old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    const PLACE: &str = "spec.ephemeralContainers";
    const NOT_THEIRS: [&str; 7] = [
        "ports",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "restartPolicy",
        "resizePolicy",
    ];
    for (position, container) in items(new, PLACE).iter().enumerate() {
        let place = field::index(PLACE, position);
        let theirs = NOT_THEIRS.iter().filter(|name| !is_empty(container, name));
        errors.extend(
            theirs.map(|name| FieldError::forbidden(joined(&place, name), "cannot be set for an Ephemeral Container")),
        );
        let target = text(container, "targetContainerName");
        let exists = ["spec.containers", "spec.initContainers"]
            .iter()
            .any(|list| items(new, list).iter().any(|other| text(other, "name") == target));
        if !target.is_empty() && !exists {
            errors.push(FieldError::not_found(
                joined(&place, "targetContainerName"),
                target.to_owned(),
            ));
        }
    }
    for known in items(old, PLACE) {
        let name = text(known, "name");
        let what = match items(new, PLACE).iter().find(|one| text(one, "name") == name) {
            None => "removed",
            Some(one) if one != known => "changed",
            Some(_) => continue,
        };
        let why = format!("existing ephemeral containers {name:?} may not be {what}\n");
        errors.push(FieldError::forbidden(PLACE, why));
    }
}

fn is_negative_or_absent(pod: &Value<'_>) -> bool {
    number(pod, "spec.terminationGracePeriodSeconds").is_none_or(|seconds| seconds < 0)
}
