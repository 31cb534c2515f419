//! The catalog has everything that a catalog can have.

use osb_api::catalog::Catalog;
use reference_broker::{Options, SIZED};
use serde_json::Value;

use crate::shop::Shop;

/// Each optional member, as a path; `*` is any element. OSB-SVC-04 to -12, OSB-PLAN-04 to -11, OSB-MNT-02, OSB-SCH-01,
/// OSB-PROF-07.
const MEMBERS: [&str; 41] = [
    "services/*/tags/*",
    "services/*/requires/syslog_drain",
    "services/*/requires/route_forwarding",
    "services/*/requires/volume_mount",
    "services/*/bindable/true",
    "services/*/bindable/false",
    "services/*/instances_retrievable/true",
    "services/*/bindings_retrievable/true",
    "services/*/allow_context_updates/true",
    "services/*/metadata/displayName",
    "services/*/metadata/imageUrl",
    "services/*/metadata/longDescription",
    "services/*/metadata/providerDisplayName",
    "services/*/metadata/documentationUrl",
    "services/*/metadata/supportUrl",
    "services/*/metadata/shareable/true",
    "services/*/dashboard_client/id",
    "services/*/dashboard_client/secret",
    "services/*/dashboard_client/redirect_uri",
    "services/*/plan_updateable/true",
    "services/*/plan_updateable/false",
    "services/*/plans/*/metadata/displayName",
    "services/*/plans/*/metadata/bullets/*",
    "services/*/plans/*/metadata/costs/*/amount/usd",
    "services/*/plans/*/metadata/costs/*/unit",
    "services/*/plans/*/free/true",
    "services/*/plans/*/free/false",
    "services/*/plans/*/bindable/true",
    "services/*/plans/*/bindable/false",
    "services/*/plans/*/binding_rotatable/true",
    "services/*/plans/*/plan_updateable/true",
    "services/*/plans/*/plan_updateable/false",
    "services/*/plans/*/schemas/service_instance/create/parameters/$schema",
    "services/*/plans/*/schemas/service_instance/create/parameters/properties/seconds/maximum",
    "services/*/plans/*/schemas/service_instance/update/parameters/properties/fail_at",
    "services/*/plans/*/schemas/service_binding/create/parameters/properties/expires_in",
    "services/*/plans/*/maximum_polling_duration",
    "services/*/plans/*/maintenance_info/version",
    "services/*/plans/*/maintenance_info/description",
    "services/*/plans/*/description",
    "services/*/description",
];

/// Whether there is something at the path. A last part may also be a value: of a flag, or in a list.
fn has(value: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return true;
    };
    match value {
        Value::Array(items) if *first == "*" => items.iter().any(|item| has(item, rest)),
        Value::Array(items) => rest.is_empty() && items.iter().any(|item| item == first),
        Value::Object(members) => members.get(*first).is_some_and(|member| has(member, rest)),
        Value::Bool(flag) => rest.is_empty() && flag.to_string() == *first,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_optional_member_occurs() {
    let shop = Shop::open().await;
    let catalog: Value = serde_json::from_slice(&shop.client.catalog_bytes().await.unwrap()).unwrap();
    for path in MEMBERS {
        assert!(has(&catalog, &path.split('/').collect::<Vec<_>>()), "{path}");
    }
    for path in [
        "services/*/nonsense",
        "services/*/requires/nonsense",
        "services/*/tags/*/x",
    ] {
        assert!(!has(&catalog, &path.split('/').collect::<Vec<_>>()), "{path}");
    }
    shop.close().await;
}

/// A plan says otherwise than its offering, both ways (OSB-PLAN-06, OSB-PLAN-08).
#[tokio::test(flavor = "multi_thread")]
async fn plans_override_their_offering_both_ways() {
    let shop = Shop::open().await;
    let catalog = shop.client.catalog().await.unwrap();
    for (offering_says, plan_says) in [(true, false), (false, true)] {
        let has = |of: fn(&osb_api::catalog::Offering) -> bool, plan: fn(&osb_api::catalog::Plan) -> Option<bool>| {
            let mut offerings = catalog.services.iter().filter(|offering| of(offering) == offering_says);
            offerings.any(|offering| offering.plans.iter().any(|found| plan(found) == Some(plan_says)))
        };
        assert!(has(|offering| offering.bindable, |plan| plan.bindable));
        assert!(has(|offering| offering.plan_updateable, |plan| plan.plan_updateable));
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_mend_in_it() {
    let everything = Options {
        combinations: true,
        ..Options::default()
    };
    let shop = Shop::with(&everything).await;
    let catalog = Catalog::from_json(&shop.client.catalog_bytes().await.unwrap()).unwrap();
    assert_eq!(catalog.problems(), []);
    let plans: usize = catalog.services.iter().map(|offering| offering.plans.len()).sum();
    assert!(plans > 80, "{plans}");
    shop.close().await;
}

/// With so many plans there is nothing else, and each has all schemas (OSB-SCH-01).
#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_has_any_number_of_plans() {
    let sized = |plans| Options {
        plans: Some(plans),
        ..Options::default()
    };
    let shop = Shop::with(&sized(200)).await;
    let catalog = Catalog::from_json(&shop.client.catalog_bytes().await.unwrap()).unwrap();
    assert_eq!(catalog.problems(), []);
    let [offering] = &catalog.services[..] else {
        panic!("other offerings: {}", catalog.services.len());
    };
    assert_eq!((offering.id.as_str(), offering.plans.len()), (SIZED, 200));
    for plan in &offering.plans {
        let schemas = &plan.schemas;
        let all = [
            &schemas.instance_create,
            &schemas.instance_update,
            &schemas.binding_create,
        ];
        assert!(all.iter().all(|schema| schema.is_some()), "{}", plan.name);
    }
    let last = &offering.plans[199].id;
    shop.provision("i", last.as_str(), serde_json::json!({"seconds": 0}))
        .await
        .unwrap();
    shop.close().await;
}
