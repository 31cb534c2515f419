//! What is known of a kind, a type and a field.

use std::sync::OnceLock;

use apimachinery::schema::{ListType, MapType, Patch, StructuralSchema};

use crate::data::{self, Package};

/// A built-in kind, as discovery shows it.
#[derive(Debug)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The name of the resource in paths.
    pub plural: &'static str,
    /// The name of one.
    pub singular: &'static str,
    /// Whether its objects lie in namespaces.
    pub namespaced: bool,
    /// What a real server lets be done with it.
    pub verbs: &'static [&'static str],
    /// Other names for the command line.
    pub short_names: &'static [&'static str],
    /// Groups of resources that the command line knows, such as `all`.
    pub categories: &'static [&'static str],
    /// What has paths of its own below an object, also what a real server needs a node for (`pods/log`).
    pub subresources: &'static [Subresource],
    pub(crate) object: TypeRef,
}

impl Kind {
    /// What its objects are made of.
    pub fn object_type(&self) -> &'static Type {
        self.object.get()
    }

    /// The schema of its objects. Nothing of it is read before it is looked at.
    pub fn schema(&'static self) -> StructuralSchema {
        crate::schema::of(move || self.object.get())
    }

    /// What is known of a subresource, by its name (`status`).
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|part| part.name == name)
    }
}

/// A part of a kind with paths of its own.
#[derive(Debug)]
pub struct Subresource {
    /// Its name, such as `status`.
    pub name: &'static str,
    /// The group, version and kind of its bodies.
    pub kind: (&'static str, &'static str, &'static str),
    /// What a real server lets be done with it.
    pub verbs: &'static [&'static str],
}

/// A type: a kind, or what objects hold.
#[derive(Debug)]
pub struct Type {
    pub(crate) package: &'static Package,
    /// Its name in its package, such as `PodSpec`.
    pub name: &'static str,
    /// `x-kubernetes-map-type` of each object of it.
    pub map_type: MapType,
    /// Its own fields, and what it has taken in of other types (`Field::name` is empty), in the order of their names.
    pub(crate) own: Vec<Field>,
    pub(crate) fields: OnceLock<Vec<&'static Field>>,
    pub(crate) schema: OnceLock<apimachinery::schema::SharedSchema>,
}

impl Type {
    /// The fields that its JSON has, in the order of their names; also those of types that it has taken in.
    pub fn fields(&'static self) -> &'static [&'static Field] {
        self.fields.get_or_init(|| {
            let mut all: Vec<&'static Field> = Vec::with_capacity(self.own.len());
            for field in &self.own {
                match &field.shape {
                    Shape::Object(inner) if field.name.is_empty() => all.extend(inner.get().fields()),
                    _ => all.push(field),
                }
            }
            all.sort_unstable_by_key(|field| field.name);
            all
        })
    }

    /// The field of a name.
    pub fn field(&'static self, name: &str) -> Option<&'static Field> {
        let fields = self.fields();
        let found = fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
        Some(fields[found])
    }

    /// The name that OpenAPI documents know it by: `io.k8s.api.core.v1.PodSpec`.
    pub fn openapi_name(&self) -> String {
        format!("{}.{}", self.package.openapi(), self.name)
    }

    /// A schema with the type at its root. Parts that several types have are shared and made when they are first looked
    /// at; making the schema itself costs next to nothing.
    pub fn schema(&'static self) -> StructuralSchema {
        crate::schema::of(move || self)
    }
}

/// A field of a type.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON; empty for a type that is taken in: its fields stand beside the others.
    pub name: &'static str,
    /// Its number in protobuf; 0 when it is not there.
    pub number: u32,
    /// What stands there.
    pub shape: Shape,
    /// Absent differs from empty.
    pub pointer: bool,
    /// An empty value is left out. An object that is no pointer stays all the same.
    pub omit_empty: bool,
    /// An empty object is left out, too.
    pub omit_zero: bool,
    /// Whether OpenAPI calls it required.
    pub required: bool,
    /// Its default in OpenAPI, as JSON. An empty one only says that the field is always there.
    pub default: Option<&'static str>,
    /// `x-kubernetes-list-type`, if it is given.
    pub list_type: Option<ListType>,
    /// `x-kubernetes-map-type`, if it is given.
    pub map_type: Option<MapType>,
    /// What strategic merge patches do.
    pub patch: Patch,
    /// The values that OpenAPI lists for it, or for what the list or map holds.
    pub values: Vec<&'static str>,
    /// A format of OpenAPI that does not follow from the shape.
    pub format: Option<&'static str>,
}

/// What stands in a field.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A text.
    Text,
    /// A boolean.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A float.
    Float64,
    /// Bytes, in base64.
    Bytes,
    /// A time, to the second.
    Time,
    /// A time, to the microsecond.
    MicroTime,
    /// A quantity: see [`crate::quantity`].
    Quantity,
    /// A whole number of 32 bits, or a text.
    IntOrString,
    /// Any object.
    Raw,
    /// Any JSON.
    Json,
    /// The names of fields, in the form of `fieldsV1`.
    Fields,
    /// A schema or a list of them, in a definition.
    SchemaOrArray,
    /// A schema or a boolean, in a definition.
    SchemaOrBool,
    /// A schema or a list of texts, in a definition.
    SchemaOrStrings,
    /// A list.
    List(Box<Shape>),
    /// A list that is a message of its own in protobuf.
    WrappedList(Box<Shape>),
    /// A map with texts as its keys.
    Map(Box<Shape>),
    /// An object of a type.
    Object(TypeRef),
}

/// A type by its name.
#[derive(Debug, Clone)]
pub struct TypeRef {
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
    pub(crate) found: OnceLock<&'static Type>,
}

impl TypeRef {
    pub(crate) fn new(package: &'static str, name: &'static str) -> TypeRef {
        TypeRef {
            package,
            name,
            found: OnceLock::new(),
        }
    }

    /// The type, which is read at the first call.
    pub fn get(&self) -> &'static Type {
        self.found.get_or_init(|| {
            data::type_in(self.package, self.name)
                .expect("the data has every type that it names: a test reads all of it")
        })
    }
}
