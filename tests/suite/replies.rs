//! What a retry is answered with, and what it leaves alone: guards, errors, traps, cycles.

use crate::common::{Answer, Failure, Refusal, ok, refused, with_canister};
use integration_tests::{Canister, TEST_CANISTER, user};
use pocket_ic::RejectCode;

/// Shows G2.
#[test]
fn a_replay_is_the_first_reply_byte_for_byte() {
    with_canister(|it| {
        let text_arg = candid::encode_args((b"key".to_vec(), "hello")).expect("it encodes");
        let key_arg = candid::encode_args((b"key".to_vec(),)).expect("it encodes");
        for (endpoint, arg) in [
            ("say", &text_arg),
            ("say_plain", &text_arg),
            ("say_two", &text_arg),
            ("say_nothing", &key_arg),
            ("say_raw", &b"not candid".to_vec()),
        ] {
            let first = it
                .canister
                .update_raw(user(1), endpoint, arg.clone())
                .expect("it answers");
            let second = it
                .canister
                .update_raw(user(1), endpoint, arg.clone())
                .expect("it answers");
            assert_eq!(first, second, "{endpoint}");
            assert_eq!(it.executions(endpoint), 1, "{endpoint}");
        }
    });
}

#[test]
fn replies_are_encoded_as_ic_cdk_does() {
    with_canister(|it| {
        let raw = |endpoint: &str, arg| {
            it.canister
                .update_raw(user(1), endpoint, arg)
                .expect("it answers")
        };
        let text_arg = candid::encode_args((b"key".to_vec(), "hello")).expect("it encodes");
        let key_arg = candid::encode_args((b"key".to_vec(),)).expect("it encodes");
        assert_eq!(
            raw("say_nothing", key_arg),
            candid::encode_one(()).expect("it encodes")
        );
        assert_eq!(
            raw("say_two", text_arg),
            candid::encode_args(("hello", 1u64)).expect("it encodes")
        );
        assert_eq!(raw("say_raw", b"raw!".to_vec()), b"1: 4 bytes");
    });
}

#[test]
fn on_replay_maps_the_first_reply() {
    with_canister(|it| {
        assert_eq!(it.say("say_backwards", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.say("say_backwards", b"key", "hello"), ok("olleh :1"));
        assert_eq!(it.say("say_backwards", b"key", "hello"), ok("olleh :1"));
    });
}

#[test]
fn an_error_is_forgotten_or_kept_as_declared() {
    with_canister(|it| {
        let fail = |endpoint: &str| -> Answer {
            it.canister
                .update(user(1), endpoint, (b"key".to_vec(),))
                .expect("it answers")
        };
        let failed = |number: u64| -> Answer { Err(Failure::Own(format!("{number}: failed"))) };
        assert_eq!(fail("fail"), failed(1));
        assert_eq!(fail("fail"), failed(2));
        assert_eq!(fail("fail_for_good"), failed(1));
        assert_eq!(fail("fail_for_good"), failed(1));
        assert_eq!(it.stats().main.entries, 1);
    });
}

/// Shows G3.
#[test]
fn a_trap_leaves_neither_effect_nor_record() {
    with_canister(|it| {
        it.switch("trap", true);
        let reject = it
            .canister
            .update::<Answer>(user(1), "say", (b"key".to_vec(), "hello"))
            .expect_err("it traps");
        assert_eq!(reject.reject_code, RejectCode::CanisterError);
        assert!(
            reject.reject_message.contains("switched to trap"),
            "{}",
            reject.reject_message
        );
        assert_eq!((it.executions("say"), it.stats().main.entries), (0, 0));
        it.switch("trap", false);
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.switch("trap", true);
        assert_eq!(
            it.say("say", b"key", "hello"),
            ok("1: hello"),
            "a replay does not run"
        );
    });
}

#[test]
fn the_guard_runs_before_everything() {
    with_canister(|it| {
        assert_eq!(it.say("say_guarded", b"key", "hello"), ok("1: hello"));
        it.switch("lock", true);
        for (key, arg) in [
            ("done", b"key".to_vec()),
            ("new", b"new".to_vec()),
            ("invalid", vec![]),
        ] {
            let reject = it
                .canister
                .update::<Answer>(user(1), "say_guarded", (arg, "hello"))
                .expect_err("the guard refuses");
            assert_eq!(reject.reject_code, RejectCode::CanisterReject, "{key}");
            assert_eq!(reject.reject_message, "locked", "{key}");
        }
        it.switch("lock", false);
        assert_eq!(it.say("say_guarded", b"key", "hello"), ok("1: hello"));
    });
}

#[test]
fn a_method_without_a_place_for_errors_traps_with_their_names() {
    with_canister(|it| {
        let say = |key: &[u8], text: &str| {
            it.canister
                .update::<String>(user(1), "say_plain", (key.to_vec(), text))
        };
        assert_eq!(say(b"key", "hello"), Ok("1: hello".into()));
        let reject = say(b"key", "other").expect_err("the key is reused");
        assert_eq!(reject.reject_code, RejectCode::CanisterError);
        assert!(
            reject.reject_message.contains("idempotency: KeyReused: "),
            "{}",
            reject.reject_message
        );
        let reject = say(b"", "other").expect_err("the key is empty");
        assert!(
            reject.reject_message.contains("idempotency: InvalidKey: "),
            "{}",
            reject.reject_message
        );
        assert_eq!(say(b"key", "hello"), Ok("1: hello".into()));
        assert_eq!(it.executions("say_plain"), 1);
    });
}

/// Shows G1.
#[test]
fn cycles_attached_to_a_duplicate_come_back() {
    with_canister(|it| {
        let payer = Canister::install(it.replica, TEST_CANISTER, ());
        let pay = || {
            let arg =
                candid::encode_args((it.canister.id(), 7u64, 5_000_000u128)).expect("it encodes");
            let reply = payer
                .update_raw(user(1), "pay_at", arg)
                .expect("it answers");
            candid::decode_args::<(u128, u128)>(&reply).expect("taken and refunded")
        };
        assert_eq!(pay(), (5_000_000, 0));
        assert_eq!(
            pay(),
            (5_000_000, 5_000_000),
            "the first reply, and all cycles back"
        );
        assert_eq!(it.executions("pay"), 1);
    });
}

#[test]
fn a_required_key() {
    with_canister(|it| {
        let say = |key: Option<Vec<u8>>| -> Answer {
            it.canister
                .update(user(1), "say_required", (key, "hello"))
                .expect("it answers")
        };
        assert_eq!(say(None), refused(Refusal::MissingKey));
        assert_eq!(say(Some(b"key".to_vec())), ok("1: hello"));
    });
}
