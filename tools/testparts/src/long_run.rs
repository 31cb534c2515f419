//! What a long run (`cargo xtask long`) and the tests in it say to each other: numbers in, counts out.
//!
//! A test that can be played longer asks [`number`] how long, and tells [`count`] what it has done. Outside of a long run the one
//! gives the default, and the other does nothing.
//!
//! ```
//! let cases = testparts::long_run::number("OSB_MODEL_CASES", 40);
//! for _ in 0..cases { /* play a case */ }
//! testparts::long_run::count("cases", cases);
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The environment variable with the file that counts go to.
pub const COUNTS: &str = "OSB_COUNTS";

/// The number in an environment variable, or the default where it is not set.
///
/// # Panics
///
/// When the variable is set to something else than a number.
pub fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} has to be a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Adds to how many of something the run did or saw. Call it only for what went well; tests may do so at the same time.
///
/// # Panics
///
/// When the counts cannot be written: the record of the run would be wrong.
pub fn count(what: &str, number: u64) {
    if let Some(path) = std::env::var_os(COUNTS) {
        add(path.as_ref(), what, number).expect("the counts of a long run can be written");
    }
}

fn add(path: &Path, what: &str, number: u64) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    // In one write: others append, too.
    file.write_all(format!("{number} {what}\n").as_bytes())
}

/// The sums of what was counted; none when nothing was.
///
/// # Errors
///
/// When the file cannot be read, `InvalidData` when it has a line that is no count.
pub fn counts(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read?,
    };
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let (number, what) = parse(line).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{line:?} in {} is no count", path.display()),
            )
        })?;
        *counts.entry(what.to_owned()).or_default() += number;
    }
    Ok(counts)
}

fn parse(line: &str) -> Option<(u64, &str)> {
    let (number, what) = line.split_once(' ')?;
    Some((number.parse().ok()?, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn counts_of_one_name_are_added_up() {
        let folder = Folder::create(None).unwrap();
        let path = folder.path().join("counts");
        assert_eq!(counts(&path).unwrap(), BTreeMap::new());
        for (what, number) in [("cases", 3), ("author calls", 7), ("cases", 4)] {
            add(&path, what, number).unwrap();
        }
        let expected = [("author calls".to_owned(), 7), ("cases".to_owned(), 7)];
        assert_eq!(counts(&path).unwrap(), BTreeMap::from(expected));
        fs::write(&path, "many cases\n").unwrap();
        assert_eq!(counts(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_number_that_is_not_given_is_the_default() {
        assert_eq!(number("OSB_NOBODY_SETS_THIS", 5), 5);
    }
}
