use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::fields::{FieldSet, show};
use crate::json;
use crate::schema::StructuralSchema;

pub(crate) fn schema() -> StructuralSchema {
    let text = serde_json::json!({"type": "string"});
    let port = serde_json::json!({"type": "object", "required": ["port"], "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": text,
    }});
    let openapi = serde_json::json!({"type": "object", "properties": {
        "size": {"type": "integer"},
        "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "ports": {"type": "array", "items": port, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"]},
        "whole": {"type": "array", "items": {"type": "integer"}},
        "sealed": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text},
        "texts": {"type": "object", "additionalProperties": text},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "inner": {"type": "object", "properties": {"a": text, "b": text}},
    }});
    StructuralSchema::from_openapi(&openapi, "").expect("a structural schema")
}

fn shown(set: &FieldSet<'_>) -> Vec<String> {
    set.paths().iter().map(|path| show(path)).collect()
}

#[test]
fn an_object_says_what_its_type_lets_it_say() {
    let schema = schema();
    let says = |object: Value<'static>| shown(&field_set(schema.type_of_root(), &object));
    assert_eq!(
        says(json!({"size": 1, "whole": [1, 2], "sealed": {"a": "b"}})),
        [".sealed", ".size", ".whole"]
    );
    assert_eq!(says(json!({"set": ["b", "a"]})), [r#".set[="a"]"#, r#".set[="b"]"#]);
    assert_eq!(
        says(json!({"ports": [{"port": 1}]})),
        [
            r#".ports[port=1,protocol="TCP"]"#,
            r#".ports[port=1,protocol="TCP"].port"#
        ]
    );
    assert_eq!(says(json!({"texts": {"a": "b"}, "inner": {}})), [".inner", ".texts.a"]);
    assert_eq!(says(json!({"free": {"a": {"b": [1]}}})), [".free.a", ".free.a.b"]);
    assert_eq!(says(json!({"set": ["a", "a"]})), [r#".set[="a"]"#]);
}

#[test]
fn a_comparison_names_places_above_what_is_new_or_gone() {
    let schema = schema();
    let compare = |old: Value<'static>, new: Value<'static>| {
        let found = super::compare(schema.type_of_root(), &old, &new);
        [shown(&found.removed), shown(&found.modified), shown(&found.added)]
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        compare(json!({}), json!({"inner": {"a": "x"}})),
        [
            none.clone(),
            none.clone(),
            vec![".inner".to_owned(), ".inner.a".to_owned()]
        ]
    );
    assert_eq!(
        compare(json!({"whole": [1]}), json!({"whole": [2]})),
        [none.clone(), vec![".whole".to_owned()], none.clone()]
    );
    assert_eq!(
        compare(json!({"set": ["a", "b"]}), json!({"set": ["b", "c"]})),
        [
            vec![r#".set[="a"]"#.to_owned()],
            none.clone(),
            vec![r#".set[="c"]"#.to_owned()]
        ]
    );
    assert_eq!(
        compare(json!({"set": ["a"]}), json!({"set": ["a", "a"]})),
        [
            vec![r#".set[="a"]"#.to_owned()],
            none.clone(),
            vec![r#".set[="a"]"#.to_owned()]
        ],
        "one that has become several"
    );
    assert_eq!(
        compare(json!({"free": {"a": [1]}}), json!({"free": {"a": {"b": 1}}})),
        [none, vec![".free.a".to_owned()], vec![".free.a.b".to_owned()]]
    );
}

#[test]
fn lists_are_woven_into_each_other() {
    let schema = schema();
    let merged = |live: Value<'static>, applied: Value<'static>| {
        merge(schema.type_of_root(), json!({"set": live}), json!({"set": applied}))["set"].clone()
    };
    for (live, applied, expected) in [
        (
            json!(["a", "b", "c"]),
            json!(["c", "x", "a"]),
            json!(["b", "c", "x", "a"]),
        ),
        (json!(["a", "b"]), json!(["c"]), json!(["a", "b", "c"])),
        (json!(["a", "b"]), json!(["b", "a"]), json!(["b", "a"])),
        (json!([]), json!(["b", "a"]), json!(["b", "a"])),
        (json!(["a", "b"]), json!([]), json!(["a", "b"])),
    ] {
        assert_eq!(merged(live.clone(), applied.clone()), expected, "{live} {applied}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let schema = schema();
    let wrong = |object: Value<'static>| {
        let errors = check(schema.type_of_root(), &object, Duplicates::Refused).expect_err("wrong");
        errors[0].to_string()
    };
    assert_eq!(wrong(json!({"nope": 1})), ".nope: field not declared in schema");
    assert_eq!(wrong(json!({"size": "x"})), ".size: expected numeric (int or float)");
    assert_eq!(
        wrong(json!({"set": ["a", "a"]})),
        r#".set[="a"]: duplicate entries for key"#
    );
    assert!(wrong(json!({"ports": [{"name": "x", "protocol": 5}]})).contains("ports"));
    assert!(check(schema.type_of_root(), &json!({"set": ["a", "a"]}), Duplicates::Allowed).is_ok());
}

#[test]
fn a_set_follows_a_list_that_has_become_atomic() {
    let schema = schema();
    let set =
        FieldSet::parse(&json!({"f:whole": {"v:1": {}}, "f:sealed": {"f:a": {}}, "f:set": {"v:\"a\"": {}}})).unwrap();
    let now = reconcile(schema.type_of_root(), set.clone());
    assert_eq!(
        now.to_value(),
        json!({"f:whole": {}, "f:sealed": {}, "f:set": {"v:\"a\"": {}}})
    );
    assert_eq!(reconcile(schema.type_of_root(), now.clone()), now);
}

pub(crate) fn any_object() -> impl Strategy<Value = Value<'static>> {
    let members = [
        ("size", vec![json!(1), json!(2)]),
        (
            "set",
            vec![json!(["a"]), json!(["b", "a"]), json!(["c", "a", "d"]), json!([])],
        ),
        (
            "ports",
            vec![
                json!([{"port": 1}]),
                json!([{"port": 1, "protocol": "UDP", "name": "x"}, {"port": 2}]),
            ],
        ),
        ("whole", vec![json!([1]), json!([2, 1])]),
        ("sealed", vec![json!({"a": "1"}), json!({"b": "1"})]),
        ("texts", vec![json!({"a": "1"}), json!({"b": "1", "a": "2"})]),
        (
            "free",
            vec![
                json!({"a": {"b": 1}}),
                json!({"a": [1]}),
                json!({"a": {"c": [1]}, "d": 1}),
            ],
        ),
        ("inner", vec![json!({"a": "1"}), json!({"b": "1"}), json!({})]),
    ];
    let members = members.map(
        |(name, values)| prop_oneof![1 => Just(None), 1 => select(values).prop_map(move |value| Some((name, value)))],
    );
    Vec::from(members).prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
}

proptest! {
    #[test]
    fn nothing_differs_from_itself(object in any_object()) {
        prop_assert!(compare(schema().type_of_root(), &object, &object).is_same());
    }

    #[test]
    fn what_is_added_one_way_is_removed_the_other(old in any_object(), new in any_object()) {
        let schema = schema();
        let there = compare(schema.type_of_root(), &old, &new);
        let back = compare(schema.type_of_root(), &new, &old);
        prop_assert_eq!(there.added, back.removed);
        prop_assert_eq!(there.modified, back.modified);
    }

    #[test]
    fn a_merge_says_all_that_was_applied(live in any_object(), applied in any_object()) {
        let schema = schema();
        let all = schema.type_of_root();
        let merged = merge(all, live.clone(), applied.clone());
        prop_assert_eq!(merge(all, merged.clone(), applied.clone()), merged.clone());
        let said = field_set(all, &applied);
        let changed = compare(all, &live, &merged);
        prop_assert!(changed.modified.difference(&said).is_empty(), "{:?}", changed.modified);
        for path in said.paths() {
            let kept = field_set(all, &merged);
            let above_new = (1..=path.len()).any(|length| kept.contains(&path[..length]));
            prop_assert!(above_new || path.len() == 1, "{}", show(&path));
        }
    }

    #[test]
    fn all_that_an_object_says_can_be_taken_out(object in any_object()) {
        let schema = schema();
        let all = schema.type_of_root();
        let left = remove(all, &object, &with_named(all, &field_set(all, &object)));
        prop_assert!(field_set(all, &left).is_empty(), "{left}");
    }
}
