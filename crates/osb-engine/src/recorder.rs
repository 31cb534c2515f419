//! The writes of one running operation: steps, progress and the outcome, each fenced.
//!
//! A recorder belongs to one operation of one incarnation in one epoch. When somebody else has written to the object
//! in between, it looks: still the same operation, then it writes again on top of the newer version; else the operation
//! is lost, is cancelled, and nothing of it is written any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use osb_api::Object;
use osb_api::id::OperationId;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::custom::{CustomKind, Fields, FieldsType, Kinds, ResourceError, Resources};
use crate::erased::StoredState;
use crate::home::{Home, HomeError};
use crate::objects::replacing;
use crate::own_writes::OwnWrites;
use crate::resource::{Bound, Ended, Kind, MAX_PROGRESS_CHARS, MAX_STEPS, Meta, Outcome, Record, Status, Stored, Verb};
use crate::seal::{Keys, MAX_SEALED_BYTES, Place, SealError};
use crate::service::{Error, Result};
use crate::shards::Pass;

/// How often a write is tried again when the home gives no usable answer, before the caller hears of it.
const TRIES: u32 = 5;

const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Why a write of an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// The object is gone, or another operation, incarnation or epoch has taken over.
    #[error("the operation is not ours any more")]
    Lost,
    /// All sealed fields together would be too large.
    #[error("state, credentials and step results of one object may have {MAX_SEALED_BYTES} bytes together")]
    TooLarge,
    /// The request of this update was answered with an error, so that it must not succeed any more.
    #[error("the update was given up")]
    GivenUp,
    /// Too many steps.
    #[error("an operation may have {MAX_STEPS} steps")]
    TooManySteps,
    /// A value cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The home did not take the write.
    #[error("the home did not take the write: {0}")]
    Home(#[from] HomeError),
}

/// What the outcome of an operation changes on its object.
#[derive(Debug, Default)]
pub(crate) struct OutcomeWrite {
    /// The author's state, to be sealed into `record.data`.
    pub(crate) data: Option<StoredState>,
    /// What the platform gets, to be sealed into `record.outputs`.
    pub(crate) outputs: Option<Vec<u8>>,
    /// What a successful update changes of `spec`, as a merge patch.
    pub(crate) spec: Option<Value>,
    /// Whether the stored steps have served their purpose.
    pub(crate) drop_steps: bool,
}

/// What the author has declared of the resources.
pub(crate) struct Author {
    /// Of the fields of such an instance.
    pub(crate) fields: Option<Arc<FieldsType>>,
    pub(crate) kinds: Arc<Kinds>,
}

/// See the module.
pub(crate) struct Recorder {
    home: Home,
    keys: Arc<Keys>,
    own: Arc<OwnWrites>,
    kind: Kind,
    operation: OperationId,
    verb: Verb,
    object: String,
    incarnation: String,
    epoch: u64,
    counter: u64,
    cancelled: CancellationToken,
    /// The right to write.
    pass: Pass,
    author: Author,
    namespace: String,
    /// The newest version that we know; writes go one after the other.
    meta: tokio::sync::Mutex<Meta>,
    shared: Mutex<Shared>,
    pub(crate) progress_changed: Notify,
}

#[derive(Default)]
struct Shared {
    /// Sealed results by `<counter>.<name>`.
    steps: BTreeMap<String, String>,
    /// Bytes of the sealed fields of the object, before base64.
    request_bytes: usize,
    data_bytes: usize,
    outputs_bytes: usize,
    /// Bytes of the stored results of steps, before base64.
    step_bytes: usize,
    /// Not stored yet.
    progress: Option<String>,
    /// The author's fields as they stand in the newest version that we know.
    fields: Object,
    /// The author's fields that are not stored yet.
    told: Option<Object>,
    /// Nothing can be written any more.
    lost: bool,
    /// No success can be written any more.
    given_up: bool,
}

/// Whether a write ends the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Not,
    WithSuccess,
    WithFailure,
}

impl Recorder {
    pub(crate) fn new(
        home: Home,
        keys: Arc<Keys>,
        own: Arc<OwnWrites>,
        stored: &Stored,
        author: Author,
        cancelled: CancellationToken,
        pass: Pass,
    ) -> Option<Self> {
        let record = stored.record.as_ref()?;
        let running = record.operation.as_ref()?;
        let shared = Shared {
            steps: record.steps.clone(),
            request_bytes: plain_bytes([&stored.spec.parameters, &running.request].into_iter().flatten()),
            data_bytes: plain_bytes(record.data.iter()),
            outputs_bytes: plain_bytes(record.outputs.iter()),
            step_bytes: plain_bytes(record.steps.values()),
            fields: stored.ext.clone().unwrap_or_default(),
            given_up: running.bound == Some(Bound::GivenUp),
            ..Shared::default()
        };
        Some(Self {
            home,
            keys,
            own,
            kind: stored.which(),
            operation: running.id.clone(),
            verb: running.verb,
            object: stored.metadata.name.clone(),
            incarnation: stored.spec.incarnation.clone(),
            epoch: record.epoch,
            counter: record.counter,
            cancelled,
            pass,
            author,
            namespace: stored.metadata.namespace.clone(),
            meta: tokio::sync::Mutex::new(stored.metadata.clone()),
            shared: Mutex::new(shared),
            progress_changed: Notify::new(),
        })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The metadata after the last write.
    pub(crate) async fn meta(&self) -> Meta {
        self.meta.lock().await.clone()
    }

    pub(crate) fn set_progress(&self, text: String) {
        let text = match text.char_indices().nth(MAX_PROGRESS_CHARS) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        };
        self.shared().progress = Some(text);
        self.progress_changed.notify_one();
    }

    /// The author's objects beside this one.
    pub(crate) fn resources<K: CustomKind>(&self) -> std::result::Result<Resources<K>, ResourceError> {
        Resources::new(&self.home, &self.author.kinds, &self.namespace)
    }

    /// Has the next write store the author's fields.
    pub(crate) fn set_fields<F: Fields>(&self, fields: &F) -> Result<()> {
        let Some(declared) = &self.author.fields else {
            return Err(Error::failed("Broker::fields declares no fields for this offering."));
        };
        let told = declared.to_stored(fields);
        let told = told.map_err(|error| Error::failed("The fields of the instance are wrong.").caused_by(error))?;
        self.shared().told = Some(told);
        Ok(())
    }

    /// The author's fields, as they were told last; `None` when nothing was told.
    pub(crate) fn fields(&self) -> Option<Object> {
        let shared = self.shared();
        let stored = || (!shared.fields.is_empty()).then(|| shared.fields.clone());
        shared.told.clone().or_else(stored)
    }

    /// Stores the last progress text, if there is one that is not stored.
    pub(crate) async fn flush_progress(&self) -> std::result::Result<(), RecordError> {
        let Some(text) = self.shared().progress.take() else {
            return Ok(());
        };
        self.write(&json!({"record": {"operation": {"progress": text}}}), Ends::Not)
            .await
    }

    /// The stored result of a step of this operation.
    pub(crate) fn step(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let key = step_key(self.counter, name);
        let sealed = self.shared().steps.get(&key).cloned();
        let Some(sealed) = sealed else { return Ok(None) };
        self.keys
            .open(self.place(&step_field(&key)), &sealed)
            .map(Some)
            .map_err(|error| Error::retry("A stored step cannot be read.").caused_by(error))
    }

    /// The stored result of a step of an earlier operation, the newest first; when this operation is being taken back,
    /// its own steps count.
    pub(crate) fn earlier_step(&self, name: &str, undoes: bool) -> Option<Vec<u8>> {
        let last = self.counter.saturating_sub(u64::from(!undoes));
        let candidates: Vec<(u64, String, String)> = self
            .shared()
            .steps
            .iter()
            .filter_map(|(key, sealed)| {
                let (counter, step) = key.split_once('.')?;
                let counter: u64 = counter.parse().ok()?;
                (step == name && counter <= last).then(|| (counter, key.clone(), sealed.clone()))
            })
            .collect();
        let (_, key, sealed) = candidates.into_iter().max()?;
        self.keys.open(self.place(&step_field(&key)), &sealed).ok()
    }

    pub(crate) async fn store_step(&self, name: &str, result: &[u8]) -> Result<()> {
        let stored = self.try_store_step(name, result).await;
        stored.map_err(|error| match error {
            RecordError::TooLarge | RecordError::TooManySteps => Error::failed(error.to_string()),
            error => Error::retry("A step could not be stored.").caused_by(error),
        })
    }

    async fn try_store_step(&self, name: &str, result: &[u8]) -> std::result::Result<(), RecordError> {
        let key = step_key(self.counter, name);
        let sealed = self.keys.seal(self.place(&step_field(&key)), result)?;
        {
            let mut shared = self.shared();
            let stored = shared.request_bytes + shared.data_bytes + shared.outputs_bytes + shared.step_bytes;
            if stored + result.len() > MAX_SEALED_BYTES {
                return Err(RecordError::TooLarge);
            }
            if shared.steps.len() >= MAX_STEPS {
                return Err(RecordError::TooManySteps);
            }
            shared.step_bytes += result.len();
        }
        let mut patch = json!({"record": {"steps": {(key.as_str()): sealed.as_str()}}});
        if let Some(text) = self.shared().progress.take() {
            patch["record"]["operation"] = json!({"progress": text});
        }
        self.write(&patch, Ends::Not).await?;
        self.shared().steps.insert(key, sealed);
        Ok(())
    }

    /// Ends the operation: one write with history, results and conditions.
    pub(crate) async fn store_outcome(
        &self,
        record: &Record,
        ended: Ended,
        status: &Status,
        outcome: &OutcomeWrite,
    ) -> std::result::Result<(), RecordError> {
        let ends = match ended.outcome {
            Outcome::Succeeded => Ends::WithSuccess,
            Outcome::Failed | Outcome::Superseded => Ends::WithFailure,
        };
        if ends == Ends::WithFailure {
            self.shared().told = None;
        }
        let adds = outcome.data.is_some() || outcome.outputs.is_some();
        if adds && self.bytes_after(outcome) > MAX_SEALED_BYTES {
            return Err(RecordError::TooLarge);
        }
        let seal = |field: &str, plain: Option<&Vec<u8>>| {
            plain.map(|plain| self.keys.seal(self.place(field), plain)).transpose()
        };
        let record = OutcomeRecord {
            operation: (),
            history: record.history_with(ended),
            data_version: outcome.data.as_ref().map(|state| state.version),
            data: seal("data", outcome.data.as_ref().map(|state| &state.json))?,
            outputs: seal("outputs", outcome.outputs.as_ref())?,
            steps: (outcome.drop_steps && !self.shared().steps.is_empty()).then_some(()),
        };
        let patch = OutcomePatch {
            spec: outcome.spec.as_ref(),
            record,
            status,
        };
        self.write(&patch, ends).await
    }

    /// Bytes of the sealed fields of the object with this outcome, before base64.
    fn bytes_after(&self, outcome: &OutcomeWrite) -> usize {
        let shared = self.shared();
        let steps = if outcome.drop_steps { 0 } else { shared.step_bytes };
        let data = outcome
            .data
            .as_ref()
            .map_or(shared.data_bytes, |state| state.json.len());
        let outputs = outcome.outputs.as_ref().map_or(shared.outputs_bytes, Vec::len);
        shared.request_bytes + steps + data + outputs
    }

    pub(crate) fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// Whether this process may still write, and call the author.
    pub(crate) fn holds(&self) -> bool {
        self.pass.holds()
    }

    fn may_write(&self, ends: Ends) -> std::result::Result<(), RecordError> {
        let shared = self.shared();
        match ends {
            _ if shared.lost => Err(RecordError::Lost),
            Ends::WithSuccess if shared.given_up => Err(RecordError::GivenUp),
            _ => Ok(()),
        }
    }

    /// Writes a patch on top of the newest version, as long as the operation is ours.
    async fn write(&self, patch: &impl Serialize, ends: Ends) -> std::result::Result<(), RecordError> {
        let mut meta = self.meta.lock().await;
        let mut tries = 0;
        loop {
            if !self.holds() {
                return Err(self.lose());
            }
            self.may_write(ends)?;
            let told = self.shared().told.clone();
            let written = match &told {
                None => self.home.patch(self.kind, &meta, patch).await,
                Some(told) => {
                    let ext = replacing(&self.shared().fields, told.clone());
                    self.home.patch(self.kind, &meta, &WithFields { ext, patch }).await
                }
            };
            match written {
                Ok(new) => {
                    self.own.add(&new.resource_version);
                    *meta = new;
                    self.fields_are_stored(told);
                    return Ok(());
                }
                Err(HomeError::NotFound) => return Err(self.lose()),
                Err(HomeError::Conflict) => match self.look_again(ends, &meta).await? {
                    Look::Mine(new, fields) => {
                        *meta = new;
                        self.shared().fields = fields;
                    }
                    Look::Written(new) => {
                        *meta = new;
                        return Ok(());
                    }
                    Look::Lost => return Err(self.lose()),
                },
                // A server that has just learnt of new fields may need a moment. Beyond that an outcome matters more.
                Err(HomeError::Refused(status)) if told.is_some() && tries >= TRIES => {
                    tracing::error!(object = %self.object, status,
                        "the home does not take the author's fields; they are left out: is its definition older?");
                    self.shared().told = None;
                }
                Err(error) if tries < TRIES && (error.is_passing() || is_refused(error) && told.is_some()) => {
                    tokio::time::sleep(FIRST_PAUSE * 2u32.pow(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn look_again(&self, ends: Ends, known: &Meta) -> std::result::Result<Look, RecordError> {
        let found: Option<Stored> = self.home.get(self.kind, &known.namespace, &known.name).await?;
        let Some(found) = found else { return Ok(Look::Lost) };
        let Some(record) = found
            .record
            .as_ref()
            .filter(|_| found.spec.incarnation == self.incarnation)
        else {
            return Ok(Look::Lost);
        };
        if ends != Ends::Not && has_ended(record, &self.operation) {
            return Ok(Look::Written(found.metadata));
        }
        let running = record.operation.as_ref();
        let same_operation = running.is_some_and(|running| running.id == self.operation);
        if running.is_some_and(|running| running.bound == Some(Bound::GivenUp)) {
            self.shared().given_up = true;
        }
        let deleted = found.metadata.deletion_timestamp.is_some() && !self.verb.removes();
        if same_operation && record.epoch == self.epoch && !deleted {
            Ok(Look::Mine(found.metadata, found.ext.unwrap_or_default()))
        } else {
            Ok(Look::Lost)
        }
    }

    /// What was told has been written; something newer may have been told meanwhile.
    fn fields_are_stored(&self, told: Option<Object>) {
        let Some(stored) = told else { return };
        let mut shared = self.shared();
        if shared.told.as_ref() == Some(&stored) {
            shared.told = None;
        }
        shared.fields = stored;
    }

    fn lose(&self) -> RecordError {
        self.shared().lost = true;
        self.cancelled.cancel();
        RecordError::Lost
    }

    fn place<'a>(&'a self, field: &'a str) -> Place<'a> {
        Place {
            object: &self.object,
            incarnation: &self.incarnation,
            field,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    /// Still ours: write again on top of this version, with these author's fields in it.
    Mine(Meta, Object),
    /// Our outcome stands there already: the answer to the write was lost.
    Written(Meta),
    Lost,
}

/// Whether the record shows that the operation has ended.
fn has_ended(record: &Record, operation: &OperationId) -> bool {
    record.operation.as_ref().is_none_or(|running| running.id != *operation)
        && record.history.iter().any(|ended| ended.id == *operation)
}

/// A write that brings the author's fields along.
#[derive(Serialize)]
struct WithFields<'a, T> {
    ext: Value,
    #[serde(flatten)]
    patch: &'a T,
}

/// The one write of an outcome. `()` is `null`, which removes a member.
#[derive(Serialize)]
struct OutcomePatch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<&'a Value>,
    record: OutcomeRecord,
    status: &'a Status,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutcomeRecord {
    operation: (),
    history: Vec<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<()>,
}

fn is_refused(error: HomeError) -> bool {
    matches!(error, HomeError::Refused(_))
}

/// The key of a step in `record.steps`.
fn step_key(counter: u64, name: &str) -> String {
    format!("{counter}.{name}")
}

fn step_field(key: &str) -> String {
    format!("step/{key}")
}

/// The bytes that sealed texts hold, before base64.
fn plain_bytes<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| text.len() / 4 * 3).sum()
}
