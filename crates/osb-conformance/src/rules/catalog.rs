//! Rules for the catalog and its offerings.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, Kind, is_unreserved, plans};

/// The longest string.
const MAX_STRING: usize = 255;

/// The requirements that are looked at in the catalog.
#[cfg(test)]
pub(crate) const COVERED: &[&str] = &[
    "OSB-URL-02",
    "OSB-CAT-05",
    "OSB-SVC-01",
    "OSB-SVC-02",
    "OSB-SVC-03",
    "OSB-SVC-04",
    "OSB-SVC-05",
    "OSB-SVC-06",
    "OSB-SVC-07",
    "OSB-SVC-08",
    "OSB-SVC-09",
    "OSB-SVC-10",
    "OSB-SVC-11",
    "OSB-SVC-12",
    "OSB-SVC-13",
    "OSB-PLAN-01",
    "OSB-PLAN-02",
    "OSB-PLAN-03",
    "OSB-PLAN-04",
    "OSB-PLAN-05",
    "OSB-PLAN-06",
    "OSB-PLAN-07",
    "OSB-PLAN-08",
    "OSB-PLAN-09",
    "OSB-PLAN-10",
    "OSB-PLAN-11",
    "OSB-PLAN-12",
    "OSB-SCH-01",
    "OSB-SCH-02",
    "OSB-SCH-03",
    "OSB-SCH-04",
    "OSB-SCH-05",
    "OSB-SCH-06",
    "OSB-MNT-01",
    "OSB-MNT-02",
    "OSB-PROF-07",
];

/// Looks at a catalog. Nothing is found if it has no array of services: that is OSB-CAT-01.
pub(crate) fn look(catalog: &Value) -> Findings {
    let mut findings = Findings::default();
    let offerings = catalog
        .get("services")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let (mut names, mut ids, mut plan_ids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (position, offering) in offerings.iter().enumerate() {
        let place = place("offering", offering, position);
        let new = |seen: &mut BTreeSet<String>, name: &str| match offering.get(name).and_then(Value::as_str) {
            Some(text) => seen.insert(text.to_owned()),
            None => true,
        };
        findings.that("OSB-SVC-01", new(&mut names, "name"), || {
            format!("{place}: the name stands twice")
        });
        findings.that("OSB-SVC-02", new(&mut ids, "id"), || {
            format!("{place}: the id stands twice")
        });
        self::offering(&mut findings, offering, &place);
        plans::look(&mut findings, offering, &place, &mut plan_ids);
    }
    findings
}

/// How an offering or plan is named in a finding.
pub(crate) fn place(what: &str, object: &Value, position: usize) -> String {
    match object.get("name").and_then(Value::as_str) {
        Some(name) => format!("{what} {name:?}"),
        None => format!("{what} {}", position + 1),
    }
}

fn offering(findings: &mut Findings, offering: &Value, place: &str) {
    findings.required("OSB-SVC-01", offering, place, "name", Kind::Word);
    findings.required("OSB-SVC-02", offering, place, "id", Kind::Word);
    findings.required("OSB-SVC-03", offering, place, "description", Kind::Word);
    findings.optional("OSB-SVC-04", offering, place, "tags", Kind::Texts);
    if let Some(requires) = offering.get("requires").filter(|requires| !requires.is_null()) {
        let known = ["syslog_drain", "route_forwarding", "volume_mount"];
        let permission = |item: &Value| item.as_str().is_some_and(|text| known.contains(&text));
        let fits = requires.as_array().is_some_and(|items| items.iter().all(permission));
        findings.that("OSB-SVC-05", fits, || format!("{place}: `requires` is {requires}"));
    }
    findings.required("OSB-SVC-06", offering, place, "bindable", Kind::Boolean);
    findings.optional("OSB-SVC-07", offering, place, "instances_retrievable", Kind::Boolean);
    findings.optional("OSB-SVC-08", offering, place, "bindings_retrievable", Kind::Boolean);
    findings.optional("OSB-SVC-09", offering, place, "allow_context_updates", Kind::Boolean);
    findings.optional("OSB-SVC-10", offering, place, "metadata", Kind::Object);
    if let Some(client) = offering.get("dashboard_client").filter(|client| !client.is_null()) {
        let place = format!("{place}: `dashboard_client`");
        findings.required("OSB-SVC-11", client, &place, "id", Kind::Word);
        findings.required("OSB-SVC-11", client, &place, "secret", Kind::Word);
        findings.optional("OSB-SVC-11", client, &place, "redirect_uri", Kind::Text);
    }
    findings.optional("OSB-SVC-12", offering, place, "plan_updateable", Kind::Boolean);
    metadata(findings, offering, place);
    let names = [
        "tags",
        "requires",
        "instances_retrievable",
        "bindings_retrievable",
        "allow_context_updates",
        "metadata",
        "dashboard_client",
        "plan_updateable",
    ];
    no_nulls(findings, offering, place, &names);
    texts(findings, offering, place);
}

pub(crate) fn no_nulls(findings: &mut Findings, object: &Value, place: &str, names: &[&str]) {
    let null = names.iter().find(|name| object.get(**name).is_some_and(Value::is_null));
    findings.that("OSB-PLAN-12", null.is_none(), || {
        format!("{place}: `{}` is null", null.unwrap_or(&""))
    });
}

/// What ids and texts of offerings and plans have in common.
pub(crate) fn texts(findings: &mut Findings, object: &Value, place: &str) {
    for name in ["id", "name", "description"] {
        if let Some(text) = object.get(name).and_then(Value::as_str) {
            findings.that("OSB-CAT-05", text.chars().count() <= MAX_STRING, || {
                format!("{place}: `{name}` has more than {MAX_STRING} characters")
            });
        }
    }
    if let Some(id) = object.get("id").and_then(Value::as_str) {
        findings.that("OSB-URL-02", is_unreserved(id), || {
            format!("{place}: `id` has reserved characters")
        });
    }
}

fn metadata(findings: &mut Findings, offering: &Value, place: &str) {
    let Some(metadata) = offering.get("metadata").filter(|metadata| metadata.is_object()) else {
        return;
    };
    let place = format!("{place}: `metadata`");
    for name in [
        "displayName",
        "imageUrl",
        "longDescription",
        "providerDisplayName",
        "documentationUrl",
        "supportUrl",
    ] {
        findings.optional("OSB-PROF-07", metadata, &place, name, Kind::Text);
    }
    findings.optional("OSB-PROF-07", metadata, &place, "shareable", Kind::Boolean);
}
