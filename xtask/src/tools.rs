//! `cargo xtask bench`, `torture` and `proof`: the tools of the workspace, built for speed and started.

use std::io;

use anyhow::{Context as _, Result, bail};

use crate::metadata::Metadata;
use crate::{fuzz, long, oracle, run, upgrade};

/// The package behind a task.
fn package(task: &str) -> Option<&'static str> {
    match task {
        "bench" => Some("loadgen"),
        "torture" => Some("torture"),
        _ => None,
    }
}

/// `cargo xtask bench templates`: how long the corpus beside the checkout takes, on the crate `template` alone.
fn templates() -> Result<()> {
    let arguments = ["bench", "--package", "template", "--bench", "corpus"];
    run::run(run::cargo().args(arguments).args(run::locked()))
}

/// Builds the program `osb` and the tool behind a task, and runs the tool; it finds `osb` through `OSB_PROGRAM`.
pub(crate) fn tool(task: &str, args: &[String]) -> Result<()> {
    if task == "bench" && args.first().is_some_and(|arg| arg == "templates") {
        templates()?;
    }
    let package = package(task).with_context(|| format!("{task} is no tool"))?;
    // One after the other: built together, osb would get the features that the tool asks for.
    for package in ["osb", package] {
        run::run(
            run::cargo()
                .args(["build", "--release", "--package", package])
                .args(run::locked()),
        )?;
    }
    let release = Metadata::load()?.target.join("release");
    let mut command = run::program(release.join(package));
    if task == "bench" && args.first().is_some_and(|arg| arg == "apiserver") {
        command.env("OSB_ORACLE_BIN", oracle::ensure()?);
    }
    run::run(command.args(args).env("OSB_PROGRAM", release.join("osb")))
}

/// Repeats a recorded run.
pub(crate) fn proof(args: &[String]) -> Result<()> {
    let [name] = args else {
        bail!("which one? {}", recorded_runs()?);
    };
    let recorded = match testparts::proof::read(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(
                "there is no proofs/{name}.json; there are: {}",
                testparts::proof::names()?.join(", ")
            )
        }
        read => read.with_context(|| format!("cannot read proofs/{name}.json"))?,
    };
    let head = run::output(run::program("git").args(["rev-parse", "HEAD"]))?;
    if head.trim() != recorded.commit {
        eprintln!("recorded on commit {}, repeated on {}", recorded.commit, head.trim());
    }
    match recorded.args.split_first() {
        Some((task, args)) if package(task).is_some() => tool(task, args),
        Some((task, args)) if task == "long" => long::long(args),
        Some((task, args)) if task == "upgrade" => upgrade::upgrade(args),
        Some((task, args)) if task == "fuzz" => fuzz::fuzz(args),
        _ => bail!(
            "proofs/{name}.json records no run that can be repeated: {:?}",
            recorded.args
        ),
    }
}

fn recorded_runs() -> io::Result<String> {
    let names = testparts::proof::names()?;
    Ok(if names.is_empty() {
        "none is recorded yet".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    })
}
