//! One call, as it is asked for: what may be assumed of it, and how it begins or goes on by its journal.

use crate::{
    agent::{Error, Progress, SafeAgent},
    end::End,
    journal::{Entry, Journal},
    ledger::Interface,
    machine::{Machine, Pace},
    request::{Key, Repeats, Request, Terms},
    run::{Run, Watch},
    transport::Transport,
};
use candid::{Nat, Principal};
use idempotency_core::safe_call::{Subaccount, Transfer};
use std::{collections::BTreeSet, fmt, sync::Mutex, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

/// A call that is about to be made. Nothing is assumed of its method but what is said here.
#[must_use = "it is made by `send`"]
pub struct Call<'a, T, J> {
    agent: &'a SafeAgent<T, J>,
    key: Key,
    what: What,
    pace: Pace,
    search: (Interface, u64),
    token: Option<CancellationToken>,
    watch: Option<Watch<'a>>,
}

pub(crate) enum What {
    New(New),
    Transfer(Principal, Transfer),
    Recorded,
}

pub(crate) struct New {
    pub(crate) canister: Principal,
    pub(crate) method: String,
    pub(crate) arg: Vec<u8>,
    pub(crate) terms: Terms,
}

impl<'a, T: Transport, J: Journal> Call<'a, T, J> {
    pub(crate) fn new(agent: &'a SafeAgent<T, J>, key: Key, what: What) -> Self {
        Self {
            agent,
            key,
            what,
            pace: agent.pace,
            search: (Interface::Icrc3, 1_000),
            token: None,
            watch: None,
        }
    }

    fn terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        if let What::New(new) = &mut self.what {
            change(&mut new.terms);
        }
        self
    }

    fn details(mut self, change: impl FnOnce(&mut Transfer)) -> Self {
        if let What::Transfer(_, transfer) = &mut self.what {
            change(transfer);
        }
        self
    }

    /// The method recognises a request that is sent again: `#[idempotent]`, with a key or number in the argument. The canister offers the
    /// query `idempotency_outcomes`; if not, see [`outcomes`](Self::outcomes).
    pub fn idempotent(self, repeats: Repeats) -> Self {
        self.terms(|terms| {
            terms.repeats = repeats;
            terms.outcomes = Some("idempotency_outcomes".into());
        })
    }

    /// The name of the query that says what became of a call of this method, or that there is none. Without it a call can end in
    /// `StillUnknown` that would else be settled.
    pub fn outcomes(self, method: Option<&str>) -> Self {
        self.terms(|terms| terms.outcomes = method.map(str::to_owned))
    }

    /// The name of the update that asks the canister's archives what became of a call, or that there is none. It is asked when the query does
    /// not know whether the call was executed long ago. Canisters that have archives name it `idempotency_outcomes_ever`.
    pub fn outcomes_ever(self, method: Option<&str>) -> Self {
        self.terms(|terms| terms.outcomes_ever = method.map(str::to_owned))
    }

    /// The method does not await, and does not reject after it has changed something: a call that it ended with a trap or reject has done
    /// nothing. It only matters without [`outcomes`](Self::outcomes).
    pub fn rejects_undo(self) -> Self {
        self.terms(|terms| terms.rejects_undo = true)
    }

    /// Of a transfer: the fee that the caller expects. With it, a change of the ledger's fee is told instead of paid.
    pub fn fee(self, fee: impl Into<Nat>) -> Self {
        self.details(|transfer| transfer.fee = Some(fee.into()))
    }

    /// Of a transfer: the caller's account that pays.
    pub fn from_subaccount(self, subaccount: Subaccount) -> Self {
        self.details(|transfer| transfer.from_subaccount = Some(subaccount))
    }

    /// Of a transfer: another memo than the key. With it, let no two transfers be equal that are made within one nanosecond.
    pub fn memo(self, memo: impl Into<Vec<u8>>) -> Self {
        self.details(|transfer| transfer.memo = memo.into())
    }

    /// Of a transfer: in how many of the ledger's last blocks to look for it, if no answer tells. Default: 1,000; each 100 cost an update.
    pub fn search(mut self, most_blocks: u64) -> Self {
        self.search.1 = most_blocks;
        self
    }

    /// Of a transfer: the ledger has no ICRC-3, but `transaction_count` and `get_transaction` as this project's example ledger has them. To
    /// look for the transfer costs an update for each of the last transactions, a hundred at a time.
    pub fn transactions(mut self) -> Self {
        self.search.0 = Interface::Transactions;
        self
    }

    /// How long to go on; see [`Pace::deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.pace.deadline = deadline;
        self
    }

    /// Ends the call early, with what can be said then. It stays in the journal if that is `StillUnknown`. To drop the future is as good,
    /// but says nothing.
    pub fn cancelled_by(mut self, token: CancellationToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Is told what is done and what is heard.
    pub fn on_progress(mut self, watch: impl FnMut(Progress<'_>) + Send + 'a) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    /// If it can't be made, or made on. Whatever was sent is in the journal, and the call goes on when it is made again.
    pub async fn send(self) -> Result<End, Error> {
        let span = info_span!("safe_call", key = %self.key);
        self.make().instrument(span).await
    }

    async fn make(mut self) -> Result<End, Error> {
        let agent = self.agent;
        let _busy = Busy::new(&agent.busy, &self.key)?;
        let sender = agent.transport.sender().map_err(Error::Signing)?;
        let recorded = agent.journal.get(&self.key)?;
        let new = match (self.what, &recorded) {
            (What::New(new), _) => Some(new),
            (What::Transfer(ledger, mut transfer), recorded) => {
                let before = recorded
                    .as_ref()
                    .and_then(|recorded| recorded.request.terms.ledger.as_ref());
                transfer.created_at = match before {
                    Some(before) => before.created_at,
                    None => agent.time(ledger).await?,
                };
                Some(New {
                    canister: ledger,
                    method: "icrc1_transfer".into(),
                    arg: transfer.encode()?,
                    terms: Terms {
                        repeats: Repeats::Dated,
                        ledger: Some(transfer),
                        ..Terms::PLAIN
                    },
                })
            }
            (What::Recorded, Some(_)) => None,
            (What::Recorded, None) => return Err(Error::NoSuchCall(self.key)),
        };
        let (request, messages) = match (recorded, new) {
            (Some(recorded), new) => {
                let request = recorded.request;
                let is_same = new.is_none_or(|new| {
                    (new.canister, &new.method, &new.arg)
                        == (request.canister, &request.method, &request.arg)
                });
                if !is_same || request.sender != sender {
                    return Err(Error::KeyReused(self.key));
                }
                if let Some(end) = recorded.end {
                    return Ok(end);
                }
                (request, recorded.messages)
            }
            (None, Some(new)) => {
                let request = Request {
                    key: self.key.clone(),
                    sender,
                    canister: new.canister,
                    method: new.method,
                    arg: new.arg,
                    terms: new.terms,
                };
                agent
                    .journal
                    .append(Entry::Request(Box::new(request.clone())))?;
                (request, vec![])
            }
            (None, None) => return Err(Error::NoSuchCall(self.key)),
        };
        let now = agent.transport.elapsed();
        let machine = Machine::new(
            request.terms.clone(),
            messages,
            self.pace,
            agent.clock(),
            now,
        );
        let mut run = Run {
            agent,
            request: &request,
            machine,
            search: self.search,
            token: self.token.as_ref(),
            is_kept: true,
        };
        let end = run.finish(self.watch.as_mut()).await?;
        if !matches!(end, End::StillUnknown { .. }) {
            let key = self.key;
            agent.journal.append(Entry::End {
                key,
                end: end.clone(),
            })?;
        }
        Ok(end)
    }
}

impl<T, J> fmt::Debug for Call<'_, T, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A key is one call's at a time.
struct Busy<'a>(&'a Mutex<BTreeSet<Key>>, Key);

impl<'a> Busy<'a> {
    fn new(busy: &'a Mutex<BTreeSet<Key>>, key: &Key) -> Result<Self, Error> {
        let mut keys = busy.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match keys.insert(key.clone()) {
            true => Ok(Self(busy, key.clone())),
            false => Err(Error::Busy(key.clone())),
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(&self.1);
    }
}
