//! The controller ends before or after each of its writes, and another one goes on.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use template_controller::resources::Outcome;

use crate::faults::{Faults, Side};
use crate::places::{Place, send};

fn template(maps: &[&str]) -> Value {
    let maps = maps.iter().map(|name| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"password": "${PASSWORD}"}})
    });
    json!({
        "parameters": [{"name": "PASSWORD", "generate": "expression", "from": "[a-zA-Z0-9]{16}"}],
        "objects": maps.collect::<Vec<_>>(),
    })
}

async fn passwords(place: &Place) -> Vec<String> {
    let maps = place.owned("configmaps").await;
    maps.iter()
        .map(|map| map["data"]["password"].as_str().unwrap().to_owned())
        .collect()
}

async fn update(place: &Place, maps: &[&str]) {
    let patch = json!({"spec": {"template": template(maps)}});
    send(
        &place.client_as("eve", &["dev"]),
        Method::PATCH,
        &place.instance("mine"),
        Some(&patch),
    )
    .await
    .unwrap();
}

/// Has a controller do something until it crashes at a write or is done; whether it crashed.
async fn crash(place: &Place, number: u64, side: Side, done: impl AsyncFn() -> bool) -> bool {
    let faults = Arc::<Faults>::default();
    faults.crash_at(number, side);
    let controller = place.start_faulty(place.options(), faults.clone());
    place
        .until("it crashes or is done", async || {
            (faults.has_crashed() || done().await).then_some(())
        })
        .await;
    // What it still does is done, so that what comes next counts from here.
    controller.end().await;
    faults.has_crashed()
}

async fn is_ready(place: &Place) -> bool {
    place.read("mine").await.outcome() == Outcome::Ready
}

/// Bugs C1 and C4: after a crash a password was generated a second time, and objects stayed behind.
async fn play(place: impl AsyncFn() -> Place, step: usize) {
    for number in (1..).step_by(step) {
        let mut any = false;
        for side in [Side::Before, Side::After] {
            let place = place().await;
            place.make("mine", template(&["a", "b"]), json!({})).await;
            any |= crash(&place, number, side, async || is_ready(&place).await).await;
            // What was made so far has one password.
            let so_far = passwords(&place).await;
            let controller = place.start();
            place.ready("mine").await;
            let all = passwords(&place).await;
            assert_eq!(all.len(), 2);
            assert!(
                all.iter().chain(&so_far).all(|password| *password == all[0]),
                "{number} {side:?}"
            );
            assert_eq!(place.owned("secrets").await.len(), 1, "{number} {side:?}");
            controller.end().await;

            update(&place, &["b", "c"]).await;
            any |= crash(&place, number, side, async || is_ready(&place).await).await;
            let controller = place.start();
            place.ready("mine").await;
            let after = passwords(&place).await;
            assert!(
                after.len() == 2 && after.iter().all(|password| *password == all[0]),
                "{number} {side:?}"
            );
            assert!(place.get(&format!("{}/a", place.core("configmaps"))).await.is_none());
            assert_eq!(place.owned("secrets").await.len(), 1, "{number} {side:?}");
            controller.end().await;

            place.delete(&place.instance("mine")).await;
            any |= crash(&place, number, side, async || {
                place.get(&place.instance("mine")).await.is_none()
            })
            .await;
            let _controller = place.start();
            place.gone(&place.instance("mine")).await;
            assert_eq!(place.owned("configmaps").await.len(), 0, "{number} {side:?}");
            assert_eq!(place.owned("secrets").await.len(), 0, "{number} {side:?}");
        }
        if !any {
            assert!(number > 6, "there are more writes than {number}");
            return;
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_write_generates_nothing_twice_and_leaves_nothing_embedded() {
    play(Place::embedded, 1).await;
}

/// On a real server at a few writes only, since each start takes a moment there.
#[tokio::test]
async fn a_crash_at_some_writes_generates_nothing_twice_and_leaves_nothing_kubernetes() {
    if Place::kubernetes().await.is_some() {
        play(async || Place::kubernetes().await.expect("it was there"), 4).await;
    }
}

/// An instance that is deleted before anything was written of it, and in the middle.
#[tokio::test]
async fn an_instance_deleted_in_the_middle_leaves_nothing() {
    for number in 1.. {
        let place = Place::embedded().await;
        place.make("mine", template(&["a", "b"]), json!({})).await;
        let crashed = crash(&place, number, Side::After, async || is_ready(&place).await).await;
        place.delete(&place.instance("mine")).await;
        let _controller = place.start();
        place.gone(&place.instance("mine")).await;
        assert_eq!(place.owned("configmaps").await.len(), 0, "{number}");
        assert_eq!(place.owned("secrets").await.len(), 0, "{number}");
        if !crashed {
            return;
        }
    }
}

/// Two controllers at once, as when one is replaced: nothing is made twice.
#[tokio::test]
async fn two_controllers_at_once_make_one_instance() {
    let place = Place::embedded().await;
    let (_one, _other) = (place.start(), place.start());
    for number in 0..10 {
        place
            .make(&format!("i{number}"), template(&[&format!("m{number}")]), json!({}))
            .await;
    }
    for number in 0..10 {
        place.ready(&format!("i{number}")).await;
    }
    assert_eq!(place.owned("configmaps").await.len(), 10);
}
