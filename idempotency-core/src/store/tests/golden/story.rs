//! What happened in the memories that are dumped: everything that leaves a trace.

use super::super::{ground, harness::TestMemory};
use crate::{
    admission::{self, Decision, Request, Ticket},
    identity::{
        Argument, Compared, Fingerprint, Fingerprinted, Identity, LaneKey, LazyFingerprint,
        RequestKey, Scope,
    },
    policy::Policy,
    sequence::Sequence,
    store::{Attempt, Origin, Reply, Resolved, Settlement, Store},
    time::Timestamp,
};
use candid::Principal;
use std::time::Duration;

pub(super) const HOUR: u64 = 3_600_000_000_000;
pub(super) const START: u64 = 1_700_000_000_000_000_000;

/// When the last heap of the story goes away.
pub(super) const END: u64 = START + 4 * HOUR;

pub(super) const KEYS: u64 = 1_000;
pub(super) const LANES: [(u64, u16); 3] = [(1, 1), (2, 1), (3, 64)];

pub(super) fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

pub(super) fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(HOUR))
        .retention(Duration::from_nanos(HOUR))
        .max_reply_bytes(100_000)
        .capacity_bytes(900_000)
        .drop_replies()
        .max_counters(100)
        .counter_idle(Duration::from_nanos(HOUR))
        .quota(2_000, 1 << 20)
}

/// With room for requests that have not ended.
pub(super) fn roomy() -> Policy {
    policy().capacity_bytes(9_000_000)
}

pub(super) fn caller(number: u64) -> Principal {
    Principal::from_slice(&number.to_le_bytes())
}

/// From 900 on all bits that the index goes by are equal: nodes of all levels, and buckets that go on in others.
pub(super) fn key(number: u64) -> Identity {
    if number >= 900 {
        return ground(number);
    }
    let key = RequestKey::of(&number).unwrap();
    Identity::new("pay", &Scope::Caller, &caller(number % 3), &key).unwrap()
}

pub(super) fn scope(number: u64) -> Identity {
    Identity::of_scope("pay", &Scope::Caller, &caller(number)).unwrap()
}

pub(super) fn lane(number: u64) -> Identity {
    Identity::of_lane(
        "order",
        &Scope::Caller,
        &caller(number),
        &LaneKey::of(&number),
    )
    .unwrap()
}

/// Every third was compared by a part of its argument, every fifth by nothing.
pub(super) fn fingerprint(number: u64) -> Fingerprint {
    let bytes = candid::encode_one(number).unwrap();
    let compared = match number {
        _ if number.is_multiple_of(3) => Compared::chosen(&number),
        _ if number.is_multiple_of(5) => Compared::Nothing,
        _ => Compared::Argument,
    };
    LazyFingerprint::new(&Argument::new(&bytes), compared, None, &Scope::Caller).fingerprint()
}

pub(super) fn request(number: u64, created_at: Option<u64>) -> Request {
    Request {
        identity: key(number),
        fingerprint: fingerprint(number),
        created_at: created_at.map(at),
        sequence: None,
        scope: Some(scope(number % 3)),
    }
}

pub(super) fn numbered(
    lane_number: u64,
    max_in_flight: u16,
    number: u64,
    first_incomplete: Option<u64>,
) -> Request {
    let sequence = Sequence {
        lane: lane(lane_number),
        number,
        max_in_flight,
        first_incomplete,
        is_shared: false,
    };
    Request {
        identity: Identity::of_number(&sequence.lane, number),
        fingerprint: fingerprint(number),
        created_at: None,
        sequence: Some(sequence),
        scope: Some(scope(lane_number)),
    }
}

pub(super) fn admitted(store: &Store<TestMemory>, request: &Request, now: u64) -> Ticket {
    match admission::admit(store, request, at(now)) {
        Decision::Execute(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

pub(super) fn execute(store: &Store<TestMemory>, request: &Request, now: u64, reply: &[u8]) {
    let ticket = admitted(store, request, now);
    store.record(&ticket, reply).unwrap();
}

pub(super) fn begin(store: &Store<TestMemory>, request: &Request, now: u64) -> (Ticket, Attempt) {
    let ticket = admitted(store, request, now);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    (ticket, attempt)
}

pub(super) fn reply(number: u64, length: u64) -> Vec<u8> {
    vec![number as u8; length as usize]
}

/// Everything that leaves a trace in the memory happens: in two heaps, over four hours.
pub(super) fn story(memory: &TestMemory) {
    let store = Store::open(memory.clone(), policy(), at(START)).unwrap();
    // Forgotten before the end: slots and segments that are used again, and a floor of lanes.
    for number in 0..300 {
        execute(
            &store,
            &request(number, None),
            START + number,
            &reply(number, number % 70),
        );
    }
    execute(&store, &numbered(9, 8, 6, None), START, b"forgotten");
    let store = Store::open(memory.clone(), policy(), at(START + 3 * HOUR)).unwrap();
    assert!(
        store
            .evict(at(START + 3 * HOUR + HOUR / 2), u32::MAX)
            .unwrap()
            > 1
    );
    let begun = START + 3 * HOUR + HOUR / 2;
    for number in (300..500).chain(900..960) {
        let now = begun + number * 1_000_000_000;
        let created_at = number.is_multiple_of(4).then(|| now - 1_000_000_000);
        execute(
            &store,
            &request(number, created_at),
            now,
            &reply(number, number % 90),
        );
    }
    let now = begun + 1_000 * 1_000_000_000;
    for (number, length) in [(700, 65), (701, 3_000), (702, 70_000), (703, 100_000)] {
        execute(&store, &request(number, None), now, &reply(number, length));
    }
    // The replies of the oldest partition that has any make room.
    for number in 710..716 {
        execute(
            &store,
            &request(number, None),
            now + HOUR / 4,
            &reply(number, 60_000),
        );
    }
    let now = END - HOUR / 8;
    let (ticket, attempt) = begin(&store, &request(720, None), now);
    assert!(
        store
            .complete(&ticket, attempt, Some(Reply::first(b"async")), at(now + 1))
            .unwrap()
    );
    let (ticket, attempt) = begin(&store, &request(721, None), now);
    assert!(
        store
            .complete(
                &ticket,
                attempt,
                Some(Reply::first(&reply(721, 5_000))),
                at(now + 1)
            )
            .unwrap()
    );
    let (ticket, attempt) = begin(&store, &request(722, None), now);
    assert!(store.complete(&ticket, attempt, None, at(now + 1)).unwrap());
    let (ticket, attempt) = begin(&store, &request(723, None), now);
    assert!(store.interrupt(&ticket, attempt, at(now + 1)).unwrap());
    let (ticket, attempt) = begin(&store, &request(724, None), now);
    assert!(store.release(&ticket, attempt).unwrap());
    begin(&store, &request(725, None), now);
    begin(&store, &request(726, None), now);
    // A strict lane that is stuck, one that goes on, and one with gaps and with replies that its client has received.
    let floor = store.inner.borrow().sequence_floor();
    execute(&store, &numbered(1, 1, floor, None), now, b"first");
    begin(&store, &numbered(1, 1, floor + 1, None), now);
    for number in 0..3 {
        execute(
            &store,
            &numbered(2, 1, floor + number, None),
            now,
            &reply(number, 10),
        );
    }
    for number in [0, 1, 2, 3, 7, 40] {
        execute(
            &store,
            &numbered(3, 64, floor + number, Some(floor + number / 2)),
            now,
            &reply(number, 80),
        );
    }
}

/// Requests that have not ended, in every phase: after [`story`], in heaps of their own.
pub(super) fn open_requests(memory: &TestMemory) {
    let now = END - HOUR / 16;
    let begin = |store: &Store<TestMemory>, number: u64| {
        let ticket = admitted(store, &request(number, None), now);
        let argument = reply(number, number - 700);
        let origin = Origin {
            endpoint: ["pay", "book"][number as usize % 2],
            scope: [number as u8; 8],
            kept: Some((caller(number), &argument)),
        };
        store.begin(&ticket, &origin).unwrap()
    };
    let step = |store: &Store<TestMemory>, attempt, number, length| {
        store.append_step(attempt, &reply(number, length)).unwrap();
    };
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    let cut_off = begin(&store, 740);
    step(&store, cut_off, 1, 3);
    step(&store, cut_off, 2, 172);
    step(&store, cut_off, 3, 1_000);
    store.cut_off(cut_off, at(now)).unwrap();
    let asleep = begin(&store, 741);
    step(&store, asleep, 4, 20);
    store.sleep(asleep, at(END + HOUR)).unwrap();
    let parked = begin(&store, 742);
    step(&store, parked, 5, 0);
    store
        .park(parked, "what it did is not known: \u{1F937}")
        .unwrap();
    let anew = begin(&store, 743);
    step(&store, anew, 6, 500);
    store.restart(anew, at(now)).unwrap();
    // Tried again and again, to no avail.
    for tries in 0..3 {
        let due = store.take_due(at(now + HOUR / 32 + tries * HOUR / 256), 10);
        assert!(!due.unwrap().is_empty());
    }
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    let ended = begin(&store, 744);
    let running = begin(&store, 745);
    step(&store, running, 7, 30);
    // Its cell is the next one's.
    let settled = store.resolve(&key(744), &Settlement::NotExecuted, at(now));
    assert!(matches!(settled, Ok(Resolved::Running { .. })));
    let resumed = store.resumed(ended).unwrap().unwrap();
    assert!(
        store
            .complete(
                &resumed.ticket,
                ended,
                Some(Reply::first(b"ended")),
                at(now)
            )
            .unwrap()
    );
    begin(&store, 746);
}

/// A request that is found by its argument, too. Its number tells what is compared.
pub(super) fn aliased(number: u64) -> Request {
    let (bytes, caller) = (candid::encode_one(number).unwrap(), caller(number % 3));
    let compared = match number {
        _ if number.is_multiple_of(3) => Compared::chosen(&number),
        _ if number.is_multiple_of(5) => Compared::Nothing,
        _ => Compared::Argument,
    };
    let argument = Argument::of_call(&bytes, "pay", &caller);
    let fingerprint = LazyFingerprint::new(&argument, compared, None, &Scope::Caller);
    Request {
        fingerprint: fingerprint.with_alias(true).fingerprint(),
        ..request(number, None)
    }
}

/// Requests that have aliases, in every state: after [`open_requests`], in a heap of their own.
pub(super) fn aliased_requests(memory: &TestMemory) {
    let now = END - HOUR / 32;
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    for number in 760..770 {
        execute(
            &store,
            &aliased(number),
            now,
            &reply(number, 10 * (number - 755)),
        );
    }
    let (ticket, attempt) = begin(&store, &aliased(770), now);
    store
        .complete(&ticket, attempt, Some(Reply::first(b"ended")), at(now))
        .unwrap();
    let (ticket, attempt) = begin(&store, &aliased(771), now);
    store.release(&ticket, attempt).unwrap();
    begin(&store, &aliased(772), now);
}

/// Records that hold the reply for retries, in themselves and outside: after [`aliased_requests`], in a heap of its own.
pub(super) fn replies_for_retries(memory: &TestMemory) {
    let now = END - HOUR / 32;
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    let kept = |number| reply(number, [0, 48, 49, 64, 65, 3_000][number as usize % 6]);
    for number in 774..798 {
        let bytes = kept(number);
        let reply = Reply::for_retries(bytes.as_slice());
        let request = request(number, None);
        if number.is_multiple_of(2) {
            let ticket = admitted(&store, &request, now);
            store.record_reply(&ticket, reply).unwrap();
        } else {
            let (ticket, attempt) = begin(&store, &request, now);
            let is_own = store.complete(&ticket, attempt, Some(reply), at(now));
            assert!(is_own.unwrap());
        }
    }
}
