//! Places of a schema: how they are shared, and how other crates look at them and make them.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use super::{Additional, JsonType, ListType, MapType, Node, Resource, Rules};
use crate::json::Value;

/// A node that stands here alone, or one that several places share.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Own(Box<Node>),
    Shared(SharedSchema),
}

impl Place {
    pub(super) fn own(node: Node) -> Self {
        Self::Own(Box::new(node))
    }
}

impl Deref for Place {
    type Target = Node;

    fn deref(&self) -> &Node {
        match self {
            Place::Own(node) => node,
            Place::Shared(shared) => LazyLock::force(&shared.0),
        }
    }
}

type Make = Box<dyn FnOnce() -> Node + Send>;

/// A part of schemas that is made when it is first looked at, and once for all places that it stands in. It may hold
/// itself, as the schema of schemas does. Clones are the same part.
#[derive(Clone)]
pub struct SharedSchema(Arc<LazyLock<Node, Make>>);

impl SharedSchema {
    /// A part that `facts` tells about, which is called at most once.
    pub fn new(facts: impl FnOnce() -> NodeFacts + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(|| facts().node()))))
    }
}

/// Not what is in it, which may have no end.
impl fmt::Debug for SharedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedSchema").finish_non_exhaustive()
    }
}

/// What a strategic merge patch does at a place: Kubernetes' `patchStrategy` and `patchMergeKey`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patch {
    /// `merge`: the lists are merged item by item rather than replaced.
    pub merge: bool,
    /// `retainKeys`: the patch may say which members stay.
    pub retain_keys: bool,
    /// `replace`: what stands there is replaced whole.
    pub replace: bool,
    /// The member that items which are objects are known by; `None` for lists of scalars.
    pub merge_key: Option<&'static str>,
}

/// A place of a schema, to be looked at: a field, the items of a list, the values of a map.
///
/// ```
/// use apimachinery::schema::{ListType, StructuralSchema};
///
/// let schema = StructuralSchema::from_openapi(
///     &serde_json::json!({"type": "object", "properties": {"ports": {
///         "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
///         "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}}}}}}),
///     "",
/// )
/// .unwrap();
/// let ports = schema.root().child("ports").unwrap();
/// assert_eq!(*ports.list_type(), ListType::Map(vec!["port".to_owned()]));
/// assert!(ports.items().unwrap().child("port").is_some());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SchemaNode<'s>(&'s Node);

impl<'s> SchemaNode<'s> {
    pub(super) fn of(place: &'s Place) -> Self {
        Self(place)
    }

    /// The place under a key: a property, or the values of a map.
    pub fn child(self, key: &str) -> Option<SchemaNode<'s>> {
        self.0.child(key).map(SchemaNode)
    }

    /// The properties by their names, in their order.
    pub fn properties(self) -> impl Iterator<Item = (&'s str, SchemaNode<'s>)> {
        let properties = self.0.properties.iter();
        properties.map(|(name, place)| (name.as_str(), SchemaNode(place)))
    }

    /// The items of a list.
    pub fn items(self) -> Option<SchemaNode<'s>> {
        self.0.items.as_deref().map(SchemaNode)
    }

    /// The values of a map, whatever their keys.
    pub fn values(self) -> Option<SchemaNode<'s>> {
        match &self.0.additional {
            Additional::Schema(place) => Some(SchemaNode(place)),
            _ => None,
        }
    }

    /// The JSON type; `None` where there is no single one.
    pub fn json_type(self) -> Option<JsonType> {
        self.0.json_type
    }

    /// `x-kubernetes-int-or-string`.
    pub fn is_int_or_string(self) -> bool {
        self.0.int_or_string
    }

    /// `x-kubernetes-preserve-unknown-fields`: members that no property names stay.
    pub fn preserves_unknown(self) -> bool {
        self.0.preserve_unknown || matches!(self.0.additional, Additional::Any)
    }

    /// `x-kubernetes-embedded-resource`: an object with `apiVersion`, `kind` and `metadata`.
    pub fn is_embedded_resource(self) -> bool {
        self.0.resource == Some(Resource::Embedded)
    }

    /// Whether null may stand here.
    pub fn is_nullable(self) -> bool {
        self.0.nullable
    }

    /// `x-kubernetes-list-type`, with the names of the keys.
    pub fn list_type(self) -> &'s ListType {
        &self.0.list_type
    }

    /// `x-kubernetes-map-type`.
    pub fn map_type(self) -> MapType {
        self.0.map_type
    }

    /// What strategic merge patches do here. For custom resources, which take none, it says nothing.
    pub fn patch(self) -> Patch {
        self.0.patch
    }

    /// What stands here when nothing is given.
    pub fn default(self) -> Option<&'s Value<'static>> {
        self.0.default.as_ref()
    }

    /// The properties that must be there.
    pub fn required(self) -> &'s [String] {
        &self.0.rules.required
    }
}

/// What another crate knows about a place: it becomes a part of a schema.
///
/// Only what is said here is checked or kept; unlike [`super::StructuralSchema::from_openapi`] nothing of it is questioned.
#[derive(Debug, Default)]
pub struct NodeFacts {
    /// The JSON type; `None` where there is no single one.
    pub json_type: Option<JsonType>,
    /// An integer or a text.
    pub int_or_string: bool,
    /// Members that no property names stay.
    pub preserve_unknown: bool,
    /// The root of a kind, whose `apiVersion`, `kind` and `metadata` belong to the API.
    pub is_root: bool,
    /// Whether null may stand here.
    pub nullable: bool,
    /// The properties by their names.
    pub properties: Vec<(String, SchemaPart)>,
    /// The values of a map.
    pub values: Option<SchemaPart>,
    /// The items of a list.
    pub items: Option<SchemaPart>,
    /// What of a list may have an owner of its own.
    pub list_type: ListType,
    /// What of an object may have an owner of its own.
    pub map_type: MapType,
    /// What strategic merge patches do.
    pub patch: Patch,
    /// What stands here when nothing is given.
    pub default: Option<Value<'static>>,
    /// The properties that must be there.
    pub required: Vec<String>,
}

/// A place inside another one.
#[derive(Debug)]
pub enum SchemaPart {
    /// One that stands only here.
    Own(Box<NodeFacts>),
    /// One that stands elsewhere, too.
    Shared(SharedSchema),
}

impl SchemaPart {
    fn place(self) -> Place {
        match self {
            SchemaPart::Own(facts) => Place::own(facts.node()),
            SchemaPart::Shared(shared) => Place::Shared(shared),
        }
    }
}

impl NodeFacts {
    fn node(self) -> Node {
        let mut defaulted = Vec::new();
        let mut properties = std::collections::BTreeMap::new();
        for (name, part) in self.properties {
            // What is shared has no default of its own place, and is not made only to look for one.
            if matches!(&part, SchemaPart::Own(facts) if facts.default.is_some()) {
                defaulted.push(name.clone());
            }
            properties.insert(name, part.place());
        }
        Node {
            json_type: self.json_type,
            int_or_string: self.int_or_string,
            preserve_unknown: self.preserve_unknown,
            resource: self.is_root.then_some(Resource::Root),
            nullable: self.nullable,
            properties,
            additional: match self.values {
                Some(part) => Additional::Schema(part.place()),
                None => Additional::None,
            },
            items: self.items.map(SchemaPart::place),
            list_type: self.list_type,
            map_type: self.map_type,
            patch: self.patch,
            default: self.default,
            defaulted,
            rules: Rules {
                required: self.required,
                ..Rules::default()
            },
            ..Node::default()
        }
    }
}
