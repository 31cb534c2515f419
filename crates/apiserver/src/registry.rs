//! The resources that are served: a snapshot that each request takes whole, replaced when a definition changes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use apimachinery::crd::{self, CustomResourceDefinition, Scale, SelectableField};
use apimachinery::gvk::{self, compare_versions};
use apimachinery::json::Value;
use apimachinery::schema::StructuralSchema;
use apimachinery::table::TableColumn;
use bytes::Bytes;
use objectstore::Revision;
use tokio::sync::watch;

use crate::builtin::{self, Builtin, Names, Rules, Special};
use crate::codec::{Opening, Stamp};
use crate::discovery::Documents;
use crate::keys::{Keys, fnv1a};
use crate::target::Subresource;

/// A resource of a group, with all its versions.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Group and plural name.
    pub(crate) id: gvk::Resource,
    /// Group and kind.
    pub(crate) kind: gvk::Kind,
    pub(crate) list_kind: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) rules: Rules,
    pub(crate) keys: Keys,
    /// All versions, also those that are not served; the preferred one first. Never empty.
    pub(crate) versions: Vec<Version>,
    /// The version that objects are stored in.
    pub(crate) storage_version: String,
    /// The selectable fields of a custom resource.
    pub(crate) fields: Vec<IndexedField>,
    /// Where a custom resource is defined.
    pub(crate) definition: Option<Definition>,
}

/// A version of a resource.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) served: bool,
    pub(crate) api_version: String,
    /// Before an object.
    pub(crate) opening: Opening,
    /// Before an item of a list.
    pub(crate) item_opening: Opening,
    pub(crate) schema: Arc<StructuralSchema>,
    /// Of the schema.
    pub(crate) stamp: Stamp,
    /// The schema of the version in which objects are stored.
    pub(crate) stored_schema: Arc<StructuralSchema>,
    pub(crate) stored_stamp: Stamp,
    pub(crate) status: bool,
    pub(crate) scale: Option<Scale>,
    pub(crate) columns: Columns,
    pub(crate) deprecation_warning: Option<String>,
    /// What is known of a built-in kind; `None` for a custom resource.
    pub(crate) facts: Option<&'static ::kinds::Kind>,
    /// How its objects are stored.
    pub(crate) kept: Kept,
}

/// The form in which objects of a version are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As they are.
    Own,
    /// As Events of the core group, of which the version is another view.
    CoreEvent,
}

/// The columns of a table behind the first one, which is the name.
#[derive(Debug)]
pub(crate) enum Columns {
    Builtin(&'static [builtin::Column]),
    Custom(Vec<TableColumn>),
}

/// A selectable field of a custom resource.
#[derive(Debug)]
pub(crate) struct IndexedField {
    pub(crate) field: SelectableField,
    pub(crate) index: Index,
}

/// How far the index of a selectable field is. Until it is complete, selectors on the field scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// No selector has asked for it: writes do not keep it.
    Absent,
    /// Every write keeps it, but objects from before may have no entry yet.
    Growing,
    /// Every object has its entry, at this revision and after.
    Complete(Revision),
}

/// The object that defines a custom resource, as it was when this snapshot was made.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) key: Bytes,
    pub(crate) revision: Revision,
    pub(crate) terminating: bool,
}

impl Version {
    /// A part of a built-in kind that is read and written through a path of its own, beside status and scale.
    pub(crate) fn part(&self, name: &str) -> Option<Subresource> {
        let facts = self.facts?;
        PARTS
            .into_iter()
            .find(|part| part.as_str() == name && facts.subresource(name).is_some())
    }

    /// All of them.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Subresource> {
        PARTS.into_iter().filter_map(|part| self.part(part.as_str()))
    }
}

/// What [`Version::part`] knows.
const PARTS: [Subresource; 2] = [Subresource::Approval, Subresource::EphemeralContainers];

impl Resource {
    /// Whether a field selector may name this field.
    pub(crate) fn is_selectable(&self, label: &str) -> bool {
        matches!(label, "metadata.name")
            || (self.namespaced && label == "metadata.namespace")
            || self.fields.iter().any(|indexed| indexed.field.label == label)
            || self
                .builtin()
                .is_some_and(|builtin| builtin.selectable.contains(&label))
    }

    /// The value of a selectable field beside the name and namespace; absent is the empty text.
    pub(crate) fn field<'v>(&self, label: &str, object: &'v Value<'_>) -> Cow<'v, str> {
        if let Some(indexed) = self.fields.iter().find(|indexed| indexed.field.label == label) {
            return indexed.field.value(object);
        }
        if let Some((at, absent)) = builtin::selected_otherwise(label) {
            let found = scalar(object.pointer(at));
            return if found.is_empty() { Cow::Borrowed(absent) } else { found };
        }
        scalar(label.split('.').try_fold(object, |value, name| value.get(name)))
    }

    /// Whether there are objects of it.
    pub(crate) fn is_stored(&self) -> bool {
        !matches!(self.rules.special, Special::Review(_))
    }

    pub(crate) fn builtin(&self) -> Option<&'static Builtin> {
        if self.rules.special == Special::Custom {
            return None;
        }
        builtin::TABLE
            .iter()
            .copied()
            .find(|builtin| builtin.group == self.id.group && builtin.kind == self.kind.kind)
    }

    fn from_builtin(builtin: &Builtin) -> Resource {
        let facts = builtin.facts();
        let api_version = gvk::GroupVersion::new(facts.group, facts.version).to_string();
        let is_view = (facts.group, facts.plural) == builtin::EVENTS_VIEW;
        let stored_group = if is_view { "" } else { facts.group };
        // Views share that of what is stored.
        let stamp = builtin_stamp(stored_group, facts.kind);
        let schema = Arc::new(facts.schema());
        let version = Version {
            name: facts.version.to_owned(),
            served: true,
            opening: Opening::of_builtin(&api_version, facts.kind),
            item_opening: Opening::anonymous(),
            stamp,
            api_version,
            schema: schema.clone(),
            stored_schema: schema,
            stored_stamp: stamp,
            status: facts.subresource("status").is_some(),
            scale: facts.subresource("scale").map(|_| builtin::scale()),
            columns: Columns::Builtin(builtin.columns),
            deprecation_warning: None,
            facts: Some(facts),
            kept: if is_view { Kept::CoreEvent } else { Kept::Own },
        };
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Resource {
            id: gvk::Resource::new(facts.group, facts.plural),
            kind: gvk::Kind::new(facts.group, facts.kind),
            list_kind: format!("{}List", facts.kind),
            singular: facts.singular.to_owned(),
            short_names: owned(facts.short_names),
            categories: owned(facts.categories),
            namespaced: facts.namespaced,
            rules: builtin.rules,
            keys: Keys::new(stored_group, facts.plural, facts.namespaced),
            storage_version: facts.version.to_owned(),
            versions: vec![version],
            fields: Vec::new(),
            definition: None,
        }
    }

    /// The resource that a definition describes. `indexes` has the labels of the fields that have an index.
    pub(crate) fn from_definition(
        crd: &CustomResourceDefinition,
        definition: Definition,
        indexes: &[(String, Index)],
    ) -> Resource {
        let namespaced = crd.scope == crd::Scope::Namespaced;
        let mut versions: Vec<Version> = crd
            .versions
            .iter()
            .map(|version| custom_version(crd, version))
            .collect();
        versions.sort_by(|a, b| compare_versions(&a.name, &b.name));
        let mut fields: Vec<IndexedField> = Vec::new();
        for field in crd.versions.iter().flat_map(|version| &version.selectable_fields) {
            if !fields.iter().any(|known| known.field.label == field.label) {
                let index = indexes.iter().find(|(label, _)| *label == field.label);
                fields.push(IndexedField {
                    field: field.clone(),
                    index: index.map_or(Index::Absent, |(_, index)| *index),
                });
            }
        }
        Resource {
            id: gvk::Resource::new(&crd.group, &crd.names.plural),
            kind: gvk::Kind::new(&crd.group, &crd.names.kind),
            list_kind: crd.names.list_kind.clone(),
            singular: crd.names.singular.clone(),
            short_names: crd.names.short_names.clone(),
            categories: crd.names.categories.clone(),
            namespaced,
            rules: Rules {
                names: Names::Subdomain,
                ..Rules::CUSTOM
            },
            keys: Keys::new(&crd.group, &crd.names.plural, namespaced),
            storage_version: crd.storage_version().name.clone(),
            versions,
            fields,
            definition: Some(definition),
        }
    }
}

fn custom_version(crd: &CustomResourceDefinition, version: &crd::Version) -> Version {
    let api_version = gvk::GroupVersion::new(&crd.group, &version.name).to_string();
    let opening = Opening::of(&api_version, &crd.names.kind);
    Version {
        name: version.name.clone(),
        served: version.served,
        api_version,
        item_opening: opening.clone(),
        opening,
        stamp: stamp(&version.openapi),
        schema: version.schema.clone(),
        stored_schema: crd.storage_version().schema.clone(),
        stored_stamp: stamp(&crd.storage_version().openapi),
        status: version.status_subresource,
        scale: version.scale.clone(),
        columns: Columns::Custom(version.columns.clone()),
        deprecation_warning: version.deprecation_warning.clone(),
        facts: None,
        kept: Kept::Own,
    }
}

/// Names the way in which objects of a built-in kind are brought into form.
pub(crate) fn builtin_stamp(group: &str, kind: &str) -> Stamp {
    Stamp(fnv1a(format!("kinds 1 {group} {kind}").as_bytes()))
}

pub(crate) fn stamp(openapi: &serde_json::Value) -> Stamp {
    Stamp(fnv1a(openapi.to_string().as_bytes()))
}

fn scalar<'v>(value: Option<&'v Value<'_>>) -> Cow<'v, str> {
    match value {
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => Cow::Borrowed(""),
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

/// All resources at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    groups: BTreeMap<String, Group>,
    documents: Arc<OnceLock<Documents>>,
}

/// The resources of a group by their plural names.
pub(crate) type Group = BTreeMap<String, Arc<Resource>>;

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Found {
    /// The group or version is not served.
    NoVersion,
    /// The version has no such resource.
    NoResource,
    /// This version (an index) of this resource.
    Resource(Arc<Resource>, usize),
}

impl Snapshot {
    /// The resource that a group, version and plural name lead to.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Found {
        let Some(resources) = self.groups.get(group) else {
            return Found::NoVersion;
        };
        if let Some(resource) = resources.get(plural)
            && let Some(at) = resource
                .versions
                .iter()
                .position(|known| known.served && known.name == version)
        {
            return Found::Resource(resource.clone(), at);
        }
        let serves = |resource: &Arc<Resource>| {
            resource
                .versions
                .iter()
                .any(|known| known.served && known.name == version)
        };
        if resources.values().any(serves) {
            Found::NoResource
        } else {
            Found::NoVersion
        }
    }

    /// A resource, whatever its versions.
    pub(crate) fn resource(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.groups.get(group)?.get(plural)
    }

    /// All groups, by name.
    pub(crate) fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// All resources.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.groups.values().flat_map(BTreeMap::values)
    }

    /// The discovery documents, made at first use.
    pub(crate) fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| Documents::of(self))
    }

    fn put(&mut self, resource: Arc<Resource>) {
        self.documents = Arc::default();
        self.groups
            .entry(resource.id.group.clone())
            .or_default()
            .insert(resource.id.plural.clone(), resource);
    }

    fn remove(&mut self, group: &str, plural: &str) {
        self.documents = Arc::default();
        if let Some(resources) = self.groups.get_mut(group) {
            resources.remove(plural);
            if resources.is_empty() {
                self.groups.remove(group);
            }
        }
    }
}

/// The current [`Snapshot`], and which definitions it shows.
#[derive(Debug)]
pub(crate) struct Registry {
    current: RwLock<Arc<Snapshot>>,
    /// By the definition's name: the revision that was applied last, also of deletions.
    applied: Mutex<HashMap<String, Revision>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

/// What became of a definition.
pub(crate) enum Change {
    /// It describes this resource now.
    Serves(Box<Resource>),
    /// It is gone, or its names were not accepted.
    Gone,
}

impl Registry {
    /// With the built-in kinds.
    pub(crate) fn new() -> Registry {
        let mut snapshot = Snapshot::default();
        for builtin in builtin::TABLE.iter() {
            snapshot.put(Arc::new(Resource::from_builtin(builtin)));
        }
        Registry {
            current: RwLock::new(Arc::new(snapshot)),
            applied: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Applies what became of the definition `name` (`plural.group`) at a revision, unless something newer is known.
    pub(crate) fn apply(&self, name: &str, at: Revision, change: Change) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if applied.get(name).is_some_and(|known| *known > at) {
            return;
        }
        applied.insert(name.to_owned(), at);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&current);
        match change {
            Change::Serves(resource) => next.put(Arc::from(resource)),
            Change::Gone => {
                if let Some((plural, group)) = name.split_once('.') {
                    next.remove(group, plural);
                }
            }
        }
        *current = Arc::new(next);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tells of each change of what is served.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The names of the definitions that are served.
    pub(crate) fn definitions(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        snapshot
            .resources()
            .filter(|resource| resource.definition.is_some())
            .map(|resource| resource.id.to_string())
            .collect()
    }
}
