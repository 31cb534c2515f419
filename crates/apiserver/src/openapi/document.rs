//! A document: the paths of a version's resources and the schemas of its kinds.

use apimachinery::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use super::{meta, operations};
use crate::discovery;
use crate::registry::{Resource, Version};

/// A resource of the version with the schema of its kind: an object, without the members that all kinds have.
pub(super) struct Kind<'r> {
    pub(super) resource: &'r Resource,
    pub(super) version: &'r Version,
    pub(super) schema: Value,
}

impl Kind<'_> {
    /// Group, version and kind, as the extension fields of documents have them.
    pub(super) fn gvk(&self, kind: &str) -> Value {
        gvk(&self.resource.id.group, &self.version.name, kind)
    }

    /// Whether a definition describes it.
    pub(super) fn is_custom(&self) -> bool {
        self.resource.definition.is_some()
    }

    /// The name of the schema of a kind of the same version: its own or its list's.
    pub(super) fn model(&self, kind: &str) -> String {
        let package = match self.version.facts {
            Some(facts) => package(&facts.object_type().openapi_name()).to_owned(),
            None => {
                let backwards: Vec<&str> = self.resource.id.group.rsplit('.').collect();
                format!("{}.{}", backwards.join("."), self.version.name)
            }
        };
        format!("{package}.{kind}")
    }
}

/// A model's name without its kind.
fn package(model: &str) -> &str {
    model.rsplit_once('.').map_or(model, |(package, _)| package)
}

pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// A reference to a schema of the same document.
pub(super) fn reference(model: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{model}")})
}

/// The whole document.
pub(super) fn of(group: &str, version: &str, kinds: &[Kind<'_>]) -> Value {
    let mut paths = operations::root(group, version);
    let mut schemas = meta::schemas(group, version);
    for kind in kinds {
        operations::add(kind, &mut paths);
        match kind.version.facts {
            Some(facts) => add_type(facts.object_type(), &mut schemas),
            None => drop(schemas.insert(kind.model(&kind.resource.kind.kind), kind_schema(kind))),
        }
        schemas.insert(kind.model(&kind.resource.list_kind), list_schema(kind));
        if kind.version.scale.is_some() {
            meta::add_scale(&mut schemas);
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": discovery::GIT_VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer token"}},
        },
    })
}

/// Adds a type of a built-in kind with all that it is made of.
fn add_type(kind: &'static ::kinds::Type, schemas: &mut Map<String, Value>) {
    let name = kind.openapi_name().to_string();
    if schemas.contains_key(&name) {
        return;
    }
    schemas.insert(name, kind.openapi());
    for used in kind.uses() {
        add_type(used, schemas);
    }
}

fn kind_schema(kind: &Kind<'_>) -> Value {
    let mut schema = kind.schema.clone();
    complete(&mut schema);
    if let Value::Object(members) = &mut schema {
        members.insert("type".to_owned(), json!("object"));
        let properties = members.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(properties) = properties {
            add_names(properties);
            properties.insert("metadata".to_owned(), meta::object_meta());
        }
        members.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!([kind.gvk(&kind.resource.kind.kind)]),
        );
        add_selectable_fields(kind, members);
    }
    schema
}

fn list_schema(kind: &Kind<'_>) -> Value {
    let Resource {
        id,
        kind: own,
        list_kind,
        ..
    } = kind.resource;
    let mut properties = Map::new();
    add_names(&mut properties);
    properties.insert("metadata".to_owned(), meta::list_meta());
    properties.insert(
        "items".to_owned(),
        json!({"description": format!("The {}.", id.plural), "type": "array", "items": reference(&kind.model(&own.kind))}),
    );
    let mut schema = json!({
        "description": format!("{list_kind} is a list of {}", own.kind),
        "type": "object", "required": ["items"], "properties": properties,
        "x-kubernetes-group-version-kind": [kind.gvk(list_kind)],
    });
    if let Value::Object(members) = &mut schema {
        add_selectable_fields(kind, members);
    }
    schema
}

fn add_selectable_fields(kind: &Kind<'_>, members: &mut Map<String, Value>) {
    let fields: Vec<Value> = kind
        .resource
        .fields
        .iter()
        .map(|indexed| json!({"fieldPath": indexed.field.label}))
        .collect();
    if !fields.is_empty() {
        members.insert("x-kubernetes-selectable-fields".to_owned(), Value::Array(fields));
    }
}

fn add_names(properties: &mut Map<String, Value>) {
    let text = |description: &str| json!({"description": description, "type": "string"});
    properties.insert("apiVersion".to_owned(), text(meta::API_VERSION));
    properties.insert("kind".to_owned(), text(meta::KIND));
}

/// Says in plain OpenAPI what the extensions of structural schemas mean.
fn complete(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if members.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !members.contains_key("anyOf") {
        members.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    if members.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        embed(members);
    }
    for (name, value) in members {
        match name.as_str() {
            "properties" => {
                if let Value::Object(properties) = value {
                    properties.values_mut().for_each(complete);
                }
            }
            "items" | "additionalProperties" => complete(value),
            _ => {}
        }
    }
}

/// A field that holds a whole object has the members of one.
fn embed(members: &mut Map<String, Value>) {
    let required = members.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|known| known == name) {
                required.push(json!(name));
            }
        }
    }
    let properties = members.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        add_names(properties);
        properties.insert("metadata".to_owned(), meta::object_meta());
    }
}

/// The path of the version itself.
pub(super) fn version_path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("/{root}/{}", GroupVersion::new(group, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_said_in_plain_openapi_too() {
        let mut schema = json!({"properties": {
            "port": {"x-kubernetes-int-or-string": true},
            "list": {"items": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "string"}]}},
            "map": {"additionalProperties": {"x-kubernetes-embedded-resource": true, "type": "object"}},
        }});
        complete(&mut schema);
        assert_eq!(
            schema["properties"]["port"]["anyOf"],
            json!([{"type": "integer"}, {"type": "string"}])
        );
        assert_eq!(
            schema["properties"]["list"]["items"]["anyOf"],
            json!([{"type": "string"}])
        );
        let embedded = &schema["properties"]["map"]["additionalProperties"];
        assert_eq!(embedded["required"], json!(["kind", "apiVersion"]));
        assert!(embedded["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
    }
}
