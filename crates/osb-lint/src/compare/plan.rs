//! What changes about a plan.

use std::cmp::Ordering;

use osb_api::Object;
use osb_api::catalog::{Offering, Plan, PlanRef, SemanticVersion};
use serde_json::Value;

use super::schema;
use crate::finding::{Finding, Platform, Severity};
use crate::place::Place;

/// A plan and its offering, in one of the catalogs.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) offering: &'a Offering,
    pub(super) plan: &'a Plan,
}

impl<'a> Side<'a> {
    fn as_ref(self) -> PlanRef<'a> {
        PlanRef {
            offering: self.offering,
            plan: self.plan,
        }
    }
}

/// What instances of a plan lose.
pub(super) fn changes(found: &mut Vec<Finding>, place: &Place, old: &Side<'_>, new: &Side<'_>) {
    let rules = [price, bindable, updateable, rotatable, polling, maintenance, sharing];
    found.extend(rules.iter().filter_map(|rule| rule(place, old.as_ref(), new.as_ref())));
    schemas(found, place, old.plan, new.plan);
}

fn finding(severity: Severity, rule: &'static str, place: &Place, what: impl Into<String>, mend: &str) -> Finding {
    Finding::new((rule, severity, Platform::Specification), place, what, mend)
}

fn warning(rule: &'static str, place: &Place, what: impl Into<String>, mend: &str) -> Finding {
    finding(Severity::Warning, rule, place, what, mend)
}

fn price(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    (old.plan.free && !new.plan.free).then(|| {
        let mend = "add a plan of another id that costs, and leave this one free";
        warning(
            "change-free-to-paid",
            &place.member("free"),
            "was true: the plan costs now",
            mend,
        )
        .means(
            Platform::Specification,
            "instances that were ordered for nothing cost from now on; nobody is asked",
        )
        .means(
            Platform::CloudFoundry,
            "instances go on; a quota without paid service plans refuses new ones",
        )
    })
}

fn bindable(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    let mend = "add a plan of another id that cannot be bound, and leave this one";
    (old.bindable() && !new.bindable()).then(|| {
        warning("change-unbindable", &place.member("bindable"), "was true", mend)
            .means(
                Platform::Specification,
                "instances can no longer be bound; bindings that exist stay and are unbound later, so that unbind has \
                 to go on",
            )
            .means(Platform::CloudFoundry, "a bind is refused before the broker is asked")
    })
}

fn updateable(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    (old.plan_updateable() && !new.plan_updateable()).then(|| {
        warning(
            "change-plan-updateable",
            &place.member("plan_updateable"),
            "was true",
            "keep it for the plans that are sold",
        )
        .means(
            Platform::Specification,
            "instances are caught in the plan: a change of plan is refused by the platform (OSB-UPD-07)",
        )
        .means(
            Platform::CloudFoundry,
            "`cf update-service -p` is refused before the broker is asked",
        )
    })
}

fn rotatable(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    (old.plan.binding_rotatable && !new.plan.binding_rotatable).then(|| {
        warning(
            "change-unrotatable",
            &place.member("binding_rotatable"),
            "was true",
            "keep it while bindings expire",
        )
        .means(
            Platform::Specification,
            "bindings that exist can no longer be replaced before they expire (OSB-ROT-01)",
        )
    })
}

fn polling(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    let (before, after) = (old.plan.maximum_polling_duration, new.plan.maximum_polling_duration?);
    before.is_none_or(|before| after < before).then(|| {
        let what = match before {
            Some(before) => format!("was {before} s and is {after} s"),
            None => format!("is {after} s, where there was no bound"),
        };
        let mend = "give operations that run the old time";
        warning(
            "change-polling-shorter",
            &place.member("maximum_polling_duration"),
            what,
            mend,
        )
        .means(
            Platform::CloudFoundry,
            "operations that run longer count as failed, and what was provisioned is deleted again",
        )
    })
}

fn maintenance(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    let before = old.maintenance_version()?;
    let place = place.member("maintenance_info");
    let Some(after) = new.maintenance_version() else {
        let what = format!("is gone; its version was {before}");
        return Some(
            warning(
                "change-maintenance-gone",
                &place,
                what,
                "keep the version that instances run",
            )
            .means(
                Platform::Specification,
                "a platform that still knows the version sends it, and gets MaintenanceInfoConflict until it reads the \
                 catalog again (OSB-PROV-12, OSB-UPD-14)",
            ),
        );
    };
    let order = SemanticVersion::parse(after)?.precedence(&SemanticVersion::parse(before)?);
    (order == Ordering::Less).then(|| {
        let what = format!("went back from {before} to {after}");
        let mend = "give the older software a version of its own that is higher";
        warning("change-maintenance-back", &place.member("version"), what, mend)
            .means(
                Platform::Specification,
                "versions are compared for equality only: an instance on the newer version is offered the older one as \
                 its upgrade",
            )
            .means(
                Platform::CloudFoundry,
                "`cf upgrade-service` asks the broker to bring those instances back",
            )
    })
}

fn sharing(place: &Place, old: PlanRef<'_>, new: PlanRef<'_>) -> Option<Finding> {
    let shared = |plan: &Plan| plan.metadata.get("supportsInstanceSharing") == Some(&Value::Bool(true));
    (shared(old.plan) && !shared(new.plan)).then(|| {
        let place = place.member("metadata").member("supportsInstanceSharing");
        warning(
            "change-sharing",
            &place,
            "was true",
            "keep it while instances are shared",
        )
        .means(
            Platform::ServiceManager,
            "the update of the broker is refused while an instance of the plan is shared",
        )
    })
}

fn schemas(found: &mut Vec<Finding>, place: &Place, old: &Plan, new: &Plan) {
    let place = place.member("schemas");
    let instance = place.member("service_instance");
    let binding = place.member("service_binding");
    let at = |place: &Place, verb: &str| place.member(verb).member("parameters");
    let pairs = [
        (
            at(&instance, "create"),
            &old.schemas.instance_create,
            &new.schemas.instance_create,
            AGAIN,
        ),
        (
            at(&instance, "update"),
            &old.schemas.instance_update,
            &new.schemas.instance_update,
            UPDATE,
        ),
        (
            at(&binding, "create"),
            &old.schemas.binding_create,
            &new.schemas.binding_create,
            AGAIN,
        ),
    ];
    for (place, old, new, meaning) in pairs {
        if let (Some(old), Some(new)) = (old, new) {
            narrowed(found, &place, old, new, meaning);
        }
    }
}

const AGAIN: &[(Platform, &str)] = &[
    (
        Platform::Korifi,
        "it sends the first request again and again: a broker that checks parameters before it looks for the id \
         answers 400, which is final",
    ),
    (
        Platform::ServiceCatalog,
        "it sends a request again with its old parameters after a failure; a 400 is final",
    ),
    (
        Platform::Specification,
        "what exists is untouched; what is made anew with the old parameters, by a script or a pipeline, is refused",
    ),
];

const UPDATE: &[(Platform, &str)] = &[(
    Platform::Specification,
    "updates that were accepted are refused; a platform that sends all parameters again cannot update an instance with \
     the old ones",
)];

fn narrowed(found: &mut Vec<Finding>, place: &Place, old: &Object, new: &Object, meaning: &[(Platform, &str)]) {
    found.extend(schema::changes(old, new).into_iter().map(|change| {
        let at = Place::at(&format!("{}{}", place.as_str(), change.place.as_str()));
        let (severity, rule, mend) = if change.judged {
            let mend = "take what was taken before, or sell it under a plan of another id";
            (Severity::Warning, "change-schema-narrowed", mend)
        } else {
            let mend = "look whether everything that was taken before still is";
            (Severity::Notice, "change-schema-unjudged", mend)
        };
        let finding = finding(severity, rule, &at, change.what, mend);
        meaning
            .iter()
            .fold(finding, |finding, (platform, text)| finding.means(*platform, *text))
    }));
}
