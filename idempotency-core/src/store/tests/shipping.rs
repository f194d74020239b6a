//! What has expired, read for an archive: the same rows from each place on, and nothing of what lies in a log for nothing.

use super::super::{Expired, Lookup, Moved, Reply, Store};
use crate::{
    admission::{self, Decision, Request},
    error::IdempotencyError,
    identity::{Fingerprint, Identity},
    policy::{Keep, Policy},
    sequence::Sequence,
    store::{Damaged, Origin, State, Ticket},
    time::Timestamp,
};
use ic_stable_structures::VectorMemory;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(3_200);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn policy() -> Policy {
    Policy::new()
        .window(WINDOW)
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000)
        .archive(Keep::Replies)
}

fn open(policy: Policy) -> Store<VectorMemory> {
    Store::open(VectorMemory::default(), policy, at(0)).unwrap()
}

fn identity(key: u64) -> Identity {
    let mut name = [0; 24];
    name.copy_from_slice(&blake3::hash(&key.to_le_bytes()).as_bytes()[..24]);
    Identity(name)
}

fn request(key: u64) -> Request {
    Request {
        identity: identity(key),
        fingerprint: Fingerprint::default(),
        created_at: None,
        sequence: None,
        scope: None,
    }
}

fn ticket(store: &Store<VectorMemory>, request: &Request, now: Timestamp) -> Ticket {
    match admission::admit(store, request, now) {
        Decision::Execute(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn reply(key: u64) -> Vec<u8> {
    vec![key as u8; if key.is_multiple_of(2) { 20 } else { 500 }]
}

fn execute(store: &Store<VectorMemory>, key: u64, now: Timestamp) {
    let ticket = ticket(store, &request(key), now);
    store.record(&ticket, &reply(key)).unwrap();
}

type Row = ([u8; 16], Option<Vec<u8>>);

/// So many rows from an address on, and where to go on.
fn read(
    store: &Store<VectorMemory>,
    expired: Expired,
    from: Option<u64>,
    most: usize,
) -> (Vec<Row>, Option<u64>) {
    let mut rows = vec![];
    let next = store.read_ended(expired, from, |row| {
        let is_taken = rows.len() < most;
        if is_taken {
            let reply = row.reply()?.map(|reply| reply.bytes.into_owned());
            rows.push((row.id(), reply));
        }
        Ok(is_taken)
    });
    (rows, next.unwrap())
}

fn row(key: u64) -> Row {
    let mut id = [0; 16];
    id.copy_from_slice(&identity(key).name()[8..]);
    (id, Some(reply(key)))
}

#[test]
fn rows_are_read_in_parts_and_those_for_nothing_are_not() {
    let store = open(policy());
    let mut expected = vec![];
    let mut running = vec![];
    // Over several segments.
    for key in 0..2_000 {
        if key % 7 == 3 {
            let ticket = ticket(&store, &request(key), at(1));
            let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
            match key % 3 {
                0 => assert!(store.release(&ticket, attempt).unwrap()),
                1 => {
                    let end = Some(Reply::first(b"later".as_slice()));
                    assert!(store.complete(&ticket, attempt, end, at(2)).unwrap());
                    expected.push((row(key).0, Some(b"later".to_vec())));
                }
                _ => running.push((key, ticket, attempt)),
            }
            continue;
        }
        execute(&store, key, at(1));
        expected.push(row(key));
    }
    assert_eq!(store.first_expired(at(3_200)).unwrap(), None);
    let now = at(4_000);
    let expired = store.first_expired(now).unwrap().unwrap();
    // It is forgotten by nobody else, and only when nothing in it is open.
    assert_eq!(store.evict(now, u32::MAX), Ok(0));
    assert_eq!(store.forget_archived(expired, now), Err(Damaged));
    let mut moves = 0;
    while store.move_open_out(expired, 10, now).unwrap() != Moved::All {
        moves += 1;
    }
    assert_eq!(moves, (running.len() - 1) / 10);
    assert_eq!(store.requests_to_ship(now), expected.len() as u64);

    let (all, end) = read(&store, expired, None, usize::MAX);
    assert!(all == expected && end.is_none());
    for most in [1, 7, 600, 1_999] {
        let (mut parts, mut from) = (vec![], None);
        loop {
            let (part, next) = read(&store, expired, from, most);
            parts.extend(part);
            if next.is_none() {
                break;
            }
            from = next;
        }
        assert!(parts == expected, "{most} at a time");
    }

    store.forget_archived(expired, now).unwrap();
    assert_eq!(store.forget_archived(expired, now), Err(Damaged));
    assert_eq!(store.stats().entries, running.len() as u64);
    for (key, ticket, attempt) in running {
        let Lookup::Known(record) = store.lookup(&identity(key)).unwrap() else {
            panic!("{key} has not ended");
        };
        assert!(matches!(record.state, State::Pending(_)));
        let end = Some(Reply::first(b"late".as_slice()));
        assert!(store.complete(&ticket, attempt, end, now).unwrap());
    }
}

#[test]
fn replies_of_what_is_to_be_shipped_are_not_dropped() {
    // Three records, their two long replies, and not the longest reply besides.
    let bytes = 3 * 128 + 2 * 500 + 1_016;
    let store = open(policy().capacity_bytes(bytes).drop_replies());
    execute(&store, 1, at(1));
    execute(&store, 3, at(2_000));
    // There is no room for another reply of 1,000 bytes, and the first partition is to be shipped.
    let now = at(4_000);
    execute(&store, 4, now);
    execute(&store, 6, now);
    let expired = store.first_expired(now).unwrap().unwrap();
    let (rows, _) = read(&store, expired, None, 10);
    assert_eq!(rows, [row(1)]);
    assert!(matches!(
        store.lookup(&identity(3)).unwrap(),
        Lookup::Known(record) if record.state == State::ReplyDropped
    ));
}

#[test]
fn a_store_that_waits_for_its_archive_says_when_to_come_again() {
    let store = open(policy().capacity(2));
    execute(&store, 1, at(1));
    execute(&store, 2, at(1));
    let retry_after = |now| match admission::admit(&store, &request(3), now) {
        Decision::Refuse(IdempotencyError::Full { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    assert!(retry_after(at(2)) > at(3_201));
    let now = at(10_000);
    assert!(retry_after(now) >= now.plus(Duration::from_secs(10)));
    // What has expired is still known.
    assert!(matches!(
        store.lookup(&identity(1)).unwrap(),
        Lookup::Known(_)
    ));
}

#[test]
fn eviction_leaves_what_no_archive_has() {
    let store = open(policy());
    execute(&store, 1, at(1));
    let now = at(1_000_000);
    assert_eq!(store.evict(now, 100), Ok(0));
    execute(&store, 2, now);
    assert!(matches!(
        store.lookup(&identity(1)).unwrap(),
        Lookup::Known(_)
    ));
}

#[test]
fn no_record_lies_in_a_lane() {
    let store = open(policy());
    let lane = identity(99);
    for number in 0..3 {
        let sequence = Sequence {
            lane,
            number,
            max_in_flight: 1,
            first_incomplete: None,
            is_shared: false,
        };
        let request = Request {
            identity: Identity::of_number(&lane, number),
            sequence: Some(sequence),
            ..request(0)
        };
        let ticket = ticket(&store, &request, at(1));
        store.record(&ticket, b"x").unwrap();
    }
    assert_eq!(store.stats().entries, 3);
}
