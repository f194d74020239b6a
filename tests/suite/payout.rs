//! The payout example: two canisters that can't commit together, and every payout is made once, whatever happens in between.

use crate::{
    common::Refusal,
    ledger::{self, balance, icrc1_transfer, transactions},
};
use candid::{CandidType, Nat, Principal};
use integration_tests::{Canister, Faults, LEDGER, PAYOUT, replica, user};
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Schedule};
use pocket_ic::PocketIc;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::time::Duration;

#[derive(CandidType, Clone, Debug, Deserialize)]
struct CreditArg {
    request_id: ByteBuf,
    owner: Principal,
    amount: u64,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
enum CreditError {
    TooMuch,
    Idempotency(Refusal),
}

#[derive(CandidType, Clone, Debug, Deserialize)]
struct PayoutArg {
    request_id: ByteBuf,
    to: Principal,
    amount: u64,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
enum PayoutError {
    InsufficientBalance { balance: u64 },
    NotPaid { reason: String },
    Idempotency(Refusal),
}

type Answer = Result<Nat, PayoutError>;

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
struct Audit {
    credited: u64,
    balances: u64,
    reserved: u64,
    paid: u64,
    open: u64,
    payments: u64,
    holds: bool,
}

#[derive(CandidType, Clone, Debug, Deserialize)]
struct Unresolved {
    endpoint: String,
    last_step: Option<String>,
    reason: Option<String>,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
enum Resolved {
    Settled { since: u64 },
    Running { since: u64 },
    HasEnded { since: u64 },
    NotKnown,
}

const CREDIT: u64 = 1_000;
const AMOUNT: u64 = 300;
/// A controller.
const OPERATOR: u8 = 7;
/// Whose balance it is, and who is paid.
const OWNER: u8 = 1;
const PAID: u8 = 2;
/// More than a payout takes with two pauses.
const ROUNDS: usize = 25;
/// A timer that traps comes again after a minute.
const ROUNDS_WITH_TWO_FAULTS: usize = 90;

struct World<'a> {
    replica: &'a PocketIc,
    payout: Canister<'a>,
    ledger: Canister<'a>,
}

/// A user with a balance, and a payout canister with these tokens on the ledger.
fn with_world(tokens: u64, test: impl FnOnce(&World<'_>)) {
    let replica = replica();
    let ledger = ledger::install(&replica);
    let payout = Canister::install(&replica, PAYOUT, (ledger.id(),));
    let controllers = vec![Principal::anonymous(), user(OPERATOR)];
    replica
        .set_controllers(payout.id(), None, controllers)
        .expect("it has controllers");
    let world = World {
        replica: &replica,
        payout,
        ledger,
    };
    if tokens > 0 {
        world.fund(tokens);
    }
    let credited = world.credit(1, CREDIT);
    assert_eq!(credited, Ok(CREDIT));
    test(&world);
}

impl World<'_> {
    fn fund(&self, tokens: u64) {
        let arg = example_ledger::types::TransferArg {
            to: ledger::account(self.payout.id()),
            ..ledger::transfer(tokens, None)
        };
        icrc1_transfer(&self.ledger, &arg).expect("user 1 is rich");
    }

    fn credit(&self, id: u8, amount: u64) -> Result<u64, CreditError> {
        let arg = CreditArg {
            request_id: ByteBuf::from([id]),
            owner: user(OWNER),
            amount,
        };
        let answer = self.payout.update(user(OPERATOR), "credit", (arg,));
        answer.expect("it answers")
    }

    fn arg(id: u8, amount: u64) -> (PayoutArg,) {
        let arg = PayoutArg {
            request_id: ByteBuf::from([id]),
            to: user(PAID),
            amount,
        };
        (arg,)
    }

    fn pay(&self, id: u8, amount: u64) -> Answer {
        let arg = Self::arg(id, amount);
        let answer = self.payout.update(user(OWNER), "payout", arg);
        answer.expect("it answers")
    }

    /// A payout whose client never comes back.
    fn lose(&self, id: u8, amount: u64) {
        let sent = self
            .payout
            .send(user(OWNER), "payout", Self::arg(id, amount));
        sent.expect("it is accepted");
    }

    /// What the books say; they always add up.
    fn audit(&self) -> Audit {
        let audit: Audit = self.payout.query(user(0), "audit", ()).expect("it answers");
        assert!(audit.holds, "{audit:?}");
        audit
    }

    /// As many rounds, of so much time each, and after each a look at the books.
    fn rounds(&self, rounds: usize, time: Duration) {
        for _ in 0..rounds {
            self.replica.advance_time(time);
            self.replica.tick();
            // What is stopped answers no query.
            let audit = self.payout.query::<Audit>(user(0), "audit", ());
            assert!(audit.is_err() || audit.is_ok_and(|audit| audit.holds));
        }
    }

    fn seconds(&self, seconds: usize) {
        self.rounds(seconds, Duration::from_secs(1));
    }

    fn upgrade(&self) {
        self.payout.upgrade(PAYOUT, ()).expect("it upgrades");
    }

    /// The payout has ended: paid here and on the ledger, once.
    #[track_caller]
    fn is_paid(&self, context: &str) {
        let paid = Audit {
            credited: CREDIT,
            balances: CREDIT - AMOUNT,
            reserved: 0,
            paid: AMOUNT,
            open: 0,
            payments: 1,
            holds: true,
        };
        assert_eq!(self.audit(), paid, "{context}");
        assert_eq!(balance(&self.ledger, user(PAID)), AMOUNT, "{context}");
    }

    #[track_caller]
    fn is_untouched(&self, context: &str) {
        let audit = self.audit();
        assert_eq!(
            (audit.balances, audit.paid, audit.open),
            (CREDIT, 0, 0),
            "{context}"
        );
        assert_eq!(balance(&self.ledger, user(PAID)), 0u8, "{context}");
    }

    fn unresolved(&self) -> Vec<Unresolved> {
        let unresolved: Result<_, Refusal> = self
            .payout
            .query(user(OPERATOR), "unresolved", ())
            .expect("it answers");
        unresolved.expect("the store is sound")
    }
}

/// Loses a payout under these faults, and looks that it comes to its end with nobody retrying. Returns how many faults there were, if
/// there can be any.
fn comes_to_its_end(faults: &[Fault], of: &World<'_>, may_be_lost: bool) -> Option<usize> {
    let plan = Plan::Schedule(Schedule(faults.to_vec()));
    let installed = Faults::install(of.replica, &plan)?;
    let context = format!("{faults:?}");
    of.lose(1, AMOUNT);
    of.seconds(match faults.len() {
        1 => ROUNDS,
        _ => ROUNDS_WITH_TWO_FAULTS,
    });
    let applied = installed.report().applied.0.len();
    installed.stop();
    match may_be_lost && applied > 0 {
        // It was never accepted.
        true => of.is_untouched(&context),
        false => of.is_paid(&context),
    }
    // Whoever asks gets the answer now.
    let block = of.pay(1, AMOUNT);
    assert!(block.is_ok(), "{block:?}: {context}");
    assert_eq!(of.pay(1, AMOUNT), block);
    of.is_paid(&context);
    assert!(of.unresolved().is_empty());
    Some(applied)
}

#[test]
fn a_payout_is_made_once() {
    with_world(10_000, |it| {
        let before = transactions(&it.ledger);
        let block = it.pay(1, AMOUNT);
        assert_eq!(block, Ok(before.clone()));
        it.is_paid("");
        assert_eq!(it.pay(1, AMOUNT), block);
        let reused = Err(PayoutError::Idempotency(Refusal::KeyReused));
        assert_eq!(it.pay(1, AMOUNT + 1), reused);
        let too_much = Err(PayoutError::InsufficientBalance {
            balance: CREDIT - AMOUNT,
        });
        assert_eq!(it.pay(2, CREDIT), too_much);
        assert_eq!(transactions(&it.ledger), before + 1u8);
        it.is_paid("");
        // Credits are requests, too.
        assert_eq!(it.credit(1, CREDIT), Ok(CREDIT));
        assert_eq!(it.credit(2, u64::MAX), Err(CreditError::TooMuch));
        it.is_paid("");
        assert_eq!(
            it.pay(3, CREDIT - AMOUNT),
            Ok(transactions(&it.ledger) - 1u8)
        );
        assert_eq!(it.audit().paid, CREDIT);
    });
}

#[test]
fn only_controllers_credit_and_settle() {
    with_world(0, |it| {
        let arg = CreditArg {
            request_id: ByteBuf::from([9]),
            owner: user(OWNER),
            amount: 1,
        };
        let settled = (user(OWNER), ByteBuf::from([1]), None::<Nat>);
        let refused = [
            it.payout
                .update::<Result<u64, CreditError>>(user(OWNER), "credit", (arg,))
                .err(),
            it.payout
                .update::<Result<Resolved, Refusal>>(user(OWNER), "settle", settled)
                .err(),
        ];
        for refused in refused {
            let text = refused.expect("it is refused").reject_message;
            assert!(text.contains("for the controllers"), "{text}");
        }
        it.is_untouched("");
    });
}

/// Shows G12 and G13.
#[test]
fn a_trap_at_any_message() {
    let mut applied = 0;
    for number in 1..=9 {
        for at in [1, 8, 20, 45] {
            with_world(10_000, |it| {
                let fault = Fault::Message {
                    canister: it.payout.id(),
                    number,
                    what: MessageFault::TrapAtCall(at),
                };
                applied += comes_to_its_end(&[fault], it, number == 1).unwrap_or(20);
            });
        }
    }
    assert!(applied >= 12, "{applied}");
}

/// Shows G12.
#[test]
fn an_upgrade_a_stop_or_no_cycles_before_any_message() {
    let whats = [
        MessageFault::Upgrade,
        MessageFault::Stop { rounds: 3 },
        MessageFault::OutOfCycles { rounds: 3 },
    ];
    let mut applied = 0;
    for number in 1..=9 {
        for what in whats {
            with_world(10_000, |it| {
                let canister = it.payout.id();
                let fault = Fault::Message {
                    canister,
                    number,
                    what,
                };
                let is_refused = number == 1 && what != MessageFault::Upgrade;
                applied += comes_to_its_end(&[fault], it, is_refused).unwrap_or(20);
            });
        }
    }
    assert!(applied >= 12, "{applied}");
}

/// Shows G12 and G16.
#[test]
fn an_answer_that_is_lost_or_not_what_happened() {
    let whats = [
        AnswerFault::Lose,
        AnswerFault::Delay { rounds: 4 },
        AnswerFault::Reject { code: 4 },
        AnswerFault::Reject { code: 5 },
    ];
    let mut applied = 0;
    for number in 1..=4 {
        for what in whats {
            with_world(10_000, |it| {
                let canister = it.payout.id();
                let fault = Fault::Answer {
                    canister,
                    number,
                    what,
                };
                applied += comes_to_its_end(&[fault], it, false).unwrap_or(20);
            });
        }
    }
    assert!(applied > 6, "{applied}");
}

/// Shows G12 and G16.
#[test]
fn a_ledger_that_traps_or_is_upgraded_or_stopped() {
    let whats = [
        MessageFault::TrapAtCall(1),
        MessageFault::TrapAtCall(10),
        MessageFault::Upgrade,
        MessageFault::Stop { rounds: 5 },
        MessageFault::OutOfCycles { rounds: 5 },
    ];
    let mut applied = 0;
    for what in whats {
        with_world(10_000, |it| {
            let canister = it.ledger.id();
            let fault = Fault::Message {
                canister,
                number: 1,
                what,
            };
            applied += comes_to_its_end(&[fault], it, false).unwrap_or(5);
        });
    }
    assert!(applied >= 4, "{applied}");
}

/// The message in which ic-cdk-timers has its timers run is left out: if that traps, it runs none until another is set, as the next call
/// of the canister does. It executes no code of ours.
///
/// Shows G12 and G16.
#[test]
fn two_faults() {
    let trap = MessageFault::TrapAtCall(3);
    let mut applied = 0;
    for (first, timer) in [(2, 4), (3, 6), (4, 0)] {
        for second in first + 1..=8 {
            for what in [MessageFault::Upgrade, trap] {
                if (second, what) == (timer, trap) {
                    continue;
                }
                with_world(10_000, |it| {
                    let canister = it.payout.id();
                    let trap = Fault::Message {
                        canister,
                        number: first,
                        what: MessageFault::TrapAtCall(2),
                    };
                    let other = Fault::Message {
                        canister,
                        number: second,
                        what,
                    };
                    applied += comes_to_its_end(&[trap, other], it, false).unwrap_or(20);
                });
            }
        }
    }
    for number in 3..=8 {
        for what in [MessageFault::Upgrade, trap] {
            if (number, what) == (5, trap) {
                continue;
            }
            with_world(10_000, |it| {
                let canister = it.payout.id();
                let lost = Fault::Answer {
                    canister,
                    number: 1,
                    what: AnswerFault::Lose,
                };
                let fault = Fault::Message {
                    canister,
                    number,
                    what,
                };
                applied += comes_to_its_end(&[fault, lost], it, false).unwrap_or(20);
            });
        }
    }
    assert!(applied > 40, "{applied}");
}

/// Shows G12.
#[test]
fn a_ledger_that_is_stopped_for_hours() {
    with_world(10_000, |it| {
        let id = it.ledger.id();
        it.replica.stop_canister(id, None).expect("it stops");
        it.lose(1, AMOUNT);
        it.seconds(10);
        for _ in 0..6 {
            it.rounds(8, Duration::from_secs(300));
            it.upgrade();
            let audit = it.audit();
            assert_eq!((audit.reserved, audit.open, audit.paid), (AMOUNT, 1, 0));
            let answer = it.pay(1, AMOUNT);
            assert!(answer.is_err_and(|error| error.is_in_progress()));
        }
        it.replica.start_canister(id, None).expect("it starts");
        it.ledger
            .upgrade(LEDGER, (example_ledger::init::LedgerArg::Upgrade(None),))
            .expect("it upgrades");
        it.rounds(20, Duration::from_secs(300));
        it.is_paid("");
        assert!(it.pay(1, AMOUNT).is_ok());
        it.is_paid("");
    });
}

impl PayoutError {
    fn is_in_progress(&self) -> bool {
        matches!(self, Self::Idempotency(Refusal::InProgress { .. }))
    }
}

#[test]
fn what_the_ledger_refuses_goes_back() {
    with_world(0, |it| {
        it.lose(1, AMOUNT);
        it.seconds(ROUNDS);
        it.is_untouched("");
        let refused = it.pay(1, AMOUNT);
        let Err(PayoutError::NotPaid { reason }) = &refused else {
            panic!("{refused:?}");
        };
        assert!(reason.starts_with("InsufficientFunds"), "{reason}");
        it.fund(10_000);
        assert_eq!(it.pay(1, AMOUNT), refused);
        it.is_untouched("");
        assert!(it.pay(2, AMOUNT).is_ok());
        it.is_paid("");
    });
}

/// Shows G13 and G16.
#[test]
fn what_the_ledger_cannot_tell_any_more_waits_for_an_operator() {
    for paid in [false, true] {
        with_world(0, |it| {
            let lost = |number| Fault::Answer {
                canister: it.payout.id(),
                number,
                what: AnswerFault::Lose,
            };
            let plan = Plan::Schedule(Schedule((1..1_000).map(lost).collect()));
            let Some(faults) = Faults::install(it.replica, &plan) else {
                return;
            };
            // It is refused for want of tokens, and nobody hears of it: neither of that nor of the ledger's blocks, which don't have it.
            it.lose(1, AMOUNT);
            it.seconds(5);
            assert!(!faults.report().applied.0.is_empty());
            it.rounds(4 * 26, Duration::from_secs(900));
            let audit = it.audit();
            assert_eq!((audit.reserved, audit.open, audit.paid), (AMOUNT, 1, 0));
            let [one] = &it.unresolved()[..] else {
                panic!("{:?}", it.unresolved());
            };
            assert_eq!(one.endpoint, "payout");
            assert_eq!(one.last_step.as_deref(), Some("transfer"));
            let reason = one.reason.as_deref().expect("it is parked");
            assert!(
                reason.starts_with("look for a transfer with memo"),
                "{reason}"
            );
            let unknown = it.pay(1, AMOUNT);
            assert!(
                matches!(
                    unknown,
                    Err(PayoutError::Idempotency(Refusal::OutcomeUnknown { .. }))
                ),
                "{unknown:?}"
            );
            let settle = |block: Option<Nat>| {
                let args = (user(OWNER), ByteBuf::from([1]), block);
                let settled: Result<Resolved, Refusal> = it
                    .payout
                    .update(user(OPERATOR), "settle", args)
                    .expect("it answers");
                settled.expect("the store is sound")
            };
            let block = paid.then(|| Nat::from(7u8));
            assert!(matches!(settle(block.clone()), Resolved::Settled { .. }));
            assert!(matches!(settle(None), Resolved::HasEnded { .. }));
            let audit = it.audit();
            let expected = if paid { (0, AMOUNT, 0) } else { (0, 0, 0) };
            assert_eq!((audit.reserved, audit.paid, audit.open), expected);
            match block {
                Some(block) => assert_eq!(it.pay(1, AMOUNT), Ok(block)),
                None => assert!(matches!(
                    it.pay(1, AMOUNT),
                    Err(PayoutError::NotPaid { .. })
                )),
            }
            assert!(it.unresolved().is_empty());
        });
    }
}

/// Shows G12.
#[test]
fn many_payouts_while_the_canister_is_upgraded_every_few_rounds() {
    with_world(10_000, |it| {
        for id in 1..=10 {
            it.lose(id, 10);
            it.seconds(1);
            if id % 2 == 0 {
                it.upgrade();
            }
        }
        for _ in 0..10 {
            it.seconds(3);
            it.upgrade();
        }
        it.seconds(ROUNDS);
        let audit = it.audit();
        assert_eq!((audit.paid, audit.payments, audit.open), (100, 10, 0));
        assert_eq!(balance(&it.ledger, user(PAID)), 100u8);
        assert!(it.unresolved().is_empty());
    });
}
