//! Create, update, patch and delete.
//!
//! Every write is one store transaction. It compares the object's key, the key of the definition of a custom resource
//! (so that what was checked by an old schema is not stored under a new one), and for a create the namespace's key (so
//! that nothing comes into a namespace after its deletion began), and writes the object together with its index entries.

pub(crate) mod addresses;
pub(crate) mod admit;
mod builtins;
pub(crate) mod commit;
pub(crate) mod create;
mod decoded;
pub(crate) mod delete;
pub(crate) mod kinds;
pub(crate) mod object;
pub(crate) mod options;
mod rbac;
pub(crate) mod scale;
mod tracking;
pub(crate) mod update;
