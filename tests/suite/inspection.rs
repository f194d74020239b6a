//! `inspect!`: what can't succeed is refused before consensus, and every retry gets through.

use crate::common::{
    Answer, DRIFT, Fixture, HOUR, NANOSECOND, PARTITION, Refusal, ok, refused, with_canister,
};
use candid::{Principal, utils::ArgumentEncoder};
use integration_tests::user;
use pocket_ic::ErrorCode;

/// Sends a message and expects it to be refused before it is taken; the text.
fn refusal(
    it: &Fixture<'_>,
    caller: Principal,
    method: &str,
    args: impl ArgumentEncoder,
) -> String {
    let sent = it.canister.send(caller, method, args);
    let Err(reject) = sent else {
        panic!("{method} is to be refused when it is submitted");
    };
    assert!(!reject.certified, "before consensus");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    reject.reject_message
}

fn say(it: &Fixture<'_>, key: &[u8], created_at: Option<u64>) -> Answer {
    it.canister
        .update(user(1), "say_inspected", (Some(key), created_at, "hi"))
        .expect("it answers")
}

#[test]
fn what_is_outside_of_the_window_is_refused() {
    with_canister(|it| {
        let distance = |duration: std::time::Duration| duration.as_nanos() as u64;
        let old = it.now() - distance(HOUR + DRIFT + NANOSECOND * 1_000_000_000);
        let future = it.now() + distance(DRIFT + NANOSECOND * 1_000_000_000);
        for (created_at, reason) in [
            (old, "TooOld"),
            (0, "TooOld"),
            (future, "CreatedInFuture"),
            (u64::MAX, "CreatedInFuture"),
        ] {
            let args = (Some(b"key".to_vec()), Some(created_at), "hi");
            let text = refusal(&it, user(1), "say_inspected", args);
            assert!(text.contains(&format!("idempotency: {reason}: ")), "{text}");
        }
        assert_eq!(say(&it, b"key", Some(it.now())), ok("1: hi"));
    });
}

#[test]
fn what_names_no_request_is_refused() {
    with_canister(|it| {
        let none = None::<Vec<u8>>;
        for (caller, key, reason) in [
            (user(1), none, "MissingKey"),
            (user(1), Some(vec![]), "InvalidKey"),
            (user(1), Some(vec![1; 1_000]), "InvalidKey"),
            (Principal::anonymous(), Some(vec![1]), "AnonymousRefused"),
            (Principal::anonymous(), None, "AnonymousRefused"),
        ] {
            let text = refusal(&it, caller, "say_inspected", (key, None::<u64>, "hi"));
            assert!(text.contains(&format!("idempotency: {reason}: ")), "{text}");
        }
        assert_eq!(it.executions("say_inspected"), 0);
    });
}

#[test]
fn the_anonymous_caller_gets_through_without_a_key_where_none_is_required() {
    with_canister(|it| {
        let anonymous = Principal::anonymous();
        let method = "say_inspected_freely";
        let text = refusal(&it, anonymous, method, (Some(b"key"), "hi"));
        assert!(text.contains("idempotency: AnonymousRefused: "), "{text}");
        let answer = it
            .canister
            .update(anonymous, method, (None::<Vec<u8>>, "hi"));
        assert_eq!(answer, Ok(ok("1: hi")));
    });
}

#[test]
fn a_sequence_number_that_can_not_run_any_more_is_refused() {
    with_canister(|it| {
        for number in 0..3 {
            it.step("step_inspected", number, "hi").expect("it runs");
        }
        assert_eq!(it.step("step_inspected", 0, "hi"), ok("1: hi"));
        assert_eq!(
            it.step("step_inspected", 90, "hi"),
            crate::common::gap(3),
            "what is missing may come first"
        );
        it.wait(HOUR + PARTITION);
        it.run_timers();
        let text = refusal(&it, user(1), "step_inspected", (0u64, "hi"));
        assert!(text.contains("idempotency: SequenceTooOld: "), "{text}");
        assert!(text.contains("goes on at 3"), "{text}");
        assert_eq!(it.step("step_inspected", 3, "hi"), ok("4: hi"));
    });
}

/// Shows G2, G6.
#[test]
fn a_retry_gets_through_however_late_and_full() {
    with_canister(|it| {
        let created_at = it.now();
        assert_eq!(say(&it, b"1", Some(created_at)), ok("1: hi"));
        assert_eq!(say(&it, b"2", None), ok("2: hi"));
        assert_eq!(say(&it, b"3", None), ok("3: hi"));
        assert!(
            matches!(
                say(&it, b"4", None),
                Err(crate::common::Failure::Idempotency(Refusal::Full { .. }))
            ),
            "the store is full, which may be over before the message runs"
        );
        assert_eq!(say(&it, b"1", Some(created_at)), ok("1: hi"));
        assert_eq!(say(&it, b"2", None), ok("2: hi"));
        assert_eq!(
            say(&it, b"1", None),
            refused(Refusal::KeyReused),
            "which is for the method to say"
        );
        // Just expired, and not yet forgotten: no round in between.
        it.wait(HOUR + DRIFT + NANOSECOND * 1_000_000);
        let args = (Some(b"1".to_vec()), Some(created_at), "hi");
        let sent = it.canister.send(user(1), "say_inspected", args);
        sent.expect("what is remembered gets through");
    });
}

#[test]
fn other_methods_and_canisters_are_not_concerned() {
    with_canister(|it| {
        assert_eq!(
            it.say_as(Principal::anonymous(), "say", b"key", "hi"),
            refused(Refusal::AnonymousRefused),
            "by the method, which is not inspected"
        );
        assert_eq!(it.say_dated(b"key", 0), refused(Refusal::TooOld));
        let other =
            integration_tests::Canister::install(it.replica, integration_tests::TEST_CANISTER, ());
        let arg = candid::encode_args((Some(b"key"), Some(0u64), "hi")).expect("it encodes");
        let forwarded = other.forward(it.canister.id(), "say_inspected", arg, 0);
        let (reply, _) = forwarded;
        let answer: Answer =
            candid::decode_one(&reply.expect("it answers")).expect("the answer decodes");
        assert_eq!(answer, refused(Refusal::TooOld), "calls are not inspected");
    });
}

#[test]
fn what_does_not_decode_is_for_the_method_to_say() {
    with_canister(|it| {
        let reject = it
            .canister
            .update_raw(user(1), "say_inspected", b"not candid".to_vec())
            .expect_err("it traps");
        assert!(
            reject.reject_message.contains("MalformedArgument"),
            "{}",
            reject.reject_message
        );
    });
}

/// Instructions that the inspection of a message takes, told by a trap.
fn inspection(it: &Fixture<'_>, method: &str, arg: Vec<u8>) -> u64 {
    let reject = it
        .replica
        .submit_call(it.canister.id(), user(1), method, arg)
        .expect_err("it traps and tells");
    let text = reject.reject_message;
    let number = text.split(['<', '>']).nth(1);
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{text}"))
}

/// The IC stops an inspection at 200 million instructions. Run it with `-- --nocapture` for the figures.
#[test]
fn an_inspection_takes_far_less_than_it_may() {
    const MOST: u64 = 200_000_000;
    with_canister(|it| {
        say(&it, b"1", None).expect("it runs");
        it.step("step_inspected", 0, "hi").expect("it runs");
        it.switch("measure inspection", true);
        let say = |key: &[u8]| {
            let args = (Some(key), None::<u64>, "hi");
            candid::encode_args(args).expect("it encodes")
        };
        let step = |number: u64, length: usize| {
            let args = (number, "x".repeat(length));
            candid::encode_args(args).expect("it encodes")
        };
        let usual = [
            ("another method", "say", vec![]),
            ("a new request", "say_inspected", say(b"2")),
            ("a retry", "say_inspected", say(b"1")),
            ("a new number", "step_inspected", step(1, 2)),
            ("a number's retry", "step_inspected", step(0, 2)),
            ("16,000 bytes of text", "step_inspected", step(1, 16_000)),
        ];
        let unusual = [
            (
                "2 MB, which are not read",
                "step_inspected",
                step(1, 2_000_000),
            ),
            (
                "16 KiB of skipped values",
                "step_inspected",
                skipped_values(),
            ),
        ];
        let measure = |(what, method, arg): (&str, &str, Vec<u8>)| {
            let instructions = inspection(&it, method, arg);
            println!("inspection of {what}: {instructions} instructions");
            instructions
        };
        for message in usual {
            assert!(measure(message) < MOST / 1_000);
        }
        for message in unusual {
            assert!(measure(message) < MOST / 20);
        }
    });
}

/// An argument after those that the method has, of values of another type: the method skips them one by one.
fn skipped_values() -> Vec<u8> {
    let skipped: Vec<(u8, Option<(bool, u8)>)> = vec![(1, Some((true, 2))); 4_000];
    candid::encode_args((1u64, "hi", skipped)).expect("it encodes")
}
