//! `osb new`: a broker of one's own works as it was made.

use std::path::Path;
use std::process::Command;

use crate::harness::{Verb, osb};

fn new(folder: &Path, args: &[&str]) -> Verb {
    let output = osb().current_dir(folder).arg("new").args(args).output().unwrap();
    Verb::of(args, &output)
}

#[test]
fn a_crate_is_made_with_ids_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    new(folder.path(), &["message-queues"]).ok();
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder.path().join("message-queues"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let found: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    assert_eq!(found["packages"][0]["name"], "message-queues");

    let other = tempfile::tempdir().unwrap();
    new(other.path(), &["message-queues"]).ok();
    let source = |folder: &Path| std::fs::read_to_string(folder.join("message-queues/src/lib.rs")).unwrap();
    assert_ne!(
        source(folder.path()),
        source(other.path()),
        "two brokers with the same ids"
    );
}

#[test]
fn what_is_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("queues"), "mine").unwrap();
    assert!(
        new(folder.path(), &["queues"])
            .fails(2)
            .contains("there is something at queues already")
    );
    assert_eq!(std::fs::read(folder.path().join("queues")).unwrap(), b"mine");
    assert!(
        new(folder.path(), &["Queues"])
            .fails(2)
            .contains("such as message-queues")
    );
    assert!(
        new(folder.path(), &["q", "--sdk", "/nowhere"])
            .fails(2)
            .contains("--sdk")
    );
    assert!(!folder.path().join("q").exists(), "nothing is left");
}

/// Its own `ci.sh`: tests with all platforms, then the program, `osb lint` and `osb check`.
#[test]
#[ignore = "builds the SDK once more, which takes minutes: cargo xtask long new-broker"]
fn it_passes_its_own_ci_without_a_line_changed() {
    let folder = tempfile::tempdir().unwrap();
    new(folder.path(), &["message-queues"]).ok();
    let status = Command::new("./ci.sh")
        .current_dir(folder.path().join("message-queues"))
        .env("OSB", env!("CARGO_BIN_EXE_osb"))
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/new"))
        .status()
        .unwrap();
    assert!(status.success());
}
