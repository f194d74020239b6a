//! A canister that has another one make payments: each exactly once, whatever becomes of the calls.
//!
//! A call to another canister can be lost on its way, its answer can be lost on the way back, and an upgrade in between
//! forgets that it was made at all. What it takes to be safe from all of that:
//!
//! 1. A payment gets its number and is written down, in stable memory, before the first call is made.
//! 2. The calls are made without waiting for each other. A payment is crossed out when its receipt arrives.
//! 3. All others are sent again under the numbers they have: those that were rejected, those whose answer is unknown, and
//!    those that an upgrade forgot. The receiver answers what it has done before with the receipt of the first time.
//!
//! No error needs to be told from another: a payment that may have been made and one that was not are treated alike.

use crate::{
    Failure,
    state::{LANES, Memory, memory, ran},
};
use candid::{CandidType, Deserialize, Principal};
use futures_util::future::join_all;
use ic_cdk::call::Call;
use ic_stable_structures::{StableBTreeMap, StableCell};
use idempotency_core::idempotent;
use std::cell::RefCell;

/// What the payer sends.
#[derive(CandidType, Clone, Copy, Debug, Deserialize)]
struct Payment {
    number: u64,
    amount: u64,
    /// The payer has the receipts of all payments with lower numbers.
    first_incomplete: u64,
}

thread_local! {
    /// Amounts of the payments that have no receipt yet, by number.
    static OPEN: RefCell<StableBTreeMap<u64, u64, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(8)));

    /// The number of the next payment.
    static NEXT: RefCell<StableCell<u64, Memory>> = RefCell::new(StableCell::init(memory(9), 0));

    /// What was paid in all: the receiver's side.
    static RECEIVED: RefCell<StableCell<u64, Memory>> = RefCell::new(StableCell::init(memory(10), 0));
}

/// Makes payments; how many have no receipt yet.
#[ic_cdk::update]
async fn pay_all(receiver: Principal, amounts: Vec<u64>, is_bounded: bool) -> u64 {
    for amount in amounts {
        let number = NEXT.with_borrow(|next| *next.get());
        NEXT.with_borrow_mut(|next| next.set(number + 1));
        OPEN.with_borrow_mut(|open| open.insert(number, amount));
    }
    send_open(receiver, is_bounded).await
}

/// Sends the payments without a receipt again; how many still have none. A canister of its own would call this by a timer.
#[ic_cdk::update]
async fn pay_open(receiver: Principal, is_bounded: bool) -> u64 {
    send_open(receiver, is_bounded).await
}

async fn send_open(receiver: Principal, is_bounded: bool) -> u64 {
    let open: Vec<(u64, u64)> = OPEN.with_borrow(|open| {
        let entries = open.iter();
        entries.map(|entry| entry.into_pair()).collect()
    });
    let first_incomplete = open.first().map_or(0, |(number, _)| *number);
    let calls = open.into_iter().map(|(number, amount)| async move {
        let payment = Payment {
            number,
            amount,
            first_incomplete,
        };
        if send(receiver, payment, is_bounded).await.is_some() {
            OPEN.with_borrow_mut(|open| open.remove(&number));
        }
    });
    join_all(calls).await;
    open_payments()
}

/// The receipt, if one arrives.
async fn send(receiver: Principal, payment: Payment, is_bounded: bool) -> Option<u64> {
    let call = match is_bounded {
        true => Call::bounded_wait(receiver, "take_payment"),
        false => Call::unbounded_wait(receiver, "take_payment"),
    };
    let answer = call.with_arg(payment).await.ok()?;
    answer.candid::<Result<u64, Failure>>().ok()?.ok()
}

/// Takes a payment; its receipt is what was received in all. What a retry must repeat is the amount: `first_incomplete` may have moved on.
#[idempotent(
    store = LANES,
    sequence = payment.number,
    max_in_flight = 256,
    first_incomplete = payment.first_incomplete,
    fingerprint = payment.amount
)]
#[ic_cdk::update]
fn take_payment(payment: Payment) -> Result<u64, Failure> {
    ran("take_payment");
    let received = RECEIVED.with_borrow(|received| received.get() + payment.amount);
    RECEIVED.with_borrow_mut(|total| total.set(received));
    Ok(received)
}

/// How many payments have no receipt yet.
#[ic_cdk::query]
fn open_payments() -> u64 {
    OPEN.with_borrow(|open| open.len())
}

/// What was paid in all.
#[ic_cdk::query]
fn received() -> u64 {
    RECEIVED.with_borrow(|received| *received.get())
}
