//! One look at an instance: what is to be done next, and doing it.
//!
//! Before the first object is made, three things are written, in this order: the finalizer, the values (generated ones above
//! all), and the list of objects. Whoever looks next finds them and goes on.

mod carry;
mod intend;
mod remove;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::{Api, ApiError};
use crate::blot::Blot;
use crate::controller::Context;
use crate::events::{Level, tell};
use crate::metrics::Ended;
use crate::names::{FAILED_MESSAGE, TIMEOUT, WAITING_MESSAGE, condition, reason};
use crate::objects::{Hands, ObjectError};
use crate::plan::{Owner, duration};
use crate::proof::{self, NotProven};
use crate::queue::{Key, Next};
use crate::requester;
use crate::resources::{Operation, OperationKind, Outcome, Requester, TemplateInstance, TemplateInstanceStatus};
use crate::status;
use crate::values::ValuesError;

/// Why a look ends before everything is done.
#[derive(Debug)]
enum Stop {
    /// It may go better in a moment.
    Transient(String),
    /// Objects cannot be made, for good.
    Making(Vec<String>),
    /// Objects do not become ready.
    Readiness(Vec<String>),
    /// Somebody else has written the instance meanwhile.
    Changed,
}

impl From<ObjectError> for Stop {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Transient(text) => Stop::Transient(text),
            ObjectError::Permanent(text) => Stop::Making(vec![text]),
        }
    }
}

impl From<ValuesError> for Stop {
    fn from(error: ValuesError) -> Self {
        match error {
            ValuesError::Wrong(text) => Stop::Making(vec![text]),
            ValuesError::Api(error) if error.is_transient() => Stop::Transient(error.to_string()),
            ValuesError::Api(error) => Stop::Making(vec![error.to_string()]),
        }
    }
}

/// What the controller itself may not do, an administrator can mend: it is tried again.
fn own(error: ApiError) -> Stop {
    if error.is_conflict() || error.is_not_found() {
        return Stop::Changed;
    }
    Stop::Transient(error.to_string())
}

/// Looks at an instance.
pub(crate) async fn look_at(context: &Context, key: &Key) -> Next {
    let api = Api::new(&context.client);
    let instance: TemplateInstance = match api.get(&status::path(&key.namespace, &key.name)).await {
        Ok(instance) => instance,
        Err(error) if error.is_not_found() => return Next::Done,
        Err(error) => {
            tracing::warn!(%error, namespace = %key.namespace, name = %key.name, "an instance cannot be read");
            return Next::Retry;
        }
    };
    let mut run = Run::new(context, key, instance);
    let looked = if run.instance.metadata.deletion_timestamp.is_some() {
        if !status::has_finalizer(&run.instance) {
            context.options.metrics.forget(&run.uid);
            return Next::Done;
        }
        run.remove().await
    } else if run.instance.outcome() != Outcome::InProgress {
        context.options.metrics.forget(&run.uid);
        return Next::Done;
    } else {
        run.make().await
    };
    match looked {
        Ok(next) => next,
        Err(stop) => run.stopped(stop).await,
    }
}

/// An instance that is being looked at.
struct Run<'c> {
    context: &'c Context,
    key: &'c Key,
    api: Api<'c>,
    instance: TemplateInstance,
    /// In whose name, once that is checked.
    requester: Requester,
    blot: Blot,
    uid: String,
    generation: i64,
}

impl<'c> Run<'c> {
    fn new(context: &'c Context, key: &'c Key, instance: TemplateInstance) -> Self {
        Self {
            context,
            key,
            api: Api::new(&context.client),
            requester: Requester::default(),
            blot: Blot::default(),
            uid: instance.metadata.uid.clone().unwrap_or_default(),
            generation: instance.metadata.generation.unwrap_or_default(),
            instance,
        }
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            namespace: &self.key.namespace,
            name: &self.key.name,
            uid: &self.uid,
        }
    }

    fn hands(&self) -> Hands<'_> {
        Hands {
            requester: self.api.acting_for(&self.requester),
            own: self.api.clone(),
            owner: &self.uid,
        }
    }

    fn status(&self) -> TemplateInstanceStatus {
        self.instance.status.clone().unwrap_or_default()
    }

    fn status_mut(&mut self) -> &mut TemplateInstanceStatus {
        self.instance.status.get_or_insert_default()
    }

    /// Writes the status, if it is another one than `before`.
    async fn write(&mut self, before: &TemplateInstanceStatus) -> Result<(), Stop> {
        if self.instance.status.as_ref() == Some(before) {
            return Ok(());
        }
        status::write(&self.api, &mut self.instance).await.map_err(own)
    }

    /// Makes the objects, or changes them.
    async fn make(&mut self) -> Result<Next, Stop> {
        self.begin();
        self.count_running();
        let accounts = self.context.options.service_accounts;
        let refused = |error: &dyn std::fmt::Display| Stop::Making(vec![error.to_string()]);
        let checked = requester::check(self.instance.spec.requester.as_ref(), accounts);
        self.requester = checked.map_err(|error| refused(&error))?;
        let options = &self.context.options;
        match proof::check(&options.proof, &self.api, &self.instance, options.settled).await {
            Ok(()) => {}
            Err(NotProven::Unknown(error)) => return Err(Stop::Transient(NotProven::Unknown(error).to_string())),
            Err(error) => return Err(refused(&error)),
        }
        let body = self.instance.spec.template.clone();
        let template = body
            .read()
            .map_err(|error| Stop::Making(vec![format!("unable to process Template objects: {error}")]))?;
        let planned = if self.is_intended() {
            self.resume(&template).await?
        } else {
            self.intend(&template).await?
        };
        self.carry_out(&planned).await
    }

    /// An operation begins with the first look at a generation.
    fn begin(&mut self) {
        let generation = Some(self.generation);
        let status = self.status_mut();
        let is_running = |operation: &Operation| operation.generation == generation && operation.ended_at.is_none();
        if status.operation.as_ref().is_some_and(is_running) {
            return;
        }
        let is_new = status.objects.is_empty() && status.values.is_none();
        status.operation = Some(Operation {
            kind: if is_new {
                OperationKind::Instantiate
            } else {
                OperationKind::Update
            },
            started_at: Time(status::whole_seconds(Timestamp::now())),
            generation,
            ended_at: None,
        });
        status::set_waiting(status, WAITING_MESSAGE, generation);
    }

    /// Counts that an operation runs, from when on.
    fn count_running(&self) {
        let operation = self
            .instance
            .status
            .as_ref()
            .and_then(|status| status.operation.as_ref());
        if let Some(operation) = operation {
            self.context.options.metrics.runs(&self.uid, operation.started_at.0);
        }
    }

    /// Counts how the operation has ended.
    fn count(&self, how: Ended) {
        let operation = self
            .instance
            .status
            .as_ref()
            .and_then(|status| status.operation.as_ref());
        if let Some(operation) = operation {
            self.context.options.metrics.ended(&self.uid, operation.kind, how);
        }
    }

    /// Whether the list of objects for this generation is stored, and their values with it.
    fn is_intended(&self) -> bool {
        let status = self.instance.status.as_ref();
        status.is_some_and(|status| status.values.is_some() && status.observed_generation == Some(self.generation))
    }

    /// How long the operation has been running.
    fn elapsed(&self) -> Duration {
        let operation = self
            .instance
            .status
            .as_ref()
            .and_then(|status| status.operation.as_ref());
        operation.map_or(Duration::ZERO, |operation| since(operation.started_at.0))
    }

    /// How long it may run.
    fn timeout(&self) -> Duration {
        let annotations = self.instance.metadata.annotations.as_ref();
        let own = annotations.and_then(|annotations| duration(annotations.get(TIMEOUT)?));
        own.or_else(|| {
            let template = self.instance.spec.template.read().ok()?;
            duration(template.annotation(TIMEOUT)?)
        })
        .unwrap_or(self.context.options.timeout)
    }

    /// Writes down why the look ended, and decides when the next one is.
    async fn stopped(&mut self, stop: Stop) -> Next {
        let is_deleted = self.instance.metadata.deletion_timestamp.is_some();
        let stop = match stop {
            Stop::Transient(why) if !is_deleted && self.elapsed() >= self.timeout() => Stop::Readiness(vec![format!(
                "timeout while waiting for template instance to be ready: {why}"
            )]),
            other => other,
        };
        match stop {
            Stop::Changed => Next::After(Duration::ZERO),
            Stop::Transient(why) => {
                self.say_retry(&why).await;
                Next::Retry
            }
            Stop::Making(errors) => self.fail(errors, false).await,
            Stop::Readiness(errors) => self.fail(errors, true).await,
        }
    }

    async fn say_retry(&mut self, why: &str) {
        let why = self.blot.out(why);
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        tracing::info!(%why, %namespace, %name, "an instance cannot be brought further now; trying again");
        let generation = Some(self.generation);
        let before = self.status();
        let message = match self.instance.metadata.deletion_timestamp {
            Some(_) => format!("Waiting for objects to be removed: {why}"),
            None => format!("{WAITING_MESSAGE}; trying again: {why}"),
        };
        status::set_waiting(self.status_mut(), &message, generation);
        // What cannot be written now is written with the next look.
        if self.status() != before {
            let _ = status::write(&self.api, &mut self.instance).await;
        }
    }

    /// Stores a failure.
    async fn fail(&mut self, errors: Vec<String>, is_readiness: bool) -> Next {
        let lines: Vec<String> = errors.iter().map(|error| self.blot.out(error)).collect();
        let message = lines.join("\n");
        let generation = Some(self.generation);
        let status = self.status_mut();
        let is_new = status
            .operation
            .as_ref()
            .is_none_or(|operation| operation.kind == OperationKind::Instantiate);
        if is_new && !is_readiness {
            status::unset(status, condition::READY);
        } else {
            status::set(
                status,
                condition::READY,
                "False",
                reason::FAILED,
                FAILED_MESSAGE,
                generation,
            );
        }
        status::set(
            status,
            condition::INSTANTIATE_FAILURE,
            "True",
            reason::FAILED,
            &message,
            generation,
        );
        end(status);
        self.context.watches.forget(&self.uid);
        match status::write(&self.api, &mut self.instance).await {
            Ok(()) => {
                self.count(Ended::Failed);
                tell(&self.api, &self.instance, Level::Warning, "Failed", &message).await;
                Next::Done
            }
            Err(error) if error.is_conflict() => Next::After(Duration::ZERO),
            Err(error) if error.is_not_found() => Next::Done,
            Err(error) => {
                tracing::warn!(%error, namespace = %self.key.namespace, name = %self.key.name, "a failure cannot be stored");
                Next::Retry
            }
        }
    }
}

/// The operation has ended.
fn end(status: &mut TemplateInstanceStatus) {
    if let Some(operation) = &mut status.operation {
        operation.ended_at = Some(Time(status::whole_seconds(Timestamp::now())));
    }
}

fn since(time: Timestamp) -> Duration {
    Timestamp::now()
        .duration_since(time)
        .try_into()
        .unwrap_or(Duration::ZERO)
}
