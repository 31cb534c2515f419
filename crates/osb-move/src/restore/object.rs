//! An object of an archive, as it is made anew.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::survey::{self, Uid, named_in, uid};
use crate::archive::Resource;
use crate::layout::Layout;

/// What of the metadata comes along; the home makes the rest anew.
const METADATA: [&str; 5] = ["name", "labels", "annotations", "finalizers", "ownerReferences"];

/// What came of the uids of objects, and in which pass.
pub(super) type Uids = HashMap<Uid, (Uid, u32)>;

/// An object to be made.
#[derive(Debug, PartialEq)]
pub(super) struct Prepared {
    /// In the new home.
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// The body of the create.
    pub(super) body: Value,
    /// Its uid in the old home.
    pub(super) old: Option<Uid>,
    /// To be written when all objects are there.
    pub(super) status: Option<Value>,
    /// Whether it was being deleted.
    pub(super) deleted: bool,
}

/// An object of the archive, read.
pub(super) struct Read {
    value: Map<String, Value>,
    metadata: Map<String, Value>,
    status: Option<Value>,
}

impl Read {
    /// Of its JSON. `late_status` says whether its status is written apart.
    pub(super) fn of(json: &str, late_status: bool) -> Option<Self> {
        let Value::Object(mut value) = serde_json::from_str(json).ok()? else {
            return None;
        };
        let Value::Object(metadata) = value.remove("metadata")? else {
            return None;
        };
        let status = if late_status { value.remove("status") } else { None };
        Some(Self {
            value,
            metadata,
            status: status.filter(|status| status.as_object().is_none_or(|status| !status.is_empty())),
        })
    }

    /// Whose new uids have to be known before it can be made.
    pub(super) fn needs(&self, named: &HashSet<Uid>) -> HashSet<Uid> {
        let mut needs = HashSet::new();
        if named.is_empty() {
            return needs;
        }
        for (name, value) in self.metadata.iter().chain(&self.value) {
            if METADATA.contains(&name.as_str()) || self.value.contains_key(name) {
                needs.extend(named_in(value, named));
            }
        }
        if let Some(own) = self.uid() {
            needs.remove(&own);
        }
        needs
    }

    fn uid(&self) -> Option<Uid> {
        uid(self.metadata.get("uid")?.as_str()?)
    }

    /// The object for the new home, with the new uids for those that are known. Owners that are not known are left
    /// away: the object would be removed with them.
    pub(super) fn prepared(self, resource: &Resource, from: &Layout, to: &Layout, uids: &Uids) -> Option<Prepared> {
        let old = self.uid();
        let Self {
            mut value,
            mut metadata,
            mut status,
        } = self;
        let deleted = metadata.contains_key("deletionTimestamp");
        let text = |metadata: &Map<String, Value>, name: &str| metadata.get(name)?.as_str().map(str::to_owned);
        let namespace = text(&metadata, "namespace").filter(|_| resource.namespaced);
        let namespace = namespace.map(|namespace| to.renamed(from, &namespace));
        metadata.retain(|name, _| METADATA.contains(&name.as_str()));
        let mut name = text(&metadata, "name")?;
        let is_namespace = resource.group.is_empty() && resource.plural == "namespaces";
        if is_namespace {
            name = to.renamed(from, &name);
            metadata.insert("name".to_owned(), name.clone().into());
            value.remove("spec");
        }
        if is_namespace || resource.plural == "customresourcedefinitions" {
            value.remove("status");
        }
        if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
            owners.retain(|owner| {
                owner["uid"]
                    .as_str()
                    .and_then(uid)
                    .is_some_and(|uid| uids.contains_key(&uid))
            });
            if owners.is_empty() {
                metadata.remove("ownerReferences");
            }
        }
        if let Some(namespace) = &namespace {
            metadata.insert("namespace".to_owned(), namespace.clone().into());
        }
        value.insert("apiVersion".to_owned(), resource.api_version().into());
        value.insert("kind".to_owned(), resource.kind.clone().into());
        value.insert("metadata".to_owned(), Value::Object(metadata));
        let mut body = Value::Object(value);
        if !uids.is_empty() {
            rewrite(&mut body, uids);
            status.iter_mut().for_each(|status| rewrite(status, uids));
        }
        Some(Prepared {
            namespace,
            name,
            body,
            old,
            status,
            deleted,
        })
    }
}

/// Puts new uids in the place of old ones, wherever they stand as a text of their own.
fn rewrite(value: &mut Value, uids: &Uids) {
    match value {
        Value::String(text) => {
            if let Some((new, _)) = uid(text).and_then(|old| uids.get(&old)) {
                *text = survey::text(*new);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, uids)),
        Value::Object(members) => members.values_mut().for_each(|member| rewrite(member, uids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWNER: &str = "0b8cdfe2-a8f2-4c0b-9b61-0123456789ab";
    const OTHER: &str = "1b8cdfe2-a8f2-4c0b-9b61-0123456789ab";
    const NEW: &str = "2b8cdfe2-a8f2-4c0b-9b61-0123456789ab";

    fn resource() -> Resource {
        Resource {
            group: "probe.osb.internal".to_owned(),
            version: "v1".to_owned(),
            plural: "backups".to_owned(),
            kind: "Backup".to_owned(),
            namespaced: true,
            status: true,
        }
    }

    fn layout(system: &str, prefix: &str) -> Layout {
        Layout {
            system: system.to_owned(),
            tenant_prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn what_the_home_makes_is_left_behind_and_uids_are_rewritten() {
        let object = json!({
            "metadata": {
                "name": "a", "namespace": "cf", "uid": "3b8cdfe2-a8f2-4c0b-9b61-0123456789ab", "resourceVersion": "7",
                "creationTimestamp": "x", "generation": 3, "managedFields": [{}], "deletionTimestamp": "y",
                "labels": {"l": "1"}, "annotations": {"b": "2"}, "finalizers": ["f/f"],
                "ownerReferences": [{"kind": "A", "uid": OWNER}, {"kind": "B", "uid": OTHER}],
            },
            "spec": {"of": OWNER, "text": format!("about {OWNER}")},
            "status": {"objects": [{"uid": OWNER}]},
        });
        let named = [uid(OWNER).unwrap()].into();
        let read = Read::of(&object.to_string(), true).unwrap();
        assert_eq!(read.needs(&named), named);
        let uids = [(uid(OWNER).unwrap(), (uid(NEW).unwrap(), 0))].into();
        let prepared = read
            .prepared(&resource(), &layout("osb-system", ""), &layout("b", "b-"), &uids)
            .unwrap();
        let body = json!({
            "apiVersion": "probe.osb.internal/v1", "kind": "Backup",
            "metadata": {
                "name": "a", "namespace": "b-cf", "labels": {"l": "1"}, "annotations": {"b": "2"}, "finalizers": ["f/f"],
                "ownerReferences": [{"kind": "A", "uid": NEW}],
            },
            "spec": {"of": NEW, "text": format!("about {OWNER}")},
        });
        assert_eq!(prepared.body, body);
        assert_eq!(prepared.status, Some(json!({"objects": [{"uid": NEW}]})));
        assert!(prepared.deleted);
    }
}
