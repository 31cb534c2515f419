//! What an operator orders by hand, carried out.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use super::run::target_of;
use crate::admin::{
    self, ADMIN_ANNOTATION, ADMIN_ANSWER_ANNOTATION, AdminAnswer, AdminOrder, AdminVerb, Decision, decide,
};
use crate::engine::Inner;
use crate::home::{HomeError, Selection, WatchKind};
use crate::lanes::{Job, LaneKey};
use crate::objects::{self, Known, Order};
use crate::removal::AcceptError;
use crate::resource::{INSTANCE_LABEL, Kind, Meta, Outcome, Stored, Verb};
use crate::waiters::Settled;

/// How often bindings that come meanwhile are looked for.
const LOOKS: usize = 20;

const PAUSE: Duration = Duration::from_secs(1);

impl Inner {
    /// Carries out the order that stands on an object, of which this process is the owner in that epoch. The object is
    /// to be read again then.
    pub(super) async fn administer(
        self: &Arc<Self>,
        key: &LaneKey,
        stored: &Stored,
        epoch: u64,
        order: Result<AdminOrder, AdminAnswer>,
    ) -> Result<(), HomeError> {
        let order = match order {
            Ok(order) => order,
            Err(answer) => return self.answer(stored, &answer).await,
        };
        let decision = decide(stored, &order);
        match decision {
            Decision::Refuse(why) => {
                self.answer(stored, &AdminAnswer::refusal(&order.id, why)).await?;
                audit(stored, &order, why);
                return Ok(());
            }
            Decision::GoOn => self.write(stored, json!({})).await?,
            Decision::Begin(verb) => self.begin_again(stored, verb, epoch).await?,
            Decision::End(outcome) => self.end_by_hand(stored, &order, outcome, epoch).await?,
            Decision::Forget => self.forget(key, stored, epoch).await?,
        }
        audit(stored, &order, "done");
        Ok(())
    }

    /// Writes a patch onto an object together with the end of its order.
    async fn write(&self, stored: &Stored, mut patch: Value) -> Result<(), HomeError> {
        let gone = json!({ADMIN_ANNOTATION: null, ADMIN_ANSWER_ANNOTATION: null});
        patch["metadata"] = json!({"resourceVersion": stored.metadata.resource_version, "annotations": gone});
        let meta = self.home.patch_all(stored.which(), &stored.metadata, &patch).await?;
        self.own.add(&meta.resource_version);
        Ok(())
    }

    async fn answer(&self, stored: &Stored, answer: &AdminAnswer) -> Result<(), HomeError> {
        let text = serde_json::to_string(answer).unwrap_or_default();
        let annotations = json!({ADMIN_ANNOTATION: null, ADMIN_ANSWER_ANNOTATION: text});
        let patch = json!({"metadata": {
            "resourceVersion": stored.metadata.resource_version, "annotations": annotations,
        }});
        let meta = self.home.patch_all(stored.which(), &stored.metadata, &patch).await?;
        self.own.add(&meta.resource_version);
        Ok(())
    }

    async fn begin_again(&self, stored: &Stored, verb: Verb, epoch: u64) -> Result<(), HomeError> {
        let order = Order::own(verb, epoch);
        let made = objects::with_operation(&self.keys, stored, order, self.now());
        let (_, patch) = made.map_err(|_| HomeError::Unknown)?;
        self.write(stored, patch).await
    }

    /// Ends the running operation without the author.
    async fn end_by_hand(
        self: &Arc<Self>,
        stored: &Stored,
        order: &AdminOrder,
        outcome: Outcome,
        epoch: u64,
    ) -> Result<(), HomeError> {
        let (Some(record), Some(running)) = (&stored.record, stored.running()) else {
            return Ok(());
        };
        let now = self.now();
        let description = (outcome == Outcome::Failed).then(|| format!("Ended by an operator: {}", order.reason));
        let status = objects::status_after(stored, running.verb, outcome, description.as_deref(), now);
        let mut ended = objects::ended(running.id.clone(), running.verb, outcome, description.clone(), now);
        ended.digest.clone_from(&running.digest);
        let mut changed = Map::new();
        changed.insert("epoch".to_owned(), epoch.into());
        changed.insert("operation".to_owned(), Value::Null);
        changed.insert("history".to_owned(), objects::to_value(&record.history_with(ended)));
        let mut patch = json!({"record": changed, "status": objects::to_value(&status)});
        if outcome == Outcome::Succeeded {
            let known = Known::open(&self.keys, stored, running).map_err(|_| HomeError::Unknown)?;
            let plan = running.plan_id.as_ref().unwrap_or(&stored.spec.plan_id);
            let spec = objects::updated_spec(&self.keys, stored, plan, &known);
            patch["spec"] = spec.map_err(|_| HomeError::Unknown)?;
        }
        self.write(stored, patch).await?;
        self.count_ended(stored, running, outcome);
        let settled = match outcome {
            Outcome::Succeeded => Settled::Succeeded(None),
            _ => Settled::Failed(description),
        };
        self.waiters.settle(&running.id, &settled);
        self.look_at_bindings(stored).await
    }

    /// The order may have stopped what ran for a binding of the instance: that goes on.
    async fn look_at_bindings(self: &Arc<Self>, stored: &Stored) -> Result<(), HomeError> {
        if stored.which() != Kind::Instance {
            return Ok(());
        }
        let key = LaneKey {
            namespace: stored.metadata.namespace.as_str().into(),
            instance: stored.metadata.name.as_str().into(),
        };
        for binding in self.bindings_of(&key).await? {
            if binding.running().is_some() {
                self.push(key.clone(), Job::look_at(target_of(&binding), 1));
            }
        }
        Ok(())
    }

    async fn bindings_of(&self, key: &LaneKey) -> Result<Vec<Stored>, HomeError> {
        let labels = format!("{INSTANCE_LABEL}={}", key.instance);
        let selection = Selection {
            namespace: Some(&key.namespace),
            labels: Some(&labels),
            ..Selection::default()
        };
        let page = self.home.list::<Stored>(Kind::Binding, selection).await?;
        Ok(page.items.unwrap_or_default())
    }

    /// Has an object go as if it had been removed, with its bindings. Its Tombstone answers whoever polls.
    async fn forget(self: &Arc<Self>, key: &LaneKey, stored: &Stored, epoch: u64) -> Result<(), HomeError> {
        let (verb, is_instance) = match stored.which() {
            Kind::Binding => (Verb::Unbind, false),
            _ => (Verb::Deprovision, true),
        };
        if is_instance {
            self.forget_bindings(key, epoch).await?;
        }
        self.let_go_without_author(stored, verb, epoch).await
    }

    async fn forget_bindings(self: &Arc<Self>, key: &LaneKey, epoch: u64) -> Result<(), HomeError> {
        for _ in 0..LOOKS {
            let bindings = self.bindings_of(key).await?;
            if bindings.is_empty() {
                return Ok(());
            }
            for binding in bindings {
                self.let_go_without_author(&binding, Verb::Unbind, epoch).await?;
            }
        }
        Err(HomeError::Conflict)
    }

    async fn let_go_without_author(self: &Arc<Self>, stored: &Stored, verb: Verb, epoch: u64) -> Result<(), HomeError> {
        if stored.running().is_some_and(|running| running.verb.removes()) {
            return self.removed(stored).await;
        }
        match self.accept(stored, Order::own(verb, epoch)).await {
            Ok(removal) => self.removed(&removal).await,
            Err(AcceptError::Changed) => Err(HomeError::Conflict),
            Err(AcceptError::Home(error)) => Err(error),
            Err(AcceptError::Seal) => Err(HomeError::Unknown),
        }
    }
}

/// Follows the orders that are about the whole broker: they stand on its CatalogRecord. Ends with the process.
pub(super) async fn follow_orders(inner: Arc<Inner>) {
    loop {
        let ended = tokio::select! {
            () = inner.stopping.cancelled() => return,
            ended = inner.orders() => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "orders of operators are looked for again");
        }
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Inner {
    async fn orders(&self) -> Result<(), HomeError> {
        let namespace = self.config.system_namespace.as_str();
        let selection = Selection {
            namespace: Some(namespace),
            ..Selection::default()
        };
        let listed = self.home.list_metadata(Kind::CatalogRecord, selection).await?;
        for found in listed.items.unwrap_or_default() {
            self.order_of_all(&found.metadata).await?;
        }
        let version = listed.metadata.resource_version;
        let mut lines = pin!(self.home.watch(Kind::CatalogRecord, &version).await?);
        while let Some(line) = lines.next().await {
            let line = line?;
            match line.kind {
                WatchKind::Error => return Err(HomeError::Expired),
                WatchKind::Added | WatchKind::Modified if line.object.metadata.namespace == namespace => {
                    self.order_of_all(&line.object.metadata).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Of several replicas the owner of the object's shard answers.
    async fn order_of_all(&self, meta: &Meta) -> Result<(), HomeError> {
        let Some(order) = admin::order(&meta.annotations) else {
            return Ok(());
        };
        if !self.shards.is_mine(&meta.name) {
            return Ok(());
        }
        let answer = match &order {
            Err(answer) => answer.clone(),
            Ok(order) if order.verb != AdminVerb::Orphans => {
                AdminAnswer::refusal(&order.id, "that is no order for the whole broker")
            }
            Ok(order) => match self.look_for_orphans().await {
                Ok(found) => AdminAnswer::orphans(&order.id, found),
                Err(error) => {
                    tracing::warn!(%error, "it cannot be told what is left in the backend");
                    AdminAnswer::refusal(
                        &order.id,
                        "a service does not say what is in its backend; the log says more",
                    )
                }
            },
        };
        let text = serde_json::to_string(&answer).unwrap_or_default();
        let patch = json!({"metadata": {
            "resourceVersion": meta.resource_version,
            "annotations": {ADMIN_ANNOTATION: null, ADMIN_ANSWER_ANNOTATION: text},
        }});
        match self.home.patch_all(Kind::CatalogRecord, meta, &patch).await {
            Ok(_) => {}
            // Who has changed it shows in the watch.
            Err(HomeError::Conflict | HomeError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Ok(order) = &order {
            let came_to = answer.refused.as_deref().unwrap_or("done");
            tracing::info!(target: osb_server::AUDIT, verb = order.verb.as_str(), user = ?order.by, reason = ?order.reason,
                order = ?order.id, found = answer.count, came_to, "admin");
        }
        Ok(())
    }
}

/// The line of the audit. Texts are escaped, as they come from outside.
fn audit(stored: &Stored, order: &AdminOrder, came_to: &str) {
    tracing::info!(
        target: osb_server::AUDIT,
        verb = order.verb.as_str(),
        namespace = %stored.metadata.namespace,
        instance = ?stored.spec.instance_id.as_str(),
        binding = stored.spec.binding_id.as_ref().map(|id| tracing::field::debug(id.as_str())),
        operation = stored.running().map(|running| running.id.as_str()),
        user = ?order.by,
        reason = ?order.reason,
        order = ?order.id,
        came_to,
        "admin"
    );
}
