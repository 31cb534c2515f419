//! Objects by their types: what differs between two, what one says, and how one is merged into another.
//!
//! A [`Type`] says what of an object can have an owner of its own: single values, whole objects and lists that are atomic,
//! members of other objects, and items of lists that are sets or known by keys. All functions here go through an object once
//! or twice, and never deeper than it is nested.
//!
//! The rules are those of server-side apply. Some look odd and are so on purpose, because they decide what ends up in
//! `metadata.managedFields`: an empty object or list is a value of its own, and a member that a schema names belongs to a set
//! of its own only where it is new, gone, or empty.

use crate::fields::Element;
use crate::json::{Map, Value};
use crate::schema::{ListOf, ListType, Type};

mod check;
mod compare;
mod extract;
mod merge;
mod reconcile;
mod remove;

pub use check::{Duplicates, TypeError, check};
pub use compare::{Comparison, compare};
pub use extract::field_set;
pub use merge::merge;
pub use reconcile::reconcile;
pub use remove::{remove, with_named};

/// What an item of a list is known by; `None` for what cannot be an item of this list.
fn item_element<'t>(list: &ListOf<'_>, item: &Value<'t>) -> Option<Element<'t>> {
    match list.items_are {
        ListType::Atomic => None,
        ListType::Set => match item {
            Value::Null | Value::Array(_) | Value::Object(_) => None,
            scalar => Some(Element::Value(scalar.clone())),
        },
        ListType::Map(names) => {
            let item = item.as_object()?;
            let mut keys: Vec<_> = names
                .iter()
                .filter_map(|name| {
                    let given = item.cow(name).map(|(name, value)| (name.clone(), value.clone()));
                    given.or_else(|| Some((name.clone().into(), list.key_default(name)?.clone())))
                })
                .collect();
            keys.sort_by(|(a, _), (b, _)| a.cmp(b));
            (!keys.is_empty()).then_some(Element::Key(keys))
        }
    }
}

/// The members, if it is an object that is not empty.
fn members<'v, 't>(value: Option<&'v Value<'t>>) -> Option<&'v Map<'t>> {
    value.and_then(Value::as_object).filter(|members| !members.is_empty())
}

/// The items, if it is a list that is not empty.
fn items<'v, 't>(value: Option<&'v Value<'t>>) -> Option<&'v [Value<'t>]> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice);
    items.filter(|items| !items.is_empty())
}

/// Whether a value is what a set of fields names for itself though its type names its place: null or an empty object.
fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Equality of values, numbers by their size.
fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    a == b || crate::fields::compare(a, b).is_eq()
}

#[cfg(test)]
pub(crate) mod tests;
