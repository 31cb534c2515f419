//! What a simulation has found.

use std::fmt;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::platform::Platform;
use crate::story::Story;

/// What a simulation of one platform has found.
///
/// `Display` is a table of the scenarios, and below it the story of each that has failed. As JSON:
///
/// ```json
/// {"platform": "cf", "passed": false, "scenarios": [{
///   "scenario": "life", "claim": "an instance is made, …", "plan": "small", "verdict": "failed",
///   "reason": "…", "seconds": 60.1, "story": ["  1   0:00:00.000 PUT …"]
/// }]}
/// ```
///
/// `verdict` is `passed`, `failed` or `skipped`; `reason` is left out for what has passed, and so is the story.
#[derive(Clone, Debug)]
pub struct Report {
    /// The platform that was simulated.
    pub platform: Platform,
    /// The scenarios in the order in which they were played.
    pub scenarios: Vec<ScenarioReport>,
}

/// What came of one scenario.
#[derive(Clone, Debug)]
pub struct ScenarioReport {
    /// Its name, as [`Options::scenarios`](crate::Options::scenarios) takes it.
    pub scenario: &'static str,
    /// What has to hold.
    pub claim: &'static str,
    /// The name of the plan; empty for what is about all plans.
    pub plan: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How much time went by for the platform.
    pub took: Duration,
    /// What went over the wire.
    pub story: Story,
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Passed,
    /// The broker does something that this platform cannot live with.
    Failed(String),
    /// The scenario makes no sense with this platform, broker or clock.
    Skipped(String),
}

impl Verdict {
    /// `passed`, `failed` or `skipped`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Why it is not `passed`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(reason) | Self::Skipped(reason) => Some(reason),
        }
    }
}

impl Report {
    /// Whether no scenario has failed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The scenarios that have failed.
    pub fn failures(&self) -> impl Iterator<Item = &ScenarioReport> {
        let failed = |scenario: &&ScenarioReport| matches!(scenario.verdict, Verdict::Failed(_));
        self.scenarios.iter().filter(failed)
    }

    /// The scenario of this name, the first of several.
    pub fn scenario(&self, name: &str) -> Option<&ScenarioReport> {
        self.scenarios.iter().find(|scenario| scenario.scenario == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&ScenarioReport) -> &str| {
            let lengths = self.scenarios.iter().map(|scenario| of(scenario).chars().count());
            lengths.max().unwrap_or_default()
        };
        let (names, plans) = (width(|scenario| scenario.scenario), width(|scenario| &scenario.plan));
        for scenario in &self.scenarios {
            let verdict = scenario.verdict.name();
            let text = scenario.verdict.reason().unwrap_or(scenario.claim);
            let ScenarioReport { scenario, plan, .. } = scenario;
            let platform = self.platform.name();
            let line = format!("{platform:14}  {scenario:names$}  {plan:plans$}  {verdict:7}  {text}");
            writeln!(f, "{}", line.trim_end())?;
        }
        for failure in self.failures() {
            let reason = failure.verdict.reason().unwrap_or_default();
            writeln!(f, "\n{}, {}: {}", self.platform, failure.scenario, failure.claim)?;
            writeln!(f, "FAILED: {reason}\n{}", failure.story)?;
        }
        Ok(())
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_struct("Report", 3)?;
        report.serialize_field("platform", self.platform.name())?;
        report.serialize_field("passed", &self.passed())?;
        report.serialize_field("scenarios", &self.scenarios)?;
        report.end()
    }
}

impl Serialize for ScenarioReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            scenario: &'a str,
            claim: &'a str,
            plan: &'a str,
            verdict: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            seconds: f64,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            story: Vec<String>,
        }
        let failed = matches!(self.verdict, Verdict::Failed(_));
        let form = Form {
            scenario: self.scenario,
            claim: self.claim,
            plan: &self.plan,
            verdict: self.verdict.name(),
            reason: self.verdict.reason(),
            seconds: self.took.as_secs_f64(),
            story: if failed { self.story.lines() } else { Vec::new() },
        };
        form.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        let scenario = |scenario, verdict| ScenarioReport {
            scenario,
            claim: "all is well",
            plan: "small".to_owned(),
            verdict,
            took: Duration::from_millis(1500),
            story: Story::default(),
        };
        Report {
            platform: Platform::Korifi,
            scenarios: vec![
                scenario("life", Verdict::Passed),
                scenario("update", Verdict::Failed("no answer".to_owned())),
                scenario("outage", Verdict::Skipped("too long".to_owned())),
            ],
        }
    }

    #[test]
    fn a_table_and_below_it_what_has_failed() {
        assert_eq!(
            report().to_string(),
            "korifi          life    small  passed   all is well\n\
             korifi          update  small  failed   no answer\n\
             korifi          outage  small  skipped  too long\n\
             \n\
             korifi, update: all is well\n\
             FAILED: no answer\n\n"
        );
        assert!(!report().passed());
    }

    #[test]
    fn json_has_reasons_where_there_are_any() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!((&json["platform"], &json["passed"]), (&json!("korifi"), &json!(false)));
        let [passed, failed, skipped] = json["scenarios"].as_array().unwrap().as_slice() else {
            panic!("three scenarios")
        };
        assert_eq!(
            *passed,
            json!({
                "scenario": "life", "claim": "all is well", "plan": "small", "verdict": "passed", "seconds": 1.5,
            })
        );
        assert_eq!(
            (&failed["verdict"], &failed["reason"]),
            (&json!("failed"), &json!("no answer"))
        );
        assert_eq!(
            (&skipped["verdict"], &skipped["reason"]),
            (&json!("skipped"), &json!("too long"))
        );
    }
}
