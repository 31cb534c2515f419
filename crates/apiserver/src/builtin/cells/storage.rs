//! Cells of volumes and claims.

use apimachinery::json::Value;
use jiff::Timestamp;

use super::{Cell, items, joined, text};

/// The phase, or that the object goes.
pub(in super::super) fn phase(object: &Value<'_>, _: Timestamp) -> Cell {
    if text(object, "/metadata/deletionTimestamp").is_empty() {
        text(object, "/status/phase").to_owned().into()
    } else {
        "Terminating".into()
    }
}

/// Access modes in their short forms.
pub(in super::super) fn access_modes(object: &Value<'_>, at: &str) -> Cell {
    let given: Vec<&str> = items(object, at).iter().filter_map(Value::as_str).collect();
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    joined(
        known
            .iter()
            .filter(|(mode, _)| given.contains(mode))
            .map(|(_, short)| *short),
    )
    .into()
}

pub(in super::super) fn claim(volume: &Value<'_>, _: Timestamp) -> Cell {
    match volume.pointer("/spec/claimRef") {
        None => "".into(),
        Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")).into(),
    }
}

pub(in super::super) fn claim_capacity(claim: &Value<'_>, _: Timestamp) -> Cell {
    if text(claim, "/spec/volumeName").is_empty() {
        return "".into();
    }
    text(claim, "/status/capacity/storage").to_owned().into()
}

pub(in super::super) fn claim_modes(claim: &Value<'_>, _: Timestamp) -> Cell {
    if text(claim, "/spec/volumeName").is_empty() {
        return "".into();
    }
    access_modes(claim, "/status/accessModes")
}
