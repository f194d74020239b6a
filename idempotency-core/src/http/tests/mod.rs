mod answers;
mod html;
mod metrics;
mod pages;

use super::{HttpRequest, HttpResponse, Observation, respond};
use crate::{
    admission::{self, Decision, Request},
    error::IdempotencyError,
    identity::{Fingerprint, Identity},
    policy::Policy,
    store::{Sample, Store, UnknownRequest},
    time::Timestamp,
};
use ic_stable_structures::{Memory, VectorMemory};
use serde_bytes::ByteBuf;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const START: u64 = 1_000_000_000_000_000_000;
const HOSTILE: &str = "</h2><script>alert('\"x\"')</script>&amp;\u{202e}\n\\\"";

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn policy() -> Policy {
    Policy::new().window(HOUR).capacity(10)
}

fn open<M: Memory>(memory: M) -> Store<M> {
    Store::open(memory, policy(), at(START)).unwrap()
}

/// Executes a request, or is told why not.
fn execute<M: Memory>(store: &Store<M>, key: u8, now: u64) -> Result<(), IdempotencyError> {
    let request = Request {
        identity: Identity([key; 24]),
        fingerprint: Fingerprint::default(),
        created_at: None,
        sequence: None,
        scope: None,
    };
    match admission::admit(store, &request, at(now)) {
        Decision::Execute(ticket) => store.record(&ticket, b"the reply").unwrap(),
        Decision::Refuse(error) => return Err(error),
        Decision::Replay(_) => {}
    }
    Ok(())
}

fn get<'a>(path: &str, stores: &[(&str, Observation)], now: u64) -> HttpResponse<'a> {
    respond(&HttpRequest::get(path).build(), stores, at(now))
}

fn body(response: &HttpResponse<'_>) -> String {
    String::from_utf8(response.body().to_vec()).expect("it is UTF-8")
}

fn header<'a>(response: &'a HttpResponse<'_>, name: &str) -> Option<&'a str> {
    let mut headers = response.headers().iter();
    headers
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// An observation of which every number is as great as can be, and every text as long, or as hostile.
fn extreme() -> Observation {
    let mut observation = Observation::of(&open(VectorMemory::default()));
    let text = HOSTILE.repeat(1_000);
    let stats = &mut observation.stats;
    for number in [
        &mut stats.entries,
        &mut stats.capacity,
        &mut stats.bytes,
        &mut stats.capacity_bytes,
        &mut stats.counters,
        &mut stats.in_progress,
        &mut stats.unknown,
        &mut stats.incarnation,
        &mut stats.events.executed,
        &mut stats.events.replayed,
        &mut stats.events.evicted,
        &mut stats.events.released,
    ] {
        *number = u64::MAX;
    }
    stats.oldest = Some(at(0));
    stats.oldest_expiry = Some(at(u64::MAX));
    for count in stats.events.refused.values_mut() {
        *count = u64::MAX;
    }
    (observation.window, observation.drift) = (u64::MAX, u64::MAX);
    let request = UnknownRequest {
        number: u64::MAX,
        identity: Identity([255; 24]),
        endpoint: text.clone(),
        scope: ByteBuf::from(b"SCOPE".to_vec()),
        since: at(0),
        last_step: Some(text.clone()),
        reason: Some("REASON".into()),
    };
    observation.unresolved = Ok(vec![request; super::observation::MOST_LISTED]);
    observation.samples = (0..96)
        .map(|number| Sample {
            at: at(u64::MAX / 96 * number),
            entries: u64::MAX - number,
            bytes: number,
        })
        .collect();
    observation
}
