//! Server-side apply.

use super::change::{Comparisons, reconciled, tracked};
use super::{BEFORE_FIRST_APPLY, Conflict, Entry, Managed, Manager, Operation, Writing, stripped};
use crate::fields::FieldSet;
use crate::go;
use crate::json::{self, Value};
use crate::meta;
use crate::schema::Type;
use crate::typed::{self, Duplicates, TypeError};

/// The manager for whom the annotation of client-side apply counts.
const KUBECTL: &str = "kubectl";

/// What client-side apply remembers.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What an apply comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied<'t> {
    /// The object, not defaulted yet, without its `managedFields`.
    pub object: Value<'t>,
    /// Who owns what then.
    pub managed: Managed<'t>,
}

/// Why an apply is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyError<'t> {
    /// What is applied does not fit the type.
    Config(Vec<TypeError>),
    /// The live object does not fit the type.
    Live(Vec<TypeError>),
    /// Somebody else owns what would change.
    Conflicts(Vec<Conflict<'t>>),
}

/// Applies `config` to `live`; neither has `managedFields` in it.
///
/// `empty` is what the object would be if nobody had said anything: where an object is not tracked yet, what it has beyond
/// that belongs to `before-first-apply`. `name` is the manager's name, `force` takes what others own.
///
/// # Errors
///
/// Conflicts, unless forced, and what does not fit the type.
pub fn apply<'t>(
    writing: &Writing<'_>,
    state: State<'_, 't>,
    config: &Value<'t>,
    manager: Manager<'t>,
    force: bool,
) -> Result<Applied<'t>, ApplyError<'t>> {
    let own = writing.own_type();
    typed::check(own, config, Duplicates::Refused).map_err(ApplyError::Config)?;
    typed::check(own, state.live, Duplicates::Allowed).map_err(ApplyError::Live)?;
    let live = state.live;
    let managed = if state.managed.is_empty() {
        let before = Manager::new(
            BEFORE_FIRST_APPLY,
            Operation::Update,
            writing.api_version.to_owned(),
            manager.subresource.clone(),
        );
        tracked(writing, state.empty, live, state.managed, before)
    } else {
        state.managed
    };
    let is_kubectl = manager.name == KUBECTL;
    let mut applied = match merged(writing, live, config, managed.clone(), &manager, force) {
        Err(conflicts) if is_kubectl => {
            let left = not_last_applied(own, writing.api_version, live, &conflicts);
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            merged(writing, live, config, managed, &manager, true).map_err(ApplyError::Conflicts)?
        }
        other => other.map_err(ApplyError::Conflicts)?,
    };
    if is_kubectl {
        remember(&mut applied.object, config);
    }
    Ok(applied)
}

/// The object that something is applied to.
#[derive(Debug, Clone)]
pub struct State<'s, 't> {
    /// What it would be if nobody had said anything.
    pub empty: &'s Value<'t>,
    /// What it is.
    pub live: &'s Value<'t>,
    /// Who owns what of it.
    pub managed: Managed<'t>,
}

fn merged<'t>(
    writing: &Writing<'_>,
    live: &Value<'t>,
    config: &Value<'t>,
    managed: Managed<'t>,
    manager: &Manager<'t>,
    force: bool,
) -> Result<Applied<'t>, Vec<Conflict<'t>>> {
    let own = writing.own_type();
    let mut managed = reconciled(writing, managed);
    let merged = typed::merge(own, live.clone(), config.clone());
    let last = managed.get(manager).cloned();
    managed.set(Entry {
        manager: manager.clone(),
        api_version: writing.api_version.to_owned().into(),
        time: last.as_ref().and_then(|last| last.time.clone()),
        fields: typed::field_set(own, config).without(writing.reset),
    });
    let object = match last {
        Some(last) if !last.fields.is_empty() => pruned(writing, merged, &managed, &last),
        _ => merged,
    };
    let mut comparisons = Comparisons::new(writing, live, &object);
    let (mut managed, taken) = comparisons.taken(managed, Some(manager));
    if !force && !taken.is_empty() {
        return Err(conflicts(taken));
    }
    let is_changed = !crate::fields::compare(live, &object).is_eq();
    if let Some(mut entry) = managed.take(manager) {
        entry.fields = stripped(&entry.fields);
        if is_changed {
            entry.time = Some(writing.now.to_owned().into());
        }
        if !entry.fields.is_empty() {
            managed.set(entry);
        }
    }
    Ok(Applied { object, managed })
}

fn conflicts<'t>(mut taken: Vec<(Manager<'t>, FieldSet<'t>)>) -> Vec<Conflict<'t>> {
    taken.sort_by(|(a, _), (b, _)| a.cmp(b));
    let taken = taken.into_iter().flat_map(|(manager, fields)| {
        let paths = fields.paths().into_iter();
        paths.map(move |path| Conflict {
            manager: manager.clone(),
            path,
        })
    });
    taken.collect()
}

/// The merged object without what the manager owned last, does not say any more, and nobody else owns.
fn pruned<'t>(writing: &Writing<'_>, merged: Value<'t>, managed: &Managed<'t>, last: &Entry<'t>) -> Value<'t> {
    let Some(last_type) = writing.versions.type_in(&last.api_version) else {
        return merged;
    };
    let merged = writing.converted(&merged, &last.api_version);
    let last_fields = typed::with_named(last_type, &last.fields);
    let mut kept = typed::remove(last_type, &merged, &last_fields);
    let mut versions: Vec<&str> = managed.entries.iter().map(|entry| entry.api_version.as_ref()).collect();
    // The version of what is removed comes first, then the others.
    versions.sort_by_key(|version| (*version != last.api_version, *version));
    versions.dedup();
    for version in versions {
        kept = with_owned(writing, &last.api_version, &merged, kept, managed, version);
    }
    // What was never the manager's is not to go because of what stood above it.
    let named = |object: &Value<'t>| typed::with_named(last_type, &typed::field_set(last_type, object));
    let gone = named(&merged).difference(&named(&kept)).intersection(&last_fields);
    let kept = typed::remove(last_type, &merged, &gone);
    if last.api_version == writing.api_version {
        return kept;
    }
    let mut kept = writing.versions.convert(&kept, writing.api_version);
    if let Some(members) = kept.as_object_mut() {
        members.insert("apiVersion", writing.api_version.to_owned());
    }
    kept
}

/// What is kept, with what somebody owns by the names of a version.
fn with_owned<'t>(
    writing: &Writing<'_>,
    last_version: &str,
    merged: &Value<'t>,
    kept: Value<'t>,
    managed: &Managed<'t>,
    version: &str,
) -> Value<'t> {
    let Some(version_type) = writing.versions.type_in(version) else {
        return kept;
    };
    let there = |object: Value<'t>| match version == last_version {
        true => object,
        false => writing.versions.convert(&object, version),
    };
    let (merged, kept) = (there(merged.clone()), there(kept));
    let owned = managed.entries.iter().filter(|entry| entry.api_version == version);
    let owned = owned.fold(FieldSet::new(), |all, entry| all.union(entry.fields.clone()));
    let named = |set: &FieldSet<'t>| typed::with_named(version_type, set);
    let stays = named(&typed::field_set(version_type, &kept)).union(named(&owned));
    let gone = named(&typed::field_set(version_type, &merged)).difference(&stays);
    let kept = typed::remove(version_type, &merged, &gone);
    match version == last_version {
        true => kept,
        false => writing.versions.convert(&kept, last_version),
    }
}

/// The conflicts over what client-side apply did not set: what it set, and nobody has changed since, kubectl may take over.
fn not_last_applied<'t>(
    own: Type<'_>,
    api_version: &str,
    live: &Value<'t>,
    conflicts: &[Conflict<'t>],
) -> Vec<Conflict<'t>> {
    let allowed = last_applied(own, api_version, live).unwrap_or_default();
    let left = conflicts.iter().filter(|conflict| !allowed.contains(&conflict.path));
    left.cloned().collect()
}

fn last_applied(own: Type<'_>, api_version: &str, live: &Value<'_>) -> Option<FieldSet<'static>> {
    let text = live.pointer("/metadata/annotations")?.get(LAST_APPLIED)?.as_str()?;
    let (last, _) = json::parse_strict(text.as_bytes()).ok()?;
    if last.get("apiVersion")?.as_str()? != api_version || typed::check(own, &last, Duplicates::Refused).is_err() {
        return None;
    }
    let comparison = typed::compare(own, &last, live);
    let fields = typed::field_set(own, &last)
        .difference(&comparison.modified)
        .difference(&comparison.added)
        .difference(&comparison.removed);
    Some(fields.into_owned())
}

/// Keeps the annotation of client-side apply up to date, where there is one.
fn remember<'t>(object: &mut Value<'t>, config: &Value<'t>) {
    let annotations = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    let Some(annotations) = annotations.filter(|all| all.get(LAST_APPLIED).is_some_and(|text| *text != "")) else {
        return;
    };
    let mut config = config.clone();
    if let Some(Value::Object(given)) = config.pointer_mut("/metadata/annotations") {
        given.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED, go::json(&config) + "\n");
    let bytes: usize = annotations
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > meta::MAX_ANNOTATIONS_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}
