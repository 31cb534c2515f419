//! The record of a long run: `proofs/<name>.json`, which `cargo xtask proof <name>` repeats.
//!
//! ```json
//! {
//!   "command": ["cargo", "xtask", "torture", "--kills", "50", "--seed", "7"],
//!   "commit": "0f3c…",
//!   "counts": {"acknowledged": 12034, "kills": 50},
//!   "duration_secs": 214.6,
//!   "modified": false,
//!   "name": "torture",
//!   "seed": 7
//! }
//! ```
//!
//! Write one only for a run that passed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use serde_json::{Value, json};

use crate::recipe::checkout;

/// A run that is being recorded.
#[derive(Debug)]
pub struct Proof {
    name: String,
    args: Vec<String>,
    seed: Option<u64>,
    counts: BTreeMap<String, u64>,
    started: Instant,
}

impl Proof {
    /// Begins the record of a run; its duration counts from here.
    ///
    /// `args` is what stands behind `cargo xtask` to repeat exactly this run, seed included; a run that is the same each time has none.
    ///
    /// # Panics
    ///
    /// When `name` is not a plain file name of small letters, digits and hyphens.
    pub fn begin<A: Into<String>>(name: &str, seed: impl Into<Option<u64>>, args: impl IntoIterator<Item = A>) -> Self {
        assert!(is_name(name), "{name:?} is not a name of a proof");
        let args = args.into_iter().map(Into::into).collect();
        Self {
            name: name.to_owned(),
            args,
            seed: seed.into(),
            counts: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    /// Sets how many of something the run did or saw.
    pub fn count(&mut self, what: &str, number: u64) {
        self.counts.insert(what.to_owned(), number);
    }

    /// Writes `proofs/<name>.json` of this checkout, over an older one, and returns its path.
    ///
    /// # Errors
    ///
    /// When git cannot be asked for the commit or the file cannot be written.
    pub fn write(&self) -> io::Result<PathBuf> {
        let root = checkout();
        let commit = git(&root, &["rev-parse", "HEAD"])?.trim().to_owned();
        // What earlier runs wrote is no change of the program.
        let modified = !git(&root, &["status", "--porcelain", "--", ".", ":!proofs"])?.is_empty();
        let path = path(&root, &self.name);
        write_whole(&path, &self.to_json(&commit, modified, self.started.elapsed()))?;
        Ok(path)
    }

    fn to_json(&self, commit: &str, modified: bool, took: Duration) -> Value {
        let mut command = vec!["cargo".to_owned(), "xtask".to_owned()];
        command.extend(self.args.iter().cloned());
        json!({
            "name": self.name,
            "commit": commit,
            "modified": modified,
            "command": command,
            "seed": self.seed,
            "counts": self.counts,
            "duration_secs": (took.as_secs_f64() * 10.0).round() / 10.0,
        })
    }
}

/// A recorded run, as far as it takes to repeat it.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The commit that it ran on.
    pub commit: String,
    /// What stands behind `cargo xtask`.
    pub args: Vec<String>,
}

/// Reads `proofs/<name>.json` of this checkout.
///
/// # Errors
///
/// `InvalidInput` for a name that is none, `InvalidData` for a file that is no proof, and what reading it gives.
pub fn read(name: &str) -> io::Result<Recorded> {
    if !is_name(name) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is not a name of a proof"),
        ));
    }
    let value = serde_json::from_slice(&fs::read(path(&checkout(), name))?)?;
    parse(&value).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("proofs/{name}.json is no record of a run"),
        )
    })
}

/// Names of the recorded runs of this checkout, sorted.
///
/// # Errors
///
/// When the folder is there and cannot be read.
pub fn names() -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(checkout().join("proofs")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        names.extend(
            file.to_str()
                .and_then(|file| file.strip_suffix(".json"))
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

fn parse(value: &Value) -> Option<Recorded> {
    let commit = value.get("commit")?.as_str()?.to_owned();
    let command: Option<Vec<_>> = value
        .get("command")?
        .as_array()?
        .iter()
        .map(|word| word.as_str().map(str::to_owned))
        .collect();
    let args = match command?.as_slice() {
        [cargo, xtask, args @ ..] if cargo == "cargo" && xtask == "xtask" => args.to_vec(),
        _ => return None,
    };
    Some(Recorded { commit, args })
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(plain)
}

fn path(root: &Path, name: &str) -> PathBuf {
    root.join("proofs").join(format!("{name}.json"))
}

fn write_whole(path: &Path, value: &Value) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let half = path.with_extension("json.new");
    fs::write(&half, format!("{value:#}\n"))?;
    fs::rename(half, path)
}

fn git(root: &Path, args: &[&str]) -> io::Result<String> {
    let output = Command::new("git").args(args).current_dir(root).output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("git {args:?}: {message}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    fn proof() -> Proof {
        let mut proof = Proof::begin("torture", 7, ["torture", "--seed", "7"]);
        proof.count("kills", 50);
        proof
    }

    #[test]
    fn what_is_written_can_be_repeated() {
        let folder = Folder::create(None).unwrap();
        let path = path(folder.path(), "torture");
        write_whole(&path, &proof().to_json("abc", false, Duration::from_millis(1249))).unwrap();
        let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            (value["duration_secs"].as_f64(), value["counts"]["kills"].as_u64()),
            (Some(1.2), Some(50))
        );
        let args = ["torture", "--seed", "7"].map(str::to_owned).to_vec();
        assert_eq!(
            parse(&value),
            Some(Recorded {
                commit: "abc".to_owned(),
                args
            })
        );
    }

    #[test]
    fn only_a_task_of_the_project_is_repeated() {
        let mut value = proof().to_json("abc", false, Duration::ZERO);
        value["command"] = json!(["rm", "-rf", "x"]);
        assert_eq!(parse(&value), None);
        value["command"] = json!(["cargo", "xtask", 3]);
        assert_eq!(parse(&value), None);
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", "../x", "a/b", "A", "a.json"] {
            assert_eq!(read(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
