//! Why the ledger refuses a request: the errors of ICRC-1 and ICRC-2, and the reasons for which they have no variant.

use candid::{CandidType, Nat};
use idempotency_core::IdempotencyError;
use serde::Deserialize;
use thiserror::Error;

/// Why the ledger refused a call of `icrc1_transfer`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The fee in the argument is not the ledger's fee.
    BadFee {
        /// The ledger's fee.
        expected_fee: Nat,
    },
    /// The amount is less than the smallest amount that can be burned.
    BadBurn {
        /// The smallest amount that can be burned.
        min_burn_amount: Nat,
    },
    /// The balance of the account is less than amount and fee together.
    InsufficientFunds {
        /// The balance of the account.
        balance: Nat,
    },
    /// `created_at_time` is before the deduplication window.
    TooOld,
    /// `created_at_time` is too far ahead of the ledger's clock.
    CreatedInFuture {
        /// The time of the ledger's clock, in nanoseconds since the UNIX epoch.
        ledger_time: u64,
    },
    /// The ledger has executed the same transaction before.
    Duplicate {
        /// The index of that transaction.
        duplicate_of: Nat,
    },
    /// The ledger can't execute the transaction at present and has changed nothing. Send it again later.
    TemporarilyUnavailable,
    /// Any other reason.
    GenericError {
        /// A number that stands for the reason.
        error_code: Nat,
        /// The reason, for people.
        message: String,
    },
}

/// Why the ledger refused a call of `icrc2_approve`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ApproveError {
    /// The fee in the argument is not the ledger's fee.
    BadFee {
        /// The ledger's fee.
        expected_fee: Nat,
    },
    /// The balance of the account is less than the fee.
    InsufficientFunds {
        /// The balance of the account.
        balance: Nat,
    },
    /// The allowance is not `expected_allowance`.
    AllowanceChanged {
        /// The present allowance.
        current_allowance: Nat,
    },
    /// `expires_at` is in the past.
    Expired {
        /// The time of the ledger's clock, in nanoseconds since the UNIX epoch.
        ledger_time: u64,
    },
    /// `created_at_time` is before the deduplication window.
    TooOld,
    /// `created_at_time` is too far ahead of the ledger's clock.
    CreatedInFuture {
        /// The time of the ledger's clock, in nanoseconds since the UNIX epoch.
        ledger_time: u64,
    },
    /// The ledger has executed the same transaction before.
    Duplicate {
        /// The index of that transaction.
        duplicate_of: Nat,
    },
    /// The ledger can't execute the transaction at present and has changed nothing. Send it again later.
    TemporarilyUnavailable,
    /// Any other reason.
    GenericError {
        /// A number that stands for the reason.
        error_code: Nat,
        /// The reason, for people.
        message: String,
    },
}

/// Why the ledger refused a call of `icrc2_transfer_from`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransferFromError {
    /// The fee in the argument is not the ledger's fee.
    BadFee {
        /// The ledger's fee.
        expected_fee: Nat,
    },
    /// The amount is less than the smallest amount that can be burned.
    BadBurn {
        /// The smallest amount that can be burned.
        min_burn_amount: Nat,
    },
    /// The balance of the account is less than amount and fee together.
    InsufficientFunds {
        /// The balance of the account.
        balance: Nat,
    },
    /// The allowance is less than amount and fee together.
    InsufficientAllowance {
        /// The present allowance.
        allowance: Nat,
    },
    /// `created_at_time` is before the deduplication window.
    TooOld,
    /// `created_at_time` is too far ahead of the ledger's clock.
    CreatedInFuture {
        /// The time of the ledger's clock, in nanoseconds since the UNIX epoch.
        ledger_time: u64,
    },
    /// The ledger has executed the same transaction before.
    Duplicate {
        /// The index of that transaction.
        duplicate_of: Nat,
    },
    /// The ledger can't execute the transaction at present and has changed nothing. Send it again later.
    TemporarilyUnavailable,
    /// Any other reason.
    GenericError {
        /// A number that stands for the reason.
        error_code: Nat,
        /// The reason, for people.
        message: String,
    },
}

/// Why the ledger refused a call of `transfer_once`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransferOnceError {
    /// The ledger refused the transfer.
    Transfer(TransferError),
    /// The library refused the request.
    Idempotency(IdempotencyError),
}

impl From<TransferError> for TransferOnceError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<IdempotencyError> for TransferOnceError {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

/// What can go wrong with a transfer can go wrong with one on behalf of somebody else.
impl From<TransferError> for TransferFromError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::BadFee { expected_fee } => Self::BadFee { expected_fee },
            TransferError::BadBurn { min_burn_amount } => Self::BadBurn { min_burn_amount },
            TransferError::InsufficientFunds { balance } => Self::InsufficientFunds { balance },
            TransferError::TooOld => Self::TooOld,
            TransferError::CreatedInFuture { ledger_time } => Self::CreatedInFuture { ledger_time },
            TransferError::Duplicate { duplicate_of } => Self::Duplicate { duplicate_of },
            TransferError::TemporarilyUnavailable => Self::TemporarilyUnavailable,
            TransferError::GenericError {
                error_code,
                message,
            } => Self::GenericError {
                error_code,
                message,
            },
        }
    }
}

/// The part of the error types that every deduplicated endpoint of the standards has in common.
pub trait LedgerError {
    /// The transaction was created before the deduplication window.
    fn too_old() -> Self;
    /// The transaction was created later than the ledger's clock allows.
    fn created_in_future(ledger_time: u64) -> Self;
    /// The transaction is done already.
    fn duplicate(duplicate_of: Nat) -> Self;
    /// Nothing has happened, and a later attempt may succeed.
    fn temporarily_unavailable() -> Self;
    /// A reason without a variant of its own.
    fn generic(error_code: u64, message: String) -> Self;
}

macro_rules! ledger_errors {
    ($($error:ident),+) => {$(
        impl LedgerError for $error {
            fn too_old() -> Self {
                Self::TooOld
            }

            fn created_in_future(ledger_time: u64) -> Self {
                Self::CreatedInFuture { ledger_time }
            }

            fn duplicate(duplicate_of: Nat) -> Self {
                Self::Duplicate { duplicate_of }
            }

            fn temporarily_unavailable() -> Self {
                Self::TemporarilyUnavailable
            }

            fn generic(error_code: u64, message: String) -> Self {
                Self::GenericError { error_code: error_code.into(), message }
            }
        }

        impl From<Refusal> for $error {
            fn from(refusal: Refusal) -> Self {
                Self::generic(refusal.code(), refusal.to_string())
            }
        }
    )+};
}

ledger_errors!(TransferError, ApproveError, TransferFromError);

/// A request that can never succeed, for a reason for which the standards have no variant. The answer is `GenericError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A subaccount does not have 32 bytes.
    #[error("a subaccount has exactly 32 bytes, not {length}")]
    BadSubaccount {
        /// Its length.
        length: usize,
    },
    /// A memo is longer than `icrc1:max_memo_length`.
    #[error("a memo has at most {max} bytes, not {length}")]
    MemoTooLong {
        /// Its length.
        length: usize,
        /// The limit.
        max: u16,
    },
    /// The minting account can't be the source of an allowance.
    #[error("the minting account cannot delegate minting")]
    DelegatedMint,
    /// The minting account can't transfer to itself.
    #[error("the minting account cannot send tokens to itself")]
    MintToMinter,
    /// An owner can't approve an account of their own.
    #[error("an owner needs no allowance for their own accounts")]
    SelfApproval,
    /// The total supply would be more than the ledger can count.
    #[error("the total supply would exceed what this ledger can count")]
    SupplyOverflow,
}

impl Refusal {
    /// The `error_code` of the answer: part of the interface, never renumbered.
    fn code(&self) -> u64 {
        match self {
            Self::BadSubaccount { .. } => 1,
            Self::MemoTooLong { .. } => 2,
            Self::DelegatedMint => 3,
            Self::MintToMinter => 4,
            Self::SelfApproval => 5,
            Self::SupplyOverflow => 6,
        }
    }
}
