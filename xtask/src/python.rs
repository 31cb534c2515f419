//! `cargo xtask python`: Python's client library of Kubernetes, in a virtual environment in the cache folder.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::run;

/// The folder of the environment, made if it is not there.
pub(crate) fn ensure() -> Result<PathBuf> {
    let folder = testparts::python_folder()?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let python = testparts::system_python()?;
    let place = folder.parent().context("the cache folder has no parent")?;
    fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    // Its `bin/python` works under any name of the folder; only the scripts beside it know the path.
    let half = place.join(format!("making-{}", std::process::id()));
    let made = make(&python, &half, &folder);
    if made.is_err() {
        let _ = fs::remove_dir_all(&half);
    }
    made?;
    Ok(folder)
}

fn make(python: &std::path::Path, half: &std::path::Path, folder: &std::path::Path) -> Result<()> {
    run::run(run::program(python).args(["-m", "venv"]).arg(half))?;
    let mut pip = run::program(half.join("bin/python"));
    run::run(pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        testparts::PYTHON_CLIENT,
    ]))
    .context("the first time the library is downloaded from PyPI")?;
    fs::rename(half, folder).with_context(|| format!("cannot rename {}", half.display()))
}
