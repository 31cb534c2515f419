//! `cargo xtask spec`: which test proves which requirement of the Open Service Broker API 2.17.
//!
//! The requirements stand in `spec/osb-2.17.tsv`, and a test names those that it proves in the comment above it.

mod citations;
mod requirements;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::run;
use requirements::Requirement;
use scan::Citation;

/// Where the requirements stand, below the root of the checkout.
const LIST: &str = "spec/osb-2.17.tsv";

/// Where tests and citations are looked for.
const FOLDERS: [&str; 3] = ["crates", "examples", "tools"];

/// Members whose tests prove the tool that they are: what a check looks for is not thereby true of our brokers.
const TOOLS: [&str; 3] = ["osb-conformance", "osb-lint", "osb-simulate"];

/// Prints what is cited by which tests, what is not cited, and what is cited and unknown.
///
/// `--strict` as an argument also fails on what no test cites, but for what has a reason; other arguments choose what
/// is printed: `PROV`, `OSB-PROV-09`.
pub(crate) fn spec(args: &[String]) -> Result<()> {
    let (flags, wanted): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| **flag != "--strict") {
        bail!("there is no flag {unknown}; there is --strict");
    }
    let root = run::root();
    let requirements = requirements::read(&root.join(LIST))?;
    let mut citations = Vec::new();
    for folder in FOLDERS {
        scan::folder(&root, &root.join(folder), &mut citations)
            .with_context(|| format!("cannot look through {folder}"))?;
    }
    let report = Report::of(&requirements, &citations);
    print!(
        "{}",
        report.text(&|id| wanted.is_empty() || wanted.iter().any(|part| is_of(id, part)))
    );
    report.verdict(!flags.is_empty())
}

/// Whether a requirement is the one that is named, or of the part that is named.
fn is_of(id: &str, named: &str) -> bool {
    id == named
        || id
            .strip_prefix("OSB-")
            .is_some_and(|rest| rest == named || rest.split('-').next() == Some(named))
}

/// Requirements and the tests that cite them.
struct Report<'a> {
    requirements: &'a [Requirement],
    /// By requirement, its tests as `crate: test`.
    tests: BTreeMap<&'a str, BTreeSet<String>>,
    /// Citations of what is no requirement, as `file:line: id`.
    unknown: Vec<String>,
}

impl<'a> Report<'a> {
    fn of(requirements: &'a [Requirement], citations: &'a [Citation]) -> Self {
        let known: BTreeSet<&str> = requirements.iter().map(|requirement| requirement.id.as_str()).collect();
        let mut tests: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut unknown = Vec::new();
        for citation in citations {
            if !known.contains(citation.id.as_str()) {
                unknown.push(format!(
                    "{}:{}: {}",
                    citation.file.display(),
                    citation.line,
                    citation.id
                ));
            } else if let Some(test) = &citation.test
                && !TOOLS.contains(&&*member(&citation.file))
            {
                let test = format!("{}: {test}", member(&citation.file));
                tests.entry(&citation.id).or_default().insert(test);
            }
        }
        Self {
            requirements,
            tests,
            unknown,
        }
    }

    fn is_cited(&self, requirement: &Requirement) -> bool {
        self.tests.contains_key(requirement.id.as_str())
    }

    /// What no test cites, without what cannot be tested.
    fn uncited(&self) -> impl Iterator<Item = &'a Requirement> {
        let cited: BTreeSet<&str> = self.tests.keys().copied().collect();
        let requirements = self.requirements.iter();
        requirements
            .filter(move |requirement| requirement.untestable.is_none() && !cited.contains(requirement.id.as_str()))
    }

    fn text(&self, wanted: &dyn Fn(&str) -> bool) -> String {
        let mut text = String::from("Cited, with the tests that prove it:\n\n");
        let requirements = || self.requirements.iter().filter(|requirement| wanted(&requirement.id));
        for requirement in requirements().filter(|requirement| self.is_cited(requirement)) {
            line(&mut text, requirement, "");
            for test in self.tests.get(requirement.id.as_str()).into_iter().flatten() {
                let _ = writeln!(text, "{:14}{test}", "");
            }
        }
        text.push_str("\nNot testable here:\n\n");
        let untestable = requirements().filter(|requirement| !self.is_cited(requirement));
        for (requirement, reason) in
            untestable.filter_map(|requirement| Some((requirement, requirement.untestable.as_ref()?)))
        {
            line(&mut text, requirement, &format!(" ({reason})"));
        }
        text.push_str("\nNot cited by any test:\n\n");
        for requirement in self.uncited().filter(|requirement| wanted(&requirement.id)) {
            line(&mut text, requirement, &format!(" [{}]", requirement.section));
        }
        text.push_str("\nCited and unknown:\n\n");
        for citation in &self.unknown {
            let _ = writeln!(text, "{citation}");
        }
        let (all, cited, uncited) = (self.requirements.len(), self.tests.len(), self.uncited().count());
        let untestable = all - cited - uncited;
        let _ = writeln!(
            text,
            "\n{all} requirements: {cited} cited, {untestable} not testable, {uncited} not cited; {} unknown citations",
            self.unknown.len()
        );
        text
    }

    fn verdict(&self, strict: bool) -> Result<()> {
        if !self.unknown.is_empty() {
            bail!("{} citations name no requirement of {LIST}", self.unknown.len());
        }
        let uncited = self.uncited().count();
        if strict && uncited > 0 {
            bail!("{uncited} requirements are cited by no test: add tests, or a reason in {LIST}");
        }
        Ok(())
    }
}

fn line(text: &mut String, requirement: &Requirement, more: &str) {
    let Requirement { id, level, title, .. } = requirement;
    // Writing to a String does not fail.
    let _ = writeln!(text, "{id:13} {level:11} {title}{more}");
}

/// The member that a file belongs to: `crates/osb-api/src/lib.rs` is of `osb-api`.
fn member(file: &Path) -> String {
    file.iter().nth(1).unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn citation(id: &str, test: Option<&str>) -> Citation {
        Citation {
            id: id.to_owned(),
            file: "crates/osb-api/src/lib.rs".into(),
            line: 7,
            test: test.map(str::to_owned),
        }
    }

    const LIST: &str = "id\tlevel\tsection\ttitle\tuntestable\nOSB-A-01\tMUST\tS\tone\t\nOSB-A-02\tMUST\tS\ttwo\t\n\
                        OSB-B-01\tMAY\tT\tthree\tno case\n";

    #[test]
    fn each_requirement_is_in_its_place() {
        let requirements = requirements::parse(LIST).unwrap();
        let citations = [
            citation("OSB-A-01", Some("it_works")),
            citation("OSB-A-02", None),
            citation("OSB-A-09", None),
        ];
        let report = Report::of(&requirements, &citations);
        let text = report.text(&|_| true);
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(place("OSB-A-01") < place("osb-api: it_works"));
        assert!(place("Not testable here") < place("three (no case)"));
        assert!(place("Not cited by any test") < place("OSB-A-02"));
        assert!(place("crates/osb-api/src/lib.rs:7: OSB-A-09") > place("Cited and unknown"));
        assert!(
            text.ends_with("3 requirements: 1 cited, 1 not testable, 1 not cited; 1 unknown citations\n"),
            "{text}"
        );
    }

    #[test]
    fn unknown_citations_fail_and_uncited_requirements_when_strict() {
        let requirements = requirements::parse(LIST).unwrap();
        let unknown = [citation("OSB-A-09", None)];
        assert!(Report::of(&requirements, &unknown).verdict(false).is_err());
        let one = [citation("OSB-A-01", Some("t"))];
        assert!(Report::of(&requirements, &one).verdict(false).is_ok());
        assert!(Report::of(&requirements, &one).verdict(true).is_err());
        let all = [citation("OSB-A-01", Some("t")), citation("OSB-A-02", Some("t"))];
        assert!(Report::of(&requirements, &all).verdict(true).is_ok());
    }

    #[test]
    fn a_part_is_chosen_by_its_name() {
        assert!(is_of("OSB-PROV-09", "PROV") && is_of("OSB-PROV-09", "OSB-PROV-09") && is_of("OSB-PROV-09", "PROV-09"));
        assert!(!is_of("OSB-PROV-09", "PRO") && !is_of("OSB-PROV-09", "UPD"));
    }

    /// The list of the repository is readable, and what the sources cite is in it.
    #[test]
    fn the_sources_cite_nothing_unknown() {
        let root = run::root();
        let requirements = requirements::read(&root.join(super::LIST)).unwrap();
        let mut citations = Vec::new();
        for folder in FOLDERS {
            scan::folder(&root, &root.join(folder), &mut citations).unwrap();
        }
        assert_eq!(Report::of(&requirements, &citations).unknown, [""; 0]);
    }
}
