//! Merging what is applied into what is there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Type, item_element};
use crate::fields::Element;
use crate::json::{Map, Value};
use crate::schema::{ListOf, ListType, MapOf, Shape};

/// The live object with what is applied: objects are merged, lists by their items, everything else is replaced.
///
/// Items that are in both stand in the order of the applied list, and new ones among them; those that are only in the live
/// one keep their places between.
pub fn merge<'t>(object_type: Type<'_>, live: Value<'t>, applied: Value<'t>) -> Value<'t> {
    pair(object_type, Some(live), Some(applied)).unwrap_or_else(|| Map::new().into())
}

fn pair<'t>(value_type: Type<'_>, live: Option<Value<'t>>, applied: Option<Value<'t>>) -> Option<Value<'t>> {
    let shape = match &applied {
        None => value_type.shape_of(live.as_ref()),
        applied => value_type.shape_of(applied.as_ref()),
    };
    match shape {
        Shape::Map(map) if !map.is_atomic && (has_members(live.as_ref()) || has_members(applied.as_ref())) => {
            Some(of_members(&map, members(live), members(applied)))
                .filter(|members| !members.is_empty())
                .map(Value::Object)
        }
        Shape::List(list)
            if *list.items_are != ListType::Atomic && (has_items(live.as_ref()) || has_items(applied.as_ref())) =>
        {
            Some(of_items(&list, items(live), items(applied)))
                .filter(|items| !items.is_empty())
                .map(Value::Array)
        }
        _ => applied.or(live),
    }
}

fn has_members(value: Option<&Value<'_>>) -> bool {
    super::members(value).is_some()
}

fn has_items(value: Option<&Value<'_>>) -> bool {
    super::items(value).is_some()
}

fn members(value: Option<Value<'_>>) -> Map<'_> {
    match value {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn items(value: Option<Value<'_>>) -> Vec<Value<'_>> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn of_members<'t>(map: &MapOf<'_>, live: Map<'t>, applied: Map<'t>) -> Map<'t> {
    let mut merged: Vec<(Cow<'t, str>, Value<'t>)> = Vec::with_capacity(live.len() + applied.len());
    let mut applied = applied.into_iter().peekable();
    let mut take = |name: Cow<'t, str>, live: Option<Value<'t>>, applied: Option<Value<'t>>| {
        let value = match map.member(&name) {
            Some(member) => pair(member, live, applied),
            None => applied.or(live),
        };
        merged.extend(value.map(|value| (name, value)));
    };
    for (name, live) in live {
        while let Some((new, value)) = applied.next_if(|(new, _)| *new < name) {
            take(new, None, Some(value));
        }
        let same = applied.next_if(|(new, _)| *new == name).map(|(_, value)| value);
        take(name, Some(live), same);
    }
    applied.for_each(|(name, value)| take(name, None, Some(value)));
    merged.into_iter().collect()
}

/// An item and what it is known by.
type Item<'t> = (Element<'t>, Value<'t>);

fn known<'t>(list: &ListOf<'_>, items: Vec<Value<'t>>) -> Vec<Item<'t>> {
    let items = items.into_iter();
    items
        .filter_map(|item| Some((item_element(list, &item)?, item)))
        .collect()
}

fn of_items<'t>(list: &ListOf<'_>, live: Vec<Value<'t>>, applied: Vec<Value<'t>>) -> Vec<Value<'t>> {
    let (live, applied) = (known(list, live), known(list, applied));
    let mut live_counts: BTreeMap<Element<'t>, usize> = BTreeMap::new();
    for (element, _) in &live {
        *live_counts.entry(element.clone()).or_default() += 1;
    }
    let in_applied: BTreeSet<Element<'t>> = applied.iter().map(|(element, _)| element.clone()).collect();
    // What is in both, in the order of the applied list.
    let shared = applied.iter().map(|(element, _)| element.clone());
    let shared: VecDeque<Element<'t>> = shared.filter(|element| live_counts.contains_key(element)).collect();
    Weaver {
        list,
        // Of items that stand there more than once none is merged with.
        mergeable: live
            .iter()
            .filter(|(element, _)| live_counts.get(element) == Some(&1) && in_applied.contains(element))
            .cloned()
            .collect(),
        live: live.into(),
        applied: applied.into(),
        in_applied,
        shared,
        done: BTreeSet::new(),
        out: Vec::new(),
    }
    .weave()
}

/// Two lists on their way into one.
struct Weaver<'l, 's, 't> {
    list: &'l ListOf<'s>,
    live: VecDeque<Item<'t>>,
    applied: VecDeque<Item<'t>>,
    mergeable: BTreeMap<Element<'t>, Value<'t>>,
    in_applied: BTreeSet<Element<'t>>,
    /// What is in both and not merged yet.
    shared: VecDeque<Element<'t>>,
    done: BTreeSet<Element<'t>>,
    out: Vec<Value<'t>>,
}

impl<'t> Weaver<'_, '_, 't> {
    fn weave(mut self) -> Vec<Value<'t>> {
        while let Some(step) = self.step() {
            match step {
                Step::Both => {
                    self.live.pop_front();
                    self.shared.pop_front();
                    self.take_applied();
                }
                Step::Skip => {
                    self.live.pop_front();
                }
                Step::Live => {
                    if let Some((_, item)) = self.live.pop_front() {
                        self.out.extend(pair(self.list.item, Some(item), None));
                    }
                }
                Step::Applied => {
                    if self
                        .live
                        .front()
                        .is_some_and(|(element, _)| self.done.contains(element))
                    {
                        self.live.pop_front();
                    }
                    let is_next = self.shared.front() == self.applied.front().map(|(element, _)| element);
                    if is_next {
                        self.shared.pop_front();
                    }
                    self.take_applied();
                }
            }
        }
        self.out
    }

    fn step(&self) -> Option<Step> {
        let (live, applied) = match (self.live.front(), self.applied.front()) {
            (None, None) => return None,
            (None, Some(_)) => return Some(Step::Applied),
            (Some((live, _)), None) => {
                // What is left of the live list and applied as well has been merged already.
                let is_shared = self.in_applied.contains(live);
                return Some(if is_shared { Step::Skip } else { Step::Live });
            }
            (Some((live, _)), Some((applied, _))) => (live, applied),
        };
        Some(if live == applied {
            Step::Both
        } else if !self.in_applied.contains(live) {
            Step::Live
        } else if self.shared.front().is_some_and(|next| next != live) {
            // It comes when its turn is.
            Step::Skip
        } else {
            Step::Applied
        })
    }

    fn take_applied(&mut self) {
        if let Some((element, item)) = self.applied.pop_front() {
            let live = self.mergeable.remove(&element);
            self.out.extend(pair(self.list.item, live, Some(item)));
            self.done.insert(element);
        }
    }
}

enum Step {
    Both,
    Skip,
    Live,
    Applied,
}
