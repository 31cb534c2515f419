//! The running operation, as the author sees it.

use std::future::Future;
use std::sync::Arc;

use osb_api::Object;
use osb_api::catalog::Plan;
use osb_api::context::Context;
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId};
use osb_api::identity::{OriginatingIdentity, UserInfo};
use osb_api::request::BindResource;
use osb_server::Platform;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::custom::{CustomKind, Fields, ResourceError, Resources};
use crate::names;
use crate::recorder::Recorder;
use crate::resource::Verb;
use crate::service::{Error, Result};

/// What is known of an operation before it runs; the same on every attempt.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: OperationId,
    pub(crate) verb: Verb,
    pub(crate) platform: Platform,
    pub(crate) instance: InstanceId,
    pub(crate) instance_incarnation: String,
    pub(crate) binding: Option<(BindingId, String)>,
    pub(crate) offering: OfferingId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) context: Option<Context>,
    pub(crate) identity: Option<Arc<OriginatingIdentity>>,
    pub(crate) bind_resource: Option<BindResource>,
    /// The author's fields of the instance, as they stood there when it began.
    pub(crate) fields: Option<Object>,
}

/// One call of an author's function: who wants what, under which key, and the means to record progress.
///
/// ```
/// # use osb_engine as osb_sdk;
/// use osb_sdk::{Operation, Result};
/// # async fn make_disk(_: &str) -> std::io::Result<u64> { Ok(1) }
/// # async fn make_database(_: &str, _: u64) -> std::io::Result<()> { Ok(()) }
///
/// async fn provision(op: &Operation) -> Result<String> {
///     let name = op.stable_name("db");
///     // Not made again when the next line fails and everything is tried once more, also after a crash.
///     let disk = op.step("disk", || async { Ok(make_disk(&name).await?) }).await?;
///     op.progress("The disk is there; the database is being made.");
///     make_database(&name, disk).await?;
///     Ok(name)
/// }
/// ```
pub struct Operation {
    pub(crate) facts: Arc<Facts>,
    pub(crate) attempt: u32,
    pub(crate) cancelled: CancellationToken,
    /// Whether what the operation has done is taken back.
    pub(crate) undoes: bool,
    /// Absent where nothing runs yet and there is nothing to record.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

impl Operation {
    /// The idempotency key: the same each time this operation is tried, also after a crash, and never given to
    /// another operation. Unreserved characters only.
    pub fn key(&self) -> &str {
        self.facts.id.as_str()
    }

    /// The attempt, from 1 on; counted anew after a restart of the broker.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What is being done.
    pub fn verb(&self) -> Verb {
        self.facts.verb
    }

    /// The instance.
    pub fn instance(&self) -> &InstanceId {
        &self.facts.instance
    }

    /// The binding, in [`bind`](crate::Service::bind) and [`unbind`](crate::Service::unbind).
    pub fn binding(&self) -> Option<&BindingId> {
        self.facts.binding.as_ref().map(|(id, _)| id)
    }

    /// The offering of the instance.
    pub fn offering(&self) -> &OfferingId {
        &self.facts.offering
    }

    /// The plan of the instance.
    pub fn plan(&self) -> &Plan {
        &self.facts.plan
    }

    /// The platform that asked.
    pub fn platform(&self) -> &Platform {
        &self.facts.platform
    }

    /// What the platform told of where the instance or binding lives.
    pub fn context(&self) -> Option<&Context> {
        self.facts.context.as_ref()
    }

    /// The user of the platform, if it said who that is. Deletions that the platform makes on its own have none.
    pub fn identity(&self) -> Option<&OriginatingIdentity> {
        self.facts.identity.as_deref()
    }

    /// As [`identity`](Self::identity), in one form for all platforms.
    pub fn user(&self) -> Option<UserInfo> {
        self.identity().map(OriginatingIdentity::user_info)
    }

    /// What a binding is for, in [`bind`](crate::Service::bind).
    pub fn bind_resource(&self) -> Option<&BindResource> {
        self.facts.bind_resource.as_ref()
    }

    /// A name for something in the backend: `prefix`, `_` and 26 lower-case letters and digits. It is the same for
    /// the whole life of the instance (in bind and unbind: of the binding), on every attempt and every replica, and
    /// different for an instance that is made later under the same id.
    pub fn stable_name(&self, prefix: &str) -> String {
        match &self.facts.binding {
            Some((_, incarnation)) => names::backend(prefix, incarnation),
            None => self.instance_name(prefix),
        }
    }

    /// As [`stable_name`](Self::stable_name), of the instance also in bind and unbind.
    pub fn instance_name(&self, prefix: &str) -> String {
        names::backend(prefix, &self.facts.instance_incarnation)
    }

    /// As [`stable_name`](Self::stable_name), with `-` where that has `_`: a name for objects of the author's kinds
    /// ([`Operation::resources`]), when the prefix is made of lower-case letters and digits.
    pub fn object_name(&self, prefix: &str) -> String {
        let incarnation = match &self.facts.binding {
            Some((_, incarnation)) => incarnation,
            None => &self.facts.instance_incarnation,
        };
        format!("{prefix}-{incarnation}")
    }

    /// The epoch of this process: grows with every restart or change of hands. A backend that can compare numbers
    /// refuses calls with a lower fence than it has seen, and so shuts out a process that was declared dead but still
    /// runs.
    pub fn fence(&self) -> u64 {
        self.recorder.as_ref().map_or(0, |recorder| recorder.epoch())
    }

    /// Ends when the operation is to stop, because a deletion supersedes it, the broker shuts down or another replica
    /// goes on with it. What does not
    /// stop within the grace period is dropped at its next await.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether [`cancelled`](Self::cancelled) has ended.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Tells the user how far it is. Stored at most once a second; the last text wins. At most 1,024 characters.
    pub fn progress(&self, text: impl Into<String>) {
        if let Some(recorder) = &self.recorder {
            recorder.set_progress(text.into());
        }
    }

    /// Tells the author's fields of the instance, all of them: what stood there before goes. They are stored with the
    /// next write of the operation, at the latest with its outcome; a [`progress`](Self::progress) text shows them at
    /// once. When the operation fails, what has not been stored until then is forgotten. They are **not secret**, see
    /// [`Fields`].
    ///
    /// # Errors
    /// A final one when the fields are of another type than declared, larger than
    /// [`MAX_FIELDS_BYTES`](crate::MAX_FIELDS_BYTES), or do not fit their own schema; and in bind and unbind, which
    /// write no instance.
    pub fn set_fields<F: Fields>(&self, fields: &F) -> Result<()> {
        let Some(recorder) = self.recorder.as_ref().filter(|_| self.facts.binding.is_none()) else {
            return Err(Error::failed("Only an operation on an instance sets its fields."));
        };
        recorder.set_fields(fields)
    }

    /// The author's fields of the instance, as they were when the operation began or as it has told them since.
    /// `None` when there are none or they have another form.
    pub fn fields<F: Fields>(&self) -> Option<F> {
        let told = self.recorder.as_ref().and_then(|recorder| recorder.fields());
        let fields = told.or_else(|| self.facts.fields.clone())?;
        F::deserialize(serde_json::Value::Object(fields)).ok()
    }

    /// The objects of a kind of the author's own, in the namespace of the instance. They live on their own: a
    /// [`deprovision`](crate::Service::deprovision) deletes those that belong to the instance.
    ///
    /// # Errors
    /// [`ResourceError::NotDeclared`]; also in [`dashboard_url`](crate::Service::dashboard_url), while nothing runs.
    pub fn resources<K: CustomKind>(&self) -> Result<Resources<K>, ResourceError> {
        let recorder = self.recorder.as_ref();
        recorder.ok_or(ResourceError::NotDeclared(K::KIND))?.resources()
    }

    /// Runs a part of the work whose result is stored: when the operation is tried again, after an error or a crash,
    /// a step that has a stored result is not run again, the stored result is returned.
    ///
    /// The name is unique in the operation. The result is stored encrypted.
    ///
    /// # Errors
    /// What the step returns; and an error that may be retried when the result cannot be stored.
    pub async fn step<T, F, Fut>(&self, name: &str, run: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let Some(recorder) = &self.recorder else {
            return run().await;
        };
        // What is taken back has steps of its own.
        let name = &if self.undoes {
            format!("{UNDO}{name}")
        } else {
            name.to_owned()
        };
        if let Some(stored) = recorder.step(name)? {
            return serde_json::from_slice(&stored).map_err(|_| not_readable(name));
        }
        if !recorder.holds() {
            return Err(Error::retry("Another replica of the broker has taken this work over."));
        }
        let result = run().await?;
        let bytes = serde_json::to_vec(&result).map_err(|_| not_readable(name))?;
        recorder.store_step(name, &bytes).await?;
        Ok(result)
    }

    /// The stored result of a step of an earlier operation on the same object: in deprovision and unbind, of the
    /// interrupted or failed operation that is being cleaned up; in
    /// [`undo_update`](crate::Updatable::undo_update), of the update. `None` when there is none or it has another form.
    pub fn earlier_step<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let stored = self.recorder.as_ref()?.earlier_step(name, self.undoes)?;
        serde_json::from_slice(&stored).ok()
    }
}

/// In front of the names of steps by which an operation is taken back.
const UNDO: &str = "undo.";

fn not_readable(step: &str) -> Error {
    Error::failed(format!(
        "The result of the step {step:?} cannot be stored or read: its type has changed."
    ))
}
