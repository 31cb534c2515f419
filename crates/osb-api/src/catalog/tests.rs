use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn valid() -> Catalog {
    let schema = json!({ "$schema": "http://json-schema.org/draft-04/schema#", "type": "object" });
    let plan = Plan::new("plan-1", "small", "A plan")
        .free(false)
        .maintenance_version("1.0.0");
    let plan = plan.schemas(Schemas {
        instance_create: schema.as_object().cloned(),
        ..Schemas::default()
    });
    let offering = Offering::new("offering-1", "db", "A database")
        .bindable(true)
        .tags(["sql"])
        .plan(plan);
    Catalog::new().offering(
        offering.plan(
            Plan::new("plan-2", "large", "Another")
                .bindable(false)
                .plan_updateable(true),
        ),
    )
}

/// The paths of the errors after a change.
fn errors(change: impl FnOnce(&mut Catalog)) -> Vec<String> {
    let mut catalog = valid();
    change(&mut catalog);
    catalog.check().map_or_else(
        |errors| errors.into_iter().map(|error| error.path).collect(),
        |_| Vec::new(),
    )
}

/// The paths of the advice after a change that leaves the catalog valid.
fn advice(change: impl FnOnce(&mut Catalog)) -> Vec<String> {
    let mut catalog = valid();
    change(&mut catalog);
    catalog
        .check()
        .unwrap()
        .advice()
        .iter()
        .map(|problem| problem.path.clone())
        .collect()
}

#[test]
fn a_valid_catalog_has_no_problems() {
    assert_eq!(advice(|_| ()), [""; 0]);
}

/// OSB-SVC-01 to -03, OSB-PLAN-01 to -03.
#[test]
fn empty_texts_are_errors_at_their_place() {
    let found = errors(|catalog| {
        catalog.services[0].id.clear();
        catalog.services[0].name.clear();
        catalog.services[0].description.clear();
        let plan = &mut catalog.services[0].plans[1];
        plan.id.clear();
        plan.name.clear();
        plan.description.clear();
    });
    let offering = ["services[0].id", "services[0].name", "services[0].description"];
    let plan = [
        "services[0].plans[1].id",
        "services[0].plans[1].name",
        "services[0].plans[1].description",
    ];
    assert_eq!(found, [offering, plan].concat());
    assert_eq!(
        errors(|catalog| catalog.services[0].id = "x".repeat(1025)),
        ["services[0].id"]
    );
}

/// OSB-SVC-01, OSB-SVC-02, OSB-PLAN-01, OSB-PLAN-02, OSB-CAT-11: ids of plans are unique in the whole catalog, names in
/// their offering, both case-sensitively.
#[test]
fn ids_and_names_are_unique() {
    let second = || Offering::new("offering-2", "cache", "A cache").plan(Plan::new("plan-3", "small", "A plan"));
    assert_eq!(
        errors(|catalog| catalog.services.push(second())),
        [""; 0],
        "plan names may repeat in another offering"
    );
    assert_eq!(
        errors(|catalog| catalog.services.push(Offering {
            id: "offering-1".into(),
            ..second()
        })),
        ["services[1].id"]
    );
    assert_eq!(
        errors(|catalog| catalog.services.push(Offering {
            name: "db".into(),
            ..second()
        })),
        ["services[1].name"]
    );
    assert_eq!(
        errors(|catalog| catalog.services.push(Offering {
            name: "DB".into(),
            ..second()
        })),
        [""; 0]
    );
    assert_eq!(
        errors(|catalog| catalog.services.push(second().plan(Plan::new("plan-1", "x", "x")))),
        ["services[1].plans[1].id"]
    );
    assert_eq!(
        errors(|catalog| catalog.services[0].plans[1].name = "small".into()),
        ["services[0].plans[1].name"]
    );
}

/// OSB-SVC-11, OSB-SVC-13, OSB-PLAN-10, OSB-MNT-01, OSB-SCH-02.
#[test]
fn the_other_rules_of_the_specification_hold() {
    assert_eq!(
        errors(|catalog| catalog.services[0].plans.clear()),
        ["services[0].plans"]
    );
    assert_eq!(
        errors(|catalog| catalog.services[0].plans[0].maximum_polling_duration = Some(0)),
        ["services[0].plans[0].maximum_polling_duration"]
    );
    assert_eq!(
        errors(|catalog| catalog.services[0].plans[0].maintenance_info = Some(MaintenanceInfo::default())),
        ["services[0].plans[0].maintenance_info.version"]
    );
    let client = DashboardClient {
        id: "c".into(),
        secret: String::new(),
        redirect_uri: Some("https://r".into()),
    };
    assert_eq!(
        errors(|catalog| catalog.services[0].dashboard_client = Some(client)),
        ["services[0].dashboard_client.secret"]
    );
    assert_eq!(
        errors(|catalog| catalog.services[0].plans[0].schemas.binding_create = Some(Object::new())),
        ["services[0].plans[0].schemas.service_binding.create.parameters.$schema"]
    );
}

/// OSB-CAT-05, OSB-GEN-02, OSB-PROF-07, OSB-SCH-05, OSB-SCH-06, OSB-URL-02: not errors, but somebody will suffer.
#[test]
fn what_platforms_dislike_is_advice() {
    assert_eq!(
        advice(|catalog| catalog.services[0].name = "my db".into()),
        ["services[0].name"]
    );
    assert_eq!(
        advice(|catalog| catalog.services[0].id = "a/b".into()),
        ["services[0].id"]
    );
    assert_eq!(
        advice(|catalog| catalog.services[0].id = "a".repeat(256)),
        ["services[0].id"]
    );
    assert_eq!(
        advice(|catalog| catalog.services[0].description = "d".repeat(256)),
        ["services[0].description"]
    );
    assert_eq!(
        advice(|catalog| catalog.services[0].plans[1].binding_rotatable = true),
        ["services[0].plans[1].binding_rotatable"]
    );
    let numbers = |catalog: &mut Catalog| _ = catalog.services[0].metadata.insert("documentationUrl".into(), 7.into());
    assert_eq!(advice(numbers), ["services[0].metadata.documentationUrl"]);
    let misspelt = |catalog: &mut Catalog| {
        _ = catalog.services[0]
            .extensions
            .insert("plan_updatable".into(), true.into())
    };
    assert_eq!(advice(misspelt), ["services[0].plan_updatable"]);
    let prefixed = |catalog: &mut Catalog| {
        _ = catalog.services[0]
            .extensions
            .insert("example.com:tier".into(), 1.into())
    };
    assert_eq!(advice(prefixed), [""; 0]);
    let dialect = |dialect: &str| {
        let schema = json!({ "$schema": dialect, "type": "object" });
        move |catalog: &mut Catalog| {
            catalog.services[0].plans[0].schemas.instance_create = schema.as_object().cloned();
        }
    };
    assert_eq!(
        advice(dialect("https://json-schema.org/draft/2020-12/schema")),
        ["services[0].plans[0].schemas.service_instance.create.parameters.$schema"]
    );
    assert_eq!(advice(dialect("https://json-schema.org/draft-04/schema")), [""; 0]);
}

#[test]
fn a_problem_says_where_what_and_how() {
    let Err(errors) = Catalog::new().offering(Offering::new("o", "n", "d")).check() else {
        panic!("no plan")
    };
    assert_eq!(
        errors[0].to_string(),
        "services[0].plans: is empty; add a plan: each offering has at least one"
    );
}

/// OSB-CAT-01, OSB-PLAN-05, -06, -08, -12: what platforms read differently when it is absent is always written.
#[test]
fn the_served_catalog_is_explicit() {
    let checked = valid().check().unwrap();
    let body: Value = serde_json::from_slice(checked.body()).unwrap();
    let plans = body["services"][0]["plans"].as_array().unwrap();
    let explicit: Vec<_> = plans
        .iter()
        .map(|plan| [&plan["free"], &plan["bindable"], &plan["plan_updateable"]].map(Value::as_bool))
        .collect();
    assert_eq!(
        explicit,
        [
            [Some(false), Some(true), Some(false)],
            [Some(true), Some(false), Some(true)]
        ]
    );
    assert!(!String::from_utf8_lossy(checked.body()).contains("null"));
    assert_eq!(
        plans[0]["schemas"]["service_instance"]["create"]["parameters"]["type"],
        "object"
    );
    assert_eq!(plans[1].get("schemas"), None);
}

#[test]
fn plans_are_found_by_both_ids() {
    let checked = valid().check().unwrap();
    let offering = |id: &str| OfferingId::new(id).unwrap();
    let plan = |id: &str| PlanId::new(id).unwrap();
    assert_eq!(checked.offering(&offering("offering-1")).unwrap().name, "db");
    assert_eq!(checked.offering(&offering("x")), None);
    let found = checked.plan(&offering("offering-1"), &plan("plan-1")).unwrap();
    assert_eq!(
        (
            found.plan.name.as_str(),
            found.bindable(),
            found.plan_updateable(),
            found.maintenance_version()
        ),
        ("small", true, false, Some("1.0.0"))
    );
    assert_eq!(checked.plan(&offering("offering-1"), &plan("x")), None);
    assert_eq!(checked.plan(&offering("x"), &plan("plan-1")), None);
    assert_eq!(checked.plans().count(), 2);
}

/// OSB-SVC-04 to -13, OSB-PLAN-04 to -11, OSB-SCH-01, OSB-MNT-02.
#[test]
fn reading_names_the_member_that_is_missing_or_wrong() {
    let read = |change: &dyn Fn(&mut Value)| {
        let mut body: Value = serde_json::from_slice(valid().check().unwrap().body()).unwrap();
        change(&mut body);
        Catalog::from_json(body.to_string().as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(
        read(&|body| body["services"] = json!({})),
        "`services` has to be an array"
    );
    assert_eq!(
        read(&|body| body["services"][0]["bindable"] = Value::Null),
        "`services[0].bindable` is required"
    );
    assert_eq!(
        read(&|body| body["services"][0]["requires"] = json!(["root"])),
        "`services[0].requires` has to hold syslog_drain, route_forwarding or volume_mount only"
    );
    assert_eq!(
        read(&|body| body["services"][0]["plans"][1]["free"] = json!("no")),
        "`services[0].plans[1].free` has to be a boolean"
    );
    assert_eq!(
        read(&|body| body["services"][0]["plans"][0]["metadata"] = json!("cheap")),
        "`services[0].plans[0].metadata` has to be an object"
    );
    assert_eq!(
        read(&|body| body["services"][0]["plans"][0]["maintenance_info"]["description"] = json!(1)),
        "`services[0].plans[0].maintenance_info.description` has to be a string"
    );
    assert_eq!(
        read(&|body| body["services"][0]["plans"][0]["maximum_polling_duration"] = json!(1.5)),
        "`services[0].plans[0].maximum_polling_duration` has to be an integer from 0 on"
    );
    assert_eq!(
        read(&|body| body["services"][0]["plans"][0]["schemas"] =
            json!({ "service_binding": { "create": { "parameters": true } } })),
        "`services[0].plans[0].schemas.service_binding.create.parameters` has to be an object"
    );
}

fn plans() -> impl Strategy<Value = Plan> {
    (
        ".{0,8}",
        ".{0,8}",
        any::<bool>(),
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        any::<Option<u64>>(),
        prop::option::of(".{0,8}"),
        any::<bool>(),
    )
        .prop_map(
            |(id, name, free, bindable, plan_updateable, maximum_polling_duration, version, schema)| Plan {
                free,
                bindable,
                plan_updateable,
                maximum_polling_duration,
                maintenance_info: version.map(|version| MaintenanceInfo {
                    version,
                    description: None,
                }),
                schemas: Schemas {
                    instance_update: schema.then(Object::new),
                    ..Schemas::default()
                },
                ..Plan::new(id, name, "d")
            },
        )
}

proptest! {
    #[test]
    fn a_catalog_survives_the_wire(plans in prop::collection::vec(plans(), 0..3), bindable: bool, requires: bool) {
        let mut offering = Offering { plans, ..Offering::new("o", "n", "d") }.bindable(bindable).metadata("displayName", "D");
        offering.requires.extend(requires.then_some(Requires::VolumeMount));
        offering.extensions.insert("x:y".into(), json!({ "z": 1 }));
        let catalog = Catalog::new().offering(offering);
        let json = serde_json::to_vec(&catalog).unwrap();
        prop_assert_eq!(&Catalog::from_json(&json).unwrap(), &catalog);
        prop_assert_eq!(&serde_json::from_slice::<Catalog>(&json).unwrap(), &catalog);
        let _ = catalog.check();
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Catalog::from_json(&bytes);
    }
}
