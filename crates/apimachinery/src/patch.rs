//! Merge patch (RFC 7386) and JSON patch (RFC 6902).
use serde_json::Value;
use crate::status::Status;
/// Applies a merge patch: objects are merged, null removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) { let _ = (target, patch); }
/// A JSON patch, read and checked, ready to be applied to any document.
#[derive(Debug, Clone)]
pub struct JsonPatch {}
/// Why a JSON patch cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("patch")]
pub struct PatchError;
impl PatchError {
    /// The answer to the client.
    pub fn status(&self) -> Status { Status::rejected() }
}
impl JsonPatch {
    /// Reads the operations.
    /// # Errors
    /// When it is no JSON patch.
    pub fn parse(patch: &Value) -> Result<Self, PatchError> { let _ = patch; Ok(Self {}) }
    /// The document with all operations applied, or none.
    /// # Errors
    /// When an operation fails.
    pub fn apply(&self, document: Value) -> Result<Value, PatchError> { Ok(document) }
}
