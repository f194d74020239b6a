//! The blocks of a ledger, read by updates.

use crate::{Trouble, reply, request::Key};
use candid::{CandidType, Deserialize, Nat, Principal};
use futures_util::future::try_join_all;
use idempotency_core::safe_call::{
    Account,
    search::{Block, GetBlocksArgs, GetBlocksResult, Source, Value},
};
use serde_bytes::ByteBuf;

/// How to read a ledger's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    /// `icrc3_get_blocks`.
    Icrc3,
    /// `transaction_count` and `get_transaction`, as this project's example ledger has them.
    Transactions,
}

/// Who asks canisters, by updates.
pub(crate) trait Ask: Sync {
    fn ask(
        &self,
        canister: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, Trouble>> + Send;
}

/// Where the blocks come from.
pub(crate) struct Blocks<'a, A> {
    pub(crate) asker: &'a A,
    pub(crate) interface: Interface,
    /// For the log.
    pub(crate) key: &'a Key,
}

impl<A: Ask> Source for Blocks<'_, A> {
    async fn get(
        &mut self,
        from: (Principal, &str),
        ranges: &[GetBlocksArgs],
    ) -> Option<GetBlocksResult> {
        let result = match self.interface {
            Interface::Icrc3 => self.icrc3(from, ranges).await,
            Interface::Transactions => self.transactions(from.0, ranges).await,
        };
        if let Err(error) = &result {
            tracing::warn!(key = %self.key, ledger = %from.0, %error, "blocks can't be read");
        }
        result.ok()
    }
}

impl<A: Ask> Blocks<'_, A> {
    async fn icrc3(
        &self,
        (canister, method): (Principal, &str),
        ranges: &[GetBlocksArgs],
    ) -> Result<GetBlocksResult, Trouble> {
        let reply = self.asker.ask(canister, method, encoded(ranges)?).await?;
        decoded(&reply)
    }

    /// As ICRC-3 would give them: the same rules apply.
    async fn transactions(
        &self,
        ledger: Principal,
        ranges: &[GetBlocksArgs],
    ) -> Result<GetBlocksResult, Trouble> {
        let reply = self
            .asker
            .ask(ledger, "transaction_count", encoded(())?)
            .await?;
        let log_length: Nat = decoded(&reply)?;
        let mut blocks = vec![];
        for range in ranges {
            let number = |nat: &Nat| {
                u64::try_from(&nat.0).map_err(|error| Trouble::NoAnswer(error.to_string()))
            };
            let (start, length) = (number(&range.start)?, number(&range.length)?);
            let transactions = (start..start.saturating_add(length)).map(|index| async move {
                let reply = self
                    .asker
                    .ask(ledger, "get_transaction", encoded(Nat::from(index))?)
                    .await?;
                let transaction: Option<Transaction> = decoded(&reply)?;
                Ok(transaction.map(|transaction| Block {
                    id: index.into(),
                    block: transaction.into(),
                }))
            });
            blocks.extend(try_join_all(transactions).await?.into_iter().flatten());
        }
        Ok(GetBlocksResult {
            log_length,
            blocks,
            archived_blocks: vec![],
        })
    }
}

fn encoded(arg: impl CandidType) -> Result<Vec<u8>, Trouble> {
    candid::encode_one(arg).map_err(|error| Trouble::NoAnswer(error.to_string()))
}

fn decoded<T: CandidType + for<'de> Deserialize<'de>>(reply: &[u8]) -> Result<T, Trouble> {
    reply::decode(reply).map_err(|error| Trouble::NoAnswer(error.to_string()))
}

#[derive(CandidType, Deserialize)]
pub(crate) struct Transaction {
    pub(crate) operation: Operation,
    pub(crate) timestamp: u64,
    pub(crate) created_at_time: Option<u64>,
    pub(crate) memo: Option<ByteBuf>,
}

#[derive(CandidType, Deserialize)]
pub(crate) enum Operation {
    Transfer {
        from: Account,
        to: Account,
        amount: Nat,
        fee: Nat,
        spender: Option<Account>,
    },
    Mint {
        to: Account,
        amount: Nat,
    },
    Burn {
        from: Account,
        amount: Nat,
        spender: Option<Account>,
    },
    /// No transfer.
    Approve {},
}

impl From<Transaction> for Value {
    fn from(transaction: Transaction) -> Self {
        let account = |account: Account| {
            let owner = [Value::Blob(ByteBuf::from(account.owner.as_slice()))];
            let subaccount = account
                .subaccount
                .map(|subaccount| Value::Blob(ByteBuf::from(subaccount)));
            Value::Array(owner.into_iter().chain(subaccount).collect())
        };
        let mut tx = vec![];
        let mut put = |name: &str, value: Option<Value>| {
            tx.extend(value.map(|value| (name.to_owned(), value)))
        };
        let number = |number: u64| Value::Nat(number.into());
        put("ts", transaction.created_at_time.map(number));
        put("memo", transaction.memo.map(Value::Blob));
        match transaction.operation {
            Operation::Transfer {
                from,
                to,
                amount,
                fee,
                spender,
            } => {
                put("from", Some(account(from)));
                put("to", Some(account(to)));
                put("amt", Some(Value::Nat(amount)));
                put("fee", Some(Value::Nat(fee)));
                put("spender", spender.map(account));
            }
            Operation::Mint { to, amount } => {
                put("to", Some(account(to)));
                put("amt", Some(Value::Nat(amount)));
            }
            Operation::Burn {
                from,
                amount,
                spender,
            } => {
                put("from", Some(account(from)));
                put("amt", Some(Value::Nat(amount)));
                put("spender", spender.map(account));
            }
            Operation::Approve {} => {}
        }
        Value::Map(vec![
            ("ts".into(), number(transaction.timestamp)),
            ("tx".into(), Value::Map(tx)),
        ])
    }
}
