//! What bindings carry, and how they are made and rotated.

use osb_api::answer::{Device, VolumeMode};
use osb_api::error::Reserved;
use osb_api::request::Incomplete;
use osb_client::{End, Reply};
use reference_broker::{
    APP_ONLY, ASYNC_BINDINGS, ASYNC_ROTATING, DASHBOARD_PLAN, FAST, LOGS_PLAN, ROTATING, ROUTES_PLAN, VOLUMES_PLAN,
};
use serde_json::json;

use crate::shop::{Shop, operation};

/// OSB-BIND-21.
#[tokio::test(flavor = "multi_thread")]
async fn each_binding_has_a_login_of_its_own_that_stays() {
    let shop = Shop::open().await;
    assert!(matches!(
        shop.provision("a", FAST, json!({"label": "mine"})).await,
        Ok(Reply::Created(_))
    ));
    let one = shop.bind("a", FAST, "one").await.unwrap();
    let two = shop.bind("a", FAST, "two").await.unwrap();
    assert_eq!((&one["label"], &two["label"]), (&json!("mine"), &json!("mine")));
    assert_ne!(one["password"], two["password"]);
    assert_ne!(one["username"], two["username"]);
    assert_eq!(shop.bind("a", FAST, "one").await.unwrap(), one);
    shop.close().await;
}

/// OSB-BIND-23, OSB-BIND-24, OSB-BIND-25, OSB-BIND-26, OSB-BIND-27, OSB-BIND-28
#[tokio::test(flavor = "multi_thread")]
async fn each_offering_gives_what_it_requires_permission_for() {
    let shop = Shop::open().await;
    let mut bodies = Vec::new();
    for plan in [FAST, LOGS_PLAN, ROUTES_PLAN, VOLUMES_PLAN, DASHBOARD_PLAN] {
        shop.provision(plan, plan, json!({})).await.unwrap();
        bodies.push(shop.binding(plan, plan, "b", json!({})).await.unwrap());
    }
    let present = |body: &osb_api::answer::BindingBody| {
        [
            body.syslog_drain_url.is_some(),
            body.route_service_url.is_some(),
            body.volume_mounts.is_some(),
            body.endpoints.is_some(),
        ]
    };
    for (position, body) in bodies.iter().enumerate() {
        let expected = [1, 2, 3, 4].map(|own| own == position);
        assert_eq!(present(body), expected, "{position}");
        assert!(body.credentials.is_some());
    }
    assert!(
        bodies[1]
            .syslog_drain_url
            .as_ref()
            .unwrap()
            .starts_with("syslog-tls://")
    );
    assert!(bodies[2].route_service_url.as_ref().unwrap().starts_with("https://"));
    let volume = &bodies[3].volume_mounts.as_ref().unwrap()[0];
    let Device {
        volume_id,
        mount_config,
    } = &volume.device;
    assert_eq!(volume.mode, VolumeMode::ReadWrite);
    assert!(volume.container_dir.ends_with(volume_id.as_str()) && mount_config.is_some());
    let endpoints = bodies[4].endpoints.as_ref().unwrap();
    assert!(
        endpoints
            .iter()
            .any(|endpoint| endpoint.ports.iter().any(|port| port == "9000-9010"))
    );
    shop.close().await;
}

/// OSB-BIND-10, OSB-BIND-11, OSB-BIND-19, OSB-UNB-04, OSB-ASY-07
#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_binding_is_polled_and_fetched() {
    let shop = Shop::open().await;
    let provisioned = shop.provision("a", ASYNC_BINDINGS, json!({})).await;
    assert!(
        matches!(provisioned, Ok(Reply::Created(_))),
        "its instances are made at once: {provisioned:?}"
    );
    let refused = shop.bind("a", ASYNC_BINDINGS, "b").await.unwrap_err();
    assert!(
        refused
            .refused()
            .is_some_and(|refused| refused.is(Reserved::AsyncRequired)),
        "{refused}"
    );
    let order = json!({"parameters": {"seconds": 1}});
    let reply = shop
        .bind_with("a", ASYNC_BINDINGS, "b", order, Incomplete::Accepted)
        .await
        .unwrap();
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    assert_eq!(
        shop.fetch_binding("a", "b").await.unwrap_err().status(),
        Some(404),
        "OSB-GETB-06"
    );
    let end = shop.binding_end("a", "b", operation(reply)).await;
    assert!(matches!(end, End::Succeeded(_)), "{end:?}");
    let credentials = shop.fetch_binding("a", "b").await.unwrap().body.credentials.unwrap();
    assert!(credentials["password"].is_string());
    let removal = shop.unbind("a", ASYNC_BINDINGS, "b").await.unwrap();
    assert!(removal.is_some());
    let end = shop.binding_end("a", "b", removal).await;
    assert!(matches!(end, End::Gone | End::Succeeded(_)), "{end:?}");
    shop.close().await;
}

/// OSB-ROT-03, OSB-ROT-05, OSB-ROT-07, OSB-BIND-29, OSB-BIND-30
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_binding_overlaps_with_the_old_one() {
    let shop = Shop::open().await;
    for plan in [ROTATING, ASYNC_ROTATING] {
        let reply = shop.provision(plan, plan, json!({})).await.unwrap();
        shop.instance_end(plan, operation(reply)).await;
        let made = async |binding: &str, more| {
            let reply = shop
                .bind_with(plan, plan, binding, more, Incomplete::Accepted)
                .await
                .unwrap();
            if let operation @ Some(_) = operation(reply) {
                shop.binding_end(plan, binding, operation).await;
            }
            shop.fetch_binding(plan, binding).await.unwrap().body
        };
        let old = made("old", json!({})).await;
        let new = made("new", json!({"predecessor_binding_id": "old"})).await;
        assert_ne!(
            old.credentials.as_ref().unwrap()["username"],
            new.credentials.as_ref().unwrap()["username"]
        );
        assert_eq!(shop.fetch_binding(plan, "old").await.unwrap().body, old);
        for body in [&old, &new] {
            let metadata = body.metadata.as_ref().unwrap();
            assert!(
                metadata.expires_at.is_some() && metadata.renew_before < metadata.expires_at,
                "{metadata:?}"
            );
        }
        let removal = shop.unbind(plan, plan, "old").await.unwrap();
        if removal.is_some() {
            shop.binding_end(plan, "old", removal).await;
        }
        assert_eq!(shop.fetch_binding(plan, "old").await.unwrap_err().status(), Some(404));
        assert_eq!(shop.fetch_binding(plan, "new").await.unwrap().body, new);
    }
    shop.close().await;
}

/// OSB-ROT-01, OSB-ROT-08
#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_or_is_on_another_plan_is_not_rotated() {
    let shop = Shop::open().await;
    shop.provision("a", ROTATING, json!({})).await.unwrap();
    shop.binding("a", ROTATING, "old", json!({"parameters": {"expires_in": 0}}))
        .await
        .unwrap();
    shop.provision("f", FAST, json!({})).await.unwrap();
    let body = shop.binding("f", FAST, "old", json!({})).await.unwrap();
    assert_eq!(body.metadata, None, "bindings that are not rotated do not expire");
    for (id, plan) in [("a", ROTATING), ("f", FAST)] {
        let refused = shop
            .binding(id, plan, "new", json!({"predecessor_binding_id": "old"}))
            .await
            .unwrap_err();
        assert_eq!(refused.status(), Some(400), "{refused}");
    }
    shop.close().await;
}

/// OSB-BIND-17
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_app_only_is_bound_to_applications() {
    let shop = Shop::open().await;
    shop.provision("a", APP_ONLY, json!({})).await.unwrap();
    let refused = shop.bind("a", APP_ONLY, "b").await.unwrap_err();
    assert!(
        refused
            .refused()
            .is_some_and(|refused| refused.is(Reserved::RequiresApp)),
        "{refused}"
    );
    let app = json!({"bind_resource": {"app_guid": "an-app"}});
    shop.binding("a", APP_ONLY, "b", app).await.unwrap();
    shop.close().await;
}
