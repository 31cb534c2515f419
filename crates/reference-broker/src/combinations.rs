//! A plan for each combination of what a plan can be. How long it takes and what fails is ordered with parameters.

use osb_sdk::{Broker, Offering, Plan, Policy};

use crate::catalog::{asynchronous, asynchronous_bindings, maintenance_info};
use crate::service::{Gives, Reference};

/// The offering `combinations`: instances and bindings can be fetched.
pub const COMBINATIONS: &str = "525c009c-f17b-4b84-8c7f-3afa2c2c10b3";
/// The offering `combinations-unfetched`: they cannot, so there are no asynchronous bindings.
pub const COMBINATIONS_UNFETCHED: &str = "ea458b51-97e9-4125-9bff-abfcee35eb4b";

/// How something is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Sync,
    Async,
}

/// What a plan is.
#[derive(Clone, Copy, Debug)]
struct Combination {
    instances: Answers,
    /// `None`: it cannot be bound.
    bindings: Option<Answers>,
    rotating: bool,
    updateable: bool,
    maintained: bool,
}

/// Adds the offerings, and how their plans are run.
pub(crate) fn add_to(broker: Broker, maintenance_version: &str) -> Broker {
    let fetched = Offering::new(COMBINATIONS, "combinations", "Each combination of what a plan can be")
        .instances_retrievable(true)
        .bindings_retrievable(true)
        .allow_context_updates(true);
    let unfetched = Offering::new(
        COMBINATIONS_UNFETCHED,
        "combinations-unfetched",
        "Each combination of what a plan can be where nothing can be fetched",
    );
    [(0, fetched), (1, unfetched)]
        .into_iter()
        .fold(broker, |broker, (group, offering)| {
            let of_group = |combination: &Combination| offering.bindings_retrievable || !combination.needs_fetching();
            let all = combinations().into_iter().enumerate();
            let these: Vec<_> = all.filter(|(_, combination)| of_group(combination)).collect();
            let plan =
                |(number, combination): &(usize, Combination)| combination.plan(group, *number, maintenance_version);
            let offering = these.iter().map(plan).fold(offering, Offering::plan);
            let broker = broker.updatable(offering, Reference(Gives::Credentials));
            these.iter().fold(broker, |broker, (number, combination)| {
                broker.policy(id(group, *number), combination.policy())
            })
        })
}

/// All of them, in an order that stays: the ids of the plans are made of it.
fn combinations() -> Vec<Combination> {
    use Answers::{Async, Sync};
    let binding_kinds = [
        (None, false),
        (Some(Sync), false),
        (Some(Sync), true),
        (Some(Async), false),
        (Some(Async), true),
    ];
    let mut all = Vec::new();
    for instances in [Sync, Async] {
        for (bindings, rotating) in binding_kinds {
            for (updateable, maintained) in [(false, false), (false, true), (true, false), (true, true)] {
                all.push(Combination {
                    instances,
                    bindings,
                    rotating,
                    updateable,
                    maintained,
                });
            }
        }
    }
    all
}

fn id(group: usize, number: usize) -> String {
    format!("3e9c80a1-6e04-43ac-a24e-{group:04x}{number:08x}")
}

impl Combination {
    fn needs_fetching(&self) -> bool {
        self.bindings == Some(Answers::Async)
    }

    fn name(&self) -> String {
        let said = [
            Some(match self.instances {
                Answers::Sync => "sync",
                Answers::Async => "async",
            }),
            Some(match self.bindings {
                None => "unbindable",
                Some(Answers::Sync) => "bind-sync",
                Some(Answers::Async) => "bind-async",
            }),
            self.rotating.then_some("rotating"),
            Some(if self.updateable { "updateable" } else { "fixed" }),
            self.maintained.then_some("maintained"),
        ];
        said.into_iter().flatten().collect::<Vec<_>>().join(".")
    }

    fn plan(&self, group: usize, number: usize, maintenance_version: &str) -> Plan {
        let name = self.name();
        let description = format!("Is {}", name.replace('.', ", "));
        Plan {
            maintenance_info: self.maintained.then(|| maintenance_info(maintenance_version)),
            ..Plan::new(id(group, number), name, description)
                .bindable(self.bindings.is_some())
                .binding_rotatable(self.rotating)
                .plan_updateable(self.updateable)
        }
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        if self.instances == Answers::Async {
            policy = asynchronous(policy);
        }
        if self.bindings == Some(Answers::Async) {
            policy = asynchronous_bindings(policy);
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_combination_has_a_name_and_an_id_of_its_own() {
        let all = combinations();
        assert_eq!(all.len(), 40);
        let names: BTreeSet<_> = all.iter().map(Combination::name).collect();
        assert_eq!(names.len(), 40);
        // Service Catalog takes no longer ones.
        assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
        let ids: BTreeSet<_> = (0..2)
            .flat_map(|group| (0..40).map(move |number| id(group, number)))
            .collect();
        assert_eq!(ids.len(), 80);
        assert!(ids.iter().all(|id| id.len() == 36));
    }

    /// Instances that were made on them are found again.
    #[test]
    fn the_ids_stay() {
        let at = |number: usize| (combinations()[number].name(), id(0, number));
        assert_eq!(
            at(0),
            (
                "sync.unbindable.fixed".to_owned(),
                "3e9c80a1-6e04-43ac-a24e-000000000000".to_owned()
            )
        );
        let last = "async.bind-async.rotating.updateable.maintained".to_owned();
        assert_eq!(at(39), (last, "3e9c80a1-6e04-43ac-a24e-000000000027".to_owned()));
    }
}
