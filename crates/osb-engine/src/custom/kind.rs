//! Kinds of the author's own.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use osb_api::Object;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::column::Column;
use super::structural::{self, Checked};
use crate::home::HomeError;
use crate::resource::{self, Meta, VERSION};

/// Whether objects of a kind belong to a platform.
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// use osb_sdk::{CustomKind, NoStatus, Scope};
///
/// /// A data centre: all platforms have the same.
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Site {
///     city: String,
/// }
///
/// impl CustomKind for Site {
///     const KIND: &'static str = "Site";
///     const PLURAL: &'static str = "sites";
///     const SCOPE: Scope = Scope::Cluster;
///     type Status = NoStatus;
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scope {
    /// Each platform has its own, in its namespace.
    #[default]
    Namespaced,
    /// All platforms share them.
    Cluster,
}

/// A kind of resources of the author's own, in the API group of the broker: what he declares with
/// [`Broker::kind`](crate::Broker::kind), reaches with [`Resources`](crate::Resources), and has looked after with a
/// [`Controller`](crate::Controller).
///
/// The type itself is the `spec`: a struct with named fields. Its schema is part of the definition that the home gets
/// when the broker starts, so that wrong objects are refused whoever writes them. From version to version fields may
/// be added that are not required; a field whose type changes gets a new name.
///
/// Objects are not encrypted: keep secrets out of them.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Column, CustomKind};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// /// A database is to be backed up from time to time.
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// #[serde(rename_all = "camelCase")]
/// struct BackupPlan {
///     database: String,
///     every_hours: u32,
/// }
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// #[serde(rename_all = "camelCase")]
/// struct BackupPlanStatus {
///     last_backup: String,
/// }
///
/// impl CustomKind for BackupPlan {
///     const KIND: &'static str = "BackupPlan";
///     const PLURAL: &'static str = "backupplans";
///     const SHORT_NAMES: &'static [&'static str] = &["bp"];
///     type Status = BackupPlanStatus;
///
///     fn columns() -> Vec<Column> {
///         vec![
///             Column::integer("Every", ".spec.everyHours"),
///             Column::date("Last", ".status.lastBackup"),
///         ]
///     }
/// }
/// ```
pub trait CustomKind: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {
    /// `BackupPlan`
    const KIND: &'static str;
    /// `backupplans`: its name in paths and for `kubectl`.
    const PLURAL: &'static str;
    /// Whether objects belong to a platform.
    const SCOPE: Scope = Scope::Namespaced;
    /// Further names for `kubectl`.
    const SHORT_NAMES: &'static [&'static str] = &[];
    /// `status`: what the author's code says of an object; [`NoStatus`] when that is nothing.
    type Status: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static;

    /// What `kubectl get` shows between name and age; paths begin with `.spec.` or `.status.`.
    fn columns() -> Vec<Column> {
        Vec::new()
    }
}

/// The status of a kind that has none.
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// use osb_sdk::{CustomKind, NoStatus};
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Backup {
///     taken: String,
/// }
///
/// impl CustomKind for Backup {
///     const KIND: &'static str = "Backup";
///     const PLURAL: &'static str = "backups";
///     type Status = NoStatus;
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoStatus {}

/// An object of a kind of the author's own.
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// # struct BackupPlan { every_hours: u64 }
/// # impl osb_sdk::CustomKind for BackupPlan {
/// #     const KIND: &'static str = "BackupPlan";
/// #     const PLURAL: &'static str = "backupplans";
/// #     type Status = osb_sdk::NoStatus;
/// # }
/// use osb_sdk::Custom;
///
/// let plan = Custom::new("nightly", BackupPlan { every_hours: 24 }).label("team", "red");
/// assert_eq!((plan.name(), plan.spec.every_hours), ("nightly", 24));
/// assert!(plan.uid().is_empty() && !plan.is_deleted());
/// ```
#[derive(Clone, Debug)]
pub struct Custom<K: CustomKind> {
    pub(crate) meta: Meta,
    /// What it is to be.
    pub spec: K,
    /// What it is; written with [`Resources::update_status`](crate::Resources::update_status) only.
    pub status: Option<K::Status>,
    /// What was read, so that only what the author changes is written.
    pub(crate) read: Read,
}

/// An object as it was read, in the author's terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) spec: Object,
    pub(crate) status: Object,
}

impl<K: CustomKind> Custom<K> {
    /// An object to be created.
    pub fn new(name: impl Into<String>, spec: K) -> Self {
        Self {
            meta: Meta {
                name: name.into(),
                ..Meta::default()
            },
            spec,
            status: None,
            read: Read::default(),
        }
    }

    /// With a label more.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.meta.labels.insert(name.into(), value.into());
        self
    }

    /// Its name: unique among those of its kind, in its namespace if it has one.
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.meta.labels
    }

    /// Made by the server when the object is created, and by nobody ever again: a later object of the same name has
    /// another one. Empty before.
    pub fn uid(&self) -> &str {
        &self.meta.uid
    }

    /// Whether somebody has deleted it, and only finalizers keep it.
    pub fn is_deleted(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }
}

/// Why something could not be done with objects of the author's kinds. Passed on with `?` it counts as passing.
///
/// ```
/// # use osb_engine as osb_sdk;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// # struct BackupPlan { every_hours: u64 }
/// # impl osb_sdk::CustomKind for BackupPlan {
/// #     const KIND: &'static str = "BackupPlan";
/// #     const PLURAL: &'static str = "backupplans";
/// #     type Status = osb_sdk::NoStatus;
/// # }
/// use osb_sdk::{Custom, HomeError, ResourceError, Resources, Result};
///
/// async fn make(plans: &Resources<BackupPlan>, plan: Custom<BackupPlan>) -> Result<()> {
///     match plans.create(&plan).await {
///         Err(ResourceError::Home(HomeError::AlreadyExists)) => Ok(()),
///         created => Ok(created.map(drop)?),
///     }
/// }
/// # let _ = make;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The home did not do it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The object does not fit the schema of its kind, or its name is none.
    #[error("the object does not fit its kind: {0}")]
    Invalid(String),
    /// What is stored does not fit the author's type.
    #[error("the {kind} {name:?} does not fit its type in this version of the broker")]
    Unreadable {
        /// `BackupPlan`
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such kind for whoever asks.
    #[error("the kind {0} is not declared with Broker::kind, or the platform is none of this broker's")]
    NotDeclared(&'static str),
}

/// An object as it is stored.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Raw {
    pub(crate) metadata: Meta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Option<Value>,
}

impl Raw {
    pub(crate) fn typed<K: CustomKind>(self) -> Result<Custom<K>, ResourceError> {
        let unreadable = |name: &str| ResourceError::Unreadable {
            kind: K::KIND,
            name: name.to_owned(),
        };
        let spec = K::deserialize(self.spec).map_err(|_| unreadable(&self.metadata.name))?;
        let status = self.status.map(K::Status::deserialize).transpose();
        // Whoever writes a status writes it whole: one that does not fit is as none.
        let status = status.unwrap_or_default();
        let read = Read {
            labels: self.metadata.labels.clone(),
            spec: members(&spec),
            status: status.as_ref().map(members).unwrap_or_default(),
        };
        Ok(Custom {
            meta: self.metadata,
            spec,
            status,
            read,
        })
    }
}

/// The members of an object of the author's, as they are stored.
pub(crate) fn members(value: &impl Serialize) -> Object {
    match serde_json::to_value(value).map(structural::without_nulls) {
        Ok(Value::Object(members)) => members,
        _ => Object::new(),
    }
}

/// A [`CustomKind`] with its types erased.
#[derive(Debug)]
pub(crate) struct KindType {
    id: TypeId,
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) scope: Scope,
    short_names: &'static [&'static str],
    pub(crate) spec: Checked,
    pub(crate) status: Checked,
    columns: Vec<Column>,
}

impl KindType {
    pub(crate) fn of<K: CustomKind>() -> Result<Self, String> {
        let at = |what: String| format!("the kind {}: {what}", K::KIND);
        check_names::<K>().map_err(at)?;
        let spec = Checked::of::<K>().map_err(|error| at(format!(".spec: {error}")))?;
        let status = Checked::of::<K::Status>().map_err(|error| at(format!(".status: {error}")))?;
        let parts = json!({"spec": spec.schema, "status": status.schema});
        let whole = Object::from_iter([("properties".to_owned(), parts)]);
        let columns = K::columns();
        for column in &columns {
            column.check(&whole).map_err(at)?;
        }
        Ok(Self {
            id: TypeId::of::<K>(),
            name: K::KIND,
            plural: K::PLURAL,
            scope: K::SCOPE,
            short_names: K::SHORT_NAMES,
            spec,
            status,
            columns,
        })
    }

    /// The `CustomResourceDefinition`.
    pub(crate) fn definition(&self, group: &str) -> Value {
        let Self { name, plural, .. } = self;
        let scope = match self.scope {
            Scope::Namespaced => "Namespaced",
            Scope::Cluster => "Cluster",
        };
        let mut columns: Vec<Value> = self.columns.iter().map(|column| column.definition("")).collect();
        columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
        let mut names = json!({
            "plural": plural, "singular": name.to_lowercase(), "kind": name, "listKind": format!("{name}List"),
            "categories": ["osb"],
        });
        if !self.short_names.is_empty() {
            names["shortNames"] = self.short_names.into();
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": scope, "names": names, "versions": [{
                "name": VERSION, "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": self.spec.schema, "status": self.status.schema,
                }}},
            }]},
        })
    }

    /// All names that it takes in its group.
    fn taken(&self) -> impl Iterator<Item = String> {
        let names = [self.plural.to_owned(), self.name.to_lowercase()];
        names
            .into_iter()
            .chain(self.short_names.iter().map(|&name| name.to_owned()))
    }
}

fn check_names<K: CustomKind>() -> Result<(), String> {
    let label = |name: &str| {
        name.len() <= 63
            && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let camel = K::KIND.bytes().next().is_some_and(|first| first.is_ascii_uppercase());
    if !camel || !label(&K::KIND.to_lowercase()) {
        return Err("its name is not like `BackupPlan`".to_owned());
    }
    let lower = [K::PLURAL].into_iter().chain(K::SHORT_NAMES.iter().copied());
    match lower.into_iter().find(|name| !label(name)) {
        Some(wrong) => Err(format!("{wrong:?} is not made of lower-case letters and digits")),
        None => Ok(()),
    }
}

/// The kinds that the author declares.
#[derive(Debug, Default)]
pub(crate) struct Kinds(HashMap<TypeId, Arc<KindType>>);

impl Kinds {
    /// Kinds none of which takes a name of another one or of ours.
    pub(crate) fn of(types: impl IntoIterator<Item = Arc<KindType>>) -> Result<Self, String> {
        let mut taken: HashMap<String, String> = HashMap::new();
        for ours in resource::definitions("") {
            let name = |member: &str| ours["spec"]["names"][member].as_str().unwrap_or_default().to_owned();
            taken.insert(name("plural"), name("kind"));
            taken.insert(name("singular"), name("kind"));
        }
        let mut kinds = HashMap::new();
        for kind in types {
            if kinds.contains_key(&kind.id) {
                continue;
            }
            for name in kind.taken().collect::<std::collections::BTreeSet<_>>() {
                if let Some(other) = taken.insert(name.clone(), kind.name.to_owned()) {
                    return Err(format!("the kind {}: the name {name:?} belongs to {other}", kind.name));
                }
            }
            kinds.insert(kind.id, kind);
        }
        Ok(Self(kinds))
    }

    pub(crate) fn find<K: CustomKind>(&self) -> Result<Arc<KindType>, ResourceError> {
        let found = self.0.get(&TypeId::of::<K>()).cloned();
        found.ok_or(ResourceError::NotDeclared(K::KIND))
    }

    pub(crate) fn by_id(&self, id: TypeId) -> Option<Arc<KindType>> {
        self.0.get(&id).cloned()
    }

    pub(crate) fn definitions(&self, group: &str) -> Vec<Value> {
        let mut definitions: Vec<Value> = self.0.values().map(|kind| kind.definition(group)).collect();
        definitions.sort_by_key(|definition| definition["metadata"]["name"].to_string());
        definitions
    }

    /// Whether all of these are among them.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        others.0.keys().all(|kind| self.0.contains_key(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! kind {
        ($type:ident, $kind:literal, $plural:literal, $short:expr) => {
            #[derive(Clone, Serialize, Deserialize, JsonSchema)]
            struct $type {
                size: Option<u32>,
            }
            impl CustomKind for $type {
                const KIND: &'static str = $kind;
                const PLURAL: &'static str = $plural;
                const SHORT_NAMES: &'static [&'static str] = $short;
                type Status = NoStatus;
            }
        };
    }

    kind!(Plan, "Plan", "plans", &["p"]);
    kind!(Place, "Place", "places", &["p"]);
    kind!(Ours, "ServiceInstance", "others", &[]);
    kind!(AlsoOurs, "Other", "tombstones", &[]);
    kind!(Lower, "lower", "lowers", &[]);
    kind!(Path, "Path", "../serviceinstances", &[]);

    fn of<K: CustomKind>() -> Arc<KindType> {
        Arc::new(KindType::of::<K>().expect("a kind"))
    }

    #[test]
    fn a_kind_takes_no_name_of_another_one() {
        assert!(Kinds::of([of::<Plan>(), of::<Plan>()]).is_ok(), "the same twice");
        for (kinds, name) in [
            (vec![of::<Plan>(), of::<Place>()], "\"p\""),
            (vec![of::<Ours>()], "ServiceInstance"),
            (vec![of::<AlsoOurs>()], "Tombstone"),
        ] {
            let text = Kinds::of(kinds).expect_err("refused");
            assert!(text.contains(name), "{text}");
        }
        assert!(KindType::of::<Lower>().is_err() && KindType::of::<Path>().is_err());
    }

    #[test]
    fn members_that_the_author_does_not_know_are_not_his_to_change() {
        let raw = json!({"metadata": {"name": "a"}, "spec": {"size": 1, "later": 2}});
        let raw: Raw = serde_json::from_value(raw).expect("an object");
        let plan = raw.typed::<Plan>().expect("it fits");
        assert_eq!(Value::Object(plan.read.spec), json!({"size": 1}));
    }
}
