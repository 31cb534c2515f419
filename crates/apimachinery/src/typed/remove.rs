//! Taking places out of an object.

use super::{Type, item_element};
use crate::fields::{Builder, Element, FieldSet};
use crate::json::{Map, Value};
use crate::schema::{ListType, Shape};

/// The object without the places of a set. What had something in it and has nothing left becomes null.
pub fn remove<'t>(object_type: Type<'_>, object: &Value<'t>, places: &FieldSet<'_>) -> Value<'t> {
    if places.is_empty() {
        return object.clone();
    }
    match value(object_type, object, places) {
        Value::Null => Value::Object(Map::new()),
        object => object,
    }
}

fn value<'t>(value_type: Type<'_>, value: &Value<'t>, places: &FieldSet<'_>) -> Value<'t> {
    match (value_type.shape_of(Some(value)), value) {
        (Shape::Scalar(_), value) => value.clone(),
        (Shape::Map(map), Value::Object(members)) if !map.is_atomic => {
            let kept: Map<'t> = members
                .cows()
                .filter_map(|(name, value)| {
                    let (is_removed, below) = places.at(&Element::Field(name.as_ref().into()));
                    let kept = match (below, map.member(name)) {
                        _ if is_removed => return None,
                        (Some(below), Some(member)) => self::value(member, value, below),
                        _ => value.clone(),
                    };
                    Some((name.clone(), kept))
                })
                .collect();
            Some(kept)
                .filter(|kept| !kept.is_empty())
                .map_or(Value::Null, Value::Object)
        }
        (Shape::List(list), Value::Array(items)) if *list.items_are != ListType::Atomic => {
            let kept = items.iter().filter_map(|item| {
                let Some(element) = item_element(&list, item) else {
                    return Some(item.clone());
                };
                match places.at(&element) {
                    (true, _) => None,
                    (false, Some(below)) => Some(self::value(list.item, item, below)),
                    (false, None) => Some(item.clone()),
                }
            });
            let kept: Vec<Value<'t>> = kept.collect();
            Some(kept)
                .filter(|kept| !kept.is_empty())
                .map_or(Value::Null, Value::Array)
        }
        _ => Value::Null,
    }
}

/// The set with the places that the schema names and that lie above places of the set: they go when all below them goes.
pub fn with_named<'t>(object_type: Type<'_>, set: &FieldSet<'t>) -> FieldSet<'t> {
    named(Some(object_type), set)
}

fn named<'t>(value_type: Option<Type<'_>>, set: &FieldSet<'t>) -> FieldSet<'t> {
    let mut all = Builder::default();
    for (element, is_member, below) in set.iter() {
        let (declared, child) = match (element, value_type) {
            (Element::Field(name), Some(value_type)) => match value_type.as_map() {
                Some(map) => (map.declared(name).is_some(), map.member(name)),
                None => (false, None),
            },
            (Element::Key(_), Some(value_type)) => (false, value_type.as_list().map(|list| list.item)),
            _ => (false, None),
        };
        let is_named = declared && !below.is_empty();
        all.add(element.clone(), is_member || is_named, named(child, below));
    }
    all.finish()
}
