use serde_json::json;
use template::document;

use super::*;

fn mapped(text: &str, ids: Ids) -> Mapped {
    let templates = document::templates(text).unwrap();
    Mapped::of(&templates[0], ids)
}

fn with(annotations: &serde_json::Value, objects: &serde_json::Value) -> Mapped {
    let text = json!({
        "kind": "Template", "apiVersion": "template.openshift.io/v1",
        "metadata": {"namespace": "shop", "name": "db", "uid": "0c7e", "annotations": annotations},
        "parameters": [
            {"name": "SIZE", "value": "1Gi"}, {"name": "SIZE", "value": "2Gi"},
            {"name": "PASSWORD", "generate": "expression", "from": "[a-z]{8}", "required": true},
        ],
        "objects": objects,
    });
    mapped(&text.to_string(), Ids::Stable)
}

fn secret(annotations: &serde_json::Value) -> serde_json::Value {
    json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "annotations": annotations}})
}

#[test]
fn annotations_become_what_marketplaces_show() {
    let mapped = with(
        &json!({
            "openshift.io/display-name": "A database", "description": "Rows", "openshift.io/long-description": "Many rows",
            "openshift.io/provider-display-name": "Us", "openshift.io/documentation-url": "https://docs",
            "openshift.io/support-url": "https://help", "iconClass": "icon-db", "tags": "database,sql",
            "template.osb.internal/image-url": "https://image",
        }),
        &json!([]),
    );
    let served = serde_json::to_value(&mapped.offering).unwrap();
    assert_eq!(
        (&served["name"], &served["description"]),
        (&json!("db"), &json!("Rows"))
    );
    assert_eq!(served["tags"], json!(["database", "sql"]));
    assert_eq!(
        served["metadata"],
        json!({
            "displayName": "A database", "longDescription": "Many rows", "providerDisplayName": "Us",
            "documentationUrl": "https://docs", "supportUrl": "https://help", "imageUrl": "https://image",
            "console.openshift.io/iconClass": "icon-db",
        })
    );
    assert_eq!(
        (&served["instances_retrievable"], &served["bindings_retrievable"]),
        (&json!(true), &json!(true))
    );
    assert!(mapped.problems.is_empty());
}

/// S2
#[test]
fn tags_are_trimmed_and_stand_once() {
    let tags = |text: serde_json::Value| with(&json!({"tags": text}), &json!([])).offering.tags;
    assert_eq!(tags(json!(" database ,, sql,database, ")), ["database", "sql"]);
    assert!(tags(json!("")).is_empty());
    assert!(with(&json!({}), &json!([])).offering.tags.is_empty());
}

/// S4
#[test]
fn ids_stay_when_a_template_is_made_anew_and_plans_have_their_own() {
    let of = |uid: &str| {
        let text = json!({"kind": "Template", "metadata": {"namespace": "shop", "name": "db", "uid": uid}});
        mapped(&text.to_string(), Ids::Stable)
    };
    let (one, other) = (of("a"), of("b"));
    assert_eq!(one.offering.id, other.offering.id);
    assert_eq!(one.offering.plans[0].id, other.offering.plans[0].id);
    assert_ne!(one.offering.id, one.offering.plans[0].id);
    assert_eq!(
        (one.alias(), one.position("a"), one.position("b")),
        (Some(("a", "a")), Some(0), None)
    );
}

#[test]
fn ids_of_annotations_come_first_and_wrong_ones_are_told() {
    let right = with(&json!({"template.osb.internal/service-id": "4f1e"}), &json!([]));
    assert_eq!((right.offering.id.as_str(), right.problems.len()), ("4f1e", 0));
    let wrong = with(&json!({"template.osb.internal/service-id": "a/b"}), &json!([]));
    assert_eq!(
        (wrong.offering.id, wrong.problems.len()),
        (ids::service("shop", "db"), 1)
    );
}

#[test]
fn for_platforms_of_the_broker_in_go_the_uid_is_the_id() {
    let text = r#"{"kind": "Template", "metadata": {"namespace": "a", "name": "b", "uid": "u1"}}"#;
    let mapped = mapped(text, Ids::Uid);
    assert_eq!(
        (mapped.offering.id.as_str(), mapped.offering.plans[0].id.as_str()),
        ("u1", "u1")
    );
    assert_eq!(mapped.alias(), None);
}

#[test]
fn without_plans_there_is_the_default_one_with_its_form() {
    let mapped = with(&json!({}), &json!([]));
    let plan = &mapped.offering.plans[0];
    assert_eq!(
        (plan.name.as_str(), plan.description.as_str(), plan.free),
        ("default", "Default plan", true)
    );
    let form = &plan.metadata["schemas"]["service_instance"]["create"]["openshift_form_definition"];
    // P19: a name that stands twice is one parameter.
    assert_eq!(*form, json!(["SIZE", "PASSWORD"]));
}

#[test]
fn plans_fix_and_default_parameters() {
    let plans = "[{name: small, description: Small, parameters: {SIZE: 1Gi}}, \
                  {name: large, free: false, defaults: {SIZE: 9Gi}, metadata: {bullets: [big]}, maximumPollingDuration: 60}]";
    let mapped = with(&json!({"template.osb.internal/plans": plans}), &json!([]));
    assert!(mapped.problems.is_empty(), "{:?}", mapped.problems);
    assert!(mapped.offering.plan_updateable);
    let [small, large] = &mapped.offering.plans[..] else {
        panic!("two plans")
    };
    assert_ne!(small.id, large.id);
    let create = |plan: &Plan| serde_json::Value::Object(plan.schemas.instance_create.clone().unwrap());
    assert!(create(small)["properties"].get("SIZE").is_none());
    assert_eq!(create(large)["properties"]["SIZE"]["default"], "9Gi");
    assert_eq!((large.free, large.maximum_polling_duration), (false, Some(60)));
    assert_eq!(large.metadata["bullets"], json!(["big"]));
    assert_eq!(mapped.fixed[0].values["SIZE"], "1Gi");
}

#[test]
fn wrong_plans_are_told_and_the_rest_is_offered() {
    let of = |plans: &str| with(&json!({"template.osb.internal/plans": plans}), &json!([]));
    let twice = of("[{name: a}, {name: a}, {name: b, parameters: {NOBODY: 1}}]");
    assert_eq!((twice.offering.plans.len(), twice.problems.len()), (2, 2));
    let odd = of("[{nam: a}]");
    assert_eq!(
        (odd.offering.plans[0].name.as_str(), odd.problems.len()),
        ("default", 1)
    );
    assert_eq!(of("{").problems.len(), 1);
}

/// S25
#[test]
fn what_exposes_nothing_is_not_bindable() {
    let expose = json!({"template.openshift.io/expose-uri": "{.data.uri}"});
    let base64 = json!({"template.openshift.io/base64-expose-key": "{.data.key}"});
    let bindable = |annotations, objects| with(&annotations, &objects).offering.bindable;
    assert!(bindable(json!({}), json!([secret(&expose)])));
    assert!(bindable(json!({}), json!([secret(&base64)])));
    assert!(bindable(
        json!({}),
        json!([{"kind": "List", "apiVersion": "v1", "items": [secret(&expose)]}])
    ));
    assert!(!bindable(json!({}), json!([secret(&json!({})), "no object"])));
    assert!(!bindable(
        json!({"template.openshift.io/bindable": "False"}),
        json!([secret(&expose)])
    ));
    // Whoever says so gets a binding without credentials, for instance for a platform that only wants to note it.
    assert!(bindable(json!({"template.openshift.io/bindable": "true"}), json!([])));
}

#[test]
fn only_plans_that_can_be_bound_have_a_schema_of_binding_parameters() {
    let schemas = |objects| with(&json!({}), &objects).offering.plans[0].schemas.clone();
    assert!(schemas(json!([])).binding_create.is_none());
    let expose = json!({"template.openshift.io/expose-uri": "{.data.uri}"});
    let schema = schemas(json!([secret(&expose)])).binding_create.unwrap();
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn a_semantic_version_makes_instances_upgradable() {
    let version = |text: &str| {
        let mapped = with(&json!({"template.osb.internal/version": text}), &json!([]));
        (
            mapped.offering.plans[0]
                .maintenance_info
                .clone()
                .map(|info| info.version),
            mapped.problems.len(),
        )
    };
    assert_eq!(version("1.2.0"), (Some("1.2.0".to_owned()), 0));
    assert_eq!(version("new"), (None, 1));
}

/// Everything that a catalog needs is there, and no platform complains of it.
#[test]
fn the_offerings_of_real_templates_are_right() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/templates");
    let mut all = Vec::new();
    for folder in [own, corpus] {
        let Ok(files) = std::fs::read_dir(folder) else {
            eprintln!("skipped: {folder} is not there");
            continue;
        };
        for file in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&file).unwrap();
            let templates = document::templates(&text).unwrap_or_default();
            // A server takes none without a name.
            for template in templates.into_iter().filter(|template| !template.name().is_empty()) {
                let mut mapped = Mapped::of(&template, Ids::Stable);
                assert!(mapped.problems.is_empty(), "{}: {:?}", file.display(), mapped.problems);
                mapped.key.namespace = file.file_stem().unwrap().to_string_lossy().into_owned();
                mapped.offering.id = ids::service(&mapped.key.namespace, &format!("{}{}", mapped.key.name, all.len()));
                mapped.offering.plans[0].id =
                    ids::plan(&mapped.key.namespace, &mapped.key.name, &all.len().to_string());
                all.push(mapped);
            }
        }
    }
    assert!(all.len() >= 4);
    let assigned = crate::naming::assign(&all);
    let services: Vec<_> = all
        .iter()
        .map(|mapped| assigned[&mapped.key].offering(mapped))
        .collect();
    let catalog = json!({"services": services});
    let findings = osb_lint::lint(&catalog);
    let errors: Vec<_> = findings
        .iter()
        .filter(|one| one.severity > osb_lint::Severity::Warning)
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}
