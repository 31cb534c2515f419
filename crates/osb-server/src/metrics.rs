//! Measurements of the front, and the page that shows all of them.

use std::time::Instant;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds of the durations, in seconds: platforms give up after 60.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 60.0,
];

/// The code of a request whose client hung up before there was an answer.
const HUNG_UP: u32 = 499;

/// Labels come from closed sets only, never from a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

/// What the front measures, with the registry that everything stands in.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    in_flight: Gauge,
}

impl Metrics {
    pub(crate) fn new(mut registry: Registry) -> Self {
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let in_flight = Gauge::default();
        registry.register("osb_http_requests", "Requests answered", requests.clone());
        registry.register(
            "osb_http_request_duration_seconds",
            "Time from the head of a request to its answer",
            durations.clone(),
        );
        registry.register(
            "osb_http_requests_in_flight",
            "Requests being worked on",
            in_flight.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            in_flight,
        }
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a String does not fail");
        page
    }

    /// Starts measuring a request; the end is where the timer is dropped, whether there is an answer or not.
    pub(crate) fn request(&self, method: &'static str) -> Timer<'_> {
        self.in_flight.inc();
        Timer {
            metrics: self,
            started: Instant::now(),
            method,
            route: "other",
            code: HUNG_UP,
        }
    }
}

/// A request that is being measured.
pub(crate) struct Timer<'a> {
    metrics: &'a Metrics,
    started: Instant,
    method: &'static str,
    /// The route, once it is known.
    pub(crate) route: &'static str,
    /// The status code, once there is one.
    pub(crate) code: u32,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let Self {
            metrics,
            method,
            route,
            code,
            ..
        } = *self;
        metrics.in_flight.dec();
        metrics
            .requests
            .get_or_create(&RequestLabels { route, method, code })
            .inc();
        metrics
            .durations
            .get_or_create(&RouteLabels { route, method })
            .observe(self.started.elapsed().as_secs_f64());
    }
}
