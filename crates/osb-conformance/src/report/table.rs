//! The form for people.

use std::fmt::Write as _;

use super::{Report, Verdict};
use crate::requirement::Level;

impl Report {
    /// A line for each requirement, below it what is wrong; then the sum.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{:<14} {:<8} {:<8} REQUIREMENT", "NUMBER", "LEVEL", "RESULT");
        for finding in &self.findings {
            let requirement = finding.requirement;
            let (id, grade) = (requirement.id, requirement.grade());
            let result = match (&finding.verdict, requirement.level) {
                (Verdict::Passed(_), _) => "passed",
                (Verdict::Skipped(_), _) => "skipped",
                (Verdict::Failed(_), Level::Must) => "FAILED",
                (Verdict::Failed(_), Level::Should) => "warning",
                (Verdict::Failed(_), Level::May) => "note",
            };
            let _ = writeln!(text, "{id:<14} {grade:<8} {result:<8} {}", requirement.title);
            match &finding.verdict {
                Verdict::Passed(_) => {}
                Verdict::Skipped(reason) => drop(writeln!(text, "{:32} ({reason})", "")),
                Verdict::Failed(breaches) => {
                    for breach in breaches {
                        let _ = writeln!(text, "{:32} - {} ({})", "", breach.what, requirement.section);
                        for line in &breach.transcript {
                            let _ = writeln!(text, "{:34} {line}", "");
                        }
                    }
                }
            }
        }
        text.push_str(&self.sum());
        text
    }

    fn sum(&self) -> String {
        let failed = |level| self.failed(level).count();
        let mut text = format!(
            "\n{} requests on the plans {}: {} passed, {} failed, {} warnings, {} notes, {} skipped.\n",
            self.requests,
            if self.plans.is_empty() {
                "(none)".to_owned()
            } else {
                self.plans.join(", ")
            },
            self.count(|verdict| matches!(verdict, Verdict::Passed(_))),
            failed(Level::Must),
            failed(Level::Should),
            failed(Level::May),
            self.count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        );
        if !self.leftovers.is_empty() {
            let _ = writeln!(text, "Not removed again: instances {}.", self.leftovers.join(", "));
        }
        text
    }
}
