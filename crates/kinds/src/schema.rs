//! Structural schemas of types.

use apimachinery::json::Value;
use apimachinery::schema::{JsonType, ListType, MapType, NodeFacts, SchemaPart, SharedSchema, StructuralSchema};

use crate::facts::{Field, Shape, Type, TypeRef};

/// The schema of an object of a type, which stands at the root.
pub(crate) fn of(root: impl FnOnce() -> &'static Type + Send + 'static) -> StructuralSchema {
    let make = move || NodeFacts {
        is_root: true,
        ..facts(root())
    };
    StructuralSchema::from_shared(SharedSchema::new(make))
}

/// The schema of a type wherever it stands.
fn shared(of: &'static Type) -> SharedSchema {
    of.schema.get_or_init(|| SharedSchema::new(move || facts(of))).clone()
}

fn facts(of: &'static Type) -> NodeFacts {
    let fields = of.fields();
    NodeFacts {
        json_type: Some(JsonType::Object),
        properties: fields
            .iter()
            .map(|field| (field.name.to_owned(), place(field)))
            .collect(),
        required: fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name.to_owned())
            .collect(),
        map_type: of.map_type,
        ..NodeFacts::default()
    }
}

fn place(field: &'static Field) -> SchemaPart {
    if let Shape::Object(inner) = &field.shape {
        let refined = field.map_type.is_some() || field.patch != Default::default();
        let inner = inner.get();
        if !refined {
            return SchemaPart::Shared(shared(inner));
        }
        return SchemaPart::Shared(SharedSchema::new(move || refine(field, facts(inner))));
    }
    SchemaPart::Own(Box::new(refine(field, of_shape(&field.shape))))
}

/// What the field says beside its shape.
fn refine(field: &'static Field, facts: NodeFacts) -> NodeFacts {
    let default = field
        .default
        .and_then(|text| apimachinery::json::parse_strict(text.as_bytes()).ok());
    let default = default.map(|(value, _)| value).filter(|value| !is_zero(value));
    NodeFacts {
        list_type: field.list_type.clone().unwrap_or(facts.list_type),
        map_type: field.map_type.unwrap_or(facts.map_type),
        patch: field.patch,
        default,
        ..facts
    }
}

/// A default that only says that the field is always there.
pub(crate) fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn of_shape(shape: &'static Shape) -> NodeFacts {
    let typed = |json_type| NodeFacts {
        json_type: Some(json_type),
        ..NodeFacts::default()
    };
    match shape {
        Shape::Text | Shape::Bytes | Shape::Time | Shape::MicroTime => typed(JsonType::String),
        // Quantities come as numbers, too.
        Shape::Quantity => NodeFacts::default(),
        Shape::Bool => typed(JsonType::Boolean),
        Shape::Int32 | Shape::Int64 => typed(JsonType::Integer),
        Shape::Float64 => typed(JsonType::Number),
        Shape::IntOrString => NodeFacts {
            int_or_string: true,
            ..NodeFacts::default()
        },
        Shape::Raw | Shape::Fields => NodeFacts {
            json_type: Some(JsonType::Object),
            preserve_unknown: true,
            ..NodeFacts::default()
        },
        // Schemas in definitions have no owners of their own inside them.
        Shape::Json | Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => NodeFacts {
            preserve_unknown: true,
            map_type: MapType::Atomic,
            list_type: ListType::Atomic,
            ..NodeFacts::default()
        },
        Shape::List(inner) | Shape::WrappedList(inner) => NodeFacts {
            json_type: Some(JsonType::Array),
            items: Some(inside(inner)),
            ..NodeFacts::default()
        },
        Shape::Map(inner) => NodeFacts {
            json_type: Some(JsonType::Object),
            values: Some(inside(inner)),
            ..NodeFacts::default()
        },
        Shape::Object(inner) => facts(inner.get()),
    }
}

fn inside(shape: &'static Shape) -> SchemaPart {
    match shape {
        Shape::Object(inner) => SchemaPart::Shared(shared(TypeRef::get(inner))),
        other => SchemaPart::Own(Box::new(of_shape(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(group: &str, version: &str, kind: &str) -> StructuralSchema {
        crate::kind(group, version, kind).unwrap().object_type().schema()
    }

    #[test]
    fn merge_keys_and_list_types_are_reachable() {
        let pod = schema("", "v1", "Pod");
        let spec = pod.root().child("spec").unwrap();
        let container = spec.child("containers").unwrap().items().unwrap();
        let ports = container.child("ports").unwrap();
        assert_eq!(
            *ports.list_type(),
            ListType::Map(vec!["containerPort".to_owned(), "protocol".to_owned()])
        );
        assert_eq!(
            (ports.patch().merge, ports.patch().merge_key),
            (true, Some("containerPort"))
        );
        let protocol = ports.items().unwrap().child("protocol").unwrap();
        assert_eq!(protocol.default().and_then(Value::as_str), Some("TCP"));
        let volumes = spec.child("volumes").unwrap().patch();
        assert_eq!(
            (volumes.merge, volumes.retain_keys, volumes.merge_key),
            (true, true, Some("name"))
        );
        assert_eq!(spec.child("nodeSelector").unwrap().map_type(), MapType::Atomic);
        assert_eq!(spec.child("args").map(|_| ()), None);
        let finalizers = pod.root().child("metadata").unwrap().child("finalizers").unwrap();
        assert_eq!(
            (finalizers.list_type(), finalizers.patch().merge),
            (&ListType::Set, true)
        );
        let deployment = schema("apps", "v1", "Deployment");
        let strategy = deployment.root().child("spec").unwrap().child("strategy").unwrap();
        assert!(strategy.patch().retain_keys && strategy.child("rollingUpdate").is_some());
        assert_eq!(
            deployment
                .root()
                .child("spec")
                .unwrap()
                .child("selector")
                .unwrap()
                .map_type(),
            MapType::Atomic
        );
    }

    #[test]
    fn the_schema_of_schemas_holds_itself() {
        let definition = schema("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let versions = definition
            .root()
            .child("spec")
            .and_then(|spec| spec.child("versions"))
            .unwrap();
        let mut node = versions
            .items()
            .and_then(|version| version.child("schema")?.child("openAPIV3Schema"))
            .unwrap();
        for _ in 0..50 {
            node = node.child("properties").and_then(|map| map.child("any")).unwrap();
        }
        assert!(node.child("type").is_some());
    }
}
