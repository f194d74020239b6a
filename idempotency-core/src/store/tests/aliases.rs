//! Requests that are found by their aliases, too.

use super::{
    ground,
    harness::{START, TestMemory},
};
use crate::{
    admission::{Decision, Request, Ticket, admit},
    identity::{ArgumentIs, Digest, EarlyName, Fingerprint, Identity},
    policy::Policy,
    sequence::Sequence,
    store::{Origin, Reply, Resolved, Settlement, Store},
    time::Timestamp,
};
use std::time::Duration;

const WINDOW: u64 = 3_200;

fn at(time: u64) -> Timestamp {
    Timestamp::from_nanos(START + time)
}

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000)
        .drop_replies()
}

fn opened(memory: &TestMemory, time: u64) -> Store<TestMemory> {
    Store::open(memory.clone(), policy(), at(time)).unwrap()
}

/// All bits that the index goes by are those of others.
fn alias(number: u64) -> Digest {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    Digest::from_bytes(bytes).unwrap()
}

/// The identity's bits are those of the aliases.
fn request(number: u64) -> Request {
    Request {
        identity: ground(number),
        fingerprint: Fingerprint {
            argument: Some(alias(number)),
            argument_is: match number % 2 {
                0 => ArgumentIs::Alias,
                _ => ArgumentIs::AliasOnly,
            },
            chosen: None,
        },
        created_at: None,
        sequence: None,
        scope: None,
    }
}

fn admitted(store: &Store<TestMemory>, request: &Request, time: u64) -> Ticket {
    match admit(store, request, at(time)) {
        Decision::Execute(ticket) => ticket,
        other => panic!("it is new, not {other:?}"),
    }
}

fn executed(store: &Store<TestMemory>, number: u64, time: u64, reply: &[u8]) {
    let ticket = admitted(store, &request(number), time);
    store.record(&ticket, reply).unwrap();
}

fn found(store: &Store<TestMemory>, number: u64) -> Option<Vec<u8>> {
    let ended = store.ended(&EarlyName::Alias(alias(number))).unwrap();
    ended.map(|ended| ended.reply.bytes)
}

fn reply(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(3) { 200 } else { 20 };
    number.to_le_bytes().repeat(length / 8)
}

#[test]
fn each_leads_to_its_own_request_whatever_bits_it_shares_with_others() {
    let memory = TestMemory::new(u64::MAX);
    let mut store = opened(&memory, 0);
    for number in 0..300 {
        executed(&store, number, number, &reply(number));
    }
    for _ in 0..2 {
        for number in 0..300 {
            assert_eq!(found(&store, number), Some(reply(number)));
            assert_eq!(found(&store, 1_000 + number), None);
            let again = admit(&store, &request(number), at(300));
            // Nothing is compared of one whose alias is no more than a name, not even with itself.
            match number % 2 {
                0 => assert_eq!(again, Decision::Replay(Reply::first(reply(number)))),
                _ => assert!(matches!(again, Decision::Refuse(_))),
            }
        }
        store = opened(&memory, 300);
    }
}

#[test]
fn one_is_forgotten_with_its_request() {
    let memory = TestMemory::new(u64::MAX);
    let store = opened(&memory, 0);
    executed(&store, 1, 0, b"old");
    executed(&store, 2, WINDOW / 2, b"young");
    store.evict(at(WINDOW + WINDOW / 4), u32::MAX).unwrap();
    assert_eq!(
        (found(&store, 1), found(&store, 2)),
        (None, Some(b"young".to_vec()))
    );
    executed(&store, 1, 2 * WINDOW, b"anew");
    assert_eq!(found(&store, 1), Some(b"anew".to_vec()));
}

#[test]
fn one_that_has_not_ended_has_no_reply() {
    let memory = TestMemory::new(u64::MAX);
    let store = opened(&memory, 0);
    let ticket = admitted(&store, &request(1), 0);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    assert_eq!(found(&store, 1), None);
    store
        .complete(&ticket, attempt, Some(Reply::first(b"done")), at(1))
        .unwrap();
    assert_eq!(found(&store, 1), Some(b"done".to_vec()));
}

/// What did nothing may run again, and then the first reply counts, of whatever attempt that is.
#[test]
fn one_that_did_nothing_is_forgotten() {
    let memory = TestMemory::new(u64::MAX);
    let store = opened(&memory, 0);
    let ticket = admitted(&store, &request(1), 0);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    store.release(&ticket, attempt).unwrap();
    executed(&store, 1, 1, b"second attempt");
    assert_eq!(found(&store, 1), Some(b"second attempt".to_vec()));

    let ticket = admitted(&store, &request(2), 0);
    store.begin(&ticket, &Origin::NOWHERE).unwrap();
    let store = opened(&memory, 2);
    let settled = store.resolve(&request(2).identity, &Settlement::NotExecuted, at(2));
    assert!(
        matches!(settled, Ok(Resolved::Settled { .. })),
        "{settled:?}"
    );
    executed(&store, 2, 3, b"executed");
    assert_eq!(found(&store, 2), Some(b"executed".to_vec()));
}

/// The store forgets the reply that the client has, and says so whichever way it is asked.
#[test]
fn one_whose_reply_the_client_has_is_forgotten() {
    let memory = TestMemory::new(u64::MAX);
    let store = opened(&memory, 0);
    let lane = Identity([1; 24]);
    let numbered = |number, first_incomplete| Request {
        identity: Identity::of_number(&lane, number),
        sequence: Some(Sequence {
            lane,
            number,
            max_in_flight: 4,
            first_incomplete,
            is_shared: false,
        }),
        ..request(number)
    };
    for number in 0..3 {
        let ticket = admitted(&store, &numbered(number, None), number);
        store.record(&ticket, &reply(number)).unwrap();
        assert_eq!(found(&store, number), Some(reply(number)));
    }
    let ticket = admitted(&store, &numbered(3, Some(2)), 3);
    store.record(&ticket, &reply(3)).unwrap();
    let found = [0, 1, 2, 3].map(|number| found(&store, number).is_some());
    assert_eq!(found, [false, false, true, true]);
}
