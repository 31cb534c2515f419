//! The built-in kinds of Kubernetes: which there are, what they are made of, what stands in them when nothing is given,
//! and what is wrong with an object.
//!
//! The facts lie in `data/`, one file for each group-version, which `cargo xtask kinds` writes anew from Kubernetes' own
//! types; they hold no text of Kubernetes. They are part of the program, and each type is read when it is first asked
//! for: a process that serves none of these kinds has none of them in its memory.
//!
//! What is here:
//!
//! - [`kinds`] and [`kind`]: what discovery says of each kind, and its [`Type`];
//! - [`find`] and [`Type`]: the fields of a type, with what Kubernetes' markers say of them;
//! - [`Type::schema`]: the same as a [`StructuralSchema`](apimachinery::schema::StructuralSchema), whose
//!   [`root`](apimachinery::schema::StructuralSchema::root) server-side apply and strategic merge patches walk: list
//!   types and their keys, map types, patch strategies and merge keys;
//! - [`Type::openapi`] and [`Type::uses`]: the same as a component of an OpenAPI document, and which others it needs;
//! - [`Type::shape`]: an object as Go would read and write it: types checked, unknown fields out, empty ones out or in;
//! - [`protobuf`]: bodies in Kubernetes' protobuf encoding;
//! - [`Type::default`] and [`rules`]: what a real server fills in, and what it refuses;
//! - [`events`]: the two forms of an Event.
//!
//! It knows nothing of HTTP, of storage, and of what happens to an object besides its own content.
//!
//! ```
//! use apimachinery::schema::ListType;
//!
//! let deployment = kinds::kind("apps", "v1", "Deployment").unwrap();
//! assert_eq!((deployment.plural, deployment.short_names), ("deployments", &["deploy"][..]));
//!
//! let schema = deployment.object_type().schema();
//! let containers = ["spec", "template", "spec", "containers"];
//! let containers = containers.iter().try_fold(schema.root(), |node, name| node.child(name)).unwrap();
//! assert_eq!(*containers.list_type(), ListType::Map(vec!["name".to_owned()]));
//! assert!(containers.patch().merge);
//! assert_eq!(containers.patch().merge_key, Some("name"));
//! ```

mod data;
mod defaults;
pub mod events;
mod facts;
mod openapi;
mod parse;
mod path;
pub mod protobuf;
pub mod quantity;
pub mod rules;
mod schema;
mod time;
mod typed;

pub use data::{find, kind, kinds};
pub use facts::{Field, Kind, Shape, Subresource, Type, TypeRef};
pub use typed::ShapeError;
