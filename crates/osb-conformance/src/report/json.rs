//! The form for programs.

use serde_json::{Value, json};

use super::{Finding, Report, Verdict};

impl Report {
    /// One document: `url`, `plans`, `requests`, `leftovers`, `failed` (whether a MUST was broken) and `requirements`, each
    /// with `id`, `level`, `derived`, `section`, `title`, `result` and, by result, `breaches` or `reason`.
    pub fn json(&self) -> Value {
        json!({
            "url": self.url,
            "plans": self.plans,
            "requests": self.requests,
            "leftovers": self.leftovers,
            "failed": self.is_failed(),
            "requirements": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

fn finding(finding: &Finding) -> Value {
    let requirement = finding.requirement;
    let mut json = json!({
        "id": requirement.id,
        "level": requirement.level.to_string(),
        "derived": requirement.origin == crate::requirement::Origin::Consequence,
        "section": requirement.section,
        "title": requirement.title,
    });
    match &finding.verdict {
        Verdict::Passed(times) => {
            json["result"] = json!("passed");
            json["times"] = json!(times);
        }
        Verdict::Skipped(reason) => {
            json["result"] = json!("skipped");
            json["reason"] = json!(reason);
        }
        Verdict::Failed(breaches) => {
            json["result"] = json!("failed");
            let breach = |breach: &crate::Breach| json!({"what": breach.what, "transcript": breach.transcript});
            json["breaches"] = breaches.iter().map(breach).collect();
        }
    }
    json
}
