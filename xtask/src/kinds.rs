//! `cargo xtask kinds`: writes the facts about the built-in kinds anew, from Kubernetes' own types and a real server's discovery.

use std::process::Command;

use anyhow::{Context as _, Result};
use testparts::Oracle;
use testparts::recipe::GO_ENV;

use crate::{oracle, run};

/// Starts a server, and has the Go program of the oracle's module write the files.
pub(crate) fn kinds() -> Result<()> {
    oracle::ensure()?;
    let server = Oracle::start().context("the oracle does not start")?;
    let data = run::root().join("crates/kinds");
    let mut command = Command::new("nice");
    command
        .args(["-n", "15", "go", "run", "./kinds"])
        .args(["-server", &server.url(), "-token", server.token()])
        .arg("-ca")
        .arg(server.ca_file())
        .arg("-out")
        .arg(data.join("data"))
        .arg("-golden")
        .arg(data.join("tests/data/golden.jsonl"))
        .envs(GO_ENV)
        .current_dir(run::root().join("oracle"));
    run::output(&mut command).map(drop)
}
