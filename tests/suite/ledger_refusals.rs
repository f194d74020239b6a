//! What the example ledger refuses, and in whose words: the standards' clients know those of ICRC-1 and ICRC-2.

use crate::ledger::{
    FEE, START, account, approve, balance, draw, icrc1_transfer, icrc2_approve,
    icrc2_transfer_from, now, once, transactions, transfer, with_ledger,
};
use candid::{Nat, Principal};
use example_ledger::{
    errors::{ApproveError, TransferError, TransferFromError, TransferOnceError},
    types::{
        Account, Allowance, AllowanceArgs, ApproveArgs, TransferArg, TransferFromArgs,
        TransferOnceArg,
    },
};
use integration_tests::user;
use serde_bytes::ByteBuf;

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
