//! What is done for one object: look, claim, begin.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use osb_server::Trace;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::bindings::is_of;
use super::ready::Turn;
use crate::admin;
use crate::decide::{self, Work};
use crate::engine::Inner;
use crate::home::HomeError;
use crate::lanes::{Accepted, Job, LaneKey, Target};
use crate::objects::Order;
use crate::removal::AcceptError;
use crate::resource::{FINALIZER, Kind, Running, Stored, Verb};
use crate::shards::Pass;

/// The pause after the home did not do as it was asked.
pub(super) const HOME_PAUSE: Duration = Duration::from_millis(500);

/// How often an object that changes while we look is looked at again.
pub(super) const LOOKS: usize = 20;

/// Does the jobs of a lane, one after the other, until there is none.
pub(crate) async fn work_lane(inner: Arc<Inner>, key: LaneKey) {
    while let Some((job, cancelled)) = inner.lanes.next(&key, &inner.shards.token(&key.instance)) {
        let target = job.target.clone();
        let attempt = job.attempt;
        let span = job.span.clone();
        let done = AssertUnwindSafe(inner.do_job(&key, job, cancelled))
            .catch_unwind()
            .instrument(span.clone())
            .await;
        let _entered = span.entered();
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, object = %target.name, "the home did not let an operation go on; trying again");
                inner.again(key.clone(), target, attempt, HOME_PAUSE);
            }
            Err(_) => {
                tracing::error!(object = %target.name, "the engine broke down while it worked on an object");
                inner.again(key.clone(), target, attempt + 1, inner.pause_after(attempt));
            }
        }
    }
}

impl Inner {
    async fn do_job(self: &Arc<Self>, key: &LaneKey, job: Job, cancelled: CancellationToken) -> Result<(), HomeError> {
        let fresh = job.accepted.is_some() && job.attempt == 1;
        let (kind, name) = (job.target.kind, &job.target.name);
        let Some(tenure) = self.shards.enter(&key.instance) else {
            // Who owns it looks for it.
            self.metrics.ages.idle(&key.namespace, kind, name);
            return Ok(());
        };
        let epoch = tenure.epoch();
        let mut accepted = match job.accepted {
            Some(accepted) => accepted,
            None => match self.home.get::<Stored>(kind, &key.namespace, name).await? {
                Some(stored) => stored.into(),
                None => {
                    self.metrics.ages.idle(&key.namespace, kind, name);
                    return Ok(());
                }
            },
        };
        for _ in 0..LOOKS {
            if !tenure.is_current() {
                self.metrics.ages.idle(&key.namespace, kind, name);
                return Ok(());
            }
            let stored = &accepted.stored;
            if let Some(order) = admin::order(&stored.metadata.annotations) {
                match self.administer(key, stored, epoch, order).await {
                    Ok(()) | Err(HomeError::Conflict | HomeError::NotFound) => {}
                    Err(error) => return Err(error),
                }
                match self.home.get::<Stored>(kind, &key.namespace, name).await? {
                    Some(found) => accepted = found.into(),
                    None => return Ok(()),
                }
                continue;
            }
            let changed = match decide::work(stored, epoch, FINALIZER) {
                Work::Nothing => {
                    self.metrics.ages.idle(&key.namespace, kind, name);
                    return Ok(());
                }
                Work::NotMine => {
                    self.shards.is_stale();
                    return Ok(());
                }
                Work::NotOurs => {
                    tracing::warn!(object = %name, namespace = %key.namespace, "not made by this broker, left alone");
                    return Ok(());
                }
                Work::Run => {
                    let pass = tenure.pass();
                    let done = self
                        .run(key, accepted, (fresh, job.attempt), cancelled, pass.clone())
                        .await;
                    if !pass.holds() {
                        self.metrics.ages.idle(&key.namespace, kind, name);
                    }
                    return done;
                }
                Work::Claim => self.claim(stored, epoch).await.map(|claimed| claimed.metadata),
                Work::AddFinalizer => {
                    let mut finalizers: Vec<&str> = stored.metadata.finalizers.iter().map(String::as_str).collect();
                    finalizers.push(FINALIZER);
                    self.home.set_finalizers(kind, &stored.metadata, &finalizers).await
                }
                Work::Remove => {
                    let verb = if kind == Kind::Binding {
                        Verb::Unbind
                    } else {
                        Verb::Deprovision
                    };
                    match self.accept(stored, Order::own(verb, epoch)).await {
                        Ok(removal) => {
                            accepted = removal.into();
                            continue;
                        }
                        Err(AcceptError::Changed) => Err(HomeError::Conflict),
                        Err(AcceptError::Home(error)) => Err(error),
                        Err(AcceptError::Seal) => Err(HomeError::Unknown),
                    }
                }
            };
            match changed {
                Ok(meta) => self.own.add(&meta.resource_version),
                Err(HomeError::Conflict | HomeError::NotFound) => {}
                Err(error) => return Err(error),
            }
            match self.home.get::<Stored>(kind, &key.namespace, name).await? {
                Some(found) => accepted = found.into(),
                None => return Ok(()),
            }
        }
        Err(HomeError::Conflict)
    }

    /// Takes an operation over from an older process: its writes conflict from then on.
    pub(super) async fn claim(&self, stored: &Stored, epoch: u64) -> Result<Stored, HomeError> {
        let patch = json!({"record": {"epoch": epoch}});
        let metadata = self.home.patch(stored.which(), &stored.metadata, &patch).await?;
        self.own.add(&metadata.resource_version);
        let mut claimed = Stored {
            metadata,
            ..stored.clone()
        };
        if let Some(record) = &mut claimed.record {
            record.epoch = epoch;
        }
        Ok(claimed)
    }

    async fn run(
        self: &Arc<Self>,
        key: &LaneKey,
        mut accepted: Box<Accepted>,
        (fresh, attempt): (bool, u32),
        cancelled: CancellationToken,
        pass: Pass,
    ) -> Result<(), HomeError> {
        let stored = &accepted.stored;
        let Some(running) = stored.running().cloned() else {
            return Ok(());
        };
        self.metrics.ages.begun(stored, &running);
        if running.verb.removes() && !fresh && self.is_buried(stored).await? {
            return self.removed(stored).await;
        }
        let instance = match stored.which() {
            Kind::Binding => self.instance_of(key, stored, accepted.instance.take()).await?,
            _ => None,
        };
        // A binding goes along when the plan of its instance changes.
        let spec = instance.as_ref().map_or(&stored.spec, |instance| &instance.spec);
        let plan = running.plan_id.as_ref().unwrap_or(&spec.plan_id);
        let Some(found) = self.services().find(&stored.spec.service_id, plan) else {
            tracing::error!(object = %stored.metadata.name, %plan,
                "an operation waits for a plan that this broker does not have: add the plan, or start the version that has it");
            return Ok(());
        };
        let turn = Turn {
            key,
            found,
            attempt,
            cancelled,
            pass,
        };
        let Accepted { stored, known, .. } = *accepted;
        // The futures of the verbs are large; boxed, none of them is moved around with the lane's.
        let work: BoxFuture<'_, Result<(), HomeError>> = match running.verb {
            Verb::Provision => Box::pin(self.provision_now(turn, stored, known)),
            Verb::Update => Box::pin(self.update_now(turn, stored)),
            Verb::Deprovision => Box::pin(self.deprovision_now(turn, stored)),
            Verb::Bind => Box::pin(self.bind_now(turn, stored, known, instance)),
            Verb::Unbind => Box::pin(self.unbind_now(turn, stored, instance)),
        };
        match resumed_trace(&running) {
            Some(trace) => work.instrument(trace.span()).await,
            None => work.await,
        }
    }

    /// The instance of a binding, if it is still there and not a later one of the same id.
    async fn instance_of(
        &self,
        key: &LaneKey,
        binding: &Stored,
        known: Option<Stored>,
    ) -> Result<Option<Stored>, HomeError> {
        let instance = match known {
            None => self.home.get(Kind::Instance, &key.namespace, &key.instance).await?,
            known => known,
        };
        Ok(instance.filter(|instance: &Stored| is_of(binding, instance)))
    }
}

/// The trace to go on with, when the process has forgotten the request that began the operation.
fn resumed_trace(running: &Running) -> Option<Trace> {
    let forgotten = tracing::Span::current().is_none();
    running.trace.as_deref().filter(|_| forgotten).and_then(Trace::parse)
}

pub(super) fn target_of(stored: &Stored) -> Target {
    Target {
        kind: stored.which(),
        name: stored.metadata.name.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Record;

    #[test]
    fn an_operation_whose_request_is_forgotten_goes_on_in_its_trace() {
        let mut running = Running {
            id: Record::operation_id("i", 1),
            verb: Verb::Provision,
            accepted_at: None,
            progress: None,
            plan_id: None,
            digest: None,
            request: None,
            bound: None,
            trace: None,
        };
        assert_eq!(resumed_trace(&running), None);
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        running.trace = Some(trace.to_owned());
        assert_eq!(
            resumed_trace(&running).map(|found| found.traceparent()).as_deref(),
            Some(trace)
        );
    }
}
