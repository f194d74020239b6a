//! What journals take counts against the capacity and the quota, until their partition is forgotten.

use super::*;
use crate::error::IdempotencyError;

const STEPS: usize = 10;
const STEP_BYTES: usize = 300;

/// More than the steps of a request take, and less than twice as much.
const JOURNAL_BYTES: u64 = 5_000;

fn in_scope(number: u64) -> Request {
    Request {
        scope: Some(key(1_000)),
        ..numbered(number)
    }
}

/// A request that records steps and ends with a short reply: as it is completed, or as it is settled in a later heap.
fn end(
    store: &mut Store<TestMemory>,
    memory: &TestMemory,
    request: &Request,
    is_settled: bool,
    now: u64,
) {
    let attempt = begin(store, request, b"argument", now);
    for step in 0..STEPS {
        let entry = vec![step as u8; STEP_BYTES];
        store.append_step(attempt, &entry).unwrap();
    }
    if is_settled {
        store.park(attempt, "why").unwrap();
        *store = open(memory, *store.policy(), now);
        let settlement = Settlement::Done(b"reply".to_vec());
        let settled = store.resolve(&request.identity, &settlement, at(now));
        assert!(matches!(settled, Ok(Resolved::Settled { .. })));
    } else {
        let ticket = store.resumed(attempt).unwrap().unwrap().ticket;
        let reply = Some(b"reply".as_slice());
        assert_eq!(
            store.complete(&ticket, attempt, reply.map(Reply::first), at(now)),
            Ok(true)
        );
    }
}

#[test]
fn journals_of_requests_that_have_ended_count_against_the_capacity() {
    let capacity_bytes = 60_000;
    for is_settled in [false, true] {
        let memory = TestMemory::new(u64::MAX);
        let mut store = open(&memory, policy().capacity_bytes(capacity_bytes), START);
        let mut ended = 0;
        loop {
            match admission::admit(&store, &numbered(ended), at(START)) {
                Decision::Execute(_) => {}
                Decision::Refuse(IdempotencyError::Full { .. }) => break,
                other => panic!("{other:?}"),
            }
            if store.make_room_for_durable(b"argument", at(START)).is_err() {
                break;
            }
            end(&mut store, &memory, &numbered(ended), is_settled, START);
            ended += 1;
            let bytes = store.stats().bytes;
            assert!(bytes >= ended * (STEPS * STEP_BYTES) as u64, "{bytes}");
            assert!(bytes <= ended * JOURNAL_BYTES, "{bytes}");
        }
        // Room is kept for the longest journal and reply besides.
        let room = capacity_bytes - 2 * (8_192 + 1_128);
        assert!(ended >= room / JOURNAL_BYTES, "{ended}");
        assert!(
            ended <= capacity_bytes / (STEPS * STEP_BYTES) as u64,
            "{ended}"
        );
        // They are forgotten with their partition, and so is what they took.
        store.evict(at(START + PAST), 9).unwrap();
        assert_eq!(store.stats().bytes, 0);
    }
}

#[test]
fn journals_of_requests_that_have_ended_count_against_the_quota() {
    for is_settled in [false, true] {
        let memory = TestMemory::new(u64::MAX);
        let mut store = open(&memory, policy().quota(100, 4 * JOURNAL_BYTES), START);
        let mut ended = 0;
        while let Decision::Execute(_) = admission::admit(&store, &in_scope(ended), at(START)) {
            end(&mut store, &memory, &in_scope(ended), is_settled, START);
            ended += 1;
            assert!(ended <= 6, "{is_settled}: journals don't count");
        }
        assert!(ended >= 3, "{is_settled}: {ended}");
        let refused = admission::admit(&store, &in_scope(ended), at(START));
        let Decision::Refuse(IdempotencyError::QuotaExceeded { retry_after }) = refused else {
            panic!("{refused:?}");
        };
        // Another scope has its own.
        begin(&store, &numbered(100), b"argument", START);
        end(
            &mut store,
            &memory,
            &in_scope(ended),
            is_settled,
            retry_after.as_nanos(),
        );
    }
}
