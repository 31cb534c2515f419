//! `cargo xtask kube-rs`: the tests that the authors of kube-rs wrote for a cluster, on our server and on a real one.
//!
//! They are marked `#[ignore]` in the published crates. Their sources come out of cargo's registry, in the version that the
//! project itself uses, into `target/kube-rs`, with a workspace and a Cargo.lock from `xtask/kube-rs` around them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testparts::{Controllers, Oracle, OracleOptions};

use crate::metadata::Metadata;
use crate::{oracle, run};

/// A published crate with tests for a cluster.
struct Tested {
    name: &'static str,
    /// What of it is built. Its tests of OpenSSL are not: they are about the client's TLS, and need the system's library.
    features: &'static str,
    /// The features of `kube` that its tests use: cargo has taken this dependency out of what is published, since it is a circle.
    uses: Option<&'static str>,
    /// What cannot pass, on a real API server as little as on ours, and why.
    impossible: &'static [(&'static str, &'static str)],
}

const RUNS_A_POD: &str = "waits until a kubelet runs its pod";
const ENTERS_A_POD: &str = "runs a program in a pod";

const TESTED: &[Tested] = &[
    Tested {
        name: "kube",
        features: "client,rustls-tls,ring,derive,runtime",
        uses: None,
        impossible: &[("test::pod_can_await_conditions", RUNS_A_POD)],
    },
    Tested {
        name: "kube-client",
        features: "client,rustls-tls,ring,ws,kubelet-debug,jsonpatch,unstable-client",
        uses: Some(r#""derive", "client", "ws""#),
        impossible: &[
            ("test::pod_can_exec_and_write_to_stdin", ENTERS_A_POD),
            ("test::pod_can_exec_and_write_to_stdin_from_node_proxy", ENTERS_A_POD),
            ("test::can_get_pod_logs_and_evict", RUNS_A_POD),
        ],
    },
    Tested {
        name: "kube-runtime",
        features: "unstable-runtime",
        uses: Some(r#""derive", "client", "runtime""#),
        impossible: &[(
            "events::test::event_recorder_attaches_events_without_namespace",
            "asks for the ComponentStatus of a scheduler",
        )],
    },
];

/// Runs them; `args` must be empty.
pub(crate) fn kube_rs(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("cargo xtask kube-rs takes no arguments, not {args:?}");
    }
    let workspace = Workspace::prepare()?;
    workspace.build()?;
    let ours = Ours::start(&workspace.folder)?;
    let number = workspace.play(&ours.kubeconfig())?;
    println!("kube-rs: {number} tests pass on ours");
    drop(ours);
    let options = OracleOptions {
        controllers: Controllers::Core,
        ..OracleOptions::default()
    };
    oracle::ensure()?;
    let theirs = Oracle::start_with(&options)?;
    wait_for_service(&theirs)?;
    let number = workspace.play(&theirs.kubeconfig())?;
    println!("kube-rs: {number} tests pass on a real server");
    Ok(())
}

/// A real server creates the Service of its own some seconds after it is ready.
fn wait_for_service(oracle: &Oracle) -> Result<()> {
    const SECONDS: u64 = 60;
    for _ in 0..SECONDS {
        let mut command = oracle.kubectl();
        command.args(["get", "service", "kubernetes", "--namespace=default"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status()?.success() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("the real server has no Service of its own after {SECONDS} s")
}

/// The published crates, as members of a workspace below `target`.
struct Workspace {
    folder: PathBuf,
    target: PathBuf,
}

impl Workspace {
    fn prepare() -> Result<Self> {
        let metadata = Metadata::load()?;
        let version = metadata
            .packages
            .iter()
            .find(|package| package.name == "kube")
            .context("the workspace does not depend on kube")?
            .version
            .clone();
        let folder = metadata.target.join("kube-rs");
        let workspace = Self {
            folder,
            target: metadata.target,
        };
        workspace.fill(&version)?;
        Ok(workspace)
    }

    /// Copies the sources, unless they are there.
    fn fill(&self, version: &str) -> Result<()> {
        let ours = folder_of_ours();
        let lock = [ours.join("Cargo.lock"), run::root().join("Cargo.lock")];
        let lock = lock
            .iter()
            .find(|file| file.exists())
            .context("the workspace has no Cargo.lock")?;
        let sources = self.folder.join("sources");
        fs::create_dir_all(&sources).with_context(|| format!("cannot make {}", sources.display()))?;
        copy_file(lock, &sources.join("Cargo.lock"))?;
        write(&sources.join(MANIFEST), asking_for(version).as_bytes())?;
        write(&sources.join("lib.rs"), b"")?;
        let mut command = run::cargo();
        command
            .args(["metadata", "--format-version=1", "--manifest-path"])
            .arg(sources.join(MANIFEST));
        let found: Value = serde_json::from_str(&run::output(&mut command)?)?;
        for tested in TESTED {
            let from = source(&found, tested.name)
                .with_context(|| format!("cargo metadata does not say where {} {version} lies", tested.name))?;
            let to = self.folder.join(tested.name);
            copy_crate(&from, &to)?;
            let manifest = fs::read_to_string(from.join(MANIFEST))?;
            write(&to.join(MANIFEST), tested.complete(manifest, version).as_bytes())?;
        }
        copy_file(&ours.join("workspace.toml"), &self.folder.join("Cargo.toml"))?;
        copy_file(lock, &self.folder.join("Cargo.lock"))
    }

    fn cargo_test(&self, tested: &Tested) -> Command {
        let mut command = run::cargo();
        command.current_dir(&self.folder).args(["test", "--quiet", "--lib"]);
        command.args(run::locked()).arg("--target-dir").arg(&self.target);
        command.args([
            "--package",
            tested.name,
            "--no-default-features",
            "--features",
            tested.features,
        ]);
        command
    }

    fn build(&self) -> Result<()> {
        run::run(run::cargo().args(["build", "--package", "osb"]).args(run::locked()))?;
        for tested in TESTED {
            run::run(self.cargo_test(tested).arg("--no-run"))
                .context("in CI xtask/kube-rs/Cargo.lock has to fit: run cargo xtask kube-rs and commit it")?;
        }
        let (made, kept) = (self.folder.join("Cargo.lock"), folder_of_ours().join("Cargo.lock"));
        if !run::in_ci() && fs::read(&made).ok() != fs::read(&kept).ok() {
            copy_file(&made, &kept)?;
            eprintln!("written anew: {}", kept.display());
        }
        Ok(())
    }

    /// Runs what can pass, and says how many tests that are.
    fn play(&self, kubeconfig: &Path) -> Result<usize> {
        let mut number = 0;
        for tested in TESTED {
            let listed = run::output(
                self.cargo_test(tested)
                    .args(["--", "--ignored", "--list", "--format=terse"]),
            )?;
            number += possible(tested, &names(&listed))?;
            let mut command = self.cargo_test(tested);
            command.args(["--", "--ignored", "--exact"]);
            for (name, _) in tested.impossible {
                command.args(["--skip", name]);
            }
            // What is set for the way to the registry is not for a server on this machine.
            for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
                command.env_remove(name);
            }
            run::run(command.env("KUBECONFIG", kubeconfig).env("RUST_BACKTRACE", "0"))?;
        }
        Ok(number)
    }
}

const MANIFEST: &str = "Cargo.toml";

impl Tested {
    /// The manifest with what it had before it was published.
    fn complete(&self, manifest: String, version: &str) -> String {
        match self.uses {
            Some(features) => {
                format!("{manifest}\n[dev-dependencies.kube]\nversion = \"={version}\"\nfeatures = [{features}]\n")
            }
            None => manifest,
        }
    }
}

fn folder_of_ours() -> PathBuf {
    run::root().join("xtask/kube-rs")
}

/// A package that has the crates brought into cargo's registry.
fn asking_for(version: &str) -> String {
    format!(
        "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[lib]\npath = \"lib.rs\"\n\n\
         [dependencies]\nkube = {{ version = \"={version}\", features = [\"runtime\", \"derive\"] }}\n\n[workspace]\n"
    )
}

/// The folder of a package's sources.
fn source(metadata: &Value, name: &str) -> Option<PathBuf> {
    let package = metadata
        .get("packages")?
        .as_array()?
        .iter()
        .find(|package| package.get("name").and_then(Value::as_str) == Some(name))?;
    Some(Path::new(package.get("manifest_path")?.as_str()?).parent()?.to_owned())
}

/// A copy of the published crate, without its manifest and what cargo keeps of it for itself.
fn copy_crate(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_crate(&path, &copy)?;
        } else if entry.file_name() != ".cargo-ok" && entry.file_name() != MANIFEST {
            copy_file(&path, &copy)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, &content)
}

/// Writes only what is not there: cargo builds anew what is newer than what it has built.
fn write(to: &Path, content: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|found| found == content) {
        return Ok(());
    }
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))
}

/// The tests in what the test harness lists.
fn names(listed: &str) -> BTreeSet<&str> {
    listed.lines().filter_map(|line| line.strip_suffix(": test")).collect()
}

/// How many of a crate's tests can pass.
fn possible(tested: &Tested, listed: &BTreeSet<&str>) -> Result<usize> {
    for (name, _) in tested.impossible {
        if !listed.contains(name) {
            bail!(
                "{} has no test {name} any more: take it out of the table in xtask/src/kube_rs.rs",
                tested.name
            );
        }
    }
    Ok(listed.len() - tested.impossible.len())
}

/// `osb apiserver --ephemeral`; it ends with its value.
struct Ours {
    child: Child,
    folder: PathBuf,
}

impl Ours {
    fn start(below: &Path) -> Result<Self> {
        let folder = below.join(format!("data-{}", std::process::id()));
        let program = Metadata::load()?.target.join("debug/osb");
        let child = run::program(&program)
            .args(["apiserver", "--ephemeral", "--kube-listen", "127.0.0.1:0", "--data-dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut ours = Self { child, folder };
        let told = ours.child.stdout.as_mut().context("its output is piped")?;
        let is_ready = |line: std::io::Result<String>| line.is_ok_and(|line| line.starts_with("Ctrl-C"));
        if !BufReader::new(told).lines().any(is_ready) {
            bail!("osb apiserver has ended");
        }
        Ok(ours)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_publishing_took_away_is_there_again() {
        let manifest = |at: usize| TESTED[at].complete("[package]\n".to_owned(), "5.0.0");
        assert_eq!(manifest(0), "[package]\n");
        let expected =
            "[package]\n\n[dev-dependencies.kube]\nversion = \"=5.0.0\"\nfeatures = [\"derive\", \"client\", \"ws\"]\n";
        assert_eq!(manifest(1), expected);
    }

    #[test]
    fn a_name_in_the_table_that_no_test_has_is_told() {
        let tested = &TESTED[0];
        let listed = "test::pod_can_await_conditions: test\ntest::other: test\n\n2 tests, 0 benchmarks\n";
        assert_eq!(possible(tested, &names(listed)).unwrap(), 1);
        let error = possible(tested, &names("test::other: test\n")).unwrap_err().to_string();
        assert!(error.contains("pod_can_await_conditions"), "{error}");
    }

    #[test]
    fn the_folder_of_a_crate_is_read_from_what_cargo_says() {
        let metadata = serde_json::json!({"packages": [{"name": "kube", "manifest_path": "/r/kube-5.0.0/Cargo.toml"}]});
        assert_eq!(source(&metadata, "kube"), Some("/r/kube-5.0.0".into()));
        assert_eq!(source(&metadata, "kube-client"), None);
    }
}
