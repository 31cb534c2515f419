//! What the controller counts. Labels are words of ours.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::resources::OperationKind;

/// Bounds of the ages of operations that have not ended, in seconds: from ten minutes to seventy.
const AGES: [f64; 7] = [600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0, 4200.0];

/// How operations on instances have ended, and how old those are that have not.
///
/// ```
/// use prometheus_client::encoding::text::encode;
/// use prometheus_client::registry::Registry;
/// use template_controller::{Metrics, Options};
///
/// let metrics = Metrics::default();
/// let options = Options { metrics: metrics.clone(), ..Options::default() };
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(metrics));
/// let mut text = String::new();
/// encode(&mut text, &registry).unwrap();
/// assert!(text.contains("template_instances_unfinished 0"));
/// # drop(options);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    completed: Family<Labels, Counter>,
    /// When the operation of each instance began, by the instance's uid.
    unfinished: Mutex<HashMap<String, Timestamp>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    outcome: &'static str,
}

/// How an operation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Ready,
    Failed,
    Removed,
}

impl Metrics {
    /// An operation on an instance runs.
    pub(crate) fn runs(&self, uid: &str, since: Timestamp) {
        let mut unfinished = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if unfinished.get(uid) != Some(&since) {
            unfinished.insert(uid.to_owned(), since);
        }
    }

    /// It has ended.
    pub(crate) fn ended(&self, uid: &str, kind: OperationKind, how: Ended) {
        self.forget(uid);
        let labels = Labels {
            operation: match kind {
                OperationKind::Instantiate => "instantiate",
                OperationKind::Update => "update",
                OperationKind::Delete => "delete",
            },
            outcome: match how {
                Ended::Ready => "ready",
                Ended::Failed => "failed",
                Ended::Removed => "removed",
            },
        };
        self.0.completed.get_or_create(&labels).inc();
    }

    /// There is nothing to be done for an instance, or it is gone.
    pub(crate) fn forget(&self, uid: &str) {
        let mut unfinished = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished.remove(uid);
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let completed = &self.0.completed;
        let help = "Operations on TemplateInstances that have ended";
        let family = encoder.encode_descriptor("template_instances_completed", help, None, completed.metric_type())?;
        completed.encode(family)?;
        let now = Timestamp::now();
        let ages = Histogram::new(AGES);
        let count = {
            let unfinished = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
            for since in unfinished.values() {
                ages.observe(now.duration_since(*since).as_secs_f64().max(0.0));
            }
            unfinished.len()
        };
        let help = "Ages of the operations on TemplateInstances that have not ended";
        let histogram = encoder.encode_descriptor(
            "template_instances_unfinished_age_seconds",
            help,
            None,
            ages.metric_type(),
        )?;
        ages.encode(histogram)?;
        let count = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let help = "Operations on TemplateInstances that have not ended";
        let gauge = encoder.encode_descriptor("template_instances_unfinished", help, None, count.metric_type())?;
        count.encode(gauge)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_has_not_ended_has_an_age() {
        let metrics = Metrics::default();
        let text = || {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(metrics.clone()));
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let long_ago = Timestamp::from_second(Timestamp::now().as_second() - 700).unwrap();
        metrics.runs("a", long_ago);
        metrics.runs("b", Timestamp::now());
        let found = text();
        assert!(found.contains("template_instances_unfinished 2"), "{found}");
        assert!(
            found.contains(r#"template_instances_unfinished_age_seconds_bucket{le="600.0"} 1"#),
            "{found}"
        );
        assert!(
            found.contains(r#"template_instances_unfinished_age_seconds_bucket{le="1200.0"} 2"#),
            "{found}"
        );
        metrics.ended("a", OperationKind::Instantiate, Ended::Ready);
        metrics.ended("b", OperationKind::Update, Ended::Failed);
        let found = text();
        assert!(
            found.contains(r#"template_instances_completed_total{operation="instantiate",outcome="ready"} 1"#),
            "{found}"
        );
        assert!(found.contains("template_instances_unfinished 0"), "{found}");
    }
}
