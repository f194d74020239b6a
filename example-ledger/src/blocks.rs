//! Transactions as blocks of ICRC-3, and back.
//!
//! A block has the form that ICRC-3 gives to those of ICRC-1 and ICRC-2: `tx` is what the caller asked for, and its `op` says what kind of
//! transaction it is; beside it stands what the ledger adds. There is no `btype`: the standard leaves it out of such blocks.

use candid::{Nat, Principal};
use idempotency_archive::icrc3::Value;
use serde_bytes::ByteBuf;

use crate::{
    account::AccountKey,
    types::{Account, BlockType, Operation, Transaction},
};

/// The hash of a block.
pub type Hash = [u8; 32];

/// A transaction, before it is a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it did.
    pub effect: Effect,
    /// The caller's memo.
    pub memo: Option<ByteBuf>,
    /// When the caller made it.
    pub created_at_time: Option<u64>,
    /// When the ledger did it.
    pub timestamp: u64,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        spender: Option<AccountKey>,
        /// The amount that arrived.
        amount: u128,
        /// The fee, which was burned.
        fee: Fee,
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
        expected_allowance: Option<u128>,
        /// From when on it can't be used.
        expires_at: Option<u64>,
        /// The fee, which was burned.
        fee: Fee,
    },
}

/// A fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// In the smallest unit.
    pub amount: u128,
    /// Whether the caller named it.
    pub is_given: bool,
}

impl Block {
    /// As ICRC-3 has it. `parent` is the hash of the block before it, if there is one.
    pub fn to_value(&self, parent: Option<Hash>) -> Value {
        let (mut tx, fee) = self.effect.to_fields();
        let mut block = vec![];
        match fee {
            Some(fee) if fee.is_given => tx.push(("fee", Value::nat(fee.amount))),
            Some(fee) => block.push(("fee", Value::nat(fee.amount))),
            None => {}
        }
        if let Some(memo) = &self.memo {
            tx.push(("memo", Value::Blob(memo.clone())));
        }
        if let Some(created_at_time) = self.created_at_time {
            tx.push(("ts", Value::nat(created_at_time)));
        }
        if let Some(parent) = parent {
            block.push(("phash", Value::blob(parent)));
        }
        block.push(("ts", Value::nat(self.timestamp)));
        block.push(("tx", Value::map(tx)));
        Value::map(block)
    }
}

impl Effect {
    /// What `tx` says of it, and its fee.
    fn to_fields(&self) -> (Vec<(&'static str, Value)>, Option<Fee>) {
        let operation =
            |op: &str, amount: u128| vec![("op", Value::text(op)), ("amt", Value::nat(amount))];
        match self {
            Self::Mint { to, amount } => {
                let mut tx = operation("mint", *amount);
                tx.push(("to", account_value(to)));
                (tx, None)
            }
            Self::Burn {
                from,
                spender,
                amount,
            } => {
                let mut tx = operation("burn", *amount);
                tx.push(("from", account_value(from)));
                tx.extend(spender.as_ref().map(|it| ("spender", account_value(it))));
                (tx, None)
            }
            Self::Transfer {
                from,
                to,
                spender,
                amount,
                fee,
            } => {
                let mut tx = operation("xfer", *amount);
                tx.push(("from", account_value(from)));
                tx.push(("to", account_value(to)));
                tx.extend(spender.as_ref().map(|it| ("spender", account_value(it))));
                (tx, Some(*fee))
            }
            Self::Approve {
                from,
                spender,
                amount,
                expected_allowance,
                expires_at,
                fee,
            } => {
                let mut tx = operation("approve", *amount);
                tx.push(("from", account_value(from)));
                tx.push(("spender", account_value(spender)));
                tx.extend(expected_allowance.map(|it| ("expected_allowance", Value::nat(it))));
                tx.extend(expires_at.map(|it| ("expires_at", Value::nat(it))));
                (tx, Some(*fee))
            }
        }
    }
}

fn account_value(account: &AccountKey) -> Value {
    let Account { owner, subaccount } = (*account).into();
    let owner = Value::blob(owner.as_slice());
    Value::Array(
        [owner]
            .into_iter()
            .chain(subaccount.map(Value::Blob))
            .collect(),
    )
}

/// The transaction that a block of this ledger is; `None` of any other value.
pub fn transaction(block: &Value) -> Option<Transaction> {
    let tx = block.get("tx")?;
    let account = |name| account(tx.get(name)?);
    let nat = |name| nat(tx.get(name)?);
    // What is there must be readable.
    let optional_account = |name| match tx.get(name) {
        Some(_) => account(name).map(Some),
        None => Some(None),
    };
    let fee = || tx.get("fee").or(block.get("fee")).and_then(self::nat);
    let Value::Text(op) = tx.get("op")? else {
        return None;
    };
    let amount = nat("amt")?;
    let operation = match op.as_str() {
        "mint" => Operation::Mint {
            to: account("to")?,
            amount,
        },
        "burn" => Operation::Burn {
            from: account("from")?,
            spender: optional_account("spender")?,
            amount,
        },
        "xfer" => Operation::Transfer {
            from: account("from")?,
            to: account("to")?,
            spender: optional_account("spender")?,
            amount,
            fee: fee()?,
        },
        "approve" => Operation::Approve {
            from: account("from")?,
            spender: account("spender")?,
            amount,
            expected_allowance: nat("expected_allowance"),
            expires_at: tx.get("expires_at").and_then(time),
            fee: fee()?,
        },
        _ => return None,
    };
    let memo = match tx.get("memo") {
        Some(Value::Blob(memo)) => Some(memo.clone()),
        _ => None,
    };
    Some(Transaction {
        operation,
        memo,
        created_at_time: tx.get("ts").and_then(time),
        timestamp: time(block.get("ts")?)?,
    })
}

fn nat(value: &Value) -> Option<Nat> {
    match value {
        Value::Nat(nat) => Some(nat.clone()),
        _ => None,
    }
}

fn time(value: &Value) -> Option<u64> {
    u64::try_from(&nat(value)?.0).ok()
}

fn account(value: &Value) -> Option<Account> {
    let Value::Array(parts) = value else {
        return None;
    };
    let (owner, subaccount) = match parts.as_slice() {
        [Value::Blob(owner)] => (owner, None),
        [Value::Blob(owner), Value::Blob(subaccount)] => (owner, Some(subaccount.clone())),
        _ => return None,
    };
    Some(Account {
        owner: Principal::try_from_slice(owner).ok()?,
        subaccount,
    })
}

/// The answer of `icrc3_supported_block_types`, in the names that ICRC-3 has for the blocks of the other standards.
pub fn supported_block_types() -> Vec<BlockType> {
    let standards = "https://github.com/dfinity/ICRC-1/tree/main/standards/";
    let (first, second) = ("ICRC-1", "ICRC-2");
    [
        ("1burn", first),
        ("1mint", first),
        ("1xfer", first),
        ("2approve", second),
        ("2burn", second),
        ("2xfer", second),
    ]
    .map(|(block_type, standard)| BlockType {
        block_type: block_type.to_owned(),
        url: format!("{standards}{standard}"),
    })
    .into()
}
