//! Korifi reads a catalog into fixed types and makes Kubernetes objects of it.

use crate::document::{Document, Entry, PlanEntry};
use crate::finding::{Finding, Platform, Severity};

/// The longest value of a label in Kubernetes, in characters.
const LABEL: usize = 63;

/// What Korifi fails on, or reads in a way of its own.
pub(crate) fn findings(document: &Document<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for offering in &document.offerings {
        found.extend(documentation_url(offering));
        found.extend(label(offering));
    }
    for plan in &document.plans {
        absent(&mut found, plan);
    }
    found
}

fn documentation_url(offering: &Entry<'_>) -> Option<Finding> {
    let metadata = offering.object("metadata")?;
    let value = metadata.get("documentationUrl")?;
    (!value.is_string()).then(|| {
        Finding::new(
            ("korifi-documentation-url", Severity::Error, Platform::Korifi),
            &metadata.place.member("documentationUrl"),
            "is no string: the controller of service brokers panics on it",
            "write a string, or leave it out",
        )
    })
}

/// The name of an offering becomes a label of its plans.
fn label(offering: &Entry<'_>) -> Option<Finding> {
    let name = offering.text("name")?;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = [name.bytes().next(), name.bytes().last()];
    let fits = name.len() <= LABEL && name.bytes().all(inner) && ends.iter().flatten().all(u8::is_ascii_alphanumeric);
    (!fits).then(|| {
        Finding::new(
            ("korifi-name-label", Severity::Error, Platform::Korifi),
            &offering.place.member("name"),
            "cannot be the value of a label: the plans of the offering are not made",
            format!("use at most {LABEL} letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"),
        )
    })
}

/// What is absent counts as false there. Elsewhere a plan is free, and takes the rest from its offering.
fn absent(found: &mut Vec<Finding>, PlanEntry { offering, plan }: &PlanEntry<'_>) {
    let inherits = |name: &str| offering.flag(name) == Some(true);
    let flags = [
        ("free", true, "not free"),
        ("bindable", inherits("bindable"), "not bindable"),
        (
            "plan_updateable",
            inherits("plan_updateable"),
            "one that instances cannot leave",
        ),
    ];
    let absent = flags
        .iter()
        .filter(|(name, elsewhere, _)| *elsewhere && plan.get(name).is_none_or(serde_json::Value::is_null));
    found.extend(absent.map(|(name, _, reading)| {
        Finding::new(
            ("korifi-absent-flag", Severity::Warning, Platform::Korifi),
            &plan.place.member(name),
            format!("is absent: the plan is taken for {reading}"),
            "write true or false",
        )
    }));
}
