//! How a cluster learns of the kinds of `template.openshift.io/v1`.

use std::time::Duration;

use http::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::api::{Api, ApiError, JSON, MERGE};
use crate::names::{API_VERSION, GROUP};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The definitions of the three kinds, as JSON.
const KINDS: &[&str] = &[
    include_str!("../crds/templates.json"),
    include_str!("../crds/templateinstances.json"),
    include_str!("../crds/brokertemplateinstances.json"),
];

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// How often it is looked whether a new kind is served, and how long between.
const LOOKS: usize = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// How often a definition that somebody else changes at the same time is looked at again.
const TRIES: usize = 5;

/// Who serves the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The cluster has an API of its own for them, as OpenShift does, and a controller with it.
    ByCluster,
    /// They are custom resources, by definitions of ours or of somebody else.
    AsCustomResources,
}

/// Why the kinds are not served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InstallError {
    /// The API server does not answer, or refuses.
    #[error("{doing}: {why}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// What it says.
        why: String,
    },
    /// A definition was taken, but its kind is not served.
    #[error("the kind {0} was defined, but is not served")]
    NotServed(String),
}

/// The definitions of the kinds, for whoever applies them himself.
pub fn definitions() -> Vec<Value> {
    let parsed = KINDS.iter().map(|text| serde_json::from_str(text));
    parsed
        .map(|kind| kind.expect("the files are JSON, as a test shows"))
        .collect()
}

/// What adds the kinds to the roles `admin`, `edit` and `view` of a cluster: who may write in a namespace may write templates and
/// their instances there, but no status.
pub fn roles() -> [Value; 2] {
    let role = |name: &str, to: &[&str], verbs: &[&str]| {
        let labels = to
            .iter()
            .map(|to| (format!("rbac.authorization.k8s.io/aggregate-to-{to}"), json!("true")));
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels.collect::<serde_json::Map<_, _>>()},
            "rules": [{"apiGroups": [GROUP], "resources": ["templates", "templateinstances"], "verbs": verbs}],
        })
    };
    let write = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    [
        role("template.openshift.io:edit", &["admin", "edit"], &write),
        role("template.openshift.io:view", &["view"], &["get", "list", "watch"]),
    ]
}

/// Makes the kinds of `template.openshift.io/v1` known where they are not: as custom resources, whose definitions it creates or
/// brings up to date, and adds them to the roles of users ([`roles`]). Where the cluster serves them by an API of its own,
/// nothing is installed. Needs rights on
/// `customresourcedefinitions`.
///
/// Returns when they are served.
///
/// # Errors
/// [`InstallError`].
pub async fn install(client: &Client) -> Result<Served, InstallError> {
    let api = Api::new(client);
    if served(client).await? == Some(Served::ByCluster) {
        return Ok(Served::ByCluster);
    }
    let definitions = definitions();
    for definition in &definitions {
        put(&api, definition).await?;
    }
    for definition in &definitions {
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
        wait_until_served(&api, plural).await?;
    }
    for role in roles() {
        if let Err(error) = add(&api, &role).await {
            // An administrator may give rights in another way.
            tracing::info!(%error, "the kinds are not added to the roles of users");
        }
    }
    Ok(Served::AsCustomResources)
}

/// Creates a role that is not there. It is looked for first, since who may not create roles may well read them.
async fn add(api: &Api<'_>, role: &Value) -> Result<(), ApiError> {
    let name = role["metadata"]["name"].as_str().unwrap_or_default();
    match api.get::<Value>(&format!("{ROLES}/{name}")).await {
        Err(error) if error.is_not_found() => {}
        found => return found.map(drop),
    }
    match api.text(Method::POST, ROLES, JSON, role.to_string().into_bytes()).await {
        Err(error) if !error.already_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Who serves the kinds now; `None` when nobody does.
///
/// # Errors
/// [`InstallError::Refused`].
pub async fn served(client: &Client) -> Result<Option<Served>, InstallError> {
    let api = Api::new(client);
    match api.get::<Value>(&format!("/apis/{API_VERSION}")).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(refused("looking for the kinds")(error)),
    }
    // An API of the cluster's own has no definitions.
    match api
        .get::<Value>(&format!("{DEFINITIONS}/templateinstances.{GROUP}"))
        .await
    {
        Ok(_) => Ok(Some(Served::AsCustomResources)),
        Err(error) if error.is_not_found() => by_whom(&api).await,
        Err(error) => Err(refused("looking for the definitions of the kinds")(error)),
    }
}

/// The group is served, but there is no definition of TemplateInstances: by the cluster, or by definitions of other kinds.
async fn by_whom(api: &Api<'_>) -> Result<Option<Served>, InstallError> {
    for plural in ["templates", "brokertemplateinstances"] {
        match api.get::<Value>(&format!("{DEFINITIONS}/{plural}.{GROUP}")).await {
            Ok(_) => return Ok(None),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(refused("looking for the definitions of the kinds")(error)),
        }
    }
    Ok(Some(Served::ByCluster))
}

fn refused(doing: &'static str) -> impl Fn(ApiError) -> InstallError {
    move |error| InstallError::Refused {
        doing,
        why: error.to_string(),
    }
}

/// Creates a definition, or replaces its `spec` when that differs and the definition is ours.
async fn put(api: &Api<'_>, definition: &Value) -> Result<(), InstallError> {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{DEFINITIONS}/{name}");
    for _ in 0..TRIES {
        let written = match api.get::<Value>(&path).await {
            Err(error) if error.is_not_found() => {
                let body = definition.to_string().into_bytes();
                api.text(Method::POST, DEFINITIONS, JSON, body).await
            }
            Err(error) => return Err(refused("reading a definition")(error)),
            Ok(found) if !is_ours(&found) || contains(&found["spec"], &definition["spec"]) => return Ok(()),
            Ok(found) => {
                let version = &found["metadata"]["resourceVersion"];
                let patch = json!({"metadata": {"resourceVersion": version}, "spec": definition["spec"]});
                let body = patch.to_string().into_bytes();
                api.text(Method::PATCH, &path, MERGE, body).await
            }
        };
        match written {
            Ok(_) => return Ok(()),
            // Another process does the same, or the server writes the status: what stands there now counts.
            Err(error) if error.already_exists() || error.is_conflict() => {}
            Err(error) => return Err(refused("writing a definition")(error)),
        }
    }
    Ok(())
}

/// Definitions that somebody else has made are used as they are.
fn is_ours(found: &Value) -> bool {
    found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == crate::names::FIELD_MANAGER
}

async fn wait_until_served(api: &Api<'_>, plural: &str) -> Result<(), InstallError> {
    let path = format!("/apis/{API_VERSION}/{plural}?limit=1");
    for _ in 0..LOOKS {
        match api.text(Method::GET, &path, JSON, Vec::new()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() || error.is_transient() => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(refused("looking whether a kind is served")(error)),
        }
    }
    Err(InstallError::NotServed(plural.to_owned()))
}

/// Whether everything that is wanted stands in what was found; a server adds defaults of its own.
pub(crate) fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| found.get(name).is_some_and(|found| contains(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| contains(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_of_the_group() {
        let definitions = definitions();
        assert_eq!(definitions.len(), 3);
        for definition in definitions {
            assert_eq!(definition["spec"]["group"], GROUP);
            assert!(is_ours(&definition));
        }
    }
}
