//! The figures that the project set itself, beside those measured.

use crate::results::{Results, Row, grouped};
use std::fmt::Write;

/// Below this, pages that are always there outweigh the requests in them.
const LEAST_FOR_BYTES: u64 = 100_000;

/// Instructions, or what the text says.
struct Target {
    what: &'static str,
    benchmark: &'static str,
    most: f64,
    value: fn(&Results, &Row) -> Option<f64>,
}

const TARGETS: [Target; 30] = [
    target(
        "the next number of a lane",
        "sequence/accept",
        4_000.0,
        median,
    ),
    target(
        "a lane's last number again",
        "sequence/replay",
        3_000.0,
        median,
    ),
    target(
        "new request, reply of 40 bytes",
        "store/insert",
        4_500.0,
        median,
    ),
    target(
        "worst of them, times the median",
        "store/insert",
        2.5,
        worst,
    ),
    target("retry, reply of 40 bytes", "store/hit", 2_300.0, median),
    target(
        "forgetting one, of many",
        "store/expire_each",
        1_000.0,
        median,
    ),
    target(
        "first after an idle day, times a usual one",
        "store/first_after_idle_day",
        2.0,
        times_usual,
    ),
    target(
        "bytes of a request with an id only",
        "store/id_only_bulk",
        64.0,
        bytes,
    ),
    target(
        "MB of 8,640,000 requests with an id only",
        "store/id_only_bulk",
        600.0,
        megabytes,
    ),
    target(
        "MB of 8,640,000 requests with a reply",
        "store/insert",
        700.0,
        megabytes,
    ),
    target(
        "heap pages that entries take",
        "store/heap_growth",
        0.0,
        median,
    ),
    target(
        "the store at an upgrade",
        "store/post_upgrade",
        1_000_000.0,
        median,
    ),
    target(
        "what the attribute adds to a first call",
        "framework/first_call",
        18_000.0,
        median,
    ),
    target(
        "what an async method records beyond a sync one",
        "durable/pending",
        8_000.0,
        median,
    ),
    target(
        "a step that awaits nothing",
        "durable/step",
        6_000.0,
        median,
    ),
    target(
        "a step that calls, beyond the call",
        "durable/call_step",
        6_000.0,
        median,
    ),
    target(
        "resuming with 10 recorded steps",
        "durable/resume",
        60_000.0,
        median,
    ),
    target(
        "saying what became of a call",
        "outcome/one",
        30_000.0,
        median,
    ),
    target(
        "hashing a request, 2,000 at a time",
        "certified/hash_bulk",
        60_000.0,
        median,
    ),
    target(
        "a retry, the whole call",
        "framework/whole_replay",
        30_000.0,
        median,
    ),
    target(
        "an ICRC Duplicate, the whole call",
        "ledger/duplicate",
        40_000.0,
        median,
    ),
    target(
        "the same, where it must be decoded",
        "ledger/duplicate_decoded",
        200_000.0,
        median,
    ),
    target(
        "icrc1_transfer, the whole call",
        "ledger/icrc1_transfer",
        450_000.0,
        median,
    ),
    target(
        "worst insert of a fill, times a single one",
        "store/insert_bulk",
        3.0,
        worst_times_usual,
    ),
    target(
        "what archives add to a new request",
        "shipping/new_request",
        3_000.0,
        median,
    ),
    target(
        "the same in used heaps",
        "shipping/new_request_used",
        3_000.0,
        median,
    ),
    target(
        "shipping an id, in both canisters",
        "shipping/each",
        2_000.0,
        median,
    ),
    target(
        "taking a message into an outbox",
        "outbox/send",
        15_000.0,
        median,
    ),
    target("a byte of a message", "outbox/send_byte", 3.0, median),
    target(
        "gzipped bytes that the library adds to a module",
        "wasm/added_gzipped",
        60_000.0,
        median,
    ),
];

const fn target(
    what: &'static str,
    benchmark: &'static str,
    most: f64,
    value: fn(&Results, &Row) -> Option<f64>,
) -> Target {
    Target {
        what,
        benchmark,
        most,
        value,
    }
}

fn median(_: &Results, row: &Row) -> Option<f64> {
    Some(row.median as f64)
}

fn worst(_: &Results, row: &Row) -> Option<f64> {
    Some(row.max as f64 / row.median as f64)
}

fn bytes(_: &Results, row: &Row) -> Option<f64> {
    (row.bytes_per_entry).filter(|_| row.entries >= LEAST_FOR_BYTES)
}

fn megabytes(results: &Results, row: &Row) -> Option<f64> {
    Some(bytes(results, row)? * 8.64)
}

/// Against a single insert.
fn times_usual(results: &Results, row: &Row) -> Option<f64> {
    Some(row.median as f64 / usual(results, row)?)
}

fn worst_times_usual(results: &Results, row: &Row) -> Option<f64> {
    Some(row.max as f64 / usual(results, row)?)
}

/// A single insert, at the same size or the next smaller one that was measured.
fn usual(results: &Results, row: &Row) -> Option<f64> {
    let inserts = results.of("store/insert");
    let usual = (inserts.iter().rev()).find(|insert| insert.entries <= row.entries)?;
    Some(usual.median as f64)
}

/// Each target at each size that was measured.
pub(crate) fn table(results: &Results) -> String {
    let mut table = format!(
        "{:<46}{:>12}{:>14}{:>14}\n",
        "target", "entries", "at most", "measured"
    );
    for Target {
        what,
        benchmark,
        most,
        value,
    } in TARGETS
    {
        for row in results.of(benchmark) {
            let Some(measured) = value(results, row) else {
                continue;
            };
            let verdict = if measured <= most { "" } else { "  missed" };
            let _ = writeln!(
                table,
                "{what:<46}{:>12}{:>14}{:>14}{verdict}",
                grouped(row.entries),
                figure(most),
                figure(measured),
            );
        }
    }
    table
}

/// Large numbers with separators, small ones with a decimal.
fn figure(number: f64) -> String {
    if number >= 1_000.0 {
        grouped(number as u64)
    } else {
        format!("{number:.1}")
    }
}
