//! Rules of volumes and classes.

use apimachinery::field::{self, FieldError};
use apimachinery::json::Value;

use super::{at, immutable, is_empty, items, one_of, require};
use crate::facts::Kind;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// What a PersistentVolume has beside its source.
const NO_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub(super) fn check(kind: &str, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "PersistentVolumeClaim" => {
            modes(object, errors);
            if at(object, "spec.resources.requests.storage").is_none() {
                errors.push(FieldError::required("spec.resources[storage]", ""));
            }
            one_of(object, "", "spec.volumeMode", &["Block", "Filesystem"], errors);
        }
        "PersistentVolume" => volume(object, errors),
        "StorageClass" => {
            require(object, "", &["provisioner"], errors);
            one_of(object, "", "reclaimPolicy", &["Delete", "Retain"], errors);
            one_of(
                object,
                "",
                "volumeBindingMode",
                &["Immediate", "WaitForFirstConsumer"],
                errors,
            );
        }
        "VolumeAttachment" => require(object, "", &["spec.attacher", "spec.nodeName"], errors),
        "VolumeAttributesClass" => require(object, "", &["driverName"], errors),
        "CSIStorageCapacity" => require(object, "", &["storageClassName"], errors),
        _ => {}
    }
}

fn modes(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    require(object, "", &["spec.accessModes"], errors);
    for mode in items(object, "spec.accessModes") {
        let known = mode.as_str().is_some_and(|mode| MODES.contains(&mode));
        if !known {
            errors.push(FieldError::not_supported(
                "spec.accessModes",
                mode.clone().into_owned(),
                &MODES,
            ));
        }
    }
}

fn volume(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    modes(object, errors);
    if is_empty(object, "spec.capacity") {
        errors.push(FieldError::required("spec.capacity", ""));
    } else if at(object, "spec.capacity.storage").is_none() {
        let shown = object["spec"]["capacity"].clone().into_owned();
        errors.push(FieldError::not_supported("spec.capacity", shown, &["storage"]));
    }
    let members = object["spec"].as_object().into_iter().flatten();
    let mut sources = members.filter(|(name, value)| !NO_SOURCES.contains(name) && !value.is_null());
    if sources.next().is_none() {
        errors.push(FieldError::required("spec", "must specify a volume type"));
    }
    let why = "may not specify more than 1 volume type";
    errors.extend(sources.map(|(name, _)| FieldError::forbidden(field::child("spec", name), why)));
    let policies = ["Delete", "Recycle", "Retain"];
    one_of(object, "", "spec.persistentVolumeReclaimPolicy", &policies, errors);
}

/// What may not change.
pub(super) fn check_change(kind: &Kind, old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    match (kind.group, kind.kind) {
        ("", "PersistentVolumeClaim") => {
            let fixed = |claim: &Value<'_>| {
                let mut spec = claim["spec"].clone().into_owned();
                if let Some(members) = spec.as_object_mut() {
                    members.remove("volumeAttributesClassName");
                    // A claim that is not bound yet may get its volume and class.
                    if is_empty(old, "spec.volumeName") {
                        members.remove("volumeName");
                    }
                    if is_empty(old, "spec.storageClassName") {
                        members.remove("storageClassName");
                    }
                    if let Some(requests) = members
                        .get_mut("resources")
                        .and_then(|resources| resources.get_mut("requests"))
                        && let Some(requests) = requests.as_object_mut()
                    {
                        requests.remove("storage");
                    }
                }
                spec
            };
            if fixed(old) != fixed(new) {
                let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
                errors.push(FieldError::forbidden("spec", why));
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            let changed = ["parameters", "provisioner", "volumeBindingMode"]
                .into_iter()
                .filter(|path| at(old, path) != at(new, path));
            errors.extend(changed.map(|path| FieldError::forbidden(path, "updates to this field are forbidden.")));
            if at(old, "reclaimPolicy") != at(new, "reclaimPolicy") {
                errors.push(FieldError::forbidden(
                    "reclaimPolicy",
                    "updates to reclaimPolicy are forbidden.",
                ));
            }
        }
        ("storage.k8s.io", "VolumeAttachment") => immutable(old, new, &["spec"], errors),
        ("storage.k8s.io", "VolumeAttributesClass") => {
            let changed = ["driverName", "parameters"]
                .into_iter()
                .filter(|path| at(old, path) != at(new, path));
            errors.extend(changed.map(|path| FieldError::forbidden(path, "updates to this field are forbidden.")));
        }
        ("storage.k8s.io", "CSIStorageCapacity") => immutable(old, new, &["nodeTopology", "storageClassName"], errors),
        _ => {}
    }
}
