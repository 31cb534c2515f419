//! What a home has that is worth keeping: found by discovery, so that an author's kinds come along.

use serde::Deserialize;

use crate::api::{Api, ApiError};
use crate::archive::Resource;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// What the home itself makes anew, or what says nothing once the moment is over.
const NOT_KEPT: &[(&str, &str)] = &[
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "componentstatuses"),
    ("coordination.k8s.io", "leases"),
    ("networking.k8s.io", "ipaddresses"),
];

/// Of a broker's group: who runs now, and who owns which shard. Both are made anew.
const NOT_KEPT_OF_BROKERS: [&str; 2] = ["replicas", "shardtables"];

/// Definitions and namespaces come first: all others need them.
const FIRST: [&str; 2] = ["namespaces", "customresourcedefinitions"];

#[derive(Deserialize)]
struct Definitions {
    items: Vec<Definition>,
}

#[derive(Deserialize)]
struct Definition {
    spec: DefinitionSpec,
}

#[derive(Deserialize)]
struct DefinitionSpec {
    group: String,
    names: Names,
}

#[derive(Deserialize)]
struct Names {
    plural: String,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    preferred_version: GroupVersion,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Served {
    resources: Vec<ServedResource>,
}

#[derive(Deserialize)]
struct ServedResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// The API groups in which brokers keep their state.
///
/// # Errors
/// [`ApiError`].
pub async fn broker_groups(api: &Api) -> Result<Vec<String>, ApiError> {
    let found: Definitions = read(api, DEFINITIONS).await?;
    let has = |group: &str, plural: &str| {
        let is = |definition: &&Definition| definition.spec.group == group && definition.spec.names.plural == plural;
        found.items.iter().any(|definition| is(&definition))
    };
    let mut groups: Vec<String> = found
        .items
        .iter()
        .map(|definition| definition.spec.group.clone())
        .collect();
    groups.sort();
    groups.dedup();
    groups.retain(|group| has(group, "serviceinstances") && has(group, "shardtables"));
    Ok(groups)
}

/// The resources of one API group that are kept; `None` when the home does not serve it.
///
/// # Errors
/// [`ApiError`].
pub(crate) async fn of_group(api: &Api, group: &str, version: &str) -> Result<Option<Vec<Resource>>, ApiError> {
    let path = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let served: Served = match read(api, &path).await {
        Err(ApiError::NotFound) => return Ok(None),
        served => served?,
    };
    Ok(Some(kept(group, version, &served)))
}

/// All resources of a home that are kept.
///
/// # Errors
/// [`ApiError`].
pub(crate) async fn of_home(api: &Api) -> Result<Vec<Resource>, ApiError> {
    let groups: Groups = read(api, "/apis").await?;
    let mut all = of_group(api, "", "v1").await?.unwrap_or_default();
    for group in groups.groups {
        let of_group = of_group(api, &group.name, &group.preferred_version.version).await?;
        all.extend(of_group.unwrap_or_default());
    }
    all.sort_by_key(|resource| {
        FIRST
            .iter()
            .position(|first| *first == resource.plural)
            .unwrap_or(FIRST.len())
    });
    Ok(all)
}

fn kept(group: &str, version: &str, served: &Served) -> Vec<Resource> {
    let is_broker = served.resources.iter().any(|resource| resource.name == "shardtables");
    let can = |resource: &ServedResource, verb: &str| resource.verbs.iter().any(|can| can == verb);
    let is_kept = |resource: &&ServedResource| {
        !resource.name.contains('/')
            && can(resource, "list")
            && can(resource, "create")
            && !NOT_KEPT.contains(&(group, resource.name.as_str()))
            && !(is_broker && NOT_KEPT_OF_BROKERS.contains(&resource.name.as_str()))
    };
    let has_status = |resource: &ServedResource| {
        let status = format!("{}/status", resource.name);
        served.resources.iter().any(|other| other.name == status)
    };
    let kept = served.resources.iter().filter(is_kept).map(|resource| Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: resource.name.clone(),
        kind: resource.kind.clone(),
        namespaced: resource.namespaced,
        status: has_status(resource),
    });
    kept.collect()
}

async fn read<T: for<'a> Deserialize<'a>>(api: &Api, path: &str) -> Result<T, ApiError> {
    let bytes = api.get(path).await?;
    serde_json::from_slice(&bytes).map_err(|_| ApiError::NoAnswer)
}
