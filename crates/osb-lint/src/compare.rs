//! What becomes of instances and bindings that exist when one catalog takes the place of another.
//!
//! Offerings and plans are the same when their ids are (OSB-CAT-02); everything else about them may change.

mod identity;
mod offering;
mod plan;
mod schema;

use osb_api::catalog::{Catalog, Offering, Plan};

use crate::finding::Finding;
use crate::place::Place;

/// What instances of `previous` lose or meet under `current`, in the order of `previous`.
///
/// A place is one in `current`; for what is no longer there it is that of the list that it stood in.
pub fn compare(previous: &Catalog, current: &Catalog) -> Vec<Finding> {
    let change = Change { previous, current };
    let mut found = Vec::new();
    for old in &previous.services {
        identity::offering(&mut found, &change, old);
        if let Some((place, new)) = change.offering(&old.id) {
            offering::changes(&mut found, &place, old, new);
            for plan in &old.plans {
                identity::plan(&mut found, &change, old, plan);
            }
        }
    }
    for (offering, plan) in plans(previous) {
        if let Some((place, new)) = change.plan(&plan.id) {
            let old = plan::Side { offering, plan };
            plan::changes(&mut found, &place, &old, &new);
        }
    }
    found
}

/// Two catalogs.
struct Change<'a> {
    previous: &'a Catalog,
    current: &'a Catalog,
}

impl<'a> Change<'a> {
    /// The offering of that id in the current catalog.
    fn offering(&self, id: &str) -> Option<(Place, &'a Offering)> {
        let mut offerings = self.current.services.iter().enumerate();
        let (index, offering) = offerings.find(|(_, offering)| offering.id == id)?;
        Some((services().element(index), offering))
    }

    /// The plan of that id in the current catalog, wherever it stands.
    fn plan(&self, id: &str) -> Option<(Place, plan::Side<'a>)> {
        let offerings = self.current.services.iter().enumerate();
        offerings
            .flat_map(|(index, offering)| {
                let place = services().element(index).member("plans");
                let plans = offering.plans.iter().enumerate();
                plans.map(move |(index, plan)| (place.element(index), plan::Side { offering, plan }))
            })
            .find(|(_, side)| side.plan.id == id)
    }
}

fn services() -> Place {
    Place::root().member("services")
}

fn plans(catalog: &Catalog) -> impl Iterator<Item = (&Offering, &Plan)> {
    let offerings = catalog.services.iter();
    offerings.flat_map(|offering| offering.plans.iter().map(move |plan| (offering, plan)))
}

#[cfg(test)]
pub(crate) mod tests;
