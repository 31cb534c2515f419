//! Python with the client library of Kubernetes.

use std::path::PathBuf;
use std::process::Command;

use crate::Error;
use crate::{locate, recipe};

/// What is installed, and so the name of its folder in the cache.
pub const PYTHON_CLIENT: &str = "kubernetes==36.0.3";

const PART: &str = "Python's client of Kubernetes";
const HINT: &str = "cargo xtask python makes it, with python3 and its modules venv and pip (Debian: python3-venv)";

/// Folder of the virtual environment. It need not exist yet.
///
/// # Errors
///
/// [`Error::Missing`] without a cache folder.
pub fn python_folder() -> Result<PathBuf, Error> {
    Ok(recipe::cache()?.join("python").join(PYTHON_CLIENT))
}

/// The program `python` that finds the library.
///
/// # Errors
///
/// [`Error::Missing`] when `cargo xtask python` has not made it.
pub fn python() -> Result<PathBuf, Error> {
    let program = python_folder()?.join("bin/python");
    if program.exists() {
        return Ok(program);
    }
    Err(Error::missing(PART, format!("there is no {}", program.display()), HINT))
}

/// The Python that makes the environment.
///
/// # Errors
///
/// [`Error::Missing`] when there is none in `PATH` that can.
pub fn system_python() -> Result<PathBuf, Error> {
    let python = locate::program("python3").ok_or_else(|| Error::missing(PART, "python3 is not in PATH", HINT))?;
    let can = Command::new(&python).args(["-c", "import ensurepip, venv"]).output();
    if can.is_ok_and(|output| output.status.success()) {
        return Ok(python);
    }
    Err(Error::missing(PART, "this python3 has no venv with pip", HINT))
}
