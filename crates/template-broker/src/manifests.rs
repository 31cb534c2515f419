//! What a cluster has to have before the template broker can work on it.

use serde_json::{Value, json};
use template_controller::{Served, definitions, policy, roles};

/// The name of the role and of its binding.
const ROLE: &str = "template-broker.templates.osb.internal";

/// The objects that a cluster needs for the template broker beside those of any broker, in the order in which they are to be applied,
/// by an administrator: the kinds of `template.openshift.io/v1` where the cluster does not serve them itself, the policy that lets
/// nobody name another one as requester, and the rights of the broker's service account.
///
/// The account may act in the name of every user but those of Kubernetes itself, which the broker never asks for, and reads and
/// deletes what was made so. It is to be guarded like an administrator's.
pub fn manifests(kinds: Served, account: &str, namespace: &str) -> Vec<Value> {
    let mut all = Vec::new();
    if kinds == Served::AsCustomResources {
        all.extend(definitions());
        all.extend(roles());
    }
    all.extend(policy());
    all.push(role());
    all.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }));
    all
}

/// Each rule with what needs it.
fn role() -> Value {
    let group = "template.openshift.io";
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": [
            // Objects are made in the name of who asked for them.
            {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["uids", "userextras/*"], "verbs": ["impersonate"]},
            // It is asked before whether he may.
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
            // What was made is waited for, read for credentials, and removed, whatever its kind; templates and namespaces are watched, and
            // definitions, roles and the policy are looked at.
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch", "delete"]},
            // The broker's own objects: instances, their parameters and the values that were made, and what is shown of bindings.
            {
                "apiGroups": [group],
                "resources": ["templates", "templateinstances", "brokertemplateinstances"],
                "verbs": ["create", "update", "patch"],
            },
            {"apiGroups": [group], "resources": ["templateinstances/status"], "verbs": ["update", "patch"]},
            {"apiGroups": [group], "resources": ["templateinstances/finalizers"], "verbs": ["update"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "update", "patch"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_the_cluster_serves_are_left_alone() {
        let kinds = |served| {
            let all = manifests(served, "a", "b");
            let kinds: Vec<String> = all
                .iter()
                .map(|object| object["kind"].as_str().unwrap().to_owned())
                .collect();
            kinds
        };
        let policy = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
        let rights = ["ClusterRole", "ClusterRoleBinding"];
        assert_eq!(kinds(Served::ByCluster), [policy, rights].concat());
        let whole = kinds(Served::AsCustomResources);
        assert_eq!(
            whole.iter().filter(|kind| *kind == "CustomResourceDefinition").count(),
            3
        );
    }
}
