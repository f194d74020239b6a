//! What makes two requests the same, and who shares a key space.

use crate::common::{Answer, Failure, Refusal, ok, refused, with_canister};
use candid::Principal;
use integration_tests::{TEST_CANISTER, user};

/// Shows G10.
#[test]
fn two_callers_with_one_key_are_two_requests() {
    with_canister(|it| {
        assert_eq!(it.say_as(user(1), "say", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.say_as(user(2), "say", b"key", "hello"), ok("2: hello"));
        assert_eq!(
            it.say_as(user(2), "say", b"key", "other"),
            refused(Refusal::KeyReused)
        );
        assert_eq!(it.say_as(user(1), "say", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.say_as(user(2), "say", b"key", "hello"), ok("2: hello"));
    });
}

#[test]
fn two_endpoints_with_one_key_are_two_requests() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.say("say_loosely", b"key", "hello"), ok("1: hello"));
    });
}

#[test]
fn a_name_outlives_the_method() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.canister
            .upgrade(TEST_CANISTER, ())
            .expect("the method is renamed");
        assert_eq!(it.say("say_renamed", b"key", "hello"), ok("1: hello"));
    });
}

/// Each would be answered with the other's replies.
#[test]
fn two_methods_with_one_name_trap() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        for key in [b"key", b"new"] {
            let reject = it
                .canister
                .update::<Answer>(user(1), "say_renamed", (key.to_vec(), "hello"))
                .expect_err("it traps");
            let text = "SharedName: in their store say and say_renamed have one name, say,";
            assert!(
                reject.reject_message.contains(text),
                "{}",
                reject.reject_message
            );
        }
        assert_eq!(it.executions("say"), 1);
    });
}

#[test]
fn a_global_scope_is_shared_by_all_callers() {
    with_canister(|it| {
        assert_eq!(
            it.say_as(user(1), "say_to_all", b"key", "hello"),
            ok("1: hello")
        );
        assert_eq!(
            it.say_as(user(2), "say_to_all", b"key", "hello"),
            ok("1: hello")
        );
        assert_eq!(
            it.say_as(user(2), "say_to_all", b"key", "other"),
            refused(Refusal::KeyReused)
        );
    });
}

#[test]
fn a_scope_of_an_expression_is_shared_by_its_value() {
    with_canister(|it| {
        let say_in = |caller, room: &str| -> Answer {
            let args = (room, b"key".to_vec(), "hello");
            it.canister
                .update(caller, "say_in", args)
                .expect("it answers")
        };
        assert_eq!(say_in(user(1), "kitchen"), ok("1: hello in kitchen"));
        assert_eq!(say_in(user(2), "kitchen"), ok("1: hello in kitchen"));
        assert_eq!(say_in(user(2), "hall"), ok("2: hello in hall"));
        assert_eq!(
            say_in(user(1), ""),
            refused(Refusal::InvalidKey {
                length: 0,
                max: 256
            })
        );
    });
}

#[test]
fn all_arguments_as_the_key() {
    with_canister(|it| {
        let say = |text: &str, number: u64| -> Answer {
            it.canister
                .update(user(1), "say_by_args", (text, number))
                .expect("it answers")
        };
        assert_eq!(say("a", 1), ok("1: a 1"));
        assert_eq!(say("a", 2), ok("2: a 2"));
        assert_eq!(say("b", 1), ok("3: b 1"));
        assert_eq!(say("a", 1), ok("1: a 1"));
        assert_eq!(it.executions("say_by_args"), 3);
    });
}

#[test]
fn without_a_key_every_call_runs() {
    with_canister(|it| {
        let say = |key: Option<&[u8]>| -> Answer {
            let args = (key.map(<[u8]>::to_vec), "hello");
            it.canister
                .update(user(1), "say_optional", args)
                .expect("it answers")
        };
        assert_eq!(say(None), ok("1: hello"));
        assert_eq!(say(None), ok("2: hello"));
        assert_eq!(say(Some(b"key")), ok("3: hello"));
        assert_eq!(say(Some(b"key")), ok("3: hello"));
        assert_eq!(it.stats().main.entries, 1);
    });
}

#[test]
fn a_looser_fingerprint_takes_other_arguments_for_a_retry() {
    with_canister(|it| {
        assert_eq!(it.say("say_loosely", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.say("say_loosely", b"key", "goodbye"), ok("1: hello"));
        let say = |text: &str, mood: &str| -> Answer {
            let args = (b"key".to_vec(), text, mood);
            it.canister
                .update(user(1), "say_with_mood", args)
                .expect("it answers")
        };
        assert_eq!(say("hello", "merry"), ok("1: hello, merry"));
        assert_eq!(say("hello", "sad"), ok("1: hello, merry"));
        assert_eq!(say("goodbye", "sad"), refused(Refusal::KeyReused));
    });
}

#[test]
fn the_same_values_in_another_encoding_are_a_retry() {
    with_canister(|it| {
        let usual = candid::encode_args((b"key".to_vec(), "hello")).expect("it encodes");
        assert_eq!(
            usual[..8],
            *b"DIDL\x01\x6d\x7b\x02",
            "one type, `vec nat8`, and two values"
        );
        // Another client declares the type twice and uses the second.
        let mut other = b"DIDL\x02\x6d\x7b\x6d\x7b\x02\x01".to_vec();
        other.extend_from_slice(&usual[9..]);
        let first = it
            .canister
            .update_raw(user(1), "say", usual)
            .expect("it answers");
        let second = it
            .canister
            .update_raw(user(1), "say", other)
            .expect("it answers");
        assert_eq!(first, second);
        assert_eq!(it.executions("say"), 1);
    });
}

#[test]
fn the_anonymous_caller_is_refused_unless_asked_for() {
    with_canister(|it| {
        let anonymous = Principal::anonymous();
        assert_eq!(
            it.say_as(anonymous, "say", b"key", "hello"),
            Err(Failure::Idempotency(Refusal::AnonymousRefused))
        );
        assert_eq!(it.executions("say"), 0);
        assert_eq!(
            it.say_as(anonymous, "say_anonymously", b"key", "hello"),
            ok("1: hello")
        );
        assert_eq!(
            it.say_as(anonymous, "say_anonymously", b"key", "hello"),
            ok("1: hello")
        );
    });
}

#[test]
fn the_anonymous_caller_may_call_without_a_key_where_none_is_required() {
    with_canister(|it| {
        let call = |endpoint: &str, number: Option<u64>| {
            it.canister
                .update::<Result<u64, Failure>>(Principal::anonymous(), endpoint, (number,))
        };
        let refused = Err(Failure::Idempotency(Refusal::AnonymousRefused));
        for endpoint in ["buy", "buy_in_order"] {
            assert_eq!(call(endpoint, None), Ok(Ok(1)));
            assert_eq!(call(endpoint, None), Ok(Ok(2)), "nothing is remembered");
            assert_eq!(call(endpoint, Some(0)), Ok(refused.clone()));
            it.switch("lock", true);
            let reject = call(endpoint, None).expect_err("the guard refuses");
            assert!(reject.reject_message.contains("locked"), "{reject:?}");
            it.switch("lock", false);
            assert_eq!(it.executions(endpoint), 2);
        }
        let say = |key: Option<&[u8]>| -> Answer {
            it.canister
                .update(Principal::anonymous(), "say_required", (key, "hello"))
                .expect("it answers")
        };
        let refused = Err(Failure::Idempotency(Refusal::AnonymousRefused));
        assert_eq!(say(None), refused, "no key would help");
        assert_eq!(say(Some(b"key")), refused);
        let by_args: Answer = it
            .canister
            .update(Principal::anonymous(), "say_by_args", ("hello", 1u64))
            .expect("it answers");
        assert_eq!(by_args, refused, "all arguments are a key");
    });
}
