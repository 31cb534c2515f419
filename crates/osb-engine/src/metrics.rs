//! What the engine counts. Labels come from closed sets: the ids of the catalog, and words of ours.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use osb_api::id::OperationId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock::Clock;
use crate::engine::Inner;
use crate::resource::{Kind, Outcome, Running, Stored, Verb};
use crate::shards::Shards;

/// Bounds of the durations of operations, in seconds: from an answer at once to a day of retries.
const BUCKETS: [f64; 12] = [
    0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// What stands in a label for an id that the catalog does not have: of a plan that has been taken out of it.
const UNKNOWN: &str = "unknown";

/// What was done, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PlanLabels {
    verb: &'static str,
    service: String,
    plan: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    verb: &'static str,
    service: String,
    plan: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MitigationLabels {
    verb: &'static str,
    service: String,
    plan: String,
    found: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    operations: Family<OutcomeLabels, Counter>,
    durations: Family<PlanLabels, Histogram, fn() -> Histogram>,
    repeats: Family<PlanLabels, Counter>,
    mitigations: Family<MitigationLabels, Counter>,
    attempts: Family<VerbLabels, Counter>,
    panics: Counter,
    orphans: Family<ServiceLabels, Gauge>,
    pub(crate) running: Gauge,
    pub(crate) ages: Arc<Ages>,
    /// The author's own.
    collectors: Vec<Arc<dyn Collector>>,
}

/// Metrics that others have, too.
#[derive(Debug)]
struct Shared(Arc<dyn Collector>);

impl Collector for Shared {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

impl Metrics {
    pub(crate) fn new(clock: Clock, collectors: Vec<Arc<dyn Collector>>) -> Self {
        Self {
            collectors,
            operations: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            repeats: Family::default(),
            mitigations: Family::default(),
            attempts: Family::default(),
            panics: Counter::default(),
            orphans: Family::default(),
            running: Gauge::default(),
            ages: Arc::new(Ages {
                clock,
                since: Mutex::default(),
            }),
        }
    }

    pub(crate) fn attempt(&self, verb: Verb) {
        self.attempts.get_or_create(&VerbLabels { verb: verb.as_str() }).inc();
    }

    pub(crate) fn panic(&self) {
        self.panics.inc();
    }

    pub(crate) fn orphans(&self, offering: &str, count: usize) {
        let labels = ServiceLabels {
            service: offering.to_owned(),
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.orphans.get_or_create(&labels).set(count);
    }

    /// What a broker shows that shares its home with others.
    pub(crate) fn register_replica(registry: &mut Registry, shards: Arc<Shards>) {
        registry.register_collector(Box::new(Replica(shards)));
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        for collector in &self.collectors {
            registry.register_collector(Box::new(Shared(collector.clone())));
        }
        registry.register("osb_operations", "Operations that have ended", self.operations.clone());
        registry.register(
            "osb_operation_duration_seconds",
            "Time from the acceptance of an operation to its end",
            self.durations.clone(),
        );
        registry.register(
            "osb_repeats",
            "Requests that repeated an earlier one",
            self.repeats.clone(),
        );
        registry.register(
            "osb_mitigations",
            "Removals of what was still being made, or had failed to be made",
            self.mitigations.clone(),
        );
        registry.register("osb_attempts", "Calls of the author's functions", self.attempts.clone());
        registry.register(
            "osb_author_panics",
            "Panics in the author's functions",
            self.panics.clone(),
        );
        registry.register(
            "osb_calls_running",
            "Author's functions running now",
            self.running.clone(),
        );
        registry.register(
            "osb_backend_orphans",
            "Names in the backend that belonged to nothing at the last look",
            self.orphans.clone(),
        );
        registry.register_collector(Box::new(self.ages.clone()));
    }
}

/// Since when operations run that this process works on, those that wait for their next attempt included.
pub(crate) struct Ages {
    clock: Clock,
    /// By object, which has one operation at a time.
    since: Mutex<HashMap<Object, (OperationId, Timestamp)>>,
}

/// Namespace, kind and name.
type Object = (Box<str>, Kind, Box<str>);

impl Ages {
    /// An operation is being worked on.
    pub(crate) fn begun(&self, stored: &Stored, running: &Running) {
        let since = running.accepted_at.unwrap_or_else(|| self.clock.now());
        self.lock().insert(object(stored), (running.id.clone(), since));
    }

    /// An operation has ended.
    fn ended(&self, stored: &Stored, id: &OperationId) {
        if let Entry::Occupied(entry) = self.lock().entry(object(stored))
            && entry.get().0 == *id
        {
            entry.remove();
        }
    }

    /// An object has no operation, or is not there any more.
    pub(crate) fn idle(&self, namespace: &str, kind: Kind, name: &str) {
        self.lock().remove(&(namespace.into(), kind, name.into()));
    }

    /// The operation that is being worked on for an object.
    pub(crate) fn current(&self, stored: &Stored) -> Option<OperationId> {
        self.lock().get(&object(stored)).map(|(id, _)| id.clone())
    }

    fn oldest_secs(&self) -> f64 {
        let oldest = self.lock().values().map(|(_, since)| *since).min();
        oldest.map_or(0.0, |oldest| secs_between(oldest, self.clock.now()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Object, (OperationId, Timestamp)>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn object(stored: &Stored) -> Object {
    let meta = &stored.metadata;
    (
        meta.namespace.as_str().into(),
        stored.which(),
        meta.name.as_str().into(),
    )
}

impl fmt::Debug for Ages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ages").finish_non_exhaustive()
    }
}

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let age = ConstGauge::new(self.oldest_secs());
        let help = "Age of the oldest operation that has not ended; 0 when there is none";
        let encoder = encoder.encode_descriptor("osb_oldest_operation_seconds", help, None, age.metric_type())?;
        age.encode(encoder)
    }
}

/// Of one among several replicas.
#[derive(Debug)]
struct Replica(Arc<Shards>);

impl Collector for Replica {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let owned = ConstGauge::new(i64::try_from(self.0.owned()).unwrap_or(i64::MAX));
        let help = "Shards that this replica owns";
        owned.encode(encoder.encode_descriptor("osb_shards_owned", help, None, owned.metric_type())?)?;
        let taken = ConstCounter::new(self.0.takeovers());
        let help = "Shards that came to this replica from dead ones";
        taken.encode(encoder.encode_descriptor("osb_shard_takeovers", help, None, taken.metric_type())?)?;
        let age = ConstGauge::new(self.0.lease_age().as_secs_f64());
        let help = "Time since the lease of this replica was renewed";
        age.encode(encoder.encode_descriptor("osb_replica_lease_age_seconds", help, None, age.metric_type())?)
    }
}

fn secs_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

impl Inner {
    /// Counts the end of an operation, and how long it took from its acceptance.
    pub(crate) fn count_ended(&self, stored: &Stored, running: &Running, outcome: Outcome) {
        self.metrics.ages.ended(stored, &running.id);
        let labels = self.plan_labels(stored, running.verb, Some(running));
        if let Some(accepted) = running.accepted_at {
            let took = secs_between(accepted, self.now());
            self.metrics.durations.get_or_create(&labels).observe(took);
        }
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Superseded => "superseded",
        };
        let PlanLabels { verb, service, plan } = labels;
        let labels = OutcomeLabels {
            verb,
            service,
            plan,
            outcome,
        };
        self.metrics.operations.get_or_create(&labels).inc();
    }

    /// Counts a request that repeated an earlier one.
    pub(crate) fn count_repeat(&self, stored: &Stored, verb: Verb) {
        let labels = self.plan_labels(stored, verb, None);
        self.metrics.repeats.get_or_create(&labels).inc();
    }

    /// Counts a removal that a platform asks for, if it cleans up after a creation that has failed, or whose answer did
    /// not come.
    pub(crate) fn count_mitigation(&self, stored: &Stored, verb: Verb) {
        let creates = |verb: Verb| matches!(verb, Verb::Provision | Verb::Bind);
        let last = stored.record.as_ref().and_then(|record| record.history.last());
        let found = match stored.running() {
            Some(running) if creates(running.verb) => "running",
            None if last.is_some_and(|last| creates(last.verb) && last.outcome == Outcome::Failed) => "failed",
            _ => return,
        };
        let PlanLabels { verb, service, plan } = self.plan_labels(stored, verb, None);
        let labels = MitigationLabels {
            verb,
            service,
            plan,
            found,
        };
        self.metrics.mitigations.get_or_create(&labels).inc();
    }

    fn plan_labels(&self, stored: &Stored, verb: Verb, running: Option<&Running>) -> PlanLabels {
        let (service, plan) = (&stored.spec.service_id, &stored.spec.plan_id);
        let plan = running.and_then(|running| running.plan_id.as_ref()).unwrap_or(plan);
        let known = self.services().offered(service, plan).is_some();
        let label = |id: &str| if known { id } else { UNKNOWN }.to_owned();
        PlanLabels {
            verb: verb.as_str(),
            service: label(service.as_str()),
            plan: label(plan.as_str()),
        }
    }
}
