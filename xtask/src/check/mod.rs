//! `cargo xtask check`: everything that can be said about the code without running it.

mod graph;
mod licences;
mod unused;

use anyhow::{Context as _, Result, bail};

use crate::metadata::Metadata;
use crate::run;

struct Check {
    name: &'static str,
    when_it_fails: &'static str,
    work: fn() -> Result<()>,
}

/// In this order: what takes a second comes before what builds.
const CHECKS: [Check; 6] = [
    Check {
        name: "format",
        when_it_fails: "cargo fmt --all",
        work: format,
    },
    Check {
        name: "arrows",
        when_it_fails: "move the code to the crate that may know it; ARCHITECTURE.md has the picture, xtask/src/check/graph.rs the table",
        work: arrows,
    },
    Check {
        name: "unused",
        when_it_fails: "take the dependency out of that Cargo.toml, or move it; one that only lends its features goes into KEPT of xtask/src/check/unused.rs",
        work: unused,
    },
    Check {
        name: "licences",
        when_it_fails: "use another crate, or add the licence to xtask/src/check/licences.rs if its duties are only to name it",
        work: licences,
    },
    Check {
        name: "clippy",
        when_it_fails: "mend it, or #[expect(the_lint, reason = \"...\")] where the lint is wrong",
        work: clippy,
    },
    Check {
        name: "docs",
        when_it_fails: "mend the documentation that rustdoc names",
        work: docs,
    },
];

/// Runs the named checks, or all.
pub(crate) fn check(names: &[String]) -> Result<()> {
    let known: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no check {unknown:?}; there are: {}", known.join(", "));
    }
    let wanted = |check: &&Check| names.is_empty() || names.iter().any(|name| name == check.name);
    for check in CHECKS.iter().filter(wanted) {
        run::step(check.name, check.when_it_fails, check.work)?;
    }
    Ok(())
}

fn format() -> Result<()> {
    run::run(run::cargo().args(["fmt", "--all", "--check"]))
}

fn arrows() -> Result<()> {
    none_of(&graph::breaches(&Metadata::load()?))
}

fn unused() -> Result<()> {
    none_of(&unused::findings(&Metadata::load()?)?)
}

fn licences() -> Result<()> {
    none_of(&licences::findings(&Metadata::load()?))
}

fn clippy() -> Result<()> {
    run::run(
        run::cargo()
            .args(["clippy", "--workspace", "--all-targets"])
            .args(run::locked())
            .args(["--", "-D", "warnings"]),
    )
}

fn docs() -> Result<()> {
    run::run(
        run::cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .args(run::locked())
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
    .context("rustdoc takes warnings for errors here")
}

fn none_of(findings: &[String]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}", findings.join("\n"))
}
