//! A ledger with ICRC-3, as far as safe calls need one. It refuses what a test wants, before it looks for duplicates.

use candid::{CandidType, Deserialize, Nat, Principal, define_function};
use idempotency_core::safe_call::TransferError;
use serde_bytes::ByteBuf;
use std::cell::RefCell;

/// Blocks are archived but for so many.
const KEPT: usize = 3;

/// A page has at most so many blocks.
const PAGE: usize = 2;

#[derive(CandidType, Clone, Deserialize, PartialEq)]
struct Account {
    owner: Principal,
    subaccount: Option<ByteBuf>,
}

#[derive(CandidType, Clone, Deserialize, PartialEq)]
struct TransferArg {
    from_subaccount: Option<ByteBuf>,
    to: Account,
    amount: Nat,
    fee: Option<Nat>,
    memo: Option<ByteBuf>,
    created_at_time: Option<u64>,
}

#[derive(CandidType, Clone, Deserialize)]
enum Value {
    Blob(ByteBuf),
    Text(String),
    Nat(Nat),
    Array(Vec<Value>),
    Map(Vec<(String, Value)>),
}

#[derive(CandidType, Deserialize)]
struct GetBlocksArgs {
    start: Nat,
    length: Nat,
}

#[derive(CandidType, Deserialize)]
struct Block {
    id: Nat,
    block: Value,
}

define_function!(GetBlocks : (Vec<GetBlocksArgs>) -> (GetBlocksResult) query);

#[derive(CandidType, Deserialize)]
struct ArchivedBlocks {
    args: Vec<GetBlocksArgs>,
    callback: GetBlocks,
}

#[derive(CandidType, Deserialize)]
struct GetBlocksResult {
    log_length: Nat,
    blocks: Vec<Block>,
    archived_blocks: Vec<ArchivedBlocks>,
}

struct Transaction {
    caller: Principal,
    arg: TransferArg,
    time: u64,
}

thread_local! {
    static LOG: RefCell<Vec<Transaction>> = const { RefCell::new(vec![]) };
    static REFUSAL: RefCell<Option<TransferError>> = const { RefCell::new(None) };
}

/// From now on each transfer is answered with this.
#[ic_cdk::update]
fn refuse(error: Option<TransferError>) {
    REFUSAL.set(error);
}

#[ic_cdk::update]
fn icrc1_transfer(arg: TransferArg) -> Result<Nat, TransferError> {
    if let Some(error) = REFUSAL.with_borrow(Clone::clone) {
        return Err(error);
    }
    let caller = ic_cdk::api::msg_caller();
    LOG.with_borrow_mut(|log| {
        let mut transactions = log.iter();
        let same = transactions.position(|it| it.caller == caller && it.arg == arg);
        match (arg.created_at_time, same) {
            (Some(_), Some(index)) => Err(TransferError::Duplicate {
                duplicate_of: index.into(),
            }),
            _ => {
                let time = ic_cdk::api::time();
                log.push(Transaction { caller, arg, time });
                Ok((log.len() - 1).into())
            }
        }
    })
}

#[ic_cdk::query]
fn icrc3_get_blocks(ranges: Vec<GetBlocksArgs>) -> GetBlocksResult {
    get_blocks(ranges, false)
}

#[ic_cdk::query]
fn archived_blocks(ranges: Vec<GetBlocksArgs>) -> GetBlocksResult {
    get_blocks(ranges, true)
}

fn get_blocks(ranges: Vec<GetBlocksArgs>, is_archive: bool) -> GetBlocksResult {
    LOG.with_borrow(|log| {
        let first_kept = log.len().saturating_sub(KEPT);
        let mut result = GetBlocksResult {
            log_length: log.len().into(),
            blocks: vec![],
            archived_blocks: vec![],
        };
        for range in ranges {
            let start = index(&range.start);
            let end = start.saturating_add(index(&range.length)).min(log.len());
            for (id, transaction) in log.iter().enumerate().take(end).skip(start) {
                if is_archive == (id < first_kept) && result.blocks.len() < PAGE {
                    let (id, block) = (id.into(), block(transaction));
                    result.blocks.push(Block { id, block });
                }
            }
            if !is_archive && start < first_kept {
                let archived = GetBlocksArgs {
                    start: start.into(),
                    length: (end.min(first_kept) - start).into(),
                };
                let callback =
                    GetBlocks::new(ic_cdk::api::canister_self(), "archived_blocks".into());
                result.archived_blocks.push(ArchivedBlocks {
                    args: vec![archived],
                    callback,
                });
            }
        }
        result
    })
}

fn index(number: &Nat) -> usize {
    usize::try_from(&number.0).unwrap_or(usize::MAX)
}

fn block(transaction: &Transaction) -> Value {
    let arg = &transaction.arg;
    let blob = |bytes: &[u8]| Value::Blob(ByteBuf::from(bytes));
    let account = |owner: Principal, subaccount: &Option<ByteBuf>| {
        let subaccount = subaccount.as_ref().map(|subaccount| blob(subaccount));
        Value::Array(
            [blob(owner.as_slice())]
                .into_iter()
                .chain(subaccount)
                .collect(),
        )
    };
    let mut tx = vec![
        ("op".to_owned(), Value::Text("xfer".into())),
        ("amt".to_owned(), Value::Nat(arg.amount.clone())),
        (
            "from".to_owned(),
            account(transaction.caller, &arg.from_subaccount),
        ),
        ("to".to_owned(), account(arg.to.owner, &arg.to.subaccount)),
    ];
    if let Some(memo) = &arg.memo {
        tx.push(("memo".to_owned(), blob(memo)));
    }
    if let Some(created_at) = arg.created_at_time {
        tx.push(("ts".to_owned(), Value::Nat(created_at.into())));
    }
    Value::Map(vec![
        ("btype".to_owned(), Value::Text("1xfer".into())),
        ("ts".to_owned(), Value::Nat(transaction.time.into())),
        ("tx".to_owned(), Value::Map(tx)),
    ])
}
