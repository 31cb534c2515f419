//! Finds the programs of parts on this machine.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::recipe::{PROGRAMS, Recipe};

const HINT_ORACLE: &str = "cargo xtask oracle builds it";
const HINT_POSTGRES: &str =
    "install it (Debian: apt-get install postgresql) or set OSB_POSTGRES_BIN to the folder of initdb";

/// Folder of the oracle's programs: `$OSB_ORACLE_BIN`, else what `cargo xtask oracle` has built for this checkout.
///
/// # Errors
///
/// [`Error::Missing`] when they have not been built.
pub fn oracle_bin() -> Result<PathBuf, Error> {
    if let Some(folder) = folder_in("OSB_ORACLE_BIN") {
        return complete(&folder, &PROGRAMS.map(|program| program.name)).ok_or_else(|| {
            Error::missing(
                "the oracle",
                format!("OSB_ORACLE_BIN={}", folder.display()),
                HINT_ORACLE,
            )
        });
    }
    let recipe = Recipe::of_checkout()?;
    if recipe.is_built() {
        return Ok(recipe.folder);
    }
    Err(Error::missing(
        "the oracle",
        format!("there is no {}", recipe.folder.display()),
        HINT_ORACLE,
    ))
}

/// The program of `oracle/clients`: scenarios of client-go, which print what they see.
///
/// # Errors
///
/// [`Error::Missing`] when it has not been built.
pub fn go_clients() -> Result<PathBuf, Error> {
    let program = Recipe::of_checkout()?.clients()?;
    if program.is_file() {
        return Ok(program);
    }
    let reason = format!("there is no {}", program.display());
    Err(Error::missing("the Go clients", reason, HINT_ORACLE))
}

/// The program `helm` of `oracle/helm`.
///
/// # Errors
///
/// [`Error::Missing`] when it has not been built.
pub fn helm() -> Result<PathBuf, Error> {
    let program = Recipe::of_checkout()?.helm()?;
    if program.is_file() {
        return Ok(program);
    }
    let reason = format!("there is no {}", program.display());
    Err(Error::missing("helm", reason, HINT_ORACLE))
}

/// The program `kubectl`: the oracle's, else the first in `PATH`.
///
/// # Errors
///
/// [`Error::Missing`] when there is none.
pub fn kubectl() -> Result<PathBuf, Error> {
    if let Ok(folder) = oracle_bin() {
        return Ok(folder.join("kubectl"));
    }
    in_path(&["kubectl"])
        .map(|folder| folder.join("kubectl"))
        .ok_or_else(|| Error::missing("kubectl", "it is not in PATH", HINT_ORACLE))
}

/// Folder of PostgreSQL's server programs: `$OSB_POSTGRES_BIN`, else the newest below `/usr/lib/postgresql` (where Debian keeps them out of
/// `PATH`), else the first in `PATH`.
///
/// # Errors
///
/// [`Error::Missing`] when there are none.
pub fn postgres_bin() -> Result<PathBuf, Error> {
    const PROGRAMS: [&str; 2] = ["initdb", "postgres"];
    if let Some(folder) = folder_in("OSB_POSTGRES_BIN") {
        return complete(&folder, &PROGRAMS).ok_or_else(|| {
            Error::missing(
                "PostgreSQL",
                format!("OSB_POSTGRES_BIN={}", folder.display()),
                HINT_POSTGRES,
            )
        });
    }
    newest(Path::new("/usr/lib/postgresql"), &PROGRAMS)
        .or_else(|| in_path(&PROGRAMS))
        .ok_or_else(|| {
            Error::missing(
                "PostgreSQL",
                "neither /usr/lib/postgresql nor PATH has its server",
                HINT_POSTGRES,
            )
        })
}

fn folder_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn complete(folder: &Path, programs: &[&str]) -> Option<PathBuf> {
    programs
        .iter()
        .all(|name| folder.join(name).is_file())
        .then(|| folder.to_owned())
}

/// Whether all of these programs are in `PATH`, each anywhere.
pub(crate) fn is_in_path(programs: &[&str]) -> bool {
    programs.iter().all(|program| in_path(&[program]).is_some())
}

/// The first program of this name in `PATH`.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    in_path(&[name]).map(|folder| folder.join(name))
}

fn in_path(programs: &[&str]) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find_map(|folder| complete(&folder, programs))
}

/// The `bin` folder of the highest version below `root`.
fn newest(root: &Path, programs: &[&str]) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number: f64 = path.file_name()?.to_str()?.parse().ok()?;
        Some((number, complete(&path.join("bin"), programs)?))
    });
    versions.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, bin)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn the_highest_version_that_is_complete_wins() {
        let root = Folder::create(None).unwrap();
        for (version, programs) in [
            ("9.6", &["initdb", "postgres"][..]),
            ("15", &["initdb", "postgres"]),
            ("16", &["initdb"]),
        ] {
            let bin = root.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            for program in programs {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }
        std::fs::create_dir(root.path().join("common")).unwrap();
        assert_eq!(
            newest(root.path(), &["initdb", "postgres"]),
            Some(root.path().join("15/bin"))
        );
        assert_eq!(newest(root.path(), &["psql"]), None);
    }
}
