//! Out of an archive into a home.
//!
//! Everything is looked at before anything is written: the archive from end to end, the keys, and whether the home is
//! empty. Then the ShardTable gets a label that keeps brokers from starting, and every object is created; objects that
//! name others by their uid are created in later passes, when those uids are known. In the end the epoch is raised above
//! that of all objects, and the label goes. What was interrupted can be done again: what is there already is left as it is.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use osb_engine::STORED_VERSION;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::api::{Api, ApiError};
use crate::archive::crypt::Key;
use crate::archive::{Archive, ArchiveError, Event, Resource, Summary};
use crate::backup::Extent;
use crate::layout::{Layout, Owner};

mod object;
mod survey;
mod target;

use object::{Prepared, Read, Uids};
use survey::{Survey, Uid, has_late_status, uid};

/// So many objects are made at once.
const AT_ONCE: usize = 64;

/// So many objects that were left out are named.
const NAMED: usize = 20;

/// What is done about a home that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing is restored.
    Refused,
    /// What is there stays as it is, and what is missing is added. An id that has another life there is refused.
    Kept,
}

/// Where to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The home.
    pub api: Api,
    /// How it names namespaces.
    pub layout: Layout,
    /// How much of an archive it takes.
    pub extent: Extent,
    /// The public ids of the keys that brokers have there.
    pub keys: Vec<String>,
}

/// An archive that may be restored.
#[derive(Debug)]
pub struct Restore {
    archive: Arc<Archive>,
    survey: Survey,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many objects were made.
    pub made: u64,
    /// How many were there already.
    pub kept: u64,
    /// How many the home does not take: it is a cluster, and they are not the broker's.
    pub left: u64,
    /// Objects that the home refused, and why; the broker's own are never among them.
    pub refused: Vec<String>,
    /// How many there are of those.
    pub refusals: u64,
}

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive cannot be used.
    #[error("the archive cannot be used")]
    Archive(#[from] ArchiveError),
    /// Its state is newer than this program.
    #[error(
        "the archive holds state of version {0}, and this program knows none newer than {STORED_VERSION}: use a newer program"
    )]
    Newer(u32),
    /// Keys are missing.
    #[error(
        "values in the archive were sealed with the keys {}, which are not in the key file: add them to it as further lines",
        .0.join(", ")
    )]
    Keys(Vec<String>),
    /// The archive is of another broker.
    #[error("the archive holds no broker of the API group {wanted}: it has {}", .found.join(", "))]
    Group {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// The cluster is not prepared.
    #[error("the cluster has no {0}: apply what the broker's --manifests prints, with the rights of an administrator")]
    NotPrepared(String),
    /// Neither the archive nor the home has definitions.
    #[error(
        "the archive has no definitions of the group {0}, since they could not be read when it was made: start the broker on this home once, stop it, and restore again"
    )]
    NoDefinitions(String),
    /// There is something.
    #[error(
        "the home is not empty ({0} is there): restore into an empty one, or add what is missing with --into-existing"
    )]
    NotEmpty(String),
    /// Another archive was being restored there.
    #[error("another archive was being restored into this home: go on with that one, or begin with an empty home")]
    Another,
    /// A broker runs on it.
    #[error("a broker works on this home (the replica {0} is alive): stop it first")]
    Alive(String),
    /// Ids that are in use.
    #[error("{count} ids have another life in this home, {first} for one: nothing was restored")]
    Taken {
        /// How many.
        count: u64,
        /// One of them.
        first: String,
    },
    /// The home does not take it.
    #[error(
        "{what} cannot be restored: {error}. Mend that, and restore the same archive again: it goes on where it was"
    )]
    Home {
        /// What was tried.
        what: String,
        /// What came of it.
        error: ApiError,
    },
}

impl Restore {
    /// Reads an archive from end to end. Nothing is written anywhere.
    ///
    /// # Errors
    /// [`RestoreError::Archive`], [`RestoreError::Newer`].
    pub fn open(path: &Path, keys: &[Key]) -> Result<Self, RestoreError> {
        let mut survey = Survey::default();
        let groups = groups_of(path, keys)?;
        let archive = Archive::open(path, keys, |event| survey.look(&groups, &event))?;
        let stored = archive.summary().header.stored_version;
        if stored > STORED_VERSION {
            return Err(RestoreError::Newer(stored));
        }
        survey.settle(&archive)?;
        Ok(Self {
            archive: Arc::new(archive),
            survey,
        })
    }

    /// What the archive says of itself.
    pub fn summary(&self) -> &Summary {
        self.archive.summary()
    }

    /// The keys that are needed and not among these.
    ///
    /// # Errors
    /// [`RestoreError::Keys`].
    pub fn check_keys(&self, ids: &[String]) -> Result<(), RestoreError> {
        let needed = self.summary().end.keys.iter();
        let missing: Vec<String> = needed.filter(|id| !ids.contains(id)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(RestoreError::Keys(missing))
    }

    /// Makes everything anew.
    ///
    /// # Errors
    /// [`RestoreError`]; up to [`RestoreError::Home`] nothing was written.
    pub async fn into_home(self, target: Target, existing: Existing) -> Result<Restored, RestoreError> {
        self.check_keys(&target.keys)?;
        let header = &self.summary().header;
        let groups: Vec<String> = match &target.extent {
            Extent::Whole => header.groups.clone(),
            Extent::Group(group) if header.groups.contains(group) => vec![group.clone()],
            Extent::Group(group) => {
                return Err(RestoreError::Group {
                    wanted: group.clone(),
                    found: header.groups.clone(),
                });
            }
        };
        let from = Layout {
            system: header.system_namespace.clone(),
            tenant_prefix: header.tenant_prefix.clone(),
        };
        let mark = header_mark(self.summary());
        let mut namespaces: BTreeSet<String> = self.survey.namespaces.iter().cloned().collect();
        namespaces.insert(from.namespace(&Owner::System));
        let namespaces: Vec<String> = namespaces
            .iter()
            .map(|name| target.layout.renamed(&from, name))
            .collect();

        let existing = target.look_over(&groups, &namespaces, &mark, existing).await?;
        if existing == Existing::Kept {
            self.compare(&target, &groups, &from).await?;
        }
        let work = Arc::new(Work {
            target,
            groups,
            from,
            archive: self.archive,
            survey: self.survey,
            uids: Mutex::default(),
            done: Mutex::default(),
        });
        work.make_definitions(&namespaces).await?;
        for group in &work.groups {
            work.target.begin(group, &mark).await?;
        }
        work.make_all().await?;
        let epoch = work.archive.summary().end.highest_epoch;
        for group in &work.groups {
            work.target.end(group, epoch).await?;
        }
        let done = work.done.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(done.clone())
    }

    /// Refuses ids that have another life in the home.
    async fn compare(&self, target: &Target, groups: &[String], from: &Layout) -> Result<(), RestoreError> {
        let there = target.lives(groups).await?;
        let (mut count, mut first) = (0, None);
        self.archive.read(|event| {
            let Event::Object(resource, object) = event else {
                return Ok(());
            };
            if !target::has_lives(groups, resource) {
                return Ok(());
            }
            let Ok(life) = serde_json::from_str::<Life>(object.get()) else {
                return Ok(());
            };
            let namespace = target.layout.renamed(from, &life.metadata.namespace);
            let place = format!("{}/{namespace}/{}", resource.name(), life.metadata.name);
            let other = there.get(&place).is_some_and(|found| *found != life.spec.incarnation);
            if other {
                count += 1;
                first.get_or_insert(place);
            }
            Ok(())
        })?;
        first.map_or(Ok(()), |first| Err(RestoreError::Taken { count, first }))
    }
}

/// An instance or binding, and which life of it that is.
#[derive(Deserialize)]
struct Life {
    metadata: LifeMeta,
    spec: LifeSpec,
}

#[derive(Deserialize)]
struct LifeMeta {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct LifeSpec {
    incarnation: String,
}

/// The groups are in the first line, which is all that this reads.
fn groups_of(path: &Path, keys: &[Key]) -> Result<Vec<String>, ArchiveError> {
    Archive::header(path, keys).map(|header| header.groups)
}

/// By which a restore knows its own beginnings: a label's value.
fn header_mark(summary: &Summary) -> String {
    summary.end.sha256.chars().take(40).collect()
}

/// A restore at work.
struct Work {
    target: Target,
    groups: Vec<String>,
    from: Layout,
    archive: Arc<Archive>,
    survey: Survey,
    uids: Mutex<Uids>,
    done: Mutex<Restored>,
}

/// What a pass over the archive makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// What names only objects that were made before, the last of them in the pass before this one.
    Level(u32),
    /// Everything that was left: objects that name each other in a circle.
    Rest(u32),
    /// What can be done when all are there: their status, and deletions that had begun.
    Late,
}

impl Work {
    /// Definitions and namespaces, which everything else needs.
    async fn make_definitions(self: &Arc<Self>, namespaces: &[String]) -> Result<(), RestoreError> {
        if self.target.extent != Extent::Whole {
            return Ok(());
        }
        let (mut objects, mut plurals) = (Vec::new(), Vec::new());
        self.archive.read(|event| {
            if let Event::Object(resource, object) = event
                && is_first(resource)
            {
                objects.push((resource.clone(), object.get().to_owned()));
            }
            Ok(())
        })?;
        for (resource, json) in objects {
            let read = Read::of(&json, false).and_then(|read| self.prepare(read, &resource));
            let Some(prepared) = read else { continue };
            let spec = &prepared.body["spec"];
            if let (Some(group), Some(plural)) = (spec["group"].as_str(), spec["names"]["plural"].as_str()) {
                let version = spec["versions"][0]["name"].as_str().unwrap_or("v1");
                plurals.push(format!("/apis/{group}/{version}/{plural}?limit=1"));
            }
            self.make(&resource, prepared, 0).await?;
        }
        for path in plurals {
            self.target.wait_until_served(&path).await?;
        }
        self.target.make_namespaces(namespaces).await?;
        self.target.check_served(&self.groups).await
    }

    async fn make_all(self: &Arc<Self>) -> Result<(), RestoreError> {
        let mut pass = 0;
        loop {
            let (done, waiting) = self.pass(Pass::Level(pass)).await?;
            if waiting == 0 {
                break;
            }
            if done == 0 {
                self.pass(Pass::Rest(pass)).await?;
                break;
            }
            pass += 1;
        }
        if self.survey.late {
            self.pass(Pass::Late).await?;
        }
        Ok(())
    }

    /// Goes through the archive once. The answer is how many objects were looked after, and how many wait for others.
    async fn pass(self: &Arc<Self>, pass: Pass) -> Result<(u64, u64), RestoreError> {
        let (sender, mut objects) = tokio::sync::mpsc::channel::<(Arc<Resource>, String)>(4 * AT_ONCE);
        let archive = self.archive.clone();
        let reader = tokio::task::spawn_blocking(move || {
            let mut of = None;
            archive.read(|event| {
                let (resource, object) = match event {
                    Event::Resource(resource) => {
                        of = Some(Arc::new(resource.clone()));
                        return Ok(());
                    }
                    Event::Object(resource, object) => (of.get_or_insert_with(|| Arc::new(resource.clone())), object),
                };
                let sent = sender.blocking_send((resource.clone(), object.get().to_owned()));
                sent.map_err(|_| ArchiveError::Io(std::io::ErrorKind::Interrupted.into()))
            })
        });
        let mut tasks: JoinSet<Result<Step, RestoreError>> = JoinSet::new();
        let (mut done, mut waiting) = (0, 0);
        let mut count = |joined: Option<Result<Result<Step, RestoreError>, tokio::task::JoinError>>| {
            match joined {
                Some(Ok(step)) => match step? {
                    Step::Done => done += 1,
                    Step::Waits => waiting += 1,
                    Step::Not => {}
                },
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                _ => {}
            }
            Ok::<(), RestoreError>(())
        };
        while let Some((resource, json)) = objects.recv().await {
            if tasks.len() >= AT_ONCE {
                count(tasks.join_next().await)?;
            }
            let work = self.clone();
            tasks.spawn(async move { work.one(pass, &resource, &json).await });
        }
        while !tasks.is_empty() {
            count(tasks.join_next().await)?;
        }
        match reader.await {
            Ok(read) => read?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        Ok((done, waiting))
    }

    async fn one(&self, pass: Pass, resource: &Resource, json: &str) -> Result<Step, RestoreError> {
        if is_first(resource) && pass != Pass::Late {
            return Ok(Step::Not);
        }
        if self.target.extent != Extent::Whole && !self.groups.contains(&resource.group) {
            if pass == Pass::Level(0) && !is_first(resource) {
                self.done().left += 1;
            }
            return Ok(Step::Not);
        }
        let read = Read::of(json, has_late_status(resource));
        let read = read.ok_or(ArchiveError::Damaged("an object makes no sense"))?;
        let now = match pass {
            Pass::Level(now) | Pass::Rest(now) => now,
            Pass::Late => u32::MAX,
        };
        match (pass, self.turn(&read, now)) {
            (Pass::Late, _) => return self.late(resource, read).await,
            (Pass::Level(now), Turn::In(pass)) if now == pass => {}
            (Pass::Rest(_), Turn::Unknown) => {}
            (Pass::Level(now), Turn::In(pass)) if pass < now => return Ok(Step::Not),
            (Pass::Rest(_), Turn::In(_)) => return Ok(Step::Not),
            _ => return Ok(Step::Waits),
        }
        let Some(prepared) = self.prepare(read, resource) else {
            return Ok(Step::Not);
        };
        self.make(resource, prepared, now).await?;
        Ok(Step::Done)
    }

    /// In which pass an object is made, as far as could be known before the pass `now` began.
    fn turn(&self, read: &Read, now: u32) -> Turn {
        let needs: HashSet<Uid> = read.needs(&self.survey.named);
        if needs.is_empty() {
            return Turn::In(0);
        }
        let uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        let passes: Option<Vec<u32>> = needs
            .iter()
            .map(|uid| uids.get(uid).map(|(_, pass)| *pass).filter(|pass| *pass < now))
            .collect();
        match passes.and_then(|passes| passes.into_iter().max()) {
            Some(last) => Turn::In(last + 1),
            None => Turn::Unknown,
        }
    }

    fn prepare(&self, read: Read, resource: &Resource) -> Option<Prepared> {
        let uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        read.prepared(resource, &self.from, &self.target.layout, &uids)
    }

    async fn make(&self, resource: &Resource, prepared: Prepared, pass: u32) -> Result<(), RestoreError> {
        let path = resource.path(prepared.namespace.as_deref());
        let api = &self.target.api;
        let (answer, is_new) = match api.create(&path, &prepared.body).await {
            Ok(answer) => (Ok(answer), true),
            Err(ApiError::AlreadyExists) => (api.get(&format!("{path}/{}", prepared.name)).await, false),
            Err(error) => (Err(error), true),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.refused(resource, &prepared, error),
        };
        let named = prepared.old.filter(|old| self.survey.named.contains(old));
        if let Some(old) = named
            && let Ok(made) = serde_json::from_slice::<MadeObject>(&answer)
            && let Some(new) = uid(&made.metadata.uid)
        {
            let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
            uids.insert(old, (new, pass));
        }
        let mut done = self.done();
        if is_new {
            done.made += 1;
        } else {
            done.kept += 1;
        }
        Ok(())
    }

    /// What is the broker's own has to be there; of other things it is told that they are not.
    fn refused(&self, resource: &Resource, prepared: &Prepared, error: ApiError) -> Result<(), RestoreError> {
        let what = match &prepared.namespace {
            Some(namespace) => format!("{} {namespace}/{}", resource.name(), prepared.name),
            None => format!("{} {}", resource.name(), prepared.name),
        };
        let ours = self.groups.contains(&resource.group) || is_first(resource);
        if ours || matches!(error, ApiError::NoAnswer) {
            return Err(RestoreError::Home { what, error });
        }
        let mut done = self.done();
        done.refusals += 1;
        if done.refused.len() < NAMED {
            done.refused.push(format!("{what}: {error}"));
        }
        Ok(())
    }

    async fn late(&self, resource: &Resource, read: Read) -> Result<Step, RestoreError> {
        let Some(prepared) = self.prepare(read, resource) else {
            return Ok(Step::Not);
        };
        if !prepared.deleted && prepared.status.is_none() {
            return Ok(Step::Not);
        }
        let path = format!("{}/{}", resource.path(prepared.namespace.as_deref()), prepared.name);
        let api = &self.target.api;
        if let Some(status) = &prepared.status {
            let patch = serde_json::json!({"status": status});
            match api.patch(&format!("{path}/status"), &patch).await {
                Ok(_) | Err(ApiError::NotFound) => {}
                Err(error) => self.refused(resource, &prepared, error)?,
            }
        }
        if prepared.deleted {
            let found: Result<Option<MadeObject>, ApiError> = api.find(&path).await;
            let gone = match found {
                Ok(Some(found)) => api.delete(&path, &found.metadata.uid).await.map(|_| ()),
                other => other.map(|_| ()),
            };
            match gone {
                Ok(()) | Err(ApiError::NotFound) => {}
                Err(error) => self.refused(resource, &prepared, error)?,
            }
        }
        Ok(Step::Done)
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Restored> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an object in a pass.
enum Step {
    Done,
    Waits,
    /// It was made before, or is not made at all.
    Not,
}

/// When an object can be made.
enum Turn {
    In(u32),
    /// Not everything is known that it names.
    Unknown,
}

#[derive(Deserialize)]
struct MadeObject {
    metadata: MadeMeta,
}

#[derive(Deserialize)]
struct MadeMeta {
    #[serde(default)]
    uid: String,
}

fn is_first(resource: &Resource) -> bool {
    (resource.group.is_empty() && resource.plural == "namespaces")
        || (resource.group == "apiextensions.k8s.io" && resource.plural == "customresourcedefinitions")
}
