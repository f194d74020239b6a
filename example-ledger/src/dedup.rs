//! How the ledger uses `idempotency-core`: what makes two transactions the same one, and which errors of ICRC-1 and ICRC-2
//! stand for those of the library.
//!
//! In ICRC-1 two transactions are the same if the caller and all fields of the argument are equal, `created_at_time`
//! included; without `created_at_time` there is no deduplication. So the fields *are* the key, as the client sent them: an
//! account without a subaccount and the same account with a subaccount of 32 zeros make two transactions, and so do a fee
//! that is left out and the same fee that is given. The keys list the fields one by one, so that a field which is added to
//! an argument later changes no key until it is added here.

use candid::{Nat, Principal};
use idempotency_core::{
    IdempotencyError, Key, KeyWriter, Policy, Timestamp, archive::Keep, identity::MAX_KEY_BYTES,
};
use serde_bytes::ByteBuf;
use std::time::Duration;

use crate::{
    errors::{ApproveError, LedgerError, TransferError, TransferFromError},
    types::{Account, ApproveArgs, TransferArg, TransferFromArgs},
};

/// How many transactions are remembered at a time.
pub const CAPACITY: u64 = 1_000_000;

/// ICRC-1's `TX_WINDOW` and `PERMITTED_DRIFT`, and how many transactions may be made in them. With archives, what is kept of older ones.
pub(crate) fn policy(archived: Option<Keep>) -> Policy {
    let policy = Policy::new()
        .window(Duration::from_secs(24 * 60 * 60))
        .drift(Duration::from_secs(60))
        .capacity(CAPACITY);
    match archived {
        Some(keep) => policy.archive(keep),
        None => policy,
    }
}

/// `created_at_time` with its unit, which is nanoseconds.
pub(crate) fn timestamp(created_at_time: Option<u64>) -> Option<Timestamp> {
    created_at_time.map(Timestamp::from_nanos)
}

/// What makes two calls of `icrc1_transfer` the same transfer.
pub fn transfer_key(arg: &TransferArg) -> Option<impl Key> {
    arg.created_at_time.map(|created_at_time| {
        (
            created_at_time,
            optional(&arg.from_subaccount),
            account(&arg.to),
            Field(&arg.amount),
            optional(&arg.fee),
            optional(&arg.memo),
        )
    })
}

/// What makes two calls of `icrc2_approve` the same approval.
pub fn approve_key(arg: &ApproveArgs) -> Option<impl Key> {
    arg.created_at_time.map(|created_at_time| {
        (
            created_at_time,
            optional(&arg.from_subaccount),
            account(&arg.spender),
            Field(&arg.amount),
            optional(&arg.expected_allowance),
            arg.expires_at,
            optional(&arg.fee),
            optional(&arg.memo),
        )
    })
}

/// What makes two calls of `icrc2_transfer_from` the same transfer.
pub fn transfer_from_key(arg: &TransferFromArgs) -> Option<impl Key> {
    arg.created_at_time.map(|created_at_time| {
        (
            created_at_time,
            optional(&arg.spender_subaccount),
            account(&arg.from),
            account(&arg.to),
            Field(&arg.amount),
            optional(&arg.fee),
            optional(&arg.memo),
        )
    })
}

fn account(account: &Account) -> (Principal, Option<Field<'_, ByteBuf>>) {
    (account.owner, optional(&account.subaccount))
}

fn optional<T>(field: &Option<T>) -> Option<Field<'_, T>> {
    field.as_ref().map(Field)
}

/// A field of any length, as the ledger itself refuses fields that are too long, with errors of its own. A part of a key has
/// at most [`MAX_KEY_BYTES`], so the field is cut into parts of just that length; a shorter part ends it.
struct Field<'a, T>(&'a T);

impl Key for Field<'_, ByteBuf> {
    fn write(&self, key: &mut KeyWriter) {
        write_parts(self.0, key);
    }
}

impl Key for Field<'_, Nat> {
    fn write(&self, key: &mut KeyWriter) {
        write_parts(&self.0.0.to_bytes_le(), key);
    }
}

fn write_parts(mut rest: &[u8], key: &mut KeyWriter) {
    while let Some((part, after)) = rest.split_at_checked(MAX_KEY_BYTES) {
        key.bytes(part);
        rest = after;
    }
    key.bytes(rest);
}

/// The answer to a repeated transaction: in the standards that is an error which names the first one.
pub(crate) fn duplicate<E: LedgerError>(first: Result<Nat, E>) -> Result<Nat, E> {
    first.and_then(|index| Err(E::duplicate(index)))
}

/// The `error_code` of every refusal of the library for which the standards have no variant. The message begins with the
/// name of the refusal.
const IDEMPOTENCY_CODE: u64 = 100;

fn refused<E: LedgerError>(error: IdempotencyError) -> E {
    match error {
        IdempotencyError::TooOld => E::too_old(),
        IdempotencyError::CreatedInFuture { now } => E::created_in_future(now.as_nanos()),
        IdempotencyError::Full { .. } | IdempotencyError::QuotaExceeded { .. } => {
            E::temporarily_unavailable()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_transaction_is_a_duplicate_of_the_first() {
        assert_eq!(
            duplicate::<TransferError>(Ok(3_u8.into())),
            Err(TransferError::Duplicate {
                duplicate_of: 3_u8.into()
            })
        );
    }

    #[test]
    fn refusals_get_the_names_of_the_standards() {
        let refused = TransferError::from;
        let later = Timestamp::from_nanos(9);
        assert_eq!(refused(IdempotencyError::TooOld), TransferError::TooOld);
        assert_eq!(
            refused(IdempotencyError::CreatedInFuture { now: later }),
            TransferError::CreatedInFuture { ledger_time: 9 }
        );
        assert_eq!(
            refused(IdempotencyError::Full { retry_after: later }),
            TransferError::TemporarilyUnavailable
        );
        let of_a_later_version = IdempotencyError::Other {
            code: 7,
            message: "parked".into(),
            retry_after: None,
        };
        for other in [IdempotencyError::StoreDamaged, of_a_later_version] {
            assert_eq!(
                refused(other.clone()),
                TransferError::GenericError {
                    error_code: IDEMPOTENCY_CODE.into(),
                    message: other.to_string()
                }
            );
        }
    }
}
