//! What goes over the wire, in the names of ICRC-1 and ICRC-2.

use candid::{CandidType, Int, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// An account: a principal, and which of its 2^256 accounts.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who owns it.
    pub owner: Principal,
    /// 32 bytes; none means all zeros.
    pub subaccount: Option<ByteBuf>,
}

/// The argument of `icrc1_transfer`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransferArg {
    /// Which of the caller's accounts pays.
    pub from_subaccount: Option<ByteBuf>,
    /// Who receives.
    pub to: Account,
    /// How much arrives.
    pub amount: Nat,
    /// The fee the caller expects.
    pub fee: Option<Nat>,
    /// For the caller's own use.
    pub memo: Option<ByteBuf>,
    /// When the caller made this transaction, in nanoseconds: turns deduplication on.
    pub created_at_time: Option<u64>,
}

/// The argument of `icrc2_approve`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ApproveArgs {
    /// Which of the caller's accounts may be drawn from.
    pub from_subaccount: Option<ByteBuf>,
    /// Who may draw.
    pub spender: Account,
    /// How much in all, fees included. Replaces the present allowance.
    pub amount: Nat,
    /// What the caller believes the present allowance to be.
    pub expected_allowance: Option<Nat>,
    /// From when on it can't be used, in nanoseconds.
    pub expires_at: Option<u64>,
    /// The fee the caller expects.
    pub fee: Option<Nat>,
    /// For the caller's own use.
    pub memo: Option<ByteBuf>,
    /// When the caller made this transaction, in nanoseconds: turns deduplication on.
    pub created_at_time: Option<u64>,
}

/// The argument of `icrc2_transfer_from`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransferFromArgs {
    /// Which of the caller's accounts holds the allowance.
    pub spender_subaccount: Option<ByteBuf>,
    /// Who pays.
    pub from: Account,
    /// Who receives.
    pub to: Account,
    /// How much arrives.
    pub amount: Nat,
    /// The fee the caller expects.
    pub fee: Option<Nat>,
    /// For the caller's own use.
    pub memo: Option<ByteBuf>,
    /// When the caller made this transaction, in nanoseconds: turns deduplication on.
    pub created_at_time: Option<u64>,
}

/// The argument of `icrc2_allowance`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AllowanceArgs {
    /// Who pays.
    pub account: Account,
    /// Who may draw.
    pub spender: Account,
}

/// The answer of `icrc2_allowance`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How much is left, fees included.
    pub allowance: Nat,
    /// From when on it can't be used, in nanoseconds.
    pub expires_at: Option<u64>,
}

/// The argument of `transfer_once`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransferOnceArg {
    /// Names this request: the same id is the same transfer, however often it is sent.
    pub request_id: ByteBuf,
    /// Which of the caller's accounts pays.
    pub from_subaccount: Option<ByteBuf>,
    /// Who receives.
    pub to: Account,
    /// How much arrives.
    pub amount: Nat,
    /// The fee the caller expects.
    pub fee: Option<Nat>,
    /// For the caller's own use.
    pub memo: Option<ByteBuf>,
}

impl From<TransferOnceArg> for TransferArg {
    fn from(arg: TransferOnceArg) -> Self {
        Self {
            from_subaccount: arg.from_subaccount,
            to: arg.to,
            amount: arg.amount,
            fee: arg.fee,
            memo: arg.memo,
            created_at_time: None,
        }
    }
}

/// One value of `icrc1_metadata`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum MetadataValue {
    /// A natural number.
    Nat(Nat),
    /// A number.
    Int(Int),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(ByteBuf),
}

/// One entry of `icrc1_supported_standards`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Standard {
    /// Its name, such as `ICRC-1`.
    pub name: String,
    /// Where it is written down.
    pub url: String,
}

/// A transaction as the ledger recorded it.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What was done.
    pub operation: Operation,
    /// The caller's memo.
    pub memo: Option<ByteBuf>,
    /// When the caller made it, in nanoseconds.
    pub created_at_time: Option<u64>,
    /// When the ledger did it, in nanoseconds.
    pub timestamp: u64,
}

/// What a transaction did.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// New tokens.
    Mint {
        /// Who received them.
        to: Account,
        /// How many.
        amount: Nat,
    },
    /// Tokens taken out of the supply.
    Burn {
        /// Whose they were.
        from: Account,
        /// Who used an allowance for it.
        spender: Option<Account>,
        /// How many.
        amount: Nat,
    },
    /// Tokens that changed hands.
    Transfer {
        /// Who paid.
        from: Account,
        /// Who received.
        to: Account,
        /// Who used an allowance for it.
        spender: Option<Account>,
        /// How much arrived.
        amount: Nat,
        /// How much was burned for it.
        fee: Nat,
    },
    /// An allowance set.
    Approve {
        /// Who pays.
        from: Account,
        /// Who may draw.
        spender: Account,
        /// How much.
        amount: Nat,
        /// What it had to be before.
        expected_allowance: Option<Nat>,
        /// From when on it can't be used, in nanoseconds.
        expires_at: Option<u64>,
        /// How much was burned for it.
        fee: Nat,
    },
}
