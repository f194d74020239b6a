//! The metrics, in the text format of Prometheus. What they mean for an operator is in the book's page on observability.

use super::{observation::Observation, text::cut};
use crate::time::Timestamp;
use ic_metrics_encoder::MetricsEncoder;
use std::io;

/// Name, help, and value; nothing where there is none.
type Metric = (
    &'static str,
    &'static str,
    fn(&Observation, Timestamp) -> Option<f64>,
);

const NANOS: f64 = 1e9;

fn seconds(time: Timestamp) -> f64 {
    time.as_nanos() as f64 / NANOS
}

/// What is so now.
const GAUGES: [Metric; 14] = [
    (
        "idempotency_entries",
        "Requests that the store holds.",
        |it, _| Some(it.stats.entries as f64),
    ),
    (
        "idempotency_entries_capacity",
        "Requests that it may hold.",
        |it, _| Some(it.stats.capacity as f64),
    ),
    (
        "idempotency_bytes",
        "Bytes that count against its capacity.",
        |it, _| Some(it.stats.bytes as f64),
    ),
    (
        "idempotency_bytes_capacity",
        "Bytes that may count.",
        |it, _| Some(it.stats.capacity_bytes as f64),
    ),
    (
        "idempotency_counters",
        "Lanes of sequence numbers, and scopes with a quota.",
        |it, _| Some(it.stats.counters as f64),
    ),
    (
        "idempotency_in_progress",
        "Requests that run, or go on by themselves.",
        |it, _| Some(it.stats.in_progress as f64),
    ),
    (
        "idempotency_unknown",
        "Requests whose outcome is unknown.",
        |it, _| Some(it.stats.unknown as f64),
    ),
    (
        "idempotency_oldest_age_seconds",
        "Age of the oldest request held.",
        |it, now| {
            let age = now.as_nanos().saturating_sub(it.stats.oldest?.as_nanos());
            Some(age as f64 / NANOS)
        },
    ),
    (
        "idempotency_next_eviction_timestamp_seconds",
        "When the oldest requests can be forgotten.",
        |it, _| it.stats.oldest_expiry.map(seconds),
    ),
    (
        "idempotency_window_seconds",
        "How long a request is remembered for certain.",
        |it, _| Some(it.window as f64 / NANOS),
    ),
    (
        "idempotency_drift_seconds",
        "By how much the clocks of clients may differ.",
        |it, _| Some(it.drift as f64 / NANOS),
    ),
    (
        "idempotency_incarnation",
        "Installations and upgrades so far.",
        |it, _| Some(it.stats.incarnation as f64),
    ),
    (
        "idempotency_damaged",
        "1 if the memory of the store is damaged.",
        |it, _| Some(f64::from(u8::from(it.is_damaged()))),
    ),
    (
        "idempotency_counted_since_timestamp_seconds",
        "When the counters below began at zero.",
        |it, _| Some(seconds(it.stats.events.since)),
    ),
];

/// What has happened since the last upgrade.
const COUNTERS: [Metric; 4] = [
    (
        "idempotency_executed_total",
        "Requests that began and were recorded.",
        |it, _| Some(it.stats.events.executed as f64),
    ),
    (
        "idempotency_replayed_total",
        "Calls answered with an earlier reply.",
        |it, _| Some(it.stats.events.replayed as f64),
    ),
    (
        "idempotency_evicted_total",
        "Requests forgotten as they had expired.",
        |it, _| Some(it.stats.events.evicted as f64),
    ),
    (
        "idempotency_released_total",
        "Requests forgotten before they expired.",
        |it, _| Some(it.stats.events.released as f64),
    ),
];

/// All metrics, each store's with its name as the label `store`.
pub(super) fn metrics(stores: &[(&str, Observation)], now: Timestamp) -> io::Result<Vec<u8>> {
    let millis = i64::try_from(now.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let mut encoder = MetricsEncoder::new(vec![], millis);
    let kinds = [(true, &GAUGES[..]), (false, &COUNTERS[..])];
    for (is_gauge, metrics) in kinds {
        for (name, help, value) in metrics {
            let mut metric = match is_gauge {
                true => encoder.gauge_vec(name, help)?,
                false => encoder.counter_vec(name, help)?,
            };
            for (store, observation) in stores {
                if let Some(value) = value(observation, now) {
                    metric = metric.value(&[("store", cut(store))], value)?;
                }
            }
        }
    }
    let help = "Calls answered with an error, by its name.";
    let mut refused = encoder.counter_vec("idempotency_refused_total", help)?;
    for (store, observation) in stores {
        for (reason, count) in &observation.stats.events.refused {
            let labels = [("store", cut(store)), ("reason", cut(reason))];
            refused = refused.value(&labels, *count as f64)?;
        }
    }
    Ok(encoder.into_inner())
}
