//! The author's fields of a `ServiceInstance`.

use std::any::TypeId;

use osb_api::Object;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::column::Column;
use super::structural::{self, Checked};

/// The most bytes of JSON that the author's fields of one instance may have.
pub const MAX_FIELDS_BYTES: usize = 16 * 1024;

/// Fields of the author's own on each `ServiceInstance` of an offering, under `ext`, for people and tools: where it
/// runs, its version, its size. Declared with [`Broker::fields`](crate::Broker::fields), told with
/// [`Operation::set_fields`](crate::Operation::set_fields).
///
/// They are **not secret**: whoever may read the resource reads them, unlike parameters, state and credentials, which
/// are stored encrypted. Nothing of those gets into them unless the author puts it there.
///
/// The author's code owns them: what it tells takes the place of all that stood there. What somebody changes with
/// `kubectl` stays until then, and is what [`Operation::fields`](crate::Operation::fields) reads.
///
/// The type is a struct with named fields. Members that are `None` are left out.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Column, Fields};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(rename_all = "camelCase")]
/// struct Shown {
///     /// Where it listens.
///     host: String,
///     size_gib: u32,
/// }
///
/// impl Fields for Shown {
///     fn columns() -> Vec<Column> {
///         vec![Column::text("Host", ".host"), Column::integer("GiB", ".sizeGib")]
///     }
/// }
/// ```
pub trait Fields: Serialize + DeserializeOwned + JsonSchema + 'static {
    /// What `kubectl get serviceinstances` shows of them, between the broker's own columns and the age.
    fn columns() -> Vec<Column> {
        Vec::new()
    }
}

/// A [`Fields`] with its type erased.
#[derive(Debug)]
pub(crate) struct FieldsType {
    id: TypeId,
    name: &'static str,
    checked: Checked,
    columns: Vec<Column>,
}

/// Why fields are not stored. The texts quote no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldsError {
    #[error("the fields are of the type {told}, but Broker::fields declares {declared} for the offering")]
    OtherType { told: &'static str, declared: &'static str },
    #[error("the fields of an instance may have {MAX_FIELDS_BYTES} bytes")]
    TooLarge,
    #[error("the fields do not fit their own schema: {0}")]
    Wrong(String),
}

impl FieldsType {
    pub(crate) fn of<F: Fields>() -> Result<Self, String> {
        let checked = Checked::of::<F>().map_err(|error| error.to_string())?;
        let columns = F::columns();
        for column in &columns {
            column.check(&checked.schema)?;
        }
        Ok(Self {
            id: TypeId::of::<F>(),
            name: std::any::type_name::<F>(),
            checked,
            columns,
        })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn is<F: Fields>(&self) -> bool {
        self.id == TypeId::of::<F>()
    }

    /// The fields as they are stored.
    pub(crate) fn to_stored<F: Fields>(&self, fields: &F) -> Result<Object, FieldsError> {
        if !self.is::<F>() {
            return Err(FieldsError::OtherType {
                told: std::any::type_name::<F>(),
                declared: self.name,
            });
        }
        let stored = self.checked.checked(fields).map_err(FieldsError::Wrong)?;
        if serde_json::to_vec(&stored).map_or(usize::MAX, |bytes| bytes.len()) > MAX_FIELDS_BYTES {
            return Err(FieldsError::TooLarge);
        }
        Ok(stored)
    }

    fn loose(&self) -> Object {
        structural::types_only(&self.checked.schema)
    }
}

/// The schema of `ext` for instances of all offerings: the fields of each of them. Types only, so that what an older
/// version of the broker has told is never in the way of a write; what is told is checked in full before.
pub(crate) fn together<'a>(types: impl IntoIterator<Item = (&'a str, &'a FieldsType)>) -> Result<Object, String> {
    let mut fields: Object = Map::new();
    let mut first: Map<String, Value> = Map::new();
    for (offering, fields_type) in types {
        let loose = fields_type.loose();
        for (name, schema) in loose.get("properties").and_then(Value::as_object).into_iter().flatten() {
            match fields.get(name) {
                Some(before) if bare(before) != bare(schema) => {
                    let other = first.get(name).and_then(Value::as_str).unwrap_or_default();
                    return Err(format!(
                        "the offerings {other} and {offering} both have a field `{name}`, of different types"
                    ));
                }
                Some(_) => {}
                None => {
                    fields.insert(name.clone(), schema.clone());
                    first.insert(name.clone(), offering.into());
                }
            }
        }
    }
    Ok(fields)
}

/// A schema without the words for people.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            // A field may have that name; its value is a schema then, and no text.
            let words = |(name, value): &(&String, &Value)| !(name.as_str() == "description" && value.is_string());
            let kept = members.iter().filter(words);
            kept.map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Shown {
        host: String,
        #[schemars(range(max = 10))]
        size: Option<u32>,
    }

    impl Fields for Shown {
        fn columns() -> Vec<Column> {
            vec![Column::text("Host", ".host")]
        }
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Other {
        /// Where.
        host: String,
        size: String,
    }

    impl Fields for Other {}

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Misnamed {
        host: String,
    }

    impl Fields for Misnamed {
        fn columns() -> Vec<Column> {
            vec![Column::text("Host", ".hots")]
        }
    }

    #[test]
    fn what_is_told_is_checked_before_it_is_written() {
        let shown = FieldsType::of::<Shown>().expect("a type");
        let host = || "h".to_owned();
        let fields = Shown {
            host: host(),
            size: None,
        };
        assert_eq!(shown.to_stored(&fields).map(Value::from), Ok(json!({"host": "h"})));
        let large = Shown {
            host: "x".repeat(MAX_FIELDS_BYTES),
            size: None,
        };
        assert_eq!(shown.to_stored(&large), Err(FieldsError::TooLarge));
        let wrong = shown.to_stored(&Shown {
            host: host(),
            size: Some(777),
        });
        let text = wrong.expect_err("too large").to_string();
        assert!(text.contains(".size") && !text.contains("777"), "{text}");
        let other = Other {
            host: host(),
            size: host(),
        };
        assert!(matches!(shown.to_stored(&other), Err(FieldsError::OtherType { .. })));
    }

    #[test]
    fn offerings_share_fields_of_the_same_type_only() {
        let (shown, other) = (FieldsType::of::<Shown>(), FieldsType::of::<Other>());
        let (shown, other) = (shown.expect("a type"), other.expect("a type"));
        let schema = together([("a", &shown), ("b", &shown)]).expect("they fit");
        assert_eq!(schema["host"]["type"], "string");
        let text = together([("a", &shown), ("b", &other)]).expect_err("they do not");
        assert!(text.contains("`size`") && text.contains("a and b"), "{text}");
    }

    #[test]
    fn a_column_of_a_field_that_is_not_there_is_refused() {
        let text = FieldsType::of::<Misnamed>().expect_err("refused");
        assert!(text.contains(".hots"), "{text}");
    }
}
