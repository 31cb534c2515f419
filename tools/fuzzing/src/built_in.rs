//! Objects of the built-in kinds: as protobuf, with fields that somebody owns, with strategic patches.

use apimachinery::fields::FieldSet;
use apimachinery::json::{Map, Value};
use apimachinery::managed::Managed;
use apimachinery::patch::strategic_merge;
use apimachinery::schema::{StructuralSchema, Type};
use apimachinery::typed::{self, Duplicates};
use kinds::Kind;

use crate::bytes_of;

fn value(json: &[u8]) -> Option<Value<'_>> {
    apimachinery::json::parse_strict(json).ok().map(|(value, _)| value)
}

fn text(value: &Value<'_>) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value can be written")
}

/// The kind that an object says it is, else the one with the most fields.
fn kind_of(object: &Value<'_>) -> &'static Kind {
    let said = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let api_version = said("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = kinds::kind(group, version, said("kind"));
    known
        .or_else(|| kinds::kind("", "v1", "Pod"))
        .expect("there is the kind Pod")
}

/// A body in protobuf. One that begins otherwise is taken for the message of a Pod.
pub(crate) fn protobuf(data: &[u8]) {
    if let Ok(object) = kinds::protobuf::decode(data) {
        decoded(kind_of(&object), object);
    }
    let pod = kind_of(&Value::Null);
    if let Ok(members) = kinds::protobuf::message(pod.object_type(), data) {
        decoded(pod, Value::Object(members));
    }
}

/// What was read can be written and read as JSON, and is brought into form once and for all.
fn decoded(kind: &'static Kind, mut object: Value<'_>) {
    assert!(
        value(&text(&object)).is_some(),
        "a body makes an object that cannot be read as JSON"
    );
    if kind.object_type().shape(&mut object).is_err() {
        return;
    }
    kind.object_type().default(&mut object);
    let formed = object.clone();
    let again = kind.object_type().shape(&mut object);
    assert_eq!(
        again.ok(),
        Some(Vec::new()),
        "something is left to be brought into form"
    );
    kind.object_type().default(&mut object);
    assert_eq!(object, formed, "bringing into form goes on");
    let errors = kinds::rules::check_new(kind, &object);
    assert_eq!(
        errors,
        kinds::rules::check_new(kind, &object),
        "an object has two verdicts"
    );
}

/// Parts of the input: two sets of fields, the managed fields of an object, two states of an object.
pub(crate) fn field_sets(data: &[u8]) {
    let parts = bytes_of::parts(data, 5);
    let values: Vec<Value<'_>> = parts.iter().map(|part| value(part).unwrap_or(Value::Null)).collect();
    let at = |position: usize| values.get(position).unwrap_or(&Value::Null);
    if let (Ok(one), Ok(other)) = (FieldSet::parse(at(0)), FieldSet::parse(at(1))) {
        sets(&one, &other);
    }
    let list = at(2);
    if let Ok(managed) = Managed::parse(Some(list)) {
        let written = managed.to_value();
        let again = Managed::parse(written.as_ref());
        assert_eq!(again.as_ref(), Ok(&managed), "managed fields do not come back");
    }
    if at(3).is_object() {
        states(at(3), at(4));
    }
}

fn sets(one: &FieldSet<'_>, other: &FieldSet<'_>) {
    assert_eq!(
        FieldSet::parse(&one.to_value()).as_ref(),
        Ok(one),
        "a set does not come back"
    );
    let (both, common) = (one.clone().union(other.clone()), one.intersection(other));
    assert_eq!(both, other.clone().union(one.clone()), "a union depends on the order");
    assert_eq!(common, other.intersection(one), "an intersection depends on the order");
    let rest = one.difference(other);
    assert!(
        rest.intersection(other).is_empty(),
        "a difference has what was taken away"
    );
    assert_eq!(
        rest.union(common),
        *one,
        "something is lost between difference and intersection"
    );
    for path in one.paths() {
        assert!(
            one.contains(&path) && both.contains(&path),
            "a place of a set is not in it"
        );
    }
    assert!(one.without(one).is_empty(), "a set without itself has something");
}

/// What is said of two states of an object agrees with what they are.
fn states(old: &Value<'_>, new: &Value<'_>) {
    let schema: StructuralSchema = kind_of(old).schema();
    let of: Type<'_> = schema.type_of_root();
    if typed::check(of, old, Duplicates::Refused).is_err() || typed::check(of, new, Duplicates::Refused).is_err() {
        return;
    }
    assert!(typed::compare(of, old, old).is_same(), "an object differs from itself");
    assert_eq!(
        typed::compare(of, old, new).is_same(),
        typed::compare(of, new, old).is_same(),
        "two objects are the same only one way round"
    );
    let owned = typed::field_set(of, new);
    let merged = typed::merge(of, old.clone(), new.clone());
    if typed::check(of, &merged, Duplicates::Refused).is_ok() {
        for path in owned.paths() {
            assert!(
                typed::field_set(of, &merged).contains(&path) || path.is_empty(),
                "what is applied is not there"
            );
        }
    }
    let left = typed::remove(of, new, &owned);
    assert!(text(&left).len() <= text(new).len(), "taking away makes longer");
}

/// Parts of the input: an object of a built-in kind, and a patch.
pub(crate) fn strategic(data: &[u8]) {
    let parts = bytes_of::parts(data, 2);
    let (Some(Value::Object(object)), Some(Value::Object(patch))) =
        (value(parts[0]), parts.get(1).and_then(|part| value(part)))
    else {
        return;
    };
    let schema = kind_of(&Value::Object(object.clone())).schema();
    let of = schema.type_of_root();
    let once = strategic_merge(of, object.clone(), patch.clone());
    assert_eq!(
        once,
        strategic_merge(of, object.clone(), patch.clone()),
        "a patch has two outcomes"
    );
    assert_eq!(
        strategic_merge(of, object.clone(), Map::new()),
        Ok(object.clone()),
        "a patch that says nothing changes something"
    );
    if let Ok(result) = once {
        let most = text(&Value::Object(object)).len() + text(&Value::Object(patch)).len();
        let result = text(&Value::Object(result));
        assert!(value(&result).is_some(), "a patch makes an object that cannot be read");
        assert!(result.len() <= most, "a patch makes more than there is");
    }
}
