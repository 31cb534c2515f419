//! What a cluster has to have before a broker can live there.

use osb_engine::{Broker, DefinitionError};
use serde_json::{Value, json};

use crate::access;
use crate::credentials::DEFAULT_PLATFORM;
use crate::error::HostError;
use crate::home::{HomeKind, HomeOptions};
use crate::options::HostOptions;

/// All that the engine does with its own objects.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// The objects that a cluster has to have before a broker can start on it with `--home kubernetes`, in the order in which
/// they are to be applied: definitions of its resources, its namespaces, and a ServiceAccount with the least rights that
/// it runs with.
///
/// Its name is the broker's, and so are those of its role and binding. Platforms are those of the auth file.
///
/// ```
/// # mod osb_sdk { pub use osb_engine::Broker; pub use osb_host::{HostOptions, manifests}; }
/// use osb_sdk::{Broker, HostOptions, manifests};
///
/// let objects = manifests(&Broker::new("databases"), &HostOptions::on("/var/lib/databases"))?;
/// assert!(objects.iter().any(|object| object["kind"] == "ServiceAccount"));
/// # Ok::<(), osb_host::HostError>(())
/// ```
///
/// # Errors
/// [`HostError`] when the author's resources or the auth file are wrong.
pub fn manifests(broker: &Broker, options: &HostOptions) -> Result<Vec<Value>, HostError> {
    let home = HomeOptions {
        home: HomeKind::Kubernetes,
        ..options.home.clone()
    };
    let definitions = broker
        .definitions()
        .map_err(|error: DefinitionError| osb_engine::StartError::from(error))?;
    let (file, _) = access::named(options, &mut Vec::new())?;
    let mut namespaces = vec![home.system_namespace().to_owned(), home.namespace_of(DEFAULT_PLATFORM)];
    for platform in file.platforms() {
        let namespace = home.namespace_of(&platform.0);
        if !namespaces.contains(&namespace) {
            namespaces.push(namespace);
        }
    }
    let account = account(broker, home.system_namespace());
    let (role, binding) = rights(broker, &definitions, &namespaces, &account);
    let mut all = definitions;
    all.extend(namespaces.iter().map(|name| namespace(name)));
    all.extend([account, role, binding]);
    Ok(all)
}

/// The same as text: YAML documents.
///
/// ```
/// # mod osb_sdk { pub use osb_engine::Broker; pub use osb_host::{HostOptions, manifests_yaml}; }
/// use osb_sdk::{Broker, HostOptions, manifests_yaml};
///
/// let text = manifests_yaml(&Broker::new("databases"), &HostOptions::on("/var/lib/databases"))?;
/// assert!(text.contains("kind: ServiceAccount"));
/// # Ok::<(), osb_host::HostError>(())
/// ```
///
/// # Errors
/// As [`manifests`].
pub fn manifests_yaml(broker: &Broker, options: &HostOptions) -> Result<String, HostError> {
    let all = manifests(broker, options)?;
    let document = |object: &Value| serde_saphyr::to_string(object).map(|text| format!("---\n{text}"));
    let documents: Result<String, _> = all.iter().map(document).collect();
    documents.map_err(|error| HostError::NoManifests {
        what: error.to_string(),
    })
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn account(broker: &Broker, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": broker.name(), "namespace": namespace},
    })
}

/// Its own API group, which nobody else has anything in, and a look at its own namespaces.
fn rights(broker: &Broker, definitions: &[Value], namespaces: &[String], account: &Value) -> (Value, Value) {
    let mut resources = Vec::new();
    for definition in definitions {
        let spec = &definition["spec"];
        let plural = spec["names"]["plural"].as_str().unwrap_or_default();
        resources.push(plural.to_owned());
        let versions = spec["versions"].as_array().into_iter().flatten();
        if versions
            .into_iter()
            .any(|version| version["subresources"]["status"].is_object())
        {
            resources.push(format!("{plural}/status"));
        }
    }
    let name = format!("{}-broker", broker.group());
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": [broker.group()], "resources": resources, "verbs": VERBS},
            {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": namespaces, "verbs": ["get"]},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{
            "kind": "ServiceAccount",
            "name": account["metadata"]["name"],
            "namespace": account["metadata"]["namespace"],
        }],
    });
    (role, binding)
}
