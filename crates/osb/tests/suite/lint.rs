//! `osb lint` on files, on a broker, and in the log of a start.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::harness::{Place, Verb, osb};

const CATALOG: &str = "
services:
- id: 5f2c
  name: db
  description: A database
  bindable: true
  plans:
  - {id: 9a1d, name: small, description: 1 GB, free: true, bindable: true, plan_updateable: false}
  - {id: 77b0, name: large, description: 9 GB, free: true, bindable: true, plan_updateable: false}
";

fn run(args: &[&str]) -> Verb {
    let output: Output = osb().arg("lint").args(args).output().unwrap();
    Verb::of(args, &output)
}

/// Files in a folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_catalog_in_a_file_is_looked_over() {
    let files = Files::new();
    let good = files.write("good.yaml", CATALOG);
    assert_eq!(run(&[&good]).ok(), "Nothing to mend in 1 service and 2 plans.\n");

    let bad = files.write("bad.yaml", &CATALOG.replace("id: 77b0", "id: 9a1d"));
    let told = run(&[&bad]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert_eq!(told.stderr, "error: the catalog has 1 error\n");
    assert!(told.stdout.contains("/services/0/plans/1/id"), "{told:?}");
    assert!(
        told.stdout.contains("Cloud Foundry says: Plan ids must be unique."),
        "{told:?}"
    );

    let told = run(&["-o", "json", &bad]);
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, &report["errors"]), (Some(1), &Value::from(1)));
    assert_eq!(report["findings"][0]["rule"], "OSB-PLAN-01");

    assert!(run(&["/nowhere/at/all"]).fails(1).contains("/nowhere/at/all"));
    assert!(
        run(&[&files.write("twice.json", "{\"services\": [], \"services\": []}")])
            .fails(1)
            .contains("twice")
    );
}

#[test]
fn the_rules_can_be_listed() {
    assert!(run(&["--rules"]).ok().contains("cf-tags-long "));
    assert!(run(&["--rules", "-o", "json"]).json()["change-plan-moved"].is_string());
    run(&["--rules", "catalog.json"]).fails(2);
}

#[test]
fn a_change_is_told_with_what_it_means() {
    let files = Files::new();
    let previous = files.write("previous.yaml", CATALOG);
    let next = files.write("next.yaml", &CATALOG.replace("9 GB, free: true", "9 GB, free: false"));
    let told = run(&["--previous", &previous, &next]);
    assert!(told.ok().contains("change-free-to-paid"), "{told:?}");
    assert!(
        told.stdout
            .contains("everywhere: instances that were ordered for nothing"),
        "{told:?}"
    );
    assert!(told.stdout.ends_with("0 errors, 1 warning, 0 notices.\n"), "{told:?}");

    let gone = files.write("gone.yaml", &CATALOG.lines().take(8).collect::<Vec<_>>().join("\n"));
    let told = run(&["--previous", &previous, "--platform", "service-manager", &gone]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(
        told.stdout
            .contains("on Service Manager: the update of the broker is refused"),
        "{told:?}"
    );
    assert!(!told.stdout.contains("Korifi"), "{told:?}");
}

#[test]
fn the_catalogs_of_the_program_are_clean() {
    let place = Place::new();
    let server = place.start();
    let told = place.verb(&["lint"]);
    assert!(told.ok().starts_with("Nothing to mend in "), "{told:?}");
    let url = format!("http://{}", server.address());
    let output = osb()
        .args(["lint", &url, "--previous", &url, "--username", "osb"])
        .env("OSB_PASSWORD", &server.password)
        .output()
        .unwrap();
    Verb::of(&["lint"], &output).ok();
    assert_eq!(server.stop(), Some(0));
    assert!(!place.log().contains("catalog: "), "{}", place.log());
}

/// OSB-CAT-02: neither a restart nor another folder changes an id.
#[test]
fn the_catalog_stays_what_it_is() {
    let place = Place::new();
    let server = place.start();
    let files = Files::new();
    let saved = files.write("saved.json", &place.verb(&["catalog", "-o", "json"]).stdout);
    assert_eq!(server.stop(), Some(0));
    for place in [place, Place::new()] {
        let server = place.start();
        place.verb(&["lint", "--previous", &saved]).ok();
        assert_eq!(
            place.verb(&["catalog", "-o", "json"]).stdout,
            std::fs::read_to_string(&saved).unwrap()
        );
        assert_eq!(server.stop(), Some(0));
    }
}
