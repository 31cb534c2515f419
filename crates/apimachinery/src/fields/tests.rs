use proptest::prelude::*;

use super::*;
use crate::json;

fn set(value: Value<'static>) -> FieldSet<'static> {
    FieldSet::parse(&value).expect("a set")
}

#[test]
fn a_set_comes_back_from_its_json() {
    for value in [
        json!({}),
        json!({"f:a": {}}),
        json!({"f:a": {".": {}, "f:b": {}}}),
        json!({"f:l": {"k:{\"a\":\"x\",\"b\":1}": {".": {}, "f:v": {}}, "v:\"s\"": {}, "v:3": {}, "i:0": {}}}),
    ] {
        assert_eq!(set(value.clone()).to_value(), value);
    }
    assert_eq!(
        set(json!({"f:a": {".": {}}})).to_value(),
        json!({"f:a": {}}),
        "the short form"
    );
    assert_eq!(
        set(json!({"x:later": {"f:a": {}}, "f:a": {}})).to_value(),
        json!({"f:a": {}})
    );
    assert_eq!(
        set(json!({"v:\"a<b\"": {}})).to_value().to_string(),
        r#"{"v:\"a\\u003cb\"":{}}"#
    );
}

#[test]
fn what_is_no_set_is_refused() {
    for value in [
        json!([]),
        json!({"f:a": 1}),
        json!({"a": {}}),
        json!({"k:": {}}),
        json!({"k:[1]": {}}),
        json!({"v:{": {}}),
        json!({"i:x": {}}),
        json!({"é:": {}}),
    ] {
        assert!(FieldSet::parse(&value).is_err(), "{value}");
    }
}

#[test]
fn equal_numbers_are_the_same_element() {
    let one = |number: Value<'static>| Element::Value(number);
    assert_eq!(one(json!(1)), one(json!(1.0)));
    assert!(one(json!(1)) < one(json!(1.5)) && one(json!(1.5)) < one(json!(2)));
    assert!(one(json!(i64::MAX)) < one(json!(u64::MAX)) && one(json!(u64::MAX)) < one(json!(1e300)));
    assert!(one(json!(9_007_199_254_740_993_i64)) > one(json!(9_007_199_254_740_992.0)));
}

#[test]
fn a_difference_looks_at_each_place_for_itself_and_without_takes_the_branch() {
    let whole = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
    let place = set(json!({"f:a": {}}));
    assert_eq!(
        whole.difference(&place),
        set(json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}))
    );
    assert_eq!(whole.without(&place), set(json!({"f:d": {}})));
    assert_eq!(whole.intersection(&place), place);
}

#[test]
fn places_are_found_and_shown() {
    let set = set(json!({"f:l": {"k:{\"name\":\"a\",\"port\":80}": {".": {}, "f:x": {}}, "v:true": {}}}));
    let shown: Vec<String> = set.paths().iter().map(|path| show(path)).collect();
    assert_eq!(
        shown,
        [r#".l[name="a",port=80]"#, ".l[=true]", r#".l[name="a",port=80].x"#]
    );
    assert!(set.paths().iter().all(|path| set.contains(path)));
    assert!(!set.contains(&[Element::Field("l".into())]) && !set.contains(&[]));
}

fn element() -> impl Strategy<Value = Element<'static>> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(|name| Element::Field(name.into())),
        1 => (0..3_i64).prop_map(|n| Element::Value(n.into())),
        1 => (0..3_i64).prop_map(|n| Element::Key(vec![("k".into(), n.into())])),
        1 => (0..2_i64).prop_map(Element::Index),
    ]
}

fn any_set() -> impl Strategy<Value = FieldSet<'static>> {
    let path = prop::collection::vec(element(), 1..4);
    prop::collection::vec(path, 0..12).prop_map(|paths| {
        let mut set = FieldSet::new();
        paths.into_iter().for_each(|path| set.insert(path));
        set
    })
}

proptest! {
    #[test]
    fn sets_follow_the_laws_of_sets(a in any_set(), b in any_set(), c in any_set()) {
        let union = a.clone().union(b.clone());
        prop_assert_eq!(&union, &b.clone().union(a.clone()));
        prop_assert_eq!(&a.clone().union(a.clone()), &a);
        prop_assert_eq!(a.clone().union(b.clone()).union(c.clone()), a.clone().union(b.clone().union(c.clone())));
        prop_assert_eq!(&a.intersection(&b), &b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        for path in union.paths() {
            prop_assert!(a.contains(&path) || b.contains(&path));
            prop_assert_eq!(a.difference(&b).contains(&path), a.contains(&path) && !b.contains(&path));
            let above = (1..=path.len()).any(|length| b.contains(&path[..length]));
            prop_assert_eq!(a.without(&b).contains(&path), a.contains(&path) && !above);
        }
    }

    #[test]
    fn json_keeps_every_set(a in any_set()) {
        prop_assert_eq!(FieldSet::parse(&a.to_value()), Ok(a));
    }

    #[test]
    fn a_builder_takes_elements_in_any_order(mut paths in prop::collection::vec((element(), any::<bool>(), any_set()), 0..8)) {
        let build = |paths: &[(Element<'static>, bool, FieldSet<'static>)]| {
            let mut builder = Builder::default();
            paths.iter().cloned().for_each(|(element, is_member, below)| builder.add(element, is_member, below));
            builder.finish()
        };
        let set = build(&paths);
        paths.reverse();
        prop_assert_eq!(build(&paths), set);
    }
}
