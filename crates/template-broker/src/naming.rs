//! One name and one id for each service, also where templates of several namespaces would have the same.
//!
//! The template that was made first has the name; the others have their namespace behind it. That depends on the
//! templates alone and not on the order in which they are seen, so a restart changes no name.

use std::collections::{BTreeMap, HashSet};

use osb_sdk::Offering;

use crate::ids;
use crate::offering::{Key, Mapped};

/// What a service is called, when all others are looked at, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The name of the service.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The ids of its plans, in their order.
    pub plans: Vec<String>,
    /// What could not stay as the template wants it.
    pub problems: Vec<String>,
}

impl Assigned {
    /// The offering under these names.
    pub fn offering(&self, mapped: &Mapped) -> Offering {
        let mut offering = mapped.offering.clone();
        offering.name.clone_from(&self.name);
        offering.id.clone_from(&self.id);
        for (plan, id) in offering.plans.iter_mut().zip(&self.plans) {
            plan.id.clone_from(id);
        }
        offering
    }
}

/// Names and ids that nobody else has, for each template.
///
/// Of two templates with the same annotated id the older one has it; the other gets a derived one, and a problem.
pub fn assign<'m>(all: impl IntoIterator<Item = &'m Mapped>) -> BTreeMap<Key, Assigned> {
    let mut all: Vec<&Mapped> = all.into_iter().collect();
    all.sort_by(|one, other| age(one).cmp(&age(other)));
    let wanted = all.iter().map(|mapped| mapped.offering.name.as_str()).collect();
    let mut taken = Taken {
        wanted,
        names: HashSet::new(),
        services: HashSet::new(),
        plans: HashSet::new(),
    };
    let assigned = all.iter().map(|mapped| (mapped.key.clone(), taken.assign(mapped)));
    assigned.collect()
}

/// Whose turn it is: the older template first.
fn age(mapped: &Mapped) -> (&str, &Key) {
    (&mapped.created, &mapped.key)
}

struct Taken<'m> {
    /// Names that somebody would like to have.
    wanted: HashSet<&'m str>,
    names: HashSet<String>,
    services: HashSet<String>,
    plans: HashSet<String>,
}

impl Taken<'_> {
    fn assign(&mut self, mapped: &Mapped) -> Assigned {
        let Key { namespace, name } = &mapped.key;
        let mut problems = Vec::new();
        let mut id = mapped.offering.id.clone();
        if !self.services.insert(id.clone()) {
            problems.push("its service id is that of another template; it gets a derived one".to_owned());
            id = ids::service(namespace, name);
            self.services.insert(id.clone());
        }
        let mut plans = Vec::new();
        for plan in &mapped.offering.plans {
            let mut id = plan.id.clone();
            if !self.plans.insert(id.clone()) {
                problems.push(format!(
                    "the id of its plan {:?} is taken; it gets a derived one",
                    plan.name
                ));
                id = ids::plan(namespace, name, &plan.name);
                self.plans.insert(id.clone());
            }
            plans.push(id);
        }
        Assigned {
            name: self.name(mapped),
            id,
            plans,
            problems,
        }
    }

    fn name(&mut self, mapped: &Mapped) -> String {
        let own = &mapped.offering.name;
        if self.names.insert(own.clone()) {
            return own.clone();
        }
        let mut name = format!("{own}-{}", mapped.key.namespace);
        // Somebody else's own name, or that of another one that had to give way.
        if self.wanted.contains(name.as_str()) || self.names.contains(&name) {
            let id = ids::service(&mapped.key.namespace, &mapped.key.name);
            name = format!("{name}-{}", &id[..8]);
        }
        self.names.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use template::document;

    use super::*;
    use crate::offering::Ids;

    fn mapped(namespace: &str, name: &str, created: &str, more: &str) -> Mapped {
        let text = format!(
            r#"{{"kind": "Template", "apiVersion": "template.openshift.io/v1", "metadata": {{"namespace": "{namespace}",
                "name": "{name}", "creationTimestamp": "{created}", "uid": "u-{namespace}-{name}", "annotations": {{{more}}}}}}}"#
        );
        Mapped::of(&document::templates(&text).unwrap()[0], Ids::Stable)
    }

    fn names(all: &[Mapped]) -> Vec<String> {
        let assigned = assign(all);
        assert!(assigned.values().all(|one| one.problems.is_empty()));
        all.iter().map(|mapped| assigned[&mapped.key].name.clone()).collect()
    }

    /// S3
    #[test]
    fn of_equal_names_the_older_template_has_the_name_in_whatever_order_they_come() {
        let mut all = vec![
            mapped("b", "db", "2026-02-01T00:00:00Z", ""),
            mapped("a", "db", "2026-01-01T00:00:00Z", ""),
            mapped("c", "db", "2026-01-01T00:00:00Z", ""),
            mapped("a", "cache", "2026-03-01T00:00:00Z", ""),
        ];
        assert_eq!(names(&all), ["db-b", "db", "db-c", "cache"]);
        all.reverse();
        assert_eq!(names(&all), ["cache", "db-c", "db", "db-b"]);
        all.retain(|mapped| mapped.key.namespace != "a");
        assert_eq!(names(&all), ["db", "db-b"]);
    }

    #[test]
    fn a_name_that_gives_way_takes_nobody_elses() {
        let all = [
            mapped("a", "db", "1", ""),
            mapped("b", "db", "2", ""),
            mapped("z", "db-b", "3", ""),
        ];
        let names = names(&all);
        assert_eq!((names[0].as_str(), names[2].as_str()), ("db", "db-b"));
        assert!(names[1].starts_with("db-b-"), "{names:?}");
    }

    #[test]
    fn of_equal_annotated_ids_the_older_template_has_the_id_and_the_other_says_so() {
        let id = r#""template.osb.internal/service-id": "one", "template.osb.internal/plans": "[{name: p, id: two}]""#;
        let all = [mapped("a", "db", "1", id), mapped("b", "db", "2", id)];
        let assigned = assign(&all);
        let (first, second) = (&assigned[&all[0].key], &assigned[&all[1].key]);
        assert_eq!((first.id.as_str(), first.plans[0].as_str()), ("one", "two"));
        assert_eq!(second.id, ids::service("b", "db"));
        assert_eq!(second.plans, [ids::plan("b", "db", "p")]);
        assert_eq!((first.problems.len(), second.problems.len()), (0, 2));
        let offering = second.offering(&all[1]);
        assert_eq!((&offering.id, &offering.plans[0].id), (&second.id, &second.plans[0]));
    }
}
