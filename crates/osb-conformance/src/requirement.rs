//! What is checked: requirements of the specification, by number.

mod table;

use std::fmt;

pub use table::REQUIREMENTS;

/// How binding a requirement is (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A breach fails the check.
    Must,
    /// A breach is a warning.
    Should,
    /// A breach is a note: the choice is the broker's, but it is an unusual one.
    May,
}

/// Where a requirement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The text says it of the broker.
    Text,
    /// It follows: the text lays it on the platform, on HTTP, or leaves it implicit. Shown with a star.
    Consequence,
}

/// One requirement.
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    /// Its number, `OSB-PROV-09`. Numbers `OSB-CRASH-..` are of this crate: what follows for a broker that is killed.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// Where it comes from.
    pub origin: Origin,
    /// The section of the specification.
    pub section: &'static str,
    /// What it asks for.
    pub title: &'static str,
}

impl Requirement {
    /// The requirement of this number.
    pub fn of(id: &str) -> Option<&'static Self> {
        REQUIREMENTS.iter().find(|requirement| requirement.id == id)
    }

    /// The level as it is shown: `MUST`, `SHOULD*`.
    pub fn grade(&self) -> String {
        let star = if self.origin == Origin::Consequence { "*" } else { "" };
        format!("{}{star}", self.level)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique() {
        let mut ids: Vec<_> = REQUIREMENTS.iter().map(|requirement| requirement.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), REQUIREMENTS.len());
    }

    #[test]
    fn a_consequence_has_a_star() {
        assert_eq!(Requirement::of("OSB-PROV-09").unwrap().grade(), "MUST");
        assert_eq!(Requirement::of("OSB-VER-02").unwrap().grade(), "SHOULD*");
    }
}
