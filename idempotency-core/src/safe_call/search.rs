//! Looks for a transfer in the last blocks of a ledger, as ICRC-3 gives them. Where they are read from is a trait: the client outside
//! of the IC, idempotency-agent of the same version, looks by the same rules.

use super::{
    transfer::{Account, Subaccount, Transfer},
    transport::Transport,
};
use crate::{codec::decode, runtime::Outgoing, time::Timestamp};
use candid::{CandidType, Nat, Principal, define_function};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::{future::Future, time::Duration};

/// The transfer that is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub(super) payer: Payer,
    pub(super) to: Account,
    pub(super) amount: Nat,
    pub(super) fee: Option<Nat>,
    pub(super) memo: Vec<u8>,
    pub(super) created_at: Timestamp,
}

impl From<&Transfer> for Wanted {
    fn from(transfer: &Transfer) -> Self {
        Self {
            payer: Payer::Own(transfer.from_subaccount),
            to: transfer.to,
            amount: transfer.amount.clone(),
            fee: transfer.fee.clone(),
            memo: transfer.memo.clone(),
            created_at: transfer.created_at,
        }
    }
}

/// Whose account pays.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payer {
    /// The caller's.
    Own(Option<Subaccount>),
    /// Another's, with the allowance of an account of the caller.
    Other {
        from: Account,
        spender: Option<Subaccount>,
    },
}

/// What the blocks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is this block.
    Block(Nat),
    /// No block is the transfer, of all that were made since it could be.
    Absent,
    /// Not all of these blocks were seen, or one of them can't be told from the transfer.
    CantTell,
}

/// A ledger executes a transfer at most so long before its `created_at_time`; none is known to permit more than a minute.
const DRIFT: Duration = Duration::from_secs(300);

/// The blocks that are asked for at a time: ledgers give no more than about so many.
const PAGE: u64 = 100;

/// How long to wait for an answer, in seconds.
const TIMEOUT: u32 = 60;

/// Where blocks are read from.
pub trait Source {
    /// Calls `icrc3_get_blocks`, or the method of an archive with the same interface. `None` if there is no answer that can be trusted.
    fn get(
        &mut self,
        from: (Principal, &str),
        ranges: &[GetBlocksArgs],
    ) -> impl Future<Output = Option<GetBlocksResult>>;
}

/// Looks through the last blocks of a ledger for a transfer of `caller`, from the newest on; at most `most`.
pub async fn search_in<S: Source>(
    source: &mut S,
    ledger: Principal,
    wanted: &Wanted,
    caller: Principal,
    most: u64,
) -> Found {
    let mut blocks = Blocks { source, ledger };
    let sought = Sought::new(wanted, caller);
    blocks
        .search(&sought, most)
        .await
        .unwrap_or(Found::CantTell)
}

/// The same, with at most so many calls as it takes pages of half the size.
pub(super) async fn search<X: Transport>(
    transport: &X,
    ledger: Principal,
    wanted: &Wanted,
    most: u64,
) -> Found {
    let calls = 2 + most.div_ceil(PAGE / 2);
    let mut source = Calls { transport, calls };
    search_in(&mut source, ledger, wanted, transport.canister(), most).await
}

/// A canister reads them by calls.
struct Calls<'a, X> {
    transport: &'a X,
    /// How many may be made.
    calls: u64,
}

impl<X: Transport> Source for Calls<'_, X> {
    async fn get(
        &mut self,
        (callee, method): (Principal, &str),
        ranges: &[GetBlocksArgs],
    ) -> Option<GetBlocksResult> {
        self.calls = self.calls.checked_sub(1)?;
        let call = Outgoing {
            callee,
            method: method.to_owned(),
            argument: candid::encode_one(ranges).ok()?,
            cycles: 0,
            timeout: Some(TIMEOUT),
        };
        let (result,) = decode(&self.transport.call(call).await.ok()?).ok()?;
        Some(result)
    }
}

/// The transfer, as blocks are compared with it.
struct Sought<'a> {
    wanted: &'a Wanted,
    from: (Principal, Subaccount),
    spender: Option<(Principal, Subaccount)>,
}

impl<'a> Sought<'a> {
    fn new(wanted: &'a Wanted, caller: Principal) -> Self {
        let own = |subaccount: Option<Subaccount>| (caller, subaccount.unwrap_or_default());
        let (from, spender) = match wanted.payer {
            Payer::Own(subaccount) => (own(subaccount), None),
            Payer::Other { from, spender } => {
                // Nobody needs an allowance for their own account.
                let spender = Some(own(spender)).filter(|spender| *spender != from.key());
                (from.key(), spender)
            }
        };
        Self {
            wanted,
            from,
            spender,
        }
    }

    /// What a block has to do with the transfer. `None` if it can't be read.
    fn compare(&self, block: &Value) -> Option<Likeness> {
        let tx = block.get("tx")?;
        let Some(created_at) = tx.get("ts") else {
            return Some(Likeness::Other);
        };
        let is_it = *created_at.nat()? == self.wanted.created_at.as_nanos()
            && match tx.get("memo") {
                Some(memo) => memo.blob()? == self.wanted.memo,
                None => self.wanted.memo.is_empty(),
            }
            && match tx.get("amt") {
                Some(amount) => *amount.nat()? == self.wanted.amount,
                None => false,
            }
            && match (tx.get("fee"), &self.wanted.fee) {
                (Some(given), Some(wanted)) => given.nat()? == wanted,
                _ => true,
            };
        if !is_it {
            return Some(Likeness::Other);
        }
        // A block that burns names no receiver, and one that mints no payer.
        let account = |name| tx.get(name).map(Value::account);
        let (from, to, spender) = (account("from"), account("to"), account("spender"));
        let (from, to, spender) = (transpose(from)?, transpose(to)?, transpose(spender)?);
        let is_same = from.is_none_or(|from| from == self.from)
            && to.is_none_or(|to| to == self.wanted.to.key())
            && spender == self.spender;
        Some(match (is_same, from) {
            (false, _) => Likeness::Other,
            (true, Some(_)) => Likeness::Same,
            (true, None) => Likeness::Perhaps,
        })
    }
}

/// `None` if it is there and can't be read.
fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(None) => None,
        read => Some(read.flatten()),
    }
}

/// Whether a block is the transfer.
#[derive(Debug, PartialEq, Eq)]
enum Likeness {
    Same,
    Other,
    /// It has all that the transfer has, as far as it says.
    Perhaps,
}

/// The blocks of a ledger.
struct Blocks<'a, S> {
    source: &'a mut S,
    ledger: Principal,
}

impl<S: Source> Blocks<'_, S> {
    /// `None` if blocks that are needed can't be had.
    async fn search(&mut self, sought: &Sought<'_>, most: u64) -> Option<Found> {
        let get = (self.ledger, "icrc3_get_blocks");
        let length = self.source.get(get, &[]).await?.log_length;
        let mut end = u64::try_from(&length.0).ok()?;
        let last = end.saturating_sub(most);
        let mut is_certain = true;
        while end > last {
            let start = end.saturating_sub(PAGE).max(last);
            let page = self.page(start, end).await?;
            for (index, block) in page.iter().rev() {
                match sought.compare(block) {
                    Some(Likeness::Same) => return Some(Found::Block((*index).into())),
                    Some(Likeness::Other) => {}
                    Some(Likeness::Perhaps) | None => is_certain = false,
                }
            }
            let oldest = page.first().and_then(|(_, block)| block.get("ts")?.nat());
            let oldest = Timestamp::from_nanos(u64::try_from(&oldest?.0).ok()?);
            if start == 0 || oldest.plus(DRIFT) < sought.wanted.created_at {
                return is_certain.then_some(Found::Absent);
            }
            end = start;
        }
        // An empty ledger has no such block either.
        (length == 0u8).then_some(Found::Absent)
    }

    /// All blocks from `start` on and before `end`, in order.
    async fn page(&mut self, start: u64, end: u64) -> Option<Vec<(u64, Value)>> {
        let mut page: Vec<(u64, Value)> = vec![];
        let mut next = start;
        while next < end {
            let range = GetBlocksArgs {
                start: next.into(),
                length: (end - next).into(),
            };
            let answer = self
                .source
                .get((self.ledger, "icrc3_get_blocks"), &[range])
                .await?;
            let mut blocks = answer.blocks;
            for archived in answer.archived_blocks {
                let (archive, method) = (archived.callback.0.principal, archived.callback.0.method);
                blocks.extend(
                    self.source
                        .get((archive, &method), &archived.args)
                        .await?
                        .blocks,
                );
            }
            blocks.sort_by(|one, other| one.id.cmp(&other.id));
            let before = next;
            for Block { id, block } in blocks {
                if id == next && next < end {
                    page.push((next, block));
                    next += 1;
                }
            }
            if next == before {
                return None;
            }
        }
        Some(page)
    }
}

#[derive(CandidType, Clone, Debug, Deserialize)]
pub struct GetBlocksArgs {
    pub start: Nat,
    pub length: Nat,
}

#[derive(CandidType, Debug, Deserialize)]
pub struct GetBlocksResult {
    pub log_length: Nat,
    pub blocks: Vec<Block>,
    pub archived_blocks: Vec<ArchivedBlocks>,
}

#[derive(CandidType, Debug, Deserialize)]
pub struct Block {
    pub id: Nat,
    pub block: Value,
}

#[derive(CandidType, Debug, Deserialize)]
pub struct ArchivedBlocks {
    pub args: Vec<GetBlocksArgs>,
    pub callback: GetBlocks,
}

define_function!(pub GetBlocks : (Vec<GetBlocksArgs>) -> (GetBlocksResult) query);

/// ICRC-3's `Value`.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub enum Value {
    Blob(ByteBuf),
    Text(String),
    Nat(Nat),
    Int(candid::Int),
    Array(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    fn get(&self, name: &str) -> Option<&Value> {
        let Value::Map(entries) = self else {
            return None;
        };
        entries
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    fn nat(&self) -> Option<&Nat> {
        match self {
            Value::Nat(nat) => Some(nat),
            _ => None,
        }
    }

    fn blob(&self) -> Option<&[u8]> {
        match self {
            Value::Blob(blob) => Some(blob),
            _ => None,
        }
    }

    /// An owner, and perhaps a subaccount.
    fn account(&self) -> Option<(Principal, Subaccount)> {
        let Value::Array(parts) = self else {
            return None;
        };
        let (owner, subaccount) = match parts.as_slice() {
            [owner] => (owner, Subaccount::default()),
            [owner, subaccount] => (owner, subaccount.blob()?.try_into().ok()?),
            _ => return None,
        };
        Some((Principal::try_from(owner.blob()?).ok()?, subaccount))
    }
}
