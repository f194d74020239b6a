//! Shares of a store, and a price for what it remembers: one caller's requests are not another's trouble.

use crate::common::{Answer, Failure, Fixture, HOUR, Plan, Refusal, ok, refused, with_canister};
use candid::Principal;
use integration_tests::{Canister, TEST_CANISTER, user};
use pocket_ic::RejectResponse;

/// As the store of the test canister has it.
const REQUESTS: u64 = 10;
const REPLY_BYTES: u32 = 4_000;
const LARGEST_REPLY: u32 = 1_000;

fn say_shared(it: &Fixture<'_>, caller: Principal, key: u64, bytes: u32) -> Answer {
    it.canister
        .update(caller, "say_shared", (key, bytes))
        .expect("it answers")
}

fn over_quota(answer: &Answer) -> Option<u64> {
    match answer {
        Err(Failure::Idempotency(Refusal::QuotaExceeded { retry_after })) => Some(*retry_after),
        _ => None,
    }
}

/// Shows G10.
#[test]
fn a_caller_over_its_share_is_refused_until_some_of_it_expires() {
    with_canister(|it| {
        let first: Vec<Answer> = (0..REQUESTS)
            .map(|key| say_shared(&it, user(1), key, 1))
            .collect();
        let refusal = say_shared(&it, user(1), REQUESTS, 1);
        let retry_after = over_quota(&refusal).unwrap_or_else(|| panic!("{refusal:?}"));
        assert!(retry_after > it.now() + HOUR.as_nanos() as u64);
        for (key, first) in (0..REQUESTS).zip(&first) {
            assert_eq!(
                say_shared(&it, user(1), key, 1),
                *first,
                "retries are answered"
            );
        }
        assert!(say_shared(&it, user(2), 0, 1).is_ok(), "others go on");

        let second = std::time::Duration::from_secs(1);
        let left = std::time::Duration::from_nanos(retry_after - it.now());
        it.wait(left - second);
        assert_eq!(
            over_quota(&say_shared(&it, user(1), REQUESTS, 1)),
            Some(retry_after)
        );
        it.wait(second);
        for key in REQUESTS..2 * REQUESTS {
            assert!(say_shared(&it, user(1), key, 1).is_ok(), "{key}");
        }
    });
}

#[test]
fn the_bytes_of_replies_are_shared_too() {
    with_canister(|it| {
        // A reply of 700 letters is one of 887 bytes, and counts as 14 times 64.
        let counted = 14 * 64;
        // There must be room for the largest reply before a function runs.
        let served = 1 + u64::from((REPLY_BYTES - LARGEST_REPLY) / counted);
        for key in 0..served {
            let answer = say_shared(&it, user(1), key, 700);
            assert!(answer.is_ok(), "{key}: {answer:?}");
        }
        assert!(over_quota(&say_shared(&it, user(1), served, 1)).is_some());
        assert!(say_shared(&it, user(1), 0, 700).is_ok());
        assert!(say_shared(&it, user(2), 0, 700).is_ok());
    });
}

/// Room for the largest reply is taken while a call runs, and given back when it has a shorter one or none.
#[test]
fn calls_that_await_take_no_more_than_they_leave() {
    for plan in [
        Plan::Answer,
        Plan::AnswerMuch,
        Plan::FailFirst,
        Plan::TrapLater,
    ] {
        with_canister(|it| {
            let work = |key: u64| -> Result<Answer, RejectResponse> {
                it.canister.update(user(1), "work_shared", (key, plan))
            };
            for key in 0..REQUESTS {
                let is_over = work(key).is_ok_and(|answer| over_quota(&answer).is_some());
                assert!(!is_over, "{plan:?}: {key}");
            }
            let answer = work(REQUESTS).expect("it answers");
            assert!(over_quota(&answer).is_some(), "{plan:?}: {answer:?}");
            assert_eq!(it.executions("work_shared"), REQUESTS);
            assert!(say_shared(&it, user(2), 0, 1).is_ok());
        });
    }
}

/// Shows G8, G10.
#[test]
fn shares_survive_an_upgrade() {
    with_canister(|it| {
        for key in 0..REQUESTS {
            say_shared(&it, user(1), key, 1).expect("it runs");
        }
        it.upgrade();
        assert!(over_quota(&say_shared(&it, user(1), REQUESTS, 1)).is_some());
        assert!(say_shared(&it, user(1), 0, 1).is_ok());
    });
}

/// A caller works while others flood the store: with shares each of its calls is served, and without none is. Run it with
/// `-- --nocapture` for the figures.
///
/// Shows G10.
#[test]
fn nobody_is_kept_from_working_by_others_that_flood() {
    for flooders in [1, 10, 100] {
        with_canister(|it| {
            let mut flood = (0, 0);
            let mut served = 0;
            // Each flooder sends twice its share, or what fills a store without shares if that is more.
            for round in 0..2 * REQUESTS {
                for flooder in 1..=flooders {
                    let answer = say_shared(&it, user(100 + flooder), round, 1);
                    match over_quota(&answer) {
                        None => flood.0 += u64::from(answer.is_ok()),
                        Some(_) => flood.1 += 1,
                    }
                }
                if round % 2 == 1 {
                    served += u64::from(say_shared(&it, user(1), round, 1).is_ok());
                }
            }
            println!(
                "{flooders} flooding callers: {} of their requests served, {} refused; of the other's {REQUESTS}, {served}",
                flood.0, flood.1
            );
            assert_eq!(
                flood,
                (
                    REQUESTS * u64::from(flooders),
                    REQUESTS * u64::from(flooders)
                )
            );
            assert_eq!(served, REQUESTS);
        });
    }
}

#[test]
fn without_shares_one_caller_fills_the_store() {
    with_canister(|it| {
        let say = |caller: u8, key: u64| -> Answer {
            it.canister
                .update(user(caller), "say_small", (key, 1u32))
                .expect("it answers")
        };
        for key in 0..3 {
            say(1, key).expect("it runs");
        }
        let other = say(2, 0);
        assert!(
            matches!(other, Err(Failure::Idempotency(Refusal::Full { .. }))),
            "{other:?}"
        );
    });
}

#[test]
fn a_canister_pays_for_a_new_request_once() {
    const PRICE: u128 = 1_000_000_000;
    with_canister(|it| {
        let caller = Canister::install(it.replica, TEST_CANISTER, ());
        let say = |key: u64, cycles: u128| {
            let arg = candid::encode_args((key,)).expect("it encodes");
            let (reply, refunded) = caller.forward(it.canister.id(), "say_charged", arg, cycles);
            let reply = reply.expect("it answers");
            let answer: Result<u64, Failure> =
                candid::decode_one(&reply).expect("the answer decodes");
            (answer, refunded)
        };
        let required = Err(Failure::Idempotency(Refusal::CyclesRequired {
            cycles: PRICE as u64,
        }));
        assert_eq!(say(1, 0), (required.clone(), 0));
        assert_eq!(say(1, PRICE - 1), (required, PRICE - 1));
        assert_eq!(it.executions("say_charged"), 0);

        assert_eq!(say(1, PRICE + 7), (Ok(1), 7));
        for cycles in [0, PRICE, 3 * PRICE] {
            assert_eq!(say(1, cycles), (Ok(1), cycles), "a retry pays nothing");
        }
        assert_eq!(say(2, PRICE), (Ok(2), 0));
    });
}

#[test]
fn a_canister_pays_for_every_execution_of_what_has_no_key() {
    const PRICE: u128 = 1_000_000_000;
    with_canister(|it| {
        let caller = Canister::install(it.replica, TEST_CANISTER, ());
        for endpoint in ["buy", "buy_in_order"] {
            let buy = |key: Option<u64>, cycles: u128| {
                let arg = candid::encode_args((key,)).expect("it encodes");
                let (reply, refunded) = caller.forward(it.canister.id(), endpoint, arg, cycles);
                let reply = reply.expect("it answers");
                let answer: Result<u64, Failure> =
                    candid::decode_one(&reply).expect("the answer decodes");
                (answer, refunded)
            };
            let required = Err(Failure::Idempotency(Refusal::CyclesRequired {
                cycles: PRICE as u64,
            }));
            assert_eq!(buy(None, 0), (required.clone(), 0));
            assert_eq!(buy(None, PRICE - 1), (required.clone(), PRICE - 1));
            assert_eq!(it.executions(endpoint), 0);
            assert_eq!(buy(None, PRICE + 7), (Ok(1), 7));
            assert_eq!(buy(None, PRICE), (Ok(2), 0));
            assert_eq!(buy(Some(0), 0), (required, 0));
            assert_eq!(buy(Some(0), PRICE), (Ok(3), 0));
            assert_eq!(buy(Some(0), PRICE), (Ok(3), PRICE));
        }
    });
}

#[test]
fn users_pay_nothing() {
    with_canister(|it| {
        for _ in 0..2 {
            let answer: Result<u64, Failure> = it
                .canister
                .update(user(1), "say_charged", (1u64,))
                .expect("it answers");
            assert_eq!(answer, Ok(1));
        }
        assert_eq!(it.say("say", b"key", "hi"), ok("1: hi"));
        assert_eq!(it.say("say", b"key", "ho"), refused(Refusal::KeyReused));
    });
}
