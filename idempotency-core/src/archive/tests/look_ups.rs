//! Asking archives: what an answer is worth, and what is made of one that makes no sense.

use super::{
    ic::Answer,
    others::rejected,
    world::{WINDOW, World, archive_policy, policy},
};
use crate::{
    archive::{
        Entry, Keep,
        wire::{Found, LookedUp, Position},
    },
    error::IdempotencyError,
    store::{Archived, LookingUp, State},
};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use std::{
    cell::RefCell,
    task::{Context, Poll, Waker},
    time::Duration,
};

type LookUp = Result<Option<Archived>, IdempotencyError>;

fn poll(look_up: &mut LookingUp) -> Poll<LookUp> {
    look_up
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Some requests in one archive.
fn archived() -> World {
    let mut world = World::new(policy(Keep::Replies), archive_policy(1_000).one_in(2));
    for key in 0..20 {
        assert!(world.execute(key));
    }
    world.settle(2 * WINDOW);
    assert_eq!(world.held(), 0);
    world
}

/// A request that is not archived, and for which the archive is asked nevertheless.
fn false_positive(world: &World) -> u64 {
    (1_000..).find(|key| world.may_hold(*key)).unwrap()
}

fn is_refused(look_up: &LookUp) -> bool {
    matches!(
        look_up,
        Err(IdempotencyError::Other {
            code: 8,
            retry_after: Some(_),
            ..
        })
    )
}

#[test]
fn an_archive_that_has_taken_more_meanwhile_is_asked_again() {
    let mut world = archived();
    let key = false_positive(&world);
    let mut look_up = world.begin_look_up(key);
    assert_eq!(poll(&mut look_up), Poll::Pending);
    let (asked, answer) = world.take_last();
    // It is executed, and archived, and its store has forgotten it.
    assert!(world.execute(key));
    world.settle(2 * WINDOW);
    assert_eq!(world.held(), 0);
    asked.answer(answer);
    assert_eq!(poll(&mut look_up), Poll::Pending);
    let (asked, answer) = world.take_last();
    asked.answer(answer);
    let Poll::Ready(Ok(Some(found))) = poll(&mut look_up) else {
        panic!("it was executed");
    };
    assert!(matches!(found.record.state, State::Done(_)));
}

/// It is known then that it can't answer, and nothing that it says helps.
#[test]
fn one_that_has_lost_something_is_asked_once() {
    let mut world = archived();
    for canister in world.others.canisters.values_mut() {
        canister.reinstall();
    }
    let mut look_up = world.begin_look_up(7);
    assert_eq!(poll(&mut look_up), Poll::Pending);
    let (asked, answer) = world.take_last();
    asked.answer(answer);
    let Poll::Ready(answer) = poll(&mut look_up) else {
        panic!("it is asked again");
    };
    assert!(is_refused(&answer), "{answer:?}");
}

#[test]
fn a_false_positive_is_not_found() {
    let mut world = archived();
    let key = false_positive(&world);
    assert_eq!(world.look_up(key), Some(Ok(None)));
    // Most are never asked for.
    let asked = (2_000..3_000).filter(|key| world.may_hold(*key)).count();
    assert!(asked < 500, "{asked} of 1,000");
}

/// What comes of this answer, in a world and for one of its requests.
fn answered(world: &mut World, key: u64, answer: Answer) -> LookUp {
    let mut look_up = world.begin_look_up(key);
    loop {
        match poll(&mut look_up) {
            Poll::Ready(found) => return found,
            Poll::Pending => {
                let sent = world.take_only();
                // A pause before the next try ends at once.
                let answer = match sent.call.method == "raw_rand" {
                    true => Err(rejected(0, "")),
                    false => answer.clone(),
                };
                sent.answer(answer);
            }
        }
    }
}

#[test]
fn what_makes_no_sense_is_a_refusal() {
    let mut world = archived();
    let key = 7;
    let (asked, answer) = {
        let mut look_up = world.begin_look_up(key);
        assert_eq!(poll(&mut look_up), Poll::Pending);
        world.take_last()
    };
    drop(asked);
    let honest: LookedUp = candid::decode_one(&answer.unwrap()).unwrap();
    let found = honest.found[0].clone().unwrap();
    let position = honest.position;
    let says = |answer: LookedUp| -> Answer { Ok(candid::encode_one(answer).unwrap()) };
    let looked_up = |found: Vec<Option<Found>>, position: Position| {
        says(LookedUp {
            position,
            found,
            ..honest.clone()
        })
    };
    let absent = LookedUp {
        found: vec![None],
        ..honest.clone()
    };
    let mut other_id = found.entry.clone();
    other_id[0] ^= 1;
    let behind = Position {
        entries: position.entries - 1,
        ..position
    };
    let with = |entry: &[u8], reply: Option<&[u8]>| Found {
        entry: ByteBuf::from(entry.to_vec()),
        reply: reply.map(|reply| ByteBuf::from(reply.to_vec())),
    };
    let mut a_digest = Entry::from_bytes(&found.entry).unwrap();
    a_digest.kept = crate::archive::Kept::Digest;
    for (name, answer) in [
        ("no candid", Ok(b"DIDL".to_vec())),
        ("another type", Ok(candid::encode_one(7u8).unwrap())),
        ("no answer", looked_up(vec![], position)),
        ("two answers", looked_up(vec![None, None], position)),
        (
            "another request",
            looked_up(vec![Some(with(&other_id, Some(b"x")))], position),
        ),
        (
            "a reply is missing",
            looked_up(vec![Some(with(&found.entry, None))], position),
        ),
        (
            "a digest of 5 bytes",
            looked_up(vec![Some(with(&a_digest.full(), Some(b"short")))], position),
        ),
        (
            "no entry",
            looked_up(vec![Some(with(&[0xFF; 39], None))], position),
        ),
        ("behind", looked_up(vec![None], behind)),
        (
            "the answer to another question",
            says(LookedUp {
                asked: vec![serde_bytes::ByteArray::new([9; 16])],
                ..absent.clone()
            }),
        ),
        (
            "another archive's answer",
            says(LookedUp {
                archive: candid::Principal::management_canister(),
                ..absent
            }),
        ),
        ("stopped", Err(rejected(5, "stopped"))),
        ("silent", Err(rejected(6, "timeout"))),
        ("deleted", Err(rejected(3, "deleted"))),
    ] {
        let result = answered(&mut world, key, answer);
        assert!(is_refused(&result), "{name}: {result:?}");
    }
    let whole = answered(&mut world, key, looked_up(honest.found.clone(), position));
    assert!(matches!(whole, Ok(Some(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_answer_is_taken_without_a_panic(
        entries in prop::collection::vec(any::<Option<(Vec<u8>, Option<Vec<u8>>)>>(), 0..3),
        at: u64,
    ) {
        thread_local! {
            static WORLD: RefCell<World> = RefCell::new(archived());
        }
        let honest: LookedUp = WORLD.with_borrow_mut(|world| {
            let mut look_up = world.begin_look_up(7);
            assert_eq!(poll(&mut look_up), Poll::Pending);
            candid::decode_one(&world.take_last().1.unwrap()).unwrap()
        });
        let found = entries.into_iter().map(|it| it.map(|(entry, reply)| Found {
            entry: ByteBuf::from(entry),
            reply: reply.map(ByteBuf::from),
        }));
        let position = Position { entries: at, ..Position::default() };
        let answer = LookedUp { position, found: found.collect(), ..honest };
        let says_none = answer.found == [None] && at >= 20;
        let answer = Ok(candid::encode_one(answer).unwrap());
        let result = WORLD.with_borrow_mut(|world| answered(world, 7, answer));
        prop_assert!(is_refused(&result) || says_none && result == Ok(None), "{result:?}");
    }
}

#[test]
fn what_is_kept_is_told() {
    for keep in [Keep::Ids, Keep::Digests, Keep::Replies] {
        let mut world = World::new(policy(keep), archive_policy(1_000));
        let before = world.now();
        assert!(world.execute(3));
        world.settle(2 * WINDOW);
        let found = world.look_up(3).unwrap().unwrap().unwrap();
        let reply = super::world::reply(3);
        match (keep, &found.record.state, found.digest) {
            (Keep::Ids, State::ReplyDropped, None) => {}
            (Keep::Digests, State::ReplyDropped, Some(digest)) => {
                use sha2::Digest as _;
                assert_eq!(digest, <[u8; 32]>::from(sha2::Sha256::digest(&reply)));
            }
            (Keep::Replies, State::Done(kept), None) => {
                assert_eq!((&kept.bytes, kept.is_for_retries), (&reply, false));
            }
            other => panic!("{other:?}"),
        }
        assert!(found.record.since <= before.plus(Duration::from_millis(1)));
    }
}
