//! Kubernetes' Service Catalog makes objects of offerings and plans, whose names and ids it bounds.

use crate::document::{Document, Entry};
use crate::finding::{Finding, Platform, Severity};

/// The longest name or id, in bytes.
const NAME: usize = 63;

/// What Service Catalog refuses beyond the specification.
pub(crate) fn findings(document: &Document<'_>) -> Vec<Finding> {
    let plans = document.plans.iter().map(|plan| &plan.plan);
    document.offerings.iter().chain(plans).flat_map(long).collect()
}

fn long(entry: &Entry<'_>) -> Vec<Finding> {
    let rules = [("service-catalog-id-long", "id"), ("service-catalog-name-long", "name")];
    let long = rules
        .iter()
        .filter(|(_, name)| entry.text(name).is_some_and(|text| text.len() > NAME));
    long.map(|(rule, name)| {
        let what = format!("is longer than {NAME} characters");
        let mend = if *name == "id" { "use a GUID" } else { "shorten it" };
        Finding::new(
            (rule, Severity::Error, Platform::ServiceCatalog),
            &entry.place.member(name),
            what,
            mend,
        )
        .says(format!("must be no more than {NAME} characters"))
    })
    .collect()
}
