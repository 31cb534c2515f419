//! The groups that configure a cluster: definitions, admission, RBAC, network, storage, nodes, flow control.

use apimachinery::json::Value;
use jiff::Timestamp;

use super::{AGE, Builtin, CREATED_AT, Cell, Names, Rules, Special, cells, column, kind};

const NEVER_CALLED: &str = "this server calls no admission webhooks: the configuration is stored and has no effect";
const NEVER_EVALUATED: &str = "this server evaluates no admission policies: the object is stored and has no effect";
const NEVER_PROXIED: &str =
    "this server passes no requests on to other API servers: the APIService is stored and has no effect";

/// A column of a boolean.
const fn flag(name: &'static str, cell: fn(&Value<'_>, Timestamp) -> Value<'static>) -> super::Column {
    (name, "boolean", 0, Cell::Made(cell))
}

/// A kind of RBAC.
const ROLE: Rules = Rules {
    names: Names::PathSegment,
    create_on_update: true,
    special: Special::Role,
    ..Rules::PLAIN
};

const BOUND: Rules = Rules {
    special: Special::Binding,
    ..ROLE
};

/// A kind of which every write says that it is not used, and which has to name the revision that it replaces.
const fn unused(why: &'static str) -> Rules {
    Rules {
        unconditional_update: false,
        special: Special::Unused(why),
        ..Rules::COUNTED
    }
}

const BINDING: &[super::Column] = &[
    column("Role", Cell::Made(cells::role)),
    AGE,
    super::wide("Users", Cell::Made(|binding, _| cells::subjects(binding, "User"))),
    super::wide("Groups", Cell::Made(|binding, _| cells::subjects(binding, "Group"))),
    super::wide(
        "ServiceAccounts",
        Cell::Made(|binding, _| cells::subjects(binding, "ServiceAccount")),
    ),
];

const CONDITIONAL: Rules = Rules {
    unconditional_update: false,
    ..Rules::PLAIN
};

/// The table of the groups.
pub(super) const TABLE: &[Builtin] = &[
    kind(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        Rules {
            unconditional_update: false,
            special: Special::Definition,
            ..Rules::COUNTED
        },
        &[CREATED_AT],
    ),
    kind(
        "apiregistration.k8s.io",
        "APIService",
        Rules {
            unconditional_update: false,
            special: Special::Unused(NEVER_PROXIED),
            ..Rules::PLAIN
        },
        &[
            column("Service", Cell::Made(cells::api_service)),
            column("Available", Cell::Made(cells::available)),
            AGE,
        ],
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        unused(NEVER_CALLED),
        &[("Webhooks", "integer", 0, Cell::Made(cells::webhooks)), AGE],
    ),
    kind(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        unused(NEVER_CALLED),
        &[("Webhooks", "integer", 0, Cell::Made(cells::webhooks)), AGE],
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        unused(NEVER_EVALUATED),
        &[
            ("Validations", "integer", 0, Cell::Made(cells::validations)),
            column("ParamKind", Cell::Made(cells::param_kind)),
            AGE,
        ],
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        unused(NEVER_EVALUATED),
        &[
            column("PolicyName", Cell::At(&["spec", "policyName"])),
            column("ParamRef", Cell::Made(cells::param_ref)),
            AGE,
        ],
    ),
    kind(
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        unused(NEVER_EVALUATED),
        &[
            ("Mutations", "integer", 0, Cell::Made(cells::mutations)),
            column("ParamKind", Cell::Made(cells::param_kind)),
            AGE,
        ],
    ),
    kind(
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        unused(NEVER_EVALUATED),
        &[
            column("PolicyName", Cell::At(&["spec", "policyName"])),
            column("ParamRef", Cell::Made(cells::param_ref)),
            AGE,
        ],
    ),
    kind("rbac.authorization.k8s.io", "Role", ROLE, &[CREATED_AT]),
    kind("rbac.authorization.k8s.io", "ClusterRole", ROLE, &[CREATED_AT]),
    kind("rbac.authorization.k8s.io", "RoleBinding", BOUND, BINDING),
    kind("rbac.authorization.k8s.io", "ClusterRoleBinding", BOUND, BINDING),
    kind(
        "networking.k8s.io",
        "Ingress",
        Rules::COUNTED,
        &[
            column("Class", Cell::Or(&["spec", "ingressClassName"], "<none>")),
            column("Hosts", Cell::Made(cells::hosts)),
            column("Address", Cell::Made(cells::balancer)),
            column("Ports", Cell::Made(cells::ingress_ports)),
            AGE,
        ],
    ),
    kind(
        "networking.k8s.io",
        "IngressClass",
        Rules::COUNTED,
        &[
            column("Controller", Cell::At(&["spec", "controller"])),
            column("Parameters", Cell::Made(cells::class_parameters)),
            AGE,
        ],
    ),
    kind(
        "networking.k8s.io",
        "NetworkPolicy",
        Rules::COUNTED,
        &[column("Pod-Selector", Cell::Made(cells::pod_selector)), AGE],
    ),
    kind(
        "networking.k8s.io",
        "IPAddress",
        Rules::PLAIN,
        &[column("ParentRef", Cell::Made(cells::parent))],
    ),
    kind(
        "networking.k8s.io",
        "ServiceCIDR",
        Rules::PLAIN,
        &[column("CIDRs", Cell::Made(cells::ranges)), AGE],
    ),
    kind(
        "storage.k8s.io",
        "StorageClass",
        Rules::PLAIN,
        &[
            column("Provisioner", Cell::At(&["provisioner"])),
            column("ReclaimPolicy", Cell::At(&["reclaimPolicy"])),
            column("VolumeBindingMode", Cell::At(&["volumeBindingMode"])),
            ("AllowVolumeExpansion", "string", 0, Cell::Made(cells::allows_expansion)),
            AGE,
        ],
    ),
    kind(
        "storage.k8s.io",
        "CSIDriver",
        CONDITIONAL,
        &[
            flag("AttachRequired", cells::attach_required),
            flag("PodInfoOnMount", cells::pod_info),
            flag("StorageCapacity", cells::storage_capacity),
            column("TokenRequests", Cell::Made(cells::token_requests)),
            flag("RequiresRepublish", cells::requires_republish),
            column("Modes", Cell::Made(cells::lifecycle_modes)),
            AGE,
        ],
    ),
    kind(
        "storage.k8s.io",
        "CSINode",
        CONDITIONAL,
        &[("Drivers", "integer", 0, Cell::Made(cells::drivers)), AGE],
    ),
    kind("storage.k8s.io", "CSIStorageCapacity", CONDITIONAL, &[CREATED_AT]),
    kind(
        "storage.k8s.io",
        "VolumeAttachment",
        CONDITIONAL,
        &[
            column("Attacher", Cell::At(&["spec", "attacher"])),
            column("PV", Cell::At(&["spec", "source", "persistentVolumeName"])),
            column("Node", Cell::At(&["spec", "nodeName"])),
            ("Attached", "boolean", 0, Cell::Made(cells::attached)),
            AGE,
        ],
    ),
    kind(
        "storage.k8s.io",
        "VolumeAttributesClass",
        Rules::PLAIN,
        &[column("DriverName", Cell::At(&["driverName"])), AGE],
    ),
    kind(
        "node.k8s.io",
        "RuntimeClass",
        Rules {
            create_on_update: true,
            ..CONDITIONAL
        },
        &[column("Handler", Cell::At(&["handler"])), AGE],
    ),
    kind(
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        Rules {
            special: Special::Unused(NO_FLOW_CONTROL),
            ..Rules::COUNTED
        },
        &[
            column(
                "PriorityLevel",
                Cell::At(&["spec", "priorityLevelConfiguration", "name"]),
            ),
            column("MatchingPrecedence", Cell::Number(&["spec", "matchingPrecedence"])),
            column(
                "DistinguisherMethod",
                Cell::Or(&["spec", "distinguisherMethod", "type"], "<none>"),
            ),
            AGE,
            column("MissingPL", Cell::Made(cells::missing_level)),
        ],
    ),
    kind(
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        Rules {
            special: Special::Unused(NO_FLOW_CONTROL),
            ..Rules::COUNTED
        },
        &[
            column("Type", Cell::At(&["spec", "type"])),
            column(
                "NominalConcurrencyShares",
                Cell::NumberOr(&["spec", "limited", "nominalConcurrencyShares"], "<none>"),
            ),
            column(
                "Queues",
                Cell::NumberOr(&["spec", "limited", "limitResponse", "queuing", "queues"], "<none>"),
            ),
            column(
                "HandSize",
                Cell::NumberOr(&["spec", "limited", "limitResponse", "queuing", "handSize"], "<none>"),
            ),
            column(
                "QueueLengthLimit",
                Cell::NumberOr(
                    &["spec", "limited", "limitResponse", "queuing", "queueLengthLimit"],
                    "<none>",
                ),
            ),
            AGE,
        ],
    ),
];

const NO_FLOW_CONTROL: &str = "this server has limits of its own: the object is stored and has no effect";
