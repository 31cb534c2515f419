//! What a look at a home finds, and what it mends.

use osb_engine::{Keys, names};
use osb_move::{Finding, Fsck, Looked, Mending, Weight};
use serde_json::{Value, json};

use crate::support::*;

async fn look(home: &Home, keys: Option<&Keys>, mending: Mending) -> (Looked, Vec<Finding>) {
    let fsck = Fsck {
        api: &home.api,
        group: GROUP,
        system: "osb-system",
        keys,
        mending,
    };
    let mut found = Vec::new();
    let looked = fsck.run(|finding| found.push(finding.clone())).await.unwrap();
    (looked, found)
}

fn of<'a>(findings: &'a [Finding], place: &str) -> Vec<&'a str> {
    let here = |finding: &&Finding| finding.object.ends_with(place);
    findings
        .iter()
        .filter(here)
        .map(|finding| finding.what.as_str())
        .collect()
}

fn binding(instance: &str, of_life: &str, id: &str) -> Value {
    let ids = (
        osb_api::id::InstanceId::new(instance).unwrap(),
        osb_api::id::BindingId::new(id).unwrap(),
    );
    json!({
        "kind": "ServiceBinding",
        "metadata": {
            "name": names::binding(&ids.0, &ids.1), "namespace": "cf", "finalizers": ["osb.internal/operations"],
            "labels": {"osb.internal/instance": instance},
        },
        "spec": {
            "instanceId": instance, "bindingId": id, "incarnation": format!("of-{id}"), "instanceIncarnation": of_life,
            "serviceId": "s", "planId": "p",
        },
        "record": {"epoch": 1, "counter": 1, "history": [{"id": format!("of-{id}.1"), "verb": "Bind", "outcome": "Succeeded"}]},
    })
}

fn tombstone(name: &str, incarnation: &str, expires: &str, hour: &str) -> Value {
    json!({
        "kind": "Tombstone",
        "metadata": {"name": name, "namespace": "cf", "labels": {"osb.internal/expires": hour}},
        "spec": {"kind": "ServiceInstance", "instanceId": name, "incarnation": incarnation, "expires": expires, "history": []},
    })
}

#[tokio::test]
async fn a_home_in_order_has_no_findings() {
    let home = Home::new().await;
    home.create(&path("serviceinstances"), instance("a", "i1", 1)).await;
    home.create(&path("servicebindings"), binding("a", "i1", "b")).await;
    let hour = (4_102_444_800_i64 / 3600 + 1).to_string();
    home.create(
        &path("tombstones"),
        tombstone("gone", "i0", "2100-01-01T00:00:00Z", &hour),
    )
    .await;
    let (looked, found) = look(&home, None, Mending::Nothing).await;
    assert_eq!((looked.objects, looked.findings), (3, 0), "{found:?}");
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_found_where_it_is() {
    let home = Home::new().await;
    let keys = Keys::new([1; 32], []);
    let other = Keys::new([2; 32], []);
    let table = json!({
        "kind": "ShardTable", "metadata": {"name": "shards", "namespace": "osb-system"}, "spec": {"epoch": 10, "shards": []},
    });
    home.create(&format!("/apis/{GROUP}/v1/namespaces/osb-system/shardtables"), table)
        .await;
    let sealed = |keys: &Keys, field: &str| keys.seal_field("sealed", "i", field, b"{}").unwrap();

    let mut wrong = instance("sealed", "i", 1);
    wrong["spec"]["parameters"] = sealed(&keys, "parameters").into();
    wrong["record"]["data"] = sealed(&other, "data").into();
    wrong["record"]["outputs"] = sealed(&keys, "data").into();
    home.create(&path("serviceinstances"), wrong).await;
    let mut strange = instance("strange", "i", 1);
    strange["metadata"]["name"] = "misnamed".into();
    home.create(&path("serviceinstances"), strange).await;
    home.create(&path("serviceinstances"), instance("late", "i", 99)).await;
    let mut foreign = instance("foreign", "i", 1);
    foreign.as_object_mut().unwrap().remove("record");
    home.create(&path("serviceinstances"), foreign).await;
    let mut impossible = instance("impossible", "i", 1);
    impossible["record"]["operation"] = json!({"id": "i.7", "verb": "Bind"});
    home.create(&path("serviceinstances"), impossible).await;
    let mut dangling = binding("nobody", "i1", "dangling");
    dangling["metadata"]["name"] = "osb-dangling".into();
    home.create(&path("servicebindings"), dangling).await;
    home.create(&path("servicebindings"), binding("late", "another life", "stale"))
        .await;
    home.create(
        &path("tombstones"),
        tombstone("late", "i", "2100-01-01T00:00:00Z", "1139569"),
    )
    .await;

    let (looked, found) = look(&home, Some(&keys), Mending::Nothing).await;
    assert!(looked.findings >= 9, "{found:?}");
    let said = |place: &str, words: &str| {
        let all = of(&found, place);
        assert!(all.iter().any(|what| what.contains(words)), "{place} {words}: {all:?}");
    };
    said("/sealed", "\"data\" does not open: sealed with the key");
    said("/sealed", "\"outputs\" does not open: the sealed value is damaged");
    assert_eq!(of(&found, "/sealed").len(), 2);
    said("/misnamed", "its name does not belong to its ids");
    said("serviceinstances.probe.osb.internal cf/late", "epoch 99 is higher");
    said("/foreign", "no record");
    said("/impossible", "not the one that its counter tells");
    said("/impossible", "its operation is a bind");
    said("/osb-dangling", "its instance is not there");
    let stale = binding("late", "", "stale")["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    said(&stale, "another one of the same id");
    said(
        "tombstones.probe.osb.internal cf/late",
        "is there and is not being removed",
    );
}

#[tokio::test]
async fn what_is_mended_is_safe_and_found_no_more() {
    let home = Home::new().await;
    let mut bare = instance("bare", "i", 1);
    bare["metadata"]["finalizers"] = json!(["somebody/else"]);
    home.create(&path("serviceinstances"), bare).await;
    let mut unlabelled = binding("bare", "i", "b");
    unlabelled["metadata"]["labels"] = json!({"mine": "kept"});
    home.create(&path("servicebindings"), unlabelled).await;
    home.create(
        &path("tombstones"),
        tombstone("old", "i0", "2001-01-01T00:00:00Z", "271728"),
    )
    .await;

    let (looked, found) = look(&home, None, Mending::Nothing).await;
    assert_eq!((looked.findings, looked.repaired), (3, 0), "{found:?}");
    let (looked, found) = look(&home, None, Mending::Safe).await;
    assert_eq!((looked.findings, looked.repaired), (0, 3), "{found:?}");
    let (looked, found) = look(&home, None, Mending::Nothing).await;
    assert_eq!((looked.findings, looked.objects), (0, 2), "{found:?}");
    assert!(found.iter().all(|finding| finding.weight == Weight::Note));
    let bare = home.get(&format!("{}/bare", path("serviceinstances"))).await.unwrap();
    assert_eq!(
        bare["metadata"]["finalizers"],
        json!(["somebody/else", "osb.internal/operations"])
    );
}
