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

/// How many transactions are remembered at a time.
pub const CAPACITY: u64 = 1_000_000;

/// ICRC-1's `TX_WINDOW` and `PERMITTED_DRIFT`, and how many transactions may be made in them.
pub(crate) fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_secs(24 * 60 * 60))
        .drift(Duration::from_secs(60))
        .capacity(CAPACITY)
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

#[cfg(test)]
mod tests {
    use candid::Principal;
    use idempotency_core::{KeyWriter, identity::RequestKey};
    use serde_bytes::ByteBuf;

    use super::*;

    fn written(key: impl Key) -> KeyWriter {
        let mut writer = KeyWriter::default();
        key.write(&mut writer);
        writer
    }

    fn account() -> Account {
        Account {
            owner: Principal::from_slice(&[1]),
            subaccount: None,
        }
    }

    fn transfer() -> TransferArg {
        TransferArg {
            from_subaccount: None,
            to: account(),
            amount: 5_u8.into(),
            fee: None,
            memo: None,
            created_at_time: Some(7),
        }
    }

    #[test]
    fn without_a_time_there_is_no_key() {
        let arg = TransferArg {
            created_at_time: None,
            ..transfer()
        };
        assert_eq!(RequestKey::of(&transfer_key(&arg)), None);
        assert_ne!(RequestKey::of(&transfer_key(&transfer())), None);
    }

    #[test]
    fn the_default_subaccount_has_one_key() {
        let zeros = Some(ByteBuf::from([0; 32]));
        let arg = TransferArg {
            from_subaccount: zeros.clone(),
            to: Account {
                subaccount: zeros,
                ..account()
            },
            ..transfer()
        };
        assert_eq!(
            written(transfer_key(&arg)),
            written(transfer_key(&transfer()))
        );
    }

    #[test]
    fn every_field_makes_another_transfer() {
        let ones = Some(ByteBuf::from([1; 32]));
        let others = [
            TransferArg {
                from_subaccount: ones.clone(),
                ..transfer()
            },
            TransferArg {
                to: Account {
                    subaccount: ones,
                    ..account()
                },
                ..transfer()
            },
            TransferArg {
                to: Account {
                    owner: Principal::from_slice(&[2]),
                    ..account()
                },
                ..transfer()
            },
            TransferArg {
                amount: 6_u8.into(),
                ..transfer()
            },
            TransferArg {
                fee: Some(0_u8.into()),
                ..transfer()
            },
            TransferArg {
                memo: Some(ByteBuf::new()),
                ..transfer()
            },
            TransferArg {
                created_at_time: Some(8),
                ..transfer()
            },
        ];
        for other in others {
            assert_ne!(
                written(transfer_key(&other)),
                written(transfer_key(&transfer())),
                "{other:?}"
            );
        }
    }

    #[test]
    fn every_field_makes_another_approval() {
        let approval = ApproveArgs {
            from_subaccount: None,
            spender: account(),
            amount: 5_u8.into(),
            expected_allowance: None,
            expires_at: None,
            fee: None,
            memo: None,
            created_at_time: Some(7),
        };
        let others = [
            ApproveArgs {
                expected_allowance: Some(0_u8.into()),
                ..approval.clone()
            },
            ApproveArgs {
                expires_at: Some(9),
                ..approval.clone()
            },
            ApproveArgs {
                fee: Some(0_u8.into()),
                ..approval.clone()
            },
        ];
        for other in others {
            assert_ne!(
                written(approve_key(&other)),
                written(approve_key(&approval)),
                "{other:?}"
            );
        }
    }

    #[test]
    fn payer_and_receiver_are_not_interchangeable() {
        let other = Account {
            owner: Principal::from_slice(&[2]),
            subaccount: None,
        };
        let transfer = |from: &Account, to: &Account| TransferFromArgs {
            spender_subaccount: None,
            from: from.clone(),
            to: to.clone(),
            amount: 5_u8.into(),
            fee: None,
            memo: None,
            created_at_time: Some(7),
        };
        assert_ne!(
            written(transfer_from_key(&transfer(&account(), &other))),
            written(transfer_from_key(&transfer(&other, &account())))
        );
    }

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
        let long = IdempotencyError::InvalidKey {
            length: 300,
            max: 256,
        };
        assert_eq!(
            refused(long.clone()),
            TransferError::GenericError {
                error_code: IDEMPOTENCY_CODE.into(),
                message: long.to_string()
            }
        );
    }
}
