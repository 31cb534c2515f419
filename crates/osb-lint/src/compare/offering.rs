//! What changes for all plans of an offering.

use osb_api::catalog::{Offering, Requires};
use serde_json::Value;

use crate::finding::{Finding, Platform, Severity};
use crate::place::Place;

/// What instances of an offering lose.
pub(super) fn changes(found: &mut Vec<Finding>, place: &Place, old: &Offering, new: &Offering) {
    found.extend(instances_retrievable(place, old, new));
    found.extend(bindings_retrievable(place, old, new));
    found.extend(context_updates(place, old, new));
    permissions(found, place, old, new);
    found.extend(dashboard_client(place, old, new));
    found.extend(sharing(place, old, new));
}

fn warning(rule: &'static str, place: &Place, what: impl Into<String>, mend: &str) -> Finding {
    Finding::new((rule, Severity::Warning, Platform::Specification), place, what, mend)
}

fn instances_retrievable(place: &Place, old: &Offering, new: &Offering) -> Option<Finding> {
    (old.instances_retrievable && !new.instances_retrievable).then(|| {
        let place = place.member("instances_retrievable");
        warning("change-instances-retrievable", &place, "was true", "keep the promise").means(
            Platform::CloudFoundry,
            "the parameters of instances that exist can no longer be shown",
        )
    })
}

fn bindings_retrievable(place: &Place, old: &Offering, new: &Offering) -> Option<Finding> {
    (old.bindings_retrievable && !new.bindings_retrievable).then(|| {
        let place = place.member("bindings_retrievable");
        warning("change-bindings-retrievable", &place, "was true", "keep the promise")
            .means(
                Platform::Specification,
                "an asynchronous bind that runs now succeeds, and nobody gets its credentials (OSB-BIND-19)",
            )
            .means(
                Platform::CloudFoundry,
                "binds no longer say accepts_incomplete: plans that only bind asynchronously cannot be bound",
            )
    })
}

fn context_updates(place: &Place, old: &Offering, new: &Offering) -> Option<Finding> {
    (old.allow_context_updates && !new.allow_context_updates).then(|| {
        let place = place.member("allow_context_updates");
        warning(
            "change-context-updates",
            &place,
            "was true",
            "keep it, if names in the backend follow the platform",
        )
        .means(
            Platform::Specification,
            "a renamed instance, space or organization is no longer told to the broker (OSB-UPD-08)",
        )
    })
}

fn permissions(found: &mut Vec<Finding>, place: &Place, old: &Offering, new: &Offering) {
    let place = place.member("requires");
    let lost = old
        .requires
        .iter()
        .filter(|permission| !new.requires.contains(permission));
    found.extend(lost.map(|permission| {
        let what = format!("no longer has {}", name(*permission));
        warning("change-permission-lost", &place, what, "keep it while bindings need it").means(
            Platform::CloudFoundry,
            format!(
                "a bind whose answer has `{}` fails, and the binding is removed again",
                field(*permission)
            ),
        )
    }));
    let gained = new
        .requires
        .iter()
        .filter(|permission| !old.requires.contains(permission));
    found.extend(gained.map(|permission| {
        let what = format!("has {} now", name(*permission));
        let finding = warning("change-permission-new", &place, what, "tell operators before");
        match permission {
            Requires::SyslogDrain => finding.means(Platform::CloudFoundry, "bindings that exist have no log drain"),
            Requires::RouteForwarding => finding.means(
                Platform::CloudFoundry,
                format!(
                    "where route services are off the whole catalog is refused: \"Service {} is declared to be a route \
                     service but support for route services is disabled.\"",
                    new.name
                ),
            ),
            Requires::VolumeMount => finding.means(
                Platform::CloudFoundry,
                format!(
                    "where volume services are off the whole catalog is refused: \"Service {} is declared to be a \
                     volume mount service but support for volume mount services is disabled.\"",
                    new.name
                ),
            ),
        }
    }));
}

fn name(permission: Requires) -> &'static str {
    match permission {
        Requires::SyslogDrain => "syslog_drain",
        Requires::RouteForwarding => "route_forwarding",
        Requires::VolumeMount => "volume_mount",
    }
}

/// What bindings may hold with a permission.
fn field(permission: Requires) -> &'static str {
    match permission {
        Requires::SyslogDrain => "syslog_drain_url",
        Requires::RouteForwarding => "route_service_url",
        Requires::VolumeMount => "volume_mounts",
    }
}

fn dashboard_client(place: &Place, old: &Offering, new: &Offering) -> Option<Finding> {
    let old = old.dashboard_client.as_ref()?;
    let place = place.member("dashboard_client");
    let finding = match &new.dashboard_client {
        None => warning(
            "change-dashboard-client",
            &place,
            "is gone",
            "keep it while instances exist",
        ),
        Some(new) if new.id != old.id => {
            let what = format!("had the id {:?}", old.id);
            warning(
                "change-dashboard-client",
                &place.member("id"),
                what,
                "keep the id while instances exist",
            )
        }
        Some(_) => return None,
    };
    Some(finding.means(
        Platform::CloudFoundry,
        "the old client is deleted: users of instances that exist cannot log in to the dashboard with it",
    ))
}

fn sharing(place: &Place, old: &Offering, new: &Offering) -> Option<Finding> {
    let shared = |offering: &Offering| offering.metadata.get("shareable") == Some(&Value::Bool(true));
    (shared(old) && !shared(new)).then(|| {
        let place = place.member("metadata").member("shareable");
        warning(
            "change-sharing",
            &place,
            "was true",
            "keep it while instances are shared",
        )
        .means(
            Platform::CloudFoundry,
            "instances can no longer be shared with other spaces",
        )
    })
}
