//! Requests whose outcome is unknown: settled by `on_unknown`, and by operators.

use crate::{
    common::Refusal,
    durable::{Answer, Failure, World, is_unknown, ok, with_world},
};
use candid::{CandidType, utils::ArgumentEncoder};
use integration_tests::{DURABLE_CANISTER, user};
use serde::Deserialize;
use serde_bytes::ByteBuf;

#[derive(CandidType, Debug, Deserialize, PartialEq)]
enum Resolved {
    Settled { since: u64 },
    Running { since: u64 },
    HasEnded { since: u64 },
    NotKnown,
}

impl World<'_> {
    fn pay(&self, method: &str, key: u8, name: &str) -> Option<Answer> {
        (self.canister)
            .update(user(1), method, (ByteBuf::from([key]), name))
            .ok()
    }

    fn pay_number(&self, number: u64, name: &str) -> Option<Answer> {
        (self.canister)
            .update(user(1), "pay_in_order", (number, name))
            .ok()
    }

    fn settle(&self, method: &str, args: impl ArgumentEncoder) -> Result<Resolved, Refusal> {
        self.canister
            .update(user(1), method, args)
            .expect("it answers")
    }

    /// The callee counts, and the answer is met by a trap.
    fn cut_off(&self, method: &str, key: u8, name: &str) {
        self.traps(true);
        assert_eq!(self.pay(method, key, name), None);
        self.traps(false);
    }

    fn count(&self, name: &str) -> u64 {
        self.effects().get(name).copied().unwrap_or(0)
    }
}

#[test]
fn what_was_done_is_settled_with_its_reply() {
    with_world(|it| {
        it.cut_off("pay_asking", 1, "a");
        assert_eq!((it.count("a"), it.unknown().len()), (1, 1));
        for _ in 0..2 {
            assert_eq!(it.pay("pay_asking", 1, "a"), Some(ok("settled")));
        }
        assert_eq!(
            (it.count("a"), it.count("paid a"), it.unknown().len()),
            (1, 0, 0)
        );
        // Another request is none of its business.
        assert_eq!(it.pay("pay_asking", 2, "a"), Some(ok("1 paid")));
    });
}

#[test]
fn what_was_not_executed_is_executed_once() {
    for method in ["pay_asking", "pay_knowing"] {
        with_world(|it| {
            it.cut_off(method, 1, "b");
            assert_eq!(it.count("b"), 1);
            // The callee knows of nothing any more, and in the other case nobody here ever did.
            it.callee.reinstall(DURABLE_CANISTER, ()).unwrap();
            for _ in 0..2 {
                assert_eq!(it.pay(method, 1, "b"), Some(ok("1 paid")), "{method}");
            }
            assert_eq!((it.count("b"), it.count("paid b")), (1, 1));
            assert_eq!(it.unknown(), []);
        });
    }
}

/// Shows G4.
#[test]
fn a_resolver_that_traps_leaves_the_request_unknown() {
    with_world(|it| {
        it.cut_off("pay_asking", 1, "trap");
        it.traps(true);
        for _ in 0..3 {
            assert_eq!(it.pay("pay_asking", 1, "trap"), None);
            assert_eq!(it.unknown().len(), 1);
        }
        it.upgrade();
        assert_eq!(it.pay("pay_asking", 1, "trap"), None);
        it.traps(false);
        assert_eq!(it.pay("pay_asking", 1, "trap"), Some(ok("settled")));
        assert_eq!(it.count("trap"), 1);
    });
}

#[test]
fn an_operator_sees_and_settles_what_is_unknown() {
    with_world(|it| {
        for key in 1..=3 {
            it.cut_off("pay_plainly", key, "c");
        }
        it.upgrade();
        let unknown = it.unknown();
        assert_eq!(unknown.len(), 3);
        assert!(
            unknown
                .iter()
                .all(|it| it.endpoint == "pay_plainly" && it.scope.len() == 8)
        );
        assert!(unknown.is_sorted_by_key(|it| it.number));
        assert!(is_unknown(&it.pay("pay_plainly", 1, "c").unwrap()));

        let settled = |resolved| matches!(resolved, Ok(Resolved::Settled { .. }));
        assert!(settled(
            it.settle("settle", (ByteBuf::from([1]), Some("by hand")))
        ));
        assert_eq!(it.pay("pay_plainly", 1, "c"), Some(ok("by hand")));
        assert!(settled(
            it.settle("settle", (ByteBuf::from([2]), None::<String>))
        ));
        assert_eq!(it.pay("pay_plainly", 2, "c"), Some(ok("1 paid")));
        assert!(settled(
            it.settle("settle_listed", (unknown[2].number, Some("listed")))
        ));
        assert_eq!(it.pay("pay_plainly", 3, "c"), Some(ok("listed")));
        assert_eq!(it.unknown(), []);

        let ended = it.settle("settle", (ByteBuf::from([1]), None::<String>));
        assert!(matches!(ended, Ok(Resolved::HasEnded { .. })), "{ended:?}");
        let absent = it.settle("settle", (ByteBuf::from([9]), None::<String>));
        assert_eq!(absent, Ok(Resolved::NotKnown));
        let long = it.settle("settle", (ByteBuf::from([1]), Some("x".repeat(100_000))));
        assert!(matches!(long, Ok(Resolved::HasEnded { .. })), "{long:?}");
    });
}

#[test]
fn a_reply_that_is_too_long_settles_nothing() {
    with_world(|it| {
        it.cut_off("pay_plainly", 1, "d");
        let long = it.settle("settle", (ByteBuf::from([1]), Some("x".repeat(100_000))));
        assert!(
            matches!(long, Err(Refusal::Other { code: 2, .. })),
            "{long:?}"
        );
        assert_eq!(it.unknown().len(), 1);
    });
}

#[test]
fn a_strict_lane_goes_on_when_its_number_is_settled() {
    with_world(|it| {
        let first = |reply: Option<&str>| {
            it.traps(true);
            let number = it.count("numbers");
            assert_eq!(it.pay_number(number, "e"), None);
            it.traps(false);
            it.upgrade();
            assert!(is_unknown(&it.pay_number(number, "e").unwrap()));
            let gap = Err(Failure::Idempotency(Refusal::SequenceGap {
                expected: number,
            }));
            assert_eq!(it.pay_number(number + 1, "e"), Some(gap));
            let settled = it.settle("settle_number", (number, reply));
            assert!(
                matches!(settled, Ok(Resolved::Settled { .. })),
                "{settled:?}"
            );
            number
        };
        let number = first(Some("by hand"));
        assert_eq!(it.pay_number(number, "e"), Some(ok("by hand")));
        assert_eq!(it.pay_number(number + 1, "e"), Some(ok("1 paid")));
        // The next one is 2: it did nothing, runs again, and then the lane goes on.
        it.traps(true);
        assert_eq!(it.pay_number(2, "e"), None);
        it.traps(false);
        let settled = it.settle("settle_number", (2u64, None::<String>));
        assert!(
            matches!(settled, Ok(Resolved::Settled { .. })),
            "{settled:?}"
        );
        assert_eq!(it.pay_number(2, "e"), Some(ok("2 paid")));
        assert_eq!(it.pay_number(3, "e"), Some(ok("3 paid")));
    });
}
