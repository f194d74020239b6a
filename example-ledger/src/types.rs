//! What goes over the wire, in the names of ICRC-1 and ICRC-2.

use candid::{CandidType, Int, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// An account: a principal, and the number of one of its 2^256 accounts.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who owns it.
    pub owner: Principal,
    /// The number, 32 bytes; absent means 32 zeros.
    pub subaccount: Option<ByteBuf>,
}

/// The argument of `icrc1_transfer`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransferArg {
    /// The subaccount of the caller that pays.
    pub from_subaccount: Option<ByteBuf>,
    /// The account that receives.
    pub to: Account,
    /// The amount that arrives, in the smallest unit of the token.
    pub amount: Nat,
    /// The fee that the caller expects; absent means the ledger's fee.
    pub fee: Option<Nat>,
    /// Any bytes, for the caller's own use.
    pub memo: Option<ByteBuf>,
    /// The time at which the caller made the transaction, in nanoseconds since the UNIX epoch. With it, a retry is recognised.
    pub created_at_time: Option<u64>,
}

/// The argument of `icrc2_approve`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ApproveArgs {
    /// The subaccount of the caller that will pay.
    pub from_subaccount: Option<ByteBuf>,
    /// The account that may spend.
    pub spender: Account,
    /// The new allowance, fees included. It replaces the present one.
    pub amount: Nat,
    /// The present allowance, as the caller knows it. If it is another one, the ledger refuses the request.
    pub expected_allowance: Option<Nat>,
    /// The time after which the allowance is zero, in nanoseconds since the UNIX epoch.
    pub expires_at: Option<u64>,
    /// The fee that the caller expects; absent means the ledger's fee.
    pub fee: Option<Nat>,
    /// Any bytes, for the caller's own use.
    pub memo: Option<ByteBuf>,
    /// The time at which the caller made the transaction, in nanoseconds since the UNIX epoch. With it, a retry is recognised.
    pub created_at_time: Option<u64>,
}

/// The argument of `icrc2_transfer_from`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransferFromArgs {
    /// The subaccount of the caller that may spend.
    pub spender_subaccount: Option<ByteBuf>,
    /// The account that pays.
    pub from: Account,
    /// The account that receives.
    pub to: Account,
    /// The amount that arrives, in the smallest unit of the token.
    pub amount: Nat,
    /// The fee that the caller expects; absent means the ledger's fee.
    pub fee: Option<Nat>,
    /// Any bytes, for the caller's own use.
    pub memo: Option<ByteBuf>,
    /// The time at which the caller made the transaction, in nanoseconds since the UNIX epoch. With it, a retry is recognised.
    pub created_at_time: Option<u64>,
}

/// The argument of `icrc2_allowance`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AllowanceArgs {
    /// The account that pays.
    pub account: Account,
    /// The account that may spend.
    pub spender: Account,
}

/// The answer of `icrc2_allowance`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The amount that may still be spent, fees included.
    pub allowance: Nat,
    /// The time after which the allowance is zero, in nanoseconds since the UNIX epoch.
    pub expires_at: Option<u64>,
}

/// The argument of `transfer_once`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TransferOnceArg {
    /// Identifies the request. The ledger executes one transfer for each id, however often the request is sent.
    pub request_id: ByteBuf,
    /// The subaccount of the caller that pays.
    pub from_subaccount: Option<ByteBuf>,
    /// The account that receives.
    pub to: Account,
    /// The amount that arrives, in the smallest unit of the token.
    pub amount: Nat,
    /// The fee that the caller expects; absent means the ledger's fee.
    pub fee: Option<Nat>,
    /// Any bytes, for the caller's own use.
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
    /// The address of its text.
    pub url: String,
}

/// One entry of `icrc3_supported_block_types`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlockType {
    /// Its name, such as `1xfer`.
    pub block_type: String,
    /// The address of the text that describes it.
    pub url: String,
}

/// The answer of `icrc3_get_tip_certificate`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DataCertificate {
    /// The certificate of the ledger's certified data, in CBOR.
    pub certificate: ByteBuf,
    /// The tree that the certified data is the root hash of, in CBOR: it has `last_block_index`, in LEB128, and `last_block_hash`.
    pub hash_tree: ByteBuf,
}

/// How the archives are.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Those that are given blocks, in the order in which they are filled.
    pub archives: Vec<Principal>,
    /// The number of transactions older than a day that the ledger still remembers, as no archive has confirmed them.
    pub waiting_transactions: u64,
    /// The number of blocks that archives have, and the ledger no longer.
    pub archived_blocks: u64,
    /// The number of blocks that the ledger has.
    pub kept_blocks: u64,
    /// Why nothing is archived, if something is wrong. The ledger tries again by itself, and keeps everything meanwhile.
    pub trouble: Vec<String>,
}

/// A transaction of the ledger.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What it did.
    pub operation: Operation,
    /// The caller's memo.
    pub memo: Option<ByteBuf>,
    /// The time at which the caller made it, in nanoseconds since the UNIX epoch.
    pub created_at_time: Option<u64>,
    /// The time at which the ledger executed it, in nanoseconds since the UNIX epoch.
    pub timestamp: u64,
}

/// What a transaction did.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The minting account made new tokens.
    Mint {
        /// The account that received them.
        to: Account,
        /// The number of tokens, in the smallest unit.
        amount: Nat,
    },
    /// Tokens were taken out of the supply.
    Burn {
        /// The account that held them.
        from: Account,
        /// The account whose allowance was used, if one was.
        spender: Option<Account>,
        /// The number of tokens, in the smallest unit.
        amount: Nat,
    },
    /// Tokens were transferred.
    Transfer {
        /// The account that paid.
        from: Account,
        /// The account that received.
        to: Account,
        /// The account whose allowance was used, if one was.
        spender: Option<Account>,
        /// The amount that arrived.
        amount: Nat,
        /// The fee, which was burned.
        fee: Nat,
    },
    /// An allowance was set.
    Approve {
        /// The account that pays.
        from: Account,
        /// The account that may spend.
        spender: Account,
        /// The allowance.
        amount: Nat,
        /// The allowance that the caller expected before.
        expected_allowance: Option<Nat>,
        /// The time after which the allowance is zero, in nanoseconds since the UNIX epoch.
        expires_at: Option<u64>,
        /// The fee, which was burned.
        fee: Nat,
    },
}
