//! The rules of a catalog: the specification's, and what platforms are known to refuse.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::semver::is_semantic_version;
use super::{
    Catalog, CatalogProblem, CheckedCatalog, DashboardClient, IndexedOffering, MaintenanceInfo, Offering, Plan,
    Severity, schema,
};
use crate::Object;
use crate::id::{OfferingId, PlanId};

/// The longest string that every platform takes (OSB-CAT-05); for descriptions Cloud Foundry takes [`LONG_TEXT`].
const SHORT_TEXT: usize = 255;
const LONG_TEXT: usize = 10_000;
/// Kubernetes makes names of ids and names.
const NAME: usize = 63;
/// All tags of an offering together, in Cloud Foundry.
const TAGS: usize = 2_048;
/// `maintenance_info` as JSON, in Cloud Foundry.
const MAINTENANCE: usize = 2_000;

impl Catalog {
    /// Checks the rules of the specification (OSB-SVC, OSB-PLAN, OSB-SCH, OSB-MNT) and those that platforms add.
    ///
    /// # Errors
    /// All errors, each with its path and a way to mend it. What is only advice does not stand in the way:
    /// [`CheckedCatalog::advice`].
    pub fn check(&self) -> Result<CheckedCatalog, Vec<CatalogProblem>> {
        let mut findings = Findings::default();
        findings.catalog(self);
        let (advice, errors): (Vec<_>, Vec<_>) = findings
            .problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Advice);
        if !errors.is_empty() {
            return Err(errors);
        }
        let catalog = filled_in(self.clone());
        let body = serde_json::to_vec(&catalog).expect("string keys and plain values always serialise");
        Ok(CheckedCatalog {
            index: index(&catalog),
            catalog,
            advice,
            body,
        })
    }
}

/// Writes out what plans inherit: platforms disagree on what an absent member means.
fn filled_in(mut catalog: Catalog) -> Catalog {
    for offering in &mut catalog.services {
        for plan in &mut offering.plans {
            plan.bindable.get_or_insert(offering.bindable);
            plan.plan_updateable.get_or_insert(offering.plan_updateable);
        }
    }
    catalog
}

fn index(catalog: &Catalog) -> HashMap<OfferingId, IndexedOffering> {
    let plans = |offering: &Offering| {
        let ids = offering.plans.iter().enumerate();
        ids.filter_map(|(position, plan)| Some((PlanId::new(plan.id.as_str()).ok()?, position)))
            .collect()
    };
    let offerings = catalog.services.iter().enumerate();
    offerings
        .filter_map(|(position, offering)| {
            Some((
                OfferingId::new(offering.id.as_str()).ok()?,
                IndexedOffering {
                    position,
                    plans: plans(offering),
                },
            ))
        })
        .collect()
}

/// What is found, and what has to be unique in the whole catalog.
#[derive(Default)]
struct Findings {
    problems: Vec<CatalogProblem>,
    offering_ids: HashSet<String>,
    offering_names: HashSet<String>,
    plan_ids: HashSet<String>,
    clients: HashSet<String>,
}

impl Findings {
    fn error(&mut self, path: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) {
        self.problems.push(CatalogProblem {
            path: path.into(),
            what: what.into(),
            mend: mend.into(),
            severity: Severity::Error,
        });
    }

    fn advise(&mut self, path: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) {
        self.problems.push(CatalogProblem {
            path: path.into(),
            what: what.into(),
            mend: mend.into(),
            severity: Severity::Advice,
        });
    }

    fn catalog(&mut self, catalog: &Catalog) {
        if catalog.services.is_empty() {
            self.advise(
                "services",
                "is empty",
                "add an offering: Cloud Foundry refuses a catalog without one",
            );
        }
        self.extensions("", &catalog.extensions);
        for (position, offering) in catalog.services.iter().enumerate() {
            self.offering(&format!("services[{position}]"), offering);
        }
    }

    /// OSB-SVC-01 to -13.
    fn offering(&mut self, path: &str, offering: &Offering) {
        self.id(path, &offering.id);
        self.name(path, &offering.name);
        self.description(path, &offering.description);
        if !self.offering_ids.insert(offering.id.clone()) {
            self.error(
                format!("{path}.id"),
                "is the id of another offering, too",
                "give each offering an id of its own, best a GUID",
            );
        }
        if !self.offering_names.insert(offering.name.clone()) {
            self.error(
                format!("{path}.name"),
                "is the name of another offering, too",
                "give each offering a name of its own",
            );
        }
        if offering.plans.is_empty() {
            self.error(
                format!("{path}.plans"),
                "is empty",
                "add a plan: each offering has at least one",
            );
        }
        if offering.tags.iter().map(|tag| tag.chars().count()).sum::<usize>() > TAGS {
            self.advise(
                format!("{path}.tags"),
                format!("have more than {TAGS} characters"),
                "use fewer: Cloud Foundry refuses them",
            );
        }
        if let Some(client) = &offering.dashboard_client {
            self.dashboard_client(&format!("{path}.dashboard_client"), client);
        }
        self.offering_metadata(&format!("{path}.metadata"), &offering.metadata);
        self.extensions(path, &offering.extensions);
        let mut names = HashSet::new();
        for (position, plan) in offering.plans.iter().enumerate() {
            let path = format!("{path}.plans[{position}]");
            if !names.insert(plan.name.as_str()) {
                self.error(
                    format!("{path}.name"),
                    "is the name of another plan of the offering, too",
                    "give each plan a name of its own",
                );
            }
            self.plan(&path, offering, plan);
        }
    }

    /// OSB-PLAN-01 to -12.
    fn plan(&mut self, path: &str, offering: &Offering, plan: &Plan) {
        self.id(path, &plan.id);
        self.name(path, &plan.name);
        self.description(path, &plan.description);
        if !self.plan_ids.insert(plan.id.clone()) {
            self.error(
                format!("{path}.id"),
                "is the id of another plan, too",
                "give each plan of the whole catalog an id of its own, best a GUID",
            );
        }
        if plan.maximum_polling_duration == Some(0) {
            self.error(
                format!("{path}.maximum_polling_duration"),
                "is 0",
                "use a positive number of seconds, or leave it out",
            );
        }
        if let Some(info) = &plan.maintenance_info {
            self.maintenance_info(&format!("{path}.maintenance_info"), info);
        }
        self.schemas(path, plan);
        let bindable = plan.bindable.unwrap_or(offering.bindable);
        if !bindable && plan.binding_rotatable {
            self.advise(
                format!("{path}.binding_rotatable"),
                "is true on a plan that is not bindable",
                "leave it out, or make the plan bindable",
            );
        }
        if !bindable && plan.schemas.binding_create.is_some() {
            self.advise(
                format!("{path}.schemas.service_binding"),
                "stands on a plan that is not bindable",
                "leave it out, or make the plan bindable",
            );
        }
        self.text_metadata(&format!("{path}.metadata"), &plan.metadata, &["displayName"]);
        self.extensions(path, &plan.extensions);
    }

    /// OSB-SVC-02, OSB-PLAN-01, OSB-URL-02.
    fn id(&mut self, path: &str, id: &str) {
        let path = format!("{path}.id");
        if let Err(error) = PlanId::new(id) {
            return self.error(path, error.to_string(), "use a GUID");
        }
        if !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        {
            self.advise(
                path,
                "has other characters than A-Z a-z 0-9 - . _ ~",
                "use a GUID: not every platform escapes others",
            );
        } else if id.len() > NAME {
            self.advise(
                path,
                format!("is longer than {NAME} characters"),
                "use a GUID: Kubernetes' Service Catalog refuses longer ids",
            );
        }
    }

    /// OSB-SVC-01, OSB-PLAN-02.
    fn name(&mut self, path: &str, name: &str) {
        let path = format!("{path}.name");
        if name.is_empty() {
            return self.error(path, "is empty", "give it a name");
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        {
            self.advise(
                path,
                "has other characters than letters, digits, `.` and `-`",
                "use a name that can be typed on a command line",
            );
        } else if name.len() > NAME {
            self.advise(
                path,
                format!("is longer than {NAME} characters"),
                "shorten it: Kubernetes' Service Catalog refuses longer names",
            );
        }
    }

    /// OSB-SVC-03, OSB-PLAN-03, OSB-CAT-05.
    fn description(&mut self, path: &str, description: &str) {
        let path = format!("{path}.description");
        match description.chars().count() {
            0 => self.error(path, "is empty", "say in one line what it is"),
            1..=SHORT_TEXT => {}
            _ => self.advise(
                path,
                format!("is longer than {SHORT_TEXT} characters"),
                format!("shorten it; Cloud Foundry refuses more than {LONG_TEXT}"),
            ),
        }
    }

    /// OSB-SVC-11.
    fn dashboard_client(&mut self, path: &str, client: &DashboardClient) {
        for (name, value) in [("id", &client.id), ("secret", &client.secret)] {
            if value.is_empty() {
                self.error(
                    format!("{path}.{name}"),
                    "is empty",
                    "give it a value, or leave the dashboard client out",
                );
            }
        }
        if client.redirect_uri.as_ref().is_none_or(String::is_empty) {
            self.advise(
                format!("{path}.redirect_uri"),
                "is missing",
                "add it: Cloud Foundry refuses the catalog without it",
            );
        }
        if !self.clients.insert(client.id.clone()) {
            self.advise(
                format!("{path}.id"),
                "is the id of another dashboard client, too",
                "use one for each offering: Cloud Foundry refuses the catalog",
            );
        }
    }

    /// OSB-MNT-01, OSB-MNT-02.
    fn maintenance_info(&mut self, path: &str, info: &MaintenanceInfo) {
        if !is_semantic_version(&info.version) {
            self.error(
                format!("{path}.version"),
                "is no semantic version",
                "write MAJOR.MINOR.PATCH, for instance 1.0.0",
            );
        }
        if serde_json::to_vec(info).is_ok_and(|json| json.len() > MAINTENANCE) {
            self.advise(
                path,
                format!("has more than {MAINTENANCE} bytes"),
                "shorten the description: Cloud Foundry refuses the catalog",
            );
        }
    }

    /// OSB-SCH-02 to -05.
    fn schemas(&mut self, path: &str, plan: &Plan) {
        let all = [
            ("service_instance.create", &plan.schemas.instance_create),
            ("service_instance.update", &plan.schemas.instance_update),
            ("service_binding.create", &plan.schemas.binding_create),
        ];
        for (verb, schema) in all {
            let Some(schema) = schema else { continue };
            let path = format!("{path}.schemas.{verb}.parameters");
            for (member, what, mend) in schema::problems(schema) {
                self.error(format!("{path}{member}"), what, mend);
            }
            if schema.get("type").is_some_and(|kind| kind != "object") {
                self.advise(
                    format!("{path}.type"),
                    "is not `object`",
                    "describe an object: parameters are one",
                );
            }
        }
    }

    /// OSB-PROF-07.
    fn offering_metadata(&mut self, path: &str, metadata: &Object) {
        let texts = [
            "displayName",
            "imageUrl",
            "longDescription",
            "providerDisplayName",
            "documentationUrl",
            "supportUrl",
        ];
        self.text_metadata(path, metadata, &texts);
        if metadata
            .get("shareable")
            .is_some_and(|shareable| !shareable.is_boolean())
        {
            self.advise(
                format!("{path}.shareable"),
                "is no boolean",
                "write true or false: Cloud Foundry refuses the catalog",
            );
        }
    }

    fn text_metadata(&mut self, path: &str, metadata: &Object, names: &[&str]) {
        for name in names {
            if metadata
                .get(*name)
                .is_some_and(|value| !matches!(value, Value::String(_)))
            {
                self.advise(
                    format!("{path}.{name}"),
                    "is no string",
                    "write a string: platforms show it, and some fail on anything else",
                );
            }
        }
    }

    /// OSB-GEN-02. A member without any separator looks like a misspelt one of the specification.
    fn extensions(&mut self, path: &str, extensions: &Object) {
        for name in extensions.keys().filter(|name| !name.contains([':', '.', '-', '/'])) {
            let shown: String = name.chars().take(NAME).collect();
            let path = if path.is_empty() {
                shown
            } else {
                format!("{path}.{shown}")
            };
            self.advise(
                path,
                "is no member of the specification",
                "mend the spelling, or give an extension a prefix of your own, `example.com:name`",
            );
        }
    }
}
