//! Calls between canisters that are lost: 200 payments, some of them not delivered, some made and not confirmed.

use crate::common::{Fixture, with_canister};
use integration_tests::{Canister, Faults, TEST_CANISTER, user};
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Schedule};

const PAYMENTS: u64 = 200;
/// Faults are planned for so many calls, and there are never as many.
const CALLS: u64 = 2_000;
/// How often the payer may have to send again what has no receipt.
const RESENDINGS: usize = 30;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It runs, and its answer arrives.
    Arrives,
    /// As above, some rounds later.
    ArrivesLate,
    /// The receiver never gets to see it, and the payer is not told.
    Dropped,
    /// It runs, and the payer is not told.
    Unconfirmed,
    /// It is rejected before it does anything.
    Rejected,
    /// It runs, and the payer is told that it failed.
    RejectedAfterwards,
}

impl Fate {
    /// The faults that bring it about, at the `number`th call.
    fn faults(self, payer: &Canister<'_>, receiver: &Canister<'_>, number: u64) -> Vec<Fault> {
        // A receiver that traps at once is left as one that the call didn't reach.
        let not_delivered = Fault::Message {
            canister: receiver.id(),
            number,
            what: MessageFault::TrapAtCall(1),
        };
        let answer = |what| Fault::Answer {
            canister: payer.id(),
            number,
            what,
        };
        match self {
            Fate::Arrives => vec![],
            Fate::ArrivesLate => vec![answer(AnswerFault::Delay { rounds: 3 })],
            Fate::Dropped => vec![not_delivered, answer(AnswerFault::Lose)],
            Fate::Unconfirmed => vec![answer(AnswerFault::Lose)],
            Fate::Rejected => vec![not_delivered],
            Fate::RejectedAfterwards => vec![answer(AnswerFault::Reject { code: 5 })],
        }
    }
}

/// Pays under faults until every payment has its receipt. `also` are faults besides those of the calls.
fn pay(
    it: &Fixture<'_>,
    is_bounded: bool,
    fates: &[Fate],
    also: impl FnOnce(&Canister<'_>) -> Vec<Fault>,
) {
    let receiver = &it.canister;
    let payer = Canister::install(it.replica, TEST_CANISTER, ());
    let mut random = fastrand::Rng::with_seed(7);
    let fate_of: Vec<Fate> = (0..CALLS)
        .map(|_| *random.choice(fates).expect("there are some"))
        .collect();
    let mut faults = also(&payer);
    for (number, fate) in (1..).zip(&fate_of) {
        faults.extend(fate.faults(&payer, receiver, number));
    }
    let Some(faults) = Faults::install(it.replica, &Plan::Schedule(Schedule(faults))) else {
        return;
    };

    let amounts: Vec<u64> = (1..=PAYMENTS).collect();
    payer.lose_answer(user(1), "pay_all", (receiver.id(), &amounts, is_bounded));
    let mut resendings = 0;
    while open(&payer) > 0 {
        assert!(resendings < RESENDINGS, "no end: {} open", open(&payer));
        resendings += 1;
        payer.lose_answer(user(1), "pay_open", (receiver.id(), is_bounded));
    }

    let applied = faults.report().applied.0;
    let count = |is: fn(&Fault) -> bool| applied.iter().filter(|fault| is(fault)).count();
    let undelivered =
        count(|fault| message(fault).is_some_and(|what| what != MessageFault::Upgrade));
    let upgrades = count(|fault| message(fault) == Some(MessageFault::Upgrade));
    let answers = applied.len() - undelivered - upgrades;
    let executions = it.executions("take_payment");
    println!(
        "{PAYMENTS} payments by {} calls: {undelivered} not executed, {answers} answers lost, late or wrong, {upgrades} \
         upgrades of the payer; sent again in {resendings} rounds: {executions} executions",
        if is_bounded {
            "bounded-wait"
        } else {
            "guaranteed-response"
        },
    );
    assert!(applied.len() > 50, "{} faults", applied.len());
    assert_eq!(executions, PAYMENTS);
    assert_eq!(received(it), amounts.iter().sum::<u64>());
}

/// What happened, if it was at a message.
fn message(fault: &Fault) -> Option<MessageFault> {
    match fault {
        Fault::Message { what, .. } => Some(*what),
        Fault::Answer { .. } | Fault::LoseIngressAnswer { .. } => None,
    }
}

/// How many payments have no receipt.
fn open(payer: &Canister<'_>) -> u64 {
    payer
        .query(user(1), "open_payments", ())
        .expect("it answers")
}

fn received(it: &Fixture<'_>) -> u64 {
    it.canister
        .query(user(1), "received", ())
        .expect("it answers")
}

/// Shows G1.
#[test]
fn bounded_wait_calls_that_are_lost_either_way() {
    with_canister(|it| {
        let fates = [
            Fate::Arrives,
            Fate::Arrives,
            Fate::ArrivesLate,
            Fate::Dropped,
            Fate::Unconfirmed,
        ];
        pay(&it, true, &fates, |_| vec![]);
    });
}

/// Shows G1.
#[test]
fn guaranteed_response_calls_that_are_rejected() {
    with_canister(|it| {
        let fates = [
            Fate::Arrives,
            Fate::Arrives,
            Fate::ArrivesLate,
            Fate::Rejected,
            Fate::RejectedAfterwards,
        ];
        pay(&it, false, &fates, |_| vec![]);
    });
}

/// Shows G1, G8.
#[test]
fn a_payer_that_is_upgraded_while_its_calls_are_under_way() {
    with_canister(|it| {
        let upgrade = |payer: &Canister<'_>| {
            // In the middle of the answers, and of those to what is sent again.
            [50, 250].map(|number| Fault::Message {
                canister: payer.id(),
                number,
                what: MessageFault::Upgrade,
            })
        };
        let fates = [Fate::Arrives, Fate::Rejected];
        pay(&it, false, &fates, |payer| upgrade(payer).to_vec());
    });
}
