//! The ledger's transactions as blocks of ICRC-3: what is in them, how they are linked, and what `icrc3_get_blocks` gives.

use crate::support::*;
use candid::{Nat, Principal};
use example_ledger::types::{ApproveArgs, TransferArg, TransferFromArgs};
use idempotency_archive::icrc3::{GetArchivesArgs, GetBlocksArg, GetBlocksResult, Value};
use serde_bytes::ByteBuf;

/// All of them.
const ALL: [(u64, u64); 1] = [(0, u64::MAX)];

fn args(ranges: &[(u64, u64)]) -> Vec<GetBlocksArg> {
    let arg = |(start, length): &(u64, u64)| GetBlocksArg {
        start: (*start).into(),
        length: (*length).into(),
    };
    ranges.iter().map(arg).collect()
}

fn get(ledger: &TestLedger, ranges: &[(u64, u64)]) -> GetBlocksResult {
    ledger.get_blocks(&args(ranges))
}

fn indexes(result: &GetBlocksResult) -> Vec<u64> {
    let index = |nat: &Nat| u64::try_from(&nat.0).unwrap();
    result.blocks.iter().map(|block| index(&block.id)).collect()
}

/// What each archive is to be asked for.
fn referred(result: &GetBlocksResult) -> Vec<(Principal, Vec<(u64, u64)>)> {
    let number = |nat: &Nat| u64::try_from(&nat.0).unwrap();
    let archived = result.archived_blocks.iter();
    archived
        .map(|it| {
            assert_eq!(it.callback.0.method, "icrc3_get_blocks");
            let args = it.args.iter();
            let ranges = args.map(|arg| (number(&arg.start), number(&arg.length)));
            (it.callback.0.principal, ranges.collect())
        })
        .collect()
}

fn accounts(name: u8) -> Value {
    Value::Array(vec![Value::blob(principal(name).as_slice())])
}

fn nat(number: u64) -> Value {
    Value::nat(number)
}

/// The last block, without the hash of its parent.
fn last(ledger: &TestLedger) -> Value {
    let index = ledger.transaction_count() - 1;
    let Value::Map(mut fields) = ledger.log().get(index).unwrap() else {
        panic!("a block is a map");
    };
    fields.retain(|(name, _)| name != "phash");
    Value::Map(fields)
}

/// The order of a map's fields is no part of it: what counts is the hash.
#[track_caller]
fn assert_same(block: Value, expected: Value) {
    assert_eq!(block.hash(), expected.hash(), "{block:?}, not {expected:?}");
}

/// As ICRC-3's text shows them.
#[test]
fn blocks_have_the_form_of_the_standard() {
    let mut ledger = ledger(&[(ALICE, 1_000)]);
    let first = ledger.log().get(0).unwrap();
    let mint = Value::map([
        ("ts", nat(NOW)),
        (
            "tx",
            Value::map([
                ("op", Value::text("mint")),
                ("amt", nat(1_000)),
                ("to", accounts(ALICE)),
            ]),
        ),
    ]);
    // The first block has no parent.
    assert_same(first, mint);

    ledger
        .transfer(NOW + 1, principal(ALICE), send(BOB, 20))
        .unwrap();
    let xfer = |more: Vec<(&'static str, Value)>| {
        let fields = [
            ("op", Value::text("xfer")),
            ("amt", nat(20)),
            ("from", accounts(ALICE)),
            ("to", accounts(BOB)),
        ];
        ("tx", Value::map(fields.into_iter().chain(more)))
    };
    let fee = ("fee", nat(10));
    let plain = Value::map([fee.clone(), ("ts", nat(NOW + 1)), xfer(vec![])]);
    assert_same(last(&ledger), plain);

    // What the caller says stands in tx, and what the caller doesn't say does not.
    let full = TransferArg {
        from_subaccount: Some(ByteBuf::from([0; 32])),
        fee: Some(10_u8.into()),
        memo: Some(ByteBuf::from(*b"rent")),
        created_at_time: Some(NOW),
        ..send(BOB, 20)
    };
    ledger.transfer(NOW + 2, principal(ALICE), full).unwrap();
    let memo = ("memo", Value::blob(*b"rent"));
    let told = xfer(vec![fee.clone(), memo.clone(), ("ts", nat(NOW))]);
    assert_same(last(&ledger), Value::map([("ts", nat(NOW + 2)), told]));

    let approval = ApproveArgs {
        expected_allowance: Some(0_u8.into()),
        expires_at: Some(NOW + 100),
        ..approve(BOB, 500)
    };
    ledger.approve(NOW + 3, principal(ALICE), approval).unwrap();
    let tx = Value::map([
        ("op", Value::text("approve")),
        ("amt", nat(500)),
        ("from", accounts(ALICE)),
        ("spender", accounts(BOB)),
        ("expected_allowance", nat(0)),
        ("expires_at", nat(NOW + 100)),
    ]);
    assert_same(
        last(&ledger),
        Value::map([fee.clone(), ("ts", nat(NOW + 3)), ("tx", tx)]),
    );

    let other = ByteBuf::from([5; 32]);
    let mut to = account(CAROL);
    to.subaccount = Some(other.clone());
    let drawn = TransferFromArgs {
        to,
        fee: Some(10_u8.into()),
        ..draw(ALICE, CAROL, 30)
    };
    ledger
        .transfer_from(NOW + 4, principal(BOB), drawn)
        .unwrap();
    let subaccount = Value::Blob(other);
    let tx = Value::map([
        ("op", Value::text("xfer")),
        ("amt", nat(30)),
        ("fee", nat(10)),
        ("from", accounts(ALICE)),
        (
            "to",
            Value::Array(vec![Value::blob(principal(CAROL).as_slice()), subaccount]),
        ),
        ("spender", accounts(BOB)),
    ]);
    assert_same(
        last(&ledger),
        Value::map([("ts", nat(NOW + 4)), ("tx", tx)]),
    );

    // A fee that was given, and is none, stands nowhere.
    let burned = TransferFromArgs {
        fee: Some(0_u8.into()),
        ..draw(ALICE, MINTER, 40)
    };
    ledger
        .transfer_from(NOW + 5, principal(BOB), burned)
        .unwrap();
    let tx = Value::map([
        ("op", Value::text("burn")),
        ("amt", nat(40)),
        ("from", accounts(ALICE)),
        ("spender", accounts(BOB)),
    ]);
    assert_same(
        last(&ledger),
        Value::map([("ts", nat(NOW + 5)), ("tx", tx)]),
    );
}

#[test]
fn each_block_has_the_hash_of_the_one_before() {
    let memories = memories();
    let mut ledger = ledger_in(&memories, &[(ALICE, 1_000), (BOB, 500)]);
    for round in 0..5 {
        ledger
            .transfer(NOW + round, principal(ALICE), send(BOB, 1))
            .unwrap();
        // An upgrade knows the last hash.
        ledger = open(&memories);
        ledger
            .approve(NOW + round, principal(BOB), approve(CAROL, 7))
            .unwrap();
    }
    let blocks = get(&ledger, &ALL).blocks;
    assert_eq!(blocks.len(), 12);
    let mut parent = None;
    for block in &blocks {
        let phash = block.block.get("phash").cloned();
        assert_eq!(phash, parent.map(|hash: [u8; 32]| Value::blob(hash)));
        parent = Some(block.block.hash());
    }
    assert_eq!(ledger.log().tip(), Some((11, parent.unwrap())));
}

#[test]
fn ranges_may_be_empty_or_anywhere() {
    let mut ledger = ledger(&[]);
    let result = get(&ledger, &ALL);
    assert_eq!((result.log_length, result.blocks.len()), (0_u8.into(), 0));
    assert_eq!(ledger.log().tip(), None);
    for _ in 0..10 {
        ledger
            .transfer(NOW, principal(MINTER), send(BOB, 1))
            .unwrap();
    }
    let of = |ranges: &[(u64, u64)]| {
        let result = get(&ledger, ranges);
        assert_eq!(result.log_length, Nat::from(10_u8));
        assert_eq!(result.archived_blocks, []);
        indexes(&result)
    };
    assert!(of(&[]).is_empty());
    assert!(of(&[(3, 0)]).is_empty());
    assert!(of(&[(10, 1), (u64::MAX, u64::MAX)]).is_empty());
    assert_eq!(of(&[(8, 5)]), [8, 9]);
    assert_eq!(of(&[(2, 3), (9, 1), (3, 2)]), [2, 3, 4, 9, 3, 4]);
    // Numbers that fit no index.
    let huge = Nat::from(u128::MAX) * Nat::from(u128::MAX);
    let arg = |start: Nat, length: Nat| [GetBlocksArg { start, length }];
    let all = ledger.get_blocks(&arg(0_u8.into(), huge.clone()));
    assert_eq!(indexes(&all), Vec::from_iter(0..10));
    let none = ledger.get_blocks(&arg(huge.clone(), huge));
    assert!(indexes(&none).is_empty());
}

#[test]
fn an_answer_has_a_thousand_blocks_at_most() {
    let mut ledger = ledger(&[]);
    for _ in 0..1_200 {
        ledger
            .transfer(NOW, principal(MINTER), send(BOB, 1))
            .unwrap();
    }
    assert_eq!(indexes(&get(&ledger, &ALL)), Vec::from_iter(0..1_000));
    let twice = indexes(&get(&ledger, &[(700, 700), (0, 700)]));
    assert_eq!(twice, Vec::from_iter((700..1_200).chain(0..500)));
    ledger.confirm_archived(principal(9), 1_000);
    // Hostile: each range costs an answer something.
    let many = get(&ledger, &[(0, 5); 3_000]);
    assert_eq!(referred(&many)[0].1.len(), 1_000);
    assert!(indexes(&many).is_empty());
}

#[test]
fn archives_have_what_the_ledger_has_not() {
    let memories = memories();
    let mut ledger = ledger_in(&memories, &[]);
    for _ in 0..20 {
        ledger
            .transfer(NOW, principal(MINTER), send(BOB, 1))
            .unwrap();
    }
    let tip = ledger.log().tip();
    let (first, second) = (principal(8), principal(9));
    ledger.confirm_archived(first, 5);
    ledger.confirm_archived(first, 7);
    // What is confirmed again, or was confirmed before, changes nothing.
    ledger.confirm_archived(first, 7);
    ledger.confirm_archived(second, 3);
    ledger.confirm_archived(second, 12);
    let ledger = open(&memories);
    let result = get(&ledger, &[(3, 15), (0, 2), (6, 2)]);
    assert_eq!(result.log_length, Nat::from(20_u8));
    assert_eq!(indexes(&result), Vec::from_iter(12..18));
    let expected = [
        (first, vec![(3, 4), (0, 2), (6, 1)]),
        (second, vec![(7, 5), (7, 1)]),
    ];
    assert_eq!(referred(&result), expected);
    assert_eq!(ledger.transaction(11), None);
    assert_eq!(ledger.log().tip(), tip);

    let archives = |from| {
        let archives = ledger.get_archives(&GetArchivesArgs { from });
        let row = |it: &idempotency_archive::icrc3::ArchiveInfo| {
            (it.canister_id, it.start.to_string(), it.end.to_string())
        };
        archives.iter().map(row).collect::<Vec<_>>()
    };
    let row = |canister, start: &str, end: &str| (canister, start.to_owned(), end.to_owned());
    assert_eq!(
        archives(None),
        [row(first, "0", "6"), row(second, "7", "11")]
    );
    assert_eq!(archives(Some(first)), [row(second, "7", "11")]);
    assert_eq!(archives(Some(second)), []);
    assert_eq!(archives(Some(principal(7))), []);
}

#[test]
fn the_last_block_is_never_archived() {
    let mut ledger = ledger(&[(ALICE, 100), (BOB, 100)]);
    ledger.confirm_archived(principal(9), 5);
    assert_eq!(ledger.log().first(), 1);
    assert_eq!(ledger.log().to_archive(0, 10, 1_000), Vec::<Vec<u8>>::new());
    let before = ledger.log().tip().unwrap();
    ledger
        .transfer(NOW, principal(ALICE), send(BOB, 1))
        .unwrap();
    let phash = ledger.log().get(2).unwrap().get("phash").cloned();
    assert_eq!(phash, Some(Value::blob(before.1)));
}
