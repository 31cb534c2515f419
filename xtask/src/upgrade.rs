//! `cargo xtask upgrade`: builds the broker under torture of an older commit, and has it leave data folders for the one
//! of this checkout.
//!
//! What is built of an older commit is kept below `upgrade/` in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{run, tools};

/// `--from REV` names the older commit: without it the newest tag before HEAD, else the last commit before HEAD that
/// changed `crates/`.
/// All other arguments are the tool's.
pub(crate) fn upgrade(args: &[String]) -> Result<()> {
    let (from, rest) = split(args)?;
    let revision = match from {
        Some(from) => commit(&from)?,
        None => older()?,
    };
    let program = program_of(&revision)?;
    let mut words = vec!["--from-program".to_owned(), program.display().to_string()];
    words.extend(["--from-revision".to_owned(), revision]);
    words.extend(rest);
    tools::tool("torture", &words)
}

/// The value of `--from`, and everything else.
fn split(args: &[String]) -> Result<(Option<String>, Vec<String>)> {
    let mut rest = args.to_vec();
    let Some(index) = rest.iter().position(|arg| arg == "--from") else {
        return Ok((None, rest));
    };
    rest.remove(index);
    if index == rest.len() {
        anyhow::bail!("--from needs a commit");
    }
    let from = rest.remove(index);
    Ok((Some(from), rest))
}

fn older() -> Result<String> {
    let newest_tag = run::output(run::program("git").args(["tag", "--sort=-creatordate", "--merged", "HEAD^"]))?;
    if let Some(tag) = newest_tag.lines().next() {
        return commit(tag);
    }
    let last = run::output(run::program("git").args(["log", "-1", "--format=%H", "HEAD^", "--", "crates"]))?;
    Ok(last.trim().to_owned())
}

fn commit(revision: &str) -> Result<String> {
    let revision = format!("{revision}^{{commit}}");
    let found = run::output(run::program("git").args(["rev-parse", "--verify", &revision]))?;
    Ok(found.trim().to_owned())
}

/// The broker of that commit, built if it is not there.
fn program_of(revision: &str) -> Result<PathBuf> {
    let cache = testparts::recipe::cache()?.join("upgrade");
    let program = cache.join(revision).join("torture-broker");
    if program.is_file() {
        return Ok(program);
    }
    let source = cache.join(revision).join("source");
    checked_out(revision, &source)?;
    // One folder for all commits: most of what they are built of is the same.
    let target = cache.join("target");
    run::run(
        run::cargo()
            .current_dir(&source)
            .args(["build", "--release", "--package", "torture", "--locked"])
            .env("CARGO_TARGET_DIR", &target),
    )?;
    let built = target.join("release").join("torture-broker");
    let half = program.with_extension("new");
    fs::copy(&built, &half).with_context(|| format!("cannot copy {}", built.display()))?;
    fs::rename(&half, &program)?;
    fs::remove_dir_all(&source)?;
    Ok(program)
}

/// The files of a commit; the repository keeps no note of it.
fn checked_out(revision: &str, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let archive = folder.with_extension("tar");
    run::run(
        run::program("git")
            .args(["archive", "--format=tar", "--output"])
            .arg(&archive)
            .arg(revision),
    )?;
    run::run(run::program("tar").arg("-xf").arg(&archive).arg("-C").arg(folder))?;
    fs::remove_file(&archive)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_commit_is_the_tools() {
        let args = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (from, rest) = split(&args(&["--rounds", "3", "--from", "abc", "--proof"])).unwrap();
        assert_eq!(
            (from.as_deref(), rest),
            (Some("abc"), args(&["--rounds", "3", "--proof"]))
        );
        assert_eq!(split(&args(&["--proof"])).unwrap(), (None, args(&["--proof"])));
        assert!(split(&args(&["--from"])).is_err());
    }
}
