//! Everything the ledger says to `idempotency-core`: what makes two transactions the same one, and what the answers of
//! the library are called in ICRC-1 and ICRC-2.
//!
//! ICRC-1 calls two transactions the same if the caller and all fields of the argument are, `created_at_time` among
//! them; without `created_at_time` there is no deduplication. So the fields *are* the key. They are listed one by one:
//! a field added to the argument later changes no key until it is added here.

use candid::Nat;
use idempotency_core::{IdempotencyError, Key, Policy, Timestamp};
use std::time::Duration;

use crate::{
    account::subaccount,
    errors::{ApproveError, LedgerError, TransferError, TransferFromError},
    types::{Account, ApproveArgs, TransferArg, TransferFromArgs},
};

/// ICRC-1's `TX_WINDOW` and `PERMITTED_DRIFT`, and how many transactions may be made in them.
pub(crate) fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_secs(24 * 60 * 60))
        .drift(Duration::from_secs(60))
        .capacity(1_000_000)
}

/// The library takes no bare numbers for times.
pub(crate) fn timestamp(created_at_time: Option<u64>) -> Option<Timestamp> {
    created_at_time.map(Timestamp::from_nanos)
}

/// What makes two calls of `icrc1_transfer` the same transfer.
pub(crate) fn transfer_key(arg: &TransferArg) -> Option<impl Key> {
    arg.created_at_time.map(|created_at_time| {
        (
            created_at_time,
            subaccount(arg.from_subaccount.as_ref()).ok(),
            account_key(&arg.to),
            &arg.amount,
            &arg.fee,
            &arg.memo,
        )
    })
}

/// What makes two calls of `icrc2_approve` the same approval.
pub(crate) fn approve_key(arg: &ApproveArgs) -> Option<impl Key> {
    arg.created_at_time.map(|created_at_time| {
        (
            created_at_time,
            subaccount(arg.from_subaccount.as_ref()).ok(),
            account_key(&arg.spender),
            &arg.amount,
            &arg.expected_allowance,
            &arg.expires_at,
            &arg.fee,
            &arg.memo,
        )
    })
}

/// What makes two calls of `icrc2_transfer_from` the same transfer.
pub(crate) fn transfer_from_key(arg: &TransferFromArgs) -> Option<impl Key> {
    arg.created_at_time.map(|created_at_time| {
        (
            created_at_time,
            subaccount(arg.spender_subaccount.as_ref()).ok(),
            account_key(&arg.from),
            account_key(&arg.to),
            &arg.amount,
            &arg.fee,
            &arg.memo,
        )
    })
}

/// A subaccount of the wrong length counts as none at all: the ledger refuses it, and refusals aren't remembered.
fn account_key(account: &Account) -> impl Key {
    (account.owner, subaccount(account.subaccount.as_ref()).ok())
}

/// What a repeated transaction is answered: the standards want an error that names the first one.
pub(crate) fn duplicate<E: LedgerError>(first: Result<Nat, E>) -> Result<Nat, E> {
    first.and_then(|index| Err(E::duplicate(index)))
}

/// The `error_code` of everything the library refuses and the standards have no variant for.
const IDEMPOTENCY_CODE: u64 = 100;

fn refused<E: LedgerError>(error: IdempotencyError) -> E {
    match error {
        IdempotencyError::TooOld => E::too_old(),
        IdempotencyError::CreatedInFuture { now } => E::created_in_future(now.as_nanos()),
        IdempotencyError::Full { .. } => E::temporarily_unavailable(),
        other => E::generic(IDEMPOTENCY_CODE, other.to_string()),
    }
}

impl From<IdempotencyError> for TransferError {
    fn from(error: IdempotencyError) -> Self {
        refused(error)
    }
}

impl From<IdempotencyError> for ApproveError {
    fn from(error: IdempotencyError) -> Self {
        refused(error)
    }
}

impl From<IdempotencyError> for TransferFromError {
    fn from(error: IdempotencyError) -> Self {
        refused(error)
    }
}
