use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::*;

/// How it is stored.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Disk {
    Fast,
    /// Cheap.
    Slow,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is looked at")]
enum Schedule {
    Daily { hour: u8 },
    Weekly { hour: u8, day: String },
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is looked at")]
enum Target {
    Bucket { name: String },
    Folder { path: String },
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Sample {
    /// Where it listens.
    host: String,
    #[schemars(range(min = 1, max = 100))]
    size_gib: u32,
    #[serde(default = "nine")]
    level: i32,
    disk: Option<Disk>,
    schedule: Option<Schedule>,
    target: Target,
    labels: BTreeMap<String, String>,
    replicas: BTreeSet<String>,
    #[schemars(regex(pattern = "^[a-z]+$"), length(max = 9))]
    zone: Option<String>,
    anything: Value,
}

fn nine() -> i32 {
    9
}

#[test]
fn a_type_of_rust_becomes_structural() {
    let schema = Value::Object(of::<Sample>().expect("a schema"));
    let properties = &schema["properties"];
    assert_eq!(schema["type"], "object");
    assert_eq!(
        properties["host"],
        json!({"type": "string", "description": "Where it listens."})
    );
    assert_eq!(
        properties["sizeGib"],
        json!({"type": "integer", "minimum": 1, "maximum": 100})
    );
    assert_eq!(properties["level"], json!({"type": "integer", "format": "int32"}));
    assert_eq!(
        (&properties["disk"]["type"], &properties["disk"]["enum"]),
        (&json!("string"), &json!(["fast", "slow"]))
    );
    assert_eq!(
        properties["labels"],
        json!({"type": "object", "additionalProperties": {"type": "string"}})
    );
    assert_eq!(
        properties["replicas"],
        json!({"type": "array", "items": {"type": "string"}})
    );
    assert_eq!(
        properties["zone"],
        json!({"type": "string", "pattern": "^[a-z]+$", "maxLength": 9})
    );
    assert_eq!(properties["anything"], json!({PRESERVE: true}));
    let required = schema["required"].as_array().expect("a list");
    assert!(required.contains(&"host".into()) && !required.contains(&"level".into()));
}

#[test]
fn variants_become_conditions_beside_all_their_fields() {
    let schema = Value::Object(of::<Sample>().expect("a schema"));
    let schedule = &schema["properties"]["schedule"];
    assert_eq!(schedule["properties"]["kind"]["enum"], json!(["daily", "weekly"]));
    assert_eq!(schedule["properties"]["day"]["type"], "string");
    assert_eq!(schedule["oneOf"][0]["properties"], json!({"kind": {"enum": ["daily"]}}));
    let target = &schema["properties"]["target"];
    assert_eq!(target["properties"]["bucket"]["properties"]["name"]["type"], "string");
    assert_eq!(
        target["oneOf"],
        json!([{"required": ["bucket"]}, {"required": ["folder"]}])
    );
    for branch in schedule["oneOf"].as_array().expect("branches") {
        assert!(
            branch.get("type").is_none() && branch.get("description").is_none(),
            "{branch}"
        );
    }
}

#[test]
fn values_are_checked_as_a_server_would() {
    let schema = of::<Sample>().expect("a schema");
    let validator = validator(&schema).expect("a validator");
    let good = json!({
        "host": "h", "sizeGib": 5, "target": {"folder": {"path": "/x"}}, "labels": {"a": "b"}, "replicas": [],
        "anything": {"x": 1}, "schedule": {"kind": "weekly", "hour": 1, "day": "mo"},
    });
    assert!(validator.is_valid(&good));
    assert_eq!(unnamed(&schema, &good, ""), None);
    for (place, value) in [
        ("sizeGib", json!(101)),
        ("target", json!({"folder": {"path": "/x"}, "bucket": {"name": "b"}})),
        ("schedule", json!({"kind": "weekly", "hour": 1})),
        ("disk", json!("none")),
        ("zone", json!("A")),
    ] {
        let mut bad = good.clone();
        bad[place] = value;
        assert!(!validator.is_valid(&bad), "{bad}");
    }
    let mut more = good;
    more["schedule"]["minute"] = 5.into();
    assert_eq!(unnamed(&schema, &more, ""), Some(".schedule.minute".to_owned()));
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Tree {
    children: Vec<Tree>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is looked at")]
enum Mixed {
    Text(String),
    Flag(bool),
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Wrong<T> {
    inner: T,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct LookAround {
    #[schemars(regex(pattern = "(?=a)b"))]
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Flat {
    name: String,
    #[serde(flatten)]
    more: BTreeMap<String, u8>,
}

#[test]
fn what_no_server_takes_is_refused_with_its_place() {
    fn refusal<T: JsonSchema>() -> String {
        of::<T>().expect_err("refused").to_string()
    }
    let found = [
        refusal::<String>(),
        refusal::<BTreeMap<String, u8>>(),
        refusal::<Wrong<Tree>>(),
        refusal::<Wrong<Mixed>>(),
        refusal::<Wrong<Vec<Option<u8>>>>(),
        refusal::<Wrong<(u8, u8)>>(),
        refusal::<Flat>(),
    ];
    let wanted = [
        "the type itself: it is not a struct",
        "the type itself: it is not a struct",
        ".inner.children[]",
        ".inner: its values have different types",
        ".inner[]: a list or map of optional values",
        ".inner: it is a tuple",
        "the type itself: it has named fields and a flattened map",
    ];
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}");
    }
    assert!(refusal::<LookAround>().contains("(?=a)b"));
}

#[test]
fn a_change_that_old_values_may_not_fit_is_named() {
    let before = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string"}, "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}}});
    let mut more = before.clone();
    more["properties"]["b"] = json!({"type": "object", "required": ["c"]});
    assert_eq!(not_additive(&before, &more, "spec"), None);
    let mut other = before.clone();
    other["properties"]["list"]["items"]["properties"]["n"]["type"] = "string".into();
    assert_eq!(
        not_additive(&before, &other, "spec"),
        Some("spec.list[].n: it had another type".to_owned())
    );
    let mut required = before.clone();
    required["required"] = json!(["a", "list"]);
    assert_eq!(
        not_additive(&before, &required, "spec"),
        Some("spec.list: it was not required".to_owned())
    );
}

#[test]
fn only_types_are_left_without_constraints() {
    let schema = types_only(&of::<Sample>().expect("a schema"));
    let text = Value::Object(schema).to_string();
    for word in ["minimum", "pattern", "enum", "required", "oneOf", "maxLength"] {
        assert!(!text.contains(&format!("\"{word}\"")), "{word}");
    }
    assert!(text.contains("sizeGib"));
}
