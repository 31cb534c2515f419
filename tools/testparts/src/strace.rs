//! The program that watches what a process does with files.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Error;
use crate::locate::program;

/// The program `strace`, the first in `PATH`, if it can watch processes here.
///
/// # Errors
///
/// [`Error::Missing`] when there is none, or none that may do that.
pub fn strace() -> Result<PathBuf, Error> {
    let missing = |why, hint| Error::missing("strace", why, hint);
    let path =
        program("strace").ok_or_else(|| missing("it is not in PATH", "install it (Debian: apt-get install strace)"))?;
    let tried = Command::new(&path)
        .args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => Ok(path),
        _ => Err(missing(
            "it may not watch processes here",
            "a container needs the capability SYS_PTRACE for that",
        )),
    }
}
