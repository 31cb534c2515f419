//! Types as components of OpenAPI v3 documents.

use serde_json::{Map, Value, json};

use crate::data;
use crate::facts::{Field, Shape, Type};
use apimachinery::schema::{ListType, MapType};

impl Type {
    /// The type as a component of an OpenAPI v3 document, under [`Type::openapi_name`]: what Kubernetes publishes of it
    /// but its descriptions. Other types are named by `#/components/schemas/NAME`; see [`Type::uses`].
    pub fn openapi(&'static self) -> Value {
        let fields = self.fields();
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        let properties = fields.iter().map(|field| (field.name.to_owned(), property(field)));
        schema.insert("properties".to_owned(), Value::Object(properties.collect()));
        let required: Vec<&str> = fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if self.map_type == MapType::Atomic {
            schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        let kinds = self.kinds();
        if !kinds.is_empty() {
            schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
        }
        Value::Object(schema)
    }

    /// The types that its fields name, each once, itself not among them unless it holds itself.
    pub fn uses(&'static self) -> Vec<&'static Type> {
        let mut found: Vec<&'static Type> = Vec::new();
        for field in self.fields() {
            if let Some(inner) = named(&field.shape)
                && !found.iter().any(|known| std::ptr::eq(*known, inner))
            {
                found.push(inner);
            }
        }
        found
    }

    /// The kinds whose objects or lists are of this type.
    fn kinds(&'static self) -> Vec<Value> {
        let of_list = self.name.strip_suffix("List");
        let entry = |kind: &crate::Kind| json!({"group": kind.group, "version": kind.version, "kind": self.name});
        let mut all = data::kinds()
            .iter()
            .filter(|kind| kind.object.package == self.package.name);
        let found = all.find(|kind| kind.kind == self.name || of_list == Some(kind.kind));
        found.map(entry).into_iter().collect()
    }
}

fn named(shape: &'static Shape) -> Option<&'static Type> {
    match shape {
        Shape::Object(inner) => Some(inner.get()),
        Shape::List(inner) | Shape::WrappedList(inner) | Shape::Map(inner) => named(inner),
        Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
            crate::find("apiextensions/v1.JSONSchemaProps")
        }
        _ => None,
    }
}

fn property(field: &'static Field) -> Value {
    let mut schema = of_shape(&field.shape, field);
    let default = field.default.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let (Value::Object(schema), Some(default)) = (&mut schema, default) {
        if let Some(reference) = schema.remove("$ref") {
            schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
        schema.insert("default".to_owned(), default);
    }
    let more: [(&str, Option<Value>); 6] = [
        (
            "x-kubernetes-list-type",
            field.list_type.as_ref().map(|kind| list_type(kind).into()),
        ),
        ("x-kubernetes-list-map-keys", field.list_type.as_ref().and_then(keys)),
        (
            "x-kubernetes-map-type",
            field.map_type.map(|kind| match kind {
                MapType::Atomic => "atomic".into(),
                MapType::Granular => "granular".into(),
            }),
        ),
        ("x-kubernetes-patch-strategy", strategy(field).map(Value::from)),
        ("x-kubernetes-patch-merge-key", field.patch.merge_key.map(Value::from)),
        ("format", field.format.map(Value::from)),
    ];
    for (name, value) in more {
        if let (Value::Object(schema), Some(value)) = (&mut schema, value) {
            schema.insert(name.to_owned(), value);
        }
    }
    schema
}

fn list_type(kind: &ListType) -> &'static str {
    match kind {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map(_) => "map",
    }
}

fn keys(kind: &ListType) -> Option<Value> {
    match kind {
        ListType::Map(keys) => Some(json!(keys)),
        _ => None,
    }
}

fn strategy(field: &Field) -> Option<String> {
    let all = [
        (field.patch.merge, "merge"),
        (field.patch.retain_keys, "retainKeys"),
        (field.patch.replace, "replace"),
    ];
    let named: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    (!named.is_empty()).then(|| named.join(","))
}

fn of_shape(shape: &'static Shape, field: &'static Field) -> Value {
    match shape {
        Shape::Text if field.values.is_empty() => json!({"type": "string"}),
        Shape::Text => json!({"type": "string", "enum": field.values}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int32 => json!({"type": "integer", "format": "int32"}),
        Shape::Int64 => json!({"type": "integer", "format": "int64"}),
        Shape::Float64 => json!({"type": "number", "format": "double"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Shape::Raw | Shape::Fields => json!({"type": "object"}),
        Shape::Json | Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => json!({}),
        Shape::List(inner) | Shape::WrappedList(inner) => json!({"type": "array", "items": of_shape(inner, field)}),
        Shape::Map(inner) => json!({"type": "object", "additionalProperties": of_shape(inner, field)}),
        Shape::Object(inner) => json!({"$ref": format!("#/components/schemas/{}", inner.get().openapi_name())}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_has_what_kubernetes_publishes() {
        let deployment = crate::find("apps/v1.Deployment").unwrap();
        assert_eq!(deployment.openapi_name(), "io.k8s.api.apps.v1.Deployment");
        let schema = deployment.openapi();
        assert_eq!(
            schema["x-kubernetes-group-version-kind"],
            json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
        );
        let metadata = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert_eq!(schema["properties"]["metadata"]["allOf"], json!([{"$ref": metadata}]));
        let ports = crate::find("core/v1.ServiceSpec").unwrap().openapi();
        let ports = &ports["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["port", "protocol"]));
        assert_eq!(
            (
                &ports["x-kubernetes-patch-merge-key"],
                &ports["x-kubernetes-patch-strategy"]
            ),
            (&json!("port"), &json!("merge"))
        );
        let uses: Vec<&str> = deployment.uses().iter().map(|used| used.name).collect();
        assert_eq!(uses, ["ObjectMeta", "DeploymentSpec", "DeploymentStatus"]);
    }
}
