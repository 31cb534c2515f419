//! Errors about one field of an object, as `Status` causes and messages carry them.

use std::fmt;

use crate::go;
use crate::json::Value;

/// How much of a value is shown, in bytes.
pub const MAX_SHOWN_BYTES: usize = 1024;

/// What is wrong with a field. Decides the text and the `reason` of the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// The field must be there.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is not one of a closed set.
    NotSupported,
    /// The value stands there twice.
    Duplicate,
    /// The field must not be there, or not have this value in this state.
    Forbidden,
    /// The text is too long.
    TooLong,
    /// The list or map has too many entries.
    TooMany,
    /// The value has the wrong JSON type, or a string the wrong format.
    TypeInvalid,
    /// What the value names does not exist.
    NotFound,
    /// The server could not check the field.
    Internal,
}

impl FieldErrorKind {
    /// The `reason` of the `Status` cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong | Self::Internal)
    }
}

/// One field that is wrong. Prints as the Kubernetes API does:
/// `spec.size: Invalid value: 20: spec.size in body should be less than or equal to 10`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// The field, for example `spec.versions[0].name` or `data[a.b]`. See [`child`], [`index`] and [`key`].
    pub path: String,
    /// The offending value. Shown by the kinds that show one; `None` shows nothing.
    pub value: Option<Value<'static>>,
    /// The rule that it breaks; may be empty.
    pub detail: String,
}

impl FieldError {
    fn new(kind: FieldErrorKind, path: impl Into<String>, value: Option<Value<'_>>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.into(),
            value: value.map(Value::into_owned),
            detail: detail.into(),
        }
    }

    /// The field must be there; the detail may be empty.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, None, detail)
    }

    /// The value breaks a rule.
    pub fn invalid<'v>(path: impl Into<String>, value: impl Into<Value<'v>>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, Some(value.into()), detail)
    }

    /// The value is not one of `supported`.
    pub fn not_supported<'v>(path: impl Into<String>, value: impl Into<Value<'v>>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| go::quote(s)).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, path, Some(value.into()), detail)
    }

    /// The value stands there twice.
    pub fn duplicate<'v>(path: impl Into<String>, value: impl Into<Value<'v>>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, Some(value.into()), "")
    }

    /// The field must not be set here.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, None, detail)
    }

    /// The text is longer than `max_bytes`; the value is never shown.
    pub fn too_long(path: impl Into<String>, max_bytes: u64) -> Self {
        let bytes = if max_bytes == 1 { "byte" } else { "bytes" };
        Self::new(
            FieldErrorKind::TooLong,
            path,
            None,
            format!("may not be more than {max_bytes} {bytes}"),
        )
    }

    /// There are `actual` entries where `max` are allowed.
    pub fn too_many(path: impl Into<String>, actual: u64, max: u64) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        Self::new(
            FieldErrorKind::TooMany,
            path,
            Some(actual.into()),
            format!("must have at most {max} {items}"),
        )
    }

    /// The value has the wrong type.
    pub fn type_invalid<'v>(path: impl Into<String>, value: impl Into<Value<'v>>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, path, Some(value.into()), detail)
    }

    /// What the value names does not exist.
    pub fn not_found<'v>(path: impl Into<String>, value: impl Into<Value<'v>>) -> Self {
        Self::new(FieldErrorKind::NotFound, path, Some(value.into()), "")
    }

    /// The text without the path: the `message` of the `Status` cause. A value is shown up to [`MAX_SHOWN_BYTES`].
    pub fn body(&self) -> String {
        let mut out = self.kind.text().to_owned();
        if let (true, Some(value)) = (self.kind.shows_value(), &self.value) {
            out.push_str(": ");
            match value {
                Value::String(s) => out.push_str(&go::quote(&go::cut(s, MAX_SHOWN_BYTES))),
                other => out.push_str(&go::cut(&go::text(other), MAX_SHOWN_BYTES)),
            }
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl std::error::Error for FieldError {}

/// The path of a named child: `spec` and `size` give `spec.size`; an empty parent gives the name alone.
pub fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The path of a list item: `spec.list[3]`.
pub fn index(path: &str, position: usize) -> String {
    format!("{path}[{position}]")
}

/// The path of a map entry: `data[a.b]`.
pub fn key(path: &str, name: &str) -> String {
    format!("{path}[{name}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn errors_print_as_the_api_prints_them() {
        for (error, expected) in [
            (
                FieldError::invalid("spec.size", 99, "spec.size in body should be less than or equal to 10"),
                "spec.size: Invalid value: 99: spec.size in body should be less than or equal to 10",
            ),
            (FieldError::required("spec.size", ""), "spec.size: Required value"),
            (
                FieldError::not_supported("spec.color", "green", &["red", "blue"]),
                r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
            ),
            (
                FieldError::too_long("spec.s", 5),
                "spec.s: Too long: may not be more than 5 bytes",
            ),
            (
                FieldError::duplicate("spec.lst[1]", json!({"name": "x"})),
                r#"spec.lst[1]: Duplicate value: {"name":"x"}"#,
            ),
            (
                FieldError::too_many("spec.l", 9, 8),
                "spec.l: Too many: 9: must have at most 8 items",
            ),
            (
                FieldError::forbidden("force", "may not be specified for non-apply patch"),
                "force: Forbidden: may not be specified for non-apply patch",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
