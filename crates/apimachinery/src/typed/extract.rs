//! What an object says.

use std::collections::BTreeMap;

use super::{Type, is_empty, item_element};
use crate::fields::{Builder, Element, FieldSet};
use crate::json::{Map, Value};
use crate::schema::{ListOf, ListType, MapOf, Shape};

/// The places at which an object says something: what its applier owns.
pub fn field_set<'t>(object_type: Type<'_>, object: &Value<'t>) -> FieldSet<'t> {
    extract(object_type, object).1
}

/// Whether the place itself is in the set, and what is below it.
fn extract<'t>(value_type: Type<'_>, value: &Value<'t>) -> (bool, FieldSet<'t>) {
    match (value_type.shape_of(Some(value)), value) {
        (Shape::Scalar(_), _) => (true, FieldSet::new()),
        (Shape::Map(map), _) if map.is_atomic => (true, FieldSet::new()),
        (Shape::List(list), _) if *list.items_are == ListType::Atomic => (true, FieldSet::new()),
        (Shape::Map(map), Value::Object(members)) => (false, of_members(&map, members)),
        (Shape::List(list), Value::Array(items)) => (false, of_items(&list, items)),
        _ => (false, FieldSet::new()),
    }
}

fn of_members<'t>(map: &MapOf<'_>, members: &Map<'t>) -> FieldSet<'t> {
    let mut set = Builder::default();
    for (name, value) in members.cows() {
        let declared = map.declared(name);
        let Some(member) = declared.or_else(|| map.others()) else {
            continue;
        };
        let (is_member, below) = extract(member, value);
        let is_member = is_member || is_empty(value) || declared.is_none();
        set.add(Element::Field(name.clone()), is_member, below);
    }
    set.finish()
}

/// An item that stands there more than once counts as a whole.
fn of_items<'t>(list: &ListOf<'_>, items: &[Value<'t>]) -> FieldSet<'t> {
    let mut found: BTreeMap<Element<'t>, Option<&Value<'t>>> = BTreeMap::new();
    for item in items {
        if let Some(element) = item_element(list, item) {
            found
                .entry(element)
                .and_modify(|item| *item = None)
                .or_insert(Some(item));
        }
    }
    let mut set = Builder::default();
    for (element, item) in found {
        let below = item.map_or_else(FieldSet::new, |item| extract(list.item, item).1);
        set.add(element, true, below);
    }
    set.finish()
}
