//! SAP's Service Manager gives meaning to a name and to metadata of plans.

use serde_json::Value;

use crate::document::{Document, PlanEntry};
use crate::finding::{Finding, Platform, Severity};

/// The plan that it adds itself to offerings whose instances can be shared.
const RESERVED: &str = "reference-instance";

/// Metadata that says where a plan is sold; only one of them counts.
const WHERE: [&str; 3] = ["supportedPlatforms", "supportedPlatformNames", "excludedPlatformNames"];

/// What Service Manager refuses beyond the specification.
pub(crate) fn findings(document: &Document<'_>) -> Vec<Finding> {
    let rules = [reserved, shared, sold];
    let plans = document.plans.iter();
    plans
        .flat_map(|plan| rules.iter().filter_map(move |rule| rule(plan)))
        .collect()
}

fn error(rule: &'static str, place: &crate::place::Place, what: &str, mend: &str) -> Finding {
    Finding::new((rule, Severity::Error, Platform::ServiceManager), place, what, mend)
}

fn reserved(entry: &PlanEntry<'_>) -> Option<Finding> {
    let plan = &entry.plan;
    (plan.name() == RESERVED).then(|| {
        let what = "is the name of the plan that Service Manager adds for shared instances";
        error("sm-reserved-name", &plan.place.member("name"), what, "use another name")
    })
}

fn shared(entry: &PlanEntry<'_>) -> Option<Finding> {
    let metadata = entry.plan.object("metadata")?;
    (metadata.flag("supportsInstanceSharing") == Some(true) && !entry.bindable()).then(|| {
        let what = "is true on a plan that is not bindable";
        let mend = "make the plan bindable, or leave it out";
        error(
            "sm-sharing-unbindable",
            &metadata.place.member("supportsInstanceSharing"),
            what,
            mend,
        )
    })
}

fn sold(entry: &PlanEntry<'_>) -> Option<Finding> {
    let metadata = entry.plan.object("metadata")?;
    let filled = |name: &&&str| {
        metadata
            .get(name)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    let named = WHERE.iter().filter(filled).count();
    (named > 1).then(|| {
        error(
            "sm-platforms",
            &metadata.place,
            "names platforms in more than one way",
            "keep one of the lists",
        )
        .says(
            "only one of supportedPlatforms, supportedPlatformNames and excludedPlatformNames can be defined in plan \
             metadata",
        )
    })
}
