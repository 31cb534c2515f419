//! What a server counts, under the names that dashboards of Kubernetes know.
//!
//! Nothing is counted unless [`crate::Options::metrics`] asks for it; then a request costs one lock and one lookup more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::workqueues::{Depths, Workqueues};

/// Upper bounds in seconds.
const SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Upper bounds in bytes.
const BYTES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Upper bounds of the sizes of events of watches, in bytes.
const EVENT_BYTES: [f64; 8] = [1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];
const SHARDS: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    pub(crate) fn new(bounds: &[f64]) -> Histogram {
        Histogram {
            buckets: vec![0; bounds.len()],
            sum: 0.0,
            count: 0,
        }
    }

    pub(crate) fn add(&mut self, bounds: &[f64], value: f64) {
        if let Some(at) = bounds.iter().position(|bound| value <= *bound) {
            self.buckets[at] += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    pub(crate) fn write(&self, name: &str, labels: &str, bounds: &[f64], out: &mut String) {
        let mut total = 0;
        for (bound, count) in bounds.iter().zip(&self.buckets) {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

/// Requests of one sort.
#[derive(Debug)]
struct Series {
    codes: Vec<(u16, u64)>,
    seconds: Histogram,
    /// Of reads only.
    bytes: Histogram,
}

/// Events of the watches of one resource.
#[derive(Debug)]
struct Events {
    count: u64,
    bytes: Histogram,
}

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    List,
    Count,
    Update,
}

impl Operation {
    const NAMES: [&str; 4] = ["get", "list", "count", "update"];
}

/// What one request was.
pub(crate) struct Request<'r> {
    /// As dashboards write it: `GET`, `LIST`, `APPLY`.
    pub(crate) verb: &'static str,
    pub(crate) group: &'r str,
    pub(crate) version: &'r str,
    pub(crate) resource: &'r str,
    pub(crate) subresource: &'r str,
    /// `cluster`, `namespace` or `resource`.
    pub(crate) scope: &'static str,
    pub(crate) dry_run: bool,
    pub(crate) code: u16,
    pub(crate) took: Duration,
    pub(crate) bytes: Option<usize>,
}

/// Numbers that are there only when it is written.
pub(crate) struct Now {
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    pub(crate) watches: usize,
    /// By group and resource.
    pub(crate) objects: Vec<(String, String, u64)>,
    /// Check and kind of check, with 1 for one that passes.
    pub(crate) health: Vec<(&'static str, &'static str, u8)>,
    /// Of the queues of the server's controllers.
    pub(crate) depths: Depths,
}

/// What a server has counted since its start.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Vec<Mutex<BTreeMap<String, Series>>>,
    events: Mutex<BTreeMap<(String, String, String), Events>>,
    authenticated: [AtomicU64; 2],
    authorized: [AtomicU64; 2],
    audited: AtomicU64,
    /// By [`Operation`].
    stored: Mutex<[Histogram; 4]>,
    pub(crate) queues: Workqueues,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        Metrics {
            requests: (0..SHARDS).map(|_| Mutex::default()).collect(),
            events: Mutex::default(),
            authenticated: Default::default(),
            authorized: Default::default(),
            audited: AtomicU64::new(0),
            stored: Mutex::new(std::array::from_fn(|_| Histogram::new(&SECONDS))),
            queues: Workqueues::default(),
        }
    }

    /// Whether a request's credentials were right.
    pub(crate) fn authenticated(&self, right: bool) {
        self.authenticated[usize::from(right)].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a user was allowed what he wanted.
    pub(crate) fn authorized(&self, allowed: bool) {
        self.authorized[usize::from(allowed)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn audited(&self) {
        self.audited.fetch_add(1, Ordering::Relaxed);
    }

    /// How long the store took.
    pub(crate) fn stored(&self, operation: Operation, took: Duration) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored[operation as usize].add(&SECONDS, took.as_secs_f64());
    }

    pub(crate) fn request(&self, request: &Request<'_>) {
        let dry_run = if request.dry_run { "All" } else { "" };
        let labels = format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",\
             version=\"{}\"",
            request.group, request.resource, request.scope, request.subresource, request.verb, request.version
        );
        let shard = crate::keys::fnv1a(labels.as_bytes()) as usize % SHARDS;
        let mut series = self.requests[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let series = series.entry(labels).or_insert_with(|| Series {
            codes: Vec::new(),
            seconds: Histogram::new(&SECONDS),
            bytes: Histogram::new(&BYTES),
        });
        match series.codes.iter_mut().find(|(code, _)| *code == request.code) {
            Some((_, count)) => *count += 1,
            None => series.codes.push((request.code, 1)),
        }
        series.seconds.add(&SECONDS, request.took.as_secs_f64());
        if let Some(bytes) = request.bytes {
            series.bytes.add(&BYTES, bytes as f64);
        }
    }

    /// Events that a watch has sent in one frame, one a line.
    pub(crate) fn events(&self, group: &str, version: &str, resource: &str, frame: &[u8]) {
        let key = (group.to_owned(), version.to_owned(), resource.to_owned());
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let events = events.entry(key).or_insert_with(|| Events {
            count: 0,
            bytes: Histogram::new(&EVENT_BYTES),
        });
        for line in frame.split_inclusive(|byte| *byte == b'\n') {
            events.count += 1;
            events.bytes.add(&EVENT_BYTES, line.len() as f64);
        }
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn render(&self, now: &Now) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.write_requests(&mut out);
        self.write_events(&mut out);
        open(
            &mut out,
            "apiserver_current_inflight_requests",
            "gauge",
            "Requests that are being worked on.",
        );
        for (kind, count) in [("mutating", now.writes), ("readOnly", now.reads)] {
            let _ = writeln!(
                out,
                "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {count}"
            );
        }
        open(
            &mut out,
            "apiserver_longrunning_requests",
            "gauge",
            "Watches that are open.",
        );
        let _ = writeln!(
            out,
            "apiserver_longrunning_requests{{component=\"apiserver\",verb=\"WATCH\"}} {}",
            now.watches
        );
        open(&mut out, "apiserver_resource_objects", "gauge", "Stored objects.");
        for (group, resource, count) in &now.objects {
            let _ = writeln!(
                out,
                "apiserver_resource_objects{{group=\"{group}\",resource=\"{resource}\"}} {count}"
            );
        }
        self.write_counters(&mut out);
        self.write_stored(&mut out);
        self.queues.write(&now.depths, &mut out);
        out.push_str(&render_checks(&now.health));
        out
    }

    fn write_counters(&self, out: &mut String) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        open(
            out,
            "authentication_attempts",
            "counter",
            "Requests whose sender was looked for.",
        );
        for (result, counter) in ["failure", "success"].iter().zip(&self.authenticated) {
            let _ = writeln!(out, "authentication_attempts{{result=\"{result}\"}} {}", value(counter));
        }
        open(
            out,
            "authorization_attempts_total",
            "counter",
            "Requests whose sender was or was not allowed them.",
        );
        for (result, counter) in ["denied", "allowed"].iter().zip(&self.authorized) {
            let _ = writeln!(
                out,
                "authorization_attempts_total{{result=\"{result}\"}} {}",
                value(counter)
            );
        }
        open(
            out,
            "apiserver_audit_event_total",
            "counter",
            "Events given to the audit log.",
        );
        let _ = writeln!(out, "apiserver_audit_event_total {}", value(&self.audited));
    }

    fn write_requests(&self, out: &mut String) {
        let all: Vec<_> = self
            .requests
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let series = || all.iter().flat_map(|shard| shard.iter());
        open(
            out,
            "apiserver_request_total",
            "counter",
            "Requests by verb, resource and code.",
        );
        for (labels, series) in series() {
            for (code, count) in &series.codes {
                let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{labels}}} {count}");
            }
        }
        for (name, help) in [
            ("apiserver_request_duration_seconds", "How long requests took."),
            (
                "apiserver_request_sli_duration_seconds",
                "How long requests took that this server alone is answerable for.",
            ),
        ] {
            open(out, name, "histogram", help);
            for (labels, series) in series() {
                series.seconds.write(name, labels, &SECONDS, out);
            }
        }
        open(
            out,
            "apiserver_response_sizes",
            "histogram",
            "Sizes of answers in bytes.",
        );
        for (labels, series) in series().filter(|(_, series)| series.bytes.count > 0) {
            series.bytes.write("apiserver_response_sizes", labels, &BYTES, out);
        }
    }

    fn write_stored(&self, out: &mut String) {
        let name = "etcd_request_duration_seconds";
        open(out, name, "histogram", "How long the store took.");
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        for (operation, took) in Operation::NAMES.iter().zip(stored.iter()) {
            took.write(name, &format!("operation=\"{operation}\",type=\"\""), &SECONDS, out);
        }
    }

    fn write_events(&self, out: &mut String) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = |(group, version, resource): &(String, String, String)| {
            format!("group=\"{group}\",resource=\"{resource}\",version=\"{version}\"")
        };
        open(
            out,
            "apiserver_watch_events_total",
            "counter",
            "Events sent to watches.",
        );
        for (key, events) in events.iter() {
            let _ = writeln!(out, "apiserver_watch_events_total{{{}}} {}", labels(key), events.count);
        }
        open(
            out,
            "apiserver_watch_events_sizes",
            "histogram",
            "Sizes of events sent to watches in bytes.",
        );
        for (key, events) in events.iter() {
            events
                .bytes
                .write("apiserver_watch_events_sizes", &labels(key), &EVENT_BYTES, out);
        }
    }
}

/// The checks in the text format of Prometheus.
pub(crate) fn render_checks(checks: &[(&'static str, &'static str, u8)]) -> String {
    let mut out = String::new();
    open(
        &mut out,
        "kubernetes_healthcheck",
        "gauge",
        "1 for a check that passes.",
    );
    for (name, kind, passes) in checks {
        let _ = writeln!(
            out,
            "kubernetes_healthcheck{{name=\"{name}\",type=\"{kind}\"}} {passes}"
        );
    }
    out
}

pub(crate) fn open(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_under_their_labels() {
        let metrics = Metrics::new();
        for (code, millis) in [(200, 1), (200, 30), (404, 70_000)] {
            metrics.request(&Request {
                verb: "GET",
                group: "apps",
                version: "v1",
                resource: "deployments",
                subresource: "",
                scope: "resource",
                dry_run: false,
                code,
                took: Duration::from_millis(millis),
                bytes: Some(5000),
            });
        }
        metrics.events("", "v1", "pods", b"{}\n{\"a\":1}\n");
        metrics.authorized(false);
        let text = metrics.render(&Now {
            reads: 1,
            writes: 0,
            watches: 2,
            objects: vec![("".into(), "pods".into(), 7)],
            health: vec![("ping", "livez", 1)],
            depths: Depths::default(),
        });
        let labels = "component=\"apiserver\",dry_run=\"\",group=\"apps\",resource=\"deployments\",scope=\"resource\",\
                      subresource=\"\",verb=\"GET\",version=\"v1\"";
        for line in [
            format!("apiserver_request_total{{code=\"200\",{labels}}} 2"),
            format!("apiserver_request_total{{code=\"404\",{labels}}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.005\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"60\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3"),
            format!("apiserver_response_sizes_bucket{{{labels},le=\"10000\"}} 3"),
            "apiserver_watch_events_total{group=\"\",resource=\"pods\",version=\"v1\"} 2".to_owned(),
            "apiserver_longrunning_requests{component=\"apiserver\",verb=\"WATCH\"} 2".to_owned(),
            "apiserver_resource_objects{group=\"\",resource=\"pods\"} 7".to_owned(),
            "authorization_attempts_total{result=\"denied\"} 1".to_owned(),
            "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
