use crate::json;

use super::*;

const RULES: MetadataRules = MetadataRules {
    name: NameRule::Subdomain,
    namespaced: true,
    strict_finalizers: false,
};

fn map(value: Value<'static>) -> Map<'static> {
    value.as_object().cloned().unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T07:40:53.9Z".parse().unwrap()
}

fn create(meta: Value<'static>, namespace: Option<&str>) -> Result<Value<'static>, Status> {
    let mut meta = map(meta);
    let mut count = 0;
    let mut random = || {
        count += 1;
        count
    };
    let mut create = Create {
        namespace,
        uid: "u1",
        now: now(),
        has_generation: true,
        random: &mut random,
    };
    prepare_create(&mut meta, &mut create)?;
    Ok(Value::Object(meta))
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn times_have_whole_seconds() {
    assert_eq!(format_timestamp(now()), "2026-11-21T07:40:53Z");
    assert!(parse_timestamp("2026-11-21T07:40:53+02:00").is_some());
    for bad in [
        "",
        "2026-11-21",
        "2026-11-21T07:40:53",
        "zz",
        "2026-11-21T07:40:53Z[Europe/Rome]",
        "é",
    ] {
        assert!(parse_timestamp(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_create_fills_in_what_the_server_decides() {
    let sent =
        json!({"generateName": "a-", "uid": "mine", "deletionTimestamp": "2026-11-21T07:40:53Z", "generation": 9});
    let stored = json!({
        "generateName": "a-", "name": "a-cdfgh", "namespace": "n", "uid": "u1", "generation": 1,
        "creationTimestamp": "2026-11-21T07:40:53Z",
    });
    assert_eq!(create(sent, Some("n")).unwrap(), stored);
    let status = create(json!({"namespace": "other"}), Some("n")).unwrap_err();
    assert_eq!(
        status.message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[test]
fn generated_names_fit_into_a_label() {
    let name = generate_name(&"é".repeat(40), &mut || 0);
    assert_eq!(name, format!("{}bbbbb", "é".repeat(29)));
    assert!(generate_name("", &mut || u32::MAX).len() == 5);
}

#[test]
fn an_update_cannot_touch_the_system_s_fields() {
    let resource = Resource::new("ex.io", "widgets");
    let old = map(
        json!({"name": "a", "namespace": "n", "uid": "u", "creationTimestamp": "2026-11-21T07:40:53Z", "generation": 3}),
    );
    let mut new =
        map(json!({"name": "a", "creationTimestamp": "2020-11-21T07:40:53Z", "generation": 7, "labels": {"l": "1"}}));
    prepare_update(&resource, &old, &mut new).unwrap();
    let mut expected = old.clone();
    expected.insert("labels", json!({"l": "1"}));
    assert_eq!(new, expected);

    let mut deleted =
        map(json!({"name": "a", "deletionTimestamp": "2026-11-21T07:40:53Z", "deletionGracePeriodSeconds": 5}));
    prepare_update(&resource, &old, &mut deleted).unwrap();
    let errors = validate_metadata_update(&old, &deleted);
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        ["metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds"]
    );

    let mut other_uid = map(json!({"name": "a", "uid": "x"}));
    assert_eq!(prepare_update(&resource, &old, &mut other_uid).unwrap_err().code(), 409);
    let mut other_name = map(json!({"name": "b"}));
    let status = prepare_update(&resource, &old, &mut other_name).unwrap_err();
    assert_eq!(
        status.message,
        "the name of the object (b) does not match the name on the URL (a)"
    );
}

#[test]
fn only_content_moves_the_generation() {
    let old = json!({"metadata": {"a": 1}, "spec": {"x": 1}});
    assert!(!content_changed(
        &old,
        &json!({"metadata": {"a": 2}, "spec": {"x": 1}, "kind": "K"})
    ));
    assert!(content_changed(&old, &json!({"spec": {"x": 2}})));
    assert!(content_changed(&old, &json!({"spec": {"x": 1}, "status": {}})));
    let mut meta = map(json!({"generation": 4}));
    assert!(mark_deleted(&mut meta, now()));
    assert!(!mark_deleted(&mut meta, now()));
    assert_eq!(meta.get("generation"), Some(&5.into()));
}

#[test]
fn names_labels_and_owners_are_checked() {
    let meta = map(json!({
        "name": "Bad", "namespace": "a.b", "labels": {"a b": "ok", "k": "-"}, "annotations": {"UPPER.example.com/x": "any value"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}],
    }));
    let errors = validate_metadata(&meta, RULES);
    let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "metadata.name",
            "metadata.namespace",
            "metadata.labels",
            "metadata.labels",
            "metadata.ownerReferences.uid"
        ]
    );
    assert!(validate_metadata(&map(json!({"name": "a.b", "namespace": "n"})), RULES).is_empty());
    let nameless = validate_metadata(&map(json!({"namespace": "n"})), RULES);
    assert_eq!(
        texts(&nameless),
        ["metadata.name: Required value: name or generateName is required"]
    );
}

#[test]
fn annotations_have_a_size_in_all() {
    let meta = map(json!({"name": "a", "namespace": "n", "annotations": {"k": "x".repeat(MAX_ANNOTATIONS_BYTES)}}));
    assert_eq!(
        texts(&validate_metadata(&meta, RULES)),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
}

#[test]
fn finalizers_only_go_once_deletion_has_begun() {
    let old = map(json!({"name": "a", "deletionTimestamp": "2026-11-21T07:40:53Z", "finalizers": ["a.b/c", "x.y/z"]}));
    let mut new = old.clone();
    new.insert("finalizers", json!(["a.b/c"]));
    assert!(validate_metadata_update(&old, &new).is_empty());
    new.insert("finalizers", json!(["d.e/f"]));
    assert_eq!(
        texts(&validate_metadata_update(&old, &new)),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers \
          []string{\"d.e/f\"}"
        ]
    );
}

#[test]
fn bare_finalizers_are_an_error_of_built_in_kinds_and_a_warning_elsewhere() {
    let meta = map(json!({"name": "a", "namespace": "n", "finalizers": ["bad", "orphan"]}));
    assert!(validate_metadata(&meta, RULES).is_empty());
    assert_eq!(metadata_warnings(&meta).len(), 1);
    let strict = MetadataRules {
        strict_finalizers: true,
        ..RULES
    };
    assert_eq!(
        texts(&validate_metadata(&meta, strict)),
        [
            "metadata.finalizers[0]: Invalid value: \"bad\": name is neither a standard finalizer name nor is it fully qualified"
        ]
    );
}

#[test]
fn metadata_is_brought_into_its_shape() {
    let mut meta = map(json!({
        "name": "a", "creationTimestamp": null, "labels": {}, "finalizers": [], "generateName": "", "junk": 1,
        "ownerReferences": [{"uid": "u", "odd": true}],
    }));
    let unknown = decode(&mut meta, "metadata").unwrap();
    assert_eq!(unknown, ["metadata.junk", "metadata.ownerReferences[0].odd"]);
    assert_eq!(
        Value::Object(meta),
        json!({"name": "a", "ownerReferences": [{"uid": "u"}]})
    );
    for (bad, path) in [
        (json!({"labels": {"a": 1}}), "metadata.labels.a"),
        (json!({"name": []}), "metadata.name"),
        (json!({"finalizers": [{}]}), "metadata.finalizers[0]"),
        (json!({"creationTimestamp": "yesterday"}), "metadata.creationTimestamp"),
        (json!({"ownerReferences": [1]}), "metadata.ownerReferences[0]"),
    ] {
        assert_eq!(decode(&mut map(bad), "metadata").unwrap_err().path, path);
    }
}
