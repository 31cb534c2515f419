//! Each plan does what its catalog entry says of it.

use osb_api::catalog::{Catalog, Offering, Plan};
use osb_api::request::Incomplete;
use osb_client::{Error, Reply};
use reference_broker::Options;
use serde_json::{Value, json};

use crate::shop::{Shop, operation};

/// Whether a plan's name says that what is done to its instances, or its bindings, is answered with 202.
fn is_async(plan: &Plan, what: &str) -> bool {
    plan.name.split('.').any(|part| part == what)
}

/// That an answer is a 202 exactly where the plan says so.
#[track_caller]
fn answered<T: std::fmt::Debug>(reply: Result<Reply<T>, Error>, later: bool, what: &str) -> Reply<T> {
    let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(matches!(reply, Reply::Accepted { .. }), later, "{what}: {reply:?}");
    reply
}

async fn live(shop: &Shop, catalog: &Catalog, offering: &Offering, plan: &Plan) {
    let (id, later) = (plan.id.as_str(), is_async(plan, "async"));
    let version = plan
        .maintenance_info
        .as_ref()
        .map(|info| json!({"version": info.version}));
    let reply = shop.provision_with(id, id, json!({"maintenance_info": version})).await;
    shop.instance_end_of(id, answered(reply, later, &plan.name)).await;
    assert_eq!(
        shop.fetch(id).await.is_ok(),
        offering.instances_retrievable,
        "{}",
        plan.name
    );

    let reply = shop.update(id, id, json!({"parameters": {"label": "new"}})).await;
    shop.instance_end_of(id, answered(reply, later, &plan.name)).await;
    if plan.bindable == Some(true) {
        bind(shop, offering, plan).await;
    } else {
        assert_eq!(
            shop.bind(id, id, "b").await.unwrap_err().status(),
            Some(400),
            "{}",
            plan.name
        );
    }
    let current = leave(shop, catalog, offering, plan).await;
    let operation = shop.deprovision(id, &current.id).await.unwrap();
    assert_eq!(operation.is_some(), is_async(current, "async"), "{}", plan.name);
    shop.instance_end(id, operation).await;
}

async fn bind(shop: &Shop, offering: &Offering, plan: &Plan) {
    let (id, later) = (plan.id.as_str(), is_async(plan, "bind-async"));
    let made = async |binding: &str, more: Value| {
        let reply = shop.bind_with(id, id, binding, more, Incomplete::Accepted).await;
        let operation = operation(answered(reply, later, &plan.name));
        if operation.is_some() {
            shop.binding_end(id, binding, operation).await;
        }
    };
    made("one", json!({})).await;
    assert_eq!(
        shop.fetch_binding(id, "one").await.is_ok(),
        offering.bindings_retrievable,
        "{}",
        plan.name
    );
    let rotation = json!({"predecessor_binding_id": "one"});
    if plan.binding_rotatable {
        made("two", rotation).await;
    } else {
        let refused = shop
            .bind_with(id, id, "two", rotation, Incomplete::Accepted)
            .await
            .unwrap_err();
        assert_eq!(refused.status(), Some(400), "{}", plan.name);
    }
    let operation = shop.unbind(id, id, "one").await.unwrap();
    assert_eq!(operation.is_some(), later, "{}", plan.name);
    shop.binding_end(id, "one", operation).await;
}

/// Changes the plan to the last one of the offering, if that may be; the plan that the instance has then.
async fn leave<'a>(shop: &Shop, catalog: &'a Catalog, offering: &Offering, plan: &'a Plan) -> &'a Plan {
    let found = catalog.services.iter().find(|found| found.id == offering.id).unwrap();
    let last = found.plans.last().unwrap();
    let reply = shop.update(&plan.id, &plan.id, json!({"plan_id": last.id})).await;
    if plan.plan_updateable != Some(true) {
        assert_eq!(reply.unwrap_err().status(), Some(422), "{}", plan.name);
        return plan;
    }
    let moved = last.id != plan.id;
    shop.instance_end_of(&plan.id, answered(reply, moved && is_async(last, "async"), &plan.name))
        .await;
    last
}

/// OSB-PLAN-05 to -08, OSB-ASY-07, OSB-BIND-18, OSB-ROT-01, OSB-UPD-07, OSB-MNT-03
#[tokio::test(flavor = "multi_thread")]
async fn each_combination_does_what_it_says() {
    let everything = Options {
        combinations: true,
        ..Options::default()
    };
    let shop = Shop::with(&everything).await;
    let catalog = shop.client.catalog().await.unwrap();
    let mut lived = 0;
    for offering in &catalog.services {
        if !offering.name.starts_with("combinations") {
            continue;
        }
        for plan in &offering.plans {
            live(&shop, &catalog, offering, plan).await;
            lived += 1;
        }
    }
    assert_eq!(lived, 40 + 24 + 3 * (32 + 16));
    shop.close().await;
}
