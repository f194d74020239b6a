//! Safe calls: a canister that calls others, and knows what became of it. G16.

use crate::{
    common::{Answer, Fixture, Plan as Work, ok, with_canister},
    ledger,
    ledger_archives::World,
};
use candid::{CandidType, Nat, Principal};
use example_ledger::{errors::TransferError, init::Kept};
use integration_tests::{CALLER, Canister, Faults, user};
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Schedule};
use pocket_ic::PocketIc;
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;

/// How the caller makes its call.
#[derive(CandidType, Clone)]
struct Options {
    tries: u32,
    pause_ms: u64,
    timeout: Option<u32>,
    in_doubt_since: Option<u64>,
    cycles: Option<u64>,
}

/// At once, and bounded.
const OPTIONS: Options = Options {
    tries: 3,
    pause_ms: 0,
    timeout: Some(60),
    in_doubt_since: None,
    cycles: None,
};

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
enum End<T> {
    Replied(T),
    ReplyLost(String),
    Rejected(String),
    NotExecuted(String),
    StillUnknown { until: Option<u64>, last: String },
}

impl<T> End<T> {
    fn is_unknown(&self) -> bool {
        matches!(self, End::StillUnknown { .. })
    }
}

/// The caller.
struct Caller<'a>(Canister<'a>);

impl<'a> Caller<'a> {
    fn install(replica: &'a PocketIc) -> Self {
        Self(Canister::install(replica, CALLER, ()))
    }

    fn make<T: CandidType + DeserializeOwned>(
        &self,
        method: &str,
        args: impl candid::utils::ArgumentEncoder,
    ) -> End<T> {
        let end = self.0.update(user(1), method, args);
        end.expect("the caller answers")
    }

    fn work(&self, callee: Principal, work: Work, options: Options) -> End<Answer> {
        self.make("call_work", (callee, b"key".to_vec(), work, options))
    }

    fn plain(&self, callee: Principal, method: &str, options: Options) -> End<u64> {
        self.make("call_plain", (callee, method, options))
    }

    fn transfer(&self, ledger: Principal, created_at: u64, options: Options) -> End<Nat> {
        self.make("call_transfer", (ledger, user(2), created_at, options))
    }

    fn effects(&self) -> u64 {
        let effects = self.0.query(user(1), "effects", ());
        effects.expect("the caller answers")
    }

    /// To the answer of its `number`th call.
    fn answer(&self, number: u64, what: AnswerFault) -> Fault {
        Fault::Answer {
            canister: self.0.id(),
            number,
            what,
        }
    }
}

/// At the `number`th message of a canister.
fn message(canister: Principal, number: u64, what: MessageFault) -> Fault {
    Fault::Message {
        canister,
        number,
        what,
    }
}

/// `None` where there are no faults.
fn faults(replica: &PocketIc, faults: Vec<Fault>) -> Option<Faults> {
    Faults::install(replica, &Plan::Schedule(Schedule(faults)))
}

/// Runs a test with a caller, and the test canister as the callee.
fn with_caller(test: impl FnOnce(&Fixture<'_>, &Caller<'_>)) {
    with_canister(|it| {
        let caller = Caller::install(it.replica);
        test(&it, &caller);
    });
}

/// Shows G16.
#[test]
fn an_endpoint_that_ran_and_could_not_say_so_is_asked_again() {
    with_caller(|it, caller| {
        // With a pause: rounds pass between the attempts.
        let options = Options {
            pause_ms: 1_000,
            ..OPTIONS
        };
        let lost = caller.answer(1, AnswerFault::Lose);
        let Some(faults) = faults(it.replica, vec![lost]) else {
            return;
        };
        let end = caller.work(it.canister.id(), Work::Answer, options);
        assert_eq!(end, End::Replied(ok("1: done")));
        assert_eq!(it.executions("work"), 1);
        assert_eq!(faults.report().applied.0.len(), 1);
    });
}

/// Shows G16.
#[test]
fn an_endpoint_that_never_ran_is_called_again() {
    with_caller(|it, caller| {
        let not_delivered = message(it.canister.id(), 1, MessageFault::TrapAtCall(1));
        let lost = caller.answer(1, AnswerFault::Lose);
        let Some(faults) = faults(it.replica, vec![not_delivered, lost]) else {
            return;
        };
        let end = caller.work(it.canister.id(), Work::Answer, OPTIONS);
        assert_eq!(end, End::Replied(ok("1: done")));
        assert_eq!(it.executions("work"), 1);
        assert_eq!(faults.report().applied.0.len(), 2);
    });
}

/// Shows G16.
#[test]
fn a_reject_after_the_endpoint_ran_is_not_believed() {
    for code in [4, 5] {
        with_caller(|it, caller| {
            let rejected = caller.answer(1, AnswerFault::Reject { code });
            let Some(faults) = faults(it.replica, vec![rejected]) else {
                return;
            };
            let unbounded = Options {
                timeout: None,
                ..OPTIONS
            };
            let end = caller.work(it.canister.id(), Work::Answer, unbounded);
            assert_eq!(end, End::Replied(ok("1: done")));
            assert_eq!(it.executions("work"), 1);
            assert_eq!(faults.report().applied.0.len(), 1);
        });
    }
}

/// Shows G16.
#[test]
fn an_endpoint_that_trapped_in_its_midst_stays_unknown() {
    with_caller(|it, caller| {
        let end = caller.work(it.canister.id(), Work::TrapLater, OPTIONS);
        let End::StillUnknown {
            until: Some(until),
            last,
        } = end
        else {
            panic!("{end:?}");
        };
        assert!(last.starts_with("OutcomeUnknown"), "{last}");
        assert!(until > it.now());
        assert_eq!(it.executions("work"), 1);
    });
}

#[test]
fn an_endpoint_that_is_stopped_meanwhile_is_called_again() {
    with_caller(|it, caller| {
        let stop = message(it.canister.id(), 1, MessageFault::Stop { rounds: 4 });
        let Some(faults) = faults(it.replica, vec![stop]) else {
            return;
        };
        let options = Options {
            tries: 5,
            pause_ms: 1_000,
            ..OPTIONS
        };
        let end = caller.work(it.canister.id(), Work::Answer, options);
        assert_eq!(end, End::Replied(ok("1: done")));
        assert_eq!(it.executions("work"), 1);
        assert_eq!(faults.report().applied.0.len(), 1);
    });
}

#[test]
fn a_stopped_endpoint_proves_nothing() {
    with_caller(|it, caller| {
        let stopped = it.replica.stop_canister(it.canister.id(), None);
        stopped.expect("it stops");
        let end = caller.work(it.canister.id(), Work::Answer, OPTIONS);
        assert!(end.is_unknown(), "{end:?}");
        let end = caller.plain(it.canister.id(), "effect", OPTIONS);
        assert!(end.is_unknown(), "{end:?}");
        let started = it.replica.start_canister(it.canister.id(), None);
        started.expect("it starts");
        // Still in doubt, and now the endpoint can tell.
        let options = Options {
            in_doubt_since: Some(it.now()),
            ..OPTIONS
        };
        let end = caller.work(it.canister.id(), Work::Answer, options);
        assert_eq!(end, End::Replied(ok("1: done")));
    });
}

/// Shows G16.
#[test]
fn an_endpoint_that_is_upgraded_in_flight_stays_unknown() {
    with_caller(|it, caller| {
        let args = (it.canister.id(), b"key".to_vec(), Work::Hold, OPTIONS);
        let held = it.hold_at(&caller.0, user(1), "call_work", args);
        it.upgrade();
        it.release(&held);
        let end: End<Answer> = caller.0.answer(held.sent).expect("the caller answers");
        assert!(
            matches!(&end, End::StillUnknown { until: Some(_), last } if last.starts_with("OutcomeUnknown")),
            "{end:?}"
        );
        assert_eq!(it.executions("work"), 1);
    });
}

#[test]
fn no_canister_and_no_method() {
    with_caller(|it, caller| {
        let nobody = Principal::from_slice(&[0, 0, 0, 0, 0, 255, 255, 255, 1, 1]);
        let end = caller.work(nobody, Work::Answer, OPTIONS);
        assert!(
            matches!(&end, End::Rejected(text) if text.contains("code 3")),
            "{end:?}"
        );
        let end = caller.plain(nobody, "effect", OPTIONS);
        assert!(
            matches!(&end, End::Rejected(text) if text.contains("code 3")),
            "{end:?}"
        );
        // The IC says code 5 here, as it does when something has run.
        let end = caller.plain(it.canister.id(), "no_such_method", OPTIONS);
        assert!(end.is_unknown(), "{end:?}");
    });
}

/// `pay` takes all cycles of the call that runs, and traps with its refusals.
#[test]
fn cycles_of_a_repeat_come_back() {
    with_caller(|it, caller| {
        let Some(_faults) = faults(it.replica, vec![caller.answer(1, AnswerFault::Lose)]) else {
            return;
        };
        let options = Options {
            cycles: Some(1_000_000_000),
            ..OPTIONS
        };
        let before = it.canister.cycles();
        let end: End<u128> = caller.make("call_pay", (it.canister.id(), 7u64, options));
        assert_eq!(end, End::Replied(1_000_000_000));
        assert_eq!(it.executions("pay"), 1);
        let gained = it.canister.cycles() - before;
        assert!(gained < 1_000_000_000, "{gained} for two attempts");
    });
}

/// Shows G16.
#[test]
fn a_plain_call_in_doubt_is_never_repeated() {
    for what in [
        AnswerFault::Lose,
        AnswerFault::Reject { code: 4 },
        AnswerFault::Reject { code: 5 },
    ] {
        with_caller(|it, caller| {
            let callee = Caller::install(it.replica);
            let Some(faults) = faults(it.replica, vec![caller.answer(1, what)]) else {
                return;
            };
            let end = caller.plain(callee.0.id(), "effect", OPTIONS);
            assert!(
                matches!(end, End::StillUnknown { until: None, .. }),
                "{end:?}"
            );
            assert_eq!(callee.effects(), 1);
            assert_eq!(faults.report().applied.0.len(), 1);
            let end = caller.plain(callee.0.id(), "effect", OPTIONS);
            assert_eq!(end, End::Replied(2));
        });
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The example ledger, on which the caller has tokens.
fn with_ledger(test: impl FnOnce(&Fixture<'_>, &Caller<'_>, &Canister<'_>)) {
    with_caller(|it, caller| {
        let ledger = ledger::install(it.replica);
        let arg = example_ledger::types::TransferArg {
            to: ledger::account(caller.0.id()),
            ..ledger::transfer(1_000_000, None)
        };
        ledger::icrc1_transfer(&ledger, &arg).expect("user 1 is rich");
        test(it, caller, &ledger);
    });
}

/// Shows G16.
#[test]
fn a_duplicate_is_the_success_of_the_first_attempt() {
    with_ledger(|it, caller, ledger| {
        let lost = [1, 2].map(|number| caller.answer(number, AnswerFault::Lose));
        let Some(faults) = faults(it.replica, lost.to_vec()) else {
            return;
        };
        let end = caller.transfer(ledger.id(), it.now(), OPTIONS);
        assert_eq!(end, End::Replied(2u8.into()));
        assert_eq!(ledger::balance(ledger, user(2)), 1_000u64);
        assert_eq!(ledger::transactions(ledger), 3u8);
        assert_eq!(faults.report().applied.0.len(), 2);
    });
}

#[test]
fn a_refusal_of_the_ledger_is_certain() {
    with_caller(|it, caller| {
        let ledger = ledger::install(it.replica);
        let end = caller.transfer(ledger.id(), it.now(), OPTIONS);
        assert!(
            matches!(&end, End::Rejected(text) if text.starts_with("InsufficientFunds")),
            "{end:?}"
        );
        let old = it.now() - 2 * u64::try_from(DAY.as_nanos()).expect("not long");
        let end = caller.transfer(ledger.id(), old, OPTIONS);
        assert!(
            matches!(&end, End::Rejected(text) if text.starts_with("TooOld")),
            "{end:?}"
        );
    });
}

#[test]
fn tokens_of_another_account_move_once() {
    with_ledger(|it, caller, ledger| {
        let approve = example_ledger::types::ApproveArgs {
            from_subaccount: None,
            spender: ledger::account(caller.0.id()),
            amount: 100_000u64.into(),
            expected_allowance: None,
            expires_at: None,
            fee: None,
            memo: None,
            created_at_time: None,
        };
        let approved: Result<Nat, example_ledger::errors::ApproveError> = ledger
            .update(user(1), "icrc2_approve", (approve,))
            .expect("it answers");
        approved.expect("user 1 is rich");
        let Some(_faults) = faults(it.replica, vec![caller.answer(1, AnswerFault::Lose)]) else {
            return;
        };
        let args = (ledger.id(), user(1), user(2), it.now(), OPTIONS);
        let end: End<Nat> = caller.make("call_transfer_from", args);
        assert_eq!(end, End::Replied(3u8.into()));
        assert_eq!(ledger::balance(ledger, user(2)), 1_000u64);
        let args = (ledger.id(), user(3), user(2), it.now(), OPTIONS);
        let end: End<Nat> = caller.make("call_transfer_from", args);
        assert!(
            matches!(&end, End::Rejected(text) if text.starts_with("InsufficientAllowance")),
            "{end:?}"
        );
    });
}

/// The blocks of the example ledger say what became of a transfer, as long as they can be read. Shows G16.
#[test]
fn too_old_in_doubt_is_unknown() {
    with_ledger(|it, caller, ledger| {
        let created_at = it.now();
        // The transfer, the search for it; the refusal, the search.
        let lost = [1, 2, 4].map(|number| caller.answer(number, AnswerFault::Lose));
        let Some(faults) = faults(it.replica, lost.to_vec()) else {
            return;
        };
        let mut options = Options {
            tries: 1,
            ..OPTIONS
        };
        let end = caller.transfer(ledger.id(), created_at, options.clone());
        assert!(
            matches!(end, End::StillUnknown { until: Some(_), .. }),
            "{end:?}"
        );
        assert_eq!(faults.report().applied.0.len(), 2);
        it.wait(2 * DAY);
        it.run_timers();
        options.in_doubt_since = Some(created_at);
        let end = caller.transfer(ledger.id(), created_at, options.clone());
        assert!(
            matches!(&end, End::StillUnknown { until: None, last } if last.starts_with("TooOld")),
            "{end:?}"
        );
        assert_eq!(faults.report().applied.0.len(), 3);
        let end = caller.transfer(ledger.id(), created_at, options.clone());
        assert_eq!(end, End::Replied(2u8.into()));
        assert_eq!(ledger::balance(ledger, user(2)), 1_000u64);
        // Of another one they say that it was never executed.
        let end = caller.transfer(ledger.id(), created_at + 1, options);
        assert!(
            matches!(&end, End::Rejected(text) if text.starts_with("TooOld")),
            "{end:?}"
        );
    });
}

/// The ledger has forgotten the reply, and has no longer the block, which its archive has. Shows G16.
#[test]
fn a_transfer_is_found_in_an_archive() {
    with_caller(|it, caller| {
        let world = World::keeping(it.replica, Kept::Ids, 2);
        let tokens = example_ledger::types::TransferArg {
            to: ledger::account(caller.0.id()),
            ..ledger::transfer(1_000_000, None)
        };
        ledger::icrc1_transfer(&world.ledger, &tokens).expect("user 1 is rich");
        let created_at = it.now();
        // The transfer and the search for it.
        let lost = [1, 2].map(|number| caller.answer(number, AnswerFault::Lose));
        let Some(faults) = faults(it.replica, lost.to_vec()) else {
            return;
        };
        let mut options = Options {
            tries: 1,
            ..OPTIONS
        };
        let end = caller.transfer(world.ledger.id(), created_at, options.clone());
        assert!(end.is_unknown(), "{end:?}");
        faults.stop();
        world.transfers(5);
        it.wait(2 * DAY);
        world.settle();
        let status = world.status();
        assert_eq!(
            (status.archived_blocks, status.waiting_transactions),
            (6, 0)
        );
        options.in_doubt_since = Some(created_at);
        let end = caller.transfer(world.ledger.id(), created_at, options);
        assert_eq!(end, End::Replied(2u8.into()));
        assert_eq!(ledger::balance(&world.ledger, user(2)), 1_005u64);
    });
}

/// A ledger with ICRC-3 that refuses repeats without a look.
fn refusing_ledger<'a>(it: &'a Fixture<'_>, caller: &Caller<'_>, others: u64) -> Caller<'a> {
    let ledger = Caller::install(it.replica);
    for number in 0..others {
        let end = caller.transfer(ledger.0.id(), it.now() + number, OPTIONS);
        assert_eq!(end, End::Replied(number.into()));
    }
    ledger
}

fn refuse(ledger: &Caller<'_>, error: Option<TransferError>) {
    let refused = ledger.0.update::<()>(user(1), "refuse", (error,));
    refused.expect("the ledger answers");
}

/// Shows G16.
#[test]
fn the_blocks_of_a_ledger_end_the_doubt() {
    with_caller(|it, caller| {
        let ledger = refusing_ledger(it, caller, 1);
        it.wait(DAY);
        let created_at = it.now();
        // The search is lost, too.
        let lost = [1, 2].map(|number| caller.answer(number, AnswerFault::Lose));
        let Some(faults) = faults(it.replica, lost.to_vec()) else {
            return;
        };
        let mut options = Options {
            tries: 1,
            ..OPTIONS
        };
        let end = caller.transfer(ledger.0.id(), created_at, options.clone());
        assert!(
            matches!(end, End::StillUnknown { until: Some(_), .. }),
            "{end:?}"
        );
        assert_eq!(faults.report().applied.0.len(), 2);
        faults.stop();

        // Others come after it, so that it is in the archive.
        for number in 1..8 {
            let end = caller.transfer(ledger.0.id(), created_at + number, OPTIONS);
            assert_eq!(end, End::Replied((number + 1).into()));
        }
        it.wait(2 * DAY);
        options.in_doubt_since = Some(created_at);
        for error in [
            TransferError::TooOld,
            TransferError::TemporarilyUnavailable,
            TransferError::BadFee {
                expected_fee: 1u8.into(),
            },
        ] {
            refuse(&ledger, Some(error));
            let end = caller.transfer(ledger.0.id(), created_at, options.clone());
            assert_eq!(end, End::Replied(1u8.into()));
        }
    });
}

/// Shows G16.
#[test]
fn a_transfer_that_is_in_no_block_was_not_executed() {
    with_caller(|it, caller| {
        let ledger = refusing_ledger(it, caller, 6);
        it.wait(DAY);
        let created_at = it.now();
        refuse(&ledger, Some(TransferError::TooOld));
        let in_doubt = Options {
            in_doubt_since: Some(created_at),
            ..OPTIONS
        };
        let end = caller.transfer(ledger.0.id(), created_at, in_doubt.clone());
        assert!(
            matches!(&end, End::Rejected(text) if text.starts_with("TooOld")),
            "{end:?}"
        );
        // No attempt is answered, and the search is.
        let Some(_faults) = faults(it.replica, vec![caller.answer(1, AnswerFault::Lose)]) else {
            return;
        };
        let once = Options {
            tries: 1,
            ..in_doubt
        };
        let end = caller.transfer(ledger.0.id(), created_at, once);
        assert!(
            matches!(&end, End::NotExecuted(text) if text.contains("code 6")),
            "{end:?}"
        );
    });
}

/// `pay` takes a number; its refusal is the text of a trap.
#[test]
fn a_refusal_in_a_trap_is_certain() {
    with_caller(|it, caller| {
        let end: End<u128> = caller.make("call_pay_wrongly", (it.canister.id(), OPTIONS));
        assert!(
            matches!(&end, End::Rejected(text) if text.contains("MalformedArgument")),
            "{end:?}"
        );
    });
}

#[test]
fn a_key_of_another_request_is_refused() {
    with_caller(|it, caller| {
        let end = caller.work(it.canister.id(), Work::Answer, OPTIONS);
        assert_eq!(end, End::Replied(ok("1: done")));
        let end = caller.work(it.canister.id(), Work::TrapLater, OPTIONS);
        assert!(
            matches!(&end, End::Rejected(text) if text.starts_with("KeyReused")),
            "{end:?}"
        );
    });
}
