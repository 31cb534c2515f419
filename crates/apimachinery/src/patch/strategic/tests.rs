use super::*;
use crate::json;
use crate::schema::StructuralSchema;

/// Patches the finalizers and owners, the lists of `metadata` that are merged.
fn patched(object: Value<'static>, patch: Value<'static>) -> Result<Value<'static>, StrategicError> {
    let schema = StructuralSchema::from_openapi(&serde_json::json!({"type": "object"}), "").expect("a schema");
    let (Value::Object(object), Value::Object(patch)) = (json!({"metadata": object}), json!({"metadata": patch}))
    else {
        panic!("objects");
    };
    let merged = strategic_merge(schema.type_of_root(), object, patch)?;
    Ok(merged.get("metadata").cloned().unwrap_or_default())
}

#[test]
fn items_are_merged_by_their_key_and_new_ones_come_first() {
    let owners = |uids: &[&str]| -> Value<'static> {
        let owners: Vec<serde_json::Value> = uids
            .iter()
            .map(|uid| serde_json::json!({"uid": uid, "name": "x"}))
            .collect();
        json!({"ownerReferences": owners})
    };
    let new = patched(
        owners(&["1", "2"]),
        json!({"ownerReferences": [{"uid": "3", "name": "x"}]}),
    )
    .unwrap();
    assert_eq!(new, owners(&["3", "1", "2"]));
    let changed = patched(
        owners(&["1", "2"]),
        json!({"ownerReferences": [{"uid": "2", "kind": "K"}]}),
    )
    .unwrap();
    assert_eq!(
        changed["ownerReferences"],
        json!([{"uid": "1", "name": "x"}, {"uid": "2", "name": "x", "kind": "K"}])
    );
    let gone = patched(
        owners(&["1", "2"]),
        json!({"ownerReferences": [{"uid": "1", "$patch": "delete"}]}),
    )
    .unwrap();
    assert_eq!(gone, owners(&["2"]));
    let replaced = json!({"ownerReferences": [{"$patch": "replace"}, {"uid": "9", "name": "x"}]});
    assert_eq!(patched(owners(&["1", "2"]), replaced).unwrap(), owners(&["9"]));
    assert_eq!(
        patched(owners(&["1"]), json!({"ownerReferences": [{"name": "y"}]})),
        Err(StrategicError::NoMergeKey)
    );
}

#[test]
fn scalars_are_merged_removed_and_ordered() {
    let with = |list: &[&'static str]| json!({"finalizers": list});
    assert_eq!(
        patched(with(&["a", "b"]), with(&["c", "a"])).unwrap(),
        with(&["c", "a", "b"])
    );
    let gone = json!({"$deleteFromPrimitiveList/finalizers": ["a"]});
    assert_eq!(patched(with(&["a", "b"]), gone).unwrap(), with(&["b"]));
    let order = json!({"$setElementOrder/finalizers": ["b", "a"]});
    assert_eq!(patched(with(&["a", "x", "b"]), order).unwrap(), with(&["x", "b", "a"]));
    let outside = json!({"$setElementOrder/finalizers": ["b"], "finalizers": ["c"]});
    assert_eq!(patched(with(&["a"]), outside), Err(StrategicError::Order));
}

#[test]
fn directives_replace_delete_and_retain() {
    let labels = || json!({"labels": {"a": "1", "b": "2"}});
    let replaced = patched(labels(), json!({"labels": {"$patch": "replace", "c": "3"}})).unwrap();
    assert_eq!(replaced, json!({"labels": {"c": "3"}}));
    assert_eq!(
        patched(labels(), json!({"labels": {"$patch": "delete"}})).unwrap(),
        json!({"labels": {}})
    );
    let retained = patched(labels(), json!({"labels": {"$retainKeys": ["a", "c"], "c": "3"}})).unwrap();
    assert_eq!(retained, json!({"labels": {"a": "1", "c": "3"}}));
    let missed = patched(labels(), json!({"labels": {"$retainKeys": ["a"], "c": "3"}}));
    assert_eq!(missed, Err(StrategicError::RetainKeys));
    assert_eq!(
        patched(labels(), json!({"labels": {"a": null}})).unwrap(),
        json!({"labels": {"b": "2"}})
    );
    let fresh = patched(
        json!({}),
        json!({"labels": {"a": null, "b": "2"}, "gone": {"$patch": "delete"}}),
    )
    .unwrap();
    assert_eq!(fresh, json!({"labels": {"b": "2"}}));
    assert_eq!(
        patched(labels(), json!({"$patch": "bogus"})),
        Err(StrategicError::Directive)
    );
}
