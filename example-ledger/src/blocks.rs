//! The transaction log: one record per transaction, CBOR in an append-only log.

use std::borrow::Cow;

use ic_stable_structures::{Storable, storable::Bound};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    account::AccountKey,
    types::{Operation, Transaction},
};

/// A transaction as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it did.
    pub effect: Effect,
    /// The caller's memo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<ByteBuf>,
    /// When the caller made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at_time: Option<u64>,
    /// When the ledger did it.
    pub timestamp: u64,
}

/// What a transaction did, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The minting account made new tokens.
    Mint {
        /// The account that received them.
        to: AccountKey,
        /// The number of tokens, in the smallest unit.
        amount: u128,
    },
    /// Tokens were taken out of the supply.
    Burn {
        /// The account that held them.
        from: AccountKey,
        /// The account whose allowance was used, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spender: Option<AccountKey>,
        /// The number of tokens, in the smallest unit.
        amount: u128,
    },
    /// Tokens were transferred.
    Transfer {
        /// The account that paid.
        from: AccountKey,
        /// The account that received.
        to: AccountKey,
        /// The account whose allowance was used, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spender: Option<AccountKey>,
        /// The amount that arrived.
        amount: u128,
        /// The fee, which was burned.
        fee: u128,
    },
    /// An allowance was set.
    Approve {
        /// The account that pays.
        from: AccountKey,
        /// The account that may spend.
        spender: AccountKey,
        /// The allowance.
        amount: u128,
        /// The allowance that the caller expected before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_allowance: Option<u128>,
        /// From when on it can't be used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        /// The fee, which was burned.
        fee: u128,
    },
}

impl From<Block> for Transaction {
    fn from(block: Block) -> Self {
        Self {
            operation: block.effect.into(),
            memo: block.memo,
            created_at_time: block.created_at_time,
            timestamp: block.timestamp,
        }
    }
}

impl From<Effect> for Operation {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Mint { to, amount } => Self::Mint {
                to: to.into(),
                amount: amount.into(),
            },
            Effect::Burn {
                from,
                spender,
                amount,
            } => Self::Burn {
                from: from.into(),
                spender: spender.map(Into::into),
                amount: amount.into(),
            },
            Effect::Transfer {
                from,
                to,
                spender,
                amount,
                fee,
            } => Self::Transfer {
                from: from.into(),
                to: to.into(),
                spender: spender.map(Into::into),
                amount: amount.into(),
                fee: fee.into(),
            },
            Effect::Approve {
                from,
                spender,
                amount,
                expected_allowance,
                expires_at,
                fee,
            } => Self::Approve {
                from: from.into(),
                spender: spender.into(),
                amount: amount.into(),
                expected_allowance: expected_allowance.map(Into::into),
                expires_at,
                fee: fee.into(),
            },
        }
    }
}

impl Storable for Block {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(256);
        ciborium::into_writer(self, &mut bytes).expect("writing to a Vec can't fail");
        Cow::Owned(bytes)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        ciborium::from_reader(bytes.as_ref()).expect("the log holds what this type wrote")
    }
}
