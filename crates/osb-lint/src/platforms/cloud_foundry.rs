//! Cloud Foundry's Cloud Controller refuses the whole catalog for one mistake. `says` has its words.

use std::collections::HashSet;

use serde_json::Value;

use crate::document::{Document, Entry, PlanEntry, SCHEMAS};
use crate::finding::{Finding, Platform, Severity};
use crate::place::Place;
use crate::shape::inspected;

/// The longest description, in characters.
const DESCRIPTION: usize = 10_000;
/// All tags of an offering together, in characters.
const TAGS: usize = 2_048;
/// `maintenance_info` as JSON, in characters.
const MAINTENANCE: usize = 2_000;
/// The dialects of JSON Schema that it knows, without scheme and `#`.
const DIALECTS: [&str; 3] = [
    "://json-schema.org/draft-03/schema",
    "://json-schema.org/draft-04/schema",
    "://json-schema.org/draft-06/schema",
];

/// What Cloud Foundry refuses beyond the specification.
pub(crate) fn findings(document: &Document<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(no_offering(document));
    for offering in &document.offerings {
        blank(&mut found, offering, "Service");
        found.extend(long_description(offering, "Service"));
        found.extend(long_tags(offering));
        null_lists(&mut found, offering);
        found.extend(shareable(offering));
        found.extend(redirect(offering));
    }
    shared_clients(&mut found, document);
    for PlanEntry { plan, .. } in &document.plans {
        blank(&mut found, plan, "Plan");
        found.extend(long_description(plan, "Plan"));
        if let Some(info) = plan.object("maintenance_info") {
            found.extend(foreign_members(&info));
            found.extend(long_maintenance_info(&info));
        }
        schemas(&mut found, plan);
    }
    found
}

/// The sentence around what is wrong with a schema; `path` is `service_instance.create.parameters`.
pub(crate) fn schema_is_not_valid(path: &str, words: &str) -> String {
    format!("Schema {path} is not valid. {words}")
}

fn error(rule: &'static str, place: &Place, what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding::new((rule, Severity::Error, Platform::CloudFoundry), place, what, mend)
}

fn no_offering(document: &Document<'_>) -> Option<Finding> {
    let services = document.value.get("services")?.as_array()?;
    services.is_empty().then(|| {
        let place = Place::root().member("services");
        error("cf-no-offering", &place, "is empty", "add an offering")
            .says("Service broker must provide at least one service")
    })
}

/// An empty text is an error of the specification; to Cloud Foundry one of spaces only is empty, too.
fn blank(found: &mut Vec<Finding>, entry: &Entry<'_>, kind: &str) {
    let texts = ["id", "name", "description"];
    found.extend(texts.iter().filter_map(|name| {
        let text = entry.text(name)?;
        (!text.is_empty() && text.chars().all(char::is_whitespace)).then(|| {
            error(
                "cf-blank-text",
                &entry.place.member(name),
                "has nothing but spaces",
                "write a text",
            )
            .says(format!("{kind} {name} is required"))
        })
    }));
}

fn long_description(entry: &Entry<'_>, kind: &str) -> Option<Finding> {
    let length = entry.text("description")?.chars().count();
    (length > DESCRIPTION).then(|| {
        let what = format!("has {length} characters");
        let mend = format!("use at most {DESCRIPTION}, better one line");
        error("cf-description-long", &entry.place.member("description"), what, mend).says(format!(
            "{kind} description may not have more than {DESCRIPTION} characters"
        ))
    })
}

fn long_tags(offering: &Entry<'_>) -> Option<Finding> {
    let tags = offering.get("tags")?.as_array()?.iter().filter_map(Value::as_str);
    let length: usize = tags.map(|tag| tag.chars().count()).sum();
    (length > TAGS).then(|| {
        let what = format!("have {length} characters together");
        error("cf-tags-long", &offering.place.member("tags"), what, "use fewer tags").says(format!(
            "Tags for the service {} must be {TAGS} characters or less.",
            offering.name()
        ))
    })
}

/// Lists may be left out, but not be `null`.
fn null_lists(found: &mut Vec<Finding>, offering: &Entry<'_>) {
    let lists = [("tags", "Service tags"), ("requires", "Service \"requires\" field")];
    let null = lists
        .iter()
        .filter(|(name, _)| offering.get(name).is_some_and(Value::is_null));
    found.extend(null.map(|(name, words)| {
        error("cf-null-list", &offering.place.member(name), "is null", "leave it out")
            .says(format!("{words} must be an array of strings, but has value nil"))
    }));
}

fn shareable(offering: &Entry<'_>) -> Option<Finding> {
    let metadata = offering.object("metadata")?;
    let value = metadata.get("shareable")?;
    (!value.is_boolean() && !value.is_null()).then(|| {
        let place = metadata.place.member("shareable");
        error("cf-shareable", &place, "is no boolean", "write true or false").says(format!(
            "Service metadata shareable must be a boolean, but has value {}",
            inspected(value)
        ))
    })
}

fn redirect(offering: &Entry<'_>) -> Option<Finding> {
    let client = offering.object("dashboard_client")?;
    let value = client.get("redirect_uri").unwrap_or(&Value::Null);
    let absent = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
    absent.then(|| {
        let place = client.place.member("redirect_uri");
        let mend = "add the address that a user comes back to, or leave the dashboard client out";
        error("cf-dashboard-redirect", &place, "is missing", mend)
            .says("Service dashboard client redirect_uri is required")
    })
}

fn shared_clients(found: &mut Vec<Finding>, document: &Document<'_>) {
    let mut seen = HashSet::new();
    let clients = document
        .offerings
        .iter()
        .filter_map(|offering| offering.object("dashboard_client"));
    for client in clients {
        let Some(id) = client.text("id") else { continue };
        if !seen.insert(id) {
            let mend = "use a client of its own for each offering";
            found.push(
                error(
                    "cf-dashboard-shared",
                    &client.place.member("id"),
                    "is the id of another client, too",
                    mend,
                )
                .says("Service dashboard_client id must be unique"),
            );
        }
    }
}

fn foreign_members(info: &Entry<'_>) -> Option<Finding> {
    let known = ["version", "description"];
    let others: Vec<&str> = info
        .members
        .keys()
        .map(String::as_str)
        .filter(|name| !known.contains(name))
        .collect();
    (!others.is_empty()).then(|| {
        let others = others.join(", ");
        let what = format!("has other members than version and description: {others}");
        error("cf-maintenance-members", &info.place, what, "leave them out")
            .says(format!("Maintenance info contains invalid key(s): {others}"))
    })
}

fn long_maintenance_info(info: &Entry<'_>) -> Option<Finding> {
    let length = serde_json::to_string(info.members).map_or(0, |json| json.chars().count());
    (length > MAINTENANCE).then(|| {
        let what = format!("has {length} characters as JSON");
        error("cf-maintenance-long", &info.place, what, "shorten the description").says(format!(
            "Maintenance info must serialize to {MAINTENANCE} characters or fewer in JSON, but serializes to {length} \
             characters"
        ))
    })
}

/// It stops at the first of its rules that a schema is against; the first, on `$schema`, is the specification's.
fn schemas(found: &mut Vec<Finding>, plan: &Entry<'_>) {
    let Some(schemas) = plan.object("schemas") else { return };
    for [resource, verb] in SCHEMAS {
        let parameters = schemas
            .object(resource)
            .and_then(|resource| resource.object(verb))
            .and_then(|verb| verb.object("parameters"));
        if let Some(schema) = parameters {
            let path = format!("{resource}.{verb}.parameters");
            found.extend(draft_4(&schema, &path).or_else(|| custom_dialect(&schema, &path)));
        }
    }
}

fn draft_4(schema: &Entry<'_>, path: &str) -> Option<Finding> {
    let value = Value::Object(schema.members.clone());
    let refused = jsonschema::draft4::meta::validate(&value).err()?;
    let place = Place::at(&format!(
        "{}{}",
        schema.place.as_str(),
        refused.instance_path().as_str()
    ));
    let what = format!("is no JSON Schema of draft 4: {}", refused.masked());
    Some(
        error("cf-schema-draft4", &place, what, "write the schema in draft 4").says(schema_is_not_valid(
            path,
            "Must conform to JSON Schema Draft 04 (experimental support for later versions)",
        )),
    )
}

fn custom_dialect(schema: &Entry<'_>, path: &str) -> Option<Finding> {
    let dialect = schema.text("$schema")?.trim_end_matches('#');
    let is = |known: &str| {
        ["http", "https"]
            .iter()
            .any(|scheme| dialect.strip_prefix(scheme) == Some(known))
    };
    (!dialect.is_empty() && !DIALECTS.iter().any(|known| is(known))).then(|| {
        let mend = "write it in http://json-schema.org/draft-04/schema#";
        error(
            "cf-schema-dialect",
            &schema.place.member("$schema"),
            "is a dialect that it does not know",
            mend,
        )
        .says(schema_is_not_valid(path, "Custom meta schemas are not supported."))
    })
}
