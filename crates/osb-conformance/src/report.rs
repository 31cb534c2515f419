//! What a check has found, and its three forms.

mod json;
mod junit;
mod table;

use crate::checker::Checker;
use crate::ledger::{Breach, Entry};
use crate::requirement::{Level, REQUIREMENTS, Requirement};

/// The outcome of a check.
#[derive(Clone, Debug)]
pub struct Report {
    /// The broker.
    pub url: String,
    /// One for each requirement that was asked for, in the order of the table.
    pub findings: Vec<Finding>,
    /// The plans that were used, as `offering/plan`.
    pub plans: Vec<String>,
    /// How many requests were sent.
    pub requests: u64,
    /// Ids of instances that could not be removed again.
    pub leftovers: Vec<String>,
}

/// What was found of one requirement.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// Whether it is held.
    pub verdict: Verdict,
}

/// Whether a requirement is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was looked at, so often, and held.
    Passed(usize),
    /// It was broken at least once.
    Failed(Vec<Breach>),
    /// It could not be looked at: why.
    Skipped(String),
}

impl Verdict {
    fn of(entry: Option<&Entry>) -> Self {
        match entry {
            Some(entry) if !entry.breaches.is_empty() => Self::Failed(entry.breaches.clone()),
            Some(entry) if entry.passes > 0 => Self::Passed(entry.passes),
            Some(entry) if !entry.reasons.is_empty() => {
                Self::Skipped(entry.reasons.iter().cloned().collect::<Vec<_>>().join("; "))
            }
            _ => Self::Skipped("the broker offers nothing that shows it".to_owned()),
        }
    }

    /// Whether it was broken.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl Report {
    pub(crate) fn new(check: Checker, plans: Vec<String>, leftovers: Vec<String>) -> Self {
        let (url, options) = (check.options.url.clone(), check.options.clone());
        let requests = check.requests();
        let ledger = check.into_ledger();
        let wanted = REQUIREMENTS.iter().filter(|requirement| options.wants(requirement.id));
        let findings = wanted.map(|requirement| Finding {
            requirement,
            verdict: Verdict::of(ledger.of(requirement.id)),
        });
        Self {
            url,
            findings: findings.collect(),
            plans,
            requests,
            leftovers,
        }
    }

    /// What was broken, of this level.
    pub fn failed(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.verdict.is_failed() && finding.requirement.level == level)
    }

    /// Whether a MUST was broken.
    pub fn is_failed(&self) -> bool {
        self.failed(Level::Must).next().is_some()
    }

    fn count(&self, which: impl Fn(&Verdict) -> bool) -> usize {
        self.findings.iter().filter(|finding| which(&finding.verdict)).count()
    }
}
