//! The rules of a catalog, as the specification has them. What single platforms add is the linter's.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    Catalog, CatalogProblem, CheckedCatalog, DashboardClient, IndexedOffering, MaintenanceInfo, Offering, Plan,
    SemanticVersion, Severity, schema,
};
use crate::Object;
use crate::id::{OfferingId, PlanId};

/// The longest string that every platform takes, in characters (OSB-CAT-05).
const TEXT: usize = 255;
/// How much of a member's name a problem shows, in characters.
const SHOWN: usize = 63;
/// The dialect that every platform reads (OSB-SCH-05), without its scheme and the `#` at its end.
const DRAFT_4: &str = "://json-schema.org/draft-04/schema";

impl Catalog {
    /// Everything in it that is against a rule of the specification (OSB-SVC, OSB-PLAN, OSB-SCH, OSB-MNT), errors and
    /// advice, in the order of the catalog.
    pub fn problems(&self) -> Vec<CatalogProblem> {
        let mut findings = Findings::default();
        findings.catalog(self);
        findings.problems
    }

    /// Checks the rules of the specification: what may be served has no error.
    ///
    /// # Errors
    /// All errors, each with its path and a way to mend it. What is only advice does not stand in the way:
    /// [`CheckedCatalog::advice`].
    pub fn check(&self) -> Result<CheckedCatalog, Vec<CatalogProblem>> {
        let (advice, errors): (Vec<_>, Vec<_>) = self
            .problems()
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
}

/// The requirements on the texts that offerings and plans have in common.
struct Texts {
    id: &'static str,
    name: &'static str,
    description: &'static str,
}

const OFFERING: Texts = Texts {
    id: "OSB-SVC-02",
    name: "OSB-SVC-01",
    description: "OSB-SVC-03",
};

const PLAN: Texts = Texts {
    id: "OSB-PLAN-01",
    name: "OSB-PLAN-02",
    description: "OSB-PLAN-03",
};

impl Findings {
    fn error(
        &mut self,
        requirement: &'static str,
        path: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.found(Severity::Error, requirement, path.into(), what.into(), mend.into());
    }

    fn advise(
        &mut self,
        requirement: &'static str,
        path: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.found(Severity::Advice, requirement, path.into(), what.into(), mend.into());
    }

    fn found(&mut self, severity: Severity, requirement: &'static str, path: String, what: String, mend: String) {
        self.problems.push(CatalogProblem {
            requirement,
            path,
            what,
            mend,
            severity,
        });
    }

    fn catalog(&mut self, catalog: &Catalog) {
        self.extensions("", &catalog.extensions);
        for (position, offering) in catalog.services.iter().enumerate() {
            self.offering(&format!("services[{position}]"), offering);
        }
    }

    /// OSB-SVC-01 to -13.
    fn offering(&mut self, path: &str, offering: &Offering) {
        self.texts(path, &OFFERING, [&offering.id, &offering.name, &offering.description]);
        if !self.offering_ids.insert(offering.id.clone()) {
            self.error(
                OFFERING.id,
                format!("{path}.id"),
                "is the id of another offering, too",
                "give each offering an id of its own, best a GUID",
            );
        }
        if !self.offering_names.insert(offering.name.clone()) {
            self.error(
                OFFERING.name,
                format!("{path}.name"),
                "is the name of another offering, too",
                "give each offering a name of its own",
            );
        }
        if offering.plans.is_empty() {
            self.error(
                "OSB-SVC-13",
                format!("{path}.plans"),
                "is empty",
                "add a plan: each offering has at least one",
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
                    PLAN.name,
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
        self.texts(path, &PLAN, [&plan.id, &plan.name, &plan.description]);
        if !self.plan_ids.insert(plan.id.clone()) {
            self.error(
                PLAN.id,
                format!("{path}.id"),
                "is the id of another plan, too",
                "give each plan of the whole catalog an id of its own, best a GUID",
            );
        }
        if plan.maximum_polling_duration == Some(0) {
            self.error(
                "OSB-PLAN-10",
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
                "OSB-PLAN-07",
                format!("{path}.binding_rotatable"),
                "is true on a plan that is not bindable",
                "leave it out, or make the plan bindable",
            );
        }
        if !bindable && plan.schemas.binding_create.is_some() {
            self.advise(
                "OSB-SCH-06",
                format!("{path}.schemas.service_binding"),
                "stands on a plan that is not bindable",
                "leave it out, or make the plan bindable",
            );
        }
        self.text_metadata(&format!("{path}.metadata"), &plan.metadata, &["displayName"]);
        self.extensions(path, &plan.extensions);
    }

    /// Id, name and description.
    fn texts(&mut self, path: &str, rules: &Texts, [id, name, description]: [&str; 3]) {
        self.id(rules, format!("{path}.id"), id);
        self.name(rules, format!("{path}.name"), name);
        if description.is_empty() {
            self.error(
                rules.description,
                format!("{path}.description"),
                "is empty",
                "say in one line what it is",
            );
        }
        for (member, text) in [("id", id), ("name", name), ("description", description)] {
            if text.chars().count() > TEXT {
                self.advise(
                    "OSB-CAT-05",
                    format!("{path}.{member}"),
                    format!("is longer than {TEXT} characters"),
                    "shorten it: no platform has to take more",
                );
            }
        }
    }

    /// OSB-SVC-02, OSB-PLAN-01, OSB-URL-02.
    fn id(&mut self, rules: &Texts, path: String, id: &str) {
        if let Err(error) = PlanId::new(id) {
            return self.error(rules.id, path, error.to_string(), "use a GUID");
        }
        if !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        {
            self.advise(
                "OSB-URL-02",
                path,
                "has other characters than A-Z a-z 0-9 - . _ ~",
                "use a GUID: not every platform escapes others",
            );
        }
    }

    /// OSB-SVC-01, OSB-PLAN-02.
    fn name(&mut self, rules: &Texts, path: String, name: &str) {
        if name.is_empty() {
            return self.error(rules.name, path, "is empty", "give it a name");
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        {
            self.advise(
                rules.name,
                path,
                "has other characters than letters, digits, `.` and `-`",
                "use a name that can be typed on a command line",
            );
        }
    }

    /// OSB-SVC-11.
    fn dashboard_client(&mut self, path: &str, client: &DashboardClient) {
        for (name, value) in [("id", &client.id), ("secret", &client.secret)] {
            if value.is_empty() {
                self.error(
                    "OSB-SVC-11",
                    format!("{path}.{name}"),
                    "is empty",
                    "give it a value, or leave the dashboard client out",
                );
            }
        }
    }

    /// OSB-MNT-01.
    fn maintenance_info(&mut self, path: &str, info: &MaintenanceInfo) {
        if SemanticVersion::parse(&info.version).is_none() {
            self.error(
                "OSB-MNT-01",
                format!("{path}.version"),
                "is no semantic version",
                "write MAJOR.MINOR.PATCH, for instance 1.0.0",
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
            for schema::Problem {
                requirement,
                member,
                what,
                mend,
            } in schema::problems(schema)
            {
                self.error(requirement, format!("{path}{member}"), what, mend);
            }
            if schema.get("type").is_some_and(|kind| kind != "object") {
                self.advise(
                    "OSB-SCH-02",
                    format!("{path}.type"),
                    "is not `object`",
                    "describe an object: parameters are one",
                );
            }
            if schema
                .get("$schema")
                .and_then(Value::as_str)
                .is_some_and(is_other_dialect)
            {
                self.advise(
                    "OSB-SCH-05",
                    format!("{path}.$schema"),
                    "is not draft-04",
                    "write it in http://json-schema.org/draft-04/schema#, the one dialect that every platform reads",
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
                "OSB-PROF-07",
                format!("{path}.shareable"),
                "is no boolean",
                "write true or false",
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
                    "OSB-PROF-07",
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
            let shown: String = name.chars().take(SHOWN).collect();
            let path = if path.is_empty() {
                shown
            } else {
                format!("{path}.{shown}")
            };
            self.advise(
                "OSB-GEN-02",
                path,
                "is no member of the specification",
                "mend the spelling, or give an extension a prefix of your own, `example.com:name`",
            );
        }
    }
}

/// Whether a dialect is named, and it is not draft 4. An empty one is an error already (OSB-SCH-02).
fn is_other_dialect(dialect: &str) -> bool {
    let dialect = dialect.trim_end_matches('#');
    let named = |scheme: &str| dialect.strip_prefix(scheme) == Some(DRAFT_4);
    !dialect.is_empty() && !named("http") && !named("https")
}
