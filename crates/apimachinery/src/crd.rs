//! CustomResourceDefinitions: what they say, the rules they keep, and their status.
//!
//! The object itself stays JSON; [`CustomResourceDefinition::parse`] makes the checked, compiled view of it that a server works
//! with. A write passes [`CustomResourceDefinition::apply_defaults`], then `parse`, and for an update
//! [`CustomResourceDefinition::validate_update`].
//!
//! Not supported, and refused: conversion webhooks and validation rules in CEL.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::field::FieldError;
use crate::go;
use crate::json;
use crate::jsonpath::JsonPath;
use crate::schema::StructuralSchema;
use crate::table::TableColumn;

mod parse;
mod status;

/// Most selectable fields of a version.
pub const MAX_SELECTABLE_FIELDS: usize = 8;

/// The finalizer that holds a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// `spec.names`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    /// The resource in URLs: `widgets`.
    pub plural: String,
    /// `widget`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub singular: String,
    /// Other names that kubectl takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// `Widget`.
    pub kind: String,
    /// `WidgetList`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub list_kind: String,
    /// Groups of resources that it belongs to, as `all`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// A field that field selectors may use.
#[derive(Debug, Clone)]
pub struct SelectableField {
    /// Its name in selectors: the path without the leading dot, `spec.planId`.
    pub label: String,
    /// Where its value stands: plain fields only.
    pub path: JsonPath,
}

impl SelectableField {
    /// The value as selectors compare it; absent is the empty text.
    pub fn value<'v>(&self, object: &'v json::Value<'_>) -> Cow<'v, str> {
        match self.path.first_value(object) {
            Some(json::Value::String(text)) => Cow::Borrowed(text),
            Some(json::Value::Bool(true)) => Cow::Borrowed("true"),
            Some(json::Value::Bool(false)) => Cow::Borrowed("false"),
            Some(json::Value::Number(number)) => Cow::Owned(go::number(number)),
            _ => Cow::Borrowed(""),
        }
    }
}

/// The paths of the scale subresource, as given: `.spec.replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Under `.spec`.
    pub spec_replicas_path: String,
    /// Under `.status`.
    pub status_replicas_path: String,
    /// Under `.spec` or `.status`.
    pub label_selector_path: Option<String>,
}

/// One version, compiled.
#[derive(Debug, Clone)]
pub struct Version {
    /// `v1`.
    pub name: String,
    /// Whether it is served.
    pub served: bool,
    /// Whether objects are stored in it.
    pub storage: bool,
    /// What each request of a deprecated version is told.
    pub deprecation_warning: Option<String>,
    /// The schema.
    pub schema: Arc<StructuralSchema>,
    /// `openAPIV3Schema` as given, for publishing.
    pub openapi: serde_json::Value,
    /// Whether there is a status subresource.
    pub status_subresource: bool,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// The columns behind the name; the age where none are given.
    pub columns: Vec<TableColumn>,
    /// The fields for selectors.
    pub selectable_fields: Vec<SelectableField>,
}

/// A definition, checked and compiled.
#[derive(Debug, Clone)]
pub struct CustomResourceDefinition {
    /// `metadata.name`: plural and group.
    pub name: String,
    /// The group.
    pub group: String,
    /// The names.
    pub names: Names,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// The versions, in the order of the object. One of them is the storage version.
    pub versions: Vec<Version>,
}

impl CustomResourceDefinition {
    /// Fills in what may be left out: `singular`, `listKind`, the conversion strategy.
    pub fn apply_defaults(object: &mut serde_json::Value) {
        parse::apply_defaults(object);
    }

    /// Reads and checks a definition that [`Self::apply_defaults`] has completed.
    ///
    /// # Errors
    ///
    /// Every rule that it breaks.
    pub fn parse(object: &serde_json::Value) -> Result<Self, Vec<FieldError>> {
        parse::parse(object)
    }

    /// What may not change between two definitions that are each valid: group, scope, plural, kind, and versions that objects are
    /// still stored in.
    pub fn validate_update(old: &serde_json::Value, new: &serde_json::Value) -> Vec<FieldError> {
        parse::validate_update(old, new)
    }

    /// Writes the `status` of a definition that is served: the names accepted, the conditions `NamesAccepted` and `Established`, and
    /// the storage version among `storedVersions`. `now` is in the form of [`crate::meta::format_timestamp`].
    pub fn establish(object: &mut serde_json::Value, now: &str) {
        status::establish(object, now);
    }

    /// Writes that another definition has the names (`NamesAccepted` is false). A definition that is established stays so.
    pub fn reject_names(object: &mut serde_json::Value, message: &str, now: &str) {
        status::reject_names(object, message, now);
    }

    /// Writes that the definition and its objects are being deleted.
    pub fn terminate(object: &mut serde_json::Value, now: &str) {
        status::terminate(object, now);
    }

    /// Whether a condition of the object is true, for example `Established`.
    pub fn has_condition(object: &serde_json::Value, name: &str) -> bool {
        status::has_condition(object, name)
    }

    /// The version that objects are stored in.
    pub fn storage_version(&self) -> &Version {
        self.versions
            .iter()
            .find(|v| v.storage)
            .expect("parse accepts only definitions with a storage version")
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }
}

#[cfg(test)]
mod tests;
