//! The rules of the specification, as `osb_api` checks them, with what Cloud Foundry says of the same.

use osb_api::catalog::{Catalog, CatalogProblem, Offering, Plan, Severity as Weight};
use serde::Deserialize as _;
use serde_json::Value;

use crate::finding::{Finding, Platform, Severity};
use crate::place::Place;
use crate::shape::inspected;

/// The largest schema of Cloud Foundry, in bytes; the specification's is a little smaller.
const CLOUD_FOUNDRY_SCHEMA: usize = 65_536;

/// What is against the specification in a catalog of the right shape.
pub(crate) fn findings(document: &Value) -> Vec<Finding> {
    match Catalog::deserialize(document) {
        Ok(catalog) => catalog
            .problems()
            .iter()
            .map(|problem| of(document, &catalog, problem))
            .collect(),
        Err(error) => vec![Finding::new(
            ("OSB-CAT-01", Severity::Error, Platform::Specification),
            &Place::root(),
            format!("cannot be read: {error}"),
            "mend the member that is named",
        )],
    }
}

fn of(document: &Value, catalog: &Catalog, problem: &CatalogProblem) -> Finding {
    let severity = match problem.severity {
        Weight::Error => Severity::Error,
        Weight::Advice => Severity::Warning,
    };
    let place = Place::of_path(&problem.path);
    let rule = (problem.requirement, severity, Platform::Specification);
    let finding = Finding::new(rule, &place, problem.what.as_str(), problem.mend.as_str());
    let value = document.pointer(place.as_str());
    let words = match severity {
        Severity::Error => words(catalog, problem.requirement, &place, value),
        Severity::Warning | Severity::Notice => None,
    };
    match words {
        Some(words) => finding.says(words),
        None => finding,
    }
}

/// What Cloud Foundry says of an error of the specification.
fn words(catalog: &Catalog, requirement: &str, place: &Place, value: Option<&Value>) -> Option<String> {
    let text = value.and_then(Value::as_str);
    let empty = text.is_some_and(str::is_empty);
    let required = |words: &str| Some(format!("{words} is required"));
    match requirement {
        "OSB-SVC-01" if empty => required("Service name"),
        "OSB-SVC-01" => Some("Service names must be unique within a broker".to_owned()),
        "OSB-SVC-02" if empty => required("Service id"),
        "OSB-SVC-02" => {
            let same = catalog
                .services
                .iter()
                .filter(|offering| Some(offering.id.as_str()) == text);
            (same.count() > 1).then(|| "Service ids must be unique".to_owned())
        }
        "OSB-SVC-03" => required("Service description"),
        "OSB-SVC-11" if place.as_str().ends_with("/id") => required("Service dashboard client id"),
        "OSB-SVC-11" => required("Service dashboard client secret"),
        "OSB-SVC-13" => Some("At least one plan is required".to_owned()),
        "OSB-PLAN-01" if empty => required("Plan id"),
        "OSB-PLAN-01" => taken_plan_id(catalog, text?, place),
        "OSB-PLAN-02" if empty => required("Plan name"),
        "OSB-PLAN-02" => {
            let (offering, plan) = plan_at(catalog, place)?;
            Some(format!(
                "Plan names must be unique within a service. Service {} already has a plan named {}",
                offering.name, plan.name
            ))
        }
        "OSB-PLAN-03" => required("Plan description"),
        "OSB-MNT-01" => Some(format!(
            "Maintenance info version must be a Semantic Version, but has value {}",
            inspected(value?)
        )),
        "OSB-SCH-02" => schema_words(place, "Schema must have $schema key but was not present"),
        "OSB-SCH-03" => schema_words(place, "No external references are allowed"),
        "OSB-SCH-04" if value?.to_string().len() > CLOUD_FOUNDRY_SCHEMA => {
            schema_words(place, "Must not be larger than 64KB")
        }
        _ => None,
    }
}

fn taken_plan_id(catalog: &Catalog, id: &str, place: &Place) -> Option<String> {
    let plans = catalog
        .services
        .iter()
        .flat_map(|offering| offering.plans.iter().map(move |plan| (offering, plan)));
    let (first_offering, first) = plans.into_iter().find(|(_, plan)| plan.id == id)?;
    let (offering, plan) = plan_at(catalog, place)?;
    if std::ptr::eq(first, plan) {
        return None;
    }
    Some(format!(
        "Plan ids must be unique. Unable to register plan with id '{id}' (plan name '{}', service name '{}') because \
         it uses the same id as another plan in the catalog (plan name '{}', service name '{}')",
        plan.name, offering.name, first.name, first_offering.name
    ))
}

/// The plan that a place lies in: `/services/0/plans/1/...`.
fn plan_at<'a>(catalog: &'a Catalog, place: &Place) -> Option<(&'a Offering, &'a Plan)> {
    let mut steps = place.as_str().split('/').skip(2).step_by(2);
    let offering = catalog.services.get(steps.next()?.parse::<usize>().ok()?)?;
    Some((offering, offering.plans.get(steps.next()?.parse::<usize>().ok()?)?))
}

/// `/services/0/plans/0/schemas/service_instance/create/parameters/...` as Cloud Foundry names it.
fn schema_words(place: &Place, words: &str) -> Option<String> {
    let (_, path) = place.as_str().split_once("/schemas/")?;
    let path: Vec<&str> = path.split('/').take(3).collect();
    Some(crate::platforms::cloud_foundry::schema_is_not_valid(
        &path.join("."),
        words,
    ))
}
