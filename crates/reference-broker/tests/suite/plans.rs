//! How the plans answer.

use osb_api::error::Reserved;
use osb_api::request::Incomplete;
use osb_client::{End, Reply};
use reference_broker::{ASYNC, DASHBOARD_PLAN, FAST, MODEST_BINDABLE, MODEST_PLAIN, NARROW, SHORT, UNBINDABLE};
use serde_json::json;

use crate::shop::{Shop, failed, instance};

/// OSB-ASY-09.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provision_tells_its_progress() {
    let shop = Shop::open().await;
    let reply = shop.provision("slow", ASYNC, json!({"seconds": 2})).await.unwrap();
    let (end, texts) = shop.end("slow", reply).await;
    assert!(matches!(end, End::Succeeded(_)), "{end:?}");
    assert!(texts.iter().any(|text| text == "1 of 2 seconds"), "{texts:?}");
    shop.close().await;
}

/// OSB-DEP-08.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provision_can_be_interrupted_by_its_removal() {
    let shop = Shop::open().await;
    assert!(matches!(
        shop.provision("slow", ASYNC, json!({"seconds": 3600})).await,
        Ok(Reply::Accepted { .. })
    ));
    let operation = shop.deprovision("slow", ASYNC).await.unwrap();
    assert!(operation.is_some());
    let end = shop.instance_end("slow", operation).await;
    assert!(matches!(end, End::Gone | End::Succeeded(_)), "{end:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_take_as_long_as_was_ordered() {
    let shop = Shop::open().await;
    let order = json!({"removal_seconds": 1});
    assert!(matches!(shop.provision("a", FAST, order).await, Ok(Reply::Created(_))));
    shop.bind("a", FAST, "b").await.unwrap();
    let begun = std::time::Instant::now();
    let operation = shop.unbind("a", FAST, "b").await.unwrap();
    if operation.is_some() {
        shop.binding_end("a", "b", operation).await;
    }
    assert!(begun.elapsed().as_secs() >= 1, "{:?}", begun.elapsed());
    let operation = shop.deprovision("a", FAST).await.unwrap();
    if operation.is_some() {
        shop.instance_end("a", operation).await;
    }
    assert!(begun.elapsed().as_secs() >= 2, "{:?}", begun.elapsed());
    assert_eq!(shop.fetch("a").await.unwrap_err().status(), Some(404));
    shop.close().await;
}

/// OSB-BIND-18.
#[tokio::test(flavor = "multi_thread")]
async fn an_unbindable_plan_is_not_bound() {
    let shop = Shop::open().await;
    for plan in [UNBINDABLE, MODEST_PLAIN] {
        shop.provision(plan, plan, json!({})).await.unwrap();
        assert_eq!(shop.bind(plan, plan, "b").await.unwrap_err().status(), Some(400));
    }
    shop.provision("b", MODEST_BINDABLE, json!({})).await.unwrap();
    shop.bind("b", MODEST_BINDABLE, "b").await.unwrap();
    shop.close().await;
}

/// OSB-ASY-07, OSB-ASY-04: the plan `async` has nothing for a platform that does not poll.
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_async_needs_a_platform_that_polls() {
    let shop = Shop::open().await;
    let reply = shop.provision("a", ASYNC, json!({})).await.unwrap();
    assert!(matches!(shop.end("a", reply).await.0, End::Succeeded(_)));
    let error = shop
        .client
        .deprovision(&instance("a"), &shop.removal(ASYNC), Incomplete::Refused)
        .await
        .unwrap_err();
    assert!(
        error
            .refused()
            .is_some_and(|refused| refused.is(Reserved::AsyncRequired)),
        "{error}"
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_narrow_does_one_thing_at_a_time() {
    let shop = Shop::open().await;
    let first = shop.provision("n1", NARROW, json!({"seconds": 3600}));
    let second = shop.provision("n2", NARROW, json!({}));
    let (first, second) = tokio::join!(first, second);
    // Whichever came first, the instant one has waited for the slow one, or was done before it began.
    assert!(matches!(first, Ok(Reply::Accepted { .. })));
    let fast = shop.provision("n3", NARROW, json!({}));
    let other_plan = shop.provision("other", FAST, json!({}));
    let (narrow, other) = tokio::join!(fast, other_plan);
    assert!(
        matches!(narrow, Ok(Reply::Accepted { .. })),
        "{narrow:?}, after {second:?}"
    );
    assert!(matches!(other, Ok(Reply::Created(_))), "{other:?}");
    shop.close().await;
}

/// OSB-POLL-02: the broker gives up before the platform does.
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_short_ends_before_its_platform_stops_polling() {
    let shop = Shop::open().await;
    let begun = std::time::Instant::now();
    let reply = shop.provision("a", SHORT, json!({"seconds": 3600})).await.unwrap();
    let (end, _) = shop.end("a", reply).await;
    assert!(failed(&end).description.is_some());
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    shop.close().await;
}

/// OSB-GETI-01, OSB-GETI-03, OSB-GETB-03
#[tokio::test(flavor = "multi_thread")]
async fn what_is_retrievable_is_fetched_and_what_is_not_is_refused() {
    let shop = Shop::open().await;
    shop.provision("a", FAST, json!({})).await.unwrap();
    let credentials = shop.bind("a", FAST, "b").await.unwrap();
    let found = shop.fetch("a").await.unwrap();
    assert_eq!(found.plan_id.unwrap().as_str(), FAST);
    let found = shop.fetch_binding("a", "b").await.unwrap();
    assert_eq!(serde_json::Value::Object(found.body.credentials.unwrap()), credentials);

    shop.provision("m", MODEST_BINDABLE, json!({})).await.unwrap();
    shop.bind("m", MODEST_BINDABLE, "b").await.unwrap();
    assert!(shop.fetch("m").await.is_err());
    assert!(shop.fetch_binding("m", "b").await.is_err());
    shop.close().await;
}

/// OSB-PROV-17, OSB-UPD-20
#[tokio::test(flavor = "multi_thread")]
async fn each_plan_of_a_dashboard_has_its_address() {
    let shop = Shop::open().await;
    let Reply::Created(body) = shop.provision("a", DASHBOARD_PLAN, json!({})).await.unwrap() else {
        panic!("not a 201")
    };
    let open = body.dashboard_url.unwrap();
    assert!(
        open.starts_with("https://reference.invalid/dashboard/open/instance_"),
        "{open}"
    );
    let change = json!({"plan_id": reference_broker::DASHBOARD_OTHER});
    let Reply::Done(body) = shop.update("a", DASHBOARD_PLAN, change).await.unwrap() else {
        panic!("not a 200")
    };
    let closed = open.replace("/open/", "/closed/");
    assert_eq!(body.dashboard_url.as_ref(), Some(&closed));
    assert_eq!(shop.fetch("a").await.unwrap().dashboard_url, Some(closed));
    let back = shop
        .update("a", DASHBOARD_PLAN, json!({"plan_id": DASHBOARD_PLAN}))
        .await;
    assert_eq!(back.unwrap_err().status(), Some(422), "nobody leaves the plan `closed`");
    shop.close().await;
}

/// OSB-PROV-06.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_order_is_refused_at_its_field() {
    let shop = Shop::open().await;
    for (order, field) in [
        (json!({"seconds": -1}), "parameters.seconds"),
        (json!({"seconds": 4000}), "parameters.seconds"),
        (json!({"removal_seconds": 4000}), "parameters.removal_seconds"),
        (json!({"fail_at": "lunch"}), "parameters.fail_at"),
        (json!({"fail_times": 0}), "parameters.fail_times"),
        (json!({"secnods": 1}), "secnods"),
    ] {
        let error = shop.provision("a", FAST, order).await.unwrap_err();
        assert_eq!(error.status(), Some(400));
        assert!(error.to_string().contains(field), "{error}");
    }
    shop.provision("a", FAST, json!({})).await.unwrap();
    let error = shop
        .update("a", FAST, json!({"parameters": {"label": 5}}))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(400));
    let error = shop
        .binding("a", FAST, "b", json!({"parameters": {"expires_in": "soon"}}))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(400));
    shop.close().await;
}
