//! An ICRC-1, ICRC-2 and ICRC-3 ledger that leaves all deduplication to `idempotency-core`.
//!
//! This file shows what that takes: one [`Store`] among the thread-locals, one line in `init` and in `post_upgrade`, and one
//! attribute above each method that must not run twice. The methods themselves are ordinary functions. The module `dedup` says
//! what makes two transactions the same, and which errors of the standards stand for the refusals of the library.

#![forbid(unsafe_code)]

pub mod account;
mod amount;
mod approvals;
mod archives;
pub mod archiving;
pub mod blocks;
mod certificate;
pub mod dedup;
pub mod errors;
pub mod icrc3;
pub mod init;
mod ledger;
pub mod log;
mod state;
pub mod types;

use std::cell::RefCell;

use candid::{Nat, Principal};
use ic_cdk::{
    api::{accept_message, certified_data_set, data_certificate, msg_caller, time, trap},
    init, inspect_message, post_upgrade, query, update,
};
use ic_stable_structures::{
    DefaultMemoryImpl,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_archive::icrc3::{ArchiveInfo, GetArchivesArgs, GetBlocksArg, GetBlocksResult};
use idempotency_core::{
    Store, Timestamp,
    archive::{self, Archives},
    http::{self, HttpRequest, HttpResponse, Observed as _},
    idempotent, inspect,
};

use crate::{
    account::AccountKey,
    dedup::{approve_key, duplicate, timestamp, transfer_from_key, transfer_key},
    errors::{ApproveError, Refusal, TransferError, TransferFromError, TransferOnceError},
    init::{ConfigError, LedgerArg},
    types::{
        Account, Allowance, AllowanceArgs, ApproveArgs, ArchiveStatus, BlockType, DataCertificate,
        MetadataValue, Standard, Transaction, TransferArg, TransferFromArgs, TransferOnceArg,
    },
};

pub use crate::state::Ledger;

type Memory = VirtualMemory<DefaultMemoryImpl>;

/// The memories below this one are the ledger's.
const TRANSACTIONS_MEMORY: u8 = 10;
const ARCHIVES_MEMORY: u8 = 11;

thread_local! {
    static MEMORY: MemoryManager<DefaultMemoryImpl> = MemoryManager::init(DefaultMemoryImpl::default());

    static LEDGER: RefCell<Option<Ledger<Memory>>> = const { RefCell::new(None) };

    /// The transactions that must not be executed again.
    static TRANSACTIONS: Store<Memory> = Store::new(memory(TRANSACTIONS_MEMORY), dedup::policy(archives::keep()));

    /// What remembers them for ever, if the ledger has archives.
    static ARCHIVES: Archives<Memory> = Archives::new(memory(ARCHIVES_MEMORY), archives::policy());
}

#[init]
fn init(arg: LedgerArg) {
    let LedgerArg::Init(args) = arg else {
        trap("a new ledger is installed with the Init argument");
    };
    start(Ledger::create(memory, &args, time()));
}

#[post_upgrade]
fn post_upgrade(arg: Option<LedgerArg>) {
    let changes = match arg {
        None => None,
        Some(LedgerArg::Upgrade(changes)) => changes,
        Some(LedgerArg::Init(_)) => {
            trap("an existing ledger is upgraded with the Upgrade argument")
        }
    };
    start(Ledger::open(memory).and_then(|mut ledger| {
        if let Some(changes) = changes {
            ledger.configure(changes)?;
        }
        Ok(ledger)
    }));
}

/// Transfers tokens of the caller. With a `created_at_time`, a retry is answered with `Duplicate`.
///
/// The ledger looks for an earlier transaction before it checks anything else. So the retry of a transfer that was executed is
/// answered with `Duplicate` even if the fee or the balance has changed since.
#[idempotent(
    store = TRANSACTIONS,
    key = transfer_key(arg),
    created_at = timestamp(arg.created_at_time),
    fingerprint = off,
    on_replay = duplicate::<TransferError>,
    anonymous
)]
#[update]
fn icrc1_transfer(arg: TransferArg) -> Result<Nat, TransferError> {
    transact(|ledger| ledger.transfer(time(), msg_caller(), arg))
}

/// Sets the amount that a spender may transfer from an account of the caller. With a `created_at_time`, a retry is answered
/// with `Duplicate`.
#[idempotent(
    store = TRANSACTIONS,
    key = approve_key(arg),
    created_at = timestamp(arg.created_at_time),
    fingerprint = off,
    on_replay = duplicate::<ApproveError>,
    anonymous
)]
#[update]
fn icrc2_approve(arg: ApproveArgs) -> Result<Nat, ApproveError> {
    transact(|ledger| ledger.approve(time(), msg_caller(), arg))
}

/// Transfers tokens from an account for which the caller has an allowance. With a `created_at_time`, a retry is answered with
/// `Duplicate`.
#[idempotent(
    store = TRANSACTIONS,
    key = transfer_from_key(arg),
    created_at = timestamp(arg.created_at_time),
    fingerprint = off,
    on_replay = duplicate::<TransferFromError>,
    anonymous
)]
#[update]
fn icrc2_transfer_from(arg: TransferFromArgs) -> Result<Nat, TransferFromError> {
    transact(|ledger| ledger.transfer_from(time(), msg_caller(), arg))
}

/// Transfers tokens of the caller once for each `request_id`. This method is in no standard. A retry gets the answer of the
/// first call, and an id that was used for another transfer is refused with `KeyReused`.
#[idempotent(store = TRANSACTIONS, key = arg.request_id, required)]
#[update]
fn transfer_once(arg: TransferOnceArg) -> Result<Nat, TransferOnceError> {
    let index = transact(|ledger| ledger.transfer(time(), msg_caller(), arg.into()))?;
    Ok(index)
}

/// Refuses, before consensus and at no cost, a call of `transfer_once` whose caller is anonymous or whose `request_id` can't be
/// used. The trap tells the client why.
///
/// The methods of the standards are not inspected. Their clients act upon `TooOld` and `CreatedInFuture`, and so must get them
/// from the method, certified by the subnet; a refusal of this function is the word of one replica.
#[inspect_message]
fn inspect() {
    match inspect!(transfer_once) {
        Ok(()) => accept_message(),
        Err(error) => trap(format!("idempotency: {error}")),
    }
}

/// The amount that a spender may still transfer from an account.
#[query]
fn icrc2_allowance(arg: AllowanceArgs) -> Allowance {
    answer(with_ledger(|ledger| ledger.allowance(time(), &arg)))
}

/// The name of the token.
#[query]
fn icrc1_name() -> String {
    with_ledger(|ledger| ledger.config().token_name.clone())
}

/// The symbol of the token.
#[query]
fn icrc1_symbol() -> String {
    with_ledger(|ledger| ledger.config().token_symbol.clone())
}

/// The number of decimals of the token.
#[query]
fn icrc1_decimals() -> u8 {
    with_ledger(|ledger| ledger.config().decimals)
}

/// The fee of a transfer or an approval.
#[query]
fn icrc1_fee() -> Nat {
    with_ledger(|ledger| ledger.config().transfer_fee.into())
}

/// The name, the symbol, the decimals and the fee of the token, and the entries that were given at installation or upgrade.
#[query]
fn icrc1_metadata() -> Vec<(String, MetadataValue)> {
    with_ledger(|ledger| ledger.config().all_metadata())
}

/// The number of tokens in all accounts, in the smallest unit.
#[query]
fn icrc1_total_supply() -> Nat {
    with_ledger(|ledger| ledger.total_supply().into())
}

/// The minting account: a transfer from it makes new tokens, and a transfer to it burns them.
#[query]
fn icrc1_minting_account() -> Option<Account> {
    with_ledger(|ledger| Some(ledger.config().minting_account.clone()))
}

/// The balance of an account.
#[query]
fn icrc1_balance_of(arg: Account) -> Nat {
    let account = answer(AccountKey::try_from(&arg));
    with_ledger(|ledger| ledger.balance(&account).into())
}

/// The standards that the ledger implements.
#[query]
fn icrc1_supported_standards() -> Vec<Standard> {
    [
        (
            "ICRC-1",
            "https://github.com/dfinity/ICRC-1/tree/main/standards/ICRC-1",
        ),
        (
            "ICRC-2",
            "https://github.com/dfinity/ICRC-1/tree/main/standards/ICRC-2",
        ),
        (
            "ICRC-3",
            "https://github.com/dfinity/ICRC-1/tree/main/standards/ICRC-3",
        ),
    ]
    .map(|(name, url)| Standard {
        name: name.to_owned(),
        url: url.to_owned(),
    })
    .into()
}

/// The number of transactions, which is the index of the next one.
#[query]
fn transaction_count() -> Nat {
    with_ledger(|ledger| ledger.transaction_count().into())
}

/// The state of the deduplication: a page at `/`, and metrics for Prometheus at `/metrics`.
#[query]
fn http_request(request: HttpRequest) -> HttpResponse<'static> {
    let now = Timestamp::from_nanos(time());
    let stores = [("transactions", TRANSACTIONS.observe())];
    let mut response = http::respond(&request, &stores, now);
    if let Some(certificate) = data_certificate() {
        let tip = with_ledger(|ledger| ledger.log().tip());
        certificate::skip(&certificate, tip, &mut response);
    }
    response
}

/// The transaction with the given index. That of one which an archive has is a reject.
#[query]
fn get_transaction(index: Nat) -> Option<Transaction> {
    let index = u64::try_from(&index.0).ok()?;
    with_ledger(|ledger| {
        if index < ledger.log().first() {
            trap("an archive has this transaction: icrc3_get_blocks says which one");
        }
        ledger.transaction(index)
    })
}

/// The blocks in the given ranges: those that are here, and which archives have the others. At most 1,000 blocks and ranges of archived
/// blocks are in an answer; for the rest ask again.
#[query]
fn icrc3_get_blocks(args: Vec<GetBlocksArg>) -> GetBlocksResult {
    with_ledger(|ledger| ledger.get_blocks(&args))
}

/// The archives that have blocks, and which ones.
#[query]
fn icrc3_get_archives(args: GetArchivesArgs) -> Vec<ArchiveInfo> {
    with_ledger(|ledger| ledger.get_archives(&args))
}

/// How the archives are; nothing if the ledger has none.
#[query]
fn archive_status() -> Option<ArchiveStatus> {
    archives::status()
}

/// Upgrades the archives that the ledger has made, to the module that its settings name: which ones, and why not if one isn't.
#[update(guard = "is_controller")]
async fn upgrade_archives() -> Vec<(Principal, Result<(), String>)> {
    archive::upgrade_archives(&ARCHIVES).await
}

/// The hash of the last block, certified by the subnet: each block has the hash of the one before it. Nothing if there is no block.
#[query]
fn icrc3_get_tip_certificate() -> Option<DataCertificate> {
    let tip = with_ledger(|ledger| ledger.log().tip());
    Some(DataCertificate {
        certificate: data_certificate()?.into(),
        hash_tree: certificate::tip_tree(tip)?.into(),
    })
}

/// The kinds of blocks that there are.
#[query]
fn icrc3_supported_block_types() -> Vec<BlockType> {
    blocks::supported_block_types()
}

fn memory(id: u8) -> Memory {
    MEMORY.with(|memory| memory.get(MemoryId::new(id)))
}

/// What the store remembers, and for how long, is in the ledger's settings.
fn start(ledger: Result<Ledger<Memory>, ConfigError>) {
    match ledger {
        Ok(ledger) => LEDGER.set(Some(ledger)),
        Err(error) => trap(error.to_string()),
    }
    idempotency_core::install(&TRANSACTIONS);
    archives::install();
    certify();
}

fn with_ledger<R>(f: impl FnOnce(&mut Ledger<Memory>) -> R) -> R {
    LEDGER.with_borrow_mut(|ledger| f(ledger.as_mut().expect("opened by init and post_upgrade")))
}

/// Executes a transaction, and has its block certified. Older blocks may have to be archived then.
fn transact<E>(transaction: impl FnOnce(&mut Ledger<Memory>) -> Result<u64, E>) -> Result<Nat, E> {
    let index = with_ledger(transaction)?;
    certify();
    archiving::drive::schedule();
    Ok(index.into())
}

/// Has the subnet certify the last block.
fn certify() {
    let tip = with_ledger(|ledger| ledger.log().tip());
    certified_data_set(certificate::root(tip));
}

fn is_controller() -> Result<(), String> {
    match ic_cdk::api::is_controller(&msg_caller()) {
        true => Ok(()),
        false => Err("this is for the ledger's controllers".to_owned()),
    }
}

/// These queries return no error, so an account that can't exist is a reject.
fn answer<T>(result: Result<T, Refusal>) -> T {
    result.unwrap_or_else(|refusal| trap(refusal.to_string()))
}

#[cfg(test)]
mod interface;
