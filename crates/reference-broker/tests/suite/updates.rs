//! Changes of instances.

use osb_api::error::Reserved;
use osb_client::{End, Reply};
use reference_broker::{ASYNC, FAST, FIXED, MAINTAINED, MODEST_BINDABLE, Options};
use serde_json::json;

use crate::shop::Shop;

/// OSB-UPD-02, OSB-UPD-03, OSB-UPD-10, OSB-UPD-11
#[tokio::test(flavor = "multi_thread")]
async fn plan_and_parameters_are_changed_at_once_or_later() {
    let shop = Shop::open().await;
    shop.provision("a", FAST, json!({"label": "old"})).await.unwrap();
    let updated = shop.update("a", FAST, json!({"parameters": {"label": "new"}})).await;
    assert!(matches!(updated, Ok(Reply::Done(_))), "{updated:?}");
    let credentials = shop.bind("a", FAST, "one").await.unwrap();
    assert_eq!(
        (&credentials["label"], &credentials["plan"]),
        (&json!("new"), &json!("fast"))
    );

    let reply = shop
        .update("a", ASYNC, json!({"plan_id": ASYNC, "parameters": {"seconds": 1}}))
        .await
        .unwrap();
    let (end, texts) = shop.end("a", reply).await;
    assert!(matches!(end, End::Succeeded(_)), "{end:?}, {texts:?}");
    let credentials = shop.bind("a", ASYNC, "two").await.unwrap();
    assert_eq!(
        (&credentials["label"], &credentials["plan"]),
        (&json!("new"), &json!("async"))
    );
    assert_eq!(shop.fetch("a").await.unwrap().plan_id.unwrap().as_str(), ASYNC);
    shop.close().await;
}

/// OSB-META-01, OSB-META-02, OSB-META-03, OSB-GETI-03, OSB-GETI-07
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_tells_what_the_instance_is_now() {
    let shop = Shop::open().await;
    let ordered = json!({"label": "old", "removal_seconds": 0});
    shop.provision("a", FAST, ordered).await.unwrap();
    let told = |plan: &str, label: &str| json!({"reference.invalid/plan": plan, "reference.invalid/label": label});
    let fetched = shop.fetch("a").await.unwrap();
    let metadata = fetched.metadata.unwrap();
    assert_eq!(json!(metadata.labels), told("fast", "old"));
    assert_eq!(metadata.attributes["reference.invalid/order"]["label"], "old");
    assert!(metadata.attributes["reference.invalid/name"].is_string());
    assert_eq!(json!(fetched.parameters), json!({"label": "old", "removal_seconds": 0}));

    // What cannot be the value of a label is none.
    let change = json!({"plan_id": MAINTAINED, "parameters": {"label": "two words"}});
    let updated = shop.update("a", FAST, change).await;
    assert!(matches!(updated, Ok(Reply::Done(_))), "{updated:?}");
    let fetched = shop.fetch("a").await.unwrap();
    let metadata = fetched.metadata.unwrap();
    assert_eq!(json!(metadata.labels), json!({"reference.invalid/plan": "maintained"}));
    assert_eq!(metadata.attributes["reference.invalid/order"]["label"], "two words");
    assert_eq!(
        json!(fetched.parameters),
        json!({"label": "two words", "removal_seconds": 0})
    );
    shop.close().await;
}

/// OSB-UPD-07
#[tokio::test(flavor = "multi_thread")]
async fn nobody_leaves_a_fixed_plan() {
    let shop = Shop::open().await;
    shop.provision("a", FIXED, json!({})).await.unwrap();
    assert_eq!(
        shop.update("a", FIXED, json!({"plan_id": FAST}))
            .await
            .unwrap_err()
            .status(),
        Some(422)
    );
    // Its parameters can be changed all the same.
    shop.update("a", FIXED, json!({"parameters": {"label": "new"}}))
        .await
        .unwrap();
    assert_eq!(shop.bind("a", FIXED, "b").await.unwrap()["label"], "new");
    shop.close().await;
}

/// OSB-UPD-18
#[tokio::test(flavor = "multi_thread")]
async fn a_modest_service_takes_no_updates() {
    let shop = Shop::open().await;
    shop.provision("a", MODEST_BINDABLE, json!({})).await.unwrap();
    for change in [
        json!({"parameters": {"label": "new"}}),
        json!({"context": {"platform": "cloudfoundry"}}),
    ] {
        let refused = shop.update("a", MODEST_BINDABLE, change).await.unwrap_err();
        assert_eq!(refused.status(), Some(422), "{refused}");
    }
    shop.close().await;
}

/// OSB-UPD-04, OSB-UPD-08
#[tokio::test(flavor = "multi_thread")]
async fn a_new_context_reaches_the_next_binding() {
    let shop = Shop::open().await;
    let named = |name: &str| json!({"platform": "cloudfoundry", "instance_name": name});
    shop.provision_with("a", FAST, json!({"context": named("old")}))
        .await
        .unwrap();
    assert_eq!(shop.bind("a", FAST, "one").await.unwrap()["context"], named("old"));
    shop.update("a", FAST, json!({"context": named("new")})).await.unwrap();
    assert_eq!(shop.bind("a", FAST, "two").await.unwrap()["context"], named("new"));
    shop.close().await;
}

/// OSB-UPD-06, OSB-UPD-14, OSB-GETI-08, OSB-MNT-04
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_broker_has_instances_to_upgrade() {
    let shop = Shop::open().await;
    let to = |version: &str| json!({"maintenance_info": {"version": version}});
    let wrong = shop.provision_with("wrong", MAINTAINED, to("1.0.0")).await.unwrap_err();
    assert!(
        wrong
            .refused()
            .is_some_and(|refused| refused.is(Reserved::MaintenanceInfoConflict)),
        "{wrong}"
    );
    shop.provision_with("a", MAINTAINED, to("2.0.0")).await.unwrap();
    let newer = Options {
        maintenance_version: "2.1.0".to_owned(),
        ..Options::default()
    };
    let shop = shop.reopen(&newer).await;
    let version = async || shop.fetch("a").await.unwrap().maintenance_info.unwrap().version;
    assert_eq!(version().await, "2.0.0");
    let old = shop.update("a", MAINTAINED, to("2.0.0")).await.unwrap_err();
    assert!(
        old.refused()
            .is_some_and(|refused| refused.is(Reserved::MaintenanceInfoConflict)),
        "{old}"
    );
    assert!(matches!(
        shop.update("a", MAINTAINED, to("2.1.0")).await,
        Ok(Reply::Done(_))
    ));
    assert_eq!(version().await, "2.1.0");
    shop.close().await;
}
