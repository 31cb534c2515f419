//! What reading an object does beyond its schema: the defaults and conversions that belong to whoever sent it, unlike what the
//! server adds on its own account (`kinds.rs`).

use apimachinery::crd::CustomResourceDefinition;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::builtin::Special;

/// Completes an object of a built-in kind as reading it does.
pub(crate) fn complete(special: Special, object: &mut Value<'_>) {
    match special {
        Special::Secret => secret(object),
        Special::Namespace => name_label(object),
        Special::Definition => {
            let mut definition = object.take().into();
            CustomResourceDefinition::apply_defaults(&mut definition);
            *object = definition.into();
        }
        _ => {}
    }
}

/// Plain texts go with the encoded ones, and a type there is always.
fn secret(object: &mut Value<'_>) {
    let Some(members) = object.as_object_mut() else { return };
    if let Some(Value::Object(plain)) = members.remove("stringData")
        && !plain.is_empty()
    {
        let encoded: Map<'_> = plain
            .into_iter()
            .filter_map(|(name, value)| Some((name, STANDARD.encode(value.as_str()?).into())))
            .collect();
        if let Value::Object(data) = members.get_or_insert("data", Map::new()) {
            data.merge(encoded, |_, encoded| Some(encoded));
        }
    }
    if members.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
        // Also where the old one has another type, which is a change then.
        members.insert("type", "Opaque");
    }
}

/// Every namespace carries its name as a label.
fn name_label(object: &mut Value<'_>) {
    let Some(metadata) = meta::of_mut(object) else { return };
    let name = meta::text(metadata, "name").to_owned();
    if name.is_empty() {
        return;
    }
    if let Some(labels) = metadata.get_or_insert("labels", Map::new()).as_object_mut() {
        labels.insert("kubernetes.io/metadata.name", name);
    }
}
