//! The writes of one running operation: steps, progress and the outcome, each fenced.
//!
//! A recorder belongs to one operation of one incarnation in one epoch. When somebody else has written to the object
//! in between, it looks: still the same operation, then it writes again on top of the newer version; else the operation
//! is lost, is cancelled, and nothing of it is written any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use osb_api::id::OperationId;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::erased::StoredState;
use crate::home::{Home, HomeError};
use crate::own_writes::OwnWrites;
use crate::resource::{Ended, Kind, MAX_PROGRESS_CHARS, MAX_STEPS, Meta, Record, Status, Stored, Verb};
use crate::seal::{Keys, MAX_SEALED_BYTES, Place, SealError};
use crate::service::{Error, Result};

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
    /// Nothing can be written any more.
    lost: bool,
}

impl Recorder {
    pub(crate) fn new(
        home: Home,
        keys: Arc<Keys>,
        own: Arc<OwnWrites>,
        stored: &Stored,
        cancelled: CancellationToken,
    ) -> Option<Self> {
        let record = stored.record.as_ref()?;
        let running = record.operation.as_ref()?;
        let shared = Shared {
            steps: record.steps.clone(),
            request_bytes: plain_bytes([&stored.spec.parameters, &running.request].into_iter().flatten()),
            data_bytes: plain_bytes(record.data.iter()),
            outputs_bytes: plain_bytes(record.outputs.iter()),
            step_bytes: plain_bytes(record.steps.values()),
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

    /// Stores the last progress text, if there is one that is not stored.
    pub(crate) async fn flush_progress(&self) -> std::result::Result<(), RecordError> {
        let Some(text) = self.shared().progress.take() else {
            return Ok(());
        };
        self.write(&json!({"record": {"operation": {"progress": text}}}), false)
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

    /// The stored result of a step of an earlier operation, the newest first.
    pub(crate) fn earlier_step(&self, name: &str) -> Option<Vec<u8>> {
        let candidates: Vec<(u64, String, String)> = self
            .shared()
            .steps
            .iter()
            .filter_map(|(key, sealed)| {
                let (counter, step) = key.split_once('.')?;
                let counter: u64 = counter.parse().ok()?;
                (step == name && counter < self.counter).then(|| (counter, key.clone(), sealed.clone()))
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
        self.write(&patch, false).await?;
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
        self.write(&patch, true).await
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

    /// Writes a patch on top of the newest version, as long as the operation is ours. `ends` says whether the patch
    /// ends it.
    async fn write(&self, patch: &impl Serialize, ends: bool) -> std::result::Result<(), RecordError> {
        let mut meta = self.meta.lock().await;
        let mut tries = 0;
        loop {
            if self.shared().lost {
                return Err(RecordError::Lost);
            }
            match self.home.patch(self.kind, &meta, patch).await {
                Ok(new) => {
                    self.own.add(&new.resource_version);
                    *meta = new;
                    return Ok(());
                }
                Err(HomeError::NotFound) => return Err(self.lose()),
                Err(HomeError::Conflict) => match self.look_again(ends, &meta).await? {
                    Look::Mine(new) => *meta = new,
                    Look::Written(new) => {
                        *meta = new;
                        return Ok(());
                    }
                    Look::Lost => return Err(self.lose()),
                },
                Err(error) if error.is_passing() && tries < TRIES => {
                    tokio::time::sleep(FIRST_PAUSE * 2u32.pow(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn look_again(&self, ends: bool, known: &Meta) -> std::result::Result<Look, RecordError> {
        let found: Option<Stored> = self.home.get(self.kind, &known.namespace, &known.name).await?;
        let Some(found) = found else { return Ok(Look::Lost) };
        let Some(record) = found
            .record
            .as_ref()
            .filter(|_| found.spec.incarnation == self.incarnation)
        else {
            return Ok(Look::Lost);
        };
        if ends && has_ended(record, &self.operation) {
            return Ok(Look::Written(found.metadata));
        }
        let same_operation = record
            .operation
            .as_ref()
            .is_some_and(|running| running.id == self.operation);
        let deleted = found.metadata.deletion_timestamp.is_some() && !self.verb.removes();
        if same_operation && record.epoch == self.epoch && !deleted {
            Ok(Look::Mine(found.metadata))
        } else {
            Ok(Look::Lost)
        }
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
    /// Still ours: write again on top of this version.
    Mine(Meta),
    /// Our outcome stands there already: the answer to the write was lost.
    Written(Meta),
    Lost,
}

/// Whether the record shows that the operation has ended.
fn has_ended(record: &Record, operation: &OperationId) -> bool {
    record.operation.as_ref().is_none_or(|running| running.id != *operation)
        && record.history.iter().any(|ended| ended.id == *operation)
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
