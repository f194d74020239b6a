//! A transfer in two steps arrives once, or not at all, and what is said of it is true.

use super::{
    ledger::{CALLER, FEE},
    net::Net,
    simulation::unless_killed,
    world::{CANISTER, Faults, World},
};
use crate::{
    Error, Key, MemoryJournal, Refusal, SafeAgent, TransferError, TwoStepEnd, account_between,
};
use candid::{Nat, Principal};
use idempotency_core::safe_call::Account;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const WEALTH: u64 = 1_000_000;
const AMOUNT: u64 = 1_000;

fn receiver(number: u8) -> Account {
    Account {
        owner: Principal::from_slice(&[1, number]),
        subaccount: None,
    }
}

fn world(seed: u64, faults: Faults) -> Net {
    let mut world = World::new(seed, faults);
    world.ledger.balances.insert((CALLER, [0; 32]), WEALTH);
    Net(Arc::new(Mutex::new(world)))
}

/// Makes the transfer, with a client that is started anew when it is killed or in doubt.
fn transferred(net: &Net, journal: &MemoryJournal, number: u8) -> Option<TwoStepEnd> {
    let mut last = None;
    for _ in 0..10 {
        let agent = SafeAgent::new(net.clone(), journal);
        let transfer =
            agent.transfer_in_two_steps(CANISTER, receiver(number), AMOUNT, Key::new([number]));
        match unless_killed(transfer.send()) {
            None | Some(Err(Error::NoTime(_))) => {}
            Some(Ok(end @ TwoStepEnd::StillUnknown { .. })) => last = Some(end),
            Some(end) => return Some(end.unwrap()),
        }
    }
    last
}

/// Whether the accounts say what the end says: `moved`, of this transfer.
fn is_true(moved: (u64, u64, u64), end: Option<&TwoStepEnd>) -> bool {
    let nothing = (0, 0, 0);
    let deposited = (AMOUNT + 2 * FEE, AMOUNT + FEE, 0);
    let forwarded = (AMOUNT + 2 * FEE, 0, AMOUNT);
    match end {
        Some(TwoStepEnd::Transferred { .. }) => moved == forwarded,
        Some(TwoStepEnd::NotTransferred(_) | TwoStepEnd::NeverRan) => moved == nothing,
        Some(TwoStepEnd::Stuck { .. }) => moved == deposited,
        Some(TwoStepEnd::StillUnknown { .. }) | None => {
            [nothing, deposited, forwarded].contains(&moved)
        }
    }
}

#[test]
fn it_arrives_once_or_not_at_all_whatever_happens() {
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..300 {
        let bad = Faults {
            lost: 20,
            late: 20,
            twice: 10,
            lie: 10,
            blocked: 5,
            jump: 5,
            killed: 15,
        };
        let net = world(
            seed,
            if seed % 10 == 0 {
                Faults::default()
            } else {
                bad
            },
        );
        net.world().ledger.traps = seed % 3 == 0;
        let journal = MemoryJournal::default();
        for number in 0..10 {
            net.world().ledger.busy = u32::from(seed % 7 == 1);
            let (before, ..) = moved(&net, number);
            let end = transferred(&net, &journal, number);
            // What is still on its way arrives.
            net.world().pass(20 * super::world::MINUTE);
            let (paid, between, received) = moved(&net, number);
            let moved = (paid - before, between, received);
            assert!(
                is_true(moved, end.as_ref()),
                "seed {seed}, transfer {number}: {moved:?} after {end:?}"
            );
            let kind = match end {
                Some(TwoStepEnd::Transferred { block: Some(_) }) => "transferred, in a block",
                Some(TwoStepEnd::Transferred { block: None }) => "transferred",
                Some(TwoStepEnd::NotTransferred(_)) => "not transferred",
                Some(TwoStepEnd::NeverRan) => "never ran",
                Some(TwoStepEnd::Stuck { .. }) => "stuck",
                Some(TwoStepEnd::StillUnknown { .. }) | None => "unknown",
            };
            *ends.entry(kind).or_default() += 1;
        }
    }
    println!("{ends:?}");
    let seen = |kind| ends.get(kind).copied().unwrap_or_default();
    assert!(seen("transferred, in a block") > 1_000, "{ends:?}");
    assert!(seen("transferred") > 100, "{ends:?}");
    assert!(seen("never ran") > 10, "{ends:?}");
    assert_eq!(seen("stuck"), 0, "{ends:?}");
}

#[test]
fn what_the_payer_has_not_is_not_transferred() {
    let net = world(1, Faults::default());
    net.world()
        .ledger
        .balances
        .insert((CALLER, [0; 32]), AMOUNT + FEE);
    let end = transferred(&net, &MemoryJournal::default(), 1);
    let poor = TransferError::InsufficientFunds {
        balance: Nat::from(AMOUNT + FEE),
    };
    assert_eq!(end, Some(TwoStepEnd::NotTransferred(Refusal::Ledger(poor))));
}

/// What an account has lost or holds, of caller, in between and receiver.
fn moved(net: &Net, number: u8) -> (u64, u64, u64) {
    let world = net.world();
    let between = account_between(
        CALLER,
        &Key::new([number]),
        &receiver(number),
        &Nat::from(AMOUNT),
    );
    let balance = |account| world.ledger.balance(account);
    (
        WEALTH - balance(CALLER.into()),
        balance(between),
        balance(receiver(number)),
    )
}

#[test]
fn a_fee_that_rises_between_the_steps_is_told_and_not_paid() {
    let (net, journal) = (world(1, Faults::default()), MemoryJournal::default());
    net.world().ledger.then = Some(|ledger| ledger.fee += 1);
    // Making it again changes nothing as long as that is so.
    for _ in 0..2 {
        let end = transferred(&net, &journal, 1);
        let Some(TwoStepEnd::Stuck { error, .. }) = end else {
            panic!("{end:?}");
        };
        let expected_fee = Nat::from(FEE + 1);
        assert_eq!(error, TransferError::BadFee { expected_fee });
        assert_eq!(moved(&net, 1), (AMOUNT + 2 * FEE, AMOUNT + FEE, 0));
    }
    net.world().ledger.fee = FEE;
    let block = Some(Nat::from(7u8));
    assert_eq!(
        transferred(&net, &journal, 1),
        Some(TwoStepEnd::Transferred { block })
    );
    assert_eq!(moved(&net, 1), (AMOUNT + 2 * FEE, 0, AMOUNT));
}

#[test]
fn a_busy_ledger_forwards_later() {
    let (net, journal) = (world(1, Faults::default()), MemoryJournal::default());
    net.world().ledger.then = Some(|ledger| ledger.busy = 3);
    let block = Some(Nat::from(7u8));
    assert_eq!(
        transferred(&net, &journal, 1),
        Some(TwoStepEnd::Transferred { block })
    );
    assert_eq!(moved(&net, 1), (AMOUNT + 2 * FEE, 0, AMOUNT));
    // Before the first step it is no transfer at all.
    net.world().ledger.busy = 1;
    let refusal = Refusal::Ledger(TransferError::TemporarilyUnavailable);
    assert_eq!(
        transferred(&net, &journal, 2),
        Some(TwoStepEnd::NotTransferred(refusal))
    );
}

#[test]
fn a_key_is_one_transfers() {
    let net = world(1, Faults::default());
    let journal = MemoryJournal::default();
    let end = transferred(&net, &journal, 1);
    assert!(
        matches!(end, Some(TwoStepEnd::Transferred { block: Some(_) })),
        "{end:?}"
    );
    let agent = SafeAgent::new(net.clone(), &journal);
    let again = transferred(&net, &journal, 1);
    assert_eq!(again, end);
    for (to, amount) in [
        (receiver(2), AMOUNT),
        (receiver(1), AMOUNT - 1),
        (receiver(1), 2 * AMOUNT),
    ] {
        let other = unless_killed(
            agent
                .transfer_in_two_steps(CANISTER, to, amount, Key::new([1]))
                .send(),
        );
        assert!(matches!(other, Some(Err(Error::KeyReused(_)))), "{other:?}");
    }
    assert_eq!(net.world().ledger.balance(receiver(1)), AMOUNT);
}
