//! The catalog that was served last, remembered over a restart: plans that are not offered any more are retired, so
//! that what there is of them is served on, and the change can be told.
//!
//! It is one object in the broker's own namespace, sealed, because a catalog may hold the secret of a dashboard client.
//! Nothing is written while the catalog stays the same.

use osb_api::catalog::{Catalog, CheckedCatalog, Offering, Plan};
use osb_api::id::{OfferingId, PlanId};
use serde::{Deserialize, Serialize};

use crate::home::{Home, HomeError, Selection};
use crate::objects::to_vec;
use crate::resource::{CatalogRecord, CatalogRecordSpec, Kind, Meta};
use crate::seal::{Keys, MAX_SEALED_BYTES, Place};
use crate::services::Services;

const NAME: &str = "catalog";

const PLACE: Place<'static> = Place {
    object: NAME,
    incarnation: "",
    field: "catalog",
};

/// How often the object is tried again when another process changes it at the same time.
const TRIES: usize = 5;

/// Beyond so many retired plans those are forgotten of which there are no instances.
const MANY_RETIRED: usize = 256;

/// A catalog, and the one that it took the place of at the start. What one of them has left out, because it was too
/// large to be remembered, is left out of the other, too.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogChange {
    /// What the broker served before.
    pub previous: Catalog,
    /// What it serves now.
    pub current: Catalog,
}

/// How much of a catalog is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Extent {
    Whole,
    WithoutSchemas,
    /// Without texts for display, either.
    Bare,
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Served {
    extent: Extent,
    catalog: Catalog,
    /// Plans that were offered before.
    retired: Catalog,
}

/// What was found of the catalog served last.
pub(crate) enum Before {
    Nothing,
    Found(Box<Served>),
    /// It is there and cannot be read: it is left as it is.
    Unreadable,
}

impl Served {
    fn of(services: &Services, extent: Extent) -> Self {
        Self {
            extent,
            catalog: extent.of(services.catalog.catalog()),
            retired: extent.of(&services.withdrawn),
        }
    }

    /// As much as one object may hold.
    fn fitting(services: &Services) -> Option<Vec<u8>> {
        let extents = [Extent::Whole, Extent::WithoutSchemas, Extent::Bare];
        let mut forms = extents.into_iter().map(|extent| to_vec(&Self::of(services, extent)));
        forms.find(|form| form.len() <= MAX_SEALED_BYTES)
    }

    /// The plans that are not offered any more, those that were offered last and those of earlier catalogs.
    pub(crate) fn withdrawn(&self, now: &CheckedCatalog) -> Catalog {
        withdrawn([&self.retired, &self.catalog], now)
    }

    /// What has changed since, if anything has.
    pub(crate) fn change(&self, now: &CheckedCatalog) -> Option<CatalogChange> {
        let change = CatalogChange {
            previous: self.catalog.clone(),
            current: self.extent.of(now.catalog()),
        };
        (change.previous != change.current).then_some(change)
    }
}

impl Extent {
    fn of(self, catalog: &Catalog) -> Catalog {
        let mut catalog = catalog.clone();
        let plans = |catalog: &mut Catalog, change: fn(&mut Plan)| {
            for offering in &mut catalog.services {
                offering.plans.iter_mut().for_each(change);
            }
        };
        if self != Self::Whole {
            plans(&mut catalog, |plan| plan.schemas = osb_api::catalog::Schemas::default());
        }
        if self == Self::Bare {
            plans(&mut catalog, |plan| {
                plan.description.clear();
                plan.metadata.clear();
                plan.extensions.clear();
            });
            for offering in &mut catalog.services {
                offering.description.clear();
                offering.tags.clear();
                offering.metadata.clear();
                offering.extensions.clear();
            }
        }
        catalog
    }
}

/// The plans of some catalogs, of which later ones know better, that another one does not offer.
pub(crate) fn withdrawn<'a>(before: impl IntoIterator<Item = &'a Catalog>, now: &CheckedCatalog) -> Catalog {
    let mut gone = Catalog::new();
    for offering in before.into_iter().flat_map(|catalog| &catalog.services) {
        let offered =
            |plan: &&Plan| ids(offering, plan).is_none_or(|(service, plan)| now.plan(&service, &plan).is_some());
        let plans: Vec<Plan> = offering.plans.iter().filter(|plan| !offered(plan)).cloned().collect();
        if plans.is_empty() {
            continue;
        }
        let known = gone
            .services
            .iter()
            .position(|known: &Offering| known.id == offering.id);
        let mut all = known.map_or_else(Vec::new, |known| gone.services.remove(known).plans);
        all.retain(|old| plans.iter().all(|plan| plan.id != old.id));
        all.extend(plans);
        gone.services.push(Offering {
            plans: all,
            ..offering.clone()
        });
    }
    gone
}

/// The ids of a plan and its offering; those of a catalog that was served are valid.
pub(crate) fn ids(offering: &Offering, plan: &Plan) -> Option<(OfferingId, PlanId)> {
    Some((OfferingId::new(&*offering.id).ok()?, PlanId::new(&*plan.id).ok()?))
}

/// What was served last.
pub(crate) async fn read(home: &Home, keys: &Keys, namespace: &str) -> Result<Before, HomeError> {
    let found: Option<CatalogRecord> = home.get(Kind::CatalogRecord, namespace, NAME).await?;
    let Some(found) = found else { return Ok(Before::Nothing) };
    let plain = keys.open(PLACE, &found.spec.catalog).ok();
    let served = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    Ok(served.map_or(Before::Unreadable, Before::Found))
}

/// Remembers what is served from now on. Nothing depends on it before the next start, so what goes wrong is only said.
pub(crate) async fn remember(home: &Home, keys: &Keys, namespace: &str, services: &Services) {
    let Some(plain) = Served::fitting(services) else {
        tracing::warn!(
            "the catalog is too large to be remembered: plans that the next version does not offer are unknown to it"
        );
        return;
    };
    if let Err(error) = write(home, keys, namespace, &plain).await {
        tracing::warn!(%error, "the catalog could not be remembered");
    }
}

async fn write(home: &Home, keys: &Keys, namespace: &str, plain: &[u8]) -> Result<(), HomeError> {
    for _ in 0..TRIES {
        let found: Option<CatalogRecord> = home.get(Kind::CatalogRecord, namespace, NAME).await?;
        let stored = found
            .as_ref()
            .and_then(|found| keys.open(PLACE, &found.spec.catalog).ok());
        if stored.is_some_and(|stored| stored == plain) {
            return Ok(());
        }
        let new = || Meta {
            name: NAME.to_owned(),
            namespace: namespace.to_owned(),
            ..Meta::default()
        };
        let object = CatalogRecord {
            api_version: home.api_version(),
            kind: Kind::CatalogRecord.name().to_owned(),
            metadata: found.as_ref().map_or_else(new, |found| found.metadata.clone()),
            spec: CatalogRecordSpec {
                catalog: keys.seal(PLACE, plain).map_err(|_| HomeError::Unknown)?,
            },
        };
        let written = match &found {
            None => home.create(Kind::CatalogRecord, namespace, &object).await,
            Some(found) => home.replace(Kind::CatalogRecord, &found.metadata, &object).await,
        };
        match written {
            Ok(_) => return Ok(()),
            Err(HomeError::Conflict | HomeError::AlreadyExists | HomeError::Unknown) => {}
            Err(error) => return Err(error),
        }
    }
    Err(HomeError::Conflict)
}

/// Forgets retired plans that are not in use, once there are many. A home that does not answer keeps them.
pub(crate) async fn forget_unused(home: &Home, mut retired: Catalog) -> Catalog {
    let count = retired
        .services
        .iter()
        .map(|offering| offering.plans.len())
        .sum::<usize>();
    if count <= MANY_RETIRED {
        return retired;
    }
    for offering in &mut retired.services {
        let mut used = Vec::new();
        for plan in std::mem::take(&mut offering.plans) {
            if is_used(home, &plan.id).await {
                used.push(plan);
            }
        }
        offering.plans = used;
    }
    retired.services.retain(|offering| !offering.plans.is_empty());
    retired
}

async fn is_used(home: &Home, plan: &str) -> bool {
    let fields = format!("spec.planId={}", escaped(plan));
    let selection = Selection {
        fields: Some(&fields),
        limit: Some(1),
        ..Selection::default()
    };
    match home.list_metadata(Kind::Instance, selection).await {
        Ok(found) => found.items.is_some_and(|items| !items.is_empty()),
        Err(_) => true,
    }
}

/// A value as it stands in a field selector.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offering(id: &str, plans: &[&str]) -> Offering {
        let plan = |id: &&str| Plan::new(*id, format!("plan {id}"), "A plan");
        plans
            .iter()
            .map(plan)
            .fold(Offering::new(id, format!("name-{id}"), "An offering"), Offering::plan)
    }

    fn schema() -> Option<osb_api::Object> {
        let schema = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"});
        schema.as_object().cloned()
    }

    fn catalog(offerings: &[Offering]) -> Catalog {
        offerings.iter().cloned().fold(Catalog::new(), Catalog::offering)
    }

    fn names(catalog: &Catalog) -> Vec<String> {
        let plans = |offering: &Offering| {
            let of = |plan: &Plan| format!("{}/{}", offering.id, plan.id);
            offering.plans.iter().map(of).collect::<Vec<_>>()
        };
        catalog.services.iter().flat_map(plans).collect()
    }

    #[test]
    fn plans_and_offerings_that_are_gone_are_withdrawn_until_they_come_back() {
        let first = catalog(&[offering("a", &["1", "2"]), offering("b", &["3"])]);
        let second = catalog(&[offering("a", &["2", "4"]), offering("c", &["3"])]);
        let second = second.check().expect("a right catalog");
        let gone = withdrawn([&first], &second);
        assert_eq!(names(&gone), ["a/1", "b/3"]);
        let third = catalog(&[offering("a", &["1"]), offering("c", &["3"])])
            .check()
            .expect("a right catalog");
        assert_eq!(
            names(&withdrawn([&gone, second.catalog()], &third)),
            ["b/3", "a/2", "a/4"]
        );
    }

    #[test]
    fn a_catalog_is_read_as_it_was_written() {
        let mut full = offering("a", &["1"])
            .metadata("displayName", "A")
            .tags(["t"])
            .bindable(true);
        full.plans[0].schemas.instance_create = schema();
        let served = Served {
            extent: Extent::Whole,
            catalog: catalog(&[full]),
            retired: catalog(&[offering("b", &["2"])]),
        };
        let read: Served = serde_json::from_slice(&to_vec(&served)).expect("readable");
        assert_eq!(read, served);
    }

    #[test]
    fn what_is_left_out_is_left_out_of_both() {
        let mut full = offering("a", &["1"]);
        full.plans[0].schemas.instance_create = schema();
        let now = catalog(&[full]).check().expect("a right catalog");
        for extent in [Extent::Whole, Extent::WithoutSchemas, Extent::Bare] {
            let served = Served {
                extent,
                catalog: extent.of(now.catalog()),
                retired: Catalog::new(),
            };
            assert_eq!(served.change(&now), None);
            let form: Served = serde_json::from_slice(&to_vec(&served)).expect("readable");
            assert_eq!(form, served);
        }
    }

    #[test]
    fn ids_are_escaped_in_selectors() {
        assert_eq!(escaped(r"a,b=c\d"), r"a\,b\=c\\d");
    }
}
