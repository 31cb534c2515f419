//! Defaults of the smaller groups.

use apimachinery::json;
use apimachinery::json::{Map, Value};

use super::{is_empty, set, set_number, text};

/// The API group of the kinds of RBAC.
const RBAC: &str = "rbac.authorization.k8s.io";

/// Fills in what a type has rules for.
pub(super) fn fill(package: &str, name: &str, members: &mut Map<'_>) {
    match (package, name) {
        ("admissionregistration/v1", _) => admission(name, members),
        ("apiregistration/v1", "ServiceReference") => set(members, "port", 443),
        ("apiextensions/v1", "ServiceReference") => set(members, "port", 443),
        ("discovery/v1", "EndpointPort") => {
            if !members.contains_key("name") {
                members.insert("name", "");
            }
            set(members, "protocol", "TCP");
        }
        ("flowcontrol/v1", _) => flow_control(name, members),
        ("networking/v1", "NetworkPolicyPort") => set(members, "protocol", "TCP"),
        ("networking/v1", "NetworkPolicySpec") if is_empty(members, "policyTypes") => {
            let types = if is_empty(members, "egress") {
                json!(["Ingress"])
            } else {
                json!(["Ingress", "Egress"])
            };
            members.insert("policyTypes", types);
        }
        ("networking/v1", "IngressClassParametersReference") => set(members, "scope", "Cluster"),
        ("rbac/v1", "RoleRef") => set(members, "apiGroup", RBAC),
        ("rbac/v1", "Subject") if matches!(text(members, "kind"), "User" | "Group") => set(members, "apiGroup", RBAC),
        ("scheduling/v1", "PriorityClass") => set(members, "preemptionPolicy", "PreemptLowerPriority"),
        ("storage/v1", "StorageClass") => {
            set(members, "reclaimPolicy", "Delete");
            set(members, "volumeBindingMode", "Immediate");
        }
        ("storage/v1", "CSIDriverSpec") => csi_driver(members),
        _ => {}
    }
}

fn admission(name: &str, members: &mut Map<'_>) {
    match name {
        "ValidatingWebhook" | "MutatingWebhook" => {
            set(members, "failurePolicy", "Fail");
            selectors(members);
            set(members, "timeoutSeconds", 10);
            if name == "MutatingWebhook" {
                set(members, "reinvocationPolicy", "Never");
            }
        }
        "MatchResources" => selectors(members),
        // With the rules that webhooks and policies have.
        "RuleWithOperations" | "NamedRuleWithOperations" => set(members, "scope", "*"),
        "ServiceReference" => set(members, "port", 443),
        "ValidatingAdmissionPolicySpec" | "MutatingAdmissionPolicySpec" => set(members, "failurePolicy", "Fail"),
        _ => {}
    }
}

fn selectors(members: &mut Map<'_>) {
    set(members, "matchPolicy", "Equivalent");
    set(members, "namespaceSelector", Map::new());
    set(members, "objectSelector", Map::new());
}

fn flow_control(name: &str, members: &mut Map<'_>) {
    match name {
        "FlowSchemaSpec" => set_number(members, "matchingPrecedence", 1000),
        "ExemptPriorityLevelConfiguration" => {
            set(members, "nominalConcurrencyShares", 0);
            set(members, "lendablePercent", 0);
        }
        "LimitedPriorityLevelConfiguration" => {
            set(members, "nominalConcurrencyShares", 30);
            set(members, "lendablePercent", 0);
        }
        "QueuingConfiguration" => {
            set_number(members, "handSize", 8);
            set_number(members, "queues", 64);
            set_number(members, "queueLengthLimit", 50);
        }
        _ => {}
    }
}

fn csi_driver(spec: &mut Map<'_>) {
    set(spec, "attachRequired", true);
    for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set(spec, name, false);
    }
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if is_empty(spec, "volumeLifecycleModes") {
        spec.insert("volumeLifecycleModes", Value::from(vec!["Persistent"]));
    }
}
