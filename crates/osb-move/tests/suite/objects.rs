//! What becomes of single objects.

use osb_move::Existing;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn incarnations_labels_and_finalizers_stay_and_epochs_are_raised() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    let high = 9_000_000_000;
    before
        .create(&path("serviceinstances"), instance("a", "i1", high))
        .await;
    let made = before.backup(&file(&folder), None).await.unwrap();
    assert_eq!(made.end.highest_epoch, high);

    let after = Home::empty().await;
    let restored = after.restore(&file(&folder), Existing::Refused).await.unwrap();
    assert_eq!(restored.refused, [""; 0]);
    let (old, new) = (
        before.get(&format!("{}/a", path("serviceinstances"))).await.unwrap(),
        after.get(&format!("{}/a", path("serviceinstances"))).await.unwrap(),
    );
    for member in ["spec", "record", "status"] {
        assert_eq!(old[member], new[member], "{member}");
    }
    for member in ["name", "namespace", "labels", "finalizers"] {
        assert_eq!(old["metadata"][member], new["metadata"][member], "{member}");
    }
    assert_ne!(old["metadata"]["uid"], new["metadata"]["uid"]);
    let table = after
        .get(&format!("/apis/{GROUP}/v1/namespaces/osb-system/shardtables/shards"))
        .await
        .unwrap();
    assert!(table["spec"]["epoch"].as_u64().unwrap() > high);
    assert_eq!(table["metadata"]["labels"]["osb.internal/restoring"], Value::Null);
}

#[tokio::test]
async fn owners_are_known_by_their_new_uids_however_deep_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    let owned = |kind: &str, name: &str, owner: &Value| {
        json!({"kind": kind, "metadata": {"name": name, "namespace": "cf", "ownerReferences": [{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"],
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        }]}})
    };
    // In the order of the archive children come before parents, and "a" before "b".
    let top = before
        .create(
            &path("parents"),
            json!({"kind": "Parent", "metadata": {"name": "z", "namespace": "cf"}}),
        )
        .await;
    let middle = before.create(&path("parents"), owned("Parent", "b", &top)).await;
    let low = before.create(&path("childs"), owned("Child", "a", &middle)).await;
    let mut lowest = owned("Child", "0", &low);
    lowest["spec"] = json!({"of": top["metadata"]["uid"]});
    before.create(&path("childs"), lowest).await;
    let patch = json!({"status": {"seen": low["metadata"]["uid"]}});
    before
        .api
        .patch(&format!("{}/z/status", path("parents")), &patch)
        .await
        .unwrap();
    before.backup(&file(&folder), None).await.unwrap();

    let after = Home::empty().await;
    after.restore(&file(&folder), Existing::Refused).await.unwrap();
    let get = async |plural: &str, name: &str| after.get(&format!("{}/{name}", path(plural))).await.unwrap();
    let (top, middle) = (get("parents", "z").await, get("parents", "b").await);
    let (low, lowest) = (get("childs", "a").await, get("childs", "0").await);
    for (owned, owner) in [(&middle, &top), (&low, &middle), (&lowest, &low)] {
        assert_eq!(owned["metadata"]["ownerReferences"][0]["uid"], owner["metadata"]["uid"]);
    }
    assert_eq!(lowest["spec"]["of"], top["metadata"]["uid"]);
    assert_eq!(top["status"]["seen"], low["metadata"]["uid"]);
}

#[tokio::test]
async fn objects_that_name_each_other_are_made_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    let parent = |name: &str, of: &str| json!({"kind": "Parent", "metadata": {"name": name, "namespace": "cf"}, "spec": {"of": of}});
    let one = before.create(&path("parents"), parent("one", "")).await;
    let two = before
        .create(
            &path("parents"),
            parent("two", one["metadata"]["uid"].as_str().unwrap()),
        )
        .await;
    let patch = json!({"spec": {"of": two["metadata"]["uid"]}});
    before
        .api
        .patch(&format!("{}/one", path("parents")), &patch)
        .await
        .unwrap();
    before.backup(&file(&folder), None).await.unwrap();
    let after = Home::empty().await;
    let restored = after.restore(&file(&folder), Existing::Refused).await.unwrap();
    assert_eq!(restored.refusals, 0);
    for name in ["one", "two"] {
        assert!(after.get(&format!("{}/{name}", path("parents"))).await.is_some());
    }
}

#[tokio::test]
async fn what_was_being_deleted_is_being_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    let made = before.create(&path("serviceinstances"), instance("a", "i1", 5)).await;
    let place = format!("{}/a", path("serviceinstances"));
    before
        .api
        .delete(&place, made["metadata"]["uid"].as_str().unwrap())
        .await
        .unwrap();
    before.backup(&file(&folder), None).await.unwrap();
    let after = Home::empty().await;
    after.restore(&file(&folder), Existing::Refused).await.unwrap();
    let found = after.get(&place).await.unwrap();
    assert!(found["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(found["spec"]["incarnation"], "i1");
}

#[tokio::test]
async fn an_archive_is_of_one_moment_also_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new().await;
    // Each number stands in one of both kinds, and in both only between its two writes.
    let put = async |n: u32| {
        home.create(&path("serviceinstances"), instance(&format!("n{n}"), "i", 1))
            .await;
        let other = json!({"kind": "Parent", "metadata": {"name": format!("n{n}"), "namespace": "cf"}});
        home.create(&path("parents"), other).await;
    };
    for n in 0..300 {
        put(n).await;
    }
    let writing = async {
        for n in 300..600 {
            put(n).await;
            tokio::task::yield_now().await;
        }
    };
    let (made, ()) = tokio::join!(async { home.backup(&file(&folder), None).await.unwrap() }, writing);
    let count = |plural: &str| made.end.resources[&format!("{plural}.{GROUP}")];
    let (instances, parents) = (count("serviceinstances"), count("parents"));
    assert!(
        instances >= 300 && (instances == parents || instances == parents + 1),
        "{instances} {parents}"
    );
}
