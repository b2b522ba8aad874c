//! Counters for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use nomopoly_host::Usage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Content type of the text that Prometheus reads.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

type Total = Counter<u64, AtomicU64>;

/// What a host counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    /// Inferences that were run.
    pub inferences: Counter,
    store: StoreMetrics,
    working: Gauge,
    waiting: Gauge,
}

/// What the store counts itself, copied when Prometheus asks.
#[derive(Default)]
struct StoreMetrics {
    kept: Total,
    expired: Total,
    refused: Total,
    answered: Total,
    memory: Gauge,
    disk: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        // From a quarter of a millisecond to eight seconds.
        let histogram: fn() -> Histogram = || {
            Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
                0.00025, 2., 16,
            ))
        };
        let seconds = Family::new_with_constructor(histogram);
        let (requests, inferences) = (Family::<Request, Counter>::default(), Counter::default());
        let (working, waiting) = (Gauge::default(), Gauge::default());
        let store = StoreMetrics::default();

        let mut registry = Registry::with_prefix("remote");
        registry.register("requests", "Requests by route and status", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the header's end to the answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("inferences", "Inferences that were run", inferences.clone());
        for (name, help, counter) in [
            ("receipts_kept", "Receipts that were given out", &store.kept),
            ("receipts_expired", "Receipts that nobody can open any more", &store.expired),
            ("receipts_refused", "Times that there was no room for one", &store.refused),
            ("receipts_answered", "Challenges that were answered", &store.answered),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("receipts_memory", "Receipts in memory", &store.memory),
            ("receipts_disk", "Receipts on disk", &store.disk),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
        registry.register("working", "Requests that have a worker", working.clone());
        registry.register("queue_depth", "Requests that wait for a worker", waiting.clone());
        Self { registry, requests, seconds, inferences, store, working, waiting }
    }

    /// One answered request. `route` is a route's pattern, never what a client wrote: clients must
    /// not make up labels.
    pub fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let (route, status) = (route.to_owned(), status.as_u16());
        self.requests.get_or_create(&Request { route: route.clone(), status }).inc();
        self.seconds.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    /// The text, with the store's figures and the queue's as they are now.
    pub fn text(&self, usage: &Usage, (working, waiting): (usize, usize)) -> String {
        let store = &self.store;
        for (counter, value) in [
            (&store.kept, usage.kept),
            (&store.expired, usage.expired),
            (&store.refused, usage.refused),
            (&store.answered, usage.answered),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for (gauge, value) in [
            (&store.memory, usage.memory.bytes),
            (&store.disk, usage.disk.bytes),
            (&self.working, working as u64),
            (&self.waiting, waiting as u64),
        ] {
            gauge.set(signed(value));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
