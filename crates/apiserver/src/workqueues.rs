//! What the controllers of this server do, counted as a real controller manager counts its work queues.
//!
//! The queues themselves are in the store and outlive the process, so that only the depth is read there; everything else is
//! what this process has done. An item is added when this process takes it up, and has waited since it heard of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::failure::Failure;
use crate::metrics::{Histogram, Metrics, open};
use crate::server::{DEFINITIONS, Server};
use crate::{gc, keys};

/// Upper bounds in seconds.
const SECONDS: [f64; 10] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0];

/// No more items than these are counted in a part of a queue.
const MOST_COUNTED: usize = 10_000;

/// A queue, by what is done with its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Objects and owners are looked at, and collected.
    Collect,
    /// Owners are taken out of those who name them.
    Orphan,
    /// Namespaces are emptied.
    Namespaces,
    /// Definitions lose their objects.
    Definitions,
}

impl Queue {
    pub(crate) const ALL: [Queue; 4] = [Queue::Collect, Queue::Orphan, Queue::Namespaces, Queue::Definitions];

    /// As dashboards know it.
    fn name(self) -> &'static str {
        match self {
            Queue::Collect => "garbage_collector_attempt_to_delete",
            Queue::Orphan => "garbage_collector_attempt_to_orphan",
            Queue::Namespaces => "namespace",
            Queue::Definitions => "crd_finalizer",
        }
    }
}

/// How many items wait in each of [`Queue::ALL`].
pub(crate) type Depths = [u64; Queue::ALL.len()];

/// The depths now.
pub(crate) async fn depths(server: &Server) -> Depths {
    let (collected, orphaned) = gc::keys::parts_of_queue();
    let [objects, owners] = collected;
    let ranges = [
        (Queue::Collect, objects),
        (Queue::Collect, owners),
        (Queue::Orphan, orphaned),
        (Queue::Namespaces, keys::cleanups_of("", "namespaces")),
        (Queue::Definitions, keys::cleanups_of(DEFINITIONS.0, DEFINITIONS.1)),
    ];
    let mut depths = Depths::default();
    for (queue, range) in ranges {
        // A store that cannot be read is told of by its own check.
        let count = server.store.count(range, MOST_COUNTED, None).await;
        depths[queue as usize] += count.unwrap_or_default();
    }
    depths
}

/// The counts of all queues.
#[derive(Debug, Default)]
pub(crate) struct Workqueues([Mutex<Counts>; Queue::ALL.len()]);

#[derive(Debug)]
struct Counts {
    adds: u64,
    retries: u64,
    waited: Histogram,
    worked: Histogram,
    /// When what is being worked on was begun.
    running: Vec<Instant>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            adds: 0,
            retries: 0,
            waited: Histogram::new(&SECONDS),
            worked: Histogram::new(&SECONDS),
            running: Vec::new(),
        }
    }
}

/// An item that is being worked on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Item {
    metrics: Arc<Metrics>,
    queue: Queue,
    begun: Instant,
}

impl Item {
    /// Begins with an item that this process heard of at a time; `None` where nothing is counted.
    pub(crate) fn begin(server: &Server, queue: Queue, heard: Instant) -> Option<Item> {
        let metrics = server.observers.metrics.clone()?;
        Some(Item::of(metrics, queue, heard))
    }

    fn of(metrics: Arc<Metrics>, queue: Queue, heard: Instant) -> Item {
        let begun = Instant::now();
        let mut counts = metrics.queues.of(queue);
        counts.adds += 1;
        counts
            .waited
            .add(&SECONDS, begun.saturating_duration_since(heard).as_secs_f64());
        counts.running.push(begun);
        drop(counts);
        Item { metrics, queue, begun }
    }

    /// It has to be done again.
    pub(crate) fn again(&self) {
        self.metrics.queues.of(self.queue).retries += 1;
    }
}

/// Ends an item; one that has failed is to be done again.
pub(crate) fn end<T>(item: Option<Item>, result: Result<T, Failure>) -> Result<T, Failure> {
    if let (Some(item), Err(_)) = (&item, &result) {
        item.again();
    }
    result
}

impl Drop for Item {
    fn drop(&mut self) {
        let mut counts = self.metrics.queues.of(self.queue);
        counts.worked.add(&SECONDS, self.begun.elapsed().as_secs_f64());
        // One that was begun at the same moment is as good.
        if let Some(place) = counts.running.iter().position(|begun| *begun == self.begun) {
            counts.running.swap_remove(place);
        }
    }
}

impl Workqueues {
    fn of(&self, queue: Queue) -> MutexGuard<'_, Counts> {
        self.0[queue as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything in the text format of Prometheus; `depths` are those of [`Queue::ALL`].
    pub(crate) fn write(&self, depths: &Depths, out: &mut String) {
        let mut plain = |name: &str, kind: &str, help: &str, value: &dyn Fn(Queue) -> f64| {
            open(out, name, kind, help);
            for queue in Queue::ALL {
                let _ = writeln!(out, "{name}{{name=\"{}\"}} {}", queue.name(), value(queue));
            }
        };
        let since = |queue: Queue| {
            let running = self.of(queue).running.clone();
            running.into_iter().map(|begun| begun.elapsed().as_secs_f64())
        };
        plain("workqueue_depth", "gauge", "How many items wait.", &|queue| {
            depths[queue as usize] as f64
        });
        plain(
            "workqueue_adds_total",
            "counter",
            "Items that were taken up.",
            &|queue| self.of(queue).adds as f64,
        );
        plain(
            "workqueue_retries_total",
            "counter",
            "Items that have to be taken up again.",
            &|queue| self.of(queue).retries as f64,
        );
        plain(
            "workqueue_unfinished_work_seconds",
            "gauge",
            "How long items have been worked on that are not done, together.",
            &|queue| since(queue).sum(),
        );
        plain(
            "workqueue_longest_running_processor_seconds",
            "gauge",
            "How long the oldest of the items has been worked on that are not done.",
            &|queue| since(queue).fold(0.0, f64::max),
        );
        let mut histogram = |name: &str, help: &str, of: &dyn Fn(&Counts) -> Histogram| {
            open(out, name, "histogram", help);
            for queue in Queue::ALL {
                let labels = format!("name=\"{}\"", queue.name());
                of(&self.of(queue)).write(name, &labels, &SECONDS, out);
            }
        };
        histogram(
            "workqueue_queue_duration_seconds",
            "How long items waited.",
            &|counts| counts.waited.clone(),
        );
        histogram("workqueue_work_duration_seconds", "How long items took.", &|counts| {
            counts.worked.clone()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_counted_while_they_are_worked_on_and_after() {
        let metrics = Arc::new(Metrics::new());
        let begin = || Item::of(metrics.clone(), Queue::Collect, Instant::now());
        drop(begin());
        let failed: Result<(), Failure> = end(Some(begin()), Err(Failure::NoSuchPath));
        assert!(failed.is_err());
        let text = || {
            let mut out = String::new();
            metrics.queues.write(&[3, 0, 0, 0], &mut out);
            out
        };
        let value = |text: &str, series: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(series));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or_else(|| panic!("{series} is not in\n{text}"))
        };
        let running = begin();
        let busy = text();
        drop(running);
        let idle = text();
        let of = |name: &str| format!("workqueue_{name}{{name=\"garbage_collector_attempt_to_delete\"}}");
        for (series, busy_value, idle_value) in [
            (of("depth"), 3.0, 3.0),
            (of("adds_total"), 3.0, 3.0),
            (of("retries_total"), 1.0, 1.0),
            (of("work_duration_seconds_count"), 2.0, 3.0),
            (of("queue_duration_seconds_count"), 3.0, 3.0),
        ] {
            assert_eq!(
                (value(&busy, &series), value(&idle, &series)),
                (busy_value, idle_value),
                "{series}"
            );
        }
        for series in [of("unfinished_work_seconds"), of("longest_running_processor_seconds")] {
            assert!(value(&busy, &series) > 0.0 && value(&idle, &series) == 0.0, "{series}");
        }
        assert_eq!(value(&idle, "workqueue_adds_total{name=\"namespace\"}"), 0.0);
    }
}
