//! The paths of a document and what can be done there.

use serde_json::{Map, Value, json};

use super::document::{Kind, reference, version_path};
use super::meta;
use crate::discovery;

/// The parameters of requests.
const DRY_RUN: Parameter = (
    "dryRun",
    "string",
    "`All`: everything is checked and nothing is stored.",
);
const FIELD_MANAGER: Parameter = (
    "fieldManager",
    "string",
    "The name under which changes of fields are recorded.",
);
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What is done about unknown and duplicate fields: Ignore, Warn or Strict.",
);
const FORCE: Parameter = (
    "force",
    "boolean",
    "Takes fields over from other managers; with an apply only.",
);
const PRETTY: Parameter = ("pretty", "string", "If `true`, the answer is indented.");
const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const GET: &[Parameter] = &[("resourceVersion", "string", "The answer is at least as new.")];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "How long the object may take to end."),
    ("orphanDependents", "boolean", "Replaced by propagationPolicy."),
    (
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
];
const LIST: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether a watch may tell how far it is.",
    ),
    ("continue", "string", "The token of the page before."),
    ("fieldSelector", "string", "Selects objects by their fields."),
    ("labelSelector", "string", "Selects objects by their labels."),
    ("limit", "integer", "The most objects of a page."),
    (
        "resourceVersion",
        "string",
        "How new the answer has to be, or where a watch begins.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "What resourceVersion means: Exact or NotOlderThan.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch begins with the objects that there are.",
    ),
    ("timeoutSeconds", "integer", "When a watch ends."),
    ("watch", "boolean", "Asks for the changes of the list, as a stream."),
];
/// Of a list, for what deletes one.
const SELECT: &[Parameter] = &[LIST[1], LIST[2], LIST[3], LIST[4], LIST[5], LIST[6]];

/// Name, type and description.
type Parameter = (&'static str, &'static str, &'static str);

const JSON_AND_YAML: &[&str] = &["application/json", "application/yaml"];
const LIST_TYPES: &[&str] = &["application/json", "application/json;stream=watch", "application/yaml"];
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    STRATEGIC,
];
/// Of built-in kinds only, whose schemas say how lists are merged.
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// The path of the version itself.
pub(super) fn root(group: &str, version: &str) -> Map<String, Value> {
    let operation = json!({
        "description": "get available resources", "tags": [tag(group, version)],
        "operationId": format!("get{}APIResources", id_part(group, version)),
        "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}},
    });
    let path = format!("{}/", version_path(group, version));
    [(path, json!({"get": operation}))].into_iter().collect()
}

/// What is at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Collection,
    /// The collection of all namespaces.
    Everywhere,
    Object,
    Subresource(&'static str),
}

/// One thing that can be done.
struct Operation {
    method: &'static str,
    action: &'static str,
    /// As discovery calls it.
    verb: &'static str,
    /// As the id and the description call it.
    word: &'static str,
    parameters: &'static [Parameter],
}

const fn operation(
    method: &'static str,
    action: &'static str,
    verb: &'static str,
    word: &'static str,
    parameters: &'static [Parameter],
) -> Operation {
    Operation {
        method,
        action,
        verb,
        word,
        parameters,
    }
}

const OF_COLLECTION: &[Operation] = &[
    operation("get", "list", "list", "list", LIST),
    operation("post", "post", "create", "create", WRITE),
    operation(
        "delete",
        "deletecollection",
        "deletecollection",
        "deletecollection",
        SELECT,
    ),
];
const OF_OBJECT: &[Operation] = &[
    operation("get", "get", "get", "read", GET),
    operation("put", "put", "update", "replace", WRITE),
    operation("patch", "patch", "patch", "patch", PATCH),
    operation("delete", "delete", "delete", "delete", DELETE),
];

/// Adds the paths of a resource.
pub(super) fn add(kind: &Kind<'_>, paths: &mut Map<String, Value>) {
    let resource = kind.resource;
    let version = version_path(&resource.id.group, &kind.version.name);
    let plural = &resource.id.plural;
    let mut collection = format!("{version}/{plural}");
    if resource.namespaced {
        put(kind, paths, collection, Part::Everywhere);
        collection = format!("{version}/namespaces/{{namespace}}/{plural}");
    }
    let object = format!("{collection}/{{name}}");
    put(kind, paths, collection, Part::Collection);
    for part in kind.version.parts() {
        let name = part.as_str();
        put(kind, paths, format!("{object}/{name}"), Part::Subresource(name));
    }
    if kind.version.status {
        put(kind, paths, format!("{object}/status"), Part::Subresource("status"));
    }
    if kind.version.scale.is_some() {
        put(kind, paths, format!("{object}/scale"), Part::Subresource("scale"));
    }
    put(kind, paths, object, Part::Object);
}

fn put(kind: &Kind<'_>, paths: &mut Map<String, Value>, path: String, part: Part) {
    let verbs = discovery::verbs(kind.resource);
    let operations = match part {
        Part::Collection => OF_COLLECTION,
        Part::Everywhere => &OF_COLLECTION[..1],
        Part::Object => OF_OBJECT,
        Part::Subresource(_) => &OF_OBJECT[..3],
    };
    let mut item = Map::new();
    for operation in operations.iter().filter(|operation| verbs.contains(&operation.verb)) {
        item.insert(operation.method.to_owned(), describe(kind, operation, part));
    }
    if item.is_empty() {
        return;
    }
    item.insert("parameters".to_owned(), path_parameters(kind, part));
    paths.insert(path, Value::Object(item));
}

fn describe(kind: &Kind<'_>, operation: &Operation, part: Part) -> Value {
    let own = &kind.resource.kind.kind;
    let model = match (part, operation.action) {
        (Part::Subresource("scale"), _) => meta::scale_model(),
        (_, "list") => kind.model(&kind.resource.list_kind),
        (_, "delete" | "deletecollection") => meta::model("Status"),
        _ => kind.model(own),
    };
    let mut described = json!({
        "description": description(operation, part, own),
        "operationId": operation_id(kind, operation, part),
        "tags": [tag(&kind.resource.id.group, &kind.version.name)],
        "parameters": operation.parameters.iter().map(query_parameter).collect::<Vec<_>>(),
        "responses": responses(operation, &model),
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": kind.gvk(own),
    });
    if let Some(body) = request_body(kind, operation, &model) {
        described["requestBody"] = body;
    }
    described
}

fn description(operation: &Operation, part: Part, kind: &str) -> String {
    let of = match part {
        Part::Subresource(name) => format!("{name} of "),
        _ => String::new(),
    };
    match operation.word {
        "list" => format!("list or watch objects of kind {kind}"),
        "deletecollection" => format!("delete collection of {kind}"),
        "patch" => format!("partially update {of}the specified {kind}"),
        "create" | "delete" => format!("{} a {kind}", operation.word),
        word => format!("{word} {of}the specified {kind}"),
    }
}

fn operation_id(kind: &Kind<'_>, operation: &Operation, part: Part) -> String {
    let part_of_id = id_part(&kind.resource.id.group, &kind.version.name);
    let own = &kind.resource.kind.kind;
    let namespaced = if kind.resource.namespaced { "Namespaced" } else { "" };
    match (operation.word, part) {
        (word, Part::Everywhere) => format!("{word}{part_of_id}{own}ForAllNamespaces"),
        ("deletecollection", _) => format!("delete{part_of_id}Collection{namespaced}{own}"),
        (word, Part::Subresource(name)) => format!("{word}{part_of_id}{namespaced}{own}{}", capital(name)),
        (word, _) => format!("{word}{part_of_id}{namespaced}{own}"),
    }
}

fn responses(operation: &Operation, model: &str) -> Value {
    let types = if operation.action == "list" {
        LIST_TYPES
    } else {
        JSON_AND_YAML
    };
    let answer = |description: &str| json!({"description": description, "content": content(types, &reference(model))});
    let mut responses = json!({"200": answer("OK"), "401": {"description": "Unauthorized"}});
    if matches!(operation.action, "post" | "put" | "patch") {
        responses["201"] = answer("Created");
    }
    if matches!(operation.action, "post" | "delete") {
        responses["202"] = answer("Accepted");
    }
    responses
}

fn request_body(kind: &Kind<'_>, operation: &Operation, model: &str) -> Option<Value> {
    let body = |types: &[&str], model: &str| content(types, &reference(model));
    match operation.action {
        "post" | "put" => Some(json!({"required": true, "content": body(JSON_AND_YAML, model)})),
        "patch" => {
            let types: Vec<&str> = PATCH_TYPES
                .iter()
                .copied()
                .filter(|name| !kind.is_custom() || *name != STRATEGIC)
                .collect();
            Some(json!({"required": true, "content": body(&types, &meta::model("Patch"))}))
        }
        "delete" => Some(json!({"content": body(JSON_AND_YAML, &meta::model("DeleteOptions"))})),
        _ => None,
    }
}

fn content(types: &[&str], schema: &Value) -> Value {
    types
        .iter()
        .map(|name| ((*name).to_owned(), json!({"schema": schema})))
        .collect::<Map<_, _>>()
        .into()
}

fn query_parameter((name, kind, description): &Parameter) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": {"type": kind, "uniqueItems": true}})
}

fn path_parameters(kind: &Kind<'_>, part: Part) -> Value {
    let in_path = |name: &str, description: &str| json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string", "uniqueItems": true}});
    let mut parameters = Vec::new();
    if matches!(part, Part::Object | Part::Subresource(_)) {
        parameters.push(in_path("name", &format!("name of the {}", kind.resource.kind.kind)));
    }
    if kind.resource.namespaced && part != Part::Everywhere {
        parameters.push(in_path("namespace", "the namespace of the object"));
    }
    parameters.push(query_parameter(&PRETTY));
    Value::Array(parameters)
}

/// Group and version in the id of an operation: `RbacAuthorizationV1`, `CoreV1`.
fn id_part(group: &str, version: &str) -> String {
    words(group).map(capital).collect::<String>() + &capital(version)
}

/// `rbacAuthorization_v1`, `core_v1`.
fn tag(group: &str, version: &str) -> String {
    let mut words = words(group);
    let first = words.next().unwrap_or_default().to_owned();
    format!("{first}{}_{version}", words.map(capital).collect::<String>())
}

fn words(group: &str) -> impl Iterator<Item = &str> {
    let group = if group.is_empty() { "core" } else { group };
    group.strip_suffix(".k8s.io").unwrap_or(group).split(['.', '-'])
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_words_in_ids_and_tags() {
        for (group, id, tagged) in [
            ("", "CoreV1", "core_v1"),
            (
                "rbac.authorization.k8s.io",
                "RbacAuthorizationV1",
                "rbacAuthorization_v1",
            ),
            ("ex.io", "ExIoV1", "exIo_v1"),
        ] {
            assert_eq!((id_part(group, "v1").as_str(), tag(group, "v1").as_str()), (id, tagged));
        }
    }
}
