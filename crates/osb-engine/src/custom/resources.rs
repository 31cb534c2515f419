//! The author's way to the objects of his kinds.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};

use super::follow::{Key, Seen, follow};
use super::kind::{Custom, CustomKind, KindType, Kinds, Raw, ResourceError, Scope, members};
use crate::home::{Home, HomeError, List};
use crate::objects::replacing;

const PAGE: u32 = 500;

/// The objects of a kind of the author's own, in the namespace of one platform (or all there are, of a kind that
/// platforms share). It reads and writes the home itself: nothing is cached.
///
/// From [`Operation::resources`](crate::Operation::resources) and [`Reconcile::resources`](crate::Reconcile::resources).
/// On a home with rights of its own the broker needs `get`, `list`, `watch`, `create`, `patch` and `delete` on the
/// kind and `patch` on its status.
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
/// use osb_sdk::{Custom, Operation, Resources, Result};
///
/// async fn plan_backups(op: &Operation) -> Result<()> {
///     let plans: Resources<BackupPlan> = op.resources()?;
///     // Safe to repeat: the name is the same on each attempt, and what is there stays.
///     let plan = plans.ensure(&Custom::new(op.object_name("plan"), BackupPlan { every_hours: 24 })).await?;
///     let mut slower = plan.clone();
///     slower.spec.every_hours *= 2;
///     plans.update(&slower).await?; // refused when somebody else has changed it meanwhile
///     Ok(plans.delete(plan.name()).await?)
/// }
/// # let _ = plan_backups;
/// ```
pub struct Resources<K> {
    home: Home,
    kind: Arc<KindType>,
    namespace: Option<String>,
    of: PhantomData<fn() -> K>,
}

impl<K> Clone for Resources<K> {
    fn clone(&self) -> Self {
        Self {
            home: self.home.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            of: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Resources<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Resources");
        shown.field("kind", &self.kind.name).field("namespace", &self.namespace);
        shown.finish_non_exhaustive()
    }
}

/// What happened to an object.
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
/// use futures::StreamExt as _;
/// use osb_sdk::{Resources, Watched};
///
/// async fn follow(plans: Resources<BackupPlan>) {
///     let mut changes = Box::pin(plans.watch());
///     while let Some(change) = changes.next().await {
///         match change {
///             Watched::Applied(plan) => println!("{}: every {} hours", plan.name(), plan.spec.every_hours),
///             Watched::Gone(name) => println!("{name} is gone"),
///         }
///     }
/// }
/// # let _ = follow;
/// ```
#[derive(Clone)]
pub enum Watched<K: CustomKind> {
    /// It is there, and is so now.
    Applied(Box<Custom<K>>),
    /// The object of that name is gone.
    Gone(String),
}

impl<K: CustomKind> Resources<K> {
    pub(crate) fn new(home: &Home, kinds: &Kinds, namespace: &str) -> Result<Self, ResourceError> {
        let kind = kinds.find::<K>()?;
        Ok(Self {
            home: home.clone(),
            namespace: (kind.scope == Scope::Namespaced).then(|| namespace.to_owned()),
            kind,
            of: PhantomData,
        })
    }

    /// The object of that name, in its newest state; `None` when there is none.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn get(&self, name: &str) -> Result<Option<Custom<K>>, ResourceError> {
        match self.home.get_at::<Raw>(&self.path(name)?).await? {
            Some(raw) => raw.typed().map(Some),
            None => Ok(None),
        }
    }

    /// All objects. What does not fit the author's type is left out and logged.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn list(&self) -> Result<Vec<Custom<K>>, ResourceError> {
        self.labelled(None).await
    }

    /// All objects with labels such as `database=mine`.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn list_labelled(&self, selector: &str) -> Result<Vec<Custom<K>>, ResourceError> {
        self.labelled(Some(selector)).await
    }

    async fn labelled(&self, selector: Option<&str>) -> Result<Vec<Custom<K>>, ResourceError> {
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page: List<Raw> = self
                .home
                .list_at(&self.collection(), selector, PAGE, next.as_deref())
                .await?;
            objects.extend(page.items.unwrap_or_default().into_iter().filter_map(readable));
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(objects);
            }
        }
    }

    /// Creates an object; the answer is what the home made of it.
    ///
    /// # Errors
    /// [`ResourceError`]; [`HomeError::AlreadyExists`] when the name is taken, so that creating is safe to repeat.
    pub async fn create(&self, object: &Custom<K>) -> Result<Custom<K>, ResourceError> {
        self.path(object.name())?;
        let spec = self.checked_spec(object)?;
        let body = json!({
            "apiVersion": self.home.api_version(), "kind": self.kind.name, "spec": spec,
            "metadata": {"name": object.name(), "labels": object.labels()},
        });
        self.home.post_at::<Raw>(&self.collection(), &body).await?.typed()
    }

    /// As [`create`](Self::create), but an object of that name is left as it is and answered.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn ensure(&self, object: &Custom<K>) -> Result<Custom<K>, ResourceError> {
        match self.create(object).await {
            Err(ResourceError::Home(HomeError::AlreadyExists)) => match self.get(object.name()).await? {
                Some(found) => Ok(found),
                None => Err(HomeError::Conflict.into()),
            },
            created => created,
        }
    }

    /// Writes what has been changed of `spec` and labels since the object was read.
    ///
    /// # Errors
    /// [`ResourceError`]; [`HomeError::Conflict`] when somebody else has written to it since: read it again.
    pub async fn update(&self, object: &Custom<K>) -> Result<Custom<K>, ResourceError> {
        let spec = replacing(&object.read.spec, self.checked_spec(object)?);
        let labels = replacing(&members(&object.read.labels), members(object.labels()));
        let patch = json!({
            "metadata": {"resourceVersion": object.meta.resource_version, "labels": labels}, "spec": spec,
        });
        self.home
            .patch_at::<Raw>(&self.path(object.name())?, &patch)
            .await?
            .typed()
    }

    /// Writes the status of an object; nothing else of it is written. One that says nothing new is not written.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn update_status(&self, object: &Custom<K>, status: &K::Status) -> Result<Custom<K>, ResourceError> {
        let told = self.kind.status.checked(status).map_err(ResourceError::Invalid)?;
        if object.status.is_some() && told == object.read.status {
            return Ok(object.clone());
        }
        let patch = json!({
            "metadata": {"resourceVersion": object.meta.resource_version},
            "status": replacing(&object.read.status, told),
        });
        let path = format!("{}/status", self.path(object.name())?);
        self.home.patch_at::<Raw>(&path, &patch).await?.typed()
    }

    /// Deletes the object of that name, if it is there. What finalizers keep goes when they are off.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn delete(&self, name: &str) -> Result<(), ResourceError> {
        Ok(self.home.delete_at(&self.path(name)?).await?)
    }

    /// All objects as they are, and from then on each change. It never ends; what could not be watched for a while is
    /// read again.
    pub fn watch(&self) -> impl Stream<Item = Watched<K>> + Send + use<K> {
        follow(self.home.clone(), self.collection()).filter_map(|seen| {
            std::future::ready(match seen {
                Seen::There(raw) => readable(*raw).map(|object| Watched::Applied(Box::new(object))),
                Seen::Gone(Key { name, .. }) => Some(Watched::Gone(name)),
            })
        })
    }

    fn checked_spec(&self, object: &Custom<K>) -> Result<osb_api::Object, ResourceError> {
        self.kind.spec.checked(&object.spec).map_err(ResourceError::Invalid)
    }

    fn collection(&self) -> String {
        collection(&self.home, &self.kind, self.namespace.as_deref())
    }

    /// The path of an object. A name that is none never becomes a path.
    fn path(&self, name: &str) -> Result<String, ResourceError> {
        if !is_name(name) {
            return Err(ResourceError::Invalid(format!(
                "the name {name:?} is not made of lower-case letters, digits, '-' and '.'"
            )));
        }
        Ok(format!("{}/{name}", self.collection()))
    }
}

fn readable<K: CustomKind>(raw: Raw) -> Option<Custom<K>> {
    raw.typed()
        .inspect_err(|error| tracing::warn!(%error, "an object is left out"))
        .ok()
}

/// The path of the objects of a kind.
pub(crate) fn collection(home: &Home, kind: &KindType, namespace: Option<&str>) -> String {
    let base = format!("/apis/{}", home.api_version());
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{}", kind.plural),
        None => format!("{base}/{}", kind.plural),
    }
}

/// Whether a text is a DNS subdomain, as names of objects are.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        part.bytes().next().is_some_and(plain)
            && part.bytes().last().is_some_and(plain)
            && part.bytes().all(|byte| plain(byte) || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// The finalizers of an object, as a patch of the version that was read.
pub(crate) fn finalizers_patch(raw: &Raw, finalizers: &[&str]) -> Value {
    json!({"metadata": {"resourceVersion": raw.metadata.resource_version, "finalizers": finalizers}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_become_paths() {
        for fine in ["a", "my-db", "a.b-c.1", &"a".repeat(253)] {
            assert!(is_name(fine), "{fine}");
        }
        for wrong in [
            "",
            "A",
            "-a",
            "a-",
            "a..b",
            "a/b",
            "../x",
            "a?b",
            "a b",
            "ä",
            "a%2fb",
            &"a".repeat(254),
        ] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
