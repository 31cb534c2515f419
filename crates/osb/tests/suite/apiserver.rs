//! `osb apiserver`: a Kubernetes API without a broker.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Verb, osb};

/// A running server; killed with its value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server and reads what it tells its user, up to the last line.
fn start(data: &Path, flags: &[&str]) -> (Server, String) {
    let mut command = osb();
    command
        .args(["apiserver", "--kube-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .args(flags);
    let mut server = Server(command.stdout(Stdio::piped()).spawn().unwrap());
    let stdout = BufReader::new(server.0.stdout.take().unwrap());
    let mut told = String::new();
    for line in stdout.lines() {
        let line = line.unwrap();
        told.push_str(&line);
        told.push('\n');
        if line.starts_with("Ctrl-C") {
            return (server, told);
        }
    }
    panic!("it ends: {told}");
}

fn kubectl(program: &Path, data: &Path, args: &[&str]) -> Verb {
    let mut command = Command::new(program);
    command
        .arg("--kubeconfig")
        .arg(data.join("kubeconfig"))
        .env("HOME", data.join(".."))
        .args(args);
    Verb::of(args, &command.output().unwrap())
}

#[test]
fn kubectl_works_with_the_kubeconfig_and_objects_outlive_a_kill() {
    let Some(program) = testparts::need(testparts::kubectl()) else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {text: hello}\n";
    let file = root.path().join("map.yaml");
    std::fs::write(&file, map).unwrap();
    let (server, told) = start(&data, &[]);
    assert!(
        told.contains(&format!("export KUBECONFIG={}", data.join("kubeconfig").display())),
        "{told}"
    );
    kubectl(&program, &data, &["apply", "-f", &file.display().to_string()]).ok();
    drop(server);
    let (_server, _) = start(&data, &[]);
    let shown = kubectl(
        &program,
        &data,
        &["get", "configmap", "greeting", "-o", "jsonpath={.data.text}"],
    );
    assert_eq!(shown.ok(), "hello");
}

#[test]
fn an_ephemeral_server_forgets_and_leaves_no_store() {
    let Some(program) = testparts::need(testparts::kubectl()) else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let (_server, told) = start(&data, &["--ephemeral"]);
    assert!(told.contains("in memory"), "{told}");
    kubectl(&program, &data, &["get", "--raw", "/readyz"]).ok();
    assert!(!data.join("store").exists() && data.join("kubeconfig").exists());
}

#[test]
fn a_second_server_on_the_same_data_says_why_it_cannot() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let (_server, _) = start(&data, &[]);
    let args = ["apiserver", "--kube-listen", "127.0.0.1:0", "--data-dir"];
    let second = osb().args(args).arg(&data).output().unwrap();
    let second = Verb::of(&args, &second);
    assert!(
        second.code == Some(1) && second.stderr.starts_with("error: "),
        "{second:?}"
    );
}

#[test]
fn a_template_is_tried_on_a_cluster_without_anything_being_made() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let template = "kind: Template\napiVersion: template.openshift.io/v1\nparameters: [{name: PORT}]\nobjects:\n\
        - {kind: ConfigMap, apiVersion: v1, metadata: {name: a}}\n\
        - {kind: Service, apiVersion: v1, metadata: {name: b}, spec: {ports: [{port: '${{PORT}}'}]}}\n";
    let file = root.path().join("template.yaml");
    std::fs::write(&file, template).unwrap();
    let (_server, _) = start(&data, &["--ephemeral"]);
    let preview = |port: &str| {
        let mut command = osb();
        command
            .args(["template", "preview"])
            .arg(&file)
            .arg(format!("PORT={port}"));
        command.arg("--kubeconfig").arg(data.join("kubeconfig"));
        Verb::of(&["template", "preview"], &command.output().unwrap())
    };
    for _ in 0..2 {
        let told = preview("80");
        assert!(
            told.ok()
                .lines()
                .filter(|line| line.ends_with("would be created"))
                .count()
                == 2,
            "{told:?}"
        );
    }
    let told = preview("123456");
    let text = format!("{told:?}");
    assert!(
        text.contains("Service default/b") && text.contains("would be refused"),
        "{text}"
    );
    assert!(text.contains("an object cannot be made"), "{text}");
}
