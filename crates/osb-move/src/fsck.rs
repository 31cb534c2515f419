//! A home looked over: does everything open, decode and belong together?

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use osb_engine::resource::{CatalogRecord, FINALIZER, Kind, Stored, Tombstone, VERSION};
use osb_engine::{Keys, RESTORING_LABEL, STORED_VERSION, STORED_VERSION_LABEL};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Api, ApiError, escaped};
use crate::archive::Resource;
use crate::inventory;
use crate::pages::{self, Pages};

mod look;

use look::Known;

/// Selects the busy objects, by an index where the home has one.
const BUSY: &str = "record.operation.id!=";

/// How heavy something weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Worth knowing.
    Note,
    /// Not as it should be; nothing is lost by it.
    Warning,
    /// Something cannot be used, or will be lost.
    Error,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: resource, namespace and name.
    pub object: String,
    /// How heavy it weighs.
    pub weight: Weight,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub todo: String,
    /// What mends it, where that is safe.
    #[serde(skip)]
    pub repair: Option<Repair>,
    /// Whether it was mended.
    pub repaired: bool,
}

/// What mends something, whatever else is going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The engine's finalizer is put back.
    AddFinalizer,
    /// A label gets the value that the object itself tells.
    SetLabel(&'static str, String),
    /// What has expired is deleted.
    Delete,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Objects.
    pub objects: u64,
    /// Errors and warnings that were not mended.
    pub findings: u64,
    /// What was mended.
    pub repaired: u64,
}

/// Whether what can be mended safely is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mending {
    /// Nothing is changed.
    Nothing,
    /// It is.
    Safe,
}

/// A look at the state of a broker.
#[derive(Debug)]
pub struct Fsck<'a> {
    /// The home.
    pub api: &'a Api,
    /// The API group of the broker.
    pub group: &'a str,
    /// The namespace of the broker's own objects.
    pub system: &'a str,
    /// Opens sealed values; without them it is only looked whether everything else is right.
    pub keys: Option<&'a Keys>,
    /// Whether something is changed.
    pub mending: Mending,
}

/// Why the look has ended early.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The home does not say what is in it.
    #[error("{what} cannot be read: {error}")]
    Home {
        /// What was asked for.
        what: String,
        /// What came of it.
        error: ApiError,
    },
    /// There is no broker.
    #[error("there is no broker's state: the API group {0} is not served")]
    NoGroup(String),
}

/// Of each object by its namespace and name: which life it is, and whether it is being removed. Hashes, because there may
/// be very many.
type Lives = HashMap<u64, (u64, bool)>;

struct Look<'a, F> {
    fsck: &'a Fsck<'a>,
    known: Known<'a>,
    revision: String,
    found: F,
    looked: Looked,
    instances: Lives,
    bindings: Lives,
}

impl Fsck<'_> {
    /// Looks everything over as of one moment. `found` gets each finding as it comes.
    ///
    /// # Errors
    /// [`FsckError`].
    pub async fn run(&self, found: impl FnMut(&Finding)) -> Result<Looked, FsckError> {
        let resources = inventory::of_group(self.api, self.group, VERSION).await;
        let resources = resources.map_err(reading("the list of resources"))?;
        let resources = resources.ok_or_else(|| FsckError::NoGroup(self.group.to_owned()))?;
        let of = |kind: Kind| resources.iter().find(|resource| resource.plural == kind.plural());
        let first = of(Kind::Instance).ok_or_else(|| FsckError::NoGroup(self.group.to_owned()))?;
        let revision = pages::newest(self.api, first).await.map_err(reading(&first.name()))?;
        let table = self.table().await?;
        let known = Known {
            keys: self.keys,
            epoch: table.as_ref().and_then(|table| table["spec"]["epoch"].as_u64()),
            now: Timestamp::now(),
        };
        let mut look = Look {
            fsck: self,
            known,
            revision,
            found,
            looked: Looked::default(),
            instances: Lives::new(),
            bindings: Lives::new(),
        };
        look.table(table.as_ref()).await?;
        for kind in [Kind::Instance, Kind::Binding] {
            if let Some(resource) = of(kind) {
                look.all_stored(resource, kind).await?;
            }
        }
        for (kind, read) in [(Kind::Tombstone, true), (Kind::CatalogRecord, false)] {
            let Some(resource) = of(kind) else { continue };
            if read {
                look.tombstones(resource).await?;
            } else {
                look.catalogs(resource).await?;
            }
        }
        let ours = [Kind::Instance, Kind::Binding, Kind::Tombstone, Kind::CatalogRecord].map(Kind::plural);
        for resource in resources
            .iter()
            .filter(|resource| !ours.contains(&resource.plural.as_str()))
        {
            look.others(resource, &resources).await?;
        }
        Ok(look.looked)
    }

    async fn table(&self) -> Result<Option<Value>, FsckError> {
        let path = format!(
            "/apis/{}/{VERSION}/namespaces/{}/shardtables/shards",
            self.group, self.system
        );
        self.api.find(&path).await.map_err(reading("the ShardTable"))
    }
}

fn reading(what: &str) -> impl FnOnce(ApiError) -> FsckError {
    let what = what.to_owned();
    |error| FsckError::Home { what, error }
}

fn hashed(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

impl<F: FnMut(&Finding)> Look<'_, F> {
    /// The metadata in the object is what a repair is fenced with.
    async fn tell(&mut self, resource: &Resource, object: &Sketch, mut finding: Finding) -> Result<(), FsckError> {
        if self.fsck.mending == Mending::Safe
            && let Some(repair) = &finding.repair
        {
            finding.repaired = self.repair(resource, object, repair).await;
        }
        if finding.repaired {
            self.looked.repaired += 1;
        } else if finding.weight > Weight::Note {
            self.looked.findings += 1;
        }
        (self.found)(&finding);
        Ok(())
    }

    /// Whether it was done. Who has changed the object meanwhile comes first: the next look tells.
    async fn repair(&self, resource: &Resource, object: &Sketch, repair: &Repair) -> bool {
        let meta = &object.metadata;
        let path = format!("{}/{}", resource.path(Some(&meta.namespace)), meta.name);
        let version = &meta.resource_version;
        let api = self.fsck.api;
        let done = match repair {
            Repair::AddFinalizer => {
                let all = meta.finalizers.iter().map(String::as_str).chain([FINALIZER]);
                let finalizers: Vec<&str> = all.collect();
                let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
                api.patch(&path, &patch).await
            }
            Repair::SetLabel(name, value) => {
                let patch = json!({"metadata": {"resourceVersion": version, "labels": {*name: value}}});
                api.patch(&path, &patch).await
            }
            Repair::Delete => api.delete(&path, &meta.uid).await,
        };
        done.is_ok()
    }

    async fn table(&mut self, table: Option<&Value>) -> Result<(), FsckError> {
        let place = format!("shardtables.{} {}/shards", self.fsck.group, self.fsck.system);
        let Some(table) = table else {
            let what = "there is no ShardTable".to_owned();
            let todo = "no broker has worked here yet, or its table was lost: the next start makes one".to_owned();
            return self.say(&place, (Weight::Note, what, todo, None));
        };
        let label = |name: &str| table["metadata"]["labels"][name].as_str();
        if label(RESTORING_LABEL).is_some() {
            let what = "a restore has not ended".to_owned();
            self.say(
                &place,
                (Weight::Error, what, "restore the same archive again".to_owned(), None),
            )?;
        }
        let version = label(STORED_VERSION_LABEL).map(str::parse::<u32>);
        if let Some(version) = version
            && version.as_ref().map_or(true, |version| *version > STORED_VERSION)
        {
            let what = "what is stored is newer than this program".to_owned();
            self.say(&place, (Weight::Error, what, "use a newer program".to_owned(), None))?;
        }
        Ok(())
    }

    fn say(&mut self, place: &str, wrong: (Weight, String, String, Option<Repair>)) -> Result<(), FsckError> {
        let finding = Finding::new(place, wrong);
        self.looked.findings += u64::from(finding.weight > Weight::Note);
        (self.found)(&finding);
        Ok(())
    }

    async fn all_stored(&mut self, resource: &Resource, kind: Kind) -> Result<(), FsckError> {
        let (api, revision) = (self.fsck.api, self.revision.clone());
        let mut pages = Pages::of(api, resource, Some(&revision));
        let mut busy = 0;
        while let Some(page) = pages.next().await.map_err(reading(&resource.name()))? {
            for object in pages::parse(&page).map_err(reading(&resource.name()))? {
                self.looked.objects += 1;
                let sketch = Sketch::of(object.get());
                let place = sketch.place(resource);
                let Ok(stored) = serde_json::from_str::<Stored>(object.get()) else {
                    self.tell(resource, &sketch, undecodable(&place)).await?;
                    continue;
                };
                busy += u64::from(stored.running().is_some());
                let mut findings = look::stored(&place, &stored, self.known);
                findings.extend(self.instance_of(&place, &stored));
                self.remember(kind, &stored);
                for finding in findings {
                    self.tell(resource, &sketch, finding).await?;
                }
            }
        }
        let selected = self.selected(resource).await?;
        if selected != busy {
            let what = format!("the selector {BUSY:?} finds {selected} objects, but {busy} are busy");
            let todo = "the index of the home is damaged: back up, and restore into an empty home".to_owned();
            self.say(&resource.name(), (Weight::Error, what, todo, None))?;
        }
        Ok(())
    }

    fn remember(&mut self, kind: Kind, stored: &Stored) {
        let place = hashed(&[&stored.metadata.namespace, &stored.metadata.name]);
        let removed = stored.running().is_some_and(|running| running.verb.removes());
        let life = (hashed(&[&stored.spec.incarnation]), removed);
        let lives = if kind == Kind::Instance {
            &mut self.instances
        } else {
            &mut self.bindings
        };
        lives.insert(place, life);
    }

    /// A binding belongs to one life of its instance.
    fn instance_of(&self, place: &str, stored: &Stored) -> Option<Finding> {
        let wanted = stored.spec.instance_incarnation.as_ref()?;
        let instance = hashed(&[&stored.metadata.namespace, &stored.instance_name()]);
        let what = match self.instances.get(&instance) {
            Some((life, _)) if *life == hashed(&[wanted]) => return None,
            Some(_) => "its instance is another one of the same id",
            None => "its instance is not there",
        };
        // The look at the instances was of the same moment, so this is no race.
        let todo = "unbind it; `osb admin forget` where its credentials are known to be gone";
        Some(Finding::new(
            place,
            (Weight::Error, what.to_owned(), todo.to_owned(), None),
        ))
    }

    /// How many objects the home finds by its index.
    async fn selected(&self, resource: &Resource) -> Result<u64, FsckError> {
        let (mut count, mut next) = (0, None::<String>);
        loop {
            let mut path = format!("{}?limit=500&fieldSelector={}", resource.path(None), escaped(BUSY));
            match &next {
                Some(next) => path += &format!("&continue={}", escaped(next)),
                None => path += &format!("&resourceVersion={}&resourceVersionMatch=Exact", self.revision),
            }
            let page: Option<Count> = self.fsck.api.find(&path).await.map_err(reading(&resource.name()))?;
            let page = page.unwrap_or_default();
            count += page.items.map_or(0, |items| items.len() as u64);
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(count);
            }
        }
    }

    async fn tombstones(&mut self, resource: &Resource) -> Result<(), FsckError> {
        let (api, revision) = (self.fsck.api, self.revision.clone());
        let mut pages = Pages::of(api, resource, Some(&revision));
        while let Some(page) = pages.next().await.map_err(reading(&resource.name()))? {
            for object in pages::parse(&page).map_err(reading(&resource.name()))? {
                self.looked.objects += 1;
                let sketch = Sketch::of(object.get());
                let place = sketch.place(resource);
                let Ok(tombstone) = serde_json::from_str::<Tombstone>(object.get()) else {
                    self.tell(resource, &sketch, undecodable(&place)).await?;
                    continue;
                };
                let mut findings = look::tombstone(&place, &tombstone, self.known);
                findings.extend(self.alive(&place, &tombstone));
                for finding in findings {
                    self.tell(resource, &sketch, finding).await?;
                }
            }
        }
        Ok(())
    }

    /// A Tombstone of a life that goes on, and is not being removed.
    fn alive(&self, place: &str, tombstone: &Tombstone) -> Option<Finding> {
        let meta = &tombstone.metadata;
        let lives = if tombstone.spec.binding_id.is_none() {
            &self.instances
        } else {
            &self.bindings
        };
        let (life, removed) = lives.get(&hashed(&[&meta.namespace, &meta.name]))?;
        if *removed || *life != hashed(&[&tombstone.spec.incarnation]) {
            return None;
        }
        let what = "it stands for something that is there and is not being removed".to_owned();
        let todo = "look which of both is right: delete the Tombstone, or deprovision again".to_owned();
        Some(Finding::new(place, (Weight::Error, what, todo, None)))
    }

    async fn catalogs(&mut self, resource: &Resource) -> Result<(), FsckError> {
        let path = format!("{}/catalog", resource.path(Some(self.fsck.system)));
        let found: Option<Value> = self.fsck.api.find(&path).await.map_err(reading(&resource.name()))?;
        let Some(found) = found else { return Ok(()) };
        self.looked.objects += 1;
        let place = format!("{} {}/catalog", resource.name(), self.fsck.system);
        match (serde_json::from_value::<CatalogRecord>(found), self.fsck.keys) {
            (Err(_), _) => self.say(&place, undecodable_wrong()),
            (Ok(record), Some(keys)) => match keys.open_field("catalog", "", "catalog", &record.spec.catalog) {
                Ok(_) => Ok(()),
                Err(error) => self.say(&place, look::unopened("catalog", &error)),
            },
            (Ok(_), None) => Ok(()),
        }
    }

    /// The author's own kinds: whether their owners are there.
    async fn others(&mut self, resource: &Resource, all: &[Resource]) -> Result<(), FsckError> {
        let (api, revision) = (self.fsck.api, self.revision.clone());
        let mut pages = Pages::of(api, resource, Some(&revision));
        while let Some(page) = pages.next().await.map_err(reading(&resource.name()))? {
            for object in pages::parse(&page).map_err(reading(&resource.name()))? {
                self.looked.objects += 1;
                let sketch = Sketch::of(object.get());
                let place = sketch.place(resource);
                for owner in &sketch.metadata.owner_references {
                    let of = all
                        .iter()
                        .find(|of| of.kind == owner.kind && of.api_version() == owner.api_version);
                    let Some(of) = of else { continue };
                    let path = format!("{}/{}", of.path(Some(&sketch.metadata.namespace)), owner.name);
                    let found: Option<Sketch> = api.find(&path).await.map_err(reading(&of.name()))?;
                    if found.is_none_or(|found| found.metadata.uid != owner.uid) {
                        let what = format!("its owner, the {} {}, is not there", owner.kind, owner.name);
                        let todo = "garbage collection removes it, where there is one".to_owned();
                        self.say(&place, (Weight::Warning, what, todo, None))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn undecodable_wrong() -> (Weight, String, String, Option<Repair>) {
    let todo = "restore it from a backup, or use the version of the program that wrote it".to_owned();
    (
        Weight::Error,
        "it cannot be read as what it says that it is".to_owned(),
        todo,
        None,
    )
}

fn undecodable(place: &str) -> Finding {
    Finding::new(place, undecodable_wrong())
}

/// The metadata of any object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sketch {
    metadata: SketchMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SketchMeta {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    finalizers: Vec<String>,
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
}

impl Sketch {
    fn of(object: &str) -> Self {
        serde_json::from_str(object).unwrap_or_default()
    }

    fn place(&self, resource: &Resource) -> String {
        let meta = &self.metadata;
        if meta.namespace.is_empty() {
            return format!("{} {}", resource.name(), meta.name);
        }
        format!("{} {}/{}", resource.name(), meta.namespace, meta.name)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Count {
    items: Option<Vec<serde::de::IgnoredAny>>,
    metadata: CountMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}
