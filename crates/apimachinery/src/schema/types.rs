//! A schema as field ownership sees it: which parts of an object can have an owner of their own.

use std::sync::LazyLock;

use serde_json::json;

use super::{Additional, JsonType, ListType, MapType, Node, Patch, Place, StructuralSchema};
use crate::json::Value;

/// What a schema says about one place of an object.
#[derive(Debug, Clone, Copy)]
pub struct Type<'s>(Kind<'s>);

#[derive(Debug, Clone, Copy)]
enum Kind<'s> {
    Node {
        node: &'s Node,
        /// Whether a place above keeps what no property names: then every place below does.
        keeps: bool,
    },
    /// Anything, as the value itself tells: objects member by member, lists as a whole.
    Deduced,
    /// Anything, each value as a whole.
    Whole,
    /// A text that belongs to the API.
    Text,
}

/// The form of a place.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'s> {
    /// An object.
    Map(MapOf<'s>),
    /// A list.
    List(ListOf<'s>),
    /// A single value.
    Scalar(ScalarType),
}

impl Shape<'_> {
    /// Whether both are objects, lists or single values.
    pub(crate) fn is_like(&self, other: &Shape<'_>) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What a single value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarType {
    /// A number.
    Number,
    /// A text.
    Text,
    /// A boolean.
    Boolean,
    /// Any of them.
    Any,
}

/// An object's members.
#[derive(Debug, Clone, Copy)]
pub struct MapOf<'s> {
    /// Whether the object can only be owned as a whole.
    pub is_atomic: bool,
    kind: Kind<'s>,
}

/// A list's items.
#[derive(Debug, Clone, Copy)]
pub struct ListOf<'s> {
    /// What tells items from each other.
    pub items_are: &'s ListType,
    /// The type of each.
    pub item: Type<'s>,
}

impl StructuralSchema {
    /// The type of the whole object.
    pub fn type_of_root(&self) -> Type<'_> {
        Type(Kind::Node {
            node: &self.root,
            keeps: false,
        })
    }
}

impl<'s> Type<'s> {
    /// Anything, of which nothing is known.
    pub fn anything() -> Self {
        Self(Kind::Deduced)
    }

    /// The form that a value has here. Where the type leaves that open the value decides; null, and a value that does not
    /// fit, have the form that the type prefers.
    pub fn shape_of(self, value: Option<&Value<'_>>) -> Shape<'s> {
        let found = match value {
            Some(Value::Object(_)) => self.map().map(Shape::Map),
            Some(Value::Array(_)) => self.list().map(Shape::List),
            None | Some(Value::Null) => None,
            Some(_) => self.scalar().map(Shape::Scalar),
        };
        found.unwrap_or_else(|| self.shape())
    }

    /// The form that the type prefers.
    pub fn shape(self) -> Shape<'s> {
        let map = self.map().map(Shape::Map);
        let scalar = || self.scalar().map(Shape::Scalar);
        let list = || self.list().map(Shape::List);
        map.or_else(scalar)
            .or_else(list)
            .unwrap_or(Shape::Scalar(ScalarType::Any))
    }

    /// What strategic merge patches do here.
    pub(crate) fn patch(self) -> Patch {
        match self.0 {
            Kind::Node { node, .. } => node.patch,
            _ => Patch::default(),
        }
    }

    /// The members, where an object may stand.
    pub(crate) fn as_map(self) -> Option<MapOf<'s>> {
        self.map()
    }

    /// The items, where a list may stand.
    pub(crate) fn as_list(self) -> Option<ListOf<'s>> {
        self.list()
    }

    fn map(self) -> Option<MapOf<'s>> {
        let is_atomic = match self.0 {
            Kind::Node { node, .. } => match node.json_type {
                None | Some(JsonType::Object) => node.map_type == MapType::Atomic,
                Some(_) => return None,
            },
            Kind::Deduced => false,
            Kind::Whole => true,
            Kind::Text => return None,
        };
        Some(MapOf {
            is_atomic,
            kind: self.0,
        })
    }

    fn list(self) -> Option<ListOf<'s>> {
        const ATOMIC: &ListType = &ListType::Atomic;
        match self.0 {
            Kind::Node { node, keeps } => match node.json_type {
                None | Some(JsonType::Array) => Some(ListOf {
                    items_are: &node.list_type,
                    item: Type(node.items.as_deref().map_or(Kind::Whole, |items| Kind::Node {
                        node: items,
                        keeps: keeps || node.preserve_unknown,
                    })),
                }),
                Some(_) => None,
            },
            Kind::Deduced | Kind::Whole => Some(ListOf {
                items_are: ATOMIC,
                item: Type(Kind::Whole),
            }),
            Kind::Text => None,
        }
    }

    fn scalar(self) -> Option<ScalarType> {
        match self.0 {
            Kind::Node { node, .. } => match node.json_type {
                None => Some(ScalarType::Any),
                Some(JsonType::Integer | JsonType::Number) => Some(ScalarType::Number),
                Some(JsonType::Boolean) => Some(ScalarType::Boolean),
                // Texts of a format may stand for something else.
                Some(JsonType::String) if node.rules.format.is_some() => Some(ScalarType::Any),
                Some(JsonType::String) => Some(ScalarType::Text),
                Some(JsonType::Object | JsonType::Array) => None,
            },
            Kind::Deduced | Kind::Whole => Some(ScalarType::Any),
            Kind::Text => Some(ScalarType::Text),
        }
    }
}

impl<'s> MapOf<'s> {
    /// The type of a member that the schema names.
    pub fn declared(&self, name: &str) -> Option<Type<'s>> {
        let Kind::Node { node, keeps } = self.kind else {
            return None;
        };
        if node.is_api_key(name) {
            return Some(if name == "metadata" {
                metadata()
            } else {
                Type(Kind::Text)
            });
        }
        let keeps = keeps || node.preserve_unknown;
        node.properties.get(name).map(|node| Type(Kind::Node { node, keeps }))
    }

    /// The type of the members that it does not name; `None` where there may be none.
    pub fn others(&self) -> Option<Type<'s>> {
        let (node, keeps) = match self.kind {
            Kind::Node { node, keeps } => (node, keeps || node.preserve_unknown),
            Kind::Text => return None,
            other => return Some(Type(other)),
        };
        match &node.additional {
            Additional::Schema(node) => Some(Type(Kind::Node { node, keeps })),
            Additional::Any => Some(Type(Kind::Deduced)),
            Additional::None if keeps || (node.properties.is_empty() && node.resource.is_none()) => {
                Some(Type(Kind::Deduced))
            }
            Additional::None => None,
        }
    }

    /// The type of a member.
    pub fn member(&self, name: &str) -> Option<Type<'s>> {
        self.declared(name).or_else(|| self.others())
    }

    /// Whether the schema names no member: its keys are the object's.
    pub fn is_of_any_keys(&self) -> bool {
        match self.kind {
            Kind::Node { node, .. } => node.properties.is_empty() && node.resource.is_none(),
            _ => true,
        }
    }

    /// Whether the schema names no member, and takes any.
    pub(crate) fn is_free(&self) -> bool {
        self.is_of_any_keys()
            && match self.others() {
                Some(Type(Kind::Node { node, .. })) => node.json_type.is_none(),
                other => other.is_some(),
            }
    }
}

impl<'s> ListOf<'s> {
    /// What stands for a key that an item does not give.
    pub(crate) fn key_default(&self, name: &str) -> Option<&'s Value<'static>> {
        match self.item.0 {
            Kind::Node { node, .. } => node.properties.get(name)?.default.as_ref(),
            _ => None,
        }
    }
}

/// The type of `metadata`.
pub(crate) fn metadata() -> Type<'static> {
    static METADATA: LazyLock<Place> = LazyLock::new(|| {
        let text = json!({"type": "string"});
        let texts = json!({"type": "object", "additionalProperties": text});
        let time = json!({"type": "string", "format": "date-time"});
        let owner = json!({"type": "object", "x-kubernetes-map-type": "atomic", "required": ["uid"], "properties": {
            "apiVersion": text, "blockOwnerDeletion": {"type": "boolean"}, "controller": {"type": "boolean"},
            "kind": text, "name": text, "uid": text,
        }});
        let object = json!({"type": "object", "properties": {"metadata": {"type": "object"}, "it": {"type": "object", "properties": {
            "annotations": texts, "creationTimestamp": time, "deletionGracePeriodSeconds": {"type": "integer"},
            "deletionTimestamp": time, "generateName": text, "generation": {"type": "integer"}, "labels": texts,
            "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "managedFields": {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            "name": text, "namespace": text, "resourceVersion": text, "selfLink": text, "uid": text,
            "ownerReferences": {"type": "array", "items": owner, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"]},
        }}}});
        let schema = StructuralSchema::from_openapi(&object, "").expect("the schema of metadata is structural");
        let mut metadata = schema.root.properties["it"].clone();
        for (name, merge_key) in [("finalizers", None), ("ownerReferences", Some("uid"))] {
            if let Place::Own(metadata) = &mut metadata
                && let Some(Place::Own(list)) = metadata.properties.get_mut(name)
            {
                list.patch = Patch {
                    merge: true,
                    merge_key,
                    ..Patch::default()
                };
            }
        }
        metadata
    });
    Type(Kind::Node {
        node: &METADATA,
        keeps: false,
    })
}
