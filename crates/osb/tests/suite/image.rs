//! `osb image`: what it writes is an image that starts, on a root that nobody may write, as somebody who is not root.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Verb, osb, poll};

/// `$1` the root of the image. What a runtime does: a read-only root, a volume for the data, and the user of the image.
const RUNTIME: &str = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" \
    && mount -t tmpfs -o mode=0770 none \"$1/var/lib/osb\" && shift && exec \"$@\"";

/// The user of the image as in its configuration.
const USER: &str = "65532";

/// The program of the tests without what debuggers want of it, which is most of it.
fn program(folder: &Path) -> PathBuf {
    let copy = folder.join("osb");
    let stripped = Command::new("strip")
        .args(["-s", "-o"])
        .arg(&copy)
        .arg(env!("CARGO_BIN_EXE_osb"))
        .status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(env!("CARGO_BIN_EXE_osb"), &copy).unwrap();
    }
    copy
}

fn image(program: &Path, archive: &Path, more: &[&str]) -> Verb {
    let mut command = osb();
    command.arg("image").arg(program).arg("-o").arg(archive).args(more);
    Verb::of(more, &command.output().unwrap())
}

fn tar(args: &[&str], archive: &Path, folder: &Path) {
    let mut command = Command::new("tar");
    let status = command.args(args).arg(archive).arg("-C").arg(folder).status().unwrap();
    assert!(status.success());
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The root of an image and its configuration, as any program for images would find them.
fn unpacked(archive: &Path, folder: &Path) -> (PathBuf, Value) {
    let (layout, root) = (folder.join("layout"), folder.join("root"));
    fs::create_dir(&layout).unwrap();
    fs::create_dir(&root).unwrap();
    tar(&["-xf"], archive, &layout);
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let manifest = json(&blob(&json(&layout.join("index.json"))["manifests"][0]));
    tar(&["--no-same-owner", "-xzpf"], &blob(&manifest["layers"][0]), &root);
    (root, json(&blob(&manifest["config"])))
}

/// The program of an image, started as a runtime would; `None` where namespaces cannot be made.
fn run(root: &Path, args: &[&str]) -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args([
        &format!("--map-user={USER}"),
        &format!("--map-group={USER}"),
        "--mount",
        "--keep-caps",
        "--kill-child",
        "--",
    ]);
    let can = Command::new("unshare")
        .args(command.get_args())
        .args(["sh", "-c", "mount -t tmpfs none /tmp && unshare --root=/ true"])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no namespace of users and mounts can be made here");
        return None;
    }
    command.args(["sh", "-c", RUNTIME, "runtime"]).arg(root);
    command
        .args(["unshare", "--root"])
        .arg(root)
        .arg("/usr/bin/osb")
        .args(args);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    Some(command)
}

#[test]
fn an_image_starts_with_a_root_that_is_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar");
    let program = program(folder.path());
    let said = image(&program, &archive, &["--name", "brokers/osb:1.0"]);
    assert!(said.ok().starts_with("brokers/osb:1.0 sha256:"), "{}", said.ok());
    let (root, config) = unpacked(&archive, folder.path());
    assert_eq!(config["config"]["User"], format!("{USER}:0"));
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/osb");
    let Some(mut command) = run(
        &root,
        &[
            "serve",
            "reference",
            "--listen",
            "127.0.0.1:0",
            "--kube-listen",
            "127.0.0.1:0",
        ],
    ) else {
        return;
    };
    let environment = config["config"]["Env"].as_array().unwrap().iter();
    for pair in environment.filter_map(Value::as_str) {
        let (name, value) = pair.split_once('=').unwrap();
        if name != "PATH" {
            command.env(name, value);
        }
    }
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let url = lines.find_map(|line| Some(line.split_once("http://")?.1.to_owned()));
    let url = url.expect("the broker says where it listens");
    let healthy = poll("the broker of the image answers", || {
        let mut stream = std::net::TcpStream::connect(&url).ok()?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {url}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        Some(crate::harness::read_answer(&mut stream).0)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(healthy, 200);

    let mut elsewhere = run(&root, &["serve", "reference", "--data-dir", "/etc/data"]).unwrap();
    let output = elsewhere.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("/etc/data"), "{said}");
}

#[test]
fn the_same_program_gives_the_same_image_and_what_is_no_program_gives_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = fs::canonicalize("/bin/sh").unwrap();
    image(&program, &at("one.tar"), &[]).ok();
    image(&program, &at("two.tar"), &[]).ok();
    assert_eq!(fs::read(at("one.tar")).unwrap(), fs::read(at("two.tar")).unwrap());
    fs::write(at("script"), "#!/bin/sh\n").unwrap();
    assert!(
        image(&at("script"), &at("three.tar"), &[])
            .fails(2)
            .contains("cargo build")
    );
    assert!(!at("three.tar").exists());
    assert!(
        image(&program, &at("three.tar"), &["--name", "Not A Name"])
            .fails(2)
            .contains("NAME:TAG")
    );
}
