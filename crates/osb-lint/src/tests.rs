use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// A catalog that nobody minds, with everything that rules look at.
pub(crate) fn clean() -> Value {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": { "size": { "type": "integer", "minimum": 1 } },
    });
    json!({ "services": [{
        "id": "offering-1", "name": "db", "description": "A database", "bindable": true, "plan_updateable": true,
        "tags": ["sql"], "requires": ["syslog_drain"], "instances_retrievable": true, "bindings_retrievable": true,
        "allow_context_updates": true, "metadata": { "displayName": "DB", "shareable": true },
        "dashboard_client": { "id": "client-1", "secret": "canary", "redirect_uri": "https://example.com" },
        "plans": [{
            "id": "plan-1", "name": "small", "description": "A plan", "free": true, "bindable": true,
            "plan_updateable": true, "binding_rotatable": true, "maximum_polling_duration": 60,
            "maintenance_info": { "version": "1.2.0", "description": "New" },
            "metadata": { "supportsInstanceSharing": true },
            "schemas": {
                "service_instance": { "create": { "parameters": schema }, "update": { "parameters": schema } },
                "service_binding": { "create": { "parameters": schema } },
            },
        }, {
            "id": "plan-2", "name": "large", "description": "Another plan", "free": false, "bindable": true,
            "plan_updateable": true,
        }],
    }, {
        "id": "offering-2", "name": "cache", "description": "A cache", "bindable": false,
        "plans": [{
            "id": "plan-3", "name": "small", "description": "A plan", "free": true, "bindable": false,
            "plan_updateable": false,
        }],
    }]})
}

const OFFERING: &str = "/services/0";
const PLAN: &str = "/services/0/plans/0";
pub(crate) const CREATE: &str = "/services/0/plans/0/schemas/service_instance/create/parameters";

/// The clean catalog with a member set to a value.
fn with(place: &str, value: Value) -> Value {
    let mut catalog = clean();
    let (parent, name) = place.rsplit_once('/').unwrap();
    catalog.pointer_mut(parent).unwrap()[name] = value;
    catalog
}

/// The clean catalog without a member.
fn without(place: &str) -> Value {
    let mut catalog = clean();
    let (parent, name) = place.rsplit_once('/').unwrap();
    catalog
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(name)
        .unwrap();
    catalog
}

/// Rule and place of each finding.
fn found(catalog: &Value) -> Vec<(&'static str, String)> {
    let findings = lint(catalog).into_iter();
    findings.map(|finding| (finding.rule, finding.place)).collect()
}

#[track_caller]
fn one(catalog: &Value) -> Finding {
    let findings = lint(catalog);
    let [finding] = &findings[..] else {
        panic!("{findings:#?}")
    };
    finding.clone()
}

#[track_caller]
fn says(catalog: &Value, rule: &str, place: &str, words: &str) {
    let finding = one(catalog);
    assert_eq!(
        (finding.rule, finding.place.as_str(), finding.says.as_deref()),
        (rule, place, Some(words))
    );
}

#[test]
fn nobody_minds_a_clean_catalog() {
    assert_eq!(lint(&clean()), []);
}

/// OSB-CAT-01, OSB-SVC-01 to -13, OSB-PLAN-01 to -11, OSB-MNT-01, OSB-MNT-02: all at once, each in the words of Cloud
/// Foundry.
#[test]
fn members_of_a_wrong_type_are_all_told() {
    for (place, value, rule, words) in [
        ("/services", json!({}), "OSB-CAT-01", None),
        (
            "/services/0/id",
            json!(7),
            "OSB-SVC-02",
            Some("Service id must be a string, but has value 7"),
        ),
        (
            "/services/0/tags",
            json!("sql"),
            "OSB-SVC-04",
            Some("Service tags must be an array of strings, but has value \"sql\""),
        ),
        (
            "/services/0/requires",
            json!([1]),
            "OSB-SVC-05",
            Some("Service \"requires\" field must be an array of strings, but has value […]"),
        ),
        (
            "/services/0/bindable",
            json!("yes"),
            "OSB-SVC-06",
            Some("Service \"bindable\" field must be a boolean, but has value \"yes\""),
        ),
        (
            "/services/0/metadata",
            json!(1),
            "OSB-SVC-10",
            Some("Service metadata must be a hash, but has value 1"),
        ),
        ("/services/0/dashboard_client/secret", json!("x"), "", None),
        (
            "/services/0/dashboard_client/secret",
            json!(12345),
            "OSB-SVC-11",
            Some("Service dashboard client secret must be a string, but has value …"),
        ),
        (
            "/services/0/plans/0/free",
            json!("no"),
            "OSB-PLAN-05",
            Some("Plan free must be a boolean, but has value \"no\""),
        ),
        (
            "/services/0/plans/0/binding_rotatable",
            json!("no"),
            "OSB-PLAN-07",
            None,
        ),
        (
            "/services/0/plans/0/maximum_polling_duration",
            json!(1.5),
            "OSB-PLAN-10",
            Some("Maximum polling duration must be an integer, but has value 1.5"),
        ),
        (
            "/services/0/plans/0/maximum_polling_duration",
            json!(-1),
            "OSB-PLAN-10",
            None,
        ),
        (
            "/services/0/plans/0/maintenance_info/description",
            json!(1),
            "OSB-MNT-02",
            Some("Maintenance info description must be a string, but has value 1"),
        ),
        (
            "/services/0/plans/0/schemas/service_instance",
            json!(true),
            "OSB-SCH-01",
            Some("Schemas service_instance must be a hash, but has value true"),
        ),
    ] {
        let findings = lint(&with(place, value));
        let Some(first) = findings.first() else {
            assert_eq!(rule, "", "{place}");
            continue;
        };
        assert_eq!(
            (first.rule, first.place.as_str(), first.says.as_deref()),
            (rule, place, words)
        );
        assert_eq!(
            (first.severity, first.platform),
            (Severity::Error, Platform::Specification)
        );
    }
    let several = json!({ "services": [{ "name": 1, "plans": [{ "id": 2 }] }, 3] });
    let rules: BTreeSet<&str> = found(&several).into_iter().map(|(rule, _)| rule).collect();
    for rule in [
        "OSB-CAT-01",
        "OSB-SVC-01",
        "OSB-SVC-02",
        "OSB-SVC-06",
        "OSB-PLAN-01",
        "OSB-PLAN-02",
    ] {
        assert!(rules.contains(rule), "{rule}: {rules:?}");
    }
    assert_eq!(found(&json!([])), [("OSB-CAT-01", String::new())]);
}

/// One mistake does not hide another: the rest of the catalog is looked at as if it were mended.
#[test]
fn what_is_wrong_beside_a_wrong_type_is_told() {
    let mut catalog = clean();
    catalog["services"][0]["id"] = json!(7);
    catalog["services"][0]["tags"] = json!("sql");
    catalog["services"][0]["requires"] = json!(["root"]);
    catalog["services"][0].as_object_mut().unwrap().remove("bindable");
    catalog["services"][0]["plans"][0]["schemas"]["service_binding"] = json!(true);
    catalog["services"][0]["plans"][0]["maintenance_info"] = json!({});
    catalog["services"][1]["plans"][0]["id"] = json!("plan-1");
    catalog["services"][1]["description"] = json!("");
    let found = found(&catalog);
    let (last, before) = (&found[found.len() - 2..], &found[..found.len() - 2]);
    assert_eq!(before.len(), 6, "{found:?}");
    assert_eq!(
        last,
        [
            ("OSB-SVC-03", "/services/1/description".to_owned()),
            ("OSB-PLAN-01", "/services/1/plans/0/id".to_owned())
        ]
    );
}

#[test]
fn what_is_required_and_missing_is_told() {
    says(
        &without("/services/0/bindable"),
        "OSB-SVC-06",
        "/services/0/bindable",
        "Service \"bindable\" field is required",
    );
    says(
        &with("/services/1/description", Value::Null),
        "OSB-SVC-03",
        "/services/1/description",
        "Service description is required",
    );
    says(
        &without("/services/1/plans"),
        "OSB-SVC-13",
        "/services/1/plans",
        "At least one plan is required",
    );
    says(
        &without("/services/0/plans/0/maintenance_info/version"),
        "OSB-MNT-01",
        "/services/0/plans/0/maintenance_info/version",
        "Maintenance info version is required",
    );
    assert_eq!(found(&json!({})), [("OSB-CAT-01", "/services".to_owned())]);
}

/// OSB-PLAN-12.
#[test]
fn null_is_not_a_value() {
    let finding = one(&with("/services/0/metadata", Value::Null));
    assert_eq!((finding.rule, finding.severity), ("OSB-PLAN-12", Severity::Warning));
    assert_eq!(
        found(&with("/services/0/plans/0/schemas/service_binding", Value::Null)),
        [("OSB-PLAN-12", "/services/0/plans/0/schemas/service_binding".to_owned())]
    );
}

/// The rules of `osb_api`, each with its requirement, its place as a pointer, and Cloud Foundry's words.
#[test]
fn the_specification_is_told_in_cloud_foundrys_words() {
    for (place, value, rule, words) in [
        ("/services/0/name", json!(""), "OSB-SVC-01", "Service name is required"),
        (
            "/services/1/name",
            json!("db"),
            "OSB-SVC-01",
            "Service names must be unique within a broker",
        ),
        (
            "/services/1/id",
            json!("offering-1"),
            "OSB-SVC-02",
            "Service ids must be unique",
        ),
        (
            "/services/0/description",
            json!(""),
            "OSB-SVC-03",
            "Service description is required",
        ),
        (
            "/services/0/requires/0",
            json!("root"),
            "OSB-SVC-05",
            "Service \"requires\" field contains unsupported value \"root\"",
        ),
        (
            "/services/0/dashboard_client/secret",
            json!(""),
            "OSB-SVC-11",
            "Service dashboard client secret is required",
        ),
        (
            "/services/1/plans",
            json!([]),
            "OSB-SVC-13",
            "At least one plan is required",
        ),
        (
            "/services/1/plans/0/id",
            json!("plan-1"),
            "OSB-PLAN-01",
            "Plan ids must be unique. Unable to register plan with id 'plan-1' (plan name 'small', service name \
             'cache') because it uses the same id as another plan in the catalog (plan name 'small', service name 'db')",
        ),
        (
            "/services/0/plans/1/name",
            json!("small"),
            "OSB-PLAN-02",
            "Plan names must be unique within a service. Service db already has a plan named small",
        ),
        (
            "/services/0/plans/0/maintenance_info/version",
            json!("v1"),
            "OSB-MNT-01",
            "Maintenance info version must be a Semantic Version, but has value \"v1\"",
        ),
    ] {
        let mut catalog = clean();
        *catalog.pointer_mut(place).unwrap() = value;
        says(&catalog, rule, place, words);
    }
    says(
        &without(&format!("{CREATE}/$schema")),
        "OSB-SCH-02",
        &format!("{CREATE}/$schema"),
        "Schema service_instance.create.parameters is not valid. Schema must have $schema key but was not present",
    );
    says(
        &with(&format!("{CREATE}/$ref"), json!("https://example.com/schema")),
        "OSB-SCH-03",
        CREATE,
        "Schema service_instance.create.parameters is not valid. No external references are allowed",
    );
    let large = |length: usize| with(&format!("{CREATE}/description"), json!("d".repeat(length)));
    assert_eq!(
        one(&large(64_000)).says,
        None,
        "a little more than the specification allows is taken there"
    );
    assert!(
        one(&large(66_000))
            .says
            .unwrap()
            .ends_with("Must not be larger than 64KB")
    );
    let finding = one(&with("/services/0/plan_updatable", json!(true)));
    assert_eq!(
        (finding.rule, finding.severity, finding.says),
        ("OSB-GEN-02", Severity::Warning, None)
    );
}

/// Each rule of a platform: the change that breaks it, and the place and words of the finding.
fn broken() -> Vec<(&'static str, Value, String, Option<&'static str>)> {
    let offering = |member: &str| format!("{OFFERING}/{member}");
    let plan = |member: &str| format!("{PLAN}/{member}");
    let set = |place: String, value: Value| (with(&place, value), place);
    let row = |rule, (catalog, place): (Value, String), words| (rule, catalog, place, words);
    let mut no_offering = clean();
    no_offering["services"] = json!([]);
    let mut two_clients = clean();
    two_clients["services"][1]["dashboard_client"] = clean()["services"][0]["dashboard_client"].clone();
    let mut unbindable = clean();
    unbindable["services"][1]["plans"][0]["metadata"] = json!({ "supportsInstanceSharing": true });
    let many_tags = || vec!["t".repeat(683); 3];
    vec![
        row(
            "cf-no-offering",
            (no_offering, "/services".into()),
            Some("Service broker must provide at least one service"),
        ),
        row(
            "cf-blank-text",
            set(plan("description"), json!(" \t")),
            Some("Plan description is required"),
        ),
        row(
            "cf-tags-long",
            set(offering("tags"), json!(many_tags())),
            Some("Tags for the service db must be 2048 characters or less."),
        ),
        row(
            "cf-dashboard-redirect",
            (
                without("/services/0/dashboard_client/redirect_uri"),
                "/services/0/dashboard_client/redirect_uri".into(),
            ),
            Some("Service dashboard client redirect_uri is required"),
        ),
        row(
            "cf-dashboard-shared",
            (two_clients, "/services/1/dashboard_client/id".into()),
            Some("Service dashboard_client id must be unique"),
        ),
        row(
            "cf-maintenance-members",
            (
                with(&plan("maintenance_info/public"), json!({})),
                plan("maintenance_info"),
            ),
            Some("Maintenance info contains invalid key(s): public"),
        ),
        row(
            "cf-maintenance-long",
            (
                with(&plan("maintenance_info/description"), json!("d".repeat(2000))),
                plan("maintenance_info"),
            ),
            Some(
                "Maintenance info must serialize to 2000 characters or fewer in JSON, but serializes to 2036 \
                 characters",
            ),
        ),
        row(
            "cf-schema-draft4",
            set(format!("{CREATE}/properties/size/minimum"), json!("one")),
            Some(
                "Schema service_instance.create.parameters is not valid. Must conform to JSON Schema Draft 04 \
                 (experimental support for later versions)",
            ),
        ),
        row(
            "service-catalog-id-long",
            set(plan("id"), json!("i".repeat(64))),
            Some("must be no more than 63 characters"),
        ),
        row(
            "service-catalog-name-long",
            set(plan("name"), json!("n".repeat(64))),
            Some("must be no more than 63 characters"),
        ),
        row("sm-reserved-name", set(plan("name"), json!("reference-instance")), None),
        row(
            "sm-sharing-unbindable",
            (
                unbindable,
                "/services/1/plans/0/metadata/supportsInstanceSharing".into(),
            ),
            None,
        ),
        row(
            "sm-platforms",
            (
                with(
                    &plan("metadata"),
                    json!({ "supportedPlatforms": ["cf"], "excludedPlatformNames": ["k"] }),
                ),
                plan("metadata"),
            ),
            Some(
                "only one of supportedPlatforms, supportedPlatformNames and excludedPlatformNames can be defined in \
                 plan metadata",
            ),
        ),
    ]
}

#[test]
fn what_a_platform_refuses_is_told_in_its_words() {
    for (rule, catalog, place, words) in broken() {
        let finding = one(&catalog);
        assert_eq!(
            (
                finding.rule,
                finding.severity,
                finding.place.as_str(),
                finding.says.as_deref()
            ),
            (rule, Severity::Error, place.as_str(), words)
        );
    }
}

/// What the specification minds a little and a platform a lot: both are told.
fn broken_twice() -> Vec<(&'static str, &'static str, Value, Option<&'static str>)> {
    let at = |place: &str, value: Value| with(&format!("{OFFERING}/{place}"), value);
    vec![
        (
            "OSB-CAT-05",
            "cf-description-long",
            at("description", json!("d".repeat(10_001))),
            Some("Service description may not have more than 10000 characters"),
        ),
        (
            "OSB-PLAN-12",
            "cf-null-list",
            at("tags", Value::Null),
            Some("Service tags must be an array of strings, but has value nil"),
        ),
        (
            "OSB-PROF-07",
            "cf-shareable",
            at("metadata/shareable", json!("yes")),
            Some("Service metadata shareable must be a boolean, but has value \"yes\""),
        ),
        (
            "OSB-SCH-05",
            "cf-schema-dialect",
            with(
                &format!("{CREATE}/$schema"),
                json!("https://json-schema.org/draft/2020-12/schema"),
            ),
            Some("Schema service_instance.create.parameters is not valid. Custom meta schemas are not supported."),
        ),
        (
            "OSB-PROF-07",
            "korifi-documentation-url",
            at("metadata/documentationUrl", json!(1)),
            None,
        ),
        ("OSB-SVC-01", "korifi-name-label", at("name", json!("my db")), None),
    ]
}

#[test]
fn what_is_advice_elsewhere_is_an_error_on_a_platform() {
    for (requirement, rule, catalog, words) in broken_twice() {
        let findings = lint(&catalog);
        let [first, second] = &findings[..] else {
            panic!("{rule}: {findings:#?}")
        };
        assert_eq!((first.rule, first.severity), (requirement, Severity::Warning));
        assert_eq!(
            (second.rule, second.severity, second.says.as_deref()),
            (rule, Severity::Error, words)
        );
        assert_eq!(first.place, second.place, "{rule}");
    }
}

#[test]
fn names_at_the_edge_of_a_label_are_told_apart() {
    for (name, fits) in [
        ("-db", false),
        ("db.", false),
        ("a.b-c_d", true),
        (&"n".repeat(64), false),
        (&"n".repeat(63), true),
    ] {
        let mut catalog = clean();
        catalog["services"][0]["name"] = json!(name);
        let label = found(&catalog).iter().any(|(rule, _)| *rule == "korifi-name-label");
        assert_eq!(label, !fits, "{name}");
    }
}

#[test]
fn what_korifi_reads_as_false_is_told_where_it_matters() {
    for name in ["free", "bindable", "plan_updateable"] {
        let finding = one(&without(&format!("{PLAN}/{name}")));
        assert_eq!(
            (finding.rule, finding.severity),
            ("korifi-absent-flag", Severity::Warning)
        );
        assert_eq!(finding.place, format!("{PLAN}/{name}"));
    }
    // Everybody takes these two for false: the offering says so, or says nothing.
    assert_eq!(lint(&without("/services/1/plans/0/bindable")), []);
    assert_eq!(lint(&without("/services/1/plans/0/plan_updateable")), []);
}

/// The table of rules has each rule that is ever found, and each of its rules is found by a test above.
#[test]
fn every_rule_is_in_the_table_and_has_a_test() {
    let table: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(table.len(), RULES.len());
    let mut tested: BTreeSet<&str> = broken().into_iter().map(|(rule, ..)| rule).collect();
    tested.extend(broken_twice().into_iter().map(|(_, rule, ..)| rule));
    tested.extend(crate::compare::tests::CHANGED.iter().map(|(rule, ..)| *rule));
    tested.extend(["korifi-absent-flag", "change-plan-name-moved"]);
    assert_eq!(table, tested);
}

/// Neither a secret nor anything in front of it leaves with a finding.
#[test]
fn secrets_are_not_told() {
    let mut catalog = clean();
    catalog["services"][0]["name"] = json!("");
    catalog["services"][0]["dashboard_client"]["redirect_uri"] = Value::Null;
    catalog["services"][1]["dashboard_client"] = catalog["services"][0]["dashboard_client"].clone();
    let told = serde_json::to_string(&lint(&catalog)).unwrap();
    assert!(!told.contains("canary"), "{told}");
}

proptest::proptest! {
    #[test]
    fn arbitrary_catalogs_never_panic(text in "[\\[\\]{}:,\"a-z0-9 ]{0,60}") {
        let _ = lint(&serde_json::from_str(&text).unwrap_or(Value::String(text)));
    }
}
