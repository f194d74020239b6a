//! What ICRC-1 and ICRC-2 say about transfers, approvals and their errors, one rule a test.

use crate::support::*;
use candid::Nat;
use example_ledger::{
    Ledger,
    errors::{ApproveError, TransferError, TransferFromError},
    init::{ArchiveArgs, ArchiveModule, ArchiveSource, Config, ConfigError, UpgradeArgs},
    types::{Account, ApproveArgs, MetadataValue, Operation, TransferArg, TransferFromArgs},
};
use ic_stable_structures::StableCell;
use serde_bytes::{ByteArray, ByteBuf};

fn nat(n: u128) -> Nat {
    n.into()
}

/// 2^128 and more: candid can say it, no account can hold it.
fn huge() -> Nat {
    nat(u128::MAX) * nat(4)
}

#[test]
fn a_transfer_moves_the_amount_and_burns_the_fee() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    assert_eq!(ledger.transfer(NOW, principal(ALICE), send(BOB, 30)), Ok(1));
    assert_eq!((balance(&ledger, ALICE), balance(&ledger, BOB)), (60, 30));
    assert_eq!(ledger.total_supply(), 90);
}

#[test]
fn a_transfer_to_oneself_costs_the_fee() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), send(ALICE, 90)),
        Ok(1)
    );
    assert_eq!(balance(&ledger, ALICE), 90);
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), send(ALICE, 81)),
        Err(TransferError::InsufficientFunds { balance: nat(90) })
    );
}

#[test]
fn the_fee_given_must_be_the_ledgers() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let with_fee = |to, fee| TransferArg {
        fee: Some(nat(fee)),
        ..send(to, 20)
    };
    let bad = |expected| {
        Err(TransferError::BadFee {
            expected_fee: nat(expected),
        })
    };
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), with_fee(BOB, 9)),
        bad(10)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), with_fee(MINTER, 10)),
        bad(0)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(MINTER), with_fee(BOB, 10)),
        bad(0)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), with_fee(BOB, 10)),
        Ok(1)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), with_fee(MINTER, 0)),
        Ok(2)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(MINTER), with_fee(BOB, 0)),
        Ok(3)
    );
}

#[test]
fn amounts_beyond_128_bits_are_insufficient_funds() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    for amount in [nat(u128::MAX), huge()] {
        for to in [BOB, MINTER, ALICE] {
            let arg = TransferArg {
                amount: amount.clone(),
                ..send(to, 0)
            };
            assert_eq!(
                ledger.transfer(NOW, principal(ALICE), arg),
                Err(TransferError::InsufficientFunds { balance: nat(100) })
            );
        }
    }
}

#[test]
fn minting_is_free_and_bounded() {
    let mut ledger = ledger(&[]);
    assert_eq!(ledger.transfer(NOW, principal(MINTER), send(BOB, 5)), Ok(0));
    assert_eq!((balance(&ledger, BOB), ledger.total_supply()), (5, 5));
    let too_much = ledger.transfer(NOW, principal(MINTER), send(BOB, u128::MAX - 5));
    assert_eq!(code(too_much.unwrap_err()), 6);
    assert_eq!(
        ledger.transfer(NOW, principal(MINTER), send(BOB, u128::MAX - 6)),
        Ok(1)
    );
    assert_eq!(balance(&ledger, BOB), u128::MAX - 1);
    let to_itself = ledger.transfer(NOW, principal(MINTER), send(MINTER, 1));
    assert_eq!(code(to_itself.unwrap_err()), 4);
}

#[test]
fn burning_has_a_minimum_but_leaves_nobody_with_dust() {
    let mut ledger = ledger(&[(ALICE, 100), (BOB, 4)]);
    let bad = |least| {
        Err(TransferError::BadBurn {
            min_burn_amount: nat(least),
        })
    };
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), send(MINTER, 9)),
        bad(10)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(BOB), send(MINTER, 3)),
        bad(4)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(CAROL), send(MINTER, 0)),
        bad(1)
    );
    assert_eq!(
        ledger.transfer(NOW, principal(CAROL), send(MINTER, 1)),
        Err(TransferError::InsufficientFunds { balance: nat(0) })
    );
    assert_eq!(
        ledger.transfer(NOW, principal(ALICE), send(MINTER, 10)),
        Ok(2)
    );
    assert_eq!(ledger.transfer(NOW, principal(BOB), send(MINTER, 4)), Ok(3));
    assert_eq!((balance(&ledger, ALICE), balance(&ledger, BOB)), (90, 0));
    assert_eq!((balance(&ledger, MINTER), ledger.total_supply()), (0, 90));
}

#[test]
fn subaccounts_are_separate_and_have_32_bytes() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let savings = Account {
        owner: principal(ALICE),
        subaccount: Some(ByteBuf::from([1; 32])),
    };
    let arg = TransferArg {
        from_subaccount: Some(ByteBuf::from([0; 32])),
        to: savings.clone(),
        ..send(ALICE, 50)
    };
    assert_eq!(ledger.transfer(NOW, principal(ALICE), arg), Ok(1));
    assert_eq!(balance(&ledger, ALICE), 40);
    assert_eq!(ledger.balance(&(&savings).try_into().unwrap()), 50);
    let arg = TransferArg {
        from_subaccount: Some(ByteBuf::from([1; 31])),
        ..send(BOB, 1)
    };
    let short = ledger.transfer(NOW, principal(ALICE), arg);
    assert_eq!(code(short.unwrap_err()), 1);
}

#[test]
fn memos_have_a_limit() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let with_memo = |length| TransferArg {
        memo: Some(ByteBuf::from(vec![7; length])),
        ..send(BOB, 1)
    };
    assert_eq!(ledger.transfer(NOW, principal(ALICE), with_memo(32)), Ok(1));
    let long = ledger.transfer(NOW, principal(ALICE), with_memo(33));
    assert_eq!(code(long.unwrap_err()), 2);
}

#[test]
fn an_approval_replaces_the_allowance_and_costs_the_fee() {
    let mut ledger = ledger(&[(ALICE, 25)]);
    assert_eq!(
        ledger.approve(NOW, principal(ALICE), approve(BOB, 1_000)),
        Ok(1)
    );
    assert_eq!(allowance(&ledger, NOW, ALICE, BOB), (1_000, None));
    assert_eq!(
        ledger.approve(NOW, principal(ALICE), approve(BOB, 7)),
        Ok(2)
    );
    assert_eq!(allowance(&ledger, NOW, ALICE, BOB), (7, None));
    assert_eq!((balance(&ledger, ALICE), ledger.total_supply()), (5, 5));
    assert_eq!(
        ledger.approve(NOW, principal(ALICE), approve(BOB, 8)),
        Err(ApproveError::InsufficientFunds { balance: nat(5) })
    );
    assert_eq!(allowance(&ledger, NOW, ALICE, CAROL), (0, None));
}

#[test]
fn an_approval_is_conditional_on_what_it_expects() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let expecting = |expected: Nat| ApproveArgs {
        expected_allowance: Some(expected),
        ..approve(BOB, 50)
    };
    assert_eq!(
        ledger.approve(NOW, principal(ALICE), expecting(nat(0))),
        Ok(1)
    );
    for other in [nat(0), huge()] {
        assert_eq!(
            ledger.approve(NOW, principal(ALICE), expecting(other)),
            Err(ApproveError::AllowanceChanged {
                current_allowance: nat(50)
            })
        );
    }
    let wrong_fee = ApproveArgs {
        fee: Some(nat(11)),
        ..approve(BOB, 1)
    };
    assert_eq!(
        ledger.approve(NOW, principal(ALICE), wrong_fee),
        Err(ApproveError::BadFee {
            expected_fee: nat(10)
        })
    );
    assert_eq!(balance(&ledger, ALICE), 90);
}

#[test]
fn allowances_expire() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let until = |at| ApproveArgs {
        expires_at: Some(at),
        ..approve(BOB, 50)
    };
    assert_eq!(
        ledger.approve(NOW, principal(ALICE), until(NOW)),
        Err(ApproveError::Expired { ledger_time: NOW })
    );
    assert_eq!(ledger.approve(NOW, principal(ALICE), until(NOW + 5)), Ok(1));
    assert_eq!(allowance(&ledger, NOW + 4, ALICE, BOB), (50, Some(NOW + 5)));
    assert_eq!(
        ledger.transfer_from(NOW + 4, principal(BOB), draw(ALICE, CAROL, 10)),
        Ok(2)
    );
    assert_eq!(allowance(&ledger, NOW + 4, ALICE, BOB), (30, Some(NOW + 5)));
    assert_eq!(allowance(&ledger, NOW + 5, ALICE, BOB), (0, None));
    assert_eq!(
        ledger.transfer_from(NOW + 5, principal(BOB), draw(ALICE, CAROL, 10)),
        Err(TransferFromError::InsufficientAllowance { allowance: nat(0) })
    );
}

#[test]
fn approvals_that_make_no_sense_are_refused() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let own = ledger.approve(NOW, principal(ALICE), approve(ALICE, 1));
    assert_eq!(code(own.unwrap_err()), 5);
    let minter = ledger.approve(NOW, principal(MINTER), approve(BOB, 1));
    assert_eq!(code(minter.unwrap_err()), 3);
}

#[test]
fn an_allowance_covers_amount_and_fee() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    ledger
        .approve(NOW, principal(ALICE), approve(BOB, 39))
        .unwrap();
    assert_eq!(
        ledger.transfer_from(NOW, principal(BOB), draw(ALICE, CAROL, 30)),
        Err(TransferFromError::InsufficientAllowance { allowance: nat(39) })
    );
    assert_eq!(
        ledger.transfer_from(NOW, principal(BOB), draw(ALICE, CAROL, 29)),
        Ok(2)
    );
    assert_eq!(allowance(&ledger, NOW, ALICE, BOB), (0, None));
    assert_eq!((balance(&ledger, ALICE), balance(&ledger, CAROL)), (51, 29));
}

#[test]
fn the_allowance_is_checked_before_the_funds() {
    let mut ledger = ledger(&[(ALICE, 30)]);
    ledger
        .approve(NOW, principal(ALICE), approve(BOB, 40))
        .unwrap();
    assert_eq!(
        ledger.transfer_from(NOW, principal(BOB), draw(ALICE, CAROL, 31)),
        Err(TransferFromError::InsufficientAllowance { allowance: nat(40) })
    );
    assert_eq!(
        ledger.transfer_from(NOW, principal(BOB), draw(ALICE, CAROL, 30)),
        Err(TransferFromError::InsufficientFunds { balance: nat(20) })
    );
    assert_eq!(allowance(&ledger, NOW, ALICE, BOB), (40, None));
}

#[test]
fn nobody_needs_an_allowance_for_their_own_account() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    assert_eq!(
        ledger.transfer_from(NOW, principal(ALICE), draw(ALICE, BOB, 20)),
        Ok(1)
    );
    assert_eq!((balance(&ledger, ALICE), balance(&ledger, BOB)), (70, 20));
    // Another account of the same owner is another spender.
    let from_elsewhere = TransferFromArgs {
        spender_subaccount: Some(ByteBuf::from([1; 32])),
        ..draw(ALICE, BOB, 20)
    };
    assert_eq!(
        ledger.transfer_from(NOW, principal(ALICE), from_elsewhere),
        Err(TransferFromError::InsufficientAllowance { allowance: nat(0) })
    );
}

#[test]
fn an_allowance_can_burn_but_nobody_mints_with_one() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    ledger
        .approve(NOW, principal(ALICE), approve(BOB, 30))
        .unwrap();
    assert_eq!(
        ledger.transfer_from(NOW, principal(BOB), draw(ALICE, MINTER, 9)),
        Err(TransferFromError::BadBurn {
            min_burn_amount: nat(10)
        })
    );
    assert_eq!(
        ledger.transfer_from(NOW, principal(BOB), draw(ALICE, MINTER, 30)),
        Ok(2)
    );
    assert_eq!((balance(&ledger, ALICE), ledger.total_supply()), (60, 60));
    for amount in [0, 1] {
        let minted = ledger.transfer_from(NOW, principal(BOB), draw(MINTER, BOB, amount));
        assert_eq!(code(minted.unwrap_err()), 3);
    }
    assert_eq!(
        ledger.transfer_from(NOW, principal(MINTER), draw(MINTER, BOB, 5)),
        Ok(3)
    );
    assert_eq!(balance(&ledger, BOB), 5);
}

#[test]
fn transactions_are_recorded() {
    let mut ledger = ledger(&[(ALICE, 100)]);
    let arg = TransferArg {
        memo: Some(ByteBuf::from(*b"rent")),
        created_at_time: Some(NOW - 1),
        ..send(BOB, 20)
    };
    let index = ledger.transfer(NOW, principal(ALICE), arg).unwrap();
    let transaction = ledger.transaction(index).unwrap();
    assert_eq!(
        transaction.operation,
        Operation::Transfer {
            from: account(ALICE),
            to: account(BOB),
            spender: None,
            amount: nat(20),
            fee: nat(10),
        }
    );
    assert_eq!(transaction.memo, Some(ByteBuf::from(*b"rent")));
    assert_eq!(transaction.created_at_time, Some(NOW - 1));
    assert_eq!(transaction.timestamp, NOW);
    assert_eq!(ledger.transaction_count(), 2);
    assert_eq!(ledger.transaction(2), None);
    let largest = ApproveArgs {
        amount: huge(),
        expires_at: Some(u64::MAX),
        ..approve(CAROL, 0)
    };
    let index = ledger.approve(NOW, principal(ALICE), largest).unwrap();
    assert_eq!(
        ledger.transaction(index).unwrap().operation,
        Operation::Approve {
            from: account(ALICE),
            spender: account(CAROL),
            amount: nat(u128::MAX),
            expected_allowance: None,
            expires_at: Some(u64::MAX),
            fee: nat(10),
        }
    );
}

#[test]
fn an_upgrade_keeps_everything_and_changes_what_it_names() {
    let memories = memories();
    let mut before =
        Ledger::create(memory_of(&memories), &init_args(&[(ALICE, 100)]), NOW).unwrap();
    before
        .transfer(NOW, principal(ALICE), send(BOB, 20))
        .unwrap();
    before
        .approve(NOW, principal(ALICE), approve(BOB, 5))
        .unwrap();
    drop(before);

    let mut after = Ledger::open(memory_of(&memories)).unwrap();
    assert_eq!((balance(&after, ALICE), balance(&after, BOB)), (60, 20));
    assert_eq!(allowance(&after, NOW, ALICE, BOB), (5, None));
    assert_eq!((after.total_supply(), after.transaction_count()), (80, 3));
    after
        .configure(UpgradeArgs {
            transfer_fee: Some(nat(1)),
            ..UpgradeArgs::default()
        })
        .unwrap();
    drop(after);

    let again = Ledger::open(memory_of(&memories)).unwrap();
    assert_eq!(again.config().transfer_fee, 1);
    assert_eq!(again.config().token_symbol, "EXM");
}

#[test]
fn there_is_no_ledger_in_an_empty_memory() {
    let memories = memories();
    assert_eq!(
        Ledger::open(memory_of(&memories)).unwrap_err(),
        ConfigError::NoLedger
    );
}

/// Its transactions are no blocks.
#[test]
fn a_ledger_of_another_layout_is_refused() {
    let memories = memories();
    let ledger = ledger_in(&memories, &[(ALICE, 100)]);
    for (layout, told) in [(None, 1), (Some(1), 1), (Some(3), 3)] {
        let config = Config {
            layout,
            ..ledger.config().clone()
        };
        let stored = candid::encode_one(config).unwrap();
        StableCell::new(memory_of(&memories)(0), stored);
        assert_eq!(
            Ledger::open(memory_of(&memories)).unwrap_err(),
            ConfigError::OtherLayout(told)
        );
    }
}

#[test]
fn archives_are_given_or_made_of_something() {
    let archives = |source| ArchiveArgs {
        source,
        keep: None,
        keep_blocks: 10,
    };
    let nothing = [
        ArchiveSource::Canisters(vec![]),
        ArchiveSource::Module(ArchiveModule {
            hash: ByteArray::new([0; 32]),
            chunks: vec![],
            cycles: None,
        }),
    ];
    let mut ledger = ledger(&[]);
    for source in nothing {
        let mut args = init_args(&[]);
        args.archives = Some(archives(source.clone()));
        let made = Ledger::create(memory_of(&memories()), &args, NOW);
        assert_eq!(made.unwrap_err(), ConfigError::NoArchive);
        let changed = ledger.configure(UpgradeArgs {
            archives: Some(archives(source)),
            ..UpgradeArgs::default()
        });
        assert_eq!(changed, Err(ConfigError::NoArchive));
    }
    let given = archives(ArchiveSource::Canisters(vec![principal(9)]));
    let changes = UpgradeArgs {
        archives: Some(given.clone()),
        ..UpgradeArgs::default()
    };
    ledger.configure(changes).unwrap();
    // What is not named stays.
    ledger.configure(UpgradeArgs::default()).unwrap();
    assert_eq!(ledger.config().archives, Some(given));
}

#[test]
fn metadata_is_the_ledgers_own_and_the_installers() {
    let memories = memories();
    let mut args = init_args(&[]);
    let logo = (
        "icrc1:logo".to_owned(),
        MetadataValue::Text("data:,".to_owned()),
    );
    args.metadata.push(logo.clone());
    let metadata = Ledger::create(memory_of(&memories), &args, NOW)
        .unwrap()
        .config()
        .all_metadata();
    let keys: Vec<&str> = metadata.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "icrc1:name",
            "icrc1:symbol",
            "icrc1:decimals",
            "icrc1:fee",
            "icrc1:max_memo_length",
            "icrc1:logo",
        ]
    );
    assert_eq!(metadata[3].1, MetadataValue::Nat(nat(FEE)));
    assert_eq!(metadata[5], logo);
    for key in ["icrc1:fee", "logo"] {
        args.metadata = vec![(key.to_owned(), MetadataValue::Nat(nat(1)))];
        assert!(Ledger::create(memory_of(&memories), &args, NOW).is_err());
    }
}

/// The `error_code` of a `GenericError`, whichever endpoint's it is.
fn code(error: impl std::fmt::Debug) -> u64 {
    let text = format!("{error:?}");
    text.split_once("GenericError { error_code: Nat(")
        .and_then(|(_, rest)| rest.split_once(')'))
        .and_then(|(code, _)| code.parse().ok())
        .unwrap_or_else(|| panic!("not a GenericError: {text}"))
}
