//! The example ledger, as wallets use it: ICRC-1 and ICRC-2 with lost answers, and `transfer_once`.

use candid::{Nat, Principal};
use example_ledger::{
    errors::{ApproveError, TransferError, TransferFromError, TransferOnceError},
    init::{InitArgs, LedgerArg, UpgradeArgs},
    types::{Account, ApproveArgs, TransferArg, TransferFromArgs, TransferOnceArg},
};
use idempotency_core::IdempotencyError;
use integration_tests::{Canister, LEDGER, replica, user};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::time::Duration;

pub(crate) const FEE: u64 = 10;
pub(crate) const START: u64 = 1_000_000_000;

pub(crate) fn account(owner: Principal) -> Account {
    Account {
        owner,
        subaccount: None,
    }
}

/// The user who has all the tokens at first.
pub(crate) const RICH: u8 = 1;

pub(crate) fn install(replica: &PocketIc) -> Canister<'_> {
    let init = LedgerArg::Init(InitArgs {
        token_name: "Test".into(),
        token_symbol: "TST".into(),
        decimals: None,
        transfer_fee: FEE.into(),
        minting_account: account(user(99)),
        initial_balances: vec![(account(user(RICH)), START.into())],
        metadata: vec![],
        max_memo_length: None,
        archives: None,
    });
    Canister::install(replica, LEDGER, (init,))
}

pub(crate) fn with_ledger(test: impl FnOnce(&PocketIc, Canister<'_>)) {
    let replica = replica();
    test(&replica, install(&replica));
}

pub(crate) fn now(replica: &PocketIc) -> u64 {
    replica.get_time().as_nanos_since_unix_epoch()
}

pub(crate) fn balance(ledger: &Canister<'_>, owner: Principal) -> Nat {
    ledger
        .query(owner, "icrc1_balance_of", (account(owner),))
        .expect("it answers")
}

pub(crate) fn transactions(ledger: &Canister<'_>) -> Nat {
    ledger
        .query(user(1), "transaction_count", ())
        .expect("it answers")
}

pub(crate) fn transfer(amount: u64, created_at_time: Option<u64>) -> TransferArg {
    TransferArg {
        from_subaccount: None,
        to: account(user(2)),
        amount: amount.into(),
        fee: None,
        memo: None,
        created_at_time,
    }
}

pub(crate) fn icrc1_transfer(
    ledger: &Canister<'_>,
    arg: &TransferArg,
) -> Result<Nat, TransferError> {
    ledger
        .update(user(1), "icrc1_transfer", (arg,))
        .expect("it answers")
}

/// An allowance for the third user.
pub(crate) fn approve(amount: u64, created_at_time: Option<u64>) -> ApproveArgs {
    ApproveArgs {
        from_subaccount: None,
        spender: account(user(3)),
        amount: amount.into(),
        expected_allowance: None,
        expires_at: None,
        fee: None,
        memo: None,
        created_at_time,
    }
}

pub(crate) fn icrc2_approve(ledger: &Canister<'_>, arg: &ApproveArgs) -> Result<Nat, ApproveError> {
    ledger
        .update(user(1), "icrc2_approve", (arg,))
        .expect("it answers")
}

pub(crate) fn draw(amount: u64, created_at_time: Option<u64>) -> TransferFromArgs {
    TransferFromArgs {
        spender_subaccount: None,
        from: account(user(1)),
        to: account(user(2)),
        amount: amount.into(),
        fee: None,
        memo: None,
        created_at_time,
    }
}

/// The third user draws.
pub(crate) fn icrc2_transfer_from(
    ledger: &Canister<'_>,
    arg: &TransferFromArgs,
) -> Result<Nat, TransferFromError> {
    ledger
        .update(user(3), "icrc2_transfer_from", (arg,))
        .expect("it answers")
}

pub(crate) fn transfer_once(
    ledger: &Canister<'_>,
    request_id: &[u8],
    amount: u64,
) -> Result<Nat, TransferOnceError> {
    ledger
        .update(user(1), "transfer_once", (once(request_id, amount),))
        .expect("it answers")
}

pub(crate) fn once(request_id: &[u8], amount: u64) -> TransferOnceArg {
    TransferOnceArg {
        request_id: ByteBuf::from(request_id),
        from_subaccount: None,
        to: account(user(2)),
        amount: amount.into(),
        fee: None,
        memo: None,
    }
}

/// Shows G1.
#[test]
fn ten_thousand_transfers_with_every_answer_lost_once_are_ten_thousand_transfers() {
    const TRANSFERS: u64 = 10_000;
    with_ledger(|replica, ledger| {
        let before = transactions(&ledger);
        let created_at = now(replica);
        for number in 0..TRANSFERS {
            let arg = transfer(1, Some(created_at + number));
            ledger.lose_answer(user(1), "icrc1_transfer", (&arg,));
            let duplicate_of = before.clone() + number;
            assert_eq!(
                icrc1_transfer(&ledger, &arg),
                Err(TransferError::Duplicate { duplicate_of })
            );
        }
        assert_eq!(transactions(&ledger), before + TRANSFERS);
        assert_eq!(balance(&ledger, user(2)), Nat::from(TRANSFERS));
        assert_eq!(
            balance(&ledger, user(1)),
            Nat::from(START - TRANSFERS * (1 + FEE))
        );
    });
}

#[test]
fn without_a_creation_time_each_call_is_a_transfer() {
    with_ledger(|_, ledger| {
        let first = icrc1_transfer(&ledger, &transfer(5, None)).expect("it transfers");
        assert_eq!(icrc1_transfer(&ledger, &transfer(5, None)), Ok(first + 1u8));
        assert_eq!(balance(&ledger, user(2)), Nat::from(10u8));
    });
}

#[test]
fn any_other_field_is_another_transfer() {
    with_ledger(|replica, ledger| {
        let arg = transfer(5, Some(now(replica)));
        let others = [
            arg.clone(),
            TransferArg {
                amount: 6u8.into(),
                ..arg.clone()
            },
            TransferArg {
                fee: Some(FEE.into()),
                ..arg.clone()
            },
            TransferArg {
                memo: Some(ByteBuf::from([1])),
                ..arg.clone()
            },
            TransferArg {
                to: account(user(3)),
                ..arg.clone()
            },
            TransferArg {
                created_at_time: arg.created_at_time.map(|time| time + 1),
                ..arg.clone()
            },
        ];
        let indices: Vec<Nat> = others
            .iter()
            .map(|arg| icrc1_transfer(&ledger, arg).expect("it transfers"))
            .collect();
        for (arg, duplicate_of) in others.iter().zip(indices) {
            assert_eq!(
                icrc1_transfer(&ledger, arg),
                Err(TransferError::Duplicate { duplicate_of })
            );
        }
    });
}

#[test]
fn a_duplicate_is_told_so_before_the_fee_and_the_balance_are_looked_at() {
    with_ledger(|replica, ledger| {
        let all = TransferArg {
            fee: Some(FEE.into()),
            ..transfer(START - FEE, Some(now(replica)))
        };
        let duplicate_of = icrc1_transfer(&ledger, &all).expect("it transfers everything");
        assert_eq!(balance(&ledger, user(1)), Nat::from(0u8));
        let new_fee = UpgradeArgs {
            transfer_fee: Some((FEE + 1).into()),
            ..UpgradeArgs::default()
        };
        ledger
            .upgrade(LEDGER, (LedgerArg::Upgrade(Some(new_fee)),))
            .expect("the upgrade succeeds");
        assert_eq!(
            icrc1_transfer(&ledger, &all),
            Err(TransferError::Duplicate { duplicate_of })
        );
        let another = TransferArg {
            amount: START.into(),
            ..all
        };
        assert_eq!(
            icrc1_transfer(&ledger, &another),
            Err(TransferError::BadFee {
                expected_fee: (FEE + 1).into()
            })
        );
    });
}

#[test]
fn an_error_is_not_remembered() {
    with_ledger(|replica, ledger| {
        let arg = TransferArg {
            to: account(user(1)),
            ..transfer(7, Some(now(replica)))
        };
        let from_two = |arg: &TransferArg| -> Result<Nat, TransferError> {
            ledger
                .update(user(2), "icrc1_transfer", (arg,))
                .expect("it answers")
        };
        assert_eq!(
            from_two(&arg),
            Err(TransferError::InsufficientFunds {
                balance: 0u8.into()
            })
        );
        icrc1_transfer(&ledger, &transfer(100, None)).expect("it transfers");
        from_two(&arg).expect("now it has funds");
    });
}

#[test]
fn the_window_of_the_standard() {
    with_ledger(|replica, ledger| {
        let day = Duration::from_secs(24 * 60 * 60);
        let created_at = now(replica);
        let arg = transfer(5, Some(created_at));
        let duplicate_of = icrc1_transfer(&ledger, &arg).expect("it transfers");
        replica.advance_time(day);
        assert_eq!(
            icrc1_transfer(&ledger, &arg),
            Err(TransferError::Duplicate { duplicate_of })
        );
        // Drift, and the thirty-second of the window within which records are forgotten together.
        replica.advance_time(Duration::from_secs(60 * 60));
        for _ in 0..5 {
            replica.tick();
        }
        let future = transfer(5, Some(now(replica) + 61_000_000_000));

        assert_eq!(icrc1_transfer(&ledger, &arg), Err(TransferError::TooOld));
        let answer = icrc1_transfer(&ledger, &future);
        assert!(
            matches!(answer, Err(TransferError::CreatedInFuture { .. })),
            "{answer:?}"
        );
        assert_eq!(balance(&ledger, user(2)), Nat::from(5u8));
    });
}

/// Shows G8.
#[test]
fn retries_survive_an_upgrade() {
    with_ledger(|replica, ledger| {
        let arg = transfer(5, Some(now(replica)));
        let duplicate_of = icrc1_transfer(&ledger, &arg).expect("it transfers");
        let once = transfer_once(&ledger, b"order 1", 7).expect("it transfers");
        ledger
            .upgrade(LEDGER, (LedgerArg::Upgrade(None),))
            .expect("the upgrade succeeds");
        assert_eq!(
            icrc1_transfer(&ledger, &arg),
            Err(TransferError::Duplicate { duplicate_of })
        );
        assert_eq!(transfer_once(&ledger, b"order 1", 7), Ok(once));
        assert_eq!(balance(&ledger, user(2)), Nat::from(12u8));
    });
}

#[test]
fn approvals_and_transfers_from_are_deduplicated_too() {
    with_ledger(|replica, ledger| {
        let now = Some(now(replica));
        let conditional = ApproveArgs {
            expected_allowance: Some(0u8.into()),
            ..approve(100, now)
        };
        let duplicate_of = icrc2_approve(&ledger, &conditional).expect("it approves");
        assert_eq!(
            icrc2_approve(&ledger, &conditional),
            Err(ApproveError::Duplicate { duplicate_of }),
            "not AllowanceChanged"
        );

        let half = draw(50, now);
        let duplicate_of = icrc2_transfer_from(&ledger, &half).expect("it transfers");
        assert_eq!(
            icrc2_transfer_from(&ledger, &half),
            Err(TransferFromError::Duplicate { duplicate_of }),
            "not InsufficientAllowance"
        );
        assert_eq!(balance(&ledger, user(2)), Nat::from(50u8));
    });
}

/// Shows G1, G2.
#[test]
fn transfer_once_replays_the_first_answer_and_refuses_another_transfer() {
    with_ledger(|_, ledger| {
        let refused = |error| Err(TransferOnceError::Idempotency(error));
        let first = transfer_once(&ledger, b"order 1", 7).expect("it transfers");
        assert_eq!(transfer_once(&ledger, b"order 1", 7), Ok(first.clone()));
        assert_eq!(
            transfer_once(&ledger, b"order 1", 8),
            refused(IdempotencyError::KeyReused)
        );
        assert_eq!(transfer_once(&ledger, b"order 1", 7), Ok(first.clone()));
        assert_eq!(transfer_once(&ledger, b"order 2", 7), Ok(first + 1u8));
        assert_eq!(balance(&ledger, user(2)), Nat::from(14u8));
    });
}
