//! The example ledger, as wallets use it: ICRC-1 and ICRC-2 with lost answers, and `transfer_once`.

use candid::{Nat, Principal};
use example_ledger::{
    errors::{ApproveError, TransferError, TransferFromError, TransferOnceError},
    init::{InitArgs, LedgerArg, UpgradeArgs},
    types::{
        Account, Allowance, AllowanceArgs, ApproveArgs, TransferArg, TransferFromArgs,
        TransferOnceArg,
    },
};
use idempotency_core::IdempotencyError;
use integration_tests::{Canister, LEDGER, replica, user};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::time::Duration;

pub(crate) const FEE: u64 = 10;
const START: u64 = 1_000_000_000;

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
    });
    Canister::install(replica, LEDGER, (init,))
}

pub(crate) fn with_ledger(test: impl FnOnce(&PocketIc, Canister<'_>)) {
    let replica = replica();
    test(&replica, install(&replica));
}

fn now(replica: &PocketIc) -> u64 {
    replica.get_time().as_nanos_since_unix_epoch()
}

fn balance(ledger: &Canister<'_>, owner: Principal) -> Nat {
    ledger
        .query(owner, "icrc1_balance_of", (account(owner),))
        .expect("it answers")
}

fn transactions(ledger: &Canister<'_>) -> Nat {
    ledger
        .query(user(1), "transaction_count", ())
        .expect("it answers")
}

fn transfer(amount: u64, created_at_time: Option<u64>) -> TransferArg {
    TransferArg {
        from_subaccount: None,
        to: account(user(2)),
        amount: amount.into(),
        fee: None,
        memo: None,
        created_at_time,
    }
}

fn icrc1_transfer(ledger: &Canister<'_>, arg: &TransferArg) -> Result<Nat, TransferError> {
    ledger
        .update(user(1), "icrc1_transfer", (arg,))
        .expect("it answers")
}

/// An allowance for the third user.
fn approve(amount: u64, created_at_time: Option<u64>) -> ApproveArgs {
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

fn icrc2_approve(ledger: &Canister<'_>, arg: &ApproveArgs) -> Result<Nat, ApproveError> {
    ledger
        .update(user(1), "icrc2_approve", (arg,))
        .expect("it answers")
}

fn draw(amount: u64, created_at_time: Option<u64>) -> TransferFromArgs {
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
fn icrc2_transfer_from(
    ledger: &Canister<'_>,
    arg: &TransferFromArgs,
) -> Result<Nat, TransferFromError> {
    ledger
        .update(user(3), "icrc2_transfer_from", (arg,))
        .expect("it answers")
}

fn transfer_once(
    ledger: &Canister<'_>,
    request_id: &[u8],
    amount: u64,
) -> Result<Nat, TransferOnceError> {
    ledger
        .update(user(1), "transfer_once", (once(request_id, amount),))
        .expect("it answers")
}

fn once(request_id: &[u8], amount: u64) -> TransferOnceArg {
    TransferOnceArg {
        request_id: ByteBuf::from(request_id),
        from_subaccount: None,
        to: account(user(2)),
        amount: amount.into(),
        fee: None,
        memo: None,
    }
}

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

#[test]
fn what_can_not_succeed_costs_no_message() {
    with_ledger(|replica, ledger| {
        let refused = |caller, method: &str, arg: Vec<u8>, reason: &str| {
            let reject = replica
                .submit_call(ledger.id(), caller, method, arg)
                .expect_err("it is refused when it is submitted");
            let text = reject.reject_message;
            assert!(text.contains(&format!("idempotency: {reason}: ")), "{text}");
        };
        let encode = |request_id: &[u8]| {
            let arg = once(request_id, 7);
            candid::encode_one(arg).expect("it encodes")
        };
        refused(
            Principal::anonymous(),
            "transfer_once",
            encode(b"order 1"),
            "AnonymousRefused",
        );
        refused(user(1), "transfer_once", encode(b""), "InvalidKey");
        refused(user(1), "transfer_once", encode(&[1; 257]), "InvalidKey");
        assert_eq!(transactions(&ledger), Nat::from(1u8));
    });
}

/// An inspection's reject is not certified, and says nothing that a client of the standards understands.
#[test]
fn the_methods_of_the_standards_refuse_in_the_words_of_the_standards() {
    with_ledger(|replica, ledger| {
        let now = now(replica);
        // The time counts before the fee, which is wrong, too.
        let fee = Some(Nat::from(FEE + 1));
        let answers = |created_at_time| {
            let transfer = TransferArg {
                fee: fee.clone(),
                ..transfer(5, Some(created_at_time))
            };
            let approve = ApproveArgs {
                fee: fee.clone(),
                ..approve(5, Some(created_at_time))
            };
            let draw = TransferFromArgs {
                fee: fee.clone(),
                ..draw(5, Some(created_at_time))
            };
            (
                icrc1_transfer(&ledger, &transfer),
                icrc2_approve(&ledger, &approve),
                icrc2_transfer_from(&ledger, &draw),
            )
        };
        assert_eq!(
            answers(0),
            (
                Err(TransferError::TooOld),
                Err(ApproveError::TooOld),
                Err(TransferFromError::TooOld)
            )
        );
        for future in [now + 61_000_000_000, u64::MAX] {
            let answers = answers(future);
            assert!(
                matches!(
                    answers,
                    (
                        Err(TransferError::CreatedInFuture { .. }),
                        Err(ApproveError::CreatedInFuture { .. }),
                        Err(TransferFromError::CreatedInFuture { .. })
                    )
                ),
                "{answers:?}"
            );
        }
        let answer: Result<Nat, TransferError> = ledger
            .update(
                Principal::anonymous(),
                "icrc1_transfer",
                (transfer(5, Some(now)),),
            )
            .expect("the anonymous principal has an account like others");
        assert_eq!(
            answer,
            Err(TransferError::InsufficientFunds {
                balance: 0u8.into()
            })
        );
        assert_eq!(transactions(&ledger), Nat::from(1u8));
    });
}

/// The library takes no part of a key over 256 bytes. That is no concern of a client of the standards.
#[test]
fn fields_of_any_length_are_the_ledgers_to_refuse() {
    with_ledger(|replica, ledger| {
        let now = Some(now(replica));
        let long: Nat = "1".repeat(700).parse().expect("it is a number");
        let bytes = Some(ByteBuf::from([7; 300]));
        let amount = |arg: TransferArg| TransferArg {
            amount: long.clone(),
            ..arg
        };
        let code = |answer: Result<Nat, TransferError>| match answer {
            Err(TransferError::GenericError { error_code, .. }) => error_code,
            other => panic!("{other:?}"),
        };

        assert_eq!(
            icrc1_transfer(&ledger, &amount(transfer(0, now))),
            Err(TransferError::InsufficientFunds {
                balance: START.into()
            })
        );
        let fee = TransferArg {
            fee: Some(long.clone()),
            ..transfer(5, now)
        };
        assert_eq!(
            icrc1_transfer(&ledger, &fee),
            Err(TransferError::BadFee {
                expected_fee: FEE.into()
            })
        );
        let memo = TransferArg {
            memo: bytes.clone(),
            ..transfer(5, now)
        };
        assert_eq!(code(icrc1_transfer(&ledger, &memo)), 2u8);
        let from_subaccount = TransferArg {
            from_subaccount: bytes.clone(),
            ..transfer(5, now)
        };
        assert_eq!(code(icrc1_transfer(&ledger, &from_subaccount)), 1u8);
        let to = TransferArg {
            to: Account {
                subaccount: bytes,
                ..account(user(2))
            },
            ..transfer(5, now)
        };
        assert_eq!(code(icrc1_transfer(&ledger, &to)), 1u8);

        let drawn = TransferFromArgs {
            amount: long.clone(),
            ..draw(0, now)
        };
        assert_eq!(
            icrc2_transfer_from(&ledger, &drawn),
            Err(TransferFromError::InsufficientAllowance {
                allowance: 0u8.into()
            })
        );
        let expected = ApproveArgs {
            expected_allowance: Some(long.clone()),
            ..approve(5, now)
        };
        assert_eq!(
            icrc2_approve(&ledger, &expected),
            Err(ApproveError::AllowanceChanged {
                current_allowance: 0u8.into()
            })
        );
        assert_eq!(balance(&ledger, user(1)), Nat::from(START));

        let once = TransferOnceArg {
            amount: long.clone(),
            ..once(b"order 1", 0)
        };
        let answer: Result<Nat, TransferOnceError> = ledger
            .update(user(1), "transfer_once", (once,))
            .expect("it answers");
        assert_eq!(
            answer,
            Err(TransferOnceError::Transfer(
                TransferError::InsufficientFunds {
                    balance: START.into()
                }
            ))
        );

        // More than anybody has may be allowed, and once only.
        let all = ApproveArgs {
            amount: long,
            ..approve(0, now)
        };
        let duplicate_of = icrc2_approve(&ledger, &all).expect("it approves");
        assert_eq!(
            icrc2_approve(&ledger, &all),
            Err(ApproveError::Duplicate { duplicate_of })
        );
        assert_eq!(balance(&ledger, user(1)), Nat::from(START - FEE));
    });
}

/// ICRC-1 compares the arguments as they were sent, and its published tests hold ledgers to that.
#[test]
fn an_account_given_in_full_is_the_same_account_in_another_transaction() {
    with_ledger(|replica, ledger| {
        let now = Some(now(replica));
        let zeros = Some(ByteBuf::from([0; 32]));
        let full = |number| Account {
            subaccount: zeros.clone(),
            ..account(user(number))
        };

        let transfers = [
            transfer(5, now),
            TransferArg {
                from_subaccount: zeros.clone(),
                ..transfer(5, now)
            },
            TransferArg {
                to: full(2),
                ..transfer(5, now)
            },
        ];
        let indices = transfers
            .each_ref()
            .map(|arg| icrc1_transfer(&ledger, arg).expect("it transfers"));
        for (arg, duplicate_of) in transfers.iter().zip(indices) {
            assert_eq!(
                icrc1_transfer(&ledger, arg),
                Err(TransferError::Duplicate { duplicate_of })
            );
        }
        assert_eq!(balance(&ledger, user(2)), Nat::from(15u8));

        let approvals = [
            approve(100, now),
            ApproveArgs {
                from_subaccount: zeros.clone(),
                ..approve(100, now)
            },
            ApproveArgs {
                spender: full(3),
                ..approve(100, now)
            },
        ];
        let indices = approvals
            .each_ref()
            .map(|arg| icrc2_approve(&ledger, arg).expect("it approves"));
        for (arg, duplicate_of) in approvals.iter().zip(indices) {
            assert_eq!(
                icrc2_approve(&ledger, arg),
                Err(ApproveError::Duplicate { duplicate_of })
            );
        }

        let draws = [
            draw(1, now),
            TransferFromArgs {
                spender_subaccount: zeros.clone(),
                ..draw(1, now)
            },
            TransferFromArgs {
                from: full(1),
                ..draw(1, now)
            },
            TransferFromArgs {
                to: full(2),
                ..draw(1, now)
            },
        ];
        let indices = draws
            .each_ref()
            .map(|arg| icrc2_transfer_from(&ledger, arg).expect("it transfers"));
        for (arg, duplicate_of) in draws.iter().zip(indices) {
            assert_eq!(
                icrc2_transfer_from(&ledger, arg),
                Err(TransferFromError::Duplicate { duplicate_of })
            );
        }
        assert_eq!(balance(&ledger, user(2)), Nat::from(19u8));
        let left: Allowance = ledger
            .query(
                user(2),
                "icrc2_allowance",
                (AllowanceArgs {
                    account: full(1),
                    spender: account(user(3)),
                },),
            )
            .expect("it answers");
        assert_eq!(left.allowance, Nat::from(100 - 4 * (1 + FEE)));
    });
}
