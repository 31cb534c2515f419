//! What fails when that was ordered, and what is left then.

use osb_client::{End, Reply};
use reference_broker::{ASYNC, FAST, ROTATING};
use serde_json::json;

use crate::shop::{Shop, failed};

/// OSB-PROV-21.
#[tokio::test(flavor = "multi_thread")]
async fn a_provision_that_fails_for_good_can_be_removed() {
    let shop = Shop::open().await;
    let reply = shop
        .provision("bad", ASYNC, json!({"fail_at": "provision"}))
        .await
        .unwrap();
    let (end, _) = shop.end("bad", reply).await;
    assert_eq!(failed(&end).description.as_deref(), Some("Fails as ordered."));
    shop.deprovision("bad", ASYNC).await.unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fails_in_the_middle_of_its_work() {
    let shop = Shop::open().await;
    let order = json!({"seconds": 3600, "fail_at": "provision", "fail_after": 0});
    let reply = shop.provision("now", ASYNC, order).await.unwrap();
    failed(&shop.end("now", reply).await.0);
    let order = json!({"seconds": 20, "fail_at": "provision", "fail_after": 1});
    let reply = shop.provision("later", ASYNC, order).await.unwrap();
    let (end, texts) = shop.end("later", reply).await;
    failed(&end);
    assert!(texts.iter().all(|text| !text.starts_with("2 of 20")), "{texts:?}");
    // What is ordered to fail elsewhere does not fail here.
    let order = json!({"fail_at": "bind", "fail_after": 0});
    assert!(matches!(
        shop.provision("well", FAST, order).await,
        Ok(Reply::Created(_))
    ));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_passes() {
    let shop = Shop::open().await;
    for verb in ["provision", "update", "bind", "rotate", "unbind", "deprovision"] {
        let order = json!({"fail_at": verb, "fail_times": 2});
        let provisioned = shop.provision(verb, ROTATING, order).await;
        assert!(matches!(provisioned, Ok(Reply::Created(_))), "{verb}");
        shop.update(verb, ROTATING, json!({"parameters": {"label": "new"}}))
            .await
            .unwrap();
        shop.bind(verb, ROTATING, "b").await.unwrap();
        let rotation = json!({"predecessor_binding_id": "b"});
        shop.binding(verb, ROTATING, "c", rotation).await.unwrap();
        shop.unbind(verb, ROTATING, "b").await.unwrap();
        shop.unbind(verb, ROTATING, "c").await.unwrap();
        shop.deprovision(verb, ROTATING).await.unwrap();
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_that_fails_for_good_leaves_its_instance_usable() {
    let shop = Shop::open().await;
    shop.provision("a", FAST, json!({"fail_at": "bind"})).await.unwrap();
    let error = shop.bind("a", FAST, "b").await.unwrap_err();
    assert!(error.status() >= Some(400), "{error}");
    let unbound = shop.unbind("a", FAST, "b").await;
    assert!(unbound.as_ref().is_ok_and(Option::is_none) || unbound.as_ref().is_err_and(|e| e.status() == Some(410)));
    // An update mends it.
    shop.update("a", FAST, json!({"parameters": {"fail_at": "nothing"}}))
        .await
        .unwrap();
    shop.bind("a", FAST, "b").await.unwrap();
    shop.deprovision("a", FAST).await.unwrap();
    shop.close().await;
}

/// The predecessor stays as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_fails_leaves_the_old_binding() {
    let shop = Shop::open().await;
    shop.provision("a", ROTATING, json!({"fail_at": "rotate"}))
        .await
        .unwrap();
    let old = shop.bind("a", ROTATING, "old").await.unwrap();
    let rotation = json!({"predecessor_binding_id": "old"});
    assert!(shop.binding("a", ROTATING, "new", rotation).await.is_err());
    assert_eq!(shop.bind("a", ROTATING, "old").await.unwrap(), old);
    assert_eq!(shop.fetch_binding("a", "new").await.unwrap_err().status(), Some(404));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_fails_for_good_fails_once() {
    let shop = Shop::open().await;
    shop.provision("a", FAST, json!({"fail_at": "unbind"})).await.unwrap();
    shop.bind("a", FAST, "b").await.unwrap();
    assert!(shop.unbind("a", FAST, "b").await.is_err());
    shop.unbind("a", FAST, "b").await.unwrap();
    shop.deprovision("a", FAST).await.unwrap();
    shop.provision("d", FAST, json!({"fail_at": "deprovision"}))
        .await
        .unwrap();
    assert!(shop.deprovision("d", FAST).await.is_err());
    // The instance is still whole.
    shop.bind("d", FAST, "b").await.unwrap();
    shop.unbind("d", FAST, "b").await.unwrap();
    shop.deprovision("d", FAST).await.unwrap();
    shop.close().await;
}

/// OSB-UPD-21, OSB-LOI-09
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_update_says_what_was_ordered() {
    let shop = Shop::open().await;
    let reply = shop.provision("a", ASYNC, json!({"label": "old"})).await.unwrap();
    assert!(matches!(shop.end("a", reply).await.0, End::Succeeded(_)));
    for (unusable, not_repeatable) in [(false, false), (true, false), (false, true), (true, true)] {
        let parameters =
            json!({"fail_at": "update", "unusable": unusable, "not_repeatable": not_repeatable, "label": "new"});
        let reply = shop
            .update("a", ASYNC, json!({"parameters": parameters}))
            .await
            .unwrap();
        let (end, _) = shop.end("a", reply).await;
        let last = failed(&end);
        assert_eq!(last.instance_usable, unusable.then_some(false));
        assert_eq!(last.update_repeatable, not_repeatable.then_some(false));
    }
    assert_eq!(
        shop.bind("a", ASYNC, "b").await.unwrap()["label"],
        "old",
        "nothing was changed"
    );
    shop.close().await;
}

/// OSB-DEP-07
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_deprovision_can_say_that_the_instance_is_ruined() {
    let shop = Shop::open().await;
    let reply = shop
        .provision("a", ASYNC, json!({"fail_at": "deprovision", "unusable": true}))
        .await
        .unwrap();
    assert!(matches!(shop.end("a", reply).await.0, End::Succeeded(_)));
    let operation = shop.deprovision("a", ASYNC).await.unwrap();
    let end = shop.instance_end("a", operation).await;
    assert_eq!(failed(&end).instance_usable, Some(false));
    let operation = shop.deprovision("a", ASYNC).await.unwrap();
    let end = shop.instance_end("a", operation).await;
    assert!(matches!(end, End::Gone | End::Succeeded(_)), "{end:?}");
    shop.close().await;
}
