//! The core group, and Events of the group that is named for them.

use super::{AGE, Builtin, CREATED, CREATED_AT, Cell, Column, Names, Rules, Special, cells, column, kind, wide};

const EVENT_COLUMNS: &[Column] = &[
    column(
        "Last Seen",
        Cell::Since(&[
            &["series", "lastObservedTime"],
            &["lastTimestamp"],
            &["eventTime"],
            CREATED,
        ]),
    ),
    column("Type", Cell::At(&["type"])),
    column("Reason", Cell::At(&["reason"])),
    column("Object", Cell::Involved),
    wide("Subobject", Cell::At(&["involvedObject", "fieldPath"])),
    wide("Source", Cell::Source),
    column("Message", Cell::At(&["message"])),
    wide(
        "First Seen",
        Cell::Since(&[&["firstTimestamp"], &["eventTime"], CREATED]),
    ),
    wide("Count", Cell::Made(cells::event_count)),
    wide("Name", Cell::At(&["metadata", "name"])),
];

const EVENT: Rules = Rules {
    create_on_update: true,
    special: Special::Event,
    ..Rules::PLAIN
};

/// The table of the group.
pub(super) const TABLE: &[Builtin] = &[
    Builtin {
        selectable: &["status.phase"],
        ..kind(
            "",
            "Namespace",
            Rules {
                names: Names::Label,
                delete_collection: false,
                special: Special::Namespace,
                ..Rules::PLAIN
            },
            &[column("Status", Cell::At(&["status", "phase"])), AGE],
        )
    },
    kind(
        "",
        "ConfigMap",
        Rules {
            special: Special::ConfigMap,
            ..Rules::PLAIN
        },
        &[column("Data", Cell::Count(&["data", "binaryData"])), AGE],
    ),
    Builtin {
        selectable: &["type"],
        ..kind(
            "",
            "Secret",
            Rules {
                special: Special::Secret,
                ..Rules::PLAIN
            },
            &[
                column("Type", Cell::At(&["type"])),
                column("Data", Cell::Count(&["data"])),
                AGE,
            ],
        )
    },
    kind("", "ServiceAccount", Rules::PLAIN, &[AGE]),
    Builtin {
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ..kind("", "Event", EVENT, EVENT_COLUMNS)
    },
    Builtin {
        selectable: &["spec.clusterIP", "spec.type"],
        ..kind(
            "",
            "Service",
            Rules {
                names: Names::Label,
                create_on_update: true,
                special: Special::Service,
                ..Rules::PLAIN
            },
            &[
                column("Type", Cell::At(&["spec", "type"])),
                column("Cluster-IP", Cell::Or(&["spec", "clusterIP"], "<none>")),
                column("External-IP", Cell::Made(cells::external_ip)),
                column("Port(s)", Cell::Made(cells::service_ports)),
                AGE,
                wide("Selector", Cell::Made(cells::selector)),
            ],
        )
    },
    kind(
        "",
        "Endpoints",
        Rules {
            create_on_update: true,
            ..Rules::PLAIN
        },
        &[column("Endpoints", Cell::Made(cells::endpoints)), AGE],
    ),
    Builtin {
        selectable: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ..kind(
            "",
            "Pod",
            Rules {
                special: Special::Pod,
                ..Rules::COUNTED
            },
            &[
                column("Ready", Cell::Made(cells::pod_ready)),
                column("Status", Cell::Made(cells::pod_status)),
                column("Restarts", Cell::Made(cells::pod_restarts)),
                AGE,
                wide("IP", Cell::Or(&["status", "podIP"], "<none>")),
                wide("Node", Cell::Or(&["spec", "nodeName"], "<none>")),
                wide("Nominated Node", Cell::Or(&["status", "nominatedNodeName"], "<none>")),
                wide("Readiness Gates", Cell::Made(cells::readiness_gates)),
            ],
        )
    },
    kind(
        "",
        "PodTemplate",
        Rules::COUNTED,
        &[
            column("Containers", Cell::Made(cells::containers)),
            column("Images", Cell::Made(cells::images)),
            column("Pod Labels", Cell::Made(cells::template_labels)),
        ],
    ),
    Builtin {
        selectable: &["status.replicas"],
        ..kind(
            "",
            "ReplicationController",
            Rules {
                orphans_dependents: true,
                ..Rules::COUNTED
            },
            super::workloads::REPLICAS,
        )
    },
    Builtin {
        selectable: &["spec.unschedulable"],
        ..kind(
            "",
            "Node",
            Rules {
                special: Special::Node,
                ..Rules::PLAIN
            },
            &[
                column("Status", Cell::Made(cells::node_status)),
                column("Roles", Cell::Made(cells::node_roles)),
                AGE,
                column("Version", Cell::At(&["status", "nodeInfo", "kubeletVersion"])),
                wide(
                    "Internal-IP",
                    Cell::Made(|node, _| cells::node_address(node, "InternalIP")),
                ),
                wide(
                    "External-IP",
                    Cell::Made(|node, _| cells::node_address(node, "ExternalIP")),
                ),
                wide("OS-Image", Cell::Or(&["status", "nodeInfo", "osImage"], "<unknown>")),
                wide(
                    "Kernel-Version",
                    Cell::Or(&["status", "nodeInfo", "kernelVersion"], "<unknown>"),
                ),
                wide(
                    "Container-Runtime",
                    Cell::Or(&["status", "nodeInfo", "containerRuntimeVersion"], "<unknown>"),
                ),
            ],
        )
    },
    kind(
        "",
        "PersistentVolume",
        Rules {
            special: Special::Volume,
            ..Rules::PLAIN
        },
        &[
            column("Capacity", Cell::At(&["spec", "capacity", "storage"])),
            column(
                "Access Modes",
                Cell::Made(|volume, _| cells::access_modes(volume, "/spec/accessModes")),
            ),
            column("Reclaim Policy", Cell::At(&["spec", "persistentVolumeReclaimPolicy"])),
            column("Status", Cell::Made(cells::phase)),
            column("Claim", Cell::Made(cells::claim)),
            column("StorageClass", Cell::At(&["spec", "storageClassName"])),
            column(
                "VolumeAttributesClass",
                Cell::Or(&["spec", "volumeAttributesClassName"], "<unset>"),
            ),
            column("Reason", Cell::At(&["status", "reason"])),
            AGE,
            wide("VolumeMode", Cell::Or(&["spec", "volumeMode"], "<unset>")),
        ],
    ),
    kind(
        "",
        "PersistentVolumeClaim",
        Rules::PLAIN,
        &[
            column("Status", Cell::Made(cells::phase)),
            column("Volume", Cell::At(&["spec", "volumeName"])),
            column("Capacity", Cell::Made(cells::claim_capacity)),
            column("Access Modes", Cell::Made(cells::claim_modes)),
            column("StorageClass", Cell::At(&["spec", "storageClassName"])),
            column(
                "VolumeAttributesClass",
                Cell::Or(&["spec", "volumeAttributesClassName"], "<unset>"),
            ),
            AGE,
            wide("VolumeMode", Cell::Or(&["spec", "volumeMode"], "<unset>")),
        ],
    ),
    kind(
        "",
        "ResourceQuota",
        Rules::PLAIN,
        &[
            column("Request", Cell::Made(cells::quota_requests)),
            column("Limit", Cell::Made(cells::quota_limits)),
            AGE,
        ],
    ),
    kind(
        "",
        "LimitRange",
        Rules {
            create_on_update: true,
            ..Rules::PLAIN
        },
        &[CREATED_AT],
    ),
    Builtin {
        selectable: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ..kind("events.k8s.io", "Event", EVENT, EVENT_COLUMNS)
    },
    kind(
        "discovery.k8s.io",
        "EndpointSlice",
        Rules::COUNTED,
        &[
            column("AddressType", Cell::At(&["addressType"])),
            column("Ports", Cell::Made(cells::slice_ports)),
            column("Endpoints", Cell::Made(cells::slice_addresses)),
            AGE,
        ],
    ),
    kind(
        "coordination.k8s.io",
        "Lease",
        Rules {
            unconditional_update: false,
            create_on_update: true,
            ..Rules::PLAIN
        },
        &[column("Holder", Cell::At(&["spec", "holderIdentity"])), AGE],
    ),
    Builtin {
        selectable: &["spec.signerName"],
        ..kind(
            "certificates.k8s.io",
            "CertificateSigningRequest",
            Rules {
                special: Special::CertificateRequest,
                ..Rules::PLAIN
            },
            &[
                AGE,
                column("SignerName", Cell::At(&["spec", "signerName"])),
                column("Requestor", Cell::At(&["spec", "username"])),
                column("RequestedDuration", Cell::Made(cells::requested_duration)),
                column("Condition", Cell::Made(cells::request_condition)),
            ],
        )
    },
];
