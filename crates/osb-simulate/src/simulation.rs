//! A platform is let loose on a broker.

use std::time::Duration;

use osb_api::Object;
use osb_api::catalog::{Catalog, Offering, Plan};
use serde_json::Value;

use crate::answer::{Answer, summary};
use crate::call::{Call, Order, Terms};
use crate::clock::{AnyClock, Clock, VirtualClock};
use crate::options::Options;
use crate::platform::{Platform, Purpose, World};
use crate::play::{Obstacle, Play, Played, Subject, wrong};
use crate::report::{Report, ScenarioReport, Verdict};
use crate::scenario::{SCENARIOS, Scenario};
use crate::transport::{AnyTransport, Transport};
use crate::wire::Wire;

/// A broker, reached over a [`Transport`], in the time of a [`Clock`].
///
/// Scenarios are played one after the other, with ids that are new each time; what a scenario that breaks off has left
/// is removed. The broker may be in use meanwhile.
#[derive(Debug)]
pub struct Simulation<T, C> {
    transport: T,
    clock: C,
    options: Options,
}

/// Plays all scenarios as each platform, in virtual time: the test of a broker of one's own, in the same process.
///
/// # Panics
/// When a platform cannot live with the broker, with the story of each scenario that has failed.
pub async fn assert_all_platforms_get_on(transport: impl Transport, options: Options) {
    let simulation = Simulation::new(transport, VirtualClock::new(), options);
    let reports = simulation.run_all().await;
    let failed: Vec<String> = reports
        .iter()
        .filter(|report| !report.passed())
        .map(Report::to_string)
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The first scenario: everything else needs the catalog.
const CATALOG: (&str, &str) = ("catalog", "the platform can work with the catalog");

impl<T: Transport, C: Clock> Simulation<T, C> {
    /// Sends nothing yet.
    pub fn new(transport: T, clock: C, options: Options) -> Self {
        Self {
            transport,
            clock,
            options,
        }
    }

    /// The names of all scenarios.
    pub fn scenarios() -> impl Iterator<Item = &'static str> {
        std::iter::once(CATALOG.0).chain(SCENARIOS.iter().map(|scenario| scenario.name))
    }

    /// Plays the scenarios as a platform. Has to run in a tokio runtime with its timers.
    pub async fn run(&self, platform: Platform) -> Report {
        let world = World::new();
        let (catalog, subjects) = self.catalog(platform, &world).await;
        let mut scenarios = vec![catalog];
        for subject in &subjects {
            for scenario in SCENARIOS.iter().filter(|scenario| self.is_chosen(scenario.name)) {
                scenarios.push(self.play(platform, &world, subject, scenario).await);
            }
        }
        Report { platform, scenarios }
    }

    /// Plays the scenarios as each platform, one after the other.
    pub async fn run_all(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        for platform in Platform::ALL {
            reports.push(self.run(platform).await);
        }
        reports
    }

    fn is_chosen(&self, name: &str) -> bool {
        let chosen = &self.options.scenarios;
        chosen.is_empty() || chosen.iter().any(|chosen| chosen == name)
    }

    fn wire<'a>(&'a self, platform: Platform, world: &'a World) -> Wire<'a> {
        Wire::new(
            &self.transport as &dyn AnyTransport,
            &self.clock as &dyn AnyClock,
            platform.rules(),
            world,
        )
    }

    /// Fetches the catalog twice, as a platform does at registration and later, and finds the plans to play with.
    async fn catalog(&self, platform: Platform, world: &World) -> (ScenarioReport, Vec<Subject>) {
        let wire = self.wire(platform, world);
        let started = self.clock.now();
        let read = read_catalog(platform, &wire, &self.options).await;
        let (verdict, subjects) = match read {
            Ok(subjects) => (Verdict::Passed, subjects),
            Err(obstacle) => (obstacle.into(), Vec::new()),
        };
        let report = ScenarioReport {
            scenario: CATALOG.0,
            claim: CATALOG.1,
            plan: String::new(),
            verdict,
            took: self.clock.now().saturating_sub(started),
            story: wire.story(),
        };
        (report, subjects)
    }

    async fn play(&self, platform: Platform, world: &World, subject: &Subject, scenario: &Scenario) -> ScenarioReport {
        let play = Play::new(self.wire(platform, world), subject, &self.options);
        let started = self.clock.now();
        let played = tokio::time::timeout(self.options.limit, (scenario.play)(&play)).await;
        let took = self.clock.now().saturating_sub(started);
        let story = play.wire.story();
        let verdict = match played {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(obstacle)) => obstacle.into(),
            Err(_) => Verdict::Failed(format!("not over after {} s", self.options.limit.as_secs_f64())),
        };
        if verdict != Verdict::Passed {
            let limit = self.options.limit.max(Duration::from_secs(1));
            // What cannot be removed stays; the verdict has said it.
            let _ = tokio::time::timeout(limit, play.clean_up()).await;
        }
        ScenarioReport {
            scenario: scenario.name,
            claim: scenario.claim,
            plan: subject.plan.name.clone(),
            verdict,
            took,
            story,
        }
    }
}

impl From<Obstacle> for Verdict {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Wrong(why) => Self::Failed(why),
            Obstacle::NotHere(why) => Self::Skipped(why),
        }
    }
}

async fn read_catalog(platform: Platform, wire: &Wire<'_>, options: &Options) -> Played<Vec<Subject>> {
    let first = fetch_catalog(wire).await?;
    let again = fetch_catalog(wire).await?;
    let catalog = match serde_json::to_vec(&first).map(|bytes| Catalog::from_json(&bytes)) {
        Ok(Ok(catalog)) => catalog,
        Ok(Err(error)) => return wrong(format!("the catalog is malformed: {error}")),
        Err(error) => return wrong(format!("the catalog is malformed: {error}")),
    };
    if let Some(why) = refusal(platform, &first) {
        return wrong(why);
    }
    if ids(&first) != ids(&again) {
        return wrong("the ids of offerings and plans are others when the catalog is fetched again");
    }
    subjects(&catalog, &options.plans)
}

async fn fetch_catalog(wire: &Wire<'_>) -> Played<Object> {
    let nothing = Order::nothing();
    let outcome = wire.send(Call::Catalog, &nothing, None, Purpose::User).await.outcome;
    match outcome
        .as_ref()
        .ok()
        .filter(|answer| answer.status == 200)
        .and_then(Answer::object)
    {
        Some(catalog) => Ok(catalog.clone()),
        None => wrong(format!("the catalog cannot be fetched: {}", summary(&outcome))),
    }
}

/// Why the platform does not take a catalog.
fn refusal(platform: Platform, catalog: &Object) -> Option<String> {
    let findings = osb_lint::lint(&Value::Object(catalog.clone()));
    let minds = |finding: &osb_lint::Finding| {
        finding.platform == osb_lint::Platform::Specification || Some(finding.platform) == platform.linted_as()
    };
    let refused = findings
        .iter()
        .find(|finding| finding.severity == osb_lint::Severity::Error && minds(finding))?;
    Some(format!("the catalog is refused: {refused}"))
}

/// All ids, in their order.
fn ids(catalog: &Object) -> Vec<String> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let offerings = list(catalog.get("services"));
    let of = |offering: &Value| {
        let plans = list(offering.get("plans"));
        let all = std::iter::once(offering.clone()).chain(plans);
        all.map(|thing| thing["id"].to_string()).collect::<Vec<_>>()
    };
    offerings.iter().flat_map(of).collect()
}

/// The plans to play with.
fn subjects(catalog: &Catalog, names: &[String]) -> Played<Vec<Subject>> {
    let all = catalog.services.iter().flat_map(|offering| {
        let subject = |plan: &Plan| Subject {
            offering: Offering::clone(offering),
            plan: plan.clone(),
        };
        offering.plans.iter().map(subject)
    });
    let all: Vec<Subject> = all.collect();
    if names.is_empty() {
        let bindable = all.iter().find(|subject| subject.is_bindable());
        return match bindable.or_else(|| all.first()) {
            Some(subject) => Ok(vec![subject.clone()]),
            None => wrong("the catalog has no plan"),
        };
    }
    let find = |name: &String| {
        let found = all
            .iter()
            .find(|subject| subject.plan.name == *name || subject.plan.id == *name);
        found
            .cloned()
            .map_or_else(|| wrong(format!("the catalog has no plan {name}")), Ok)
    };
    names.iter().map(find).collect()
}

impl Order {
    /// For calls that are about nothing in particular.
    fn nothing() -> Self {
        Self {
            instance: String::new(),
            name: String::new(),
            binding: String::new(),
            app: String::new(),
            service: String::new(),
            plan: String::new(),
            new_plan: None,
            parameters: Object::new(),
            bind_parameters: Object::new(),
            enabled: true,
            maintenance: None,
            terms: Terms::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let plan = |name: &str| Plan::new(format!("id-{name}"), name, "a plan");
        let offering = Offering::new("s", "s", "a service")
            .bindable(true)
            .plan(plan("odd").bindable(false))
            .plan(plan("small"))
            .plan(plan("large"));
        Catalog::new().offering(offering)
    }

    fn chosen(names: &[&str]) -> Played<Vec<String>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let subjects = subjects(&catalog(), &names)?;
        Ok(subjects.into_iter().map(|subject| subject.plan.name).collect())
    }

    #[test]
    fn plans_are_chosen_by_name_or_id() {
        assert_eq!(
            chosen(&["large", "id-odd"]),
            Ok(vec!["large".to_owned(), "odd".to_owned()])
        );
        assert_eq!(chosen(&["none"]), wrong("the catalog has no plan none"));
    }

    #[test]
    fn the_first_that_can_be_bound_is_the_default() {
        assert_eq!(chosen(&[]), Ok(vec!["small".to_owned()]));
        assert_eq!(
            subjects(&Catalog::new(), &[]).unwrap_err(),
            Obstacle::Wrong("the catalog has no plan".to_owned())
        );
    }
}
