use osb_api::catalog::Catalog;
use serde_json::{Value, json};

use crate::finding::{Finding, Severity};
use crate::tests::{CREATE, clean};

use super::compare;

fn read(catalog: &Value) -> Catalog {
    serde_json::from_value(catalog.clone()).unwrap()
}

/// What is found when the clean catalog is followed by a changed one.
fn after(change: impl FnOnce(&mut Value)) -> Vec<Finding> {
    let mut next = clean();
    change(&mut next);
    compare(&read(&clean()), &read(&next))
}

/// Each rule of a change: the change, and the place of the finding.
pub(crate) type Changed = (&'static str, Severity, fn(&mut Value), &'static str);

pub(crate) const CHANGED: &[Changed] = &[
    (
        "change-offering-renamed",
        Severity::Warning,
        |next| next["services"][0]["name"] = json!("database"),
        "/services/0/name",
    ),
    (
        "change-offering-name-moved",
        Severity::Error,
        |next| {
            next["services"][0]["name"] = json!("cache");
            next["services"][1]["name"] = json!("cache-2");
        },
        "/services/0/name",
    ),
    (
        "change-offering-id",
        Severity::Error,
        |next| next["services"][1]["id"] = json!("offering-9"),
        "/services/1/id",
    ),
    (
        "change-offering-removed",
        Severity::Error,
        |next| drop(next["services"].as_array_mut().unwrap().pop()),
        "/services",
    ),
    (
        "change-instances-retrievable",
        Severity::Warning,
        |next| next["services"][0]["instances_retrievable"] = json!(false),
        "/services/0/instances_retrievable",
    ),
    (
        "change-bindings-retrievable",
        Severity::Warning,
        |next| next["services"][0]["bindings_retrievable"] = json!(false),
        "/services/0/bindings_retrievable",
    ),
    (
        "change-context-updates",
        Severity::Warning,
        |next| next["services"][0]["allow_context_updates"] = json!(false),
        "/services/0/allow_context_updates",
    ),
    (
        "change-permission-lost",
        Severity::Warning,
        |next| next["services"][0]["requires"] = json!([]),
        "/services/0/requires",
    ),
    (
        "change-permission-new",
        Severity::Warning,
        |next| next["services"][1]["requires"] = json!(["volume_mount"]),
        "/services/1/requires",
    ),
    (
        "change-dashboard-client",
        Severity::Warning,
        |next| next["services"][0]["dashboard_client"]["id"] = json!("other"),
        "/services/0/dashboard_client/id",
    ),
    (
        "change-dashboard-client",
        Severity::Warning,
        |next| drop(next["services"][0].as_object_mut().unwrap().remove("dashboard_client")),
        "/services/0/dashboard_client",
    ),
    (
        "change-sharing",
        Severity::Warning,
        |next| next["services"][0]["metadata"] = json!({}),
        "/services/0/metadata/shareable",
    ),
    (
        "change-sharing",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["metadata"] = json!({}),
        "/services/0/plans/0/metadata/supportsInstanceSharing",
    ),
    (
        "change-plan-moved",
        Severity::Error,
        |next| {
            let plan = next["services"][0]["plans"].as_array_mut().unwrap().pop().unwrap();
            next["services"][1]["plans"].as_array_mut().unwrap().push(plan);
        },
        "/services/1/plans/1/id",
    ),
    (
        "change-plan-renamed",
        Severity::Warning,
        |next| next["services"][0]["plans"][1]["name"] = json!("huge"),
        "/services/0/plans/1/name",
    ),
    (
        "change-plan-id",
        Severity::Error,
        |next| next["services"][0]["plans"][1]["id"] = json!("plan-9"),
        "/services/0/plans/1/id",
    ),
    (
        "change-plan-removed",
        Severity::Error,
        |next| drop(next["services"][0]["plans"].as_array_mut().unwrap().pop()),
        "/services/0/plans",
    ),
    (
        "change-free-to-paid",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["free"] = json!(false),
        "/services/0/plans/0/free",
    ),
    (
        "change-unbindable",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["bindable"] = json!(false),
        "/services/0/plans/0/bindable",
    ),
    (
        "change-plan-updateable",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["plan_updateable"] = json!(false),
        "/services/0/plans/0/plan_updateable",
    ),
    (
        "change-unrotatable",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["binding_rotatable"] = json!(false),
        "/services/0/plans/0/binding_rotatable",
    ),
    (
        "change-polling-shorter",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["maximum_polling_duration"] = json!(59),
        "/services/0/plans/0/maximum_polling_duration",
    ),
    (
        "change-maintenance-gone",
        Severity::Warning,
        |next| {
            drop(
                next["services"][0]["plans"][0]
                    .as_object_mut()
                    .unwrap()
                    .remove("maintenance_info"),
            )
        },
        "/services/0/plans/0/maintenance_info",
    ),
    (
        "change-maintenance-back",
        Severity::Warning,
        |next| next["services"][0]["plans"][0]["maintenance_info"]["version"] = json!("1.2.0-rc.1"),
        "/services/0/plans/0/maintenance_info/version",
    ),
    (
        "change-schema-narrowed",
        Severity::Warning,
        |next| next.pointer_mut(CREATE).unwrap()["required"] = json!(["size"]),
        "/services/0/plans/0/schemas/service_instance/create/parameters/required",
    ),
    (
        "change-schema-unjudged",
        Severity::Notice,
        |next| next.pointer_mut(CREATE).unwrap()["not"] = json!({}),
        "/services/0/plans/0/schemas/service_instance/create/parameters/not",
    ),
];

#[test]
fn what_a_change_breaks_is_told() {
    for (rule, severity, change, place) in CHANGED {
        let findings = after(change);
        let found: Vec<_> = findings
            .iter()
            .map(|finding| (finding.rule, finding.severity, finding.place.as_str()))
            .collect();
        assert!(found.contains(&(rule, *severity, place)), "{rule}: {found:?}");
        let others = found.iter().filter(|(found, ..)| found != rule).count();
        let expected = usize::from(*rule == "change-offering-name-moved");
        assert_eq!(others, expected, "{rule}: {found:?}");
        assert!(
            findings.iter().all(|finding| !finding.meaning.is_empty()),
            "{rule}: what does it mean?"
        );
    }
}

/// OSB-CAT-02, OSB-CAT-11: the ids say what is what, and swapped names are told for both.
#[test]
fn swapped_names_are_told() {
    let findings = after(|next| {
        next["services"][0]["plans"][0]["name"] = json!("large");
        next["services"][0]["plans"][1]["name"] = json!("small");
    });
    let found: Vec<_> = findings
        .iter()
        .map(|finding| (finding.rule, finding.place.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("change-plan-name-moved", "/services/0/plans/0/name"),
            ("change-plan-name-moved", "/services/0/plans/1/name")
        ]
    );
    let findings = after(|next| {
        next["services"][0]["name"] = json!("cache");
        next["services"][1]["name"] = json!("db");
    });
    assert!(
        findings
            .iter()
            .all(|finding| finding.rule == "change-offering-name-moved" && finding.severity == Severity::Error)
    );
    assert_eq!(findings.len(), 2);
    assert_eq!(
        findings[0].says.as_deref(),
        Some("Service names must be unique within a broker. Services with names [\"cache\"] already exist")
    );
}

#[test]
fn a_catalog_that_stays_breaks_nothing() {
    assert_eq!(after(|_| ()), []);
}

#[test]
fn what_harms_nobody_is_not_told() {
    let harmless: [fn(&mut Value); 8] = [
        |next| next["services"].as_array_mut().unwrap().reverse(),
        |next| {
            next["services"][1]["plans"].as_array_mut().unwrap().push(json!({
                "id": "plan-4", "name": "new", "description": "New", "free": false,
            }))
        },
        |next| next["services"][0]["plans"][1]["free"] = json!(true),
        |next| next["services"][1]["plans"][0]["bindable"] = json!(true),
        |next| next["services"][0]["plans"][0]["maintenance_info"]["version"] = json!("2.0.0"),
        |next| next["services"][0]["plans"][0]["maximum_polling_duration"] = json!(61),
        |next| next["services"][0]["description"] = json!("Better"),
        // Written out or inherited, it is the same.
        |next| {
            drop(
                next["services"][0]["plans"][0]
                    .as_object_mut()
                    .unwrap()
                    .remove("bindable"),
            )
        },
    ];
    for (index, change) in harmless.into_iter().enumerate() {
        assert_eq!(after(change), [], "{index}");
    }
}
