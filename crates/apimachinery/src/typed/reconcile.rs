//! Sets of fields that were written when the schema was another one.

use super::Type;
use crate::fields::{Builder, Element, FieldSet};
use crate::schema::{ListType, Shape};

/// The set as it must be by the schema now: who owned parts of what has become atomic owns the whole of it.
pub fn reconcile<'t>(object_type: Type<'_>, set: FieldSet<'t>) -> FieldSet<'t> {
    if is_right(object_type, &set) {
        return set;
    }
    below(object_type, &set)
}

/// Whether nothing has to be changed, as it is mostly.
fn is_right(value_type: Type<'_>, set: &FieldSet<'_>) -> bool {
    match value_type.shape() {
        Shape::Scalar(_) => true,
        _ if set.is_empty() => true,
        Shape::Map(map) if map.is_free() => true,
        Shape::Map(map) => {
            !map.is_atomic
                && set.iter().all(|(element, _, below)| {
                    let member = match element {
                        Element::Field(name) => map.member(name),
                        _ => map.others(),
                    };
                    member.is_none_or(|member| is_right(member, below))
                })
        }
        Shape::List(list) => {
            *list.items_are != ListType::Atomic && set.iter().all(|(_, _, below)| is_right(list.item, below))
        }
    }
}

fn below<'t>(value_type: Type<'_>, set: &FieldSet<'t>) -> FieldSet<'t> {
    let mut all = Builder::default();
    for (element, is_member, under) in set.iter() {
        let child = match (value_type.shape(), element) {
            (Shape::Map(map), _) if map.is_free() => None,
            (Shape::Map(map), Element::Field(name)) => map.member(name),
            (Shape::Map(map), _) => map.others(),
            (Shape::List(list), _) => Some(list.item),
            (Shape::Scalar(_), _) => None,
        };
        match child {
            Some(child) if is_atomic(child) && !under.is_empty() => all.add(element.clone(), true, FieldSet::new()),
            Some(child) => all.add(element.clone(), is_member, below(child, under)),
            None => all.add(element.clone(), is_member, under.clone()),
        }
    }
    all.finish()
}

fn is_atomic(value_type: Type<'_>) -> bool {
    match value_type.shape() {
        Shape::Scalar(_) => false,
        Shape::Map(map) => map.is_atomic && !map.is_free(),
        Shape::List(list) => *list.items_are == ListType::Atomic,
    }
}
