//! Removal of unknown fields.

use super::path::Path;
use super::{Additional, JsonType, Node, Resource};
use crate::json::{MAX_REPORTED_FIELDS, Map, Value};
use crate::meta;

/// Below this every whole number of a float is exact: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn prune(root: &Node, object: &mut Value<'_>) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_value(Some(root), object, &Path::Root, &mut unknown);
    unknown
}

/// Without a node nothing inside is known.
fn prune_value(node: Option<&Node>, value: &mut Value<'_>, path: &Path<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => prune_object(node, map, path, unknown),
        Value::Array(items) => {
            let (node, keep) = match node {
                Some(node) => (node.items.as_deref(), node.preserve_unknown && node.items.is_none()),
                None => (None, false),
            };
            if !keep {
                for (i, item) in items.iter_mut().enumerate() {
                    prune_value(node, item, &path.index(i), unknown);
                }
            }
        }
        Value::Number(number) if node.is_some_and(|node| node.json_type == Some(JsonType::Integer)) => {
            // A whole number is one however it is written (`3.0`), and is kept as one.
            let whole = number
                .as_f64()
                .filter(|f| number.is_f64() && f.fract() == 0.0 && f.abs() < EXACT);
            if let Some(whole) = whole {
                *number = (whole as i64).into();
            }
        }
        _ => {}
    }
}

fn prune_object(node: Option<&Node>, map: &mut Map<'_>, path: &Path<'_>, unknown: &mut Vec<String>) {
    let keeps_all = node.is_some_and(|n| n.preserve_unknown || matches!(n.additional, Additional::Any));
    if keeps_all && node.is_some_and(|n| n.properties.is_empty() && n.resource.is_none()) {
        return;
    }
    let known = |key: &str| node.is_some_and(|n| n.is_api_key(key) || n.child(key).is_some());
    let mut extra = false;
    for (key, value) in map.iter_mut() {
        if node.is_some_and(|n| n.is_api_key(key)) {
            prune_embedded_metadata(node, key, value, path, unknown);
        } else if let Some(child) = node.and_then(|n| n.child(key)) {
            prune_value(Some(child), value, &path.key(key), unknown);
        } else if !keeps_all {
            extra = true;
            if unknown.len() < MAX_REPORTED_FIELDS {
                unknown.push(path.key(key).render());
            }
        }
    }
    if extra {
        map.retain(|key, _| known(key));
    }
}

/// The metadata of an embedded resource has the fields of all metadata. Wrong types are left to the validation.
fn prune_embedded_metadata(
    node: Option<&Node>,
    key: &str,
    value: &mut Value<'_>,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    if key != "metadata" || node.and_then(|n| n.resource) != Some(Resource::Embedded) {
        return;
    }
    if let Value::Object(metadata) = value {
        let found = meta::decode(metadata, &path.key(key).render()).unwrap_or_default();
        unknown.extend(
            found
                .into_iter()
                .take(MAX_REPORTED_FIELDS.saturating_sub(unknown.len())),
        );
    }
}
