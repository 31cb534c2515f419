//! The list of requirements.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

const HEAD: &str = "id\tlevel\tsection\ttitle\tuntestable";

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    /// `OSB-PROV-09`
    pub(super) id: String,
    /// `MUST`; with a star where it follows from a duty of the platform or of HTTP.
    pub(super) level: String,
    /// Heading of the specification.
    pub(super) section: String,
    pub(super) title: String,
    /// Why no test can prove it.
    pub(super) untestable: Option<String>,
}

pub(super) fn read(path: &Path) -> Result<Vec<Requirement>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        bail!("line 1 is not the head: {HEAD:?}");
    }
    let mut requirements: Vec<Requirement> = Vec::new();
    for (index, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [id, level, section, title, untestable] = cells[..] else {
            bail!("line {} has {} cells instead of 5", index + 2, cells.len());
        };
        if [id, level, section, title].contains(&"") || super::citations::of(id) != [id] {
            bail!("line {} is no requirement", index + 2);
        }
        if requirements.iter().any(|requirement| requirement.id == id) {
            bail!("{id} stands twice");
        }
        requirements.push(Requirement {
            id: id.to_owned(),
            level: level.to_owned(),
            section: section.to_owned(),
            title: title.to_owned(),
            untestable: (!untestable.is_empty()).then(|| untestable.to_owned()),
        });
    }
    Ok(requirements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &str) -> Result<Vec<Requirement>> {
        parse(&format!("{HEAD}\n{lines}"))
    }

    #[test]
    fn a_line_has_five_cells() {
        let read = with("OSB-A-01\tMUST\tS\ttitle\t\nOSB-A-02\tMAY\tS\ttitle\twhy\n").unwrap();
        assert_eq!(
            (read[0].untestable.as_deref(), read[1].untestable.as_deref()),
            (None, Some("why"))
        );
        for wrong in [
            "OSB-A-01\tMUST\tS\ttitle",
            "A-01\tMUST\tS\tt\t",
            "OSB-A-01\tMUST\tS\t\t",
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
        assert!(with("OSB-A-01\tMUST\tS\tt\t\nOSB-A-01\tMUST\tS\tt\t\n").is_err());
        assert!(parse("").is_err());
    }
}
