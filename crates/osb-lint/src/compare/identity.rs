//! Offerings and plans that vanish, get another id, or trade names.

use osb_api::catalog::{Offering, Plan};

use super::{Change, plans, services};
use crate::finding::{Finding, Platform, Severity};
use crate::place::Place;

/// What a broker that no longer knows an id still has to do.
const KEEP: &str = "go on with unbind and deprovision for the old id, and put it back until the last instance is gone";

/// One offering of the previous catalog.
pub(super) fn offering(found: &mut Vec<Finding>, change: &Change<'_>, old: &Offering) {
    match change.offering(&old.id) {
        Some((place, new)) if new.name != old.name => {
            let taken = change
                .previous
                .services
                .iter()
                .any(|other| other.id != old.id && other.name == new.name);
            found.push(if taken {
                offering_name_moved(&place.member("name"), old, new)
            } else {
                renamed("change-offering-renamed", &place.member("name"), &old.name)
            });
        }
        Some(_) => {}
        None => found.push(match successor(change, old) {
            Some((place, new)) => offering_id_changed(&place.member("id"), old, new),
            None => offering_removed(old),
        }),
    }
}

/// One plan of an offering that is still there.
pub(super) fn plan(found: &mut Vec<Finding>, change: &Change<'_>, offering: &Offering, old: &Plan) {
    let Some((offering_place, current)) = change.offering(&offering.id) else {
        return;
    };
    match change.plan(&old.id) {
        Some((place, new)) if new.offering.id != offering.id => {
            found.push(plan_moved(&place.member("id"), offering, old, new.offering, new.plan));
        }
        Some((place, new)) if new.plan.name != old.name => {
            let taken = offering
                .plans
                .iter()
                .any(|other| other.id != old.id && other.name == new.plan.name);
            found.push(if taken {
                plan_name_moved(&place.member("name"), old, new.plan)
            } else {
                renamed("change-plan-renamed", &place.member("name"), &old.name)
            });
        }
        Some(_) => {}
        None => {
            let known = |plan: &Plan| plans(change.previous).any(|(_, old)| old.id == plan.id);
            let mut candidates = current.plans.iter().enumerate();
            let successor = candidates.find(|(_, plan)| plan.name == old.name && !known(plan));
            let list = offering_place.member("plans");
            found.push(match successor {
                Some((index, new)) => plan_id_changed(&list.element(index).member("id"), old, new),
                None => plan_removed(&list, old),
            });
        }
    }
}

/// The new offering that has the name of one that is gone.
fn successor<'a>(change: &Change<'a>, old: &Offering) -> Option<(Place, &'a Offering)> {
    let known = |id: &str| change.previous.services.iter().any(|offering| offering.id == id);
    let mut offerings = change.current.services.iter().enumerate();
    let (index, new) = offerings.find(|(_, new)| new.name == old.name && !known(&new.id))?;
    Some((services().element(index), new))
}

fn error(rule: &'static str, place: &Place, what: String, mend: &str) -> Finding {
    Finding::new((rule, Severity::Error, Platform::Specification), place, what, mend)
}

fn offering_removed(old: &Offering) -> Finding {
    let what = format!("no longer has the offering {:?} with the id {:?}", old.name, old.id);
    gone(error("change-offering-removed", &services(), what, KEEP))
}

fn plan_removed(place: &Place, old: &Plan) -> Finding {
    let what = format!("no longer has the plan {:?} with the id {:?}", old.name, old.id);
    gone(error("change-plan-removed", place, what, KEEP))
}

fn offering_id_changed(place: &Place, old: &Offering, new: &Offering) -> Finding {
    let what = format!("is new: {:?} had the id {:?}", new.name, old.id);
    let finding = error(
        "change-offering-id",
        place,
        what,
        "put the old id back: an id never changes (OSB-CAT-02)",
    );
    gone(finding).says(taken_name(&new.name))
}

fn plan_id_changed(place: &Place, old: &Plan, new: &Plan) -> Finding {
    let what = format!("is new: {:?} had the id {:?}", new.name, old.id);
    gone(error(
        "change-plan-id",
        place,
        what,
        "put the old id back: an id never changes (OSB-CAT-02)",
    ))
}

/// What every platform does with an id that is no longer sold.
fn gone(finding: Finding) -> Finding {
    finding
        .means(
            Platform::CloudFoundry,
            "the plan is deactivated while it has instances, with a warning to the operator; bind, unbind and \
             deprovision go on with the old ids",
        )
        .means(
            Platform::Korifi,
            "nothing is removed: the plan stays on sale, and each provision of it gets the broker's 400, which is \
             final",
        )
        .means(
            Platform::ServiceCatalog,
            "it is marked as removed and kept until its last instance is gone; new instances are refused",
        )
        .means(
            Platform::ServiceManager,
            "the update of the broker is refused as long as there are instances, and no other change gets through",
        )
}

fn plan_moved(place: &Place, from: &Offering, old: &Plan, to: &Offering, new: &Plan) -> Finding {
    let what = format!("was a plan of {:?} and is now one of {:?}", from.name, to.name);
    let mend = "give the plan of the other offering an id of its own (OSB-PLAN-01)";
    error("change-plan-moved", place, what, mend)
        .says(format!(
            "Plan ids must be unique. Unable to register plan with id '{}' (plan name '{}', service name '{}') because \
             it uses the same id as an existing plan (plan name '{}', service name '{}', broker name '…')",
            old.id, new.name, to.name, old.name, from.name
        ))
        .means(
            Platform::Specification,
            "platforms go on to send the ids of the old pair for instances that exist, which no longer belong together",
        )
        .means(Platform::CloudFoundry, "the whole catalog is refused")
}

fn offering_name_moved(place: &Place, old: &Offering, new: &Offering) -> Finding {
    let what = format!(
        "was {:?}, and {:?} was the name of another offering",
        old.name, new.name
    );
    let mend = "keep each name on its id, or take a name that was never used";
    error("change-offering-name-moved", place, what, mend)
        .says(taken_name(&new.name))
        .means(
            Platform::Specification,
            "an instance keeps its id, so users see another offering's name on it, and scripts that order by name get \
             something else",
        )
        .means(
            Platform::CloudFoundry,
            "the whole catalog is refused while the other offering has instances",
        )
}

fn plan_name_moved(place: &Place, old: &Plan, new: &Plan) -> Finding {
    let what = format!("was {:?}, and {:?} was the name of another plan", old.name, new.name);
    error(
        "change-plan-name-moved",
        place,
        what,
        "keep each name on its id, or take a name that was never used",
    )
    .means(
        Platform::Specification,
        "an instance keeps its id, so users see another plan's name on it, and scripts that order by name get \
         something else",
    )
}

fn renamed(rule: &'static str, place: &Place, old: &str) -> Finding {
    let rule = (rule, Severity::Warning, Platform::Specification);
    Finding::new(rule, place, format!("was {old:?}"), "keep the name, or tell users").means(
        Platform::Specification,
        "instances are untouched and show the new name; scripts that order by the old one fail",
    )
}

fn taken_name(name: &str) -> String {
    format!("Service names must be unique within a broker. Services with names [\"{name}\"] already exist")
}
