//! What is refused before anything is written, and what can be done again.

use std::fs;

use osb_move::archive::crypt::Key;
use osb_move::archive::{ArchiveError, Event};
use osb_move::{BackupError, Existing, Extent, Restore, RestoreError, Target};
use serde_json::json;

use crate::support::*;

/// The metadata and contents of everything, without what changes by itself.
async fn everything(home: &Home) -> String {
    let mut text = String::new();
    for plural in [
        "serviceinstances",
        "servicebindings",
        "tombstones",
        "shardtables",
        "catalogrecords",
    ] {
        let listed = home.get(&format!("/apis/{GROUP}/v1/{plural}")).await;
        text += &format!("{:?}\n", listed.map(|listed| listed["items"].clone()));
    }
    text
}

#[tokio::test]
async fn a_damaged_archive_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    for n in 0..20 {
        before
            .create(&path("serviceinstances"), instance(&format!("a{n}"), "i", 5))
            .await;
    }
    before.backup(&file(&folder), None).await.unwrap();
    let whole = fs::read(file(&folder)).unwrap();
    let after = Home::new().await;
    let nothing = everything(&after).await;
    let mut changed = whole.clone();
    let middle = whole.len() / 2;
    changed[middle] = if changed[middle] == b'a' { b'b' } else { b'a' };
    for bad in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 2],
        b"not an archive\n",
        &changed,
    ] {
        fs::write(file(&folder), bad).unwrap();
        let refused = after.restore(&file(&folder), Existing::Refused).await;
        assert!(matches!(refused, Err(RestoreError::Archive(_))), "{refused:?}");
        assert_eq!(everything(&after).await, nothing);
    }
}

#[tokio::test]
async fn a_home_that_is_not_empty_is_refused_unless_what_is_missing_may_be_added() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    before.create(&path("serviceinstances"), instance("a", "i1", 5)).await;
    before.create(&path("serviceinstances"), instance("b", "i2", 5)).await;
    before.backup(&file(&folder), None).await.unwrap();

    let after = Home::new().await;
    let mut same = instance("a", "i1", 7);
    same["metadata"]["labels"] = json!({"kept": "home"});
    after.create(&path("serviceinstances"), same).await;
    let refused = after.restore(&file(&folder), Existing::Refused).await;
    assert!(
        matches!(&refused, Err(RestoreError::NotEmpty(what)) if what.contains("cf/a")),
        "{refused:?}"
    );
    let restored = after.restore(&file(&folder), Existing::Kept).await.unwrap();
    assert!(restored.kept > 0);
    let found = after.get(&format!("{}/a", path("serviceinstances"))).await.unwrap();
    assert_eq!(found["metadata"]["labels"]["kept"], "home");
    assert!(after.get(&format!("{}/b", path("serviceinstances"))).await.is_some());

    let other = Home::new().await;
    other
        .create(&path("serviceinstances"), instance("b", "another life", 5))
        .await;
    let nothing = everything(&other).await;
    let refused = other.restore(&file(&folder), Existing::Kept).await;
    assert!(
        matches!(&refused, Err(RestoreError::Taken { count: 1, first }) if first.ends_with("cf/b")),
        "{refused:?}"
    );
    assert_eq!(everything(&other).await, nothing);
}

#[tokio::test]
async fn what_was_interrupted_goes_on_with_the_same_archive_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    for name in ["a", "b"] {
        before.create(&path("serviceinstances"), instance(name, "i", 5)).await;
    }
    let made = before.backup(&file(&folder), None).await.unwrap();
    before.create(&path("serviceinstances"), instance("c", "i", 5)).await;
    let second = folder.path().join("second");
    before.backup(&second, None).await.unwrap();

    // What a restore leaves behind that was killed after its first object.
    let after = Home::new().await;
    let table = json!({
        "kind": "ShardTable",
        "metadata": {"name": "shards", "namespace": "osb-system", "labels": {"osb.internal/restoring": &made.end.sha256[..40]}},
        "spec": {"epoch": 1, "shards": []},
    });
    after
        .create(&format!("/apis/{GROUP}/v1/namespaces/osb-system/shardtables"), table)
        .await;
    after.create(&path("serviceinstances"), instance("a", "i", 5)).await;
    let refused = after.restore(&second, Existing::Refused).await;
    assert!(matches!(refused, Err(RestoreError::Another)), "{refused:?}");
    after.restore(&file(&folder), Existing::Refused).await.unwrap();
    assert!(after.get(&format!("{}/b", path("serviceinstances"))).await.is_some());
    let table = after
        .get(&format!("/apis/{GROUP}/v1/namespaces/osb-system/shardtables/shards"))
        .await
        .unwrap();
    assert!(
        table["metadata"]["labels"].is_null() && table["spec"]["epoch"].as_u64() > Some(1),
        "{table}"
    );
}

#[tokio::test]
async fn keys_groups_and_newer_state_are_looked_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let before = Home::new().await;
    let mut sealed = instance("a", "i1", 5);
    sealed["spec"]["digest"] = "0123456789abcdef:x".into();
    before.create(&path("serviceinstances"), sealed).await;
    before.backup(&file(&folder), None).await.unwrap();
    let after = Home::new().await;
    let refused = after.restore(&file(&folder), Existing::Refused).await;
    let wanted = vec!["0123456789abcdef".to_owned()];
    assert!(
        matches!(&refused, Err(RestoreError::Keys(missing)) if *missing == wanted),
        "{refused:?}"
    );

    let target = Target {
        api: after.api.clone(),
        layout: layout(),
        extent: Extent::Group("other.osb.internal".to_owned()),
        keys: wanted,
    };
    let refused = Restore::open(&file(&folder), &[])
        .unwrap()
        .into_home(target, Existing::Refused)
        .await;
    assert!(
        matches!(&refused, Err(RestoreError::Group { found, .. }) if found == &[GROUP]),
        "{refused:?}"
    );

    let text = fs::read_to_string(file(&folder)).unwrap();
    let (body, end) = text.rsplit_once("{\"end\"").unwrap();
    let body = body.replacen("\"storedVersion\":1", "\"storedVersion\":2", 1);
    let sum = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut end: serde_json::Value = serde_json::from_str(&format!("{{\"end\"{end}")).unwrap();
    end["end"]["sha256"] = sum.into();
    fs::write(file(&folder), format!("{body}{end}\n")).unwrap();
    let refused = Restore::open(&file(&folder), &[]);
    assert!(matches!(refused, Err(RestoreError::Newer(2))), "{refused:?}");
}

#[tokio::test]
async fn secrets_stand_in_encrypted_archives_only() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new().await;
    let secret =
        json!({"kind": "Secret", "metadata": {"name": "s", "namespace": "cf"}, "stringData": {"p": "hunter2"}});
    home.create("/api/v1/namespaces/cf/secrets", secret).await;
    let refused = home.backup(&file(&folder), None).await;
    assert!(matches!(refused, Err(BackupError::Secrets)), "{refused:?}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );

    let key = Key::new([4; 32]);
    home.backup(&file(&folder), Some(&key)).await.unwrap();
    let again = home.backup(&file(&folder), Some(&key)).await;
    assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
    let bytes = fs::read(file(&folder)).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"metadata"));
    let refused = Restore::open(&file(&folder), &[]);
    assert!(
        matches!(refused, Err(RestoreError::Archive(ArchiveError::Encrypted(_)))),
        "{refused:?}"
    );
    let mut secrets = 0;
    osb_move::archive::Archive::open(&file(&folder), &[key], |event| {
        secrets += usize::from(matches!(event, Event::Object(of, _) if of.plural == "secrets"));
        Ok(())
    })
    .unwrap();
    assert_eq!(secrets, 1);
}
