//! The ClusterRoles and ClusterRoleBindings that clients of a cluster expect.

use apimachinery::rbac::GROUP;
use serde_json::{Value, json};

use super::Wish;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const READ_WRITE: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

type RuleRow = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

/// Verbs, groups, resources: what somebody may look at in a namespace.
const VIEW: &[RuleRow] = &[
    (
        READ,
        &[""],
        &[
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "configmaps",
        ],
    ),
    (
        READ,
        &[""],
        &[
            "limitranges",
            "resourcequotas",
            "bindings",
            "pods/status",
            "resourcequotas/status",
            "namespaces/status",
            "replicationcontrollers/status",
            "pods/log",
        ],
    ),
    (READ, &[""], &["namespaces"]),
    (READ, &["", "events.k8s.io"], &["events"]),
    (READ, &["discovery.k8s.io"], &["endpointslices"]),
    (
        READ,
        &["apps"],
        &[
            "controllerrevisions",
            "statefulsets",
            "statefulsets/status",
            "statefulsets/scale",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/status",
            "deployments/scale",
            "replicasets",
            "replicasets/status",
            "replicasets/scale",
        ],
    ),
    (
        READ,
        &["autoscaling"],
        &["horizontalpodautoscalers", "horizontalpodautoscalers/status"],
    ),
    (
        READ,
        &["batch"],
        &["jobs", "cronjobs", "cronjobs/status", "jobs/status"],
    ),
    (
        READ,
        &["extensions"],
        &[
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "ingresses",
            "ingresses/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "replicationcontrollers/scale",
            "networkpolicies",
        ],
    ),
    (
        READ,
        &["policy"],
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
    ),
    (
        READ,
        &["networking.k8s.io"],
        &["networkpolicies", "ingresses", "ingresses/status"],
    ),
    (
        READ,
        &["resource.k8s.io"],
        &["resourceclaims", "resourceclaims/status", "resourceclaimtemplates"],
    ),
];

/// What somebody may change in a namespace.
const EDIT: &[RuleRow] = &[
    (
        READ,
        &[""],
        &[
            "pods/attach",
            "pods/proxy",
            "pods/exec",
            "pods/portforward",
            "secrets",
            "services/proxy",
        ],
    ),
    (&["impersonate"], &[""], &["serviceaccounts"]),
    (
        WRITE,
        &[""],
        &["pods", "pods/attach", "pods/proxy", "pods/exec", "pods/portforward"],
    ),
    (&["create"], &[""], &["pods/eviction"]),
    (
        WRITE,
        &[""],
        &[
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/proxy",
            "persistentvolumeclaims",
            "configmaps",
            "secrets",
        ],
    ),
    (&["create"], &[""], &["serviceaccounts/token"]),
    (WRITE, &["", "events.k8s.io"], &["events"]),
    (
        WRITE,
        &["apps"],
        &[
            "statefulsets",
            "statefulsets/scale",
            "daemonsets",
            "deployments",
            "deployments/scale",
            "deployments/rollback",
            "replicasets",
            "replicasets/scale",
        ],
    ),
    (WRITE, &["autoscaling"], &["horizontalpodautoscalers"]),
    (WRITE, &["batch"], &["jobs", "cronjobs"]),
    (
        WRITE,
        &["extensions"],
        &[
            "daemonsets",
            "deployments",
            "deployments/scale",
            "deployments/rollback",
            "ingresses",
            "replicasets",
            "replicasets/scale",
            "replicationcontrollers/scale",
            "networkpolicies",
        ],
    ),
    (WRITE, &["policy"], &["poddisruptionbudgets"]),
    (WRITE, &["networking.k8s.io"], &["networkpolicies", "ingresses"]),
    (READ_WRITE, &["coordination.k8s.io"], &["leases"]),
    (
        WRITE,
        &["resource.k8s.io"],
        &["resourceclaims", "resourceclaimtemplates"],
    ),
];

/// What somebody may give others in a namespace.
const ADMIN: &[RuleRow] = &[
    (&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews"]),
    (READ_WRITE, &[GROUP], &["roles", "rolebindings"]),
];

const BASIC: &[RuleRow] = &[
    (
        &["create"],
        &["authorization.k8s.io"],
        &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    ),
    (&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
];

const DELEGATOR: &[RuleRow] = &[
    (&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
    (&["create"], &["authorization.k8s.io"], &["subjectaccessreviews"]),
];

const DISCOVERY: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];
const MONITORING: &[&str] = &[
    "/flagz",
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/metrics",
    "/metrics/slis",
    "/readyz",
    "/readyz/*",
    "/statusz",
];
const ISSUER: &[&str] = &[
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
];

fn rules(rows: &[RuleRow]) -> Vec<Value> {
    let sorted = |texts: &[&'static str]| {
        let mut texts = texts.to_vec();
        texts.sort_unstable();
        texts
    };
    let row = |(verbs, groups, resources): &RuleRow| json!({"verbs": sorted(verbs), "apiGroups": groups, "resources": sorted(resources)});
    rows.iter().map(row).collect()
}

fn paths(urls: &[&str]) -> Value {
    json!({"verbs": ["get"], "nonResourceURLs": urls})
}

fn metadata(name: &str, label: Option<&str>) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    if let Some(label) = label {
        labels[label] = json!("true");
    }
    json!({"name": name, "labels": labels, "annotations": {super::AUTO_UPDATE: "true"}})
}

fn aggregate_to(role: &str) -> String {
    format!("{GROUP}/aggregate-to-{role}")
}

fn cluster_roles() -> Vec<Value> {
    let role = |name: &str, rules: Vec<Value>| json!({"metadata": metadata(name, None), "rules": rules});
    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    let mut monitoring = vec![paths(MONITORING)];
    monitoring.extend(rules(&[(&["get"], &[""], &["nodes/metrics"])]));
    let mut roles = vec![
        role(
            "cluster-admin",
            vec![all, json!({"verbs": ["*"], "nonResourceURLs": ["*"]})],
        ),
        role("system:discovery", vec![paths(DISCOVERY)]),
        role("system:public-info-viewer", vec![paths(PUBLIC)]),
        role("system:monitoring", monitoring),
        role("system:basic-user", rules(BASIC)),
        role("system:auth-delegator", rules(DELEGATOR)),
        role("system:service-account-issuer-discovery", vec![paths(ISSUER)]),
    ];
    for (name, into, own) in [
        ("admin", None, ADMIN),
        ("edit", Some("admin"), EDIT),
        ("view", Some("edit"), VIEW),
    ] {
        let label = into.map(aggregate_to);
        let selector = json!({"matchLabels": {aggregate_to(name): "true"}});
        roles.push(json!({
            "metadata": metadata(name, label.as_deref()), "aggregationRule": {"clusterRoleSelectors": [selector]},
        }));
        let part = metadata(&format!("system:aggregate-to-{name}"), Some(&aggregate_to(name)));
        roles.push(json!({"metadata": part, "rules": rules(own)}));
    }
    roles
}

/// Role and groups.
const BINDINGS: &[(&str, &[&str])] = &[
    ("cluster-admin", &["system:masters"]),
    ("system:discovery", &["system:authenticated"]),
    (
        "system:public-info-viewer",
        &["system:authenticated", "system:unauthenticated"],
    ),
    ("system:monitoring", &["system:monitoring"]),
    ("system:basic-user", &["system:authenticated"]),
    ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
];

fn bindings() -> impl Iterator<Item = Value> {
    BINDINGS.iter().map(|(role, groups)| {
        let subjects: Vec<Value> = groups
            .iter()
            .map(|group| json!({"kind": "Group", "apiGroup": GROUP, "name": group}))
            .collect();
        json!({
            "metadata": metadata(role, None), "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        })
    })
}

/// All of them.
pub(super) fn wishes() -> Vec<Wish> {
    let wish = |plural, object| Wish {
        group: GROUP,
        plural,
        namespace: String::new(),
        object,
    };
    let roles = cluster_roles().into_iter().map(|role| wish("clusterroles", role));
    roles
        .chain(bindings().map(|binding| wish("clusterrolebindings", binding)))
        .collect()
}
