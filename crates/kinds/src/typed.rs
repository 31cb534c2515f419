//! Objects as Go would read and write them.
//!
//! A real server reads an object into a Go value of its kind and writes that value again: what no field takes is lost,
//! null is nothing, what is empty is left out or written out by the marks of its field, and what does not fit a field's
//! type is refused.

use std::borrow::Cow;

use apimachinery::json::{MAX_REPORTED_FIELDS, Map, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Number;

use crate::facts::{Field, Shape, Type};
use crate::path::Path;
use crate::quantity::Quantity;
use crate::time;

/// A value does not fit the type of its field. Names the field and never quotes the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: must be {expected}")]
pub struct ShapeError {
    /// The field, for example `spec.containers[0].name`.
    pub path: String,
    /// What should stand there.
    pub expected: &'static str,
}

impl Type {
    /// Brings an object of this kind into the form in which a real server would write it: unknown fields and nulls go,
    /// empty fields go or come as Go has it, and texts have the one form of their type. The paths of the unknown fields
    /// come back, at most [`MAX_REPORTED_FIELDS`] of them. `metadata` of the object itself is left alone: see
    /// [`apimachinery::meta::decode`].
    ///
    /// ```
    /// let pod = kinds::find("core/v1.Pod").unwrap();
    /// let mut object = apimachinery::json!({"spec": {"nodeName": "", "extra": 1, "containers": [{"name": "c"}]}});
    /// assert_eq!(pod.shape(&mut object).unwrap(), ["spec.extra"]);
    /// assert_eq!(object, apimachinery::json!({"spec": {"containers": [{"name": "c", "resources": {}}]}, "status": {}}));
    /// ```
    ///
    /// # Errors
    ///
    /// The first value of a wrong type.
    pub fn shape(&'static self, object: &mut Value<'_>) -> Result<Vec<String>, ShapeError> {
        let mut shaper = Shaper { unknown: Vec::new() };
        let metadata = object.as_object_mut().and_then(|members| members.remove("metadata"));
        shaper.object(self, object, &Path::Root, true)?;
        if let (Some(metadata), Some(members)) = (metadata, object.as_object_mut()) {
            members.insert("metadata", metadata);
        }
        Ok(shaper.unknown)
    }
}

struct Shaper {
    unknown: Vec<String>,
}

impl Shaper {
    fn object(
        &mut self,
        of: &'static Type,
        value: &mut Value<'_>,
        path: &Path<'_>,
        root: bool,
    ) -> Result<(), ShapeError> {
        let Value::Object(members) = value else {
            return Err(wrong(path, "an object"));
        };
        let mut failed = None;
        members.retain(|name, value| {
            if failed.is_some() {
                return true;
            }
            let Some(field) = of.field(name) else {
                if self.unknown.len() < MAX_REPORTED_FIELDS {
                    self.unknown.push(path.key(name).render());
                }
                return false;
            };
            if value.is_null() {
                return false;
            }
            match self.value(&field.shape, value, &path.key(name)) {
                // To an immutable one even the empty map is a change; the rules of these kinds take it out.
                Ok(()) if matches!((of.name, field.name), ("Secret", "data") | ("ConfigMap", "binaryData")) => true,
                Ok(()) if is_forgotten(of, field, value) => {
                    *value = Value::Null;
                    true
                }
                Ok(()) => !leaves_out(field, value),
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        add_empty(of, members, root);
        Ok(())
    }

    fn value(&mut self, shape: &'static Shape, value: &mut Value<'_>, path: &Path<'_>) -> Result<(), ShapeError> {
        match shape {
            Shape::Object(inner) => return self.object(inner.get(), value, path, false),
            Shape::List(inner) | Shape::WrappedList(inner) => {
                let Value::Array(items) = value else {
                    return Err(wrong(path, "a list"));
                };
                for (at, item) in items.iter_mut().enumerate() {
                    if item.is_null() {
                        *item = empty_item(inner);
                    } else {
                        self.value(inner, item, &path.index(at))?;
                    }
                }
            }
            Shape::Map(inner) => {
                let Value::Object(members) = value else {
                    return Err(wrong(path, "an object"));
                };
                for (key, member) in members.iter_mut() {
                    if member.is_null() {
                        *member = empty_item(inner);
                    } else {
                        self.value(inner, member, &path.key(key))?;
                    }
                }
            }
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
                return self.schema(shape, value, path);
            }
            Shape::Raw | Shape::Json | Shape::Fields => {}
            scalar => check_scalar(scalar, value, path)?,
        }
        Ok(())
    }

    /// The places of a schema that hold another one or something else.
    fn schema(&mut self, shape: &'static Shape, value: &mut Value<'_>, path: &Path<'_>) -> Result<(), ShapeError> {
        let schema = || crate::find("apiextensions/v1.JSONSchemaProps");
        match (shape, &mut *value) {
            (_, Value::Object(_)) => match schema() {
                Some(of) => self.object(of, value, path, false),
                None => Ok(()),
            },
            (Shape::SchemaOrBool, Value::Bool(_)) => Ok(()),
            (Shape::SchemaOrBool, _) => Err(wrong(path, "a schema or a boolean")),
            (Shape::SchemaOrArray, Value::Array(items)) => {
                for (at, item) in items.iter_mut().enumerate() {
                    if let Some(of) = schema() {
                        self.object(of, item, &path.index(at), false)?;
                    }
                }
                Ok(())
            }
            (Shape::SchemaOrStrings, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(()),
            _ => Err(wrong(path, "a schema or a list")),
        }
    }
}

fn wrong(path: &Path<'_>, expected: &'static str) -> ShapeError {
    ShapeError {
        path: path.render(),
        expected,
    }
}

/// Checks a scalar, and gives it the form in which it is written.
fn check_scalar(shape: &Shape, value: &mut Value<'_>, path: &Path<'_>) -> Result<(), ShapeError> {
    let is_small = |number: &Number| number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
    match (shape, &*value) {
        (Shape::Text, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => Ok(()),
        (Shape::Float64, Value::Number(_)) | (Shape::IntOrString, Value::String(_)) => Ok(()),
        (Shape::Int32 | Shape::IntOrString, Value::Number(number)) if is_small(number) => Ok(()),
        (Shape::Int64, Value::Number(number)) if number.is_i64() => Ok(()),
        (Shape::Bytes, Value::String(text)) if STANDARD.decode(text.as_bytes()).is_ok() => Ok(()),
        (Shape::Time, Value::String(text)) => rewrite(time::seconds(text), value, path, "an RFC 3339 time"),
        (Shape::MicroTime, Value::String(text)) => rewrite(
            time::micros(text),
            value,
            path,
            "a time of the form 2006-01-02T15:04:05.000000Z",
        ),
        (Shape::Quantity, Value::String(text)) => {
            let text = Quantity::parse(text).map(|quantity| quantity.to_string());
            rewrite(text, value, path, "a quantity")
        }
        (Shape::Quantity, Value::Number(number)) => {
            let text = Quantity::parse(&number.to_string()).map(|quantity| quantity.to_string());
            rewrite(text, value, path, "a quantity")
        }
        _ => Err(wrong(path, expected(shape))),
    }
}

fn rewrite(
    text: Option<String>,
    value: &mut Value<'_>,
    path: &Path<'_>,
    expected: &'static str,
) -> Result<(), ShapeError> {
    let text = text.ok_or_else(|| wrong(path, expected))?;
    if value.as_str() != Some(&text) {
        *value = Value::String(Cow::Owned(text));
    }
    Ok(())
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text => "a string",
        Shape::Bool => "a boolean",
        Shape::Int32 => "an integer of 32 bits",
        Shape::Int64 => "an integer of 64 bits",
        Shape::Float64 => "a number",
        Shape::Bytes => "a string of base64",
        Shape::Time | Shape::MicroTime => "a string with a time",
        Shape::Quantity => "a quantity",
        Shape::IntOrString => "an integer of 32 bits or a string",
        _ => "something else",
    }
}

/// Whether Go writes nothing for this value of a field.
fn leaves_out(field: &Field, value: &Value<'_>) -> bool {
    if field.pointer || !field.omit_empty {
        return false;
    }
    match (&field.shape, value) {
        // An object that is no pointer is written however empty it is.
        (Shape::Object(_), Value::Object(members)) => field.omit_zero && members.is_empty(),
        (Shape::IntOrString | Shape::Quantity, _) => false,
        (Shape::Raw | Shape::Json | Shape::Fields, _) => false,
        (_, Value::Bool(given)) => !given,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Array(items)) => items.is_empty(),
        (_, Value::Object(members)) => members.is_empty(),
        (_, Value::Null) => true,
    }
}

/// A real server keeps its own kinds in protobuf, which does not tell an empty list or map from none. Definitions and
/// APIServices it keeps in JSON.
fn is_forgotten(of: &Type, field: &Field, value: &Value<'_>) -> bool {
    let is_empty = match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty() && matches!(field.shape, Shape::Map(_)),
        _ => false,
    };
    is_empty
        && !field.omit_empty
        && !field.pointer
        && !matches!(of.package.name, "apiextensions/v1" | "apiregistration/v1")
}

/// Writes out the fields that Go always writes.
fn add_empty(of: &'static Type, members: &mut Map<'_>, root: bool) {
    for field in of.fields() {
        if is_always_written(field) && !(root && field.name == "metadata") && !members.contains_key(field.name) {
            let value = if field.pointer {
                Value::Null
            } else {
                empty(&field.shape)
            };
            members.insert(field.name, value);
        }
    }
}

fn is_always_written(field: &Field) -> bool {
    match &field.shape {
        _ if !field.omit_empty => true,
        _ if field.pointer || field.omit_zero => false,
        // These are structs in Go, which are never empty.
        Shape::Object(_) | Shape::Time | Shape::MicroTime | Shape::Quantity | Shape::IntOrString | Shape::Raw => true,
        _ => false,
    }
}

/// What Go writes for nothing in a list or map.
fn empty_item(shape: &'static Shape) -> Value<'static> {
    match shape {
        Shape::Bytes => "".into(),
        other => empty(other),
    }
}

/// What Go writes for nothing.
fn empty(shape: &'static Shape) -> Value<'static> {
    match shape {
        Shape::Text => "".into(),
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::IntOrString => 0.into(),
        Shape::Quantity => "0".into(),
        Shape::Object(inner) => {
            let mut members = Map::new();
            add_empty(inner.get(), &mut members, false);
            members.into()
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::json;

    fn shape(kind: &str, object: Value<'static>) -> Result<(Value<'static>, Vec<String>), String> {
        let mut object = object;
        let unknown = crate::find(kind)
            .unwrap()
            .shape(&mut object)
            .map_err(|error| error.to_string())?;
        Ok((object, unknown))
    }

    #[test]
    fn empty_fields_are_as_go_writes_them() {
        let (role, _) = shape("rbac/v1.Role", json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!(role, json!({"metadata": {"name": "a"}, "rules": null}));
        let (deployment, _) = shape("apps/v1.Deployment", json!({"spec": {"replicas": 0, "paused": false}})).unwrap();
        assert_eq!(
            deployment,
            json!({"spec": {"replicas": 0, "selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})
        );
    }

    #[test]
    fn wrong_types_are_named() {
        for (object, expected) in [
            (json!({"spec": []}), "spec: must be an object"),
            (
                json!({"spec": {"replicas": "1"}}),
                "spec.replicas: must be an integer of 32 bits",
            ),
            (
                json!({"spec": {"replicas": 1.5}}),
                "spec.replicas: must be an integer of 32 bits",
            ),
            (
                json!({"spec": {"replicas": 3_000_000_000_u64}}),
                "spec.replicas: must be an integer of 32 bits",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"image": 1}]}}}}),
                "spec.template.spec.containers[0].image: must be a string",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}}}),
                "spec.template.spec.containers[0].resources.limits.cpu: must be a quantity",
            ),
        ] {
            assert_eq!(shape("apps/v1.Deployment", object).unwrap_err(), expected);
        }
    }

    #[test]
    fn nulls_are_nothing_and_unknown_fields_are_named() {
        let (service, unknown) = shape(
            "core/v1.Service",
            json!({"spec": {"ports": [{"port": 1, "junk": {}}], "selector": {"a": null}, "clusterIP": null}, "junk": 1}),
        )
        .unwrap();
        assert_eq!(
            service,
            json!({"spec": {"ports": [{"port": 1, "targetPort": 0}], "selector": {"a": ""}}, "status": {"loadBalancer": {}}})
        );
        assert_eq!(unknown, ["junk", "spec.ports[0].junk"]);
    }
}
