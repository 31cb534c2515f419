//! What the engine counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::resource::{Outcome, Verb};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    operations: Family<OutcomeLabels, Counter>,
    repeats: Family<VerbLabels, Counter>,
    attempts: Family<VerbLabels, Counter>,
    panics: Counter,
    pub(crate) running: Gauge,
}

impl Metrics {
    pub(crate) fn ended(&self, verb: Verb, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Superseded => "superseded",
        };
        self.operations
            .get_or_create(&OutcomeLabels {
                verb: verb.as_str(),
                outcome,
            })
            .inc();
    }

    pub(crate) fn repeat(&self, verb: Verb) {
        self.repeats.get_or_create(&VerbLabels { verb: verb.as_str() }).inc();
    }

    pub(crate) fn attempt(&self, verb: Verb) {
        self.attempts.get_or_create(&VerbLabels { verb: verb.as_str() }).inc();
    }

    pub(crate) fn panic(&self) {
        self.panics.inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("osb_operations", "Operations that have ended", self.operations.clone());
        registry.register(
            "osb_repeats",
            "Requests that repeated an earlier one",
            self.repeats.clone(),
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
    }
}
