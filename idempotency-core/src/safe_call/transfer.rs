//! Transfers of ICRC-1 and ICRC-2: what is sent to a ledger, and its refusals.

use crate::time::Timestamp;
use candid::{CandidType, Nat, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use std::fmt;

/// The number of one of a principal's accounts. Absent it is 32 zeros.
pub type Subaccount = [u8; 32];

/// An account of a ledger.
#[derive(CandidType, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who owns it.
    pub owner: Principal,
    /// Which of the owner's accounts it is.
    pub subaccount: Option<Subaccount>,
}

impl Account {
    /// Equal for equal accounts.
    pub(super) fn key(&self) -> (Principal, Subaccount) {
        (self.owner, self.subaccount.unwrap_or_default())
    }
}

impl From<Principal> for Account {
    /// The owner's default account.
    fn from(owner: Principal) -> Self {
        Self {
            owner,
            subaccount: None,
        }
    }
}

/// The argument of `icrc1_transfer`. The ledger recognises a transfer by all of its fields, so keep them for as long as you may
/// have to ask again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The account of this canister that pays.
    pub from_subaccount: Option<Subaccount>,
    /// The account that receives.
    pub to: Account,
    /// The amount that arrives, in the smallest unit of the token.
    pub amount: Nat,
    /// The fee that you expect; absent it is the ledger's. With it, a repeat after a change of the fee may be refused with `BadFee`.
    pub fee: Option<Nat>,
    /// A unique value for each transfer. Ledgers take up to 32 bytes.
    pub memo: Vec<u8>,
    /// When you made the transfer: the time of the message that decided on it, not of the attempt.
    pub created_at: Timestamp,
}

/// The argument of `icrc2_transfer_from`. The ledger recognises a transfer by all of its fields, so keep them for as long as you
/// may have to ask again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferFrom {
    /// The account of this canister that has the allowance.
    pub spender_subaccount: Option<Subaccount>,
    /// The account that pays.
    pub from: Account,
    /// The account that receives.
    pub to: Account,
    /// The amount that arrives, in the smallest unit of the token.
    pub amount: Nat,
    /// The fee that you expect; absent it is the ledger's. With it, a repeat after a change of the fee may be refused with `BadFee`.
    pub fee: Option<Nat>,
    /// A unique value for each transfer. Ledgers take up to 32 bytes.
    pub memo: Vec<u8>,
    /// When you made the transfer: the time of the message that decided on it, not of the attempt.
    pub created_at: Timestamp,
}

/// Why a ledger refused a transfer: `TransferError` of ICRC-1, and `TransferFromError` of ICRC-2.
#[derive(CandidType, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the standards")]
pub enum TransferError {
    /// The fee is another one.
    BadFee { expected_fee: Nat },
    /// That is too little to burn.
    BadBurn { min_burn_amount: Nat },
    /// The payer has less than amount and fee.
    InsufficientFunds { balance: Nat },
    /// The allowance is less than amount and fee. ICRC-2 only.
    InsufficientAllowance { allowance: Nat },
    /// `created_at_time` is before the ledger's window.
    TooOld,
    /// `created_at_time` is too far ahead of the ledger's clock, in nanoseconds since the UNIX epoch.
    CreatedInFuture { ledger_time: u64 },
    /// The transfer was executed before. A safe call never ends with this: it is its success.
    Duplicate { duplicate_of: Nat },
    /// The ledger is too busy.
    TemporarilyUnavailable,
    /// Anything else.
    GenericError { error_code: Nat, message: String },
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadFee { expected_fee } => write!(f, "BadFee: the fee is {expected_fee}"),
            Self::BadBurn { min_burn_amount } => {
                write!(f, "BadBurn: the least amount to burn is {min_burn_amount}")
            }
            Self::InsufficientFunds { balance } => {
                write!(f, "InsufficientFunds: the balance is {balance}")
            }
            Self::InsufficientAllowance { allowance } => {
                write!(f, "InsufficientAllowance: the allowance is {allowance}")
            }
            Self::TooOld => write!(f, "TooOld: created_at_time is before the ledger's window"),
            Self::CreatedInFuture { ledger_time } => write!(
                f,
                "CreatedInFuture: the ledger's clock is at {}",
                Timestamp::from_nanos(*ledger_time)
            ),
            Self::Duplicate { duplicate_of } => {
                write!(f, "Duplicate: executed before, in block {duplicate_of}")
            }
            Self::TemporarilyUnavailable => {
                write!(f, "TemporarilyUnavailable: the ledger is too busy")
            }
            Self::GenericError {
                error_code,
                message,
            } => write!(f, "GenericError: {message} (code {error_code})"),
        }
    }
}

/// What goes over the wire.
#[derive(CandidType)]
struct TransferArgs<'a> {
    from_subaccount: Option<&'a Bytes>,
    to: WireAccount<'a>,
    amount: &'a Nat,
    fee: Option<&'a Nat>,
    memo: Option<&'a Bytes>,
    created_at_time: Option<u64>,
}

#[derive(CandidType)]
struct TransferFromArgs<'a> {
    spender_subaccount: Option<&'a Bytes>,
    from: WireAccount<'a>,
    to: WireAccount<'a>,
    amount: &'a Nat,
    fee: Option<&'a Nat>,
    memo: Option<&'a Bytes>,
    created_at_time: Option<u64>,
}

#[derive(CandidType)]
struct WireAccount<'a> {
    owner: Principal,
    subaccount: Option<&'a Bytes>,
}

fn blob(subaccount: &Option<Subaccount>) -> Option<&Bytes> {
    subaccount.as_ref().map(|bytes| Bytes::new(bytes))
}

fn wire(account: &Account) -> WireAccount<'_> {
    WireAccount {
        owner: account.owner,
        subaccount: blob(&account.subaccount),
    }
}

impl Transfer {
    #[doc(hidden)]
    pub fn encode(&self) -> Result<Vec<u8>, candid::Error> {
        candid::encode_one(TransferArgs {
            from_subaccount: blob(&self.from_subaccount),
            to: wire(&self.to),
            amount: &self.amount,
            fee: self.fee.as_ref(),
            memo: Some(Bytes::new(&self.memo)),
            created_at_time: Some(self.created_at.as_nanos()),
        })
    }
}

impl TransferFrom {
    pub(super) fn encode(&self) -> Result<Vec<u8>, candid::Error> {
        candid::encode_one(TransferFromArgs {
            spender_subaccount: blob(&self.spender_subaccount),
            from: wire(&self.from),
            to: wire(&self.to),
            amount: &self.amount,
            fee: self.fee.as_ref(),
            memo: Some(Bytes::new(&self.memo)),
            created_at_time: Some(self.created_at.as_nanos()),
        })
    }
}
