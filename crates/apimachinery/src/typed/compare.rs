//! What differs between two states of an object.

use std::collections::BTreeMap;

use super::{Type, item_element, items, members, same};
use crate::fields::{Builder, Element, FieldSet};
use crate::json::{Map, Value};
use crate::schema::{ListOf, ListType, MapOf, Shape};

/// The places at which two states of an object differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison<'t> {
    /// In the old state only.
    pub removed: FieldSet<'t>,
    /// In both, with other values.
    pub modified: FieldSet<'t>,
    /// In the new state only.
    pub added: FieldSet<'t>,
}

impl<'t> Comparison<'t> {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// The same without what lies at these places and below them.
    #[must_use]
    pub fn without(self, places: &FieldSet<'_>) -> Comparison<'t> {
        if places.is_empty() {
            return self;
        }
        Comparison {
            removed: self.removed.without(places),
            modified: self.modified.without(places),
            added: self.added.without(places),
        }
    }
}

/// Compares two states of an object.
pub fn compare<'t>(object_type: Type<'_>, old: &Value<'t>, new: &Value<'t>) -> Comparison<'t> {
    let found = pair(object_type, Some(old), Some(new));
    Comparison {
        removed: found.removed.below,
        modified: found.modified.below,
        added: found.added.below,
    }
}

/// Of one place: whether it is in the set itself, and what is below it.
#[derive(Default)]
struct Part<'t> {
    own: bool,
    below: FieldSet<'t>,
}

#[derive(Default)]
struct Found<'t> {
    removed: Part<'t>,
    modified: Part<'t>,
    added: Part<'t>,
}

impl<'t> Found<'t> {
    fn joined(self, other: Found<'t>) -> Found<'t> {
        let join = |a: Part<'t>, b: Part<'t>| Part {
            own: a.own || b.own,
            below: a.below.union(b.below),
        };
        Found {
            removed: join(self.removed, other.removed),
            modified: join(self.modified, other.modified),
            added: join(self.added, other.added),
        }
    }
}

/// The comparison of what is below a place.
#[derive(Default)]
struct Below<'t> {
    removed: Builder<'t>,
    modified: Builder<'t>,
    added: Builder<'t>,
}

impl<'t> Below<'t> {
    fn add(&mut self, element: Element<'t>, found: Found<'t>) {
        let Found {
            removed,
            modified,
            added,
        } = found;
        // Most often there is one of them.
        for (builder, part) in [
            (&mut self.removed, removed),
            (&mut self.modified, modified),
            (&mut self.added, added),
        ] {
            if part.own || !part.below.is_empty() {
                builder.add(element.clone(), part.own, part.below);
            }
        }
    }

    fn finish(self) -> Found<'t> {
        let part = |builder: Builder<'t>| Part {
            own: false,
            below: builder.finish(),
        };
        Found {
            removed: part(self.removed),
            modified: part(self.modified),
            added: part(self.added),
        }
    }
}

fn pair<'t>(value_type: Type<'_>, old: Option<&Value<'t>>, new: Option<&Value<'t>>) -> Found<'t> {
    if let (Some(old), Some(new)) = (old, new)
        && old == new
    {
        return Found::default();
    }
    let (old_shape, new_shape) = (value_type.shape_of(old), value_type.shape_of(new));
    match (old, new) {
        (_, None) => by_shape(old_shape, old, new),
        (None, _) => by_shape(new_shape, old, new),
        _ if old_shape.is_like(&new_shape) => by_shape(new_shape, old, new),
        _ => by_shape(old_shape, old, new).joined(by_shape(new_shape, old, new)),
    }
}

fn by_shape<'t>(shape: Shape<'_>, old: Option<&Value<'t>>, new: Option<&Value<'t>>) -> Found<'t> {
    let below = match shape {
        Shape::Scalar(_) => None,
        Shape::Map(map) => {
            let (old, new) = (members(old), members(new));
            let is_leaf = map.is_atomic || (old.is_none() && new.is_none());
            (!is_leaf).then(|| of_members(&map, old, new))
        }
        Shape::List(list) => {
            let (old, new) = (items(old), items(new));
            let is_leaf = *list.items_are == ListType::Atomic || (old.is_none() && new.is_none());
            (!is_leaf).then(|| of_items(&list, old.unwrap_or_default(), new.unwrap_or_default()))
        }
    };
    let Some(mut found) = below else {
        return leaf(old, new);
    };
    found.removed.own = new.is_none();
    found.added.own = old.is_none();
    found
}

fn leaf<'t>(old: Option<&Value<'t>>, new: Option<&Value<'t>>) -> Found<'t> {
    let mut found = Found::default();
    match (old, new) {
        (None, _) => found.added.own = true,
        (_, None) => found.removed.own = true,
        (Some(old), Some(new)) => found.modified.own = !same(old, new),
    }
    found
}

fn of_members<'t>(map: &MapOf<'_>, old: Option<&Map<'t>>, new: Option<&Map<'t>>) -> Found<'t> {
    let mut below = Below::default();
    let mut old = old.into_iter().flat_map(Map::cows).peekable();
    let mut new = new.into_iter().flat_map(Map::cows).peekable();
    loop {
        let (name, old, new) = match (old.peek(), new.peek()) {
            (None, None) => return below.finish(),
            (Some(&(name, _)), Some(&(other, _))) if name == other => (name, old.next(), new.next()),
            (Some(&(name, _)), Some(&(other, _))) if name < other => (name, old.next(), None),
            (Some(&(name, _)), None) => (name, old.next(), None),
            (_, Some(&(name, _))) => (name, None, new.next()),
        };
        if let Some(member) = map.member(name) {
            let found = pair(member, old.map(|(_, value)| value), new.map(|(_, value)| value));
            below.add(Element::Field(name.clone()), found);
        }
    }
}

/// Items with equal keys are looked at together: as soon as there are several, they are compared as a whole.
fn of_items<'t>(list: &ListOf<'_>, old: &[Value<'t>], new: &[Value<'t>]) -> Found<'t> {
    type Items<'v, 't> = Vec<&'v Value<'t>>;
    let mut all: BTreeMap<Element<'t>, (Items<'_, 't>, Items<'_, 't>)> = BTreeMap::new();
    for item in old {
        if let Some(element) = item_element(list, item) {
            all.entry(element).or_default().0.push(item);
        }
    }
    for item in new {
        if let Some(element) = item_element(list, item) {
            all.entry(element).or_default().1.push(item);
        }
    }
    let mut below = Below::default();
    for (element, (old, new)) in all {
        let found = match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => pair(list.item, old.first().copied(), new.first().copied()),
            ([_, _, ..], [_, _, ..]) => {
                let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| same(old, new));
                let mut found = Found::default();
                found.modified.own = !same;
                found
            }
            ([_, _, ..], _) => {
                let mut found = new
                    .first()
                    .map_or_else(Found::default, |new| pair(list.item, None, Some(new)));
                found.removed.own = true;
                found
            }
            (_, [_, _, ..]) => {
                let mut found = old
                    .first()
                    .map_or_else(Found::default, |old| pair(list.item, Some(old), None));
                found.added.own = true;
                found
            }
        };
        below.add(element, found);
    }
    below.finish()
}
