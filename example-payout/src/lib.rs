//! A canister that keeps balances and pays them out through an ICRC-1 ledger, each payout exactly once.
//!
//! To pay out takes two canisters that can't commit together: the balance is here, the tokens are there. Between the two the answer can be
//! lost, either can trap, and this one can be upgraded. The method `payout` follows the pattern of a two-phase commit:
//!
//! ```text
//!            reserve                 execute                    finalise
//!  balance ───────────► reserved ───────────────► transferred ───────────► paid
//!     ▲                    │        (ledger)
//!     └────────────────────┘
//!      release, if the ledger certainly did not transfer
//! ```
//!
//! At every moment each credited token is in exactly one of the three places: `balances + reserved + paid = credited`. The query
//! `audit` checks it, and the tests ask it after every round.
//!
//! What makes that hold is three things of `idempotency-core`:
//! - `#[idempotent(durable)]`: the request is recorded before it begins, and goes on by itself, whatever cuts it off. Nobody retries.
//! - `steps.run`: what changes the books takes effect together with its record, once.
//! - `steps.call`: the transfer has the same memo and time in all attempts, so the ledger makes it once; and only what it certainly
//!   did not make is released.
//!
//! To copy it, keep the order: reserve first, call then, finalise last. Nothing that the method decides may come from outside of a
//! step, as it would be decided again after an upgrade.

#![forbid(unsafe_code)]

mod books;

use crate::books::{Audit, Memory, PayoutId};
use candid::{CandidType, Nat, Principal};
use ic_cdk::{api, init, post_upgrade, query, update};
use idempotency_core::{
    IdempotencyError, Policy, SafeCall, Steps, Store, endpoint, idempotent,
    outcome::{self, Asked},
    outcomes,
    safe_call::Outcome,
    store::{Resolved, Settlement, UnknownRequest},
};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    /// The requests of `credit` and `payout`. The memories below this one are the books'.
    static REQUESTS: Store<Memory> =
        Store::new(books::memory(10), Policy::new().window(DAY).capacity(100_000));
}

/// The argument of an installation: the ledger that holds the tokens.
#[init]
fn init(ledger: Principal) {
    books::set_ledger(ledger);
    idempotency_core::install(&REQUESTS);
}

/// Payouts that were under way go on by themselves.
#[post_upgrade]
fn post_upgrade() {
    idempotency_core::install(&REQUESTS);
}

/// A credit.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct CreditArg {
    request_id: ByteBuf,
    owner: Principal,
    amount: u64,
}

/// Why there is no credit.
#[derive(CandidType, Clone, Debug, Deserialize)]
enum CreditError {
    /// The books can't count so far.
    TooMuch,
    Idempotency(IdempotencyError),
}

impl From<IdempotencyError> for CreditError {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

/// A payout.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct PayoutArg {
    request_id: ByteBuf,
    to: Principal,
    amount: u64,
}

/// Why there is no payout.
#[derive(CandidType, Clone, Debug, Deserialize)]
enum PayoutError {
    InsufficientBalance {
        balance: u64,
    },
    /// The ledger certainly did not transfer. The amount is back on the balance.
    NotPaid {
        reason: String,
    },
    Idempotency(IdempotencyError),
}

impl From<IdempotencyError> for PayoutError {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

/// Credits a user, and gives the new balance. For the controllers, who see that this canister has the tokens on the ledger.
#[idempotent(store = REQUESTS, key = arg.request_id)]
#[update(guard = "is_controller")]
fn credit(arg: CreditArg) -> Result<u64, CreditError> {
    books::credit(arg.owner, arg.amount).ok_or(CreditError::TooMuch)
}

/// Pays out to an account on the ledger, and gives the transfer's block. The ledger's fee is on this canister.
///
/// A retry with the same id gets the same answer. Without one, the payout comes to the same end.
#[idempotent(store = REQUESTS, key = arg.request_id, durable)]
#[update]
async fn payout(steps: Steps, arg: PayoutArg) -> Result<Nat, PayoutError> {
    // Not the message's caller: when the payout goes on by itself, that is this canister.
    let id = PayoutId::new(steps.caller(), &arg.request_id);

    // Reserve. It awaits nothing, so it commits together with its record.
    let reserved = steps.run("reserve", async || books::reserve(&id, arg.amount));
    if let Err(balance) = reserved.await {
        return Err(PayoutError::InsufficientBalance { balance });
    }
    // From here on an `Err` releases it.
    let undone = id.clone();
    steps.compensate("reserve", async move || {
        books::release(&undone);
        Ok(())
    });

    // Execute. Cut off between its call and its answer, it is sent again, and the ledger recognises it.
    let transfer = steps.transfer("transfer", arg.to.into(), arg.amount.into());
    let transfer = SafeCall::icrc1_transfer(books::ledger(), &transfer);
    match steps.call("transfer", transfer).await {
        // Finalise.
        Outcome::Replied(block) => {
            let finalised = steps.run("finalise", async || books::finalise(&id, &block));
            finalised.await;
            Ok(block)
        }
        Outcome::Rejected(reason) | Outcome::NotExecuted(reason) => {
            let reason = reason.to_string();
            Err(PayoutError::NotPaid { reason })
        }
        // The ledger was silent for a day, and can't tell any more. Neither is safe, to release or to finalise: a human looks.
        _ => {
            let memo = steps.key("transfer").map(|byte| format!("{byte:02x}"));
            let reason = format!("look for a transfer with memo {}", memo.concat());
            steps.park(reason).await
        }
    }
}

/// Settles a payout that is listed by [`unresolved`]: with the transfer's block, or as not made. For the controllers.
///
/// # Errors
/// As [`Store::resolve`].
#[update(guard = "is_controller")]
fn settle(
    owner: Principal,
    request_id: ByteBuf,
    block: Option<Nat>,
) -> Result<Resolved, IdempotencyError> {
    let reply = block.clone().ok_or_else(|| PayoutError::NotPaid {
        reason: "an operator has looked".to_owned(),
    });
    let reply = candid::encode_one(reply).expect("the reply encodes");
    let payouts = endpoint!(payout).of(owner);
    let resolved = payouts.resolve(&request_id, &Settlement::Done(reply))?;
    if let Resolved::Settled { .. } = resolved {
        let id = PayoutId::new(owner, &request_id);
        match block {
            Some(block) => books::finalise(&id, &block),
            None => books::release(&id),
        }
    }
    Ok(resolved)
}

/// What a user can pay out.
#[query]
fn balance_of(owner: Principal) -> u64 {
    books::balance_of(owner)
}

/// What the books say, and whether they add up.
#[query]
fn audit() -> Audit {
    books::audit()
}

/// What became of the caller's payouts, each asked about with the argument that was sent. Called as an update, it is certified.
#[query]
fn idempotency_outcomes(calls: Vec<Asked>) -> Vec<Result<outcome::Outcome, IdempotencyError>> {
    outcomes!(calls; payout)
}

/// The first 100 payouts that wait for an operator. For the controllers.
#[query(guard = "is_controller")]
fn unresolved() -> Result<Vec<UnknownRequest>, IdempotencyError> {
    Ok(REQUESTS.with(|requests| requests.unknown(0, 100))?)
}

fn is_controller() -> Result<(), String> {
    match api::is_controller(&api::msg_caller()) {
        true => Ok(()),
        false => Err("this is for the controllers".to_owned()),
    }
}

#[cfg(test)]
mod interface;
