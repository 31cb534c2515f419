//! Cells of pods and nodes.

use apimachinery::json::Value;
use apimachinery::meta;
use apimachinery::table::human_duration;
use jiff::Timestamp;

use super::{Cell, NONE, has_condition, is_true, items, number, or_none, text};

/// What the containers of a pod add up to.
struct Summary {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: String,
}

fn is_sidecar(pod: &Value<'_>, name: &str) -> bool {
    let mut all = items(pod, "/spec/initContainers").iter();
    all.any(|container| container["name"] == *name && container["restartPolicy"] == "Always")
}

/// Why a container ended: its reason, or signal, or exit code.
fn ended(terminated: &Value<'_>) -> String {
    let (reason, signal) = (text(terminated, "/reason"), number(terminated, "/signal"));
    match (reason, signal) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn summary(pod: &Value<'_>) -> Summary {
    let sidecars = items(pod, "/spec/initContainers").iter();
    let sidecars = sidecars
        .filter(|container| container["restartPolicy"] == "Always")
        .count();
    let phase = text(pod, "/status/phase");
    let mut summary = Summary {
        ready: 0,
        total: items(pod, "/spec/containers").len() + sidecars,
        restarts: 0,
        last_restart: None,
        reason: Some(text(pod, "/status/reason"))
            .filter(|reason| !reason.is_empty())
            .unwrap_or(phase)
            .to_owned(),
    };
    let gated = |condition: &Value<'_>| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated";
    if items(pod, "/status/conditions").iter().any(gated) {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let initializing = init_containers(pod, &mut summary);
    if !initializing || has_condition(pod, "Initialized") {
        containers(pod, &mut summary);
    }
    if !text(pod, "/metadata/deletionTimestamp").is_empty() && !matches!(phase, "Succeeded" | "Failed") {
        let lost = text(pod, "/status/reason") == "NodeLost";
        if lost { "Unknown" } else { "Terminating" }.clone_into(&mut summary.reason);
    }
    summary
}

impl Summary {
    fn restarted(&mut self, container: &Value<'_>) {
        self.restarts += number(container, "/restartCount");
        let last = meta::parse_timestamp(text(container, "/lastState/terminated/finishedAt"));
        self.last_restart = self.last_restart.max(last);
    }
}

/// Whether the pod still waits for its init containers.
fn init_containers(pod: &Value<'_>, summary: &mut Summary) -> bool {
    let statuses = items(pod, "/status/initContainerStatuses");
    let total = items(pod, "/spec/initContainers").len();
    let waits = init_reason(pod, statuses, total, summary);
    if let Some(reason) = &waits {
        statuses.iter().for_each(|container| summary.restarted(container));
        summary.reason.clone_from(reason);
    }
    waits.is_some()
}

fn init_reason(pod: &Value<'_>, statuses: &[Value<'_>], total: usize, summary: &mut Summary) -> Option<String> {
    for (at, container) in statuses.iter().enumerate() {
        let terminated = container.pointer("/state/terminated");
        let waiting = text(container, "/state/waiting/reason");
        match terminated {
            Some(terminated) if number(terminated, "/exitCode") == 0 => {}
            _ if is_sidecar(pod, text(container, "/name")) && is_true(container, "/started") => {
                summary.ready += usize::from(is_true(container, "/ready"));
            }
            Some(terminated) => return Some(format!("Init:{}", ended(terminated))),
            None if !matches!(waiting, "" | "PodInitializing") => return Some(format!("Init:{waiting}")),
            None => return Some(format!("Init:{at}/{total}")),
        }
    }
    None
}

fn containers(pod: &Value<'_>, summary: &mut Summary) {
    summary.restarts = 0;
    summary.last_restart = None;
    let sidecars = items(pod, "/status/initContainerStatuses").iter();
    for sidecar in sidecars.filter(|container| is_sidecar(pod, text(container, "/name"))) {
        summary.restarted(sidecar);
    }
    let (mut has_running, mut failed) = (false, None);
    for container in items(pod, "/status/containerStatuses").iter().rev() {
        summary.restarted(container);
        let waiting = text(container, "/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(terminated) = container.pointer("/state/terminated") {
            summary.reason = ended(terminated);
            if number(terminated, "/exitCode") != 0 {
                failed = Some(summary.reason.clone());
            }
        } else if is_true(container, "/ready") && container.pointer("/state/running").is_some() {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        if has_running && has_condition(pod, "Ready") {
            "Running".clone_into(&mut summary.reason);
        } else if let Some(failed) = failed {
            summary.reason = failed;
        } else if has_running {
            "NotReady".clone_into(&mut summary.reason);
        }
    }
}

pub(in super::super) fn pod_ready(pod: &Value<'_>, _: Timestamp) -> Cell {
    let summary = summary(pod);
    format!("{}/{}", summary.ready, summary.total).into()
}

pub(in super::super) fn pod_status(pod: &Value<'_>, _: Timestamp) -> Cell {
    summary(pod).reason.into()
}

pub(in super::super) fn pod_restarts(pod: &Value<'_>, now: Timestamp) -> Cell {
    let summary = summary(pod);
    match summary.last_restart.filter(|_| summary.restarts > 0) {
        Some(last) => format!(
            "{} ({} ago)",
            summary.restarts,
            human_duration(now.as_second() - last.as_second())
        ),
        None => summary.restarts.to_string(),
    }
    .into()
}

pub(in super::super) fn readiness_gates(pod: &Value<'_>, _: Timestamp) -> Cell {
    let gates = items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.into();
    }
    let passed = gates
        .iter()
        .filter(|gate| has_condition(pod, text(gate, "/conditionType")))
        .count();
    format!("{passed}/{}", gates.len()).into()
}

pub(in super::super) fn node_status(node: &Value<'_>, _: Timestamp) -> Cell {
    let conditions = items(node, "/status/conditions");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let ready = ready.map_or(
        "Unknown",
        |ready| if ready["status"] == "True" { "Ready" } else { "NotReady" },
    );
    let closed = if is_true(node, "/spec/unschedulable") {
        ",SchedulingDisabled"
    } else {
        ""
    };
    format!("{ready}{closed}").into()
}

pub(in super::super) fn node_roles(node: &Value<'_>, _: Timestamp) -> Cell {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let role = |(key, value): (&str, &Value<'_>)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) if !role.is_empty() => Some(role.to_owned()),
        _ if key == "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()).map(str::to_owned),
        _ => None,
    };
    let mut roles: Vec<String> = labels.into_iter().flatten().filter_map(role).collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(","))
}

/// The first address of a kind.
pub(in super::super) fn node_address(node: &Value<'_>, kind: &str) -> Cell {
    let mut all = items(node, "/status/addresses").iter();
    let found = all.find(|address| address["type"] == *kind);
    found
        .map_or(NONE, |address| text(address, "/address"))
        .to_owned()
        .into()
}
