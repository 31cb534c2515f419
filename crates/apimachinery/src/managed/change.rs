//! Writes that do not care who owns what.

use super::{Entry, Managed, Manager, Writing, cap, stripped};
use crate::fields::FieldSet;
use crate::json::Value;
use crate::typed::{self, Comparison, Duplicates};

/// Who owns what after `manager` has made `new` of `live`, by a create, a replacement or a patch.
///
/// Both have no `managedFields` in them. An object that is not tracked stays so: who wants a new one tracked says so by
/// `starts`.
///
/// An object that does not fit its type is not tracked any more.
pub fn update<'t>(
    writing: &Writing<'_>,
    live: &Value<'t>,
    new: &Value<'t>,
    managed: Managed<'t>,
    manager: Manager<'t>,
    starts: bool,
) -> Managed<'t> {
    if managed.is_empty() && !starts {
        return managed;
    }
    let own = writing.own_type();
    if [live, new]
        .iter()
        .any(|object| typed::check(own, object, Duplicates::Allowed).is_err())
    {
        return Managed::new();
    }
    let mut managed = tracked(writing, live, new, managed, manager);
    cap(&mut managed);
    managed
}

/// The same for objects that fit their type, without a limit for the number of managers.
pub(super) fn tracked<'t>(
    writing: &Writing<'_>,
    live: &Value<'t>,
    new: &Value<'t>,
    managed: Managed<'t>,
    manager: Manager<'t>,
) -> Managed<'t> {
    let mut comparisons = Comparisons::new(writing, live, new);
    let managed = reconciled(writing, managed);
    let mut managed = comparisons.taken(managed, None).0;
    let Comparison { modified, added, .. } = comparisons.own();
    let fields = stripped(&modified.clone().union(added.clone()));
    if fields.is_empty() {
        return managed;
    }
    let fields = match managed.take(&manager) {
        Some(before) => fields.union(before.fields),
        None => fields,
    };
    managed.set(Entry {
        manager,
        api_version: writing.api_version.to_owned().into(),
        time: Some(writing.now.to_owned().into()),
        fields,
    });
    managed
}

/// The entries as they must be by the types now. Those of versions that are gone, go.
pub(super) fn reconciled<'t>(writing: &Writing<'_>, managed: Managed<'t>) -> Managed<'t> {
    let entries = managed.entries.into_iter().filter_map(|entry| {
        let fields = typed::reconcile(writing.versions.type_in(&entry.api_version)?, entry.fields);
        Some(Entry { fields, ..entry })
    });
    Managed {
        entries: entries.collect(),
    }
}

/// What differs between two states of an object, in each version that somebody owns fields in.
pub(super) struct Comparisons<'c, 'w, 't> {
    writing: &'c Writing<'w>,
    live: &'c Value<'t>,
    new: &'c Value<'t>,
    known: Vec<(String, Option<Comparison<'t>>)>,
}

impl<'c, 'w, 't> Comparisons<'c, 'w, 't> {
    pub(super) fn new(writing: &'c Writing<'w>, live: &'c Value<'t>, new: &'c Value<'t>) -> Self {
        let own = typed::compare(writing.own_type(), live, new).without(writing.reset);
        Self {
            writing,
            live,
            new,
            known: vec![(writing.api_version.to_owned(), Some(own))],
        }
    }

    /// The comparison in the version that is written.
    pub(super) fn own(&self) -> &Comparison<'t> {
        const NONE: &Comparison<'static> = &Comparison {
            removed: FieldSet::new(),
            modified: FieldSet::new(),
            added: FieldSet::new(),
        };
        self.known.first().and_then(|(_, own)| own.as_ref()).unwrap_or(NONE)
    }

    fn of(&mut self, api_version: &str) -> Option<&Comparison<'t>> {
        let at = match self.known.iter().position(|(version, _)| version == api_version) {
            Some(at) => at,
            None => {
                let found = self.writing.versions.type_in(api_version).map(|version_type| {
                    let live = self.writing.converted(self.live, api_version);
                    let new = self.writing.converted(self.new, api_version);
                    typed::compare(version_type, &live, &new).without(self.writing.reset)
                });
                self.known.push((api_version.to_owned(), found));
                self.known.len() - 1
            }
        };
        self.known[at].1.as_ref()
    }

    /// The entries without what was changed or removed, and what was taken from whom by a change. The entry of `but` stays
    /// as it is.
    pub(super) fn taken(
        &mut self,
        managed: Managed<'t>,
        but: Option<&Manager<'t>>,
    ) -> (Managed<'t>, Vec<(Manager<'t>, FieldSet<'t>)>) {
        let mut left = Managed::new();
        let mut taken = Vec::new();
        for entry in managed.entries {
            if but == Some(&entry.manager) {
                left.entries.push(entry);
                continue;
            }
            let Some(comparison) = self.of(&entry.api_version) else {
                continue;
            };
            let changed = entry.fields.intersection(&comparison.modified);
            let changed = changed.union(entry.fields.intersection(&comparison.added));
            let fields = entry.fields.difference(&changed).difference(&comparison.removed);
            if !changed.is_empty() {
                taken.push((entry.manager.clone(), changed));
            }
            left.entries.push(Entry { fields, ..entry });
        }
        left.entries.retain(|entry| !entry.fields.is_empty());
        (left, taken)
    }
}
