//! Lists that are sets or maps: no item twice.

use std::collections::HashSet;

use super::path::Path;
use super::validate::Errors;
use super::{ListType, Node};
use crate::field::FieldError;
use crate::json::{Map, Value};

/// From so many items on, a hash set finds the duplicates instead of a comparison of each with each.
const HASH_FROM: usize = 16;

pub(super) fn check(node: &Node, value: &Value<'_>, path: &Path<'_>, errors: &mut Errors) {
    if !node.has_unique_lists || errors.is_full() {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let Some(child) = node.child(key) {
                    check(child, value, &path.key(key), errors);
                }
            }
        }
        Value::Array(items) => {
            match &node.list_type {
                ListType::Atomic => {}
                ListType::Set => check_set(items, path, errors),
                ListType::Map(keys) => check_map(items, keys, path, errors),
            }
            if let Some(node) = &node.items {
                for (i, item) in items.iter().enumerate() {
                    check(node, item, &path.index(i), errors);
                }
            }
        }
        _ => {}
    }
}

fn check_set(items: &[Value<'_>], path: &Path<'_>, errors: &mut Errors) {
    duplicates(
        items,
        |a, b| a == b,
        |seen: &mut HashSet<&Value>, item| seen.insert(item),
        |i| {
            errors.push(|| FieldError::duplicate(path.index(i).render(), items[i].clone()));
        },
    );
}

fn check_map<'t>(items: &[Value<'t>], keys: &[String], path: &Path<'_>, errors: &mut Errors) {
    let same = |a: &Value<'_>, b: &Value| keys.iter().all(|k| a.get(k) == b.get(k));
    duplicates(
        items,
        same,
        |seen: &mut HashSet<Vec<Option<Value<'t>>>>, item| seen.insert(identity(item, keys)),
        |i| {
            let key: Map<'_> = keys
                .iter()
                .filter_map(|k| Some((k.clone(), items[i].get(k)?.clone())))
                .collect();
            errors.push(|| FieldError::duplicate(path.index(i).render(), Value::Object(key)));
        },
    );
}

/// What an item of a map list is known by.
fn identity<'t>(item: &Value<'t>, keys: &[String]) -> Vec<Option<Value<'t>>> {
    keys.iter().map(|k| item.get(k).cloned()).collect()
}

/// Calls `found` with the position of each item that an earlier one equals.
fn duplicates<'v, 't, S: Default>(
    items: &'v [Value<'t>],
    same: impl Fn(&Value<'t>, &Value<'t>) -> bool,
    mut insert: impl FnMut(&mut S, &'v Value<'t>) -> bool,
    mut found: impl FnMut(usize),
) {
    if items.len() < HASH_FROM {
        for (i, item) in items.iter().enumerate() {
            if items[..i].iter().any(|earlier| same(earlier, item)) {
                found(i);
            }
        }
        return;
    }
    let mut seen = S::default();
    for (i, item) in items.iter().enumerate() {
        if !insert(&mut seen, item) {
            found(i);
        }
    }
}
