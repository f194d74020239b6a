//! What a retry is across upgrades that candid calls compatible, and in other bytes.

use crate::common::{Answer, Fixture, Refusal, ok, refused, with_canister};
use candid::{CandidType, Int, Nat, encode_args, encode_one};
use integration_tests::user;
use std::collections::{BTreeMap, HashMap};

fn call(it: &Fixture<'_>, caller: u8, endpoint: &str, argument: &[u8]) -> Answer {
    let reply = it
        .canister
        .update_raw(user(caller), endpoint, argument.to_vec())
        .expect("it answers");
    candid::decode_one(&reply).expect("an answer")
}

#[derive(CandidType)]
struct First {
    key: Vec<u8>,
    text: &'static str,
    created_at: Option<u64>,
}

#[derive(CandidType)]
struct Second {
    key: Option<Vec<u8>>,
    text: &'static str,
    created_at: Option<u64>,
    mood: Option<&'static str>,
}

fn first(created_at: u64) -> First {
    First {
        key: b"key".to_vec(),
        text: "hello",
        created_at: Some(created_at),
    }
}

fn second(created_at: u64, mood: Option<&'static str>) -> Second {
    Second {
        key: Some(b"key".to_vec()),
        text: "hello",
        created_at: Some(created_at),
        mood,
    }
}

#[test]
fn the_same_bytes_are_a_retry_after_the_endpoint_evolved() {
    with_canister(|it| {
        let now = it.now();
        let was = encode_one(first(now)).expect("it encodes");
        // A client that knows the new interface by now.
        let is = encode_one(second(now, None)).expect("it encodes");
        let other = encode_one(second(now, Some("!"))).expect("it encodes");
        let names = ["field", "chosen", "dated"];
        for name in names {
            let first = format!("{name}_first");
            assert_eq!(call(&it, 1, &first, &was), ok("1: hello"), "{name}");
        }
        it.upgrade();
        for name in names {
            let second = format!("{name}_second");
            assert_eq!(call(&it, 1, &second, &was), ok("1: hello"), "{name}");
            assert_eq!(call(&it, 1, &second, &is), ok("1: hello"), "{name}");
            let reused = refused(Refusal::KeyReused);
            assert_eq!(call(&it, 1, &second, &other), reused, "{name}");
        }
    });
}

#[derive(CandidType)]
enum FirstOrder {
    Burn(u64),
    Mint(Nat),
}

#[derive(CandidType)]
enum SecondOrder {
    Approve(u64),
    Burn(u64),
    Mint(Int),
}

#[test]
fn arguments_as_the_key_keep_their_names_after_the_endpoint_evolved() {
    with_canister(|it| {
        let ids = vec![1u64, 2, 3];
        let was = |order: FirstOrder| {
            let argument = encode_args((order, &ids)).expect("it encodes");
            call(&it, 1, "order_first", &argument)
        };
        let is = |order: SecondOrder, memo: Option<&str>| {
            let argument = encode_args((order, &ids, memo)).expect("it encodes");
            call(&it, 1, "order_second", &argument)
        };
        assert_eq!(was(FirstOrder::Burn(5)), ok("1: 5 3"));
        assert_eq!(was(FirstOrder::Mint(5u8.into())), ok("2: 5 3"));
        it.upgrade();
        assert_eq!(is(SecondOrder::Burn(5), None), ok("1: 5 3"));
        assert_eq!(is(SecondOrder::Mint(5.into()), None), ok("2: 5 3"));
        assert_eq!(is(SecondOrder::Approve(5), None), ok("3: 5 3 None"));
        assert_eq!(
            is(SecondOrder::Burn(5), Some("m")),
            ok("4: 5 3 Some(\"m\")")
        );
        assert_eq!(
            is(SecondOrder::Burn(5), Some("m")),
            ok("4: 5 3 Some(\"m\")")
        );
    });
}

#[test]
fn collections_without_an_order_are_the_same_in_each_retry() {
    with_canister(|it| {
        let labels: HashMap<String, u64> = (0..6).map(|n| (format!("k{n}"), n)).collect();
        let tags: Vec<Vec<String>> = vec![labels.keys().cloned().collect(); 2];
        let argument = encode_args((&labels, &tags)).expect("it encodes");
        for _ in 0..5 {
            assert_eq!(call(&it, 1, "label", &argument), ok("1: 6 2"));
        }
        // Where the canister compares a map, its order on the wire is nothing either.
        let forward: BTreeMap<_, _> = labels.iter().collect();
        let backward: Vec<_> = forward.iter().rev().collect();
        let with_key = |mood: &str, backwards: bool| {
            let argument = match backwards {
                false => encode_args((1u64, &forward, mood)),
                true => encode_args((1u64, &backward, mood)),
            };
            call(&it, 1, "label_with_key", &argument.expect("it encodes"))
        };
        for (mood, backwards) in [
            ("merry", false),
            ("sad", false),
            ("merry", true),
            ("sad", true),
        ] {
            assert_eq!(with_key(mood, backwards), ok("1: 6 merry"));
        }
    });
}

/// Two arguments that an attacker found, with two billion trials, to have one digest of 64 bits.
#[test]
fn a_shared_key_answers_nobody_with_the_reply_to_other_arguments() {
    with_canister(|it| {
        let attacker = encode_args((42u64, "mally", 1_000_000u64, 0xd917_2dd8_7f61_d8d7u64));
        let victim = encode_args((42u64, "alice", 10u64, 0x8808_2be7_6f88_ada4u64));
        let (attacker, victim) = (attacker.expect("it encodes"), victim.expect("it encodes"));
        assert!(call(&it, 1, "order_for_all", &attacker).is_ok());
        let told = call(&it, 2, "order_for_all", &victim);
        assert_eq!(told, refused(Refusal::KeyReused));
    });
}
