//! Discovery: which groups, versions and resources are served, in the older and the aggregated form.

use std::collections::BTreeMap;

use apimachinery::gvk::{GroupVersion, compare_versions};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::body::Body;
use crate::builtin::Special;
use crate::failure::Failure;
use crate::keys::fnv1a;
use crate::negotiate::{self, Encoding};
use crate::registry::{Group, Resource, Snapshot, Version};
use crate::{render, reviews};

/// The version that this server claims to be: clients choose their behaviour by it.
const MAJOR: &str = "1";
const MINOR: &str = "32";
pub(crate) const GIT_VERSION: &str = concat!("v1.32.0+osb.", env!("CARGO_PKG_VERSION"));

/// The documents of a [`Snapshot`].
#[derive(Debug)]
pub(crate) struct Documents {
    /// `/api/v1`, `/apis/GROUP` and `/apis/GROUP/VERSION`, by what follows `/api/` and `/apis/`.
    plain: BTreeMap<String, Bytes>,
    api_versions: Bytes,
    groups: Bytes,
    /// Core and other groups, in each version of `apidiscovery.k8s.io`.
    aggregated: BTreeMap<(bool, &'static str), (Bytes, String)>,
}

impl Documents {
    pub(crate) fn of(snapshot: &Snapshot) -> Documents {
        let mut plain = BTreeMap::new();
        let mut groups = Vec::new();
        for (group, resources) in snapshot.groups() {
            let versions = versions(resources);
            if versions.is_empty() {
                continue;
            }
            for version in &versions {
                plain.insert(
                    GroupVersion::new(group, version).to_string(),
                    document(&resource_list(group, version, resources)),
                );
            }
            if !group.is_empty() {
                let entry = group_entry(group, &versions);
                let mut whole = json!({"kind": "APIGroup", "apiVersion": "v1"});
                merge(&mut whole, &entry);
                plain.insert(group.clone(), document(&whole));
                groups.push(entry);
            }
        }
        let mut aggregated = BTreeMap::new();
        for core in [true, false] {
            for version in ["v2", "v2beta1"] {
                let body = document(&aggregate(snapshot, core, version));
                let tag = format!("\"{:016X}{:016X}\"", fnv1a(&body), fnv1a(&body[body.len() / 2..]));
                aggregated.insert((core, version), (body, tag));
            }
        }
        Documents {
            plain,
            api_versions: document(
                &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}),
            ),
            groups: document(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})),
            aggregated,
        }
    }
}

/// The answer to a discovery path, `None` when it is no such path.
pub(crate) fn answer(
    snapshot: &Snapshot,
    segments: &[String],
    headers: &HeaderMap,
) -> Option<Result<Response<Body>, Failure>> {
    let documents = snapshot.documents();
    let core = match segments {
        [root] if root == "api" => return Some(root_document(documents, true, headers)),
        [root] if root == "apis" => return Some(root_document(documents, false, headers)),
        [root, rest @ ..] if root == "api" && rest.len() == 1 => true,
        [root, rest @ ..] if root == "apis" && matches!(rest.len(), 1 | 2) => false,
        _ => return None,
    };
    let name = segments[1..].join("/");
    // `/api` leads to the core group alone, whose versions look like names of groups.
    let found = documents.plain.get(&name).filter(|_| {
        core == snapshot
            .groups()
            .get("")
            .is_some_and(|group| versions(group).contains(&name))
    });
    Some(found.ok_or(Failure::NoSuchPath).and_then(|body| plain(body, headers)))
}

fn root_document(documents: &Documents, core: bool, headers: &HeaderMap) -> Result<Response<Body>, Failure> {
    let (version, encoding) = negotiate::discovery(headers).map_err(|_| not_acceptable())?;
    let Some(version) = version.filter(|_| encoding == Encoding::Json) else {
        return plain(
            if core {
                &documents.api_versions
            } else {
                &documents.groups
            },
            headers,
        );
    };
    let (body, tag) = &documents.aggregated[&(core, version)];
    let known = negotiate::knows(headers, tag);
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let mut response = if known {
        render::respond(StatusCode::NOT_MODIFIED, content_type, Bytes::new())
    } else {
        render::respond(StatusCode::OK, content_type, body.clone())
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn plain(body: &Bytes, headers: &HeaderMap) -> Result<Response<Body>, Failure> {
    let (_, encoding) = negotiate::discovery(headers).map_err(|_| not_acceptable())?;
    match encoding {
        Encoding::Json => Ok(render::respond(StatusCode::OK, "application/json", body.clone())),
        Encoding::Yaml => render::answer(StatusCode::OK, body.to_vec(), encoding, &[]),
    }
}

pub(crate) fn not_acceptable() -> apimachinery::status::Status {
    apimachinery::status::Status::not_acceptable(&["application/json", "application/yaml"])
}

/// `/version`.
pub(crate) fn version() -> Response<Body> {
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    let document = document(&json!({
        "major": MAJOR, "minor": MINOR, "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": platform,
    }));
    render::respond(StatusCode::OK, "application/json", document)
}

fn document(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn merge(target: &mut Value, more: &Value) {
    if let (Value::Object(target), Value::Object(more)) = (target, more) {
        target.extend(more.clone());
    }
}

/// The served versions of a group, the preferred one first.
pub(crate) fn versions(resources: &Group) -> Vec<String> {
    let mut versions: Vec<String> = resources
        .values()
        .flat_map(|resource| &resource.versions)
        .filter(|version| version.served)
        .map(|version| version.name.clone())
        .collect();
    versions.sort_by(|a, b| compare_versions(a, b));
    versions.dedup();
    versions
}

/// The paths of all groups and versions.
pub(crate) fn paths(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    snapshot.groups().iter().flat_map(|(group, resources)| {
        let root = if group.is_empty() { "/api" } else { "/apis" };
        let of_group = (!group.is_empty()).then(|| format!("{root}/{group}"));
        let of_versions = versions(resources).into_iter();
        of_group
            .into_iter()
            .chain(of_versions.map(move |version| format!("{root}/{}", GroupVersion::new(group, &version))))
    })
}

fn group_entry(group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": GroupVersion::new(group, version).to_string(), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// In the order in which a real server names them: clients print it.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const PART_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Whether objects of a resource are stored: a review is answered and forgotten.
fn is_stored(resource: &Resource) -> bool {
    !matches!(resource.rules.special, Special::Review(_))
}

/// What can be done to the objects of a resource.
pub(crate) fn verbs(resource: &Resource) -> Vec<&'static str> {
    let stored = is_stored(resource);
    let verbs = if resource.definition.is_some() {
        CUSTOM_VERBS
    } else {
        VERBS
    };
    verbs
        .into_iter()
        .filter(|verb| stored || *verb == "create")
        .filter(|verb| *verb != "deletecollection" || resource.rules.delete_collection)
        .collect()
}

/// The resources of one version, each with that version.
pub(crate) fn of_version<'s>(
    resources: &'s Group,
    version: &'s str,
) -> impl Iterator<Item = (&'s Resource, &'s Version)> {
    resources.values().filter_map(move |resource| {
        let found = resource
            .versions
            .iter()
            .find(|known| known.served && known.name == version)?;
        Some((resource.as_ref(), found))
    })
}

fn resource_list(group: &str, version: &str, resources: &Group) -> Value {
    let mut list = Vec::new();
    for (resource, found) in of_version(resources, version) {
        let mut entry = json!({
            "name": resource.id.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind.kind, "verbs": verbs(resource)
        });
        if is_stored(resource) {
            entry["storageVersionHash"] = json!(storage_version_hash(resource));
        }
        add_names(&mut entry, resource);
        list.push(entry);
        let part = |name: &str, kind: &str| json!({"name": format!("{}/{name}", resource.id.plural), "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": PART_VERBS});
        let parts = found
            .parts()
            .map(|part| part.as_str())
            .chain(found.status.then_some("status"));
        list.extend(parts.map(|name| part(name, &resource.kind.kind)));
        if reviews::has_tokens(resource) {
            let mut token = part("token", "TokenRequest");
            merge(
                &mut token,
                &json!({"group": "authentication.k8s.io", "version": "v1", "verbs": ["create"]}),
            );
            list.push(token);
        }
        if found.scale.is_some() {
            let mut scale = part("scale", "Scale");
            merge(&mut scale, &json!({"group": "autoscaling", "version": "v1"}));
            list.push(scale);
        }
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GroupVersion::new(group, version).to_string(), "resources": list})
}

/// Names the form in which objects are stored, as a real server does it: clients notice by it that it has changed.
fn storage_version_hash(resource: &Resource) -> String {
    let form = format!(
        "{}/{}/{}",
        resource.id.group, resource.storage_version, resource.kind.kind
    );
    let digest = ring::digest::digest(&ring::digest::SHA256, form.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest.as_ref()[..8])
}

fn add_names(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
}

fn aggregate(snapshot: &Snapshot, core: bool, version: &str) -> Value {
    let items: Vec<Value> = snapshot
        .groups()
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, resources)| (group, resources, versions(resources)))
        .filter(|(.., versions)| !versions.is_empty())
        .map(|(group, resources, versions)| {
            let versions: Vec<Value> = versions.iter().map(|version| json!({"version": version, "freshness": "Current", "resources": aggregated_resources(resources, version)})).collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn aggregated_resources(resources: &Group, version: &str) -> Vec<Value> {
    let mut list = Vec::new();
    for (resource, found) in of_version(resources, version) {
        // A main resource of the core group names neither its group nor its version.
        let shown = if resource.id.group.is_empty() { "" } else { version };
        let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
        let own = kind(&resource.id.group, shown, &resource.kind.kind);
        let mut entry = json!({
            "resource": resource.id.plural, "responseKind": own, "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": resource.singular, "verbs": verbs(resource),
        });
        add_names(&mut entry, resource);
        let mut parts = Vec::new();
        let names = found
            .parts()
            .map(|part| part.as_str())
            .chain(found.status.then_some("status"));
        parts.extend(names.map(|name| json!({"subresource": name, "responseKind": own, "verbs": PART_VERBS})));
        if found.scale.is_some() {
            parts.push(json!({"subresource": "scale", "responseKind": kind("autoscaling", "v1", "Scale"), "verbs": PART_VERBS}));
        }
        if reviews::has_tokens(resource) {
            let kind = kind("authentication.k8s.io", "v1", "TokenRequest");
            parts.push(json!({"subresource": "token", "responseKind": kind, "verbs": ["create"]}));
        }
        if !parts.is_empty() {
            entry["subresources"] = json!(parts);
        }
        list.push(entry);
    }
    list
}
