//! The templates that are offered now, and what is known of those that were.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use osb_sdk::{LiveOffering, LiveOfferings, Policy, Schemas};

use crate::naming::{self, Assigned};
use crate::offering::{Key, Mapped};
use crate::parameters::{Fixed, Parameters};

/// A removal that has not succeeded by then has failed; the platform may ask for it again.
const REMOVAL: Duration = Duration::from_secs(60 * 60);

/// What has happened to a template.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// It is there, new or changed.
    There(Box<Mapped>),
    /// It is not there any more.
    Gone(Key),
}

/// What a plan of the catalog stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sold {
    /// The template.
    pub(crate) key: Key,
    /// Its UID when it was seen last.
    pub(crate) uid: String,
    /// What the plan says of parameters.
    pub(crate) fixed: Fixed,
    /// The parameters of the template.
    pub(crate) parameters: Arc<Parameters>,
}

/// All templates, as services.
#[derive(Default)]
pub(crate) struct Registry {
    offerings: LiveOfferings,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    templates: HashMap<Key, Entry>,
    /// By the ids of service and plan that requests name.
    sold: HashMap<(String, String), Sold>,
}

/// A template that is offered, without what stands in the catalog already.
struct Entry {
    mapped: Mapped,
    assigned: Assigned,
}

impl Registry {
    /// The offerings, for the broker.
    pub(crate) fn offerings(&self) -> &LiveOfferings {
        &self.offerings
    }

    /// How many templates there are.
    pub(crate) fn len(&self) -> usize {
        self.read().templates.len()
    }

    /// What the plan of a service stands for; also when its template is gone, as long as this process runs.
    pub(crate) fn sold(&self, service: &str, plan: &str) -> Option<Sold> {
        self.read().sold.get(&(service.to_owned(), plan.to_owned())).cloned()
    }

    /// The templates of a namespace.
    pub(crate) fn keys(&self, namespace: &str) -> Vec<Key> {
        let state = self.read();
        let keys = state.templates.keys().filter(|key| key.namespace == namespace);
        keys.cloned().collect()
    }

    /// Brings the catalog up to date. Of several changes of one template the last one counts. The keys are those of
    /// templates whose names had to change with those of others: they have to be read again, and put in again.
    #[must_use]
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Vec<Key> {
        let mut last: BTreeMap<Key, Option<Box<Mapped>>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::There(mapped) => last.insert(mapped.key.clone(), Some(mapped)),
                Change::Gone(key) => last.insert(key, None),
            };
        }
        let mut state = self.write();
        last.retain(|key, mapped| {
            let entry = state.templates.get(key);
            !matches!((entry, mapped), (Some(entry), Some(mapped)) if entry.mapped.is_same_version(mapped))
        });
        let mut assigned = state.assign(&last);
        let mut stale = state.stale(&assigned, &last);
        // What gives its name up goes first, so that another one can take it.
        for key in stale.iter().chain(last.keys()) {
            let changes_name = state.templates.get(key).is_some_and(|entry| {
                assigned
                    .get(key)
                    .is_none_or(|new| (&new.name, &new.id, &new.plans) != entry.names())
            });
            if changes_name {
                self.withdraw(&mut state, key);
            }
        }
        for (key, mapped) in last {
            match (mapped, assigned.remove(&key)) {
                (Some(mapped), Some(names)) => {
                    if !self.offer(&mut state, *mapped, names) {
                        stale.remove(&key);
                    }
                }
                _ => self.withdraw(&mut state, &key),
            }
        }
        stale.into_iter().collect()
    }

    /// Puts a template into the catalog; `false` when that does not take it.
    fn offer(&self, state: &mut State, mut mapped: Mapped, assigned: Assigned) -> bool {
        for problem in mapped.problems.iter().chain(&assigned.problems) {
            tracing::warn!(template = %mapped.key, problem, "the template is offered, but not as it says");
        }
        let offering = assigned.offering(&mapped);
        let mut live = LiveOffering::new(offering).policy(Policy {
            removal_deadline: REMOVAL,
            ..Policy::default()
        });
        if let Some((service, plan)) = mapped.alias() {
            live = live.also_known_as(service, plan, 0);
        }
        if let Err(error) = self.offerings.offer(live) {
            tracing::error!(template = %mapped.key, %error, "the template cannot be offered");
            self.withdraw(state, &mapped.key);
            return false;
        }
        let parameters = Arc::new(std::mem::take(&mut mapped.parameters));
        let fixed = std::mem::take(&mut mapped.fixed);
        let alias = mapped
            .alias()
            .map(|(service, plan)| (service.to_owned(), plan.to_owned()));
        for (position, (plan, fixed)) in assigned.plans.iter().zip(fixed).enumerate() {
            let sold = Sold {
                key: mapped.key.clone(),
                uid: mapped.uid.clone(),
                fixed,
                parameters: parameters.clone(),
            };
            if let Some(alias) = alias.clone().filter(|_| position == 0) {
                // An operation on it names the service as the request did, and the plan as the catalog does.
                state.sold.insert((alias.0.clone(), plan.clone()), sold.clone());
                state.sold.insert(alias, sold.clone());
            }
            state.sold.insert((assigned.id.clone(), plan.clone()), sold);
        }
        lighten(&mut mapped);
        state.templates.insert(mapped.key.clone(), Entry { mapped, assigned });
        true
    }

    fn withdraw(&self, state: &mut State, key: &Key) {
        if let Some(entry) = state.templates.remove(key) {
            self.offerings.withdraw(&entry.assigned.id);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn names(&self) -> (&String, &String, &Vec<String>) {
        (&self.assigned.name, &self.assigned.id, &self.assigned.plans)
    }

    /// Whether a template that takes its place would like to have the same names, so that nobody else's change.
    fn wants_the_same(&self, mapped: &Mapped) -> bool {
        let (own, new) = (&self.mapped.offering, &mapped.offering);
        let plans =
            |offering: &osb_sdk::Offering| offering.plans.iter().map(|plan| plan.id.clone()).collect::<Vec<_>>();
        self.mapped.created == mapped.created && own.name == new.name && own.id == new.id && plans(own) == plans(new)
    }
}

impl State {
    /// The names of the templates that change, and of all others where those may have to change with them.
    fn assign(&self, changes: &BTreeMap<Key, Option<Box<Mapped>>>) -> BTreeMap<Key, Assigned> {
        let same = changes.iter().map(|(key, mapped)| {
            let entry = self.templates.get(key)?;
            let mapped = mapped.as_ref().filter(|mapped| entry.wants_the_same(mapped))?;
            let assigned = Assigned {
                plans: entry.assigned.plans.clone(),
                ..entry.assigned.clone()
            };
            debug_assert_eq!(assigned.plans.len(), mapped.offering.plans.len());
            Some((key.clone(), assigned))
        });
        if let Some(same) = same.collect::<Option<BTreeMap<_, _>>>() {
            return same;
        }
        let others = self
            .templates
            .values()
            .filter(|entry| !changes.contains_key(&entry.mapped.key));
        let new = changes.values().flatten().map(AsRef::as_ref);
        naming::assign(others.map(|entry| &entry.mapped).chain(new))
    }

    /// Templates that do not change, but whose names do.
    fn stale(&self, assigned: &BTreeMap<Key, Assigned>, changes: &BTreeMap<Key, Option<Box<Mapped>>>) -> BTreeSet<Key> {
        let others = assigned.iter().filter(|(key, _)| !changes.contains_key(key));
        let stale = others.filter(|(key, new)| {
            let old = self.templates.get(key).map(Entry::names);
            old != Some((&new.name, &new.id, &new.plans))
        });
        stale.map(|(key, _)| key.clone()).collect()
    }
}

/// Without what only the catalog shows: there may be thousands.
fn lighten(mapped: &mut Mapped) {
    let offering = &mut mapped.offering;
    offering.description.clear();
    offering.tags = Vec::new();
    offering.metadata = osb_sdk::Object::new();
    for plan in &mut offering.plans {
        plan.schemas = Schemas::default();
        plan.metadata = osb_sdk::Object::new();
        plan.description.clear();
    }
    mapped.problems = Vec::new();
}

#[cfg(test)]
mod tests {
    use template::document;

    use super::*;
    use crate::offering::Ids;

    fn template(namespace: &str, name: &str, created: &str) -> Mapped {
        let text = format!(
            r#"{{"kind": "Template", "metadata": {{"namespace": "{namespace}", "name": "{name}", "uid": "{namespace}-{name}",
                "creationTimestamp": "{created}"}}, "parameters": [{{"name": "A", "required": true}}]}}"#
        );
        Mapped::of(&document::templates(&text).unwrap()[0], Ids::Stable)
    }

    fn there(mapped: &Mapped) -> Change {
        Change::There(Box::new(mapped.clone()))
    }

    #[test]
    fn templates_come_and_go_and_what_they_sold_is_remembered() {
        let registry = Registry::default();
        let db = template("a", "db", "1");
        assert!(
            registry
                .apply(vec![there(&db), there(&template("a", "mq", "2"))])
                .is_empty()
        );
        assert_eq!((registry.len(), registry.offerings().len()), (2, 2));
        let plan = &db.offering.plans[0].id;
        let sold = registry.sold(&db.offering.id, plan).unwrap();
        assert_eq!((&sold.key, sold.uid.as_str()), (&db.key, "a-db"));
        assert_eq!(registry.sold("a-db", "a-db"), Some(sold.clone()), "the UID is an alias");
        assert!(registry.apply(vec![Change::Gone(db.key.clone())]).is_empty());
        assert_eq!((registry.len(), registry.offerings().len()), (1, 1));
        assert_eq!(registry.sold(&db.offering.id, plan), Some(sold));
    }

    #[test]
    fn a_name_that_becomes_free_goes_to_whoever_wanted_it() {
        let registry = Registry::default();
        let (old, young) = (template("a", "db", "1"), template("b", "db", "2"));
        assert!(registry.apply(vec![there(&young)]).is_empty());
        // The older one has the name, so the younger one has to be read and put in again.
        assert_eq!(registry.apply(vec![there(&old)]), std::slice::from_ref(&young.key));
        assert_eq!(registry.len(), 1);
        assert!(registry.apply(vec![there(&young)]).is_empty());
        assert_eq!(registry.len(), 2);
        assert_eq!(
            registry.apply(vec![Change::Gone(old.key.clone())]),
            std::slice::from_ref(&young.key)
        );
        assert!(registry.apply(vec![there(&young)]).is_empty());
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn of_several_changes_of_a_template_the_last_one_counts() {
        let registry = Registry::default();
        let db = template("a", "db", "1");
        assert!(
            registry
                .apply(vec![there(&db), Change::Gone(db.key.clone())])
                .is_empty()
        );
        assert_eq!(registry.len(), 0);
        assert!(
            registry
                .apply(vec![Change::Gone(db.key.clone()), there(&db)])
                .is_empty()
        );
        assert!(registry.apply(vec![there(&db)]).is_empty());
        assert_eq!(registry.len(), 1);
    }
}
