//! Finds the tests of the sources and what their comments cite.
//!
//! Test text is every file below a folder `tests`, every `tests.rs`, and of other files what follows `#[cfg(test)]`. A
//! test there is a function with an attribute that ends in `test`, or one inside of a macro's block, since macros of
//! tests bring the attribute. The comments above it, attributes between them or not, are its; those above a module of
//! tests are the module's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::citations;

/// A requirement that a comment names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) id: String,
    /// Below the root of the checkout.
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) line: usize,
    /// The test that it stands above.
    pub(super) test: Option<String>,
}

/// Adds the citations of all Rust files in a folder.
pub(super) fn folder(root: &Path, folder: &Path, found: &mut Vec<Citation>) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            self::folder(root, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.extend(citations_of(path.strip_prefix(root).unwrap_or(&path), &text));
        }
    }
    Ok(())
}

fn citations_of(file: &Path, text: &str) -> Vec<Citation> {
    let mut found: Vec<Citation> = Vec::new();
    let mut scan = Scan {
        in_tests: is_of_tests(file),
        ..Scan::default()
    };
    for (index, line) in text.lines().enumerate() {
        match scan.line(line) {
            Step::Comment(comment) => {
                scan.pending
                    .extend(found.len()..found.len() + citations::of(comment).len());
                found.extend(citations::of(comment).into_iter().map(|id| Citation {
                    id,
                    file: file.to_owned(),
                    line: index + 1,
                    test: None,
                }));
            }
            Step::Test(name) => {
                for citation in scan.pending.drain(..) {
                    found[citation].test = Some(name.clone());
                }
            }
            Step::Other => scan.pending.clear(),
            Step::Between => {}
        }
    }
    found
}

fn is_of_tests(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs") || file.iter().any(|part| part == "tests")
}

/// Where in a file the scan is.
#[derive(Default)]
struct Scan {
    in_tests: bool,
    in_macro: bool,
    /// The attribute above says that it is a test.
    marked: bool,
    /// Citations in comments above what comes next.
    pending: Vec<usize>,
}

enum Step<'a> {
    Comment(&'a str),
    /// The first line of a test.
    Test(String),
    /// An attribute: what is above belongs to what is below.
    Between,
    Other,
}

impl Scan {
    fn line<'a>(&mut self, line: &'a str) -> Step<'a> {
        let trimmed = line.trim_start();
        self.enter(line);
        if trimmed.starts_with("//") {
            return Step::Comment(trimmed);
        }
        if trimmed.starts_with("#[") {
            self.marked |= self.in_tests && is_test(trimmed);
            return Step::Between;
        }
        let is_test = self.marked || (self.in_tests && self.in_macro);
        let name = function(trimmed)
            .filter(|_| is_test)
            .or_else(|| module(trimmed).filter(|_| self.in_tests));
        self.marked = false;
        name.map_or(Step::Other, |name| Step::Test(name.to_owned()))
    }

    fn enter(&mut self, line: &str) {
        if line == "#[cfg(test)]" {
            self.in_tests = true;
        }
        if line.ends_with("! {") && line.starts_with(|letter: char| letter.is_ascii_lowercase()) {
            self.in_macro = !line.starts_with("macro_rules");
        } else if line == "}" {
            self.in_macro = false;
        }
    }
}

/// `#[test]`, `#[tokio::test]`, `#[tokio::test(flavor = "…")]`.
fn is_test(attribute: &str) -> bool {
    let path = attribute
        .trim_start_matches("#[")
        .split(['(', ']'])
        .next()
        .unwrap_or_default();
    path.rsplit("::").next() == Some("test")
}

/// The name, if a module begins here.
fn module(line: &str) -> Option<&str> {
    line.strip_prefix("mod ")?.strip_suffix(" {")
}

/// The name, if a function begins here.
fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(file: &str, text: &str) -> Vec<(String, Option<String>)> {
        let found = citations_of(Path::new(file), text).into_iter();
        found.map(|citation| (citation.id, citation.test)).collect()
    }

    fn cited(id: &str, test: &str) -> (String, Option<String>) {
        (id.to_owned(), Some(test.to_owned()))
    }

    #[test]
    fn the_comment_above_a_test_is_its() {
        let text = "/// OSB-A-01,\n/// OSB-A-02.\n#[tokio::test(flavor = \"x\")]\nasync fn one() {\n    // OSB-A-03\n\
                    }\n\
                    // OSB-A-04\n#[test]\n#[ignore]\nfn two() {}\n";
        assert_eq!(
            tests("crates/a/tests/suite/x.rs", text),
            [
                cited("OSB-A-01", "one"),
                cited("OSB-A-02", "one"),
                ("OSB-A-03".to_owned(), None),
                cited("OSB-A-04", "two")
            ]
        );
    }

    #[test]
    fn outside_of_tests_nothing_proves() {
        let text = "/// OSB-A-01\nfn code() {}\n\n/// OSB-A-02\n#[test]\nfn no_test_here() {}\n";
        assert!(tests("crates/a/src/x.rs", text).iter().all(|(_, test)| test.is_none()));
        let text = format!("{text}#[cfg(test)]\nmod tests {{\n    /// OSB-A-03\n    #[test]\n    fn one() {{}}\n}}\n");
        assert_eq!(tests("crates/a/src/x.rs", &text)[2], cited("OSB-A-03", "one"));
    }

    #[test]
    fn what_stands_between_parts_comment_and_test() {
        let text = "/// OSB-A-01\nconst X: u8 = 0;\n\n#[test]\nfn one() {}\n";
        assert_eq!(tests("crates/a/src/tests.rs", text), [("OSB-A-01".to_owned(), None)]);
    }

    #[test]
    fn the_comment_above_a_module_is_the_modules() {
        let text = "/// OSB-A-01\nmod every_sequence {\n    #[test]\n    fn here() {}\n}\n";
        assert_eq!(
            tests("crates/a/tests/suite/x.rs", text),
            [cited("OSB-A-01", "every_sequence")]
        );
        assert_eq!(tests("crates/a/src/x.rs", text), [("OSB-A-01".to_owned(), None)]);
    }

    #[test]
    fn functions_in_a_macro_are_tests() {
        let text = "on_each_home! {\n    /// OSB-A-01\n    async fn one(home: Home) {}\n}\n\n/// OSB-A-02\n\
                    async fn helper() {}\n";
        assert_eq!(
            tests("crates/a/tests/suite/x.rs", text),
            [cited("OSB-A-01", "one"), ("OSB-A-02".to_owned(), None)]
        );
    }
}
