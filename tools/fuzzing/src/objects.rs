//! Kubernetes objects: patched, pruned, checked.

use apimachinery::crd::CustomResourceDefinition;
use apimachinery::json::{Map, Value};
use apimachinery::meta::{self, Create, MetadataRules, NameRule};
use apimachinery::patch::{JsonPatch, merge_patch};
use apimachinery::schema::StructuralSchema;
use apimachinery::table;
use jiff::Timestamp;

use crate::bytes_of;

fn value(json: &[u8]) -> Option<Value<'_>> {
    apimachinery::json::parse_strict(json).ok().map(|(value, _)| value)
}

/// Two values, parted by a line; the second one is null where there is none.
fn two(data: &[u8]) -> Option<(Value<'_>, Value<'_>)> {
    let parts = bytes_of::parts(data, 2);
    Some((
        value(parts[0])?,
        parts.get(1).map_or(Some(Value::Null), |json| value(json))?,
    ))
}

/// Parts of the input: a document and a patch, which is applied as both kinds of patch.
pub(crate) fn patches(data: &[u8]) {
    let Some((document, patch)) = two(data) else { return };
    let mut merged = document.clone();
    merge_patch(&mut merged, patch.clone());
    assert_eq!(
        merged,
        by_the_book(&document, &patch),
        "a merge patch does something else than RFC 7396"
    );
    let Ok(patch) = JsonPatch::parse(&patch) else { return };
    let once = patch.apply(document.clone());
    assert_eq!(once, patch.apply(document), "a patch has two outcomes");
    if let Ok(result) = once {
        let text = serde_json::to_vec(&result).expect("a value can be written");
        assert!(value(&text).is_some(), "a patch makes a document that cannot be read");
    }
}

/// The algorithm of RFC 7396 section 2.
fn by_the_book<'t>(target: &Value<'t>, patch: &Value<'t>) -> Value<'t> {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut result = match target {
        Value::Object(members) => members.clone(),
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            result.remove(name);
        } else {
            let merged = by_the_book(result.get(name).unwrap_or(&Value::Null), value);
            result.insert(name.to_owned(), merged);
        }
    }
    Value::Object(result)
}

/// What is pruned and filled in stays so. Parts of the input: a schema, an object.
pub(crate) fn schema(data: &[u8]) {
    let Some((schema, mut object)) = two(data) else { return };
    let schema = match StructuralSchema::from_openapi(&schema.into(), "schema") {
        Ok(schema) => schema,
        Err(errors) => {
            assert!(!errors.is_empty(), "a refusal says nothing");
            return;
        }
    };
    let _ = schema.field(["spec", "a"]);
    schema.prune(&mut object);
    let pruned = object.clone();
    assert_eq!(
        schema.prune(&mut object),
        Vec::<String>::new(),
        "something is left to be pruned"
    );
    assert_eq!(object, pruned, "pruning goes on");
    schema.default(&mut object);
    let filled = object.clone();
    schema.default(&mut object);
    assert_eq!(object, filled, "filling in goes on");
    let errors = schema.validate(&object);
    assert_eq!(errors, schema.validate(&object), "an object has two verdicts");
    let _ = errors.iter().map(ToString::to_string).count();
}

/// A definition that is taken is taken again after its defaults are filled in, and may stay as it is.
pub(crate) fn definition(data: &[u8]) {
    let Some(mut object) = value(data).map(serde_json::Value::from) else {
        return;
    };
    CustomResourceDefinition::apply_defaults(&mut object);
    let filled = object.clone();
    CustomResourceDefinition::apply_defaults(&mut object);
    assert_eq!(object, filled, "filling in goes on");
    match CustomResourceDefinition::parse(&object) {
        Ok(definition) => {
            let storage = definition.storage_version();
            assert!(
                definition.version(&storage.name).is_some(),
                "the storage version is none"
            );
            assert_eq!(
                CustomResourceDefinition::validate_update(&object, &object),
                [],
                "it may not stay as it is"
            );
            CustomResourceDefinition::establish(&mut object, "2026-01-01T00:00:00Z");
            assert!(CustomResourceDefinition::has_condition(&object, "Established"));
            CustomResourceDefinition::terminate(&mut object, "2026-01-01T00:00:00Z");
            let object = Value::from(object);
            for version in &definition.versions {
                for column in &version.columns {
                    let _ = column.cell(&object, Timestamp::UNIX_EPOCH);
                }
                for field in &version.selectable_fields {
                    let _ = field.value(&object);
                }
            }
        }
        Err(errors) => assert!(!errors.is_empty(), "a refusal says nothing"),
    }
}

/// Parts of the input: the metadata of an object, a time.
pub(crate) fn metadata(data: &[u8]) {
    let parts = bytes_of::parts(data, 2);
    if let Some(text) = parts.get(1).and_then(|text| std::str::from_utf8(text).ok()) {
        time(text);
    }
    let Some(Value::Object(mut metadata)) = value(parts[0]) else {
        return;
    };
    if meta::decode(&mut metadata, "metadata").is_err() {
        return;
    }
    let decoded = metadata.clone();
    assert_eq!(
        meta::decode(&mut metadata, "metadata").as_deref(),
        Ok(&[][..]),
        "something is left to be dropped"
    );
    assert_eq!(metadata, decoded, "decoding goes on");
    for name in [NameRule::Subdomain, NameRule::Label] {
        for (namespaced, strict_finalizers) in [(true, false), (false, true)] {
            let rules = MetadataRules {
                name,
                namespaced,
                strict_finalizers,
            };
            let errors = meta::validate_metadata(&metadata, rules);
            let _ = errors.iter().map(ToString::to_string).count();
        }
    }
    assert_eq!(
        meta::validate_metadata_update(&metadata, &metadata),
        [],
        "it may not stay as it is"
    );
    let _ = meta::metadata_warnings(&metadata);
    let mut random = || 4;
    let mut create = Create {
        namespace: Some("default"),
        uid: "uid",
        now: Timestamp::UNIX_EPOCH,
        has_generation: true,
        random: &mut random,
    };
    if meta::prepare_create(&mut metadata, &mut create).is_ok() {
        assert!(!meta::is_being_deleted(&metadata), "a new object is being deleted");
        assert!(meta::mark_deleted(&mut metadata, Timestamp::UNIX_EPOCH) && meta::is_being_deleted(&metadata));
    }
}

fn time(text: &str) {
    if let Some(time) = meta::parse_timestamp(text) {
        let again = meta::parse_timestamp(&meta::format_timestamp(time));
        assert_eq!(
            again.map(Timestamp::as_second),
            Some(time.as_second()),
            "a time does not come back"
        );
    }
    let _ = table::age(text, Timestamp::UNIX_EPOCH);
}
