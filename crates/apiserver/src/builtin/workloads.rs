//! What runs pods, and what belongs to that: apps, batch, autoscaling, policy, scheduling.

use super::{AGE, Builtin, Cell, Column, Rules, Special, cells, column, kind, number, wide};

const CONTAINERS: Column = wide("Containers", Cell::Made(cells::containers));
const IMAGES: Column = wide("Images", Cell::Made(cells::images));
const SELECTOR: Column = wide("Selector", Cell::Made(cells::selector));

/// The columns of what keeps a number of pods.
pub(super) const REPLICAS: &[Column] = &[
    number("Desired", &["spec", "replicas"]),
    number("Current", &["status", "replicas"]),
    number("Ready", &["status", "readyReplicas"]),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const AUTOSCALER: &[Column] = &[
    column("Reference", Cell::Made(cells::scale_target)),
    column("Targets", Cell::Made(cells::metrics)),
    column("MinPods", Cell::Or(&["spec", "minReplicas"], "<unset>")),
    column("MaxPods", Cell::Number(&["spec", "maxReplicas"])),
    column("Replicas", Cell::Number(&["status", "currentReplicas"])),
    AGE,
];

/// The table of the groups.
pub(super) const TABLE: &[Builtin] = &[
    kind(
        "apps",
        "Deployment",
        Rules::COUNTED,
        &[
            column("Ready", Cell::Made(cells::ready_replicas)),
            column("Up-to-date", Cell::Number(&["status", "updatedReplicas"])),
            column("Available", Cell::Number(&["status", "availableReplicas"])),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    Builtin {
        selectable: &["status.replicas"],
        ..kind("apps", "ReplicaSet", Rules::COUNTED, REPLICAS)
    },
    kind(
        "apps",
        "StatefulSet",
        Rules::COUNTED,
        &[
            column("Ready", Cell::Made(cells::ready_replicas)),
            AGE,
            CONTAINERS,
            IMAGES,
        ],
    ),
    kind(
        "apps",
        "DaemonSet",
        Rules {
            special: Special::DaemonSet,
            ..Rules::COUNTED
        },
        &[
            number("Desired", &["status", "desiredNumberScheduled"]),
            number("Current", &["status", "currentNumberScheduled"]),
            number("Ready", &["status", "numberReady"]),
            number("Up-to-date", &["status", "updatedNumberScheduled"]),
            number("Available", &["status", "numberAvailable"]),
            column("Node Selector", Cell::Made(cells::node_selector)),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    kind(
        "apps",
        "ControllerRevision",
        Rules::PLAIN,
        &[
            column("Controller", Cell::Made(cells::controller)),
            column("Revision", Cell::Number(&["revision"])),
            AGE,
        ],
    ),
    Builtin {
        selectable: &["status.successful"],
        ..kind(
            "batch",
            "Job",
            Rules {
                orphans_dependents: true,
                special: Special::Job,
                ..Rules::COUNTED
            },
            &[
                column("Status", Cell::Made(cells::job_status)),
                column("Completions", Cell::Made(cells::job_completions)),
                column("Duration", Cell::Made(cells::job_duration)),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ],
        )
    },
    kind(
        "batch",
        "CronJob",
        Rules::COUNTED,
        &[
            column("Schedule", Cell::At(&["spec", "schedule"])),
            column("Timezone", Cell::Or(&["spec", "timeZone"], "<none>")),
            ("Suspend", "boolean", 0, Cell::Made(cells::suspended)),
            ("Active", "integer", 0, Cell::Made(cells::active_jobs)),
            column("Last Schedule", Cell::Made(cells::last_schedule)),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    Builtin {
        version: "v2",
        ..kind("autoscaling", "HorizontalPodAutoscaler", Rules::PLAIN, AUTOSCALER)
    },
    kind(
        "policy",
        "PodDisruptionBudget",
        Rules {
            unconditional_update: false,
            ..Rules::COUNTED
        },
        &[
            column("Min Available", Cell::Or(&["spec", "minAvailable"], "N/A")),
            column("Max Unavailable", Cell::Or(&["spec", "maxUnavailable"], "N/A")),
            number("Allowed Disruptions", &["status", "disruptionsAllowed"]),
            AGE,
        ],
    ),
    kind(
        "scheduling.k8s.io",
        "PriorityClass",
        Rules::COUNTED,
        &[
            number("Value", &["value"]),
            ("Global-Default", "boolean", 0, Cell::Made(cells::global_default)),
            AGE,
            column("PreemptionPolicy", Cell::At(&["preemptionPolicy"])),
        ],
    ),
];
