//! Defaults, and nulls where none may stand.

use super::Node;
use crate::json::{Map, Value};

/// What becomes of a null where none may stand and nothing is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// It is dropped.
    Dropped,
    /// It stays, to be refused.
    Kept,
}

impl Nulls {
    /// Whether a null goes that stands at a place.
    fn goes(self, child: &Node) -> bool {
        !child.nullable && (self == Nulls::Dropped || child.default.is_some())
    }
}

pub(super) fn fill(node: &Node, value: &mut Value<'_>, nulls: Nulls) {
    match value {
        Value::Object(map) => fill_object(node, map, nulls),
        Value::Array(items) => {
            if let Some(node) = &node.items {
                items.iter_mut().for_each(|item| fill(node, item, nulls));
            }
        }
        _ => {}
    }
}

fn fill_object(node: &Node, map: &mut Map<'_>, nulls: Nulls) {
    let mut has_null = false;
    for (key, value) in map.iter_mut() {
        if node.is_api_key(key) {
            continue;
        }
        if let Some(child) = node.child(key) {
            if value.is_null() && !child.nullable {
                has_null = true;
            } else {
                fill(child, value, nulls);
            }
        }
    }
    if has_null {
        map.retain(|key, value| {
            node.is_api_key(key) || !value.is_null() || node.child(key).is_none_or(|child| !nulls.goes(child))
        });
    }
    for name in &node.defaulted {
        let default = node.properties.get(name).and_then(|child| child.default.as_ref());
        if let (Some(default), false) = (default, map.contains_key(name)) {
            map.insert(name.clone(), default.clone());
        }
    }
}
