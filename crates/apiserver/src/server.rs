//! The state behind every request, and how it starts.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::crd::CustomResourceDefinition;
use apimachinery::json;
use apimachinery::json::Value;
use apimachinery::meta;
use objectstore::{Compare, Delivery, Entry, Outcome, Revision, Store, Transaction, Write};
use tokio::sync::{Notify, watch};

use crate::Options;
use crate::auth::access::Access;
use crate::auth::tokens::Issuing;
use crate::auth::{Authenticator, follow};
use crate::codec::{Draft, Opening, Stored};
use crate::failure::Failure;
use crate::index::Wanted;
use crate::keys::Keys;
use crate::limits::Places;
use crate::measured::Measured;
use crate::namespaces::{INITIAL, Namespaces};
use crate::observe::Observers;
use crate::read::after;
use crate::registry::{Change, Definition, Index, Registry, Resource};
use crate::shared::Shared;
use crate::start;
use crate::write::addresses;
use crate::write::admit::Hooks;
use crate::write::kinds::{self, INDEX_COMPLETE, NAMESPACE_FINALIZER};

pub(crate) const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");
const CHUNK: usize = 500;

/// Who does the work of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// This server itself, in the background.
    Embedded,
    /// A program beside it, such as kube-controller-manager.
    External,
}

/// Shared by all requests.
pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) namespaces: Namespaces,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// Whether requests without credentials are let in, as `system:anonymous`.
    pub(crate) anonymous: bool,
    pub(crate) tokens: Issuing,
    pub(crate) access: Access,
    pub(crate) hooks: Hooks,
    pub(crate) places: Places,
    pub(crate) observers: Observers,
    pub(crate) garbage_collector: Controller,
    pub(crate) namespace_controller: Controller,
    /// True once the server shuts down.
    pub(crate) closing: watch::Sender<bool>,
    /// The indexes that selectors have asked for.
    pub(crate) wanted: Wanted,
    /// The OpenAPI documents that were asked for.
    pub(crate) openapi: crate::openapi::Cache,
    /// The newest events of watches.
    pub(crate) events: Shared,
    /// Wakes the tasks that remove content: an object that was held by finalizers has gone.
    pub(crate) removals: Notify,
}

/// Up to where something has been read at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) definitions: Revision,
    pub(crate) roles: Revision,
}

impl Server {
    /// Loads what is served, and makes the first namespaces.
    pub(crate) async fn open(store: Store, options: &Options) -> Result<(Server, Seen), Failure> {
        let observers = Observers::new(options);
        let store: Store = match &observers.metrics {
            Some(metrics) => Arc::new(Measured::new(store, metrics.clone())),
            None => store,
        };
        let server = Server {
            store,
            registry: Registry::new(),
            namespaces: Namespaces::new(),
            authenticator: options.authenticator.clone(),
            anonymous: options.anonymous,
            tokens: Issuing::new(options.service_accounts.clone()),
            access: Access::new(&options.authorization),
            hooks: Hooks {
                mutating: options.mutating.clone(),
                validating: options.validating.clone(),
            },
            places: Places::new(options.limits.clone()),
            observers,
            garbage_collector: options.garbage_collector,
            namespace_controller: options.namespace_controller,
            closing: watch::Sender::new(false),
            wanted: Wanted::default(),
            openapi: crate::openapi::Cache::default(),
            events: Shared::default(),
            removals: Notify::new(),
        };
        for name in INITIAL {
            server.make_namespace(name).await?;
        }
        addresses::make_own_service(&server).await?;
        let definitions = server.load_definitions().await?;
        let roles = match &server.access.rbac {
            Some(rbac) => follow::load(&server, rbac).await?,
            None => definitions,
        };
        start::run(&server, &options.start).await?;
        Ok((server, Seen { definitions, roles }))
    }

    /// An object has gone: somebody may be waiting for that.
    pub(crate) fn removed(&self) {
        self.removals.notify_waiters();
    }

    async fn make_namespace(&self, name: &str) -> Result<(), Failure> {
        let resource = self
            .registry
            .snapshot()
            .resource("", "namespaces")
            .cloned()
            .ok_or(Failure::NoSuchPath)?;
        let metadata = json!({
            "name": name,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": meta::format_timestamp(jiff::Timestamp::now()),
            "labels": {"kubernetes.io/metadata.name": name},
        });
        let object = json!({"spec": {"finalizers": [NAMESPACE_FINALIZER]}, "status": {"phase": "Active"}});
        let (Some(object), Some(metadata)) = (object.as_object(), metadata.as_object()) else {
            return Ok(());
        };
        let stored = Draft::new(object).finish(resource.versions[0].stamp, metadata);
        let key = self.namespaces.key(name);
        let transaction = Transaction {
            compares: vec![Compare::Absent(key.clone())],
            writes: vec![Write::Put(key, stored.bytes().clone())],
        };
        match self.store.transact(transaction).await? {
            Outcome::Committed(_) | Outcome::Refused { .. } => Ok(()),
        }
    }

    /// Brings what is served up to the store's state now.
    pub(crate) async fn reload(&self) -> Result<(), Failure> {
        self.load_definitions().await.map(drop)
    }

    /// Reads all definitions; what is known and no longer there goes.
    async fn load_definitions(&self) -> Result<Revision, Failure> {
        let keys = definition_keys();
        let mut range = keys.objects(None);
        let mut gone = self.registry.definitions();
        let mut at = None;
        loop {
            let page = self.store.range(range.clone(), CHUNK, at).await?;
            at = Some(page.revision);
            for entry in &page.entries {
                if let Some((_, name)) = keys.parts(&entry.key) {
                    gone.retain(|known| known != name);
                    self.apply_definition(name, entry).await?;
                }
            }
            if let Some(last) = page.entries.last().filter(|_| page.more) {
                range.start = after(&last.key);
                continue;
            }
            for name in gone {
                self.registry.apply(&name, page.revision, Change::Gone);
            }
            return Ok(page.revision);
        }
    }

    /// Reads a definition again, so that what it says is served when this returns.
    pub(crate) async fn refresh_definition(&self, name: &str) -> Result<(), Failure> {
        let before = self.store.revision();
        match self.store.get(definition_keys().object("", name), None).await? {
            Some(entry) => self.apply_definition(name, &entry).await,
            None => {
                self.registry.apply(name, before, Change::Gone);
                Ok(())
            }
        }
    }

    async fn apply_definition(&self, name: &str, entry: &Entry) -> Result<(), Failure> {
        let opening = Opening::of("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        let text = Stored::read(entry.value.clone())?.object(&opening, entry.modified);
        let object = text.value()?;
        let change = match CustomResourceDefinition::parse(&object.clone().into()) {
            Ok(crd) if is_established(&object) && !kinds::is_builtin(&crd.group, &crd.names.plural) => {
                let terminating = meta::of(&object).is_some_and(meta::is_being_deleted);
                let definition = Definition {
                    key: entry.key.clone(),
                    revision: entry.modified,
                    terminating,
                };
                let indexes = self.indexes(&crd).await?;
                Change::Serves(Box::new(Resource::from_definition(&crd, definition, &indexes)))
            }
            Ok(_) => Change::Gone,
            Err(errors) => {
                tracing::error!(
                    definition = name,
                    errors = errors.len(),
                    "a stored definition is not valid any more and is not served"
                );
                Change::Gone
            }
        };
        self.registry.apply(name, entry.modified, change);
        Ok(())
    }

    /// The fields of a definition that have an index, complete or not.
    async fn indexes(&self, crd: &CustomResourceDefinition) -> Result<Vec<(String, Index)>, Failure> {
        let keys = Keys::new(&crd.group, &crd.names.plural, false);
        let page = self.store.range(keys.all_indexed(), CHUNK, None).await?;
        let index = |entry: &Entry| match entry.value == INDEX_COMPLETE {
            true => Index::Complete(entry.modified),
            false => Index::Growing,
        };
        let states = page.entries.iter();
        Ok(states
            .filter_map(|entry| Some((keys.indexed_field(&entry.key)?.to_owned(), index(entry))))
            .collect())
    }

    /// Follows the definitions, so that what other processes on the same store change is served here too.
    pub(crate) async fn follow_definitions(&self, mut seen: Revision) {
        const FIRST_PAUSE: Duration = Duration::from_millis(200);
        const LONGEST_PAUSE: Duration = Duration::from_secs(30);
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = tokio::time::Instant::now();
            match self.follow_once(&mut seen).await {
                Ok(()) => return,
                Err(failure) => tracing::warn!(?failure, "the watch of the definitions was cut off"),
            }
            // A store that cannot be read now is not asked, nor complained of, five times a second.
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            match self.load_definitions().await {
                Ok(revision) => seen = revision,
                Err(failure) => tracing::warn!(?failure, "the definitions cannot be read"),
            }
        }
    }

    async fn follow_once(&self, seen: &mut Revision) -> Result<(), Failure> {
        use futures::StreamExt as _;
        let keys = definition_keys();
        let mut deliveries = self.store.watch(keys.objects(None), Some(*seen)).await?;
        while let Some(delivery) = deliveries.next().await {
            let events = match delivery? {
                Delivery::Events(events) => events,
                Delivery::Progress(revision) => {
                    *seen = revision;
                    continue;
                }
            };
            for event in events.iter() {
                *seen = event.revision;
                let Some((_, name)) = keys.parts(&event.key) else {
                    continue;
                };
                match &event.value {
                    Some(value) => {
                        let entry = Entry {
                            key: event.key.clone(),
                            value: value.clone(),
                            created: event.revision,
                            modified: event.revision,
                        };
                        self.apply_definition(name, &entry).await?;
                    }
                    None => self.registry.apply(name, event.revision, Change::Gone),
                }
            }
        }
        // The stream ends without an error when the store is closed.
        Ok(())
    }
}

fn definition_keys() -> Keys {
    Keys::new(DEFINITIONS.0, DEFINITIONS.1, false)
}

fn is_established(definition: &Value<'_>) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}
