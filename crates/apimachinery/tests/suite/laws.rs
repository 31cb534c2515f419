//! Laws that hold for any input.

use apimachinery::field_selector::{FieldOperator, FieldSelector, FieldTerm};
use apimachinery::json::{self, Value, parse_strict};
use apimachinery::jsonpath::JsonPath;
use apimachinery::label_selector::{LabelSelector, Operator, Requirement};
use apimachinery::list::ContinueToken;
use apimachinery::patch::{JsonPatch, merge_patch};
use apimachinery::request_info::RequestInfo;
use apimachinery::schema::StructuralSchema;
use proptest::prelude::*;
use serde_json::json;

/// Any JSON of a few levels, with few keys so that they meet.
fn any_json() -> impl Strategy<Value = Value<'static>> {
    any_serde_json().prop_map(Value::from)
}

/// The same as serde_json has it.
fn any_serde_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>()
            .prop_filter("JSON has finite numbers", |f| f.is_finite())
            .prop_map(serde_json::Value::from),
        ".{0,6}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn schema() -> StructuralSchema {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "object", "properties": {"b": {"type": "string", "default": "x"}, "c": {"type": "array", "items": {"type": "integer"}}}},
        "b": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "object"}}},
        "c": {"type": "object", "additionalProperties": {"type": "object", "nullable": true, "properties": {"d": {"x-kubernetes-int-or-string": true}}}},
        "d": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    }});
    StructuralSchema::from_openapi(&schema, "s").unwrap()
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9]{0,5}[a-z0-9])?",
        "[a-z]{1,4}\\.[a-z]{2}/[A-Z][a-z_.-]{0,4}[a-z]",
        Just("in".to_owned())
    ]
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let values = || {
        prop::collection::btree_set("([A-Za-z0-9]([a-z_.-]{0,3}[a-z0-9])?)?", 1..4)
            .prop_map(|set| set.into_iter().collect())
    };
    let operator = prop_oneof![
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        (0..i64::MAX).prop_map(Operator::GreaterThan),
        (0..i64::MAX).prop_map(Operator::LessThan),
    ];
    (key(), operator).prop_map(|(key, operator)| Requirement { key, operator })
}

/// The same value, or the same kind of error.
fn read_alike(bytes: &[u8]) -> Result<(), TestCaseError> {
    let read = parse_strict(bytes).map(|(value, _)| serde_json::Value::from(value));
    match (read, serde_json::from_slice::<serde_json::Value>(bytes)) {
        (Ok(read), Ok(expected)) => prop_assert_eq!(read, expected),
        // Bytes that are no text are found first here, wherever they stand.
        (Err(_), Err(_)) if std::str::from_utf8(bytes).is_err() => {}
        (Err(error), Err(expected)) if expected.is_eof() => {
            prop_assert_eq!(error.problem, json::Problem::UnexpectedEnd)
        }
        (Err(error), Err(_)) => prop_assert_eq!(error.problem, json::Problem::Syntax),
        (read, expected) => prop_assert!(false, "{:?} where serde_json has {:?}", read, expected),
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_read_prints_as_serde_json_prints_it(value in any_serde_json()) {
        for text in [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()] {
            let expected: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let (read, duplicates) = parse_strict(&text).unwrap();
            prop_assert!(duplicates.is_empty());
            let mut printed = Vec::new();
            read.write(&mut printed);
            prop_assert_eq!(&printed, &serde_json::to_vec(&expected).unwrap());
            prop_assert_eq!(&read, &Value::from(expected.clone()));
            prop_assert_eq!(serde_json::to_vec(&read).unwrap(), printed);
            prop_assert_eq!(serde_json::Value::from(read), expected);
        }
    }

    #[test]
    fn any_bytes_are_read_like_serde_json_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        read_alike(&bytes)?;
    }

    #[test]
    fn texts_near_json_are_read_like_serde_json_reads_them(text in "[\\[\\]{}:,\"0-9eE.+\\-a \\\\utrfnl]{0,24}") {
        read_alike(text.as_bytes())?;
    }

    #[test]
    fn texts_with_escapes_are_read_like_serde_json_reads_them(text in r#""([ -~é\n]|\\["\\/bfnrtux]|\\u[d0][8-f0][0-9a-fA-F]{1,2}){0,20}"?"#) {
        read_alike(text.as_bytes())?;
    }

    #[test]
    fn numbers_are_kept_as_serde_json_keeps_them(text in "-?[0-9]{0,25}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{0,4})?") {
        read_alike(text.as_bytes())?;
    }

    #[test]
    fn json_with_a_byte_changed_is_read_like_serde_json_reads_it(value in any_serde_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        read_alike(&text)?;
        read_alike(&text[..at])?;
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_value_counts_and_it_is_reported(keys in prop::collection::vec("[a-z]{1,2}", 0..200)) {
        let members: Vec<String> = keys.iter().enumerate().map(|(i, key)| format!("\"{key}\":{i}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let (read, duplicates) = parse_strict(text.as_bytes()).unwrap();
        prop_assert_eq!(serde_json::Value::from(read), serde_json::from_str::<serde_json::Value>(&text).unwrap());
        let mut seen = std::collections::BTreeSet::new();
        let expected: Vec<&String> = keys.iter().filter(|key| !seen.insert(*key)).take(json::MAX_REPORTED_FIELDS).collect();
        let paths: Vec<&String> = duplicates.iter().map(|duplicate| &duplicate.path).collect();
        prop_assert_eq!(paths, expected);
    }

    #[test]
    fn a_merge_patch_twice_is_the_patch_once(mut target in any_json(), patch in any_json()) {
        merge_patch(&mut target, patch.clone());
        let once = target.clone();
        merge_patch(&mut target, patch.clone());
        prop_assert_eq!(target, once);
    }

    #[test]
    fn an_empty_merge_patch_changes_no_object(target in any_json()) {
        prop_assume!(target.is_object());
        let mut patched = target.clone();
        merge_patch(&mut patched, json!({}).into());
        prop_assert_eq!(patched, target);
    }

    #[test]
    fn a_json_patch_never_panics(document in any_json(), ops in prop::collection::vec(
        ("add|remove|replace|move|copy|test", "(/[a-d0-2-]){0,4}", "(/[a-d0-2-]){0,4}", any_json()), 0..6)) {
        let patch: Vec<_> =
            ops.into_iter().map(|(op, from, path, value)| json!({"op": op, "from": from, "path": path, "value": value})).collect();
        let _ = JsonPatch::parse(&patch.into()).unwrap().apply(document);
    }

    #[test]
    fn pruning_is_done_after_one_time(mut object in any_json()) {
        let schema = schema();
        schema.prune(&mut object);
        let once = object.clone();
        prop_assert!(schema.prune(&mut object).is_empty());
        prop_assert_eq!(object, once);
    }

    #[test]
    fn defaulting_is_done_after_one_time(mut object in any_json()) {
        let schema = schema();
        schema.default(&mut object);
        let once = object.clone();
        schema.default(&mut object);
        prop_assert_eq!(&object, &once);
        schema.validate(&object);
    }

    #[test]
    fn any_json_is_a_schema_or_not_but_never_a_panic(schema in any_serde_json()) {
        let _ = StructuralSchema::from_openapi(&schema, "s");
        let _ = StructuralSchema::from_openapi(&json!({"type": "object", "properties": schema}), "s");
    }

    #[test]
    fn a_label_selector_reads_its_own_text(mut requirements in prop::collection::vec(requirement(), 0..4)) {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        let selector = LabelSelector { requirements };
        prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn a_field_selector_reads_its_own_text(path in "[a-z.]{1,8}", value in ".{0,12}", equal in any::<bool>()) {
        let operator = if equal { FieldOperator::Equals } else { FieldOperator::NotEquals };
        let selector = FieldSelector { terms: vec![FieldTerm { path, operator, value }] };
        prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn selectors_and_paths_never_panic(text in "[ -~é\\\\]{0,40}") {
        let _ = LabelSelector::parse(&text).map(|s| s.to_string());
        let _ = FieldSelector::parse(&text);
        let _ = ContinueToken::decode(&text);
        let _ = RequestInfo::parse("GET", &text, [("fieldSelector", text.as_str())]);
    }

    #[test]
    fn json_paths_never_panic(text in "[{}\\[\\].,:*?()@$'\"=<>!a-c0-2 \\-\\\\]{0,24}", object in any_json()) {
        let paths = [JsonPath::path(&text), JsonPath::template(&text), JsonPath::template(&format!("{{{text}}}"))];
        for path in paths.into_iter().flatten() {
            let all = path.find_all(&object);
            if path.simple_fields().is_some() {
                prop_assert_eq!(path.first_value(&object), all.first().copied());
            }
            path.render(&object);
        }
    }

    #[test]
    fn a_continue_token_comes_back(revision in prop::option::of(1..=i64::MAX as u64), start in ".{1,40}") {
        let token = ContinueToken { revision, start, remaining: None };
        prop_assert_eq!(ContinueToken::decode(&token.encode()).unwrap(), token);
    }
}
