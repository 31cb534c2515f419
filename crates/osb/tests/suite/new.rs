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

#[test]
fn its_chart_installs_its_image_under_its_name() {
    let Some(helm) = testparts::need(testparts::helm()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    new(folder.path(), &["message-queues"]).ok();
    let output = Command::new(helm)
        .args(["template", "queues", "message-queues/chart", "--kube-version", "1.36.3"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let workload = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "message-queues:0.1.0");
    assert_eq!(
        container["args"][0], "--listen=0.0.0.0:8080",
        "the image has one broker only"
    );
    let definitions = objects
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition");
    for definition in definitions {
        assert_eq!(definition["spec"]["group"], "message-queues.osb.internal");
    }
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
