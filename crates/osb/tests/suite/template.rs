//! `osb template process` and `osb template lint` on files.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Verb, osb};

const TEMPLATE: &str = "
kind: Template
apiVersion: template.openshift.io/v1
metadata: {name: small}
labels: {app: '${NAME}'}
parameters:
- {name: NAME, description: The name, required: true}
- {name: SIZE, value: '1.10'}
- {name: PASSWORD, generate: expression, from: '[a-z]{12}'}
objects:
- kind: ConfigMap
  apiVersion: v1
  metadata: {name: '${NAME}', namespace: fixed}
  data: {size: '${{SIZE}}', password: '${PASSWORD|base64}'}
- kind: Deployment
  apiVersion: apps/v1
  metadata: {name: '${NAME}'}
";

fn run(args: &[&str]) -> Verb {
    let output = osb().arg("template").args(args).output().unwrap();
    Verb::of(args, &output)
}

fn run_with(args: &[&str], stdin: &str) -> Verb {
    let mut command = osb();
    command.arg("template").args(args).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    Verb::of(args, &child.wait_with_output().unwrap())
}

/// Files in a folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_template_becomes_a_list_of_objects() {
    let files = Files::new();
    let file = files.write("t.yaml", TEMPLATE);
    let told = run(&["process", &file, "-p", "NAME=a", "PASSWORD=p"]);
    // The number is written as it was.
    assert!(told.ok().contains("\"size\": 1.10,"), "{told:?}");
    let list = told.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("List"), &json!("v1")));
    assert_eq!(
        list["items"][0],
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"app": "a"}},
               "data": {"size": 1.1, "password": "cA=="}})
    );
    let generated = run(&["process", "-f", &file, "NAME=a"]).json();
    assert_ne!(
        generated["items"][0]["data"]["password"],
        run(&["process", "-f", &file, "NAME=a"]).json()["items"][0]["data"]["password"]
    );
}

#[test]
fn all_forms_of_output_are_there() {
    let files = Files::new();
    let file = files.write("t.yaml", TEMPLATE);
    assert_eq!(
        run(&["process", &file, "NAME=a", "-o", "name"]).ok(),
        "configmap/a\ndeployment.apps/a\n"
    );
    let yaml = run(&["process", &file, "NAME=a", "-o", "yaml", "-l", "x=y,app=mine"]);
    assert!(
        yaml.ok()
            .starts_with("kind: List\napiVersion: v1\nmetadata: {}\nitems:\n- kind: ConfigMap\n"),
        "{yaml:?}"
    );
    assert!(
        yaml.ok().contains("    labels:\n      x: \"y\"\n      app: mine\n"),
        "{yaml:?}"
    );
    let raw = run(&["process", &file, "NAME=a", "--raw"]).json();
    assert_eq!(
        (&raw["kind"], &raw["labels"]),
        (&json!("Template"), &json!({"app": "a"}))
    );
    assert_eq!(
        raw["parameters"][0],
        json!({"name": "NAME", "description": "The name", "value": "a", "required": true})
    );
    assert_eq!(raw["objects"].as_array().unwrap().len(), 2);
    assert_eq!(
        run(&["process", &file, "--parameters"]).ok(),
        "NAME      DESCRIPTION  GENERATOR   VALUE\n\
         NAME      The name\n\
         SIZE                               1.10\n\
         PASSWORD               expression  [a-z]{12}\n"
    );
    assert_eq!(
        run(&["process", &file, "--parameters", "-o", "json"]).json()[2]["from"],
        "[a-z]{12}"
    );
}

#[test]
fn values_come_from_files_and_the_command_line_counts_more() {
    let files = Files::new();
    let file = files.write("t.yaml", TEMPLATE);
    let values = files.write("values", "# values\nNAME=file\nPASSWORD='two\nlines'\n");
    let told = run(&["process", &file, "--param-file", &values, "-p", "NAME=line"]);
    assert_eq!(
        told.stderr,
        "warning: NAME is in a file of values, too; the one on the command line counts\n"
    );
    let list: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "line");
    assert_eq!(list["items"][0]["data"]["password"], "dHdvCmxpbmVz");
    let told = run_with(&["process", &file, "--param-file", "-", "-o", "name"], "NAME=stdin");
    assert_eq!(told.ok(), "configmap/stdin\ndeployment.apps/stdin\n");
    let told = run_with(&["process", "-", "NAME=a", "-o", "name"], TEMPLATE);
    assert!(told.ok().starts_with("configmap/a"), "{told:?}");
    run(&["process", "-", "--param-file", "-"]).fails(2);
}

#[test]
fn what_is_wrong_is_said_with_what_to_write_and_without_values() {
    let files = Files::new();
    let file = files.write("t.yaml", TEMPLATE);
    assert_eq!(
        run(&["process", &file, "-p", "name=hunter2"]).fails(1),
        "error: template small: parameter name: is no parameter of this template; write NAME\n\
         template small: parameters[0] NAME: is required and has no value; give it one: NAME=...\n"
    );
    run(&[
        "process",
        &file,
        "NAME=a",
        "X=y",
        "--ignore-unknown-parameters",
        "-o",
        "name",
    ])
    .ok();
    assert!(
        !run(&["process", &file, "NAME=hunter2", "-p", "NAME=hunter3"])
            .fails(2)
            .contains("hunter")
    );
    run(&["process", &file, "NAME"]).fails(2);
    run(&["process"]).fails(2);
    assert!(
        run(&["process", "/nowhere/at/all"])
            .fails(1)
            .contains("/nowhere/at/all")
    );
    assert!(
        run(&["process", &files.write("p.yaml", "kind: Pod")])
            .fails(1)
            .contains("there is no Template in it")
    );
    let two = files.write(
        "two.yaml",
        "kind: Template\nmetadata: {name: a}\n---\nkind: Template\nmetadata: {name: b}\n",
    );
    assert!(
        run(&["process", &two])
            .fails(1)
            .contains("a, b; choose one with --template")
    );
    assert_eq!(run(&["process", &two, "--template", "b"]).json()["items"], json!([]));
}

#[test]
fn lint_tells_what_is_wrong() {
    let files = Files::new();
    let good = files.write("good.yaml", TEMPLATE);
    let told = run(&["lint", &good]);
    assert!(told.ok().ends_with("0 errors, 0 warnings, 2 notices.\n"), "{told:?}");
    assert!(
        told.ok()
            .contains("objects[0] (ConfigMap) metadata.namespace  namespace-removed  is fixed"),
        "{told:?}"
    );

    let bad = files.write(
        "bad.json",
        r#"{"kind": "Template", "parameters": [{"name": "A"}, {"name": "A"}]}{"kind": "Template", "objects": 1}"#,
    );
    let none = files.write("none.yaml", "a: [");
    let told = run(&["lint", "-o", "json", &bad, &good, &none]);
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (Some(1), "error: the templates have 3 errors\n"),
        "{told:?}"
    );
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let rules: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect();
    assert_eq!(
        rules,
        [
            "parameter-unused",
            "parameter-twice",
            "template-shape",
            "expose-nothing",
            "namespace-removed",
            "template-shape"
        ]
    );
    assert_eq!(
        report["findings"][1]["mend"],
        "keep one of them: only the last one counts"
    );
    assert_eq!((&report["errors"], &report["templates"]), (&json!(3), &json!(3)));
}

#[test]
fn our_templates_are_clean_and_the_rules_can_be_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let paths: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    let mut args = vec!["lint"];
    args.extend(paths.iter().map(String::as_str));
    let told = run(&args);
    assert!(told.ok().ends_with("0 errors, 0 warnings, 1 notice.\n"), "{told:?}");
    assert!(run(&["lint", "--rules"]).ok().contains("parameter-unused"));
    run(&["lint", "--rules", "x"]).fails(2);
}
