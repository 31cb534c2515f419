//! `osb backup` and `osb restore`, as an operator calls them.

use std::fs;

use serde_json::json;

use crate::harness::{Place, osb};

#[test]
fn a_backup_of_a_serving_broker_is_restored_into_another_folder() {
    let (from, to) = (Place::new(), Place::new());
    let server = from.start();
    from.verb(&["provision", "kept", "-p", r#"{"label": "for ever"}"#]).ok();
    let before = from.verb(&["bind", "kept", "--id", "b", "-o", "json"]).json();
    let file = from.data().with_file_name("archive");
    let file = file.to_str().unwrap();
    let made = from.verb(&["backup", file, "-o", "json"]).json();
    assert_eq!(
        made["end"]["resources"]["serviceinstances.reference.osb.internal"], 1,
        "{made}"
    );
    assert_eq!(made["header"]["groups"], json!(["reference.osb.internal"]));
    assert!(from.verb(&["backup", file]).fails(1).contains("there already"));
    assert!(from.verb(&["restore", file]).fails(1).contains("in use by process"));
    let text = fs::read_to_string(file).unwrap();
    assert!(!text.contains("for ever"), "sealed fields stay sealed");
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert_eq!(server.stop(), Some(0));

    let key = from.data().join("key");
    let refused = to.verb(&["restore", file]);
    assert!(refused.fails(1).contains("there is no key file"), "{refused:?}");
    assert!(!to.data().join("store").exists(), "nothing was made");
    let checked = osb().args(["restore", file, "--check"]).output().unwrap();
    assert!(
        String::from_utf8(checked.stdout)
            .unwrap()
            .contains("serviceinstances.reference")
    );
    fs::create_dir(to.data()).unwrap();
    fs::copy(&key, to.data().join("key")).unwrap();
    let restored = to.verb(&["restore", file, "-o", "json"]).json();
    assert_eq!(restored["refused"], 0, "{restored}");
    assert!(to.verb(&["restore", file]).fails(1).contains("--into-existing"));

    let server = to.start();
    let after = to.verb(&["bind", "kept", "--id", "b", "-o", "json"]).json();
    assert_eq!(
        (&after["credentials"], &after["created"]),
        (&before["credentials"], &json!(false))
    );
    assert!(to.verb(&["fsck"]).ok().contains("objects were looked at"));
    to.verb(&["unbind", "kept"]).ok();
    to.verb(&["deprovision", "kept"]).ok();
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_home_without_a_broker_is_backed_up_too_and_one_that_is_being_restored_does_not_start() {
    let place = Place::new();
    let file = place.data().with_file_name("archive");
    let file = file.to_str().unwrap();
    assert!(place.verb(&["backup", file]).fails(1).contains("no state of a broker"));
    let server = place.start();
    place.verb(&["provision", "one"]).ok();
    assert_eq!(server.stop(), Some(0));
    let key = place.data().with_file_name("archive-key");
    fs::write(&key, "3c".repeat(32)).unwrap();
    let key = key.to_str().unwrap();
    place.verb(&["fsck"]).ok();
    place.verb(&["backup", file, "--archive-key", key]).ok();
    assert!(place.verb(&["restore", file]).fails(1).contains("it is encrypted"));

    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() - 10]).unwrap();
    assert!(
        place
            .verb(&["restore", file, "--archive-key", key])
            .fails(1)
            .contains("ends too early")
    );
    let server = place.start();
    place.verb(&["instances"]).ok();
    assert_eq!(server.stop(), Some(0));
}
