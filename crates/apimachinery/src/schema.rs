//! Structural schemas: what a CustomResourceDefinition says about its objects, compiled once and applied to every write.
//!
//! A write passes [`StructuralSchema::prune`], [`StructuralSchema::default`] and [`StructuralSchema::validate`] in this order; each
//! walks the object once and allocates nothing when there is nothing to do. `apiVersion`, `kind` and `metadata` at the root belong
//! to the API, not to the schema: they are never pruned or defaulted (see [`crate::meta`]).
//!
//! Not supported: `x-kubernetes-validations` (rules in CEL); a schema with such rules is refused, never accepted without them.

use std::collections::BTreeMap;

use serde_json::Number;

use crate::field::FieldError;
use crate::json::Value;

mod compile;
mod fill;
mod format;
mod lists;
mod node;
mod path;
mod pattern;
mod prune;
mod structure;
mod types;
mod validate;

use format::Format;
use node::Place;
use pattern::Pattern;

pub use node::{NodeFacts, Patch, SchemaNode, SchemaPart, SharedSchema};
pub use types::{ListOf, MapOf, ScalarType, Shape, Type};

/// How many errors are reported at most for one object.
pub const MAX_ERRORS: usize = 100;

/// A structural schema, compiled.
///
/// ```
/// use apimachinery::schema::StructuralSchema;
/// use apimachinery::json;
///
/// let schema = StructuralSchema::from_openapi(
///     &serde_json::json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
///         "size": {"type": "integer", "maximum": 10}, "color": {"type": "string", "default": "red"}}}}}),
///     "spec.validation.openAPIV3Schema",
/// )
/// .unwrap();
/// let mut object = json!({"spec": {"size": 20, "junk": 1}});
/// assert_eq!(schema.prune(&mut object), ["spec.junk"]);
/// schema.default(&mut object);
/// assert_eq!(object["spec"]["color"], "red");
/// assert_eq!(
///     schema.validate(&object)[0].to_string(),
///     "spec.size: Invalid value: 20: spec.size in body should be less than or equal to 10",
/// );
/// ```
#[derive(Debug, Clone)]
pub struct StructuralSchema {
    root: Place,
}

impl StructuralSchema {
    /// Compiles the content of an `openAPIV3Schema`; `path` is where it stands, for the errors.
    ///
    /// # Errors
    ///
    /// Everything that makes it no structural schema.
    pub fn from_openapi(schema: &serde_json::Value, path: &str) -> Result<Self, Vec<FieldError>> {
        compile::compile(schema, path).map(|root| Self { root: Place::own(root) })
    }

    /// The schema of a kind whose types are known otherwise. What it is made of is made when it is first looked at.
    pub fn from_shared(root: SharedSchema) -> Self {
        Self {
            root: Place::Shared(root),
        }
    }

    /// The place where the whole object stands: from here on what the schema says can be walked.
    pub fn root(&self) -> SchemaNode<'_> {
        SchemaNode::of(&self.root)
    }

    /// Removes the fields that the schema does not know. Their paths come back, in order, at most
    /// [`crate::json::MAX_REPORTED_FIELDS`] of them.
    pub fn prune(&self, object: &mut Value<'_>) -> Vec<String> {
        prune::prune(&self.root, object)
    }

    /// Replaces nulls that are not allowed by defaults, or drops them, and fills defaults in.
    pub fn default(&self, object: &mut Value<'_>) {
        fill::fill(&self.root, object, fill::Nulls::Dropped);
    }

    /// Fills defaults in after an apply: a null that is not allowed and has no default stays, and is refused by
    /// [`StructuralSchema::validate`].
    pub fn default_applied(&self, object: &mut Value<'_>) {
        fill::fill(&self.root, object, fill::Nulls::Kept);
    }

    /// Everything that is wrong with an object, up to [`MAX_ERRORS`].
    pub fn validate(&self, object: &Value<'_>) -> Vec<FieldError> {
        validate::validate(&self.root, object)
    }

    /// What the schema says about the field at a path of plain names, for example `["spec", "planId"]`.
    pub fn field<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<FieldType> {
        let mut node: &Node = &self.root;
        for name in path {
            node = node.child(name)?;
        }
        Some(match node.json_type {
            Some(JsonType::String) => FieldType::String,
            Some(JsonType::Boolean) => FieldType::Boolean,
            Some(JsonType::Integer) => FieldType::Integer,
            _ => FieldType::Other,
        })
    }
}

/// The type of a field, as far as selectable fields care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A string.
    String,
    /// A boolean.
    Boolean,
    /// An integer.
    Integer,
    /// Anything else, or no single type.
    Other,
}

/// The JSON type of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// An object.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A boolean.
    Boolean,
}

impl JsonType {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// Values of keys that `properties` do not name.
#[derive(Debug, Clone, Default)]
enum Additional {
    /// Nothing is said.
    #[default]
    None,
    /// Anything.
    Any,
    /// What this schema says.
    Schema(Place),
}

/// `x-kubernetes-list-type`: what of a list may have an owner of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListType {
    /// Only the list as a whole.
    #[default]
    Atomic,
    /// Each item, which is a scalar and stands there once.
    Set,
    /// Each item, which is known by its members of these names.
    Map(Vec<String>),
}

/// `x-kubernetes-map-type`: what of an object may have an owner of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MapType {
    /// Each member.
    #[default]
    Granular,
    /// Only the object as a whole.
    Atomic,
}

/// One place of a schema: a field, the items of a list, the values of a map, or a branch of `anyOf` and its like.
#[derive(Debug, Clone, Default)]
struct Node {
    json_type: Option<JsonType>,
    int_or_string: bool,
    preserve_unknown: bool,
    /// An object with `apiVersion`, `kind` and `metadata`: the root, or `x-kubernetes-embedded-resource`.
    resource: Option<Resource>,
    nullable: bool,
    properties: BTreeMap<String, Place>,
    additional: Additional,
    items: Option<Place>,
    list_type: ListType,
    map_type: MapType,
    /// What strategic merge patches do here; built-in kinds only.
    patch: Patch,
    default: Option<Value<'static>>,
    /// Names of properties with a default.
    defaulted: Vec<String>,
    /// Whether a set or map list stands here or below.
    has_unique_lists: bool,
    rules: Rules,
    branches: Option<Box<Branches>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Root,
    Embedded,
}

/// Keywords about a value itself.
#[derive(Debug, Clone, Default)]
struct Rules {
    required: Vec<String>,
    allowed: Option<Vec<Value<'static>>>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<Number>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<Pattern>,
    format: Option<Format>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
}

#[derive(Debug, Clone)]
struct Bound {
    limit: Number,
    exclusive: bool,
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
#[derive(Debug, Clone, Default)]
struct Branches {
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    not: Option<Node>,
}

impl Node {
    /// The schema of the value under a key.
    fn child(&self, key: &str) -> Option<&Node> {
        self.properties
            .get(key)
            .or(match &self.additional {
                Additional::Schema(place) => Some(place),
                _ => None,
            })
            .map(|place| &**place)
    }

    /// Whether the API, not the schema, rules over a key.
    fn is_api_key(&self, key: &str) -> bool {
        self.resource.is_some() && matches!(key, "apiVersion" | "kind" | "metadata")
    }
}

#[cfg(test)]
mod tests;
