//! `metadata.managedFields`: who owns which fields of an object, and server-side apply.
//!
//! Each entry says what one manager owns by one kind of write. [`update`] follows a change that was made without regard to
//! owners: what it changed belongs to who made it. [`apply`] merges what an applier wants to own: another value for what
//! somebody else owns is a [`Conflict`], and what he owned and does not want any more goes, unless somebody else owns it too.
//!
//! The clock is an argument, and so is what is known of the versions of the resource ([`Versions`]).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::LazyLock;

use crate::fields::{FieldSet, FieldsError};
use crate::json::{Map, Value};
use crate::meta;
use crate::schema::Type;

mod apply;
mod change;
mod conflict;
mod scale;

pub use apply::{Applied, ApplyError, State, apply};
pub use change::update;
pub use conflict::Conflict;
pub use scale::ScaleFields;

/// Most managers by update whose entries are kept apart; the oldest beyond share one.
pub const MAX_UPDATE_MANAGERS: usize = 10;

/// The manager of what was there before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The manager of the oldest updates of many.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What makes two entries one: who wrote, how, and through which subresource. For updates the version counts, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager<'t> {
    name: Cow<'t, str>,
    operation: Operation,
    /// Empty for an apply.
    api_version: Cow<'t, str>,
    subresource: Cow<'t, str>,
}

impl<'t> Manager<'t> {
    /// A manager. Without a name it is `unknown`; `subresource` is empty for the object itself.
    pub fn new(
        name: impl Into<Cow<'t, str>>,
        operation: Operation,
        api_version: impl Into<Cow<'t, str>>,
        subresource: impl Into<Cow<'t, str>>,
    ) -> Self {
        let name = name.into();
        Self {
            name: if name.is_empty() { "unknown".into() } else { name },
            operation,
            api_version: match operation {
                Operation::Apply => "".into(),
                Operation::Update => api_version.into(),
            },
            subresource: subresource.into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What one manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<'t> {
    manager: Manager<'t>,
    /// The version that the fields are named by.
    api_version: Cow<'t, str>,
    /// When it last changed, in UTC; a write of the scale subresource leaves none.
    time: Option<Cow<'t, str>>,
    fields: FieldSet<'t>,
}

/// Why a list is no `managedFields`. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManagedError {
    /// Not a list of objects.
    #[error("managedFields is no list of objects")]
    NotAList,
    /// Neither `Apply` nor `Update`.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// No apiVersion.
    #[error("apiVersion must not be empty")]
    ApiVersion,
    /// Another form of fields than `FieldsV1`.
    #[error("fieldsType must be `FieldsV1`")]
    FieldsType,
    /// The fields themselves.
    #[error(transparent)]
    Fields(#[from] FieldsError),
}

/// All entries of an object, each manager once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managed<'t> {
    entries: Vec<Entry<'t>>,
}

impl<'t> Managed<'t> {
    /// Nobody owns anything: the object is not tracked.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Whether the object is not tracked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(list: Option<&Value<'t>>) -> Result<Self, ManagedError> {
        let list = match list {
            None | Some(Value::Null) => return Ok(Self::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(ManagedError::NotAList),
        };
        let mut managed = Self::new();
        for entry in list {
            managed.set(read(entry.as_object().ok_or(ManagedError::NotAList)?)?);
        }
        Ok(managed)
    }

    /// As `metadata.managedFields`: applies before updates, and older ones first. `None` for an object that is not tracked.
    pub fn to_value(&self) -> Option<Value<'t>> {
        let mut entries: Vec<&Entry<'t>> = self.entries.iter().collect();
        entries.sort_by(|a, b| {
            let key = |entry: &'_ Entry<'t>| (entry.manager.operation, seconds(entry.time.as_deref()));
            let names = || (&a.manager.name, &a.api_version, &a.manager.subresource);
            let others = || (&b.manager.name, &b.api_version, &b.manager.subresource);
            key(a).cmp(&key(b)).then_with(|| names().cmp(&others()))
        });
        let list: Vec<Value<'t>> = entries.into_iter().map(write).collect();
        (!list.is_empty()).then_some(Value::Array(list))
    }

    fn get(&self, manager: &Manager<'_>) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| is_same(&entry.manager, manager))
    }

    fn take(&mut self, manager: &Manager<'_>) -> Option<Entry<'t>> {
        let at = self.entries.iter().position(|entry| is_same(&entry.manager, manager))?;
        Some(self.entries.remove(at))
    }

    /// Puts an entry in, in the place of the manager's old one.
    fn set(&mut self, entry: Entry<'t>) {
        match self
            .entries
            .iter_mut()
            .find(|old| is_same(&old.manager, &entry.manager))
        {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

fn is_same(a: &Manager<'_>, b: &Manager<'_>) -> bool {
    a.name == b.name && a.operation == b.operation && a.api_version == b.api_version && a.subresource == b.subresource
}

/// Whether two lists of managed fields differ in their times only.
pub fn same_but_times(a: &Value<'_>, b: &Value<'_>) -> bool {
    let (Some(a), Some(b)) = (a.as_array(), b.as_array()) else {
        return a == b;
    };
    let same = |a: &Value<'_>, b: &Value<'_>| match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => {
            let rest = |entry: &'_ Map<'_>| entry.iter().filter(|(name, _)| *name != "time").count();
            rest(a) == rest(b)
                && a.iter()
                    .all(|(name, value)| name == "time" || b.get(name) == Some(value))
        }
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// Whether a list asks for the tracking to begin anew: it holds one empty entry and nothing else.
pub fn is_reset(list: &Value<'_>) -> bool {
    let only = list.as_array().and_then(|list| match list.as_slice() {
        [only] => only.as_object(),
        _ => None,
    });
    only.is_some_and(Map::is_empty)
}

fn seconds(time: Option<&str>) -> i64 {
    time.and_then(meta::parse_timestamp).map_or(0, |time| time.as_second())
}

fn read<'t>(entry: &Map<'t>) -> Result<Entry<'t>, ManagedError> {
    let text = |name: &str| match entry.get(name) {
        Some(Value::String(text)) => text.clone(),
        _ => Cow::Borrowed(""),
    };
    let operation = match text("operation").as_ref() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err(ManagedError::Operation),
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() {
        return Err(ManagedError::ApiVersion);
    }
    if text("fieldsType") != "FieldsV1" {
        return Err(ManagedError::FieldsType);
    }
    let empty = Value::Object(Map::new());
    let fields = match entry.get("fieldsV1") {
        None | Some(Value::Null) => FieldSet::parse(&empty)?,
        Some(fields) => FieldSet::parse(fields)?,
    };
    Ok(Entry {
        manager: Manager {
            name: text("manager"),
            operation,
            api_version: match operation {
                Operation::Apply => "".into(),
                Operation::Update => api_version.clone(),
            },
            subresource: text("subresource"),
        },
        api_version,
        time: Some(canonical(text("time"))).filter(|time| !time.is_empty()),
        fields,
    })
}

/// A time in UTC and whole seconds; what is none is left as it is.
fn canonical(time: Cow<'_, str>) -> Cow<'_, str> {
    match meta::parse_timestamp(&time) {
        Some(parsed) if time.len() != 20 => meta::format_timestamp(parsed).into(),
        _ => time,
    }
}

fn write<'t>(entry: &Entry<'t>) -> Value<'t> {
    let mut object = Map::with_capacity(7);
    let mut text = |name: &'static str, value: Cow<'t, str>| {
        if !value.is_empty() {
            object.insert(name, Value::String(value));
        }
    };
    text("apiVersion", entry.api_version.clone());
    text("fieldsType", "FieldsV1".into());
    text("manager", entry.manager.name.clone());
    text("operation", entry.manager.operation.name().into());
    text("subresource", entry.manager.subresource.clone());
    text("time", entry.time.clone().unwrap_or_default());
    object.insert("fieldsV1", entry.fields.to_value());
    Value::Object(object)
}

/// What is known of the versions of a resource.
pub trait Versions {
    /// The type of objects in a version; `None` where there is no such version.
    fn type_in(&self, api_version: &str) -> Option<Type<'_>>;

    /// The object in a version that there is.
    fn convert<'t>(&self, object: &Value<'t>, api_version: &str) -> Value<'t>;
}

/// What a write is made by.
#[derive(Clone, Copy)]
pub struct Writing<'w> {
    /// The versions of the resource.
    pub versions: &'w dyn Versions,
    /// The version that is written.
    pub api_version: &'w str,
    /// Places that this endpoint does not write, whatever a request says of them.
    pub reset: &'w FieldSet<'static>,
    /// The time now, as metadata has it.
    pub now: &'w str,
}

impl std::fmt::Debug for Writing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("api_version", &self.api_version)
            .finish_non_exhaustive()
    }
}

impl<'w> Writing<'w> {
    /// The type in the version that is written; anything, where the version is not known.
    fn own_type(&self) -> Type<'w> {
        self.versions.type_in(self.api_version).unwrap_or_else(Type::anything)
    }

    /// An object of the version that is written, in another one.
    fn converted<'t>(&self, object: &Value<'t>, api_version: &str) -> Value<'t> {
        if api_version == self.api_version {
            object.clone()
        } else {
            self.versions.convert(object, api_version)
        }
    }
}

/// Takes the fields out that are the same for every manager, and says nothing of who they belong to.
fn stripped<'t>(fields: &FieldSet<'t>) -> FieldSet<'t> {
    fields.difference(&NEVER_OWNED)
}

static NEVER_OWNED: LazyLock<FieldSet<'static>> = LazyLock::new(|| {
    FieldSet::of_names(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "clusterName"],
        &["metadata", "creationTimestamp"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "resourceVersion"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
    ])
});

/// Puts the oldest entries by update together while there are too many.
fn cap(managed: &mut Managed<'_>) {
    let mut updates: Vec<usize> = (0..managed.entries.len())
        .filter(|at| managed.entries[*at].manager.operation == Operation::Update)
        .collect();
    if updates.len() <= MAX_UPDATE_MANAGERS {
        return;
    }
    let entries = &managed.entries;
    updates.sort_by(|a, b| oldest_first(&entries[*a], &entries[*b]));
    let oldest: Vec<Manager<'_>> = updates.into_iter().map(|at| entries[at].manager.clone()).collect();
    let mut count = oldest.len();
    let mut first_of: Vec<(Cow<'_, str>, Manager<'_>)> = Vec::new();
    for manager in oldest {
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        let Some(api_version) = managed.get(&manager).map(|entry| entry.api_version.clone()) else {
            continue;
        };
        let bucket = Manager::new(ANCIENT_CHANGES, Operation::Update, api_version.clone(), "");
        let Some((_, first)) = first_of.iter().find(|(version, _)| *version == api_version) else {
            first_of.push((api_version, manager));
            continue;
        };
        if managed.get(&bucket).is_none()
            && let Some(first) = managed.take(first)
        {
            managed.set(Entry {
                manager: bucket.clone(),
                ..first
            });
        }
        if let (Some(entry), Some(old)) = (managed.take(&manager), managed.take(&bucket)) {
            managed.set(Entry {
                manager: bucket,
                fields: entry.fields.union(old.fields),
                // The newer of the two.
                time: entry.time,
                api_version,
            });
        }
        count -= 1;
    }
}

fn oldest_first(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let times = seconds(a.time.as_deref()).cmp(&seconds(b.time.as_deref()));
    times.then_with(|| a.manager.cmp(&b.manager))
}

#[cfg(test)]
mod tests;
