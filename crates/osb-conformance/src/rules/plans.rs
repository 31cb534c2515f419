//! Rules for plans, their schemas and their maintenance.

use std::collections::BTreeSet;

use serde_json::Value;

use super::catalog::{no_nulls, place as named, texts};
use super::{Findings, Kind};

/// The largest schema, in bytes of its compact form: "64 kB", read as the smaller of its two meanings.
const MAX_SCHEMA: usize = 64_000;

/// The places of schemas: above, below.
const SCHEMAS: &[(&str, &[&str])] = &[
    ("service_instance", &["create", "update"]),
    ("service_binding", &["create"]),
];

pub(crate) fn look(findings: &mut Findings, offering: &Value, of: &str, ids: &mut BTreeSet<String>) {
    let plans = offering
        .get("plans")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    findings.that("OSB-SVC-13", !plans.is_empty(), || {
        format!("{of}: `plans` is no array with a plan")
    });
    let mut names = BTreeSet::new();
    for (position, plan) in plans.iter().enumerate() {
        let place = format!("{of}, {}", named("plan", plan, position));
        let new = |seen: &mut BTreeSet<String>, name: &str| match plan.get(name).and_then(Value::as_str) {
            Some(text) => seen.insert(text.to_owned()),
            None => true,
        };
        findings.that("OSB-PLAN-01", new(ids, "id"), || {
            format!("{place}: the id stands twice")
        });
        findings.that("OSB-PLAN-02", new(&mut names, "name"), || {
            format!("{place}: the name stands twice")
        });
        let bindable = plan.get("bindable").or_else(|| offering.get("bindable")) == Some(&Value::Bool(true));
        self::plan(findings, plan, &place);
        if let Some(schemas) = plan.get("schemas").filter(|schemas| schemas.is_object()) {
            self::schemas(findings, schemas, &place, bindable);
        }
    }
}

fn plan(findings: &mut Findings, plan: &Value, place: &str) {
    findings.required("OSB-PLAN-01", plan, place, "id", Kind::Word);
    findings.required("OSB-PLAN-02", plan, place, "name", Kind::Word);
    findings.required("OSB-PLAN-03", plan, place, "description", Kind::Word);
    for (id, name, kind) in [
        ("OSB-PLAN-04", "metadata", Kind::Object),
        ("OSB-PLAN-05", "free", Kind::Boolean),
        ("OSB-PLAN-06", "bindable", Kind::Boolean),
        ("OSB-PLAN-07", "binding_rotatable", Kind::Boolean),
        ("OSB-PLAN-08", "plan_updateable", Kind::Boolean),
        ("OSB-PLAN-09", "schemas", Kind::Object),
        ("OSB-PLAN-10", "maximum_polling_duration", Kind::Positive),
        ("OSB-PLAN-11", "maintenance_info", Kind::Object),
    ] {
        findings.optional(id, plan, place, name, kind);
    }
    if let Some(info) = plan.get("maintenance_info").filter(|info| info.is_object()) {
        maintenance(findings, info, place);
    }
    if let Some(metadata) = plan.get("metadata").filter(|metadata| metadata.is_object()) {
        let place = format!("{place}: `metadata`");
        findings.optional("OSB-PROF-07", metadata, &place, "bullets", Kind::Texts);
        findings.optional("OSB-PROF-07", metadata, &place, "displayName", Kind::Text);
        findings.optional("OSB-PROF-07", metadata, &place, "costs", Kind::Array);
    }
    let names = [
        "metadata",
        "free",
        "bindable",
        "binding_rotatable",
        "plan_updateable",
        "schemas",
        "maximum_polling_duration",
        "maintenance_info",
    ];
    no_nulls(findings, plan, place, &names);
    texts(findings, plan, place);
}

fn maintenance(findings: &mut Findings, info: &Value, place: &str) {
    let place = format!("{place}: `maintenance_info`");
    findings.required("OSB-PLAN-11", info, &place, "version", Kind::Text);
    if let Some(version) = info.get("version").and_then(Value::as_str) {
        findings.that("OSB-MNT-01", is_semantic(version), || {
            format!("{place}: the version is {version:?}")
        });
    }
    findings.optional("OSB-MNT-02", info, &place, "description", Kind::Text);
}

fn schemas(findings: &mut Findings, schemas: &Value, place: &str, bindable: bool) {
    let surplus = schemas.get("service_binding").is_some_and(|schema| !schema.is_null()) && !bindable;
    findings.that("OSB-SCH-06", !surplus, || {
        format!("{place}: a schema of bindings, but it cannot be bound")
    });
    for (name, verbs) in SCHEMAS {
        findings.optional("OSB-SCH-01", schemas, place, name, Kind::Object);
        let Some(above) = schemas.get(*name) else { continue };
        for verb in *verbs {
            findings.optional("OSB-SCH-01", above, place, verb, Kind::Object);
            let Some(parameters) = above.get(*verb).and_then(|verb| verb.get("parameters")) else {
                continue;
            };
            schema(findings, parameters, &format!("{place}: schema {name}.{verb}"));
        }
    }
}

fn schema(findings: &mut Findings, schema: &Value, place: &str) {
    findings.that("OSB-SCH-02", schema.is_object(), || format!("{place} is no object"));
    findings.required("OSB-SCH-02", schema, place, "$schema", Kind::Word);
    let dialect = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    findings.that("OSB-SCH-05", dialect.contains("draft-04"), || {
        format!("{place} has the dialect {dialect:?}")
    });
    let external = external(schema);
    findings.that("OSB-SCH-03", external.is_none(), || {
        format!("{place} refers to {:?}", external.unwrap_or_default())
    });
    let size = schema.to_string().len();
    findings.that("OSB-SCH-04", size <= MAX_SCHEMA, || format!("{place} has {size} bytes"));
}

/// The first reference that leaves the schema.
fn external(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(members) => {
            let reference = members
                .get("$ref")
                .and_then(Value::as_str)
                .filter(|target| !target.starts_with('#'));
            reference.or_else(|| members.values().find_map(external))
        }
        Value::Array(items) => items.iter().find_map(external),
        _ => None,
    }
}

/// Semantic Versioning 2.0.0.
fn is_semantic(version: &str) -> bool {
    let (rest, build) = version
        .split_once('+')
        .map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest
        .split_once('-')
        .map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    };
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn semantic_versions() {
        for version in ["0.0.0", "2.1.1+abcdef", "1.0.0-rc.1+b-1.2"] {
            assert!(is_semantic(version), "{version}");
        }
        for version in ["1", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "v1.0.0", "1.0.0+", ""] {
            assert!(!is_semantic(version), "{version}");
        }
    }

    #[test]
    fn references_are_found_at_any_depth() {
        assert_eq!(
            external(&json!({"a": [{"$ref": "#/x"}, {"$ref": "http://x"}]})),
            Some("http://x")
        );
        assert_eq!(external(&json!({"$ref": "#/x"})), None);
    }
}
