//! Why the ledger says no: the errors of ICRC-1 and ICRC-2, and the reasons those standards have no variant for.

use candid::{CandidType, Nat};
use idempotency_core::IdempotencyError;
use serde::Deserialize;
use thiserror::Error;

/// Why `icrc1_transfer` was refused.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The fee given is not the ledger's.
    BadFee {
        /// The fee to give instead.
        expected_fee: Nat,
    },
    /// Too little to burn.
    BadBurn {
        /// The least that can be burned.
        min_burn_amount: Nat,
    },
    /// The account holds less than amount and fee.
    InsufficientFunds {
        /// What it holds.
        balance: Nat,
    },
    /// Created before the deduplication window.
    TooOld,
    /// Created later than the ledger's clock allows.
    CreatedInFuture {
        /// The ledger's clock, in nanoseconds.
        ledger_time: u64,
    },
    /// Done already.
    Duplicate {
        /// The transaction that did it.
        duplicate_of: Nat,
    },
    /// Nothing has happened; try again later.
    TemporarilyUnavailable,
    /// Anything else.
    GenericError {
        /// The number of the reason.
        error_code: Nat,
        /// The reason, for people.
        message: String,
    },
}

/// Why `icrc2_approve` was refused.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ApproveError {
    /// The fee given is not the ledger's.
    BadFee {
        /// The fee to give instead.
        expected_fee: Nat,
    },
    /// The account holds less than the fee.
    InsufficientFunds {
        /// What it holds.
        balance: Nat,
    },
    /// The allowance is not the expected one.
    AllowanceChanged {
        /// The allowance as it is.
        current_allowance: Nat,
    },
    /// The allowance would have expired already.
    Expired {
        /// The ledger's clock, in nanoseconds.
        ledger_time: u64,
    },
    /// Created before the deduplication window.
    TooOld,
    /// Created later than the ledger's clock allows.
    CreatedInFuture {
        /// The ledger's clock, in nanoseconds.
        ledger_time: u64,
    },
    /// Done already.
    Duplicate {
        /// The transaction that did it.
        duplicate_of: Nat,
    },
    /// Nothing has happened; try again later.
    TemporarilyUnavailable,
    /// Anything else.
    GenericError {
        /// The number of the reason.
        error_code: Nat,
        /// The reason, for people.
        message: String,
    },
}

/// Why `icrc2_transfer_from` was refused.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransferFromError {
    /// The fee given is not the ledger's.
    BadFee {
        /// The fee to give instead.
        expected_fee: Nat,
    },
    /// Too little to burn.
    BadBurn {
        /// The least that can be burned.
        min_burn_amount: Nat,
    },
    /// The account holds less than amount and fee.
    InsufficientFunds {
        /// What it holds.
        balance: Nat,
    },
    /// The allowance is less than amount and fee.
    InsufficientAllowance {
        /// What is left of it.
        allowance: Nat,
    },
    /// Created before the deduplication window.
    TooOld,
    /// Created later than the ledger's clock allows.
    CreatedInFuture {
        /// The ledger's clock, in nanoseconds.
        ledger_time: u64,
    },
    /// Done already.
    Duplicate {
        /// The transaction that did it.
        duplicate_of: Nat,
    },
    /// Nothing has happened; try again later.
    TemporarilyUnavailable,
    /// Anything else.
    GenericError {
        /// The number of the reason.
        error_code: Nat,
        /// The reason, for people.
        message: String,
    },
}

/// Why `transfer_once` was refused.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum TransferOnceError {
    /// The transfer itself.
    Transfer(TransferError),
    /// The request id.
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

/// A request that can never succeed, for a reason the standards have no variant for: answered as `GenericError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A subaccount of the wrong length.
    #[error("a subaccount has exactly 32 bytes, not {length}")]
    BadSubaccount {
        /// Its length.
        length: usize,
    },
    /// A memo longer than `icrc1:max_memo_length`.
    #[error("a memo has at most {max} bytes, not {length}")]
    MemoTooLong {
        /// Its length.
        length: usize,
        /// The limit.
        max: u16,
    },
    /// The minting account as the source of an allowance.
    #[error("the minting account cannot delegate minting")]
    DelegatedMint,
    /// A transfer from the minting account to itself.
    #[error("the minting account cannot send tokens to itself")]
    MintToMinter,
    /// An approval for another account of the same principal.
    #[error("an owner needs no allowance for their own accounts")]
    SelfApproval,
    /// More tokens than the ledger can count.
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
