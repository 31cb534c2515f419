//! The calls of the front: check, store, decide, wait.

mod bind;
mod fetch;
mod poll;
mod provision;
mod remove;
mod update;
mod wait;

use std::sync::Arc;

use osb_api::answer::{BindingDetails, Bound, InstanceBody, InstanceDetails, Polled, Provisioned, Removed, Updated};
use osb_api::context::Context;
use osb_api::error::{
    BindError, DeprovisionError, Fault, FetchError, PollError, ProvisionError, UnbindError, UpdateError,
};
use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::request::{BindRequest, FetchQuery, Incomplete, PollQuery, ProvisionRequest, RemovalQuery, UpdateRequest};
use osb_server::{Caller, ServedCatalog};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::canonical::Canonical;
use crate::engine::{Engine, Inner};
use crate::home::HomeError;
use crate::hooks::{Action, Draft, DraftRequest};
use crate::metrics::Metrics;
use crate::names;
use crate::objects::{self, Known, New, Order};
use crate::operation::Operation;
use crate::removal::AcceptError;
use crate::resource::{Kind, Stored, Verb};
use crate::services::Found;
use remove::{Refusal, Removal};

/// How often a request looks again when others change its object at the same time.
const TRIES: usize = 20;

const RETRY_AFTER_SECS: u32 = 5;

/// The futures of the calls are large and pass through many hands in the front, so each is boxed where it begins.
impl osb_server::Broker for Engine {
    fn catalog(&self) -> ServedCatalog {
        self.inner.services().served()
    }

    async fn provision(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: ProvisionRequest,
        incomplete: Incomplete,
    ) -> Result<Provisioned, ProvisionError> {
        Box::pin(self.inner.provision(&caller, &instance, &request, incomplete)).await
    }

    async fn update(
        &self,
        caller: Caller,
        instance: InstanceId,
        request: UpdateRequest,
        incomplete: Incomplete,
    ) -> Result<Updated, UpdateError> {
        Box::pin(self.inner.update(&caller, &instance, &request, incomplete)).await
    }

    async fn deprovision(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, DeprovisionError> {
        let name = names::instance(&instance);
        let what = Removal {
            kind: Kind::Instance,
            name: &name,
            instance: &instance,
            binding: None,
        };
        Box::pin(self.inner.remove(&caller, what, &query, incomplete))
            .await
            .map_err(|refusal| match refusal {
                Refusal::Invalid(text) => DeprovisionError::Invalid(text),
                Refusal::Gone => DeprovisionError::Gone,
                Refusal::AsyncRequired => DeprovisionError::AsyncRequired,
                Refusal::Fault(fault) => DeprovisionError::Fault(fault),
            })
    }

    async fn instance_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        let name = names::instance(&instance);
        let polled = self.inner.poll(&caller, Kind::Instance, &name, &instance, None, &query);
        Box::pin(polled).await
    }

    async fn bind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        request: BindRequest,
        incomplete: Incomplete,
    ) -> Result<Bound, BindError> {
        Box::pin(self.inner.bind(&caller, &instance, &binding, &request, incomplete)).await
    }

    async fn unbind(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: RemovalQuery,
        incomplete: Incomplete,
    ) -> Result<Removed, UnbindError> {
        let name = names::binding(&instance, &binding);
        let what = Removal {
            kind: Kind::Binding,
            name: &name,
            instance: &instance,
            binding: Some(&binding),
        };
        Box::pin(self.inner.remove(&caller, what, &query, incomplete))
            .await
            .map_err(|refusal| match refusal {
                Refusal::Invalid(text) => UnbindError::Invalid(text),
                Refusal::Gone => UnbindError::Gone,
                Refusal::AsyncRequired => UnbindError::AsyncRequired,
                Refusal::Fault(fault) => UnbindError::Fault(fault),
            })
    }

    async fn binding_last_operation(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        query: PollQuery,
    ) -> Result<Polled, PollError> {
        let name = names::binding(&instance, &binding);
        let polled = self
            .inner
            .poll(&caller, Kind::Binding, &name, &instance, Some(&binding), &query);
        Box::pin(polled).await
    }

    async fn fetch_instance(
        &self,
        caller: Caller,
        instance: InstanceId,
        _: FetchQuery,
    ) -> Result<InstanceDetails, FetchError> {
        Box::pin(self.inner.fetch_instance(&caller, &instance)).await
    }

    async fn fetch_binding(
        &self,
        caller: Caller,
        instance: InstanceId,
        binding: BindingId,
        _: FetchQuery,
    ) -> Result<BindingDetails, FetchError> {
        Box::pin(self.inner.fetch_binding(&caller, &instance, &binding)).await
    }

    fn ready(&self) -> Result<(), String> {
        if self.inner.ready.load(std::sync::atomic::Ordering::Acquire) {
            Ok(())
        } else {
            Err("the engine is starting or stopping".to_owned())
        }
    }

    fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
        if self.inner.config.replica.is_some() {
            Metrics::register_replica(registry, self.inner.shards.clone());
        }
    }
}

impl Inner {
    /// Creates an object; a write whose answer was lost is settled by reading back.
    async fn create(&self, object: Stored) -> Result<Created, Fault> {
        let (kind, namespace) = (object.which(), &object.metadata.namespace);
        match self.home.create(kind, namespace, &object).await {
            Ok(meta) => {
                self.own.add(&meta.resource_version);
                Ok(Created::New(Stored {
                    metadata: meta,
                    ..object
                }))
            }
            Err(HomeError::AlreadyExists) => Ok(Created::Taken),
            Err(HomeError::Unknown) => {
                let found: Option<Stored> = self
                    .home
                    .get(kind, namespace, &object.metadata.name)
                    .await
                    .map_err(fault)?;
                match found {
                    Some(found) if found.spec.incarnation == object.spec.incarnation => Ok(Created::New(found)),
                    Some(_) => Ok(Created::Taken),
                    None => Err(fault(HomeError::Unknown)),
                }
            }
            Err(error) => Err(fault(error)),
        }
    }

    fn new_object<'a>(&'a self, namespace: &'a str, epoch: u64, canonical: &Canonical, caller: &'a Caller) -> New<'a> {
        New {
            home: &self.home,
            keys: &self.keys,
            namespace,
            epoch,
            digest: self.keys.digest(canonical),
            identity: caller.identity.as_ref(),
            trace: caller.trace.as_deref(),
            now: self.now(),
        }
    }

    fn tenant(&self, caller: &Caller) -> Result<&str, Fault> {
        let unknown = || Fault::Unavailable("This platform has no namespace.".to_owned());
        self.namespace(&caller.platform).ok_or_else(unknown)
    }

    /// A plan of which something new may be made.
    fn offered(&self, offering: &OfferingId, plan: &PlanId) -> Result<Found, String> {
        self.services()
            .offered(offering, plan)
            .ok_or_else(|| "service_id or plan_id: the catalog has no such plan of that service".to_owned())
    }

    /// A request finds done what it asks for.
    fn repeated(&self, caller: &Caller, existing: &Stored, verb: Verb) {
        self.count_repeat(existing, verb);
        caller.trail.repeated();
    }

    /// A request finds running what it asks for.
    fn joined(&self, caller: &Caller, existing: &Stored, verb: Verb) {
        self.count_repeat(existing, verb);
        caller.trail.joined();
    }

    /// The context of the instance that something is, or belongs to; where somebody decides by it.
    async fn instance_context(&self, stored: &Stored) -> Result<Option<Context>, HomeError> {
        if stored.which() != Kind::Binding || !self.services().hooks.authorizes() {
            return Ok(stored.spec.context.clone());
        }
        let (namespace, name) = (&stored.metadata.namespace, stored.instance_name());
        let instance: Option<Stored> = self.home.get(Kind::Instance, namespace, &name).await?;
        Ok(instance.and_then(|instance| instance.spec.context))
    }

    /// What the author's hooks have against a request that is right otherwise.
    async fn refuse_draft(&self, action: &Action<'_>, request: DraftRequest<'_>) -> Option<Wrong> {
        match self.services().hooks.validate(&Draft { action, request }).await {
            Ok(text) => text.map(Wrong::Values),
            Err(fault) => Some(Wrong::Fault(fault)),
        }
    }

    fn admit(&self) -> Result<(), Fault> {
        if self.pending() >= self.config.max_pending {
            return Err(Fault::TooMany {
                retry_after_secs: RETRY_AFTER_SECS,
            });
        }
        Ok(())
    }

    fn is_same(&self, existing: &Stored, canonical: &Canonical) -> bool {
        existing
            .spec
            .digest
            .as_deref()
            .is_some_and(|digest| self.keys.same_digest(digest, canonical))
    }

    fn instance_body(&self, existing: &Stored) -> Result<InstanceBody, Fault> {
        Ok(objects::outputs(&self.keys, existing)
            .map_err(|error| fault_of_seal(&error))?
            .unwrap_or_default())
    }

    fn dashboard_url(&self, stored: &Stored, known: Option<&Known>, found: &Found) -> Option<String> {
        let platform = self.platform(&stored.metadata.namespace)?;
        let running = stored.running()?;
        let opened;
        let known = match known {
            Some(known) => known,
            None => {
                opened = Known::open(&self.keys, stored, running).ok()?;
                &opened
            }
        };
        let facts = objects::facts(platform, &found.plan.plan, stored, stored, running, known);
        let operation = Operation {
            facts: Arc::new(facts),
            attempt: 1,
            cancelled: CancellationToken::new(),
            undoes: false,
            recorder: None,
        };
        found.registration.service.dashboard_url(&operation)
    }
}

/// An operation that a request begins.
fn order(verb: Verb, epoch: u64, caller: &Caller) -> Order<'_> {
    Order {
        verb,
        epoch,
        identity: caller.identity.as_deref(),
        trace: caller.trace.as_deref(),
        change: None,
    }
}

/// Why the author's hooks do not let a request through.
enum Wrong {
    Values(String),
    Fault(Fault),
}

/// What became of a create.
#[expect(
    clippy::large_enum_variant,
    reason = "it is short-lived, and the large one is the usual one"
)]
enum Created {
    New(Stored),
    Taken,
}

fn other_attributes(what: &str) -> String {
    format!("The {what} exists or is being created with other attributes.")
}

fn foreign(what: &str) -> String {
    format!("The name of the {what} is taken by an object that this broker did not make.")
}

fn failed(text: Option<String>) -> Fault {
    Fault::Failed(text.unwrap_or_else(|| "The operation failed.".to_owned()))
}

fn too_slow() -> Fault {
    Fault::Failed("The operation did not finish in time for a synchronous answer.".to_owned())
}

pub(crate) fn fault(error: HomeError) -> Fault {
    tracing::warn!(%error, "the home of the broker's state did not answer as it should");
    Fault::Unavailable("The broker cannot reach or write its state now.".to_owned())
}

fn fault_of_seal(error: &crate::seal::SealError) -> Fault {
    tracing::error!(%error, "a sealed field cannot be used");
    Fault::Unavailable("The broker cannot read its state.".to_owned())
}

fn fault_of_accept(error: AcceptError) -> Fault {
    match error {
        AcceptError::Home(error) => fault(error),
        AcceptError::Changed | AcceptError::Seal => {
            Fault::Unavailable("The broker cannot write its state now.".to_owned())
        }
    }
}
