//! CustomResourceDefinitions.
use std::sync::Arc;
use serde_json::Value;
use crate::field::FieldError;
use crate::jsonpath::JsonPath;
use crate::schema::StructuralSchema;
use crate::table::TableColumn;
/// Whether objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}
/// `spec.names`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    /// Plural, the resource.
    pub plural: String,
    /// Singular.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub singular: String,
    /// Short names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// Kind.
    pub kind: String,
    /// Kind of lists.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub list_kind: String,
    /// Categories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}
/// A selectable field.
#[derive(Debug, Clone)]
pub struct SelectableField {
    /// The label in selectors, without leading dot: `spec.planId`.
    pub label: String,
    /// Where the value stands.
    pub path: JsonPath,
}
impl SelectableField {
    /// The value as selectors compare it; absent is the empty text.
    pub fn value<'v>(&self, object: &'v Value) -> std::borrow::Cow<'v, str> { let _ = object; "".into() }
}
/// Paths of the scale subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// `.spec.replicas`
    pub spec_replicas_path: String,
    /// `.status.replicas`
    pub status_replicas_path: String,
    /// `.status.selector`
    pub label_selector_path: Option<String>,
}
/// One version.
#[derive(Debug, Clone)]
pub struct Version {
    /// Name.
    pub name: String,
    /// Served over HTTP.
    pub served: bool,
    /// Written to the store.
    pub storage: bool,
    /// A warning for each request, if deprecated.
    pub deprecation_warning: Option<String>,
    /// The schema.
    pub schema: Arc<StructuralSchema>,
    /// `openAPIV3Schema` as given, for publishing.
    pub openapi: Value,
    /// Whether there is a status subresource.
    pub status_subresource: bool,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// Columns without the name; `Age` when none are given.
    pub columns: Vec<TableColumn>,
    /// Fields for selectors.
    pub selectable_fields: Vec<SelectableField>,
}
/// A definition, checked.
#[derive(Debug, Clone)]
pub struct CustomResourceDefinition {
    /// `metadata.name`.
    pub name: String,
    /// Group.
    pub group: String,
    /// Names.
    pub names: Names,
    /// Scope.
    pub scope: Scope,
    /// Versions, in the order of the object.
    pub versions: Vec<Version>,
}
impl CustomResourceDefinition {
    /// Fills in what may be left out.
    pub fn apply_defaults(object: &mut Value) { let _ = object; }
    /// Reads and checks a definition that [`Self::apply_defaults`] has completed.
    /// # Errors
    /// Every rule that it breaks.
    pub fn parse(object: &Value) -> Result<Self, Vec<FieldError>> { let _ = object; Err(vec![]) }
    /// What may not change between two definitions that are each valid.
    pub fn validate_update(old: &Value, new: &Value) -> Vec<FieldError> { let _ = (old, new); vec![] }
    /// Writes `status` of an accepted definition (acceptedNames, conditions NamesAccepted and Established, storedVersions).
    pub fn establish(object: &mut Value, now: &str) { let _ = (object, now); }
    /// Writes the NamesAccepted=False condition of a definition whose names another one has.
    pub fn reject_names(object: &mut Value, message: &str, now: &str) { let _ = (object, message, now); }
    /// Writes the Terminating condition.
    pub fn terminate(object: &mut Value, now: &str) { let _ = (object, now); }
    /// The version that is written to the store.
    pub fn storage_version(&self) -> &Version { &self.versions[0] }
    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> { self.versions.iter().find(|v| v.name == name) }
}
