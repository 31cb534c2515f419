//! Defaults, and nulls where none may stand.

use super::Node;
use crate::json::{Map, Value};

pub(super) fn fill(node: &Node, value: &mut Value<'_>) {
    match value {
        Value::Object(map) => fill_object(node, map),
        Value::Array(items) => {
            if let Some(node) = &node.items {
                items.iter_mut().for_each(|item| fill(node, item));
            }
        }
        _ => {}
    }
}

fn fill_object(node: &Node, map: &mut Map<'_>) {
    let mut has_null = false;
    for (key, value) in map.iter_mut() {
        if node.is_api_key(key) {
            continue;
        }
        if let Some(child) = node.child(key) {
            if value.is_null() && !child.nullable {
                has_null = true;
            } else {
                fill(child, value);
            }
        }
    }
    if has_null {
        map.retain(|key, value| {
            node.is_api_key(key) || !value.is_null() || node.child(key).is_none_or(|child| child.nullable)
        });
    }
    for name in &node.defaulted {
        let default = node.properties.get(name).and_then(|child| child.default.as_ref());
        if let (Some(default), false) = (default, map.contains_key(name)) {
            map.insert(name.clone(), default.clone());
        }
    }
}
