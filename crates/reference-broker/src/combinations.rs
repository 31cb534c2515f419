//! A plan for each combination of what a plan can be. How long it takes and what fails is ordered with parameters.

use osb_sdk::{Broker, Offering, Plan, Policy, Requires};

use crate::catalog::{asynchronous, asynchronous_bindings, maintenance_info};
use crate::service::{Gives, Reference};

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

/// An offering: what all its plans have in common. The ids of its plans are made of its number.
struct Group {
    number: usize,
    id: &'static str,
    fetched: bool,
    gives: Gives,
    requires: Option<Requires>,
}

const GROUPS: [Group; 8] = [
    group(0, "525c009c-f17b-4b84-8c7f-3afa2c2c10b3", Gives::Credentials),
    group(1, "ea458b51-97e9-4125-9bff-abfcee35eb4b", Gives::Credentials),
    group(2, "7c5a1a0e-5d0b-4c1f-9f43-0d5d8f2c6a02", Gives::SyslogDrain),
    group(3, "7c5a1a0e-5d0b-4c1f-9f43-0d5d8f2c6a03", Gives::SyslogDrain),
    group(4, "7c5a1a0e-5d0b-4c1f-9f43-0d5d8f2c6a04", Gives::RouteService),
    group(5, "7c5a1a0e-5d0b-4c1f-9f43-0d5d8f2c6a05", Gives::RouteService),
    group(6, "7c5a1a0e-5d0b-4c1f-9f43-0d5d8f2c6a06", Gives::Volume),
    group(7, "7c5a1a0e-5d0b-4c1f-9f43-0d5d8f2c6a07", Gives::Volume),
];

const fn group(number: usize, id: &'static str, gives: Gives) -> Group {
    Group {
        number,
        id,
        fetched: number.is_multiple_of(2),
        gives,
        requires: match gives {
            Gives::SyslogDrain => Some(Requires::SyslogDrain),
            Gives::RouteService => Some(Requires::RouteForwarding),
            Gives::Volume => Some(Requires::VolumeMount),
            Gives::Credentials | Gives::Dashboard => None,
        },
    }
}

/// Adds the offerings, and how their plans are run.
pub(crate) fn add_to(broker: Broker, maintenance_version: &str) -> Broker {
    GROUPS.iter().fold(broker, |broker, group| {
        let all = combinations().into_iter().enumerate();
        let these: Vec<_> = all.filter(|(_, combination)| group.has(combination)).collect();
        let plan =
            |(number, combination): &(usize, Combination)| combination.plan(group.number, *number, maintenance_version);
        let offering = these.iter().map(plan).fold(group.offering(), Offering::plan);
        let broker = broker.updatable(offering, Reference(group.gives));
        these.iter().fold(broker, |broker, (number, combination)| {
            broker.policy(id(group.number, *number), combination.policy())
        })
    })
}

impl Group {
    /// Nothing is asynchronous that nobody could fetch, and what bindings give needs bindings.
    fn has(&self, combination: &Combination) -> bool {
        (self.fetched || !combination.needs_fetching()) && (self.requires.is_none() || combination.bindings.is_some())
    }

    fn offering(&self) -> Offering {
        let gives = match self.gives {
            Gives::SyslogDrain => "-logs",
            Gives::RouteService => "-routes",
            Gives::Volume => "-volumes",
            Gives::Credentials | Gives::Dashboard => "",
        };
        let (fetched, where_) = match self.fetched {
            true => ("", ""),
            false => ("-unfetched", " where nothing can be fetched"),
        };
        let name = format!("combinations{gives}{fetched}");
        let description = format!("Each combination of what a plan can be{where_}");
        let offering = Offering::new(self.id, name, description)
            .instances_retrievable(self.fetched)
            .bindings_retrievable(self.fetched)
            .allow_context_updates(self.fetched);
        self.requires.into_iter().fold(offering, Offering::requires)
    }
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
        let ids: BTreeSet<_> = GROUPS
            .iter()
            .flat_map(|group| (0..40).map(|number| id(group.number, number)))
            .collect();
        assert_eq!(ids.len(), 320);
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
