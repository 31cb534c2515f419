use proptest::prelude::*;

use super::*;
use crate::json;
use crate::schema::StructuralSchema;
use crate::typed::tests::{any_object, schema};

struct One(StructuralSchema);

impl Versions for One {
    fn type_in(&self, api_version: &str) -> Option<Type<'_>> {
        (api_version == "v1").then(|| self.0.type_of_root())
    }

    fn convert<'t>(&self, object: &Value<'t>, _: &str) -> Value<'t> {
        object.clone()
    }
}

/// An object with its managed fields, written by named managers.
struct Play {
    versions: One,
    object: Value<'static>,
    managed: Managed<'static>,
    clock: u32,
}

impl Play {
    fn new() -> Play {
        Play {
            versions: One(schema()),
            object: json!({}),
            managed: Managed::new(),
            clock: 0,
        }
    }

    fn writing<R>(&mut self, write: impl FnOnce(&Writing<'_>, &mut Value<'static>, &mut Managed<'static>) -> R) -> R {
        self.clock += 1;
        let now = format!("2026-11-21T07:40:{:02}Z", self.clock % 60);
        let reset = FieldSet::new();
        let writing = Writing {
            versions: &self.versions,
            api_version: "v1",
            reset: &reset,
            now: &now,
        };
        write(&writing, &mut self.object, &mut self.managed)
    }

    fn update(&mut self, name: &'static str, new: Value<'static>) {
        self.writing(|writing, object, managed| {
            let sender = Manager::new(name, Operation::Update, "v1", "");
            *managed = update(writing, object, &new, managed.clone(), sender, true);
            *object = new;
        });
    }

    fn apply(&mut self, name: &'static str, config: Value<'static>, force: bool) -> Result<(), ApplyError<'static>> {
        self.writing(|writing, object, managed| {
            let sender = Manager::new(name, Operation::Apply, "", "");
            let live = object.clone();
            let state = State {
                empty: &json!({}),
                live: &live,
                managed: managed.clone(),
            };
            let applied = apply(writing, state, &config, sender, force)?;
            *object = applied.object;
            *managed = applied.managed;
            Ok(())
        })
    }

    fn owns(&self, name: &str) -> Value<'static> {
        let entry = self.managed.entries.iter().find(|entry| entry.manager.name == name);
        entry.map_or(Value::Null, |entry| entry.fields.to_value())
    }
}

#[test]
fn what_is_not_applied_any_more_goes_unless_somebody_else_owns_it() {
    let mut play = Play::new();
    play.apply("a", json!({"size": 1, "set": ["x", "y"]}), false).unwrap();
    play.apply("b", json!({"size": 1, "set": ["y"]}), false).unwrap();
    play.apply("a", json!({}), false).unwrap();
    assert_eq!(play.object, json!({"size": 1, "set": ["y"]}));
    assert_eq!(
        (play.owns("a"), play.owns("b")),
        (Value::Null, json!({"f:set": {"v:\"y\"": {}}, "f:size": {}}))
    );
    play.apply("b", json!({}), false).unwrap();
    assert_eq!(play.object, json!({}));
}

#[test]
fn another_value_for_what_somebody_owns_is_a_conflict() {
    let mut play = Play::new();
    play.update("a", json!({"size": 1, "ports": [{"port": 1, "name": "x"}]}));
    let config = json!({"size": 2, "ports": [{"port": 1, "name": "y"}]});
    let ApplyError::Conflicts(conflicts) = play.apply("b", config.clone(), false).unwrap_err() else {
        panic!("no conflict");
    };
    let status = Conflict::status(&conflicts);
    let details = status.details.unwrap();
    let causes: Vec<(&str, &str)> = details
        .causes
        .iter()
        .map(|c| (c.field.as_str(), c.message.as_str()))
        .collect();
    let why = "conflict with \"a\" using v1";
    assert_eq!(causes, [(".size", why), (r#".ports[port=1,protocol="TCP"].name"#, why)]);
    assert_eq!(status.code, 409);
    play.apply("b", config, true).unwrap();
    assert_eq!(play.object["size"], 2);
    assert!(!play.owns("a").to_string().contains("f:size"));
}

#[test]
fn an_update_takes_what_it_changes_and_only_that() {
    let mut play = Play::new();
    play.apply("a", json!({"size": 1, "inner": {"a": "1", "b": "2"}}), false)
        .unwrap();
    play.update("b", json!({"size": 1, "inner": {"a": "1", "b": "3"}}));
    assert_eq!(play.owns("b"), json!({"f:inner": {"f:b": {}}}));
    let before = play.managed.to_value();
    play.update("c", play.object.clone());
    assert_eq!(play.managed.to_value(), before, "nothing changed");
    play.update("c", json!({}));
    assert!(play.managed.is_empty());
}

#[test]
fn an_object_of_before_belongs_to_nobody_until_it_is_applied_to() {
    let mut play = Play::new();
    play.object = json!({"size": 1, "texts": {"a": "b"}});
    play.apply("a", json!({"size": 1}), false).unwrap();
    assert_eq!(
        play.owns(BEFORE_FIRST_APPLY),
        json!({"f:size": {}, "f:texts": {".": {}, "f:a": {}}})
    );
    assert!(matches!(
        play.apply("a", json!({"size": 2}), false),
        Err(ApplyError::Conflicts(_))
    ));
}

#[test]
fn of_many_managers_the_oldest_share_an_entry() {
    let mut play = Play::new();
    play.update("a0", json!({"size": 1}));
    let names: [&'static str; 12] = ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9", "c0", "c1"];
    for name in names {
        let mut object = play.object.clone();
        let texts = object.as_object_mut().unwrap().get_or_insert("texts", Map::new());
        texts.as_object_mut().unwrap().insert(name, "x");
        play.update(name, object);
    }
    assert_eq!(play.managed.entries.len(), MAX_UPDATE_MANAGERS);
    let ancient = play.owns(ANCIENT_CHANGES).to_string();
    assert!(
        ancient.contains("f:size") && ancient.contains("f:b2") && !ancient.contains("f:b3"),
        "{ancient}"
    );
}

#[test]
fn managed_fields_come_back_from_their_json() {
    let mut play = Play::new();
    play.update("u", json!({"size": 1}));
    play.apply("a", json!({"set": ["x"]}), false).unwrap();
    let list = play.managed.to_value().unwrap();
    let first = &list.as_array().unwrap()[0];
    assert_eq!(
        (first["manager"].as_str(), first["operation"].as_str()),
        (Some("a"), Some("Apply"))
    );
    assert_eq!(Managed::parse(Some(&list)).unwrap().to_value(), Some(list.clone()));
    for wrong in [
        json!({}),
        json!([5]),
        json!([{"operation": "Delete", "apiVersion": "v1", "fieldsType": "FieldsV1"}]),
        json!([{"operation": "Apply", "fieldsType": "FieldsV1"}]),
        json!([{"operation": "Apply", "apiVersion": "v1"}]),
        json!([{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"x": 1}}]),
    ] {
        assert!(Managed::parse(Some(&wrong)).is_err(), "{wrong}");
    }
    assert!(is_reset(&json!([{}])) && !is_reset(&json!([])) && !is_reset(&list));
}

#[test]
fn kubectl_takes_over_what_it_applied_by_itself() {
    let mut play = Play::new();
    play.versions = One(schema());
    let last = r#"{"apiVersion":"v1","size":1,"texts":{"a":"b"}}"#;
    let annotated = |size: i64| {
        json!({"apiVersion": "v1", "size": size, "texts": {"a": "b"},
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": last}}})
    };
    play.update("kubectl-client-side-apply", annotated(1));
    play.apply("kubectl", json!({"apiVersion": "v1", "size": 2}), false)
        .unwrap();
    let text = play.object.pointer("/metadata/annotations").unwrap();
    let text = text.get("kubectl.kubernetes.io/last-applied-configuration").unwrap();
    assert_eq!(*text, "{\"apiVersion\":\"v1\",\"size\":2}\n");
    let mut other = Play::new();
    other.update("kubectl-client-side-apply", annotated(1));
    other.update("scaler", annotated(5));
    assert!(matches!(
        other.apply("kubectl", json!({"apiVersion": "v1", "size": 2}), false),
        Err(ApplyError::Conflicts(_))
    ));
}

proptest! {
    #[test]
    fn an_apply_that_is_repeated_changes_nothing(live in any_object(), config in any_object()) {
        let mut play = Play::new();
        play.update("u", live);
        play.apply("a", config.clone(), true).unwrap();
        let (object, managed) = (play.object.clone(), play.managed.to_value());
        prop_assert!(play.apply("a", config, false).is_ok());
        prop_assert_eq!(play.object, object);
        prop_assert_eq!(play.managed.to_value(), managed);
    }

    #[test]
    fn an_applier_that_applies_nothing_leaves_what_others_said(first in any_object(), second in any_object()) {
        let mut play = Play::new();
        play.apply("a", first.clone(), false).unwrap();
        if play.apply("b", second, false).is_ok() {
            play.apply("b", json!({}), false).unwrap();
            let all = play.versions.0.type_of_root();
            let said = crate::typed::field_set(all, &first);
            let left = crate::typed::field_set(all, &play.object);
            prop_assert!(said.difference(&left).paths().iter().all(|path| path.len() == 1), "{} {}", first, play.object);
        }
    }

    #[test]
    fn what_is_applied_by_force_is_there_and_owned(live in any_object(), config in any_object()) {
        let mut play = Play::new();
        play.update("u", live);
        play.apply("a", config.clone(), true).unwrap();
        let all = play.versions.0.type_of_root();
        let said = crate::typed::field_set(all, &config);
        let owned = play.managed.entries.iter().find(|entry| entry.manager.name == "a").map(|entry| entry.fields.clone());
        prop_assert_eq!(owned.unwrap_or_default(), said);
    }
}
