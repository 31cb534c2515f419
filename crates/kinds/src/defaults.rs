//! What a real server fills into objects when they are written.

use apimachinery::json::{self, Map, Value};

use crate::facts::{Shape, Type};
use crate::quantity::Quantity;
use crate::schema::is_zero;

mod core;
mod others;
mod workloads;

/// How many levels of types are gone through: only the schema of schemas, which has no defaults, is deeper.
const MAX_DEPTH: usize = json::MAX_DEPTH;

impl Type {
    /// Fills defaults into an object that [`Type::shape`] has brought into form, from the outside inwards: the rules that
    /// Kubernetes has for each type, then the defaults that its markers declare.
    ///
    /// ```
    /// let service = kinds::find("core/v1.Service").unwrap();
    /// let mut object = apimachinery::json!({"spec": {"ports": [{"port": 80}]}});
    /// service.shape(&mut object).unwrap();
    /// service.default(&mut object);
    /// assert_eq!(object["spec"]["type"], "ClusterIP");
    /// assert_eq!(object["spec"]["ports"], apimachinery::json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    /// ```
    pub fn default(&'static self, object: &mut Value<'_>) {
        if let Value::Object(members) = object {
            fill_object(self, members, 0);
        }
    }
}

fn fill_object(of: &'static Type, members: &mut Map<'_>, depth: usize) {
    // A schema in a definition has defaults of its own, which are not ours.
    if depth > MAX_DEPTH || of.name == "JSONSchemaProps" {
        return;
    }
    own_rules(of, members);
    for field in of.fields() {
        if let Some(text) = field.default
            && members
                .get(field.name)
                .is_none_or(|value| !field.pointer && is_zero(value) && !value.is_object())
            && let Ok((default, _)) = json::parse_strict(text.as_bytes())
            && !is_zero(&default)
        {
            members.insert(field.name, default);
        }
        if let Some(value) = members.get_mut(field.name) {
            fill(&field.shape, value, depth + 1);
        }
    }
}

fn fill(shape: &'static Shape, value: &mut Value<'_>, depth: usize) {
    match (shape, value) {
        (Shape::Object(inner), Value::Object(members)) => fill_object(inner.get(), members, depth),
        (Shape::List(inner), Value::Array(items)) => items.iter_mut().for_each(|item| fill(inner, item, depth)),
        (Shape::Map(inner), Value::Object(members)) => {
            let is_resources = matches!(**inner, Shape::Quantity);
            for value in members.values_mut() {
                if is_resources {
                    round_up(value);
                } else {
                    fill(inner, value, depth);
                }
            }
        }
        _ => {}
    }
}

/// Amounts of resources are kept to a thousandth.
fn round_up(value: &mut Value<'_>) {
    let Some(quantity) = value.as_str().and_then(Quantity::parse) else {
        return;
    };
    let rounded = quantity.round_to_millis();
    if rounded != quantity {
        *value = rounded.to_string().into();
    }
}

fn own_rules(of: &Type, members: &mut Map<'_>) {
    match of.package.name {
        "core/v1" => core::fill(of.name, members),
        "apps/v1" | "batch/v1" | "autoscaling/v1" | "autoscaling/v2" => workloads::fill(of.name, members),
        package => others::fill(package, of.name, members),
    }
}

/// Sets a member that is missing, null, or an empty text.
fn set<'t>(members: &mut Map<'t>, name: &'static str, value: impl Into<Value<'t>>) {
    let missing = match members.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    if missing {
        members.insert(name, value);
    }
}

/// Sets a number that is missing or 0, where 0 is nothing.
fn set_number(members: &mut Map<'_>, name: &'static str, number: i32) {
    if members.get(name).is_none_or(|value| value.is_null() || *value == 0) {
        members.insert(name, number);
    }
}

/// The object under a name; put there when there is none.
fn object<'m, 't>(members: &'m mut Map<'t>, name: &'static str) -> Option<&'m mut Map<'t>> {
    let place = members.get_or_insert(name, Map::new());
    if place.is_null() {
        *place = Map::new().into();
    }
    place.as_object_mut()
}

/// The text under a name; absent is the empty one.
fn text<'m>(members: &'m Map<'_>, name: &str) -> &'m str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The objects of a list.
fn each<'m, 't>(members: &'m mut Map<'t>, name: &str) -> impl Iterator<Item = &'m mut Map<'t>> {
    let list = members.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Whether a map or list is missing or has nothing in it.
fn is_empty(members: &Map<'_>, name: &str) -> bool {
    members.get(name).is_none_or(is_zero)
}

#[cfg(test)]
mod tests;
