//! Random scripts of three managers.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::super::script::Template;
use super::super::{SEED, cases, number};
use super::{apply, builtins, gadget, merge, post, put, strategic};

/// Of a hundred random scripts with one writer, so many have several managers.
const SHARE: u64 = 25;
const LONGEST: usize = 9;
pub(super) const MANAGERS: [&str; 3] = ["a", "b", "c"];

/// Some of the members, each with one of its values.
pub(super) fn some_of(members: Vec<(&'static str, Vec<Value>)>) -> impl Strategy<Value = Value> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, values)| prop_oneof![3 => Just(None), 2 => select(values).prop_map(move |value| Some((name, value)))])
        .collect();
    members.prop_map(|members| {
        Value::Object(
            members
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    })
}

fn spec() -> impl Strategy<Value = Value> {
    some_of(vec![
        ("size", vec![json!(1), json!(2)]),
        ("replicas", vec![json!(1), json!(2)]),
        ("color", vec![json!("red"), json!("blue")]),
        (
            "set",
            vec![
                json!(["a"]),
                json!(["b", "a"]),
                json!(["c", "a", "d"]),
                json!(["d", "b"]),
                json!([]),
            ],
        ),
        (
            "ports",
            vec![
                json!([{"port": 1}]),
                json!([{"port": 1, "protocol": "UDP", "name": "x"}, {"port": 1, "name": "y"}]),
                json!([{"port": 2, "more": {"a": "1"}}, {"port": 1}]),
                json!([{"port": 3}, {"port": 2, "more": {"a": "1", "b": "2"}}]),
                json!([{"port": 2, "more": {"b": "3"}}]),
            ],
        ),
        ("whole", vec![json!([1]), json!([2, 1]), json!([])]),
        ("sealed", vec![json!({"a": "1"}), json!({"b": "1"}), json!({})]),
        (
            "texts",
            vec![json!({"a": "1"}), json!({"b": "1", "a": "2"}), json!({"b": "2"})],
        ),
        (
            "parts",
            vec![
                json!({"x": {"a": "1"}}),
                json!({"x": {"b": "1"}, "y": {}}),
                json!({"y": {"a": "2"}}),
            ],
        ),
        ("either", vec![json!(5), json!("5")]),
        ("nul", vec![json!(null), json!("n")]),
        (
            "free",
            vec![
                json!({"a": {"b": 1}}),
                json!({"a": {"c": [1]}, "d": 1}),
                json!({"a": [1]}),
                json!({"a": {}}),
            ],
        ),
        (
            "kept",
            vec![json!({"known": {"a": "1"}, "o": 1}), json!({"o": {"x": 1}})],
        ),
        (
            "inner",
            vec![
                json!({"a": "1"}),
                json!({"deep": {"b": "1"}}),
                json!({"deep": {"c": "1", "b": "2"}}),
                json!({}),
                json!(null),
            ],
        ),
    ])
}

fn metadata() -> impl Strategy<Value = Value> {
    some_of(vec![
        ("labels", vec![json!({"x": "1"}), json!({"y": "1", "x": "2"})]),
        ("annotations", vec![json!({"k": "1"})]),
        ("finalizers", vec![json!(["ex.io/a"]), json!(["ex.io/b", "ex.io/a"])]),
    ])
}

fn status() -> impl Strategy<Value = Value> {
    some_of(vec![
        ("phase", vec![json!("P"), json!("Q")]),
        (
            "conditions",
            vec![
                json!([{"type": "A", "status": "T"}]),
                json!([{"type": "B"}, {"type": "A", "status": "F"}]),
            ],
        ),
    ])
}

fn gadget_step() -> impl Strategy<Value = Template> {
    let object = (metadata(), spec(), status()).prop_map(|(mut metadata, spec, status)| {
        metadata["name"] = "g".into();
        json!({"apiVersion": "<group>/v1", "kind": "Gadget", "metadata": metadata, "spec": spec, "status": status})
    });
    (
        object,
        select(&MANAGERS[..]),
        select(vec!["", "", "&force=true", "&dryRun=All"]),
        0..12,
    )
        .prop_map(|(mut object, manager, query, how)| match how {
            0..=4 => {
                object.as_object_mut().unwrap().remove("status");
                apply("gadgets", "/g", manager, query, object)
            }
            5 => apply("gadgets", "/g/status", manager, query, object),
            6 | 7 => {
                object["metadata"]["resourceVersion"] = "<rv g>".into();
                put("gadgets", "/g", manager, object)
            }
            8 => {
                object["metadata"]["resourceVersion"] = "<rv g>".into();
                put("gadgets", "/g/status", manager, object)
            }
            9 | 10 => merge(
                "gadgets",
                "/g",
                manager,
                json!({"metadata": object["metadata"], "spec": object["spec"]}),
            ),
            _ => merge(
                "gadgets",
                "/g/scale",
                manager,
                json!({"spec": {"replicas": object["spec"].get("replicas").cloned().unwrap_or_else(|| json!(3))}}),
            ),
        })
}

fn map_step() -> impl Strategy<Value = Template> {
    let data = some_of(vec![
        ("k", vec![json!("1"), json!("2")]),
        ("l", vec![json!("1"), json!("2")]),
        ("m", vec![json!("")]),
    ]);
    (metadata(), data, select(&MANAGERS[..]), 0..9).prop_map(|(mut metadata, data, manager, how)| {
        let patch = json!({"metadata": metadata, "data": data});
        metadata["name"] = "m".into();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        match how {
            0..=2 => apply("maps", "/m", manager, "", object),
            3 => apply("maps", "/m", manager, "&force=true", object),
            4 => put("maps", "/m", manager, object),
            5 => merge("maps", "/m", manager, patch),
            _ => strategic("maps", "/m", manager, patch),
        }
    })
}

/// The scripts of a run.
pub(super) fn scripts() -> Vec<Vec<Template>> {
    let config = Config {
        rng_seed: RngSeed::Fixed(number("OSB_DIFFERENTIAL_SEED", SEED)),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let first = post("gadgets", "a", gadget(json!({"size": 1, "set": ["a", "b"]})));
    let of_gadgets = prop::collection::vec(gadget_step(), 2..=LONGEST).prop_map(move |steps| match steps.len() % 2 {
        0 => steps,
        _ => [vec![first.clone()], steps].concat(),
    });
    let of_maps = prop::collection::vec(map_step(), 2..=LONGEST);
    let script = prop_oneof![4 => of_gadgets, 1 => of_maps, 2 => builtins::random(LONGEST)];
    (0..(cases() * SHARE / 100).max(1))
        .map(|_| script.new_tree(&mut runner).unwrap().current())
        .collect()
}
