//! The search of a ledger's blocks: what is found, what is absent, and what can't be told.

use super::world::{CALLEE, CALLER, finished};
use crate::{
    runtime::{Outgoing, Rejected},
    safe_call::{
        Account,
        search::{
            ArchivedBlocks, Block, Found, GetBlocks, GetBlocksArgs, GetBlocksResult, Payer, Value,
            Wanted, search,
        },
        transport::Transport,
    },
    time::Timestamp,
};
use candid::{Nat, Principal};
use serde_bytes::ByteBuf;
use std::{cell::Cell, time::Duration};

const ARCHIVE: Principal = Principal::from_slice(&[9, 1]);
/// Seconds.
const CREATED_AT: u64 = 1_000_000;

/// A ledger, and what it does wrong.
#[derive(Default)]
struct Ledger {
    blocks: Vec<Value>,
    /// Those below are in the archive.
    archived: u64,
    /// As many blocks are given at a time; all if 0.
    page: u64,
    /// It answers with this.
    instead: Option<Vec<u8>>,
    gives_nothing: bool,
    calls: Cell<u64>,
}

impl Transport for Ledger {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(CREATED_AT)
    }

    fn canister(&self) -> Principal {
        CALLER
    }

    async fn call(&self, call: Outgoing) -> Result<Vec<u8>, Rejected> {
        self.calls.set(self.calls.get() + 1);
        if let Some(bytes) = &self.instead {
            return Ok(bytes.clone());
        }
        let is_archive = match (call.callee, call.method.as_str()) {
            (CALLEE, "icrc3_get_blocks") => false,
            (ARCHIVE, "more") => true,
            other => panic!("{other:?}"),
        };
        let ranges: Vec<GetBlocksArgs> = candid::decode_one(&call.argument).unwrap();
        let mut result = GetBlocksResult {
            log_length: self.blocks.len().into(),
            blocks: vec![],
            archived_blocks: vec![],
        };
        for GetBlocksArgs { start, length } in ranges {
            let start = u64::try_from(&start.0).unwrap();
            let end = (start + u64::try_from(&length.0).unwrap()).min(self.blocks.len() as u64);
            for id in start..end {
                let is_full = self.page > 0 && result.blocks.len() as u64 >= self.page;
                if is_archive == (id < self.archived) && !is_full && !self.gives_nothing {
                    result.blocks.push(Block {
                        id: id.into(),
                        block: self.blocks[usize::try_from(id).unwrap()].clone(),
                    });
                }
            }
            if !is_archive && start < self.archived {
                result.archived_blocks.push(ArchivedBlocks {
                    args: vec![GetBlocksArgs {
                        start: start.into(),
                        length: (end.min(self.archived) - start).into(),
                    }],
                    callback: GetBlocks::new(ARCHIVE, "more".into()),
                });
            }
        }
        Ok(candid::encode_one(&result).unwrap())
    }

    async fn pause(&self, _: Duration) {}
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(
        entries
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
    )
}

fn blob(bytes: &[u8]) -> Value {
    Value::Blob(ByteBuf::from(bytes))
}

fn nat(number: u64) -> Value {
    Value::Nat(number.into())
}

fn seconds(number: u64) -> Value {
    nat(number * 1_000_000_000)
}

fn account(owner: Principal) -> Value {
    Value::Array(vec![blob(owner.as_slice())])
}

/// The fields of the transaction that is looked for.
fn fields() -> Vec<(&'static str, Value)> {
    vec![
        ("from", account(CALLER)),
        ("to", account(ARCHIVE)),
        ("amt", nat(5)),
        ("memo", blob(b"memo")),
        ("ts", seconds(CREATED_AT)),
    ]
}

/// A block of that age with these fields, but for those that are replaced, or removed by `None`.
fn block(time: u64, replaced: &[(&'static str, Option<Value>)]) -> Value {
    let mut fields = fields();
    for (name, value) in replaced {
        fields.retain(|(field, _)| field != name);
        fields.extend(value.clone().map(|value| (*name, value)));
    }
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    map([("ts", seconds(time)), ("tx", Value::Map(fields.collect()))])
}

fn another(time: u64) -> Value {
    block(time, &[("memo", Some(blob(b"other")))])
}

fn wanted() -> Wanted {
    Wanted {
        payer: Payer::Own(None),
        to: Account {
            owner: ARCHIVE,
            subaccount: Some([0; 32]),
        },
        amount: 5u8.into(),
        fee: None,
        memo: b"memo".to_vec(),
        created_at: Timestamp::from_secs(CREATED_AT),
    }
}

fn search_in(ledger: &Ledger, wanted: &Wanted, most: u64) -> Found {
    finished(search(ledger, CALLEE, wanted, most))
}

fn ledger(blocks: Vec<Value>) -> Ledger {
    Ledger {
        blocks,
        ..Ledger::default()
    }
}

#[test]
fn a_transfer_is_found_wherever_it_is() {
    for (archived, page) in [(0, 0), (0, 7), (230, 0), (230, 60), (500, 0)] {
        for place in [0, 1, 99, 229, 230, 231, 498, 499] {
            let mut blocks = vec![another(CREATED_AT); 500];
            blocks[place] = block(CREATED_AT, &[]);
            let ledger = Ledger {
                archived,
                page,
                ..ledger(blocks)
            };
            // Pages of 7 take more calls than are made.
            let is_reached = page != 7 || place > 420;
            let found = search_in(&ledger, &wanted(), 1_000);
            match is_reached {
                true => assert_eq!(found, Found::Block(Nat::from(place)), "{archived}, {page}"),
                false => assert!(found == Found::CantTell || found == Found::Block(place.into())),
            }
            assert!(ledger.calls.get() <= 22, "{} calls", ledger.calls.get());
        }
    }
}

#[test]
fn a_transfer_is_absent_only_if_all_blocks_of_its_time_were_seen() {
    let absent = |blocks, most| search_in(&ledger(blocks), &wanted(), most);
    assert_eq!(absent(vec![], 1_000), Found::Absent);
    assert_eq!(absent(vec![another(CREATED_AT)], 1_000), Found::Absent);
    // The whole log.
    assert_eq!(absent(vec![another(CREATED_AT); 300], 300), Found::Absent);
    // Not the oldest one, and it is not old enough.
    assert_eq!(absent(vec![another(CREATED_AT); 301], 300), Found::CantTell);
    let mut blocks = vec![another(CREATED_AT); 301];
    blocks[1] = another(CREATED_AT - 300);
    assert_eq!(absent(blocks.clone(), 300), Found::CantTell);
    blocks[1] = another(CREATED_AT - 301);
    assert_eq!(absent(blocks, 300), Found::Absent);
}

#[test]
fn each_field_counts() {
    let other =
        |replaced: &[_]| search_in(&ledger(vec![block(CREATED_AT, replaced)]), &wanted(), 10);
    assert_eq!(other(&[]), Found::Block(0u8.into()));
    let zeros = Value::Array(vec![blob(CALLER.as_slice()), blob(&[0; 32])]);
    assert_eq!(other(&[("from", Some(zeros))]), Found::Block(0u8.into()));
    assert_eq!(other(&[("to", None)]), Found::Block(0u8.into()), "burned");
    assert_eq!(
        other(&[("from", None)]),
        Found::CantTell,
        "minted, by anybody"
    );
    let ones = Value::Array(vec![blob(CALLER.as_slice()), blob(&[1; 32])]);
    for (name, value) in [
        ("from", Some(account(ARCHIVE))),
        ("from", Some(ones)),
        ("to", Some(account(CALLER))),
        ("amt", Some(nat(6))),
        ("amt", None),
        ("memo", Some(blob(b"mem"))),
        ("memo", None),
        ("ts", Some(seconds(CREATED_AT + 1))),
        ("ts", None),
        ("spender", Some(account(ARCHIVE))),
    ] {
        assert_eq!(
            other(&[(name, value.clone())]),
            Found::Absent,
            "{name}: {value:?}"
        );
    }
}

#[test]
fn the_fee_and_the_spender_count_where_they_are_given() {
    let found = Found::Block(0u8.into());
    let with_fee = ledger(vec![block(CREATED_AT, &[("fee", Some(nat(3)))])]);
    assert_eq!(search_in(&with_fee, &wanted(), 10), found);
    let fee = |fee: u8| Wanted {
        fee: Some(fee.into()),
        ..wanted()
    };
    assert_eq!(search_in(&with_fee, &fee(3), 10), found);
    assert_eq!(search_in(&with_fee, &fee(4), 10), Found::Absent);

    let of_other = |owner: Principal| Wanted {
        payer: Payer::Other {
            from: owner.into(),
            spender: None,
        },
        ..wanted()
    };
    let replaced = [
        ("from", Some(account(CALLEE))),
        ("spender", Some(account(CALLER))),
    ];
    let with_spender = ledger(vec![block(CREATED_AT, &replaced)]);
    assert_eq!(search_in(&with_spender, &of_other(CALLEE), 10), found);
    assert_eq!(
        search_in(&with_spender, &of_other(ARCHIVE), 10),
        Found::Absent
    );
    let without_spender = ledger(vec![block(CREATED_AT, &replaced[..1])]);
    assert_eq!(
        search_in(&without_spender, &of_other(CALLEE), 10),
        Found::Absent
    );
    // One's own account needs no allowance, and no spender is recorded.
    let own = ledger(vec![block(CREATED_AT, &[])]);
    assert_eq!(search_in(&own, &of_other(CALLER), 10), found);
}

/// An answer of a few bytes after which candid has a million of nothing to skip.
#[test]
fn a_ledger_whose_answer_takes_for_ever_tells_nothing() {
    let result = GetBlocksResult {
        log_length: 1u8.into(),
        blocks: vec![Block {
            id: 0u8.into(),
            block: block(CREATED_AT, &[]),
        }],
        archived_blocks: vec![],
    };
    let answer = |nothing: &[u8]| {
        let mut bytes = candid::encode_args((&result, Vec::<()>::new())).unwrap();
        assert_eq!(bytes.pop(), Some(0));
        bytes.extend_from_slice(nothing);
        Ledger {
            instead: Some(bytes),
            ..Ledger::default()
        }
    };
    assert_eq!(
        search_in(&answer(&[0]), &wanted(), 10),
        Found::Block(Nat::from(0u8))
    );
    let million = [0x80, 0x80, 0x40];
    assert_eq!(search_in(&answer(&million), &wanted(), 10), Found::CantTell);
}

#[test]
fn a_ledger_that_gives_no_blocks_tells_nothing() {
    for broken in [
        Ledger {
            instead: Some(candid::encode_one("no blocks").unwrap()),
            ..Ledger::default()
        },
        Ledger {
            gives_nothing: true,
            ..ledger(vec![another(CREATED_AT)])
        },
        ledger(vec![nat(1)]),
        ledger(vec![map([("ts", nat(1))])]),
        ledger(vec![block(CREATED_AT, &[("ts", Some(blob(b"")))])]),
        ledger(vec![block(CREATED_AT, &[("from", Some(nat(1)))])]),
        ledger(vec![block(
            CREATED_AT,
            &[("from", Some(Value::Array(vec![])))],
        )]),
    ] {
        assert_eq!(search_in(&broken, &wanted(), 1_000), Found::CantTell);
        assert!(broken.calls.get() <= 2);
    }
}
