//! A ledger in memory, and short names for its users.

use candid::{Nat, Principal};
use example_ledger::{
    Ledger,
    init::InitArgs,
    types::{Account, AllowanceArgs, ApproveArgs, TransferArg, TransferFromArgs},
};
use ic_stable_structures::{
    VectorMemory,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};

pub(crate) type TestLedger = Ledger<VirtualMemory<VectorMemory>>;

pub(crate) const NOW: u64 = 1_000_000;
pub(crate) const FEE: u128 = 10;
pub(crate) const MINTER: u8 = 0;
pub(crate) const ALICE: u8 = 1;
pub(crate) const BOB: u8 = 2;
pub(crate) const CAROL: u8 = 3;

pub(crate) fn principal(name: u8) -> Principal {
    Principal::from_slice(&[name, 1])
}

pub(crate) fn account(name: u8) -> Account {
    Account {
        owner: principal(name),
        subaccount: None,
    }
}

pub(crate) fn init_args(balances: &[(u8, u128)]) -> InitArgs {
    InitArgs {
        token_name: "Example".to_owned(),
        token_symbol: "EXM".to_owned(),
        decimals: None,
        transfer_fee: FEE.into(),
        minting_account: account(MINTER),
        initial_balances: balances
            .iter()
            .map(|(name, balance)| (account(*name), Nat::from(*balance)))
            .collect(),
        metadata: Vec::new(),
        max_memo_length: None,
        archives: None,
    }
}

/// The memories outlive the ledger, as they do in an upgrade.
pub(crate) fn memory_of(
    memories: &MemoryManager<VectorMemory>,
) -> impl Fn(u8) -> VirtualMemory<VectorMemory> {
    |id| memories.get(MemoryId::new(id))
}

/// Memories that grow by a page, not by the megabytes a canister grows them by.
pub(crate) fn memories() -> MemoryManager<VectorMemory> {
    MemoryManager::init_with_bucket_size(VectorMemory::default(), 1)
}

pub(crate) fn ledger(balances: &[(u8, u128)]) -> TestLedger {
    ledger_in(&memories(), balances)
}

pub(crate) fn ledger_in(
    memories: &MemoryManager<VectorMemory>,
    balances: &[(u8, u128)],
) -> TestLedger {
    Ledger::create(memory_of(memories), &init_args(balances), NOW).unwrap()
}

/// As an upgrade does.
pub(crate) fn open(memories: &MemoryManager<VectorMemory>) -> TestLedger {
    Ledger::open(memory_of(memories)).unwrap()
}

pub(crate) fn send(to: u8, amount: u128) -> TransferArg {
    TransferArg {
        from_subaccount: None,
        to: account(to),
        amount: amount.into(),
        fee: None,
        memo: None,
        created_at_time: None,
    }
}

pub(crate) fn approve(spender: u8, amount: u128) -> ApproveArgs {
    ApproveArgs {
        from_subaccount: None,
        spender: account(spender),
        amount: amount.into(),
        expected_allowance: None,
        expires_at: None,
        fee: None,
        memo: None,
        created_at_time: None,
    }
}

pub(crate) fn draw(from: u8, to: u8, amount: u128) -> TransferFromArgs {
    TransferFromArgs {
        spender_subaccount: None,
        from: account(from),
        to: account(to),
        amount: amount.into(),
        fee: None,
        memo: None,
        created_at_time: None,
    }
}

pub(crate) fn balance(ledger: &TestLedger, name: u8) -> u128 {
    ledger.balance(&(&account(name)).try_into().unwrap())
}

pub(crate) fn allowance(
    ledger: &TestLedger,
    now: u64,
    from: u8,
    spender: u8,
) -> (u128, Option<u64>) {
    let allowance = ledger
        .allowance(
            now,
            &AllowanceArgs {
                account: account(from),
                spender: account(spender),
            },
        )
        .unwrap();
    (
        u128::try_from(&allowance.allowance.0).unwrap(),
        allowance.expires_at,
    )
}
