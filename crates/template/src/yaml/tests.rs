use proptest::prelude::*;

use super::*;
use crate::json::{self, MAX_DEPTH, Value};

fn read(text: &str) -> String {
    let documents = read_all(text).unwrap();
    let texts: Vec<String> = documents.iter().map(|document| document.value.to_string()).collect();
    texts.join(" ")
}

/// What kubectl makes of the same text, but for the text of numbers.
#[test]
fn plain_texts_mean_what_they_mean_to_kubectl() {
    for (text, expected) in [
        ("yes", "true"),
        ("n", "false"),
        ("On", "true"),
        ("tRUE", "\"tRUE\""),
        ("~", ""),
        ("null", ""),
        ("1", "1"),
        ("-1", "-1"),
        ("+1", "1"),
        ("007", "7"),
        ("0777", "511"),
        ("08", "8"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("0b101", "5"),
        ("-0b11", "-3"),
        ("1_000", "1000"),
        ("1.10", "1.10"),
        ("1.", "1"),
        (".5", "0.5"),
        ("-.5e3", "-0.5e3"),
        ("1e3", "1e3"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.2.3", "\"1.2.3\""),
        ("2015-10-24T18:25:22Z", "\"2015-10-24T18:25:22Z\""),
        ("2015-10-24", "\"2015-10-24\""),
        ("10:30", "\"10:30\""),
        ("0x", "\"0x\""),
        ("-", "[null]"),
        (".", "\".\""),
        ("1e", "\"1e\""),
        ("'yes'", "\"yes\""),
        ("\"1\"", "\"1\""),
        ("!!str 1", "\"1\""),
        ("!!int \"1\"", "1"),
        ("!other 1", "\"1\""),
        ("100Mi", "\"100Mi\""),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn mappings_keep_their_order_and_their_keys() {
    assert_eq!(
        read("b: 1\na: 2\non: 3\n8080: 4\n? c\n: 5\n"),
        r#"{"b":1,"a":2,"on":3,"8080":4,"c":5}"#
    );
    assert_eq!(read("a: |\n  x\n  y\nb: >-\n  x\n  y\n"), r#"{"a":"x\ny\n","b":"x y"}"#);
    assert_eq!(read("--- {}\n---\n---\na:\n...\n"), r#"{} {"a":null}"#);
}

#[test]
fn anchors_are_copied_and_merged() {
    assert_eq!(read("a: &x [1, 2]\nb: *x\n"), r#"{"a":[1,2],"b":[1,2]}"#);
    assert_eq!(
        read("base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\nboth: {<<: [*b, {z: 4}]}\n"),
        r#"{"base":{"x":1,"y":2},"mine":{"y":3,"x":1},"both":{"x":1,"y":2,"z":4}}"#
    );
    assert_eq!(read("&k key: 1\nother: *k\n"), r#"{"key":1,"other":"key"}"#);
}

#[test]
fn keys_that_stand_twice_are_told() {
    let documents = read_all("a:\n- b: 1\n  b: 2\n- {}\nc: 1\nc: 2\n").unwrap();
    assert_eq!(documents[0].twice, ["a[0].b", "c"]);
    assert_eq!(documents[0].value.to_string(), r#"{"a":[{"b":2},{}],"c":2}"#);
}

#[test]
fn what_json_cannot_say_is_refused_with_its_line() {
    for (text, line, what) in [
        ("a: .inf", 1, "a number that is none; JSON has no infinity"),
        ("a: 1\n? [b]\n: 2", 2, "a list or mapping as a key"),
        ("a: &x\n  b: *x", 2, "an alias to what it stands in"),
        (
            "a: !!binary aGk=",
            1,
            "!!binary is not supported; write the base64 as a text",
        ),
        ("a: &x 1\n*x : 2", 2, "a key that is no text"),
        ("a: {<<: 1}", 1, "<< takes mappings"),
    ] {
        let error = read_all(text).unwrap_err();
        assert_eq!((error.line, error.what.as_str()), (line, what), "{text}");
    }
    for text in ["a: [", "a: *x", "a: b: c", "\"a", "%"] {
        assert!(read_all(text).is_err(), "{text}");
    }
}

#[test]
fn aliases_and_depth_cost_bounded_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "));
    }
    assert_eq!(read_all(&text).unwrap_err().what, "aliases repeat too much");
    let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
    assert_eq!(read_all(&deep).unwrap_err().what, "nested too deeply");
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..=MAX_DEPTH {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert_eq!(read_all(&text).unwrap_err().what, "nested too deeply");
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "[a-z: #\n\t-]{0,10}",
        "\\PC{0,6}",
        Just("yes".to_owned()),
        Just("0x1".to_owned())
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        let json = value.to_string();
        let document = json::read(&json).unwrap();
        let yaml = to_yaml(&document.value);
        let back = read_all(&yaml).unwrap();
        let back = back.first().map_or(Value::Null, |document| document.value.clone());
        prop_assert_eq!(back.to_string(), document.value.to_string(), "{}", yaml);
    }
}
