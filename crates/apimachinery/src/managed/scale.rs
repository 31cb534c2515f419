//! Owners of `spec.replicas` through the scale subresource.
//!
//! A `Scale` has managed fields of its own: those of the object that speak of its number of replicas, under the name that this
//! number has in a `Scale`. After the write they go back to the object under their own name. As on a real server, entries of
//! updates that go this way lose their time.

use std::collections::BTreeMap;

use super::{Entry, Managed, Manager};
use crate::fields::{Element, FieldSet, Path};

/// The version of `Scale`.
const SCALE: &str = "autoscaling/v1";

/// The names that the number of replicas has in the versions of a resource.
#[derive(Debug, Clone)]
pub struct ScaleFields<'p> {
    /// The version that is written.
    pub api_version: &'p str,
    /// By version the path of the number, for example `.spec.replicas`; `None` in versions without a scale.
    pub paths: BTreeMap<&'p str, Option<&'p str>>,
}

impl ScaleFields<'_> {
    fn path(&self, api_version: &str) -> Option<Option<Path<'static>>> {
        Some(self.paths.get(api_version)?.map(|path| {
            let names = path.split('.').filter(|name| !name.is_empty());
            names.map(|name| Element::Field(name.to_owned().into())).collect()
        }))
    }

    /// The managed fields of the `Scale` of an object.
    pub fn of_scale<'t>(&self, object: &Managed<'t>) -> Managed<'t> {
        let owners = object.entries.iter().filter(|entry| {
            let path = self.path(&entry.api_version).flatten();
            path.is_some_and(|path| entry.fields.contains(&path))
        });
        let entries = owners.map(|entry| Entry {
            manager: Manager::new(
                entry.manager.name.clone(),
                entry.manager.operation,
                SCALE,
                entry.manager.subresource.clone(),
            ),
            api_version: SCALE.into(),
            time: entry.time.clone(),
            fields: FieldSet::of_names(&[&["spec", "replicas"]]),
        });
        let mut managed = Managed::new();
        entries.for_each(|entry| managed.set(entry));
        managed
    }

    /// The managed fields of the object after its `Scale` was written.
    pub fn of_object<'t>(&self, object: &Managed<'t>, mut scale: Managed<'t>) -> Managed<'t> {
        let mut managed = Managed::new();
        for entry in &object.entries {
            let Some(path) = self.path(&entry.api_version) else {
                continue;
            };
            let Some(path) = path.filter(|path| entry.fields.contains(path)) else {
                managed.entries.push(entry.clone());
                continue;
            };
            if scale.take(&entry.manager).is_some() {
                managed.entries.push(entry.clone());
                continue;
            }
            let mut taken = FieldSet::new();
            taken.insert(path);
            let fields = entry.fields.difference(&taken);
            if !fields.is_empty() {
                managed.entries.push(Entry {
                    fields,
                    ..entry.clone()
                });
            }
        }
        let replicas = [Element::Field("spec".into()), Element::Field("replicas".into())];
        let own = self.path(self.api_version).flatten().unwrap_or_default();
        for entry in scale
            .entries
            .into_iter()
            .filter(|entry| entry.fields.contains(&replicas))
        {
            let mut fields = FieldSet::new();
            fields.insert(own.clone());
            managed.entries.push(Entry {
                manager: entry.manager,
                api_version: self.api_version.to_owned().into(),
                time: None,
                fields,
            });
        }
        managed
    }
}
