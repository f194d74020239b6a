//! Whatever a client sends: a typed error that says what to do, and nothing changed.

use crate::common::{Answer, Failure, Fixture, Refusal, ok, refused, with_canister};
use integration_tests::user;
use pocket_ic::{RejectCode, RejectResponse};

/// Makes a call that must be rejected, and checks that nothing changed.
fn rejected(it: &Fixture<'_>, endpoint: &str, arg: Vec<u8>) -> RejectResponse {
    let before = (it.executions(endpoint), it.stats());
    let reject = it
        .canister
        .update_raw(user(1), endpoint, arg)
        .expect_err("it is rejected");
    assert_eq!((it.executions(endpoint), it.stats()), before);
    assert_eq!(reject.reject_code, RejectCode::CanisterError);
    reject
}

#[test]
fn keys_of_every_length() {
    with_canister(|it| {
        assert_eq!(
            it.say("say", b"", "hello"),
            refused(Refusal::InvalidKey {
                length: 0,
                max: 256
            })
        );
        for length in [257usize, 1_000, 1_000_000] {
            let refusal = Refusal::InvalidKey {
                length: length as u64,
                max: 256,
            };
            assert_eq!(it.say("say", &vec![7; length], "hello"), refused(refusal));
        }
        assert_eq!((it.executions("say"), it.stats().main.entries), (0, 0));
        assert_eq!(it.say("say", &[7; 256], "hello"), ok("1: hello"));
        assert_eq!(it.say("say", &[7; 1], "hello"), ok("2: hello"));
    });
}

#[test]
fn arguments_that_do_not_decode() {
    with_canister(|it| {
        let number = candid::encode_args((7u64, "hello")).expect("it encodes");
        let missing = candid::encode_args((vec![7u8],)).expect("it encodes");
        for arg in [
            b"".to_vec(),
            b"DIDL".to_vec(),
            b"hello".to_vec(),
            vec![0; 10_000],
            number,
            missing,
        ] {
            let reject = rejected(&it, "say", arg);
            let says = |text: &str| reject.reject_message.contains(text);
            assert!(
                says("idempotency: MalformedArgument: "),
                "{}",
                reject.reject_message
            );
            assert!(says("nothing has happened"), "{}", reject.reject_message);
        }
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
    });
}

#[test]
fn extra_arguments_are_ignored_by_the_method_but_not_in_a_retry() {
    with_canister(|it| {
        let arg = candid::encode_args((b"key".to_vec(), "hello", 7u64)).expect("it encodes");
        for _ in 0..2 {
            let reply = it
                .canister
                .update_raw(user(1), "say", arg.clone())
                .expect("it answers");
            assert_eq!(
                candid::decode_one::<Answer>(&reply).expect("an answer"),
                ok("1: hello")
            );
        }
        // After an upgrade the method may know the argument, and the first call's bytes must be a retry then, too.
        assert_eq!(it.say("say", b"key", "hello"), refused(Refusal::KeyReused));
    });
}

/// Shows G3.
#[test]
fn a_sync_reply_over_the_limit_undoes_the_call() {
    with_canister(|it| {
        let arg = candid::encode_args((1u64, 2_000u32)).expect("it encodes");
        let reject = rejected(&it, "say_small", arg);
        let says = |text: &str| reject.reject_message.contains(text);
        assert!(
            says("idempotency: ReplyTooLarge: "),
            "{}",
            reject.reject_message
        );
        assert!(says("max_reply_bytes is 1000"), "{}", reject.reject_message);
        let answer: Answer = it
            .canister
            .update(user(1), "say_small", (1u64, 10u32))
            .expect("it answers");
        assert_eq!(answer, ok("1: xxxxxxxxxx"), "the key is free");
    });
}

/// Shows G6.
#[test]
fn refusals_change_nothing() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        let before = it.stats();
        let refusals = [
            it.say("say", b"key", "other"),
            it.say("say", b"", "hello"),
            it.say("say_required", &[9; 300], "hello"),
            it.say_dated(b"old", 1),
            it.say_dated(b"new", u64::MAX),
        ];
        for refusal in refusals {
            assert!(
                matches!(refusal, Err(Failure::Idempotency(_))),
                "{refusal:?}"
            );
        }
        assert_eq!(it.stats(), before);
    });
}

/// The upgrade that would do so is undone, before a request is refused.
#[test]
fn two_stores_on_one_memory_are_noticed_when_they_are_installed() {
    with_canister(|it| {
        let install = |method: &str| it.canister.update::<()>(user(1), method, ());
        install("install_one_of_them").expect("one store has its memory alone");
        let error = install("install_two_on_one_memory").expect_err("they share a memory");
        let text = error.reject_message;
        assert!(
            text.contains("StoreDamaged") && text.contains("second store"),
            "{text}"
        );
    });
}
