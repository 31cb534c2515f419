//! Which members there are and of which type: all that is wrong at once, each also in Cloud Foundry's words.

use serde_json::Value;

use crate::document::{Document, Entry, SCHEMAS};
use crate::finding::{Finding, Platform, Severity};
use crate::place::Place;

/// The type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// A text that is not to be shown.
    Secret,
    Flag,
    /// Seconds: an integer from 0 on.
    Count,
    Object,
    Texts,
    Objects,
}

/// Whether a member may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

/// A member of the specification.
struct Member {
    name: &'static str,
    kind: Kind,
    need: Need,
    requirement: &'static str,
    /// What Cloud Foundry calls it; empty when it does not look at it.
    words: &'static str,
}

const fn required(requirement: &'static str, name: &'static str, kind: Kind, words: &'static str) -> Member {
    Member {
        name,
        kind,
        need: Need::Required,
        requirement,
        words,
    }
}

const fn optional(requirement: &'static str, name: &'static str, kind: Kind, words: &'static str) -> Member {
    Member {
        need: Need::Optional,
        ..required(requirement, name, kind, words)
    }
}

const CATALOG: &[Member] = &[required("OSB-CAT-01", "services", Kind::Objects, "")];

const OFFERING: &[Member] = &[
    required("OSB-SVC-01", "name", Kind::Text, "Service name"),
    required("OSB-SVC-02", "id", Kind::Text, "Service id"),
    required("OSB-SVC-03", "description", Kind::Text, "Service description"),
    optional("OSB-SVC-04", "tags", Kind::Texts, "Service tags"),
    optional("OSB-SVC-05", "requires", Kind::Texts, "Service \"requires\" field"),
    required("OSB-SVC-06", "bindable", Kind::Flag, "Service \"bindable\" field"),
    optional(
        "OSB-SVC-07",
        "instances_retrievable",
        Kind::Flag,
        "Service \"instances_retrievable\" field",
    ),
    optional(
        "OSB-SVC-08",
        "bindings_retrievable",
        Kind::Flag,
        "Service \"bindings_retrievable\" field",
    ),
    optional(
        "OSB-SVC-09",
        "allow_context_updates",
        Kind::Flag,
        "Service \"allow_context_updates\" field",
    ),
    optional("OSB-SVC-10", "metadata", Kind::Object, "Service metadata"),
    optional(
        "OSB-SVC-11",
        "dashboard_client",
        Kind::Object,
        "Service dashboard client attributes",
    ),
    optional(
        "OSB-SVC-12",
        "plan_updateable",
        Kind::Flag,
        "Service \"plan_updateable\" field",
    ),
    required("OSB-SVC-13", "plans", Kind::Objects, "Service plans list"),
];

const DASHBOARD_CLIENT: &[Member] = &[
    required("OSB-SVC-11", "id", Kind::Text, "Service dashboard client id"),
    required("OSB-SVC-11", "secret", Kind::Secret, "Service dashboard client secret"),
    optional(
        "OSB-SVC-11",
        "redirect_uri",
        Kind::Text,
        "Service dashboard client redirect_uri",
    ),
];

const PLAN: &[Member] = &[
    required("OSB-PLAN-01", "id", Kind::Text, "Plan id"),
    required("OSB-PLAN-02", "name", Kind::Text, "Plan name"),
    required("OSB-PLAN-03", "description", Kind::Text, "Plan description"),
    optional("OSB-PLAN-04", "metadata", Kind::Object, "Plan metadata"),
    optional("OSB-PLAN-05", "free", Kind::Flag, "Plan free"),
    optional("OSB-PLAN-06", "bindable", Kind::Flag, "Plan bindable"),
    optional("OSB-PLAN-07", "binding_rotatable", Kind::Flag, ""),
    optional("OSB-PLAN-08", "plan_updateable", Kind::Flag, "Plan updateable"),
    optional("OSB-PLAN-09", "schemas", Kind::Object, "Plan schemas"),
    optional(
        "OSB-PLAN-10",
        "maximum_polling_duration",
        Kind::Count,
        "Maximum polling duration",
    ),
    optional("OSB-PLAN-11", "maintenance_info", Kind::Object, "Maintenance info"),
];

const MAINTENANCE_INFO: &[Member] = &[
    required("OSB-MNT-01", "version", Kind::Text, "Maintenance info version"),
    optional("OSB-MNT-02", "description", Kind::Text, "Maintenance info description"),
];

/// The values of `requires`.
const PERMISSIONS: [&str; 3] = ["syslog_drain", "route_forwarding", "volume_mount"];

/// What is missing, of a wrong type, or `null`.
pub(crate) fn findings(document: &Document<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(members) = document.value.as_object() else {
        let rule = ("OSB-CAT-01", Severity::Error, Platform::Specification);
        found.push(Finding::new(
            rule,
            &Place::root(),
            "is no object",
            "write an object with `services`",
        ));
        return found;
    };
    let root = Entry {
        place: Place::root(),
        members,
    };
    check(&mut found, &root, CATALOG);
    for offering in &document.offerings {
        check(&mut found, offering, OFFERING);
        if let Some(client) = offering.object("dashboard_client") {
            check(&mut found, &client, DASHBOARD_CLIENT);
        }
        permissions(&mut found, offering);
        for plan in document
            .plans
            .iter()
            .filter(|plan| plan.offering.place == offering.place)
        {
            check(&mut found, &plan.plan, PLAN);
            if let Some(info) = plan.plan.object("maintenance_info") {
                check(&mut found, &info, MAINTENANCE_INFO);
            }
            schemas(&mut found, &plan.plan);
        }
    }
    found
}

fn check(found: &mut Vec<Finding>, entry: &Entry<'_>, members: &[Member]) {
    found.extend(members.iter().filter_map(|member| {
        let place = entry.place.member(member.name);
        match entry.get(member.name) {
            None | Some(Value::Null) if member.need == Need::Required => Some(missing(member, &place)),
            None => None,
            Some(Value::Null) => Some(null(&place)),
            Some(value) => (!member.kind.fits(value)).then(|| mistyped(member, &place, value)),
        }
    }));
}

fn missing(member: &Member, place: &Place) -> Finding {
    let rule = (member.requirement, Severity::Error, Platform::Specification);
    let finding = Finding::new(rule, place, "is missing", format!("add {}", member.kind.article()));
    match (member.words, member.kind) {
        ("", _) => finding,
        // Without plans it says what it says of an empty list.
        (_, Kind::Objects) => finding.says("At least one plan is required"),
        (words, _) => finding.says(format!("{words} is required")),
    }
}

/// OSB-PLAN-12.
fn null(place: &Place) -> Finding {
    Finding::new(
        ("OSB-PLAN-12", Severity::Warning, Platform::Specification),
        place,
        "is null",
        "leave it out when it has no value",
    )
}

fn mistyped(member: &Member, place: &Place, value: &Value) -> Finding {
    let rule = (member.requirement, Severity::Error, Platform::Specification);
    let article = member.kind.article();
    let finding = Finding::new(rule, place, format!("is not {article}"), format!("write {article}"));
    // A negative number of seconds is an integer to Cloud Foundry.
    if member.words.is_empty() || (member.kind == Kind::Count && (value.is_i64() || value.is_u64())) {
        return finding;
    }
    let (words, expected) = (member.words, member.kind.words());
    let shown = if member.kind == Kind::Secret {
        "…".to_owned()
    } else {
        inspected(value)
    };
    finding.says(format!("{words} must be {expected}, but has value {shown}"))
}

/// OSB-SVC-05.
fn permissions(found: &mut Vec<Finding>, offering: &Entry<'_>) {
    let place = offering.place.member("requires");
    let values = offering.get("requires").and_then(Value::as_array).into_iter().flatten();
    let unknown = values.enumerate().filter_map(|(index, value)| {
        let text = value.as_str()?;
        (!PERMISSIONS.contains(&text)).then_some((index, text))
    });
    found.extend(unknown.map(|(index, text)| {
        let rule = ("OSB-SVC-05", Severity::Error, Platform::Specification);
        let mend = "use syslog_drain, route_forwarding or volume_mount";
        Finding::new(
            rule,
            &place.element(index),
            "is no permission that a platform can give",
            mend,
        )
        .says(format!(
            "Service \"requires\" field contains unsupported value \"{text}\""
        ))
    }));
}

/// OSB-SCH-01.
fn schemas(found: &mut Vec<Finding>, plan: &Entry<'_>) {
    let Some(schemas) = plan.object("schemas") else { return };
    let mut seen: Vec<Place> = Vec::new();
    for [resource, verb] in SCHEMAS {
        let mut at = schemas.clone();
        let mut path = "Schemas".to_owned();
        for (depth, name) in [resource, verb, "parameters"].into_iter().enumerate() {
            path.push_str(if depth == 0 { " " } else { "." });
            path.push_str(name);
            let place = at.place.member(name);
            let value = at.get(name);
            match (value, at.object(name)) {
                (None, _) => break,
                (Some(_), Some(object)) => at = object,
                (Some(value), None) => {
                    if !seen.contains(&place) {
                        found.push(no_schema(&place, &path, value));
                        seen.push(place);
                    }
                    break;
                }
            }
        }
    }
}

fn no_schema(place: &Place, path: &str, value: &Value) -> Finding {
    if value.is_null() {
        return null(place);
    }
    Finding::new(
        ("OSB-SCH-01", Severity::Error, Platform::Specification),
        place,
        "is not an object",
        "write an object",
    )
    .says(format!("{path} must be a hash, but has value {}", inspected(value)))
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Secret => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::Count => value.is_u64(),
            Self::Object => value.is_object(),
            Self::Texts => value
                .as_array()
                .is_some_and(|values| values.iter().all(Value::is_string)),
            Self::Objects => value
                .as_array()
                .is_some_and(|values| values.iter().all(Value::is_object)),
        }
    }

    fn article(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "a string",
            Self::Flag => "a boolean",
            Self::Count => "an integer from 0 on",
            Self::Object => "an object",
            Self::Texts => "an array of strings",
            Self::Objects => "an array of objects",
        }
    }

    /// In Cloud Foundry's words.
    fn words(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "a string",
            Self::Flag => "a boolean",
            Self::Count => "an integer",
            Self::Object => "a hash",
            Self::Texts => "an array of strings",
            Self::Objects => "an array of hashes",
        }
    }
}

/// A value as Cloud Foundry shows it; what is inside of arrays and objects is left out.
pub(crate) fn inspected(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
        scalar => scalar.to_string(),
    }
}
