//! The books: who has how much, what is reserved for payouts that have not ended, and what was paid.
//!
//! Each function changes the books within one message, and leaves [`audit`] true.

use candid::{CandidType, Nat, Principal};
use ic_stable_structures::{
    DefaultMemoryImpl, StableBTreeMap, StableCell,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use std::cell::RefCell;

pub(crate) type Memory = VirtualMemory<DefaultMemoryImpl>;

thread_local! {
    static MEMORY: MemoryManager<DefaultMemoryImpl> = MemoryManager::init(DefaultMemoryImpl::default());

    /// The ledger's principal.
    static LEDGER: RefCell<StableCell<Vec<u8>, Memory>> =
        RefCell::new(StableCell::init(memory(0), vec![]));

    /// What users can pay out.
    static BALANCES: RefCell<StableBTreeMap<Principal, u64, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(1)));

    /// The amounts of payouts that have not ended.
    static RESERVED: RefCell<StableBTreeMap<Vec<u8>, u64, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(2)));

    /// The amounts of payouts that were made, and the ledger's blocks.
    static PAID: RefCell<StableBTreeMap<Vec<u8>, (u64, u64), Memory>> =
        RefCell::new(StableBTreeMap::init(memory(3)));

    /// All that was ever credited, and all that was ever paid out.
    static TOTALS: RefCell<StableCell<(u64, u64), Memory>> =
        RefCell::new(StableCell::init(memory(4), (0, 0)));
}

pub(crate) fn memory(id: u8) -> Memory {
    MEMORY.with(|memory| memory.get(MemoryId::new(id)))
}

/// One payout: whose it is, and the request's id.
#[derive(Clone)]
pub(crate) struct PayoutId {
    owner: Principal,
    /// The owner comes first, and its length before it, so that no two payouts have the same key.
    key: Vec<u8>,
}

impl PayoutId {
    pub(crate) fn new(owner: Principal, request_id: &[u8]) -> Self {
        let bytes = owner.as_slice();
        let length = [bytes.len() as u8];
        Self {
            owner,
            key: [&length, bytes, request_id].concat(),
        }
    }
}

/// What the books say, and whether they add up.
#[derive(CandidType, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audit {
    /// All that was ever credited.
    pub(crate) credited: u64,
    /// The sum of the balances.
    pub(crate) balances: u64,
    /// The sum of what is reserved.
    pub(crate) reserved: u64,
    /// The sum of what was paid.
    pub(crate) paid: u64,
    /// How many payouts have not ended.
    pub(crate) open: u64,
    /// How many payouts were made.
    pub(crate) payments: u64,
    /// Whether `balances + reserved + paid = credited`, and the payments add up to what was paid.
    pub(crate) holds: bool,
}

pub(crate) fn ledger() -> Principal {
    LEDGER.with_borrow(|ledger| Principal::from_slice(ledger.get()))
}

pub(crate) fn set_ledger(ledger: Principal) {
    LEDGER.with_borrow_mut(|cell| cell.set(ledger.as_slice().to_vec()));
}

/// Adds to a balance, and gives the new one. `None`: the books can't count so far.
pub(crate) fn credit(owner: Principal, amount: u64) -> Option<u64> {
    let (credited, paid) = totals();
    set_totals(credited.checked_add(amount)?, paid);
    Some(add(owner, amount))
}

/// Takes an amount off the owner's balance and holds it for a payout.
///
/// # Errors
/// The balance, if it is less than the amount.
pub(crate) fn reserve(id: &PayoutId, amount: u64) -> Result<(), u64> {
    let balance = balance_of(id.owner);
    let rest = balance.checked_sub(amount).ok_or(balance)?;
    BALANCES.with_borrow_mut(|balances| balances.insert(id.owner, rest));
    RESERVED.with_borrow_mut(|reserved| reserved.insert(id.key.clone(), amount));
    Ok(())
}

/// The payout was certainly not made: what is reserved for it goes back to the owner.
pub(crate) fn release(id: &PayoutId) {
    let amount = take_reserved(id);
    add(id.owner, amount);
}

/// The payout was made: what is reserved for it is paid.
pub(crate) fn finalise(id: &PayoutId, block: &Nat) {
    let amount = take_reserved(id);
    let block = u64::try_from(&block.0).unwrap_or(u64::MAX);
    PAID.with_borrow_mut(|payments| payments.insert(id.key.clone(), (amount, block)));
    let (credited, paid) = totals();
    set_totals(credited, paid + amount);
}

pub(crate) fn balance_of(owner: Principal) -> u64 {
    BALANCES.with_borrow(|balances| balances.get(&owner).unwrap_or(0))
}

/// Counts all anew; its cost grows with the books.
pub(crate) fn audit() -> Audit {
    let (credited, paid) = totals();
    let balances = BALANCES.with_borrow(|it| it.values().sum());
    let (reserved, open) = RESERVED.with_borrow(|it| (it.values().sum(), it.len()));
    let (payments, sum) = PAID.with_borrow(|it| {
        let sum: u64 = it.values().map(|(amount, _)| amount).sum();
        (it.len(), sum)
    });
    Audit {
        credited,
        balances,
        reserved,
        paid,
        open,
        payments,
        holds: balances + reserved + paid == credited && sum == paid,
    }
}

/// A payout is reserved once, and once it is taken from there: a step runs once, and an operator settles only what has not ended.
fn take_reserved(id: &PayoutId) -> u64 {
    let reserved = RESERVED.with_borrow_mut(|reserved| reserved.remove(&id.key));
    reserved.expect("the payout is reserved")
}

/// No sum is too great: all that was credited can be counted.
fn add(owner: Principal, amount: u64) -> u64 {
    let balance = balance_of(owner) + amount;
    BALANCES.with_borrow_mut(|balances| balances.insert(owner, balance));
    balance
}

fn totals() -> (u64, u64) {
    TOTALS.with_borrow(|totals| *totals.get())
}

fn set_totals(credited: u64, paid: u64) {
    TOTALS.with_borrow_mut(|totals| totals.set((credited, paid)));
}
