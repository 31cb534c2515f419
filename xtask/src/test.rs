//! `cargo xtask test`: obtains the parts that tests need, then runs every test, then the long runs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{oracle, python, run, tools};

/// What CI runs after the tests: name of the task and its arguments.
const LONG_RUNS: &[&[&str]] = &[
    &["torture", "--kills", "50"],
    &["torture", "--broker", "templates", "--kills", "25"],
    &["torture", "--power", "--moments", "50"],
];

/// Runs the tests: all, or what `args` (arguments of `cargo test`) choose, and then no long runs.
///
/// `--quick` as the only argument is all tests without the long runs.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let parts = Parts::obtain()?;
    let all = args.is_empty() || args == ["--quick"];
    run::step(
        "tests",
        "the failing test says what it expected; run it alone with: cargo xtask test -p CRATE NAME",
        || {
            let mut command = run::cargo();
            command.arg("test").args(run::locked());
            if all {
                command.arg("--workspace");
            } else {
                command.args(args);
            }
            run::run(parts.hand_to(&mut command))
        },
    )?;
    if args.is_empty() {
        long_runs()?;
    }
    Ok(())
}

fn long_runs() -> Result<()> {
    for words in LONG_RUNS {
        let [name, args @ ..] = words else { continue };
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        run::step(name, "run it again with the seed that it printed", || {
            tools::tool(name, &args)
        })?;
    }
    Ok(())
}

/// Where the parts are.
struct Parts {
    oracle: PathBuf,
    postgres: PathBuf,
}

impl Parts {
    fn obtain() -> Result<Self> {
        let mut parts = None;
        run::step(
            "parts of the tests",
            "install what the message names; cargo test runs without any of it",
            || {
                strace()?;
                parts = Some(Self {
                    postgres: postgres()?,
                    oracle: oracle::ensure()?,
                });
                python::ensure()?;
                Ok(())
            },
        )?;
        parts.context("the step above passed without parts")
    }

    /// Tells the tests where the parts are, and that none may be missing.
    fn hand_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("OSB_TEST_PARTS", "require")
            .env("OSB_ORACLE_BIN", &self.oracle)
            .env("OSB_POSTGRES_BIN", &self.postgres)
    }
}

/// PostgreSQL's programs, installed from Debian's package where that is possible.
fn postgres() -> Result<PathBuf> {
    installed(testparts::postgres_bin, "postgresql")
}

/// The program that watches what a process does with files, likewise.
fn strace() -> Result<PathBuf> {
    installed(testparts::strace, "strace")
}

/// What `find` finds, after an installation of the package if that is needed and possible.
fn installed(find: fn() -> Result<PathBuf, testparts::Error>, package: &str) -> Result<PathBuf> {
    let missing = match find() {
        Ok(found) => return Ok(found),
        Err(missing) => missing,
    };
    if !can_install()? {
        return Err(missing.into());
    }
    eprintln!("{missing}: installing it");
    let apt = |args: &[&str]| {
        run::run(
            run::program("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    apt(&["update", "--quiet"])?;
    apt(&["install", "--yes", "--quiet", "--no-install-recommends", package])?;
    Ok(find()?)
}

/// Whether this is root on a Debian.
fn can_install() -> Result<bool> {
    let has_apt = ["/usr/bin/apt-get", "/bin/apt-get"]
        .iter()
        .any(|path| std::path::Path::new(path).exists());
    Ok(has_apt && run::output(run::program("id").arg("-u"))?.trim() == "0")
}
